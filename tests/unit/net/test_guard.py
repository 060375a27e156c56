"""The guard on real sockets: what it connects to, what it refuses, and what it notes."""

import asyncio
import contextlib
import errno
import resource
import socket
import threading
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_address
from typing import Any

import pytest

from browsercrawl.config import NetworkConfig
from browsercrawl.errors import ConfigError
from browsercrawl.events import ConnectionRefused, Event, GuardStarted
from browsercrawl.net import Guard, Ledger, Reason, Way
from browsercrawl.net import guard as guard_module
from browsercrawl.net.gate import connect
from browsercrawl.testing import DemoSite, ForwardProxy
from browsercrawl.urls import address
from tests.unit.net.conftest import Client


class World:
    """A guard, what it told, and connections through it."""

    def __init__(self, **config: Any) -> None:
        self.events: list[Event] = []
        self.guard = Guard(NetworkConfig.model_validate(config), emit=self.events.append)
        self._stack = contextlib.AsyncExitStack()
        self._clients: list[Client] = []

    async def way(self, proxy: str | None = None) -> Way:
        """Open a way for a context."""
        way = await self.guard.open(proxy)
        self._stack.push_async_callback(way.close)
        return way

    async def client(self, way: Way) -> Client:
        """Connect to a way."""
        client = Client(*await asyncio.open_connection("127.0.0.1", int(way.url.rpartition(":")[2])))
        self._clients.append(client)
        return client

    async def close(self) -> None:
        """End everything."""
        for client in self._clients:
            client.writer.transport.abort()
        await self._stack.aclose()
        self.guard.close()
        await asyncio.sleep(0)


