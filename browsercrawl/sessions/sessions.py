"""All that concerns the sessions of a crawler: who there is, how they are opened and kept, how they log in."""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from browsercrawl.clock import Clock
from browsercrawl.config import LoggedOut, SessionsConfig
from browsercrawl.errors import (
    BrowsercrawlError,
    BrowserError,
    ConfigError,
    DeadlineExceeded,
    LoginFailed,
    NetworkFailed,
)
from browsercrawl.events import Emit, SessionProxyChanged
from browsercrawl.ports import ContextOptions
from browsercrawl.sessions.checks import PageCheck
from browsercrawl.sessions.keeper import Keeper, Network, StartRelay
from browsercrawl.sessions.logins import Lend, Logins, SessionCode
from browsercrawl.sessions.proxies import ProxyFunction, ProxyRotation
from browsercrawl.sessions.roster import Roster
from browsercrawl.sessions.session import Session
from browsercrawl.sessions.vault import StateVault, parse_key

PROXY_FAILURES_MAX = 5
"""So many failures of its proxies in a row, without a page between, pause a session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionsParts:
    """What sessions are made of.

    Attributes:
        config: who there is.
        directory: where states are stored if the configuration names none; None: in memory.
        base: how the contexts of all sessions are opened.
        start_relay: for proxies that want a user name and password.
        code, proxy: the user's own functions.
        is_guarded: every context needs a relay, the network guard being on.
        is_relayed: every one needs one in any case: for bytes are counted, or hosts are blocked.
    """

    config: SessionsConfig
    directory: Path | None
    base: ContextOptions
    start_relay: StartRelay
    code: SessionCode = field(default_factory=SessionCode)
    proxy: ProxyFunction | None = None
    is_guarded: Callable[[], bool] = lambda: False
    is_relayed: bool = False


class Sessions:
    """See the module's text. Lives as long as the pool whose contexts it opens.

    Attributes:
        roster: who there is.
        keeper: for the pool.

    Raises:
        ConfigError: the key of saved states is none, or the extra that encrypts is missing.
    """

    def __init__(self, parts: SessionsParts, *, clock: Clock, emit: Emit) -> None:
        config = parts.config
        key = parse_key(config.key.get_secret_value()) if config.key is not None else None
        self._proxies = ProxyRotation(
            [proxy.get_secret_value() for proxy in config.proxies],
            cooldown_s=config.proxy_cooldown_s,
            clock=clock,
            function=parts.proxy,
        )
        self.roster = Roster(config, has_proxies=bool(config.proxies) or parts.proxy is not None)
        self.keeper = Keeper(
            self.roster,
            vault=StateVault(config.state_dir or parts.directory, key=key),
            base=parts.base,
            network=Network(
                proxies=self._proxies,
                start_relay=parts.start_relay,
                is_guarded=parts.is_guarded,
                is_relayed=parts.is_relayed,
            ),
            clock=clock,
            emit=emit,
        )
        self._logins = Logins(self.keeper, code=parts.code, key=key, clock=clock, emit=emit)
        self._code = parts.code
        self._clock = clock
        self._emit = emit
        self._proxy_failures: dict[str, int] = {}

    def begin_run(self) -> None:
        """Let sessions that were paused try again."""
        self._proxy_failures.clear()
        for session in self.roster:
            session.unpause()

    async def close(self) -> None:
        """End what is left, after the pool's end."""
        await self._logins.close()
        await self.keeper.close()

    def check_of(self, session: Session) -> PageCheck | None:
        """Return what looks at a session's pages; None: nothing needs to be looked at."""
        login = session.profile.login
        check = PageCheck(
            session.name,
            signs=login.logged_out if login is not None else LoggedOut(),
            form_url=login.form_url if login is not None else None,
            blocked=self.roster.config.blocked,
            function=self._code.logged_out_of(session.name) if login is not None else None,
        )
        return check if check.is_needed else None

    def proxy_of(self, key: str) -> str | None:
        """Return the proxy of a session, by its key, with its user name and password; None: it has none of its own.

        Raises:
            ProxyFailed: the user's function gives none that is one.
        """
        session = self.roster.of(key)
        return self._proxies.of(session.name, own=session.own_proxy) if session is not None else None

    async def log_in(self, session: Session, lend: Lend) -> None:
        """Return when a session is logged in, as far as is known; see `Logins.ensure`."""
        await self._logins.ensure(session, lend)

    def pause(self, session: Session, reason: str) -> None:
        """Let a session wait for its user."""
        self._logins.pause(session, reason)

    def login_failed(self, session: Session, error: LoginFailed, *, artifact: str | None) -> None:
        """Decide what becomes of a session whose login failed."""
        self._logins.failed(session, error, artifact=artifact)

    def expired(self, session: Session, *, epoch: int, url: str, reason: str) -> None:
        """A visit, begun in a login, shows that it is over."""
        self._logins.expired(session, epoch=epoch, url=url, reason=reason)

    def visited(self, session: Session, error: BrowsercrawlError | None) -> None:
        """A visit has come to its end."""
        session.visited(succeeded=error is None)
        has_answer = not isinstance(error, NetworkFailed | DeadlineExceeded | BrowserError)
        if has_answer:
            self._proxy_failures.pop(session.name, None)
            self._proxies.worked(session.name)

    def is_replaceable(self, session: Session) -> bool:
        """Tell whether a session that the site refuses can come back as another: by cookies, or by its proxy."""
        return session.is_own or (session.profile.proxy is None and self.roster.has_proxies)

    def refused(self, session: Session, reason: str) -> None:
        """The site refuses a session: another takes its name if the engine made it; its proxy is banned in any case."""
        if self.roster.has_proxies or session.profile.proxy is not None:
            self._proxies.failed(session.name, own=session.own_proxy)
            session.proxies += 1
        if session.is_own:
            self.keeper.retire(session, reason)
        else:
            self._emit(SessionProxyChanged(session=session.name, reason=reason, again_in_s=None))

    def proxy_failed(self, session: Session, reason: str) -> None:
        """A session's proxy failed: it gets another, waits until one has rested, or is paused at last."""
        failures = self._proxy_failures[session.name] = self._proxy_failures.get(session.name, 0) + 1
        again_in_s = self._proxies.failed(session.name, own=session.own_proxy)
        session.proxies += 1
        self._emit(SessionProxyChanged(session=session.name, reason=reason, again_in_s=again_in_s))
        if failures >= PROXY_FAILURES_MAX:
            self._logins.pause(session, f"{failures} proxies in a row failed; the last: {reason}")
        elif again_in_s is not None:
            session.reopens_at = self._clock.now() + again_in_s


def check_logins(config: SessionsConfig, code: SessionCode) -> None:
    """Make sure, before a crawl is started, that every session can log in, and that it is noticed when it is out.

    Raises:
        ConfigError: says what is missing.
    """
    for profile in config.profiles:
        login = profile.login
        if login is None:
            continue
        if login.recipe is None and code.login_of(profile.name) is None:
            raise ConfigError(
                f"session {profile.name!r} has a login without recipe: give one, "
                f"or register a coroutine with @crawler.login({profile.name!r})"
            )
        is_noticed = login.form_url or login.logged_out.is_given or code.logged_out_of(profile.name)
        if not is_noticed:
            raise ConfigError(
                f"session {profile.name!r}: say how a page shows that it is logged out: give login.logged_out, "
                f"or register a coroutine with @crawler.logged_out({profile.name!r})"
            )
        if (login.credentials.totp or login.credentials.totp_file) and find_spec("pyotp") is None:
            raise ConfigError(
                "one-time passwords need more than the bare package; type: pip install 'browsercrawl[sessions]'"
            )
