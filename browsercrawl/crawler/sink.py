"""Where a run's results go: counted, written, shown to `on_failed`, handed to whoever streams."""

import asyncio
from collections import deque

from browsercrawl.crawler.handlers import OnFailed
from browsercrawl.events import Emit, HandlerRaised
from browsercrawl.output import Meter, ResultWriter
from browsercrawl.result import Outcome, Result

BUFFER_PER_PAGE = 2
"""Results that may wait for the consumer, for each page in use, before nothing more is claimed."""

ON_FAILED_LIMIT_S = 60.0
"""An `on_failed` handler may take this long."""


class RunSink:
    """The `ResultSink` of a run."""

    def __init__(
        self,
        meter: Meter,
        *,
        writer: ResultWriter | None,
        buffer: "ResultBuffer | None",
        on_failed: OnFailed | None,
        emit: Emit,
    ) -> None:
        self._meter = meter
        self._writer = writer
        self._buffer = buffer
        self._on_failed = on_failed
        self._emit = emit

    def has_room(self) -> bool:
        """Tell whether the consumer keeps up; a run without a stream has none to wait for."""
        return self._buffer is None or self._buffer.has_room()

    async def put(self, result: Result) -> None:
        """Take a result.

        Raises:
            OutputFailed: it cannot be written.
        """
        self._meter.count_result(result)
        if self._writer is not None:
            await self._writer.write(result)
        if self._on_failed is not None and result.outcome is Outcome.FAILED:
            await self._show(self._on_failed, result)
        if self._buffer is not None:
            self._buffer.put(result)

    async def _show(self, on_failed: OnFailed, result: Result) -> None:
        async def run() -> None:
            await on_failed(result)

        # A task of its own: a cancellation that user code makes for itself must not pass for one of ours.
        task = asyncio.create_task(run(), name="on_failed")
        await asyncio.wait({task}, timeout=ON_FAILED_LIMIT_S)
        if not task.done():
            task.cancel()
            message = f"it did not return within {ON_FAILED_LIMIT_S:g} s and was cancelled"
        elif task.cancelled():
            message = "it was cancelled from inside"
        elif (error := task.exception()) is not None:
            message = f"{type(error).__name__}: {error}"
        else:
            return
        self._emit(HandlerRaised(request_id=result.request_id, where="on_failed", message=message))


class ResultBuffer:
    """Results between the run and whoever takes them; the run stops claiming when it is full."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._results: deque[Result] = deque()
        self._changed = asyncio.Event()
        self._ended = False

    def has_room(self) -> bool:
        """Tell whether fewer than `size` results wait."""
        return len(self._results) < self._size

    def put(self, result: Result) -> None:
        """Add a result; never refused, the bound is kept by claiming less."""
        self._results.append(result)
        self._changed.set()

    def end(self) -> None:
        """Say that no more results will come."""
        self._ended = True
        self._changed.set()

    async def take(self) -> Result | None:
        """Return the next result, waiting for it; None after the last one."""
        while not self._results:
            if self._ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._results.popleft()
