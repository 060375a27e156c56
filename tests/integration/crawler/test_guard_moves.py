"""Pages that move themselves to where the network guard lets nobody: whatever fails then, the guard is named for it.

And nobody else is: what a page embeds, and the guard refuses, explains no failure of the page.
"""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from browsercrawl import Result, Visit
from browsercrawl.testing.server import Exchange, Server

if TYPE_CHECKING:
    from tests.integration.crawler.conftest import NewCrawler


def later(script: str) -> str:
    """Return a page that does something when it has been loaded."""
    return f"<title>here</title><script>setTimeout(() => {{ {script} }}, 150)</script>"


MOVES = {
    "script": later("location = 'THERE'"),
    "replace": later("location.replace('THERE')"),
    "refresh": "<meta http-equiv=refresh content='0;url=THERE'>",
    "form": "<form method=post action='THERE'><input name=a></form><script>document.forms[0].submit()</script>",
    "frame": "<iframe srcdoc=\"<script>setTimeout(() => { top.location = 'THERE' }, 150)</script>\"></iframe>",
    "hop": later("location = '/redirect'"),
    "name": later("location = 'NAMED'"),
}
HONEST = {
    "picture": "<img src='THERE'>",
    "picture-then-dead": "<img src='THERE'>" + later("location = '/nothing'"),
    "iframe": "<iframe src='THERE'></iframe>",
    "popup": later("window.open('THERE')"),
}
LIMIT_S = 4.0


class Site:
    """A site whose pages move to a service beside it, on another port of this machine."""

    def __init__(self) -> None:
        self.beside = Server(lambda exchange: exchange.respond("secret"))
        self.server = Server(self._answer)
        self.url = f"http://127.0.0.1:{self.server.port}"

    def _answer(self, exchange: Exchange) -> None:
        name = exchange.path.strip("/")
        port = self.beside.port
        there = f"http://127.0.0.1:{port}/"
        if name == "redirect":
            exchange.respond(status=302, headers={"Location": there})
        elif name == "nothing":
            exchange.keep = False
        else:
            page = (MOVES | HONEST).get(name, "")
            exchange.respond(page.replace("THERE", there).replace("NAMED", f"http://service.localhost:{port}/"))


@pytest.fixture(scope="module")
def moving() -> Iterator[Site]:
    """The site."""
    site = Site()
    yield site
    site.server.stop()
    site.beside.stop()


async def crawled(new_crawler: "NewCrawler", urls: list[str], **visit: Any) -> tuple[dict[str, Result], float]:
    """Return the results by the last part of their URLs, and the seconds it took."""
    options = {"network": {"guard": "on"}, "retry": {"retries": 0}, "visit": {"timeout_s": LIMIT_S, **visit}}
    async with new_crawler(**options) as crawler:
        began = time.monotonic()
        results = {result.url.rpartition("/")[2]: result async for result in crawler.stream(urls)}
        return results, time.monotonic() - began


async def test_page_that_moves_while_awaited_is_skipped_at_once(moving: Site, new_crawler: "NewCrawler") -> None:
    """Script, meta refresh, form, a frame's script, a redirect on the way: skipped by the guard, at once."""
    results, took_s = await crawled(new_crawler, [f"{moving.url}/{name}" for name in MOVES], wait_for="#never")
    assert {name: (each.outcome, each.skip_reason) for name, each in results.items()} == dict.fromkeys(
        MOVES, ("skipped", "guard")
    )
    assert took_s < LIMIT_S * len(MOVES) / 2, "each ends with its move, not with its time limit"
    assert moving.beside.arrivals() == ()


async def test_page_that_embeds_what_is_refused_fails_by_itself(moving: Site, new_crawler: "NewCrawler") -> None:
    """A missing element, or a dead address that it moves to, is that; no refused picture is blamed for it."""
    results, _ = await crawled(new_crawler, [f"{moving.url}/{name}" for name in HONEST], wait_for="#never")
    assert {name: each.error and each.error.kind for name, each in results.items()} == {
        "picture": "selector_missing",
        "picture-then-dead": "network",
        "iframe": "selector_missing",
        "popup": "selector_missing",
    }
    results, _ = await crawled(new_crawler, [f"{moving.url}/picture-then-dead"], wait_until="networkidle")
    assert results["picture-then-dead"].error is not None
    assert results["picture-then-dead"].error.kind == "network"
    assert moving.beside.arrivals() == ()


@pytest.mark.parametrize("ends", ["by its error", "by its time limit"])
async def test_handler_whose_page_moves_is_told_as_the_guards(
    moving: Site, new_crawler: "NewCrawler", ends: str
) -> None:
    """A handler that waits for an element of a page that has moved on: the guard is named, not the handler."""
    crawler = new_crawler(network={"guard": "on"}, retry={"retries": 0}, visit={"timeout_s": LIMIT_S})

    @crawler.handler()
    async def wait(visit: Visit) -> None:
        limit_ms = 1_500 if ends == "by its error" else 60_000
        await visit.page.wait_for_selector("#never", timeout=limit_ms)

    async with crawler:
        result = await crawler.fetch(f"{moving.url}/script")
    assert (result.outcome, result.skip_reason, result.data) == ("skipped", "guard", ())
    assert moving.beside.arrivals() == ()


async def test_handler_that_goes_where_it_must_not_is_told_as_the_guards(
    moving: Site, new_crawler: "NewCrawler"
) -> None:
    """What a handler opens in its page is a navigation like another; what it asks for beside it is not."""
    there = f"http://127.0.0.1:{moving.beside.port}/"
    crawler = new_crawler(network={"guard": "on"}, retry={"retries": 0}, visit={"timeout_s": LIMIT_S})

    @crawler.handler()
    async def go(visit: Visit) -> None:
        if visit.request.url.endswith("asks"):
            await visit.page.context.request.get(there)
            raise RuntimeError("its own")
        await visit.page.goto(there)

    async with crawler:
        goes, asks = await crawler.fetch(f"{moving.url}/goes"), await crawler.fetch(f"{moving.url}/asks")
    assert (goes.outcome, goes.skip_reason) == ("skipped", "guard")
    assert asks.error is not None
    assert asks.error.kind == "handler_failed"
    assert moving.beside.arrivals() == ()
