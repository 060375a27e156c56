"""The pool's background work: one owner for every task it starts."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from browsercrawl.clock import Clock
from browsercrawl.events import Emit

_T = TypeVar("_T")


class Background:
    """Owns tasks; none outlives `finish`. A task's failure that nobody awaits goes to the loop's exception handler."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, _T], name: str) -> asyncio.Task[_T]:
        """Start a task."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def wait_first(self, future: asyncio.Future[Any], *, limit_s: float) -> bool:
        """Wait for a shared future without cancelling it. Returns whether it is done within the limit."""
        if not future.done() and limit_s > 0:
            timer = self.spawn(self._clock.sleep(limit_s), "pool: timer")
            try:
                await asyncio.wait({future, timer}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                timer.cancel()
        return future.done()

    async def finish(self, *, limit_s: float) -> None:
        """Wait for all tasks but the caller's, cancel what is left after the limit, and wait for that too."""
        await asyncio.sleep(0)  # a task cancelled before its first step would leave its work never awaited
        me = asyncio.current_task()
        timer = asyncio.create_task(self._clock.sleep(limit_s))
        while (rest := self._tasks - {me}) and not timer.done():
            await asyncio.wait({*rest, timer}, return_when=asyncio.FIRST_COMPLETED)
        timer.cancel()
        while rest := self._tasks - {me}:
            for task in rest:
                task.cancel()
            await asyncio.wait(rest)
        await asyncio.wait({timer})


class Changes:
    """Wakes all who wait for the pool's books to change, so that they decide anew."""

    def __init__(self) -> None:
        self._next: asyncio.Future[None] | None = None

    def next(self) -> "asyncio.Future[None]":
        """Return a future that is done at the next change; shared by all who wait."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        return self._next

    def notify(self) -> None:
        """Announce a change."""
        changed, self._next = self._next, None
        if changed is not None:
            changed.set_result(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What all parts of a pool work with."""

    clock: Clock
    emit: Emit
    tasks: Background
    changes: Changes
