"""Logging one session in outside of a crawl: by its recipe, or by a person in a window. What it brings is saved."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from browsercrawl.clock import Clock, SystemClock
from browsercrawl.config import (
    CrawlerConfig,
    Credentials,
    FormLogin,
    HttpLogin,
    Login,
    SessionProfile,
    Sign,
    StateLogin,
)
from browsercrawl.config.sessions import is_like
from browsercrawl.errors import LoginFailed, OutputFailed
from browsercrawl.events import Emit, Event, SessionSaveFailed, discard
from browsercrawl.net import Guard
from browsercrawl.pool import Pool, PoolSize
from browsercrawl.ports import ContextOptions
from browsercrawl.sessions import (
    LoginFunction,
    LoginSession,
    Phase,
    ProxyFunction,
    Session,
    SessionCode,
    Sessions,
    SessionsParts,
    StateVault,
)
from browsercrawl.urls import address

LOOK_EVERY_S = 0.5
"""How often it is looked whether a person is done."""

_GRACE_S = 10.0
"""That long after a person's limit the login is over in any case, whatever hangs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedIn:
    """What a login has brought.

    Attributes:
        login: the how-manieth of the session it is.
        cookies, origins: how many are saved; of the origins those that keep something in their storage.
        path: where they are saved; None: in memory only.
        expires_at: when the last of the cookies ends by itself; None: none does.
    """

    session: str
    account: str | None
    login: int
    cookies: int
    origins: int
    path: Path | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who logs in in the browser's window.

    Attributes:
        url: what is opened.
        limit_s: how long it may take.
        done: returns when the person says so.
    """

    url: str
    limit_s: float
    done: Callable[[], Awaitable[None]]


async def log_in(
    config: CrawlerConfig,
    name: str,
    *,
    code: SessionCode,
    proxy: ProxyFunction | None = None,
    person: Person | None = None,
    emit: Emit = discard,
) -> LoggedIn:
    """Log a session in, in a browser of its own, and save its state as that of a new login.

    Args:
        config: of the crawler; the session has a login there.
        name: of the session.
        code: the user's own functions.
        proxy: gives sessions their proxies.
        person: logs in in place of the recipe.
        emit: takes the events.

    Raises:
        LoginFailed: it did not work; the message names the file with a picture of the page, if there is one.
        ConfigError, SessionError, BrowserError: as in a crawl.
        OutputFailed: the state could not be saved.
    """
    clock = SystemClock()
    profile = next(each for each in config.sessions.profiles if each.name == name)
    guard = _guard(config, profile, person=person, emit=emit)
    if person is not None:
        profile, code = _of_person(profile, person)
    unsaved: list[str] = []

    def heed(event: Event) -> None:
        if isinstance(event, SessionSaveFailed):
            unsaved.append(event.message)
        emit(event)

    only = config.sessions.model_copy(update={"profiles": (profile,), "rules": ()})
    parts = SessionsParts(
        config=only,
        directory=None,
        base=ContextOptions(extra=config.browser.context_options),
        start_relay=guard.open,
        is_guarded=lambda: guard.is_on,
        is_relayed=guard.blocks,
        code=code,
        proxy=proxy,
    )
    sessions = Sessions(parts, clock=clock, emit=heed)
    session = sessions.roster.of(name)
    assert session is not None, "a session with a profile is never the anonymous one"
    path = StateVault(only.state_dir, key=None).path_of(name)
    try:
        await _carry_out(config, sessions, session=session, clock=clock, emit=heed)
    except LoginFailed as error:
        picture = path.with_suffix(".png") if path is not None else None
        if error.screenshot is None or picture is None:
            raise
        if not await asyncio.to_thread(_write_picture, picture, error.screenshot):
            raise
        raise LoginFailed(f"{error.message}; what the page looked like: {picture}") from None
    finally:
        guard.close()
    if unsaved:
        raise OutputFailed(unsaved[-1])
    done = _told(session, path=path, now=clock.utc())
    if path is not None:
        await asyncio.to_thread(path.with_suffix(".png").unlink, missing_ok=True)  # of a login that failed before
    return done


def _guard(config: CrawlerConfig, profile: SessionProfile, *, person: Person | None, emit: Emit) -> Guard:
    """Return the network guard by a crawl's rules: what is named for the login is the user's word, nothing else is."""
    recipe = profile.login.recipe if profile.login is not None else None
    named = [recipe.url] if isinstance(recipe, FormLogin | HttpLogin) else []
    named += [person.url] if person is not None else []
    seen = [*named, *(f"https://{host}/" for host in profile.own_domains)]
    network = config.network
    if not seen and network.guard == "auto":  # a function of the user's, which goes nobody knows where
        network = network.model_copy(update={"guard": "on"})
    guard = Guard(network, proxy=config.browser.proxy, blocked=config.browser.block_hosts, emit=emit)
    for url in named:
        guard.trust(address(url))
    for url in seen:  # a public one switches it on
        guard.refusal(address(url))
    return guard


def _told(session: Session, *, path: Path | None, now: datetime) -> LoggedIn:
    """Return what is saved of a session.

    Raises:
        LoginFailed: nothing by which somebody could be logged in.
    """
    state, profile = session.state, session.profile
    if state is None or state.is_dead(now):
        where = f" for {', '.join(profile.own_domains)}" if profile.own_domains else ""
        raise LoginFailed(
            f"session {session.name!r}: the login left neither cookies nor storage{where}; look at its domains"
        )
    return LoggedIn(
        session=session.name,
        account=profile.account_name,
        login=session.epoch,
        cookies=len(state.cookies),
        origins=len(state.origins),
        path=path,
        expires_at=state.last_expiry,
    )


async def _carry_out(config: CrawlerConfig, sessions: Sessions, *, session: Session, clock: Clock, emit: Emit) -> None:
    from browsercrawl.browser import launcher  # noqa: PLC0415 - `import browsercrawl` must not import Playwright

    await sessions.keeper.look_up(session)
    if session.phase is Phase.IN:  # it logs in anew, and begins with nothing of the login before
        session.expired()
    session.state = None
    pool = Pool(
        launcher(config.browser, emit, guarded=config.network.guard != "off" or bool(config.browser.block_hosts)),
        config=config.pool,
        size=PoolSize(pages_max=1, contexts_max=1),
        keeper=sessions.keeper,
        clock=clock,
        emit=emit,
    )
    try:
        await pool.start()
        await sessions.log_in(session, pool.acquire)
        if session.profile.login is not None and isinstance(session.profile.login.recipe, StateLogin):
            await (await pool.acquire(session.name)).release()  # what was in the file is saved with the context
    except BaseException:
        session.replace()  # so that nothing is saved of a page that is not logged in
        raise
    finally:
        await pool.close(limit_s=config.pool.close_limit_s)
        await sessions.close()


def _of_person(profile: SessionProfile, person: Person) -> tuple[SessionProfile, SessionCode]:
    """Return the profile with a person in place of the recipe, bound to the same hosts."""
    login = profile.login
    assert login is not None, "asked for by who has one"
    own = login.model_copy(
        update={
            "recipe": None,
            "timeout_s": person.limit_s + _GRACE_S,
            "credentials": Credentials(username=login.credentials.username),
        }
    )
    return (
        profile.model_copy(update={"login": own, "domains": profile.own_domains}),
        SessionCode(logins={profile.name: _waiting_for(person, success_of(login))}),
    )


def success_of(login: Login) -> Sign | None:
    """Return how it shows that a login has worked; None: it does not say."""
    if isinstance(login.recipe, FormLogin):
        return login.recipe.success
    if isinstance(login.recipe, HttpLogin) and login.recipe.cookie is not None:
        return Sign(cookie=login.recipe.cookie)
    return None


def _waiting_for(person: Person, sign: Sign | None) -> LoginFunction:
    async def person_logs_in(page: Any, _: LoginSession) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + person.limit_s
        done = asyncio.ensure_future(person.done())
        try:
            with suppress(Exception):  # a page that does not load is seen by the person, who may go elsewhere
                await page.goto(person.url, wait_until="commit")
            while not done.done():
                if page.is_closed():
                    raise LoginFailed("the window was closed before the login was done")
                if sign is not None and await _shows(page, sign):
                    return
                if loop.time() >= deadline:
                    raise LoginFailed(f"nobody logged in within {person.limit_s:g} s")
                await asyncio.wait({done}, timeout=LOOK_EVERY_S)
            done.result()
        finally:
            done.cancel()
            await asyncio.wait({done})

    return person_logs_in


async def _shows(page: Any, sign: Sign) -> bool:
    """Tell whether a tab of the window shows the sign; one that is just going elsewhere does not yet."""
    with suppress(Exception):
        for tab in page.context.pages:
            if sign.url is not None and not is_like(tab.url, sign.url):
                continue
            if sign.selector is not None and await tab.query_selector(sign.selector) is None:
                continue
            if sign.cookie is None or sign.cookie in {cookie["name"] for cookie in await page.context.cookies()}:
                return True
    return False


def _write_picture(path: Path, content: bytes) -> bool:
    """Write what only its owner may see, as a login page may show his name. Returns whether that worked."""
    with suppress(OSError):  # the failure it belongs to is told in any case
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)
            file.write(content)
        return True
    return False
