"""What a person wants to know of a crawl, his own or another process's; no drawing here.

The crawler's events arrive on its loop and must cost nothing. A display draws in its own time, perhaps in a thread,
from a `Frame`: a frozen copy made on the loop, replaced as a whole. A `RunStatus` is what a run directory tells.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import islice
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from browsercrawl import events
from browsercrawl.cli.terminal import count_of, shown_bytes, shown_duration
from browsercrawl.errors import ErrorKind
from browsercrawl.events import Event, SessionHealth, Status
from browsercrawl.output import FinishReason
from browsercrawl.redaction import safe_text, safe_url
from browsercrawl.result import Result

PAUSED = "paused"
"""The phase of a session that waits for its user."""

_FAILURES_KEPT = 3
_URLS_KEPT = 3


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that ended failed."""

    kind: str
    url: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One moment of a crawl.

    Attributes:
        title: what is crawled.
        status: the crawler's own snapshot.
        urls: some of the pages being visited, the oldest first.
        failures: the last requests that failed, the newest last.
        notice: what goes on besides, such as a stop.
    """

    title: str
    status: Status
    urls: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()
    notice: str = ""

    @property
    def finished(self) -> int:
        """Requests that have their result."""
        return self.status.succeeded + self.status.failed + self.status.skipped

    @property
    def known(self) -> int:
        """Requests known so far; links still to be found are not among them."""
        status = self.status
        return self.finished + status.active + status.queued + status.waiting + status.parked + status.retrying

    @property
    def left_s(self) -> float | None:
        """Seconds until what is known now is done, at the present pace; None while there is no pace."""
        pace = self.status.pages_per_s
        return (self.known - self.finished) / pace if pace > 0 else None


@dataclass(slots=True)
class View:
    """Keeps what frames are made of. Bounded: the open pages and a few failures."""

    title: str
    notice: str = ""
    _open: dict[str, str] = field(default_factory=dict)
    _failures: deque[Failure] = field(default_factory=lambda: deque(maxlen=_FAILURES_KEPT))

    def on_event(self, event: Event) -> None:
        """Take note of which pages are open."""
        match event:
            case events.VisitStarted():
                self._open[event.request_id] = event.url
            case events.VisitSucceeded() | events.VisitFailed() | events.RequestSkipped() | events.RetryScheduled():
                self._open.pop(event.request_id, None)

    def on_result(self, result: Result) -> None:
        """Take note of a failure."""
        self._open.pop(result.request_id, None)
        if result.error is not None:
            self._failures.append(Failure(result.error.kind.value, result.url, result.error.message))

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The last requests that failed, fit to be shown."""
        return tuple(Failure(each.kind, safe_url(each.url), safe_text(each.message)) for each in self._failures)

    def frame(self, status: Status) -> Frame:
        """Return how things stand."""
        return Frame(
            title=safe_text(self.title),
            status=status,
            urls=tuple(safe_url(url) for url in islice(self._open.values(), _URLS_KEPT)),
            failures=self.failures,
            notice=self.notice,
        )


def notice_of(event: Event) -> str:
    """Return an event in words, if a person should know of it at once; else nothing."""
    match event:
        case events.SandboxUnavailable():
            return f"no sandbox: {event.reason}; {event.remedy}"
        case events.BrowserCrashed():
            return f"the browser died ({event.reason}); starting another"
        case events.HostDeferred():
            return f"{event.host} is left alone for {event.delay_s:.0f} s: {event.reason}"
        case events.HostGivenUp():
            return f"{event.host} was given up: {event.reason}"
        case events.SessionLoginFailed(again_in_s=float()):  # of the last try it is told that the session is paused
            return f"{event.message}; again in {shown_duration(event.again_in_s or 0)}"
        case events.SessionPaused():
            return f"{paused_text(event.session, event.reason)}; its requests wait"
        case events.RunPaused():
            return event.message
        case events.RunContinued():
            return f"the run goes on after a pause of {shown_duration(event.paused_s)}"
        case events.RunStarted(resumed=True):
            again = f", {event.returned:,} that were open are visited again" if event.returned else ""
            return f"resumed: {count_of(event.finished, 'request')} done before{again}"
    return ""


def status_line(frame: Frame) -> str:
    """Return the moment as one line, for where there is no terminal."""
    status = frame.status
    parts = [
        f"{status.succeeded:,} done",
        f"{status.failed:,} failed",
        f"{status.active:,} active of {status.limit:,}",
        f"{status.queued + status.waiting + status.retrying:,} queued",
        *([f"{status.parked:,} waiting for their session"] if status.parked else []),
        *([f"{count_of(status.sessions_paused, 'session')} paused"] if status.sessions_paused else []),
        f"{status.pages_per_s:.1f} pages/s",
    ]
    if frame.left_s is not None:
        parts.append(f"about {shown_duration(frame.left_s)} left")
    if status.memory_limit_bytes:
        parts.append(f"memory {shown_bytes(status.memory_used_bytes)} of {shown_bytes(status.memory_limit_bytes)}")
    notice = f"; {frame.notice}" if frame.notice else ""
    return f"[{shown_duration(status.elapsed_s)}] {', '.join(parts)}{notice}"


