"""URLs: checking what a user or a page gives us, and one spelling per address.

Parsing follows the WHATWG URL Standard (what browsers do), by the `ada-url` library. The canonical spelling serves
deduplication only; the URL visited is the URL given.
"""

import re
from hashlib import blake2b
from typing import NamedTuple

import ada_url

from browsercrawl.errors import InvalidURL

URL_LENGTH_MAX = 65_536
"""Characters; a longer one is no address but a document (Chromium stops at 2 MB)."""

_DEFAULT_PORTS = {"http:": "80", "https:": "443"}
_SHOWN_LENGTH_MAX = 200
_LOOPBACK = re.compile(r"127(?:\.\d{1,3}){3}\Z")
_QUERY = re.compile(r"[?#].+\Z", re.DOTALL)


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
    if len(url) > URL_LENGTH_MAX:
        raise InvalidURL(f"a URL of {len(url)} characters; {URL_LENGTH_MAX} is the limit: {shown(url)!r}")
    try:
        parsed = ada_url.URL(url)
    except ValueError as error:
        raise InvalidURL(f"not a URL: {shown(url)!r}; write it in full, like https://example.com/") from error
    if parsed.protocol not in _DEFAULT_PORTS:
        raise InvalidURL(f"{shown(url)!r} is neither an http nor an https URL; nothing else can be crawled")
    canonical = parsed.href
    if parsed.hash or canonical.endswith("#"):
        canonical = canonical.partition("#")[0]
    port = parsed.port or _DEFAULT_PORTS[parsed.protocol]
    return Address(canonical, f"{parsed.hostname}:{port}", parsed.hostname)


def fingerprint(key: str) -> str:
    """Return 16 bytes of BLAKE2b of a request's key, as 32 hexadecimal digits."""
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def shown(url: str) -> str:
    """Return a URL fit for a message: without user name, password, query and fragment, cut to 200 characters.

    In a string that is no web URL, everything before its last `@` is taken for a user name and password.

    Example:
        >>> shown("https://me:pw@example.com/a?token=x"), shown("me:pw@example.com")
        ('https://example.com/a?…', '…@example.com')
    """
    if "@" in url:
        try:
            parsed = ada_url.URL(url)
        except ValueError:
            parsed = None
        if parsed is None or parsed.protocol not in _DEFAULT_PORTS:
            url = "…@" + url.rpartition("@")[2]
        elif parsed.username or parsed.password:
            parsed.username = parsed.password = ""
            url = parsed.href
    url = _QUERY.sub(lambda tail: f"{tail[0][0]}…", url)
    return url if len(url) <= _SHOWN_LENGTH_MAX else url[: _SHOWN_LENGTH_MAX - 1] + "…"


def is_loopback(hostname: str) -> bool:
    """Tell whether a host name (from `Address.hostname`) names this very machine."""
    return hostname in {"localhost", "[::1]"} or hostname.endswith(".localhost") or bool(_LOOPBACK.match(hostname))
