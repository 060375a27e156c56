"""A page: navigation, looking at it, and its end. The reuse rule is in `reuse`."""

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from playwright.async_api import CDPSession, Frame, Page, Response
from playwright.async_api import Error as PlaywrightError

from browsercrawl.browser import contents, force, reuse
from browsercrawl.browser.calls import Link, is_crash, net_error, summary, translate
from browsercrawl.browser.downloads import Downloads
from browsercrawl.browser.responses import (
    count_document,
    last_answer,
    last_response,
    navigation_of,
    unanswered,
    without_fragment,
)
from browsercrawl.browser.tracking import watch
from browsercrawl.errors import (
    BrowsercrawlError,
    ContextBroken,
    DeadlineExceeded,
    DownloadRefused,
    NetworkFailed,
    PageClosed,
    PageCrashed,
)
from browsercrawl.ports import Cleaning, Glance, LocalStorage, Navigation, Snapshot
from browsercrawl.request import Capture, WaitUntil
from browsercrawl.result import DownloadedFile
from browsercrawl.urls import shown

if TYPE_CHECKING:
    from browsercrawl.browser.context import PlaywrightContext

_STALL_LIMIT_S = 1.0
_TRIES_MAX = 10
_EMPTY_STATUSES = frozenset({204, 205, 304})


