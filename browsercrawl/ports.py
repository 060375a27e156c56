"""What the engine asks of a browser: the interface between `pool`, `visit` and whoever drives Chromium.

`browser/` implements it over Playwright, `testing/` with a fake; one conformance suite holds both to this text.
The rules for every call: it takes a limit in seconds, it returns or raises within that limit plus a moment even when
the browser, the renderer or the driver is stopped, and it raises only errors of `browsercrawl.errors`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from browsercrawl.errors import BrowsercrawlError
from browsercrawl.request import Capture, WaitUntil
from browsercrawl.result import DownloadedFile


class Cleaning(StrEnum):
    """How a page is readied for its next visit."""

    FULL = "full"
    """Nothing of the last visit is left that belongs to the tab: the `balanced` profile."""
    NONE = "none"
    """Kept as it is: the `lean` profile, within one session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Navigation:
    """What loading a URL came to.

    Attributes:
        final_url: after redirects, as the page shows it.
        status: HTTP status of the main document; None when there was no HTTP response.
        content_type: of the main document, without parameters, lower case.
        headers: of the main document, names in lower case.
        loaded: the awaited state (`wait_until`) was reached; False means the visit goes on with what is there.
        committed: a document came with it. Without one (204, an empty error page) the page still shows what was there
            before: nothing may be taken from it.
    """

    final_url: str
    status: int | None
    content_type: str | None
    headers: Mapping[str, str] = field(default_factory=dict)
    loaded: bool = True
    committed: bool = True
    download: bool = False
    """There is none because the answer is a file, which `downloads` gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What one look at a page gave. Fields not asked for are None (`links`: empty)."""

    url: str
    title: str
    html: str | None = None
    text: str | None = None
    links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextOptions:
    """How a session's context is opened. `extra` are Playwright's own `contextOptions`, already validated."""

    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)
    keep_tab_storage: bool = False
    """Leave sessionStorage (and window.name) to the next visit instead of clearing them."""
    incarnation: int = 0
    """Of the session it is for: what a context of an earlier one holds is not kept."""
    download_bytes_max: int | None = None
    """Of each file that a visit downloads; None: the browser refuses to download."""
    proxies: int = 0
    """How many proxies the session had before the one of this context."""


