"""Who is logged in when: one login at a time of each session, tried again after a pause, and given up after some.

A session that must be logged in has room for one claim (`Session.claims_max`): whoever holds that claim logs in, with
a lease of its own, before its visit. So nobody waits for a login in a page.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from browsercrawl.clock import Clock
from browsercrawl.config import StateLogin
from browsercrawl.errors import (
    BrowsercrawlError,
    BrowserError,
    ConfigError,
    LoginFailed,
    ProxyFailed,
    SessionBusy,
    SessionError,
    SessionPaused,
    VisitError,
)
from browsercrawl.events import Emit, SessionExpired, SessionLoggedIn, SessionLoginFailed, SessionLoginStarted
from browsercrawl.events import SessionPaused as SessionPausedEvent
from browsercrawl.ports import ContextOptions, PagePort
from browsercrawl.sessions.checks import LoggedOutFunction
from browsercrawl.sessions.keeper import Keeper
from browsercrawl.sessions.recipes import CANCEL_GRACE_S, LoginAttempt, LoginFunction, LoginSession
from browsercrawl.sessions.secrets import Secrets
from browsercrawl.sessions.session import LOGINS_IN_VAIN_MAX, Phase, Session
from browsercrawl.sessions.vault import read_state_file

BACKOFF_MAX_S = 600.0
"""No pause between two tries is longer."""


class Loan(Protocol):
    """A lent page; `pool.Lease` is one."""

    @property
    def page(self) -> PagePort:
        """The page."""

    @property
    def options(self) -> ContextOptions:
        """With which its context was opened."""

    async def release(self, *, condemned: str | None = None) -> None:
        """Give it back."""


class Lend(Protocol):
    """Lends a page of a session's context."""

    async def __call__(self, session: str) -> Loan:
        """Lend one."""


@dataclass(slots=True)
class SessionCode:
    """The user's own functions, by session; None is for all others."""

    logins: dict[str | None, LoginFunction] = field(default_factory=dict)
    logged_out: dict[str | None, LoggedOutFunction] = field(default_factory=dict)

    def login_of(self, session: str) -> LoginFunction | None:
        """Return what logs a session in."""
        return self.logins.get(session) or self.logins.get(None)

    def logged_out_of(self, session: str) -> LoggedOutFunction | None:
        """Return what tells that a session is logged out."""
        return self.logged_out.get(session) or self.logged_out.get(None)