class PlaywrightPage:
    """See `ports.PagePort`.

    Attributes:
        target: what Chromium calls it.
        strayed: set while it shows Chromium's error page.
    """

    def __init__(
        self, raw: Page, session: CDPSession, *, context: "PlaywrightContext", link: Link, target: str
    ) -> None:
        self._raw = raw
        self.target = target
        self.session = session
        self.context = context
        self.link = link
        self.state = reuse.TabState()
        self._marks: set[str] = set()
        self._popups = 0
        self._dialogs = 0
        self._main_frame = raw.main_frame
        self._ready = asyncio.Event()
        self._loaded = asyncio.Event()
        self._end = asyncio.Event()
        self.strayed = asyncio.Event()
        self._fate: Callable[[], BrowsercrawlError] | None = None
        self._occupied = False
        self._crossed = False
        self._hears_ready = False
        self.rest = reuse.Rest(self)
        self.files = Downloads(self)
        # These events come from the driver in any case; `request` and `response` would have to be asked for.
        raw.on("framenavigated", self._on_navigated)
        raw.on("load", self._on_load)
        raw.on("crash", self._on_crash)
        raw.on("close", self._on_close)
        for subject in (raw, raw.keyboard, raw.mouse, raw.touchscreen):
            watch(subject, self.note)

    @property
    def raw(self) -> Page:
        """The real Playwright page."""
        return self._raw

    @property
    def crashed(self) -> bool:
        """The renderer of this page died."""
        return self.state.crashed

    @property
    def closed(self) -> bool:
        """The page is closed."""
        return self.state.given_up or self._raw.is_closed() or self.context.closed

    @property
    def lasting(self) -> frozenset[str]:
        """Names of the public methods user code called that outlast a visit."""
        return frozenset(self._marks)

    @property
    def popups(self) -> int:
        """Pages this visit opened besides its own."""
        return self._popups

    @property
    def dialogs(self) -> int:
        """Dialogs this visit opened."""
        return self._dialogs

    @property
    def documents(self) -> Mapping[str, int]:
        """Documents this visit loaded in the page itself, by host:port."""
        return self.state.documents

    @property
    def visiting(self) -> bool:
        """Between `begin` and the end of `recondition`."""
        return self.state.visiting

    def count_popup(self) -> None:
        """Count a page that this visit opened."""
        self._popups += 1

    def count_dialog(self) -> None:
        """Count a dialog that this visit opened."""
        self._dialogs += 1

    def note(self, name: str, args: tuple[Any, ...]) -> None:
        """Remember that user code used a lasting member."""
        self.context.note_listener(name, args)
        self._marks.add(name)

    def wake(self) -> None:
        """Have whoever waits for an event look around: it will not come."""
        self._ready.set()
        self._loaded.set()
        self._end.set()

    async def wait_end(self, *, limit_s: float) -> None:
        """Return when the page is gone, however it ended, or when the time is up."""
        if self.gone() is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limit_s):
                    await self._end.wait()

    def _on_navigated(self, frame: Frame) -> None:
        if frame is self._main_frame:
            self.state.navigations += 1
            if contents.is_error_page(self._raw.url):
                self.strayed.set()
            else:
                self.strayed.clear()
            if self.state.pending:
                # The old document's events cannot come any more; the new one's come after this.
                self.state.pending = False
                self.state.loaded = False
                self._ready.clear()
                self._loaded.clear()

    def _on_ready(self, _: Page) -> None:
        self._ready.set()

    def _on_close(self, raw: Page) -> None:
        self.context.forget(raw)
        self.rest.stop()
        self.wake()

    def _on_load(self, _: Page) -> None:
        self.state.loaded = True
        count_document(self.state.documents, self._raw.url)
        self._ready.set()
        self._loaded.set()

    def _on_crash(self, _: Page) -> None:
        if self._fate is None:
            self._fate = self.link.kills.fate(self)
        self.state.crashed = True
        self.wake()

    def gone(self) -> BrowsercrawlError | None:
        """Return the error to raise when the page, or what it lives in, is gone; None while it is there."""
        gone = self.context.gone()
        if gone is None and self._fate is not None:
            gone = self._fate()
        if gone is None and self._raw.is_closed():
            gone = PageClosed("the page was closed before the result was taken")
        return gone

    def translate(self, error: Exception, what: str) -> BrowsercrawlError:
        """Make one of our errors of what a call into the page raised."""
        if is_crash(error):
            self._on_crash(self._raw)  # the event is on its way
        return translate(error, what, gone=self.gone, user_listens=bool(self._marks or self.context.lasting))

    # -- navigation

    async def goto(self, url: str, *, wait_until: WaitUntil, load_limit_s: float, limit_s: float) -> Navigation:
        """Load a URL."""
        started = time.monotonic()
        if wait_until == "domcontentloaded" and not self._hears_ready:  # each event delivered costs
            self._hears_ready = True
            Page.on(self._raw, "domcontentloaded", self._on_ready)  # the class's own: called on the object it is noted
        left = without_fragment(self._raw.url)
        response = await self._commit(url, limit_s)
        if isinstance(response, Navigation):
            return response
        self.state.left = None if left == without_fragment(url) else left
        # `history.back()` would bring another visit's page into this one's result. The browser may hear of the commit
        # later than we do, or the page be quicker: `check_address` is for those.
        reset = partial(self.session.send, "Page.resetNavigationHistory")
        forgetting = self.context.ask(reset, limit_s=_STALL_LIMIT_S)
        elapsed_s = time.monotonic() - started
        # A document that commits late gets half of what is left: the rest is for taking what is there.
        patience_s = max(load_limit_s - elapsed_s, (limit_s - elapsed_s) / 2 if elapsed_s >= load_limit_s else 0)
        loaded = await self._wait_loaded(wait_until, patience_s)
        await asyncio.wait({forgetting})
        gone = self.gone()
        if gone is not None:
            raise gone
        return await self._navigation(response, loaded=loaded)

    async def _commit(self, url: str, limit_s: float) -> Response | Navigation | None:
        """Navigate until a document commits, whatever the document that is there before does to prevent it."""
        deadline = time.monotonic() + limit_s
        for _ in range(_TRIES_MAX):
            try:
                await self._prepare(url, deadline)
                before = self.state.navigations
                response = await self._request(url, deadline)
            except TimeoutError as error:
                raise self.gone() or DeadlineExceeded(f"no answer from {shown(url)} within {limit_s:.3g} s") from error
            except PlaywrightError as error:
                # Before its commit only the document that was there before can interrupt it.
                if "interrupted by another navigation" in str(error) or await self._was_crossed(url, error):
                    continue
                return await self._refusal(url, error)
            except Exception as error:  # an error of the user's listener, which Playwright raises here
                raise self.translate(error, f"loading {shown(url)}") from error
            self._crossed = self.state.navigations > before + 1
            self.state.committed = True
            self.state.pending = False
            return response
        self.state.failed = "ERR_ABORTED"
        # Not this visit's fault: it goes to another page.
        raise ContextBroken(f"loading {shown(url)}: interrupted {_TRIES_MAX} times by the document before it")

    async def _was_crossed(self, url: str, error: PlaywrightError) -> bool:
        """Tell whether the document that was there before navigated just then: aborted, and never answered."""
        is_aborted = net_error(error) == "ERR_ABORTED" and not self.state.stopped
        return is_aborted and self._occupied and await last_response(self, url) is None

    async def _prepare(self, url: str, deadline: float) -> None:
        if self.state.parked:
            return
        base, fragment, _ = url.partition("#")
        scrolls = bool(fragment) and base == without_fragment(self._raw.url)  # nothing would be loaded
        if not scrolls and not reuse.needs_new_mark(self.state):
            return
        parked = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.05, deadline - time.monotonic())):
                parked = await reuse.park(self)
        if not parked:  # not this visit's fault: it goes to another page
            why = "the page's last document did not make way for about:blank in time"
            raise self.gone() or ContextBroken(f"loading {shown(url)}: {why}")

    async def _request(self, url: str, deadline: float) -> Response | None:
        state = self.state
        self._occupied = occupied = not state.parked
        state.pending, state.parked, state.stopped, state.failed = True, False, False, None
        limit_s = deadline - time.monotonic()
        # Its own limit lies beyond ours: which of the two ended a call must never be in doubt.
        call = self._raw.goto(url, wait_until="commit", timeout=1000 * (limit_s + 5))
        if not occupied:
            return await self.link.calls.run(call, limit_s=limit_s)
        task = asyncio.ensure_future(call)
        try:
            await asyncio.wait({task}, timeout=min(limit_s, _STALL_LIMIT_S))
            if not task.done():
                await self.interrupt(limit_s=min(_STALL_LIMIT_S, max(0.05, deadline - time.monotonic())))
        except asyncio.CancelledError:
            self.link.calls.abandon(task)
            raise
        return await self.link.calls.run(task, limit_s=deadline - time.monotonic())

    async def _refusal(self, url: str, error: PlaywrightError) -> Navigation:
        """Make a result or an error of a navigation that Playwright calls failed."""
        self.state.pending = False
        code = net_error(error)
        what = f"loading {shown(url)}"
        translated = self.translate(error, what)
        is_detached = "frame was detached" in str(error)
        if isinstance(translated, NetworkFailed) and (is_detached or self.state.stopped):
            await self.wait_end(limit_s=force.ANSWER_LIMIT_S)  # the event that tells how is on its way
            ended = PageCrashed(f"{what}: its frame is gone") if is_detached else translated
            translated = self.gone() or ended
        if code is None or not isinstance(translated, NetworkFailed):
            self.state.failed = summary(error)
            if isinstance(translated, DownloadRefused) and self.files.wanted:
                return await self.files.arrived(url)
            raise translated from error
        self.state.failed = code
        response, translated.host = await last_answer(self, url)
        status = None if response is None else response.status
        if code == "ERR_INVALID_AUTH_CREDENTIALS":
            status = status or 401
        answered = code in {"ERR_HTTP_RESPONSE_CODE_FAILURE", "ERR_INVALID_AUTH_CREDENTIALS"}
        if status is not None and (answered or (code == "ERR_ABORTED" and status in _EMPTY_STATUSES)):
            reached = url if response is None else response.url
            return dataclasses.replace(navigation_of(reached, response, status=status, loaded=True), committed=False)
        if code == "ERR_ABORTED" and status is not None and status < 300:
            raise DownloadRefused(f"{what}: the answer is a file to download, not a page") from error
        raise translated from error

    async def _wait_loaded(self, wait_until: WaitUntil, patience_s: float) -> bool:
        if wait_until == "commit":
            return True
        if wait_until == "networkidle" or self._crossed:
            # When the document before navigated meanwhile, only Playwright knows whose events we have seen.
            waiting = self._raw.wait_for_load_state(wait_until, timeout=1000 * (patience_s + 5))
            return await self.link.calls.settled(waiting, limit_s=patience_s)
        event = self._ready if wait_until == "domcontentloaded" else self._loaded
        if not event.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_s):  # unlike `wait_for` it needs no task
                    await event.wait()
        return event.is_set()

    async def _navigation(self, response: Response | None, *, loaded: bool) -> Navigation:
        url = self._raw.url
        await self.check_address(url)
        if response is None or without_fragment(url) != without_fragment(response.url):
            # The document redirected by script or meta refresh: its successor's response is the one that counts.
            last = await last_response(self, None)
            if last is not None and (response is None or without_fragment(last.url) == without_fragment(url)):
                response = last
        return navigation_of(url, response, status=None if response is None else response.status, loaded=loaded)

    async def check_address(self, url: str) -> None:
        """Make sure that an address the page shows may be part of its visit.

        Raises:
            NetworkFailed: it is Chromium's error page: where the document went by itself could not be reached.
            ContextBroken: the document went back to what the tab showed before its visit.
        """
        if contents.is_error_page(url):
            self.state.failed = "ERR_FAILED"
            raise NetworkFailed("the page went on to an address that could not be reached", code="ERR_FAILED")
        if self.state.left != without_fragment(url):
            return
        how = ""
        with contextlib.suppress(TimeoutError, PlaywrightError):
            how = await self.look("performance.getEntriesByType('navigation')[0]?.type", limit_s=_STALL_LIMIT_S)
        if how not in {"navigate", "reload"}:  # else it came here by a redirect of its own
            self.state.failed = "it went back"
            raise ContextBroken("the page went back to what its tab showed before")

    # -- looking at the page

    async def wait_for(self, selector: str, *, limit_s: float) -> None:
        """Return when the selector is present in the DOM."""
        await contents.wait_for(self, selector, limit_s=limit_s)

    async def unreached(self, *, limit_s: float) -> str | None:
        """Return where the page has gone last, if nothing answered there."""
        return await unanswered(self, limit_s=limit_s)

    async def snapshot(self, want: Collection[Capture], *, limit_s: float) -> Snapshot:
        """Take title, address and what is wanted, in one evaluation."""
        return await contents.snapshot(self, want, limit_s=limit_s)

    async def hrefs(self, selector: str, *, limit_s: float) -> tuple[str, ...]:
        """Return the absolute `href` of each element that matches; those without one are left out."""
        return await contents.hrefs(self, selector, limit_s=limit_s)

    async def glance(self, selectors: Sequence[str], *, limit_s: float) -> Glance:
        """Tell where the page is, and which elements are there."""
        return await contents.glance(self, selectors, limit_s=limit_s)

    async def fill(self, selector: str, text: str, *, limit_s: float) -> None:
        """Type a text into a field."""
        await contents.fill(self, selector, text=text, limit_s=limit_s)

    async def submit(self, selector: str, *, click: bool, limit_s: float) -> None:
        """Click an element, or press Enter in it."""
        await contents.submit(self, selector, click=click, limit_s=limit_s)

    async def local_storage(self, *, limit_s: float) -> LocalStorage | None:
        """Return what the page's origin keeps in localStorage."""
        return await contents.local_storage(self, limit_s=limit_s)

    async def screenshot(self, *, full_page: bool, limit_s: float) -> bytes:
        """Return a PNG of the page."""
        return await contents.screenshot(self, full_page=full_page, limit_s=limit_s)

    async def pdf(self, *, bytes_max: int, limit_s: float) -> bytes:
        """Return the page as it would be printed."""
        return await contents.pdf(self, bytes_max=bytes_max, limit_s=limit_s)

    async def mhtml(self, *, bytes_max: int, limit_s: float) -> bytes:
        """Return the page with its resources in one file."""
        return await contents.mhtml(self, bytes_max=bytes_max, limit_s=limit_s)

    async def downloads(self, *, limit_s: float) -> tuple[DownloadedFile, ...]:
        """Return what the visit has downloaded."""
        return await self.files.collect(limit_s=limit_s)

    # -- force and script

    async def interrupt(self, *, limit_s: float) -> bool:
        """End the script that is running now."""
        return await force.interrupt(self, limit_s=limit_s)

    async def stop_loading(self, *, limit_s: float) -> bool:
        """Have the page fetch nothing more."""
        return await force.stop_loading(self, limit_s=limit_s)

    async def crash(self, *, limit_s: float) -> bool:
        """Crash the page's renderer."""
        return await force.crash(self, limit_s=limit_s)

    async def kill_renderer(self, *, limit_s: float) -> bool:
        """Kill the process of the page's renderer."""
        return await force.kill_renderer(self, limit_s=limit_s)

    async def look(self, expression: str, *, limit_s: float) -> str:
        """Evaluate with the inspector's command line at hand. Raises what Playwright raises, and TimeoutError."""
        params = {"expression": expression, "includeCommandLineAPI": True, "returnByValue": True}
        answer = await self.link.calls.run(self.session.send("Runtime.evaluate", params), limit_s=limit_s)
        if "exceptionDetails" in answer:
            raise PlaywrightError("the page's own script stands in the way")
        return str(answer["result"].get("value", ""))

    async def reset_history(self, limit_s: float) -> None:
        """Leave only the current entry in the tab's history."""
        await self.link.calls.run(self.session.send("Page.resetNavigationHistory"), limit_s=limit_s)

    async def main_s(self) -> float:
        """Return the CPU time of the main thread of the page's renderer, in seconds, from some beginning."""
        getting = self.session.send("Performance.getMetrics")  # enabled before: answers though it spins
        answer = await self.link.calls.run(getting, limit_s=_STALL_LIMIT_S)
        return float(next(metric["value"] for metric in answer["metrics"] if metric["name"] == "ThreadTime"))

    async def leave(self, limit_s: float) -> bool:
        """Go to about:blank. Returns whether the page got there within the limit."""
        leaving = self._raw.goto("about:blank", wait_until="commit", timeout=1000 * (limit_s + 5))
        return await self.link.calls.settled(leaving, limit_s=limit_s)

    # -- the bracket around a visit

    async def begin(self, *, downloads: bool = False) -> None:
        """Ready the counters for a visit."""
        await self.rest.end()
        self.files.begin(wanted=downloads)
        self._popups = self._dialogs = 0
        self.state.committed = self.state.pending = False
        self.state.failed = None
        self.state.characters = 0
        self.state.documents.clear()
        self.state.visiting = True

    async def recondition(self, cleaning: Cleaning, *, growth_bytes_max: int, limit_s: float) -> str | None:
        """Close what the visit opened and ready the page for the next visit."""
        self.state.marked_at = None
        self.files.drop()
        try:
            why = await reuse.recondition(self, cleaning, growth_bytes_max=growth_bytes_max, limit_s=limit_s)
        finally:
            self.state.visiting = False
        if why is None and cleaning is Cleaning.FULL and not self.state.parked:
            self.rest.start()
        return why

    async def close(self, *, limit_s: float) -> bool:
        """Close the page and its popups."""
        self.state.visiting = False
        self.rest.stop()
        self.files.drop()
        calls = self.link.calls
        extras, closed = await asyncio.gather(
            self.context.close_extras(self, limit_s=limit_s), calls.settled(self._raw.close(), limit_s=limit_s)
        )
        return extras and (closed or self._raw.is_closed() or self.context.closed)


__all__ = ["PlaywrightPage"]
