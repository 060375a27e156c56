"""Answers of the fault site that are too much: of headers, of content once it is unpacked, of messages.

What could harm the machine is capped: content at 1 GiB, elements at a million.
"""

import base64
import hashlib
import zlib
from collections.abc import Iterator
from http import HTTPStatus

from browsercrawl.testing.fault_pages import page_html
from browsercrawl.testing.server import TEXT, Exchange

# Hidden, because laid out text takes 20 times its size in the renderer: 2.2 GB for 100 MB, measured.
CHUNK = b"<p hidden>" + b"more " * 13_000 + b"</p>\n"

_END = "</body>\n</html>\n"
_GZIP = 31  # window bits that have zlib write the gzip format
_SOCKET_KEY_SUFFIX = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_FRAME_BYTES = 16_384
_TRICKLE_EVERY_S = 0.05


def slow_headers(exchange: Exchange) -> None:
    """Send a header's bytes one by one, without end."""
    exchange.send(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while True:
        exchange.send(b"x")
        exchange.pause(_TRICKLE_EVERY_S)


def big_headers(exchange: Exchange) -> None:
    """Send many kilobytes of headers."""
    kilobytes = exchange.number("kb", 1024, least=1, most=10_240)
    lines = "".join(f"X-{number}: {'x' * 990}\r\n" for number in range(kilobytes))
    _send_with(exchange, lines, "The page came after its headers.")


def many_cookies(exchange: Exchange) -> None:
    """Set many cookies, of a path that is never asked for."""
    number = exchange.number("n", 10_000, least=1, most=10_000)
    lines = "".join(f"Set-Cookie:{at}=;Path=/x\r\n" for at in range(number))  # Chromium takes 256 KB of headers
    _send_with(exchange, lines, f"{number} cookies came with this page.")


def _send_with(exchange: Exchange, lines: str, what: str) -> None:
    """Send a page with header lines that are too many, or too much alike, for a mapping."""
    body = page_html("headers", what).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
    exchange.send(head.encode() + body)


def bad_gzip(exchange: Exchange) -> None:
    """Send a page as gzip that breaks off in the middle and goes on as something else."""
    packed = zlib.compress(page_html("bad-gzip", "Packed badly.", body="<p>text</p>\n" * 2000).encode(), wbits=_GZIP)
    exchange.respond(packed[: len(packed) // 2] + b"no gzip" * 100, headers={"Content-Encoding": "gzip"})


def gzip_bomb(exchange: Exchange) -> None:
    """Send a small body that unpacks to many megabytes."""
    left = exchange.number("mb", 256, least=1, most=1024) * 1_000_000 // len(CHUNK)
    _send_packed(exchange, "gzip-bomb", (CHUNK for _ in range(left)))


def nested(exchange: Exchange) -> None:
    """Send elements, each within the one before, in a small body."""
    left = exchange.number("levels", 10_000, least=1, most=1_000_000)
    _send_packed(exchange, "nested", (b"<div>" * min(10_000, left - at) for at in range(0, left, 10_000)))


def _send_packed(exchange: Exchange, name: str, parts: Iterator[bytes]) -> None:
    exchange.begin({"Content-Encoding": "gzip", "Transfer-Encoding": "chunked"})
    packer = zlib.compressobj(wbits=_GZIP)
    exchange.send_chunk(packer.compress(page_html(name, "Small on its way.").removesuffix(_END).encode()))
    for part in parts:
        if packed := packer.compress(part):
            exchange.send_chunk(packed)
    exchange.send_chunk(packer.flush())
    exchange.send_chunk(b"")


def web_socket(exchange: Exchange) -> None:
    """Open a WebSocket and send messages without end, as many as the client takes up to 16 MB/s."""
    key = exchange.headers.get("sec-websocket-key")
    if key is None:
        exchange.respond("This is a WebSocket.\n", status=HTTPStatus.UPGRADE_REQUIRED, content_type=TEXT)
        return
    digest = hashlib.sha1((key + _SOCKET_KEY_SUFFIX).encode(), usedforsecurity=False).digest()
    accept = base64.b64encode(digest).decode()
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept}
    exchange.begin(upgrade, status=HTTPStatus.SWITCHING_PROTOCOLS)
    # One whole text message, not masked, its length in two bytes: RFC 6455, section 5.2.
    frame = b"\x81\x7e" + _FRAME_BYTES.to_bytes(2, "big") + b"x" * _FRAME_BYTES
    while True:
        exchange.send(frame)
        exchange.pause(exchange.number("ms", 1, least=1, most=1000) / 1000)
