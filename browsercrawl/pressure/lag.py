"""How late the event loop comes to what is due."""

import asyncio
from types import TracebackType
from typing import Self

from browsercrawl.clock import Clock

_EVERY_S = 0.15


class LoopLag:
    """Sleeps over and over, and remembers how late it woke. Measures while it is entered.

    Args:
        clock: that of the crawl.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._worst_s = 0.0
        self._due_s: float | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to measure."""
        self._task = asyncio.create_task(self._watch(), name="loop-lag")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        task, self._task, self._due_s = self._task, None, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    def take_worst_s(self) -> float:
        """Return the worst lag since the last call, one that still lasts included, and begin anew."""
        self._look()
        worst_s, self._worst_s = self._worst_s, 0.0
        return worst_s

    def _look(self) -> None:
        now = self._clock.now()
        if self._due_s is not None and now > self._due_s:
            self._worst_s = max(self._worst_s, now - self._due_s)
            self._due_s = now  # so that what is told once is not told again when the task comes to wake

    async def _watch(self) -> None:
        while True:
            self._due_s = self._clock.now() + _EVERY_S
            await self._clock.sleep(_EVERY_S)
            self._look()