WHOLE = frozenset({
    FinishReason.FINISHED, FinishReason.MAX_REQUESTS, FinishReason.MAX_PER_HOST, FinishReason.MAX_PER_PATH,
    FinishReason.ENDLESS_SERIES, FinishReason.MAX_DEPTH,
})  # fmt: skip
"""Ends of a run that has done all it was asked for: there is nothing to go on with."""

_NO_REQUESTS = frozenset({ErrorKind.URL_INVALID, ErrorKind.INPUT_INVALID})
"""Failures of input that never became a request."""


def paused(sessions: Iterable[SessionHealth]) -> list[SessionHealth]:
    """Return those sessions that wait for their user."""
    return [session for session in sessions if session.phase == PAUSED]


def paused_text(session: str, reason: str | None) -> str:
    """Return in words that a session is paused, and why; a reason often begins with its name."""
    name = f"session {session!r}"
    return f"{name} is paused: {(reason or 'not told').removeprefix(f'{name}: ')}"


def retriable(failures: Mapping[ErrorKind, int] | Mapping[str, int]) -> int:
    """Return how many of these failures, by kind, are of requests: those can be visited again."""
    return sum(number for kind, number in failures.items() if kind not in _NO_REQUESTS)


class RunState(StrEnum):
    """How a run stands."""

    RUNNING = "running"
    """A process works on it."""
    INTERRUPTED = "interrupted"
    """No process does, and there is something left to do."""
    FINISHED = "finished"
    """Nothing is left to do."""


class InputRead(BaseModel):
    """How far the seeds were read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lines: int = Field(ge=0, description="Lines of the file, or seeds of the list.")
    read_bytes: int | None = Field(default=None, ge=0, description="Of the file.")
    total_bytes: int | None = Field(default=None, ge=0, description="Size of the file; None: not known.")


class RunStatus(BaseModel):
    """What a run directory tells: `browsercrawl status --json` prints this.

    `stored == queued + waiting + parked + retrying + claimed + finished`. A seed that was refused counts as failed or
    skipped, but was never stored.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_dir: Path
    run_id: str
    state: RunState
    finish_reason: FinishReason | None = Field(description="Why its last process ended; None: it runs, or was killed.")
    pid: int | None = Field(description="The process that works on it.")
    process_started_at: datetime | None = Field(description="Since when that process does.")
    started_at: datetime | None = Field(description="When the run began, UTC.")
    elapsed_s: float = Field(ge=0, description="Seconds that processes have worked on it.")
    stored: int = Field(ge=0, description="Requests ever taken.")
    queued: int = Field(ge=0, description="Requests that could go now.")
    waiting: int = Field(ge=0, description="Requests that wait for their host.")
    parked: int = Field(default=0, ge=0, description="Requests that wait for their session.")
    retrying: int = Field(ge=0, description="Requests that wait to be tried again.")
    claimed: int = Field(ge=0, description="Requests being visited; of a run that was killed, those it was visiting.")
    finished: int = Field(ge=0, description="Requests that have their result.")
    succeeded: int = Field(ge=0)
    failed: int = Field(ge=0)
    skipped: int = Field(ge=0)
    partial: int = Field(ge=0, description="Succeeded without the awaited load event.")
    retried: int = Field(ge=0, description="Attempts beyond the first of each request.")
    duplicates: int = Field(ge=0, description="Requests that were known already.")
    failures: dict[str, int] = Field(description="Failed requests, by kind.")
    skips: dict[str, int] = Field(description="Skipped requests, by reason.")
    input: InputRead | None = Field(description="None: how far the seeds were read is not known.")
    disk_bytes: int = Field(ge=0, description="Size of the run directory.")
    sessions: tuple[SessionHealth, ...] = Field(default=(), description="The paused ones first; at most 200.")
    log_in: tuple[str, ...] = Field(default=(), description="Commands that log paused sessions in, to go on then.")
    go_on: str | None = Field(description="The command that goes on with the run; None: none does, or none is needed.")

    @property
    def results(self) -> int:
        """Requests and refused seeds that have their result."""
        return self.succeeded + self.failed + self.skipped

    @property
    def open(self) -> int:
        """Requests that do not have their result yet."""
        return self.stored - self.finished


def run_line(status: RunStatus) -> str:
    """Return how a run stands as one line, for where there is no terminal."""
    parts = [
        f"{status.succeeded:,} done",
        f"{status.failed:,} failed",
        *([f"{status.skipped:,} skipped"] if status.skipped else []),
        f"{status.claimed:,} active",
        f"{status.queued + status.waiting + status.retrying:,} queued",
        *([f"{status.parked:,} waiting for their session"] if status.parked else []),
    ]
    return f"[{shown_duration(status.elapsed_s)}] {state_text(status)}: {', '.join(parts)}"


def state_text(status: RunStatus) -> str:
    """Return how a run stands in a few words.

    A run that failed requests were taken back of is interrupted, too.
    """
    if status.state is RunState.RUNNING:
        return f"running in process {status.pid}" if status.pid else "running"
    reason = str(status.finish_reason).replace("_", " ")
    if status.state is RunState.FINISHED:
        return "finished" if status.finish_reason is FinishReason.FINISHED else f"finished ({reason})"
    if status.finish_reason in {*WHOLE, FinishReason.INTERRUPTED}:
        return "interrupted"
    return "killed" if status.finish_reason is None else f"ended early ({reason})"
