"""A run seen as a stream of results."""

from types import TracebackType
from typing import TYPE_CHECKING, Self

from browsercrawl.dispatcher import finish
from browsercrawl.result import Result

if TYPE_CHECKING:
    from browsercrawl.crawler.run import Run
    from browsercrawl.output import Summary


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
        await finish(self._run.close())

    def __del__(self) -> None:
        self._run.abandon()
