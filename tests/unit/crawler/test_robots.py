"""A crawl that asks robots.txt: a real server gives it, a fake browser loads the pages."""

import asyncio
import resource
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from browsercrawl import Crawler, CrawlerConfig, Outcome, Result
from browsercrawl.dispatcher.robots import RobotsCheck
from browsercrawl.errors import ErrorKind
from browsercrawl.events import Event, HostDeferred, HostGivenUp, VisitFailed
from browsercrawl.frontier import Claim
from browsercrawl.testing.fake_browser import FakeLauncher, FakePageScript, Sites
from browsercrawl.testing.proxy import ForwardProxy
from browsercrawl.testing.server import Exchange, Server
from browsercrawl.visit import VisitOutcome
from tests.socks import socks_proxy

if TYPE_CHECKING:
    from collections.abc import Callable

RULES = "User-agent: *\nDisallow: /private\n"


class Site:
    """A server of a robots.txt and nothing else."""

    def __init__(self) -> None:
        self.status = 200
        self.failures = 0
        self.rules = RULES
        self.agents: list[str] = []
        self._server = Server(self._answer)
        self.root = f"http://127.0.0.1:{self._server.port}"

    @property
    def asked(self) -> list[str]:
        """What it was asked, in order."""
        return [arrival.target for arrival in self._server.arrivals()]

    def stop(self) -> None:
        """End it."""
        self._server.stop()

    def _answer(self, exchange: Exchange) -> None:
        self.agents.append(exchange.headers["user-agent"])
        status = 500 if len(self.agents) <= self.failures else self.status
        exchange.respond(self.rules, status=status, content_type="text/plain")


@pytest.fixture
def site() -> Iterator[Site]:
    """Return a server."""
    made = Site()
    yield made
    made.stop()


async def crawled(
    pages: Sites, seeds: list[str], nothing_left: "Callable[[FakeLauncher], None]", **options: object
) -> tuple[list[Result], FakeLauncher, dict[str, int]]:
    """Crawl with robots.txt on."""
    launcher = FakeLauncher(pages)
    patient = {"retries": 1, "backoff_s": 0.01, "backoff_max_s": 0.01}
    config = CrawlerConfig.load(
        {"concurrency": 4, "host": {"robots": True, "defer_s": 0.01}, "retry": patient, **options}
    )
    async with Crawler(config, launch=launcher) as crawler, crawler.stream(seeds) as stream:
        results = [result async for result in stream]
    assert stream.summary is not None
    nothing_left(launcher)
    return results, launcher, stream.summary.skips


async def test_crawl_fifty_requests_ask_once_and_forbidden_ones_are_skipped(
    site: Site, nothing_left: "Callable[[FakeLauncher], None]"
) -> None:
    """One fetch; what is forbidden is skipped with its reason, without an attempt, and the summary counts it."""
    seeds = [f"{site.root}/{'private' if number % 2 else 'public'}/{number}" for number in range(50)]
    results, _, skips = await crawled(None, seeds, nothing_left, browser={"contact": "a@b.test"})
    assert site.asked == ["/robots.txt"]
    assert site.agents[0].startswith("browsercrawl/")
    assert site.agents[0].endswith(" (+a@b.test)")
    assert Counter((result.outcome, result.skip_reason, result.attempts) for result in results) == {
        (Outcome.SUCCEEDED, None, 1): 25,
        (Outcome.SKIPPED, "robots", 0): 25,
    }
    assert skips == {"robots": 25}


