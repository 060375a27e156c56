"""The reuse rule: when a page may serve another visit, and what is done to it before. See docs/decisions/0002.

A page is *unfit* when something went wrong with the page itself, or user code did something lasting to it. A fit page
is looked at and marked in one evaluation, and its history is reset. The mark is a token in `window.name`: the first
document of the next visit that sees it clears sessionStorage and `window.name` before any script of the site runs.
(Clearing before leaving is too early: `pagehide` handlers run after.) Only a page that could harm the next navigation
is parked on about:blank first: parking each page costs 18 to 27 % of CPU more. One that is not wanted again within a
moment is parked then (`Rest`), so that no page runs on unseen.
"""

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from playwright.async_api import Error as PlaywrightError

from browsercrawl.errors import ContextBroken
from browsercrawl.ports import Cleaning

if TYPE_CHECKING:
    from browsercrawl.browser.page import PlaywrightPage

RENDERER_BASE_BYTES = 24_000_000
"""What a renderer holds of its own with a small page in it (measured: 19 MB); growth counts from here."""

REST_S = 0.25
"""A page that has waited in stock for so long is parked."""

_PARK_LIMIT_S = 0.5
_CLOSE_LIMIT_S = 2.0
_LOOK_LIMIT_S = 1.0
_NODES_MANY = 20_000
_CHARACTERS_MANY = 2_000_000


@dataclass(slots=True)
class TabState:
    """What is known of a page without asking it.

    Attributes:
        visiting: between `begin` and `recondition`.
        committed: a document of the current visit has committed.
        pending: a navigation was begun and has neither committed nor failed.
        stopped: we had the current navigation stopped.
        left: what the tab showed before the visit, unless that is the same address.
        failed: the network failure that ended the last navigation.
        crashed: the renderer died.
        loaded: the load event of the current document has come.
        navigations: main-frame navigations seen, within a document too.
        documents: of the current visit, those that have loaded in the main frame, by host:port.
        marked_at: `navigations` when the token was set; None: no token is set.
        parked: on about:blank; nothing of the last visit can run.
        given_up: it did not park while it waited in stock; it is being closed and must not be used.
        characters: of the last snapshot.
    """

    visiting: bool = False
    committed: bool = False
    pending: bool = False
    stopped: bool = False
    failed: str | None = None
    left: str | None = None
    crashed: bool = False
    loaded: bool = True
    navigations: int = 0
    documents: Counter[str] = field(default_factory=Counter)
    marked_at: int | None = None
    parked: bool = True
    given_up: bool = False
    characters: int = 0


def cleaning_script(token: str) -> str:
    """Return the init script that clears the tab's storage in the first document that sees the token."""
    return (
        f"if (window === top && window.name === {json.dumps(token)}) {{"
        " try { sessionStorage.clear() } catch {} window.name = '' }"
    )


def _look(token: str | None) -> str:
    """Return the expression that marks a page and tells what could harm the next visit.

    `getEventListeners` is of the inspector's command line; it knows attributes and `on...` properties too.
    """
    mark = "" if token is None else f"try {{ sessionStorage.clear() }} catch {{}} window.name = {json.dumps(token)};"
    return f"""(() => {{
        const w = getEventListeners(window), d = getEventListeners(document);
        const leaving = w.beforeunload || w.pagehide || w.unload || w.visibilitychange || d.visibilitychange;
        {mark}
        return (leaving ? 1 : 0) + ',' + window.length + ',' + document.getElementsByTagName('*').length;
    }})()"""


def unfit(page: "PlaywrightPage") -> str | None:
    """Tell why a page must not serve another visit, as far as is known without asking it; None: it may."""
    state = page.state
    if page.context.closed:
        return "its context is gone"
    if state.crashed:
        return "its renderer crashed"
    if page.closed:
        return "it was closed"
    if page.lasting:
        return f"user code called {', '.join(sorted(page.lasting))}"
    if state.failed is not None:
        return f"its navigation failed: {state.failed}"
    if state.pending:
        return "its navigation was still pending"
    return None if state.committed else "no document committed"


async def recondition(
    page: "PlaywrightPage", cleaning: Cleaning, *, growth_bytes_max: int, limit_s: float
) -> str | None:
    """Apply the rule.

    Returns:
        None when the page may serve another visit, else why not. Never raises.
    """
    deadline = time.monotonic() + limit_s
    reason = unfit(page)
    if reason is not None:
        return reason
    try:
        async with asyncio.timeout(limit_s):
            if not await page.context.close_extras(page, limit_s=min(limit_s, _LOOK_LIMIT_S)):
                return "a popup of its visit did not close"
            large = page.state.characters > _CHARACTERS_MANY
            if cleaning is Cleaning.FULL:
                reason, nodes = await _clean(page)
                large = large or nodes > _NODES_MANY
            if reason is None:
                reason = await _grown(page, growth_bytes_max, now=large, limit_s=max(0.05, deadline - time.monotonic()))
    except TimeoutError:
        return "it did not answer in time"
    except PlaywrightError:
        return unfit(page) or "it did not answer"
    return reason or unfit(page)


