"""URLs: checking what a user or a page gives us, and one spelling per address.

Parsing follows the WHATWG URL Standard (what browsers do), by the `ada-url` library. The canonical spelling serves
deduplication only; the URL visited is the URL given.
"""

from hashlib import blake2b
from typing import NamedTuple

import ada_url

from browsercrawl.errors import InvalidURL

_DEFAULT_PORTS = {"http:": "80", "https:": "443"}
_SHOWN_LENGTH_MAX = 200


class Address(NamedTuple):
    """A URL taken apart as far as the crawler needs.

    Attributes:
        canonical: the spelling that stands for all equal URLs: lower-case host, no default port, no fragment.
        host: `hostname:port`, the key of politeness.
        hostname: the host without its port, as in the canonical spelling.
    """

    canonical: str
    host: str
    hostname: str


def address(url: str) -> Address:
    """Check a URL and take it apart.

    Args:
        url: an absolute http or https URL, as a user or a page wrote it.

    Returns:
        Its canonical spelling and host.

    Raises:
        InvalidURL: not an absolute URL, or of another scheme.

    Example:
        >>> address("HTTP://Example.com:80/a/../b?Q=1#top")
        Address(canonical='http://example.com/b?Q=1', host='example.com:80', hostname='example.com')
    """
    try:
        parsed = ada_url.URL(url)
    except ValueError as error:
        raise InvalidURL(f"not a URL: {shown(url)!r}; write it in full, like https://example.com/") from error
    if parsed.protocol not in _DEFAULT_PORTS:
        raise InvalidURL(
            f"{shown(url)!r} has the scheme {parsed.protocol.rstrip(':')!r}; only http and https can be crawled"
        )
    canonical = parsed.href
    if parsed.hash or canonical.endswith("#"):
        canonical = canonical.partition("#")[0]
    port = parsed.port or _DEFAULT_PORTS[parsed.protocol]
    return Address(canonical, f"{parsed.hostname}:{port}", parsed.hostname)


def fingerprint(key: str) -> str:
    """Return 16 bytes of BLAKE2b of a request's key, as 32 hexadecimal digits."""
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def shown(url: str) -> str:
    """Return a URL fit for a message: without user name and password, and cut to 200 characters."""
    scheme, separator, rest = url.partition("://")
    if separator:
        authority, slash, path = rest.partition("/")
        url = f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"
    return url if len(url) <= _SHOWN_LENGTH_MAX else url[: _SHOWN_LENGTH_MAX - 1] + "…"


def is_loopback(hostname: str) -> bool:
    """Tell whether a host name (from `Address.hostname`) names this very machine."""
    return hostname == "localhost" or hostname.endswith(".localhost") or hostname.startswith("127.") or hostname == "[::1]"
