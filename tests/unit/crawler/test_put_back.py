"""What is not a request's fault costs it no attempt; what kills the browser is found out and ends alone."""

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from browsercrawl import Crawler, ErrorKind, Outcome, Visit
from browsercrawl.errors import Disposition
from browsercrawl.events import BrowserCrashed, RetryScheduled, VisitFailed, VisitStarted
from browsercrawl.testing.fake_browser import FakeBehaviour, FakePageScript

if TYPE_CHECKING:
    from tests.unit.crawler.conftest import Crawl

URL = "http://site.test/"


async def test_crawl_browser_death_puts_neighbours_back(crawl: "Crawl") -> None:
    """The death of the browser with pages open spends no attempt of theirs: each has its result, at its first."""
    behaviour = FakeBehaviour(dies_at_call=30)
    urls = [f"{URL}{number}" for number in range(40)]
    done = await crawl(lambda _: FakePageScript(load_s=1), urls, behaviour=behaviour)
    assert {each.outcome for each in done.results} == {Outcome.SUCCEEDED}
    assert {each.attempts for each in done.results} == {1}
    assert len(done.results) == 40
    assert len(done.told(BrowserCrashed)) >= 1
    assert {event.disposition for event in done.told(RetryScheduled)} == {Disposition.PUT_BACK}


async def test_crawl_request_that_kills_the_browser_fails_alone(crawl: "Crawl") -> None:
    """After two deaths a request is visited alone; three deaths alone end it as `quarantined`; others finish."""
    good = [f"{URL}{number}" for number in range(30)]

    def site(url: str) -> FakePageScript:
        return FakePageScript(kills_browser=True, commit_s=0.5) if url == URL else FakePageScript(load_s=1)

    done = await crawl(site, [*good[:2], URL, *good[2:]])
    killer = done.of(URL)
    assert killer.error is not None
    assert (killer.outcome, killer.error.kind) == (Outcome.FAILED, ErrorKind.QUARANTINED)
    assert killer.attempts == 1
    assert {done.of(url).outcome for url in good} == {Outcome.SUCCEEDED}
    assert {done.of(url).attempts for url in good} == {1}
    visits = [event for event in done.told(VisitStarted) if event.request_id == killer.request_id]
    assert len(visits) == 5, "two among others, three alone"
    assert len(done.told(BrowserCrashed)) == 5
    tale = [event for event in done.events if isinstance(event, VisitStarted | VisitFailed)]
    ours = [at for at, event in enumerate(tale) if event.request_id == killer.request_id]
    assert [type(tale[at]) for at in ours] == [VisitStarted, VisitFailed] * 5
    assert [b - a for a, b in zip(ours[4::2], ours[5::2], strict=True)] == [1, 1, 1], "nobody else meanwhile"
    finals = [event.final for event in done.told(VisitFailed) if event.request_id == killer.request_id]
    assert finals == [False] * 4 + [True]


@pytest.mark.parametrize("reaction", ["raise", "swallow", "skip_over"])
async def test_crawl_handler_sees_browser_die_and_is_put_back(crawl: "Crawl", reaction: str) -> None:
    """A handler whose page went down with the browser is not blamed: neither for its exception nor for the page."""
    deaths: list[int] = []

    def prepare(crawler: Crawler) -> None:
        @crawler.handler()
        async def _(visit: Visit) -> None:
            page: Any = visit.page
            if not deaths:
                deaths.append(1)
                page.context.browser.die("on purpose")
                if reaction == "raise":
                    raise RuntimeError("Target page, context or browser has been closed")
            elif reaction == "skip_over":
                await asyncio.sleep(0)

    urls = [f"{URL}{number}" for number in range(8)]
    done = await crawl(None, urls, prepare=prepare)
    assert {(each.outcome, each.attempts) for each in done.results} == {(Outcome.SUCCEEDED, 1)}
    assert len(done.results) == 8


async def test_crawl_handler_that_closes_its_context_harms_no_neighbour(crawl: "Crawl") -> None:
    """The neighbours in a context that user code closed are put back; the culprit ends failed, after being alone."""

    def prepare(crawler: Crawler) -> None:
        @crawler.handler()
        async def _(visit: Visit) -> None:
            page: Any = visit.page
            clock = page.context.browser.clock
            await clock.sleep(0.5 if visit.request.url == URL else 1.0)
            if visit.request.url == URL:
                page.context.end()
            elif page.closed:
                raise RuntimeError("Target page, context or browser has been closed")

    good = [f"{URL}{number}" for number in range(8)]
    done = await crawl(None, [URL, *good], prepare=prepare)
    assert {(done.of(url).outcome, done.of(url).attempts) for url in good} == {(Outcome.SUCCEEDED, 1)}
    culprit = done.of(URL)
    assert culprit.error is not None
    assert culprit.error.kind is ErrorKind.CONTEXT_BROKEN


async def test_crawl_concurrency_is_reached_and_never_exceeded(crawl: "Crawl") -> None:
    """`concurrency=N` is N visits from the first second, never more."""
    open_now: set[str] = set()
    peaks: list[int] = []

    def prepare(crawler: Crawler) -> None:
        @crawler.handler()
        async def _(visit: Visit) -> None:
            page: Any = visit.page
            open_now.add(visit.request.url)
            peaks.append(len(open_now))
            await page.context.browser.clock.sleep(1)
            open_now.discard(visit.request.url)

    done = await crawl(None, [f"{URL}{number}" for number in range(64)], prepare=prepare, concurrency=16)
    assert max(peaks) == 16
    assert max(peaks[:16]) == 16
    assert done.summary.duration_s == pytest.approx(4, abs=0.5)


@pytest.mark.parametrize(("crashes", "outcome"), [(3, "succeeded"), (99, "failed")])
async def test_crawl_shared_renderer_crash_while_alone_is_believed_once(
    crawl: "Crawl", crashes: int, outcome: str
) -> None:
    """In `lean` a page visited before may crash late, into a visit that is alone: that costs no attempt, but once."""
    visits = 0

    def site(_url: str) -> FakePageScript:
        nonlocal visits
        visits += 1
        return FakePageScript(crash_s=0.0 if visits <= crashes else None)

    done = await crawl(site, [URL], profile="lean", retry={"retries": 0})
    assert (done.only.outcome, done.only.attempts, visits) == (outcome, 1, 4)
