"""Opens the contexts of sessions as they were left, and keeps what is to outlive a context.

A session's state is taken after its login, after each visit (cookies if it has a login, and localStorage of the page's
origin: two quick calls), and when its context hibernates. It goes to the vault when it has changed in substance, when
`save_every_pages` visits have passed, and at hibernation. Sessions of the engine's own stay in memory.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import quote

from browsercrawl.clock import Clock
from browsercrawl.errors import (
    BrowsercrawlError,
    DeadlineExceeded,
    NetworkFailed,
    OutputFailed,
    ProxyFailed,
    SessionBusy,
    StateUnusable,
)
from browsercrawl.events import Emit, SessionHibernated, SessionRetired, SessionRevived, SessionSaveFailed
from browsercrawl.ports import ContextOptions, ContextPort, PagePort, SessionTerms
from browsercrawl.sessions.proxies import ProxyRotation
from browsercrawl.sessions.roster import Roster
from browsercrawl.sessions.session import Phase, Session
from browsercrawl.sessions.state import SessionState
from browsercrawl.sessions.vault import StateVault

TAKE_LIMIT_S = 2.0
"""Taking cookies or localStorage of a page that answers takes milliseconds."""


class Relay(Protocol):
    """Stands between one context and the network, or a proxy that wants a user name and password; `net` has them."""

    url: str

    def failure_since(self, at: float) -> str | None:
        """Tell why the proxy failed last, at or after an instant of the event loop's clock."""

    async def close(self) -> None:
        """End it."""


StartRelay = Callable[[str | None], Awaitable[Relay]]
"""Starts a relay to a proxy, by its URL with user name and password; None: a relay of the network guard's alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """How sessions reach the world: the proxies they go through, and what starts a relay.

    Attributes:
        is_guarded: every context needs a relay from now on, and those that were opened before are outdated.
        is_relayed: every one needs one in any case: for bytes are counted, or hosts are blocked, and behind a proxy
            nothing else stops a WebSocket.
    """

    proxies: ProxyRotation
    start_relay: StartRelay
    is_guarded: Callable[[], bool] = lambda: False
    is_relayed: bool = False


@dataclass(frozen=True, slots=True)
class _Started:
    """A relay of a context, the session's own proxy behind it, and whether the guard was on when it was started."""

    relay: Relay
    proxy: str | None
    is_guarded: bool


