"""The forward proxy for tests, seen by the standard library's client."""

import contextlib
import http.client
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator

import pytest

from browsercrawl.testing import DemoSite, ForwardProxy
from browsercrawl.testing.proxy import ProxyRequest

Connect = Callable[[], http.client.HTTPConnection]
GOOD = {"Proxy-Authorization": "Basic " + b64encode(b"me:pw:x").decode()}


@pytest.fixture
def site() -> Iterator[DemoSite]:
    """A demo site."""
    with DemoSite() as running:
        yield running


@pytest.fixture
def proxy() -> Iterator[ForwardProxy]:
    """A proxy that wants a password."""
    with ForwardProxy(username="me", password="pw:x") as running:
        yield running


@pytest.fixture
def connect(proxy: ForwardProxy) -> Iterator[Connect]:
    """Connect to the proxy."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(
            contextlib.closing(http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=5))
        )


def ask(client: http.client.HTTPConnection, url: str, headers: dict[str, str] = GOOD) -> tuple[int, bytes]:
    """Return status and body of what comes for a URL."""
    client.request("GET", url, headers=headers)
    answer = client.getresponse()
    return answer.status, answer.read()


def test_proxy_plain_request_reaches_the_site_without_credentials(
    proxy: ForwardProxy, connect: Connect, site: DemoSite
) -> None:
    """Requests of one connection, to two hosts and with a body, come back with the site's answers."""
    with DemoSite(products=1) as other:
        client = connect()
        assert ask(client, f"{site.url}/truth.json?a=b")[0] == 200
        assert ask(client, f"{other.url.replace('127.0.0.1', 'shop.localhost')}/truth.json")[0] == 200
        client.request("POST", f"{site.url}/faults/page", b"x" * 100_000, GOOD)
        assert client.getresponse().status == 200
        assert other.hits("/truth.json") == 1
    assert site.hits("/truth.json?a=b") == site.hits("/faults/page") == 1
    assert proxy.requests[0] == ProxyRequest("GET", f"{site.url}/truth.json?a=b", "me")
    assert len(proxy.requests) == 3


def test_proxy_connect_opens_a_tunnel(proxy: ForwardProxy, connect: Connect, site: DemoSite) -> None:
    """Behind CONNECT any number of requests goes to the target."""
    client = connect()
    client.set_tunnel("127.0.0.1", int(site.url.rpartition(":")[2]), GOOD)
    assert ask(client, "/faults/page", {})[0] == ask(client, "/truth.json", {})[0] == 200
    assert proxy.requests == (ProxyRequest("CONNECT", site.url.removeprefix("http://"), "me"),)


@pytest.mark.parametrize(
    ("headers", "username"),
    [
        ({}, None),
        ({"Proxy-Authorization": "Basic " + b64encode(b"me:pw").decode()}, "me"),
        ({"Proxy-Authorization": "Bearer x"}, None),
    ],
)
def test_proxy_wrong_credentials_are_refused(
    proxy: ForwardProxy, connect: Connect, site: DemoSite, headers: dict[str, str], username: str | None
) -> None:
    """They get a 407 with a challenge, and the site sees nothing."""
    client = connect()
    client.request("GET", site.url + "/", headers=headers)
    answer = client.getresponse()
    assert (answer.status, answer.headers["Proxy-Authenticate"]) == (407, 'Basic realm="test"')
    assert proxy.requests == (ProxyRequest("GET", site.url + "/", username),)
    assert site.arrivals() == ()


@pytest.mark.parametrize(
    ("url", "status"),
    [("http://example.com/", 403), ("http://127.0.0.1:1/", 502), ("/", 400), ("ftp://127.0.0.1/", 400), ("*", 400)],
)
def test_proxy_goes_nowhere_but_to_this_machine(connect: Connect, url: str, status: int) -> None:
    """Other hosts are refused, and so is what is no URL; a place where nobody listens is a bad gateway."""
    assert ask(connect(), url)[0] == status


def test_proxy_refuses_and_hangs_until_told_to_serve(proxy: ForwardProxy, connect: Connect, site: DemoSite) -> None:
    """Each switch holds for further requests, also of a connection that was served before."""
    url = site.url + "/faults/page"
    client = connect()
    assert ask(client, url)[0] == 200
    proxy.refuse(502)
    assert ask(client, url)[0] == 502
    proxy.hang()
    silent = connect()
    silent.timeout = 0.2
    with pytest.raises(TimeoutError):
        ask(silent, url)
    proxy.serve()
    assert ask(connect(), url)[0] == 200
    assert len(proxy.requests) == 4
    assert site.hits("/faults/page") == 2


def test_proxy_without_password_takes_everybody(site: DemoSite) -> None:
    """One that was given no user name demands none."""
    with (
        ForwardProxy() as proxy,
        contextlib.closing(http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=5)) as client,
    ):
        assert ask(client, site.url + "/faults/page", {})[0] == 200
        assert proxy.requests[0].username is None


def test_proxy_garbage_ends_its_connection_only(proxy: ForwardProxy, connect: Connect, site: DemoSite) -> None:
    """What is no HTTP is dropped; others are served."""
    for garbage in (b"\r\n\r\n", b"CONNECT a:b HTTP/1.1\r\n\r\n", b"x" * 100_000):
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as client:
            client.sendall(garbage)
            with contextlib.suppress(ConnectionResetError):
                while client.recv(4096):
                    pass
    assert ask(connect(), site.url + "/faults/page")[0] == 200


@pytest.mark.parametrize("path", ["/faults/silent", "/faults/endless", None])
def test_proxy_stop_ends_everything(site: DemoSite, path: str | None) -> None:
    """Whatever its connections do, stopping ends connections and threads within 2 s, and may be done again."""
    proxy = ForwardProxy()
    if path is None:
        proxy.hang()
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as client:
        client.sendall(f"GET {site.url}{path or '/'} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        while not (site.arrivals() if path else proxy.requests):
            time.sleep(0.001)
        began = time.monotonic()
        proxy.stop()
        proxy.stop()
        assert time.monotonic() - began < 2
        with contextlib.suppress(ConnectionResetError):
            while client.recv(65_536):
                pass
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("proxy-")]


async def test_proxy_async_context_stops_it() -> None:
    """It ends with its block, without blocking the event loop."""
    async with ForwardProxy() as proxy:
        port = proxy.port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)
