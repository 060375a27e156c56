"""Who there is: the sessions of a crawl, and which of them a request belongs to."""

from collections import OrderedDict
from collections.abc import Iterator
from datetime import datetime

from browsercrawl.config import SessionProfile, SessionsConfig
from browsercrawl.events import SessionHealth
from browsercrawl.ports import SessionTerms
from browsercrawl.request import ANONYMOUS, Request
from browsercrawl.sessions.session import Phase, Session
from browsercrawl.sessions.state import is_within

HOST = "host:"
POOL = "pool:"
OWN_SESSIONS_MAX = 10_000
"""Sessions made by the engine are remembered up to this number; of those not used for longest the cookies are lost."""
TOLD_MAX = 200
"""Sessions told of one by one in a status: the paused ones first."""


class Roster:
    """The sessions by their names. Those of profiles are there from the beginning, others come with their requests.

    Args:
        config: who there is.
        has_proxies: the anonymous session is one of the engine's own, that its proxy may be replaced.

    Attributes:
        config, has_proxies: as given.
    """

    def __init__(self, config: SessionsConfig, *, has_proxies: bool) -> None:
        self.config = config
        self.has_proxies = has_proxies
        self._named = {profile.name: Session(profile, is_own=False) for profile in config.profiles}
        self._own: OrderedDict[str, Session] = OrderedDict()

    def __iter__(self) -> Iterator[Session]:
        yield from self._named.values()
        yield from self._own.values()

    def of(self, key: str) -> Session | None:
        """Return a session by its key; None for the anonymous one, of which nothing is kept."""
        if key == ANONYMOUS and not self.has_proxies:
            return None
        session = self._named.get(key)
        if session is not None:
            return session
        if key != ANONYMOUS and not key.startswith((HOST, POOL)):
            session = self._named[key] = Session(SessionProfile.model_construct(name=key), is_own=False)
            return session
        session = self._own.get(key)
        if session is None:
            session = self._own[key] = Session(SessionProfile.model_construct(name=key), is_own=True)
            if len(self._own) > OWN_SESSIONS_MAX:
                self._forget_one()
        else:
            self._own.move_to_end(key)
        return session

    def _forget_one(self) -> None:
        """Forget the session that was not used for longest; never one that is held, or requests wait for it in vain."""
        free = (key for key, each in self._own.items() if each.phase is Phase.IN and each.reopens_at is None)
        if (oldest := next(free, None)) is not None:
            del self._own[oldest]

    def claims_max(self, key: str) -> int | None:
        """Return how many requests of a session may be claimed at once. May be called in any thread."""
        session = self._named.get(key)
        return session.claims_max if session is not None else None

    def terms(self, key: str) -> SessionTerms:
        """Return what the pool must know of a session."""
        session = self.of(key)
        if session is None:
            return SessionTerms()
        profile = session.profile
        return SessionTerms(
            pages_max=profile.pages_max,
            context_visits_max=profile.context_visits_max,
            is_kept=True,
            may_overlap=session.is_own,
        )

    @property
    def is_plain(self) -> bool:
        """Whether requests that name no session belong to that of the page they were found on, or to none."""
        return not (self.config.rules or self.config.per_host or self.config.pool)

    def assigned(self, request: Request, *, parent: str | None = None) -> Request:
        """Return a request with the session it belongs to.

        A session it names itself stays. Otherwise a rule that matches decides, then the page it was found on, then
        what is configured for requests without a session.

        Args:
            request: as it came.
            parent: the session of the page it was found on; None: it is a seed.
        """
        if request.session is not None and not request.session.startswith((HOST, POOL)):
            return request
        session = self._ruled(request) or self._inherited(parent) or self._made_for(request)
        if session == request.session:
            return request
        given = {name: getattr(request, name) for name in request.model_fields_set}
        return Request(**{**given, "session": session})

    def admits(self, request: Request) -> bool:
        """Tell whether the request's session may go there."""
        session = self._named.get(request.session_key)
        domains = session.profile.own_domains if session is not None else ()
        return not domains or is_within(request.address.hostname, domains)

    def paused(self) -> list[Session]:
        """Return the sessions that wait for their user."""
        return [session for session in self if session.phase is Phase.PAUSED]

    def told(self, now: datetime) -> list[SessionHealth]:
        """Return how sessions do: the paused ones first, then in the order of their profiles; at most `TOLD_MAX`."""
        shown = sorted(self._named.values(), key=lambda session: session.phase is not Phase.PAUSED)
        return [session.told(now) for session in shown[:TOLD_MAX]]

    def _ruled(self, request: Request) -> str | None:
        for rule in self.config.rules:
            if rule.matches(request.url, request.key):
                return rule.session
        return None

    @staticmethod
    def _inherited(parent: str | None) -> str | None:
        return None if parent is None or parent.startswith((HOST, POOL)) else parent

    def _made_for(self, request: Request) -> str | None:
        if self.config.per_host:
            return f"{HOST}{request.address.host}"
        if self.config.pool is not None:
            return f"{POOL}{int(request.id[:12], 16) % self.config.pool}"
        return None