Make = Callable[..., World]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Make worlds, closed afterwards."""
    async with contextlib.AsyncExitStack() as stack:

        def made(**config: Any) -> World:
            world = World(**config)
            stack.push_async_callback(world.close)
            return world

        yield made


def get(url: str, *, more: str = "") -> bytes:
    """Return a request as a browser sends it to a proxy."""
    host = url.split("/")[2]
    return f"GET {url} HTTP/1.1\r\nHost: {host}\r\nProxy-Connection: keep-alive\r\n{more}\r\n".encode()


async def answered(client: Client) -> tuple[bytes, bytes]:
    """Return head and body of the next answer."""
    head = await client.head()
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return head, await client.exactly(int(length.split(b":")[1]))


@pytest.mark.parametrize("allow", [{"allow_private": True}, {"allow": ["127.0.0.1"]}, {"allow": ["127.0.0.0/8"]}])
async def test_gate_allowed_address_is_served(make: Make, site: DemoSite, allow: dict[str, Any]) -> None:
    """One connection serves one request after the other, and the bytes are counted."""
    world = make(guard="on", **allow)
    way = await world.way()
    client = await world.client(way)
    body = b""
    for _ in range(2):
        client.send(get(f"{site.url.rstrip('/')}/truth.json"))
        head, body = await answered(client)
        assert head.startswith(b"HTTP/1.1 200")
        assert body.startswith(b"{")
    assert way.ledger.transferred_bytes > 2 * len(body) + 100
    assert world.guard.transferred_bytes == way.ledger.transferred_bytes
    assert world.guard.refused == 0


async def test_gate_next_origin_gets_a_connection_of_its_own(make: Make, site: DemoSite) -> None:
    """A client may ask for one site after the other on one connection; each gets what was meant for it."""
    world = make(guard="on", allow_private=True)
    client = await world.client(await world.way())
    with DemoSite() as other:
        for each in (site, other, site):
            client.send(get(f"{each.url.rstrip('/')}/truth.json"))
            head, _ = await answered(client)
            assert head.startswith(b"HTTP/1.1 200")
        assert len(other.arrivals()) == 1
    assert len(site.arrivals()) == 2


async def test_gate_request_looks_as_if_there_were_no_proxy(make: Make) -> None:
    """The site gets the path alone, and none of what is meant for proxies; a body comes through, whole or in chunks."""
    world = make(guard="on", allow_private=True)
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            seen.append(head + (await reader.readexactly(5) if b"Content-Length: 5" in head else b""))
            if b"chunked" in head:
                seen.append(await reader.readuntil(b"0\r\n\r\n"))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    client = await world.client(await world.way())
    client.send(get(f"{url}/a?b=1#c", more="Proxy-Authorization: Basic eDp5\r\n"))
    await client.head()
    client.send(get(f"{url}?q", more="Content-Length: 5\r\n") + b"hello")
    await client.head()
    client.send(get(f"{url}/up", more="Transfer-Encoding: chunked\r\n") + b"2\r\nab\r\n0\r\n\r\n")
    await client.head()
    await world.close()
    server.close()
    host = url.removeprefix("http://").encode()
    assert seen[0] == b"GET /a?b=1 HTTP/1.1\r\nHost: %b\r\nConnection: keep-alive\r\n\r\n" % host
    assert seen[1].startswith(b"GET /?q HTTP/1.1\r\n")
    assert seen[1].endswith(b"\r\n\r\nhello")
    assert b"Connection: close\r\n" in seen[2]
    assert seen[3] == b"2\r\nab\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("127.0.0.1", Reason.LOOPBACK),
        ("0x7f.1", Reason.LOOPBACK),
        ("[::ffff:127.0.0.1]", Reason.LOOPBACK),
        ("localhost", Reason.LOOPBACK),
        ("a.localhost.", Reason.LOOPBACK),
        ("169.254.169.254", Reason.METADATA),
        ("10.1.2.3", Reason.PRIVATE),
        ("denied.example", Reason.DENIED),
    ],
)
async def test_gate_refused_host_gets_no_answer(make: Make, host: str, reason: Reason) -> None:
    """Plain HTTP is cut off, a tunnel is refused; both are noted, and told once."""
    world = make(guard="on", deny=["denied.example"])
    way = await world.way()
    plain, tunnel = await world.client(way), await world.client(way)
    plain.send(get(f"http://{host}:81/"))
    assert await plain.rest() == b""
    tunnel.send(f"CONNECT {host}:81 HTTP/1.1\r\nHost: {host}:81\r\n\r\n".encode())
    assert (await tunnel.head()).startswith(b"HTTP/1.1 502")
    assert [note.reason for note in way.ledger.since(0.0)] == [reason, reason]
    assert world.guard.refused == 2
    assert [(e.port, e.reason) for e in world.events if isinstance(e, ConnectionRefused)] == [(81, reason)]


async def test_gate_name_with_any_private_address_is_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """All answers count: one private address among public ones refuses the name, before anything is connected."""
    answers = ["93.184.216.34", "10.0.0.5"]
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 0)) for each in answers]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    world = make(guard="on")
    way = await world.way()
    client = await world.client(way)
    client.send(get("http://mixed.example/"))
    assert await client.rest() == b""
    assert [note.reason for note in way.ledger.since(0.0)] == [Reason.PRIVATE]


async def test_gate_allowed_name_may_be_private(make: Make, site: DemoSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name on the list is reached wherever it leads; without the list it is refused."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    world = make(guard="on", allow=["*.corp.example"])
    client = await world.client(await world.way())
    port = site.url.rstrip("/").rpartition(":")[2]
    client.send(get(f"http://shop.corp.example:{port}/truth.json"))
    assert (await answered(client))[0].startswith(b"HTTP/1.1 200")
    client.send(get(f"http://shop.other.example:{port}/truth.json"))
    assert await client.rest() == b""


async def test_gate_unreachable_site_is_noted_by_its_failure(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the browser cannot know any more: the name is unknown, or nobody listens."""

    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    world = make(guard="on", allow_private=True)
    way = await world.way()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for url in ("http://unknown.example/", f"http://127.0.0.1:{port}/"):
        client = await world.client(way)
        client.send(get(url))
        assert await client.rest() == b""
    codes = [note.code for note in way.ledger.since(0.0)]
    assert codes == ["ERR_NAME_NOT_RESOLVED", "ERR_CONNECTION_REFUSED"]


@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"hello\r\n\r\n", b"CONNECT :x HTTP/1.1\r\n\r\n"]
)
async def test_gate_what_is_no_request_to_a_proxy_is_refused(make: Make, sent: bytes) -> None:
    """A page that finds the port gets nothing out of it."""
    world = make(guard="on", allow_private=True)
    client = await world.client(await world.way())
    client.send(sent)
    assert (await client.rest()).startswith(b"HTTP/1.1 400")


