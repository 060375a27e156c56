"""A demo site and a real browser for each test."""

import os
import shutil
from collections.abc import AsyncIterator, Iterator

import pytest
from playwright.async_api import Browser, async_playwright

from browsercrawl.testing import DemoSite


@pytest.fixture
def site() -> Iterator[DemoSite]:
    """A demo site of the default size, stopped afterwards."""
    with DemoSite() as site:
        yield site


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    """A Chromium driven by plain Playwright: these tests are about the site, not about the crawler."""
    names = ("chromium-headless-shell", "chromium", "google-chrome")
    found = next((path for path in map(shutil.which, names) if path), None)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, chromium_sandbox=os.geteuid() != 0)
        yield browser
        await browser.close()
