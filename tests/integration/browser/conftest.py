"""A real browser and a small site whose pages are written in the tests."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from browsercrawl.browser import PlaywrightBrowser, launcher
from browsercrawl.browser.page import PlaywrightPage
from browsercrawl.config import BrowserConfig
from browsercrawl.events import discard
from browsercrawl.ports import Cleaning, ContextOptions, Navigation
from browsercrawl.testing import DemoSite
from browsercrawl.testing.server import Exchange, Server

LIMIT_S = 10.0
GROWTH_BYTES = 64_000_000

Content = str | Callable[[Exchange], None]


class Site:
    """Serves the pages given to it, by path; one that can be called answers by itself."""

    def __init__(self) -> None:
        self._pages: dict[str, Content] = {"/": "<title>home</title>"}
        self._server = Server(self._answer)
        self.stop = self._server.stop

    def url(self, path: str, content: Content | None = None, *, host: str = "127.0.0.1") -> str:
        """Return the address of a page, after setting its content if given."""
        if content is not None:
            self._pages[path.partition("?")[0].partition("#")[0]] = content
        return f"http://{host}:{self._server.port}{path}"

    def hits(self, path: str) -> int:
        """Return how often a path was asked for."""
        return sum(arrival.target.partition("?")[0] == path for arrival in self._server.arrivals())

    def _answer(self, exchange: Exchange) -> None:
        content = self._pages.get(exchange.path)
        if content is None:
            exchange.respond("<title>none</title>", status=404)
        elif callable(content):
            content(exchange)
        else:
            exchange.respond(f"<!doctype html>{content}")


class Tab:
    """A page and the steps of its visits."""

    def __init__(self, page: PlaywrightPage) -> None:
        self.page = page

    async def load(self, url: str, *, limit_s: float = LIMIT_S, load_limit_s: float = 5.0) -> Navigation:
        """Begin a visit and load a URL."""
        await self.page.begin()
        return await self.page.goto(url, wait_until="load", load_limit_s=load_limit_s, limit_s=limit_s)

    async def give_back(
        self, cleaning: Cleaning = Cleaning.FULL, *, growth_bytes_max: int = GROWTH_BYTES
    ) -> str | None:
        """End the visit; return why the page may not serve another."""
        return await self.page.recondition(cleaning, growth_bytes_max=growth_bytes_max, limit_s=LIMIT_S)

    async def visit(self, url: str, script: str = "0") -> object:
        """Make a whole visit: load, evaluate a script, end; the page must be fit afterwards."""
        await self.load(url)
        value = await self.page.raw.evaluate(script)
        reason = await self.give_back()
        assert reason is None, reason
        return value

    async def settle(self) -> None:
        """Wait for what the context does in the background: about popups, dialogs, pages at rest."""
        while pending := {task for task in self.page.context._tasks if not task.done()}:
            await asyncio.wait(pending)

    async def rest(self) -> None:
        """Wait until the page, in stock, begins to be parked."""
        while self.page.rest._parking is None:  # noqa: ASYNC110 - there is nothing else to wait for
            await asyncio.sleep(0.005)


@pytest.fixture
def site() -> Iterator[Site]:
    """A small site."""
    small = Site()
    yield small
    small.stop()


@pytest.fixture
def demo() -> Iterator[DemoSite]:
    """The site with the faults."""
    with DemoSite() as running:
        yield running


@pytest.fixture
def config() -> BrowserConfig:
    """The configuration of `browser`; a test module may set another."""
    return BrowserConfig()


@pytest.fixture
async def browser(config: BrowserConfig) -> AsyncIterator[PlaywrightBrowser]:
    """A real browser."""
    launched = await launcher(config, discard)()
    assert isinstance(launched, PlaywrightBrowser)
    yield launched
    await launched.close(limit_s=LIMIT_S)


@pytest.fixture
async def tab(browser: PlaywrightBrowser) -> Tab:
    """A page of a new context."""
    context = await browser.new_context(ContextOptions(), limit_s=LIMIT_S)
    return Tab(await context.new_page(limit_s=LIMIT_S))
