"""The guarantees of `ports.py`, held by the real browser and by the fake one."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest

from browsercrawl.browser import launcher
from browsercrawl.config import BrowserConfig
from browsercrawl.errors import (
    BrowserCrashed,
    CallTimeout,
    ContextBroken,
    DeadlineExceeded,
    DownloadRefused,
    MemoryExceeded,
    MemoryShort,
    NetworkFailed,
    PageClosed,
    PageCrashed,
    SelectorMissing,
    TooLarge,
)
from browsercrawl.events import discard
from browsercrawl.ports import BrowserPort, Cleaning, ContextOptions, ContextPort, PagePort, Presence
from browsercrawl.testing.fake_browser import FakeBrowser, FakeContext
from browsercrawl.testing.fake_script import NEVER, FakePageScript
from browsercrawl.testing.server import Exchange, Server

STORES = {"Set-Cookie": "sid=1; Path=/"}
HUNG = "<title>hung</title><script>setTimeout(() => { while (1); }, 0)</script>"
FORM = (
    "<title>form</title><form method=get><input name=u id=u><input name=p id=p type=password>"
    "<button id=go type=submit>go</button></form>"
)
LARGE = "<title>large</title><script>window.hog = new Uint8Array(300e6).fill(1)</script>"
GOOD = "<title>good</title><p id=it>text</p><a href='/next'>next</a>"


class Case:
    """A browser and a site it can visit, real or fake alike."""

    def __init__(self, browser: BrowserPort, base: str) -> None:
        self.browser = browser
        self._base = base

    def url(self, name: str) -> str:
        """Return the address of one of the site's pages."""
        return self._base + name

    async def context(self) -> ContextPort:
        """Open a context."""
        return await self.browser.new_context(ContextOptions(), limit_s=10)

    async def page(self) -> PagePort:
        """Open a page in a context of its own, and begin a visit."""
        page = await (await self.context()).new_page(limit_s=10)
        await page.begin()
        return page


def _answer(exchange: Exchange) -> None:
    match exchange.path:
        case "/good":
            exchange.respond(GOOD, headers={"X-Mine": "yes"})
        case "/form":
            exchange.respond(FORM if not exchange.query else "<title>sent</title><p id=it>", headers=STORES)
        case "/login":
            sent = exchange.body.decode()
            is_right = "me" in sent and "pw" in sent
            exchange.respond(status=204 if is_right else 401, headers=STORES if is_right else {})
        case "/missing":
            exchange.respond("<title>missing</title>", status=404)
        case "/moved":
            exchange.respond(status=302, headers={"Location": "/good"})
        case "/hung":
            exchange.respond(HUNG)
        case "/large":
            exchange.respond(LARGE)
        case "/reset":
            exchange.reset()
        case "/file":
            exchange.respond(b"x", content_type="text/csv", headers={"Content-Disposition": "attachment"})
        case "/unloaded":
            exchange.respond("<title>unloaded</title><img src=/silent>")
        case _:
            exchange.pause(None)


def _script(url: str) -> FakePageScript:
    good = FakePageScript(
        title="good",
        html=GOOD,
        text="text",
        links=("http://site/next",),
        selectors={"#it": 0.0},
        headers={"x-mine": "yes"},
    )
    scripts = {
        "good": good,
        "form": FakePageScript(title="form", selectors={"#u": 0.0, "#p": 0.0, "#go": 0.0}),
        "form?me&pw": FakePageScript(title="sent", selectors={"#it": 0.0}),
        "login?me&pw": FakePageScript(status=204),
        "login?me&no": FakePageScript(status=401),
        "missing": FakePageScript(status=404, title="missing"),
        "moved": FakePageScript(title="good", final_url="http://site/good"),
        "hung": FakePageScript(title="hung", hang="interruptible"),
        "large": FakePageScript(title="large", grows_bytes=300_000_000),
        "reset": FakePageScript(network_error="ERR_CONNECTION_RESET"),
        "file": FakePageScript(download=True),
        "unloaded": FakePageScript(title="unloaded", load_s=NEVER),
        "silent": FakePageScript(commit_s=NEVER),
    }
    return scripts[url.rpartition("/")[2]]


@contextmanager
def _served() -> Iterator[str]:
    server = Server(_answer)
    yield f"http://127.0.0.1:{server.port}/"
    server.stop()


