"""Whose fault it is when a request through the relay fails: the proxy's, or the target's."""

import asyncio
import socket
import ssl
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from browsercrawl.net import ProxyRelay, Upstream
from browsercrawl.net import relay as relay_module
from browsercrawl.testing import DemoSite, ForwardProxy

if TYPE_CHECKING:
    from tests.unit.net.conftest import Client, Connect, Relay, Scripted, Until

NOTHING = "http://127.0.0.1:1/"


def request(method: str, url: str) -> bytes:
    """Return what a browser sends to a proxy for a plain page, or for a tunnel to where it is."""
    host = url.split("/")[2]
    target = host if method == "CONNECT" else url
    return f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def failure(relay: ProxyRelay) -> str:
    """Return what the relay says about its proxy, which must not hold a secret."""
    said = relay.failure_since(0) or ""
    assert "planted" not in said
    assert "cGxhbn" not in said
    return said


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The relay waits less long for signs of life."""
    monkeypatch.setattr(relay_module, "_PROXY_LIMIT_S", 0.3)


def dead_port() -> int:
    """Return a port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


async def test_failure_since_wrong_password_is_the_proxys(
    start: "Relay", connect: "Connect", proxy: ForwardProxy, site: DemoSite
) -> None:
    """A 407 is noted and does not reach the browser: a tunnel fails with 502, plain HTTP without an answer."""
    relay = await start(Upstream("127.0.0.1", proxy.port, False, "planted-user", "planted-wrong"))
    client = await connect(relay)
    client.send(request("CONNECT", site.url + "/"))
    assert (await client.rest()).startswith(b"HTTP/1.1 502 ")
    assert "answers 407" in failure(relay)
    now = asyncio.get_running_loop().time()
    assert relay.failure_since(now) is None
    client = await connect(relay)
    client.send(request("GET", site.url + "/"))
    assert await client.rest() == b""
    assert "answers 407" in (relay.failure_since(now) or "")
    assert site.arrivals() == ()


@pytest.mark.parametrize(
    ("method", "answer"), [("CONNECT", b"HTTP/1.1 502 "), ("GET", b"")], ids=lambda each: str(each)[:7]
)
async def test_failure_since_no_connection_is_the_proxys(
    start: "Relay", connect: "Connect", method: str, answer: bytes
) -> None:
    """Nobody listens at the proxy's address, or its name is unknown or no name at all."""
    for host in ("127.0.0.1", "nowhere.invalid", "x" * 70):
        relay = await start(Upstream(host, dead_port(), False, "planted", "planted"))
        client = await connect(relay)
        client.send(request(method, NOTHING))
        assert (await client.rest())[:13] == answer
        assert "cannot be reached" in failure(relay)


@pytest.mark.usefixtures("impatient")
async def test_failure_since_no_tls_is_the_proxys(
    start: "Relay", connect: "Connect", scripted: "Scripted", certificate: Path
) -> None:
    """A certificate nobody vouches for, no TLS at all, and silence: nothing is sent, and the proxy is at fault."""
    received: list[bytes] = []
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)

    async def read_all(peer: "Client") -> None:
        received.append(await peer.rest())

    async def talk(peer: "Client") -> None:
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    plain, silent = await scripted(talk), await scripted(read_all)
    upstreams = [
        await scripted(read_all, tls=tls),
        Upstream("127.0.0.1", plain.port, True, "planted", "planted"),
        Upstream("127.0.0.1", silent.port, True, "planted", "planted"),
    ]
    for upstream in upstreams:
        relay = await start(upstream)
        client = await connect(relay)
        client.send(request("CONNECT", NOTHING))
        assert (await client.rest()).startswith(b"HTTP/1.1 502 ")
        assert "cannot be reached" in failure(relay)
        await relay.close()
    assert not any(b"Basic" in each for each in received)


@pytest.mark.parametrize("status", [401, 402, 407, 429])
async def test_failure_since_refusal_of_us_is_the_proxys(
    client: "Client", relay: ProxyRelay, proxy: ForwardProxy, site: DemoSite, status: int
) -> None:
    """To CONNECT only the proxy answers, and these are about who asks."""
    proxy.refuse(status)
    client.send(request("CONNECT", site.url + "/"))
    assert (await client.rest()).startswith(b"HTTP/1.1 502 ")
    assert str(status) in failure(relay)


@pytest.mark.parametrize("status", [302, 403, 404, 500, 502, 503, 504])
async def test_failure_since_refusal_of_the_target_is_not_the_proxys(
    client: "Client", relay: ProxyRelay, proxy: ForwardProxy, site: DemoSite, status: int
) -> None:
    """A proxy that cannot or may not reach a target is a good proxy."""
    proxy.refuse(status)
    client.send(request("CONNECT", site.url + "/"))
    assert (await client.rest()).startswith(b"HTTP/1.1 502 ")
    assert failure(relay) == ""