async def _clean(page: "PlaywrightPage") -> tuple[str | None, int]:
    """Mark a page, reset its history, and park it when it could harm the next navigation. Returns reason and nodes."""
    token = None if page.context.keep_tab_storage else page.context.token
    if token is not None:
        await page.context.ensure_cleaner(limit_s=_LOOK_LIMIT_S)
    look, _ = await asyncio.gather(page.look(_look(token), limit_s=_LOOK_LIMIT_S), page.reset_history(_LOOK_LIMIT_S))
    leaving, frames, nodes = (int(part) for part in look.split(","))
    page.state.marked_at = None if token is None else page.state.navigations
    must_leave = leaving or frames or not page.state.loaded
    if must_leave and not await park(page):
        return "it did not park on about:blank", nodes
    return None, nodes


async def park(page: "PlaywrightPage") -> bool:
    """Move a page to about:blank, where nothing of the last visit runs, and mark it. Returns whether it went."""
    if not await page.leave(_PARK_LIMIT_S):
        return False
    if page.state.marked_at is not None:
        await page.look(_look(page.context.token), limit_s=_LOOK_LIMIT_S)
        page.state.marked_at = page.state.navigations
    await page.reset_history(_LOOK_LIMIT_S)
    page.state.parked = True
    return True


def needs_new_mark(state: TabState) -> bool:
    """Tell whether a page has navigated by itself since it was marked: its new document has used the token up."""
    return state.marked_at is not None and state.marked_at != state.navigations


class Rest:
    """Parks a page that waits in stock for longer than a moment; one that does not park is closed.

    A page that is wanted again soon costs one timer. Owned by the page; its tasks are the context's, and end with it.
    """

    def __init__(self, page: "PlaywrightPage") -> None:
        self._page = page
        self._timer: asyncio.TimerHandle | None = None
        self._parking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """The page goes back to stock with its last document in it."""
        self._timer = asyncio.get_running_loop().call_later(REST_S, self._start_parking)

    async def end(self) -> None:
        """The page is wanted for a visit: let a parking that has begun end, 500 ms at most.

        Raises:
            ContextBroken: the page did not park; another must be used.
        """
        if self._timer is not None:
            self._timer.cancel()
        if self._parking is not None:
            await asyncio.wait({self._parking})
            self._parking = None
        if self._page.state.given_up:
            raise ContextBroken("the page's last document did not let go of it; it is closed, another one is taken")

    def stop(self) -> None:
        """The page ends."""
        if self._timer is not None:
            self._timer.cancel()
        if self._parking is not None:
            self._parking.cancel()

    def _start_parking(self) -> None:
        if not self._page.closed:
            self._parking = self._page.context.spawn(self._park())

    async def _park(self) -> None:
        page = self._page
        parked = False
        try:
            async with asyncio.timeout(_PARK_LIMIT_S):
                if page.state.marked_at is not None:  # what it has stored since goes, too
                    await page.look(_look(page.context.token), limit_s=_PARK_LIMIT_S)
                parked = await park(page)
        except Exception:  # noqa: BLE001 - the task boundary: whatever it was, the page is not used again
            parked = False
        if not parked and not page.closed:
            page.state.given_up = True
            page.context.spawn(self._close())

    async def _close(self) -> None:
        await self._page.interrupt(limit_s=_LOOK_LIMIT_S)
        await self._page.close(limit_s=_CLOSE_LIMIT_S)


async def _grown(page: "PlaywrightPage", growth_bytes_max: int, *, now: bool, limit_s: float) -> str | None:
    """Tell whether the page's renderer has grown too much.

    Chromium does not tell which renderer is a page's. So all are looked at (cheap, at most once a second), and only
    when one is too large is the page's own found. With one process per site the limit grows with the
    pages that were in it at once: what they left is not given back when one of them closes.
    """
    link = page.link
    pages = page.context.pages_peak if link.process_per_site else 1
    limit = RENDERER_BASE_BYTES + growth_bytes_max * pages
    large = await link.renderers.larger_than(limit, now=now, limit_s=limit_s)
    home = await link.renderers.home(page.main_s, limit_s=limit_s) if large else None
    for renderer in large:
        if renderer.process == home:
            return f"its renderer has grown to {renderer.own_bytes / 1e6:.0f} MB (limit {limit / 1e6:.0f} MB)"
    return None
