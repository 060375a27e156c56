"""The reuse rule, item by item, in a real browser: what a visit leaves, and what it costs the next one."""

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from browsercrawl.browser import PlaywrightBrowser
from browsercrawl.errors import NetworkFailed
from browsercrawl.ports import Cleaning, ContextOptions
from browsercrawl.testing import DemoSite

if TYPE_CHECKING:
    from tests.integration.browser.conftest import Site, Tab

FILLED = (
    "<title>filled</title><script>window.name='mine';"
    "sessionStorage.setItem('a','1');localStorage.setItem('b','2')</script>"
)
TRACES = "JSON.stringify([window.name, sessionStorage.length, history.length])"


async def test_recondition_page_that_filled_tab_storage_leaves_nothing_of_the_tab(site: "Site", tab: "Tab") -> None:
    """window.name, sessionStorage and history are as in a new page; localStorage belongs to the session."""
    await tab.visit(site.url("/a", FILLED))
    assert await tab.visit(site.url("/"), TRACES) in {'["",0,1]', '["",0,2]'}
    assert await tab.visit(site.url("/"), "localStorage.getItem('b')") == "2"


async def test_recondition_page_that_writes_storage_while_leaving_leaves_nothing(site: "Site", tab: "Tab") -> None:
    """What a pagehide handler writes after the page was given back does not reach the next visit."""
    leaving = (
        "<script>addEventListener('pagehide',()=>{sessionStorage.setItem('late','1');window.name='late'})</script>"
    )
    await tab.visit(site.url("/leaving", leaving))
    assert await tab.visit(site.url("/"), TRACES) in {'["",0,1]', '["",0,2]'}


async def test_recondition_after_other_site_clears_first_document(site: "Site", tab: "Tab") -> None:
    """The token outlives a change of site: the first document of another origin starts clean, too."""
    await tab.visit(site.url("/a", FILLED))
    await tab.visit(site.url("/", host="localhost"))
    assert await tab.visit(site.url("/"), TRACES) in {'["",0,1]', '["",0,2]'}


async def test_recondition_page_that_navigates_by_itself_afterwards_is_marked_again(site: "Site", tab: "Tab") -> None:
    """A document that comes after the mark was set uses it up; the next visit is clean nevertheless."""
    site.url("/later", FILLED)
    await tab.load(site.url("/mover", "<script>go = () => location.href = '/later'</script>"))
    assert await tab.give_back() is None
    async with tab.page.raw.expect_navigation(wait_until="load"):
        await tab.page.raw.evaluate("setTimeout(go)")
    assert await tab.visit(site.url("/"), TRACES) in {'["",0,1]', '["",0,2]'}


async def test_recondition_keep_tab_storage_keeps_session_storage(site: "Site", browser: PlaywrightBrowser) -> None:
    """`keep_tab_storage` leaves sessionStorage and window.name to the next visit."""
    context = await browser.new_context(ContextOptions(keep_tab_storage=True), limit_s=5)
    page = await context.new_page(limit_s=5)
    for url in (site.url("/a", FILLED), site.url("/")):
        await page.begin()
        await page.goto(url, wait_until="load", load_limit_s=5, limit_s=5)
        assert await page.recondition(Cleaning.FULL, growth_bytes_max=10**9, limit_s=5) is None
    assert await page.raw.evaluate(TRACES) == '["mine",1,1]'


async def test_recondition_cleaning_none_keeps_the_page_as_it_is(site: "Site", tab: "Tab") -> None:
    """`lean` does nothing to the tab."""
    await tab.load(site.url("/a", FILLED))
    assert await tab.give_back(Cleaning.NONE) is None
    await tab.load(site.url("/"))
    assert await tab.page.raw.evaluate(TRACES) in {'["mine",1,1]', '["mine",1,2]', '["mine",1,3]'}


@pytest.mark.parametrize("event", ["beforeunload", "pagehide", "unload", "visibilitychange"])
async def test_recondition_page_that_hangs_on_leaving_costs_the_next_visit_nothing(
    site: "Site", tab: "Tab", event: str
) -> None:
    """A handler that never returns is found on the way back: the page does not return to stock, or is parked."""
    target = "document" if event == "visibilitychange" else "window"
    await tab.load(site.url("/stuck", f"<script>{target}.addEventListener('{event}',()=>{{while(1);}})</script>"))
    reason = await tab.give_back()
    if event in {"pagehide", "visibilitychange", "beforeunload"}:
        assert reason == "it did not park on about:blank"
    assert await tab.page.close(limit_s=5)


