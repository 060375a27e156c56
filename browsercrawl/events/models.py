"""One frozen model per event. The models are the documentation; the schema is exported from them.

An event carries what happened and to whom. What is the same for a whole run (`ts`, `run_id`, `schema`) is added once,
by the writer. URLs and messages are redacted by the log, not by the emitter: there is one place to get that right.
"""

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from browsercrawl.errors import Disposition, ErrorKind
from browsercrawl.result import Phase, Timings


class Level(StrEnum):
    """Severity, in the words of Python's logging."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Event(BaseModel):
    """Base of all events.

    Attributes:
        name: `noun.verb`; public contract.
        level: how loud it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    level: ClassVar[Level] = Level.INFO


SCHEMA_VERSION = 1
"""Stands in each line as `schema`; grows when a field changes its meaning or goes away."""

Emit = Callable[[Event], None]
"""Takes an event; must not block and must not raise."""


def discard(event: Event) -> None:
    """Forget the event: the `Emit` of whoever has no listener."""


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


class LeaseAcquired(Event):
    """A page was lent to a visit."""

    name = "lease.acquired"
    level = Level.DEBUG
    lease_id: int
    session: str
    context_id: int
    page_visits: int
    waited_s: float


class LeaseReleased(Event):
    """A lease ended. `kept` tells whether its page went back to stock, `why` why not; its popups were closed."""

    name = "lease.released"
    level = Level.DEBUG
    lease_id: int
    session: str
    held_s: float
    kept: bool
    why: str | None
    popups: int = 0
    dialogs: int = 0


class ContextOpened(Event):
    """A browser context was opened for a session."""

    name = "context.opened"
    context_id: int
    session: str
    contexts: int


class ContextRecycled(Event):
    """A context is worn or was changed by user code: it ends when its last lease does."""

    name = "context.recycled"
    context_id: int
    session: str
    why: str
    visits: int


class ContextClosed(Event):
    """A browser context was closed."""

    name = "context.closed"
    context_id: int
    session: str
    clean: bool
    contexts: int


class BrowserLaunched(Event):
    """A browser is up."""

    name = "browser.launched"
    pid: int | None
    binary: str
    version: str
    sandbox: bool
    generation: int
    took_s: float


class SandboxUnavailable(Event):
    """Chromium runs without its sandbox: a hostile page has one wall less to climb."""

    name = "browser.sandbox_unavailable"
    level = Level.WARNING
    reason: str
    remedy: str


class BrowserCrashed(Event):
    """The browser or its driver died, or did not answer any more; it will be relaunched."""

    name = "browser.crashed"
    level = Level.ERROR
    generation: int
    reason: str
    leases_lost: int


class BrowserRetired(Event):
    """A browser was closed on purpose."""

    name = "browser.retired"
    generation: int
    clean: bool


class PageKilled(Event):
    """A page that did not answer was interrupted or closed by force."""

    name = "page.killed"
    level = Level.WARNING
    lease_id: int | None
    rung: Literal["interrupt", "close_page", "close_context", "kill_browser"]
    worked: bool
    took_s: float


class SessionLoginStarted(Event):
    """A session is being logged in; nothing else of it is visited meanwhile."""

    name = "session.login_started"
    session: str
    login: int


class SessionLoggedIn(Event):
    """A session is logged in: its `login`-th."""

    name = "session.logged_in"
    session: str
    login: int
    took_s: float


class SessionLoginFailed(Event):
    """A login failed, `tries` times in a row now. `artifact` is a picture of what the page showed."""

    name = "session.login_failed"
    level = Level.WARNING
    session: str
    kind: ErrorKind
    message: str
    tries: int
    again_in_s: float | None
    artifact: str | None = None


class SessionExpired(Event):
    """A page shows that the session is logged out; what is open of it is visited again after its next login."""

    name = "session.expired"
    session: str
    login: int
    url: str
    reason: str


class SessionPaused(Event):
    """A session cannot go on: its requests wait until the run is resumed."""

    name = "session.paused"
    level = Level.ERROR
    session: str
    reason: str


class SessionHibernated(Event):
    """The state of a session was saved, and its context closes; `kept` counts cookies and origins with storage."""

    name = "session.hibernated"
    session: str
    complete: bool
    kept: int
    took_s: float


class SessionRevived(Event):
    """A context is opened from the saved state of its session."""

    name = "session.revived"
    session: str
    login: int
    kept: int
    state_age_s: float | None


class SessionRetired(Event):
    """A session was refused by the site: its cookies and its proxy were thrown away, a new one has its name."""

    name = "session.retired"
    level = Level.WARNING
    session: str
    reason: str


class SessionSaveFailed(Event):
    """The state of a session could not be written; it is kept in memory."""

    name = "session.save_failed"
    level = Level.ERROR
    session: str
    message: str


class SessionProxyChanged(Event):
    """A session's proxy failed or was banned; it has another now, or waits until one has rested (`again_in_s`)."""

    name = "session.proxy_changed"
    level = Level.WARNING
    session: str
    reason: str
    again_in_s: float | None


class HostDeferred(Event):
    """A host asked for a pause; its requests wait."""

    name = "host.deferred"
    level = Level.WARNING
    host: str
    delay_s: float
    reason: str


class HandlerRaised(Event):
    """An `on_failed` handler or a sink of the user raised; the request's result stands as it is."""

    name = "handler.raised"
    level = Level.ERROR
    request_id: str
    where: str
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


class SessionHealth(BaseModel):
    """How a session does.

    Attributes:
        phase: `out` (not logged in), `logging_in`, `in`, or `paused` (for a `reason`).
        pages, failures: visits that succeeded, and that failed. `state_age_s`: since its state was saved.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    session: str
    phase: str
    pages: int = 0
    failures: int = 0
    logins: int = 0
    last_login: datetime | None = None
    state_age_s: float | None = None
    reason: str | None = None


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
    phase_p50_s: dict[str, float] = {}
    phase_p95_s: dict[str, float] = {}
    memory_used_bytes: int = 0
    memory_limit_bytes: int = 0
    memory_source: str = ""
    browsers: int = 0
    contexts: int = 0
    pages: int = 0
    elapsed_s: float = 0.0
    sessions_paused: int = 0
    sessions: list[SessionHealth] = []

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
