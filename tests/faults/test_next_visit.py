"""What a page does in its visit costs the next visit in the same tab nothing, and each shows nothing of the other."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from browsercrawl import Crawler, Outcome, Request, Result, Visit
from browsercrawl.events import LeaseReleased, VisitStarted
from browsercrawl.testing import DemoSite

if TYPE_CHECKING:
    from tests.faults.conftest import Crawl, Crawled, Watched

KEEP_THEIR_PAGE = ("page", "leave-marks", "pagehide-write", "503?n=1", "status?is=404", "json")
LOSE_THEIR_PAGE = ("reset", "empty-close", "redirect-loop", "download", "silent", "hang-load", "crash?ms=0")
EITHER = (
    "popups?n=20", "dialogs", "hang-beforeunload", "hang-pagehide", "hang-later?ms=0", "204", "truncated",
    "missing-image", "pushstate-storm", "navigate-loop", "refresh-loop", "console-storm",
)  # fmt: skip


def found_by(result: Result) -> dict[str, Any]:
    """What the page that looks for residue found."""
    assert result.outcome is Outcome.SUCCEEDED, result.error
    assert result.text is not None
    shown: dict[str, Any] = json.loads(result.text[result.text.index("{") :])
    return shown


async def visit_next(site: DemoSite, crawl: "Crawl", names: Sequence[str]) -> tuple["Crawled", list[str]]:
    """Visit faults, each with a look for residue after it, in one page; returns those after which it was slow."""
    faults = [f"{site.url}/faults/{name}" for name in names]
    probes = [f"{site.url}/faults/residue?after={number}" for number in range(len(faults))]
    seeds = [url for pair in zip(faults, probes, strict=True) for url in pair]
    done = await crawl(
        seeds, concurrency=1, visit={"timeout_s": 4}, retry={"retries": 0, "backoff_s": 0}, host={"defer_s": 0}
    )
    slow = []
    for name, probe in zip(names, probes, strict=True):
        result = done.of(probe)
        found = found_by(result)
        assert (found["name"], found["session"]) == ("", {}), name
        assert found["history"] <= 2, name
        if result.timings.navigate_s >= 1.5 or result.timings.lease_s >= 2.5:
            slow.append(name)
    return done, slow


async def test_next_visit_after_each_fault_is_quick_and_finds_nothing(site: DemoSite, crawl: "Crawl") -> None:
    """With one page in use, the visit after each fault succeeds, quickly, and finds no trace that belongs to the tab.

    What belongs to the session, cookies and localStorage, is still there at the end. What was slow is tried again: a
    visit that waits for a fault does so each time, one that waits for a busy machine does not.
    """
    names = (*KEEP_THEIR_PAGE, *LOSE_THEIR_PAGE, *EITHER)
    done, slow = await visit_next(site, crawl, names)
    for _ in range(2):
        slow = (await visit_next(site, crawl, slow))[1] if slow else []
    assert slow == []
    last = found_by(done.of(f"{site.url}/faults/residue?after={len(names) - 1}"))
    assert (last["cookies"], last["local"]) == ("mark=cookie", {"mark": "local"})
    kept = {event.lease_id: event.kept for event in done.told(LeaseReleased)}
    kept_by_url = {event.url: kept[event.lease_id] for event in done.told(VisitStarted)}
    told = {name: kept_by_url[f"{site.url}/faults/{name}"] for name in (*KEEP_THEIR_PAGE, *LOSE_THEIR_PAGE)}
    assert told == dict.fromkeys(KEEP_THEIR_PAGE, True) | dict.fromkeys(LOSE_THEIR_PAGE, False)


@pytest.mark.parametrize(("tab_storage", "expected"), [("clear", {}), ("keep", {"mark": "session"})])
async def test_next_visit_tab_storage_is_cleared_unless_it_is_to_be_kept(
    site: DemoSite, crawl: "Crawl", tab_storage: str, expected: dict[str, str]
) -> None:
    """`tab_storage="keep"` leaves sessionStorage to the session's next visit, for apps with their token in it."""
    requests = [Request(url=f"{site.url}/faults/{name}", session="shop") for name in ("leave-marks", "residue")]
    done = await crawl(requests, concurrency=1, pool={"tab_storage": tab_storage})
    found = found_by(done.of(requests[1].url))
    assert found["session"] == expected
    assert (found["cookies"], found["local"]) == ("mark=cookie", {"mark": "local"})


async def test_next_visit_after_a_204_sees_nothing_of_the_page_before(site: DemoSite, crawl: "Crawl") -> None:
    """An answer without content leaves the old document in the tab; nothing of that gets into the result."""
    urls = [f"{site.url}/about", f"{site.url}/faults/204", f"{site.url}/delivery"]
    done = await crawl(urls, concurrency=1)
    empty = done.of(urls[1])
    assert (empty.outcome, empty.http_status) == (Outcome.SUCCEEDED, 204)
    assert (empty.title or "", empty.text or "", empty.links) == ("", "", ())
    assert "Nordlicht" not in (empty.html or "")
    assert empty.final_url == urls[1]
    assert "Delivery" in (done.of(urls[2]).title or "")


async def test_crawl_page_that_goes_back_shows_no_other_visit(site: DemoSite, crawl: "Crawl") -> None:
    """What a tab showed in its visit before cannot get into the result of a page that goes back."""
    urls = [
        url
        for number in range(6)
        for url in (f"{site.url}/about?n={number}", f"{site.url}/faults/history-back?ms={number * 50}")
    ]

    def prepare(crawler: Crawler, watched: "Watched") -> None:
        @crawler.handler()
        async def linger(visit: Visit) -> None:
            if "history-back" in visit.request.url:
                await visit.page.wait_for_timeout(300)

    done = await crawl(urls, concurrency=1, visit={"timeout_s": 10}, prepare=prepare)
    assert [result.error for result in done.results if result.error is not None] == []
    assert {result.url: result.final_url for result in done.results} == {url: url for url in urls}
    assert {result.title for result in done.results if "history-back" in result.url} == {"fault: history-back"}
