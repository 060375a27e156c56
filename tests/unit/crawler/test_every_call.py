"""A small crawl with a fake browser, made once for each call into the browser and each way in which that can fail."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from browsercrawl import Crawler, ErrorKind, Outcome, Visit
from browsercrawl.errors import CallTimeout, InternalError
from browsercrawl.testing.fake_browser import FakeBehaviour, FakeBrowser, FakeCall, FakePageScript

if TYPE_CHECKING:
    from tests.unit.crawler.conftest import Crawl, Crawled

URLS = [f"http://site.test/{number}" for number in range(10)]
TOOK_MAX_S = 60.0
"""On the crawl's clock, which takes 4 s without a fault: a lease has 20 s, a visit and a close have 10 s each."""

Fault = Callable[[FakeCall], Awaitable[None]]


async def times_out(call: FakeCall) -> None:
    """Fail at once, as a call does whose time was up before."""
    raise CallTimeout(f"{call.what} did not return")


async def stands_still(call: FakeCall) -> None:
    """Return only when the time is up."""
    await call.browser.clock.sleep(call.limit_s)
    raise CallTimeout(f"{call.what} did not return within {call.limit_s:g} s")


async def freezes(call: FakeCall) -> None:
    """Stand still, and so does every further call into this browser (see `crawl_with`)."""
    await stands_still(call)


async def fails_oddly(call: FakeCall) -> None:
    """Fail as nobody has foreseen."""
    raise InternalError(f"{call.what}: Protocol error")


async def browser_dies(call: FakeCall) -> None:
    """Take the browser along."""
    call.browser.die(f"died at {call.what}")


async def context_ends(call: FakeCall) -> None:
    """Take the context along, if it is one that was called."""
    if call.context is not None:
        call.context.end()


async def crawl_with(crawl: "Crawl", fault: Fault | None, at: int) -> "tuple[Crawled, list[str]]":
    """Crawl with a fault at a call; returns what was called, too."""
    called: list[str] = []
    frozen: set[FakeBrowser] = set()

    async def meddle(call: FakeCall) -> None:
        called.append(call.what)
        is_it = len(called) == at
        if is_it and fault is freezes:
            frozen.add(call.browser)
        if fault is not None and (is_it or call.browser in frozen):
            await fault(call)

    def prepare(crawler: Crawler) -> None:
        @crawler.handler()
        async def _(visit: Visit) -> None:
            visit.push(visit.request.url)
            page: Any = visit.page
            await page.context.browser.clock.sleep(0.1)

    def site(url: str) -> FakePageScript:
        return FakePageScript(load_s=0.5, popups=int(url[-1]) % 2)

    done = await crawl(
        site,
        URLS,
        prepare=prepare,
        behaviour=FakeBehaviour(before_call=meddle),
        concurrency=3,
        visit={"timeout_s": 10},
        retry={"backoff_s": 0.1},
        pool={"recycle": {"page_visits_max": 2}, "acquire_limit_s": 20},
    )
    return done, called


@pytest.mark.parametrize("fault", [times_out, stands_still, freezes, fails_oddly, browser_dies, context_ends])
def test_crawl_with_any_call_failing_gives_each_request_its_one_result(crawl: "Crawl", fault: Fault) -> None:
    """The n-th call fails, for each n: each request succeeds; only an error unforeseen may fail, as such, its own."""

    async def enumerate_calls() -> Counter[str]:
        done, called = await crawl_with(crawl, None, 0)
        assert {each.outcome for each in done.results} == {Outcome.SUCCEEDED}
        for number, what in enumerate(called, start=1):
            done, _ = await crawl_with(crawl, fault, number)
            where = f"call {number}, {what}"
            assert sorted(each.url for each in done.results) == URLS, where
            failed = [each for each in done.results if each.outcome is not Outcome.SUCCEEDED]
            if fault is fails_oddly:
                assert [each.error.kind for each in failed if each.error] in ([], [ErrorKind.INTERNAL]), where
            else:
                assert failed == [], where
            assert all(each.data == (each.url,) for each in done.results if each not in failed), where
            assert done.summary.duration_s < TOOK_MAX_S, where
        return Counter(called)

    called = asyncio.run(enumerate_calls())
    assert {"new_context", "context.new_page", "page.begin", "page.goto", "page.snapshot"} <= set(called)
    assert {"page.recondition", "page.close"} <= set(called)
