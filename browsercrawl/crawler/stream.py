"""A run seen as a stream of results."""

import asyncio
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Self

from browsercrawl.result import Result

if TYPE_CHECKING:
    from browsercrawl.crawler.run import Run
    from browsercrawl.output import Summary

BUFFER_PER_PAGE = 2
"""Results that may wait for the consumer, for each page in use, before nothing more is claimed."""


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


class Stream:
    """Results of a run as they come: an async iterator, and an async context manager that ends the run.

    The run starts with the first result asked for. Leaving the loop early stops claiming at once, when the stream is
    dropped or closed; `aclose`, the crawler's exit or its next run end the open pages. What was not visited then has
    no result.

    Raises:
        BrowsercrawlError, or what the input raised: from `__anext__`, after the results that were there before.
    """

    def __init__(self, run: "Run") -> None:
        self._run = run

    @property
    def summary(self) -> "Summary | None":
        """The run's summary; None before its end."""
        return self._run.summary

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Result:
        result = await self._run.take()
        if result is None:
            raise StopAsyncIteration
        return result

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the run: nothing more is claimed, open pages are closed. Idempotent."""
        await self._run.close()

    def __del__(self) -> None:
        self._run.abandon()
