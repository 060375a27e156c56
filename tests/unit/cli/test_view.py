"""What a person watching a crawl sees."""

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from browsercrawl import events
from browsercrawl.cli.drawing import LiveDisplay, LiveView, print_run, watch_run
from browsercrawl.cli.foreground import paused_lines
from browsercrawl.cli.view import Frame, InputRead, RunStatus, View, notice_of, retriable, run_line, status_line
from browsercrawl.errors import Disposition, ErrorKind
from browsercrawl.events import SessionHealth, Status
from browsercrawl.result import ErrorInfo, Outcome, Result

STATUS = Status(
    queued=653, active=16, waiting=12, retrying=3, succeeded=1180, failed=24, skipped=0, limit=16, pages_per_s=14.2,
    memory_used_bytes=1_240_000_000, memory_limit_bytes=4_000_000_000, memory_source="cgroup2", elapsed_s=84.2,
)  # fmt: skip

RUN: dict[str, Any] = {
    "run_dir": Path("/runs/20261121T050212Z-shop.example"), "run_id": "3f2a9c1be0d74a55", "state": "interrupted",
    "finish_reason": None, "pid": None, "process_started_at": None, "elapsed_s": 734.2,
    "started_at": datetime(2026, 11, 21, 5, 2, 12, tzinfo=UTC), "stored": 1888, "queued": 653, "waiting": 12,
    "retrying": 3, "claimed": 16, "finished": 1204, "succeeded": 1177, "failed": 24, "skipped": 3, "partial": 2,
    "retried": 31, "duplicates": 412, "failures": {"http_rejected": 20, "deadline": 4}, "skips": {"handler": 3},
    "input": InputRead(lines=40210, read_bytes=1_200_000, total_bytes=4_000_000), "disk_bytes": 1_840_000_000,
    "go_on": "browsercrawl resume runs/20261121T050212Z-shop.example",
}  # fmt: skip


def _started(number: int, url: str | None = None) -> events.VisitStarted:
    url = url or f"https://a.example/{number}"
    return events.VisitStarted(request_id=str(number), url=url, attempt=1, lease_id=number)


def _failed(number: int, url: str, message: str = "reset") -> Result:
    error = ErrorInfo(kind=ErrorKind.NETWORK, message=message, disposition=Disposition.RETRY_FRESH)
    return Result(request_id=str(number), url=url, outcome=Outcome.FAILED, error=error, finished_at=datetime.now(UTC))


def _drawn(frame: Frame, width: int) -> list[str]:
    screen = io.StringIO()
    Console(file=screen, width=width, force_terminal=False).print(LiveView(frame))
    return screen.getvalue().splitlines()


def test_view_pages_that_ended_are_no_longer_shown() -> None:
    """Only open pages are kept, however they end, and the oldest are shown first."""
    view = View("x")
    for number in range(8):
        view.on_event(_started(number))
    view.on_event(events.RequestSkipped(request_id="1", url="https://a.example/1", reason="handler"))
    view.on_result(_failed(2, "https://a.example/2"))
    view.on_event(
        events.RetryScheduled(
            request_id="0", url="https://a.example/0", attempt=1, delay_s=1, disposition=Disposition.RETRY_SAME
        )
    )
    assert view.frame(STATUS).urls == ("https://a.example/3", "https://a.example/4", "https://a.example/5")


def test_view_many_failures_keeps_the_last_few() -> None:
    """A run with a million failures shows the last three."""
    view = View("x")
    for number in range(1000):
        view.on_result(_failed(number, f"https://a.example/{number}"))
    assert [failure.url[-3:] for failure in view.frame(STATUS).failures] == ["997", "998", "999"]


def test_view_secret_or_control_character_in_a_url_is_not_shown() -> None:
    """Neither a password nor an escape sequence that a site or a user supplied reaches the terminal."""
    view = View("https://bob:hunter2@a.example/\x1b[2J")
    view.on_event(_started(1, "https://bob:hunter2@a.example/?token=s3cret&x=\x1b[2J\x9b1m"))
    view.on_result(_failed(2, "https://a.example/\x1b]0;pwned\x07\u202e", "said \x1b[31m"))
    text = "\n".join(_drawn(view.frame(STATUS), 200))
    assert "hunter2" not in text
    assert "s3cret" not in text
    assert not set(text) & set("\x1b\x9b\x07\u202e")


