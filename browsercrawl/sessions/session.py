"""One session: where it is in its life, and what is known of it.

    OUT ─▶ LOGGING_IN ─▶ IN ─▶ OUT …        LOGGING_IN ─▶ OUT (a failed try)        OUT, IN ─▶ PAUSED ─▶ OUT (next run)

A session without a login is IN from the beginning. Nothing here waits or does I/O.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from browsercrawl.config import SessionProfile
from browsercrawl.errors import InternalError
from browsercrawl.events import SessionHealth
from browsercrawl.sessions.state import SessionState

LOGINS_IN_VAIN_MAX = 12
"""So many logins in a row, none followed by a page that is accepted, pause a session: the sign of success is wrong, or
that of being logged out is, and each further login may lock the account."""


class Phase(StrEnum):
    """Where a session is."""

    OUT = "out"
    """It must be logged in before its next visit."""
    LOGGING_IN = "logging_in"
    IN = "in"
    PAUSED = "paused"
    """It waits for its user."""


_MOVES = {
    Phase.OUT: {Phase.LOGGING_IN, Phase.IN, Phase.PAUSED},
    Phase.LOGGING_IN: {Phase.IN, Phase.OUT, Phase.PAUSED},
    Phase.IN: {Phase.OUT, Phase.PAUSED},
    Phase.PAUSED: {Phase.OUT, Phase.IN},
}


@dataclass(slots=True)
class Health:
    """What is counted of a session."""

    pages: int = 0
    failures: int = 0
    logins: int = 0
    last_login: datetime | None = None


class Session:
    """See the module's text.

    Attributes:
        profile: what it was configured with.
        is_own: made by the engine for requests without a session: it is replaced when the site refuses it.
        state: of its last save or login; None: nothing is known.
        is_known: whether it has been looked whether a state is stored.
        epoch: number of the login it is in; grows with each.
        accepted: visits that were accepted since that login.
        is_fresh: that login was made here, not restored from an earlier process.
        logins_in_vain: logins made here, in a row, after which none was.
        failed_tries: logins in a row that failed.
        reopens_at: held until this instant, on the clock of the run; None: it is not held.
        reason: why it is paused.
        unsaved: visits since the last save.
        incarnation: grows when what its context holds is not to be kept: another has its name, or a newer state came.
        proxies: how many it had before its present one.
    """

    def __init__(self, profile: SessionProfile, *, is_own: bool) -> None:
        self.profile = profile
        self.is_own = is_own
        self.health = Health()
        self.state: SessionState | None = None
        self.is_known = False
        self.epoch = 0
        self.accepted = 0
        self.is_fresh = False
        self.logins_in_vain = 0
        self.failed_tries = 0
        self.reopens_at: float | None = None
        self.reason: str | None = None
        self.unsaved = 0
        self.incarnation = 0
        self.proxies = 0
        self._paused_from = Phase.OUT
        self._phase = Phase.OUT if profile.login is not None else Phase.IN

    @property
    def name(self) -> str:
        """By which requests name it."""
        return self.profile.name

    @property
    def own_proxy(self) -> str | None:
        """The proxy it was configured with."""
        return self.profile.proxy.get_secret_value() if self.profile.proxy is not None else None

    @property
    def phase(self) -> Phase:
        """Where it is."""
        return self._phase

    @property
    def claims_max(self) -> int | None:
        """So many of its requests may be claimed at once; None: any number."""
        if self._phase is Phase.PAUSED or self.reopens_at is not None:
            return 0
        # Whoever is claimed first logs in; the others follow when that is done.
        return 1 if self._phase in {Phase.OUT, Phase.LOGGING_IN} else self.profile.pages_max

    def begin_login(self) -> None:
        """Somebody logs it in now."""
        self._transition(Phase.LOGGING_IN)

    def logged_in(self, at: datetime) -> None:
        """The login worked."""
        if self._phase is Phase.LOGGING_IN:  # else it was paused meanwhile, and stays so
            self._transition(Phase.IN)
        self.epoch += 1
        self.is_fresh = True
        self.accepted = 0
        self.failed_tries = 0
        self.health.logins += 1
        self.health.last_login = at

    def restored(self, state: SessionState) -> None:
        """A state was found that may still hold: the first visit will tell."""
        self.state, self.epoch = state, state.epoch
        self.health.last_login = state.logged_in_at
        if self._phase is Phase.OUT:
            self._transition(Phase.IN)

    def login_failed(self) -> None:
        """The login did not work."""
        self.login_interrupted()
        self.failed_tries += 1

    def login_interrupted(self) -> None:
        """The login was cut short, by nobody's fault; one that had worked by then counts."""
        if self._phase is Phase.LOGGING_IN:
            self._transition(Phase.OUT)

    def expired(self) -> bool:
        """A page shows that it is logged out. Returns whether that is news."""
        if self._phase is not Phase.IN or self.profile.login is None:
            return False
        self.logins_in_vain = self.logins_in_vain + 1 if self.is_fresh and not self.accepted else 0
        self._transition(Phase.OUT)
        return True

    def visited(self, *, succeeded: bool) -> None:
        """Count a visit that has come to its end."""
        if not succeeded:
            self.health.failures += 1
            return
        self.health.pages += 1
        self.accepted += 1
        self.logins_in_vain = 0
        self.unsaved += 1

    def pause(self, reason: str) -> bool:
        """It cannot go on. Returns whether that is new."""
        if self._phase is Phase.PAUSED:
            return False
        self._paused_from = Phase.IN if self._phase is Phase.IN else Phase.OUT
        self._transition(Phase.PAUSED)
        self.reason, self.reopens_at = reason, None
        return True

    def unpause(self) -> None:
        """Another run begins: it may try again, and is counted anew."""
        self.health = Health(last_login=self.health.last_login)
        self.reopens_at = None
        self.failed_tries = self.logins_in_vain = 0
        if self._phase is Phase.PAUSED:
            self.reason = None
            self._transition(self._paused_from)

    def replace(self) -> None:
        """Forget who it was: a new one has its name."""
        self.state = None
        self.incarnation += 1
        self.unsaved = 0

    def told(self, now: datetime) -> SessionHealth:
        """Return how it does."""
        saved_at = self.state.saved_at if self.state is not None else None
        return SessionHealth(
            session=self.name,
            phase=self._phase,
            pages=self.health.pages,
            failures=self.health.failures,
            logins=self.health.logins,
            last_login=self.health.last_login,
            state_age_s=round((now - saved_at).total_seconds(), 1) if saved_at is not None else None,
            reason=self.reason,
        )

    def _transition(self, to: Phase) -> None:
        if to not in _MOVES[self._phase]:
            raise InternalError(f"session {self.name!r} cannot go from {self._phase} to {to}")
        self._phase = to
