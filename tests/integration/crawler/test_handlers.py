"""User code that misbehaves: it ends its own visit, and nothing else."""

import asyncio
import time
from typing import TYPE_CHECKING

from browsercrawl import Crawler, ErrorKind, Outcome, Request, Result, Retry, Visit
from browsercrawl.events import Event, HandlerBlockedLoop, LeaseReleased, VisitStarted
from browsercrawl.testing import DemoSite

if TYPE_CHECKING:
    from tests.integration.crawler.conftest import NewCrawler


async def crawl(crawler: Crawler, site: DemoSite, *labels: str) -> dict[str, Result]:
    """Visit a good page with the handler of each label, with healthy neighbours in between; results by label."""
    seeds = [Request(url=f"{site.url}/faults/page?{label}", label=label) for label in labels]
    neighbours = [Request(url=f"{site.url}/faults/page?beside={label}", label="good") for label in labels]
    async with crawler, crawler.stream(seed for pair in zip(seeds, neighbours, strict=True) for seed in pair) as stream:
        results = [result async for result in stream]
    good = [result for result in results if result.label == "good"]
    assert [(result.error, result.attempts) for result in good] == [(None, 1)] * len(labels)
    return {str(result.label): result for result in results if result.label != "good"}


async def test_handler_that_misbehaves_ends_its_own_visit(
    site: DemoSite, new_crawler: "NewCrawler", events: list[Event]
) -> None:
    """A handler that raises, closes its page or context, hangs or refuses to be cancelled: one failed result each.

    What it pushed before is not in it, nobody else notices, and its page is not used again.
    """
    crawler = new_crawler(visit={"timeout_s": 2}, retry={"retries": 0}, concurrency=3)

    @crawler.handler("good")
    async def good(visit: Visit) -> None:
        await visit.page.evaluate("1")

    @crawler.handler("raises")
    async def raises(visit: Visit) -> None:
        visit.push("half a result")
        raise RuntimeError("what went wrong")

    @crawler.handler("closes-page")
    async def closes_page(visit: Visit) -> None:
        await visit.page.close()

    @crawler.handler("waits-for-ever")
    async def waits_for_ever(visit: Visit) -> None:
        await asyncio.Event().wait()

    @crawler.handler("refuses-to-end")
    async def refuses_to_end(visit: Visit) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.Event().wait()

    @crawler.handler("hangs-page")
    async def hangs_page(visit: Visit) -> None:
        await visit.page.evaluate("() => { for (;;); }")

    @crawler.handler("wrong-selector")
    async def wrong_selector(visit: Visit) -> None:
        await visit.page.click("text=Nowhere", timeout=300)

    found = await crawl(
        crawler, site, "raises", "closes-page", "waits-for-ever", "refuses-to-end", "hangs-page", "wrong-selector"
    )
    assert {label: result.error and result.error.kind for label, result in found.items()} == {
        "raises": ErrorKind.HANDLER_FAILED,
        "closes-page": ErrorKind.PAGE_CLOSED,
        "waits-for-ever": ErrorKind.DEADLINE,
        "refuses-to-end": ErrorKind.DEADLINE,
        "hangs-page": ErrorKind.DEADLINE,
        "wrong-selector": ErrorKind.HANDLER_FAILED,
    }
    assert all(result.data == () for result in found.values())
    assert found["raises"].error is not None
    assert "raises" in found["raises"].error.message
    assert "RuntimeError: what went wrong" in found["raises"].error.message
    labels = {event.lease_id: event.url for event in events if isinstance(event, VisitStarted)}
    ended = {labels[event.lease_id] for event in events if isinstance(event, LeaseReleased) and not event.kept}
    for label in ("closes-page", "waits-for-ever", "refuses-to-end", "hangs-page"):
        assert f"{site.url}/faults/page?{label}" in ended, f"the page of {label} must not serve another visit"


async def test_handler_that_closes_its_context_harms_nobody_else(site: DemoSite, new_crawler: "NewCrawler") -> None:
    """The session gets a new context; pages of the same session that were open are visited again, no attempt spent."""
    crawler = new_crawler(visit={"timeout_s": 10}, retry={"retries": 0, "stalls_max": 1}, concurrency=3)

    @crawler.handler("good")
    async def good(visit: Visit) -> None:
        await visit.page.wait_for_timeout(300)

    @crawler.handler("closes-context")
    async def closes_context(visit: Visit) -> None:
        await visit.page.context.close()

    found = await crawl(crawler, site, "closes-context")
    assert found["closes-context"].outcome is Outcome.FAILED


async def test_handler_that_blocks_the_loop_is_named(
    site: DemoSite, new_crawler: "NewCrawler", events: list[Event]
) -> None:
    """Whoever holds the event loop is named in an event; the run goes on."""
    crawler = new_crawler(concurrency=1)

    @crawler.handler()
    async def blocks_the_loop(visit: Visit) -> None:
        time.sleep(1.5)  # noqa: ASYNC251 - that is what is tested

    async with crawler:
        result = await crawler.fetch(f"{site.url}/faults/page")
        assert result.outcome is Outcome.SUCCEEDED
    blocked = [event for event in events if isinstance(event, HandlerBlockedLoop)]
    assert blocked
    assert any("blocks_the_loop" in name for name in blocked[0].handlers)
    assert blocked[0].blocked_s >= 1


async def test_handler_that_opens_pages_leaves_none(
    site: DemoSite, new_crawler: "NewCrawler", events: list[Event]
) -> None:
    """Pages that a visit opens, itself or by a click, are closed at its end and not seen by the next; its own stays."""
    crawler = new_crawler(concurrency=1)
    seen: list[int] = []

    @crawler.handler()
    async def opens_pages(visit: Visit) -> None:
        seen.append(len(visit.page.context.pages))
        extra = await visit.page.context.new_page()
        await extra.goto(f"{site.url}/about")
        async with visit.page.expect_popup() as popup:
            await visit.page.evaluate("() => { window.open('/faults/page') }")
        await (await popup.value).wait_for_load_state()
        visit.push(len(visit.page.context.pages))

    urls = [f"{site.url}/faults/page?opens={number}" for number in range(3)]
    async with crawler, crawler.stream(urls) as stream:
        results = [result async for result in stream]
    assert [(result.outcome, result.data) for result in results] == [(Outcome.SUCCEEDED, (3,))] * 3
    assert seen == [1, 1, 1]
    assert [event.kept for event in events if isinstance(event, LeaseReleased)] == [True] * 3


async def test_handler_that_is_retried_leaves_nothing_twice(site: DemoSite, new_crawler: "NewCrawler") -> None:
    """Pushes and links of a visit that failed do not count; those of the one that succeeded do, once."""
    crawler = new_crawler(concurrency=1, retry={"retries": 2, "backoff_s": 0})
    tries = 0

    @crawler.handler()
    async def third_time_lucky(visit: Visit) -> None:
        nonlocal tries
        tries += 1
        visit.push({"try": tries})
        visit.enqueue(Request(url=f"{site.url}/faults/page?from={tries}", label="found"))
        if tries < 3:
            raise Retry("not yet")

    @crawler.handler("found")
    async def found(visit: Visit) -> None:
        visit.push(visit.request.url)

    async with crawler, crawler.stream([f"{site.url}/faults/page?lucky"]) as stream:
        results = [result async for result in stream]
    assert [(result.attempts, result.data) for result in results] == [
        (3, ({"try": 3},)),
        (1, (f"{site.url}/faults/page?from=3",)),
    ]
