"""A clock that a test turns by hand: no real second passes, whatever sleeps on it.

Time stands still while any task can run. It moves when the test says so (`advance`), or to the next sleeper whenever
nothing else can happen (`run_until`, or always with `autojump=True`). Sleepers wake one instant at a time, and all
that follows from an instant happens before the next one comes: the order of events is the order of their times.

Only sleeps on this clock count: work in threads, subprocesses and sockets takes real time and is not waited for.
"""

import asyncio
import heapq
import itertools
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

_T = TypeVar("_T")

_BLIND_ROUNDS = 50
"""Rounds of the event loop taken as "nothing can run" on a loop that does not show its queue."""
_REAL_PATIENCE_S = 1.0
"""Real time that `run_until` gives to what is not on this clock before it calls the wait hopeless."""
_COMPACT_FROM = 256
"""Cancelled sleepers are swept out when there may be so many, and more than live ones."""


class VirtualClock:
    """Implements `browsercrawl.clock.Clock`. Belongs to the event loop it is first used in.

    Args:
        autojump: jump to the next sleeper by itself whenever no task can run.
        start_s: what `now` begins with.
        utc_start: the calendar time at that moment.

    Example:
        >>> async def nap(clock: VirtualClock) -> float:
        ...     await clock.sleep(3600)
        ...     return clock.now()
        >>> async def main() -> float:
        ...     clock = VirtualClock()
        ...     return await clock.run_until(nap(clock))
        >>> asyncio.run(main())
        3600.0
    """

    def __init__(
        self,
        *,
        autojump: bool = False,
        start_s: float = 0.0,
        utc_start: datetime = datetime(2026, 1, 1, tzinfo=UTC),
    ) -> None:
        self._autojump = autojump
        self._start_s = start_s
        self._now = start_s
        self._utc_start = utc_start
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._cancelled = 0
        self._watching = False

    def now(self) -> float:
        """Return the virtual time in seconds."""
        return self._now

    def utc(self) -> datetime:
        """Return the virtual calendar time, in UTC."""
        return self._utc_start + timedelta(seconds=self._now - self._start_s)

    async def sleep(self, seconds: float) -> None:
        """Return when the virtual time has moved on by `seconds`; `inf` never returns. Not positive: at once."""
        loop = asyncio.get_running_loop()
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = loop.create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), future))
        if self._autojump and not self._watching:
            self._watching = True
            loop.call_soon(self._jump_when_idle, loop)
        try:
            await future
        except asyncio.CancelledError:
            self._cancelled += 1
            self._compact()
            raise

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass: wake each sleeper at its time, in order, and return when nothing more can run.

        Args:
            seconds: not negative; 0 only lets all that can run do so.
        """
        if seconds < 0:
            raise ValueError(f"time cannot go back: advance({seconds})")
        end = self._now + seconds
        await self.settle()
        while (instant := self._next_instant()) is not None and instant <= end:
            self._wake(instant)
            await self.settle()
        self._now = end

    async def settle(self) -> None:
        """Return when no other task can run before time moves on."""
        loop = asyncio.get_running_loop()
        rounds = 0
        while not _is_idle(loop, rounds):
            rounds += 1
            await asyncio.sleep(0)

    async def run_until(self, awaitable: Awaitable[_T]) -> _T:
        """Await something, jumping from sleeper to sleeper as often as it takes; return its result.

        Raises:
            RuntimeError: it is not done, nobody sleeps and nothing runs: it would wait for ever.
        """
        future = asyncio.ensure_future(awaitable)
        try:
            while True:
                await self.settle()
                if future.done():
                    return future.result()
                if (instant := self._next_instant()) is not None and instant != float("inf"):
                    self._wake(instant)
                    continue
                await asyncio.wait({future}, timeout=_REAL_PATIENCE_S)
                if not future.done() and self._next_instant() in (None, float("inf")):
                    raise RuntimeError(f"would wait for ever: nobody sleeps, nothing runs, not done: {future!r}")
        finally:
            if not future.done():
                future.cancel()
                await asyncio.wait({future}, timeout=_REAL_PATIENCE_S)

    def _next_instant(self) -> float | None:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def _wake(self, instant: float) -> None:
        """Move to an instant and wake the first of its sleepers; the others of the same instant follow in turn."""
        self._now = max(self._now, instant)
        _, _, future = heapq.heappop(self._sleepers)
        future.set_result(None)

    def _jump_when_idle(self, loop: asyncio.AbstractEventLoop, rounds: int = 0) -> None:
        instant = self._next_instant()
        if instant is None or instant == float("inf"):
            self._watching = False
            return
        if _is_idle(loop, rounds):
            self._wake(instant)
            rounds = -1
        loop.call_soon(self._jump_when_idle, loop, rounds + 1)

    def _compact(self) -> None:
        if self._cancelled > _COMPACT_FROM and self._cancelled * 2 > len(self._sleepers):
            self._sleepers = [entry for entry in self._sleepers if not entry[2].done()]
            heapq.heapify(self._sleepers)
            self._cancelled = 0


def _is_idle(loop: asyncio.AbstractEventLoop, rounds: int) -> bool:
    """Tell whether nothing but the caller could run now.

    asyncio has no public way to ask. Its own loops keep what can run in `_ready`, where the running callback is not
    to be found any more: empty means idle, exactly. Other loops get a fixed number of rounds.
    """
    ready = getattr(loop, "_ready", None)
    return rounds >= _BLIND_ROUNDS if ready is None else not ready
