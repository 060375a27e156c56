"""The fault site: one address per way in which a server or a page can misbehave; `/faults/` lists them.

Any address takes `?times=N`: it misbehaves the first N times it (path and query) is asked for, then serves a good
page, so that retries can be watched.
"""

import json
import threading
from collections import Counter
from dataclasses import dataclass
from email.utils import formatdate
from html import escape
from http import HTTPStatus
from time import time

from browsercrawl.testing import fault_floods
from browsercrawl.testing.fault_floods import CHUNK
from browsercrawl.testing.fault_pages import FAULT_PAGES, SERVICED_PAGES, FaultPage, page_html
from browsercrawl.testing.images import banner_png
from browsercrawl.testing.server import JSON, SCRIPT, TEXT, Answer, Exchange

PREFIX = "/faults/"

_DELAY_MS_MAX = 600_000
_COUNTED_MAX = 10_000
_ENDLESS_EVERY_S = 0.05
_SENT = "<p>Something was sent, and then this.</p>\n"
# A label of a name has 63 characters at most: no resolver is asked for one with 64.
_NO_SUCH_HOST = f"http://{'x' * 64}.invalid/"


@dataclass(frozen=True, slots=True)
class Fault:
    """One address of the fault site.

    Attributes:
        name: last part of its path.
        line: what it does, in one line.
        answer: does it.
        query: an example of its parameters, for the index.
    """

    name: str
    line: str
    answer: Answer
    query: str = ""

    @property
    def target(self) -> str:
        """Path with the example's query."""
        return f"{PREFIX}{self.name}{'?' if self.query else ''}{self.query}"


class FaultSite:
    """Answers everything below `/faults/`."""

    def __init__(self) -> None:
        self._faults = {fault.name: fault for fault in FAULTS}
        self._lock = threading.Lock()  # guards the counts
        self._counts: Counter[str] = Counter()

    def answer(self, exchange: Exchange) -> bool:
        """Answer a request; False when there is no such address."""
        name = exchange.path.removeprefix(PREFIX)
        if name == "":
            exchange.respond(_index())
            return True
        fault = self._faults.get(name)
        if fault is None:
            return False
        times = exchange.number("times", 0, most=1_000_000)
        if times and self._count(exchange.target) > times:
            exchange.respond(page_html(name, f"Misbehaved {times} times; well again."))
        else:
            fault.answer(exchange)
        return True

    def _count(self, target: str) -> int:
        with self._lock:
            if target not in self._counts and len(self._counts) >= _COUNTED_MAX:
                self._counts.clear()
            self._counts[target] += 1
            return self._counts[target]


def _index() -> str:
    rows = "".join(
        f'<li><a href="{escape(fault.target)}">{escape(fault.target)}</a> {escape(fault.line)}</li>\n'
        for fault in FAULTS
    )
    return page_html("faults", "Every address here misbehaves in its own way.", body=f"<ul>\n{rows}</ul>\n")


def _slow(exchange: Exchange) -> None:
    exchange.pause(exchange.number("ms", 2000, most=_DELAY_MS_MAX) / 1000)
    exchange.respond(page_html("slow", "Answered late."))


def _silent(exchange: Exchange) -> None:
    exchange.pause(None)


