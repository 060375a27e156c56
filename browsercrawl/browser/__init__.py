"""The browser layer: Chromium driven through Playwright. Only this package imports Playwright at run time."""

from browsercrawl.browser.discovery import BrowserBinary, find_browser
from browsercrawl.browser.driver import refuse_unsupported
from browsercrawl.browser.launch import PlaywrightBrowser, launcher

__all__ = ["BrowserBinary", "PlaywrightBrowser", "find_browser", "launcher", "refuse_unsupported"]
