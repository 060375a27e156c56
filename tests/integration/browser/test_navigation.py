"""What loading an address comes to, for each way in which a server or a page can misbehave."""

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from browsercrawl.browser import PlaywrightBrowser
from browsercrawl.errors import (
    CallTimeout,
    DeadlineExceeded,
    DownloadRefused,
    HandlerFailed,
    NetworkFailed,
    PageClosed,
    SelectorMissing,
)
from browsercrawl.ports import Presence
from browsercrawl.request import WaitUntil
from browsercrawl.testing import DemoSite

if TYPE_CHECKING:
    from tests.integration.browser.conftest import Site, Tab


@pytest.mark.parametrize(
    ("path", "status", "content_type"),
    [
        ("status?is=404&empty=1", 404, None),
        ("status?is=404", 404, "text/html"),
        ("503", 503, "text/html"),
        ("204", 204, None),
        ("empty", 200, "text/html"),
        ("json", 200, "application/json"),
        ("text", 200, "text/plain"),
        ("image", 200, "image/png"),
        ("redirect?n=3", 200, "text/html"),
    ],
)
async def test_goto_any_answer_gives_its_status(
    tab: "Tab", demo: DemoSite, path: str, status: int, content_type: str | None
) -> None:
    """Whatever Playwright calls a failed navigation, an HTTP answer comes out with its status."""
    seen = await tab.load(f"{demo.url}/faults/{path}")
    assert (seen.status, seen.loaded) == (status, True)
    if content_type is not None:
        assert seen.content_type == content_type


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("reset", "ERR_CONNECTION_RESET"),
        ("empty-close", "ERR_EMPTY_RESPONSE"),
        ("redirect-loop", "ERR_TOO_MANY_REDIRECTS"),
    ],
)
async def test_goto_network_failure_keeps_chromiums_code(tab: "Tab", demo: DemoSite, path: str, code: str) -> None:
    """A connection that fails is named as Chromium names it, and credentials stay out of the message."""
    url = f"{demo.url}/faults/{path}".replace("://", "://me:planted@")
    with pytest.raises(NetworkFailed) as caught:
        await tab.load(url)
    assert caught.value.code == code
    assert "planted" not in caught.value.message
    assert "Call log" not in caught.value.message


async def test_goto_download_is_refused(tab: "Tab", demo: DemoSite) -> None:
    """A main document that becomes a file is no page."""
    with pytest.raises(DownloadRefused):
        await tab.load(demo.url + "/faults/download")


async def test_goto_401_with_challenge_gives_the_status(site: "Site", tab: "Tab") -> None:
    """A challenge that nobody can answer is a status, not a network failure."""
    challenge = {"WWW-Authenticate": 'Basic realm="x"'}
    url = site.url("/private", lambda exchange: exchange.respond("no", status=401, headers=challenge))
    assert (await tab.load(url)).status == 401


@pytest.mark.parametrize("path", ["silent-body", "truncated", "endless"])
async def test_goto_body_that_never_ends_goes_on_with_what_is_there(tab: "Tab", demo: DemoSite, path: str) -> None:
    """After commit a missing load event ends the wait at its limit, and the page can be looked at."""
    started = time.monotonic()
    seen = await tab.load(f"{demo.url}/faults/{path}", load_limit_s=0.8)
    assert (seen.status, seen.loaded) == (200, False)
    assert time.monotonic() - started < 2
    assert (await tab.page.snapshot({"text"}, limit_s=5)).title
    assert await tab.give_back() is None
    assert tab.page.raw.url == "about:blank"


async def test_goto_silent_server_ends_at_its_deadline(tab: "Tab", demo: DemoSite) -> None:
    """No document within the limit is a failure, in time, and the page is not used again."""
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await tab.load(demo.url + "/faults/silent", limit_s=0.7)
    assert time.monotonic() - started < 1.5
    assert await tab.give_back() == "its navigation was still pending"


async def test_goto_redirect_by_script_gives_the_last_document(site: "Site", tab: "Tab") -> None:
    """The status and address are those of the document that is there in the end."""
    site.url("/end", lambda exchange: exchange.respond("<title>end</title>", status=410))
    seen = await tab.load(site.url("/start", "<script>location.replace('/end')</script>"))
    assert (seen.final_url, seen.status) == (site.url("/end"), 410)
    assert (await tab.page.snapshot((), limit_s=2)).title == "end"


