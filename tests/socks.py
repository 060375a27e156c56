"""A SOCKS5 proxy for tests (RFC 1928, CONNECT; RFC 1929), on the test's own event loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from ipaddress import ip_address


class SocksProxy:
    """Connects to addresses, and to any name on this very machine.

    Args:
        login: user name and password that it asks for; None: none.

    Attributes:
        url: such as `socks5://127.0.0.1:8123`.
        asked: `host:port` of each request.
    """

    def __init__(self, login: tuple[str, str] | None = None) -> None:
        self._login = login
        self.url = ""
        self.asked: list[str] = []
        self._serving: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection."""
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def end(self) -> None:
        """End all connections."""
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError), contextlib.closing(writer):
            await _field(reader, at=1)
            if self._login is None:
                writer.write(b"\x05\x00")
            else:
                writer.write(b"\x05\x02")
                given = (await _field(reader, at=1), await _field(reader))
                writer.write(b"\x01\x00" if given == self._login else b"\x01\x01")
                if given != self._login:
                    return
            form = (await reader.readexactly(4))[3]
            if form == 3:
                host, there = await _field(reader), "127.0.0.1"
            else:
                host = there = str(ip_address(await reader.readexactly(4 if form == 1 else 16)))
            port = int.from_bytes(await reader.readexactly(2))
            self.asked.append(f"{host}:{port}")
            far_reader, far_writer = await asyncio.open_connection(there, port)
            writer.write(b"\x05\x00\x00\x01" + bytes(6))
            with contextlib.closing(far_writer):
                async with asyncio.TaskGroup() as both:
                    both.create_task(_pass_on(reader, far_writer))
                    both.create_task(_pass_on(far_reader, writer))


@contextlib.asynccontextmanager
async def socks_proxy(login: tuple[str, str] | None = None) -> AsyncIterator[SocksProxy]:
    """Serve until the end of the block."""
    proxy = SocksProxy(login)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.url = f"socks5://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        await proxy.end()
        await server.wait_closed()


async def _field(reader: asyncio.StreamReader, *, at: int = 0) -> str:
    """Return what comes after its length, which comes after `at` other bytes."""
    return (await reader.readexactly((await reader.readexactly(at + 1))[at])).decode()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
