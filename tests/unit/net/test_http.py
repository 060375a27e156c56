"""The crawler's own HTTP client, against a server that misbehaves."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from browsercrawl.config import NetworkConfig
from browsercrawl.errors import NetworkFailed
from browsercrawl.net import Guard, HttpClient
from browsercrawl.testing.server import Exchange, Server

BYTES_MAX = 10_000
BOMB = gzip.compress(b"0" * 20_000_000)


def answer(exchange: Exchange) -> None:
    """Answer by path."""
    match exchange.path:
        case "/agent":
            exchange.respond(exchange.headers["user-agent"], headers={"Set-Cookie": "a=1"})
        case "/cookie":
            exchange.respond(exchange.headers.get("cookie", "none"))
        case "/gzip":
            exchange.respond(gzip.compress(b"packed"), headers={"Content-Encoding": "gzip"})
        case "/bomb":
            exchange.respond(BOMB, headers={"Content-Encoding": "gzip"})
        case "/damaged":
            exchange.respond(gzip.compress(b"packed")[:-9], headers={"Content-Encoding": "gzip"})
        case "/large":
            exchange.respond(b"x" * 1_000_000)
        case "/slow":
            exchange.begin({"Content-Length": "10"})
            exchange.send(b"a")
            exchange.pause(None)
        case "/hops":
            left = exchange.number("n", 0, most=100)
            exchange.respond(status=302 if left else 200, headers={"Location": f"/hops?n={left - 1}"} if left else {})
        case "/away":
            exchange.respond(status=302, headers={"Location": "ftp://a.test/"})
        case "/nowhere":
            exchange.respond(status=302, headers={"Location": "http://[fe80::1%\x83]/"})
        case "/cut":
            exchange.begin({"Content-Length": "10"})
            exchange.send(b"a")
            exchange.reset()
        case _:
            exchange.respond("nothing here", status=404)


@pytest.fixture
async def site() -> AsyncIterator[tuple[HttpClient, str]]:
    """Return a client, and the address of a server."""
    server = Server(answer)
    client = HttpClient(user_agent="browsercrawl/1 (+a@b.test)", bytes_max=BYTES_MAX, limit_s=2.0)
    yield client, f"http://127.0.0.1:{server.port}"
    server.stop()


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/agent", 200, b"browsercrawl/1 (+a@b.test)"),
        ("/gzip", 200, b"packed"),
        ("/bomb", 200, b"0" * BYTES_MAX),
        ("/large", 200, b"x" * BYTES_MAX),
        ("/none", 404, b""),
        ("/hops?n=5", 200, b""),
        ("/hops?n=6", 302, b""),
        ("/away", 302, b""),
        ("/nowhere", 302, b""),
    ],
)
async def test_get_answer_is_given_within_bounds(
    site: tuple[HttpClient, str], path: str, status: int, body: bytes
) -> None:
    """The status after at most five redirects, and as much of the unpacked body as may be."""
    client, root = site
    document = await client.get(f"{root}{path}")
    assert (document.status, document.body) == (status, body)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/slow", "ERR_TIMED_OUT"),
        ("/cut", "ERR_INVALID_RESPONSE"),
        ("/damaged", "ERR_CONTENT_DECODING_FAILED"),
    ],
)
async def test_get_answer_that_is_not_whole_is_none(site: tuple[HttpClient, str], path: str, code: str) -> None:
    """A body that stops, breaks off or is damaged fails, in time, and the code says how."""
    client, root = site
    with pytest.raises(NetworkFailed) as failed:
        await client.get(f"{root}{path}")
    assert failed.value.code == code


async def test_get_unreachable_server_fails(site: tuple[HttpClient, str]) -> None:
    """Nobody listens there."""
    with pytest.raises(NetworkFailed) as failed:
        await site[0].get("http://127.0.0.1:1/")
    assert failed.value.code == "ERR_CONNECTION_FAILED"


async def test_get_keeps_no_cookies(site: tuple[HttpClient, str]) -> None:
    """One answer leaves nothing for the next request."""
    client, root = site
    await client.get(f"{root}/agent")
    assert (await client.get(f"{root}/cookie")).body == b"none"


async def test_get_through_socks_says_that_it_cannot(site: tuple[HttpClient, str]) -> None:
    """No way is taken but the one that was asked for."""
    with pytest.raises(NetworkFailed, match="socks5"):
        await site[0].get(site[1], "socks5://127.0.0.1:1")


async def test_get_through_a_dead_proxy_fails(site: tuple[HttpClient, str]) -> None:
    """It is not fetched past the proxy."""
    with pytest.raises(NetworkFailed):
        await site[0].get(f"{site[1]}/agent", "http://me:pw@127.0.0.1:1")


async def test_get_sends_any_user_agent() -> None:
    """Also one that is not ASCII; one that is no header fails, and breaks into no other header."""
    server = Server(lambda exchange: exchange.respond(exchange.headers["user-agent"]))
    root = f"http://127.0.0.1:{server.port}"
    try:
        client = HttpClient(user_agent="caf\u00e9", bytes_max=BYTES_MAX, limit_s=5)
        assert (await client.get(root)).body.startswith(b"caf")
        with pytest.raises(NetworkFailed):
            await HttpClient(user_agent="a\r\nX: y", bytes_max=BYTES_MAX, limit_s=5).get(root)
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("host", "sent"),
    [
        ("xn--ls8h.test", b"xn--ls8h.test"),
        ("xn--a.test", b"xn--a.test"),
        ("b\u00fccher.test", b"xn--bcher-kva.test"),
        ("i\u2764.test", b"xn--i-7iq.test"),
        ("a_b.test", b"a_b.test"),
        ("[::1]:8000", b"[::1]:8000"),
        ("me:p%40ss@a.test", b"a.test"),
    ],
)
async def test_get_any_host_that_browsers_visit_is_asked_for(host: str, sent: bytes) -> None:
    """Names that newer rules forbid, and IPv6 addresses, arrive at a proxy as a browser writes them."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        line = b"302 Found\r\nLocation: x" if b"/robots.txt" in heads[-1] else b"200 OK"
        writer.write(b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % line)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        client = HttpClient(user_agent="x", bytes_max=BYTES_MAX, limit_s=5)
        proxy = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert (await client.get(f"http://{host}/robots.txt", proxy)).status == 200
    assert [head.split(b"\r\n")[0] for head in heads] == [
        b"GET http://%b/%b HTTP/1.1" % (sent, path) for path in (b"robots.txt", b"x")
    ]
    assert all(b"\r\nHost: %b\r\n" % sent in head for head in heads)
    assert (b"Basic bWU6cEBzcw==" in heads[0]) is ("@" in host)


async def test_get_https_comes_through_a_tunnel(certificate: Path) -> None:
    """By the guard's way as well a certificate is looked at, unless that is not wanted."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()

    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    guard = Guard(NetworkConfig(guard="on", allow_private=True), emit=lambda _: None)
    way = await guard.open(None)
    async with server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        lax = HttpClient(user_agent="x", bytes_max=BYTES_MAX, limit_s=5, verify=False)
        assert (await lax.get(url, way.url)).body == b"ok"
        with pytest.raises(NetworkFailed):
            await HttpClient(user_agent="x", bytes_max=BYTES_MAX, limit_s=5).get(url, way.url)
    await way.close()
    guard.close()