class Presence(StrEnum):
    """Whether a page has an element."""

    ABSENT = "absent"
    PRESENT = "present"
    EMPTY = "empty"
    """It is there, and is a field with nothing in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What a glance at a page shows.

    Attributes:
        found: for each selector asked about, in their order.
    """

    url: str
    title: str
    found: tuple[Presence, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalStorage:
    """What a page's origin keeps in localStorage."""

    origin: str
    items: Mapping[str, str] = field(repr=False)


class PagePort(Protocol):
    """One tab. Used by one visit at a time; `begin` and `recondition` bracket a visit."""

    @property
    def context(self) -> "ContextPort":
        """The context it is a page of."""

    @property
    def raw(self) -> Any:
        """The real Playwright page, for user code. Lasting calls on it are noticed (see `lasting`)."""

    @property
    def crashed(self) -> bool:
        """The renderer of this page died; nothing on it will answer."""

    @property
    def closed(self) -> bool:
        """The page is closed, by us or by user code."""

    def gone(self) -> BrowsercrawlError | None:
        """Return the error that says how the page, or what it lives in, has ended; None while it is there."""

    @property
    def lasting(self) -> frozenset[str]:
        """Names of the public methods user code called that outlast a visit, such as `Page.route`."""

    @property
    def popups(self) -> int:
        """Pages this visit opened besides its own."""

    @property
    def dialogs(self) -> int:
        """Dialogs this visit opened; each was dismissed."""

    async def goto(self, url: str, *, wait_until: WaitUntil, load_limit_s: float, limit_s: float) -> Navigation:
        """Load a URL.

        Returns when `wait_until` is reached, or `load_limit_s` after the start with `loaded=False` if the document
        has committed by then. Client-side redirects that interrupt the navigation are followed. Where the visit takes
        downloads, an answer that is one is no failure.

        Raises:
            DeadlineExceeded: no document committed within `limit_s`.
            NetworkFailed, DownloadRefused, PageCrashed, PageClosed, ContextBroken, BrowserCrashed.
        """

    async def wait_for(self, selector: str, *, limit_s: float) -> None:
        """Return when the selector is present in the DOM.

        Raises:
            SelectorMissing: it is not, after `limit_s`; or the selector is malformed.
        """

    async def snapshot(self, want: Collection[Capture], *, limit_s: float) -> Snapshot:
        """Take title, address and what is wanted, in one evaluation. Links are absolute, in document order.

        Raises:
            CallTimeout: the page's script does not let us in.
        """

    async def hrefs(self, selector: str, *, limit_s: float) -> tuple[str, ...]:
        """Return the absolute `href` of each element that matches, in document order; those without one are left out.

        Args:
            selector: CSS, or any selector Playwright knows.
            limit_s: as for every call.

        Raises:
            SelectorMissing: the selector is malformed.
            CallTimeout: the page's script does not let us in.
        """

    async def glance(self, selectors: Sequence[str], *, limit_s: float) -> Glance:
        """Tell where the page is, and which elements are there, in one evaluation.

        Args:
            selectors: CSS.
            limit_s: as for every call.

        Raises:
            SelectorMissing: a selector is malformed.
            CallTimeout: the page's script does not let us in.
        """

    async def fill(self, selector: str, text: str, *, limit_s: float) -> None:
        """Type a text into a field, once it is there and can be typed into. No error of it holds the text.

        Raises:
            SelectorMissing: it is not, after `limit_s`.
        """

    async def submit(self, selector: str, *, click: bool, limit_s: float) -> None:
        """Click an element, or press Enter in it.

        Raises:
            SelectorMissing: it is not there, or cannot be clicked, after `limit_s`.
        """

    async def local_storage(self, *, limit_s: float) -> LocalStorage | None:
        """Return what the page's origin keeps in localStorage; None: it has none, or more than a session may carry.

        Raises:
            CallTimeout: the page's script does not let us in.
        """

    async def screenshot(self, *, full_page: bool, limit_s: float) -> bytes:
        """Return a PNG of the page."""

    async def pdf(self, *, bytes_max: int, limit_s: float) -> bytes:
        """Return the page as it would be printed. A browser with a window cannot.

        Raises:
            CallTimeout: also when it has more than `bytes_max`.
        """

    async def mhtml(self, *, bytes_max: int, limit_s: float) -> bytes:
        """Return the page as it is now, with its frames, images and styles, in one file.

        Raises:
            CallTimeout: also when it has more than `bytes_max`.
        """

    async def downloads(self, *, limit_s: float) -> tuple[DownloadedFile, ...]:
        """Return what the visit has downloaded, its popups included, when all that has begun is complete; once.

        Raises:
            TooLarge: one was larger than its context allows, and was broken off as soon as it was; or there are more
                than 20.
            DeadlineExceeded: it is not complete after `limit_s`.
            NetworkFailed: it broke off.
            PageCrashed, PageClosed, ContextBroken, BrowserCrashed.
        """

    async def interrupt(self, *, limit_s: float) -> bool:
        """End the script that is running now. Returns whether the page answers again. Never raises."""

    async def stop_loading(self, *, limit_s: float) -> bool:
        """Have the page fetch nothing more. Returns whether it obeyed. Never raises."""

    async def crash(self, *, limit_s: float) -> bool:
        """Crash the page's renderer. Returns whether it is gone. Never raises.

        Another page that lives in the same renderer dies with it, and says so: its calls raise ContextBroken, for it
        is not to blame. The same holds for `kill_renderer`.
        """

    async def kill_renderer(self, *, limit_s: float) -> bool:
        """Kill the process of the page's renderer, if it can be found. Returns whether it is gone. Never raises."""

    async def begin(self, *, downloads: bool = False) -> None:
        """Ready the counters for a visit. The page has been reconditioned or is new.

        Args:
            downloads: the visit takes what is downloaded, if its context does; else it is thrown away.

        Raises:
            ContextBroken: the page does not let go of its last document.
        """

    async def recondition(self, cleaning: Cleaning, *, growth_bytes_max: int, limit_s: float) -> str | None:
        """Close what the visit opened and ready the page for the next visit.

        Returns:
            None when the page may go back to stock; otherwise the reason why it must be closed. Never raises.
        """

    async def close(self, *, limit_s: float) -> bool:
        """Close the page and its popups. Returns whether it is gone for certain. Never raises; may be called again."""


class ContextPort(Protocol):
    """One browser context: the cookies, storage and cache of a session."""

    @property
    def lasting(self) -> frozenset[str]:
        """Names of lasting methods user code called on the context: it must not serve another visit."""

    @property
    def closed(self) -> bool:
        """Closed, by us, by user code or by the browser's death."""

    async def new_page(self, *, limit_s: float) -> PagePort:
        """Open a page.

        Raises:
            CallTimeout, ContextBroken, BrowserCrashed.
        """

    async def cookies(self, *, limit_s: float) -> list[Mapping[str, Any]]:
        """Return all its cookies, in Playwright's form.

        Raises:
            CallTimeout, ContextBroken, BrowserCrashed.
        """

    async def forget_cookie(self, name: str, *, limit_s: float) -> None:
        """Remove all its cookies of a name.

        Raises:
            CallTimeout, ContextBroken, BrowserCrashed.
        """

    async def storage_state(self, *, limit_s: float) -> Mapping[str, Any]:
        """Return Playwright's storage state with IndexedDB. It visits every origin there was: at the end only.

        Raises:
            CallTimeout, ContextBroken, BrowserCrashed.
        """

    async def post(
        self, url: str, *, form: Mapping[str, str] | None, json: Mapping[str, str] | None, limit_s: float
    ) -> int:
        """Send a form, or JSON, with the context's cookies; the answer's become the context's. No error holds them.

        Returns:
            The final HTTP status.

        Raises:
            NetworkFailed: no answer.
            CallTimeout, ContextBroken, BrowserCrashed.
        """

    async def close(self, *, limit_s: float) -> bool:
        """Close the context and all its pages. Returns whether it is gone for certain. Never raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserFacts:
    """What a launched browser is.

    Attributes:
        pid: process id of the browser's main process; None if unknown (fake).
        binary: path of the executable.
        version: such as `156.0.8078.79`.
        sandbox: whether Chromium's sandbox is on.
        sandbox_reason: why not, when it is off.
    """

    pid: int | None
    binary: str
    version: str
    sandbox: bool
    sandbox_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What the browser itself says of what it has open, and what its processes hold.

    Attributes:
        contexts: browser contexts it has, without its own default one.
        pages: tabs it has, popups included.
        orphans: tabs and contexts that nobody here knows, found by many audits in a row; they were closed.
        strays: processes of it that it does not know itself any more; they were killed.
        renderers: memory of each renderer process of its own.
        browser_bytes: memory of its other processes and of its driver.
        killed: renderers that held more than a page may; they were killed.
    """

    contexts: int
    pages: int
    orphans: int = 0
    strays: int = 0
    renderers: tuple[int, ...] = ()
    browser_bytes: int = 0
    killed: int = 0


class BrowserPort(Protocol):
    """One browser process with its driver. Launched once; when it is lost a new one takes its place."""

    @property
    def facts(self) -> BrowserFacts:
        """What was launched."""

    @property
    def lost(self) -> str | None:
        """Why the browser or its driver is gone; None while it lives."""

    async def wait_lost(self) -> str:
        """Return when the browser or its driver is gone, with the reason (also after `close` and `kill`)."""

    async def new_context(self, options: ContextOptions, *, limit_s: float) -> ContextPort:
        """Open a context.

        Raises:
            CallTimeout, BrowserCrashed.
        """

    async def audit(self, *, page_bytes_max: int, limit_s: float) -> Audit:
        """Ask the browser what it has open; close what nobody knows, and kill a renderer that holds too much.

        The page of a renderer that was killed says so: its calls raise MemoryExceeded.

        Args:
            page_bytes_max: a renderer may hold so much of its own; with one process per site, so much for each page.
            limit_s: as for every call.

        Raises:
            CallTimeout: the browser does not answer.
            BrowserCrashed: it is gone.
        """

    async def trim(self, *, limit_s: float) -> bool:
        """Ask all its processes to drop caches and collect garbage. Returns whether it was heard. Never raises."""

    async def close(self, *, limit_s: float) -> bool:
        """Close politely within the limit, then kill what is left, driver included. Returns whether it was polite.

        Afterwards no process and no temporary file of this browser is left. Never raises; may be called again.
        """

    async def kill(self) -> None:
        """Kill the browser's process group and its driver at once. Never raises; may be called again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTerms:
    """What the pool must know of a session.

    Attributes:
        pages_max: leases of it at once; None: as many as there are.
        context_visits_max: its context is replaced after so many; None: as for all.
        is_kept: its state outlives its contexts: it is saved before one closes, and no other is opened meanwhile.
        may_overlap: another context may be opened while one drains: it has no identity that two must not share.
    """

    pages_max: int | None = None
    context_visits_max: int | None = None
    is_kept: bool = False
    may_overlap: bool = False


class SessionKeeper(Protocol):
    """Gives sessions their contexts' options, and keeps what is to outlive a context. `sessions` implements it."""

    def terms(self, session: str) -> SessionTerms:
        """Tell what holds for a session; the same as long as it has a context."""

    async def revive(self, session: str, *, private: bool = False) -> ContextOptions:
        """Return how a context of the session is opened now: its identity, and the state it was left in.

        Args:
            session: its key.
            private: it is for one request alone, which begins with nothing unless the session has a login.

        Raises:
            StateUnusable: a state was saved that cannot be used.
        """

    async def hibernate(self, session: str, context: ContextPort, *, options: ContextOptions, limit_s: float) -> None:
        """Save the state of a context that is about to close and that nobody uses. Never raises.

        Args:
            session: whose it is.
            context: still open, unless it has died.
            options: with which it was opened, as `revive` returned them.
            limit_s: after it, what is known already is kept.
        """


class LaunchBrowser(Protocol):
    """Starts a browser; the engine calls it again after a crash."""

    async def __call__(self) -> BrowserPort:
        """Launch, within a limit of the implementation's own. Cancelled, it leaves nothing behind.

        Raises:
            BrowserNotFound: no usable binary.
            LaunchFailed: it does not start.
        """


__all__ = [
    "Audit",
    "BrowserFacts",
    "BrowserPort",
    "Cleaning",
    "ContextOptions",
    "ContextPort",
    "Glance",
    "LaunchBrowser",
    "LocalStorage",
    "Navigation",
    "PagePort",
    "Presence",
    "SessionKeeper",
    "SessionTerms",
    "Snapshot",
]