@pytest.mark.parametrize("width", [20, 46, 60, 80, 100, 200])
def test_live_view_any_width_no_line_is_wider_and_the_height_is_steady(width: int) -> None:
    """Nothing wraps by accident, and the display does not jump when pages come and go."""
    view = View("https://shop.example/a/very/long/path/that/does/not/fit/anywhere/at/all?page=1")
    few = _drawn(view.frame(STATUS), width)
    for number in range(16):
        view.on_event(_started(number, f"https://shop.example/products/{number}?tab=reviews&sort=newest&page=12345"))
    many = _drawn(view.frame(STATUS), width)
    assert max(map(len, few + many)) <= width
    assert len(few) == len(many)


def test_live_view_shows_every_number_a_person_waits_for() -> None:
    """Done, failed, active, queued, limit, pace, time left, memory, elapsed."""
    text = "\n".join(_drawn(View("https://shop.example/").frame(STATUS), 120))
    wanted = (
        "1,180 done", "24 failed", "16 active of 16", "653 queued", "14.2 pages/s", "about 48 s left",
        "1.2 GB of 4.0 GB", "1 min 24 s", "1,204 of 1,888", "https://shop.example/",
    )  # fmt: skip
    assert [word for word in wanted if word not in text] == []


def test_live_view_nothing_known_yet_draws() -> None:
    """The first frames, before any page, have no pace and no end in sight."""
    lines = _drawn(View("x").frame(Status()), 80)
    assert "0 done" in "\n".join(lines)


def test_status_line_has_the_same_numbers_on_one_line() -> None:
    """Without a terminal the same is told in one plain line."""
    assert status_line(View("x").frame(STATUS)) == (
        "[1 min 24 s] 1,180 done, 24 failed, 16 active of 16, 668 queued, 14.2 pages/s, about 48 s left, "
        "memory 1.2 GB of 4.0 GB"
    )


def test_live_display_leaves_only_what_was_said() -> None:
    """At the end the display is gone from the screen and the lines told meanwhile are still there."""
    screen = io.StringIO()
    console = Console(file=screen, width=80, height=24, force_terminal=True, force_interactive=True)
    with LiveDisplay("https://a.example/", console) as display:
        display.show(View("https://a.example/").frame(STATUS))
        display.tell(events.BrowserCrashed(generation=1, reason="\x1b[2J", leases_lost=0))
    text = screen.getvalue()
    assert "the browser died (\\x1b[2J); starting another" in text
    assert text.rstrip().endswith("\x1b[2K")


def test_notice_of_resumed_run_says_what_is_done() -> None:
    """One line at the start of what a resumed run has already; a fresh run has nothing to say."""
    started = events.RunStarted(version="1", profile="lean", concurrency=4, options={})
    assert notice_of(started) == ""
    resumed = {"resumed": True, "finished": 1018, "returned": 4}
    assert notice_of(started.model_copy(update=resumed)) == (
        "resumed: 1,018 requests done before, 4 that were open are visited again"
    )


def test_retriable_counts_no_input_that_never_was_a_request() -> None:
    """What cannot be visited again is not offered to be."""
    assert retriable({"url_invalid": 4, "input_invalid": 2}) == 0
    assert retriable({ErrorKind.URL_INVALID: 4, ErrorKind.NETWORK: 2, ErrorKind.UNKNOWN_LABEL: 1}) == 3


def _shown(status: RunStatus, width: int) -> str:
    screen = io.StringIO()
    print_run(status, console=Console(file=screen, width=width, force_terminal=False))
    return screen.getvalue()


def test_print_run_shows_all_that_a_run_directory_tells() -> None:
    """State, counts by state and kind, input, size, age, and what to type to go on."""
    text = _shown(RunStatus(**RUN), 110)
    wanted = (
        "killed", "1,204 of 1,888", "1,177   2 of them partly", "24   http_rejected 20, deadline 4", "3   handler 3",
        "16 open when it ended   653 queued   12 waiting for their host", "3 to try again",
        "40,210 lines, 1 MB of 4 MB", "1.8 GB", "2026-11-21 05:02:12 UTC, worked on for 12 min 14 s",
        "3f2a9c1be0d74a55", str(RUN["go_on"]),
    )  # fmt: skip
    assert [words for words in wanted if words not in text] == []


def test_print_run_that_is_going_on_names_its_process() -> None:
    """Who works on it, since when; nothing is said about going on."""
    running = {"state": "running", "pid": 41234, "process_started_at": RUN["started_at"], "go_on": None}
    text = _shown(RunStatus(**(RUN | running)), 110)
    assert "running in process 41234" in text
    assert "16 open now" in text
    assert "41234, since 2026-11-21 05:02:12 UTC" in text
    assert "go on with" not in text


