"""A relay on loopback, between a browser and a proxy that wants a user name and password.

Given these for a context's proxy, Playwright intercepts requests: each is paused, and the HTTP cache is off. So the
browser gets a proxy that wants none, and this proxy adds them on the way to the real one. It understands just enough
HTTP/1.1 (RFC 9110 and 9112) to find the head of each request and the first line of the first answer.

It also tells whose fault a failure is, which the browser cannot: a dead site must not be taken for a dead proxy, which
would cost a session its proxy, nor the other way round, which would cost a URL its attempts. The proxy's failure is

- no connection to it: refused, unknown, no TLS, or not within 10 s;
- as an answer to CONNECT, which is its own: 401, 402, 407 or 429, for these are about who asks; no HTTP; nothing, then
  the end. 403 and 5xx are about where to, and are the target's failure;
- as an answer to plain HTTP, which may be the target's: 407 only, and of a connection's first answer only, because
  wrong credentials are refused at once. A connection that ends without an answer is what many proxies make of a
  target that does just that;
- silence: after 10 s the proxy is asked, on another connection, what it has to answer by itself. If it does, the
  target is slow, and the browser decides how long to wait.

A CONNECT that fails is answered with 502, which Chromium shows as ERR_TUNNEL_CONNECTION_FAILED. Plain HTTP gets no
answer then: whatever came would pass for the site's.
"""

import asyncio
import contextlib
import re
import socket
import ssl
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Self
from urllib.parse import unquote

import ada_url

from browsercrawl.net.addresses import IP, literal
from browsercrawl.net.gate import RESET, STALL_S, connect
from browsercrawl.net.heads import BAD_GATEWAY, BAD_REQUEST, HEAD_BYTES_MAX, HEAD_END, Head, Malformed, read_head
from browsercrawl.net.ledger import Ledger, Refused
from browsercrawl.net.resolver import Resolver

_CONNECTIONS_MAX = 2048
"""At once. Chromium opens 32 to one proxy, and more for WebSockets only."""

_BLOCK_BYTES = 65_536

_PROXY_LIMIT_S = 10.0
"""For what a living proxy does at once: take a connection, or show a sign of life. Three lost SYNs fit in (1+2+4 s)."""

_LINGER_S = 10.0
"""For the second side of a connection once the first has ended: nobody the browser talks to half-closes for long."""

_DEFAULT_PORTS = {"http:": 80, "https:": 443}
_ABOUT_US = {401, 402, 407, 429}
_LINE_END = b"\r\n"
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?\r\n", re.DOTALL)
_ANSWER = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?![0-9])")

_Passed = Callable[[int], None]
"""Told how many bytes have passed."""

Check = Callable[[str, int], Awaitable[None]]
"""Raises `Refused` when a host and port must not be asked for."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A proxy, and what it wants to know of us.

    Attributes:
        host: name or address, an IPv6 one without brackets.
        port: such as 8080.
        tls: it is spoken to by TLS (an https:// proxy).
        username: decoded; empty together with `password`: it wants none.
        password: decoded.
    """

    host: str
    port: int
    tls: bool = False
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read the URL of an http or https proxy.

        Args:
            url: such as `http://user:password@host:8080`; user name and password percent-encoded, and in UTF-8.

        Raises:
            ValueError: it is none, or of a kind that a relay cannot serve; the message holds nothing of it.

        Example:
            >>> Upstream.parse("http://me:p%40ss@proxy.example:8080")
            Upstream(host='proxy.example', port=8080, tls=False)
        """
        if url.lower().startswith("socks"):
            raise ValueError("a relay speaks HTTP to its proxy, not SOCKS; give the URL of an http or https proxy")
        try:
            parts = ada_url.URL(url)
        except ValueError:
            parts = None
        if parts is None or parts.protocol not in _DEFAULT_PORTS or parts.port == "0":
            raise ValueError("must be the URL of an http or https proxy, such as http://user:password@host:port")
        if parts.pathname != "/" or parts.search or parts.hash:
            raise ValueError("the URL of a proxy ends with its port; percent-encode /, ? and # in a password")
        # A byte that is no UTF-8 has to come out of the header as it went in here.
        username, password = (unquote(each, errors="surrogateescape") for each in (parts.username, parts.password))
        if ":" in username:
            raise ValueError("a proxy's user name cannot hold a colon: nothing would tell it from the password")
        port = int(parts.port) if parts.port else _DEFAULT_PORTS[parts.protocol]
        return cls(parts.hostname.strip("[]"), port, parts.protocol == "https:", username, password)

    @property
    def address(self) -> str:
        """Host and port in one, for messages and headers."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def header(self) -> bytes:
        """Return the line that answers the proxy's challenge (RFC 7617); empty when it wants none."""
        if not self.username and not self.password:
            return b""
        pair = f"{self.username}:{self.password}".encode(errors="surrogateescape")
        return b"Proxy-Authorization: Basic %b\r\n" % b64encode(pair)


