"""Crawls of a members' area: a fake site that believes a cookie, on a clock that no real second passes on."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from browsercrawl import Crawler, CrawlerConfig, Request, Result, Summary, Visit
from browsercrawl.events import Event
from browsercrawl.sessions import LoginSession
from browsercrawl.testing.fake_browser import FakeBehaviour, FakeLauncher, FakePage, FakePageScript
from browsercrawl.testing.virtual_clock import VirtualClock

E = TypeVar("E", bound=Event)

SITE = "http://site.test"
VISIT_S = 1.0
LOGIN_S = 2.0


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
class Crawled:
    """What one run left."""

    results: list[Result]
    summary: Summary
    events: list[Event]

    def told(self, kind: type[E]) -> list[E]:
        """Events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def outcomes(self) -> Counter[tuple[str | None, str]]:
        """Count the results by session and outcome."""
        return Counter((each.session, each.outcome.value) for each in self.results)


class Area:
    """A members' area. Each login gives its account a new cookie, which holds until `expire`.

    Attributes:
        tries: each login that was begun: whose, and when.
        visits: each page whose handler ran: its session, its URL's path, the cookie it came with.
        pages_peak: the most pages that a session ever had at once.
        logins_peak: likewise, logins.
        refuses: tells whether the n-th try of an account is refused.
        denies: tells whether the page of a path calls this cookie's owner logged out, although he is not.
        on_visit: called by each handler first.
    """

    def __init__(self) -> None:
        self.clock = VirtualClock(autojump=True)
        self.behaviour = FakeBehaviour()
        self.scripts: dict[str, FakePageScript] = {}
        self.launcher = FakeLauncher(
            lambda url: self.scripts.get(url, FakePageScript()), clock=self.clock, behaviour=self.behaviour
        )
        self.events: list[Event] = []
        self.valid: set[str] = set()
        self.tries: list[tuple[str, float]] = []
        self.visits: list[tuple[str, str, str]] = []
        self.pages_peak: Counter[str] = Counter()
        self.logins_peak: Counter[str] = Counter()
        self.login_s = LOGIN_S
        self.refuses: Callable[[str, int], bool] = lambda account, number: False
        self.denies: Callable[[str, str], bool] = lambda path, cookie: False
        self.on_visit: Callable[[Visit], None] = lambda visit: None
        self._open: Counter[str] = Counter()
        self._logging_in: Counter[str] = Counter()

    def tries_of(self, session: str) -> int:
        """Count the logins that were begun for a session."""
        return sum(name == session for name, _ in self.tries)

    def expire(self, account: str) -> None:
        """Log an account out."""
        self.valid = {cookie for cookie in self.valid if not cookie.startswith(f"{account}:")}

    async def log_in(self, page: FakePage, who: LoginSession) -> None:
        """Log in as a person would who takes `login_s` for it."""
        self.tries.append((who.name, self.clock.now()))
        number = self.tries_of(who.name)
        self._logging_in[who.name] += 1
        self.logins_peak[who.name] = max(self.logins_peak[who.name], self._logging_in[who.name])
        try:
            await self.clock.sleep(self.login_s)
        finally:
            self._logging_in[who.name] -= 1
        if self.refuses(who.name, number):
            raise ValueError("wrong password")
        self.expire(who.name)
        value = f"{who.name}:{number}"
        self.valid.add(value)
        page.context.jar["sid"] = cookie("sid", value)
        page.context.local[SITE] = {"me": who.name}

    async def is_out(self, page: FakePage) -> bool:
        """Tell whether the site takes who opened the page for a stranger."""
        value = sid(page)
        return value not in self.valid or self.denies(page.url.removeprefix(SITE), value)

    async def handle(self, visit: Visit) -> None:
        """Stay a while, and leave the cookie and what localStorage says as the page's data."""
        name = visit.request.session or ""
        page: Any = visit.page
        self._open[name] += 1
        self.pages_peak[name] = max(self.pages_peak[name], self._open[name])
        try:
            self.on_visit(visit)
            self.visits.append((name, visit.request.url.removeprefix(SITE), sid(page)))
            visit.push({"sid": sid(page), "me": page.context.local.get(SITE, {}).get("me", "")})
            await self.clock.sleep(VISIT_S)
        finally:
            self._open[name] -= 1

    def crawler(self, names: Iterable[str] = (), *, login: dict[str, Any] | None = None, **options: Any) -> Crawler:
        """Make a crawler whose sessions of these names have a login; `login` is more of each."""
        sessions = dict(options.pop("sessions", {}))
        more = options.pop("profile", {})
        profiles = [{"name": name, "account": name, "login": login or {}, **more} for name in names]
        sessions["profiles"] = [*profiles, *sessions.get("profiles", ())]
        network = {"guard": "off"}  # so that a context's option names its proxy itself, and no relay to it
        config = CrawlerConfig.load({"concurrency": 4, "network": network, **options, "sessions": sessions})
        crawler = Crawler(config, on_event=self.events.append, launch=self.launcher, clock=self.clock)
        crawler.login()(self.log_in)
        crawler.logged_out()(self.is_out)
        crawler.handler()(self.handle)
        return crawler

    async def run(self, crawler: Crawler, seeds: Iterable[str | Request]) -> Crawled:
        """Crawl to the end of a run; the crawler can run again."""
        before = len(self.events)
        stream = crawler.stream(list(seeds))
        results = [result async for result in stream]
        assert stream.summary is not None
        ids = [result.request_id for result in results]
        assert len(ids) == len(set(ids)), "a request has two results"
        return Crawled(results, stream.summary, self.events[before:])

    def check_nothing_left(self) -> None:
        """No task but the test's own, no page, no context, no browser; and the fake was used as it may be."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not others, f"tasks left: {others}"
        launcher = self.launcher
        assert (launcher.pages_open, launcher.contexts_open, launcher.browsers_open) == (0, 0, 0)
        assert launcher.misuse == []


def cookie(name: str, value: str) -> dict[str, Any]:
    """Return a cookie of the site as Playwright gives it."""
    return {
        "name": name,
        "value": value,
        "domain": "site.test",
        "path": "/",
        "expires": -1,
        "httpOnly": True,
        "secure": False,
        "sameSite": "Lax",
    }


def sid(page: FakePage) -> str:
    """Return the value of a page's session cookie."""
    return str(page.context.jar.get("sid", {}).get("value", ""))


@pytest.fixture
async def area() -> AsyncIterator[Area]:
    """Give a members' area, and check in the end that nothing is left."""
    asyncio.get_running_loop().set_default_executor(_Inline())
    area = Area()
    yield area
    area.check_nothing_left()