async def test_goto_fragment_of_the_same_document_really_loads(site: "Site", tab: "Tab") -> None:
    """An address that differs by its fragment only is asked for again."""
    await tab.visit(site.url("/app", "<title>app</title>"))
    seen = await tab.load(site.url("/app#two"))
    assert (seen.status, seen.final_url, site.hits("/app")) == (200, site.url("/app#two"), 2)


async def test_goto_old_page_that_keeps_moving_gives_the_new_address(site: "Site", tab: "Tab") -> None:
    """A page that navigates by itself all the time does not put its own document in the place of the next one."""
    await tab.visit(site.url("/mover", "<title>mover</title>"))
    await tab.page.raw.evaluate("() => { setInterval(() => { location.href = '/mover?' + Math.random() }, 20) }")
    seen = await tab.load(site.url("/wanted", "<title>wanted</title>"))
    assert seen.final_url == site.url("/wanted")
    assert (await tab.page.snapshot((), limit_s=2)).title == "wanted"


@pytest.mark.parametrize("wait_until", ["commit", "domcontentloaded", "networkidle"])
async def test_goto_other_waits_return(site: "Site", tab: "Tab", wait_until: WaitUntil) -> None:
    """Each way to wait ends."""
    await tab.page.begin()
    seen = await tab.page.goto(site.url("/"), wait_until=wait_until, load_limit_s=5, limit_s=6)
    assert (seen.status, seen.loaded) == (200, True)


async def test_goto_page_closed_meanwhile_says_so(tab: "Tab", demo: DemoSite) -> None:
    """User code that closes its page gets a failure of its own kind."""
    loading = asyncio.ensure_future(tab.load(demo.url + "/faults/silent"))
    await asyncio.wait({loading}, timeout=0.3)
    await tab.page.raw.close()
    with pytest.raises(PageClosed):
        await loading


async def test_snapshot_takes_what_is_asked_and_survives_hostile_names(site: "Site", tab: "Tab") -> None:
    """Clobbered properties and replaced built-ins do not change what is seen."""
    hostile = (
        "<title>T</title><body><img name='body'><img name='links'><form name='title'></form>"
        "<script>JSON.stringify = () => 'x'; Array.prototype.join = () => 'y'</script>"
        "<a href='/a?b=1'>one</a><a>none</a><a href='#x'>two</a>\ud83d\ude00</body>".encode(
            "utf-16", "surrogatepass"
        ).decode("utf-16")
    )
    await tab.load(site.url("/hostile", "<meta charset=utf-8>" + hostile))
    seen = await tab.page.snapshot({"html", "text", "links"}, limit_s=5)
    assert (seen.title, seen.links) == ("T", (site.url("/a?b=1"), site.url("/hostile#x")))
    assert seen.html is not None
    assert seen.html.startswith("<html>")
    assert seen.text is not None
    assert "one" in seen.text
    bare = await tab.page.snapshot((), limit_s=5)
    assert (bare.html, bare.text, bare.links) == (None, None, ())


@pytest.mark.parametrize(
    "breaking",
    [
        "delete Array.prototype[Symbol.iterator]",
        "Array.prototype[Symbol.iterator] = function* () {}",
        "Map = Set = function () { throw new Error('not here') }",
        "String.prototype.toWellFormed = () => ''",
        "String.prototype.toWellFormed = () => 5",
        "String.prototype.toWellFormed = () => 'anything'",
        "Object.getOwnPropertyDescriptor = () => undefined",
        "JSON.stringify = () => 'x'; Object.entries = () => 7; Document.prototype.querySelector = null",
    ],
)
async def test_looks_survive_a_page_that_breaks_the_language(site: "Site", tab: "Tab", breaking: str) -> None:
    """Snapshot, glance and storage tell the truth of a page whose scripts have replaced what scripts rely on."""
    page = f"<title>T</title><body>words <a href='/a'>one</a><script>localStorage.kept = 'yes'; {breaking}</script>"
    await tab.load(site.url("/broken", page))
    seen = await tab.page.snapshot({"html", "text", "links"}, limit_s=5)
    assert (seen.url, seen.title, seen.links) == (site.url("/broken"), "T", (site.url("/a"),))
    assert seen.html is not None
    assert "words <a" in seen.html
    assert seen.text == "words one"
    glance = await tab.page.glance(["a", "b"], limit_s=5)
    assert (glance.title, glance.found) == ("T", (Presence.PRESENT, Presence.ABSENT))
    stored = await tab.page.local_storage(limit_s=5)
    assert stored is not None
    assert stored.items == {"kept": "yes"}
    with pytest.raises(SelectorMissing, match="valid selector"):
        await tab.page.glance(["a["], limit_s=5)


