"""The faults of the page's side, each in a real browser of its own and under a limit."""

import asyncio
import json
from collections.abc import Callable

import pytest
from playwright.async_api import Browser, Dialog, Page
from playwright.async_api import TimeoutError as PlaywrightTimeout

from browsercrawl.testing import DemoSite

_LIMIT_S = 10
_SHORT_MS = 1500


async def _wait_hung(page: Page) -> None:
    """Return when the page no longer answers."""
    async with asyncio.timeout(_LIMIT_S):
        while True:
            try:
                async with asyncio.timeout(_SHORT_MS / 1000):
                    await page.evaluate("1")
            except TimeoutError:
                return


class _Counted:
    """Counts events and lets a test wait for the n-th."""

    def __init__(self) -> None:
        self.count = 0
        self._changed = asyncio.Event()

    def __call__(self, _: object) -> None:
        self.count += 1
        self._changed.set()

    async def wait(self, least: int) -> None:
        async with asyncio.timeout(_LIMIT_S):
            while self.count < least:
                self._changed.clear()
                await self._changed.wait()


@pytest.mark.parametrize(
    ("name", "reached", "missing"),
    [("hang-inline", "commit", "domcontentloaded"), ("hang-load", "domcontentloaded", "load")],
)
async def test_hung_page_reaches_one_state_and_not_the_next(
    site: DemoSite, chromium: Browser, name: str, reached: str, missing: str
) -> None:
    """The page gets as far as it says, then its script lets nobody in."""
    page = await chromium.new_page()
    await page.goto(f"{site.url}/faults/{name}", wait_until=reached, timeout=5000)  # type: ignore[arg-type]  # a literal
    with pytest.raises(PlaywrightTimeout):
        await page.wait_for_load_state(missing, timeout=_SHORT_MS)  # type: ignore[arg-type]  # a literal
    await _wait_hung(page)


async def test_hang_later_loads_and_then_hangs(site: DemoSite, chromium: Browser) -> None:
    """The load event fires and the page answers; `ms` later it does not."""
    page = await chromium.new_page()
    await page.goto(f"{site.url}/faults/hang-later?ms=1000", timeout=5000)
    assert await page.title() == "fault: hang-later"
    await _wait_hung(page)


@pytest.mark.parametrize("name", ["hang-beforeunload", "hang-pagehide"])
async def test_hang_on_leaving_costs_the_next_navigation(site: DemoSite, chromium: Browser, name: str) -> None:
    """The page itself works; the next navigation of its tab does not come through."""
    page = await chromium.new_page()
    await page.goto(f"{site.url}/faults/{name}", timeout=5000)
    assert await page.title() == f"fault: {name}"
    with pytest.raises(PlaywrightTimeout):
        await page.goto(f"{site.url}/faults/page", timeout=_SHORT_MS)


async def test_crash_kills_the_renderer_and_no_other_page(site: DemoSite, chromium: Browser) -> None:
    """The crash event fires within seconds of load; a page beside it answers."""
    neighbour = await chromium.new_page()
    page = await chromium.new_page()
    crashed = _Counted()
    page.on("crash", crashed)
    await page.goto(f"{site.url}/faults/crash?ms=200", timeout=5000)
    await crashed.wait(1)
    assert await neighbour.evaluate("1 + 1") == 2


async def test_dialogs_never_end(site: DemoSite, chromium: Browser) -> None:
    """Each dismissed dialog is followed by another."""
    page = await chromium.new_page()
    dialogs = _Counted()

    async def dismiss(dialog: Dialog) -> None:
        dialogs(dialog)
        await dialog.dismiss()

    page.on("dialog", dismiss)
    await page.goto(f"{site.url}/faults/dialogs", wait_until="commit", timeout=5000)
    await dialogs.wait(5)


async def test_popups_open_as_many_pages_as_asked(site: DemoSite, chromium: Browser) -> None:
    """`n` pages open without anybody clicking."""
    context = await chromium.new_context()
    page = await context.new_page()
    popups = _Counted()
    context.on("page", popups)
    await page.goto(f"{site.url}/faults/popups?n=5", timeout=5000)
    await popups.wait(5)
    assert len(context.pages) == 6


