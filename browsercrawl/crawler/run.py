"""One run: it wires the concepts for one crawl, owns their lives, and ends with a summary.

The run's task belongs to the run, and the run to its crawler; a stream only looks at it, so that a dropped stream can
say so (`abandon`) without keeping anything alive.
"""

import asyncio
import os
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from enum import Enum

from browsercrawl.clock import Clock
from browsercrawl.config import CrawlerConfig
from browsercrawl.crawler.account import Account
from browsercrawl.crawler.failures import LIMIT_S, Failures
from browsercrawl.crawler.files import RunFiles, open_run, storing_in
from browsercrawl.crawler.governor import Governor
from browsercrawl.crawler.handlers import HandlerTable
from browsercrawl.crawler.sink import BUFFER_PER_PAGE, ResultBuffer, RunSink
from browsercrawl.crawler.watch import watch
from browsercrawl.dispatcher import Dispatcher, Seeds, Wiring, finish
from browsercrawl.errors import BrowsercrawlError, CrawlerClosed, OutputFailed
from browsercrawl.events import Emit, Event, RunFinished, RunStarted, Status, discard
from browsercrawl.net import Guard
from browsercrawl.output import (
    ArtifactStore,
    EventLog,
    FinishReason,
    Projection,
    Sink,
    Space,
    Summary,
    redacted,
)
from browsercrawl.pool import Pool
from browsercrawl.pressure import Sensors
from browsercrawl.redaction import redact_text
from browsercrawl.result import Result
from browsercrawl.sessions import Sessions
from browsercrawl.version import VERSION
from browsercrawl.visit import Visitor

END_LIMIT_S = 10.0
"""After a failure results get so long to be written; the rest stays in the run's outbox."""

