"""What a server can answer, and what comes of it: the HTTP part of the contract, with a real browser."""

from typing import TYPE_CHECKING

from browsercrawl import ErrorKind, Outcome, Result
from browsercrawl.testing import DemoSite

if TYPE_CHECKING:
    from tests.integration.crawler.conftest import NewCrawler


async def results_of(new_crawler: "NewCrawler", site: DemoSite, *names: str, **options: object) -> dict[str, Result]:
    """Crawl addresses of the fault site; return their results by name."""
    async with new_crawler(**options) as crawler, crawler.stream(f"{site.url}/faults/{name}" for name in names) as all_:
        return {result.url.removeprefix(f"{site.url}/faults/"): result async for result in all_}


async def test_crawl_displayed_answers_succeed(site: DemoSite, new_crawler: "NewCrawler") -> None:
    """A final 2xx that the browser displays is a success with what it shows, also empty and also without HTML."""
    found = await results_of(
        new_crawler, site, "204", "empty", "json", "text", "image", "latin-1", "redirect?n=3", "status?is=201"
    )
    assert {(result.outcome, result.partial) for result in found.values()} == {(Outcome.SUCCEEDED, False)}
    assert {name: (result.http_status, result.content_type) for name, result in found.items()} == {
        "204": (204, "text/html"),
        "empty": (200, "text/html"),
        "json": (200, "application/json"),
        "text": (200, "text/plain"),
        "image": (200, "image/png"),
        "latin-1": (200, "text/html"),
        "redirect?n=3": (200, "text/html"),
        "status?is=201": (201, "text/html"),
    }
    assert not any(found[name].title or found[name].text for name in ("204", "empty"))
    assert found["json"].text is not None
    assert '{"answer": 42}' in found["json"].text
    assert (found["text"].text or "").strip() == "Just text."
    assert found["latin-1"].title == "café"
    assert found["latin-1"].text == "naïve façade"
    redirected = found["redirect?n=3"]
    assert redirected.final_url == f"{site.url}/faults/page"
    assert redirected.title == "fault: page"
    assert redirected.links == (f"{site.url}/faults/page",)


async def test_crawl_refused_answers_fail_with_their_kind(site: DemoSite, new_crawler: "NewCrawler") -> None:
    """Each class of answer has its kind; what would not get better is asked for once, the rest `retries` times more."""
    kinds = {
        "status?is=401": (ErrorKind.BLOCKED, 1),
        "status?is=403": (ErrorKind.BLOCKED, 1),
        "status?is=407": (ErrorKind.BLOCKED, 1),
        "status?is=404": (ErrorKind.HTTP_REJECTED, 1),
        "status?is=410&empty=1": (ErrorKind.HTTP_REJECTED, 1),
        "status?is=408": (ErrorKind.HTTP_FAILED, 2),
        "status?is=500&empty=1": (ErrorKind.HTTP_FAILED, 2),
        "download": (ErrorKind.DOWNLOAD, 1),
        "redirect-loop": (ErrorKind.NETWORK, 2),
        "reset": (ErrorKind.NETWORK, 2),
        "empty-close": (ErrorKind.NETWORK, 2),
    }
    found = await results_of(new_crawler, site, *kinds, retry={"retries": 1, "backoff_s": 0.1})
    ended = {name: (result.error and result.error.kind, result.attempts) for name, result in found.items()}
    assert ended == kinds
    assert found["status?is=404"].http_status == 404


async def test_crawl_accept_status_takes_named_statuses_as_successes(site: DemoSite, new_crawler: "NewCrawler") -> None:
    """`accept_status` changes the list: a 404 page is content then; other statuses are not touched."""
    found = await results_of(
        new_crawler, site, "status?is=404", "status?is=410", visit={"accept_status": [404], "timeout_s": 10}
    )
    accepted = found["status?is=404"]
    assert (accepted.outcome, accepted.http_status, accepted.title) == (Outcome.SUCCEEDED, 404, "fault: status")
    assert found["status?is=410"].outcome is Outcome.FAILED


async def test_crawl_bodies_that_do_not_end_give_what_is_there(site: DemoSite, new_crawler: "NewCrawler") -> None:
    """A document that committed but never loads is a success with `partial`, and with what came of it."""
    names = ["truncated", "truncated-chunked", "reset-body", "silent-body", "endless", "missing-image"]
    found = await results_of(new_crawler, site, *names, concurrency=4, visit={"timeout_s": 4})
    assert {(result.outcome, result.partial) for result in found.values()} == {(Outcome.SUCCEEDED, True)}
    cut = [result.text or "" for name, result in found.items() if name != "missing-image"]
    assert all("Something was sent, and then this." in text for text in cut)
    assert all((result.title or "").startswith("fault: ") for result in found.values())


async def test_crawl_wait_for_decides_over_readiness(site: DemoSite, new_crawler: "NewCrawler") -> None:
    """`wait_for` must be in the DOM in time; without it the visit fails, whatever else loaded."""
    found = await results_of(
        new_crawler, site, "page?a", "page?b", visit={"wait_for": "#never", "timeout_s": 2}, retry={"retries": 0}
    )
    assert {result.error and result.error.kind for result in found.values()} == {ErrorKind.SELECTOR_MISSING}
    found = await results_of(new_crawler, site, "page?c", visit={"wait_for": "#line", "timeout_s": 5})
    assert found["page?c"].outcome is Outcome.SUCCEEDED