class Keeper:
    """See the module's text; implements `ports.SessionKeeper`.

    Args:
        roster: the sessions.
        vault: where their states are stored.
        base: how the contexts of all sessions are opened.
        network: their proxies.
        clock, emit: of the crawler.
    """

    def __init__(
        self, roster: Roster, *, vault: StateVault, base: ContextOptions, network: Network, clock: Clock, emit: Emit
    ) -> None:
        self._roster = roster
        self._vault = vault
        self._base = base
        self._network = network
        self._clock = clock
        self._emit = emit
        self._relays: dict[str, _Started] = {}
        """By their own URL; each context has its own."""
        self._ending: set[asyncio.Task[None]] = set()

    # --- for the pool ------------------------------------------------------------------------------------------------

    def terms(self, session: str) -> SessionTerms:
        """See `SessionKeeper.terms`."""
        return self._roster.terms(session)

    async def revive(self, session: str, *, private: bool = False) -> ContextOptions:
        """See `SessionKeeper.revive`."""
        known = self._roster.of(session)
        if known is None:
            return await self._connected(self._base, None, session=session)
        await self.look_up(known)
        extra = {**self._base.extra, **_identity(known)}
        proxy = self._network.proxies.of(known.name, own=known.own_proxy)
        state = known.state if known.profile.login is not None or not private else None
        if state is not None:
            now = self._clock.utc()
            extra["storage_state"] = state.unexpired(now).as_storage_state()
            self._emit(
                SessionRevived(
                    session=session,
                    login=known.epoch,
                    kept=len(state.cookies) + len(state.origins),
                    state_age_s=_age_s(state, now),
                )
            )
        options = replace(self._base, extra=extra, incarnation=known.incarnation, proxies=known.proxies)
        return await self._connected(options, proxy, session=session)

    def dismiss(self, options: ContextOptions) -> None:
        """See `SessionKeeper.dismiss`."""
        started = self._relays.pop(options.extra.get("proxy", {}).get("server"), None)
        if started is not None:
            task = asyncio.get_running_loop().create_task(started.relay.close(), name="keeper: end of a relay")
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def hibernate(self, session: str, context: ContextPort, *, options: ContextOptions, limit_s: float) -> None:
        """See `SessionKeeper.hibernate`."""
        known = self._roster.of(session)
        if known is None or known.incarnation != options.incarnation:
            return
        if known.profile.login is not None and known.phase is not Phase.IN:
            return  # it is logged out: what is worth keeping was kept before
        started_at, epoch = self._clock.now(), known.epoch
        state, complete = self._state_of(known), True
        try:
            if known.profile.indexed_db:
                whole = SessionState.from_storage_state(
                    await context.storage_state(limit_s=limit_s), session=session, domains=known.profile.own_domains
                )
                state = _merged(state, whole)
            else:
                state = state.with_cookies(await context.cookies(limit_s=limit_s))
        except BrowsercrawlError:  # it has died, or does not answer: what is known already is kept
            complete = False
        if known.incarnation != options.incarnation or known.epoch != epoch:
            return  # somebody else has logged it in meanwhile
        await self._store(known, state, always=True)
        self._emit(
            SessionHibernated(
                session=session,
                complete=complete,
                kept=len(state.cookies) + len(state.origins),
                took_s=round(self._clock.now() - started_at, 3),
            )
        )

    # --- for the engine ----------------------------------------------------------------------------------------------

    async def look_up(self, session: Session) -> None:
        """Find the state that is stored of a session, the first time it is needed.

        Raises:
            StateUnusable: there is one that cannot be used.
        """
        if session.is_known:
            return
        if not session.is_own:
            stored = await asyncio.to_thread(self._vault.load, session.name)
            if stored is not None and session.state is None:  # else somebody else has asked meanwhile
                self._adopt(session, stored)
        session.is_known = True

    def _adopt(self, session: Session, stored: SessionState) -> None:
        profile = session.profile
        if stored.account is not None and profile.account_name not in {None, stored.account}:
            raise StateUnusable(
                f"{self._vault.path_of(session.name)} is the state of session {session.name!r} with another account; "
                "it was left as it is; remove it, and the session logs in anew"
            )
        if stored.is_dead(self._clock.utc()) and not stored.origins:
            session.epoch = stored.epoch  # so that the next login is the newer one
            return
        session.restored(stored.restricted(profile.own_domains) if profile.own_domains else stored)

    async def keep(self, session: str, page: PagePort, *, incarnation: int) -> bool:
        """Keep what a visit has left in a page that is about to be released. Never raises.

        Returns:
            False: another process has logged the session in meanwhile; its context is outdated.
        """
        known = self._roster.of(session)
        if known is None or known.is_own or known.incarnation != incarnation or known.phase is not Phase.IN:
            return True
        is_due = known.unsaved >= self._roster.config.save_every_pages
        with suppress(BrowsercrawlError):
            state = await self._taken(known, page, cookies=is_due or known.profile.login is not None)
            return await self._store(known, state, always=is_due)
        return True

    async def save_login(self, session: Session, page: PagePort) -> None:
        """Store what a login has brought.

        Raises:
            CallTimeout, ContextBroken, BrowserCrashed, PageCrashed: it cannot be taken.
        """
        await self._store(session, await self._taken(session, page, cookies=True), always=True)

    def give(self, session: Session, state: SessionState) -> None:
        """Give a session a state from elsewhere; a context it has must be recycled, and is not kept."""
        session.state = state.model_copy(update={"epoch": session.epoch, "revision": 0, "saved_at": None})
        session.incarnation += 1

    def retire(self, session: Session, reason: str) -> None:
        """Let another session have the name of one that the site refuses; its context must be recycled."""
        session.replace()
        self._emit(SessionRetired(session=session.name, reason=reason))

    def proxy_failure(self, options: ContextOptions, error: BrowsercrawlError, *, since: float) -> str | None:
        """Tell whether a visit, or a login, failed because of its context's proxy, and how.

        Args:
            options: with which the context was opened.
            error: that it ended with.
            since: when it began, by the event loop's clock.
        """
        server = options.extra.get("proxy", {}).get("server")
        if server is None:
            return None
        if isinstance(error.__cause__, NetworkFailed):  # an answer 407 where none was expected looks like the site's
            error = error.__cause__
        if not isinstance(error, NetworkFailed | DeadlineExceeded):
            return None
        started = self._relays.get(server)
        if started is not None:
            return started.relay.failure_since(since) if started.proxy is not None else None
        if isinstance(error, NetworkFailed) and error.code in _PROXY_CODES:
            return f"the proxy does not serve: {error.code}"
        return None

    def is_proxied(self, options: ContextOptions) -> bool:
        """Tell whether a context goes through a proxy of the user's."""
        server = options.extra.get("proxy", {}).get("server")
        started = self._relays.get(server)
        return server is not None and (started is None or started.proxy is not None)

    def is_outdated(self, options: ContextOptions) -> bool:
        """Tell whether a context was opened before the guard was on."""
        if not self._network.is_guarded():
            return False
        started = self._relays.get(options.extra.get("proxy", {}).get("server"))
        return started is None or not started.is_guarded

    async def close(self) -> None:
        """End the relays."""
        while self._relays:
            _, started = self._relays.popitem()
            await started.relay.close()
        if self._ending:
            await asyncio.wait(self._ending)

    # --- states ------------------------------------------------------------------------------------------------------

    async def _taken(self, session: Session, page: PagePort, *, cookies: bool) -> SessionState:
        epoch = session.epoch
        found = await page.context.cookies(limit_s=TAKE_LIMIT_S) if cookies else None
        local = await page.local_storage(limit_s=TAKE_LIMIT_S)
        if session.epoch != epoch:  # what was taken is older than the login that has come meanwhile
            raise SessionBusy(f"session {session.name!r} has been logged in meanwhile")
        state = self._state_of(session)
        if found is not None:
            state = state.with_cookies(found)
        if local is not None and (local.items or any(each.origin == local.origin for each in state.origins)):
            state = state.with_origin(local.origin, local.items)
        return state

    def _state_of(self, session: Session) -> SessionState:
        if session.state is not None:
            return session.state
        profile = session.profile
        return SessionState(session=session.name, domains=profile.own_domains, account=profile.account_name)

    async def _store(self, session: Session, state: SessionState, *, always: bool) -> bool:
        """Make a state the session's; write it down if it has changed. Returns whether it is the newest there is."""
        domains = session.profile.own_domains
        state = state.restricted(domains) if domains else state
        before = session.state
        is_next = before is not None and before.epoch == session.epoch
        if not always and is_next and before is not None and not state.changed_from(before):
            return True
        state = state.model_copy(
            update={
                "epoch": session.epoch,
                "revision": before.revision + 1 if is_next and before is not None else 0,
                "logged_in_at": session.health.last_login or state.logged_in_at,
                "saved_at": self._clock.utc(),
            }
        )
        session.state, session.unsaved = state, 0
        if session.is_own:
            return True
        try:
            newer = await asyncio.to_thread(self._vault.save, state)
        except (OutputFailed, StateUnusable) as error:
            self._emit(SessionSaveFailed(session=session.name, message=error.message))
            return True
        if newer is None or newer.epoch <= session.epoch:
            return True
        session.state, session.epoch = newer, newer.epoch
        session.incarnation += 1
        return False

    # --- proxies -----------------------------------------------------------------------------------------------------

    async def _connected(self, options: ContextOptions, proxy: str | None, *, session: str) -> ContextOptions:
        """Return options with what a context is to use as its proxy: that itself, a relay to it, or one to no other."""
        is_guarded = self._network.is_guarded()
        needs_relay = is_guarded or self._network.is_relayed
        extra = dict(options.extra)
        if proxy is None and needs_relay and (given := extra.get("proxy")) is not None:
            proxy = _with_credentials(given)
        if not needs_relay and (proxy is None or "@" not in proxy):
            return options if proxy is None else replace(options, extra={**extra, "proxy": {"server": proxy}})
        try:
            relay = await self._network.start_relay(proxy)
        except (OSError, ValueError) as error:
            raise ProxyFailed(f"the proxy of session {session!r} cannot be used: {error}") from None
        self._relays[relay.url] = _Started(relay, proxy, is_guarded)
        # Without it loopback and link-local go by no proxy. Playwright adds it, unless its environment says otherwise.
        chosen = {**extra, "proxy": {"server": relay.url, "bypass": "<-loopback>"}}
        return replace(options, extra=chosen, relayed=True)


