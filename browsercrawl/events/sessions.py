"""Events of sessions, and how one does."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from browsercrawl.errors import ErrorKind
from browsercrawl.events.base import Event, Level


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
