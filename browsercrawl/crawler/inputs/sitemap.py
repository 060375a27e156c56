"""Fetching a sitemap and taking the addresses out of it, within bounds, whatever the server sends.

Understood is what https://www.sitemaps.org/protocol.html describes: a `urlset`, a `sitemapindex`, a list of addresses
as plain text, each of them also packed by gzip; and a robots.txt, as an index of what it names. It is parsed while it
arrives, and only its addresses are kept.
"""

import asyncio
import ssl
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from browsercrawl.config import BrowserConfig, CrawlerConfig
from browsercrawl.crawler.inputs.readers import (
    BLANK,
    BYTE_ORDER_MARKS,
    BadSitemap,
    Reader,
    RobotsReader,
    extra,
    reader_of,
)
from browsercrawl.crawler.inputs.waiting import threaded
from browsercrawl.dispatcher import Network
from browsercrawl.errors import ConfigError, InvalidURL, ProxyFailed
from browsercrawl.net import Reason, Way
from browsercrawl.urls import address

if TYPE_CHECKING:
    import httpx

SITEMAP_BYTES_MAX = 52_428_800
"""Unpacked, as the protocol says; the packed file has the same bound."""

REDIRECTS_MAX = 5

_PIECE_BYTES = 65_536
_HEAD_BYTES = 4096
"""Blank space is passed over so far when it is to be seen what a document is."""

_CLOSING_TURNS = 50
"""httpx reads through a chain of generators: left early, they are closed by the event loop, one after the other."""

_GZIP = b"\x1f\x8b"
_PACKINGS_MAX = 2
"""A packed file may be packed once more for the way."""
_BUSY = frozenset({408, 425, 429})


class _Fleeting(BadSitemap):
    """Trying again may help."""


class _Absent(BadSitemap):
    """There is none."""


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


def check_sitemaps(config: CrawlerConfig) -> None:
    """Make sure that sitemaps can be fetched.

    Raises:
        ConfigError: the extra is not installed, or the proxy is none for this.
    """
    extra()
    if not config.goes_by_ways and (config.browser.proxy or "").startswith("socks"):
        raise ConfigError(
            "browser.proxy: while network.guard is off, sitemaps cannot be fetched through a socks5 proxy; let the "
            "guard be auto, give an http or https proxy, or list the pages in a file"
        )


