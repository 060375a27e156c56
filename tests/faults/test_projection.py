"""Results survive kills and full disks: real processes killed between any two steps, and a file system that is full.

Run as a program this file is the process to be killed: it commits lines into a small SQLite store and projects them.
"""

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from browsercrawl.clock import SystemClock
from browsercrawl.errors import OutputFailed
from browsercrawl.events import Event, RunContinued, RunPaused
from browsercrawl.output import ArtifactStore, Projection, ResultFile, Space, read_lines, result_line
from browsercrawl.output.projection import BATCH
from browsercrawl.result import Outcome, Result, ResultRecord

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LINES = 2 * BATCH + 100
"""Three batches."""

STEPS = ("read", "half appended", "appended", "synced", "recording", "emptied")
"""Where a process is killed; `recording`: in the transaction that records the size and empties the outbox."""

LIMIT_S = 60


class Line(NamedTuple):
    """A line in the outbox."""

    number: int
    line: bytes


def line(number: int) -> bytes:
    """Give the line of a result; they differ in length."""
    result = Result(
        request_id=f"{number:032x}",
        url="https://a.example/" + "x" * (number * 7 % 400),
        outcome=Outcome.SUCCEEDED,
        finished_at=NOW,
    )
    return result_line(result).encode()


class Death:
    """Kills its own process, as `kill -9` does, when a step is reached in the given batch; no step: never."""

    def __init__(self, step: str = "", batch: int = 0) -> None:
        self._step = step
        self._left = batch

    def at(self, step: str) -> None:
        """Say that a step is reached."""
        if step == self._step:
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self._left -= 1

    def comes_at(self, step: str) -> bool:
        """Tell whether the process dies at this step, now."""
        return step == self._step and self._left == 0


class Store:
    """An outbox on disk with the recorded size beside it, changed in transactions."""

    def __init__(self, path: Path, death: Death) -> None:
        self._death = death
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("CREATE TABLE IF NOT EXISTS outbox(number INTEGER PRIMARY KEY, line BLOB)")
        self._database.execute("CREATE TABLE IF NOT EXISTS run(size INTEGER, committed INTEGER)")
        if self._database.execute("SELECT count(*) FROM run").fetchone() == (0,):
            self._database.execute("INSERT INTO run VALUES (0, 0)")

    @property
    def size(self) -> int:
        """The recorded size."""
        return int(self._database.execute("SELECT size FROM run").fetchone()[0])

    @property
    def committed(self) -> int:
        """How many lines were ever committed."""
        return int(self._database.execute("SELECT committed FROM run").fetchone()[0])

    def commit(self, count: int) -> None:
        """Commit the next lines, in one transaction."""
        before = self.committed
        self._database.execute("BEGIN IMMEDIATE")
        for number in range(before + 1, before + count + 1):
            self._database.execute("INSERT INTO outbox VALUES (?, ?)", (number, line(number)))
        self._database.execute("UPDATE run SET committed = committed + ?", (count,))
        self._database.execute("COMMIT")

    async def lines(self, limit: int) -> Sequence[Line]:
        rows = self._database.execute("SELECT number, line FROM outbox ORDER BY number LIMIT ?", (limit,)).fetchall()
        if rows:
            self._death.at("read")
        return [Line(*row) for row in rows]

    async def emptied(self, *, upto: int, size: int) -> None:
        self._database.execute("BEGIN IMMEDIATE")
        self._database.execute("UPDATE run SET size = ?", (size,))
        self._death.at("recording")
        self._database.execute("DELETE FROM outbox WHERE number <= ?", (upto,))
        self._database.execute("COMMIT")
        self._death.at("emptied")

    def close(self) -> None:
        """Close the database."""
        self._database.close()


