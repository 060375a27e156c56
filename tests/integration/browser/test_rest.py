"""A page in stock is parked when it is not wanted again within a moment, and what does not park is not used."""

import asyncio
from typing import TYPE_CHECKING

import pytest

from browsercrawl.errors import ContextBroken
from browsercrawl.ports import Cleaning

if TYPE_CHECKING:
    from tests.integration.browser.conftest import Site, Tab

RESTLESS = (
    "<script>setInterval(() => { fetch('/tick'); window.name = 'mine'; sessionStorage.setItem('a', '1') }, 20)</script>"
)
TRACES = "JSON.stringify([window.name, sessionStorage.length, history.length])"


async def test_rest_page_that_fetches_without_end_makes_no_request_from_stock(site: "Site", tab: "Tab") -> None:
    """After 0.8 s at most a page in stock is silent, and what it stored in the tab is gone at the next visit."""
    site.url("/tick", "tick")
    await tab.visit(site.url("/restless", RESTLESS))
    await tab.page.raw.wait_for_url("about:blank", timeout=800)
    await tab.settle()
    await asyncio.sleep(0.1)  # what was on its way arrives
    before = site.hits("/tick")
    await asyncio.sleep(0.5)  # the time in which nothing may happen
    assert site.hits("/tick") == before
    assert tab.page.state.parked
    assert await tab.visit(site.url("/"), TRACES) in {'["",0,1]', '["",0,2]'}


async def test_rest_next_visit_in_the_middle_of_the_parking_succeeds(site: "Site", tab: "Tab") -> None:
    """A visit that comes while the page is being parked waits for that and finds it clean."""
    site.url("/tick", "tick")
    for _ in range(5):
        await tab.visit(site.url("/restless", RESTLESS))
        await tab.rest()
        seen = await tab.load(site.url("/next", "<title>next</title>"))
        assert (seen.status, seen.loaded, seen.final_url) == (200, True, site.url("/next"))
        assert await tab.page.raw.evaluate(TRACES) in {'["",0,1]', '["",0,2]'}
        assert await tab.give_back() is None


async def test_rest_page_wanted_at_once_is_not_parked(site: "Site", tab: "Tab") -> None:
    """A busy page pays a timer, no navigation: the visit that follows at once ends it."""
    await tab.visit(site.url("/"))
    await tab.load(site.url("/next", "<title>next</title>"))
    await asyncio.sleep(0.4)  # longer than a page may rest
    assert tab.page.raw.url == site.url("/next")
    assert tab.page.rest._parking is None


async def test_rest_page_that_does_not_park_is_closed(site: "Site", tab: "Tab") -> None:
    """A handler added behind the check's back: the page is never handed out again, and closes by itself."""
    await tab.visit(site.url("/"))
    await tab.page.raw.evaluate("() => addEventListener('beforeunload', () => { while (1); })")
    await tab.rest()
    with pytest.raises(ContextBroken, match="another one is taken"):
        await tab.page.begin()
    assert tab.page.closed
    await tab.settle()
    assert tab.page.raw.is_closed()
    assert await tab.page.close(limit_s=1)


async def test_goto_page_that_does_not_make_way_is_not_the_visits_fault(site: "Site", tab: "Tab") -> None:
    """A URL that differs by its fragment needs about:blank first; a page that does not go there is told as such."""
    await tab.visit(site.url("/"))
    await tab.page.raw.evaluate("() => addEventListener('beforeunload', () => { while (1); })")
    await tab.page.begin()
    with pytest.raises(ContextBroken, match="did not make way"):
        await tab.page.goto(site.url("/#part"), wait_until="load", load_limit_s=5, limit_s=5)
    assert await tab.give_back() is not None
    assert await tab.page.close(limit_s=5)


@pytest.mark.parametrize("end", ["page", "context", "browser"])
async def test_rest_end_in_the_middle_of_the_parking_leaves_no_task(site: "Site", tab: "Tab", end: str) -> None:
    """Whatever ends while a page is being parked, the parking ends with it."""
    await tab.visit(site.url("/restless", RESTLESS))
    await tab.rest()
    if end == "page":
        assert await tab.page.close(limit_s=5)
        await tab.settle()
    elif end == "context":
        assert await tab.page.context.close(limit_s=5)
    else:
        assert tab.page.raw.context.browser is not None
        await tab.page.raw.context.browser.close()
        await tab.page.context.close(limit_s=5)
    assert not tab.page.context._tasks


async def test_rest_cleaning_none_never_parks(site: "Site", tab: "Tab") -> None:
    """`lean` leaves the page as it is."""
    await tab.load(site.url("/"))
    assert await tab.give_back(Cleaning.NONE) is None
    await asyncio.sleep(0.4)  # longer than a page may rest
    assert tab.page.raw.url == site.url("/")
    assert tab.page.rest._parking is None