async def test_crawl_claim_that_is_older_than_the_answer_keeps_the_crawl_delay(
    site: Site, nothing_left: "Callable[[FakeLauncher], None]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer that comes between claim and look counts for that visit, too: the next one begins a delay later."""
    site.rules += "Crawl-delay: 0.4\n"
    look = RobotsCheck.stops

    async def look_later(check: RobotsCheck, claim: Claim) -> VisitOutcome | None:
        await check._robots.wait_leave(claim.request.url, limit_s=10.0)
        return await look(check, claim)

    monkeypatch.setattr(RobotsCheck, "stops", look_later)
    seeds = [f"{site.root}/{number}" for number in range(4)]
    results, _, _ = await crawled(None, seeds, nothing_left)
    starts = sorted(result.started_at for result in results if result.started_at)
    assert len(starts) == len(seeds)
    assert min((later - earlier).total_seconds() for earlier, later in pairwise(starts)) > 0.39


async def test_crawl_forbidden_requests_take_nothing_of_the_rate(
    site: Site, nothing_left: "Callable[[FakeLauncher], None]"
) -> None:
    """With a visit each ten seconds, fifty requests that come to none are through at once."""
    began = time.monotonic()
    seeds = [f"{site.root}/private/{number}" for number in range(50)]
    _, _, skips = await crawled(None, seeds, nothing_left, rate=0.1)
    assert skips == {"robots": 50}
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("status", [500, 429])
async def test_crawl_robots_that_cannot_be_had_costs_few_requests_then_the_host_is_given_up(
    site: Site, nothing_left: "Callable[[FakeLauncher], None]", status: int
) -> None:
    """It is asked as often as the host would be tried; then all fail, and none was visited."""
    site.status = status
    pages = [f"{site.root}/{number}" for number in range(50)]
    results, _, _ = await crawled(None, pages, nothing_left)
    assert len(site.asked) in {9, 13}  # refusals, failures
    kinds = Counter(result.error.kind for result in results if result.error)
    assert kinds.keys() == {ErrorKind.ROBOTS_UNAVAILABLE, ErrorKind.HOST_DOWN}
    assert kinds[ErrorKind.ROBOTS_UNAVAILABLE] <= 6
    assert {(result.outcome, result.attempts, result.started_at) for result in results} == {(Outcome.FAILED, 0, None)}


async def test_crawl_robots_that_is_away_for_a_while_loses_few_requests(
    site: Site, nothing_left: "Callable[[FakeLauncher], None]"
) -> None:
    """A site whose robots.txt fails five times and then comes is crawled."""
    site.failures = 5
    pages = [f"{site.root}/{number}" for number in range(200)]
    results, _, _ = await crawled(None, pages, nothing_left)
    assert Counter(result.outcome for result in results)[Outcome.SUCCEEDED] >= 197
    assert len(site.asked) == 6


async def test_crawl_resumed_decides_anew(
    site: Site, nothing_left: "Callable[[FakeLauncher], None]", tmp_path: Path
) -> None:
    """What the site forbids meanwhile is not visited by the process that goes on."""
    site.rules = ""
    seeds = [f"{site.root}/private/{number}" for number in range(20)]
    config = CrawlerConfig.load({"concurrency": 1, "host": {"robots": True}, "output": tmp_path / "run"})
    launcher = FakeLauncher(None)
    async with Crawler(config, launch=launcher) as crawler, crawler.stream(seeds) as stream:
        visited = [await anext(stream)]
        await crawler.stop()
        visited += [result async for result in stream]
    site.rules = RULES
    results, _, skips = await crawled(None, seeds, nothing_left, output=tmp_path / "run", resume=True)
    assert {result.outcome for result in visited} == {Outcome.SUCCEEDED}
    assert skips == {"robots": 20 - len(visited)}
    assert len(results) == 20 - len(visited) > 0
    assert site.asked == ["/robots.txt"] * 2


@pytest.mark.parametrize("output", [False, True])
async def test_crawl_forbidden_requests_take_none_of_the_hosts_time(
    site: Site, nothing_left: "Callable[[FakeLauncher], None]", tmp_path: Path, output: bool
) -> None:
    """The delay is kept between visits; neither asking robots.txt nor what it forbids costs one."""
    seeds = [f"{site.root}/private/{number}" for number in range(300)]
    seeds[150:150] = [f"{site.root}/a", f"{site.root}/b"]
    run = {"output": str(tmp_path / "run")} if output else {}
    began = asyncio.get_running_loop().time()
    results, _, skips = await crawled(None, seeds, nothing_left, host={"robots": True, "delay_s": 2}, **run)
    assert skips == {"robots": 300}
    assert sum(result.outcome is Outcome.SUCCEEDED for result in results) == 2
    assert 2 <= asyncio.get_running_loop().time() - began < 15


async def test_crawl_unreachable_robots_does_not_hold_other_hosts(
    site: Site, nothing_left: "Callable[[FakeLauncher], None]"
) -> None:
    """A host on which nobody listens fails, the other is crawled."""
    results, _, _ = await crawled(None, ["http://127.0.0.1:1/", f"{site.root}/a"], nothing_left)
    assert {result.url: result.outcome for result in results} == {
        "http://127.0.0.1:1/": Outcome.FAILED,
        f"{site.root}/a": Outcome.SUCCEEDED,
    }


async def test_crawl_redirect_to_a_forbidden_address_is_not_used(
    site: Site, nothing_left: "Callable[[FakeLauncher], None]"
) -> None:
    """Nothing of the page that is forbidden is taken, no link of it followed; the result says where it led."""
    forbidden = f"{site.root}/private/x"
    page = FakePageScript(final_url=forbidden, links=(f"{site.root}/next",))
    results, _, _ = await crawled(lambda _: page, [f"{site.root}/a"], nothing_left, links={"depth": 1})
    (result,) = results
    assert (result.outcome, result.skip_reason, result.final_url) == (Outcome.SKIPPED, "robots", forbidden)
    assert (result.html, result.links) == (None, ())


async def test_crawl_robots_off_asks_nothing(site: Site, nothing_left: "Callable[[FakeLauncher], None]") -> None:
    """The Python API asks when told to."""
    results, _, _ = await crawled(None, [f"{site.root}/private"], nothing_left, host={})
    assert [result.outcome for result in results] == [Outcome.SUCCEEDED]
    assert site.asked == []


async def test_crawl_robots_is_asked_the_way_that_pages_go(
    site: Site, nothing_left: "Callable[[FakeLauncher], None]"
) -> None:
    """Through the proxy of the request's session, with its password: nobody learns from where the crawler is run."""
    with ForwardProxy(username="me", password="secret") as proxy:
        way = proxy.url.replace("://", "://me:secret@")
        results, _, _ = await crawled(None, [f"{site.root}/a"], nothing_left, sessions={"proxies": [way]})
    assert [result.outcome for result in results] == [Outcome.SUCCEEDED]
    assert [(request.target, request.username) for request in proxy.requests] == [(f"{site.root}/robots.txt", "me")]


async def test_crawl_robots_through_a_proxy_that_fails_is_asked_no_other_way(
    site: Site, nothing_left: "Callable[[FakeLauncher], None]"
) -> None:
    """The request fails, the site is not asked directly, and is not given up for it."""
    dead = {"sessions": {"proxies": ["http://127.0.0.1:1"]}}
    results, _, _ = await crawled(None, [f"{site.root}/{number}" for number in range(20)], nothing_left, **dead)
    assert {result.error.kind for result in results if result.error} == {ErrorKind.ROBOTS_UNAVAILABLE}
    assert site.asked == []


async def test_crawl_robots_is_asked_through_a_socks_proxy(
    site: Site, nothing_left: "Callable[[FakeLauncher], None]"
) -> None:
    """It is the guard's way that speaks SOCKS; what the file forbids is not visited, and nobody is asked past it."""
    seeds = [f"{site.root}/a", f"{site.root}/private"]
    async with socks_proxy() as proxy:
        results, _, skips = await crawled(None, seeds, nothing_left, browser={"proxy": proxy.url})
    assert len(results) == 2
    assert skips == {"robots": 1}
    assert site.asked == ["/robots.txt"]
    assert proxy.asked == [site.root.removeprefix("http://")]


async def test_crawl_robots_without_a_free_port_is_not_held_against_the_host(
    site: Site, nothing_left: "Callable[[FakeLauncher], None]"
) -> None:
    """No way can be opened: the attempt ends as `robots_unavailable`; the host is not deferred, but served later."""
    told: list[Event] = []
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    def listen(event: Event) -> None:
        told.append(event)
        if isinstance(event, VisitFailed):
            resource.setrlimit(resource.RLIMIT_NOFILE, before)

    config = CrawlerConfig.load({"host": {"robots": True}, "retry": {"retries": 1, "backoff_s": 0.01}})
    launcher = FakeLauncher(None)
    async with Crawler(config, launch=launcher, on_event=listen) as crawler:
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
        try:
            results = [result async for result in crawler.stream([f"{site.root}/a"])]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
    nothing_left(launcher)
    (failed,) = [event for event in told if isinstance(event, VisitFailed)]
    assert failed.kind == ErrorKind.ROBOTS_UNAVAILABLE
    assert "no way into the network" in failed.message
    assert [(result.outcome, result.attempts) for result in results] == [(Outcome.SUCCEEDED, 2)]
    assert not [event for event in told if isinstance(event, HostDeferred | HostGivenUp)]


async def test_crawl_hosts_of_a_domain_do_not_wait_for_each_others_robots(
    nothing_left: "Callable[[FakeLauncher], None]",
) -> None:
    """With one pace for a whole domain, a host whose robots.txt hangs holds no other back."""
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"//slow.site.com/" in await reader.readuntil(b"\r\n\r\n"):
            await done.wait()
        writer.write(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        browser = {"proxy": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"}
        config = CrawlerConfig.load({"concurrency": 4, "browser": browser, "host": {"robots": True, "by": "domain"}})
        launcher, ended = FakeLauncher(None), list[str]()
        seeds = ["http://slow.site.com/", *(f"http://quick.site.com/{number}" for number in range(30))]
        async with Crawler(config, launch=launcher) as crawler, crawler.stream(seeds) as stream:
            async for result in stream:
                ended.append(result.url)
                if len(ended) == 30:
                    done.set()
    assert ended[-1] == "http://slow.site.com/"
    assert len(ended) == 31
    nothing_left(launcher)
