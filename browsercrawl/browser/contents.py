"""Looking at a page, using its forms, and making files of it; `PlaywrightPage` has these as its methods."""

import asyncio
import json
import re
import secrets
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from playwright.async_api import Error as PlaywrightError

from browsercrawl.browser.calls import summary
from browsercrawl.browser.printing import Oversized, capture_mhtml, print_pdf
from browsercrawl.browser.scripts import (
    GLANCE,
    HREFS,
    LOCAL_STORAGE,
    SNAPSHOT,
    SNAPSHOT_CHARACTERS_MAX,
    STORAGE_CHARACTERS_MAX,
)
from browsercrawl.errors import BrowsercrawlError, InternalError, SelectorMissing, TooLarge
from browsercrawl.ports import Glance, LocalStorage, Presence, Snapshot
from browsercrawl.request import Capture
from browsercrawl.urls import shown

if TYPE_CHECKING:
    from browsercrawl.browser.page import PlaywrightPage


_PAIR = 2

_PARTS = 3
"""At least what separates address, title, markup and text."""

_PRESENCES = frozenset(Presence)

_PASSING = re.compile("context was destroyed|Cannot find context with|Inspected target navigated|No frame ")
"""What an evaluation says that fails because the page is on its way to another document."""


def is_error_page(url: str) -> bool:
    """Tell whether a page shows Chromium's own error page, by its address."""
    return url.startswith("chrome-error:")


