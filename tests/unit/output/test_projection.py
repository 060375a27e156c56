"""The projection: every committed line reaches file and sinks in order, and leaves the outbox only when it is safe."""

import asyncio
import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from browsercrawl.clock import Clock, SystemClock
from browsercrawl.errors import BrowsercrawlError, InternalError, OutputFailed, RunDamaged
from browsercrawl.events import Event, HandlerRaised, RunContinued, RunPaused
from browsercrawl.output import Projection, ResultFile, Sink, Space, read_lines, result_line
from browsercrawl.output.projection import BATCH, BEHIND_MAX, GATHER_S, SINK_LIMIT_S, SINK_PAUSES_S
from browsercrawl.result import Outcome, Result, ResultRecord
from browsercrawl.testing.virtual_clock import VirtualClock

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@dataclass(frozen=True)
class Line:
    """A line in the outbox."""

    number: int
    line: bytes


def line(number: int) -> Line:
    """Give the line of a result."""
    result = Result(request_id=f"{number:032x}", url="https://a.example/", outcome=Outcome.SUCCEEDED, finished_at=NOW)
    return Line(number, result_line(result).encode())


class Box:
    """An outbox in memory, which also keeps what was recorded."""

    def __init__(self) -> None:
        self.held: list[Line] = []
        self.sizes: list[int] = []
        self.recorded = asyncio.Event()
        self.committed = 0

    def commit(self, count: int) -> None:
        """Put so many lines in."""
        self.held += [line(self.committed + step + 1) for step in range(count)]
        self.committed += count

    async def lines(self, limit: int) -> Sequence[Line]:
        return self.held[:limit]

    async def emptied(self, *, upto: int, size: int) -> None:
        self.held = [each for each in self.held if each.number > upto]
        self.sizes.append(size)
        self.recorded.set()


class ListSink:
    """A sink that keeps what it was given, and fails or hangs as it is told."""

    def __init__(self, *problems: Exception | str) -> None:
        self.records: list[str] = []
        self.calls = 0
        self.called = asyncio.Event()
        self.closed = 0
        self._problems = list(problems)

    async def write(self, records: Sequence[ResultRecord]) -> None:
        self.calls += 1
        self.called.set()
        problem = self._problems.pop(0) if self._problems else None
        if isinstance(problem, Exception):
            raise problem
        if problem == "hang":
            await asyncio.Event().wait()
        if problem == "cancel":
            raise asyncio.CancelledError
        self.records += [record.request_id for record in records]

    async def close(self) -> None:
        self.closed += 1


class Stage:
    """A projection with all it needs, and what it did."""

    def __init__(
        self, path: Path, sinks: Sequence[Sink] = (), *, file: bool = True, clock: Clock | None = None
    ) -> None:
        self.clock = clock or VirtualClock(autojump=True)
        self.events: list[Event] = []
        self.failures: list[Exception] = []
        self.box = Box()
        self.path = path / "results.jsonl"
        self.file = ResultFile(self.path, size=0) if file else None
        self.space = Space(clock=self.clock, emit=self.events.append)
        self.rooms = 0
        self.projection = Projection(
            self.box, file=self.file, sinks=sinks, space=self.space, clock=self.clock, emit=self.events.append
        )

    def start(self) -> Projection:
        """Start it."""

        def on_room() -> None:
            self.rooms += 1

        self.projection.start(on_failure=self.failures.append, on_room=on_room)
        return self.projection

    def commit(self, count: int) -> None:
        """Commit lines and tell."""
        self.box.commit(count)
        self.projection.wake(count)

    @property
    def written(self) -> list[int]:
        """Numbers of the lines in the file."""
        return [int(record.request_id, 16) for record in read_lines(self.path)]


async def test_projection_flush_makes_all_safe_in_order(tmp_path: Path) -> None:
    """After `flush` every line of the outbox is in the file, in commit order; the file's size is recorded with it."""
    stage = Stage(tmp_path)
    stage.box.commit(2 * BATCH)  # left by an earlier process: nobody tells of them
    projection = stage.start()
    stage.commit(3)
    await projection.flush()
    assert stage.written == list(range(1, 2 * BATCH + 4))
    assert projection._behind == 0
    assert stage.box.held == []
    assert stage.box.sizes[-1] == stage.path.stat().st_size
    assert len(stage.box.sizes) == 3
    await projection.flush()
    await projection.close()


async def test_projection_writes_by_itself_and_gathers(tmp_path: Path) -> None:
    """Nobody has to flush: what is committed within a moment is written together, with one sync."""
    stage = Stage(tmp_path)
    projection = stage.start()
    await stage.clock.sleep(1)
    for _ in range(10):
        stage.commit(1)
        await stage.clock.sleep(GATHER_S / 20)
    await stage.box.recorded.wait()
    assert stage.written == list(range(1, 11))
    assert len(stage.box.sizes) == 1
    await projection.close()


