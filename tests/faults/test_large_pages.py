"""Pages of 100 MB: they end, and what they have grown is given back."""

from typing import TYPE_CHECKING

from browsercrawl import Crawler, Outcome, Visit
from browsercrawl.events import LeaseReleased
from browsercrawl.testing import DemoSite

if TYPE_CHECKING:
    from tests.faults.conftest import Crawl, Watched


async def test_crawl_large_pages_finish_and_are_replaced(site: DemoSite, crawl: "Crawl") -> None:
    """Pages of 100 MB succeed, two at a time; renderers that have grown so are replaced, and none is left at the end.

    So does a document of 100 MB of which nothing is captured.
    """
    big = [f"{site.url}/faults/big?mb=100&n={number}" for number in range(4)]
    # Renderers are looked at once a second at most: these pages take longer, so each page in use is looked at.
    small = [f"{site.url}/faults/slow?ms=1100&n={number}" for number in range(3)]
    urls = [*big, f"{site.url}/faults/big-html?mb=100", *small]
    sizes: list[float] = []

    def prepare(crawler: Crawler, watched: "Watched") -> None:
        @crawler.handler()
        async def measure(visit: Visit) -> None:
            if visit.request.url == small[-1]:
                sizes.extend(each.memory_full_info().uss / 1e6 for each in watched.renderers)

    done = await crawl(urls, concurrency=2, visit={"timeout_s": 30, "capture": []}, prepare=prepare)
    assert [result.error for result in done.results if result.outcome is not Outcome.SUCCEEDED] == []
    assert len(done.results) == len(urls)
    grown = [event for event in done.told(LeaseReleased) if "grown" in (event.why or "")]
    assert grown
    assert not any(event.kept for event in grown)
    assert sizes
    assert max(sizes) < 100


async def test_crawl_page_that_grows_after_load_is_left_in_time(site: DemoSite, crawl: "Crawl") -> None:
    """A page that hogs memory once it has loaded has its result, and its renderer ends with the visit."""
    urls = [f"{site.url}/faults/hog?mb=400", f"{site.url}/about", f"{site.url}/delivery"]
    done = await crawl(urls, concurrency=1, visit={"timeout_s": 10})
    assert {result.outcome for result in done.results} == {Outcome.SUCCEEDED}
    assert done.took_s < 15
