"""A gate: a loopback proxy that connects to sites itself, to addresses that were checked.

It is made of protocols and transports, not of streams: each request costs one look at its head, and nothing else of
what passes is read. A browser's connection leads to one origin after the other; the next request to another one begins
when the last is answered, so the connection to that one is given up then.

What is refused, or cannot be reached, gets no answer of ours that could pass for the site's: plain HTTP is cut off,
a CONNECT is answered with 502, which no browser shows.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from functools import partial

from browsercrawl.net.addresses import IP
from browsercrawl.net.heads import BAD_GATEWAY, BAD_REQUEST, HEAD_BYTES_MAX, HEAD_END, Head, Malformed, read_head
from browsercrawl.net.ledger import Ledger, Refused

_CONNECTIONS_MAX = 2048
"""At once. Chromium opens 32 to one proxy, and more for WebSockets only."""
_DIALLING_MAX = 64
"""At once: a page that asks for dead hosts, by uploads that it gives up, must not use up the crawler's descriptors."""
_BACKLOG = 512
_CONNECT_LIMIT_S = 30.0
"""For one address. Whoever waits for it has a limit of its own."""
_NEXT_ADDRESS_S = 0.25
"""An address that has not answered by then is no longer tried alone (RFC 8305)."""
_ADDRESSES_MAX = 8
_LINGER_S = 10.0
"""For what is still on its way to a site when the browser has ended its connection."""
STALL_S = 60.0
"""For a site to take something of what the browser sends: while nothing is read, a browser that leaves is not seen."""

_ESTABLISHED = b"HTTP/1.1 200 Connection Established\r\n\r\n"
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER, for a connection that is to end by a reset."""

Dial = Callable[[str, int], Awaitable[socket.socket]]
"""Connects to a host and port, checked.

Raises:
    Refused: it must not. OSError: it cannot.
