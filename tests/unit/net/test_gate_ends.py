"""How a gate's connections end: cut by a site, left by a slow browser, closed with the gate."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator

import psutil
import pytest

from browsercrawl.net import Ledger
from browsercrawl.net import gate as gate_module
from browsercrawl.net.gate import Gate

LIMIT_S = 10.0
PIECE = 40_000
RESET = struct.pack("ii", 1, 0)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A site that does nothing by itself."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


@pytest.fixture
async def gate(listener: socket.socket) -> AsyncIterator[Gate]:
    """A gate by which everything leads to that site."""

    async def dial(_host: str, _port: int) -> socket.socket:
        made = socket.socket()
        made.setblocking(False)
        await asyncio.get_running_loop().sock_connect(made, listener.getsockname())
        return made

    made = Gate(dial, Ledger())
    await made.start()
    yield made
    await made.close()
    await asyncio.sleep(0)


async def asked(gate: Gate, listener: socket.socket, sent: bytes = b"") -> tuple[socket.socket, socket.socket]:
    """Return a browser's socket that has sent a request, and the site's, which has read it."""
    loop = asyncio.get_running_loop()
    browser = socket.socket()
    browser.setblocking(False)
    await loop.sock_connect(browser, ("127.0.0.1", int(gate.url.rpartition(":")[2])))
    await loop.sock_sendall(browser, sent or b"GET http://site.test/ HTTP/1.1\r\n\r\n")
    site, _ = await loop.sock_accept(listener)
    site.setblocking(False)
    assert b"\r\n\r\n" in await loop.sock_recv(site, 4096)
    return browser, site


async def received(browser: socket.socket) -> int:
    """Return how many bytes come until the end; a reset is raised."""
    count = 0
    async with asyncio.timeout(LIMIT_S):
        while data := await asyncio.get_running_loop().sock_recv(browser, 1_000_000):
            count += len(data)
    return count


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110 - what it looks at announces nothing
            await asyncio.sleep(0)


async def counted(gate: Gate, count: int) -> None:
    """Wait until so many bytes have passed."""
    await until(lambda: gate.ledger.transferred_bytes >= count)


async def fill(site: socket.socket, gate: Gate) -> int:
    """Send until the browser's buffers are full and the gate has something left; return how much that was."""
    sent = 0
    side = next(iter(gate.sides))
    while not side.transport.get_write_buffer_size():
        await asyncio.get_running_loop().sock_sendall(site, bytes(PIECE))
        sent += PIECE
        await counted(gate, sent)
    return sent


async def test_gate_answer_cut_by_a_reset_does_not_look_complete(gate: Gate, listener: socket.socket) -> None:
    """A browser that is behind learns as well that the site has not sent everything."""
    browser, site = await asked(gate, listener)
    with browser:
        await fill(site, gate)
        site.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        site.close()
        await until(lambda: not gate.sites)
        with pytest.raises(ConnectionResetError):
            await received(browser)


async def test_gate_complete_answer_waits_for_a_slow_browser(
    gate: Gate, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a site sent before it ended the connection is the browser's, whenever it comes to read it."""
    monkeypatch.setattr(gate_module, "_LINGER_S", 0.05)
    browser, site = await asked(gate, listener)
    with browser:
        sent = await fill(site, gate)
        site.close()
        await until(lambda: not gate.sites)
        patience = asyncio.get_running_loop().time() + 10 * gate_module._LINGER_S
        await until(lambda: asyncio.get_running_loop().time() > patience)
        assert await received(browser) == sent


UPLOAD = b"POST http://site.test/ HTTP/1.1\r\nContent-Length: 90000000\r\n\r\n"


@pytest.mark.parametrize("leaves", ["browser", "site"])
async def test_gate_stuck_upload_ends_when_either_side_leaves(
    gate: Gate, listener: socket.socket, monkeypatch: pytest.MonkeyPatch, leaves: str
) -> None:
    """A site that reads nothing keeps no connection for ever, though the browser's end is not seen meanwhile."""
    monkeypatch.setattr(gate_module, "STALL_S", 1.0 if leaves == "browser" else 60.0)
    browser, site = await asked(gate, listener, UPLOAD)
    with browser, site:
        side = next(iter(gate.sides))
        assert side.other is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await asyncio.get_running_loop().sock_sendall(browser, bytes(90_000_000))
        assert side.other.is_full
        (browser if leaves == "browser" else site).close()
        await until(lambda: not gate.sides and not gate.sites)


async def test_gate_close_ends_what_is_on_its_way_to_a_site(gate: Gate, listener: socket.socket) -> None:
    """A site that does not read keeps no connection once the gate is closed."""
    browser, site = await asked(gate, listener, UPLOAD)
    with browser, site:
        side = next(iter(gate.sides))
        passed = gate.ledger.transferred_bytes
        while side.other is not None and not side.other.transport.get_write_buffer_size():
            await asyncio.get_running_loop().sock_sendall(browser, bytes(PIECE))
            passed += PIECE
            await counted(gate, passed)
        browser.close()
        await until(lambda: not gate.sides)
        assert gate.sites
        await gate.close()
        assert not gate.sites


async def test_gate_browser_that_is_behind_pauses_the_next_site(gate: Gate, listener: socket.socket) -> None:
    """What another site sends waits as well while the browser has not read the last one's answer."""
    browser, site = await asked(gate, listener)
    loop = asyncio.get_running_loop()
    with browser, site:
        side = next(iter(gate.sides))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await loop.sock_sendall(site, bytes(20_000_000))
        assert side.is_full
        await loop.sock_sendall(browser, b"GET http://other.test/ HTTP/1.1\r\n\r\n")
        other, _ = await loop.sock_accept(listener)
        with other:
            other.setblocking(False)
            await loop.sock_recv(other, 4096)
            passed = gate.ledger.transferred_bytes
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await loop.sock_sendall(other, bytes(50_000_000))
            assert gate.ledger.transferred_bytes - passed < 1_000_000


async def test_gate_start_cancelled_leaves_no_listener() -> None:
    """Cancelled at whichever await, it listens no more."""

    async def dial(_host: str, _port: int) -> socket.socket:
        raise OSError

    before = {each.laddr for each in psutil.Process().net_connections("inet")}
    for turns in range(20):
        gate = Gate(dial, Ledger())
        starting = asyncio.create_task(gate.start())
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
            await gate.close()
    assert {each.laddr for each in psutil.Process().net_connections("inet")} <= before


async def test_gate_dial_that_breaks_ends_the_connection() -> None:
    """An error that nobody thought of does not keep the browser waiting."""

    async def dial(_host: str, _port: int) -> socket.socket:
        raise OverflowError("nobody thought of this")

    gate = Gate(dial, Ledger())
    await gate.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(gate.url.rpartition(":")[2]))
    writer.write(b"GET http://site.test/ HTTP/1.1\r\n\r\n")
    try:
        async with asyncio.timeout(1):
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
    finally:
        writer.close()
        await gate.close()


