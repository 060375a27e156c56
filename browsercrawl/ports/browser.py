"""A browser and its contexts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from browsercrawl.errors import BrowsercrawlError
from browsercrawl.ports.page import PagePort


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
    relayed: bool = False
    """Its proxy is one of our own, which refuses what is blocked."""


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

    def kill_heaviest(self, error: Callable[[], BrowsercrawlError]) -> bool:
        """Kill the renderer that holds most, at once, without asking the browser.

        Args:
            error: makes what the calls of its pages raise then.

        Returns:
            Whether there was one.
        """

    async def trim(self, *, limit_s: float) -> bool:
        """Ask all its processes to drop caches and collect garbage. Returns whether it was heard. Never raises."""

    async def close(self, *, limit_s: float) -> bool:
        """Close politely within the limit, then kill what is left, driver included. Returns whether it was polite.

        Afterwards no process and no temporary file of this browser is left. Never raises; may be called again.
        """

    async def kill(self) -> None:
        """Kill the browser's process group and its driver at once. Never raises; may be called again."""


class LaunchBrowser(Protocol):
    """Starts a browser; the engine calls it again after a crash."""

    async def __call__(self) -> BrowserPort:
        """Launch, within a limit of the implementation's own. Cancelled, it leaves nothing behind.

        Raises:
            BrowserNotFound: no usable binary.
            LaunchFailed: it does not start.
        """
