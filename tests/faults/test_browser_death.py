"""The browser, its driver or a renderer dies or stands still: every request still has its one result."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from browsercrawl import Crawler, ErrorKind, Outcome, Visit
from browsercrawl.errors import Disposition
from browsercrawl.events import (
    BrowserCrashed,
    BrowserLaunched,
    BrowserRecycled,
    BrowserRetired,
    PageKilled,
    RetryScheduled,
    VisitStarted,
)
from browsercrawl.testing import DemoSite

if TYPE_CHECKING:
    from tests.faults.conftest import Crawl, Watched

    Strike = Callable[[Watched], None]


def strike_once(watched: "Watched", *, after: int, strike: "Strike") -> None:
    """Do something a moment after so many visits have started."""
    started = 0

    def count(_: VisitStarted) -> None:
        nonlocal started
        started += 1
        if started == after:
            asyncio.get_running_loop().call_later(0.3, strike, watched)

    watched.on(VisitStarted, count)


@pytest.mark.parametrize("victim", ["browser", "driver"])
async def test_crawl_process_killed_puts_the_open_pages_back(site: DemoSite, crawl: "Crawl", victim: str) -> None:
    """SIGKILL of browser or driver with 4 open pages: relaunched; each request succeeds, no attempt spent."""
    urls = [f"{site.url}/faults/slow?ms=1200&{victim}={number}" for number in range(10)]

    def strike(watched: "Watched") -> None:
        getattr(watched, victim).kill()

    done = await crawl(urls, concurrency=4, prepare=lambda _, watched: strike_once(watched, after=4, strike=strike))
    assert sorted(result.url for result in done.results) == sorted(urls)
    assert {(result.outcome, result.attempts) for result in done.results} == {(Outcome.SUCCEEDED, 1)}
    (crashed,) = done.told(BrowserCrashed)
    assert crashed.leases_lost == 4
    assert [event.generation for event in done.told(BrowserLaunched)] == [1, 2]
    assert [event.disposition for event in done.told(RetryScheduled)] == [Disposition.PUT_BACK] * 4


@pytest.mark.parametrize("victim", ["browser", "driver"])
async def test_crawl_process_that_stands_still_is_replaced(site: DemoSite, crawl: "Crawl", victim: str) -> None:
    """SIGSTOP of browser or driver for good: open visits end by their deadlines, it is killed, the rest is crawled."""
    urls = [f"{site.url}/faults/slow?ms=800&still-{victim}={number}" for number in range(6)]
    done = await crawl(
        urls,
        concurrency=2,
        visit={"timeout_s": 3},
        pool={"close_limit_s": 1},
        prepare=lambda _, watched: strike_once(
            watched, after=2, strike=lambda watched: getattr(watched, victim).send_signal(signal.SIGSTOP)
        ),
    )
    assert {result.outcome for result in done.results} == {Outcome.SUCCEEDED}
    assert len(done.results) == len(urls)
    assert len(done.told(BrowserCrashed)) == 1
    assert len(done.told(BrowserLaunched)) == 2
    assert done.took_s < 25


async def test_crawl_renderer_that_stands_still_costs_its_page_only(site: DemoSite, crawl: "Crawl") -> None:
    """SIGSTOP of a renderer: its page is closed at the deadline and visited anew; the other pages do not notice."""
    urls = [f"{site.url}/product/{path.rpartition('/')[2]}" for path in (p.path for p in site.truth().products[:12])]
    stopped: list[int] = []

    def prepare(crawler: Crawler, watched: "Watched") -> None:
        @crawler.handler()
        async def stop_own_renderer(visit: Visit) -> None:
            if stopped:
                return
            before = {each.pid: sum(each.cpu_times()[:2]) for each in watched.renderers}
            await visit.page.evaluate("() => { const end = Date.now() + 400; while (Date.now() < end); }")
            used = {each.pid: sum(each.cpu_times()[:2]) - before.get(each.pid, 0.0) for each in watched.renderers}
            stopped.append(max(used, key=lambda pid: used[pid]))
            os.kill(stopped[0], signal.SIGSTOP)

    try:
        done = await crawl(urls, concurrency=2, visit={"timeout_s": 3}, prepare=prepare)
    finally:
        for pid in stopped:  # what stands still does not notice the end of its browser
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    assert {result.outcome for result in done.results} == {Outcome.SUCCEEDED}
    assert sorted(result.attempts for result in done.results) == [1] * (len(urls) - 1) + [2]
    assert any(event.rung == "close_page" and event.worked for event in done.told(PageKilled))
    assert len(done.told(BrowserLaunched)) == 1


async def test_crawl_page_that_kills_the_browser_each_time_fails_alone(site: DemoSite, crawl: "Crawl") -> None:
    """After some deaths the killer is visited alone, found out and ends as `quarantined`; all others succeed."""
    good = [f"{site.url}/faults/slow?ms=300&quarantine={number}" for number in range(8)]
    killer = f"{site.url}/faults/page?killer"

    def prepare(crawler: Crawler, watched: "Watched") -> None:
        @crawler.handler()
        async def kill(visit: Visit) -> None:
            if visit.request.url == killer:
                watched.browser.kill()
                await visit.page.wait_for_timeout(10_000)

    done = await crawl([*good[:2], killer, *good[2:]], concurrency=3, prepare=prepare)
    failed = done.of(killer)
    assert failed.error is not None
    assert failed.error.kind is ErrorKind.QUARANTINED
    others = [result for result in done.results if result.url != killer]
    assert {(result.outcome, result.attempts) for result in others} == {(Outcome.SUCCEEDED, 1)}
    assert len(others) == len(good)
    assert done.took_s < 40


async def test_crawl_worn_browser_is_replaced_without_a_page_noticing(site: DemoSite, crawl: "Crawl") -> None:
    """A browser that has served its visits retires while its successor serves: no death, no second attempt."""
    urls = [f"{site.url}/faults/slow?ms=700&worn={number}" for number in range(16)]
    done = await crawl(urls, concurrency=2, pool={"recycle": {"browser_visits_max": 4}})
    assert {(result.outcome, result.attempts) for result in done.results} == {(Outcome.SUCCEEDED, 1)}
    assert len(done.results) == len(urls)
    assert done.told(BrowserRecycled)
    assert done.told(BrowserCrashed) == []
    assert all(event.clean for event in done.told(BrowserRetired))
    assert len(done.told(BrowserLaunched)) == len(done.told(BrowserRecycled)) + 1