class SitemapClient:
    """Fetches sitemaps, one after the other, each by a way and connections of its own."""

    def __init__(
        self,
        browser: BrowserConfig | None = None,
        *,
        network: Network | None = None,
        limit_s: float = 120.0,
        silence_s: float = 20.0,
        pauses_s: tuple[float, ...] = (1.0, 5.0),
    ) -> None:
        """Describe how to fetch.

        Args:
            browser: names user agent and proxy, and whether certificates must be good.
            network: opens the way, and says where it must not lead; None: there is none but the proxy.
            limit_s: a sitemap must have come by then.
            silence_s: a connection on which nothing happens for so long is given up.
            pauses_s: before each further try, when another might help.
        """
        self._browser = browser or BrowserConfig()
        self._network = network
        self._limit_s = limit_s
        self._silence_s = silence_s
        self._pauses_s = pauses_s
        self._tls: ssl.SSLContext | None = None

    async def fetch(self, url: str, *, is_robots: bool = False) -> Sitemap:
        """Fetch a sitemap.

        Args:
            url: of it.
            is_robots: it is a robots.txt that nobody promised: if there is none, nothing is listed.

        Returns:
            What it lists; if it breaks off, what stood before that.

        Raises:
            BadSitemap: it cannot be had, or is none.
        """
        self._check(url)
        for pause_s in self._pauses_s:
            try:
                return await self._fetch(url, is_robots=is_robots)
            except _Fleeting:
                await asyncio.sleep(pause_s)
        return await self._fetch(url, is_robots=is_robots)

    async def _fetch(self, url: str, *, is_robots: bool) -> Sitemap:
        document = _Document(is_robots=is_robots)
        try:
            await self._receive(url, document)
        except _Absent:
            if not is_robots:
                raise
        except BadSitemap as error:
            if not document.is_understood:
                raise
            return document.sitemap(str(error))
        return document.sitemap(None)

    async def _receive(self, url: str, document: "_Document") -> None:
        if self._network is None:
            await self._receive_by(None, url, document)
            return
        try:
            way = await self._network.open(self._browser.proxy)
        except (OSError, ValueError, ProxyFailed) as error:
            raise _Fleeting(f"no way into the network: {error}") from error
        try:
            await self._receive_by(way, url, document)
        finally:
            await way.close()

    async def _receive_by(self, way: Way | None, url: str, document: "_Document") -> None:
        httpx, _ = extra()
        try:
            async with asyncio.timeout(self._limit_s), self._client(way) as client:
                try:
                    await self._read(client, url, document)
                finally:
                    for _ in range(_CLOSING_TURNS):
                        await asyncio.sleep(0)
        except TimeoutError as error:
            raise _Fleeting(f"it did not come within {self._limit_s:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _cause(error, way) from error

    async def _read(self, client: "httpx.AsyncClient", url: str, document: "_Document") -> None:
        request = client.build_request("GET", url)
        for _ in range(REDIRECTS_MAX + 1):
            response = await client.send(request, stream=True, follow_redirects=False)
            try:
                # Not by httpx itself: each address has to be looked at, and it reads the bodies of redirects.
                if response.next_request is None:
                    await self._take(response, document)
                    return
                request = response.next_request
                self._check(str(request.url))
            finally:
                await response.aclose()
        raise _Absent(f"it redirects more than {REDIRECTS_MAX} times")

    async def _take(self, response: "httpx.Response", document: "_Document") -> None:
        _check_answer(response)
        packed_bytes = 0
        unpackers = [_Unpacker() for _ in range(_PACKINGS_MAX)]
        async for chunk in response.aiter_raw():
            packed_bytes += len(chunk)
            for piece in _through(unpackers, chunk):
                document.feed(piece)
                await asyncio.sleep(0)  # a packed chunk may hold a thousand pieces
            if packed_bytes > SITEMAP_BYTES_MAX:
                raise BadSitemap(f"larger than {SITEMAP_BYTES_MAX:,} bytes")
        for unpacker in unpackers:
            unpacker.end()
        await threaded(document.end)  # a robots.txt may take a second

    def _check(self, url: str) -> None:
        """Make sure that an address may be asked, as far as it shows; the way looks at what it leads to."""
        try:
            where = address(url)
        except InvalidURL as error:
            raise BadSitemap(error.message) from error
        if self._network is not None and (reason := self._network.refusal(where)) is not None:
            raise BadSitemap(_refused(where.hostname, reason))

    def _client(self, way: Way | None) -> "httpx.AsyncClient":
        made_by, _ = extra()
        browser = self._browser
        if self._tls is None:
            verify = not browser.context_options.get("ignore_https_errors", False)
            self._tls = made_by.create_ssl_context(verify=verify, trust_env=False)
        agent = browser.user_agent or browser.identification
        client: httpx.AsyncClient = made_by.AsyncClient(
            headers={b"User-Agent": agent.encode(errors="replace"), b"Accept-Encoding": b"gzip"},
            proxy=way.url if way is not None else browser.proxy,
            verify=self._tls,
            timeout=self._silence_s,
            trust_env=False,  # only the command line reads the environment
        )
        return client


def _check_answer(response: "httpx.Response") -> None:
    status = response.status_code
    if status in _BUSY or status >= 500:
        raise _Fleeting(f"the server answered {status}")
    if status != 200:
        raise _Absent(f"the server answered {status}")
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in {"", "identity", "gzip", "x-gzip"}:
        raise BadSitemap(f"packed by {encoding[:40]!r}; gzip was asked for")


def _cause(error: Exception, way: Way | None) -> BadSitemap:
    """Return why a connection failed in truth: to us, one that the way has refused looks like one that was cut."""
    notes = way.ledger.since(0.0) if way is not None else []
    if notes and notes[-1].reason is not None:
        return BadSitemap(_refused(notes[-1].host, notes[-1].reason))
    proxys = way.failure_since(0.0) if way is not None else None
    return _Fleeting(proxys or f"the connection failed ({notes[-1].code if notes else type(error).__name__})")


def _refused(host: str, reason: Reason) -> str:
    return f"the network guard refuses {host} ({reason})"


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


class _Document:
    """Finds out what a document is, and has it read."""

    def __init__(self, *, is_robots: bool = False) -> None:
        self._listed = bytearray()
        self._reader: Reader | None = RobotsReader(self._listed, may_be_empty=True) if is_robots else None
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
            if len(data) < _HEAD_BYTES and not data.removeprefix(BYTE_ORDER_MARKS[0]).lstrip(BLANK)[2:]:
                self._head = data
                return
            self._reader = reader_of(data, self._listed)
        self._reader.feed(data)

    def end(self) -> None:
        """Say that this was all."""
        if self._reader is None:
            self._reader = reader_of(self._head, self._listed)
            self._reader.feed(self._head)
        self._reader.end()
