"""When a session is logged in, how often that is tried, and what it leaves when it is cut short."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from browsercrawl.config import SessionsConfig
from browsercrawl.errors import BrowserCrashed, LoginFailed, SessionBusy, SessionPaused, StateUnusable
from browsercrawl.events import Event, SessionLoggedIn, SessionLoginFailed
from browsercrawl.events import SessionPaused as PausedEvent
from browsercrawl.ports import ContextOptions
from browsercrawl.sessions.keeper import Keeper, Network
from browsercrawl.sessions.logins import BACKOFF_MAX_S, Logins, SessionCode
from browsercrawl.sessions.proxies import ProxyRotation
from browsercrawl.sessions.recipes import LoginSession
from browsercrawl.sessions.roster import Roster
from browsercrawl.sessions.session import Phase, Session
from browsercrawl.sessions.vault import StateVault
from browsercrawl.testing.fake_browser import FakeBrowser, FakePage
from browsercrawl.testing.virtual_clock import VirtualClock


@dataclass
class Loan:
    """A lent page that remembers how it came back."""

    page: FakePage
    options: ContextOptions = field(default_factory=ContextOptions)
    released: list[str | None] = field(default_factory=list)

    async def release(self, *, condemned: str | None = None) -> None:
        """Take it back."""
        self.released.append(condemned)


class World:
    """The logins of one session, with a coroutine that does what a test says."""

    def __init__(self, **login: Any) -> None:
        self.clock = VirtualClock(autojump=True)
        self.events: list[Event] = []
        self.loans: list[Loan] = []
        self.entered = asyncio.Event()
        self.login_s = 1.0
        self.error: BaseException | None = None
        profile = {"name": "ann", "account": "ann", "login": login}
        self.roster = Roster(SessionsConfig.model_validate({"profiles": [profile]}), has_proxies=False)
        session = self.roster.of("ann")
        assert session is not None
        self.session: Session = session
        keeper = Keeper(
            self.roster,
            vault=StateVault(None, key=None),
            base=ContextOptions(),
            network=Network(proxies=ProxyRotation([], cooldown_s=1, clock=self.clock), start_relay=self._no_relay),
            clock=self.clock,
            emit=self.events.append,
        )
        code = SessionCode(logins={None: self._log_in})
        self.logins = Logins(keeper, code=code, key=None, clock=self.clock, emit=self.events.append)

    async def _no_relay(self, url: str | None) -> Any:
        raise AssertionError(url)

    async def _log_in(self, page: Any, who: LoginSession) -> None:
        self.entered.set()
        await self.clock.sleep(self.login_s)
        if self.error is not None:
            raise self.error

    async def lend(self, session: str) -> Loan:
        """Lend a page of a new context."""
        context = await FakeBrowser(clock=self.clock).new_context(ContextOptions(), limit_s=1)
        self.loans.append(Loan(await context.new_page(limit_s=1)))
        return self.loans[-1]

    async def ensure(self) -> None:
        """Log in, if that is needed."""
        await self.logins.ensure(self.session, self.lend)

    async def fail(self) -> SessionLoginFailed:
        """Let a try fail, and return what is told of it."""
        with pytest.raises(LoginFailed) as raised:
            await self.ensure()
        self.logins.failed(self.session, raised.value)
        return [event for event in self.events if isinstance(event, SessionLoginFailed)][-1]


async def test_ensure_out_logs_in_and_gives_the_page_back() -> None:
    """One lease, returned as it was; afterwards nothing is to be done."""
    world = World()
    await world.ensure()
    await world.ensure()
    assert (world.session.phase, world.session.epoch) == (Phase.IN, 1)
    assert [loan.released for loan in world.loans] == [[None]]
    (event,) = [event for event in world.events if isinstance(event, SessionLoggedIn)]
    assert (event.session, event.login, event.took_s) == ("ann", 1, 1.0)


async def test_ensure_while_another_logs_in_is_busy() -> None:
    """Nobody logs in beside another, and nobody waits for him in a page."""
    world = World()
    first = asyncio.create_task(world.ensure())
    await world.entered.wait()
    with pytest.raises(SessionBusy):
        await world.ensure()
    await first
    assert len(world.loans) == 1


async def test_ensure_paused_raises() -> None:
    """A paused session is not logged in, and says why."""
    world = World()
    world.logins.pause(world.session, "its password is wrong")
    world.logins.pause(world.session, "another reason")
    with pytest.raises(SessionPaused, match="its password is wrong"):
        await world.ensure()
    assert [event.reason for event in world.events if isinstance(event, PausedEvent)] == ["its password is wrong"]


async def test_ensure_session_paused_while_its_state_is_looked_up_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes second does not go on with a session that the first has found unusable meanwhile."""
    world = World()
    keeper = world.logins._keeper

    async def look_up(session: Session) -> None:
        world.logins.pause(session, "its state is damaged")

    monkeypatch.setattr(keeper, "look_up", look_up)
    with pytest.raises(SessionPaused):
        await world.ensure()


