"""One fake tab; `fake_browser` opens it."""

import asyncio
import io
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from browsercrawl.errors import (
    BrowsercrawlError,
    CallTimeout,
    ContextBroken,
    DeadlineExceeded,
    DownloadRefused,
    InvalidURL,
    NetworkFailed,
    PageClosed,
    PageCrashed,
    SelectorMissing,
    TooLarge,
)
from browsercrawl.ports import Cleaning, Glance, LocalStorage, Navigation, Presence, Snapshot
from browsercrawl.request import Capture, WaitUntil
from browsercrawl.result import DownloadedFile
from browsercrawl.testing.fake_script import BLANK, NEVER, FakePageScript, sleep_unless
from browsercrawl.urls import address, shown

if TYPE_CHECKING:
    from browsercrawl.testing.fake_browser import FakeContext

_PNG = b"\x89PNG\r\n\x1a\n"
_BEGIN_LIMIT_S = 2.0
"""`begin` is given no limit: a page that has not let go of its last document by then will not."""
_MHTML = b"MIME-Version: 1.0\r\nContent-Type: multipart/related\r\n\r\n"


class FakePage:
    """Implements `PagePort`; made by `FakeContext.new_page`. `raw` is the fake itself."""

    def __init__(self, context: "FakeContext") -> None:
        self.context = context
        self.lasting_calls: set[str] = set()
        self.url = "about:blank"
        self.visits = 0
        self.open_popups = 0
        """They go with the page, or when its visit ends."""
        self.typed: dict[str, str] = {}
        self.submitted: list[tuple[str, str]] = []
        """How forms were sent: the selector, and `click` or `enter`."""
        self.cleanings: deque[Cleaning] = deque(maxlen=10)
        """How it was last cleaned."""
        self._browser = context.browser
        self._script = BLANK
        self._hung = False
        self._unfit: str | None = None
        self._death: Callable[[], BrowsercrawlError] | None = None
        """What its calls raise since the renderer died."""
        self._closed = False
        self._visiting = False
        self._committed_at = 0.0
        self._takes_downloads = False
        self._popups = 0
        self._dialogs = 0
        self.documents: Counter[str] = Counter()
        self._stirred: asyncio.Future[str] | None = None
        """Wakes whatever call is waiting inside this page."""

    @property
    def raw(self) -> "FakePage":
        """The fake page."""
        return self

    @property
    def crashed(self) -> bool:
        """The renderer is dead."""
        return self._death is not None

    @property
    def closed(self) -> bool:
        """Closed, by anyone."""
        return self._closed

    def gone(self) -> BrowsercrawlError | None:
        """Return how it ended."""
        try:
            self._check()
        except BrowsercrawlError as error:
            return error
        return None

    @property
    def held_bytes(self) -> int:
        """What the renderer holds."""
        return self._script.grows_bytes

    @property
    def lasting(self) -> frozenset[str]:
        """What was done to the page that outlasts a visit."""
        return frozenset(self.lasting_calls)

    @property
    def popups(self) -> int:
        """Pages opened by this visit."""
        return self._popups

    @property
    def dialogs(self) -> int:
        """Dialogs opened by this visit."""
        return self._dialogs

    async def begin(self, *, downloads: bool = False) -> None:
        """Start a visit."""
        try:
            await self._begin_call("begin", _BEGIN_LIMIT_S)
        except CallTimeout as error:
            raise ContextBroken(error.message) from error
        self._check()
        if self._visiting:
            self._browser.misuse.append("begin on a page that was not reconditioned")
        self._visiting = True
        self._takes_downloads = downloads
        self.visits += 1
        self._popups = self._dialogs = 0
        self.documents.clear()

    async def goto(self, url: str, *, wait_until: WaitUntil, load_limit_s: float, limit_s: float) -> Navigation:
        """Load a URL as its script says."""
        try:
            await self._begin_call("goto", limit_s)
        except CallTimeout as error:
            raise DeadlineExceeded(error.message) from error
        self._check()
        if not self._visiting:
            self._browser.misuse.append(f"goto outside of a visit: {url}")
        script = self._browser.script_of(url)
        self._unfit = "no document committed"
        if script.commit_s <= 0:
            await asyncio.sleep(0)  # a real navigation always lets others run
        late = f"no document within {limit_s} s: {shown(url)}"
        await self._pass_time(script.commit_s, limit_s, DeadlineExceeded, late)
        self._commit(url, script)
        if script.network_error is not None:
            host = address(self.url).host if script.final_url else None
            raise NetworkFailed(f"{script.network_error} at {shown(url)}", code=script.network_error, host=host)
        if script.download and self._takes_downloads:
            return Navigation(
                final_url=self.url,
                status=script.status,
                content_type=script.content_type,
                headers=script.headers,
                committed=False,
                download=True,
            )
        if script.download:
            raise DownloadRefused(f"{shown(url)} is a download")
        self._unfit = None
        loaded = True
        if wait_until != "commit":
            load_s = NEVER if self._hung else script.load_s
            left_s = max(0.0, min(load_limit_s, limit_s) - script.commit_s)
            await self._pass_time(min(load_s, left_s))
            loaded = load_s <= left_s
        if loaded:
            with suppress(InvalidURL):
                self.documents[address(self.url).host] += 1
        return Navigation(
            final_url=self.url,
            status=script.status,
            content_type=script.content_type,
            headers=script.headers,
            loaded=loaded,
            latency_s=script.commit_s or None,
            committed=script.status not in {204, 205, 304},
        )

    async def wait_for(self, selector: str, *, limit_s: float) -> None:
        """Wait until the selector is there, as the script says."""
        await self._begin_call("wait_for", limit_s)
        self._check()
        appears_s = NEVER if self._hung else self._script.selectors.get(selector, NEVER)
        wait_s = max(0.0, self._committed_at + appears_s - self._browser.clock.now())
        await self._pass_time(wait_s, limit_s, SelectorMissing, f"{selector!r} not found within {limit_s} s")

    async def unreached(self, *, limit_s: float) -> str | None:
        """Return the address, if its script fails."""
        with suppress(BrowsercrawlError):
            await self._begin_call("unreached", limit_s)
        return None if self._script.network_error is None else self.url

    async def snapshot(self, want: Collection[Capture], *, limit_s: float) -> Snapshot:
        """Take what the script holds."""
        await self._call("snapshot", limit_s)
        script = self._script
        return Snapshot(
            url=self.url,
            title=script.title,
            html=script.html if "html" in want else None,
            text=script.text if "text" in want else None,
            links=script.links if "links" in want else (),
        )

    async def hrefs(self, selector: str, *, limit_s: float) -> tuple[str, ...]:
        """Return the script's links, if the script has the selector or no selectors at all."""
        await self._call("hrefs", limit_s)
        known = self._script.selectors
        return self._script.links if not known or selector in known else ()

    async def glance(self, selectors: Sequence[str], *, limit_s: float) -> Glance:
        """Look for the script's selectors."""
        await self._call("glance", limit_s)
        passed_s = self._browser.clock.now() - self._committed_at
        there = {name for name, appears_s in self._script.selectors.items() if appears_s <= passed_s}
        found = tuple(Presence.PRESENT if each in there else Presence.ABSENT for each in selectors)
        return Glance(url=self.url, title=self._script.title, found=found)

    async def fill(self, selector: str, text: str, *, limit_s: float) -> None:
        """Type into one of the script's selectors."""
        await self.wait_for(selector, limit_s=limit_s)
        self.typed[selector] = text

    async def submit(self, selector: str, *, click: bool, limit_s: float) -> None:
        """Go where the site sends what was typed: to the page's own URL, a `?` and the values in their order."""
        await self.wait_for(selector, limit_s=limit_s)
        self.submitted.append((selector, "click" if click else "enter"))
        url = f"{self.url.partition('?')[0]}?{'&'.join(self.typed.values())}"
        self.typed.clear()
        self._commit(url, self._browser.script_of(url))

    async def local_storage(self, *, limit_s: float) -> LocalStorage | None:
        """Return what the context keeps for the page's origin."""
        await self._call("local_storage", limit_s)
        origin = "/".join(self.url.split("/")[:3])
        return LocalStorage(origin=origin, items=dict(self.context.local.get(origin, {})))

    async def screenshot(self, *, full_page: bool, limit_s: float) -> bytes:
        """Return the signature of a PNG file."""
        await self._call("screenshot", limit_s)
        return _PNG + bytes([full_page])

    async def pdf(self, *, bytes_max: int, limit_s: float) -> bytes:
        """Return the signature of a PDF file and the script's text."""
        return await self._file("pdf", b"%PDF-1.4\n" + self._script.text.encode(), bytes_max, limit_s)

    async def mhtml(self, *, bytes_max: int, limit_s: float) -> bytes:
        """Return the head of an MHTML file and the script's HTML."""
        return await self._file("mhtml", _MHTML + self._script.html.encode(), bytes_max, limit_s)

    async def _file(self, what: str, body: bytes, bytes_max: int, limit_s: float) -> bytes:
        await self._call(what, limit_s)
        if len(body) > bytes_max:
            raise TooLarge(f"{what}: {len(body)} bytes, more than {bytes_max}")
        return body

    async def downloads(self, *, limit_s: float) -> tuple[DownloadedFile, ...]:
        """Return the script's HTML as the file that the document is, if it is one."""
        await self._begin_call("downloads", limit_s)
        self._check()
        if not self._script.download or not self._takes_downloads:
            return ()
        body = self._script.html.encode()
        name = self.url.rpartition("/")[2]
        file = DownloadedFile(
            number=1, name=name, url=self.url, content_type=self._script.content_type, file=io.BytesIO(body)
        )
        return (file,)

    async def interrupt(self, *, limit_s: float) -> bool:
        """End the running script, if it can be ended."""
        try:
            await self._begin_call("interrupt", limit_s)
            self._check()
            if self._hung and self._script.hang != "interruptible":
                await self._pass_time(limit_s)
                return False
        except BrowsercrawlError:
            return False
        self._hung = False
        self._stir("interrupted")
        return True

    async def stop_loading(self, *, limit_s: float) -> bool:
        """Obey, unless a script runs."""
        try:
            await self._call("stop_loading", limit_s)
        except BrowsercrawlError:
            return False
        return True

    async def crash(self, *, limit_s: float) -> bool:
        """Let the renderer crash, if its script lets it."""
        return await self._end_renderer("crash", limit_s, resisting={"killable", "for_good"})

    async def kill_renderer(self, *, limit_s: float) -> bool:
        """Let the renderer be killed, if its script lets it."""
        return await self._end_renderer("kill_renderer", limit_s, resisting={"for_good"})

    async def _end_renderer(self, what: str, limit_s: float, *, resisting: Collection[str]) -> bool:
        try:
            await self._begin_call(what, limit_s)
            self._check()
            if self._hung and self._script.hang in resisting:
                await self._pass_time(limit_s)
                return False
        except BrowsercrawlError:
            return self._is_gone
        self.die()
        return True

    async def recondition(self, cleaning: Cleaning, *, growth_bytes_max: int, limit_s: float) -> str | None:
        """End the visit; tell why the page may not serve another."""
        try:
            await self._begin_call("close_popups", limit_s)
            self.open_popups = 0
            await self._call("recondition", limit_s)
        except BrowsercrawlError as error:
            return str(error)
        self._visiting = False
        self.cleanings.append(cleaning)
        if self._script.grows_bytes > growth_bytes_max:
            return f"grew by {self._script.grows_bytes} bytes"
        if self.lasting_calls:
            return f"changed for good: {', '.join(sorted(self.lasting_calls))}"
        return self._unfit

    async def close(self, *, limit_s: float) -> bool:
        """Close the page, if its script lets it."""
        try:
            await self._begin_call("close", limit_s)
            if not self._is_gone:
                close_s = NEVER if self._hung and self._script.hang != "interruptible" else self._script.close_s
                await self._pass_time(close_s, limit_s, CallTimeout, "page.close")
        except BrowsercrawlError:
            if not self._is_gone:
                return False
        self.end()
        return True

    def end(self) -> None:
        """Close the page now, as user code or its context's end would."""
        self._closed = True
        self.open_popups = 0
        self.context.pages.discard(self)
        self._browser.pages.discard(self)
        self._stir("closed")

    def die(self, error: Callable[[], BrowsercrawlError] | None = None) -> None:
        """Let the renderer die now; calls raise this error from then on, PageCrashed by itself."""
        self._death = self._death or error or (lambda: PageCrashed("the renderer died"))
        self._stir("died")

    @property
    def _is_gone(self) -> bool:
        return self._closed or self.crashed or self.context.closed or self._browser.lost is not None

    def _commit(self, url: str, script: FakePageScript) -> None:
        self._script = script
        self._committed_at = self._browser.clock.now()
        self.url = script.final_url or url
        self._popups += script.popups
        self.open_popups += script.popups
        self._dialogs += script.dialogs
        self.lasting_calls |= script.lasting
        self.context.lasting_calls |= script.context_lasting
        self._hung = script.hang != "no"
        if script.kills_browser:
            self._browser.die(f"killed by {url}")
        elif script.crash_s == 0:
            self.die()
        self._check()

    def _check(self) -> None:
        self._browser.check()
        if self.context.closed:
            raise ContextBroken("the context is closed")
        crash_s = self._script.crash_s
        if crash_s is not None and self._browser.clock.now() >= self._committed_at + crash_s:
            self.die()
        if self._death is not None:
            raise self._death()
        if self._closed:
            raise PageClosed("the page is closed")

    async def _begin_call(self, what: str, limit_s: float) -> None:
        await self._browser.begin_call(f"page.{what}", limit_s=limit_s, context=self.context)

    async def _call(self, what: str, limit_s: float) -> None:
        """Be any call that the page's script must let in."""
        await self._begin_call(what, limit_s)
        self._check()
        call_s = NEVER if self._hung else self._script.call_s
        await self._pass_time(call_s, limit_s, CallTimeout, f"{what} did not return within {limit_s} s")

    async def _pass_time(
        self,
        seconds: float,
        limit_s: float = NEVER,
        error: type[BrowsercrawlError] = CallTimeout,
        message: str = "no limit was given",
    ) -> None:
        """Take time, but end with the limit, a crash, a close or the browser's death, whatever comes first."""
        if seconds <= 0:
            return
        until = min(seconds, limit_s)
        if self._script.crash_s is not None and not self.crashed:
            until = min(until, max(0.0, self._committed_at + self._script.crash_s - self._browser.clock.now()))
        if self._stirred is None or self._stirred.done():
            self._stirred = asyncio.get_running_loop().create_future()
        await sleep_unless(self._stirred, clock=self._browser.clock, seconds=until)
        self._check()
        if seconds > limit_s and not self._stirred.done():
            raise error(message)

    def _stir(self, why: str) -> None:
        if self._stirred is not None and not self._stirred.done():
            self._stirred.set_result(why)