class MortalFile(ResultFile):
    """The real file, in a process that may die at it."""

    def __init__(self, path: Path, *, size: int, death: Death) -> None:
        super().__init__(path, size=size)
        self._death = death

    def append(self, lines: Sequence[bytes]) -> int:
        if self._death.comes_at("half appended"):
            whole = b"\n".join(lines)
            with self.path.open("ab", buffering=0) as file:
                file.write(whole[: len(whole) // 2])
        self._death.at("half appended")
        size = super().append(lines)
        self._death.at("appended")
        return size

    def sync(self) -> None:
        super().sync()
        self._death.at("synced")


class Journal:
    """A sink that writes each record's id down at once."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def write(self, records: Sequence[ResultRecord]) -> None:
        os.write(self._file, b"".join(f"{int(record.request_id, 16)}\n".encode() for record in records))

    async def close(self) -> None:
        os.close(self._file)


async def live(folder: Path, death: Death, *, pace: int) -> None:
    """Open the run in a folder, commit what is missing of its lines (`pace` at a time), and project them all."""
    with closing(Store(folder / "run.sqlite", death)) as store:
        clock = SystemClock()
        projection = Projection(
            store,
            file=MortalFile(folder / "results.jsonl", size=store.size, death=death),
            sinks=[Journal(folder / "journal")],
            space=Space(clock=clock, emit=lambda _: None),
            clock=clock,
            emit=lambda _: None,
        )
        projection.start(on_failure=lambda _: None, on_room=lambda: None)
        os.write(sys.stdout.fileno(), b"ready\n")
        while (missing := LINES - store.committed) > 0:
            store.commit(min(pace, missing))
            projection.wake(min(pace, missing))
            await clock.sleep(0.005)
        await projection.close()


def process(folder: Path, step: str = "", batch: int = 0, pace: int = LINES) -> subprocess.Popen[bytes]:
    """Live in another process."""
    command = [sys.executable, __file__, str(folder), step, str(batch), str(pace)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def check(folder: Path) -> None:
    """Check that each line is there once, whole and in order, and that the sink saw each at least once."""
    ids = [int(record.request_id, 16) for record in read_lines(folder / "results.jsonl")]
    assert ids == list(range(1, LINES + 1))
    assert (folder / "results.jsonl").read_bytes().endswith(line(LINES) + b"\n")
    with closing(Store(folder / "run.sqlite", Death())) as store:
        assert store.size == (folder / "results.jsonl").stat().st_size
        assert asyncio.run(store.lines(1)) == []
    seen = [int(each) for each in (folder / "journal").read_text().splitlines()]
    assert list(dict.fromkeys(seen)) == ids


# --- killed ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [0, 1])
@pytest.mark.parametrize("step", STEPS)
def test_projection_killed_at_any_step_then_opened_has_each_line_once(tmp_path: Path, step: str, batch: int) -> None:
    """Killed between any two steps of any batch, also twice in a row: afterwards each line is there exactly once."""
    for which in (batch, 0):
        with process(tmp_path, step, which) as mortal:
            assert mortal.wait(LIMIT_S) == -signal.SIGKILL
    written = (tmp_path / "results.jsonl").read_bytes()
    if step == "half appended":
        assert not written.endswith(b"\n")
    with process(tmp_path) as survivor:
        assert survivor.wait(LIMIT_S) == 0
    check(tmp_path)


def test_projection_killed_at_random_moments_has_each_line_once(tmp_path: Path) -> None:
    """Killed from outside, again and again while lines come in, the run ends with each line exactly once."""
    chance = random.Random(1)
    seen: list[tuple[int, int]] = []
    for _ in range(15):
        with process(tmp_path, pace=3) as mortal:
            assert mortal.stdout is not None
            assert mortal.stdout.readline() == b"ready\n"
            try:
                mortal.wait(chance.uniform(0.0, 0.6))
            except subprocess.TimeoutExpired:
                mortal.kill()
        with closing(Store(tmp_path / "run.sqlite", Death())) as store:
            seen.append((store.committed, store.size))
    assert len(set(seen)) > 5, f"the kills came too early or too late to mean anything: {seen}"
    with process(tmp_path) as survivor:
        assert survivor.wait(LIMIT_S) == 0
    check(tmp_path)


# --- a full disk -----------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one mebibyte."""
    mounted = tmp_path / "small"
    mounted.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mounted)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    if done.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    try:
        yield mounted
    finally:
        # lazily: a test that failed may have left a file open
        subprocess.run(["umount", "--lazy", str(mounted)], check=True, timeout=LIMIT_S)


def fill(disk: Path, *, room: int) -> Path:
    """Fill a file system up to so many bytes. Returns the file to remove."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            file.truncate(max(0, file.tell() - room))
    return ballast


class Watch:
    """What a space tells."""

    def __init__(self) -> None:
        self.events: list[type[Event]] = []
        self.paused = asyncio.Event()

    def take(self, event: Event) -> None:
        """Note an event."""
        self.events.append(type(event))
        if isinstance(event, RunPaused):
            self.paused.set()


@contextmanager
def projecting(disk: Path, store: Store, watch: Watch) -> Iterator[tuple[Projection, Space]]:
    """Project a store's lines onto a disk."""
    clock = SystemClock()
    space = Space(clock=clock, emit=watch.take)
    file = ResultFile(disk / "results.jsonl", size=store.size)
    projection = Projection(store, file=file, space=space, clock=clock, emit=watch.take)
    projection.start(on_failure=lambda _: None, on_room=lambda: None)
    yield projection, space


async def test_projection_full_disk_then_room_has_each_line_once(small_disk: Path, tmp_path: Path) -> None:
    """On a full disk the run pauses with whole lines only; with room again it goes on by itself, and ends right."""
    watch = Watch()
    ballast = fill(small_disk, room=200_000)
    with closing(Store(tmp_path / "run.sqlite", Death())) as store:
        store.commit(LINES)
        with projecting(small_disk, store, watch) as (projection, space):
            async with asyncio.timeout(LIMIT_S):
                await watch.paused.wait()
                assert space.is_paused
                assert not projection.has_room()
                written = len(list(read_lines(small_disk / "results.jsonl", size=store.size)))
                assert store.size == (small_disk / "results.jsonl").stat().st_size
                assert len(await store.lines(LINES)) == LINES - written > 0
                ballast.unlink()
                await projection.close()
        assert watch.events == [RunPaused, RunContinued]
        assert store.size == (small_disk / "results.jsonl").stat().st_size
    assert [int(each.request_id, 16) for each in read_lines(small_disk / "results.jsonl")] == list(range(1, LINES + 1))


async def test_projection_stopped_on_full_disk_then_opened_has_each_line_once(small_disk: Path, tmp_path: Path) -> None:
    """A run that is stopped while the disk is full keeps its lines in the outbox; opened later it writes them."""
    watch = Watch()
    ballast = fill(small_disk, room=0)
    with closing(Store(tmp_path / "run.sqlite", Death())) as store:
        store.commit(LINES)
        with projecting(small_disk, store, watch) as (projection, space):
            async with asyncio.timeout(LIMIT_S):
                await watch.paused.wait()
                space.give_up()
                with pytest.raises(OutputFailed, match="No space left on device; free some space, then resume"):
                    await projection.close()
        ballast.unlink()
        with projecting(small_disk, store, watch) as (projection, _):
            await projection.close()
    assert [int(each.request_id, 16) for each in read_lines(small_disk / "results.jsonl")] == list(range(1, LINES + 1))


async def test_artifact_full_disk_then_room_is_whole(small_disk: Path) -> None:
    """On a full disk artifacts wait, and leave nothing half-written; with room again each is there, whole."""
    watch = Watch()
    ballast = fill(small_disk, room=150_000)
    (small_disk / "artifacts").mkdir()
    store = ArtifactStore(small_disk / "artifacts", space=Space(clock=SystemClock(), emit=watch.take))
    picture = random.Random(1).randbytes(100_000)
    tasks = [
        asyncio.create_task(store.write(f"ab{number:030x}", "shot", data=picture, extension="png"))
        for number in range(4)
    ]
    files: Callable[[], list[Path]] = lambda: sorted((small_disk / "artifacts").rglob("*.*"))  # noqa: E731 - two words
    async with asyncio.timeout(LIMIT_S):
        await watch.paused.wait()
        done, waiting = await asyncio.wait(tasks, timeout=0.2)
        assert waiting
        assert [path.read_bytes() for path in files()] == [picture] * len(done)
        ballast.unlink()
        written = await asyncio.gather(*tasks)
    assert [path.read_bytes() for path in files()] == [picture] * 4
    assert [str(small_disk / each.path) for each in written] == [str(path) for path in files()]
    assert store.bytes_written == 400_000
    assert watch.events[0] is RunPaused
    assert watch.events[-1] is RunContinued


if __name__ == "__main__":
    given, at, nth, lines_at_once = sys.argv[1:]
    asyncio.run(live(Path(given), Death(at, int(nth)), pace=int(lines_at_once)))
