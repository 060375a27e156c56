"""A forward proxy for tests: CONNECT and plain HTTP/1.1, to this machine only, by password if wanted.

One thread accepts, one thread serves each connection and waits on its two sockets at once. What passes through is
passed as it is, faults included. As in `server`, shutting the sockets down is all it takes to end every thread.
"""

import asyncio
import contextlib
import selectors
import socket
import threading
import time
from base64 import b64decode
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from browsercrawl.urls import is_loopback

_CONNECTIONS_MAX = 512
_REQUESTS_MAX = 200_000
_HEAD_BYTES_MAX = 65_536
_BLOCK_BYTES = 65_536
_HEAD_END = b"\r\n\r\n"
_CONNECT_LIMIT_S = 5.0
_STOP_LIMIT_S = 2.0
_NEVER = 0  # as a status: no answer


@dataclass(frozen=True, slots=True)
class ProxyRequest:
    """A request as it reached the proxy, also one that it refused.

    Attributes:
        method: as sent.
        target: `host:port` of a CONNECT, else the whole URL.
        username: it came with; None: without credentials.
    """

    method: str
    target: str
    username: str | None


class ForwardProxy:
    """A proxy to test with; it serves from its creation until `stop`. A context manager, in plain and in async code.

    Args:
        username: it demands, with `password`; None: none.
        password: what goes with it.
        port: 0 lets the system choose.

    Raises:
        OSError: the port is taken.

    Attributes:
        url: such as `http://127.0.0.1:8123`, without credentials.
        port: such as 8123.
    """

    def __init__(self, *, username: str | None = None, password: str = "", port: int = 0) -> None:
        self._credentials = None if username is None else (username, password)
        self._listener = socket.create_server(("127.0.0.1", port), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        # Guards everything below; also held while sockets are closed or shut down, so that neither happens to a
        # descriptor that already belongs to somebody else.
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._sockets: set[socket.socket] = set()
        self._requests: deque[ProxyRequest] = deque(maxlen=_REQUESTS_MAX)
        self._refusal: int | None = None
        self._hanging = False
        self._stopping = False
        self._acceptor = threading.Thread(target=self._accept, name=f"proxy-accept-{self.port}", daemon=True)
        self._acceptor.start()

    @property
    def requests(self) -> tuple[ProxyRequest, ...]:
        """The last 200,000 requests, oldest first."""
        with self._lock:
            return tuple(self._requests)

    def refuse(self, status: int) -> None:
        """Answer every further request with this status."""
        with self._lock:
            self._refusal, self._hanging = status, False

    def hang(self) -> None:
        """Take every further request and never answer it."""
        with self._lock:
            self._refusal, self._hanging = None, True

    def serve(self) -> None:
        """Be a good proxy again, to further requests."""
        with self._lock:
            self._refusal, self._hanging = None, False

    def stop(self) -> None:
        """Close every connection and end every thread, within 2 s; may be called again.

        Raises:
            RuntimeError: a thread did not end.
        """
        with self._lock:
            if self._stopping:
                return
            self._stopping = True
            threads = [self._acceptor, *self._threads]
            for each in self._sockets:
                with contextlib.suppress(OSError):  # closed by the other side, which wakes its thread as well
                    each.shutdown(socket.SHUT_RDWR)
        # Closing a listener does not wake a thread that is in accept(); a connection does, on every system.
        with contextlib.suppress(OSError):  # refused: another connection has woken it just now
            socket.create_connection(("127.0.0.1", self.port), timeout=_STOP_LIMIT_S).close()
        deadline = time.monotonic() + _STOP_LIMIT_S
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        left = [thread.name for thread in threads if thread.is_alive()]
        if left:
            raise RuntimeError(f"threads of the proxy did not end: {left}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    def _accept(self) -> None:
        with self._listener:
            while True:
                try:
                    client, _ = self._listener.accept()
                except ConnectionError:
                    continue
                thread = threading.Thread(target=self._serve, args=(client,), name="proxy-connection", daemon=True)
                with self._lock:
                    if self._stopping or len(self._threads) >= _CONNECTIONS_MAX:
                        client.close()
                    else:
                        self._sockets.add(client)
                        self._threads.add(thread)
                        # Started under the lock: stop() joins only threads that were started.
                        thread.start()
                    if self._stopping:
                        return

    def _serve(self, client: socket.socket) -> None:
        connection = _Connection(client, decide=self._decide, dial=self._dial)
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.serve()
        except (OSError, ValueError):
            return  # one of the two sides went away, or stop() shut it down; or what came is no request
        finally:
            with self._lock:
                for each in connection.sockets:
                    self._sockets.remove(each)
                    each.close()
                self._threads.remove(threading.current_thread())

    def _decide(self, request: ProxyRequest, password: str) -> int | None:
        """Record a request; return what to refuse it with, or None."""
        with self._lock:
            self._requests.append(request)
            if self._hanging:
                return _NEVER
            if self._refusal is not None:
                return self._refusal
        if self._credentials not in (None, (request.username, password)):
            return HTTPStatus.PROXY_AUTHENTICATION_REQUIRED
        return None

    def _dial(self, place: "_Place") -> socket.socket:
        """Connect to a place on this machine; OSError when nobody listens there, or the proxy stops."""
        origin = socket.create_connection(place, timeout=_CONNECT_LIMIT_S)
        origin.settimeout(None)
        with self._lock:
            if self._stopping:
                origin.close()
                raise ConnectionAbortedError("the proxy stops")
            self._sockets.add(origin)
        return origin


_Place = tuple[str, int]


class _Connection:
    """A client's connection, and the one to where its last request went; used by the thread that serves it."""

    def __init__(
        self,
        client: socket.socket,
        *,
        decide: Callable[[ProxyRequest, str], int | None],
        dial: Callable[[_Place], socket.socket],
    ) -> None:
        self.sockets = [client]
        self._client = client
        self._decide = decide
        self._dial = dial
        self._place: _Place | None = None
        self._received = bytearray()
        self._body_left = 0
        self._is_tunnel = False

    def serve(self) -> None:
        """Pass on what either side sends, until the origin ends or a request is refused."""
        with selectors.DefaultSelector() as sides:
            sides.register(self._client, selectors.EVENT_READ)
            while True:
                for key, _ in sides.select():
                    if key.fileobj is not self._client:
                        data = self.sockets[-1].recv(_BLOCK_BYTES)
                        if not data:
                            return
                        self._client.sendall(data)
                    elif data := self._client.recv(_BLOCK_BYTES):
                        self._received += data
                        if not self._advance(sides):
                            return
                    elif len(self.sockets) == 1:
                        return
                    else:  # a client that has said all may still be listening
                        sides.unregister(self._client)
                        self.sockets[-1].shutdown(socket.SHUT_WR)

    def _advance(self, sides: selectors.BaseSelector) -> bool:
        """Use what was received as far as possible; return whether to go on."""
        while self._received:
            if self._is_tunnel or self._body_left:
                length = len(self._received) if self._is_tunnel else min(self._body_left, len(self._received))
                self.sockets[-1].sendall(self._received[:length])
                self._body_left -= 0 if self._is_tunnel else length
            else:
                length = self._received.find(_HEAD_END) + len(_HEAD_END)
                if length < len(_HEAD_END):
                    return len(self._received) <= _HEAD_BYTES_MAX
                if not self._begin(self._received[:length].decode("latin-1"), sides):
                    return False
            del self._received[:length]
        return True

    def _begin(self, head: str, sides: selectors.BaseSelector) -> bool:
        """Take a request: refuse it, or connect and send its head on; return whether to go on."""
        first, *lines = head.rstrip("\r\n").split("\r\n")
        method, target, *_ = [*first.split(" "), "", ""]
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        username, password = _credentials(fields.get("proxy-authorization", ""))
        status = self._decide(ProxyRequest(method, target, username), password)
        if status is None:
            status = self._go_to(_place_of(method, target), sides)
        length = fields.get("content-length", "0")
        if status is None and ("transfer-encoding" in fields or not length.isdigit()):
            status = HTTPStatus.LENGTH_REQUIRED
        if status == _NEVER:
            while self._client.recv(_BLOCK_BYTES):
                pass
            return False
        if status is not None:
            self._client.sendall(_answer(status, "Content-Length: 0", "Connection: close"))
            return False
        if method == "CONNECT":
            self._is_tunnel = True
            self._client.sendall(_answer(HTTPStatus.OK))
            return True
        self._is_tunnel = "upgrade" in fields
        self._body_left = int(length)
        parts = urlsplit(target)
        path = urlunsplit(("", "", parts.path or "/", parts.query, ""))
        kept = [line for line in lines if not line.lower().startswith("proxy-")]
        self.sockets[-1].sendall("\r\n".join([f"{method} {path} HTTP/1.1", *kept, "", ""]).encode("latin-1"))
        return True

    def _go_to(self, place: _Place | None, sides: selectors.BaseSelector) -> int | None:
        """Be connected to a place; return what to refuse the request with, or None."""
        if place is None:
            return HTTPStatus.BAD_REQUEST
        if not is_loopback(place[0]):
            return HTTPStatus.FORBIDDEN
        if place == self._place:
            return None
        if self._place is not None:
            sides.unregister(self.sockets[-1])
        try:
            origin = self._dial(("127.0.0.1" if place[0].endswith("localhost") else place[0].strip("[]"), place[1]))
        except OSError:
            return HTTPStatus.BAD_GATEWAY
        self.sockets.append(origin)
        self._place = place
        sides.register(origin, selectors.EVENT_READ)
        return None


def _place_of(method: str, target: str) -> _Place | None:
    parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
    if not parts.hostname or parts.scheme != ("" if method == "CONNECT" else "http"):
        return None
    return (f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname, parts.port or 80)


def _credentials(field: str) -> tuple[str | None, str]:
    """Return user name and password of a Proxy-Authorization; None and nothing when it is none."""
    kind, _, pair = field.partition(" ")
    if kind.lower() != "basic":
        return None, ""
    username, _, password = b64decode(pair).decode(errors="replace").partition(":")
    return username, password


def _answer(status: int, *lines: str) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unnamed"
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        lines = ('Proxy-Authenticate: Basic realm="test"', *lines)
    return "\r\n".join([f"HTTP/1.1 {status} {phrase}", *lines, "", ""]).encode("latin-1")