async def test_failed_backs_off_twice_as_long_each_time_up_to_a_limit() -> None:
    """The pause doubles, ends at ten minutes, and the last try pauses the session."""
    world = World(tries=10, backoff_s=5.0)
    world.error = ValueError("no")
    told = [await world.fail() for _ in range(10)]
    assert [each.again_in_s for each in told] == [5, 10, 20, 40, 80, 160, 320, BACKOFF_MAX_S, BACKOFF_MAX_S, None]
    assert world.session.phase is Phase.PAUSED
    assert {tuple(loan.released) for loan in world.loans} == {(None,)}


async def test_failed_then_logged_in_begins_to_count_anew() -> None:
    """Only failures in a row count."""
    world = World(tries=2, backoff_s=5.0)
    for _ in range(3):
        world.error = ValueError("no")
        assert (await world.fail()).tries == 1
        world.session.reopens_at = None
        world.error = None
        await world.ensure()
        world.session.expired()


async def test_failed_without_backoff_is_tried_again_at_once() -> None:
    """A pause of nothing is none."""
    world = World(tries=2, backoff_s=0)
    world.error = ValueError("no")
    await world.fail()
    assert world.session.reopens_at is None


async def test_failed_state_pauses_at_once() -> None:
    """What cannot be used is not tried again."""
    world = World(tries=5)
    world.session.begin_login()
    world.session.login_failed()
    world.logins.failed(world.session, StateUnusable("its file is damaged"))
    assert world.session.phase is Phase.PAUSED


@pytest.mark.parametrize("how", ["cancelled", "browser"])
async def test_ensure_cut_short_leaves_the_session_out(how: str) -> None:
    """A login that is cancelled, or whose browser dies, was no try; its page is given back as not to be used."""
    world = World()
    world.login_s = 100.0
    if how == "browser":
        world.login_s, world.error = 1.0, BrowserCrashed("gone")
    login = asyncio.create_task(world.ensure())
    await world.entered.wait()
    if how == "cancelled":
        login.cancel()
    with pytest.raises(asyncio.CancelledError if how == "cancelled" else BrowserCrashed):
        await login
    assert (world.session.phase, world.session.failed_tries, world.session.epoch) == (Phase.OUT, 0, 0)
    assert [len(loan.released) for loan in world.loans] == [1]
    assert world.loans[0].released[0] is not None
    world.login_s, world.error = 1.0, None
    await world.ensure()
    assert world.session.phase is Phase.IN


async def test_ensure_lend_that_fails_leaves_the_session_out() -> None:
    """Without a page there is no login, and nothing is stuck."""
    world = World()

    async def lend(session: str) -> Loan:
        raise BrowserCrashed("gone")

    with pytest.raises(BrowserCrashed):
        await world.logins.ensure(world.session, lend)
    assert world.session.phase is Phase.OUT


async def test_expired_of_an_earlier_login_says_nothing_about_this_one() -> None:
    """The guard: only a page of the login that is on can end it."""
    world = World()
    await world.ensure()
    world.logins.expired(world.session, epoch=1, url="http://site.test/", reason="x")
    await world.ensure()
    world.logins.expired(world.session, epoch=1, url="http://site.test/", reason="x")
    assert (world.session.phase, world.session.epoch) == (Phase.IN, 2)
