"""The server itself, by raw sockets: connections, counting and stopping."""

import contextlib
import datetime as dt
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from browsercrawl.testing import DemoSite
from browsercrawl.testing.server import Server


def _address(site: DemoSite) -> tuple[str, int]:
    host, _, port = site.url.removeprefix("http://").partition(":")
    return host, int(port)


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A certificate of localhost that signs itself: the server's side, and that of a client who trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path / "certificate.pem"
    path.write_bytes(key.private_bytes(pem, *form) + signed.public_bytes(pem))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cafile=path)


def _ask(site: DemoSite, target: str) -> socket.socket:
    connection = socket.create_connection(_address(site), timeout=5)
    connection.sendall(f"GET {target} HTTP/1.1\r\nHost: shop\r\n\r\n".encode())
    return connection


@contextlib.contextmanager
def _client(site: DemoSite) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(*_address(site), timeout=5)
    with contextlib.closing(connection):
        yield connection


def _demo_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("demo-")]


def test_server_stop_with_open_connections_leaves_no_thread() -> None:
    """stop() ends idle, silent, slow and endless connections within 2 s; no thread is left, clients see the end."""
    site = DemoSite()
    targets = ("/", "/faults/silent", "/faults/silent-body", "/faults/slow?ms=600000", "/faults/endless")
    clients = [_ask(site, target) for target in targets]
    clients.append(socket.create_connection(_address(site), timeout=5))  # connected, nothing asked
    big = _ask(site, "/faults/big-html?mb=100")  # nobody reads it: the server's send blocks
    for client in (clients[0], big):
        assert client.recv(1)
    for target in targets[1:]:
        _wait_hit(site, target)
    began = time.monotonic()
    site.stop()
    site.stop()
    assert time.monotonic() - began < 2
    assert _demo_threads() == []
    for client in (*clients, big):
        with contextlib.closing(client), contextlib.suppress(ConnectionError):
            while client.recv(1_000_000):
                pass
    with pytest.raises(ConnectionError):
        socket.create_connection(_address(site), timeout=5)


def _wait_hit(site: DemoSite, target: str) -> None:
    deadline = time.monotonic() + 5
    while not site.hits(target):
        assert time.monotonic() < deadline, f"{target} did not arrive"
        threading.Event().wait(0.005)


async def test_server_in_async_code_stops_at_the_end_of_the_block() -> None:
    """`async with` works and leaves no thread."""
    async with DemoSite() as site:
        assert site.url.startswith("http://127.0.0.1:")
    assert _demo_threads() == []