CLOSE_GRACE_S = 0.5
"""What user code still runs at a stop gets so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunParts:
    """What a crawler gives to each of its runs.

    Attributes:
        open_pool: returns the crawler's pool, started.
        sessions: who the crawl is; opened and kept in that pool.
        guard, sensors: of the network, and of the machine.
        after: awaited at the run's end, by a crawler that keeps nothing warm.
        sinks: get each result's record.
        job: the job as it was written, kept with a new run.
    """

    config: CrawlerConfig
    handlers: HandlerTable
    clock: Clock
    on_event: Emit
    open_pool: Callable[[], Awaitable[Pool]]
    sessions: Sessions
    guard: Guard
    sensors: Sensors
    after: Callable[[], Awaitable[None]] | None
    sinks: Sequence[Sink] = ()
    job: str | None = None


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
        self._parts = parts
        self._seeds = seeds
        self._before = before
        self._state = RunState.NEW
        self._abandoned = False
        self._superseded = False
        self._takers = 0
        self._stop_reason: FinishReason | None = None
        self._buffer = ResultBuffer(parts.config.pages_start * BUFFER_PER_PAGE) if buffered else None
        self._stop_detail: str | None = None
        self._task: asyncio.Task[None] | None = None
        self._log: EventLog | None = None
        self._space: Space | None = None
        self._files: RunFiles | None = None
        self._artifacts: ArtifactStore | None = None
        self._account: Account | None = None
        self._impatience: asyncio.Task[None] | None = None
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
            await finish(self.close())
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
        if self._state is not RunState.OVER and self._pool is not None and self._account is not None:
            active = self._dispatcher.active if self._dispatcher else 0
            self._last_status = self._account.status(self._pool, active=active, sessions=self._parts.sessions)
        return self._last_status

    # --- the run itself --------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._state is RunState.NEW:
            self._state = RunState.RUNNING
            self._task = asyncio.create_task(self._run(), name="run")
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
        if self._impatience is not None:
            self._impatience.cancel()
        if self._task is not None and not self._task.done():
            self._impatience = self._task.get_loop().create_task(self._wait_patiently(drain_s), name="drain deadline")

    async def _wait_patiently(self, drain_s: float) -> None:
        await self._parts.clock.sleep(drain_s)
        self._lose_patience()

    def _lose_patience(self) -> None:
        """From now on nothing waits for room on the disk, nor for a sink; what has room goes on as before."""
        if self._space is not None:
            self._space.give_up()

    def _on_limit(self, reason: FinishReason, detail: str) -> None:
        if not self._is_stopping():
            self._stop_detail = detail
            self._request_stop(reason, self._parts.config.drain_s)

    def _is_stopping(self) -> bool:
        return self._stop_reason is not None

    async def _run(self) -> None:
        if self._before is not None:
            await self._before.close()
            self._before = None
        try:
            async with AsyncExitStack() as stack:
                await self._carry_out(stack)
        finally:
            if (waiting := self._impatience) is not None:
                waiting.cancel()
                await asyncio.wait({waiting})

    async def _carry_out(self, stack: AsyncExitStack) -> None:
        parts, config = self._parts, self._parts.config
        parts.sessions.begin_run()
        self._space = Space(clock=parts.clock, emit=self.emit, on_change=self._wake)
        self._files = files = await open_run(
            stack,
            config,
            clock=parts.clock,
            space=self._space,
            session_limit_of=parts.sessions.roster.claims_max,
            job=parts.job,
        )
        stack.callback(self._leave_directory, files)
        self._log = EventLog(
            run_id=files.run_id,
            clock=parts.clock,
            path=files.directory.events if files.directory else None,
            listeners=[] if parts.on_event is discard else [parts.on_event],
        )
        stack.push_async_callback(self._log.close)
        if parts.after is not None:  # before the log is closed, which shall hold the browser's end as well
            stack.push_async_callback(parts.after)
        await self._prepare(files)
        projection = self._project(files)
        if projection is not None:
            projection.start(on_failure=self._fail, on_room=self._wake)
            stack.push_async_callback(_end_quietly, projection)
        stack.callback(self._lose_patience)  # what ends the run must not wait for room on the disk
        try:
            self._pool = await self._open_pool()
            if self._pool is not None:
                await self._crawl(self._pool, files, projection)
            if projection is not None:
                await projection.close()  # before the summary: it must not speak of lines that are not there
        except Exception as error:
            if isinstance(error, OutputFailed) and self._is_stopping():  # it waits for room no longer
                self._stop_detail = error.message
            else:
                with suppress(OutputFailed):
                    await self._finish(FinishReason.FAILED, detail=_described(error))
                raise
        await self._finish(await self._reason(), detail=self._detail())

    async def _prepare(self, files: RunFiles) -> None:
        """Open the books; tell that the run begins."""
        config, clock = self._parts.config, self._parts.clock
        self._account = Account(
            files, clock=clock, config=config.limits, guard=self._parts.guard, on_limit=self._on_limit
        )
        if files.directory is not None:
            assert self._space is not None, "made before the files"
            self._artifacts = ArtifactStore(files.directory.artifacts, space=self._space)
            await self._account.measure(self._artifacts)
        await files.frontier.note({"finish_reason": ""})
        self.emit(
            RunStarted(
                version=VERSION,
                profile=config.profile,
                concurrency=config.pages_start,
                options=config.model_dump(mode="json", fallback=str),
                resumed=files.resumed,
                finished=files.frontier.counts().finished,
                returned=files.returned,
            )
        )

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

    def _project(self, files: RunFiles) -> Projection | None:
        """Make what writes the results; None when nobody wants any."""
        assert self._space is not None, "made before the files"
        if files.results is None and not self._parts.sinks:
            return None
        return Projection(
            files.frontier,
            file=files.results,
            sinks=self._parts.sinks,
            space=self._space,
            clock=self._parts.clock,
            emit=self.emit,
        )

    async def _crawl(self, pool: Pool, files: RunFiles, projection: Projection | None) -> None:
        parts, account = self._parts, self._account
        assert account is not None, "opened before the pool"
        visitor = Visitor(clock=parts.clock, emit=self.emit)
        on_failed = parts.handlers.on_failed
        failures = Failures(on_failed, emit=self.emit, on_room=self._wake) if on_failed else None
        wiring = Wiring(
            owner=f"{files.run_id}-{os.getpid()}-{uuid.uuid4().hex[:8]}",
            frontier=files.frontier,
            pool=pool,
            visitor=visitor,
            sink=RunSink(projection=projection, buffer=self._buffer, failures=failures, on_result=account.count),
            handlers=parts.handlers,
            sessions=parts.sessions,
            guard=parts.guard,
            clock=parts.clock,
            emit=self.emit,
            store_file=storing_in(self._artifacts) if self._artifacts else None,
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
                on_tick=account.look,
            ),
            name="pulse",
        )
        governor = Governor(wiring, parts.config, dispatcher=dispatcher, sensors=parts.sensors, on_limit=self._on_limit)
        helpers = {pulse, asyncio.create_task(governor.govern(), name="governor")}
        if files.directory is not None:
            helpers.add(asyncio.create_task(account.keep(parts.config.status_every_s), name="books"))
        try:
            await dispatcher.run(self._seeds)
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.wait(helpers)
            if failures is not None:
                await failures.close(limit_s=CLOSE_GRACE_S if dispatcher.stopping else LIMIT_S)
        for helper in helpers:
            if not helper.cancelled():
                helper.result()  # it ends by itself only with an error

    async def _finish(self, reason: FinishReason, *, detail: str | None) -> None:
        """Make the summary, tell it, write it."""
        files, account = self._files, self._account
        if files is None or account is None:
            return
        if self._pool is not None:
            self.emit(self.status())
        self.summary = summary = await account.summary(
            reason,
            detail=detail,
            options=self._parts.config.model_dump(mode="json", fallback=str),
            events_dropped=self._log.dropped if self._log else 0,
        )
        self.emit(
            RunFinished(
                finish_reason=reason,
                succeeded=summary.succeeded,
                failed=summary.failed,
                skipped=summary.skipped,
                unfinished=summary.unfinished,
                duplicates=summary.duplicates,
                links_skipped=dict(summary.links_skipped),
                duration_s=summary.duration_s,
            )
        )
        try:
            await account.close(reason)
            if files.directory is not None:
                files.directory.write_summary(summary)
        except OutputFailed:
            if not self._is_stopping():  # stopped on a full disk; whoever resumes the run writes them
                raise

    async def _reason(self) -> FinishReason:
        if self._dispatcher is not None and self._dispatcher.stop_reason is not None:
            return FinishReason.HANDLER_STOP
        if self._stop_reason is not None or self._account is None:
            return self._stop_reason or FinishReason.FINISHED
        return await self._account.reason(self._dispatcher)

    def _detail(self) -> str | None:
        if self._dispatcher is None or self._stop_detail is not None:
            return self._stop_detail
        if self._dispatcher.paused_sessions:
            return self._dispatcher.paused_detail
        if self._dispatcher.input_left:
            return f"max_requests ({self._parts.config.links.max_requests}) was reached; further input was not read"
        return self._dispatcher.stop_reason

    def _fail(self, error: Exception) -> None:
        if self._dispatcher is not None:  # else `Projection.close` tells
            self._dispatcher.fail(error)

    def _wake(self) -> None:
        if self._dispatcher is not None:
            self._dispatcher.wake()

    def _leave_directory(self, files: RunFiles) -> None:
        # No browser: nothing happened that is worth keeping, unless in an earlier process.
        if files.directory and self._pool is None and not files.resumed and not self._is_stopping():
            files.directory.discard()


async def _end_quietly(projection: Projection) -> None:
    """Write what can be written; the rest stays in the outbox for whoever resumes the run."""
    with suppress(BrowsercrawlError):
        await projection.close(limit_s=END_LIMIT_S)


def _described(error: BaseException) -> str:
    return error.message if isinstance(error, BrowsercrawlError) else redact_text(f"{type(error).__name__}: {error}")
