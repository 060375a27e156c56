"""Failed results on their way to the user's `on_failed`, one after the other, beside the crawl."""

import asyncio
from collections import deque
from collections.abc import Callable

from browsercrawl.crawler.handlers import OnFailed
from browsercrawl.events import Emit, HandlerRaised
from browsercrawl.result import Result

LIMIT_S = 60.0
"""Showing one result may take this long; so may showing those that are left when the crawl has ended."""

WAITING_MAX = 100
"""So many failed results may wait before nothing more is claimed."""


class Failures:
    """Shows results to `on_failed`. Its task lives only while there is something to show; `close` ends it."""

    def __init__(self, on_failed: OnFailed, *, emit: Emit, on_room: Callable[[], None]) -> None:
        self._on_failed = on_failed
        self._emit = emit
        self._on_room = on_room
        self._waiting: deque[Result] = deque()
        self._task: asyncio.Task[None] | None = None

    def has_room(self) -> bool:
        """Tell whether the handler keeps up."""
        return len(self._waiting) < WAITING_MAX

    def put(self, result: Result) -> None:
        """Take a failed result, to be shown soon."""
        self._waiting.append(result)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._show_all(), name="on_failed")

    async def close(self, *, limit_s: float) -> None:
        """Wait until all are shown, at most so long; then give up the rest and say so."""
        task = self._task
        if task is None:
            return
        await asyncio.wait({task}, timeout=limit_s)
        if not task.done():
            left = len(self._waiting) + 1
            task.cancel()
            await asyncio.wait({task}, timeout=limit_s)
            self._tell("", f"the run ended with {left} failed results not shown to it")

    async def _show_all(self) -> None:
        while self._waiting:
            result = self._waiting.popleft()
            await self._show(result)
            self._on_room()

    async def _show(self, result: Result) -> None:
        async def run() -> None:
            await self._on_failed(result)

        # A task of its own: a cancellation that user code makes for itself must not pass for one of ours.
        task = asyncio.create_task(run(), name=f"on_failed {result.request_id}")
        try:
            await asyncio.wait({task}, timeout=LIMIT_S)
        finally:
            task.cancel()
        if not task.done():
            self._tell(result.request_id, f"it did not return within {LIMIT_S:g} s and was cancelled")
        elif task.cancelled():
            self._tell(result.request_id, "it was cancelled from inside")
        elif (error := task.exception()) is not None:
            self._tell(result.request_id, f"{type(error).__name__}: {error}")

    def _tell(self, request_id: str, message: str) -> None:
        self._emit(HandlerRaised(request_id=request_id, where="on_failed", message=message))