async def wait_for(page: "PlaywrightPage", selector: str, *, limit_s: float) -> None:
    """Return when the selector is present in the DOM; nothing appears on an error page, so that is not waited for."""
    # Not `wait_for_selector`: that leaves a handle behind.
    call = page.raw.locator(selector).first.wait_for(state="attached", timeout=1000 * (limit_s + 5))
    waiting = asyncio.ensure_future(call)
    straying = asyncio.create_task(page.strayed.wait())
    try:
        await asyncio.wait({waiting, straying}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        straying.cancel()
        if not waiting.done():
            page.link.calls.abandon(waiting)
    if not waiting.done():
        if (gone := page.gone()) is not None:
            raise gone
        await page.check_address(page.raw.url)
        raise SelectorMissing(f"wait_for {selector!r} did not appear within {limit_s:.3g} s")
    try:
        waiting.result()
    except PlaywrightError as error:
        malformed = SelectorMissing(f"wait_for {selector!r}: {summary(error)}")
        raise page.gone() or malformed from error
    except Exception as error:  # an error of the user's listener, which Playwright raises here
        raise page.translate(error, "wait_for") from error


async def snapshot(page: "PlaywrightPage", want: Collection[Capture], *, limit_s: float) -> Snapshot:
    """Take title, address and what is wanted, in one evaluation."""
    what = f"taking a snapshot of {shown(page.raw.url)}"
    separator = f"\0{secrets.token_hex(8)}\0"
    asked = [separator, "html" in want, "text" in want, "links" in want, SNAPSHOT_CHARACTERS_MAX]

    def fits(packed: str) -> bool:
        return packed.count(separator) >= _PARTS or packed.isdecimal()

    packed = await _told(page, SNAPSHOT, asked, fits=fits, what=what, limit_s=limit_s)
    url, *rest = packed.split(separator)
    if not rest:
        raise TooLarge(
            f"{what}: {int(url):,} characters are more than one call may carry "
            f"({SNAPSHOT_CHARACTERS_MAX:,}); capture less"
        )
    await page.check_address(url)
    page.state.characters = len(packed)
    title, html, text, *links = rest
    return Snapshot(
        url=url,
        title=title,
        html=html if "html" in want else None,
        text=text if "text" in want else None,
        links=tuple(links),
    )


async def hrefs(page: "PlaywrightPage", selector: str, *, limit_s: float) -> tuple[str, ...]:
    """Return the absolute `href` of each element that matches; those without one are left out."""
    what = f"looking for {selector!r}"
    found = page.raw.eval_on_selector_all(selector, HREFS)
    try:
        packed: str = await page.link.calls.run(found, limit_s=limit_s)
    except Exception as error:  # an error of the user's listener, too, which Playwright raises here
        translated = page.translate(error, what)
        if isinstance(translated, InternalError):
            raise SelectorMissing(f"{what}: {summary(error)}") from error
        raise translated from error
    return tuple(packed.split("\n")[:-1])


async def glance(page: "PlaywrightPage", selectors: Sequence[str], *, limit_s: float) -> Glance:
    """Tell where the page is, and which elements are there."""
    what = f"looking at {shown(page.raw.url)}"

    def fits(packed: str) -> bool:
        lines = packed.split("\n")
        return len(lines) == len(selectors) + 2 and _PRESENCES.issuperset(lines[2:])

    try:
        packed = await _told(page, GLANCE, list(selectors), fits=fits, what=what, limit_s=limit_s)
    except InternalError as error:
        if "not a valid selector" in error.message:
            raise SelectorMissing(error.message) from error
        raise
    url, title, *found = packed.split("\n")
    return Glance(url=url, title=title, found=tuple(map(Presence, found)))


async def fill(page: "PlaywrightPage", selector: str, *, text: str, limit_s: float) -> None:
    """Type a text into a field."""
    filling = page.raw.locator(selector).first.fill(text, timeout=1000 * (limit_s + 5))
    await _act(page, filling, f"filling in {selector!r}", limit_s)


async def submit(page: "PlaywrightPage", selector: str, *, click: bool, limit_s: float) -> None:
    """Click an element, or press Enter in it."""
    element = page.raw.locator(selector).first
    limit_ms = 1000 * (limit_s + 5)
    acting = (
        element.click(timeout=limit_ms, no_wait_after=True)
        if click
        else element.press("Enter", timeout=limit_ms, no_wait_after=True)
    )
    await _act(page, acting, f"submitting with {selector!r}", limit_s)


async def _act(page: "PlaywrightPage", acting: Coroutine[Any, Any, None], what: str, limit_s: float) -> None:
    """Do something to an element. What Playwright says of its failure holds what was typed: it is left out."""
    failure: BrowsercrawlError | None = None
    try:
        await page.link.calls.run(acting, limit_s=limit_s)
    except TimeoutError:
        failure = page.gone() or SelectorMissing(f"{what}: not there, or not to be used, after {limit_s:.3g} s")
    except Exception as error:  # noqa: BLE001 - a task boundary: whatever was raised is mapped
        failure = page.gone() or SelectorMissing(f"{what}: {type(error).__name__}")
    if failure is not None:
        raise failure


async def local_storage(page: "PlaywrightPage", *, limit_s: float) -> LocalStorage | None:
    """Return what the page's origin keeps in localStorage."""
    what = f"taking localStorage of {shown(page.raw.url)}"
    packed = await _told(page, LOCAL_STORAGE, [STORAGE_CHARACTERS_MAX], fits=_is_storage, what=what, limit_s=limit_s)
    if not packed:
        return None
    origin, items = json.loads(packed)
    return LocalStorage(origin=origin, items={str(name): str(value) for name, value in items})


async def screenshot(page: "PlaywrightPage", *, full_page: bool, limit_s: float) -> bytes:
    """Return a PNG of the page."""
    shooting = page.raw.screenshot(full_page=full_page, timeout=1000 * (limit_s + 5))
    try:
        return await page.link.calls.run(shooting, limit_s=limit_s)
    except Exception as error:  # a task boundary: whatever was raised is mapped
        raise page.translate(error, f"taking a screenshot of {shown(page.raw.url)}") from error


async def pdf(page: "PlaywrightPage", *, bytes_max: int, limit_s: float) -> bytes:
    """Return the page as it would be printed."""
    printing = print_pdf(page.session, calls=page.link.calls, bytes_max=bytes_max, limit_s=limit_s)
    return await _file(page, printing, "PDF")


async def mhtml(page: "PlaywrightPage", *, bytes_max: int, limit_s: float) -> bytes:
    """Return the page with its resources in one file."""
    calls = page.link.calls
    capturing = capture_mhtml(page.raw, page.session, calls=calls, bytes_max=bytes_max, limit_s=limit_s)
    return await _file(page, capturing, "MHTML")


async def _file(page: "PlaywrightPage", making: Coroutine[Any, Any, bytes], name: str) -> bytes:
    what = f"making the {name} of {shown(page.raw.url)}"
    try:
        return await making
    except Oversized as error:
        raise TooLarge(f"{what}: {error}; save it in another form") from error
    except Exception as error:  # a task boundary: whatever was raised is mapped
        raise page.translate(error, what) from error


def _is_storage(packed: str) -> bool:
    try:
        origin, items = json.loads(packed) if packed else ("", [])
        return isinstance(origin, str) and all(len(item) == _PAIR for item in items)
    except (ValueError, TypeError):
        return False


async def _told(
    page: "PlaywrightPage", script: str, asked: list[Any], *, fits: Callable[[str], bool], what: str, limit_s: float
) -> str:
    """Return what a script tells of a page, whatever the page has made of the language's own objects.

    Where they fail Playwright, or tell what cannot be, the script is run in a world of its own: that is another call.

    Args:
        page: where.
        script: a function of one argument, which gives a text.
        asked: its argument.
        fits: tells whether a text has its form.
        what: for messages.
        limit_s: for all of it.
    """
    deadline = time.monotonic() + limit_s
    in_own_world = False
    while True:
        try:
            left_s = deadline - time.monotonic()
            if in_own_world:
                return await _told_in_own_world(page, script, asked, limit_s=left_s)
            told = await page.link.calls.run(page.raw.evaluate(script, asked), limit_s=left_s)
            if isinstance(told, str) and fits(told):
                return told
            in_own_world = True
        except Exception as error:  # an error of the user's listener, too, which Playwright raises here
            translated = page.translate(error, what)
            # On its way to another document: what counts is where it arrives, if it does before the deadline.
            is_passing = _PASSING.search(str(error)) is not None
            if not isinstance(translated, InternalError) or (in_own_world and not is_passing):
                raise translated from error
            in_own_world = in_own_world or not is_passing


async def _told_in_own_world(page: "PlaywrightPage", script: str, asked: list[Any], *, limit_s: float) -> str:
    calls, deadline = page.link.calls, time.monotonic() + limit_s
    named = {"frameId": page.target, "worldName": "browsercrawl"}  # a page's main frame has its target's name
    world = await calls.run(page.session.send("Page.createIsolatedWorld", named), limit_s=limit_s)
    call = {
        "functionDeclaration": script,
        "executionContextId": world["executionContextId"],
        "arguments": [{"value": asked}],
        "returnByValue": True,
    }
    calling = page.session.send("Runtime.callFunctionOn", call)
    answer = await calls.run(calling, limit_s=deadline - time.monotonic())
    if (failure := answer.get("exceptionDetails")) is not None:
        raise PlaywrightError(str(failure.get("exception", {}).get("description", failure.get("text"))))
    return str(answer["result"].get("value", ""))
