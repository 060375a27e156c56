"""Random crawls over random sessions: logins that fail, that expire, browsers that die; and what holds in any case."""

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from browsercrawl import Crawler, CrawlerConfig, ErrorKind, FinishReason, Outcome, Request, Result, Summary, Visit
from browsercrawl.events import (
    ContextOpened,
    Event,
    LeaseAcquired,
    LeaseReleased,
    SessionExpired,
    SessionLoginFailed,
    SessionLoginStarted,
    SessionPaused,
)
from browsercrawl.sessions import LoginSession
from browsercrawl.testing.fake_browser import FakeLauncher, FakePage
from browsercrawl.testing.virtual_clock import VirtualClock

SITES = ("http://a.test/", "http://b.test/")
LASTS_S = 30.0
"""Of the machine's time: no crawl of these takes a second."""


class _Inline(ThreadPoolExecutor):
    """Works at once, in the event loop's thread: a virtual clock would run on while a thread works."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - handed to whoever waits, as every executor does
            future.set_exception(error)
        return future


@dataclass(frozen=True)
class Member:
    """A session and how the site treats it."""

    max_pages: int
    pages: int
    refused: frozenset[int]
    """Which of its logins fail."""
    expires: frozenset[int]
    """At which of its visits the site logs it out."""
    forbidden: frozenset[int]
    """Pages that always say it is logged out."""
    login_s: float


@dataclass(frozen=True)
class Plan:
    """A crawl to be made."""

    members: tuple[Member, ...]
    strangers: int
    deaths: frozenset[int]
    """At which visits the browser dies."""
    concurrency: int
    contexts_more: int
    tries: int
    backoff_s: float
    isolation: str


_numbers = st.frozensets(st.integers(1, 12), max_size=3)
_members = st.builds(
    Member,
    max_pages=st.integers(1, 4),
    pages=st.integers(1, 12),
    refused=st.one_of(st.just(frozenset[int]()), st.frozensets(st.integers(1, 8), max_size=4)),
    expires=_numbers,
    forbidden=st.one_of(st.just(frozenset[int]()), st.frozensets(st.integers(0, 11), max_size=2)),
    login_s=st.sampled_from([0.0, 1.0, 7.5]),
)
_plans = st.builds(
    Plan,
    members=st.lists(_members, min_size=1, max_size=5).map(tuple),
    strangers=st.integers(0, 4),
    deaths=st.one_of(st.just(frozenset[int]()), st.frozensets(st.integers(1, 40), max_size=3)),
    concurrency=st.integers(1, 6),
    contexts_more=st.integers(0, 2),
    tries=st.integers(1, 3),
    backoff_s=st.sampled_from([0.0, 5.0]),
    isolation=st.sampled_from(["session", "session", "session", "request"]),
)


@dataclass
class World:
    """The site, and what it has seen."""

    plan: Plan
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(autojump=True))
    events: list[Event] = field(default_factory=list)
    valid: dict[str, str] = field(default_factory=dict)
    tries: Counter[str] = field(default_factory=Counter)
    visits: Counter[str] = field(default_factory=Counter)
    open: Counter[str] = field(default_factory=Counter)
    peaks: Counter[str] = field(default_factory=Counter)
    logging_in: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def member(self, name: str) -> Member | None:
        """Return how a session is treated."""
        return self.plan.members[int(name[1:])] if name.startswith("m") else None

    async def log_in(self, page: FakePage, who: LoginSession) -> None:
        """Log a member in, unless this try is to fail."""
        member = self.member(who.name)
        assert member is not None
        self.tries[who.name] += 1
        number = self.tries[who.name]
        self.logging_in[who.name] += 1
        if self.logging_in[who.name] > 1:
            self.wrong.append(f"two logins of {who.name} at once")
        try:
            await self.clock.sleep(member.login_s)
        finally:
            self.logging_in[who.name] -= 1
        if number in member.refused:
            raise ValueError("refused")
        self.valid[who.name] = f"{who.name}:{number}"
        page.context.jar["sid"] = {"name": "sid", "value": self.valid[who.name], "domain": "a.test", "path": "/",
                                   "expires": -1, "httpOnly": True, "secure": False, "sameSite": "Lax"}  # fmt: skip

    async def is_out(self, page: FakePage) -> bool:
        """Tell whether a page is that of a stranger."""
        name, number = page.url.split("/")[3:5]
        member = self.member(name)
        assert member is not None
        sid = str(page.context.jar.get("sid", {}).get("value", ""))
        return int(number) in member.forbidden or sid == "" or sid != self.valid.get(name)

    async def handle(self, visit: Visit) -> None:
        """Be visited; see that nobody sees another's cookie; log out, or die, when it is time."""
        page: Any = visit.page
        name = visit.request.session or ""
        sid = str(page.context.jar.get("sid", {}).get("value", ""))
        if sid.partition(":")[0] != name:
            self.wrong.append(f"{visit.request.url} of {name!r} was visited as {sid!r}")
        self.visits[name] += 1
        self.visits["all"] += 1
        self.open[name] += 1
        self.peaks[name] = max(self.peaks[name], self.open[name])
        try:
            await self.clock.sleep(1.0)
            if self.visits["all"] in self.plan.deaths:
                page.context.browser.die("by the plan")
            member = self.member(name)
            if member is not None and self.visits[name] in member.expires:
                self.valid.pop(name, None)
        finally:
            self.open[name] -= 1

    def seeds(self) -> list[Request]:
        """Return the requests of all, mixed."""
        own = [
            Request(url=f"{SITES[number % 2]}m{at}/{number}", session=f"m{at}")
            for at, member in enumerate(self.plan.members)
            for number in range(member.pages)
        ]
        strangers = [Request(url=f"{SITES[0]}free/{number}") for number in range(self.plan.strangers)]
        return sorted([*own, *strangers], key=lambda request: request.id)

    def config(self) -> CrawlerConfig:
        """Return the crawler's configuration."""
        plan = self.plan
        login = {"tries": plan.tries, "backoff_s": plan.backoff_s}
        profiles = [
            {"name": f"m{at}", "account": f"m{at}", "login": login, "max_pages": member.max_pages}
            for at, member in enumerate(plan.members)
        ]
        pool = {"contexts_max": plan.concurrency + plan.contexts_more, "isolation": plan.isolation}
        return CrawlerConfig.load({"concurrency": plan.concurrency, "pool": pool, "sessions": {"profiles": profiles}})


