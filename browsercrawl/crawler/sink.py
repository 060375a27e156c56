"""Where a run's results go: counted, written, shown to `on_failed`, handed to whoever streams."""

import asyncio
from collections import deque

from browsercrawl.crawler.failures import Failures
from browsercrawl.output import Meter, ResultWriter
from browsercrawl.result import Outcome, Result

BUFFER_PER_PAGE = 2
"""Results that may wait for the consumer, for each page in use, before nothing more is claimed."""


class RunSink:
    """The `ResultSink` of a run."""

    def __init__(
        self, meter: Meter, *, writer: ResultWriter | None, buffer: "ResultBuffer | None", failures: Failures | None
    ) -> None:
        self._meter = meter
        self._writer = writer
        self._buffer = buffer
        self._failures = failures

    def has_room(self) -> bool:
        """Tell whether the stream's consumer and `on_failed` keep up, as far as there are any."""
        return (self._buffer is None or self._buffer.has_room()) and (
            self._failures is None or self._failures.has_room()
        )

    async def put(self, result: Result) -> None:
        """Take a result.

        Raises:
            OutputFailed: it cannot be written.
        """
        self._meter.count_result(result)
        if self._writer is not None:
            await self._writer.write(result)
        if self._failures is not None and result.outcome is Outcome.FAILED:
            self._failures.put(result)
        if self._buffer is not None:
            self._buffer.put(result)


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