@pytest.fixture(params=["real", "fake"])
async def case(request: pytest.FixtureRequest) -> AsyncIterator[Case]:
    """The browser under test."""
    if request.param == "fake":
        fake = FakeBrowser(_script)
        yield Case(fake, "http://site/")
        await fake.close(limit_s=5)
        return
    with _served() as base:
        browser = await launcher(BrowserConfig(), discard)()
        yield Case(browser, base)
        await browser.close(limit_s=10)


async def test_goto_good_page_gives_what_was_loaded(case: Case) -> None:
    """Status, type, headers in lower case, address."""
    page = await case.page()
    seen = await page.goto(case.url("good"), wait_until="load", load_limit_s=5, limit_s=8)
    assert (seen.status, seen.content_type, seen.loaded) == (200, "text/html", True)
    assert seen.headers["x-mine"] == "yes"
    assert seen.final_url == case.url("good")


async def test_goto_redirect_and_http_error_are_results(case: Case) -> None:
    """Neither is an exception."""
    page = await case.page()
    assert (await page.goto(case.url("missing"), wait_until="load", load_limit_s=5, limit_s=8)).status == 404
    seen = await page.goto(case.url("moved"), wait_until="load", load_limit_s=5, limit_s=8)
    assert (seen.status, seen.final_url) == (200, case.url("good"))


async def test_unreached_is_where_nothing_answered(case: Case) -> None:
    """The address of a navigation without an answer; none once a document is there."""
    page = await case.page()
    with pytest.raises(NetworkFailed):
        await page.goto(case.url("reset"), wait_until="load", load_limit_s=5, limit_s=8)
    assert await page.unreached(limit_s=5) == case.url("reset")
    page = await case.page()
    await page.goto(case.url("moved"), wait_until="load", load_limit_s=5, limit_s=8)
    assert await page.unreached(limit_s=5) is None


@pytest.mark.parametrize(
    ("name", "error"), [("reset", NetworkFailed), ("file", DownloadRefused), ("silent", DeadlineExceeded)]
)
async def test_goto_without_document_raises_and_spoils_the_page(case: Case, name: str, error: type[Exception]) -> None:
    """A typed error, and the page does not return to stock."""
    page = await case.page()
    with pytest.raises(error):
        await page.goto(case.url(name), wait_until="load", load_limit_s=0.3, limit_s=0.6)
    assert await page.recondition(Cleaning.FULL, growth_bytes_max=10**8, limit_s=5) is not None


async def test_goto_missing_load_goes_on(case: Case) -> None:
    """After commit a missing load event is no failure."""
    page = await case.page()
    seen = await page.goto(case.url("unloaded"), wait_until="load", load_limit_s=0.5, limit_s=5)
    assert (seen.status, seen.loaded) == (200, False)


async def test_snapshot_gives_what_is_asked(case: Case) -> None:
    """What is not asked for is None, links empty."""
    page = await case.page()
    await page.goto(case.url("good"), wait_until="load", load_limit_s=5, limit_s=8)
    full = await page.snapshot({"html", "text", "links"}, limit_s=5)
    assert full.title == "good"
    assert (full.text or "").startswith("text")
    assert [link.rpartition("/")[2] for link in full.links] == ["next"]
    bare = await page.snapshot((), limit_s=5)
    assert (bare.title, bare.html, bare.text, bare.links) == ("good", None, None, ())


async def test_wait_for_present_returns_and_absent_raises(case: Case) -> None:
    """Presence in the DOM, within the limit."""
    page = await case.page()
    await page.goto(case.url("good"), wait_until="load", load_limit_s=5, limit_s=8)
    await page.wait_for("#it", limit_s=5)
    with pytest.raises(SelectorMissing):
        await page.wait_for("#other", limit_s=0.2)


async def test_hung_page_times_out_is_interrupted_and_answers(case: Case) -> None:
    """Calls into a hung page end at their limit; an interrupt frees it."""
    page = await case.page()
    await page.goto(case.url("hung"), wait_until="commit", load_limit_s=0.3, limit_s=5)
    with pytest.raises(CallTimeout):
        await asyncio.wait_for(_until_hung(page), 5)
    assert await page.interrupt(limit_s=3)
    assert (await page.snapshot((), limit_s=3)).title == "hung"


