"""What is done to a page that does not obey, from a word to its script to the death of its renderer.

A renderer may hold other pages, which die with it without having done anything. `Kills` knows what was killed on
purpose and for whose sake, so that each page that reports a crash can tell whether it is to blame.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import psutil
from playwright.async_api import Error as PlaywrightError

from browsercrawl.browser.calls import is_closed_error
from browsercrawl.errors import BrowsercrawlError, ContextBroken, MemoryExceeded, PageCrashed
from browsercrawl.urls import shown

if TYPE_CHECKING:
    from browsercrawl.browser.page import PlaywrightPage

ANSWER_LIMIT_S = 0.25
"""A renderer that lets us in answers within milliseconds."""

_MOMENT_S = 2.0
"""So long after a kill a crash is laid to it (measured: 12 ms on an idle machine)."""

_KILLS_MAX = 64


@dataclass(frozen=True, slots=True)
class _Kill:
    """One renderer that was killed: when, for whose sake, and how much it held if that was the reason.

    With `error` all pages in it end with that, whoever they are.

    Attributes:
        aims: the pages it was meant for, as far as they are in it.
    """

    at: float
    aims: Collection["PlaywrightPage"]
    held: str = ""
    error: Callable[[], BrowsercrawlError] | None = None

    @property
    def is_shared(self) -> bool:
        """Several pages may have taken the memory: which one cannot be told."""
        return len(self.aims) > 1


class Kills:
    """The renderers that were killed on purpose a moment ago."""

    def __init__(self) -> None:
        self._kills: deque[_Kill] = deque(maxlen=_KILLS_MAX)

    def aim(self, aims: Collection["PlaywrightPage"], *, held: str = "") -> None:
        """Note, just before it is done, that a renderer is killed.

        Args:
            aims: the pages for whose sake; whoever else is in it is not to blame.
            held: how much memory it held, against which limit; empty: it did not answer.
        """
        self._kills.append(_Kill(time.monotonic(), aims, held))

    def give_up(self, error: Callable[[], BrowsercrawlError]) -> None:
        """Note, just before it is done, that a renderer is killed for the others' sake; its pages end with this."""
        self._kills.append(_Kill(time.monotonic(), (), error=error))

    def fate(self, page: "PlaywrightPage") -> Callable[[], BrowsercrawlError]:
        """Return what makes the error of a page whose renderer has just died."""
        since = time.monotonic() - _MOMENT_S
        recent = [kill for kill in reversed(self._kills) if kill.at >= since]
        mine = next((kill for kill in recent if page in kill.aims), None)
        if mine is None and recent and recent[0].error is not None:
            return recent[0].error
        if mine is not None and mine.held:
            if mine.is_shared:
                return partial(PageCrashed, f"its renderer, with {len(mine.aims)} pages in it, held {mine.held}")
            return partial(MemoryExceeded, f"its renderer held {mine.held}")
        if mine is None and recent:
            why = "held too much memory" if recent[0].held else "did not answer"
            return partial(ContextBroken, f"its renderer was killed because another page in it {why}")
        return partial(PageCrashed, f"the renderer of {shown(page.raw.url)} died")


async def interrupt(page: "PlaywrightPage", *, limit_s: float) -> bool:
    """End the script that is running now. Returns whether the page answers again."""
    if page.gone() is not None:
        return False
    if await _answers(page, min(ANSWER_LIMIT_S, limit_s / 3)):
        return True  # termination would hit the next script, an innocent one
    ended = await page.link.calls.settled(page.session.send("Runtime.terminateExecution"), limit_s=limit_s / 3)
    return ended and await _answers(page, limit_s / 3)


async def _answers(page: "PlaywrightPage", limit_s: float) -> bool:
    try:
        await page.link.calls.run(page.session.send("Runtime.evaluate", {"expression": "1"}), limit_s=limit_s)
    except TimeoutError:
        return False
    except PlaywrightError as error:
        return not is_closed_error(error)  # an error is an answer, too
    return True


async def stop_loading(page: "PlaywrightPage", *, limit_s: float) -> bool:
    """Have the page fetch nothing more. Returns whether it obeyed."""
    if page.gone() is not None:
        return False
    page.state.stopped = True
    return await page.link.calls.settled(page.session.send("Page.stopLoading"), limit_s=limit_s)


async def crash(page: "PlaywrightPage", *, limit_s: float) -> bool:
    """Crash the page's renderer. Returns whether it is gone."""
    deadline = time.monotonic() + limit_s
    await stop_loading(page, limit_s=min(ANSWER_LIMIT_S, limit_s / 2))  # Chromium crashes none that navigates
    if page.gone() is None:
        page.link.kills.aim((page,))
        sending = asyncio.ensure_future(page.session.send("Page.crash"))
        try:
            await page.wait_end(limit_s=deadline - time.monotonic())  # the command itself is never answered
        finally:
            page.link.calls.abandon(sending)
    return page.gone() is not None


async def kill_renderer(page: "PlaywrightPage", *, limit_s: float) -> bool:
    """Kill the process of the page's renderer. Returns whether it is gone."""
    deadline = time.monotonic() + limit_s
    if page.gone() is not None:
        return True
    try:
        doomed = await _renderers_of(page, limit_s=limit_s)
    except (TimeoutError, PlaywrightError):
        return page.gone() is not None
    if doomed:
        page.link.kills.aim((page,))
        for process in doomed:
            kill(process)
        await page.wait_end(limit_s=deadline - time.monotonic())
    return page.gone() is not None


async def _renderers_of(page: "PlaywrightPage", *, limit_s: float) -> list[psutil.Process]:
    """Return the process a page lives in. Where it does not answer: those that are stopped, no use to any."""
    renderers = page.link.renderers
    home = None
    try:
        async with asyncio.timeout(limit_s / 2):
            while home is None:
                home = await renderers.home(page.main_s, limit_s=limit_s / 2)
    except (TimeoutError, PlaywrightError):
        return [process for process in await renderers.listed(limit_s=limit_s / 4) if _is_stopped(process)]
    return [home]


def _is_stopped(process: psutil.Process) -> bool:
    try:
        return bool(process.status() in {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP})
    except psutil.Error:
        return False


def kill(process: psutil.Process) -> None:
    """Kill a process, unless it is gone or its number has become another's."""
    try:
        process.kill()
    except psutil.Error:
        return