@pytest.mark.parametrize("status", [401, 403, 429, 502, 503])
async def test_failure_since_plain_status_is_the_sites(
    client: "Client", relay: ProxyRelay, proxy: ForwardProxy, site: DemoSite, status: int
) -> None:
    """To plain HTTP anybody may have answered: the answer is passed on, and the proxy is not at fault."""
    proxy.refuse(status)
    client.send(request("GET", site.url + "/"))
    assert (await client.rest()).startswith(f"HTTP/1.1 {status} ".encode())
    assert failure(relay) == ""


async def test_failure_since_dead_target_is_not_the_proxys(client: "Client", relay: ProxyRelay) -> None:
    """Nobody listens at the target."""
    client.send(request("CONNECT", NOTHING))
    assert (await client.rest()).startswith(b"HTTP/1.1 502 ")
    assert failure(relay) == ""


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/faults/reset", b""),
        ("/faults/empty-close", b""),
        ("/faults/truncated", b"HTTP/1.1 200 OK\r"),
        ("/faults/reset-body", b"HTTP/1.1 200 OK\r"),
    ],
)
async def test_failure_since_broken_target_is_not_the_proxys(
    client: "Client", relay: ProxyRelay, site: DemoSite, path: str, answer: bytes
) -> None:
    """A connection that the target cuts ends at the browser, too."""
    client.send(request("GET", site.url + path))
    assert (await client.rest())[:16] == answer
    assert failure(relay) == ""


@pytest.mark.parametrize(
    ("answer", "why"), [(b"", "without an answer"), (b"220 mail\r\n", "no HTTP"), (b"x" * 70_000, "no HTTP")]
)
async def test_failure_since_connect_without_http_answer_is_the_proxys(
    start: "Relay", connect: "Connect", scripted: "Scripted", answer: bytes, why: str
) -> None:
    """What closes, or speaks something else, is no proxy."""

    async def talk(peer: "Client") -> None:
        await peer.head()
        peer.send(answer)

    relay = await start(await scripted(talk))
    client = await connect(relay)
    client.send(request("CONNECT", NOTHING))
    assert (await client.rest()).startswith(b"HTTP/1.1 502 ")
    assert why in failure(relay)


@pytest.mark.parametrize("reset", [False, True])
async def test_failure_since_browser_that_leaves_is_not_the_proxys(
    start: "Relay", connect: "Connect", scripted: "Scripted", until: "Until", reset: bool
) -> None:
    """A tunnel that the browser gives up before there is an answer ends without one."""
    asked = asyncio.Event()

    async def wait_for_the_end(peer: "Client") -> None:
        await peer.head()
        asked.set()
        await peer.rest()

    relay = await start(await scripted(wait_for_the_end))
    client = await connect(relay)
    client.send(request("CONNECT", NOTHING))
    await asked.wait()
    if reset:
        client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.writer.close()
    await until(lambda: not relay._serving)
    assert failure(relay) == ""


@pytest.mark.usefixtures("impatient")
async def test_failure_since_silent_proxy_is_found_out(
    relay: ProxyRelay, connect: "Connect", proxy: ForwardProxy, site: DemoSite
) -> None:
    """A proxy that answers nothing fails all who wait, by one question; back again, it serves."""
    proxy.hang()
    clients = [await connect(relay) for _ in range(4)]
    for client, method in zip(clients, ["CONNECT", "GET"] * 2, strict=True):
        client.send(request(method, site.url + "/"))
    answers = [await client.rest() for client in clients]
    assert [answer[:13] for answer in answers] == [b"HTTP/1.1 502 ", b""] * 2
    assert "does not answer" in failure(relay)
    assert [each.target for each in proxy.requests].count("*") == 1
    assert [each.username for each in proxy.requests if each.target == "*"] == [None]
    proxy.serve()
    client = await connect(relay)
    client.send(request("CONNECT", site.url + "/"))
    assert (await client.head()).startswith(b"HTTP/1.1 200 ")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("password", [None, "planted p@ss"])
async def test_failure_since_slow_target_is_not_the_proxys(
    start: "Relay", connect: "Connect", site: DemoSite, password: str | None
) -> None:
    """A proxy that waits for its target shows that it lives when asked, and the answer arrives in the end."""
    with ForwardProxy(username=password and "planted-user", password=password or "") as proxy:
        relay = await start(Upstream("127.0.0.1", proxy.port, False, "planted-user", password or "x"))
        client = await connect(relay)
        client.send(request("GET", site.url + "/faults/slow?ms=900"))
        assert (await client.head()).startswith(b"HTTP/1.1 200 ")
        assert [each.target for each in proxy.requests].count("*") == 1
    assert failure(relay) == ""


@pytest.mark.usefixtures("impatient")
async def test_failure_since_proxy_gone_while_silent_is_the_proxys(
    start: "Relay", connect: "Connect", scripted: "Scripted"
) -> None:
    """One that takes no connection any more when it is asked has failed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        relay = await start(Upstream("127.0.0.1", listener.getsockname()[1], False, "planted", "planted"))
        client = await connect(relay)
        client.send(request("CONNECT", NOTHING))
        listener.setblocking(False)
        peer, _ = await asyncio.get_running_loop().sock_accept(listener)
    with peer:
        assert (await client.rest()).startswith(b"HTTP/1.1 502 ")
    assert "cannot be reached" in failure(relay)