"""


class Gate:
    """Serves one context as its proxy, from `start` to `close`, on a loopback port of its own.

    Args:
        dial: connects.
        ledger: takes the bytes that pass, and what was not connected.
        failure: of the proxy behind it, if it has one: when, and why.

    Attributes:
        url: for the context's `proxy` option; empty before `start`.
        ledger: as given.
    """

    def __init__(
        self, dial: Dial, ledger: Ledger, *, failure: Callable[[], tuple[float, str] | None] = lambda: None
    ) -> None:
        self.url = ""
        self._failure = failure
        self.ledger = ledger
        self.dial = dial
        self.sides: set[_BrowserSide] = set()
        self.sites: set[_SiteSide] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.turns = asyncio.Semaphore(_DIALLING_MAX)
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            OSError: no port is free.
        """
        loop = asyncio.get_running_loop()
        listener = socket.create_server(("127.0.0.1", 0))  # asyncio's own call fails otherwise when no socket is left
        self._server = await loop.create_server(
            lambda: _BrowserSide(self), sock=listener, backlog=_BACKLOG, start_serving=False
        )
        try:
            await self._server.start_serving()
        except BaseException:  # cancelled: nobody knows of it, so nobody would close it
            self._server.close()
            raise
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def is_full(self) -> bool:
        """No further connection is served."""
        return self._server is None or len(self.sides) >= _CONNECTIONS_MAX

    def failure_since(self, at: float) -> str | None:
        """Tell why the proxy behind it failed last, at or after an instant of the event loop's clock."""
        failure = self._failure()
        return failure[1] if failure is not None and failure[0] >= at else None

    async def close(self) -> None:
        """Cut all connections, at once; may be called again."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for task in self.tasks:
            task.cancel()
        for side in (*self.sides, *self.sites):
            side.transport.abort()
        if self.tasks:
            await asyncio.wait(self.tasks)
        await server.wait_closed()
        await asyncio.sleep(0)  # what is aborted is closed in the event loop's next turn


class _Side(asyncio.Protocol):
    """One side of a connection; pauses the other one when it is slower."""

    transport: asyncio.Transport
    other: "_Side | None" = None
    is_full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def pause_writing(self) -> None:
        self.is_full = True
        if self.other is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        self.is_full = False
        if self.other is not None:
            self.other.transport.resume_reading()

    def end(self, error: Exception | None = None) -> None:
        """Send what is left to send, then end; a reset is passed on as one: what it cuts off must not look complete."""
        if error is not None:
            with contextlib.suppress(OSError):  # gone already
                self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.transport.close()


class _SiteSide(_Side):
    def __init__(self, browser: "_BrowserSide", gate: Gate) -> None:
        self.other: _BrowserSide | None = browser
        self._gate = gate
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._gate.sites.add(self)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = asyncio.get_running_loop().call_later(STALL_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()

    def data_received(self, data: bytes) -> None:
        if (browser := self.other) is not None:
            browser.received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._gate.sites.discard(self)
        if self._stalled is not None:
            self._stalled.cancel()
        browser, self.other = self.other, None
        if browser is not None:
            browser.other = None
            browser.end(exc)


class _BrowserSide(_Side):
    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._ledger = gate.ledger
        self._buffer = bytearray()
        self._origin = b""
        self._body_left = 0
        self._is_raw = False
        self._dialling: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._gate.is_full:
            self.transport.abort()
        else:
            self._gate.sides.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._gate.sides.discard(self)
        if self._dialling is not None:
            self._dialling.cancel()
        self._drop_site(exc)

    def received(self, data: bytes) -> None:
        """Take what a site sends."""
        self._ledger.passed(len(data))
        self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        self._ledger.passed(len(data))
        if self._is_raw and self.other is not None:
            self.other.transport.write(data)
            return
        self._buffer += data
        if self._dialling is None:
            self._advance()
        elif len(self._buffer) > HEAD_BYTES_MAX:
            self.transport.pause_reading()

    def _advance(self) -> None:
        """Pass on what is complete, until more is needed or another origin is."""
        buffer = self._buffer
        while buffer and not self.transport.is_closing():
            if self.other is not None and (self._is_raw or self._body_left):
                part = bytes(buffer if self._is_raw else buffer[: self._body_left])
                self._body_left -= 0 if self._is_raw else len(part)
                self.other.transport.write(part)
                del buffer[: len(part)]
                continue
            end = buffer.find(HEAD_END)
            if end > HEAD_BYTES_MAX or (end < 0 and len(buffer) > HEAD_BYTES_MAX):
                self._answer(b"")
                return
            if end < 0:
                return
            data = bytes(buffer[: end + len(HEAD_END)])
            del buffer[: len(data)]
            try:
                head = read_head(data)
            except Malformed:
                self._answer(BAD_REQUEST)
                return
            if head.is_connect or self.other is None or head.origin != self._origin:
                self._dial(head)
                return
            self._pass_on(head)

    def _pass_on(self, head: Head) -> None:
        """Send a request as a browser without a proxy would have."""
        assert self.other is not None, "connected before"
        lines = [head.line_for(b"")]
        # Where the body's end is not looked for, no other request must follow on the connection.
        self._is_raw = head.is_upgrade or head.length is None
        for field in head.fields:
            name = field[1].lower()
            if name == b"proxy-connection":
                lines.append(b"Connection: " + field[2])
            elif not name.startswith(b"proxy-") and not (head.length is None and name == b"connection"):
                lines.append(field[0])
        if head.length is None:
            lines = [line for line in lines if not line.startswith(b"Connection: ")] + [b"Connection: close"]
        self._body_left = head.length or 0
        self.other.transport.write(b"\r\n".join(lines) + HEAD_END)

    def _dial(self, head: Head) -> None:
        self._drop_site(None)
        # Meanwhile it is read, within bounds: so a browser that gives up is noticed, and keeps no socket of ours busy.
        self._dialling = task = asyncio.get_running_loop().create_task(self._connect(head), name="gate: connect")
        self._gate.tasks.add(task)
        task.add_done_callback(self._gate.tasks.discard)

    async def _connect(self, head: Head) -> None:
        try:
            await self._serve(head)
        except BaseException:
            self.transport.abort()  # whatever it was: the browser must not wait for what does not come
            raise

    async def _serve(self, head: Head) -> None:
        try:
            host, port = head.destination()
            try:
                async with self._gate.turns:
                    connected = await self._gate.dial(host, port)
            except Refused as refused:
                self._ledger.refuse(host, port, reason=refused.reason)
                self._answer(BAD_GATEWAY if head.is_connect else b"")
                return
            except OSError as error:
                self._ledger.fail(host, port, error=error)
                self._answer(BAD_GATEWAY if head.is_connect else b"")
                return
        except Malformed:
            self._answer(BAD_REQUEST if head.is_connect else b"")
            return
        site = _SiteSide(self, self._gate)
        try:
            await asyncio.get_running_loop().create_connection(lambda: site, sock=connected)
        except BaseException:
            connected.close()
            raise
        if self.transport.is_closing():
            site.other = None
            site.transport.abort()
            return
        self.other, self._origin, self._dialling = site, head.origin, None
        if self.is_full:
            site.transport.pause_reading()
        if head.is_connect:
            self._is_raw = True
            self.transport.write(_ESTABLISHED)
        else:
            self._pass_on(head)
        self._advance()
        if not self.transport.is_closing() and not site.is_full and self._dialling is None:
            self.transport.resume_reading()

    def _answer(self, answer: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(answer)
            self.end()

    def _drop_site(self, error: Exception | None) -> None:
        site, self.other = self.other, None
        if site is not None:
            site.other = None
            site.end(error)
            if site.transport.get_write_buffer_size():
                asyncio.get_running_loop().call_later(_LINGER_S, site.transport.abort)


async def connect(addresses: list[IP], port: int) -> socket.socket:
    """Connect to the first of some addresses that answers; each gets a moment before the next is tried as well.

    Raises:
        OSError: none does; the first one's error.
    """
    loop = asyncio.get_running_loop()
    waiting = [partial(_connect_to, ip, port) for ip in _in_turn(addresses)[:_ADDRESSES_MAX]]
    trying: dict[asyncio.Task[socket.socket], None] = {}
    failure: OSError | None = None
    try:
        while waiting or trying:
            if waiting:
                trying[loop.create_task(waiting.pop(0)(), name="gate: dial")] = None
            done, _ = await asyncio.wait(
                trying, timeout=_NEXT_ADDRESS_S if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                del trying[task]
                error = task.exception()
                if error is None:
                    return task.result()
                failure = failure or (error if isinstance(error, OSError) else OSError(str(error)))
    finally:
        for task in trying:
            task.cancel()
            task.add_done_callback(_close_late)
    raise failure or OSError("it has no address")


def _close_late(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def _in_turn(addresses: list[IP]) -> list[IP]:
    """Return addresses of both families alternately, beginning with the first one's."""
    first = [ip for ip in addresses if ip.version == addresses[0].version]
    second = [ip for ip in addresses if ip.version != addresses[0].version]
    return [ip for index in range(len(addresses)) for ip in (*first[index : index + 1], *second[index : index + 1])]


async def _connect_to(ip: IP, port: int) -> socket.socket:
    family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
    connecting = socket.socket(family, socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)
        async with asyncio.timeout(_CONNECT_LIMIT_S):
            await asyncio.get_running_loop().sock_connect(connecting, (str(ip), port))
    except BaseException:
        connecting.close()
        raise
    return connecting


__all__ = ["Dial", "Gate", "connect"]
