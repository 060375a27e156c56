"""How many pages at once, and how fast towards a host: seen from the server."""

import socket
import time
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from browsercrawl import Outcome
from browsercrawl.errors import ErrorKind
from browsercrawl.events import Event, HostDeferred, HostGivenUp, LeaseAcquired, LeaseReleased
from browsercrawl.testing import DemoSite
from browsercrawl.visit import Visit

if TYPE_CHECKING:
    from tests.integration.crawler.conftest import NewCrawler


async def test_concurrency_is_reached_at_once_and_never_exceeded(
    site: DemoSite, new_crawler: "NewCrawler", events: list[Event]
) -> None:
    """N pages are in use from the first second and never N+1: by the leases, and by what the server sees."""
    urls = [f"{site.url}/faults/slow?ms=400&pace={number}" for number in range(15)]
    async with new_crawler(concurrency=3) as crawler, crawler.stream(urls) as stream:
        results = [result async for result in stream]
    assert {result.outcome for result in results} == {Outcome.SUCCEEDED}
    held, most = 0, 0
    for event in events:
        held += isinstance(event, LeaseAcquired) - isinstance(event, LeaseReleased)
        most = max(most, held)
    assert (most, held) == (3, 0)
    arrived = site.arrivals("/faults/slow?ms=400&pace")
    assert arrived[2] - arrived[0] < 0.4, "the first three are not there at the same time"
    assert min(later - earlier for earlier, later in zip(arrived, arrived[3:], strict=False)) >= 0.4


async def test_delay_is_kept_between_any_two_visits_of_a_host(site: DemoSite, new_crawler: "NewCrawler") -> None:
    """With several pages in use, visits of one host:port arrive a delay apart from the first on; hosts do not share it.

    A visit begins when its turn comes; a tenth of a second is left for the way from there to the server.
    """
    delay_s, each = 0.5, 6
    port = site.url.rpartition(":")[2]
    hosts = ("127.0.0.1", "localhost")
    urls = [f"http://{host}:{port}/faults/text?from={host}&{number}" for number in range(each) for host in hosts]
    async with new_crawler(concurrency=4, host={"delay_s": delay_s}) as crawler, crawler.stream(urls) as stream:
        began = time.monotonic()
        assert {result.outcome async for result in stream} == {Outcome.SUCCEEDED}
        took_s = time.monotonic() - began
    for host in hosts:
        arrived = site.arrivals(f"/faults/text?from={host}")
        assert len(arrived) == each
        gaps = [later - earlier for earlier, later in pairwise(arrived)]
        assert min(gaps) >= delay_s - 0.1, gaps
    assert took_s < each * delay_s + 3, "the hosts waited for each other"


async def test_per_host_limits_a_host_only(site: DemoSite, new_crawler: "NewCrawler") -> None:
    """With `per_host=1` a host's pages come one after the other while another host's go on beside them."""
    port = site.url.rpartition(":")[2]
    hosts = ("127.0.0.1", "localhost")
    urls = [f"http://{host}:{port}/faults/slow?ms=300&host={host}&{number}" for number in range(4) for host in hosts]
    async with new_crawler(concurrency=4, host={"per_host": 1}) as crawler, crawler.stream(urls) as stream:
        assert {result.outcome async for result in stream} == {Outcome.SUCCEEDED}
    spans = []
    for host in hosts:
        arrived = site.arrivals(f"/faults/slow?ms=300&host={host}")
        assert min(later - earlier for earlier, later in pairwise(arrived)) >= 0.3
        spans.append((arrived[0], arrived[-1]))
    assert max(start for start, _ in spans) < min(end for _, end in spans), "the hosts did not go side by side"


@pytest.mark.parametrize("status", [429, 503])
async def test_host_that_asks_for_a_pause_gets_it(
    site: DemoSite, new_crawler: "NewCrawler", events: list[Event], status: int
) -> None:
    """After 429 or 503 with Retry-After that host is left alone until then; other hosts go on; all succeed."""
    port = site.url.rpartition(":")[2]
    busy = f"http://localhost:{port}/faults/{status}?after=2&times=1&pause={status}"
    same = [f"http://localhost:{port}/faults/text?same={status}&{number}" for number in range(3)]
    other = [f"{site.url}/faults/slow?ms=300&other={status}&{number}" for number in range(4)]
    async with new_crawler(concurrency=1) as crawler, crawler.stream([busy, *same, *other]) as stream:
        results = {result.url: result async for result in stream}
    assert {result.outcome for result in results.values()} == {Outcome.SUCCEEDED}
    assert results[busy].attempts == 2
    assert {results[url].attempts for url in (*same, *other)} == {1}
    (deferred,) = [event for event in events if isinstance(event, HostDeferred)]
    assert deferred.host == f"localhost:{port}"
    refused, again = site.arrivals(f"/faults/{status}?after=2&times=1&pause={status}")
    assert again - refused >= 2
    assert [at - refused for at in site.arrivals(f"/faults/text?same={status}") if 0 < at - refused < 2] == []
    assert [at for at in site.arrivals(f"/faults/slow?ms=300&other={status}") if 0 < at - refused < 2]


