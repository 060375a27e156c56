"""The event log: what a line holds, what happens when the disk or a listener fails, and that nothing blocks."""

import io
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from browsercrawl.clock import SystemClock
from browsercrawl.errors import Disposition, ErrorKind, OutputFailed
from browsercrawl.events import (
    Event,
    Level,
    LogDegraded,
    RunStarted,
    UserLog,
    VisitFailed,
    VisitStarted,
    VisitSucceeded,
)
from browsercrawl.output import EventLog, redacted, stderr_lines
from browsercrawl.output.line_file import ROTATED_KEPT, LineWriter
from browsercrawl.result import Phase, Timings

STARTED = VisitStarted(request_id="1", url="https://a.example/", attempt=1, lease_id=1)
FAILED = VisitFailed(
    request_id="1",
    url="https://me:hunter2@a.example/?token=hunter2",
    attempt=2,
    kind=ErrorKind.NETWORK,
    message="https://a.example/?sig=hunter2 \x1b[2J\nCookie: sid=hunter2",
    phase=Phase.NAVIGATE,
    disposition=Disposition.RETRY_FRESH,
    final=False,
)
SUCCEEDED = VisitSucceeded(
    request_id="1", url="https://a.example/", attempt=1, http_status=200, partial=False, links=3, timings=Timings()
)


class FixedClock(SystemClock):
    """A clock that stands still."""

    def utc(self) -> datetime:
        return datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)


def note(message: str, **fields: str) -> UserLog:
    """Give the event of a handler's log line."""
    return UserLog(request_id="1", message=message, fields=dict(fields))


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Make every write past `size` fail, as a full disk does: part of the data is written, then comes an error."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_event_log_line_has_envelope_first(tmp_path: Path) -> None:
    """A line is one JSON object: ts, level, event, run_id, schema, then the event's fields with their types."""
    log = EventLog(run_id="r1", clock=FixedClock(), path=tmp_path / "events.jsonl")
    log.emit(SUCCEEDED)
    await log.close()
    (line,) = (tmp_path / "events.jsonl").read_text().splitlines()
    fields = json.loads(line)
    assert list(fields)[:5] == ["ts", "level", "event", "run_id", "schema"]
    assert list(fields.values())[:5] == ["2026-01-02T03:04:05.678Z", "info", "visit.succeeded", "r1", 1]
    assert fields["http_status"] == 200
    assert fields["partial"] is False
    assert fields["timings"]["total_s"] == 0.0


async def test_event_log_planted_secrets_never_reach_file_nor_terminal(tmp_path: Path) -> None:
    """No secret in a URL, message, option or field reaches the file, a listener or the lines for people."""
    people, heard = io.StringIO(), list[Event]()
    sinks = [stderr_lines(clock=FixedClock(), stream=people), heard.append]
    log = EventLog(run_id="r1", clock=FixedClock(), path=tmp_path / "events.jsonl", listeners=sinks)
    log.emit(FAILED)
    options = {
        "proxy": "http://u:hunter2@p:1",
        "http_credentials": {"username": "u", "password": "hunter2"},
        "extra_http_headers": {"X-Plain": "hunter2"},
        "extraHTTPHeaders": {"X-Plain": "hunter2"},
        "client_certificates": [{"certPath": "a.pem", "passphrase": "hunter2", "pfx": "hunter2"}],
        "storage_state": {"origins": ["hunter2"]},
    }
    log.emit(RunStarted(version="1", profile="lean", concurrency=1, options={"browser": {**options}}))
    log.emit(note("login with password=hunter2", api_key="hunter2", page="https://a.example/#id_token=hunter2"))
    await log.close()
    written = (tmp_path / "events.jsonl").read_text()
    for text in (written, people.getvalue(), "".join(f"{event!r}\n" for event in heard)):
        assert text.count("\n") == 3
        assert "hunter2" not in text
        assert "\x1b" not in text


def test_redacted_event_without_secret_is_the_same_object() -> None:
    """Most events hold no secret, and cost no copy."""
    assert redacted(SUCCEEDED) is SUCCEEDED
    assert "hunter2" not in repr(redacted(FAILED))


async def test_event_log_debug_goes_to_listeners_only(tmp_path: Path) -> None:
    """Events below the level stay out of the file; listeners get every event."""
    heard: list[Event] = []
    log = EventLog(run_id="r1", clock=FixedClock(), path=tmp_path / "events.jsonl", listeners=[heard.append])
    log.emit(STARTED)
    await log.close()
    assert (tmp_path / "events.jsonl").read_text() == ""
    assert heard == [STARTED]


async def test_event_log_debug_level_takes_all(tmp_path: Path) -> None:
    """With `level=debug` the file has debug events too."""
    log = EventLog(run_id="r1", clock=FixedClock(), path=tmp_path / "events.jsonl", level=Level.DEBUG)
    log.emit(STARTED)
    await log.close()
    assert json.loads((tmp_path / "events.jsonl").read_text())["event"] == "visit.started"


async def test_event_log_listener_raises_is_dropped_and_reported(tmp_path: Path) -> None:
    """A listener that raises is not called again; the others and the file hear of it, and of the event."""
    calls = 0

    def broken(_: Event) -> None:
        nonlocal calls
        calls += 1
        raise RuntimeError("no terminal")

    heard: list[Event] = []
    log = EventLog(run_id="r1", clock=FixedClock(), path=tmp_path / "e.jsonl", listeners=[broken, heard.append])
    log.emit(SUCCEEDED)
    log.emit(SUCCEEDED)
    await log.close()
    assert calls == 1
    assert [each.name for each in heard].count("visit.succeeded") == 2
    assert any(isinstance(each, LogDegraded) and "no terminal" in each.reason for each in heard)
    assert "log.degraded" in (tmp_path / "e.jsonl").read_text()


