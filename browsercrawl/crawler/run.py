"""One run: it wires the concepts for one crawl, owns their lives, and ends with a summary.

The run's task belongs to the run, and the run to its crawler; a stream only looks at it, so that a dropped stream can
say so (`abandon`) without keeping anything alive.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from enum import Enum

from pydantic import JsonValue

from browsercrawl.clock import Clock
from browsercrawl.config import CrawlerConfig
from browsercrawl.crawler.failures import LIMIT_S, Failures
from browsercrawl.crawler.handlers import HandlerTable
from browsercrawl.crawler.sink import BUFFER_PER_PAGE, ResultBuffer, RunSink
from browsercrawl.crawler.watch import watch
from browsercrawl.dispatcher import Dispatcher, Seeds, Wiring
from browsercrawl.errors import BrowsercrawlError, CrawlerClosed
from browsercrawl.events import Emit, Event, RunFinished, RunStarted, Status, discard
from browsercrawl.frontier import MemoryFrontier
from browsercrawl.output import (
    ArtifactStore,
    EventLog,
    FinishReason,
    Meter,
    ResultWriter,
    RunDirectory,
    Summary,
    redacted,
)
from browsercrawl.politeness import slot_rules
from browsercrawl.pool import Pool
from browsercrawl.pressure import read_memory
from browsercrawl.redaction import redact_text
from browsercrawl.result import Artifact, Result
from browsercrawl.version import VERSION
from browsercrawl.visit import CapturedFile, Visitor

CLOSE_GRACE_S = 0.5
"""What user code still runs at a stop gets so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunParts:
    """What a crawler gives to each of its runs.

    Attributes:
        open_pool: returns the crawler's pool, started.
        after: awaited at the run's end, by a crawler that keeps nothing warm.
    """

    config: CrawlerConfig
    handlers: HandlerTable
    clock: Clock
    on_event: Emit
    open_pool: Callable[[], Awaitable[Pool]]
    after: Callable[[], Awaitable[None]] | None


class RunState(Enum):
    """NEW -> RUNNING -> OVER, or NEW -> OVER when it is closed before it began."""

    NEW = "new"
    RUNNING = "running"
    OVER = "over"