async def test_popup_chain_opens_each_page_from_the_last(site: DemoSite, chromium: Browser) -> None:
    """`n` pages open, each by the one before it."""
    context = await chromium.new_context()
    popups = _Counted()
    context.on("page", popups)
    await (await context.new_page()).goto(f"{site.url}/faults/popup-chain?n=4", timeout=5000)
    await popups.wait(5)
    assert len(context.pages) == 5


async def test_prompts_go_on_whatever_the_answer(site: DemoSite, chromium: Browser) -> None:
    """After each answered question comes the other kind."""
    page = await chromium.new_page()
    kinds: list[str] = []
    dialogs = _Counted()

    async def accept(dialog: Dialog) -> None:
        kinds.append(dialog.type)
        dialogs(dialog)
        await dialog.accept()

    page.on("dialog", accept)
    await page.goto(f"{site.url}/faults/prompts", wait_until="commit", timeout=5000)
    await dialogs.wait(6)
    assert kinds[:6] == ["confirm", "prompt"] * 3


async def test_beforeunload_asks_who_leaves_after_a_touch(site: DemoSite, chromium: Browser) -> None:
    """Leaving the page by its button brings up the question; when it is refused the page stays."""
    page = await chromium.new_page()
    dialogs = _Counted()

    async def refuse(dialog: Dialog) -> None:
        await dialog.dismiss()
        dialogs(dialog)

    page.on("dialog", refuse)
    await page.goto(f"{site.url}/faults/beforeunload", timeout=5000)
    await page.click("#next", no_wait_after=True)
    await dialogs.wait(1)
    assert await page.title() == "fault: beforeunload"


async def test_hang_click_hangs_when_clicked(site: DemoSite, chromium: Browser) -> None:
    """The page works until its button is clicked."""
    page = await chromium.new_page()
    await page.goto(f"{site.url}/faults/hang-click", timeout=5000)
    assert await page.title() == "fault: hang-click"
    await page.evaluate("setTimeout(() => document.getElementById('hang').click())")
    await _wait_hung(page)


async def test_bomb_grows_and_stays_in_its_loop(site: DemoSite, chromium: Browser) -> None:
    """The page hangs after load, having allocated what was asked for."""
    page = await chromium.new_page()
    await page.goto(f"{site.url}/faults/bomb?mb=10", wait_until="commit", timeout=5000)
    await _wait_hung(page)


async def test_worker_hang_leaves_its_page_alone(site: DemoSite, chromium: Browser) -> None:
    """The worker never returns, the page answers."""
    page = await chromium.new_page()
    workers = _Counted()
    page.on("worker", workers)
    await page.goto(f"{site.url}/faults/worker-hang", timeout=5000)
    await workers.wait(1)
    assert await page.title() == "fault: worker-hang"


@pytest.mark.parametrize(
    ("name", "reached"),
    [
        ("client-redirect?n=3", "/faults/page"),
        ("client-redirect-later?ms=200", "/faults/page"),
        ("client-redirect-404", "/faults/status?is=404"),
        ("service-worker", "/faults/service-worker"),
    ],
)
async def test_client_redirect_arrives(site: DemoSite, chromium: Browser, name: str, reached: str) -> None:
    """A page that goes on by script comes to where it says; the service worker's to what the worker serves."""
    page = await chromium.new_page()
    arrived = _Counted()
    page.on("framenavigated", lambda frame: arrived(frame) if frame.url.endswith(reached) else None)
    await page.goto(f"{site.url}/faults/{name}", wait_until="commit", timeout=5000)
    await arrived.wait(2 if name == "service-worker" else 1)
    if name == "service-worker":
        assert "From the worker." in await page.content()


async def test_open_later_replaces_the_document(site: DemoSite, chromium: Browser) -> None:
    """What was there is gone, and the new document is never finished."""
    page = await chromium.new_page()
    await page.goto(f"{site.url}/faults/open-later", wait_until="commit", timeout=5000)
    await page.wait_for_function("document.title === 'written'", timeout=_LIMIT_S * 1000)
    assert await page.evaluate("document.readyState") == "loading"