@pytest.mark.parametrize("width", [30, 46, 60, 80, 200])
def test_run_view_any_width_no_line_is_wider(width: int) -> None:
    """Nothing wraps by accident, and what a file holds cannot steer the terminal."""
    long = {"run_dir": Path("/runs/" + "x" * 200), "run_id": "\x1b[2J\x9b1m", "failures": {"\x1b]0;x\x07": 1}}
    text = _shown(RunStatus(**(RUN | long)), width)
    assert max(map(len, text.splitlines())) <= width
    assert not set(text) & set("\x1b\x9b\x07")


def test_watch_run_redraws_in_place_and_leaves_the_last() -> None:
    """Each look takes the place of the one before; the cursor comes back."""
    screen = io.StringIO()
    console = Console(file=screen, width=80, height=40, force_terminal=True, force_interactive=True)
    looks = [RunStatus(**(RUN | {"succeeded": number})) for number in (1000, 1001, 1002)]
    watch_run(iter(looks), console=console)
    drawn = screen.getvalue()
    assert drawn.count("\x1b[?25l") == drawn.count("\x1b[?25h") == 1
    assert "1,002" in drawn[drawn.rindex("\x1b[2K") :]
    assert "1,001" not in drawn[drawn.rindex("\x1b[2K") :]


def test_run_line_is_one_line() -> None:
    """Without a terminal the same is told in one plain line."""
    assert run_line(RunStatus(**RUN)) == (
        "[12 min 14 s] killed: 1,177 done, 24 failed, 3 skipped, 16 active, 668 queued"
    )


SESSIONS = [
    SessionHealth(session=f"s{number}", phase="paused" if number < 2 else "in", pages=number, reason="\x1b[2J")
    for number in range(50)
]


def test_live_view_and_status_line_tell_of_requests_that_wait_for_their_session() -> None:
    """A crawl that seems to stand still says what it waits for; those requests count among the known ones."""
    status = STATUS.model_copy(update={"parked": 40, "sessions_paused": 1})
    frame = View("x").frame(status)
    assert frame.known == View("x").frame(STATUS).known + 40
    text = "\n".join(_drawn(frame, 140))
    for told in (text, status_line(frame)):
        assert "40 waiting for their session" in told
        assert "1 session paused" in told


def test_notice_of_session_that_fails_says_so_once() -> None:
    """A failed login, and that the session waits for its user: in words, and without its name twice."""
    message = "session 'bob': the site refuses the login"
    failed = events.SessionLoginFailed(
        session="bob", kind=ErrorKind.LOGIN_FAILED, message=message, tries=1, again_in_s=5
    )
    assert notice_of(failed) == f"{message}; again in 5.0 s"
    assert notice_of(failed.model_copy(update={"again_in_s": None})) == ""
    paused = events.SessionPaused(session="bob", reason=message)
    assert notice_of(paused) == "session 'bob' is paused: the site refuses the login; its requests wait"


def test_print_run_shows_twenty_sessions_the_paused_ones_with_why() -> None:
    """However many there are the table stays short; whatever a site says cannot steer the terminal."""
    more = {"sessions": SESSIONS, "log_in": ["browsercrawl login x s0"] * 5, "parked": 4}
    text = _shown(RunStatus(**(RUN | more)), 110)
    assert "s19 " in text
    assert "s20 " not in text
    assert "and 30 more" in text
    assert "session 's1' is paused: \\x1b[2J" in text
    assert "4 waiting for their session" in text
    assert text.count("browsercrawl login x s0") == 3
    assert "and 2 more" in text
    assert "then go on with" in text


@pytest.mark.parametrize("width", [30, 46, 60, 80, 200])
def test_run_view_with_sessions_any_width_no_line_is_wider(width: int) -> None:
    """A narrow terminal gets fewer columns."""
    long = SessionHealth(
        session="x" * 200, phase="paused", reason="y" * 300, last_login=RUN["started_at"], state_age_s=9
    )
    text = _shown(RunStatus(**(RUN | {"sessions": [long, *SESSIONS]})), width)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text


def test_paused_lines_are_few_and_name_the_command() -> None:
    """At the end of a run: why, and what to type; not fifty times."""
    lines = paused_lines(SESSIONS[:2] * 3, logins={"s0"}, directory=Path("/runs/my run"))
    assert lines[1] == "log it in with: browsercrawl login '/runs/my run' s0"
    assert lines[2].startswith("session 's1' is paused: ")
    assert lines[-1] == "and 3 more sessions; see browsercrawl status '/runs/my run'"