class ProxyRelay:
    """Serves browser contexts as their proxy, from `start` to `close`, on a loopback port of its own.

    Whoever on this machine can reach the port can use the proxy, though not learn its password; a web page cannot, for
    it cannot make a browser that does not use the relay send what it takes.

    Args:
        upstream: the real proxy.
        ledger: takes the bytes that pass, and what was refused.
        check: asked before each request; None: everything is allowed. The proxy looks names up itself, so what it
            connects to may be another address than the one that was looked at here.
        resolve: looks the proxy's own name up; None: a resolver of its own.

    Attributes:
        ledger: as given.
        url: for the context's `proxy` option, such as `http://127.0.0.1:40123`; empty before `start`.
    """

    def __init__(
        self,
        upstream: Upstream,
        *,
        ledger: Ledger | None = None,
        check: Check | None = None,
        resolve: Callable[[str], Awaitable[list[IP]]] | None = None,
    ) -> None:
        self.url = ""
        self.ledger = ledger or Ledger()
        self._check = check
        self._resolve = resolve or Resolver().addresses
        self._upstream = upstream
        self._tls: ssl.SSLContext | None = None
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._closed = False
        self._failure: tuple[float, str] | None = None
        self._heard_at = float("-inf")
        self._asking = asyncio.Lock()  # one question at a time to a silent proxy: its answer serves all who wait

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            OSError: no port is free.
        """
        if self._upstream.tls:
            self._tls = ssl.create_default_context()
        listener = socket.create_server(("127.0.0.1", 0))  # asyncio's own call fails otherwise when no socket is left
        self._server = await asyncio.start_server(
            self._accept, sock=listener, limit=HEAD_BYTES_MAX, start_serving=False
        )
        try:
            await self._server.start_serving()
        except BaseException:  # cancelled: nobody knows of it, so nobody would close it
            self._server.close()
            raise
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Cut all connections and end their tasks, at once; may be called again."""
        self._closed = True
        if self._server is None:
            return
        self._server.close()
        for task in self._serving:
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving)
        await self._server.wait_closed()

    def failure_since(self, at: float) -> str | None:
        """Tell why the proxy failed last.

        Args:
            at: by the event loop's clock; what was noticed before does not count.

        Returns:
            What is wrong with the proxy, without a secret; None when nothing was.
        """
        return self._failure[1] if self._failure is not None and self._failure[0] >= at else None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closed or len(self._serving) >= _CONNECTIONS_MAX:
            writer.transport.abort()
            return
        # What the browser has not read is waited for where it is written: once it is closed, its end would be cut off.
        writer.transport.set_write_buffer_limits(high=0)
        task = asyncio.create_task(self._serve(_Peer(reader, writer)), name="relay: connection")
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        # Also when the task is cancelled before its first step, and can close nothing.
        task.add_done_callback(lambda _: writer.transport.abort())

    async def _serve(self, browser: "_Peer") -> None:
        with contextlib.suppress(OSError, EOFError):
            try:
                request = await _next_request(browser, self._upstream.header())
                try:
                    await self._permit(request)
                    await self._exchange(request, browser)
                except _NotServed:
                    if request.head.is_connect:
                        browser.writer.write(BAD_GATEWAY)
            except Malformed:
                browser.writer.write(BAD_REQUEST)
            browser.writer.close()
            async with asyncio.timeout(_LINGER_S):
                await browser.writer.wait_closed()

    async def _exchange(self, request: "_Request", browser: "_Peer") -> None:
        """Connect to the proxy and pass bytes both ways until both sides have ended."""
        upstream = await self._connect()
        directions = (
            asyncio.create_task(self._pass_requests(request, browser, upstream)),
            asyncio.create_task(self._pass_answers(request, browser, upstream)),
        )
        try:
            done, _ = await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
            if not any(task.exception() for task in done):
                await asyncio.wait(directions, timeout=_LINGER_S)
        finally:
            for task in directions:
                task.cancel()
            ends = await asyncio.gather(*directions, return_exceptions=True)
            upstream.writer.transport.abort()
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def _permit(self, request: "_Request") -> None:
        self.ledger.passed(len(request.data))
        if self._check is None:
            return
        host, port = request.head.destination()
        try:
            await self._check(host, port)
        except Refused as refused:
            self.ledger.refuse(host, port, reason=refused.reason)
            raise _NotServed from None

    async def _connect(self) -> "_Peer":
        host, port = self._upstream.host, self._upstream.port
        try:
            async with asyncio.timeout(_PROXY_LIMIT_S):
                ip = literal(host)
                made = await connect([ip] if ip is not None else await self._resolve(host), port)
                try:
                    name = host if self._tls is not None else None
                    opening = asyncio.open_connection(
                        sock=made, ssl=self._tls, server_hostname=name, limit=HEAD_BYTES_MAX
                    )
                    return _Peer(*await opening)
                except BaseException:
                    made.close()
                    raise
        except OSError as error:
            reason = str(error) or f"not within {_PROXY_LIMIT_S:g} s"
            raise self._proxy_failed(f"cannot be reached: {reason}") from error

    def _proxy_failed(self, what: str) -> "_NotServed":
        """Note that the proxy is at fault, and return what to raise."""
        self._failure = (asyncio.get_running_loop().time(), f"the proxy {self._upstream.address} {what}")
        return _NotServed()

    async def _pass_requests(self, request: "_Request", browser: "_Peer", upstream: "_Peer") -> None:
        with contextlib.suppress(OSError, EOFError, asyncio.LimitOverrunError, Malformed):
            upstream.writer.write(request.data)
            while not request.is_last:
                if request.head.length is None:
                    await _copy_chunks(browser.reader, upstream.writer, passed=self.ledger.passed)
                else:
                    await _copy_bytes(request.head.length, browser.reader, upstream.writer, passed=self.ledger.passed)
                request = await _next_request(browser, self._upstream.header())
                await self._permit(request)
                upstream.writer.write(request.data)
            await _copy(browser.reader, upstream.writer, passed=self.ledger.passed, limit_s=STALL_S)
        _end(upstream.writer)

    async def _pass_answers(self, request: "_Request", browser: "_Peer", upstream: "_Peer") -> None:
        line = await self._first_line(upstream)
        answer = _ANSWER.match(line)
        status = int(answer[1]) if answer else None
        if status == 407:
            raise self._proxy_failed("answers 407; check its user name and password")
        if request.head.is_connect:
            if status is None and browser.has_left():
                raise _NotServed  # the end of the browser's side was passed on, and ended the proxy's
            if status is None:
                raise self._proxy_failed("speaks no HTTP" if line else "ends the connection without an answer")
            if status in _ABOUT_US:
                raise self._proxy_failed(f"refuses us with status {status}")
            if not 200 <= status < 300:
                raise _NotServed
        try:
            browser.writer.write(line)
            self.ledger.passed(len(line))
            await _copy(upstream.reader, browser.writer, passed=self.ledger.passed)
        except OSError:  # what a reset cuts off must not look complete
            with contextlib.suppress(OSError):
                browser.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            browser.writer.close()
        else:
            _end(browser.writer)

    async def _first_line(self, upstream: "_Peer") -> bytes:
        asked_at = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(_PROXY_LIMIT_S):
                line = await _line(upstream.reader)
        except TimeoutError:
            await self._expect_sign_of_life(asked_at)
            line = await _line(upstream.reader)
        if line:
            self._heard_at = asyncio.get_running_loop().time()
        return line

    async def _expect_sign_of_life(self, asked_at: float) -> None:
        """Return if the proxy has answered anything since, or answers now.

        Raises:
            _NotServed: it does not.
        """
        async with self._asking:
            if self._heard_at >= asked_at:
                return
            if self.failure_since(asked_at) is not None:
                raise _NotServed
            upstream = await self._connect()
            try:
                # Without credentials: one that wants them refuses this, and no other may pass it on (Max-Forwards).
                target = f"Host: {self._upstream.address}\r\nMax-Forwards: 0"
                upstream.writer.write(f"OPTIONS * HTTP/1.1\r\n{target}\r\n\r\n".encode())
                async with asyncio.timeout(_PROXY_LIMIT_S):
                    await _line(upstream.reader)  # the end of the connection is a sign, too
            except TimeoutError:
                raise self._proxy_failed("takes connections but does not answer") from None
            finally:
                upstream.writer.transport.abort()
            self._heard_at = asyncio.get_running_loop().time()


