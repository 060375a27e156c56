"""How a relay's connections end, and what it makes of spellings that its proxy might read in another way."""

import asyncio
import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from browsercrawl.net import ProxyRelay, Upstream
from browsercrawl.net import relay as relay_module

if TYPE_CHECKING:
    from tests.unit.net.conftest import Client, Connect, Relay, Scripted, Until

LIMIT_S = 10.0
PIECE = 40_000
ANSWER = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
GET = b"GET http://site.test/ HTTP/1.1\r\n\r\n"


async def reading_nothing(relay: ProxyRelay, sent: bytes) -> socket.socket:
    """Return a browser's socket that has sent something and reads nothing."""
    browser = socket.socket()
    browser.setblocking(False)
    await asyncio.get_running_loop().sock_connect(browser, ("127.0.0.1", int(relay.url.rpartition(":")[2])))
    await asyncio.get_running_loop().sock_sendall(browser, sent)
    return browser


async def received(browser: socket.socket) -> int:
    """Return how many bytes come until the end; a reset is raised."""
    count = 0
    async with asyncio.timeout(LIMIT_S):
        while data := await asyncio.get_running_loop().sock_recv(browser, 1_000_000):
            count += len(data)
    return count


async def test_relay_answer_cut_by_a_reset_does_not_look_complete(
    start: "Relay", connect: "Connect", scripted: "Scripted"
) -> None:
    """An answer without a length ends with its connection: if that is reset, the browser must see a reset."""

    async def cut(peer: "Client") -> None:
        await peer.head()
        peer.send(ANSWER + b"half of")
        await peer.writer.drain()
        peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    client = await connect(await start(await scripted(cut)))
    client.send(GET)
    assert await client.exactly(len(ANSWER) + len(b"half of"))
    with pytest.raises(ConnectionResetError):
        await client.exactly(1)


async def test_relay_complete_answer_waits_for_a_slow_browser(
    scripted: "Scripted", until: "Until", monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the proxy sent before it ended the connection is the browser's, whenever it comes to read it."""
    monkeypatch.setattr(relay_module, "_LINGER_S", 0.05)
    writers: list[asyncio.StreamWriter] = []
    sent = 0
    is_over = asyncio.Event()

    async def fill(peer: "Client") -> None:
        nonlocal sent
        await peer.head()
        data = ANSWER
        while data:
            peer.send(data)
            sent += len(data)
            await until(is_through)
            data = b"" if is_behind() else bytes(PIECE)
        is_over.set()

    def is_through() -> bool:
        return relay.ledger.transferred_bytes >= sent + len(GET) or is_behind() > 0

    def is_behind() -> int:
        return writers[0].transport.get_write_buffer_size()

    def noted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        accept(reader, writer)

    relay = ProxyRelay(await scripted(fill))
    accept = relay._accept
    monkeypatch.setattr(relay, "_accept", noted)
    await relay.start()
    with await reading_nothing(relay, GET) as browser:
        async with asyncio.timeout(LIMIT_S):
            await is_over.wait()
        patience = asyncio.get_running_loop().time() + 0.5
        await until(lambda: asyncio.get_running_loop().time() > patience)
        assert await received(browser) == sent
    await relay.close()


@pytest.mark.parametrize(
    "head",
    [
        b"POST http://site.test/ HTTP/1.1\r\nContent-Length: 90000000\r\n\r\n",
        b"POST http://site.test/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5000000\r\n",
        b"CONNECT site.test:443 HTTP/1.1\r\n\r\n",
    ],
)
async def test_relay_stuck_upload_ends_when_the_browser_leaves(
    start: "Relay", scripted: "Scripted", until: "Until", monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    """A proxy that reads nothing keeps no connection for ever, though the browser's end is not seen meanwhile."""
    monkeypatch.setattr(relay_module, "STALL_S", 1.0)
    monkeypatch.setattr(relay_module, "_LINGER_S", 0.05)
    over = asyncio.Event()

    async def idle(peer: "Client") -> None:
        await peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # the stream's own, not in its base class
        await over.wait()

    relay = await start(await scripted(idle))
    with await reading_nothing(relay, head) as browser:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await asyncio.get_running_loop().sock_sendall(browser, bytes(50_000_000))
        browser.close()
        await until(lambda: not relay._serving)
    over.set()


async def test_relay_start_cancelled_leaves_no_listener() -> None:
    """Cancelled at whichever await, it listens no more."""
    before = {each.laddr for each in psutil.Process().net_connections("inet")}
    for turns in range(20):
        relay = ProxyRelay(Upstream("127.0.0.1", 1))
        starting = asyncio.create_task(relay.start())
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
            await relay.close()
    assert {each.laddr for each in psutil.Process().net_connections("inet")} <= before


@pytest.mark.parametrize(
    ("sent", "line"),
    [
        (b"GET http://010.0.0.1:80/a HTTP/1.1", b"GET http://8.0.0.1/a HTTP/1.1"),
        (b"GET http://site.test\\@10.0.0.1/a HTTP/1.1", b"GET http://site.test/a HTTP/1.1"),
        (b"GET HTTP://me@Site.test:81?a#b HTTP/1.0", b"GET http://site.test:81/?a HTTP/1.0"),
        (b"CONNECT 010.0.0.1 HTTP/1.1", b"CONNECT 8.0.0.1:80 HTTP/1.1"),
        (b"CONNECT [::0001]:443 HTTP/1.1", b"CONNECT [::1]:443 HTTP/1.1"),
    ],
)
async def test_relay_proxy_gets_the_host_that_was_judged(
    start: "Relay", connect: "Connect", scripted: "Scripted", sent: bytes, line: bytes
) -> None:
    """Programs disagree about odd spellings of hosts: the proxy gets none."""
    heads: list[bytes] = []

    async def note(peer: "Client") -> None:
        heads.append(await peer.head())
        peer.send(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")

    client = await connect(await start(await scripted(note)))
    client.send(sent + b"\r\nHost: x\r\n\r\n")
    await client.rest()
    assert [head.split(b"\r\n")[0] for head in heads] == [line]


async def test_relay_head_too_long_gets_no_answer_of_ours(client: "Client") -> None:
    """It ends the connection: what is said would pass for the site's refusal."""
    client.send(b"GET http://site.test/?%b HTTP/1.1\r\n\r\n" % (b"x" * 2_000_000))
    assert await client.rest() == b""


async def test_relay_proxys_name_that_hangs_keeps_no_file_waiting(
    start: "Relay", connect: "Connect", until: "Until", monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy's name is looked up apart from what else needs threads."""
    released = threading.Event()
    hanging: list[int] = []

    def hang(*_: Any, **__: Any) -> Any:
        hanging.append(1)
        released.wait(LIMIT_S)
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    relay = await start(Upstream("slow.test", 8080))
    clients = [await connect(relay) for _ in range(40)]
    for client in clients:
        client.send(GET)
    await until(lambda: hanging)
    patience = asyncio.get_running_loop().time() + 0.2
    await until(lambda: asyncio.get_running_loop().time() > patience)
    try:
        async with asyncio.timeout(2):
            assert await asyncio.to_thread(int) == 0
    finally:
        released.set()
    for client in clients:
        assert await client.rest() == b""
    assert "unknown" in (relay.failure_since(0) or "")
