"""Our own HTTP client, for small documents that are about a site, such as its robots.txt."""

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from browsercrawl.errors import NetworkFailed
from browsercrawl.urls import shown

if TYPE_CHECKING:
    import httpx

REDIRECTS_MAX = 5
"""RFC 9309, section 2.3.1.2: at least five hops should be followed."""

_CLOSING_TURNS = 50
"""httpx reads through a chain of generators: left early, they are closed by the event loop, one after the other."""


class Answer(NamedTuple):
    """What a server answered: status, the first bytes of the body, the value of Retry-After ("" without)."""

    status: int
    body: bytes
    retry_after: str


class HttpClient:
    """Fetches documents. It opens nothing before the first one; `close` it at the end.

    Args:
        user_agent: what it calls itself.
        proxy: URL of a proxy; None: none. The environment is not read.
        limit_s: a document must have come by then, redirects included.
        body_bytes_max: of a longer body the rest is not read.
    """

    def __init__(self, *, user_agent: str, proxy: str | None = None, limit_s: float, body_bytes_max: int) -> None:
        self._user_agent = user_agent
        self._proxy = proxy
        self._limit_s = limit_s
        self._body_bytes_max = body_bytes_max
        self._client: httpx.AsyncClient | None = None

    async def get(self, url: str) -> Answer:
        """Fetch a document.

        Raises:
            NetworkFailed: there is no answer, or none in time.
        """
        import httpx  # noqa: PLC0415 - not every crawl needs it, and it takes a while to import

        if self._client is None:
            self._client = httpx.AsyncClient(
                headers={"User-Agent": self._user_agent, "Accept-Encoding": "gzip"},
                proxy=self._proxy,
                timeout=self._limit_s,
                follow_redirects=True,
                max_redirects=REDIRECTS_MAX,
                trust_env=False,  # only the command line reads the environment
            )
        try:
            async with asyncio.timeout(self._limit_s), self._client.stream("GET", url) as response:
                body = b""
                if response.status_code < HTTPStatus.MULTIPLE_CHOICES:
                    async for piece in response.aiter_bytes():
                        body += piece
                        if len(body) >= self._body_bytes_max:
                            break
                answer = Answer(response.status_code, body, response.headers.get("Retry-After", ""))
        except TimeoutError:
            raise NetworkFailed(f"{shown(url)}: no answer within {self._limit_s:g} s", code="ERR_TIMED_OUT") from None
        except httpx.TooManyRedirects:
            # Section 2.3.1.3 treats it like a file that is not there.
            return Answer(HTTPStatus.NOT_FOUND, b"", "")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise NetworkFailed(f"{shown(url)}: {reason}", code="ERR_CONNECTION_FAILED") from error
        return answer

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            for _ in range(_CLOSING_TURNS):
                await asyncio.sleep(0)
