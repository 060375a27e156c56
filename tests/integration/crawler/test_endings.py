"""However a crawl ends, nothing of it is left, soon. What may be left is looked for after each test."""

import asyncio
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import psutil
import pytest

from browsercrawl import CrawlDispatcher, CrawlerConfig, FinishReason, Outcome
from browsercrawl.events import BrowserLaunched, Event
from browsercrawl.testing import DemoSite

if TYPE_CHECKING:
    from tests.integration.crawler.conftest import NewCrawler

SOON_S = 5.0


def browsers_alive(events: list[Event]) -> list[int]:
    """Process ids of the browsers that run."""
    pids = [event.pid for event in events if isinstance(event, BrowserLaunched) and event.pid is not None]
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


def endless(site: DemoSite, name: str, pulled: list[int]) -> Iterator[str]:
    """URLs without end; counts how many were pulled."""
    number = 0
    while True:
        pulled.append(number)
        yield f"{site.url}/faults/page?{name}={number}"
        number += 1


async def test_stream_left_early_ends_everything_with_the_crawler(
    site: DemoSite, new_crawler: "NewCrawler", events: list[Event]
) -> None:
    """`break` out of a stream over an endless input: pages are no longer asked for, and the exit is quick."""
    pulled: list[int] = []
    async with new_crawler() as crawler:
        async for result in crawler.stream(endless(site, "left", pulled)):
            assert result.outcome is Outcome.SUCCEEDED
            if site.hits("/faults/page") >= 5:
                break
        left = time.monotonic()
        one = await crawler.fetch(f"{site.url}/about")
        assert one.outcome is Outcome.SUCCEEDED
        asked = len([at for at in site.arrivals("/faults/page?left") if at > left + 1])
        assert asked == 0
    assert time.monotonic() - left < SOON_S
    assert len(pulled) < 1_200
    assert browsers_alive(events) == []


@pytest.mark.parametrize("name", ["silent", "hang-load", "dialogs"])
async def test_crawler_exit_with_open_pages_is_quick(
    site: DemoSite, new_crawler: "NewCrawler", events: list[Event], name: str
) -> None:
    """Leaving the crawler while pages hang takes seconds, not their deadlines, and no process stays."""
    async with new_crawler() as crawler:
        stream = crawler.stream(f"{site.url}/faults/{name}?exit={number}" for number in range(4))
        waiting = asyncio.ensure_future(anext(stream, None))
        async with asyncio.timeout(20):
            while len(site.arrivals(f"/faults/{name}?exit")) < 2:  # noqa: ASYNC110 - happens in the server's threads
                await asyncio.sleep(0.02)
        left = time.monotonic()
    assert time.monotonic() - left < SOON_S
    assert await waiting is None
    assert browsers_alive(events) == []


async def test_run_cancelled_ends_the_run_before_it_passes(
    site: DemoSite, new_crawler: "NewCrawler", events: list[Event]
) -> None:
    """A cancelled `run` has put its pages back and closed its browser when CancelledError arrives; it may run again."""
    crawler = new_crawler()
    run = asyncio.create_task(crawler.run(f"{site.url}/faults/silent?cancel={number}" for number in range(4)))
    async with asyncio.timeout(20):
        while len(site.arrivals("/faults/silent?cancel")) < 2:  # noqa: ASYNC110 - happens in the server's threads
            await asyncio.sleep(0.02)
    cancelled = time.monotonic()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert time.monotonic() - cancelled < SOON_S
    assert browsers_alive(events) == []
    assert (await crawler.run([f"{site.url}/about"])).succeeded == 1


async def test_stop_drains_then_puts_back(site: DemoSite, new_crawler: "NewCrawler") -> None:
    """Pages that end within the drain time have their result; the others none, and the summary says how many."""
    urls = [f"{site.url}/faults/slow?ms=800&drain", *(f"{site.url}/faults/silent?drain={n}" for n in range(3))]
    async with new_crawler() as crawler:
        run = asyncio.create_task(crawler.run(urls))
        async with asyncio.timeout(20):
            while not site.arrivals("/faults/silent?drain"):  # noqa: ASYNC110 - happens in the server's threads
                await asyncio.sleep(0.02)
        asked = time.monotonic()
        await crawler.stop(drain_s=1.5)
        assert time.monotonic() - asked < 1.5 + 2
        summary = await run
    assert (summary.succeeded, summary.failed, summary.unfinished) == (1, 0, 3)
    assert summary.finish_reason is FinishReason.STOPPED


async def test_crawlers_at_the_same_time_do_not_know_of_each_other(
    site: DemoSite, new_crawler: "NewCrawler", events: list[Event]
) -> None:
    """Two crawlers and a dispatcher side by side: each finishes its own, one that is thrown away harms none."""
    names = ("one", "two")
    urls = {name: [f"{site.url}/faults/slow?ms=200&{name}={n}" for n in range(6)] for name in names}

    async def crawl(name: str) -> set[str]:
        async with new_crawler() as crawler, crawler.stream(urls[name]) as stream:
            return {result.url async for result in stream if result.outcome is Outcome.SUCCEEDED}

    async def give_up() -> None:
        async with new_crawler() as crawler:
            async for _ in crawler.stream(endless(site, "given-up", [])):
                break

    def dispatch() -> set[str]:
        with CrawlDispatcher(CrawlerConfig(concurrency=1)) as dispatcher:
            for number in range(3):
                dispatcher.add_task(f"{site.url}/faults/page?dispatched={number}")
            return {result.url for result in dispatcher.results() if result.outcome is Outcome.SUCCEEDED}

    one, two, _, dispatched = await asyncio.gather(crawl("one"), crawl("two"), give_up(), asyncio.to_thread(dispatch))
    assert (one, two) == (set(urls["one"]), set(urls["two"]))
    assert len(dispatched) == 3
    assert browsers_alive(events) == []


async def test_crawler_runs_again_and_again(site: DemoSite, new_crawler: "NewCrawler", events: list[Event]) -> None:
    """Inside `async with` the browser stays warm from run to run; a URL known to one run is new to the next."""
    async with new_crawler() as crawler:
        for number in range(3):
            assert (await crawler.run([f"{site.url}/about", f"{site.url}/delivery"])).succeeded == 2
            assert (await crawler.fetch(f"{site.url}/faults/page?again={number}")).outcome is Outcome.SUCCEEDED
        assert len(browsers_alive(events)) == 1
    assert sum(isinstance(event, BrowserLaunched) for event in events) == 1
    assert browsers_alive(events) == []