@pytest.mark.parametrize("event", ["beforeunload", "pagehide"])
async def test_goto_old_document_hangs_after_the_check_succeeds_within_seconds(
    site: "Site", tab: "Tab", event: str
) -> None:
    """A handler added behind the check's back costs the next visit one interrupt, not the visit."""
    await tab.visit(site.url("/"))
    await tab.page.raw.evaluate(f"() => addEventListener('{event}', () => {{ while (1); }})")
    started = time.monotonic()
    seen = await tab.load(site.url("/next", "<title>next</title>"))
    assert (seen.status, seen.loaded) == (200, True)
    assert time.monotonic() - started < 4


async def test_recondition_inline_handler_on_body_is_seen(site: "Site", tab: "Tab") -> None:
    """Handlers given as attributes count like those added by script."""
    await tab.load(site.url("/inline", "<body onpagehide='while(1);'>"))
    assert await tab.give_back() == "it did not park on about:blank"


async def test_recondition_page_with_frames_is_parked(site: "Site", tab: "Tab") -> None:
    """Handlers inside frames cannot be seen: a page with frames leaves for about:blank."""
    site.url("/inner", "inner")
    await tab.visit(site.url("/outer", "<iframe src='/inner'></iframe>"))
    assert tab.page.raw.url == "about:blank"
    assert await tab.visit(site.url("/"), TRACES) in {'["",0,1]', '["",0,2]'}


async def test_recondition_plain_page_is_not_parked(site: "Site", tab: "Tab") -> None:
    """Parking costs a fifth of a visit: a page that can do no harm is spared it."""
    await tab.visit(site.url("/"))
    assert tab.page.raw.url == site.url("/")


async def test_recondition_hung_page_is_not_kept(site: "Site", tab: "Tab") -> None:
    """A page whose script runs for ever is given up within the limit."""
    await tab.load(site.url("/hung", "<script>setTimeout(() => { while (1); }, 50)</script>"))
    await asyncio.wait({asyncio.ensure_future(tab.page.raw.evaluate("new Promise(() => 0)"))}, timeout=0.3)
    started = time.monotonic()
    assert await tab.give_back() == "it did not answer in time"
    assert time.monotonic() - started < 3
    assert await tab.page.close(limit_s=5)


async def test_recondition_after_network_error_refuses_the_page(tab: "Tab", demo: DemoSite) -> None:
    """Chromium's error page would interrupt the next navigation: the page is not used again."""
    with pytest.raises(NetworkFailed) as caught:
        await tab.load(demo.url + "/faults/reset")
    assert caught.value.code == "ERR_CONNECTION_RESET"
    assert await tab.give_back() == "its navigation failed: ERR_CONNECTION_RESET"


async def test_recondition_http_error_with_body_keeps_the_page(site: "Site", tab: "Tab") -> None:
    """An HTTP status is no fault of the page."""
    seen = await tab.load(site.url("/none"))
    assert seen.status == 404
    assert await tab.give_back() is None


async def test_recondition_without_document_refuses_the_page(tab: "Tab") -> None:
    """A visit whose document never committed proves nothing about the page."""
    await tab.page.begin()
    assert await tab.give_back() == "no document committed"


async def test_recondition_closed_page_refuses_it(site: "Site", tab: "Tab") -> None:
    """A page closed by user code is gone."""
    await tab.load(site.url("/"))
    await tab.page.raw.close()
    assert await tab.give_back() == "it was closed"


async def test_recondition_crashed_page_refuses_it(site: "Site", tab: "Tab") -> None:
    """A page whose renderer died is gone."""
    await tab.load(site.url("/"))
    async with tab.page.raw.expect_event("crash"):
        await asyncio.wait({asyncio.ensure_future(tab.page.raw.goto("chrome://crash"))}, timeout=0.1)
    assert tab.page.crashed
    assert await tab.give_back() == "its renderer crashed"