async def _until_hung(page: PagePort) -> None:
    while True:
        await page.snapshot((), limit_s=0.3)


async def test_page_reconditioned_serves_the_next_visit(case: Case) -> None:
    """A good visit leaves a good page, for both ways of cleaning."""
    page = await (await case.context()).new_page(limit_s=10)
    for cleaning in (Cleaning.FULL, Cleaning.NONE, Cleaning.FULL):
        await page.begin()
        await page.goto(case.url("good"), wait_until="load", load_limit_s=5, limit_s=8)
        assert await page.recondition(cleaning, growth_bytes_max=10**8, limit_s=5) is None


async def test_page_saved_whole_stays_fit(case: Case) -> None:
    """PDF and MHTML are what they are called; making them costs the page nothing, whichever way it is cleaned."""
    page = await (await case.context()).new_page(limit_s=10)
    for cleaning in (Cleaning.FULL, Cleaning.NONE):
        await page.begin()
        await page.goto(case.url("good"), wait_until="load", load_limit_s=5, limit_s=8)
        assert (await page.pdf(bytes_max=10**6, limit_s=8)).startswith(b"%PDF-")
        mail = await page.mhtml(bytes_max=10**6, limit_s=8)
        assert b"MIME-Version: 1.0" in mail
        assert b"multipart/related" in mail
        assert b"text</p>" in mail
        assert not page.lasting
        assert await page.recondition(cleaning, growth_bytes_max=10**8, limit_s=5) is None


@pytest.mark.parametrize("kind", ["pdf", "mhtml"])
async def test_page_file_beyond_its_bound_is_an_error_of_this_page_alone(case: Case, kind: str) -> None:
    """A file with more bytes than allowed raises; the page still answers."""
    page = await case.page()
    await page.goto(case.url("good"), wait_until="load", load_limit_s=5, limit_s=8)
    with pytest.raises(TooLarge, match="more than"):
        await getattr(page, kind)(bytes_max=8, limit_s=8)
    assert (await page.snapshot((), limit_s=5)).title == "good"


@pytest.mark.parametrize("kind", ["pdf", "mhtml"])
async def test_page_file_of_a_hung_page_ends_with_its_limit(case: Case, kind: str) -> None:
    """A page whose script runs for ever gives no file, and takes no longer than its limit."""
    page = await case.page()
    await page.goto(case.url("hung"), wait_until="commit", load_limit_s=0.3, limit_s=5)
    with pytest.raises(CallTimeout):
        await asyncio.wait_for(_until_hung(page), 5)
    with pytest.raises(CallTimeout):
        await asyncio.wait_for(getattr(page, kind)(bytes_max=10**6, limit_s=0.3), 3)


async def test_page_closed_says_so(case: Case) -> None:
    """A closed page is closed, again and again, and calls into it fail as such."""
    page = await case.page()
    assert await page.close(limit_s=5)
    assert page.closed
    assert await page.close(limit_s=5)
    with pytest.raises(PageClosed):
        await page.goto(case.url("good"), wait_until="load", load_limit_s=1, limit_s=1)
    assert await page.recondition(Cleaning.FULL, growth_bytes_max=10**8, limit_s=5) is not None
    assert not await page.interrupt(limit_s=1)


async def test_context_closed_takes_its_pages(case: Case) -> None:
    """The pages go with their context, and it opens no more."""
    context = await case.context()
    page = await context.new_page(limit_s=10)
    await page.begin()
    assert await context.close(limit_s=5)
    assert context.closed
    assert page.closed
    assert await context.close(limit_s=5)
    with pytest.raises(ContextBroken):
        await context.new_page(limit_s=5)
    with pytest.raises((ContextBroken, PageClosed)):
        await page.goto(case.url("good"), wait_until="load", load_limit_s=1, limit_s=1)


async def test_browser_closed_is_lost_with_a_reason(case: Case) -> None:
    """Whoever waits for the loss is told, before and after; nothing can be opened."""
    page = await case.page()
    waiting = asyncio.ensure_future(case.browser.wait_lost())
    assert await case.browser.close(limit_s=10)
    assert await asyncio.wait_for(waiting, 5)
    assert case.browser.lost == await case.browser.wait_lost()
    with pytest.raises(BrowserCrashed):
        await case.context()
    with pytest.raises(BrowserCrashed):
        await page.goto(case.url("good"), wait_until="load", load_limit_s=1, limit_s=1)
    await case.browser.kill()