@pytest.mark.parametrize("method", [b"GET http://site.test/", b"CONNECT site.test:443"])
async def test_gate_browser_that_gives_up_ends_its_dialling(method: bytes) -> None:
    """A page that asks for dead hosts and leaves, again and again, keeps no socket of the crawler's busy."""
    ended = asyncio.Event()

    async def dial(_host: str, _port: int) -> socket.socket:
        try:
            made: socket.socket = await asyncio.get_running_loop().create_future()
        finally:
            ended.set()
        return made

    gate = Gate(dial, Ledger())
    await gate.start()
    _, writer = await asyncio.open_connection("127.0.0.1", int(gate.url.rpartition(":")[2]))
    writer.write(method + b" HTTP/1.1\r\n\r\n")
    await until(lambda: gate.tasks)
    writer.close()
    async with asyncio.timeout(2):
        await ended.wait()
    await until(lambda: not gate.sides and not gate.tasks)
    await gate.close()


async def test_gate_uploads_given_up_dial_no_more_than_some() -> None:
    """What is given up while it is not read is not noticed: it keeps others of its context waiting, but not all."""
    dialling = most = 0

    async def dial(_host: str, _port: int) -> socket.socket:
        nonlocal dialling, most
        dialling += 1
        most = max(most, dialling)
        try:
            made: socket.socket = await asyncio.get_running_loop().create_future()
        finally:
            dialling -= 1
        return made

    gate = Gate(dial, Ledger())
    await gate.start()
    for _ in range(100):
        _, writer = await asyncio.open_connection("127.0.0.1", int(gate.url.rpartition(":")[2]))
        writer.write(UPLOAD + bytes(300_000))
        writer.close()
    await until(lambda: len(gate.tasks) == 100)
    await until(lambda: dialling == gate_module._DIALLING_MAX)
    await gate.close()
    assert (most, dialling) == (64, 0)


async def test_gate_upload_while_it_dials_is_bounded(listener: socket.socket) -> None:
    """What a browser sends before there is a connection waits with the browser, and arrives whole."""
    may_dial = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def dial(_host: str, _port: int) -> socket.socket:
        await may_dial.wait()
        made = socket.socket()
        made.setblocking(False)
        await loop.sock_connect(made, listener.getsockname())
        return made

    gate = Gate(dial, Ledger())
    await gate.start()
    with socket.socket() as browser:
        browser.setblocking(False)
        await loop.sock_connect(browser, ("127.0.0.1", int(gate.url.rpartition(":")[2])))
        sent = UPLOAD.replace(b"90000000", b"30000000") + bytes(30_000_000)
        sending = asyncio.create_task(loop.sock_sendall(browser, sent))
        await until(lambda: gate.tasks)
        patience = loop.time() + 0.5
        await until(lambda: loop.time() > patience)
        assert gate.ledger.transferred_bytes < 1_000_000
        may_dial.set()
        site, _ = await loop.sock_accept(listener)
        with site:
            site.setblocking(False)
            left = 30_000_000 + len(b"POST / HTTP/1.1\r\nContent-Length: 30000000\r\n\r\n")
            async with asyncio.timeout(LIMIT_S):
                while left:
                    left -= len(await loop.sock_recv(site, 1_000_000))
                await sending
    await gate.close()


@pytest.mark.parametrize("size", [300_000, 2_000_000])
async def test_gate_head_too_long_gets_no_answer_of_ours(gate: Gate, size: int) -> None:
    """It ends the connection: what is said would pass for the site's refusal."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(gate.url.rpartition(":")[2]))
    writer.write(b"GET http://site.test/?%b HTTP/1.1\r\n\r\n" % (b"x" * size))
    with contextlib.suppress(ConnectionResetError):
        async with asyncio.timeout(3):
            assert await reader.read() == b""
    writer.close()
