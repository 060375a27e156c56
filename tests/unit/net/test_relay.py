"""The relay between a browser and a proxy with a password: what passes through it, and what does not."""

import asyncio
import contextlib
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from browsercrawl.net import ProxyRelay, Upstream
from browsercrawl.net import relay as relay_module
from browsercrawl.testing import DemoSite, ForwardProxy

if TYPE_CHECKING:
    from tests.unit.net.conftest import Client, Connect, Relay, Scripted, Until

HEADER = b"Proxy-Authorization: Basic cGxhbnRlZC11c2VyOnBsYW50ZWQgcEBzcw==\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def get(url: str, *lines: str) -> bytes:
    """Return a request for a URL, as a browser sends it to a proxy."""
    host = url.split("/")[2]
    return "\r\n".join([f"GET {url} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode()


def tunnel(url: str) -> bytes:
    """Return a request for a tunnel to the host of a URL."""
    host = url.split("/")[2]
    return f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def length(head: bytes) -> int:
    """Return the Content-Length of an answer."""
    return int(head.lower().partition(b"content-length:")[2].split()[0])


async def test_relay_plain_requests_each_come_with_the_credentials(
    client: "Client", relay: ProxyRelay, proxy: ForwardProxy, site: DemoSite
) -> None:
    """Two requests of one connection, the second with a body before it: both reach the site through the proxy."""
    for path in ("/", "/faults/page"):
        client.send(get(site.url + path))
        head = await client.head()
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"</html>" in await client.exactly(length(head))
    assert [(each.target, each.username) for each in proxy.requests] == [
        (f"{site.url}/", "planted-user"),
        (f"{site.url}/faults/page", "planted-user"),
    ]
    assert relay.failure_since(0) is None


async def test_relay_connect_opens_a_tunnel(
    client: "Client", relay: ProxyRelay, proxy: ForwardProxy, site: DemoSite
) -> None:
    """Behind the 200 of a CONNECT the bytes are the client's and the target's own."""
    client.send(tunnel(site.url))
    assert (await client.head()).startswith(b"HTTP/1.1 200 ")
    client.send(b"GET /faults/page HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert (await client.rest()).startswith(b"HTTP/1.1 200 OK")
    assert [(each.method, each.username) for each in proxy.requests] == [("CONNECT", "planted-user")]
    assert relay.failure_since(0) is None


async def test_relay_requests_with_bodies_pass_unchanged_but_for_the_header(
    start: "Relay", connect: "Connect", scripted: "Scripted"
) -> None:
    """Content-Length, chunks with extensions and trailers, and what follows them, reach the proxy byte by byte."""
    received = bytearray()
    whole = asyncio.Event()

    async def record(peer: "Client") -> None:
        while data := await peer.reader.read(65_536):
            received.extend(data)
            if received.endswith(b"last\r\n\r\n"):
                whole.set()

    first = b"POST http://a/ HTTP/1.1\r\n"
    requests = [
        (first, b"Host: a\r\nContent-Length: 5\r\n\r\nGET \r"),
        (first, b"Transfer-Encoding: Chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: r\r\n\r\n"),
        (first, b"Content-Length: 0\r\n\r\n"),
        (b"GET http://b/ HTTP/1.1\r\n", b"X: last\r\n\r\n"),
    ]
    client = await connect(await start(await scripted(record)))
    for line, rest in requests:
        client.send(line + b"proxy-authorization: Basic b3RoZXI=\r\n" + rest)
    async with asyncio.timeout(10):
        await whole.wait()
    assert bytes(received) == b"".join(line + HEADER + rest for line, rest in requests)


async def test_relay_request_in_pieces_is_put_together(client: "Client", site: DemoSite, relay: ProxyRelay) -> None:
    """Where the network cuts a head does not matter."""
    for byte in get(site.url + "/faults/page"):
        client.send(bytes([byte]))
        await client.writer.drain()
        await asyncio.sleep(0)
    assert (await client.head()).startswith(b"HTTP/1.1 200 ")


async def test_relay_upgrade_passes_the_rest_as_it_is(start: "Relay", connect: "Connect", scripted: "Scripted") -> None:
    """After a request to upgrade nothing is taken for HTTP any more."""

    async def echo(peer: "Client") -> None:
        assert HEADER in await peer.head()
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        peer.send(await peer.exactly(9))

    client = await connect(await start(await scripted(echo)))
    client.send(get("http://a/", "Connection: upgrade", "Upgrade: websocket"))
    assert b" 101 " in await client.head()
    client.send(b"\x00\xff\r\n\r\nraw")
    assert await client.rest() == b"\x00\xff\r\n\r\nraw"


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET https://a/ HTTP/1.1\r\n\r\n",
        b"TRACE http://a/ HTTP/1.1\r\n\r\n",
        b"GET http://a/ HTTP/2\r\n\r\n",
        b"GET http://a/ x HTTP/1.1\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\nX: a\r\n Proxy-Authorization: Basic b3RoZXI=\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\nX: a\nProxy-Authorization: Basic b3RoZXI=\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\nContent-Length : 5\r\n\r\n",
        b"POST http://a/ HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST http://a/ HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST http://a/ HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST http://a/ HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    ],
    ids=range(12),
)
async def test_relay_what_is_no_request_to_a_proxy_goes_nowhere(
    client: "Client", proxy: ForwardProxy, relay: ProxyRelay, request_head: bytes
) -> None:
    """It is answered with 400; the proxy, and so the credentials, are not used."""
    client.send(request_head)
    assert (await client.rest()).startswith(b"HTTP/1.1 400 ")
    assert proxy.requests == ()
    assert relay.failure_since(0) is None


async def test_relay_endless_head_is_cut_off(client: "Client", proxy: ForwardProxy) -> None:
    """No more than 64 KiB are read in search of a head's end."""
    client.send(b"GET http://a/ HTTP/1.1\r\nX: " + b"x" * 1_000_000)
    assert (await client.rest())[:13] in {b"HTTP/1.1 400 ", b""}  # the reset of what was unread may overtake it
    assert proxy.requests == ()


async def test_relay_bad_chunk_ends_the_connection(start: "Relay", connect: "Connect", scripted: "Scripted") -> None:
    """A body whose end cannot be found is not guessed at."""

    async def read_all(peer: "Client") -> None:
        assert (await peer.rest()).endswith(b"chunked\r\n\r\n")

    client = await connect(await start(await scripted(read_all)))
    client.send(b"POST http://a/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n")
    assert await client.rest() == b""


async def test_relay_half_closed_tunnel_still_brings_the_answer(
    start: "Relay", connect: "Connect", scripted: "Scripted"
) -> None:
    """A client that has said all gets all that is said to it, and the proxy learns that no more will come."""

    async def answer_at_the_end(peer: "Client") -> None:
        await peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        said = await peer.rest()
        peer.send(said * 100_000)
        await peer.writer.drain()

    client = await connect(await start(await scripted(answer_at_the_end)))
    client.send(tunnel("http://a:1/"))
    await client.head()
    client.send(b"hello")
    client.writer.write_eof()
    assert len(await client.rest()) == 500_000


async def test_relay_slow_client_holds_the_proxy_back(start: "Relay", connect: "Connect", scripted: "Scripted") -> None:
    """What a client does not take stays with the proxy, not in memory; and it is all there in the end."""
    size, sent = 64_000_000, 0
    progress = asyncio.Event()

    async def send_much(peer: "Client") -> None:
        nonlocal sent
        await peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while sent < size:
            peer.send(bytes(1_000_000))
            await peer.writer.drain()
            sent += 1_000_000
            progress.set()

    client = await connect(await start(await scripted(send_much)))
    client.send(get("http://a/"))
    await client.head()
    seen = -1
    while seen < sent:  # half a second without another million means that the sender waits
        seen = sent
        progress.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(progress.wait(), 0.5)
    assert sent < size / 2
    assert len(await client.rest()) == size


@pytest.mark.parametrize("state", ["idle", "tunnel", "no answer", "unread"])
async def test_relay_close_ends_all_at_once(
    relay: ProxyRelay, client: "Client", site: DemoSite, until: "Until", state: str
) -> None:
    """Whatever its connections do, closing takes no second, ends them, and may be done again."""
    if state == "tunnel":
        client.send(tunnel(site.url))
        await client.head()
    elif state != "idle":
        client.send(get(site.url + ("/faults/silent" if state == "no answer" else "/faults/endless")))
        await until(lambda: site.arrivals("/faults/"))
    began = time.monotonic()
    await relay.close()
    await relay.close()
    assert time.monotonic() - began < 1
    await client.rest()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", int(relay.url.rpartition(":")[2]))


async def test_relay_close_right_after_a_connection_leaves_nothing(
    relay: ProxyRelay, connect: "Connect", until: "Until"
) -> None:
    """A connection whose task has not had its first step is closed, too."""
    client = await connect(relay)
    await until(lambda: relay._serving)
    await relay.close()
    assert await client.rest() == b""


async def test_relay_never_started_can_be_closed(upstream: Upstream) -> None:
    """Closing what was not opened is no error."""
    unused = ProxyRelay(upstream)
    await unused.close()
    assert unused.url == ""


async def test_relay_full_refuses_one_more_connection(
    relay: ProxyRelay, connect: "Connect", until: "Until", monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of connections is bounded, and a place is free again when one ends."""
    monkeypatch.setattr(relay_module, "_CONNECTIONS_MAX", 2)
    kept = [await connect(relay) for _ in range(2)]
    assert await (await connect(relay)).rest() == b""
    assert len(relay._serving) == 2
    kept[0].writer.close()
    await until(lambda: len(relay._serving) < 2)
    last = await connect(relay)
    last.send(b"GET / HTTP/1.1\r\n\r\n")
    assert (await last.rest()).startswith(b"HTTP/1.1 400 ")


async def test_relay_client_gone_ends_the_connection_to_the_proxy(
    start: "Relay", connect: "Connect", scripted: "Scripted", until: "Until", monkeypatch: pytest.MonkeyPatch
) -> None:
    """A browser that leaves takes its connection along, also when the proxy does not notice."""
    monkeypatch.setattr(relay_module, "_LINGER_S", 0.1)

    async def never_end(peer: "Client") -> None:
        await peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        await peer.rest()
        await asyncio.Event().wait()

    relay = await start(await scripted(never_end))
    client = await connect(relay)
    client.send(tunnel("http://a:1/"))
    await client.head()
    client.writer.close()
    await until(lambda: not relay._serving)


async def test_relay_tls_proxy_is_spoken_to_by_tls(
    start: "Relay", connect: "Connect", scripted: "Scripted", certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes to an https:// proxy goes by TLS, the credentials included, and its end is passed on."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    heads: list[bytes] = []

    async def answer(peer: "Client") -> None:
        heads.append(await peer.head())
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n" + await peer.exactly(5))

    relay = await start(await scripted(answer, tls=tls))
    client = await connect(relay)
    client.send(tunnel("http://a:1/") + b"hello")
    assert await client.rest() == b"HTTP/1.1 200 OK\r\n\r\nhello"
    assert HEADER in heads[0]
    assert relay.failure_since(0) is None


async def test_relay_tls_client_gone_ends_the_connection_to_the_proxy(
    start: "Relay", connect: "Connect", scripted: "Scripted", certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing can be half-closed, the end of the browser's side ends the proxy's whole connection."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    said = asyncio.get_running_loop().create_future()

    async def answer(peer: "Client") -> None:
        await peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        said.set_result(await peer.rest())

    client = await connect(await start(await scripted(answer, tls=tls)))
    client.send(tunnel("http://a:1/"))
    await client.head()
    client.send(b"last words")
    client.writer.close()
    async with asyncio.timeout(5):
        assert await said == b"last words"
