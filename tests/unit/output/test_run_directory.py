"""The run directory: whole or not there, nobody's but ours, locked while the run lasts."""

import fcntl
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from browsercrawl.clock import SystemClock
from browsercrawl.errors import RunDirectoryError
from browsercrawl.output import FinishReason, Meter, RunDirectory, Summary, default_run_directory

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class FixedClock(SystemClock):
    """A clock that stands still."""

    def utc(self) -> datetime:
        return NOW


def make(path: Path, **options: str) -> RunDirectory:
    """Make a run directory."""
    return RunDirectory.create(path, options=dict(options))


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
