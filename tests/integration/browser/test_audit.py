"""The audit of a real browser: what nobody knows is closed, what holds too much is killed, nothing else is touched."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psutil
import pytest

from browsercrawl.browser import PlaywrightBrowser
from browsercrawl.browser.audit import ORPHAN_LOOKS
from browsercrawl.config import BrowserConfig
from browsercrawl.errors import CallTimeout, MemoryExceeded, PageCrashed
from browsercrawl.ports import Audit, ContextOptions
from tests.integration.browser.conftest import LIMIT_S, Site, Tab

MUCH = 10**10
BOMB = (
    "<title>bomb</title><script>window.hogs = [];"
    " setInterval(() => hogs.push(new Uint8Array(2e7).fill(1)), 10)</script>"
)
LARGE = "<title>large</title><script>window.hog = new Uint8Array(3e8).fill(1)</script>"


async def _audit(browser: PlaywrightBrowser, page_bytes_max: int = MUCH) -> Audit:
    return await browser.audit(page_bytes_max=page_bytes_max, limit_s=LIMIT_S)


@asynccontextmanager
async def _protocol(tab: Tab) -> AsyncIterator[Any]:
    """Speak to the browser behind everybody's back."""
    browser = tab.page.raw.context.browser
    assert browser is not None
    session = await browser.new_browser_cdp_session()
    yield session
    await session.detach()


async def test_audit_closes_what_nobody_knows_the_second_time(browser: PlaywrightBrowser, tab: Tab) -> None:
    """A tab in a context of its own, both opened behind our back, is looked at twice and then closed."""
    async with _protocol(tab) as session:
        context = (await session.send("Target.createBrowserContext"))["browserContextId"]
        await session.send("Target.createTarget", {"url": "about:blank", "browserContextId": context})
    *early, late, after = [await _audit(browser) for _ in range(ORPHAN_LOOKS + 1)]
    assert {(each.contexts, each.pages, each.orphans) for each in early} == {(2, 2, 0)}
    assert (late.contexts, late.pages, late.orphans) == (2, 2, 2)
    assert (after.contexts, after.pages, after.orphans) == (1, 1, 0)
    assert not tab.page.closed


async def test_audit_closes_an_unknown_tab_in_a_known_context(browser: PlaywrightBrowser, tab: Tab) -> None:
    """It goes, closed as an extra page of nobody's or by the audit, whichever is first; ours stays."""
    async with _protocol(tab) as session:
        await session.send(
            "Target.createTarget", {"url": "about:blank", "browserContextId": tab.page.context.id or "none"}
        )
    while (await _audit(browser)).pages > 1:
        continue
    assert not tab.page.closed


async def test_audit_leaves_popups_alone(site: Site, browser: PlaywrightBrowser, tab: Tab) -> None:
    """A popup of a visit is counted, and is nobody's orphan."""
    await tab.load(site.url("/"))
    async with tab.page.raw.expect_popup() as opened:
        await tab.page.raw.evaluate("() => { window.open('/'); }")
    popup = await opened.value
    await tab.settle()
    seen = [await _audit(browser) for _ in range(ORPHAN_LOOKS + 1)]
    assert {(each.pages, each.orphans) for each in seen} == {(2, 0)}
    assert not popup.is_closed()


async def test_audit_disposes_of_a_context_that_did_not_close(browser: PlaywrightBrowser, tab: Tab) -> None:
    """A context that we gave up without its closing is an orphan."""
    other = await browser.new_context(ContextOptions(), limit_s=LIMIT_S)
    await other.new_page(limit_s=LIMIT_S)
    browser._contexts.discard(other)
    seen = [await _audit(browser) for _ in range(ORPHAN_LOOKS + 1)]
    assert [each.contexts for each in seen] == [2] * ORPHAN_LOOKS + [1]
    assert not tab.page.context.closed


async def test_audit_judges_no_context_while_one_has_no_name(browser: PlaywrightBrowser, tab: Tab) -> None:
    """A context is known by its first page; until then it is not taken for an orphan, whatever else is."""
    await browser.new_context(ContextOptions(), limit_s=LIMIT_S)
    seen = [await _audit(browser) for _ in range(ORPHAN_LOOKS + 1)]
    assert {(each.contexts, each.orphans) for each in seen} == {(2, 0)}
    assert not tab.page.closed


