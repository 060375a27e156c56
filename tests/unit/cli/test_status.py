"""`browsercrawl status`: how a run stands, told from its directory without touching it."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from browsercrawl.cli import main
from browsercrawl.cli import status as status_module
from browsercrawl.cli.status import Watch, status_of
from browsercrawl.cli.view import RunState, RunStatus
from browsercrawl.frontier.sqlite import StoreView, read_store
from browsercrawl.output import Holder, RunDirectory
from browsercrawl.result import Result

MakeRun = Callable[..., Path]


def _told(run: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["status", str(run), "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    told: dict[str, Any] = json.loads(line)
    assert RunStatus.model_validate(told).model_dump(mode="json") == told
    return told


def test_status_killed_run_tells_what_is_done_and_how_to_go_on(
    make_run: MakeRun, results: list[Result], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody holds it and no reason was noted: it was killed; counts are the store's, with kinds and reasons."""
    run = make_run(results, waiting=4, unwritten=2)
    told = _told(run, capsys)
    assert (told["state"], told["finish_reason"], told["pid"]) == ("interrupted", None, None)
    assert (told["succeeded"], told["failed"], told["skipped"], told["retried"]) == (1, 1, 1, 3)
    assert (told["failures"], told["skips"]) == ({"network": 1}, {"handler": 1})
    assert (told["stored"], told["finished"], told["queued"], told["claimed"]) == (7, 3, 4, 0)
    assert (told["elapsed_s"], told["started_at"]) == (734.2, "2026-11-21T05:02:12Z")
    assert told["go_on"] == f"browsercrawl resume {run}"
    assert main(["status", str(run)]) == 0
    assert "killed" in capsys.readouterr().out


def test_status_run_that_is_held_names_the_process(
    make_run: MakeRun, results: list[Result], capsys: pytest.CaptureFixture[str]
) -> None:
    """While a process works on the run that is what it says, whatever was noted before; nobody need go on with it."""
    run = make_run(results, waiting=1, notes={"finish_reason": "interrupted"})
    with RunDirectory.open(run):
        told = _told(run, capsys)
    assert told["state"] == "running"
    assert isinstance(told["pid"], int)
    assert (told["finish_reason"], told["go_on"]) == (None, None)
    assert _told(run, capsys)["state"] == "interrupted"


@pytest.mark.parametrize(
    ("reason", "waiting", "state", "shown"),
    [
        ("finished", 0, RunState.FINISHED, "finished"),
        ("max_depth", 0, RunState.FINISHED, "finished (max depth)"),
        ("max_per_host", 0, RunState.FINISHED, "finished (max per host)"),
        ("endless_series", 0, RunState.FINISHED, "finished (endless series)"),
        ("max_per_path", 0, RunState.FINISHED, "finished (max per path)"),
        ("interrupted", 2, RunState.INTERRUPTED, "interrupted"),
        ("max_time", 2, RunState.INTERRUPTED, "ended early (max time)"),
        ("finished", 1, RunState.INTERRUPTED, "interrupted"),  # failed requests were taken back
        ("", 0, RunState.INTERRUPTED, "killed"),  # it may have died before it read on
    ],
)
def test_status_end_of_the_last_process(
    make_run: MakeRun,
    results: list[Result],
    capsys: pytest.CaptureFixture[str],
    reason: str,
    waiting: int,
    state: RunState,
    shown: str,
) -> None:
    """A run is finished when it said so and nothing is left; then, and only then, there is nothing to go on with."""
    run = make_run(results, waiting=waiting, notes={"finish_reason": reason})
    status = Watch(run).look()
    assert status.state is state
    assert (status.go_on is None) == (state is RunState.FINISHED)
    assert main(["status", str(run)]) == 0
    assert capsys.readouterr().out.splitlines()[1].rstrip().endswith(shown)


