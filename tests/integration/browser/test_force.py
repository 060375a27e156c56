"""The rungs of the kill ladder on a real page in each of the states a page may be in, and who pays for it."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

import psutil
import pytest

from browsercrawl.browser import PlaywrightBrowser
from browsercrawl.browser.page import PlaywrightPage
from browsercrawl.config import BrowserConfig
from browsercrawl.errors import ContextBroken, PageCrashed
from browsercrawl.ports import ContextOptions
from browsercrawl.testing.server import Exchange
from tests.integration.browser.conftest import LIMIT_S, Site, Tab

SPINS = "<title>spins</title><script>setTimeout(() => { while (1); }, 0)</script>"
HALF = "<title>slow</title><img src=/silent>"
STATES = ["idle", "spinning", "navigating", "stopped"]


def _silent(exchange: Exchange) -> None:
    exchange.pause(None)


async def _home(page: PlaywrightPage) -> psutil.Process:
    """Find the page's process the sure way: it is the one without which the page does not answer."""
    for process in await page.link.renderers.listed(limit_s=LIMIT_S):
        process.suspend()
        asking = page.session.send("Performance.getMetrics")
        answers = await page.link.calls.settled(asking, limit_s=1)
        process.resume()
        if not answers:
            return process
    raise AssertionError("no renderer is this page's")


async def _in_state(tab: Tab, site: Site, state: str) -> "asyncio.Future[object]":
    """Bring a page into a state; returns what goes on in it."""
    going = asyncio.get_running_loop().create_future()
    going.set_result(None)
    await tab.load(site.url("/"))
    match state:
        case "spinning":
            await tab.load(site.url("/spins", SPINS), load_limit_s=0.3)
            while await tab.page.link.calls.settled(
                tab.page.session.send("Runtime.evaluate", {"expression": "1"}), limit_s=0.5
            ):
                continue
        case "navigating":
            going = asyncio.ensure_future(tab.load(site.url("/silent", _silent), limit_s=30))
            while not site.hits("/silent"):  # noqa: ASYNC110 - there is nothing else to wait for
                await asyncio.sleep(0.01)
        case "stopped":
            (await _home(tab.page)).suspend()
    return going


@pytest.mark.parametrize("state", STATES)
async def test_stop_loading_obeyed_unless_the_renderer_is_stopped(site: Site, tab: Tab, state: str) -> None:
    """It ends a navigation, does not mind a script, and takes no longer than its limit."""
    going = await _in_state(tab, site, state)
    stopping = tab.page.stop_loading(limit_s=3)
    assert await asyncio.wait_for(stopping, 6) or state == "stopped"
    await asyncio.wait({going}, timeout=LIMIT_S)
    assert going.done()
    assert not tab.page.crashed
    going.exception()


@pytest.mark.parametrize("state", STATES)
async def test_crash_obeyed_unless_the_renderer_is_stopped(site: Site, tab: Tab, state: str) -> None:
    """The page is gone and says so, as does the call that was going on in it."""
    going = await _in_state(tab, site, state)
    is_gone = await asyncio.wait_for(tab.page.crash(limit_s=4), 6)
    assert is_gone == tab.page.crashed == (state != "stopped")
    if state == "navigating":
        with pytest.raises(PageCrashed, match=r"the renderer of .* died"):
            await going
    if is_gone:
        with pytest.raises(PageCrashed):
            await tab.page.snapshot((), limit_s=3)
        assert await tab.page.crash(limit_s=1)
    assert await tab.page.close(limit_s=5)


@pytest.mark.parametrize("state", STATES)
async def test_kill_renderer_ends_the_page_alone(site: Site, tab: Tab, state: str) -> None:
    """Whatever the page does, its renderer is found and killed, and no other."""
    neighbour = Tab(await tab.page.context.new_page(limit_s=LIMIT_S))
    await neighbour.load(site.url("/near", "<title>near</title>"))
    home = await _home(tab.page) if state == "idle" else None
    going = await _in_state(tab, site, state)
    assert await asyncio.wait_for(tab.page.kill_renderer(limit_s=8), 12)
    assert tab.page.crashed
    assert home is None or not home.is_running() or home.status() == psutil.STATUS_ZOMBIE
    assert (await neighbour.page.snapshot((), limit_s=5)).title == "near"
    await asyncio.wait({going}, timeout=LIMIT_S)
    assert isinstance(going.exception(), PageCrashed if state == "navigating" else type(None))
    assert await tab.page.close(limit_s=5)
    stopped = [each for each in await tab.page.link.renderers.listed(limit_s=5) if each.status() == "stopped"]
    assert stopped == []


