"""What the engine asks of a browser: the interface between `pool`, `visit` and whoever drives Chromium.

`browser/` implements it over Playwright, `testing/` with a fake; one conformance suite holds both to this text.
The rules for every call: it takes a limit in seconds, it returns or raises within that limit plus a moment even when
the browser, the renderer or the driver is stopped, and it raises only errors of `browsercrawl.errors`.
"""

from browsercrawl.ports.browser import Audit, BrowserFacts, BrowserPort, ContextOptions, ContextPort, LaunchBrowser
from browsercrawl.ports.page import Cleaning, Glance, LocalStorage, Navigation, PagePort, Presence, Snapshot
from browsercrawl.ports.sessions import SessionKeeper, SessionTerms

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
