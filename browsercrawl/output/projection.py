"""From the outbox to `results.jsonl` and the sinks: each finished request's line, in commit order, whatever is killed.

A commit leaves the finished line in the store's outbox. One task per run takes lines out of it, a batch at a time, and
only when a batch is safe everywhere does it leave the outbox; the same transaction records the file's new size. A run
that is opened again cuts the file to the recorded size and writes what the outbox holds: no line is lost, none twice.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol

from browsercrawl.clock import Clock
from browsercrawl.errors import BrowsercrawlError, InternalError, OutputFailed, RunDamaged
from browsercrawl.events import Emit, HandlerRaised
from browsercrawl.output.results import ResultFile, record_of
from browsercrawl.output.sinks import Sink
from browsercrawl.output.space import Space, wait_up_to
from browsercrawl.redaction import redact_text
from browsercrawl.result import ResultRecord

BATCH = 500
"""Lines written and synced at once."""

BEHIND_MAX = 5_000
"""So many committed lines may wait before nothing more should be claimed."""

GATHER_S = 0.2
"""Lines are gathered for so long, so that under load one sync serves many."""

SINK_LIMIT_S = 30.0
"""One call of a sink may take so long."""

SINK_PAUSES_S = (1.0, 5.0)
"""A sink that failed is tried again after each of these."""

GIVEN_UP_S = 1.0
"""What can be written at once still is, after nobody wants to wait any more."""

_CANCEL_GRACE_S = 1.0


class StoredLine(Protocol):
    """A finished line in the outbox."""

    @property
    def number(self) -> int:
        """Grows in commit order."""

    @property
    def line(self) -> bytes:
        """JSON, without newline."""


class Outbox(Protocol):
    """What the projection asks of a store."""

    async def lines(self, limit: int) -> Sequence[StoredLine]:
        """Return the first `limit` lines, in commit order; they stay."""

    async def emptied(self, *, upto: int, size: int) -> None:
        """Take the lines up to this number out, and record the file's size, in one step."""


