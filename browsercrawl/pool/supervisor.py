"""The pool's browser: launched when needed, watched, replaced when it is lost, and when it is worn.

A browser counts as *proved* once a page could be opened in it. Launches that fail and browsers that die unproved count
as failures in a row: each makes the next launch wait longer, and the last of the budget is raised. Browsers that were
proved and die young make the next launch wait, too, but never end the run: that may be the doing of pages.

A worn browser is replaced before it breaks: its successor is launched while it still serves; then it *retires*: it gets
no new context, and is closed once its last one is closed. One browser retires at a time.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from browsercrawl.errors import BrowsercrawlError, LaunchFailed
from browsercrawl.events import BrowserCrashed, BrowserLaunched, BrowserLaunchFailed, BrowserRecycled, BrowserRetired
from browsercrawl.pool.background import Means
from browsercrawl.pool.lifecycle import BrowserState, moved
from browsercrawl.pool.wear import Wear
from browsercrawl.ports import Audit, BrowserPort, LaunchBrowser

LAUNCH_FAILURES_MAX = 5
"""So many launches in a row may fail, or die unproved, before `LaunchFailed` is raised."""
LAUNCH_BACKOFF_S = 0.5
"""Pause before the launch after a failure; doubles with each failure in a row."""
LAUNCH_BACKOFF_MAX_S = 8.0
"""The pause never grows past this."""
YOUNG_S = 10.0
"""Who dies before has died young."""
YOUNG_DEATHS_FREE = 2
"""So many may die young in a row before the next launch waits."""
REAP_LIMIT_S = 5.0
"""What is left of a lost or retired browser gets so long to be cleared away."""
REPLACE_AGAIN_S = 60.0
"""A successor that could not be launched is tried again after this."""


@dataclass(slots=True, eq=False, kw_only=True)
class Unit:
    """A browser with its driver, and what is known of it.

    Attributes:
        is_proved: a page could be opened in it.
        seen: the last look at it.
        tasks: that look after it while it is up.
    """

    generation: int
    browser: BrowserPort
    wear: Wear
    launched_at: float
    is_proved: bool = False
    seen: Audit | None = None
    tasks: "tuple[asyncio.Task[None], ...]" = ()

    def forget(self) -> None:
        """Look after it no longer."""
        for task in self.tasks:
            if task is not asyncio.current_task():
                task.cancel()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reactions:
    """What others do about browsers.

    Attributes:
        on_lost: told synchronously that a generation is dead, with the reason; returns how many leases died with it.
        on_retiring: told synchronously that a generation retires, with the reason.
        care: looks after a browser until it is cancelled.
        new_wear: of a browser that has come up.
    """

    on_lost: Callable[[int, str], int]
    on_retiring: Callable[[int, str], None]
    care: Callable[[Unit], Coroutine[Any, Any, None]]
    new_wear: Callable[[], Wear]


class Supervisor:
    """Owns the browser, and the one that retires.

    Args:
        launch: starts one.

    Attributes:
        generation: number of the browser that is up or was last; 0 before the first.
        launches: browsers that came up.
    """

    def __init__(self, launch: LaunchBrowser, *, means: Means, reactions: Reactions) -> None:
        self.generation = 0
        self.launches = 0
        self._launch = launch
        self._clock = means.clock
        self._emit = means.emit
        self._tasks = means.tasks
        self._reactions = reactions
        self._state = BrowserState.DOWN
        self._unit: Unit | None = None
        self._retiring: Unit | None = None
        self._failures = 0
        self._young_deaths = 0
        self._replace_from = 0.0
        self._launching: asyncio.Task[BrowsercrawlError | None] | None = None
        self._reaping: set[asyncio.Task[Any]] = set()

    @property
    def current(self) -> Unit | None:
        """The browser that serves, if it is up. One that has died but was not reported yet is declared lost here."""
        if self._unit is not None and self._unit.browser.lost is not None:
            self.lose(self._unit.generation, self._unit.browser.lost)
        return self._unit

    @property
    def units(self) -> list[Unit]:
        """The browsers that are up, the one that retires included."""
        return [unit for unit in (self._unit, self._retiring) if unit is not None]

    @property
    def up(self) -> int:
        """How many these are."""
        return len(self.units)

    def unit(self, generation: int) -> Unit | None:
        """Return what is known of a browser that is up; None: it is not."""
        return next((unit for unit in self.units if unit.generation == generation), None)

    def launching(self, *, failures_max: int = LAUNCH_FAILURES_MAX) -> "asyncio.Task[BrowsercrawlError | None]":
        """Return the one launch that is going on, started if there is none; its result is None or the failure.

        Args:
            failures_max: give up after so many failures in a row.
        """
        if self._launching is None:
            if self._state is BrowserState.DOWN:
                self._transition(BrowserState.LAUNCHING)
            self._launching = self._tasks.spawn(self._launch_until_up(failures_max), "pool: launch browser")
        return self._launching

    def replace(self, unit: Unit, why: str) -> None:
        """Launch a successor of a worn browser; once it is up, the worn one retires. Does nothing while one does."""
        busy = self._launching or self._retiring or self._reaping or self._clock.now() < self._replace_from
        if unit is self._unit and not busy:
            self._tasks.spawn(self._replace(unit, why), "pool: replace browser")

    async def _replace(self, unit: Unit, why: str) -> None:
        error = await asyncio.shield(self.launching())
        if error is not None:
            self._replace_from = self._clock.now() + REPLACE_AGAIN_S
        elif self._retiring is unit:
            self._emit(BrowserRecycled(generation=unit.generation, why=why, visits=unit.wear.visits))
            self._reactions.on_retiring(unit.generation, f"its browser {why}")

    def retire(self, generation: int) -> None:
        """Close the browser that retires, if it is that one: its last context is closed."""
        unit = self._retiring
        if unit is not None and unit.generation == generation:
            self._retiring = None
            unit.forget()
            self._clear_away(self._close(unit, limit_s=REAP_LIMIT_S))

    def proved(self, generation: int) -> None:
        """Note that a browser works: failures before it do not count any more, nor does its own end."""
        unit = self.unit(generation)
        if unit is not None:
            unit.is_proved = True
            self._failures = 0

    def lose(self, generation: int, reason: str) -> None:
        """Declare a browser dead: at once nothing of it is handed out any more, and what is left of it is killed.

        Does nothing if that generation is not up (any more).
        """
        unit = self.unit(generation)
        if unit is None:
            return
        if unit is self._unit:
            self._unit = None
            self._transition(BrowserState.DOWN if self._launching is None else BrowserState.LAUNCHING)
        else:
            self._retiring = None
        self._failures += not unit.is_proved
        is_young = self._clock.now() - unit.launched_at < YOUNG_S
        self._young_deaths = self._young_deaths + 1 if is_young and unit.is_proved else 0
        unit.forget()
        leases_lost = self._reactions.on_lost(generation, reason)
        self._emit(BrowserCrashed(generation=generation, reason=reason, leases_lost=leases_lost))
        self._clear_away(_reap(unit.browser))

    async def close(self, *, limit_s: float) -> bool:
        """Close all for good; a launch going on is cancelled. Returns whether nothing had to be forced."""
        units = self.units
        self._transition(BrowserState.CLOSED)
        self._unit = self._retiring = None
        if self._launching is not None and not self._launching.done():
            self._launching.cancel()
        for unit in units:
            unit.forget()
        return all(await asyncio.gather(*(self._close(unit, limit_s=limit_s) for unit in units)))

    async def _close(self, unit: Unit, *, limit_s: float) -> bool:
        clean = await unit.browser.close(limit_s=limit_s)
        self._emit(BrowserRetired(generation=unit.generation, clean=clean))
        return clean

    def _clear_away(self, work: Coroutine[Any, Any, Any]) -> None:
        task = self._tasks.spawn(work, "pool: clear away browser")
        self._reaping.add(task)
        task.add_done_callback(self._reaping.discard)

    async def _launch_until_up(self, failures_max: int) -> BrowsercrawlError | None:
        try:
            while True:
                error = await self._launch_once()
                if error is None:
                    return None
                if not isinstance(error, LaunchFailed) or self._state is BrowserState.UP:
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
        if self._state is BrowserState.LAUNCHING and self._reaping:  # what dies makes room for what comes
            await asyncio.wait(set(self._reaping))
        if pauses := max(self._failures, self._young_deaths - YOUNG_DEATHS_FREE, 0):
            await self._clock.sleep(min(LAUNCH_BACKOFF_S * 2.0 ** (pauses - 1), LAUNCH_BACKOFF_MAX_S))
        started_at = self._clock.now()
        try:
            browser = await self._launch()
        except BrowsercrawlError as error:
            took_s = self._clock.now() - started_at
            self._emit(BrowserLaunchFailed(kind=error.kind, message=error.message, took_s=took_s))
            return error
        if self._state is BrowserState.CLOSED:  # the pool closed in the very moment the launch came back
            await asyncio.shield(self._tasks.spawn(_reap(browser), "pool: clear away unwanted browser"))
            return LaunchFailed("the pool was closed during the launch")
        self._install(browser, started_at)
        return None

    def _install(self, browser: BrowserPort, started_at: float) -> None:
        """Make a browser the one that serves; one that is still there retires."""
        if self._state is BrowserState.LAUNCHING:
            self._transition(BrowserState.UP)
        self._retiring = self._unit or self._retiring  # no successor is launched while one retires
        self.generation += 1
        self.launches += 1
        now = self._clock.now()
        wear = self._reactions.new_wear()
        unit = self._unit = Unit(generation=self.generation, browser=browser, wear=wear, launched_at=now)
        unit.tasks = (
            self._tasks.spawn(self._watch_loss(unit), "pool: watch browser"),
            self._tasks.spawn(self._reactions.care(unit), "pool: look after browser"),
        )
        facts = browser.facts
        self._emit(
            BrowserLaunched(
                pid=facts.pid,
                binary=facts.binary,
                version=facts.version,
                sandbox=facts.sandbox,
                generation=self.generation,
                took_s=now - started_at,
            )
        )

    async def _watch_loss(self, unit: Unit) -> None:
        self.lose(unit.generation, await unit.browser.wait_lost())

    def _transition(self, new: BrowserState) -> None:
        self._state = moved(self._state, new, what="the pool's browser")


async def _reap(browser: BrowserPort) -> bool:
    """Kill what is left of a browser, then let it clear away its files."""
    await browser.kill()
    return await browser.close(limit_s=REAP_LIMIT_S)
