"""A small threaded HTTP/1.1 server that can also misbehave, for tests and the demo.

Written on plain sockets because the standard library's server hides the connection, and the fault site must be able
to cut, reset and starve it. One thread accepts, one thread serves each connection, and whatever a thread waits for it
waits for on its own socket: shutting the sockets down is therefore all it takes to end every thread.
"""

import contextlib
import errno
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from urllib.parse import parse_qsl, unquote

_CONNECTIONS_MAX = 512
_ARRIVALS_MAX = 200_000
_HEAD_BYTES_MAX = 65_536
_BODY_BYTES_MAX = 1_048_576
_STOP_LIMIT_S = 2.0
_NO_FILE_S = 0.02
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})

HTML = "text/html; charset=utf-8"
JSON = "application/json"
SCRIPT = "text/javascript; charset=utf-8"
TEXT = "text/plain; charset=utf-8"


class BadQuery(ValueError):
    """A query parameter is not a number in its range; answered with 400."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request as it reached the server.

    Attributes:
        target: path and query, as sent.
        at: `time.monotonic()` when its headers were complete.
    """

    target: str
    at: float


@dataclass(frozen=True, slots=True)
class _Message:
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class Exchange:
    """One request and the means to answer it, used by the thread that serves its connection.

    Attributes:
        method: in upper case.
        target: path and query, as sent.
        path: decoded, without query.
        query: the last value of each name.
        headers: names in lower case.
        body: of the request.
        keep: whether the connection may serve another request; a handler clears it.
    """

    def __init__(self, connection: socket.socket, message: _Message) -> None:
        self._connection = connection
        self.method = message.method
        self.target = message.target
        path, _, query = message.target.partition("?")
        self.path = unquote(path)
        self.query: Mapping[str, str] = dict(parse_qsl(query, keep_blank_values=True)) if query else {}
        self.headers = message.headers
        self.body = message.body
        self.keep = message.headers.get("connection", "").lower() != "close"

    def respond(
        self,
        body: bytes | str = b"",
        *,
        status: int = HTTPStatus.OK,
        content_type: str = HTML,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> None:
        """Send a whole answer; the body is left out for HEAD, 204 and 304."""
        data = body.encode() if isinstance(body, str) else body
        head = _head(status, {"Content-Type": content_type, "Content-Length": str(len(data)), **headers})
        bodiless = self.method == "HEAD" or status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
        self.send(head if bodiless else head + data)

    def begin(self, headers: Mapping[str, str], *, status: int = HTTPStatus.OK, content_type: str = HTML) -> None:
        """Send the head of an answer whose body follows by `send`; its framing is up to `headers`."""
        self.send(_head(status, {"Content-Type": content_type, **headers}))

    def send(self, data: bytes) -> None:
        """Send bytes as they are.

        Raises:
            OSError: the client is gone or the server stops.
        """
        self._connection.sendall(data)

    def send_chunk(self, data: bytes) -> None:
        """Send one chunk of a body that was begun with `Transfer-Encoding: chunked`."""
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def pause(self, seconds: float | None) -> None:
        """Return after `seconds` (None: never).

        Raises:
            ConnectionAbortedError: the client closed the connection, or the server stops.
        """
        until = None if seconds is None else time.monotonic() + seconds
        try:
            while until is None or (left := until - time.monotonic()) > 0:
                self._connection.settimeout(None if until is None else left)
                # Nothing is due from a client that waits for an answer: what comes is the end of the connection.
                if not self._connection.recv(4096):
                    raise ConnectionAbortedError("closed while waiting")
                self.keep = False
        except TimeoutError:
            pass
        finally:
            self._connection.settimeout(None)

    def reset(self) -> None:
        """End the connection with a TCP reset instead of an orderly close."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.keep = False

    def number(self, name: str, usual: int, *, least: int = 0, most: int) -> int:
        """Return a whole number from the query.

        Raises:
            BadQuery: not a number from `least` to `most`.
        """
        given = self.query.get(name)
        if given is None:
            return usual
        if not given.isascii() or not given.isdigit() or not least <= int(given[:12]) <= most:
            raise BadQuery(f"{name}={given[:40]!r} is no whole number from {least} to {most}")
        return int(given)


Answer = Callable[[Exchange], None]
"""Answers one request; raises OSError when the client goes away."""


class Server:
    """Serves `answer` on a loopback port until it is stopped.

    Args:
        answer: called in the connection's thread, once per request; it must be thread-safe.
        port: 0 lets the system choose.
        tls: speak TLS with this certificate; None: speak plain HTTP.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, answer: Answer, *, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self._answer = answer
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", port), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        # Guards the two containers and the flag; also held while sockets are closed or shut down, so that neither
        # happens to a descriptor that already belongs to somebody else.
        self._lock = threading.Lock()
        self._serving: dict[socket.socket, threading.Thread] = {}
        self._arrivals: deque[Arrival] = deque(maxlen=_ARRIVALS_MAX)
        self._stopping = False
        self._acceptor = threading.Thread(target=self._accept, name=f"demo-accept-{self.port}", daemon=True)
        self._acceptor.start()

    def arrivals(self) -> tuple[Arrival, ...]:
        """Return the last 200,000 requests, oldest first."""
        with self._lock:
            return tuple(self._arrivals)

    def stop(self) -> None:
        """Close every connection and end every thread, within 2 s; may be called again.

        Raises:
            RuntimeError: a thread did not end.
        """
        with self._lock:
            if self._stopping:
                return
            self._stopping = True
            threads = [self._acceptor, *self._serving.values()]
            for connection in self._serving:
                _shut(connection)
        # Closing a listener does not wake a thread that is in accept(); a connection does, on every system.
        with contextlib.suppress(OSError):  # refused: another connection has woken it just now
            socket.create_connection(("127.0.0.1", self.port), timeout=_STOP_LIMIT_S).close()
        deadline = time.monotonic() + _STOP_LIMIT_S
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        left = [thread.name for thread in threads if thread.is_alive()]
        if left:
            raise RuntimeError(f"threads of the demo server did not end: {left}")

    def _accept(self) -> None:
        with self._listener:
            while True:
                try:
                    connection, _ = self._listener.accept()
                    if self._tls is not None:  # the handshake comes with the first read, in the connection's thread
                        connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                except (ConnectionError, ssl.SSLError):
                    continue
                except OSError as error:
                    if error.errno != errno.EMFILE:
                        raise
                    time.sleep(_NO_FILE_S)  # a test has taken this process's descriptors away for a moment
                    continue
                thread = threading.Thread(target=self._serve, args=(connection,), name="demo-connection", daemon=True)
                with self._lock:
                    if self._stopping or len(self._serving) >= _CONNECTIONS_MAX:
                        connection.close()
                    else:
                        self._serving[connection] = thread
                        # Started under the lock: stop() joins only threads that were started.
                        thread.start()
                    if self._stopping:
                        return

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            buffer = bytearray()
            while (message := _read(connection, buffer)) is not None:
                with self._lock:
                    self._arrivals.append(Arrival(message.target, time.monotonic()))
                exchange = Exchange(connection, message)
                try:
                    self._answer(exchange)
                except BadQuery as error:
                    exchange.respond(f"{error}\n", status=HTTPStatus.BAD_REQUEST, content_type=TEXT)
                if not exchange.keep:
                    return
        except OSError:
            return  # the client went away, or stop() shut the socket down
        finally:
            with self._lock:
                del self._serving[connection]
                connection.close()


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unnamed"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} {phrase}\r\n{lines}\r\n".encode("latin-1")


def _read(connection: socket.socket, buffer: bytearray) -> _Message | None:
    """Take the next request off a connection; None when it ends or what comes is no request worth answering."""
    end = _fill(connection, buffer)
    if end < 0:
        return None
    first, *lines = buffer[:end].decode("latin-1").split("\r\n")
    del buffer[: end + 4]
    words = first.split(" ")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = headers.get("content-length", "0")
    wrong = len(words) != 3 or not words[1].startswith("/") or not length.isdigit() or "transfer-encoding" in headers
    if wrong or int(length) > _BODY_BYTES_MAX:
        connection.sendall(_head(HTTPStatus.BAD_REQUEST, {"Content-Length": "0", "Connection": "close"}))
        return None
    while len(buffer) < int(length):
        data = connection.recv(65_536)
        if not data:
            return None
        buffer += data
    body = bytes(buffer[: int(length)])
    del buffer[: int(length)]
    return _Message(words[0].upper(), words[1], headers, body)


def _fill(connection: socket.socket, buffer: bytearray) -> int:
    """Receive until a whole head is there; return where it ends, -1 when it never will."""
    while (end := buffer.find(b"\r\n\r\n")) < 0:
        if len(buffer) > _HEAD_BYTES_MAX:
            return -1
        data = connection.recv(65_536)
        if not data:
            return -1
        buffer += data
    return end


def _shut(connection: socket.socket) -> None:
    try:
        # The plain socket's: that of TLS lets go of a session which the connection's thread is using.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
    except OSError:
        return  # the client had closed it already, which wakes its thread as well
