"""Sites without end, as a real browser meets them."""

import re
from collections import Counter
from typing import TYPE_CHECKING

from browsercrawl.testing import DemoSite

if TYPE_CHECKING:
    from tests.integration.crawler.conftest import NewCrawler


async def test_crawl_of_pages_that_make_up_ids_ends(site: DemoSite, new_crawler: "NewCrawler") -> None:
    """Ids that are known by their name make no other page; others make a hundred, and the next one is counted."""
    seeds = [f"{site.url}/traps/{kind}" for kind in ("visitors", "sessions")]
    async with new_crawler(links={"depth": 1_000_000}) as crawler, crawler.stream(seeds) as stream:
        results = [result async for result in stream]
    kinds = Counter(re.split("[/;?]", result.url.removeprefix(f"{site.url}/"))[1] for result in results)
    assert kinds == {"visitors": 1 + 101, "sessions": 1 + 3, "page": 1}
    assert stream.summary is not None
    assert stream.summary.links_skipped == {"endless_series": 1}
    assert stream.summary.finish_reason == "endless_series"