class _NotServed(Exception):
    """The browser's request leads to nothing, by the proxy's fault or the target's."""


class _Peer(NamedTuple):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def has_left(self) -> bool:
        return self.reader.at_eof() or self.reader.exception() is not None


class _Request(NamedTuple):
    """A request, its head, and that as the proxy is to get it: with our credentials, and nobody else's."""

    head: Head
    data: bytes

    @property
    def is_last(self) -> bool:
        """No request follows on its connection: a tunnel, or an upgrade to another protocol."""
        return self.head.is_connect or self.head.is_upgrade


async def _next_request(browser: _Peer, header: bytes) -> _Request:
    try:
        head = read_head(await browser.reader.readuntil(HEAD_END))
    except asyncio.LimitOverrunError:  # whatever was answered would pass for the site's refusal
        raise EOFError from None
    kept = b"".join(each[0] + b"\r\n" for each in head.fields if each[1].lower() != b"proxy-authorization")
    return _Request(head, b"%b\r\n%b%b\r\n" % (head.line_for_proxy(), header, kept))


async def _line(reader: asyncio.StreamReader) -> bytes:
    """Return a line with its end; less, or nothing, when the connection ends before or the line has no end."""
    try:
        return await reader.readuntil(b"\n")
    except asyncio.IncompleteReadError as end:
        return end.partial
    except asyncio.LimitOverrunError:
        return await reader.read(1)
    except OSError:
        return b""


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, passed: _Passed, limit_s: float | None = None
) -> None:
    while data := await reader.read(_BLOCK_BYTES):
        passed(len(data))
        writer.write(data)
        async with asyncio.timeout(limit_s):
            await writer.drain()