async def test_rungs_on_a_stopped_browser_end_with_their_limits(
    site: Site, tab: Tab, browser: PlaywrightBrowser
) -> None:
    """No rung hangs on a browser that does not answer."""
    await tab.load(site.url("/"))
    assert browser.facts.pid is not None
    process = psutil.Process(browser.facts.pid)
    process.suspend()
    rungs: list[Callable[..., Awaitable[bool]]] = [tab.page.stop_loading, tab.page.crash, tab.page.kill_renderer]
    try:
        for rung in rungs:
            assert not await asyncio.wait_for(rung(limit_s=0.5), 5)
    finally:
        process.send_signal(signal.SIGCONT)


async def test_crash_takes_its_popup_along_and_nothing_else(site: Site, tab: Tab) -> None:
    """A popup lives in its opener's renderer; a page of its own does not."""
    neighbour = Tab(await tab.page.context.new_page(limit_s=LIMIT_S))
    await neighbour.load(site.url("/near", "<title>near</title>"))
    await tab.load(site.url("/"))
    async with tab.page.raw.expect_popup() as opened:
        await tab.page.raw.evaluate("() => { window.open('/'); }")
    popup = await opened.value
    async with popup.expect_event("crash"):
        assert await tab.page.crash(limit_s=4)
    assert isinstance(tab.page.gone(), PageCrashed)
    assert (await neighbour.page.snapshot((), limit_s=5)).title == "near"
    assert await tab.page.close(limit_s=5)


class TestOneProcessPerSite:
    """The pages of a site share a renderer."""

    @pytest.fixture
    def config(self) -> BrowserConfig:
        """As in the `lean` profile."""
        return BrowserConfig(process_per_site=True)

    @pytest.mark.parametrize("rung", ["crash", "kill_renderer"])
    async def test_neighbour_in_the_same_renderer_is_not_to_blame(self, site: Site, tab: Tab, rung: str) -> None:
        """It dies with the page, and its visit is put back."""
        neighbour = Tab(await tab.page.context.new_page(limit_s=LIMIT_S))
        await tab.load(site.url("/"))
        site.url("/silent", _silent)
        loading = asyncio.ensure_future(neighbour.load(site.url("/slow", HALF), limit_s=30, load_limit_s=30))
        while not site.hits("/silent"):  # noqa: ASYNC110 - there is nothing else to wait for
            await asyncio.sleep(0.01)
        assert await getattr(tab.page, rung)(limit_s=8)
        with pytest.raises(ContextBroken, match="another page in it did not answer"):
            await loading
        assert isinstance(tab.page.gone(), PageCrashed)

    async def test_page_in_another_context_lives_on(self, site: Site, tab: Tab, browser: PlaywrightBrowser) -> None:
        """Contexts never share a renderer."""
        context = await browser.new_context(ContextOptions(), limit_s=LIMIT_S)
        other = Tab(await context.new_page(limit_s=LIMIT_S))
        await other.load(site.url("/"))
        await tab.load(site.url("/"))
        assert await tab.page.kill_renderer(limit_s=8)
        assert (await other.page.snapshot((), limit_s=5)).title == "home"


async def test_page_that_crashes_by_itself_after_another_was_killed_long_ago_is_to_blame(site: Site, tab: Tab) -> None:
    """Only a crash that follows a kill at once is laid to it."""
    await tab.load(site.url("/"))
    kills = tab.page.link.kills
    kills.aim(())
    kills._kills[0] = type(kills._kills[0])(kills._kills[0].at - 60, ())
    async with tab.page.raw.expect_event("crash"):
        await asyncio.wait({asyncio.ensure_future(tab.page.raw.goto("chrome://crash"))}, timeout=0.1)
    assert isinstance(tab.page.gone(), PageCrashed)