@pytest.mark.parametrize("name", ["frame-silent", "frames-silent"])
async def test_silent_frame_withholds_load(site: DemoSite, chromium: Browser, name: str) -> None:
    """The DOM is ready, the load event does not come."""
    page = await chromium.new_page()
    await page.goto(f"{site.url}/faults/{name}", wait_until="domcontentloaded", timeout=5000)
    with pytest.raises(PlaywrightTimeout):
        await page.wait_for_load_state("load", timeout=_SHORT_MS)


@pytest.mark.parametrize("name", ["big", "hog"])
async def test_memory_page_holds_what_was_asked(site: DemoSite, chromium: Browser, name: str) -> None:
    """The renderer comes to hold `mb` megabytes, at once or step by step, and not more."""
    page = await chromium.new_page()
    await page.goto(f"{site.url}/faults/{name}?mb=40", timeout=5000)
    await page.wait_for_function("kept.length >= 40", timeout=_LIMIT_S * 1000)
    assert await page.evaluate("kept.reduce((sum, part) => sum + part.length, 0)") == 40_000_000


async def test_missing_image_withholds_load(site: DemoSite, chromium: Browser) -> None:
    """The DOM is ready, the load event does not come."""
    page = await chromium.new_page()
    await page.goto(f"{site.url}/faults/missing-image", wait_until="domcontentloaded", timeout=5000)
    with pytest.raises(PlaywrightTimeout):
        await page.wait_for_load_state("load", timeout=_SHORT_MS)
    assert await page.title() == "fault: missing-image"


@pytest.mark.parametrize(
    ("name", "event", "least"),
    [
        ("pushstate-storm", "framenavigated", 50),
        ("console-storm", "console", 500),
        ("refresh-loop", "domcontentloaded", 3),
        ("navigate-loop", "load", 3),
        ("history-loop", "framenavigated", 6),
        ("popup-storm", "popup", 5),
        ("download-click", "download", 3),
        ("socket-flood", "websocket", 1),
        ("fetch-flood", "requestfinished", 20),
        ("frame-refresh", "framenavigated", 4),
        ("workers?n=10", "worker", 10),
        ("client-redirect?n=5", "framenavigated", 3),
    ],
)
async def test_storm_goes_on_and_on(site: DemoSite, chromium: Browser, name: str, event: str, least: int) -> None:
    """A storm or loop goes on after the page has been reached."""
    page = await chromium.new_page()
    events = _Counted()
    on: Callable[[str, _Counted], None] = page.on  # type: ignore[assignment]  # overloaded by literal names
    on(event, events)
    await page.goto(f"{site.url}/faults/{name}", wait_until="commit", timeout=5000)
    await events.wait(least)
    # Closing would first take delivery of what the storm has sent meanwhile, and that grows.
    page.remove_listener(event, events)


async def test_residue_shows_what_other_pages_left(site: DemoSite, chromium: Browser) -> None:
    """A fresh page finds nothing, later ones what `leave-marks` wrote and what `pagehide-write` wrote on leaving."""
    page = await chromium.new_page()

    async def residue() -> dict[str, object]:
        await page.goto(f"{site.url}/faults/residue", timeout=5000)
        found: dict[str, object] = json.loads(await page.inner_text("#found"))
        return found

    first = await residue()
    assert {**first, "history": 0} == {"name": "", "session": {}, "local": {}, "cookies": "", "history": 0}
    await page.goto(f"{site.url}/faults/leave-marks", timeout=5000)
    marked = await residue()
    assert marked["name"] == "mark"
    assert (marked["session"], marked["local"], marked["cookies"]) == (
        {"mark": "session"},
        {"mark": "local"},
        "mark=cookie",
    )
    assert int(str(marked["history"])) >= int(str(first["history"])) + 4
    await page.goto(f"{site.url}/faults/pagehide-write", timeout=5000)
    left = await residue()
    assert left["session"] == {"mark": "pagehide"}
    # Chromium may have copied the name for the next document before the handler ran (feature RenderDocument).
    assert left["name"] in {"mark visit", "mark pagehide"}


async def test_latin_1_page_is_read_by_its_header(site: DemoSite, chromium: Browser) -> None:
    """The browser decodes the page as ISO 8859-1."""
    page = await chromium.new_page()
    await page.goto(f"{site.url}/faults/latin-1", timeout=5000)
    assert (await page.title(), await page.inner_text("p")) == ("café", "naïve façade")
