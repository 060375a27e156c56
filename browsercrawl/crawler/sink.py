"""Where a run's results go: counted, written, shown to `on_failed`, handed to whoever streams."""

import asyncio
from collections import deque
from collections.abc import Callable

from browsercrawl.crawler.failures import Failures
from browsercrawl.frontier import Record
from browsercrawl.output import Projection, counts_of, result_line
from browsercrawl.result import Outcome, Result

BUFFER_PER_PAGE = 2
"""Results that may wait for the consumer, for each page in use, before nothing more is claimed."""


class RunSink:
    """The `ResultSink` of a run.

    Args:
        projection: writes the committed lines; None: nobody wants any.
        buffer: for whoever streams the results.
        failures: shows failed results to `on_failed`.
        on_result: is told of each result.
    """

    def __init__(
        self,
        *,
        projection: Projection | None,
        buffer: "ResultBuffer | None",
        failures: Failures | None,
        on_result: Callable[[Result], None],
    ) -> None:
        self._projection = projection
        self._buffer = buffer
        self._failures = failures
        self._on_result = on_result

    def has_room(self) -> bool:
        """Tell whether the writer, the stream's consumer and `on_failed` keep up, as far as there are any."""
        return (
            (self._projection is None or self._projection.has_room())
            and (self._buffer is None or self._buffer.has_room())
            and (self._failures is None or self._failures.has_room())
        )

    def record(self, result: Result) -> Record:
        """Return what the frontier is to keep of a result."""
        ending, counts = counts_of(result)
        line = result_line(result).encode() if self._projection is not None else None
        return Record(ending=ending, line=line, counts=counts)

    def put(self, result: Result) -> None:
        """Take a result that is committed."""
        self._on_result(result)
        if self._projection is not None:
            self._projection.wake()
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