async def test_audit_kills_a_renderer_that_outlived_its_page(site: Site, browser: PlaywrightBrowser, tab: Tab) -> None:
    """A stopped renderer does not notice that its page is closed: it is a stray the second time."""
    other = await browser.new_context(ContextOptions(), limit_s=LIMIT_S)
    await Tab(await other.new_page(limit_s=LIMIT_S)).load(site.url("/"))
    known = set(await tab.page.link.renderers.listed(limit_s=LIMIT_S))
    await tab.load(site.url("/"))
    home = await tab.page.link.renderers.home(tab.page.main_s, limit_s=LIMIT_S)
    assert home in known
    assert home is not None
    home.suspend()
    assert await tab.page.context.close(limit_s=LIMIT_S)
    while home in await tab.page.link.renderers.listed(limit_s=LIMIT_S):
        continue
    first, second, third = [await _audit(browser) for _ in range(3)]
    assert (first.strays, second.strays, third.strays) == (0, 1, 0)
    assert not home.is_running() or home.status() == psutil.STATUS_ZOMBIE
    assert len(third.renderers) == len(second.renderers) - 1


async def test_audit_kills_an_allocation_bomb_in_mid_visit(site: Site, browser: PlaywrightBrowser, tab: Tab) -> None:
    """The call that goes on in the page raises MemoryExceeded with both figures; a neighbour lives on."""
    neighbour = Tab(await tab.page.context.new_page(limit_s=LIMIT_S))
    await neighbour.load(site.url("/near", "<title>near</title>"))
    await tab.load(site.url("/bomb", BOMB))
    waiting = asyncio.ensure_future(tab.page.wait_for("#never", limit_s=60))
    while not (await _audit(browser, 200_000_000)).killed:
        continue
    with pytest.raises(MemoryExceeded, match=r"its renderer held \d+ MB \(limit 200 MB\)"):
        await waiting
    with pytest.raises(MemoryExceeded):
        await tab.page.snapshot((), limit_s=5)
    assert (await neighbour.page.snapshot((), limit_s=5)).title == "near"
    assert await tab.give_back() is not None
    assert await tab.page.close(limit_s=5)


class TestOneProcessPerSite:
    """The pages of a site share a renderer, and its memory."""

    @pytest.fixture
    def config(self) -> BrowserConfig:
        """As in the `lean` profile."""
        return BrowserConfig(process_per_site=True)

    async def test_audit_allows_so_much_for_each_page(self, site: Site, browser: PlaywrightBrowser, tab: Tab) -> None:
        """Two pages may hold twice as much; beyond that neither is dropped, for which took it cannot be told."""
        neighbour = Tab(await tab.page.context.new_page(limit_s=LIMIT_S))
        await neighbour.load(site.url("/near", "<title>near</title>"))
        await tab.load(site.url("/large", LARGE))
        assert (await _audit(browser, 200_000_000)).killed == 0
        assert (await _audit(browser, 100_000_000)).killed == 1
        for each in (tab, neighbour):
            with pytest.raises(PageCrashed, match="with 2 pages in it, held"):
                await each.page.snapshot((), limit_s=5)


async def test_audit_of_a_stopped_browser_ends_with_its_limit(browser: PlaywrightBrowser, tab: Tab) -> None:
    """It does not hang, and says that there was no answer."""
    assert not tab.page.closed
    assert browser.facts.pid is not None
    process = psutil.Process(browser.facts.pid)
    process.suspend()
    try:
        with pytest.raises(CallTimeout):
            await asyncio.wait_for(browser.audit(page_bytes_max=MUCH, limit_s=0.3), 5)
    finally:
        process.resume()
    assert (await _audit(browser)).pages == 1


async def test_audit_costs_little(browser: PlaywrightBrowser, tab: Tab) -> None:
    """It takes some milliseconds of CPU of ours (measured: 8 with 15 processes and 100 others on the machine)."""
    assert not tab.page.closed
    started_s = time.process_time()
    for _ in range(10):
        await _audit(browser)
    assert time.process_time() - started_s < 10 * 0.1
