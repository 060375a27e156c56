"""A page, and what is learned from one."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from browsercrawl.errors import BrowsercrawlError
from browsercrawl.request import Capture, WaitUntil
from browsercrawl.result import DownloadedFile

if TYPE_CHECKING:
    from browsercrawl.ports.browser import ContextPort


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
        latency_s: from the request for the main document to its first byte; None: it came from a cache, or none came.
        committed: a document came with it. Without one (204, an empty error page) the page still shows what was there
            before: nothing may be taken from it.
    """

    final_url: str
    status: int | None
    content_type: str | None
    headers: Mapping[str, str] = field(default_factory=dict)
    loaded: bool = True
    latency_s: float | None = None
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

    @property
    def documents(self) -> Mapping[str, int]:
        """Documents that have loaded in the page during this visit, its own included, by host:port."""

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
            NetworkFailed: it will not be: the document has gone on to where nothing could be reached.
        """

    async def unreached(self, *, limit_s: float) -> str | None:
        """Return where the page itself has gone last, if no answer came from there; None: one did. Never raises.

        Its redirects count; what its documents embed does not.
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