class Projection:
    """Moves lines from an outbox to where they are safe.

    Attributes:
        failed: why it stopped moving them; None while all is well. What is left stays in the outbox.
    """

    def __init__(
        self,
        outbox: Outbox,
        *,
        file: ResultFile | None,
        sinks: Sequence[Sink] = (),
        space: Space,
        clock: Clock,
        emit: Emit,
    ) -> None:
        """Take what it works on; file and sinks are its own from now on, and `close` closes them.

        Args:
            outbox: of the run's store.
            file: where lines go; None: to the sinks only.
            sinks: the user's, told in this order.
            space: waits while the disk is full.
            clock: for pauses and limits.
            emit: hears of sinks that fail.
        """
        self.failed: Exception | None = None
        self._outbox = outbox
        self._file = file
        self._sinks = tuple(sinks)
        self._space = space
        self._clock = clock
        self._emit = emit
        self._behind = 0
        self._woken = asyncio.Event()  # there may be lines
        self._hurry = asyncio.Event()  # no gathering: somebody waits, or a batch is full
        self._flushes: list[asyncio.Future[None]] = []
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._on_room: Callable[[], None] = _nothing

    def start(self, *, on_failure: Callable[[Exception], None], on_room: Callable[[], None]) -> None:
        """Begin; what the outbox holds already is taken first.

        Args:
            on_failure: called once, with `failed`; the run should end.
            on_room: called when `has_room` may have become true.
        """
        assert self._task is None, "a projection starts once"
        self._on_room = on_room
        self._task = asyncio.create_task(self._run(on_failure), name="projection")
        self._woken.set()

    def wake(self, lines: int = 1) -> None:
        """Say that so many lines were committed."""
        self._behind += lines
        self._woken.set()
        if self._behind >= BATCH:
            self._hurry.set()

    def has_room(self) -> bool:
        """Tell whether writing keeps up with the commits and nobody waits for a full disk."""
        return self._behind < BEHIND_MAX and not self._space.is_paused and self.failed is None

    async def flush(self) -> None:
        """Return when all that is in the outbox now is safe; as long as the disk is full, wait.

        Raises:
            OutputFailed: it cannot be written, or a sink does not take it.
            BrowsercrawlError: the store or a line is damaged.
        """
        if self.failed is not None:
            raise self.failed
        if self._task is None or self._task.done():
            raise OutputFailed("results cannot be written any more: this part of the run is closed")
        flushed = asyncio.get_running_loop().create_future()
        self._flushes.append(flushed)
        self._hurry.set()
        self._woken.set()
        await flushed

    async def close(self, *, limit_s: float | None = None) -> None:
        """Write what the outbox holds, then close file and sinks. May be called again.

        Args:
            limit_s: after so long what is not written stays in the outbox, for the run's resumption. None: as long as
                it takes, a sink as its limits say; but a moment after `Space.give_up` it ends in any case.

        Raises:
            OutputFailed: not all of it could be written; raised by each call.
            BrowsercrawlError: the store or a line is damaged.
        """
        self._closing = True
        self._hurry.set()
        self._woken.set()
        if self._task is None:
            self._task = asyncio.create_task(self._let_go(), name="projection")
        timer = asyncio.ensure_future(self._last_moment(float("inf") if limit_s is None else limit_s))
        try:
            await asyncio.wait({self._task, timer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            await asyncio.wait({timer})
        if not self._task.done():
            self.failed = OutputFailed("not all results were written in time; the rest waits in the run: resume it")
            self._task.cancel()
            await asyncio.wait({self._task})
        if self.failed is not None:
            raise self.failed

    async def _last_moment(self, limit_s: float) -> None:
        await wait_up_to(self._clock, limit_s, event=self._space.gave_up)
        await self._clock.sleep(GIVEN_UP_S)

    # --- the task ----------------------------------------------------------------------------------------------------

    async def _run(self, on_failure: Callable[[Exception], None]) -> None:
        try:
            await self._move_all()
        except Exception as error:  # noqa: BLE001 - the task's boundary: recorded, told, and raised by flush and close
            self.failed = error if isinstance(error, BrowsercrawlError) else _unexpected(error)
            on_failure(self.failed)
        finally:
            for flush in self._flushes:
                if not flush.done():
                    flush.set_exception(self.failed or OutputFailed("the run ended before all results were written"))
                    flush.exception()  # looked at: whoever waited may have been cancelled meanwhile
            await self._let_go()

    async def _move_all(self) -> None:
        while True:
            await self._woken.wait()
            if not self._hurry.is_set():
                await wait_up_to(self._clock, GATHER_S, event=self._hurry)
            # From here on: whoever commits, flushes or closes is served by what follows, or by the next round.
            self._woken.clear()
            self._hurry.clear()
            flushes, closing = tuple(self._flushes), self._closing
            while await self._move_batch():
                pass
            for flush in flushes:
                self._flushes.remove(flush)
                if not flush.done():
                    flush.set_result(None)
            if closing:
                return

    async def _move_batch(self) -> bool:
        """Move the first lines. Returns whether there may be more."""
        told = self._behind  # each of them was in the outbox before it is read
        lines = await self._outbox.lines(BATCH)
        if lines:
            # The order must not change. A line leaves the outbox last, when it is safe everywhere, and in the step
            # that records the file's size: killed before, the run finds the line in the outbox and cuts it out of the
            # file; killed after, neither. Sinks go first, so that one that fails leaves the file as it was recorded.
            for sink in self._sinks:
                await self._hand_over(sink, _records(lines))
            size = await self._write([each.line for each in lines])
            await self._outbox.emptied(upto=lines[-1].number, size=size)
        more = len(lines) == BATCH
        self._behind -= min(told, len(lines)) if more else told
        self._on_room()
        return more

    async def _write(self, lines: Sequence[bytes]) -> int:
        file = self._file
        if file is None:
            return 0

        def append_and_sync() -> int:  # as one: lines that could not be synced are taken out again, and appended anew
            size = file.append(lines)
            file.sync()
            return size

        return await self._space.write(append_and_sync, path=file.path)

    async def _hand_over(self, sink: Sink, records: Sequence[ResultRecord]) -> None:
        name = type(sink).__qualname__
        for pause_s in (*SINK_PAUSES_S, None):
            problem = await self._call(partial(sink.write, records), name)
            if problem is None:
                return
            self._emit(HandlerRaised(request_id=records[0].request_id, where=f"sink {name}", message=problem))
            if pause_s is None:
                raise OutputFailed(
                    f"sink {name} failed {len(SINK_PAUSES_S) + 1} times on the same results, last with: {problem}; "
                    "they wait in the run: mend the sink, then resume"
                )
            await self._clock.sleep(pause_s)

    async def _call(self, call: Callable[[], Awaitable[None]], name: str) -> str | None:
        """Await user code, as long as it may take. Returns what went wrong."""

        async def run() -> None:
            await call()

        # A task of its own: a cancellation that user code makes for itself must not pass for one of ours.
        task = asyncio.create_task(run(), name=f"sink {name}")
        timer = asyncio.ensure_future(self._clock.sleep(SINK_LIMIT_S))
        try:
            await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
            in_time = task.done()
        finally:
            timer.cancel()
            task.cancel()
            await asyncio.wait({task, timer}, timeout=_CANCEL_GRACE_S)
        if not in_time:
            return f"it did not return within {SINK_LIMIT_S:g} s and was cancelled"
        if task.cancelled():
            return "it was cancelled from inside"
        error = task.exception()
        return None if error is None else redact_text(f"{type(error).__name__}: {error}")

    async def _let_go(self) -> None:
        for sink in self._sinks:
            name = type(sink).__qualname__
            if problem := await self._call(sink.close, name):
                self._emit(HandlerRaised(where=f"sink {name}", message=f"while closing: {problem}"))
        if self._file is not None:
            await asyncio.to_thread(self._file.close)


def _records(lines: Sequence[StoredLine]) -> list[ResultRecord]:
    records = []
    for each in lines:
        try:
            records.append(record_of(each.line))
        except ValueError as error:
            raise RunDamaged(f"line {each.number} of the run's outbox is no result ({error})") from None
    return records


def _unexpected(error: Exception) -> InternalError:
    internal = InternalError(redact_text(f"results cannot be written: {type(error).__name__}: {error}"))
    internal.__cause__ = error
    return internal


def _nothing() -> None:
    """Do nothing: nobody waits for room before `start`."""
