"""What the dispatcher does about sessions: logs them in before visits, and makes of outcomes what they mean for them.

A session's room (`Session.claims_max`) is what the frontier goes by; it is told at once when that changes, before the
request that brought the change about is given back.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from browsercrawl.dispatcher.settle import History
from browsercrawl.dispatcher.wiring import Wiring
from browsercrawl.errors import (
    BrowsercrawlError,
    LoginFailed,
    PageBlocked,
    ProxyFailed,
    SessionError,
    SessionExpired,
    StateUnusable,
)
from browsercrawl.pool import Lease
from browsercrawl.request import Request
from browsercrawl.sessions import Phase, Session
from browsercrawl.urls import shown
from browsercrawl.visit import CapturedFile, Check, VisitOutcome

BLAMES_MAX = 5
"""A request that failed so often through proxies is to blame itself: another page may come through, and a server can
answer 407 without being a proxy."""

PROXY_REFUSES = 407
"""No other server may answer so."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a visit's session was when the visit began: what its outcome says is about that, not about what came since.

    Attributes:
        epoch: number of its login.
        incarnation: which of those of its name.
        proxies: how many it had before.
        is_fresh: it was logged in for this very visit.
    """

    epoch: int
    incarnation: int
    proxies: int
    is_fresh: bool


@dataclass(frozen=True, slots=True)
class Before:
    """What an attempt's session was when the attempt began: how often it had logged in, and changed its proxy."""

    logins: int = 0
    proxies: int = 0


