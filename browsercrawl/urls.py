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

_DEFAULT_PORTS = {"http": "80", "https": "443"}
_SHOWN_LENGTH_MAX = 200
_LOOPBACK = re.compile(r"127(?:\.\d{1,3}){3}\Z")
_QUERY = re.compile(r"[?#].+\Z", re.DOTALL)
_SESSION_NAMES = r"(?:jsessionid|phpsessid|aspsessionid[a-z]{8}|cfid|cftoken)=[^;/]*"
_SESSION_VALUES = r"(?:s|sid|sess|sessid|session|session_?id)=[0-9a-z]{26,128}"
_SESSION_HINT = re.compile(r"sess|sid=|cfid|cftoken|[?&;]s=|/\(s\(")
_SESSION_PARAMETER = re.compile(rf"(?i){_SESSION_NAMES}|{_SESSION_VALUES}")
_SESSION_IN_PATH = re.compile(rf"(?i);(?:{_SESSION_NAMES}|{_SESSION_VALUES}(?![^;/]))|/\(S\([0-9a-z]{{24}}\)\)(?=/)")


class Address(NamedTuple):
    """A URL taken apart as far as the crawler needs.

    Attributes:
        canonical: the spelling that stands for all equal URLs: lower-case host, no default port.
        host: `hostname:port`, the key of politeness.
        hostname: the host without its port, as in the canonical spelling.
    """

    canonical: str
    host: str
    hostname: str

    @property
    def origin(self) -> str:
        """Scheme, host and port, as they begin the canonical spelling, without user name and password.

        Example:
            >>> address("http://me:pw@Example.com:80/a").origin
            'http://example.com'
        """
        scheme, _, rest = self.canonical.partition("://")
        return f"{scheme}://{rest.partition('/')[0].rpartition('@')[2]}"


def address(
    url: str, *, keep_fragment: bool = False, sort_query: bool = False, drop_session_id: bool = False
) -> Address:
    """Check a URL and take it apart.

    Args:
        url: an absolute http or https URL, as a user or a page wrote it.
        keep_fragment: what follows `#` is part of the canonical spelling, for pages that route on it; nothing after
            `#` is as no `#`.
        sort_query: the query's parameters are sorted by name, and those of one name stay in their order. They are
            compared and kept as they are written.
        drop_session_id: what `without_session_id` takes out is not part of the canonical spelling.

    Returns:
        Its canonical spelling and host.

    Raises:
        InvalidURL: not an absolute URL, or of another scheme.

    Example:
        >>> address("HTTP://Example.com:80/a/../b?Q=1#top")
        Address(canonical='http://example.com/b?Q=1', host='example.com:80', hostname='example.com')
        >>> address("http://example.com/?b=2&a=1#/cart", keep_fragment=True, sort_query=True).canonical
        'http://example.com/?a=1&b=2#/cart'
    """
    if len(url) > URL_LENGTH_MAX:
        raise InvalidURL(f"a URL of {len(url)} characters; {URL_LENGTH_MAX} is the limit: {shown(url)!r}")
    try:
        # Asking the library for each part would take four times as long: what it returns is easily taken apart.
        whole = ada_url.normalize_url(url)
    except ValueError as error:
        raise InvalidURL(f"not a URL: {shown(url)!r}; write it in full, like https://example.com/") from error
    scheme, _, rest = whole.partition("://")
    default_port = _DEFAULT_PORTS.get(scheme)
    if default_port is None:
        raise InvalidURL(f"{shown(url)!r} is neither an http nor an https URL; nothing else can be crawled")
    canonical, _, fragment = whole.partition("#")
    if sort_query:
        canonical = _sorted_query(canonical)
    if drop_session_id:
        canonical = without_session_id(canonical)
    if keep_fragment and fragment:
        canonical = f"{canonical}#{fragment}"
    host = rest.partition("/")[0].rpartition("@")[2]
    hostname, colon, port = host.rpartition(":")
    if not colon or port.endswith("]"):  # the last colon of an IPv6 address is no port's
        return Address(canonical, f"{host}:{default_port}", host)
    return Address(canonical, host, hostname)


def without_session_id(canonical: str) -> str:
    """Return an address without the session ids that some servers write into each link.

    They are known by names that mean nothing else (`jsessionid`, `PHPSESSID`, `CFID`), or by a name such as `sid` with
    a value of 26 letters and digits or more.

    Args:
        canonical: its canonical spelling.

    Example:
        >>> without_session_id("http://example.com/a;jsessionid=1F?PHPSESSID=9c&sid=7")
        'http://example.com/a?sid=7'
    """
    if not _SESSION_HINT.search(canonical.lower()):
        return canonical
    address_, hash_, fragment = canonical.partition("#")
    path, _, query = address_.partition("?")
    start = path.find("/", path.find("//") + 2)  # not in the host, which may hold such signs as well
    bare_path = path[:start] + _SESSION_IN_PATH.sub("", path[start:])
    parameters = query.split("&")
    kept = [each for each in parameters if not _SESSION_PARAMETER.fullmatch(each)]
    if len(kept) == len(parameters) and len(bare_path) == len(path):
        return canonical
    shorter = f"{bare_path}?{'&'.join(kept)}" if kept else bare_path
    return ada_url.normalize_url(shorter) + hash_ + fragment  # `/..;jsessionid=1` has become `/..`


def _sorted_query(url: str) -> str:
    base, mark, query = url.partition("?")
    parameters = sorted(query.split("&"), key=lambda parameter: parameter.partition("=")[0])
    return f"{base}{mark}{'&'.join(parameters)}"


def bare(url: str) -> str:
    """Return the canonical spelling of an address, without query and fragment; of what is none, the text.

    Example:
        >>> bare("HTTP://example.com/login?next=/a#top")
        'http://example.com/login'
    """
    try:
        return address(url).canonical.partition("?")[0]
    except InvalidURL:
        return url


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
        if parsed is None or parsed.protocol[:-1] not in _DEFAULT_PORTS:
            url = "…@" + url.rpartition("@")[2]
        elif parsed.username or parsed.password:
            parsed.username = parsed.password = ""
            url = parsed.href
    url = _QUERY.sub(lambda tail: f"{tail[0][0]}…", url)
    return url if len(url) <= _SHOWN_LENGTH_MAX else url[: _SHOWN_LENGTH_MAX - 1] + "…"


def is_loopback(hostname: str) -> bool:
    """Tell whether a host name (from `Address.hostname`) names this very machine."""
    return hostname in {"localhost", "[::1]"} or hostname.endswith(".localhost") or bool(_LOOPBACK.match(hostname))
