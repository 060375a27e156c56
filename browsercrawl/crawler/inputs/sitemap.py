"""Fetching a sitemap and taking the addresses out of it, within bounds, whatever the server sends.

Understood is what https://www.sitemaps.org/protocol.html describes: a `urlset`, a `sitemapindex`, a list of addresses
as plain text, each of them also packed by gzip; and a robots.txt, as an index of what it names. It is parsed while it
arrives, and only its addresses are kept.
"""

import asyncio
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from browsercrawl.config.models import PRODUCT
from browsercrawl.errors import ConfigError, InvalidURL
from browsercrawl.politeness import ROBOTS_BYTES_MAX, RobotsFile
from browsercrawl.urls import address
from browsercrawl.version import VERSION

if TYPE_CHECKING:
    import httpx

SITEMAP_BYTES_MAX = 52_428_800
"""Unpacked, as the protocol says; the packed file has the same bound."""

REDIRECTS_MAX = 5

_PIECE_BYTES = 65_536
_TOKEN_BYTES_MAX = 1_048_576
"""Expat looks at an unfinished tag again with each piece: without this bound, a huge one takes minutes."""
_DEPTH_MAX = 32
_HEAD_BYTES = 4096
"""Blank space is passed over so far when it is to be seen what a document is."""

_CLOSING_TURNS = 50
"""httpx reads through a chain of generators: left early, they are closed by the event loop, one after the other."""

_GZIP = b"\x1f\x8b"
_PACKINGS_MAX = 2
"""A packed file may be packed once more for the way."""
_BLANK = b" \t\r\n"
_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_ROBOTS = re.compile(rb"[\s\xef\xbb\xbf]*(?:#|[A-Za-z-]+[ \t]*:(?!//))")
"""How a robots.txt begins, and no address does."""
_BUSY = frozenset({408, 425, 429})


class BadSitemap(Exception):  # the walk makes a failed seed of it
    """A sitemap cannot be had, or not all of it; the message says why, without its address."""


class _Fleeting(BadSitemap):
    """Trying again may help."""


@dataclass(frozen=True, slots=True)
class Sitemap:
    """What a sitemap lists.

    Attributes:
        is_index: they are sitemaps themselves.
        broken: why there may be more; None: these are all.
    """

    listed: bytes
    is_index: bool
    broken: str | None

    def __iter__(self) -> Iterator[str]:
        """Return the addresses, in order."""
        start = 0
        while start < len(self.listed):
            end = self.listed.index(b"\n", start)
            yield self.listed[start:end].decode()
            start = end + 1


