"""A browser context: opens pages, and looks after what its visits open besides: popups, extra pages and dialogs."""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from playwright.async_api import BrowserContext, CDPSession, Dialog, Download, Page
from playwright.async_api import Error as PlaywrightError

from browsercrawl.browser.calls import Link, summary, translate
from browsercrawl.browser.downloads import discard
from browsercrawl.browser.page import PlaywrightPage
from browsercrawl.browser.reuse import cleaning_script
from browsercrawl.browser.tracking import watch
from browsercrawl.errors import (
    BrowsercrawlError,
    CallTimeout,
    ConfigError,
    ContextBroken,
    InternalError,
    NetworkFailed,
)
from browsercrawl.ports import ContextOptions
from browsercrawl.urls import shown

T = TypeVar("T")

_EXTRAS_KEPT_MAX = 5
"""Popups of a visit that stay open for its handler; further ones are closed as they appear."""

_ANNOYANCES_MAX = 20
"""After so many popups or dialogs in a visit the script that opens them is ended, and again after as many more."""

_CLOSE_LIMIT_S = 2.0


@dataclass(eq=False)
class _Extra:
    """A page that no lease stands for, and the visits that may have opened it: it closes when they have ended."""

    raw: Page
    owners: set[PlaywrightPage]


class PlaywrightContext:
    """See `ports.ContextPort`.

    Attributes:
        id: what Chromium calls it; None until it has had a page.
        closing: its closing was asked for and has not ended yet.
    """

    def __init__(self, raw: BrowserContext, link: Link, *, options: ContextOptions) -> None:
        self._raw = raw
        self._link = link
        self._download_bytes_max = options.download_bytes_max
        self.keep_tab_storage = options.keep_tab_storage
        self.token = secrets.token_hex(16)
        self._cleaner: asyncio.Task[None] | None = None
        self._marks: set[str] = set()
        self._closed = False
        self._answers_dialogs = True
        self.id: str | None = None
        self.closing = False
        self._pages_peak = 0
        self._opening = 0
        self._touring = 0
        self._unclaimed: list[Page] = []
        self._pages: dict[Page, PlaywrightPage] = {}
        self._extras: dict[Page, _Extra] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        raw.on("page", self._on_page)
        raw.on("dialog", self._on_dialog)
        raw.on("close", self._on_close)
        if options.download_bytes_max is not None:
            raw.on("download", self._on_download)
        watch(raw, self._note)
        watch(raw.clock, self._note)

    @property
    def lasting(self) -> frozenset[str]:
        """Names of lasting methods user code called on the context."""
        return frozenset(self._marks)

    @property
    def closed(self) -> bool:
        """Closed, by us, by user code or by the browser's death."""
        # Once its closing is asked for: its pages' ends are known before its own.
        return self._raw.is_closed() or self._is_gone

    @property
    def _is_gone(self) -> bool:
        return self._closed or self._link.gone() is not None

    @property
    def pages_peak(self) -> int:
        """The most pages of `new_page` that were ever open at once."""
        return self._pages_peak

    @property
    def pages(self) -> tuple[PlaywrightPage, ...]:
        """The pages of `new_page` that are open."""
        return tuple(self._pages.values())

    def targets(self) -> frozenset[str] | None:
        """Return what Chromium calls its pages; None: not now, for there are others, or may be in a moment."""
        if self._opening or self._touring or self._unclaimed or self._extras:
            return None
        return frozenset(page.target for page in self._pages.values())

    def gone(self) -> BrowsercrawlError | None:
        """Return the error to raise when the browser or this context is gone, else None."""
        return self._link.gone() or (ContextBroken("the context was closed under the visit") if self.closed else None)

    def wake(self) -> None:
        """Have waiting pages look around: the browser is gone."""
        for page in self._pages.values():
            page.wake()

    async def new_page(self, *, limit_s: float) -> PlaywrightPage:
        """Open a page."""
        deadline = asyncio.get_running_loop().time() + limit_s
        self._opening += 1
        raw = None
        try:
            raw = await self._link.calls.run(self._raw.new_page(), limit_s=limit_s)
            left_s = deadline - asyncio.get_running_loop().time()
            # The class's own method: called on the object it would be noted as the user's.
            session = await self._link.calls.run(BrowserContext.new_cdp_session(self._raw, raw), limit_s=left_s)
            left_s = deadline - asyncio.get_running_loop().time()
            page = await self._admit(raw, session, limit_s=left_s)
            self._pages[raw] = page
            self._pages_peak = max(self._pages_peak, len(self._pages))
        except BaseException as error:
            if raw is not None:
                self.ask(raw.close)
            if isinstance(error, TimeoutError | PlaywrightError):
                translated = translate(error, "opening a page", gone=self.gone)
                if isinstance(translated, InternalError) and not self._pages_peak and "(Target." not in str(error):
                    # Most options take effect, and fail, with a context's first page.
                    translated = ConfigError(f"contextOptions: no page can be opened with them: {summary(error)}")
                raise translated from error
            raise
        finally:
            self._opening -= 1
            if not self._opening:
                unclaimed, self._unclaimed = self._unclaimed, []
                for other in unclaimed:
                    self._on_page(other)
        return page

    async def _admit(self, raw: Page, session: CDPSession, *, limit_s: float) -> PlaywrightPage:
        # Asked for now, for a page that spins tells its CPU time only if it was enabled before.
        asked = (session.send("Target.getTargetInfo"), session.send("Performance.enable"))
        answers = await asyncio.gather(*(self._link.calls.run(each, limit_s=limit_s) for each in asked))
        target: dict[str, str] = answers[0]["targetInfo"]
        if self.id is None and self._download_bytes_max is not None:  # before: nobody knew its id
            await self._link.downloads.allow(
                target["browserContextId"], bytes_max=self._download_bytes_max, limit_s=limit_s
            )
        self.id = target["browserContextId"]
        return PlaywrightPage(raw, session, context=self, link=self._link, target=target["targetId"])

    def forget(self, raw: Page) -> None:
        """A page of `new_page` has closed."""
        self._pages.pop(raw, None)

    async def ensure_cleaner(self, *, limit_s: float) -> None:
        """Have every document look for the token from now on; done at the first page that is to be cleaned.

        Raises:
            TimeoutError, playwright.async_api.Error: it could not be set up.
        """
        cleaner = self._cleaner
        if cleaner is None or (cleaner.done() and (cleaner.cancelled() or cleaner.exception() is not None)):
            self._cleaner = cleaner = self.spawn(self._install_cleaner(limit_s))
        await asyncio.wait({cleaner})  # not shielded: its cancellation, by the context's end, is not ours
        if cleaner.cancelled():
            raise TimeoutError("the context was closed meanwhile")
        cleaner.result()

    async def _install_cleaner(self, limit_s: float) -> None:
        script = cleaning_script(self.token)
        await self._link.calls.run(BrowserContext.add_init_script(self._raw, script=script), limit_s=limit_s)

    async def close_extras(self, page: PlaywrightPage, *, limit_s: float) -> bool:
        """Close what a visit opened besides its page. Returns whether all of it is closed."""
        ended = []
        for extra in self._extras.values():
            extra.owners.discard(page)
            if not extra.owners:
                ended.append(extra.raw)
        if not ended:
            return True
        closings = (self._link.calls.settled(raw.close(), limit_s=limit_s) for raw in ended)
        return all(await asyncio.gather(*closings))

    async def cookies(self, *, limit_s: float) -> list[Mapping[str, Any]]:
        """Return all its cookies."""
        return [dict(cookie) for cookie in await self._call(self._raw.cookies(), "taking cookies", limit_s)]

    async def forget_cookie(self, name: str, *, limit_s: float) -> None:
        """Remove all its cookies of a name."""
        await self._call(self._raw.clear_cookies(name=name), "removing a cookie", limit_s)

    async def storage_state(self, *, limit_s: float) -> Mapping[str, Any]:
        """Return Playwright's storage state with IndexedDB."""
        self._touring += 1  # in a page of its own that nobody is told of
        try:
            return await self._call(self._raw.storage_state(indexed_db=True), "taking the storage state", limit_s)
        finally:
            self._touring -= 1

    async def post(
        self, url: str, *, form: Mapping[str, str] | None, json: Mapping[str, str] | None, limit_s: float
    ) -> int:
        """Send a form, or JSON, with the context's cookies."""
        fields: dict[str, str | float | bool] | None = dict(form) if form is not None else None
        # Not redirected: a 307 or 308 would send the secrets once more, to wherever it points.
        sending = self._raw.request.post(url, form=fields, data=json, max_redirects=0, timeout=1000 * (limit_s + 5))
        what = f"sending a request to {shown(url)}"
        failure: BrowsercrawlError | None = None
        response = None
        try:
            response = await self._link.calls.run(sending, limit_s=limit_s)
        except TimeoutError:
            failure = self.gone() or CallTimeout(f"{what}: no answer within {limit_s:.3g} s")
        except Exception as error:  # noqa: BLE001 - its text holds what was sent: only a failed connection's name is kept
            code = re.search(r"\bE[A-Z]{4,}\b", str(error))
            name = code.group() if code else "no answer"
            failure = self.gone() or NetworkFailed(f"{what}: {name}", code=name)
        if failure is not None:
            raise failure
        assert response is not None, "a request has failed or was answered"
        status = int(response.status)
        await self._link.calls.settled(response.dispose(), limit_s=_CLOSE_LIMIT_S)
        return status

    async def _call(self, call: Awaitable[T], what: str, limit_s: float) -> T:
        try:
            return await self._link.calls.run(call, limit_s=limit_s)
        except Exception as error:  # an error of the user's listener, too, which Playwright raises here
            raise translate(error, what, gone=self.gone, user_listens=bool(self._marks)) from error

    async def close(self, *, limit_s: float) -> bool:
        """Close the context and all its pages."""
        gone = self._is_gone
        if not gone:
            self.closing = True
            try:
                gone = await self._link.calls.settled(self._raw.close(), limit_s=limit_s) or self._is_gone
            finally:
                self.closing = False
        self._on_close(self._raw)
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_LIMIT_S)
        return gone

    def _note(self, name: str, args: tuple[Any, ...]) -> None:
        if name == "BrowserContext.new_cdp_session":
            target = args[0] if isinstance(args[0], Page) else args[0].page
            if target in self._pages:
                self._pages[target].note(name, args)
                return
        self.note_listener(name, args)
        self._marks.add(name)

    def note_listener(self, name: str, args: tuple[Any, ...]) -> None:
        """Leave dialogs to user code once it listens for them: two answers to one dialog are an error."""
        if name.endswith((".on", ".once")) and args and args[0] == "dialog":
            self._answers_dialogs = False

    def _on_close(self, _: BrowserContext) -> None:
        self._closed = True
        self._link.downloads.forget(self.id)
        for page in self._pages.values():
            page.rest.stop()
        self.wake()

    def _on_page(self, raw: Page) -> None:
        if self._opening:
            self._unclaimed.append(raw)  # ours or a popup: known once `new_page` has returned
        elif raw not in self._pages and not raw.is_closed():
            self.spawn(self._adopt(raw))

    async def _adopt(self, raw: Page) -> None:
        """Find whose popup or extra page this is; close it at once when it is nobody's or one too many."""
        opener = await raw.opener()  # does not ask the browser
        owners = self._owners(opener)
        for page in owners:
            page.count_popup()
            if page.popups % _ANNOYANCES_MAX == 0:
                self.spawn(page.interrupt(limit_s=_CLOSE_LIMIT_S))
        if not owners or min(page.popups for page in owners) > _EXTRAS_KEPT_MAX:
            await self._link.calls.settled(raw.close(), limit_s=_CLOSE_LIMIT_S)
            return
        self._extras[raw] = _Extra(raw, owners)
        raw.on("close", self._forget_extra)

    def _forget_extra(self, raw: Page) -> None:
        self._extras.pop(raw, None)

    def _owners(self, opener: Page | None) -> set[PlaywrightPage]:
        """Return the visits an extra page belongs to: its opener's, else (no opener) all that are going on."""
        if opener in self._extras:
            return set(self._extras[opener].owners)
        if opener in self._pages:
            page = self._pages[opener]
            return {page} if page.visiting else set()
        return {page for page in self._pages.values() if page.visiting}

    def _on_download(self, download: Download) -> None:
        if download.page in self._pages or download.page in self._extras:
            self._take(download, download.page)
        else:  # a popup that has just opened
            self.spawn(self._take_from_popup(download))

    async def _take_from_popup(self, download: Download) -> None:
        self._take(download, await download.page.opener())

    def _take(self, download: Download, page: Page | None) -> None:
        owners = self._owners(page)
        if len(owners) == 1:
            owners.pop().files.take(download)
        else:  # the visit it belongs to is over, or not known
            discard(self, download)

    def _on_dialog(self, dialog: Dialog) -> None:
        for page in self._owners(dialog.page):
            page.count_dialog()
            if page.dialogs % _ANNOYANCES_MAX == 0:
                self.spawn(page.interrupt(limit_s=_CLOSE_LIMIT_S))
        if self._answers_dialogs:
            # A page that asks "really leave?" is answered yes, all others no: as Playwright does by itself.
            self.ask(dialog.accept if dialog.type == "beforeunload" else dialog.dismiss)

    def ask(self, call: Callable[[], Awaitable[Any]], *, limit_s: float = _CLOSE_LIMIT_S) -> "asyncio.Task[bool]":
        """Make a call whose outcome matters to nobody. It is made in its task: one that ends before leaves none."""

        async def make() -> bool:
            return await self._link.calls.settled(call(), limit_s=limit_s)

        return self.spawn(make())

    def spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Start a task of this context's: it ends with it."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
