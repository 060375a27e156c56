"""What the browser says it has open, against what is known here, and what its processes hold.

What nobody here knows may just be opening or closing, or be user code's own for a while (Playwright's `storage_state`
opens a hidden tab). So only what many audits in a row find is an orphan, and a context in which something opens, or
that has popups, which are known without their names, is not judged. A process that two audits find unlisted is a stray.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import psutil
from playwright.async_api import CDPSession
from playwright.async_api import Error as PlaywrightError

from browsercrawl.browser.calls import Link
from browsercrawl.browser.context import PlaywrightContext
from browsercrawl.browser.force import kill
from browsercrawl.browser.page import PlaywrightPage
from browsercrawl.browser.processes import children_of
from browsercrawl.browser.renderers import Renderer, own_bytes
from browsercrawl.errors import BrowsercrawlError
from browsercrawl.ports import Audit

ORPHAN_LOOKS = 30
"""So many audits in a row must find a tab or context that nobody knows; with one every 2 s that is a minute."""

_CRASH_LIMIT_S = 1.0


@dataclass(frozen=True, slots=True)
class _Open:
    """What the browser says is open: contexts by name, and the context of each tab."""

    contexts: frozenset[str]
    tabs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Processes:
    """The processes of a browser.

    Attributes:
        renderers: all of them.
        unlisted: those among them that the browser does not name.
        other_bytes: memory of the rest.
    """

    renderers: tuple[Renderer, ...]
    unlisted: frozenset[psutil.Process]
    other_bytes: int


class Auditor:
    """Audits one browser; remembers what looked wrong the last time.

    Args:
        session: of the browser.
        driver_pid: the browser is its descendant.
    """

    def __init__(self, session: CDPSession, link: Link, *, driver_pid: int | None) -> None:
        self._session = session
        self._link = link
        self._driver_pid = driver_pid
        self._unknown: dict[str, int] = {}
        self._unlisted: frozenset[psutil.Process] = frozenset()

    async def audit(
        self,
        open_contexts: Callable[[], list[PlaywrightContext]],
        *,
        is_opening: Callable[[], bool],
        page_bytes_max: int,
        limit_s: float,
    ) -> Audit:
        """Look once. Arguments and outcome: see `ports.BrowserPort.audit`.

        Args:
            open_contexts: the contexts known here.
            is_opening: whether another is being opened.
            page_bytes_max: a renderer may hold so much of its own.
            limit_s: seconds.

        Raises:
            TimeoutError, playwright.async_api.Error: the browser did not answer.
        """
        deadline = time.monotonic() + limit_s
        there, listed = await asyncio.gather(self._ask(limit_s), self._link.renderers.listed(limit_s=limit_s))
        contexts = open_contexts()  # only now: what has opened meanwhile must be known
        processes = _look(self._driver_pid, listed)
        unknown = _unknown(there, contexts, is_opening=is_opening())
        self._unknown = {name: self._unknown.get(name, 0) + 1 for name in unknown}
        orphans = [name for name, looks in self._unknown.items() if looks >= ORPHAN_LOOKS]
        strays, self._unlisted = processes.unlisted & self._unlisted, processes.unlisted
        for process in strays:
            kill(process)
        await self._close(orphans, there, limit_s=deadline - time.monotonic())
        killed = await self._cut_down(processes.renderers, contexts, bytes_max=page_bytes_max, deadline=deadline)
        return Audit(
            contexts=len(there.contexts),
            pages=len(there.tabs),
            orphans=len(orphans),
            strays=len(strays),
            renderers=tuple(renderer.own_bytes for renderer in processes.renderers),
            browser_bytes=processes.other_bytes,
            killed=killed,
        )

    async def trim(self, *, limit_s: float) -> bool:
        """Have all processes of the browser do what they do when memory is short. Returns whether it was heard."""
        telling = self._session.send("Memory.simulatePressureNotification", {"level": "critical"})
        return await self._link.calls.settled(telling, limit_s=limit_s)

    def kill_heaviest(self, error: Callable[[], BrowsercrawlError]) -> bool:
        """Kill the renderer that holds most; its pages end with this error. Returns whether there was one.

        Asks only the kernel, and takes some milliseconds: the browser may be as slow as everything else.
        """
        family = [] if self._driver_pid is None else children_of(self._driver_pid)
        heaviest = max((each for each in family if _is_renderer(each)), key=own_bytes, default=None)
        if heaviest is not None:
            self._link.kills.give_up(error)
            kill(heaviest)
        return heaviest is not None

    async def _send(self, method: str, params: dict[str, Any] | None = None, *, limit_s: float) -> dict[str, Any]:
        return await self._link.calls.run(self._session.send(method, params), limit_s=limit_s)

    async def _ask(self, limit_s: float) -> _Open:
        contexts, targets = await asyncio.gather(
            self._send("Target.getBrowserContexts", limit_s=limit_s), self._send("Target.getTargets", limit_s=limit_s)
        )
        return _Open(
            frozenset(contexts["browserContextIds"]),
            {
                target["targetId"]: target.get("browserContextId", "")
                for target in targets["targetInfos"]
                if target["type"] == "page" and not target.get("subtype")  # a prerendered page is its opener's
            },
        )

    async def _close(self, orphans: Iterable[str], there: _Open, *, limit_s: float) -> None:
        """Close orphans, as far as they are still there; what does not close is found again."""
        calls = self._link.calls
        closings = [
            self._session.send("Target.disposeBrowserContext", {"browserContextId": name})
            if name in there.contexts
            else self._session.send("Target.closeTarget", {"targetId": name})
            for name in orphans
        ]
        await asyncio.gather(*(calls.settled(closing, limit_s=limit_s) for closing in closings))

    async def _cut_down(
        self,
        renderers: Iterable[Renderer],
        contexts: Collection[PlaywrightContext],
        *,
        bytes_max: int,
        deadline: float,
    ) -> int:
        """Kill the renderers that hold too much. Returns how many."""
        peak = max((context.pages_peak for context in contexts), default=1) if self._link.process_per_site else 1
        limit = bytes_max * max(1, peak)
        large = [renderer for renderer in renderers if renderer.own_bytes > limit]
        if not large:
            return 0
        visited = [page for context in contexts for page in context.pages if page.visiting and page.gone() is None]
        half_s = (deadline - time.monotonic()) / 2
        homes = await self._homes(visited, limit_s=half_s)
        for renderer in large:
            inside = [page for page, home in homes.items() if home == renderer.process]
            # Where none is found it is one of those that do not tell.
            aims = inside or [page for page, home in homes.items() if home is None]
            self._link.kills.aim(aims, held=f"{_size(renderer.own_bytes)} (limit {_size(limit)})")
            kill(renderer.process)
            left_s = min(_CRASH_LIMIT_S, deadline - time.monotonic())
            await asyncio.gather(*(page.wait_end(limit_s=left_s) for page in inside))
        return len(large)

    async def _homes(
        self, pages: Iterable[PlaywrightPage], *, limit_s: float
    ) -> dict[PlaywrightPage, psutil.Process | None]:
        """Find the processes of pages, one page after the other, as far as they tell and the time allows."""
        deadline = time.monotonic() + limit_s
        homes: dict[PlaywrightPage, psutil.Process | None] = {}
        for page in pages:
            try:
                left_s = deadline - time.monotonic()
                homes[page] = await self._link.renderers.home(page.main_s, limit_s=left_s)
            except (TimeoutError, PlaywrightError):
                homes[page] = None
        return homes


def _unknown(there: _Open, contexts: Collection[PlaywrightContext], *, is_opening: bool) -> frozenset[str]:
    """Return the contexts and tabs that are nobody's, as far as it can be told now."""
    by_name = {context.id: context for context in contexts}
    is_complete = not is_opening and None not in by_name  # a context without a name may be any of them
    unknown = {name for name in there.contexts if name not in by_name} if is_complete else set()
    for tab, name in there.tabs.items():
        if name in by_name:
            known = by_name[name].targets()
            is_strange = known is not None and tab not in known
        else:
            is_strange = is_complete
        if is_strange:
            unknown.add(tab)
    return frozenset(unknown)


def _look(driver_pid: int | None, listed: Collection[psutil.Process]) -> _Processes:
    """Look at all processes of a browser and its driver.

    Args:
        driver_pid: their ancestor.
        listed: what the browser says are its renderers.
    """
    family = [] if driver_pid is None else children_of(driver_pid)
    known = set(listed)
    unlisted = frozenset(process for process in family if process not in known and _is_renderer(process))
    others = [process for process in family if process not in known and process not in unlisted]
    if driver_pid is not None and psutil.pid_exists(driver_pid):
        others.append(psutil.Process(driver_pid))
    renderers = tuple(Renderer(process, own_bytes(process)) for process in (*known, *unlisted))
    return _Processes(renderers, unlisted, sum(own_bytes(process) for process in others))


def _is_renderer(process: psutil.Process) -> bool:
    """Tell whether a process is a renderer. One that has ended and that nobody has waited for has no command line."""
    try:
        return "--type=renderer" in process.cmdline()
    except psutil.Error:
        return False


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
