"""Pages of 100 MB: they end, and what they have grown is given back."""

from typing import TYPE_CHECKING

from browsercrawl import Outcome
from browsercrawl.events import LeaseReleased, VisitStarted
from browsercrawl.testing import DemoSite

if TYPE_CHECKING:
    from tests.faults.conftest import Crawl


async def test_crawl_large_pages_finish_and_are_replaced(site: DemoSite, crawl: "Crawl") -> None:
    """Pages that fill their renderer with 100 MB succeed; none of these renderers serves another visit.

    The same for a document of 100 MB, of which nothing is captured; a small page after them succeeds at once.
    """
    big = [f"{site.url}/faults/big?mb=100&n={number}" for number in range(4)]
    urls = [*big, f"{site.url}/faults/big-html?mb=100", f"{site.url}/about"]
    done = await crawl(urls, concurrency=2, visit={"timeout_s": 30, "capture": []})
    assert [result.error for result in done.results if result.outcome is not Outcome.SUCCEEDED] == []
    assert len(done.results) == len(urls)
    released = {event.lease_id: event for event in done.told(LeaseReleased)}
    for event in done.told(VisitStarted):
        if event.url in big:
            assert not released[event.lease_id].kept, event.url
            assert "grown" in (released[event.lease_id].why or ""), event.url


async def test_crawl_page_that_grows_after_load_is_left_in_time(site: DemoSite, crawl: "Crawl") -> None:
    """A page that hogs memory once it has loaded has its result, and its renderer ends with the visit."""
    urls = [f"{site.url}/faults/hog?mb=400", f"{site.url}/about", f"{site.url}/delivery"]
    done = await crawl(urls, concurrency=1, visit={"timeout_s": 10})
    assert {result.outcome for result in done.results} == {Outcome.SUCCEEDED}
    assert done.took_s < 15
