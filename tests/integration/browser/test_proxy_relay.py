"""A real browser whose context goes through the relay to a proxy with a password."""

import asyncio
import datetime as dt
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from browsercrawl.browser import PlaywrightBrowser
from browsercrawl.browser.page import PlaywrightPage
from browsercrawl.errors import NetworkFailed
from browsercrawl.net import ProxyRelay, Upstream
from browsercrawl.ports import ContextOptions
from browsercrawl.testing import DemoSite, ForwardProxy

if TYPE_CHECKING:
    from tests.integration.browser.conftest import Site

LIMIT_S = 20.0


@pytest.fixture
def proxy() -> Iterator[ForwardProxy]:
    """A proxy that wants a password."""
    with ForwardProxy(username="planted-user", password="planted-password") as running:
        yield running


@pytest.fixture
async def relay(request: pytest.FixtureRequest, proxy: ForwardProxy) -> AsyncIterator[ProxyRelay]:
    """A relay to that proxy; `param` may be a wrong password."""
    password = getattr(request, "param", "planted-password")
    started = ProxyRelay(Upstream.parse(f"http://planted-user:{password}@127.0.0.1:{proxy.port}"))
    await started.start()
    yield started
    await started.close()


@pytest.fixture
async def page(browser: PlaywrightBrowser, relay: ProxyRelay) -> PlaywrightPage:
    """A page whose context has the relay for its proxy; certificates are not looked at."""
    options = {"proxy": {"server": relay.url}, "ignore_https_errors": True}
    context = await browser.new_context(ContextOptions(extra=options), limit_s=LIMIT_S)
    return await context.new_page(limit_s=LIMIT_S)


@pytest.fixture
async def secure_url(tmp_path: Path) -> AsyncIterator[str]:
    """The address of one small page, by TLS."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=1))
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path = tmp_path / "certificate.pem"
    path.write_bytes(
        key.private_bytes(pem, form, serialization.NoEncryption())
        + builder.sign(key, hashes.SHA256()).public_bytes(pem)
    )
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(path)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(65_536):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<title>safe</title>")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls) as server:
        yield f"https://localhost:{server.sockets[0].getsockname()[1]}/"


async def load(page: PlaywrightPage, url: str) -> int | None:
    """Visit a URL; return its status."""
    await page.begin()
    seen = await page.goto(url, wait_until="load", load_limit_s=LIMIT_S, limit_s=LIMIT_S)
    return seen.status


def nowhere() -> str:
    """Return an address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"https://localhost:{listener.getsockname()[1]}/"


async def code(page: PlaywrightPage, url: str) -> str:
    """Return how Chromium names the failure to load a URL, in another page of the same context.

    The pool does likewise: in a page whose last navigation failed, Chromium may interrupt the next one.
    """
    fresh = await page.context.new_page(limit_s=LIMIT_S)
    with pytest.raises(NetworkFailed) as caught:
        await load(fresh, url)
    await fresh.close(limit_s=LIMIT_S)
    assert "planted" not in caught.value.message
    return caught.value.code


async def test_relay_page_loads_through_the_proxy(
    page: PlaywrightPage, relay: ProxyRelay, proxy: ForwardProxy, demo: DemoSite
) -> None:
    """Everything a page needs comes through the proxy, though the site is on loopback, and with the user name."""
    assert await load(page, demo.url + "/") == 200
    assert await page.raw.locator("html[data-ready]").count() == 1
    asked = {each.target for each in proxy.requests}
    assert {f"{demo.url}/", f"{demo.url}/static/style.css"} <= asked
    assert len(proxy.requests) == len(demo.arrivals())
    assert {each.username for each in proxy.requests} == {"planted-user"}
    assert relay.failure_since(0) is None


async def test_relay_leaves_the_http_cache_in_use(page: PlaywrightPage, demo: DemoSite) -> None:
    """What may be cached is asked for once, while the page itself is asked for again."""
    await load(page, demo.url + "/")
    statics = len(demo.arrivals("/static/"))
    assert statics > 0
    await load(page, demo.url + "/about")
    await load(page, demo.url + "/")
    assert demo.hits("/") == 2
    assert demo.hits("/static/style.css") == 1
    assert len(demo.arrivals("/static/")) == statics


async def test_relay_tls_and_websockets_go_through_tunnels(
    page: PlaywrightPage, relay: ProxyRelay, proxy: ForwardProxy, demo: DemoSite, secure_url: str
) -> None:
    """What Chromium sends by CONNECT arrives, with the user name."""
    assert await load(page, secure_url) == 200
    assert await page.raw.title() == "safe"
    await load(page, demo.url + "/faults/page")
    place = demo.url.removeprefix("http://")
    await page.raw.evaluate(f"new Promise(done => {{ new WebSocket('ws://{place}/socket').onerror = done; }})")
    assert demo.hits("/socket") == 1
    tunnels = {(each.target, each.username) for each in proxy.requests if each.method == "CONNECT"}
    assert tunnels == {(secure_url.split("/")[2], "planted-user"), (place, "planted-user")}
    assert relay.failure_since(0) is None


@pytest.mark.parametrize("relay", ["planted-wrong"], indirect=True)
async def test_relay_wrong_password_fails_the_navigation(
    page: PlaywrightPage, relay: ProxyRelay, demo: DemoSite
) -> None:
    """Both kinds of navigation fail as a network failure, and the relay says why."""
    for url, expected in ((demo.url + "/", "ERR_EMPTY_RESPONSE"), (nowhere(), "ERR_TUNNEL_CONNECTION_FAILED")):
        began = asyncio.get_running_loop().time()
        assert await code(page, url) == expected
        assert "answers 407" in (relay.failure_since(began) or "")
    assert demo.arrivals() == ()


async def test_relay_proxy_down_fails_the_navigation(
    page: PlaywrightPage, relay: ProxyRelay, proxy: ForwardProxy, demo: DemoSite
) -> None:
    """A proxy that is gone is told apart from a site that is gone."""
    assert await code(page, nowhere()) == "ERR_TUNNEL_CONNECTION_FAILED"
    assert relay.failure_since(0) is None
    await asyncio.to_thread(proxy.stop)
    for url, expected in ((demo.url + "/", "ERR_EMPTY_RESPONSE"), (nowhere(), "ERR_TUNNEL_CONNECTION_FAILED")):
        began = asyncio.get_running_loop().time()
        assert await code(page, url) == expected
        assert "cannot be reached" in (relay.failure_since(began) or "")


async def test_relay_proxy_that_recovers_serves_again(
    page: PlaywrightPage, relay: ProxyRelay, proxy: ForwardProxy, demo: DemoSite
) -> None:
    """Chromium keeps no grudge against a proxy whose failures it has seen."""
    proxy.refuse(407)
    for _ in range(3):
        assert await code(page, demo.url + "/") == "ERR_EMPTY_RESPONSE"
    proxy.serve()
    assert await load(page, demo.url + "/") == 200


async def test_relay_page_of_another_context_cannot_use_it(
    browser: PlaywrightBrowser, relay: ProxyRelay, proxy: ForwardProxy, site: "Site"
) -> None:
    """A web page that posts to the relay's port gets nothing through."""
    context = await browser.new_context(ContextOptions(), limit_s=LIMIT_S)
    page = await context.new_page(limit_s=LIMIT_S)
    await load(page, site.url("/"))
    script = f"fetch('{relay.url}/', {{method: 'POST', mode: 'no-cors', body: 'x'}}).then(() => 'sent', () => 'failed')"
    await page.raw.evaluate(script)
    assert proxy.requests == ()
