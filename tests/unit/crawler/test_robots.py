"""A crawl that asks robots.txt: a real server gives it, a fake browser loads the pages."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from browsercrawl import Crawler, CrawlerConfig, Outcome, Result
from browsercrawl.errors import ErrorKind
from browsercrawl.testing.fake_browser import FakeLauncher, FakePageScript, Sites
from browsercrawl.testing.server import Exchange, Server

if TYPE_CHECKING:
    from collections.abc import Callable

RULES = "User-agent: *\nDisallow: /private\n"


class Site:
    """A server of a robots.txt and nothing else."""

    def __init__(self) -> None:
        self.status = 200
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
        exchange.respond(RULES, status=self.status, content_type="text/plain")


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


@pytest.mark.parametrize("status", [500, 429])
async def test_crawl_robots_that_cannot_be_had_fails_the_host_unvisited(
    site: Site, nothing_left: "Callable[[FakeLauncher], None]", status: int
) -> None:
    """It is asked as often as a page would be tried; then all requests fail with the kind, and none was visited."""
    site.status = status
    results, _, _ = await crawled(None, [f"{site.root}/{number}" for number in range(20)], nothing_left)
    assert site.asked == ["/robots.txt"] * 2
    assert {result.error.kind for result in results if result.error} == {ErrorKind.ROBOTS_UNAVAILABLE}
    assert {(result.outcome, result.attempts) for result in results} == {(Outcome.FAILED, 0)}


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
