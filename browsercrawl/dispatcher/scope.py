"""Where links may lead: the scope of a crawl, seen from the seed that a page descends from.

A scope gives every address a *place*, and a page an *area*: the places of its anchors, cut after their last `/`. A link
is in scope when its place begins with one of them.

    host      example.com:443/                the host and port
    domain    example.co.uk/                  the registrable domain, on any port
    prefix    example.com/docs/intro          the address without scheme and query

For `domain` and `prefix` http and https are one site. A host without a registrable domain (an IP address, a single
label, a public suffix) is a domain of its own, with its port. Hosts that are listed are in every scope.

The anchors are the seed and, when it redirects, where it leads to; they travel with the requests that descend from it,
unless a request's own address has the same area. Where a later page redirects to widens nothing, nor where a page does
that was found by way of a seed's robots.txt: it has its anchors from the beginning.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache, lru_cache
from typing import NamedTuple

from browsercrawl.config import LinksConfig
from browsercrawl.config.sessions import is_like
from browsercrawl.errors import HandlerFailed, InvalidURL
from browsercrawl.redaction import redact_text
from browsercrawl.request import Request
from browsercrawl.urls import Address, address

ScopeFunction = Callable[[Request, str], bool]
"""User code: tells whether a link of the page of this request, a URL in its canonical spelling, may be followed."""

ANCHOR_LENGTH_MAX = 2_048
"""An address to which a seed redirects widens its scope up to this length: it is stored with each request."""

_NUMBERS = re.compile(r"\[.*\]|[\d.]+")
_DEFAULT_PORTS = frozenset({"80", "443"})
_DOMAINS_KEPT = 4_096


class Area(NamedTuple):
    """Where the links of one page may lead.

    Attributes:
        anchors: addresses that it is made of.
        places: what the places of links may begin with.
    """

    anchors: tuple[str, ...]
    places: tuple[str, ...] = ()


class Scope:
    """Decides where links may lead.

    Args:
        config: names the scope.
        function: decides in its place.
    """

    def __init__(self, config: LinksConfig, function: ScopeFunction | None = None) -> None:
        hosts = config.hosts if function is None else frozenset()
        self._patterns = sorted(host for host in hosts if set(host) & set("*?"))
        self._hosts = hosts.difference(self._patterns)  # a list may be long, and each link is held against it
        self._is_open = config.scope == "any"
        self._function = function
        kinds = {"host": _host_place, "domain": self._domain_place, "prefix": _path_place}
        self._place_of = kinds.get(config.scope) if function is None else None
        self._domain_of = lru_cache(_DOMAINS_KEPT)(lambda hostname: _registrable()(hostname) or "")

    def area(self, request: Request, final_url: str) -> Area:
        """Return the area of a page.

        Args:
            request: of the page.
            final_url: the page's address after redirects.
        """
        if self._place_of is None:
            return Area((request.anchors or (_anchor(request.address),)) if self._function else ())
        found = [address(url) for url in request.anchors] or [request.address]
        if request.depth == 0 and not request.anchors:
            with suppress(InvalidURL):  # a final address like about:blank or data: widens nothing
                found.append(address(final_url))
        places: dict[str, str] = {}
        for each in found:
            place, anchor = _up_to_slash(self._place_of(each)), _anchor(each)
            # Where a seed leads to may be elsewhere, but not above it: else one that is gone, and leads to the home
            # page, would open the whole site.
            is_wider = any(known.startswith(place) for known in places)
            if not places or not (is_wider or len(anchor) > ANCHOR_LENGTH_MAX):
                places[place] = anchor
        return Area(tuple(places.values()), tuple(places))

    def has(self, area: Area, found: Address, *, parent: Request) -> bool:
        """Tell whether a link of a page may be followed.

        Args:
            area: of the page.
            found: the link.
            parent: the request of the page.

        Raises:
            HandlerFailed: the user's function raised.
        """
        if self._function is not None:
            return self._decided(self._function, parent, found.canonical)
        if self._is_open or (self._place_of is not None and self._place_of(found).startswith(area.places)):
            return True
        if found.hostname in self._hosts or found.host in self._hosts:
            return True
        return any(is_like(found.hostname, each) or is_like(found.host, each) for each in self._patterns)

    def anchors(self, area: Area, child: Address) -> tuple[str, ...]:
        """Return what a request needs to know of the area of its page: nothing, if its own address has the same."""
        is_same = self._place_of is not None and (_up_to_slash(self._place_of(child)),) == area.places
        return () if is_same else area.anchors

    def _domain_place(self, found: Address) -> str:
        hostname = found.hostname.removesuffix(".")
        domain = "" if _NUMBERS.fullmatch(hostname) else self._domain_of(hostname)
        return f"{domain or found.host}/"

    @staticmethod
    def _decided(function: ScopeFunction, parent: Request, url: str) -> bool:
        name = getattr(function, "__qualname__", None) or repr(function)
        try:
            return bool(function(parent, url))
        except Exception as error:
            said = str(error).partition("\n")[0]
            raise HandlerFailed(f"scope {name} raised {type(error).__name__}: {redact_text(said)}") from error


@cache
def _registrable() -> Callable[[str], str | None]:
    """Return what finds the registrable domain of a host; the list of all public suffixes is read once, in 50 ms."""
    from publicsuffixlist import PublicSuffixList  # noqa: PLC0415 - most crawls have no use for it

    find: Callable[[str], str | None] = PublicSuffixList().privatesuffix
    return find


def _host_place(found: Address) -> str:
    return f"{found.host}/"


def _path_place(found: Address) -> str:
    site = found.hostname if found.host.rpartition(":")[2] in _DEFAULT_PORTS else found.host
    return f"{site}/{_path(found)}"


def _path(found: Address) -> str:
    return re.split(r"[?#]", found.canonical.partition("://")[2].partition("/")[2], maxsplit=1)[0]


def _up_to_slash(place: str) -> str:
    return place[: place.rindex("/") + 1]


def _anchor(found: Address) -> str:
    """Return an address as far as a scope looks at it: without user name, query and file name."""
    return f"{found.canonical.partition(':')[0]}://{found.host}/{_up_to_slash('/' + _path(found))[1:]}"