async def test_snapshot_lone_surrogate_can_be_written(site: "Site", tab: "Tab") -> None:
    """What script can put into a page but UTF-8 cannot hold is replaced."""
    await tab.load(site.url("/odd", "<script>document.title = 'a\\ud800b'</script>"))
    assert (await tab.page.snapshot((), limit_s=5)).title == "a\ufffdb"


async def test_snapshot_hung_page_times_out_and_is_interrupted(site: "Site", tab: "Tab") -> None:
    """A script that runs for ever costs its limit; an interrupt gives the page back."""
    await tab.load(site.url("/", "<title>hung</title><script>setTimeout(() => { while (1); }, 100)</script>"))
    await asyncio.wait(
        {asyncio.ensure_future(tab.page.raw.evaluate("new Promise(r => setTimeout(r, 150))"))}, timeout=0.4
    )
    started = time.monotonic()
    with pytest.raises(CallTimeout):
        await tab.page.snapshot((), limit_s=0.5)
    assert time.monotonic() - started < 1
    assert await tab.page.interrupt(limit_s=2)
    assert (await tab.page.snapshot((), limit_s=2)).title == "hung"


async def test_interrupt_idle_page_harms_no_script(site: "Site", tab: "Tab") -> None:
    """An interrupt of a page that answers ends nothing."""
    await tab.load(site.url("/"))
    assert await tab.page.interrupt(limit_s=2)
    assert await tab.page.raw.evaluate("1 + 1") == 2


async def test_hrefs_are_absolute_and_malformed_selector_is_named(site: "Site", tab: "Tab") -> None:
    """Addresses come out whole; a selector that is none is the caller's mistake."""
    await tab.load(site.url("/list", "<a class=n href='/2'>2</a><a class=n>x</a><a href='/3'>3</a>"))
    assert await tab.page.hrefs(".n", limit_s=5) == (site.url("/2"),)
    with pytest.raises(SelectorMissing):
        await tab.page.hrefs("a[[", limit_s=5)


async def test_wait_for_absent_selector_fails_in_time(site: "Site", tab: "Tab") -> None:
    """Present means in the DOM; absence is a failure at the limit."""
    await tab.load(site.url("/hidden", "<p id=there hidden>"))
    await tab.page.wait_for("#there", limit_s=5)
    with pytest.raises(SelectorMissing):
        await tab.page.wait_for("#absent", limit_s=0.3)
    with pytest.raises(SelectorMissing):
        await tab.page.wait_for("a[[", limit_s=5)


async def test_listener_of_the_user_that_raises_is_his_failure(site: "Site", tab: "Tab") -> None:
    """Playwright raises the errors of listeners from the next call: they are the handler's, not ours."""

    def listener(_: object) -> None:
        raise KeyError("mine")

    await tab.load(site.url("/"))
    tab.page.raw.on("framenavigated", listener)
    await tab.page.raw.evaluate("() => { location.hash = 'x' }")
    with pytest.raises(HandlerFailed):
        await tab.page.snapshot((), limit_s=5)


async def test_screenshot_is_a_png(site: "Site", tab: "Tab") -> None:
    """A screenshot is a PNG file."""
    await tab.load(site.url("/"))
    assert (await tab.page.screenshot(full_page=True, limit_s=10)).startswith(b"\x89PNG")


async def test_close_hung_page_and_context_in_time(site: "Site", tab: "Tab", browser: PlaywrightBrowser) -> None:
    """Closing does not wait for script."""
    await tab.load(site.url("/h", "<script>setTimeout(() => { while (1); }, 50)</script>"))
    started = time.monotonic()
    await tab.page.close(limit_s=2)
    assert await tab.page.context.close(limit_s=3)
    assert time.monotonic() - started < 5
    assert browser.lost is None
