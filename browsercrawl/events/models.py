"""Events of runs, requests and visits. One frozen model per event; the models are the documentation."""

from pydantic import Field, JsonValue

from browsercrawl.errors import Disposition, ErrorKind
from browsercrawl.events.base import Event, Level
from browsercrawl.events.sessions import SessionHealth
from browsercrawl.result import Phase, Timings


class RunStarted(Event):
    """A run begins, or goes on where an earlier process left it (`resumed`).

    `options` came out after profile and defaults; `finished` requests have their results already; `returned` were being
    visited when the earlier process ended, and wait again.
    """

    name = "run.started"
    version: str
    profile: str
    concurrency: int
    options: dict[str, JsonValue]
    resumed: bool = False
    finished: int = 0
    returned: int = 0


class RunPaused(Event):
    """The run cannot write: the disk is full. Nothing is claimed until it can; what is open is kept."""

    name = "run.paused"
    level = Level.ERROR
    path: str
    message: str


class RunContinued(Event):
    """The run can write again."""

    name = "run.continued"
    paused_s: float


class RunParked(Event):
    """Nothing is left to visit but `requests` of paused sessions."""

    name = "run.parked"
    level = Level.WARNING
    requests: int
    detail: str


class RunFinished(Event):
    """A run has ended; every request it began is accounted for."""

    name = "run.finished"
    finish_reason: str
    succeeded: int
    failed: int
    skipped: int
    unfinished: int
    duplicates: int
    links_skipped: dict[str, int]
    duration_s: float


class RequestScheduled(Event):
    """A request was stored in the frontier."""

    name = "request.scheduled"
    level = Level.DEBUG
    request_id: str
    url: str
    depth: int
    label: str | None = None
    session: str | None = None


class RequestRefused(Event):
    """A piece of input is no request; it has a failed result."""

    name = "request.refused"
    level = Level.WARNING
    request_id: str
    url: str
    kind: ErrorKind
    message: str


class RequestSkipped(Event):
    """A request ended without a visit's result: the reason says why."""

    name = "request.skipped"
    request_id: str
    url: str
    reason: str


class VisitStarted(Event):
    """An attempt begins: the page is leased."""

    name = "visit.started"
    level = Level.DEBUG
    request_id: str
    url: str
    attempt: int
    lease_id: int


class VisitSucceeded(Event):
    """A request ended well."""

    name = "visit.succeeded"
    request_id: str
    url: str
    attempt: int
    http_status: int | None
    partial: bool
    links: int
    timings: Timings


class VisitFailed(Event):
    """An attempt failed; `disposition` tells what comes of it."""

    name = "visit.failed"
    level = Level.WARNING
    request_id: str
    url: str
    attempt: int
    kind: ErrorKind
    message: str
    phase: Phase | None
    disposition: Disposition
    final: bool


class RetryScheduled(Event):
    """A request will be visited again."""

    name = "retry.scheduled"
    request_id: str
    url: str
    attempt: int
    delay_s: float
    disposition: Disposition


class HostDeferred(Event):
    """A host asked for a pause, or fails and is left alone; its requests wait."""

    name = "host.deferred"
    level = Level.WARNING
    host: str
    delay_s: float
    reason: str


class RobotsRead(Event):
    """What a host's robots.txt says is known; `delay_s`: the Crawl-delay that is kept from now on."""

    name = "robots.read"
    level = Level.DEBUG
    host: str
    http_status: int
    bytes: int
    delay_s: float


class HostGivenUp(Event):
    """A host refused or failed too often in a row; its requests fail from now on without being visited."""

    name = "host.given_up"
    level = Level.ERROR
    host: str
    reason: str


class HandlerRaised(Event):
    """User code beside the visits raised: `on_failed`, a sink, a gauge. The request's result stands as it is."""

    name = "handler.raised"
    level = Level.ERROR
    where: str
    request_id: str | None = None
    message: str


class HandlerBlockedLoop(Event):
    """A handler held the event loop: everything else stood still meanwhile."""

    name = "handler.blocked_loop"
    level = Level.WARNING
    handlers: list[str]
    blocked_s: float


class UserLog(Event):
    """A line written by a handler through `visit.log`."""

    name = "user.log"
    request_id: str
    message: str
    fields: dict[str, JsonValue]


class LogDegraded(Event):
    """Events are being lost: the file cannot be written, or a listener raised. Said once per cause."""

    name = "log.degraded"
    level = Level.WARNING
    what: str
    reason: str


class Status(Event):
    """How the run stands; sent every few seconds and once at the end. `parked` requests wait for their session."""

    name = "status"
    queued: int = 0
    active: int = 0
    waiting: int = 0
    parked: int = 0
    retrying: int = 0
    succeeded: int = 0
    failed: int = 0
    skipped: int = 0
    limit: int = 0
    pages_per_s: float = 0.0
    phase_p50_s: dict[str, float] = Field(default_factory=dict)
    phase_p95_s: dict[str, float] = Field(default_factory=dict)
    memory_used_bytes: int = 0
    memory_limit_bytes: int = 0
    memory_source: str = ""
    browsers: int = 0
    contexts: int = 0
    pages: int = 0
    elapsed_s: float = 0.0
    sessions_paused: int = 0
    sessions: list[SessionHealth] = Field(default_factory=list)

    def __str__(self) -> str:
        """Return a table for people: one line per group of numbers."""
        gib = 2**30
        rows = (
            ("finished", f"{self.succeeded} succeeded, {self.failed} failed, {self.skipped} skipped"),
            ("open", f"{self.active} active (limit {self.limit}), {self.queued} queued"),
            (
                "held back",
                f"{self.waiting} waiting for their host, {self.parked} for their session, {self.retrying} for a retry",
            ),
            ("browser", f"{self.browsers} browsers, {self.contexts} contexts, {self.pages} pages"),
            ("speed", f"{self.pages_per_s:.1f} pages/s, {self.elapsed_s:.0f} s so far"),
            ("memory", f"{self.memory_used_bytes / gib:.2f} of {self.memory_limit_bytes / gib:.2f} GiB"),
        )
        paused = (("sessions", f"{self.sessions_paused} paused"),) if self.sessions_paused else ()
        return "\n".join(f"{name:<10} {text}" for name, text in (*rows, *paused))