async def carry_out(plan: Plan) -> None:
    """Make the crawl and check all that must hold."""
    asyncio.get_running_loop().set_default_executor(_Inline())
    world = World(plan)
    launcher = FakeLauncher(None, clock=world.clock)
    crawler = Crawler(world.config(), on_event=world.events.append, launch=launcher, clock=world.clock)
    crawler.login()(world.log_in)
    crawler.logged_out()(world.is_out)
    crawler.handler()(world.handle)
    seeds = world.seeds()
    async with asyncio.timeout(LASTS_S):
        async with crawler, crawler.stream(seeds) as stream:
            results = [result async for result in stream]
    assert stream.summary is not None
    check_results(world, seeds, results, stream.summary)
    check_sessions(world)
    check_bounds(world, launcher)
    assert asyncio.all_tasks() == {asyncio.current_task()}


def check_results(world: World, seeds: list[Request], results: list[Result], summary: Summary) -> None:
    """Each request has one result, or waits for a session that is paused; none is blamed for what is not its fault."""
    ids = Counter(result.request_id for result in results)
    assert max(ids.values(), default=1) == 1
    paused = {event.session for event in world.events if isinstance(event, SessionPaused)}
    missing = [request for request in seeds if request.id not in ids]
    assert {request.session for request in missing} <= paused
    assert summary.unfinished == len(missing)
    assert summary.finish_reason is (FinishReason.SESSIONS_PAUSED if missing else FinishReason.FINISHED)
    for result in results:
        if result.outcome is Outcome.FAILED:
            assert result.error is not None
            assert result.error.kind in {ErrorKind.SESSION_EXPIRED, ErrorKind.QUARANTINED}
        else:
            assert result.attempts == 1
            member = world.member(result.session or "")
            assert member is None or int(result.url.rpartition("/")[2]) not in member.forbidden


def check_sessions(world: World) -> None:
    """Nobody sees another's cookie; pages and logins are no more than may be."""
    assert world.wrong == []
    for at, member in enumerate(world.plan.members):
        name = f"m{at}"
        assert world.peaks[name] <= member.max_pages

        def of(kind: type[Event], name: str = name) -> int:
            return sum(isinstance(event, kind) and getattr(event, "session", "") == name for event in world.events)

        started, deaths = of(SessionLoginStarted), len(world.plan.deaths)
        assert started <= 1 + of(SessionExpired) + of(SessionLoginFailed) + deaths
        assert of(SessionExpired) <= 6 * (1 + len(member.expires)) + 2 * len(member.forbidden) * (1 + member.pages)


def check_bounds(world: World, launcher: FakeLauncher) -> None:
    """Leases and contexts stay within their limits, and nothing is left."""
    leases = 0
    for event in world.events:
        leases += isinstance(event, LeaseAcquired) - isinstance(event, LeaseReleased)
        assert 0 <= leases <= world.plan.concurrency
        if isinstance(event, ContextOpened):
            assert event.contexts <= world.plan.concurrency + world.plan.contexts_more
    assert leases == 0
    assert launcher.misuse == []
    assert (launcher.pages_open, launcher.contexts_open, launcher.browsers_open) == (0, 0, 0)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(plan=_plans)
def test_crawl_any_sessions_gives_each_request_its_result_or_a_paused_session(plan: Plan) -> None:
    """Whatever sessions, site and browser do: results are exact, identities apart, limits kept, and the crawl ends."""
    asyncio.run(carry_out(plan))