async def test_browser_killed_ends_calls_in_flight(case: Case) -> None:
    """A call that waits when the browser is killed fails at once, as the browser's fault."""
    page = await case.page()
    loading = asyncio.ensure_future(page.goto(case.url("silent"), wait_until="load", load_limit_s=20, limit_s=30))
    await asyncio.wait({loading}, timeout=0.2)
    await case.browser.kill()
    with pytest.raises(BrowserCrashed):
        await asyncio.wait_for(loading, 5)
    assert case.browser.lost


async def _load(page: PagePort, url: str) -> None:
    await page.goto(url, wait_until="commit", load_limit_s=5, limit_s=8)


async def test_page_glance_tells_place_and_elements(case: Case) -> None:
    """One look gives address, title and which elements are there, in the order asked for."""
    page = await case.page()
    await _load(page, case.url("good"))
    glance = await page.glance(["#it", "#other"], limit_s=5)
    assert (glance.url, glance.title, glance.found) == (
        case.url("good"), "good", (Presence.PRESENT, Presence.ABSENT),
    )  # fmt: skip


@pytest.mark.parametrize("click", [True, False])
async def test_page_form_is_filled_in_and_sent(case: Case, click: bool) -> None:
    """What was typed arrives, whether a button is clicked or Enter is pressed in a field."""
    page = await case.page()
    await _load(page, case.url("form"))
    await page.fill("#u", "me", limit_s=5)
    await page.fill("#p", "pw", limit_s=5)
    await page.submit("#go" if click else "#p", click=click, limit_s=5)
    await page.wait_for("#it", limit_s=5)
    assert (await page.glance([], limit_s=5)).title == "sent"


async def test_page_fill_without_field_says_nothing_of_the_text(case: Case) -> None:
    """A field that never appears is `SelectorMissing`, within the limit; what was to be typed is in no error of it."""
    page = await case.page()
    await _load(page, case.url("form"))
    with pytest.raises(SelectorMissing) as raised:
        await page.fill("#none", "hunter2", limit_s=0.3)
    error: BaseException | None = raised.value
    while error is not None:
        assert "hunter2" not in str(error)
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize(("password", "status"), [("pw", 204), ("no", 401)])
async def test_context_post_gives_the_status(case: Case, password: str, status: int) -> None:
    """A form, and JSON, reach the server from the context itself; the status comes back, whatever it is."""
    context = await case.context()
    values = {"u": "me", "p": password}
    assert await context.post(case.url("login"), form=values, json=None, limit_s=5) == status
    assert await context.post(case.url("login"), form=None, json=values, limit_s=5) == status


async def test_page_local_storage_of_an_origin_without_is_empty(case: Case) -> None:
    """An origin that keeps nothing has an empty localStorage."""
    page = await case.page()
    await _load(page, case.url("good"))
    local = await page.local_storage(limit_s=5)
    assert local is not None
    assert (case.url("good").startswith(local.origin), local.items) == (True, {})


async def test_page_calls_into_a_hung_page_end_in_time(case: Case) -> None:
    """A script that never ends costs a look, a form and a storage no more than their limits."""
    page = await case.page()
    await page.goto(case.url("hung"), wait_until="load", load_limit_s=5, limit_s=8)
    with pytest.raises(CallTimeout):
        await page.glance(["#it"], limit_s=0.3)
    with pytest.raises(CallTimeout):
        await page.local_storage(limit_s=0.3)
    with pytest.raises(SelectorMissing):
        await page.fill("#it", "text", limit_s=0.3)


async def test_context_forgets_a_cookie_by_its_name(case: Case) -> None:
    """A cookie that was forgotten is not there any more; forgetting what is not there is no mistake."""
    page = await case.page()
    await _load(page, case.url("form"))
    if isinstance(page.context, FakeContext):
        page.context.jar["sid"] = {"name": "sid", "value": "1"}
    assert "sid" in {cookie["name"] for cookie in await page.context.cookies(limit_s=5)}
    await page.context.forget_cookie("sid", limit_s=5)
    await page.context.forget_cookie("none", limit_s=5)
    assert "sid" not in {cookie["name"] for cookie in await page.context.cookies(limit_s=5)}