def test_server_with_tls_serves_and_stops(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """With a certificate it speaks TLS; who speaks anything else loses the connection; stop() ends the idle ones."""
    theirs, ours = tls
    server = Server(lambda exchange: exchange.respond("well\n", content_type="text/plain"), tls=theirs)
    address = ("127.0.0.1", server.port)
    with contextlib.closing(http.client.HTTPSConnection("localhost", server.port, timeout=5, context=ours)) as client:
        client.request("GET", "/")
        assert client.getresponse().read() == b"well\n"
        with contextlib.closing(socket.create_connection(address, timeout=5)) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert not plain.recv(65_536).startswith(b"HTTP/")
        with contextlib.closing(socket.create_connection(address, timeout=5)):  # says nothing
            began = time.monotonic()
            server.stop()
            assert time.monotonic() - began < 2
    assert _demo_threads() == []


def test_server_client_that_leaves_ends_its_thread(site: DemoSite) -> None:
    """A client that goes away while its answer is withheld costs no thread any longer."""
    _ask(site, "/faults/silent").close()
    _wait_hit(site, "/faults/silent")
    deadline = time.monotonic() + 5
    while len(_demo_threads()) > 1:
        assert time.monotonic() < deadline, "the connection's thread goes on"
        threading.Event().wait(0.005)


def test_server_connection_serves_several_requests(site: DemoSite) -> None:
    """Connections are kept alive: requests in a row, also sent ahead, are answered in order."""
    with _client(site) as client:
        for target in ("/", "/api/", "/static/app.js", "/nothing", "/faults/204", "/faults/json"):
            client.request("GET", target)
            assert client.getresponse().read() is not None
    with contextlib.closing(_ask(site, "/faults/text")) as raw:
        raw.sendall(b"GET /faults/json HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
        answers = b"".join(iter(lambda: raw.recv(65_536), b""))
    assert answers.index(b"Just text.") < answers.index(b'{"answer": 42}')


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET http://elsewhere/ HTTP/1.1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 400),
        (b"DELETE / HTTP/1.1\r\nConnection: close\r\n\r\n", 405),
        (b"GET /robots.txt HTTP/1.1\r\nConnection: close\r\n\r\n", 404),
        (b"GET /category/lamps?page=x HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
        (b"GET /category/lamps?page=3 HTTP/1.1\r\nConnection: close\r\n\r\n", 404),
        (b"GET /faults/slow?ms=-1 HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
    ],
)
def test_server_bad_request_gets_its_status(site: DemoSite, request_bytes: bytes, status: int) -> None:
    """What cannot be served is answered with the status that says why, and the server goes on."""
    with contextlib.closing(socket.create_connection(_address(site), timeout=5)) as raw:
        raw.sendall(request_bytes)
        answer = b"".join(iter(lambda: raw.recv(65_536), b""))
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())


def test_server_head_request_has_headers_only(site: DemoSite) -> None:
    """HEAD gives the length of the body and no body, so that the connection stays usable."""
    with _client(site) as client:
        client.request("HEAD", "/faults/text")
        answer = client.getresponse()
        assert (answer.headers["content-length"], answer.read()) == ("11", b"")
        client.request("GET", "/faults/text")
        assert client.getresponse().read() == b"Just text.\n"


def test_server_static_files_are_cached_and_data_is_not(site: DemoSite) -> None:
    """Script, style and pictures may be cached; pages and JSON may not."""
    with _client(site) as client:
        for target, caching, kind in (
            ("/static/app.js", "public, max-age=3600", "text/javascript; charset=utf-8"),
            ("/static/style.css", "public, max-age=3600", "text/css; charset=utf-8"),
            ("/static/lamps-1.svg", "public, max-age=3600", "image/svg+xml"),
            ("/static/banner.png", "public, max-age=3600", "image/png"),
            ("/", "no-cache", "text/html; charset=utf-8"),
            ("/api/category/lamps?page=2", "no-cache", "application/json"),
        ):
            client.request("GET", target)
            answer = client.getresponse()
            answer.read()
            assert (answer.status, answer.headers["cache-control"], answer.headers["content-type"]) == (
                200,
                caching,
                kind,
            )


def test_server_page_without_script_has_no_content(site: DemoSite) -> None:
    """Without JavaScript a page has no link, no price and not even its title."""
    product = site.truth().products[0]
    with _client(site) as client:
        client.request("GET", product.path)
        html = client.getresponse().read().decode()
    assert "<a " not in html
    assert product.price not in html
    assert product.name not in html


def test_server_truth_json_equals_the_typed_truth(site: DemoSite) -> None:
    """The endpoint and the method tell the same."""
    with _client(site) as client:
        client.request("GET", "/truth.json")
        told = json.load(client.getresponse())
    truth = site.truth()
    assert [page["path"] for page in told["pages"]] == [page.path for page in truth.pages]
    assert [tuple(page["links"]) for page in told["pages"]] == [page.links for page in truth.pages]
    assert [product["price"] for product in told["products"]] == [product.price for product in truth.products]


def test_site_counts_requests_with_their_instants(site: DemoSite) -> None:
    """hits() counts a path with any query, or one exact query; arrivals() are monotonic instants, in order."""
    began = time.monotonic()
    with _client(site) as client:
        for target in ("/faults/503", "/faults/503?after=2", "/faults/5", "/about"):
            client.request("GET", target)
            client.getresponse().read()
    assert (site.hits("/faults/503"), site.hits("/faults/503?after=2"), site.hits("/faults/50")) == (2, 1, 0)
    arrivals = site.arrivals("/faults/")
    assert len(arrivals) == 3
    assert len(site.arrivals()) == 4
    instants = [began, *arrivals, time.monotonic()]
    assert instants == sorted(instants)


def test_site_port_taken_is_refused(site: DemoSite) -> None:
    """A second site on the same port fails at once and leaves no thread."""
    before = _demo_threads()
    with pytest.raises(OSError, match="Address already in use"):
        DemoSite(port=_address(site)[1])
    assert _demo_threads() == before


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_main_serves_until_a_signal(end: signal.Signals) -> None:
    """`python -m browsercrawl.testing` prints its address, serves, and exits 0 at SIGINT or SIGTERM."""
    command = [sys.executable, "-m", "browsercrawl.testing", "--products", "5"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        url = process.stdout.readline().split()[0]
        host, _, port = url.removeprefix("http://").rstrip("/").partition(":")
        with contextlib.closing(http.client.HTTPConnection(host, int(port), timeout=5)) as client:
            client.request("GET", "/truth.json")
            assert len(json.load(client.getresponse())["products"]) == 5
        process.send_signal(end)
        assert process.wait(timeout=5) == 0
        assert process.stderr.read() == ""