async def test_recondition_lasting_call_refuses_the_page_by_name(site: "Site", tab: "Tab") -> None:
    """What user code did for good is named."""
    await tab.load(site.url("/"))
    await tab.page.raw.add_init_script("window.mine = 1")
    await tab.page.raw.keyboard.down("Shift")
    assert await tab.give_back() == "user code called Keyboard.down, Page.add_init_script"


async def test_recondition_closes_popups_and_counts_them(site: "Site", tab: "Tab") -> None:
    """Popups end with the visit that opened them."""
    await tab.load(site.url("/"))
    async with tab.page.raw.expect_popup() as opened:
        await tab.page.raw.evaluate("() => { window.open('/'); }")
    popup = await opened.value
    await tab.settle()
    assert (tab.page.popups, popup.is_closed()) == (1, False)
    assert await tab.give_back() is None
    assert popup.is_closed()


async def test_recondition_closes_pages_the_user_opened(site: "Site", tab: "Tab") -> None:
    """A page that user code opens in the context is an extra one: counted, and closed with the visit."""
    await tab.load(site.url("/"))
    extra = await tab.page.raw.context.new_page()
    await tab.settle()
    assert tab.page.popups == 1
    assert await tab.give_back() is None
    assert extra.is_closed()
    assert not tab.page.closed


async def test_recondition_popup_storm_leaves_one_page(site: "Site", tab: "Tab") -> None:
    """Forty popups are closed as they come; the page goes on."""
    storm = "<script>for (let i = 0; i < 40; i++) window.open('/')</script>"
    await tab.load(site.url("/storm", storm))
    await tab.give_back()
    await tab.settle()
    assert 1 <= tab.page.popups <= 40
    assert len(tab.page.raw.context.pages) == 1


async def test_dialog_loop_ends(site: "Site", tab: "Tab") -> None:
    """Endless alerts are dismissed, counted, and the script that makes them is ended."""
    seen = await tab.load(site.url("/loop", "<title>loop</title><script>for (;;) alert(1)</script>"))
    assert (seen.status, seen.loaded) == (200, True)
    assert tab.page.dialogs >= 20
    assert (await tab.page.snapshot((), limit_s=2)).title == "loop"


async def test_dialog_of_a_user_who_listens_is_left_to_him(site: "Site", tab: "Tab") -> None:
    """Once user code listens for dialogs it gives the answer."""
    await tab.load(site.url("/"))
    tab.page.raw.on("dialog", lambda dialog: dialog.accept("yes"))
    assert await tab.page.raw.evaluate("prompt('?')") == "yes"
    assert tab.page.dialogs == 1


async def test_recondition_grown_renderer_refuses_the_page(site: "Site", tab: "Tab") -> None:
    """Memory outside of the JavaScript heap counts as well."""
    await tab.load(site.url("/"))
    await tab.page.raw.evaluate("() => { window.hog = new Uint8Array(60e6).fill(1) }")
    reason = await tab.give_back(growth_bytes_max=30_000_000)
    assert reason is not None
    assert reason.startswith("its renderer has grown to")


async def test_recondition_small_neighbour_of_a_grown_renderer_is_kept(site: "Site", tab: "Tab") -> None:
    """Only the page in the large renderer pays for it."""
    neighbour = type(tab)(await tab.page.context.new_page(limit_s=5))
    await neighbour.load(site.url("/"))
    await tab.load(site.url("/"))
    work = (
        "() => { window.hog = new Uint8Array(60e6).fill(1); const end = Date.now() + 300; while (Date.now() < end); }"
    )
    await tab.page.raw.evaluate(work)
    assert await neighbour.give_back(growth_bytes_max=30_000_000) is None
    assert await tab.give_back(growth_bytes_max=30_000_000) is not None


async def test_reuse_many_visits_leaves_no_handles_or_calls(site: "Site", tab: "Tab") -> None:
    """Thirty visits later nothing has piled up."""
    for _ in range(30):
        await tab.visit(site.url("/a", FILLED))
    assert tab.page.link.calls._abandoned == set()
    assert await tab.visit(site.url("/"), TRACES) in {'["",0,1]', '["",0,2]'}
