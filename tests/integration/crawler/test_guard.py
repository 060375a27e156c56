"""Crawls through the network guard: a page is what it is without, and so are its failures."""

import random
import socket
from contextlib import suppress
from typing import Any

import pytest
from playwright.async_api import Error as PlaywrightError

from browsercrawl import Crawler, CrawlerConfig, Result, Visit
from browsercrawl.testing.server import Exchange, Server

GUARDS = ("on", "off")


def make(guard: str, **options: Any) -> Crawler:
    """Make a crawler of one page at a time, a new one for each visit."""
    values = {"concurrency": 1, "retry": {"retries": 0}, "pool": {"reuse": "never"}, "network": {"guard": guard}}
    return Crawler(CrawlerConfig.load(values | options))


async def crawl(crawler: Crawler, urls: list[str]) -> list[Result]:
    """Return the results in the order of the URLs."""
    results = {result.url: result async for result in crawler.stream(urls)}
    return [results[url] for url in urls]


@pytest.mark.parametrize("guard", GUARDS)
async def test_crawl_guarded_keeps_the_http_cache(guard: str) -> None:
    """What a page may keep is fetched once, for several pages; the site sees the same requests."""

    def answer(exchange: Exchange) -> None:
        if exchange.path == "/style.css":
            exchange.respond("p {}", content_type="text/css", headers={"Cache-Control": "max-age=600"})
        else:
            proxied = sorted(name for name in exchange.headers if name.startswith("proxy"))
            connection = exchange.headers.get("connection")
            exchange.respond(f"<title>{proxied} {connection}</title><link rel=stylesheet href=/style.css>")

    server = Server(answer)
    try:
        base = f"http://127.0.0.1:{server.port}"
        results = await crawl(make(guard), [f"{base}/{number}" for number in range(3)])
        assert [result.title for result in results] == ["[] keep-alive"] * 3
        assert [arrival.target for arrival in server.arrivals()].count("/style.css") == 1
    finally:
        server.stop()


@pytest.mark.parametrize("guard", GUARDS)
async def test_crawl_guarded_failures_have_their_own_names(guard: str) -> None:
    """A port where nobody listens, a connection without an answer and one that is reset are told apart as ever."""

    def answer(exchange: Exchange) -> None:
        exchange.keep = False
        if exchange.path == "/reset":
            exchange.reset()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        dead = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    server = Server(answer)
    try:
        base = f"http://127.0.0.1:{server.port}"
        results = await crawl(make(guard), [dead, f"{base}/nothing", f"{base}/reset"])
    finally:
        server.stop()
    told = [result.error.message.rpartition(" ")[2] for result in results if result.error is not None]
    assert told == ["ERR_CONNECTION_REFUSED", "ERR_EMPTY_RESPONSE", "ERR_CONNECTION_RESET"]


async def test_crawl_guarded_holds_for_requests_of_a_handler() -> None:
    """What a handler asks for by Playwright's own client goes the same way as its page."""
    beside = Server(lambda exchange: exchange.respond("secret"))
    server = Server(lambda exchange: exchange.respond("<title>here</title>"))
    crawler = make("on")

    @crawler.handler()
    async def _(visit: Visit) -> None:
        own = await visit.page.context.request.get(f"http://127.0.0.1:{server.port}/more")
        visit.push(await own.text())
        with suppress(PlaywrightError):
            visit.push(await (await visit.page.context.request.get(f"http://127.0.0.1:{beside.port}/")).text())

    try:
        (result,) = await crawl(crawler, [f"http://127.0.0.1:{server.port}/"])
        assert beside.arrivals() == ()
        assert result.data[0] == "<title>here</title>"
        assert "secret" not in result.data
    finally:
        server.stop()
        beside.stop()


async def test_crawl_guarded_refuses_another_port_of_this_machine() -> None:
    """A seed's own origin is allowed, the service beside it is not: its picture is refused, its redirect skipped."""
    beside = Server(lambda exchange: exchange.respond("secret"))

    def answer(exchange: Exchange) -> None:
        there = f"http://127.0.0.1:{beside.port}/"
        if exchange.path == "/go":
            exchange.respond(status=302, headers={"Location": there})
        else:
            exchange.respond(f"<title>here</title><img src='{there}'>")

    server = Server(answer)
    try:
        base = f"http://127.0.0.1:{server.port}"
        stream = make("on").stream([f"{base}/", f"{base}/go"])
        results = {result.url: result async for result in stream}
        assert (results[f"{base}/"].title, results[f"{base}/"].outcome) == ("here", "succeeded")
        went = results[f"{base}/go"]
        assert (went.outcome, went.skip_reason, went.html) == ("skipped", "guard", None)
        assert beside.arrivals() == ()
        assert stream.summary is not None
        assert stream.summary.refused >= 2
    finally:
        server.stop()
        beside.stop()


@pytest.mark.parametrize("guard", GUARDS)
async def test_crawl_result_tells_bytes_and_refused_connections(guard: str) -> None:
    """What a page transferred, and what was refused to it, stands in its result; without a guard nobody counts."""
    beside = Server(lambda exchange: exchange.respond("secret"))
    style = f"/*{random.Random(1).randbytes(150_000).hex()}*/"

    def answer(exchange: Exchange) -> None:
        if exchange.path == "/style":
            exchange.respond(style, content_type="text/css")
        else:
            more = (
                "<link rel=stylesheet href=/style>"
                if exchange.path == "/large"
                else f"<img src='http://127.0.0.1:{beside.port}/'>"
            )
            exchange.respond(f"<!doctype html><title>here</title><link rel=icon href=data:,>{more}")

    server = Server(answer)
    try:
        base = f"http://127.0.0.1:{server.port}"
        stream = make(guard).stream([f"{base}/large", f"{base}/refused"])
        results = {result.url.rpartition("/")[2]: result async for result in stream}
    finally:
        server.stop()
        beside.stop()
    large, refused = results["large"], results["refused"]
    assert stream.summary is not None
    if guard == "off":
        assert {large.transferred_bytes, refused.transferred_bytes} == {None}
        assert (stream.summary.transferred_bytes, refused.refused_connections) == (0, 0)
        return
    assert large.transferred_bytes is not None
    assert refused.transferred_bytes is not None
    assert 300_000 < large.transferred_bytes < 310_000
    assert 100 < refused.transferred_bytes < 10_000
    assert (large.refused_connections, refused.refused_connections) == (0, stream.summary.refused)
    assert stream.summary.refused >= 1
    assert stream.summary.transferred_bytes >= large.transferred_bytes + refused.transferred_bytes
