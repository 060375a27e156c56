"""Events of what a crawl uses: leases, pages, contexts, browsers."""

from typing import Literal

from browsercrawl.errors import ErrorKind
from browsercrawl.events.base import Event, Level

Rung = Literal[
    "interrupt", "stop_loading", "close_page", "crash_page", "kill_renderer", "close_context", "kill_browser"
]
"""Of the ladder that a page meets which does not answer, in this order; each only if those before did not help."""


class LeaseAcquired(Event):
    """A page was lent to a visit."""

    name = "lease.acquired"
    level = Level.DEBUG
    lease_id: int
    session: str
    context_id: int
    page_visits: int
    waited_s: float


class LeaseReleased(Event):
    """A lease ended. `kept` tells whether its page went back to stock, `why` why not; its popups were closed."""

    name = "lease.released"
    level = Level.DEBUG
    lease_id: int
    session: str
    held_s: float
    kept: bool
    why: str | None
    popups: int = 0
    dialogs: int = 0


class ContextOpened(Event):
    """A browser context was opened for a session."""

    name = "context.opened"
    context_id: int
    session: str
    contexts: int


class ContextRecycled(Event):
    """A context is worn or was changed by user code: it ends when its last lease does."""

    name = "context.recycled"
    context_id: int
    session: str
    why: str
    visits: int


class ContextClosed(Event):
    """A browser context was closed."""

    name = "context.closed"
    context_id: int
    session: str
    clean: bool
    contexts: int


class BrowserLaunched(Event):
    """A browser is up."""

    name = "browser.launched"
    pid: int | None
    binary: str
    version: str
    sandbox: bool
    generation: int
    took_s: float


class BrowserLaunchFailed(Event):
    """A browser did not start; it is tried again, unless that is hopeless: then the run ends with this error."""

    name = "browser.launch_failed"
    level = Level.WARNING
    kind: ErrorKind
    message: str
    took_s: float


class SandboxUnavailable(Event):
    """Chromium runs without its sandbox: a hostile page has one wall less to climb."""

    name = "browser.sandbox_unavailable"
    level = Level.WARNING
    reason: str
    remedy: str


class BrowserCrashed(Event):
    """The browser or its driver died, or did not answer any more; it will be relaunched."""

    name = "browser.crashed"
    level = Level.ERROR
    generation: int
    reason: str
    leases_lost: int


class BrowserRetired(Event):
    """A browser was closed on purpose."""

    name = "browser.retired"
    generation: int
    clean: bool


class PageKilled(Event):
    """A page that did not answer was interrupted or closed by force."""

    name = "page.killed"
    level = Level.WARNING
    lease_id: int | None
    rung: Rung
    worked: bool
    took_s: float


class BrowserRecycled(Event):
    """A browser is worn: another is up in its place, and it is closed when the last of its contexts has ended."""

    name = "browser.recycled"
    generation: int
    why: str
    visits: int


class RendererKilled(Event):
    """Renderers held more memory than a page may have in mid-visit; they were killed, and their pages fail."""

    name = "renderer.killed"
    level = Level.WARNING
    renderers: int
    bytes_most: int
    limit_bytes: int


class PoolChecked(Event):
    """What is open was counted against what the browser itself has open.

    `contexts_seen` and `pages_seen` are the browser's counts, popups included; `orphans` were open, known to nobody,
    and were closed; `strays` are processes that the browser had forgotten, and were killed.
    """

    name = "pool.checked"
    generation: int
    contexts: int
    contexts_seen: int
    pages: int
    pages_seen: int
    orphans: int
    strays: int
    renderers: int
    renderer_bytes: int
    browser_bytes: int


class LimitChanged(Event):
    """So many pages may be in use from now on; `signal` keeps it from being more. 0: none may start for now."""

    name = "limit.changed"
    limit: int
    before: int
    signal: str


class PressureChanged(Event):
    """Another sensor decides the limit now, or the crawl is paused, or goes on: `state` says which."""

    name = "pressure.changed"
    state: str
    signal: str
    memory_used_bytes: int
    memory_limit_bytes: int
    memory_source: str


class PressureShed(Event):
    """Memory runs short: something was given up. `share` of the limit is used, `threshold` is where that begins."""

    name = "pressure.shed"
    level = Level.WARNING
    rung: str
    share: float
    threshold: float
