"""Connecting through a SOCKS5 proxy (RFC 1928), with user name and password if it wants them (RFC 1929)."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from urllib.parse import unquote, urlsplit

from browsercrawl.net.addresses import IP, literal
from browsercrawl.net.gate import connect

_LIMIT_S = 10.0
"""For a living proxy to take a connection and show who it is."""
_REPLY_LIMIT_S = 60.0
"""For the proxy to connect: the target is slow then, not the proxy."""
_NAME_BYTES_MAX = 255
_ADDRESS_BYTES = {1: 4, 4: 16}

Resolve = Callable[[str], Awaitable[list[IP]]]


class Socks:
    """A SOCKS5 proxy.

    Args:
        url: such as `socks5://user:password@host:1080`.
        resolve: looks its name up.

    Attributes:
        failure: when it failed last, by the event loop's clock, and how.

    Raises:
        ValueError: the URL is none of such a proxy.
    """

    def __init__(self, url: str, *, resolve: Resolve) -> None:
        parts = urlsplit(url)
        username, password = (unquote(each or "").encode() for each in (parts.username, parts.password))
        try:
            port = parts.port or 1080
        except ValueError:  # whose message holds what stands there: a piece of the password, if that has a slash in it
            port = 0
        if not parts.hostname or not port or max(len(username), len(password)) > _NAME_BYTES_MAX:
            raise ValueError("must be the URL of a SOCKS proxy, such as socks5://host:1080")
        self.failure: tuple[float, str] | None = None
        self._host = parts.hostname
        self._port = port
        self._resolve = resolve
        self._login = b"\x01%c%b%c%b" % (len(username), username, len(password), password) if username else b""

    async def connect(self, host: str, port: int) -> socket.socket:
        """Connect to a host through the proxy, which looks it up.

        Raises:
            OSError: it cannot; `failure` tells whether that is the proxy's fault.
        """
        ip = literal(self._host)
        try:
            async with asyncio.timeout(_LIMIT_S):
                made = await connect([ip] if ip is not None else await self._resolve(self._host), self._port)
        except OSError as error:
            raise self._failed(f"cannot be reached: {str(error) or f'not within {_LIMIT_S:g} s'}") from error
        try:
            try:
                async with asyncio.timeout(_LIMIT_S):
                    await self._introduce(made)
            except (TimeoutError, ConnectionError) as error:
                raise self._failed(f"does not answer: {str(error) or f'not within {_LIMIT_S:g} s'}") from error
            async with asyncio.timeout(_REPLY_LIMIT_S):
                await self._ask(made, host, port)
        except BaseException:
            made.close()
            raise
        return made

    async def _introduce(self, made: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(made, b"\x05\x02\x00\x02" if self._login else b"\x05\x01\x00")
        version, method = await self._read(made, 2)
        if version != 5 or method not in {0, 2} or (method == 2 and not self._login):
            raise self._failed("speaks no SOCKS5" if version != 5 else "wants to know who we are")
        if method == 2:
            await loop.sock_sendall(made, self._login)
            if (await self._read(made, 2))[1] != 0:
                raise self._failed("refuses our user name and password")

    async def _ask(self, made: socket.socket, host: str, port: int) -> None:
        ip, name = literal(host), host.encode("ascii")
        if len(name) > _NAME_BYTES_MAX:
            raise OSError("a name of that length cannot be asked for")
        kind = b"\x03%c%b" % (len(name), name) if ip is None else b"%c%b" % (1 if ip.version == 4 else 4, ip.packed)
        await asyncio.get_running_loop().sock_sendall(made, b"\x05\x01\x00" + kind + port.to_bytes(2))
        _, reply, _, form = await self._read(made, 4)
        length = _ADDRESS_BYTES.get(form) or (await self._read(made, 1))[0]
        await self._read(made, length + 2)
        if reply == 5:
            raise ConnectionRefusedError("the proxy found nobody who listens")
        if reply:
            raise OSError(f"the proxy answers with {reply}")

    async def _read(self, made: socket.socket, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = await asyncio.get_running_loop().sock_recv(made, count - len(data))
            if not part:
                raise self._failed("ends the connection without an answer")
            data += part
        return data

    def _failed(self, what: str) -> OSError:
        why = f"the proxy {self._host}:{self._port} {what}"
        self.failure = (asyncio.get_running_loop().time(), why)
        return OSError(why)


__all__ = ["Socks"]