_PROXY_CODES = frozenset(
    {
        "ERR_PROXY_CONNECTION_FAILED", "ERR_TUNNEL_CONNECTION_FAILED", "ERR_PROXY_AUTH_UNSUPPORTED",
        "ERR_PROXY_AUTH_REQUESTED", "ERR_UNEXPECTED_PROXY_AUTH", "ERR_PROXY_CERTIFICATE_INVALID",
        "ERR_SOCKS_CONNECTION_FAILED", "ERR_SOCKS_CONNECTION_HOST_UNREACHABLE", "ERR_NO_SUPPORTED_PROXIES",
        "ERR_PROXY_HTTP_1_1_REQUIRED", "ERR_HTTPS_PROXY_TUNNEL_RESPONSE_REDIRECT",
    }
)  # fmt: skip
"""Chromium's names of failures of a proxy. Of `ERR_TUNNEL_CONNECTION_FAILED` the target may be the cause: whoever sees
it through several proxies believes that."""


def _identity(session: Session) -> dict[str, Any]:
    """Return the options of Playwright's that a profile stands for."""
    profile, identity = session.profile, session.profile.identity
    values = {
        "user_agent": identity.user_agent,
        "locale": identity.locale,
        "timezone_id": identity.timezone,
        "geolocation": identity.geolocation.model_dump() if identity.geolocation else None,
        "viewport": identity.viewport.model_dump() if identity.viewport else None,
        "extra_http_headers": dict(identity.headers) or None,
    }
    if (given := profile.http_credentials) is not None:
        password = given.password.get_secret_value()
        values["http_credentials"] = {"username": given.username, "password": password, "origin": given.origin}
    return {name: value for name, value in values.items() if value is not None}


def _with_credentials(given: Mapping[str, str]) -> str:
    """Return the URL of a proxy that Playwright's own option names; what it lets pass by the proxy goes there, too."""
    scheme, _, rest = given["server"].rpartition("://")
    if not given.get("username"):
        return given["server"]
    pair = ":".join(quote(given.get(name, ""), safe="") for name in ("username", "password"))
    return f"{scheme or 'http'}://{pair}@{rest}"


def _merged(known: SessionState, whole: SessionState) -> SessionState:
    """Return what is known, with what a whole storage state says: origins that it has not visited stay."""
    origins = {each.origin: each for each in known.origins} | {each.origin: each for each in whole.origins}
    return known.model_copy(update={"cookies": whole.cookies, "origins": tuple(origins.values())})


def _age_s(state: SessionState, now: datetime) -> float | None:
    return round((now - state.saved_at).total_seconds(), 1) if state.saved_at is not None else None