class SitemapClient:
    """Fetches sitemaps, one after the other."""

    def __init__(
        self,
        *,
        user_agent: str | None = None,
        proxy: str | None = None,
        limit_s: float = 120.0,
        silence_s: float = 20.0,
        pauses_s: tuple[float, ...] = (1.0, 5.0),
    ) -> None:
        """Describe how to fetch.

        Args:
            user_agent: None: browsercrawl's own.
            proxy: URL of a proxy.
            limit_s: a sitemap must have come by then.
            silence_s: a connection on which nothing happens for so long is given up.
            pauses_s: before each further try, when another might help.

        Raises:
            ConfigError: the extra is not installed, or the proxy is none for this.
        """
        _extra()
        if proxy is not None and proxy.startswith("socks"):
            raise ConfigError(
                "browser.proxy: sitemaps cannot be fetched through a socks5 proxy; give an http or https proxy, or "
                "list the pages in a file"
            )
        self._user_agent = user_agent or f"browsercrawl/{VERSION}"
        self._proxy = proxy
        self._limit_s = limit_s
        self._silence_s = silence_s
        self._pauses_s = pauses_s
        self._client: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        """Make ready."""
        httpx, _ = _extra()
        self._client = httpx.AsyncClient(
            headers={"User-Agent": self._user_agent, "Accept-Encoding": "gzip"},
            proxy=self._proxy,
            timeout=self._silence_s,
            follow_redirects=True,
            max_redirects=REDIRECTS_MAX,
            trust_env=False,  # only the command line reads the environment
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
        for _ in range(_CLOSING_TURNS):
            await asyncio.sleep(0)

    async def fetch(self, url: str) -> Sitemap:
        """Fetch a sitemap.

        Returns:
            What it lists; if it breaks off, what stood before that.

        Raises:
            BadSitemap: it cannot be had, or is none.
        """
        try:
            address(url)
        except InvalidURL as error:
            raise BadSitemap(error.message) from error
        for pause_s in self._pauses_s:
            try:
                return await self._fetch(url)
            except _Fleeting:
                await asyncio.sleep(pause_s)
        return await self._fetch(url)

    async def _fetch(self, url: str) -> Sitemap:
        httpx, _ = _extra()
        document = _Document()
        try:
            async with asyncio.timeout(self._limit_s):
                await self._read(url, document)
        except TimeoutError as error:
            if document.is_understood:
                return document.sitemap(f"it did not come within {self._limit_s:g} s")
            raise _Fleeting(f"it did not come within {self._limit_s:g} s") from error
        except httpx.TooManyRedirects as error:
            raise BadSitemap(f"it redirects more than {REDIRECTS_MAX} times") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = f"the connection failed ({type(error).__name__})"
            if document.is_understood:
                return document.sitemap(reason)
            raise _Fleeting(reason) from error
        except BadSitemap as error:
            if document.is_understood:
                return document.sitemap(str(error))
            raise
        return document.sitemap(None)

    async def _read(self, url: str, document: "_Document") -> None:
        assert self._client is not None, "entered before use"
        packed_bytes = 0
        unpackers = [_Unpacker() for _ in range(_PACKINGS_MAX)]
        async with self._client.stream("GET", url) as response:
            _check_answer(response)
            async for chunk in response.aiter_raw():
                packed_bytes += len(chunk)
                for piece in _through(unpackers, chunk):
                    document.feed(piece)
                    await asyncio.sleep(0)  # a packed chunk may hold a thousand pieces
                if packed_bytes > SITEMAP_BYTES_MAX:
                    raise BadSitemap(f"larger than {SITEMAP_BYTES_MAX:,} bytes")
        for unpacker in unpackers:
            unpacker.end()
        document.end()


def _check_answer(response: "httpx.Response") -> None:
    status = response.status_code
    if status in _BUSY or status >= 500:
        raise _Fleeting(f"the server answered {status}")
    if status != 200:
        raise BadSitemap(f"the server answered {status}")
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in {"", "identity", "gzip", "x-gzip"}:
        raise BadSitemap(f"packed by {encoding[:40]!r}; gzip was asked for")


class _Unpacker:
    """Unpacks gzip, if that is what comes, in small pieces; anything else passes as it is."""

    def __init__(self) -> None:
        self._head: bytes | None = b""
        self._gzip: zlib._Decompress | None = None

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Yield what is in it."""
        if self._head is not None:
            data, self._head = self._head + data, None
            if len(data) < len(_GZIP) and _GZIP.startswith(data):
                self._head = data
                return
            self._gzip = _gunzip() if data.startswith(_GZIP) else None
        if self._gzip is None:
            yield data
            return
        try:
            while data:
                if self._gzip.eof:  # another member may follow; anything else is padding
                    if not data.startswith(_GZIP[: len(data)]):
                        return
                    self._gzip = _gunzip()
                if piece := self._gzip.decompress(data, _PIECE_BYTES):
                    yield piece
                data = self._gzip.unused_data if self._gzip.eof else self._gzip.unconsumed_tail
        except zlib.error as error:
            raise BadSitemap("what gzip has packed in it is damaged") from error

    def end(self) -> None:
        """Check that nothing is missing."""
        if self._gzip is not None and not self._gzip.eof:
            raise BadSitemap("it breaks off in the middle of what gzip has packed")


def _gunzip() -> "zlib._Decompress":
    return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)


def _through(unpackers: list[_Unpacker], data: bytes) -> Iterator[bytes]:
    if not unpackers:
        yield data
        return
    for piece in unpackers[0].pieces(data):
        yield from _through(unpackers[1:], piece)


class _Reader(Protocol):
    """Takes addresses out of what it is fed."""

    @property
    def is_index(self) -> bool:
        """What is listed are sitemaps."""

    def feed(self, data: bytes) -> None:
        """Take the next piece."""

    def end(self) -> None:
        """Say that this was all."""


class _Document:
    """Finds out what a document is, and has it read."""

    def __init__(self) -> None:
        self._listed = bytearray()
        self._reader: _Reader | None = None
        self._head = b""
        self._size = 0

    @property
    def is_understood(self) -> bool:
        """Something was found in it."""
        return bool(self._listed)

    def sitemap(self, broken: str | None) -> Sitemap:
        """Return what was found so far."""
        is_index = self._reader is not None and self._reader.is_index
        return Sitemap(bytes(self._listed), is_index=is_index, broken=broken)

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        self._size += len(data)
        if self._size > SITEMAP_BYTES_MAX:
            raise BadSitemap(f"larger than {SITEMAP_BYTES_MAX:,} bytes when unpacked")
        if self._reader is None:
            data = self._head + data
            if len(data) < _HEAD_BYTES and not data.removeprefix(_BYTE_ORDER_MARKS[0]).lstrip(_BLANK)[2:]:
                self._head = data
                return
            self._reader = _reader_of(data, self._listed)
        self._reader.feed(data)

    def end(self) -> None:
        """Say that this was all."""
        if self._reader is None:
            self._reader = _reader_of(self._head, self._listed)
            self._reader.feed(self._head)
        self._reader.end()


def _reader_of(head: bytes, listed: bytearray) -> _Reader:
    is_utf_16 = head.startswith(_BYTE_ORDER_MARKS[1:])
    is_xml = is_utf_16 or head.removeprefix(_BYTE_ORDER_MARKS[0]).lstrip(_BLANK).startswith(b"<")
    if is_xml:
        return _XmlReader(listed)
    return _RobotsReader(listed) if _ROBOTS.match(head) else _TextReader(listed)


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


class _RobotsReader:
    """Reads the `Sitemap` lines of a robots.txt."""

    is_index = True

    def __init__(self, listed: bytearray) -> None:
        self._listed = listed
        self._text = bytearray()

    def feed(self, data: bytes) -> None:
        self._text += data[: ROBOTS_BYTES_MAX - len(self._text)]

    def end(self) -> None:
        for url in RobotsFile(bytes(self._text), token=PRODUCT).sitemaps:
            _put(url, self._listed)
        if not self._listed:
            raise BadSitemap("neither XML nor a list of addresses, nor a robots.txt that names a sitemap")


class _XmlReader:
    """Reads XML, without entities of its own."""

    def __init__(self, listed: bytearray) -> None:
        _, self._defused = _extra()
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
def _extra() -> tuple[ModuleType, ModuleType]:
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
