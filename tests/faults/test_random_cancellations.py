"""Crawls with the real browser that are cancelled at random moments, one after the other, by one crawler."""

import asyncio
import random

from browsercrawl import Crawler, CrawlerConfig, Outcome
from browsercrawl.events import BrowserLaunched, Event, LeaseAcquired, LeaseReleased
from browsercrawl.testing import DemoSite

SEED = 20_261_129
CANCELLATIONS = 50
CANCELLED_AFTER_MAX_S = 0.4
"""A crawl takes about as long, so that some are cancelled in their first moments and some after their end."""
ENDS_WITHIN_S = 10.0


async def test_crawler_cancelled_at_random_moments_goes_on_working(site: DemoSite) -> None:
    """50 cancellations at random moments: each ends its run soon, leases end, and the next run is a whole one."""
    urls = [site.url + product.path for product in site.truth().products[:4]]
    events: list[Event] = []
    config = CrawlerConfig.load({"concurrency": 2, "pool": {"recycle": {"page_visits_max": 5}}})
    chance = random.Random(SEED)
    interrupted = 0
    async with Crawler(config, on_event=events.append) as crawler:

        async def crawl() -> list[tuple[str, Outcome]]:
            async with crawler.stream(urls) as stream:
                return sorted([(result.url, result.outcome) async for result in stream])

        for number in range(CANCELLATIONS):
            task = asyncio.create_task(crawl())
            await asyncio.wait({task}, timeout=chance.uniform(0, CANCELLED_AFTER_MAX_S))
            interrupted += task.cancel()
            done, _ = await asyncio.wait({task}, timeout=ENDS_WITHIN_S)
            assert done, f"seed {SEED}, cancellation {number}"
            if number % 10 == 9:
                assert await crawl() == sorted((url, Outcome.SUCCEEDED) for url in urls), f"after {number}"
    assert interrupted > CANCELLATIONS / 4
    leases = [type(event) for event in events]
    assert leases.count(LeaseAcquired) == leases.count(LeaseReleased)
    assert leases.count(BrowserLaunched) == 1, "a cancellation costs no browser"