async def test_gate_slow_reader_does_not_fill_memory(make: Make) -> None:
    """A site that sends without end is paused while its browser does not read."""
    world = make(guard="on", allow_private=True)
    sent = 0

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(OSError):
            while sent < 200_000_000:
                writer.write(bytes(1_000_000))
                sent += 1_000_000
                await asyncio.wait_for(writer.drain(), 1.0)
        writer.transport.abort()

    server = await asyncio.start_server(flood, "127.0.0.1", 0)
    way = await world.way()
    client = await world.client(way)
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # the stream's own, not in its base class
    client.send(get(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"))
    async with asyncio.timeout(20):
        while not sent or server._active_count:  # type: ignore[attr-defined]  # noqa: ASYNC110 - tells nobody
            await asyncio.sleep(0.05)
    assert way.ledger.transferred_bytes < 50_000_000
    server.close()


async def test_relay_guarded_refuses_before_it_asks_the_proxy(make: Make, proxy: ForwardProxy, site: DemoSite) -> None:
    """Behind a proxy a private address is refused as well, and the proxy never hears of it."""
    world = make(guard="on")
    way = await world.way(f"http://planted-user:planted%20p%40ss@127.0.0.1:{proxy.port}")
    client = await world.client(way)
    client.send(get(f"{site.url.rstrip('/')}/truth.json"))
    assert await client.rest() == b""
    assert proxy.requests == ()
    assert [note.reason for note in way.ledger.since(0.0)] == [Reason.LOOPBACK]
    world.guard.trust(address(site.url))
    client = await world.client(way)
    client.send(get(f"{site.url.rstrip('/')}/truth.json"))
    assert (await answered(client))[0].startswith(b"HTTP/1.1 200")
    client.send(get("http://10.0.0.1/"))
    assert await client.rest() == b""
    assert len(proxy.requests) == 1


async def test_relay_guarded_waits_once_for_a_name_that_is_unknown_here(
    make: Make, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where only the proxy knows names, a lookup may hang: each host costs one short wait, not each request."""
    asked: list[str] = []
    released = threading.Event()

    def hang(name: str, *_: Any, **__: Any) -> Any:
        asked.append(name)
        released.wait(10)
        raise socket.gaierror(socket.EAI_AGAIN, "nobody answers")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(guard_module, "_UNKNOWN_LIMIT_S", 0.1)
    proxy.refuse(404)
    world = make(guard="on", deny=["denied.example"])
    way = await world.way(f"http://planted-user:planted%20p%40ss@127.0.0.1:{proxy.port}")
    for path in "abc":
        client = await world.client(way)
        client.send(get(f"http://inside.example/{path}"))
        assert (await client.head()).startswith(b"HTTP/1.1 404")
    released.set()
    assert asked == ["inside.example"]
    assert len(proxy.requests) == 3
    client = await world.client(way)
    client.send(get("http://denied.example/"))
    assert await client.rest() == b""
    assert len(proxy.requests) == 3


async def test_gate_machine_without_descriptors_blames_no_host() -> None:
    """What this machine lacks is not told as the failure of a site."""
    ledger = Ledger()
    ledger.fail("site.test", 80, error=OSError(errno.EMFILE, "Too many open files"))
    ledger.fail("site.test", 80, error=OSError(errno.EHOSTUNREACH, "No route to host"))
    codes = [note.code for note in ledger.since(0.0)]
    assert codes == ["ERR_INSUFFICIENT_RESOURCES", "ERR_ADDRESS_UNREACHABLE"]


@pytest.mark.parametrize("proxy", [None, "http://127.0.0.1:1", "socks5://127.0.0.1:1"])
async def test_open_without_a_free_port_says_so(make: Make, proxy: str | None) -> None:
    """When the machine has no socket left, that is what the error says."""
    world = make(guard="on")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            await world.way(proxy)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("login", ["", "me:p%40ss@"])
async def test_socks_proxy_is_asked_for_what_is_allowed(make: Make, site: DemoSite, login: str) -> None:
    """A SOCKS proxy stands behind the guard as well, also one with a password; what is refused it never hears of."""
    world = make(guard="on", allow=["127.0.0.1"])
    asked: list[bytes] = []
    port = int(site.url.rstrip("/").rpartition(":")[2])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(EOFError):
            offered = await reader.readexactly(3 + bool(login))
            writer.write(b"\x05\x02" if login else b"\x05\x00")
            if login:
                asked.append(await reader.readexactly(len(b"\x01\x02me\x04p@ss")))
                writer.write(b"\x01\x00")
            asked.append(await reader.readexactly(10))
            assert offered[0] == 5
            _, there = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"\x05\x00\x00\x01" + bytes(6))
            there.write(await reader.readuntil(b"\r\n\r\n"))
            writer.write(await _.readuntil(b"\r\n\r\n"))
            there.close()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    way = await world.way(f"socks5://{login}127.0.0.1:{server.sockets[0].getsockname()[1]}")
    client = await world.client(way)
    client.send(get(f"http://127.0.0.1:{port}/truth.json"))
    assert (await client.head()).startswith(b"HTTP/1.1 200")
    assert asked == [*([b"\x01\x02me\x04p@ss"] if login else []), b"\x05\x01\x00\x01\x7f\0\0\1" + port.to_bytes(2)]
    refused = await world.client(way)
    refused.send(get("http://10.0.0.1/"))
    assert await refused.rest() == b""
    assert len(asked) == 1 + bool(login)
    assert way.failure_since(0.0) is None
    server.close()
    await server.wait_closed()
    down = await world.client(way)
    down.send(get(f"http://127.0.0.1:{port}/"))
    assert await down.rest() == b""
    assert "cannot be reached" in (way.failure_since(0.0) or "")


async def test_connect_tries_the_next_address(site: DemoSite) -> None:
    """A dead address does not keep a site from being reached by its other one."""
    port = int(site.url.rstrip("/").rpartition(":")[2])
    connected = await connect([ip_address("::1"), ip_address("127.0.0.1")], port)
    connected.close()
    with pytest.raises(OSError, match="no address"):
        await connect([], port)


def test_guard_auto_is_on_from_the_first_public_url() -> None:
    """Private URLs leave it off and are allowed; a public one switches it on for good, and is told once."""
    world = World()
    assert world.guard.refusal(address("http://127.0.0.1:8000/")) is None
    assert world.events == []
    assert world.guard.refusal(address("http://example.com/")) is None
    assert world.guard.refusal(address("http://example.org/")) is None
    assert world.guard.refusal(address("http://127.0.0.1:8000/")) is Reason.LOOPBACK
    assert [type(event) for event in world.events] == [GuardStarted]


def test_guard_trusts_private_origins_but_no_names() -> None:
    """A private address that the user names is allowed at its port; a name is not: others decide where it leads."""
    world = World(guard="on")
    assert world.guard.trust(address("http://10.0.0.1:8000/a"))
    assert not world.guard.trust(address("http://10.0.0.1:8000/b")), "known already"
    assert not world.guard.trust(address("http://intranet.example/"))
    assert world.guard.refusal(address("http://10.0.0.1:8000/c")) is None
    assert world.guard.refusal(address("http://10.0.0.1/")) is Reason.PRIVATE
    strict = World(deny=["private"])
    strict.guard.trust(address("http://10.0.0.1/"))
    assert strict.guard.refusal(address("http://10.0.0.1/")) is Reason.DENIED


def test_guard_off_refuses_nothing() -> None:
    """Off is off."""
    world = World(guard="off")
    assert world.guard.refusal(address("http://169.254.169.254/")) is None
    world.guard.refusal(address("http://example.com/"))
    assert not world.guard.is_on


def test_network_config_refuses_what_means_nothing() -> None:
    """An entry that is no host, and lists without a guard, are mistakes that are told."""
    with pytest.raises(ConfigError, match="is no host"):
        NetworkConfig(allow=frozenset({"http://x/"}))
    with pytest.raises(ConfigError, match="guard is off"):
        NetworkConfig(guard="off", allow_private=True)