async def _copy_bytes(
    count: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, passed: _Passed
) -> None:
    while count:
        data = await reader.read(min(count, _BLOCK_BYTES))
        if not data:
            raise EOFError
        passed(len(data))
        writer.write(data)
        async with asyncio.timeout(STALL_S):
            await writer.drain()
        count -= len(data)


async def _copy_chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, passed: _Passed) -> None:
    size = -1
    while size:
        line = await reader.readuntil(_LINE_END)
        chunk = _CHUNK.fullmatch(line)
        if chunk is None:
            raise Malformed
        passed(len(line))
        writer.write(line)
        size = int(chunk[1], 16)
        if size:
            await _copy_bytes(size + len(_LINE_END), reader, writer, passed=passed)
    line = b""
    while line != _LINE_END:  # the trailer section ends with an empty line
        line = await reader.readuntil(_LINE_END)
        passed(len(line))
        writer.write(line)
        async with asyncio.timeout(STALL_S):
            await writer.drain()


def _end(writer: asyncio.StreamWriter) -> None:
    """Pass on that nothing more comes."""
    if not writer.can_write_eof():  # TLS has no half of a connection to close
        writer.close()
        return
    with contextlib.suppress(OSError):  # the other side is gone already
        writer.write_eof()


__all__ = ["ProxyRelay", "Upstream"]