async def test_event_log_full_disk_is_counted_and_said_once(tmp_path: Path) -> None:
    """When the disk is full nothing raises, lines in the file are whole, losses are counted and reported once."""
    heard: list[Event] = []
    path = tmp_path / "events.jsonl"
    log = EventLog(run_id="r1", clock=FixedClock(), path=path, listeners=[heard.append])
    assert log._writer
    with file_size_limit(1000):
        for _ in range(3):
            for _ in range(20):
                log.emit(SUCCEEDED)
            log._writer.drain()
        await log.close()
    written = [json.loads(line) for line in path.read_text().splitlines()]
    assert written
    assert len(written) + log.dropped == 60
    complaints = [each for each in heard if isinstance(each, LogDegraded)]
    assert len(complaints) == 1
    assert "File too large" in complaints[0].reason


async def test_event_log_closed_counts_what_comes_later(tmp_path: Path) -> None:
    """`close` may be called again; an event that comes after it is counted as lost and raises nothing."""
    log = EventLog(run_id="r1", clock=FixedClock(), path=tmp_path / "events.jsonl")
    await log.close()
    await log.close()
    log.emit(SUCCEEDED)
    assert log.dropped == 1


async def test_event_log_unwritable_path_raises_typed_error(tmp_path: Path) -> None:
    """A file that cannot be opened is told at once, with its name."""
    with pytest.raises(OutputFailed, match="gone"):
        EventLog(run_id="r1", clock=FixedClock(), path=tmp_path / "gone" / "events.jsonl")


def test_line_writer_rotates_by_size_and_keeps_a_few(tmp_path: Path) -> None:
    """A file is renamed before it grows past the limit; at most 5 old ones stay, in order, no line is lost within."""
    path = tmp_path / "events.jsonl"
    writer = LineWriter(path, interval_s=60, bytes_max=1000, rotate_bytes=20)
    for number in range(20):
        assert writer.offer(f"line {number:04}\n".encode())
        writer.drain()
    writer.close()
    names = [path, *(path.with_name(f"{path.name}.{number}") for number in range(1, ROTATED_KEPT + 1))]
    assert sorted(tmp_path.iterdir()) == sorted(names)
    lines = [line for name in reversed(names) for line in name.read_text().splitlines()]
    assert lines == [f"line {number:04}" for number in range(8, 20)]
    assert {name.stat().st_mode & 0o777 for name in names} == {0o600}


@pytest.mark.parametrize("torn", [b"", b"tor", b"x" * 200_000])
async def test_event_log_opened_again_cuts_torn_line(tmp_path: Path, torn: bytes) -> None:
    """A line that a killed process left unfinished is cut off, however long; whole lines stay, new ones follow them."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"event": "old"}\n' + torn)
    log = EventLog(run_id="r1", clock=FixedClock(), path=path)
    log.emit(SUCCEEDED)
    await log.close()
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == ["old", "visit.succeeded"]


async def test_event_log_file_of_one_torn_line_is_emptied(tmp_path: Path) -> None:
    """A file that holds nothing but an unfinished line begins anew."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"x" * 100_000)
    await EventLog(run_id="r1", clock=FixedClock(), path=path).close()
    assert path.read_bytes() == b""


def test_line_writer_without_room_drops_and_counts(tmp_path: Path) -> None:
    """A queue that is full refuses lines at once; a line larger than the whole room still gets through alone."""
    writer = LineWriter(tmp_path / "x", interval_s=60, bytes_max=10)
    with writer._writing:  # as if the disk hung
        assert writer.offer(b"a" * 50 + b"\n")
        assert not writer.offer(b"b\n")
    writer.close()
    assert writer.dropped == 1
    assert (tmp_path / "x").read_bytes() == b"a" * 50 + b"\n"


def test_stderr_lines_for_people_are_short_and_without_colour() -> None:
    """People get one aligned line each: time, level, name, what matters, the address last; colour only on request."""
    stream = io.StringIO()
    write = stderr_lines(clock=FixedClock(), stream=stream, level=Level.WARNING)
    for event in (SUCCEEDED, FAILED):
        write(redacted(event))
    (line,) = stream.getvalue().splitlines()
    assert line.startswith("03:04:05 [warning  ] visit.failed       attempt=2 kind=network message=")
    assert line.endswith("url='https://a.example/?token=[redacted]'")


def test_stderr_lines_asked_for_colour_are_coloured() -> None:
    """Colour is used where it is asked for."""
    stream = io.StringIO()
    stderr_lines(clock=FixedClock(), stream=stream, colour=True)(SUCCEEDED)
    assert "\x1b[" in stream.getvalue()


def test_output_import_needs_neither_structlog_nor_rich() -> None:
    """The facades import no structlog (which imports rich), nor Playwright: `import browsercrawl` stays fast."""
    code = (
        "import sys, browsercrawl.output, browsercrawl.pressure, browsercrawl.events;"
        "sys.exit(len({'structlog', 'rich', 'playwright'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_event_log_leaves_structlog_unconfigured(tmp_path: Path) -> None:
    """The library renders with structlog but never configures it: that is the program's business."""
    import structlog  # noqa: PLC0415 - not before a test needs it

    stderr_lines(clock=FixedClock(), stream=io.StringIO())
    EventLog(run_id="r1", clock=FixedClock())
    assert not structlog.is_configured()