@pytest.mark.parametrize(
    ("noted_s", "since_s", "shown_s"), [("0.0", 4.5, 4.5), ("734.2", 4.5, 734.2), ("", -3600, 0.0)]
)
def test_status_run_that_is_held_has_worked_at_least_since_its_process_began(
    make_run: MakeRun, noted_s: str, since_s: float, shown_s: float
) -> None:
    """The process notes its time only now and then; a clock that was set back does not make it negative."""
    run = make_run(notes={"elapsed_s": noted_s})
    holder = Holder(pid=1, since=datetime.now(UTC) - timedelta(seconds=since_s))
    status = status_of(run, read_store(run / "run.sqlite"), holder=holder, disk_bytes=0)
    assert status.elapsed_s == pytest.approx(shown_s, abs=1)
    assert status_of(run, read_store(run / "run.sqlite"), holder=None, disk_bytes=0).elapsed_s == float(noted_s or 0)


def test_status_run_of_a_program_has_no_command_to_go_on_with(make_run: MakeRun) -> None:
    """Only the program knows its input and handlers."""
    assert Watch(make_run(waiting=1, is_a_job=False)).look().go_on is None


@pytest.mark.parametrize(
    ("mark", "read"),
    [
        ('{"listed":50}', (50, None, None)),
        ('{"part":"file","file":{"offset":228,"line":6,"size":400,"mtime_ns":1,"hash":"x"}}', (6, 228, 400)),
        ("150", (150, None, None)),
        ('{"part":"sitemaps","sitemap":{"number":0}}', None),
        ("{", None),
        ("", None),
    ],
)
def test_status_tells_how_far_the_input_was_read(
    make_run: MakeRun, mark: str, read: tuple[int, int | None, int | None] | None
) -> None:
    """Lines and bytes of a file, seeds of a list; nothing where it is not known."""
    found = Watch(make_run(notes={"input": mark})).look().input
    assert (None if found is None else (found.lines, found.read_bytes, found.total_bytes)) == read


def test_status_size_of_a_pipe_is_known_when_it_has_ended(make_run: MakeRun) -> None:
    """What still comes through a pipe has no size yet; what is kept of one that ended has."""
    run = make_run(notes={"input": '{"part":"file","file":{"offset":8,"line":1,"size":0,"mtime_ns":1,"hash":"x"}}'})
    part = run / "input.txt.part"
    part.write_text("x" * 20)
    reading = Watch(run).look().input
    part.rename(run / "input.txt")
    whole = Watch(run).look().input
    assert reading is not None
    assert whole is not None
    assert (reading.total_bytes, whole.total_bytes) == (None, 20)