async def test_page_stop_loading_leaves_what_is_there(case: Case) -> None:
    """What is still loading is given up; the page answers."""
    page = await case.page()
    await page.goto(case.url("unloaded"), wait_until="load", load_limit_s=0.3, limit_s=5)
    assert await page.stop_loading(limit_s=3)
    assert (await page.snapshot((), limit_s=3)).title == "unloaded"


@pytest.mark.parametrize("name", ["good", "hung"])
@pytest.mark.parametrize("rung", ["crash", "kill_renderer"])
async def test_page_renderer_ended_by_force_says_so(case: Case, rung: str, name: str) -> None:
    """Whether its script runs or not, a page whose renderer was ended is crashed, is told so, and closes."""
    page = await case.page()
    await page.goto(case.url(name), wait_until="commit", load_limit_s=0.3, limit_s=5)
    if name == "hung":
        with pytest.raises(CallTimeout):
            await asyncio.wait_for(_until_hung(page), 5)
    assert await getattr(page, rung)(limit_s=8)
    assert page.crashed
    with pytest.raises(PageCrashed):
        await page.snapshot((), limit_s=3)
    assert await page.recondition(Cleaning.FULL, growth_bytes_max=10**8, limit_s=5) is not None
    assert await page.close(limit_s=5)


async def test_page_closed_obeys_no_more(case: Case) -> None:
    """A closed page stops nothing and does not raise, whatever is done to it."""
    page = await case.page()
    assert await page.close(limit_s=5)
    assert not await page.stop_loading(limit_s=1)
    await page.crash(limit_s=1)
    await page.kill_renderer(limit_s=1)
    assert not page.crashed


async def test_audit_counts_what_is_open(case: Case) -> None:
    """Contexts, pages and renderers are those that are open, and nothing is found wrong with them."""
    context = await case.context()
    page = await context.new_page(limit_s=10)
    await context.new_page(limit_s=10)
    other = await case.page()
    seen = await case.browser.audit(page_bytes_max=10**10, limit_s=10)
    assert (seen.contexts, seen.pages, seen.orphans, seen.strays, seen.killed) == (2, 3, 0, 0, 0)
    assert len(seen.renderers) >= 2
    assert min(seen.renderers) >= 0
    assert await page.close(limit_s=5)
    assert await other.context.close(limit_s=5)
    seen = await case.browser.audit(page_bytes_max=10**10, limit_s=10)
    assert (seen.contexts, seen.pages, seen.orphans) == (1, 1, 0)


async def test_audit_ends_the_page_that_holds_too_much(case: Case) -> None:
    """The renderer that holds more than a page may is killed; its page says why, another one lives on."""
    page, other = await case.page(), await case.page()
    await page.goto(case.url("large"), wait_until="load", load_limit_s=8, limit_s=8)
    await other.goto(case.url("good"), wait_until="load", load_limit_s=8, limit_s=8)
    seen = await case.browser.audit(page_bytes_max=200_000_000, limit_s=10)
    assert seen.killed == 1
    assert max(seen.renderers) > 200_000_000
    with pytest.raises(MemoryExceeded):
        await page.snapshot((), limit_s=5)
    assert (await other.snapshot((), limit_s=5)).title == "good"


async def test_kill_heaviest_ends_the_largest_page_with_the_error_given(case: Case) -> None:
    """The largest renderer is killed at once, and its page ends with what was said; another one lives on."""
    page, other = await case.page(), await case.page()
    await page.goto(case.url("large"), wait_until="load", load_limit_s=8, limit_s=8)
    await other.goto(case.url("good"), wait_until="load", load_limit_s=8, limit_s=8)
    assert case.browser.kill_heaviest(lambda: MemoryShort("it goes for the others"))
    with pytest.raises(MemoryShort, match="for the others"):
        await page.snapshot((), limit_s=5)
    assert (await other.snapshot((), limit_s=5)).title == "good"


async def test_audit_of_a_browser_that_is_gone_says_so(case: Case) -> None:
    """It is no audit without a browser."""
    await case.browser.kill()
    with pytest.raises(BrowserCrashed):
        await case.browser.audit(page_bytes_max=10**9, limit_s=1)
