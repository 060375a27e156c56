"""The pool's one browser: launched when needed, watched, and replaced when it is lost.

A browser counts as *proved* once a page could be opened in it. Launches that fail and browsers that die unproved count
as failures in a row: each makes the next launch wait longer, and the last of the budget is raised.
"""

import asyncio
from collections.abc import Callable

from browsercrawl.clock import Clock
from browsercrawl.errors import BrowsercrawlError, LaunchFailed
from browsercrawl.events import BrowserCrashed, BrowserLaunched, BrowserRetired, Emit
from browsercrawl.pool.background import Background
from browsercrawl.pool.lifecycle import BrowserState, moved
from browsercrawl.ports import BrowserPort, LaunchBrowser

LAUNCH_FAILURES_MAX = 5
"""So many launches in a row may fail, or die unproved, before `LaunchFailed` is raised."""
LAUNCH_BACKOFF_S = 0.5
"""Pause before the launch after a failure; doubles with each failure in a row."""
LAUNCH_BACKOFF_MAX_S = 8.0
"""The pause never grows past this."""
REAP_LIMIT_S = 5.0
"""What is left of a lost browser gets so long to be cleared away before the next one starts."""


class Supervisor:
    """Owns the browser.

    Args:
        launch: starts one.
        on_lost: told synchronously that a generation is dead, with the reason; returns how many leases died with it.

    Attributes:
        generation: number of the browser that is up or was last; 0 before the first.
        launches: browsers that came up.
    """

    def __init__(
        self,
        launch: LaunchBrowser,
        *,
        clock: Clock,
        emit: Emit,
        tasks: Background,
        on_lost: Callable[[int, str], int],
    ) -> None:
        self.generation = 0
        self.launches = 0
        self._launch = launch
        self._clock = clock
        self._emit = emit
        self._tasks = tasks
        self._on_lost = on_lost
        self._state = BrowserState.DOWN
        self._browser: BrowserPort | None = None
        self._failures = 0
        self._is_proved = False
        self._launching: asyncio.Task[BrowsercrawlError | None] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._reaping: asyncio.Task[bool] | None = None

    @property
    def browser(self) -> BrowserPort | None:
        """The browser, if it is up. One that has died but was not reported yet is declared lost here."""
        if self._browser is not None and self._browser.lost is not None:
            self.lose(self.generation, self._browser.lost)
        return self._browser

    @property
    def is_up(self) -> bool:
        """A browser is up."""
        return self._state is BrowserState.UP

    def launching(self, *, failures_max: int = LAUNCH_FAILURES_MAX) -> "asyncio.Task[BrowsercrawlError | None]":
        """Return the one launch that is going on, started if there is none; its result is None or the failure.

        Args:
            failures_max: give up after so many failures in a row.
        """
        if self._launching is None:
            self._transition(BrowserState.LAUNCHING)
            self._launching = self._tasks.spawn(self._launch_until_up(failures_max), "pool: launch browser")
        return self._launching

    def proved(self) -> None:
        """Note that the browser works: failures before it do not count any more, nor does its own end."""
        self._failures = 0
        self._is_proved = True

    def lose(self, generation: int, reason: str) -> None:
        """Declare a browser dead: at once nothing of it is handed out any more, and what is left of it is killed.

        Does nothing if that generation is not up (any more).
        """
        browser = self._browser
        if generation != self.generation or browser is None:
            return
        self._transition(BrowserState.DOWN)
        self._browser = None
        self._failures += not self._is_proved
        if self._watch is not None:
            self._watch.cancel()
        leases_lost = self._on_lost(generation, reason)
        self._emit(BrowserCrashed(generation=generation, reason=reason, leases_lost=leases_lost))
        self._reaping = self._tasks.spawn(_reap(browser), "pool: clear away lost browser")

    async def close(self, *, limit_s: float) -> bool:
        """Close the browser for good; a launch going on is cancelled. Returns whether nothing had to be forced."""
        browser, up = self._browser, self._state is BrowserState.UP
        self._transition(BrowserState.CLOSED)
        self._browser = None
        for task in (self._watch, self._launching):
            if task is not None and not task.done():
                task.cancel()
        if browser is None or not up:
            return True
        clean = await browser.close(limit_s=limit_s)
        self._emit(BrowserRetired(generation=self.generation, clean=clean))
        return clean

    async def _launch_until_up(self, failures_max: int) -> BrowsercrawlError | None:
        try:
            while True:
                error = await self._launch_once()
                if error is None:
                    return None
                if not isinstance(error, LaunchFailed):
                    break
                self._failures += 1
                if self._failures >= failures_max:
                    break
        finally:
            self._launching = None
            if self._state is BrowserState.LAUNCHING:
                self._transition(BrowserState.DOWN)
        self._failures = 0
        return error

    async def _launch_once(self) -> BrowsercrawlError | None:
        if self._failures >= LAUNCH_FAILURES_MAX:
            return LaunchFailed(
                f"the browser died {self._failures} times in a row before it could open a page; "
                "`browsercrawl doctor` tells what is wrong"
            )
        if self._reaping is not None:
            await asyncio.wait({self._reaping})
        if self._failures:
            await self._clock.sleep(min(LAUNCH_BACKOFF_S * 2.0 ** (self._failures - 1), LAUNCH_BACKOFF_MAX_S))
        started_at = self._clock.now()
        try:
            browser = await self._launch()
        except BrowsercrawlError as error:
            return error
        if self._state is not BrowserState.LAUNCHING:  # the pool closed in the very moment the launch came back
            await asyncio.shield(self._tasks.spawn(_reap(browser), "pool: clear away unwanted browser"))
            return LaunchFailed("the pool was closed during the launch")
        self._transition(BrowserState.UP)
        self._browser = browser
        self._is_proved = False
        self.generation += 1
        self.launches += 1
        self._watch = self._tasks.spawn(self._watch_loss(browser, self.generation), "pool: watch browser")
        facts = browser.facts
        self._emit(
            BrowserLaunched(
                pid=facts.pid,
                binary=facts.binary,
                version=facts.version,
                sandbox=facts.sandbox,
                generation=self.generation,
                took_s=self._clock.now() - started_at,
            )
        )
        return None

    async def _watch_loss(self, browser: BrowserPort, generation: int) -> None:
        self.lose(generation, await browser.wait_lost())

    def _transition(self, new: BrowserState) -> None:
        self._state = moved(self._state, new, what="the pool's browser")


async def _reap(browser: BrowserPort) -> bool:
    """Kill what is left of a browser, then let it clear away its files."""
    await browser.kill()
    return await browser.close(limit_s=REAP_LIMIT_S)