async def test_projection_full_batch_does_not_wait(tmp_path: Path) -> None:
    """When a whole batch waits it is written at once."""
    stage = Stage(tmp_path)
    projection = stage.start()
    await stage.clock.sleep(1)
    before = stage.clock.now()
    stage.commit(BATCH)
    await stage.box.recorded.wait()
    assert stage.box.held == []
    assert stage.clock.now() == before
    await projection.close()


async def test_projection_close_writes_what_waits_and_closes(tmp_path: Path) -> None:
    """`close` leaves nothing in the outbox, closes the sinks once, and may be called again; then nothing is taken."""
    sink = ListSink()
    stage = Stage(tmp_path, [sink])
    projection = stage.start()
    stage.commit(7)
    await projection.close()
    await projection.close()
    assert stage.written == list(range(1, 8))
    assert sink.records == [f"{number:032x}" for number in range(1, 8)]
    assert sink.closed == 1
    with pytest.raises(OutputFailed, match="closed"):
        await projection.flush()


async def test_projection_never_started_closes_what_it_was_given(tmp_path: Path) -> None:
    """A run that ends before it began leaves no file and no sink open."""
    sink = ListSink()
    stage = Stage(tmp_path, [sink])
    await stage.projection.close()
    assert sink.closed == 1
    assert stage.file is not None
    with pytest.raises(OSError, match="Bad file"):
        stage.file.append([b"{}"])


async def test_projection_without_file_serves_sinks(tmp_path: Path) -> None:
    """A run without a directory has sinks all the same."""
    sink = ListSink()
    stage = Stage(tmp_path, [sink], file=False)
    stage.start()
    stage.commit(3)
    await stage.projection.close()
    assert len(sink.records) == 3
    assert stage.box.held == []
    assert not stage.path.exists()


async def test_projection_behind_has_no_room_until_written(tmp_path: Path) -> None:
    """Too many lines that are committed but not written: no room; when they are written there is, and it is told."""
    stage = Stage(tmp_path)
    projection = stage.start()
    stage.commit(BEHIND_MAX - 1)
    assert projection.has_room()
    stage.commit(1)
    assert not projection.has_room()
    await projection.flush()
    assert projection.has_room()
    assert stage.rooms > 0
    for _ in range(3 * BEHIND_MAX // BATCH):  # the count does not creep up, nor below nothing
        stage.commit(BATCH)
        await projection.flush()
    assert projection._behind == 0
    await projection.close()


async def test_projection_full_disk_waits_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk is full there is no room and nothing leaves the outbox; then each line is there once."""
    stage = Stage(tmp_path)
    assert stage.file is not None
    left = 5
    sync = stage.file.sync

    def refuse_at_first() -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            assert stage.file is not None
            stage.file._file.cut(stage.file._synced)  # as `sync` does
            raise OSError(errno.ENOSPC, "No space left on device")
        sync()

    monkeypatch.setattr(stage.file, "sync", refuse_at_first)
    rooms: list[bool] = []
    stage.space._on_change = lambda: rooms.append(stage.projection.has_room())
    projection = stage.start()
    stage.commit(20)
    await projection.flush()
    assert rooms == [False, True]
    assert [type(event) for event in stage.events] == [RunPaused, RunContinued]
    assert stage.written == list(range(1, 21))
    await projection.close()


async def test_projection_given_up_on_full_disk_fails_and_keeps_the_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop while the disk is full ends the waiting: one typed error, every line still in the outbox, none torn."""
    stage = Stage(tmp_path, clock=SystemClock())  # virtual time would not wait for the thread that writes
    assert stage.file is not None

    def refuse(_lines: Sequence[bytes]) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stage.file, "append", refuse)
    projection = stage.start()
    stage.commit(20)
    stage.space._on_change = stage.space.give_up
    for _ in range(2):
        with pytest.raises(OutputFailed, match="resume"):
            await projection.close()
    assert len(stage.box.held) == 20
    assert stage.written == []
    assert stage.failures == [projection.failed]
    assert not projection.has_room()


async def test_projection_close_has_a_limit(tmp_path: Path) -> None:
    """With a limit `close` ends in time; what is not written stays in the outbox, and the error says so."""
    sink = ListSink("hang", "hang", "hang")
    stage = Stage(tmp_path, [sink])
    projection = stage.start()
    stage.commit(3)
    for _ in range(2):
        with pytest.raises(OutputFailed, match="the rest waits in the run"):
            await projection.close(limit_s=5)
    assert stage.clock.now() < SINK_LIMIT_S
    assert len(stage.box.held) == 3
    assert sink.closed == 1


