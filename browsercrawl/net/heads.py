"""The heads of requests to a proxy: as much of HTTP/1.1 (RFC 9110, 9112) as tells where they go and where they end."""

import re
from dataclasses import dataclass

import ada_url

HEAD_BYTES_MAX = 262_144
"""A URL may have 65,536 by itself, and cookies come on top."""
HEAD_END = b"\r\n\r\n"
BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

Field = re.Match[bytes]

_ORIGIN = re.compile(rb"http://[^/?#]*", re.IGNORECASE)
_REQUEST = re.compile(rb"([!-~]+) ([!-~]+) HTTP/1\.[01]")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*)")
_LENGTH = re.compile(rb"[0-9]{1,18}")


class Malformed(Exception):
    """What the browser's side sent is no request to a proxy."""


@dataclass(frozen=True, slots=True)
class Head:
    """A request's head.

    Attributes:
        line: its first line.
        target: host and port of a CONNECT, else the whole URL.
        fields: name and value are groups 1 and 2.
        is_connect: it asks for a tunnel.
        is_upgrade: it asks for another protocol.
        length: bytes of its body; None: it comes in chunks.
    """

    line: bytes
    target: bytes
    fields: list[Field]
    is_connect: bool
    is_upgrade: bool
    length: int | None

    @property
    def origin(self) -> bytes:
        """The URL up to its path, as it was written; of a CONNECT empty."""
        found = _ORIGIN.match(self.target)
        return found[0] if found is not None else b""

    def line_for(self, where: bytes) -> bytes:
        """Return the first line for a URL's path at another origin, or at none."""
        path = self.target[len(self.origin) :].partition(b"#")[0]
        slash = b"" if path.startswith(b"/") else b"/"
        return b"%b %b%b%b %b" % (self.line.split(b" ", 1)[0], where, slash, path, self.line[-len(b"HTTP/1.1") :])

    def line_for_proxy(self) -> bytes:
        """Return the first line with the host as `destination` reads it: a proxy may read other spellings otherwise.

        Raises:
            Malformed: it goes nowhere.
        """
        host, port = self.destination()
        if self.is_connect:
            return b"CONNECT %b:%d HTTP/1.1" % (host.encode(), port)
        return self.line_for(f"http://{host}{f':{port}' if port != 80 else ''}".encode())

    def destination(self) -> tuple[str, int]:
        """Return host and port of where it goes, the host in the spelling of canonical URLs.

        Raises:
            Malformed: nowhere.
        """
        text = self.target.decode("ascii")
        try:
            url = ada_url.URL(f"http://{text}/" if self.is_connect else text)
        except ValueError:
            raise Malformed from None
        if not url.hostname or (self.is_connect and url.pathname != "/"):
            raise Malformed
        return url.hostname, int(url.port or 80)


def read_head(head: bytes) -> Head:
    """Read the head of a request to a proxy, with the empty line that ends it.

    Raises:
        Malformed: it is none.
    """
    first, *lines = head.removesuffix(HEAD_END).split(b"\r\n")
    start = _REQUEST.fullmatch(first)
    fields = [match for line in lines if (match := _FIELD.fullmatch(line))]
    # A folded line is no field, and could hide one from us.
    if start is None or len(fields) < len(lines):
        raise Malformed
    is_connect = start[1] == b"CONNECT"
    # What is not addressed to a proxy comes from a page that tries the ports of this machine. TRACE would have a proxy
    # send its credentials back.
    if start[1] == b"TRACE" or not (is_connect or start[2].lower().startswith(b"http://")):
        raise Malformed
    upgrade = any(each[1].lower() == b"upgrade" for each in fields)
    return Head(first, start[2], fields, is_connect, upgrade, _body_length(fields))


def _body_length(fields: list[Field]) -> int | None:
    lengths = {each[2].strip() for each in fields if each[1].lower() == b"content-length"}
    codings = [each[2].strip().lower() for each in fields if each[1].lower() == b"transfer-encoding"]
    if codings:
        if codings != [b"chunked"] or lengths:
            raise Malformed
        return None
    if len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
        raise Malformed
    return int(lengths.pop()) if lengths else 0