def _slow_body(exchange: Exchange) -> None:
    body = page_html("slow-body", "The second half came late.").encode()
    exchange.begin({"Content-Length": str(len(body))})
    exchange.send(body[: len(body) // 2])
    exchange.pause(exchange.number("ms", 2000, most=_DELAY_MS_MAX) / 1000)
    exchange.send(body[len(body) // 2 :])


def _silent_body(exchange: Exchange) -> None:
    _begin_chunked(exchange, "silent-body")
    exchange.pause(None)


def _endless(exchange: Exchange) -> None:
    _begin_chunked(exchange, "endless")
    while True:
        exchange.send_chunk(CHUNK)
        exchange.pause(_ENDLESS_EVERY_S)


def _truncated(exchange: Exchange) -> None:
    body = page_html("truncated", "Half of this page is missing.", body=_SENT).encode()
    exchange.begin({"Content-Length": str(2 * len(body))})
    exchange.send(body)
    _let_read(exchange)
    exchange.keep = False


def _truncated_chunked(exchange: Exchange) -> None:
    _begin_chunked(exchange, "truncated-chunked")
    exchange.send(b"ffff\r\n" + _SENT.encode())
    _let_read(exchange)
    exchange.keep = False


def _begin_chunked(exchange: Exchange, name: str) -> None:
    exchange.begin({"Transfer-Encoding": "chunked"})
    whole = page_html(name, "The rest of this page never comes.", body=_SENT)
    exchange.send_chunk(whole.removesuffix("</body>\n</html>\n").encode())


def _reset_body(exchange: Exchange) -> None:
    _begin_chunked(exchange, "reset-body")
    _let_read(exchange)
    exchange.reset()


def _let_read(exchange: Exchange) -> None:
    """Give the client a moment: an end overtakes what it has not read or parsed yet, and the body would be lost."""
    exchange.pause(exchange.number("ms", 500, most=_DELAY_MS_MAX) / 1000)


def _empty_close(exchange: Exchange) -> None:
    exchange.keep = False


def _refuse(status: HTTPStatus) -> Answer:
    def answer(exchange: Exchange) -> None:
        headers = {}
        if "after" in exchange.query:
            after = exchange.number("after", 1, most=86_400)
            headers["Retry-After"] = formatdate(time() + after, usegmt=True) if "date" in exchange.query else str(after)
        exchange.respond(page_html(str(status.value), status.phrase), status=status, headers=headers)

    return answer


def _ask_for_password(body: str) -> Answer:
    headers = {"WWW-Authenticate": 'Basic realm="faults"'}
    return lambda exchange: exchange.respond(body, status=HTTPStatus.UNAUTHORIZED, headers=headers)


def _status(exchange: Exchange) -> None:
    status = exchange.number("is", 200, least=200, most=599)
    body = "" if "empty" in exchange.query else page_html("status", f"Status {status}.")
    exchange.respond(body, status=status)


def _redirect(exchange: Exchange) -> None:
    left = exchange.number("n", 3, most=100)
    location = f"{PREFIX}redirect?n={left - 1}" if left > 1 else f"{PREFIX}page"
    exchange.respond(status=HTTPStatus.FOUND, headers={"Location": location})


def _redirect_loop(exchange: Exchange) -> None:
    exchange.respond(status=HTTPStatus.FOUND, headers={"Location": exchange.target})


def _redirect_growing(exchange: Exchange) -> None:
    side = "b" if exchange.query.get("side") == "a" else "a"
    location = f"{PREFIX}redirect-growing?side={side}&trail={exchange.query.get('trail', '')[:5000]}{side * 50}"
    exchange.respond(status=HTTPStatus.FOUND, headers={"Location": location})


def _redirect_to(location: str) -> Answer:
    return lambda exchange: exchange.respond(status=HTTPStatus.FOUND, headers={"Location": location})


def _big_html(exchange: Exchange) -> None:
    size = exchange.number("mb", 100, least=1, most=1024) * 1_000_000
    start = page_html("big-html", "A very long document.").removesuffix("</body>\n</html>\n").encode()
    exchange.begin({"Content-Length": str(size)})
    if exchange.method == "HEAD":
        return
    exchange.send(start)
    left = size - len(start)
    while left > 0:
        exchange.send(CHUNK[-left:] if left < len(CHUNK) else CHUNK)
        left -= len(CHUNK)


def _echo(exchange: Exchange) -> None:
    found = {
        "method": exchange.method,
        "target": exchange.target,
        "headers": dict(exchange.headers),
        "body": exchange.body.decode("utf-8", "replace"),
    }
    exchange.respond(json.dumps(found, indent=1), content_type=JSON)


def _send(body: bytes | str, content_type: str = "text/html", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda exchange: exchange.respond(body, content_type=content_type, headers=named)


def _show(html: str) -> Answer:
    return lambda exchange: exchange.respond(html)


def _show_serviced(page: FaultPage, worker: str) -> Answer:
    """Serve a page, and with `?worker` the service worker that is to answer in our place."""

    def answer(exchange: Exchange) -> None:
        if "worker" in exchange.query:
            exchange.respond(worker, content_type=SCRIPT)
        else:
            exchange.respond(page.html())

    return answer


_PLAIN = "<!doctype html><title>fault: plain</title><p>A page, whatever its headers say.</p>\n"

_PROTOCOL_FAULTS = (
    Fault("slow", "Answers late.", _slow, "ms=2000"),
    Fault("silent", "Takes the request and never answers.", _silent),
    Fault("slow-body", "Sends the second half of the page late.", _slow_body, "ms=2000"),
    Fault("silent-body", "Sends half a page and then nothing more, leaving the connection open.", _silent_body),
    Fault("endless", "A page that never ends, about 1.3 MB/s.", _endless),
    Fault("truncated", "Promises twice as many bytes as it sends, then closes.", _truncated, "ms=500"),
    Fault("truncated-chunked", "Closes in the middle of a chunk.", _truncated_chunked, "ms=500"),
    Fault("reset", "Resets the connection before any answer.", Exchange.reset),
    Fault("reset-body", "Resets the connection in the middle of the page.", _reset_body, "ms=500"),
    Fault("empty-close", "Closes the connection without an answer.", _empty_close),
    Fault("503", "Service unavailable; Retry-After only if asked for.", _refuse(HTTPStatus.SERVICE_UNAVAILABLE)),
    Fault(
        "429", "Too many requests, once, with Retry-After.", _refuse(HTTPStatus.TOO_MANY_REQUESTS), "after=2&times=1"
    ),
    Fault("status", "Any status, with or without a body.", _status, "is=500&empty=1"),
    Fault("204", "No content.", lambda exchange: exchange.respond(status=HTTPStatus.NO_CONTENT)),
    Fault("empty", "200 with an empty body.", _send(b"")),
    Fault("redirect", "A chain of redirects to a good page.", _redirect, "n=3"),
    Fault("redirect-loop", "Redirects to itself.", _redirect_loop),
    Fault("redirect-growing", "Redirects between two addresses that grow each time.", _redirect_growing),
    Fault("redirect-file", "Redirects to a file.", _redirect_to("file:///")),
    Fault("redirect-mailto", "Redirects to a mail address.", _redirect_to("mailto:nobody@example.invalid")),
    Fault("redirect-port", "Redirects to a port that browsers refuse.", _redirect_to("http://127.0.0.1:1/")),
    Fault("redirect-nowhere", "Redirects to a host that cannot exist.", _redirect_to(_NO_SUCH_HOST)),
    Fault("auth", "Asks for a password (HTTP Basic).", _ask_for_password(page_html("auth", "Who are you?"))),
    Fault("auth-empty", "Asks for a password (HTTP Basic), without a body.", _ask_for_password("")),
    Fault("slow-headers", "Sends its headers byte by byte, without end.", fault_floods.slow_headers),
    Fault("big-headers", "So many kilobytes of headers before the page.", fault_floods.big_headers, "kb=1024"),
    Fault("cookies", "A page that sets so many cookies.", fault_floods.many_cookies, "n=10000"),
    Fault("bad-gzip", "A packed page whose second half cannot be unpacked.", fault_floods.bad_gzip),
    Fault("gzip-bomb", "A small body that unpacks to so many megabytes.", fault_floods.gzip_bomb, "mb=256"),
    Fault("nested", "Elements within elements, in a small body.", fault_floods.nested, "levels=10000"),
    Fault("socket", "A WebSocket that sends without end, 16 MB/s at most.", fault_floods.web_socket, "ms=1"),
    Fault("big-html", "A document of this many megabytes.", _big_html, "mb=100"),
    Fault(
        "download",
        "An attachment.",
        _send(b"a,b\n1,2\n", "text/csv", Content_Disposition='attachment; filename="table.csv"'),
    ),
    Fault("echo", "The request's headers, as JSON.", _echo),
    Fault("json", "JSON.", _send('{"answer": 42}', JSON)),
    Fault("text", "Plain text.", _send("Just text.\n", TEXT)),
    Fault("image", "A PNG image.", lambda exchange: exchange.respond(banner_png(64, 48), content_type="image/png")),
    Fault(
        "latin-1",
        "A page in ISO 8859-1, said so in the header only.",
        _send("<title>caf\xe9</title><p>na\xefve fa\xe7ade</p>".encode("latin-1"), "text/html; charset=iso-8859-1"),
    ),
    Fault("wrong-charset", "A page said to be UTF-16, which it is not.", _send(_PLAIN, "text/html; charset=utf-16")),
    Fault("wrong-type", "A page said to be an image.", _send(_PLAIN, "image/png")),
    Fault("unknown-type", "A page said to be of a type nobody knows.", _send(_PLAIN, "application/x-unknown")),
)

FAULTS: tuple[Fault, ...] = (
    *_PROTOCOL_FAULTS,
    *(Fault(page.name, page.line, _show(page.html()), page.query) for page in FAULT_PAGES),
    *(Fault(page.name, page.line, _show_serviced(page, worker)) for page, worker in SERVICED_PAGES),
)
"""Every address of the fault site, in the order of its index."""
