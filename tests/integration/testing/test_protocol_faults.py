"""The faults of the server's side, each seen by a client that knows nothing but sockets."""

import contextlib
import http.client
import json
import re
import socket
import time
import zlib

import pytest

from browsercrawl.testing import DemoSite
from browsercrawl.testing.faults import FAULTS


def _connect(site: DemoSite) -> socket.socket:
    host, _, port = site.url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=5)


def _open(site: DemoSite, target: str) -> socket.socket:
    connection = _connect(site)
    connection.sendall(f"GET {target} HTTP/1.1\r\nHost: faults\r\n\r\n".encode())
    return connection


def _fetch(site: DemoSite, target: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    with contextlib.closing(http.client.HTTPConnection(site.url.removeprefix("http://"), timeout=5)) as client:
        client.request("GET", target, headers={"X-Asked": "yes"})
        answer = client.getresponse()
        return answer.status, answer.headers, answer.read()


def _read_into(received: bytearray, connection: socket.socket) -> None:
    """Receive until the end; what came before an error is kept."""
    while data := connection.recv(65_536):
        received += data


def test_index_lists_every_fault_and_the_shop_links_none(site: DemoSite) -> None:
    """`/faults/` names each address with one line; nothing in the shop leads there."""
    _, _, body = _fetch(site, "/faults/")
    listed = re.findall(r'<li><a href="([^"]+)">[^<]+</a> ([^<]+)</li>', body.decode())
    assert [target.replace("&amp;", "&") for target, _ in listed] == [fault.target for fault in FAULTS]
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert not any(link.startswith("/faults") for page in site.truth().pages for link in page.links)


def test_slow_answers_after_the_time_asked_for(site: DemoSite) -> None:
    """`slow` withholds the answer, `slow-body` the second half of the page, for `ms`."""
    began = time.monotonic()
    assert _fetch(site, "/faults/slow?ms=150")[0] == 200
    assert 0.15 <= time.monotonic() - began < 2
    with contextlib.closing(_open(site, "/faults/slow-body?ms=150")) as connection:
        began = time.monotonic()
        received = bytearray()
        while b"</html>" not in received:
            received += connection.recv(65_536)
        assert time.monotonic() - began >= 0.15


def test_silent_never_answers_and_keeps_the_connection(site: DemoSite) -> None:
    """`silent` sends nothing and does not close."""
    with contextlib.closing(_open(site, "/faults/silent")) as connection:
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(1)


def test_silent_body_stops_in_the_middle_of_the_page(site: DemoSite) -> None:
    """`silent-body` sends headers and half a page, then nothing, and does not close."""
    with contextlib.closing(_open(site, "/faults/silent-body")) as connection:
        received = bytearray()
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            _read_into(received, connection)
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert b"Something was sent" in received
    assert b"</html>" not in received


def test_endless_goes_on_sending(site: DemoSite) -> None:
    """`endless` sends more than any buffer holds, and is not over then."""
    with contextlib.closing(_open(site, "/faults/endless")) as connection:
        received = 0
        while received < 300_000:
            data = connection.recv(65_536)
            assert data
            received += len(data)


def test_truncated_sends_less_than_it_promised(site: DemoSite) -> None:
    """`truncated` closes short of its Content-Length, `truncated-chunked` inside a chunk."""
    for target in ("/faults/truncated", "/faults/truncated-chunked"):
        with pytest.raises(http.client.IncompleteRead) as caught:
            _fetch(site, target)
        assert b"Something was sent" in caught.value.partial or target.endswith("chunked")
    received = bytearray()
    with contextlib.closing(_open(site, "/faults/truncated-chunked")) as connection:
        _read_into(received, connection)
    assert b"ffff\r\n<p>Something was sent" in received
    assert not received.endswith(b"0\r\n\r\n")


def test_reset_ends_the_connection_with_rst(site: DemoSite) -> None:
    """`reset` answers with RST before any byte, `reset-body` after half a page."""
    with contextlib.closing(_open(site, "/faults/reset")) as connection, pytest.raises(ConnectionResetError):
        connection.recv(1)
    received = bytearray()
    with contextlib.closing(_open(site, "/faults/reset-body")) as connection, pytest.raises(ConnectionResetError):
        _read_into(received, connection)
    assert b"Something was sent" in received


def test_empty_close_sends_nothing(site: DemoSite) -> None:
    """`empty-close` closes in order, without a byte."""
    with contextlib.closing(_open(site, "/faults/empty-close")) as connection:
        assert connection.recv(1) == b""


def test_refusals_carry_retry_after_only_if_asked(site: DemoSite) -> None:
    """503 and 429 name a pause when told to, in seconds or as a date."""
    for status in (503, 429):
        assert _fetch(site, f"/faults/{status}")[1]["retry-after"] is None
        answer = _fetch(site, f"/faults/{status}?after=7")
        assert (answer[0], answer[1]["retry-after"]) == (status, "7")
        assert _fetch(site, f"/faults/{status}?after=7&date")[1]["retry-after"].endswith(" GMT")


def test_times_limits_how_often_an_address_fails(site: DemoSite) -> None:
    """With `times=N` an address misbehaves N times and is well afterwards; each query counts apart."""
    for key in "ab":
        seen = [_fetch(site, f"/faults/503?after=1&times=2&key={key}")[0] for _ in range(4)]
        assert seen == [503, 503, 200, 200]
    with contextlib.closing(_open(site, "/faults/reset?times=1")) as connection, pytest.raises(ConnectionResetError):
        connection.recv(1)
    assert _fetch(site, "/faults/reset?times=1")[0] == 200


@pytest.mark.parametrize(
    ("target", "status", "body"),
    [
        ("/faults/status?is=404", 404, rb"Status 404"),
        ("/faults/status?is=299&empty=1", 299, rb"^$"),
        ("/faults/status?is=500&empty=1", 500, rb"^$"),
        ("/faults/204", 204, rb"^$"),
        ("/faults/empty", 200, rb"^$"),
        ("/faults/json", 200, rb"^\{"),
        ("/faults/text", 200, rb"^Just text"),
        ("/faults/image", 200, rb"^\x89PNG"),
        ("/faults/latin-1", 200, rb"caf\xe9"),
        ("/faults/wrong-charset", 200, rb"whatever its headers say"),
        ("/faults/wrong-type", 200, rb"whatever its headers say"),
        ("/faults/unknown-type", 200, rb"whatever its headers say"),
        ("/faults/auth", 401, rb"Who are you"),
        ("/faults/auth-empty", 401, rb"^$"),
        ("/faults/socket", 426, rb"WebSocket"),
        ("/faults/nested?levels=0", 400, rb"from 1 to"),
        ("/faults/service-worker", 200, rb"serviceWorker.register"),
        ("/faults/service-worker?worker", 200, rb"^const html"),
        ("/faults/page", 200, rb"fault: page"),
        ("/faults/none", 404, rb"Not found"),
    ],
)
def test_answers_have_their_status_and_body(site: DemoSite, target: str, status: int, body: bytes) -> None:
    """The odd but orderly answers are what they say."""
    answer = _fetch(site, target)
    assert answer[0] == status
    assert re.search(body, answer[2])


def test_redirects_lead_to_a_good_page_or_in_a_circle(site: DemoSite) -> None:
    """`redirect?n=3` takes three steps to a good page; `redirect-loop` leads to itself."""
    target, steps = "/faults/redirect?n=3", 0
    while (answer := _fetch(site, target))[0] == 302:
        target, steps = answer[1]["location"], steps + 1
    assert (target, steps, answer[0]) == ("/faults/page", 3, 200)
    assert _fetch(site, "/faults/redirect-loop")[1]["location"] == "/faults/redirect-loop"


def test_redirects_lead_to_what_no_browser_follows(site: DemoSite) -> None:
    """`redirect-growing` gets longer with each step; the others name what is no page."""
    target = "/faults/redirect-growing"
    lengths = []
    for _ in range(20):
        target = _fetch(site, target)[1]["location"]
        lengths.append(len(target))
    assert lengths == sorted(set(lengths))
    places = {name: _fetch(site, f"/faults/redirect-{name}")[1]["location"] for name in ("file", "mailto", "port")}
    assert places == {"file": "file:///", "mailto": "mailto:nobody@example.invalid", "port": "http://127.0.0.1:1/"}


def test_auth_names_its_scheme(site: DemoSite) -> None:
    """A password is asked for in the way that makes browsers ask their user."""
    for name in ("auth", "auth-empty"):
        assert _fetch(site, f"/faults/{name}")[1]["www-authenticate"] == 'Basic realm="faults"'


def test_slow_headers_never_end(site: DemoSite) -> None:
    """`slow-headers` goes on sending bytes of a header."""
    with contextlib.closing(_open(site, "/faults/slow-headers")) as connection:
        received = bytearray()
        while len(received) < 40:
            received += connection.recv(65_536)
    assert received.startswith(b"HTTP/1.1 200 OK\r\nX-Slow: xxx")
    assert b"\r\n\r\n" not in received


@pytest.mark.parametrize(
    ("target", "line", "size"),
    [("big-headers?kb=50", b"X-", 50_000), ("cookies?n=1000", b"Set-Cookie:", 1000 * 24)],
)
def test_headers_are_as_many_as_asked_for(site: DemoSite, target: str, line: bytes, size: int) -> None:
    """The head is as large as asked for, and a page comes after it."""
    received = bytearray()
    with contextlib.closing(_open(site, f"/faults/{target}")) as connection:
        while b"</html>" not in received:
            received += connection.recv(65_536)
    head = received.partition(b"\r\n\r\n")[0]
    assert size * 0.9 < len(head) < size * 1.1
    assert head.count(b"\r\n" + line) == int(re.findall(r"\d+", target)[0])


def test_gzip_bomb_is_small_on_its_way(site: DemoSite) -> None:
    """`gzip-bomb` and `nested` unpack, whole, to hundreds of times what was sent."""
    for target, most, least in (("gzip-bomb?mb=20", 200_000, 19_000_000), ("nested?levels=300000", 50_000, 1_500_000)):
        _, headers, body = _fetch(site, f"/faults/{target}")
        assert headers["content-encoding"] == "gzip"
        assert len(body) < most
        assert least < len(zlib.decompress(body, wbits=31)) < least * 1.1


def test_bad_gzip_cannot_be_unpacked_to_its_end(site: DemoSite) -> None:
    """`bad-gzip` begins well and then is something else."""
    _, headers, body = _fetch(site, "/faults/bad-gzip")
    assert headers["content-encoding"] == "gzip"
    with pytest.raises(zlib.error):
        zlib.decompress(body, wbits=31)
    assert zlib.decompressobj(wbits=31).decompress(body, 20).startswith(b"<!doctype html>")


def test_socket_opens_and_sends_without_end(site: DemoSite) -> None:
    """`socket` answers the handshake as RFC 6455 says (its own example), then sends text messages."""
    with contextlib.closing(_connect(site)) as connection:
        connection.sendall(
            b"GET /faults/socket HTTP/1.1\r\nHost: faults\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        received = bytearray()
        while len(received) < 100_000:
            received += connection.recv(65_536)
    head, _, frames = bytes(received).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
    frame = b"\x81\x7e\x40\x00" + b"x" * 16_384
    assert frames[: 3 * len(frame)] == frame * 3


def test_big_html_has_the_size_asked_for(site: DemoSite) -> None:
    """`big-html` is one document of `mb` megabytes, whole."""
    _, headers, body = _fetch(site, "/faults/big-html?mb=3")
    assert len(body) == 3_000_000 == int(headers["content-length"])
    assert body.startswith(b"<!doctype html>")
    assert body.endswith(b"</p>\n")


def test_download_is_an_attachment(site: DemoSite) -> None:
    """`download` says that it is to be saved, under a name."""
    assert _fetch(site, "/faults/download")[1]["content-disposition"] == 'attachment; filename="table.csv"'


def test_echo_tells_what_was_asked(site: DemoSite) -> None:
    """`echo` gives the request back: method, target, headers."""
    told = json.loads(_fetch(site, "/faults/echo?a=1")[2])
    assert (told["method"], told["target"], told["headers"]["x-asked"]) == ("GET", "/faults/echo?a=1", "yes")
