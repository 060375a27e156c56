"""The run directory: whole or not there, nobody's but ours, locked while the run lasts."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from browsercrawl.clock import SystemClock
from browsercrawl.errors import OutputFailed, RunBusy, RunDamaged, RunDirectoryError
from browsercrawl.output import FinishReason, Meter, RunDirectory, Summary, default_run_directory, holder_of

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class FixedClock(SystemClock):
    """A clock that stands still."""

    def utc(self) -> datetime:
        return NOW


def make(path: Path, **options: str) -> RunDirectory:
    """Make a run directory."""
    return RunDirectory.create(path, options=dict(options))


def with_store(fresh: Path) -> None:
    """Put the store's file into a directory that is being made."""
    (fresh / "run.sqlite").write_bytes(b"truth")


@contextmanager
def another_process(code: str, *arguments: Path) -> Iterator[subprocess.Popen[str]]:
    """Run Python code in another process, and go on when it has printed a line; it is killed in the end."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


HOLD = """
import sys, pathlib
from browsercrawl.output import RunDirectory
directory = RunDirectory.open(pathlib.Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.read()
"""


def is_locked(directory: Path) -> bool:
    """Tell whether somebody holds the directory's lock."""
    descriptor = os.open(directory / ".lock", os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def test_run_directory_create_makes_all_files_private(tmp_path: Path) -> None:
    """All files are there at once, readable by their owner only, and nothing is left beside the directory."""
    with make(tmp_path / "deep" / "run") as run:
        names = {path.name for path in run.path.iterdir()}
        assert names == {"results.jsonl", "events.jsonl", "artifacts", "job.yaml", ".lock"}
        modes = {path.name: path.stat().st_mode & 0o777 for path in [run.path, *run.path.iterdir()]}
    assert modes == {name: 0o700 if name in {"run", "artifacts"} else 0o600 for name in modes}
    assert list((tmp_path / "deep").iterdir()) == [tmp_path / "deep" / "run"]


def test_run_directory_default_name_has_time_and_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a path it is `runs/<UTC time>-<host>` below the working directory; two in one second get two names."""
    monkeypatch.chdir(tmp_path)
    for name in ("", "_2", "_3"):
        with make(default_run_directory("shop.example:443", FixedClock())) as run:
            assert run.path == tmp_path / "runs" / f"20260102T030405Z-shop.example-443{name}"


def test_run_directory_hostile_host_stays_below_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host name cannot lead out of the directory, nor make a name too long for the file system."""
    monkeypatch.chdir(tmp_path)
    for host in ("../../etc", "[::1]:80", "a" * 500, "", "..", "/"):
        with make(default_run_directory(host, FixedClock())) as run:
            assert run.path.parent == tmp_path / "runs"


@pytest.mark.parametrize("kind", ["directory", "file", "dangling link"])
def test_run_directory_existing_path_is_refused(tmp_path: Path, kind: str) -> None:
    """A path that exists in any form is refused by name, and left as it was."""
    path = tmp_path / "run"
    if kind == "directory":
        path.mkdir()
    elif kind == "file":
        path.touch()
    else:
        path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(RunDirectoryError, match="run exists already"):
        make(path)
    assert list(tmp_path.iterdir()) == [path]


def test_run_directory_impossible_parent_raises_typed_error(tmp_path: Path) -> None:
    """A directory that cannot be made is told with its name and the reason."""
    (tmp_path / "file").touch()
    with pytest.raises(RunDirectoryError, match="run cannot be made: "):
        make(tmp_path / "file" / "run")


def test_run_directory_failure_midway_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When making it fails halfway nothing stays behind, neither the directory nor the hidden one it was made in."""

    def refuse(_descriptor: int, _operation: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(RunDirectoryError, match="No space left"):
        make(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_run_directory_lock_is_held_until_close(tmp_path: Path) -> None:
    """The kernel's lock is held from the first moment to `close`, which may be called again."""
    run = make(tmp_path / "run")
    assert is_locked(run.path)
    run.close()
    assert not is_locked(run.path)
    run.close()


def test_run_directory_job_has_options_without_secrets(tmp_path: Path) -> None:
    """`job.yaml` holds the options in effect as JSON, which is YAML, without what must not be written down."""
    with make(tmp_path / "run", profile="lean", proxy="http://me:hunter2@p.example:1", password="hunter2") as run:
        job = json.loads(run.job.read_text())
    assert job == {"profile": "lean", "proxy": "http://p.example:1", "password": "[redacted]"}


def test_run_directory_summary_is_written_whole(tmp_path: Path) -> None:
    """`summary.json` holds the summary with what follows from it, and replaces an older one in one step."""
    with make(tmp_path / "run") as run:
        summary = Summary(
            **Meter(FixedClock()).totals().model_dump(),
            run_id="r1",
            finish_reason=FinishReason.INTERRUPTED,
            duplicates=0,
            links_skipped={},
            started_at=NOW,
            finished_at=NOW,
            duration_s=0.0,
            options={"proxy": "http://me:hunter2@p.example"},
            run_dir=run.path,
        )
        run.write_summary(summary)
        run.write_summary(summary)
        written = json.loads(run.summary.read_text())
        assert sorted(path.name for path in run.path.iterdir() if "summary" in path.name) == ["summary.json"]
    assert written["exit_code"] == 130
    assert written["finish_reason"] == "interrupted"
    assert written["options"] == {"proxy": "http://p.example"}
    assert written["run_dir"] == str(tmp_path / "run")


# --- made whole ------------------------------------------------------------------------------------------------------


def test_run_directory_prepare_is_part_of_the_whole(tmp_path: Path) -> None:
    """What `prepare` makes is there from the first moment, private, and named by `store`."""
    seen: list[bool] = []

    def prepare(fresh: Path) -> None:
        seen.append((tmp_path / "run").exists())
        with_store(fresh)

    with RunDirectory.create(tmp_path / "run", prepare=prepare) as run:
        assert run.store.read_bytes() == b"truth"
        assert run.store.stat().st_mode & 0o777 == 0o600
    assert seen == [False]


@pytest.mark.parametrize("error", [OutputFailed("no room"), OSError(28, "No space left on device")])
def test_run_directory_prepare_that_fails_leaves_nothing(tmp_path: Path, error: Exception) -> None:
    """When the store cannot be made there is no directory, and the error says why."""

    def prepare(_fresh: Path) -> None:
        raise error

    with pytest.raises((OutputFailed, RunDirectoryError), match=r"[Nn]o (room|space)"):
        RunDirectory.create(tmp_path / "run", prepare=prepare)
    assert list(tmp_path.iterdir()) == []


def test_run_directory_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file and folder is synced before the rename, and after it the parents that got a new name in them."""
    steps: list[str] = []
    sync, rename = os.fsync, Path.rename

    def note_sync(descriptor: int) -> None:
        steps.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        sync(descriptor)

    def note_rename(self: Path, target: Path) -> Path:
        steps.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "rename", note_rename)
    RunDirectory.create(tmp_path / "new" / "deep" / "run", prepare=with_store).close()
    middle = steps.index("rename")
    names = {Path(step).name.partition(".new-")[0] for step in steps[:middle]}
    files = {"results.jsonl", "events.jsonl", "job.yaml", "run.sqlite", ".lock"}
    assert names == files | {"artifacts", ".run"}
    assert steps[middle + 1 :] == [str(tmp_path / "new" / "deep"), str(tmp_path / "new"), str(tmp_path)]


# --- opened again ----------------------------------------------------------------------------------------------------


def test_run_directory_opened_again_is_as_it_was(tmp_path: Path) -> None:
    """Opening an earlier run changes nothing in it; a folder that a copy left out is made."""
    RunDirectory.create(tmp_path / "run", prepare=with_store).close()
    (tmp_path / "run" / "artifacts").rmdir()
    (tmp_path / "run" / "results.jsonl").write_bytes(b"{}\n")
    with RunDirectory.open(tmp_path / "run") as run:
        assert is_locked(run.path)
        assert run.artifacts.is_dir()
        assert run.results.read_bytes() == b"{}\n"
        assert run.store.read_bytes() == b"truth"
    assert not is_locked(tmp_path / "run")


@pytest.mark.parametrize(
    ("kind", "why"), [("nothing", "does not exist"), ("file", "no directory"), ("empty", "sqlite")]
)
def test_run_directory_open_of_anything_else_says_what_is_missing(tmp_path: Path, kind: str, why: str) -> None:
    """What is no run directory is refused with the reason, and left as it was."""
    path = tmp_path / "run"
    if kind == "file":
        path.touch()
    elif kind == "empty":
        path.mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RunDirectoryError, match=f"run is no run directory: it .*{why}"):
        RunDirectory.open(path)
    assert sorted(tmp_path.rglob("*")) == before
    assert holder_of(path) is None


def test_run_directory_held_by_another_process_is_refused_by_its_name(tmp_path: Path) -> None:
    """The second process is refused and told which process holds the run; after that one is killed it may have it."""
    RunDirectory.create(tmp_path / "run", prepare=with_store).close()
    assert holder_of(tmp_path / "run") is None
    with another_process(HOLD, tmp_path / "run") as process:
        with pytest.raises(RunBusy, match=rf"run is being run by process {process.pid} \(since \d.* UTC\)"):
            RunDirectory.open(tmp_path / "run")
        holder = holder_of(tmp_path / "run")
        assert holder is not None
        assert holder.pid == process.pid
        assert holder.since.timestamp() == pytest.approx((tmp_path / "run" / ".lock").stat().st_mtime)
    assert holder_of(tmp_path / "run") is None
    with RunDirectory.open(tmp_path / "run"):
        holder = holder_of(tmp_path / "run")
        assert holder is not None
        assert holder.pid == os.getpid()


def test_run_directory_just_made_names_its_holder(tmp_path: Path) -> None:
    """The process that made the run is named as well."""
    made = RunDirectory.create(tmp_path / "run", prepare=with_store)
    with made, pytest.raises(RunBusy, match=f"process {os.getpid()} "):
        RunDirectory.open(tmp_path / "run")


def test_run_directory_holder_without_name_is_another_process(tmp_path: Path) -> None:
    """When the lock file does not tell who holds it (the disk was full) nobody is named."""
    with RunDirectory.create(tmp_path / "run", prepare=with_store) as run:
        (run.path / ".lock").write_bytes(b"")
        with pytest.raises(RunBusy, match="another process"):
            RunDirectory.open(run.path)


def test_run_directory_looked_at_can_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who only looks who runs the run, and holds the lock shared for that instant, keeps nobody from opening it."""
    RunDirectory.create(tmp_path / "run", prepare=with_store).close()
    look = os.open(tmp_path / "run" / ".lock", os.O_RDONLY)
    fcntl.flock(look, fcntl.LOCK_SH)
    monkeypatch.setattr(time, "sleep", lambda _: os.close(look))
    RunDirectory.open(tmp_path / "run").close()


def test_run_directory_discard_keeps_an_earlier_run(tmp_path: Path) -> None:
    """Only who made the directory may remove it."""
    made = RunDirectory.create(tmp_path / "run", prepare=with_store)
    made.close()
    opened = RunDirectory.open(tmp_path / "run")
    opened.discard()
    assert not is_locked(tmp_path / "run")
    made = RunDirectory.create(tmp_path / "other", prepare=with_store)
    made.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


# --- results taken back ----------------------------------------------------------------------------------------------

LINES = [json.dumps({"request_id": name, "n": [1, 2]}).encode() + b"\n" for name in "abcd"]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    """A run with four results."""
    with RunDirectory.create(tmp_path / "run", prepare=with_store) as made:
        made.results.write_bytes(b"".join(LINES))
        yield made


def test_run_directory_results_replaced_in_two_steps(run: RunDirectory) -> None:
    """The new file stands beside the old until the swap; lines that stay are the same bytes, in the same order."""
    size = run.replace_results({"b", "d"}.__contains__, size=len(b"".join(LINES)))
    assert run.results.read_bytes() == b"".join(LINES)
    run.finish_swap()
    assert run.results.read_bytes() == LINES[1] + LINES[3]
    assert size == run.results.stat().st_size
    assert run.results.stat().st_mode & 0o777 == 0o600
    run.finish_swap()
    assert run.results.read_bytes() == LINES[1] + LINES[3]
    assert not (run.path / "results.jsonl.new").exists()


def test_run_directory_new_results_without_note_are_dropped(run: RunDirectory) -> None:
    """New results that the store does not know of are removed; the old ones stand."""
    run.replace_results(lambda _: False, size=len(b"".join(LINES)))
    run.drop_swap()
    run.drop_swap()
    run.finish_swap()
    assert run.results.read_bytes() == b"".join(LINES)


def test_run_directory_replaced_results_end_at_the_recorded_size(run: RunDirectory) -> None:
    """What was written but never recorded is not taken over."""
    assert run.replace_results(lambda _: True, size=len(LINES[0] + LINES[1])) == len(LINES[0] + LINES[1])


@pytest.mark.parametrize("line", [b"nonsense\n", b"[]\n", b"{}\n"])
def test_run_directory_damaged_results_are_not_replaced(run: RunDirectory, line: bytes) -> None:
    """A line that is no result is named; nothing is changed, no new file stays."""
    run.results.write_bytes(LINES[0] + line)
    with pytest.raises(RunDamaged, match="line 2 is no result"):
        run.replace_results(lambda _: True, size=len(LINES[0] + line))
    assert not (run.path / "results.jsonl.new").exists()
    assert run.results.read_bytes() == LINES[0] + line


def test_run_directory_results_shorter_than_recorded_are_not_replaced(run: RunDirectory) -> None:
    """Results that lost bytes are reported before any is taken back."""
    with pytest.raises(RunDamaged, match="the run has recorded"):
        run.replace_results(lambda _: True, size=10_000)
    assert not (run.path / "results.jsonl.new").exists()


def test_run_directory_no_room_for_new_results_leaves_the_old(run: RunDirectory) -> None:
    """When the new file cannot be written one typed error says so, and nothing has changed."""
    (run.path / "results.jsonl.new").symlink_to(Path("/dev/full"))
    with pytest.raises(OutputFailed, match="No space left on device; nothing was taken back"):
        run.replace_results(lambda _: True, size=len(b"".join(LINES)))
    assert run.results.read_bytes() == b"".join(LINES)
    assert not (run.path / "results.jsonl.new").is_symlink()
