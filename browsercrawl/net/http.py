"""The crawler's own HTTP client, for small documents such as robots.txt. Pages are the browser's affair."""

import asyncio
import ssl
import zlib
from base64 import b64encode
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, cast

import ada_url

from browsercrawl.errors import InvalidURL, NetworkFailed
from browsercrawl.urls import address, shown

if TYPE_CHECKING:
    import httpx

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GZIP = frozenset({"gzip", "x-gzip"})
_CLOSING_TURNS = 50
"""httpx reads through a chain of generators: left early, they are closed by the event loop, one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The answer to a request.

    Attributes:
        url: after redirects.
        status: of a redirect, when there were too many of them, or the last one leads nowhere.
        headers: names in lower case.
        body: unpacked, and cut off at the client's limit; empty unless the status is a 2xx.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpClient:
    """Fetches documents. Every fetch has a connection of its own; nothing is kept but what the client was told."""

    def __init__(
        self,
        *,
        user_agent: str,
        bytes_max: int,
        limit_s: float,
        redirects_max: int = 5,
        verify: bool = True,
    ) -> None:
        """Describe how to fetch.

        Args:
            user_agent: as sent.
            bytes_max: of a body; what follows is not read.
            limit_s: a document must have come by then, redirects included.
            redirects_max: followed in a row, also to other hosts.
            verify: certificates of https servers must be good.
        """
        self._user_agent = user_agent
        self._bytes_max = bytes_max
        self._limit_s = limit_s
        self._redirects_max = redirects_max
        self._verify = verify
        self._tls: ssl.SSLContext | None = None

    async def get(self, url: str, proxy: str | None = None) -> Document:
        """Fetch a document.

        Args:
            url: absolute, http or https; a user name and password in it are sent as Basic credentials.
            proxy: URL of an http or https proxy to fetch it through; the environment is never asked for one.

        Raises:
            NetworkFailed: none came, or not all of it; its code is in Chromium's words.
        """
        import httpx  # noqa: PLC0415 - it takes longer to import than all the rest of the package

        if proxy is not None and proxy.lower().startswith("socks"):
            raise _failed(url, "cannot be fetched through a socks5 proxy", "ERR_NO_SUPPORTED_PROXIES")
        try:
            async with asyncio.timeout(self._limit_s):
                return await self._get(url, proxy)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise _failed(url, f"it did not come within {self._limit_s:g} s", "ERR_TIMED_OUT") from error
        except httpx.ProxyError as error:
            raise _failed(url, "the proxy does not serve", "ERR_TUNNEL_CONNECTION_FAILED") from error
        except httpx.ConnectError as error:
            raise _failed(url, "no connection", "ERR_CONNECTION_FAILED") from error
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise _failed(url, f"the connection failed ({type(error).__name__})", "ERR_INVALID_RESPONSE") from error
        except zlib.error as error:
            raise _failed(url, "what it is packed in is damaged", "ERR_CONTENT_DECODING_FAILED") from error

    async def _get(self, url: str, proxy: str | None) -> Document:
        async with self._open(proxy) as transport:
            try:
                for left in range(self._redirects_max, -1, -1):
                    response = await transport.handle_async_request(self._request(url, is_proxied=proxy is not None))
                    try:
                        # Not by httpx itself: it reads the bodies of redirects, of whatever size, and refuses names
                        # that browsers visit.
                        following = _following(url, response)
                        if following is None or not left:
                            return await self._document(url, response)
                        url = following
                    finally:
                        await response.aclose()
                raise AssertionError("the last round returns")
            finally:
                for _ in range(_CLOSING_TURNS):
                    await asyncio.sleep(0)

    async def _document(self, url: str, response: "httpx.Response") -> Document:
        return Document(
            url=url,
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=await self._body(response) if response.is_success else b"",
        )

    async def _body(self, response: "httpx.Response") -> bytes:
        encoding = response.headers.get("content-encoding", "").strip().lower()
        if encoding not in _GZIP | {"", "identity"}:
            raise zlib.error("packed otherwise")
        # Not by httpx itself: a small packed piece may hold a thousand times its size.
        packed = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16) if encoding in _GZIP else None
        body = bytearray()
        async with aclosing(cast("AsyncGenerator[bytes, None]", response.aiter_raw())) as pieces:
            async for piece in pieces:
                body += packed.decompress(piece, self._bytes_max - len(body)) if packed else piece
                if len(body) >= self._bytes_max or (packed and packed.eof):
                    return bytes(body[: self._bytes_max])
        if packed and not packed.eof:
            raise zlib.error("cut off")
        return bytes(body)

    def _request(self, url: str, *, is_proxied: bool) -> "httpx.Request":
        import httpx  # noqa: PLC0415 - see above

        whole = httpx.URL(ada_url.normalize_url(url))
        headers = {
            b"Host": whole.netloc,
            b"User-Agent": self._user_agent.encode(errors="replace"),
            b"Accept": b"*/*",
            b"Accept-Encoding": b"gzip",
        }
        request = httpx.Request("GET", whole, headers=headers)
        if whole.userinfo:
            credentials = f"{whole.username}:{whole.password}".encode()
            request.headers["Authorization"] = f"Basic {b64encode(credentials).decode()}"
        if is_proxied and whole.scheme == "http" and b":" in whole.raw_host:
            # A proxy gets IPv6 addresses without their brackets, which is no URL.
            bracketed = _Target(whole.raw_scheme, b"[%b]" % whole.raw_host, whole.port, whole.raw_path)
            request.url = bracketed  # type: ignore[assignment]  # all that the transport looks at
        return request

    def _open(self, proxy: str | None) -> "httpx.AsyncHTTPTransport":
        import httpx  # noqa: PLC0415 - see above

        if self._tls is None:
            self._tls = httpx.create_ssl_context(verify=self._verify, trust_env=False)
        return httpx.AsyncHTTPTransport(proxy=proxy, verify=self._tls, trust_env=False)


class _Target(NamedTuple):
    """A URL as httpx looks at it."""

    raw_scheme: bytes
    raw_host: bytes
    port: int | None
    raw_path: bytes


def _following(url: str, response: "httpx.Response") -> str | None:
    """Return where a redirect leads, read as browsers do; None: it is none, or leads nowhere."""
    location = response.headers.get("location") if response.status_code in _REDIRECTS else None
    if location is None:
        return None
    try:
        return address(ada_url.join_url(url, location)).canonical
    except (ValueError, InvalidURL):
        return None


def _failed(url: str, reason: str, code: str) -> NetworkFailed:
    return NetworkFailed(f"{shown(url)}: {reason}", code=code)
