"""How fake pages and fake browsers behave: the scripts that `fake_browser` plays."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from browsercrawl.clock import Clock
from browsercrawl.errors import BrowsercrawlError

if TYPE_CHECKING:
    from browsercrawl.testing.fake_browser import FakeBrowser, FakeContext

NEVER = float("inf")
"""As a delay: it does not happen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FakePageScript:
    """How the page of one URL behaves.

    Attributes:
        status: HTTP status of the document; None: no HTTP response.
        content_type: of the document.
        headers: of the document, names in lower case.
        final_url: where redirects end; None: at the URL itself.
        title, html, text, links: what a snapshot finds.
        commit_s: from the navigation's start to the document's commit.
        load_s: from the commit to the awaited state.
        call_s: how long each later call into the page takes.
        selectors: what `wait_for` and `glance` find, and how many seconds after the commit.
        network_error: Chromium's name of the failure in place of a document, such as `ERR_CONNECTION_RESET`.
        download: the document is a file.
        hang: the page's script runs for ever once the document has committed, and closing the page does not help but
            for the first: `interruptible` until interrupted, `crashable` until its renderer is crashed, `killable`
            until that is killed, `for_good` until its context is closed.
        crash_s: the renderer dies so long after the commit (0: at the commit); None: never.
        kills_browser: the commit takes the whole browser down.
        close_s: how long closing the page takes from then on.
        popups, dialogs: opened at the commit.
        grows_bytes: how much the renderer grows, and holds.
        lasting: what user code does to the page that outlasts the visit.
        context_lasting: the same, to its context.
    """

    status: int | None = 200
    content_type: str | None = "text/html"
    headers: Mapping[str, str] = field(default_factory=dict)
    final_url: str | None = None
    title: str = ""
    html: str = ""
    text: str = ""
    links: tuple[str, ...] = ()
    commit_s: float = 0.0
    load_s: float = 0.0
    call_s: float = 0.0
    selectors: Mapping[str, float] = field(default_factory=dict)
    network_error: str | None = None
    download: bool = False
    hang: Literal["no", "interruptible", "crashable", "killable", "for_good"] = "no"
    crash_s: float | None = None
    kills_browser: bool = False
    close_s: float = 0.0
    popups: int = 0
    dialogs: int = 0
    grows_bytes: int = 0
    lasting: frozenset[str] = frozenset()
    context_lasting: frozenset[str] = frozenset()


Sites = Callable[[str], FakePageScript] | Mapping[str, FakePageScript] | None
"""Gives each URL its page. A mapping answers 404 elsewhere; None gives every URL an empty page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeCall:
    """A call into a browser, its contexts and pages.

    Attributes:
        number: of the call among all of its browser; 1 is the first.
        what: is called, such as `page.goto`.
        context: that is called, or whose page is; None: the browser itself.
        limit_s: the call's own.
    """

    number: int
    what: str
    browser: "FakeBrowser"
    context: "FakeContext | None"
    limit_s: float


@dataclass(slots=True, kw_only=True)
class FakeBehaviour:
    """How a browser does, apart from its pages. May be changed while it runs.

    Attributes:
        open_context_s, open_page_s: how long opening takes.
        close_context_s, close_browser_s: how long closing takes.
        dies_at_call: the browser dies at its call of that number (1 is the first), whatever the call.
        before_call: is awaited first in every call: may raise what the call shall raise, wait, or break something.
        context_error: what opening a context raises.
        leaked_contexts, leaked_pages: so many more of them an audit finds.
        browser_bytes: what it finds that the browser holds.
        audit_s: how long an audit takes.
    """

    open_context_s: float = 0.0
    open_page_s: float = 0.0
    close_context_s: float = 0.0
    close_browser_s: float = 0.0
    dies_at_call: int | None = None
    before_call: Callable[[FakeCall], Awaitable[None]] | None = None
    context_error: BrowsercrawlError | None = None
    leaked_contexts: int = 0
    leaked_pages: int = 0
    browser_bytes: int = 0
    audit_s: float = 0.0


_NOT_FOUND = FakePageScript(status=404)
BLANK = FakePageScript()
"""An empty page that answers at once."""


def script_for(sites: Sites, url: str) -> FakePageScript:
    """Return how the page of a URL behaves."""
    if sites is None:
        return BLANK
    return sites(url) if callable(sites) else sites.get(url, _NOT_FOUND)


async def sleep_unless(stirred: asyncio.Future[str], *, clock: Clock, seconds: float) -> None:
    """Sleep on the clock, but not beyond the moment `stirred` is done."""
    sleep: asyncio.Future[Any] = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait({sleep, stirred}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        sleep.cancel()