@pytest.mark.parametrize("problem", [RuntimeError("no database"), "hang", "cancel"])
async def test_projection_sink_that_recovers_gets_the_same_records_again(
    tmp_path: Path, problem: Exception | str
) -> None:
    """A sink that raises, hangs or cancels itself is told again, with the same records; each failure is an event."""
    sink, other = ListSink(problem, problem), ListSink()
    stage = Stage(tmp_path, [other, sink])
    projection = stage.start()
    stage.commit(3)
    await projection.flush()
    assert sink.calls == 3
    assert other.calls == 1
    assert sink.records == other.records == [f"{number:032x}" for number in (1, 2, 3)]
    assert stage.written == [1, 2, 3]
    told = [event for event in stage.events if isinstance(event, HandlerRaised)]
    assert [event.where for event in told] == ["sink ListSink"] * 2
    assert stage.clock.now() >= sum(SINK_PAUSES_S) + (2 * SINK_LIMIT_S if problem == "hang" else 0)
    await projection.close()


async def test_projection_sink_that_keeps_failing_fails_the_run(tmp_path: Path) -> None:
    """After three failures the run is told, by the sink's name; the lines stay in the outbox and out of the file."""
    sink = ListSink(*[RuntimeError("password=hunter2 refused")] * 3)
    stage = Stage(tmp_path, [sink])
    projection = stage.start()
    stage.commit(3)
    with pytest.raises(OutputFailed, match="sink ListSink failed 3 times") as caught:
        await projection.flush()
    assert "hunter2" not in str(caught.value)
    assert sink.calls == 3
    assert stage.failures == [caught.value]
    assert stage.written == []
    assert len(stage.box.held) == 3
    with pytest.raises(OutputFailed):
        await projection.flush()
    with pytest.raises(OutputFailed):
        await projection.close()
    assert sink.closed == 1


async def test_projection_sink_that_fails_to_close_is_told(tmp_path: Path) -> None:
    """A sink that raises while closing is an event; the results are safe, so the run does not fail."""

    class Unclosable(ListSink):
        async def close(self) -> None:
            raise RuntimeError("already closed")

    stage = Stage(tmp_path, [Unclosable()])
    stage.start()
    stage.commit(1)
    await stage.projection.close()
    (told,) = stage.events
    assert isinstance(told, HandlerRaised)
    assert "while closing: RuntimeError: already closed" in told.message


async def test_projection_sink_that_is_not_async_is_named(tmp_path: Path) -> None:
    """A sink whose `write` is a plain function is a mistake that is told like any other failure."""

    class Plain:
        def write(self, records: Sequence[ResultRecord]) -> None:
            """Do nothing."""

        async def close(self) -> None:
            """Do nothing."""

    stage = Stage(tmp_path, [Plain()])  # type: ignore[list-item]  # the mistake this test is about
    stage.start()
    stage.commit(1)
    with pytest.raises(OutputFailed, match=r"sink .*Plain failed 3 times.*await"):
        await stage.projection.close()


def damaged(stage: Stage) -> None:
    """Put a line into the outbox that is no result."""
    stage.box.held = [Line(1, b"nonsense")]


def broken(stage: Stage) -> None:
    """Let the store raise what no store should."""

    async def lines(limit: int) -> Sequence[Line]:
        raise ZeroDivisionError(limit)

    stage.box.lines = lines  # type: ignore[method-assign]  # the fault of this test


@pytest.mark.parametrize(("spoil", "kind"), [(damaged, RunDamaged), (broken, InternalError)])
async def test_projection_any_failure_surfaces(
    tmp_path: Path, spoil: Callable[[Stage], None], kind: type[BrowsercrawlError]
) -> None:
    """Whatever ends the projection's task reaches the run, `flush` and `close` as one typed error."""
    stage = Stage(tmp_path, [ListSink()])
    spoil(stage)
    projection = stage.start()
    with pytest.raises(kind) as caught:
        await projection.flush()
    with pytest.raises(kind):
        await projection.close()
    assert stage.failures == [caught.value]
    assert stage.written == []


async def test_projection_cancelled_flush_harms_nobody(tmp_path: Path) -> None:
    """Who waited for a flush and was cancelled leaves the projection at work."""
    sink = ListSink("hang")
    stage = Stage(tmp_path, [sink])
    projection = stage.start()
    stage.commit(1)
    waiting = asyncio.ensure_future(projection.flush())
    await sink.called.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await projection.close()
    assert stage.written == [1]
