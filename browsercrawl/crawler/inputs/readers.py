"""Taking the addresses out of each kind of sitemap, piece by piece, as it arrives."""

import re
from functools import cache
from types import ModuleType
from typing import Protocol

from browsercrawl.config.models import PRODUCT
from browsercrawl.errors import ConfigError
from browsercrawl.politeness import ROBOTS_BYTES_MAX, RobotsFile

_TOKEN_BYTES_MAX = 1_048_576
"""Expat looks at an unfinished tag again with each piece: without this bound, a huge one takes minutes."""
_DEPTH_MAX = 32

BLANK = b" \t\r\n"
BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_ROBOTS = re.compile(rb"[\s\xef\xbb\xbf]*(?:#|[A-Za-z-]+[ \t]*:(?!//))")
"""How a robots.txt begins, and no address does."""


class BadSitemap(Exception):  # the walk makes a failed seed of it
    """A sitemap cannot be had, or not all of it; the message says why, without its address."""


class Reader(Protocol):
    """Takes addresses out of what it is fed."""

    @property
    def is_index(self) -> bool:
        """What is listed are sitemaps."""

    def feed(self, data: bytes) -> None:
        """Take the next piece."""

    def end(self) -> None:
        """Say that this was all."""


def reader_of(head: bytes, listed: bytearray) -> Reader:
    """Return what reads a document that begins like this; it adds to `listed`, a line for each address."""
    is_utf_16 = head.startswith(BYTE_ORDER_MARKS[1:])
    is_xml = is_utf_16 or head.removeprefix(BYTE_ORDER_MARKS[0]).lstrip(BLANK).startswith(b"<")
    if is_xml:
        return _XmlReader(listed)
    return RobotsReader(listed) if _ROBOTS.match(head) else _TextReader(listed)


class _TextReader:
    """Reads one address per line."""

    is_index = False

    def __init__(self, listed: bytearray) -> None:
        self._listed = listed
        self._rest = b""

    def feed(self, data: bytes) -> None:
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            self._take(line)
        if len(self._rest) > _TOKEN_BYTES_MAX:
            raise BadSitemap(f"a line is longer than {_TOKEN_BYTES_MAX:,} bytes")

    def end(self) -> None:
        self._take(self._rest)
        if not self._listed:
            raise BadSitemap("it is empty")

    def _take(self, line: bytes) -> None:
        text = line.decode("utf-8-sig", "replace").strip()
        if not text:
            return
        if not self._listed and not text.lower().startswith(("http://", "https://")):
            raise BadSitemap("neither XML nor a list of addresses")
        _put(text, self._listed)


class RobotsReader:
    """Reads the `Sitemap` lines of a robots.txt."""

    is_index = True

    def __init__(self, listed: bytearray, *, may_be_empty: bool = False) -> None:
        self._listed = listed
        self._may_be_empty = may_be_empty
        self._text = bytearray()

    def feed(self, data: bytes) -> None:
        """See `Reader.feed`."""
        self._text += data[: ROBOTS_BYTES_MAX - len(self._text)]

    def end(self) -> None:
        """See `Reader.end`."""
        for url in RobotsFile(bytes(self._text), token=PRODUCT).sitemaps:
            _put(url, self._listed)
        if not (self._listed or self._may_be_empty):
            raise BadSitemap("neither XML nor a list of addresses, nor a robots.txt that names a sitemap")


class _XmlReader:
    """Reads XML, without entities of its own."""

    def __init__(self, listed: bytearray) -> None:
        _, self._defused = extra()
        self._locations = _Locations(listed)
        self._parser = self._defused.DefusedXMLParser(target=self._locations)

    @property
    def is_index(self) -> bool:
        return self._locations.is_index

    def feed(self, data: bytes) -> None:
        try:
            self._parser.feed(data)
        except self._defused.ParseError as error:
            raise BadSitemap(f"its XML is wrong ({error})") from error
        except (ValueError, LookupError) as error:
            raise BadSitemap("its XML declares entities, or has an unknown encoding") from error
        self._locations.fed(len(data))

    def end(self) -> None:
        try:
            self._parser.close()
        except self._defused.ParseError as error:
            raise BadSitemap(f"its XML breaks off ({error})") from error


class _Locations:
    """What the XML parser calls: finds each `loc` of an entry, not those of its pictures and films."""

    def __init__(self, listed: bytearray) -> None:
        self.is_index = False
        self._listed = listed
        self._depth = 0
        self._loc = ""
        self._text: list[str] | None = None
        self._quiet_bytes = 0

    def fed(self, size: int) -> None:
        """Check that the parser does not sit on something huge."""
        self._quiet_bytes += size
        if self._quiet_bytes > _TOKEN_BYTES_MAX:
            raise BadSitemap(f"a tag or comment is longer than {_TOKEN_BYTES_MAX:,} bytes")

    def start(self, tag: str, attributes: dict[str, str]) -> None:  # noqa: ARG002 - the parser's call
        self._quiet_bytes = 0
        self._depth += 1
        if self._depth == 1:
            space, _, name = tag.rpartition("}")
            if name not in {"urlset", "sitemapindex"}:
                raise BadSitemap(f"its root is <{name[:40]}>; a sitemap's is <urlset> or <sitemapindex>")
            self.is_index = name == "sitemapindex"
            self._loc = f"{space}}}loc" if space else "loc"
        elif self._depth > _DEPTH_MAX:
            raise BadSitemap(f"more than {_DEPTH_MAX} tags inside each other")
        self._text = [] if self._depth == 3 and tag == self._loc else None

    def end(self, tag: str) -> None:  # noqa: ARG002 - the parser's call
        self._quiet_bytes = 0
        self._depth -= 1
        if self._text is not None:
            _put("".join(self._text).strip().replace("\n", "").replace("\r", ""), self._listed)
            self._text = None

    def data(self, text: str) -> None:
        self._quiet_bytes = 0
        if self._text is not None:
            self._text.append(text)

    def comment(self, text: str) -> None:  # noqa: ARG002 - the parser's call
        self._quiet_bytes = 0

    def pi(self, name: str, text: str) -> None:  # noqa: ARG002 - the parser's call
        self._quiet_bytes = 0

    def close(self) -> None:
        """End, as a target must be able to."""


def _put(text: str, listed: bytearray) -> None:
    if text:
        listed += text.encode("utf-8", "replace") + b"\n"


@cache
def extra() -> tuple[ModuleType, ModuleType]:
    """Return httpx and defusedxml's ElementTree.

    Raises:
        ConfigError: they are not installed.
    """
    try:
        import defusedxml.ElementTree  # noqa: PLC0415 - an extra
        import httpx  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigError("sitemaps need an extra: pip install 'browsercrawl[sitemap]'") from error
    return httpx, defusedxml.ElementTree
