"""Everything goes wrong during one crawl: processes killed or stopped, pages that crash and hang; nothing is lost."""

import random
import signal
from collections import Counter

import psutil
import pytest

from browsercrawl import Crawler, CrawlerConfig, Outcome, Result, Visit
from browsercrawl.events import BrowserLaunched, Event, LeaseAcquired, LeaseReleased
from browsercrawl.testing import DemoSite

SEED = 20_261_129
CONCURRENCY = 4
RETRIES = 8
"""A request may be among the victims of more than one fault."""
DEADLINE_S = 6.0


class Villain:
    """Harms the processes of a crawl, one after the other, in random order.

    Attributes:
        events: of the crawl.
        left: what is still to be done: whom, and how.
    """

    def __init__(self, *, times: int) -> None:
        self.events: list[Event] = []
        victims = (self._browser, self._driver, self._renderer)
        self.left = [(victim, number) for victim in victims for number in (signal.SIGKILL, signal.SIGSTOP)] * times
        random.Random(SEED).shuffle(self.left)

    def strike(self) -> bool:
        """Harm one more, if it is there; returns whether it was."""
        victim, number = self.left[-1]
        try:
            process = victim()
            if process is None or process.status() in {psutil.STATUS_ZOMBIE, psutil.STATUS_STOPPED}:
                return False
            process.send_signal(number)
        except psutil.NoSuchProcess:
            return False
        self.left.pop()
        return True

    def _browser(self) -> psutil.Process | None:
        pids = [each.pid for each in self.events if isinstance(each, BrowserLaunched)]
        return psutil.Process(pids[-1])

    def _driver(self) -> psutil.Process | None:
        drivers = [each for each in psutil.Process().children() if "node" in each.name()]
        return max(drivers, key=psutil.Process.create_time, default=None)

    def _renderer(self) -> psutil.Process | None:
        browser = self._browser()
        children = browser.children(recursive=True) if browser is not None else []
        renderers = (each for each in children if "--type=renderer" in each.cmdline())
        return next((each for each in renderers if each.status() != psutil.STATUS_STOPPED), None)  # not the same again


def add_bad_pages(crawler: Crawler, urls: list[str]) -> Counter[str]:
    """Have one half of these pages crash and the other half hang, at their first visit; returns which have."""
    harmed: Counter[str] = Counter()

    @crawler.handler()
    async def harm(visit: Visit) -> None:
        url = visit.request.url
        if url not in urls or harmed[url]:
            return
        harmed[url] += 1
        if urls.index(url) % 2:
            await visit.page.goto("chrome://crash")
        await visit.page.evaluate("() => { while (1); }")

    return harmed


async def crawl_harmed(site: DemoSite, *, times: int, bad_pages: int) -> None:
    """Crawl a shop while everything goes wrong, and compare what was found with the truth."""
    truth = {site.url + page.path: (page.title, page.links) for page in site.truth().pages}
    villain = Villain(times=times)
    every = len(truth) // (2 * len(villain.left))  # the second half is for those that came when nobody was there
    config = CrawlerConfig.load(
        {
            "concurrency": CONCURRENCY,
            "links": {"depth": 100},
            "visit": {"timeout_s": DEADLINE_S},
            "retry": {"retries": RETRIES, "backoff_s": 0.1},
            "pool": {"close_limit_s": 1},
        }
    )
    crawler = Crawler(config, on_event=villain.events.append)
    bad = random.Random(SEED).sample(sorted(truth), bad_pages)
    harmed = add_bad_pages(crawler, bad)
    results: list[Result] = []
    due = every
    async with crawler, crawler.stream([f"{site.url}/"]) as stream:
        async for result in stream:
            results.append(result)
            if villain.left and len(results) >= due and villain.strike():
                due = len(results) + every
    assert villain.left == []
    assert sorted(harmed) == sorted(bad)
    assert Counter(each.url for each in results) == Counter(list(truth)), "each page once"
    assert [each for each in results if each.outcome is not Outcome.SUCCEEDED or each.partial] == []
    for each in results:
        links = tuple(dict.fromkeys(link.removeprefix(site.url) for link in each.links))
        assert (each.title, links) == truth[each.url], each.url
    told = Counter(type(event) for event in villain.events)
    assert told[LeaseAcquired] == told[LeaseReleased]
    assert told[BrowserLaunched] > 4 * times, "browser and driver were replaced each time"


async def test_crawl_with_all_faults_at_once_finds_the_truth() -> None:
    """Browser, driver and renderer killed and stopped, pages that crash and hang: each page has its right result."""
    async with DemoSite(products=130) as site:
        assert len(site.truth().pages) >= 150
        await crawl_harmed(site, times=1, bad_pages=4)


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_long_crawl_with_all_faults_again_and_again_finds_the_truth() -> None:
    """The same on 500 pages, with each fault four times, and many bad pages."""
    async with DemoSite(products=480) as site:
        assert len(site.truth().pages) >= 500
        await crawl_harmed(site, times=4, bad_pages=24)