async def test_host_that_asks_for_a_pause_without_saying_how_long(
    site: DemoSite, new_crawler: "NewCrawler", events: list[Event]
) -> None:
    """Without Retry-After the pause is `defer_s`, and the next one of the same host twice that."""
    url = f"{site.url}/faults/503?times=2&unsaid"
    async with new_crawler(host={"defer_s": 0.5}, retry={"retries": 3, "backoff_s": 0}) as crawler:
        result = await crawler.fetch(url)
    assert (result.outcome, result.attempts) == (Outcome.SUCCEEDED, 3)
    first, second, third = site.arrivals("/faults/503?times=2&unsaid")
    assert second - first >= 0.5
    assert third - second >= 1.0
    assert [event.delay_s for event in events if isinstance(event, HostDeferred)] == pytest.approx([0.5, 1.0], rel=0.5)


async def test_five_pages_at_once_arrive_a_second_apart(site: DemoSite, new_crawler: "NewCrawler") -> None:
    """Five pages are free and one host has a delay of a second: they arrive 0, 1, 2, 3 and 4 s after the first."""
    urls = [f"{site.url}/faults/text?second={number}" for number in range(5)]
    async with new_crawler(concurrency=5, host={"delay_s": 1.0}) as crawler, crawler.stream(urls) as stream:
        assert {result.outcome async for result in stream} == {Outcome.SUCCEEDED}
    first, *later = site.arrivals("/faults/text?second=")
    assert [at - first for at in later] == pytest.approx([1.0, 2.0, 3.0, 4.0], abs=0.2)


async def test_pages_that_a_handler_loads_count_for_their_host(site: DemoSite, new_crawler: "NewCrawler") -> None:
    """A handler that loads two more pages of the host has the next visit wait for three delays."""
    async with new_crawler(host={"delay_s": 0.4}) as crawler:

        @crawler.handler()
        async def roam(visit: Visit) -> None:
            for number in range(2):
                await visit.page.goto(f"{site.url}/faults/text?roam={number}")

        urls = [f"{site.url}/faults/text?owed={number}" for number in range(3)]
        async with crawler.stream(urls) as stream:
            assert {result.outcome async for result in stream} == {Outcome.SUCCEEDED}
    gaps = [later - earlier for earlier, later in pairwise(site.arrivals("/faults/text?owed="))]
    assert min(gaps) >= 1.1, gaps


async def test_slow_server_is_visited_less_often(site: DemoSite, new_crawler: "NewCrawler") -> None:
    """With a factor of 3, a server that takes 300 ms to answer gets its next visit 0.9 s after the last one began."""
    urls = [f"{site.url}/faults/slow?ms=300&own={number}" for number in range(4)]
    async with new_crawler(concurrency=1, host={"latency_factor": 3}) as crawler, crawler.stream(urls) as stream:
        assert {result.outcome async for result in stream} == {Outcome.SUCCEEDED}
    _, *gaps = [later - earlier for earlier, later in pairwise(site.arrivals("/faults/slow?ms=300&own="))]
    assert all(0.8 <= gap < 1.5 for gap in gaps), gaps


async def test_host_without_a_server_is_given_up_and_others_go_on(
    site: DemoSite, new_crawler: "NewCrawler", events: list[Event]
) -> None:
    """Nobody listens at one port: a few of its 200 requests are tried, the rest fail as `host_down`, unvisited."""
    with socket.socket() as unheard:  # bound and not listening: refused, and nobody else gets the port
        unheard.bind(("127.0.0.1", 0))
        dead = [f"http://127.0.0.1:{unheard.getsockname()[1]}/{number}" for number in range(200)]
        alive = [f"{site.url}/faults/text?alive={number}" for number in range(20)]
        host = {"failures_max": 3, "defer_s": 0.2}
        async with (
            new_crawler(concurrency=2, host=host, retry={"retries": 0}) as crawler,
            crawler.stream([*dead, *alive]) as stream,
        ):
            results = [result async for result in stream]
    kinds = Counter(result.error.kind if result.error else None for result in results)
    assert kinds[None] == 20
    assert 6 <= kinds[ErrorKind.NETWORK] <= 12
    assert kinds[ErrorKind.NETWORK] + kinds[ErrorKind.HOST_DOWN] == 200
    assert sum(isinstance(event, HostGivenUp) for event in events) == 1