class Identities:
    """See the module's text.

    Args:
        wiring: of the dispatcher.
        on_room: told when a session has more room than before.
    """

    def __init__(self, wiring: Wiring, *, on_room: Callable[[], None]) -> None:
        self._w = wiring
        self._on_room = on_room
        self._sessions = wiring.sessions
        self._roster = wiring.sessions.roster
        self._told: dict[str, int | None] = {}
        self._held: dict[str, Session] = {}

    # --- time --------------------------------------------------------------------------------------------------------

    @property
    def reopens_in_s(self) -> float | None:
        """When the first session that is held may go on; None: none will by itself."""
        times = [session.reopens_at for session in self._held.values() if session.reopens_at is not None]
        return max(0.0, min(times) - self._w.clock.now()) if times else None

    async def reopen(self) -> None:
        """Let those sessions go on that have been held long enough."""
        now = self._w.clock.now()
        for session in list(self._held.values()):
            if session.reopens_at is not None and session.reopens_at <= now:
                session.reopens_at = None
                await self._tell(session)

    def paused(self) -> list[Session]:
        """Return the sessions that wait for their user."""
        return self._roster.paused()

    # --- requests ----------------------------------------------------------------------------------------------------

    @property
    def is_plain(self) -> bool:
        """Whether links simply keep the session of their page."""
        return self._roster.is_plain

    def assigned(self, request: Request, *, parent: str | None = None) -> Request:
        """Return a request with the session it belongs to; see `Roster.assigned`."""
        return self._roster.assigned(request, parent=parent)

    def admits(self, request: Request) -> bool:
        """Tell whether the request's session may go there."""
        return self._roster.admits(request)

    # --- one attempt -------------------------------------------------------------------------------------------------

    def check_of(self, request: Request) -> Check | None:
        """Return what looks at the request's page; None: nothing needs to be looked at."""
        session = self._roster.of(request.session_key)
        return self._sessions.check_of(session) if session is not None else None

    def before(self, request: Request) -> Before:
        """Return what the request's session is before an attempt."""
        session = self._roster.of(request.session_key)
        return Before(session.health.logins, session.proxies) if session is not None else Before()

    def standing(self, request: Request, lease: Lease, *, before: Before) -> Standing:
        """Return what the request's session is now, as far as the lease's context goes.

        Args:
            request: about to be visited.
            lease: whose page it will be.
            before: when the attempt began.
        """
        session = self._roster.of(request.session_key)
        epoch, logins = (session.epoch, session.health.logins) if session is not None else (0, 0)
        return Standing(epoch, lease.options.incarnation, lease.options.proxies, is_fresh=logins > before.logins)

    async def prepare(self, request: Request) -> None:
        """Return when the request's session is logged in, as far as is known.

        Raises:
            SessionError: it is not, and cannot be now.
            Whatever lending a page raises.
        """
        session = self._roster.of(request.session_key)
        if session is None:
            return
        self._told.setdefault(session.name, session.claims_max)
        if session.phase is Phase.IN and session.is_known:
            return
        incarnation = session.incarnation
        try:
            await self._sessions.log_in(session, self._w.pool.acquire)
        except LoginFailed as error:
            artifact = await self._picture(request, error)
            self._sessions.login_failed(session, error, artifact=artifact)
            raise
        finally:
            if session.incarnation != incarnation:  # its state came from elsewhere
                self._w.pool.recycle(session.name, "it was given another state")
            await self._tell(session)

    async def unserved(self, request: Request, error: BrowsercrawlError, *, before: Before) -> None:
        """Do for the session what it means that no page of it could be had; `before` it was tried it was that."""
        session = self._roster.of(request.session_key)
        if session is None:
            return
        if isinstance(error, ProxyFailed):
            if session.proxies == before.proxies:
                self._sessions.proxy_failed(session, error.message)
                self._w.pool.recycle(session.name, "its proxy failed")
        elif isinstance(error, StateUnusable):
            self._sessions.pause(session, error.message)
        await self._tell(session)

    def blamed(
        self, request: Request, outcome: VisitOutcome, *, lease: Lease, since: float, history: History
    ) -> BrowsercrawlError | None:
        """Return who is to blame for a failed visit: the session's proxy, if that has failed meanwhile.

        Args:
            request: that was visited.
            outcome: of the visit.
            lease: whose page it was.
            since: when the visit began, by the event loop's clock.
            history: of the request.
        """
        error = outcome.error
        if error is None:
            return None
        if isinstance(error, SessionError) or history.proxy_failures >= BLAMES_MAX:
            return error
        why = self._sessions.keeper.proxy_failure(lease.options, error, since=since)
        if why is None and outcome.navigation is not None and outcome.navigation.status == PROXY_REFUSES:
            why = (
                "the proxy refuses our user name and password"
                if self._sessions.keeper.is_proxied(lease.options)
                else None
            )
        if why is None:
            return error
        history.proxy_failures += 1
        blamed = ProxyFailed(f"{shown(request.url)}: {why}")
        blamed.__cause__ = error
        return blamed

    async def heed(self, request: Request, outcome: VisitOutcome, *, standing: Standing, history: History) -> bool:
        """Do for the session what a visit's outcome means for it.

        Args:
            request: that was visited.
            outcome: of the visit.
            standing: of its session when it began.
            history: of the request.

        Returns:
            Whether another session has taken the place of the one that the site refused.
        """
        session = self._roster.of(request.session_key)
        if session is None:
            return False
        error, replaced = outcome.error, False
        has_same_proxy = standing.proxies == session.proxies
        if isinstance(error, SessionExpired):
            history.logouts += standing.is_fresh
            history.expiries += 1
            self._sessions.expired(session, epoch=standing.epoch, url=request.url, reason=error.message)
        elif isinstance(error, ProxyFailed):
            if has_same_proxy:
                self._sessions.proxy_failed(session, error.message)
                self._w.pool.recycle(session.name, "its proxy failed")
        elif not isinstance(error, SessionError):
            self._sessions.visited(session, error)
            replaced = isinstance(error, PageBlocked) and self._sessions.is_replaceable(session)
            if error is not None and replaced and has_same_proxy and standing.incarnation == session.incarnation:
                self._sessions.refused(session, error.message)
                self._w.pool.recycle(session.name, "the site refuses it")
        await self._tell(session)
        return replaced

    async def keep(self, request: Request, lease: Lease) -> None:
        """Keep what a visit has left in its page for the session; raises nothing."""
        if lease.is_private:
            return
        if not await self._sessions.keeper.keep(request.session_key, lease.page, incarnation=lease.options.incarnation):
            self._w.pool.recycle(request.session_key, "another process has logged it in")

    async def _picture(self, request: Request, error: LoginFailed) -> str | None:
        if error.screenshot is None or self._w.store_file is None:
            return None
        picture = CapturedFile(name="login", extension="png", body=error.screenshot)
        return (await self._w.store_file(request.id, picture)).path

    async def _tell(self, session: Session) -> None:
        """Let the frontier know a session's room, if it has changed."""
        if session.reopens_at is not None:
            self._held[session.name] = session
        else:
            self._held.pop(session.name, None)
        limit = session.claims_max
        if self._told.get(session.name, -1) != limit:
            self._told[session.name] = limit
            await self._w.frontier.limit_session(session.name, limit)
            self._on_room()


def loop_time() -> float:
    """Return the present instant of the event loop's clock."""
    return asyncio.get_running_loop().time()