@pytest.mark.parametrize("ends", [True, False])
def test_status_process_that_comes_or_goes_meanwhile_is_no_killed_run(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    """A look at the lock and a look at the store always belong together: the end of a run never looks like a kill."""
    run = make_run(notes={"finish_reason": "finished"})
    held = [RunDirectory.open(run)] if ends else []
    stale = read_store(run / "run.sqlite")
    if ends:
        stale = replace(stale, notes={**stale.notes, "finish_reason": ""})
    looks = 0

    def read_late(path: Path) -> StoreView:
        nonlocal looks
        looks += 1
        if looks > 1:
            return read_store(path)
        if ends:
            held.pop().close()
        else:
            held.append(RunDirectory.open(run))
        return stale

    monkeypatch.setattr(status_module, "read_store", read_late)
    state = Watch(run).look().state
    for each in held:
        each.close()
    assert state is (RunState.FINISHED if ends else RunState.RUNNING)


def test_status_changes_nothing(make_run: MakeRun, results: list[Result], capsys: pytest.CaptureFixture[str]) -> None:
    """Not a byte of the directory is another one afterwards, and no file is there that was not before."""
    run = make_run(results)

    def state() -> dict[str, tuple[str, int]]:
        return {
            path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
            for path in run.iterdir()
            if path.is_file()
        }

    before = state()
    assert main(["status", str(run)]) == 0
    assert state() == before


def test_status_watch_without_terminal_prints_what_changes_until_the_end(
    make_run: MakeRun, results: list[Result], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a pipe it is one line for each change and none for the seconds between; it ends with the run."""
    run = make_run(results, waiting=2)
    directory, seconds = RunDirectory.open(run), 0

    def sleep(_: float) -> None:
        nonlocal seconds
        seconds += 1
        if seconds == 3:
            directory.close()

    monkeypatch.setattr("time.sleep", sleep)
    assert main(["status", str(run), "--watch"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0].split("] ")[1].split(" in ")[0] for line in lines] == ["running", "killed"]
    assert lines[1] == "[12 min 14 s] killed: 1 done, 1 failed, 1 skipped, 0 active, 2 queued"


def test_status_watch_json_has_a_line_each_second_and_ends_at_ctrl_c(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C is the way to leave it, and no failure."""
    run, seconds = make_run(waiting=1), 0

    def sleep(_: float) -> None:
        nonlocal seconds
        seconds += 1
        if seconds == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", sleep)
    with RunDirectory.open(run):
        assert main(["status", str(run), "--watch", "--json"]) == 0
    assert [json.loads(line)["state"] for line in capsys.readouterr().out.splitlines()] == ["running"] * 3


@pytest.mark.parametrize("command", ["status", "export", "resume", "retry-failed"])
@pytest.mark.parametrize(
    ("operands", "told"),
    [
        ([], "give a run directory"),
        (["mine", "other"], "give one run directory, not 2"),
        (["nowhere"], "nowhere does not exist"),
        (["file"], "file is a file"),
        (["empty"], "empty is no run directory: it holds no run.sqlite"),
        (["other"], "run.sqlite cannot be used: it is no SQLite database"),
    ],
)
def test_run_commands_what_is_no_run_is_told_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    command: str,
    operands: list[str],
    told: str,
) -> None:
    """Each command that takes a run says what is wrong with what it was given."""
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "other" / "run.sqlite").write_text("nothing of ours")
    assert main([command, *operands]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert told in err
    assert err.count("\n") == 1


SESSIONS = json.dumps(
    {
        "at": "2026-11-21T05:14:26+00:00",
        "sessions": [
            {"session": "bob", "phase": "paused", "reason": "session 'bob': the site refuses the login"},
            {"session": "eve", "phase": "paused", "reason": "5 proxies in a row failed"},
            {"session": "alice", "phase": "in", "pages": 7, "logins": 1, "state_age_s": 5.0},
        ],
    }
)


def test_status_tells_how_sessions_do_and_which_command_helps(
    make_run: MakeRun, results: list[Result], capsys: pytest.CaptureFixture[str]
) -> None:
    """The paused ones with why; a login is offered for those that have one; ages go on after the process has ended."""
    profiles = {"alice": {"login": {}}, "bob": {"login": {"state": "x"}}, "eve": {}}
    job = json.dumps({"base": "/", "sessions": {"profiles": profiles}})
    notes = {"sessions": SESSIONS, "job": job, "finish_reason": "sessions_paused"}
    run = make_run(results, waiting=2, notes=notes)
    told = _told(run, capsys)
    assert [(each["session"], each["phase"], each["pages"]) for each in told["sessions"]] == [
        ("bob", "paused", 0), ("eve", "paused", 0), ("alice", "in", 7),
    ]  # fmt: skip
    since_s = (datetime.now(UTC) - datetime(2026, 11, 21, 5, 14, 26, tzinfo=UTC)).total_seconds()
    assert told["sessions"][2]["state_age_s"] == pytest.approx(since_s + 5, abs=60)
    assert told["log_in"] == [f"browsercrawl login {run} bob"]
    assert main(["status", str(run)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for words in ("ended early (sessions paused)", "session 'bob' is paused: the site refuses", "5 proxies in a row"):
        assert words in text


@pytest.mark.parametrize("noted", ["", "{", "[]", '{"sessions": 3}', '{"at": "x", "sessions": [{"x": 1}]}'])
def test_status_note_of_another_version_is_passed_over(make_run: MakeRun, noted: str) -> None:
    """What cannot be understood is left out; the rest is told."""
    assert Watch(make_run(notes={"sessions": noted})).look().sessions == ()