class Run:
    """One crawl, from its first seed to its summary.

    Attributes:
        summary: None before the end, and after an end by an error.
    """

    def __init__(self, parts: RunParts, seeds: Seeds, *, before: "Run | None", buffered: bool) -> None:
        """Make a run; it begins when its results or its end are asked for.

        Args:
            parts: of the crawler.
            seeds: the input.
            before: the crawler's last run; an abandoned one is awaited first.
            buffered: somebody will `take` the results.
        """
        self.summary: Summary | None = None
        self._id = uuid.uuid4().hex[:16]
        self._parts = parts
        self._seeds = seeds
        self._before = before
        self._state = RunState.NEW
        self._abandoned = False
        self._superseded = False
        self._takers = 0
        self._stop_reason: FinishReason | None = None
        self._buffer = ResultBuffer(parts.config.pages_max * BUFFER_PER_PAGE) if buffered else None
        self._meter = Meter(parts.clock)
        self._task: asyncio.Task[None] | None = None
        self._started_at = parts.clock.utc()
        self._started = parts.clock.now()
        self._log: EventLog | None = None
        self._frontier = MemoryFrontier(
            clock=parts.clock, rules_of=slot_rules(parts.config.host), requests_max=parts.config.links.max_requests
        )
        self._dispatcher: Dispatcher | None = None
        self._opening: asyncio.Future[Pool] | None = None
        self._pool: Pool | None = None
        self._last_status = Status()

    @property
    def is_over(self) -> bool:
        """No result will come any more and nobody waits: another run may begin."""
        return self._state is RunState.OVER or self._abandoned

    @property
    def is_left(self) -> bool:
        """Its results are streamed, but nobody waits for one: the consumer may have left its loop."""
        return self._buffer is not None and self._takers == 0

    def predecessor(self) -> "Run | None":
        """Return what must have ended before the next run begins: this one; if it never began, what came before it."""
        return self._before if self._task is None else self

    # --- for the stream and the crawler ----------------------------------------------------------------------------

    async def take(self) -> Result | None:
        """Return the next result; None at the end, and after it.

        Raises:
            CrawlerClosed: the crawler's next run has ended this one.
            BrowsercrawlError, or what the input raised: once, after the last result.
        """
        assert self._buffer is not None, "only a buffered run is taken from"
        if self._superseded:
            raise CrawlerClosed("this stream was ended by the crawler's next run; a crawler does one at a time")
        self._begin()
        self._takers += 1
        try:
            result = await self._buffer.take()
        finally:
            self._takers -= 1
        if result is not None:
            self._wake()
            return result
        if self._task is not None:
            task, self._task = self._task, None
            await task
        return None

    async def finish(self) -> Summary:
        """Run to the end; a cancellation of the caller ends the run before it passes.

        Raises:
            BrowsercrawlError, or what the input raised.
        """
        self._begin()
        assert self._task is not None, "a run that has begun has a task"
        try:
            await asyncio.shield(self._task)
        finally:
            await self.close()
        assert self.summary is not None, "a run that ends without an error has a summary"
        return self.summary

    async def stop(self, drain_s: float, reason: FinishReason) -> None:
        """Claim nothing more; wait until open pages have ended, at most about `drain_s`; the rest is put back."""
        self._request_stop(reason, drain_s)
        if self._task is not None:
            await asyncio.wait({self._task})

    def abandon(self) -> None:
        """Nobody wants the results any more: end at once, without waiting for it."""
        if self._state is RunState.OVER or self._abandoned:
            return
        self._abandoned = True
        if self._task is None or self._task.get_loop().is_closed():
            self._end()
        else:
            self._request_stop(FinishReason.STOPPED, 0.0)

    def supersede(self) -> None:
        """Make room for the crawler's next run: end, and tell whoever comes back for results."""
        self._superseded = True
        self.abandon()

    async def close(self) -> None:
        """End the run now and wait until nothing of it is left. Idempotent; raises nothing."""
        self.abandon()
        if self._before is not None:  # it never began, so it has not waited for that one either
            await self._before.close()
            self._before = None
        if (task := self._task) is not None:
            await asyncio.wait({task})
            _ = task.cancelled() or task.exception()  # looked at, or asyncio would report it as never retrieved
            self._task = None
        self._end()

    def emit(self, event: Event) -> None:
        """Take an event of this run."""
        if self._log is not None:
            self._log.emit(event)
        else:
            with suppress(Exception):  # somebody else's code; the log would tell, but it is not open yet
                self._parts.on_event(redacted(event))

    def status(self) -> Status:
        """Return how the run stands, or how it ended."""
        if self._state is not RunState.OVER and self._pool is not None:
            self._last_status = self._status_now(self._pool)
        return self._last_status

    # --- the run itself --------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._state is RunState.NEW:
            self._state = RunState.RUNNING
            self._started_at, self._started = self._parts.clock.utc(), self._parts.clock.now()
            self._task = asyncio.create_task(self._run(), name=f"run {self._id}")
            self._task.add_done_callback(lambda _: self._end())

    def _end(self) -> None:
        self._state = RunState.OVER
        if self._buffer is not None:
            self._buffer.end()

    def _request_stop(self, reason: FinishReason, drain_s: float) -> None:
        if self._stop_reason is None:
            self._stop_reason = reason
        if self._dispatcher is not None:
            self._dispatcher.stop(drain_s)
        elif self._opening is not None:
            self._opening.cancel()

    def _is_stopping(self) -> bool:
        return self._stop_reason is not None

    async def _run(self) -> None:
        if self._before is not None:
            await self._before.close()
            self._before = None
        async with AsyncExitStack() as stack:
            await self._carry_out(stack)

    async def _carry_out(self, stack: AsyncExitStack) -> None:
        parts, config = self._parts, self._parts.config
        directory = self._make_directory(stack)
        self._log = EventLog(
            run_id=self._id,
            clock=parts.clock,
            path=directory.events if directory else None,
            listeners=[] if parts.on_event is discard else [parts.on_event],
        )
        stack.push_async_callback(self._log.close)
        if parts.after is not None:  # before the log is closed, which shall hold the browser's end as well
            stack.push_async_callback(parts.after)
        writer = ResultWriter(directory.results) if directory else None
        if writer is not None:
            stack.push_async_callback(writer.close)
        self.emit(
            RunStarted(version=VERSION, profile=config.profile, concurrency=config.pages_max, options=_options(config))
        )
        try:
            self._pool = await self._open_pool()
            if self._pool is not None:
                await self._crawl(self._pool, writer, ArtifactStore(directory.artifacts) if directory else None)
            if writer is not None:
                await writer.close()  # before the summary: it must not speak of lines that are not there
        except Exception as error:
            self._finish(FinishReason.FAILED, directory, detail=_described(error))
            raise
        self._finish(self._reason(), directory, detail=None)

    async def _open_pool(self) -> Pool | None:
        """Return the pool; None when the run was stopped before or while the browser was launched."""
        if self._is_stopping():
            return None
        self._opening = asyncio.ensure_future(self._parts.open_pool())
        try:
            return await self._opening
        except asyncio.CancelledError:
            if not self._is_stopping():
                raise
            return None
        finally:
            self._opening = None

    async def _crawl(self, pool: Pool, writer: ResultWriter | None, store: ArtifactStore | None) -> None:
        parts = self._parts
        visitor = Visitor(clock=parts.clock, emit=self.emit)
        on_failed = parts.handlers.on_failed
        failures = Failures(on_failed, emit=self.emit, on_room=self._wake) if on_failed else None
        sink = RunSink(self._meter, writer=writer, buffer=self._buffer, failures=failures)

        async def store_file(request_id: str, file: CapturedFile) -> Artifact:
            assert store is not None, "wired only with a store"
            return await store.write(request_id, file.name, data=file.body, extension=file.extension)

        wiring = Wiring(
            frontier=self._frontier,
            pool=pool,
            visitor=visitor,
            sink=sink,
            handlers=parts.handlers,
            clock=parts.clock,
            emit=self.emit,
            store_file=store_file if store else None,
        )
        self._dispatcher = dispatcher = Dispatcher(wiring, parts.config)
        if self._is_stopping():  # asked for in the very moment the browser was up
            self._dispatcher.stop(0.0)
        pulse = asyncio.create_task(
            watch(
                parts.clock,
                self.emit,
                status=self.status,
                every_s=parts.config.status_every_s,
                recent_handlers=lambda: visitor.take_recent_handlers() + ["the input"] * dispatcher.take_pulled(),
            ),
            name="pulse",
        )
        try:
            await dispatcher.run(self._seeds)
        finally:
            pulse.cancel()
            await asyncio.wait({pulse})
            if failures is not None:
                await failures.close(limit_s=CLOSE_GRACE_S if dispatcher.stopping else LIMIT_S)
        if not pulse.cancelled():
            pulse.result()  # it ends by itself only with an error

    def _finish(self, reason: FinishReason, directory: RunDirectory | None, *, detail: str | None) -> None:
        """Make the summary, tell it, write it."""
        parts = self._parts
        if self._pool is not None:
            self.emit(self.status())
        counts = self._frontier.counts()
        totals = self._meter.totals()
        dispatcher = self._dispatcher
        self.summary = Summary(
            **totals.model_dump(),
            run_id=self._id,
            finish_reason=reason,
            finish_detail=detail or self._detail(),
            links_skipped=dispatcher.links_skipped if dispatcher else {},
            duplicates=counts.duplicates,
            unfinished=counts.open,
            started_at=self._started_at,
            finished_at=parts.clock.utc(),
            duration_s=round(parts.clock.now() - self._started, 3),
            options=_options(parts.config),
            run_dir=directory.path if directory else None,
            events_dropped=self._log.dropped if self._log else 0,
        )
        self.emit(
            RunFinished(
                finish_reason=reason,
                succeeded=totals.succeeded,
                failed=totals.failed,
                skipped=totals.skipped,
                unfinished=counts.open,
                duplicates=counts.duplicates,
                links_skipped=dict(self.summary.links_skipped),
                duration_s=self.summary.duration_s,
            )
        )
        if directory is not None:
            directory.write_summary(self.summary)

    def _reason(self) -> FinishReason:
        if self._dispatcher is not None and self._dispatcher.stop_reason is not None:
            return FinishReason.HANDLER_STOP
        return self._stop_reason or FinishReason.FINISHED

    def _detail(self) -> str | None:
        if self._dispatcher is None:
            return None
        if self._dispatcher.input_left:
            return f"max_requests ({self._parts.config.links.max_requests}) was reached; further input was not read"
        return self._dispatcher.stop_reason

    def _wake(self) -> None:
        if self._dispatcher is not None:
            self._dispatcher.wake()

    def _leave_directory(self, directory: RunDirectory) -> None:
        if self._pool is None and self._task is not None and not self._is_stopping():
            directory.discard()  # no browser: nothing happened that is worth keeping
        else:
            directory.close()

    def _make_directory(self, stack: AsyncExitStack) -> RunDirectory | None:
        config = self._parts.config
        if config.output is None:
            return None
        directory = RunDirectory.create(config.output, options=_options(config))
        stack.callback(self._leave_directory, directory)
        return directory

    def _status_now(self, pool: Pool) -> Status:
        counts = self._frontier.counts()
        totals = self._meter.totals()
        pages = pool.statistics()
        memory = read_memory()
        return Status(
            queued=counts.queued,
            active=self._dispatcher.active if self._dispatcher else 0,
            waiting=counts.waiting,
            retrying=counts.retrying,
            succeeded=totals.succeeded,
            failed=totals.failed,
            skipped=totals.skipped,
            limit=pool.limit,
            pages_per_s=round(self._meter.pages_per_s, 2),
            phase_p50_s=totals.phase_p50_s,
            phase_p95_s=totals.phase_p95_s,
            memory_used_bytes=memory.used_bytes,
            memory_limit_bytes=memory.limit_bytes,
            memory_source=memory.source,
            browsers=pages.browsers,
            contexts=pages.contexts,
            pages=pages.pages,
            elapsed_s=round(self._parts.clock.now() - self._started, 3),
        )


def _options(config: CrawlerConfig) -> dict[str, JsonValue]:
    return config.model_dump(mode="json", fallback=str)


def _described(error: BaseException) -> str:
    return error.message if isinstance(error, BrowsercrawlError) else redact_text(f"{type(error).__name__}: {error}")