class Logins:
    """See the module's text.

    Args:
        keeper: of the sessions' states.
        code: the user's own functions.
        key: of saved states.
        clock, emit: of the crawler.
    """

    def __init__(self, keeper: Keeper, *, code: SessionCode, key: bytes | None, clock: Clock, emit: Emit) -> None:
        self._keeper = keeper
        self._code = code
        self._key = key
        self._clock = clock
        self._emit = emit
        self._deaf: set[asyncio.Task[None]] = set()
        """User code that still runs in spite of its cancellation."""

    async def close(self) -> None:
        """Cancel what still runs once more; wait a moment for it, raise nothing."""
        for task in self._deaf:
            task.cancel()
        if self._deaf:
            await asyncio.wait(set(self._deaf), timeout=CANCEL_GRACE_S)

    async def ensure(self, session: Session, lend: Lend) -> None:
        """Return when a session is logged in, as far as is known: its page will tell.

        Raises:
            SessionPaused: it waits for its user.
            SessionBusy: another claim is logging it in.
            LoginFailed: that did not work; `failed` tells what becomes of it.
            ProxyFailed: because of the session's proxy.
            StateUnusable: a saved state cannot be used.
            Whatever lending a page, or losing it, raises.
        """
        await self._keeper.look_up(session)
        if session.phase is Phase.PAUSED:
            raise SessionPaused(f"session {session.name!r} is paused: {session.reason}")
        if session.phase is Phase.LOGGING_IN:
            raise SessionBusy(f"session {session.name!r} is being logged in")
        if session.phase is not Phase.OUT:
            return
        session.begin_login()
        self._emit(SessionLoginStarted(session=session.name, login=session.epoch + 1))
        started_at = self._clock.now()
        try:
            await self._log_in(session, lend)
        except LoginFailed:
            session.login_failed()
            raise
        except ConfigError as error:
            session.login_failed()
            raise LoginFailed(f"session {session.name!r}: {error.message}") from None
        except BaseException:
            session.login_interrupted()
            raise
        took_s = round(self._clock.now() - started_at, 3)
        self._emit(SessionLoggedIn(session=session.name, login=session.epoch, took_s=took_s))

    def failed(self, session: Session, error: SessionError, *, artifact: str | None = None) -> None:
        """A session could not be logged in: it rests for a while, or is paused after the last try."""
        login = session.profile.login
        assert login is not None, "only a session with a login is logged in"
        is_last = session.failed_tries >= login.tries or not isinstance(error, LoginFailed)
        pause_s = None if is_last else min(login.backoff_s * 2.0 ** (session.failed_tries - 1), BACKOFF_MAX_S)
        self._emit(
            SessionLoginFailed(
                session=session.name,
                kind=error.kind,
                message=error.message,
                tries=session.failed_tries,
                again_in_s=pause_s,
                artifact=artifact,
            )
        )
        if pause_s is None:
            self.pause(session, error.message)
        elif pause_s:
            session.reopens_at = self._clock.now() + pause_s

    def expired(self, session: Session, *, epoch: int, url: str, reason: str) -> None:
        """A page of a login shows that it is over; unless the session has been logged in anew since."""
        if session.epoch != epoch or not session.expired():
            return
        self._emit(SessionExpired(session=session.name, login=epoch, url=url, reason=reason))
        login = session.profile.login
        is_state = login is not None and isinstance(login.recipe, StateLogin)
        if session.logins_in_vain >= (1 if is_state else LOGINS_IN_VAIN_MAX):
            remedy = (
                "save a fresh state with `browsercrawl login`" if is_state else "look at its success and logged_out"
            )
            self.pause(session, f"it is logged out right after each login ({reason}); {remedy}")

    def pause(self, session: Session, reason: str) -> None:
        """Let a session wait for its user."""
        if session.pause(reason):
            self._emit(SessionPausedEvent(session=session.name, reason=reason))

    async def _log_in(self, session: Session, lend: Lend) -> None:
        login = session.profile.login
        assert login is not None, "else it were not out"
        if isinstance(login.recipe, StateLogin):
            await self._take_state(session, login.recipe)
            return
        secrets = await asyncio.to_thread(Secrets.read, login.credentials)
        who = LoginSession(
            name=session.name, account=session.profile.account_name, username=secrets.username, secrets=secrets
        )
        loan = await lend(session.name)
        condemned: str | None = "cancelled"
        deaf, since = len(self._deaf), asyncio.get_running_loop().time()
        try:
            await loan.page.begin()
            function = self._code.login_of(session.name)
            attempt = LoginAttempt(loan.page, login, who=who, clock=self._clock, function=function, deaf=self._deaf)
            await attempt.carry_out()
            session.logged_in(self._clock.utc())
            with suppress(BrowserError, VisitError, SessionError):  # its next page will tell
                await self._keeper.save_login(session, loan.page)
            condemned = None
        except LoginFailed as error:
            condemned = error.kind if len(self._deaf) > deaf else None
            why = self._keeper.proxy_failure(loan.options, error.network or error, since=since)
            if why is not None:
                raise ProxyFailed(f"logging in session {session.name!r}: {why}") from error
            raise
        except BrowsercrawlError as error:
            condemned = error.kind if isinstance(error, BrowserError) else None
            raise
        finally:
            await loan.release(condemned=condemned)

    async def _take_state(self, session: Session, recipe: StateLogin) -> None:
        state = await asyncio.to_thread(
            read_state_file,
            recipe.file,
            session=session.name,
            domains=session.profile.own_domains,
            key=self._key,
            now=self._clock.utc(),
        )
        session.logged_in(self._clock.utc())
        self._keeper.give(session, state)
