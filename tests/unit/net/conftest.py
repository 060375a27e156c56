"""A demo site, a proxy that wants a password, relays, and a client that knows nothing but sockets."""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from browsercrawl.net import ProxyRelay, Upstream
from browsercrawl.testing import DemoSite, ForwardProxy

USER, PASSWORD = "planted-user", "planted p@ss"
LIMIT_S = 10.0


class Client:
    """One connection to a relay."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)

    async def head(self) -> bytes:
        """Return the head of the next answer."""
        async with asyncio.timeout(LIMIT_S):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def exactly(self, count: int) -> bytes:
        """Return so many bytes."""
        async with asyncio.timeout(LIMIT_S):
            return await self.reader.readexactly(count)

    async def rest(self) -> bytes:
        """Return what comes until the connection ends, by a reset or in order."""
        received = bytearray()
        async with asyncio.timeout(LIMIT_S):
            with contextlib.suppress(ConnectionResetError):
                while data := await self.reader.read(65_536):
                    received += data
        return bytes(received)


Script = Callable[[Client], Awaitable[None]]
Relay = Callable[[Upstream], Awaitable[ProxyRelay]]
Connect = Callable[[ProxyRelay], Awaitable[Client]]
Until = Callable[[Callable[[], object]], Awaitable[None]]


class Scripted(Protocol):
    """Starts an upstream, one that is spoken to by TLS if told how."""

    async def __call__(self, script: Script, *, tls: ssl.SSLContext | None = None) -> Upstream: ...


@pytest.fixture
def site() -> Iterator[DemoSite]:
    """A demo site."""
    with DemoSite() as running:
        yield running


@pytest.fixture
def proxy() -> Iterator[ForwardProxy]:
    """A proxy that wants a password."""
    with ForwardProxy(username=USER, password=PASSWORD) as running:
        yield running


@pytest.fixture
def upstream(proxy: ForwardProxy) -> Upstream:
    """The proxy with what it wants."""
    return Upstream("127.0.0.1", proxy.port, False, USER, PASSWORD)


@pytest.fixture
async def scripted() -> AsyncIterator[Scripted]:
    """Start upstreams that run a script with each connection."""
    serving: set[asyncio.Task[None]] = set()
    servers: list[asyncio.Server] = []

    async def started(script: Script, *, tls: ssl.SSLContext | None = None) -> Upstream:
        async def run(client: Client) -> None:
            try:
                await script(client)
            finally:
                client.writer.close()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            serving.add(asyncio.create_task(run(Client(reader, writer))))

        servers.append(await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls))
        return Upstream("127.0.0.1", servers[-1].sockets[0].getsockname()[1], tls is not None, USER, PASSWORD)

    yield started
    for server in servers:
        server.close()
    for task in serving:
        task.cancel()
    await asyncio.gather(*serving, return_exceptions=True)
    for server in servers:
        await server.wait_closed()


@pytest.fixture
async def start() -> AsyncIterator[Relay]:
    """Start relays, closed afterwards."""
    async with contextlib.AsyncExitStack() as stack:

        async def started(upstream: Upstream) -> ProxyRelay:
            relay = ProxyRelay(upstream)
            await relay.start()
            stack.push_async_callback(relay.close)
            return relay

        yield started


@pytest.fixture
def until() -> Until:
    """Wait until something is so."""

    async def wait(condition: Callable[[], object]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not condition():  # noqa: ASYNC110 - what it looks at announces nothing
                await asyncio.sleep(0)

    return wait


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Connect to relays; the connections end afterwards."""
    clients: list[Client] = []

    async def connected(relay: ProxyRelay) -> Client:
        clients.append(Client(*await asyncio.open_connection("127.0.0.1", int(relay.url.rpartition(":")[2]))))
        return clients[-1]

    yield connected
    for client in clients:
        client.writer.transport.abort()
    await asyncio.sleep(0)


@pytest.fixture
async def relay(start: Relay, upstream: Upstream) -> ProxyRelay:
    """A relay to the proxy."""
    return await start(upstream)


@pytest.fixture
async def client(connect: Connect, relay: ProxyRelay) -> Client:
    """A connection to that relay."""
    return await connect(relay)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of 127.0.0.1 that signs itself, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path / "certificate.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, *form) + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path
