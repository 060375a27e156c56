"""Going through sitemaps and the sitemaps they name, one after the other, from any place in them."""

from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from browsercrawl.crawler.inputs.readers import BadSitemap
from browsercrawl.crawler.inputs.sitemap import Sitemap, SitemapClient
from browsercrawl.dispatcher.feed import BATCH
from browsercrawl.errors import InputError
from browsercrawl.urls import shown

NESTED_MAX = 4
"""Sitemaps named by each other, in a row; the protocol knows two."""

SITEMAPS_MAX = 50_000
"""Sitemaps read for each that was given; an index has no more, by the protocol."""


class SitemapPlace(BaseModel):
    """How far the sitemaps were read.

    Attributes:
        number: of the given ones, from 0.
        within: addresses from the given one down to the one being read; empty: it was not had yet.
        entry: entries of that one that were read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    within: tuple[str, ...] = ()
    entry: int = 0


class Root(NamedTuple):
    """Where a walk begins.

    Attributes:
        url: of a sitemap, or an index of them.
        near: it is the robots.txt of these seeds, which need not be there; empty: the user named it.
    """

    url: str
    near: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Some entries of one sitemap.

    Attributes:
        name: the sitemap's address, fit for messages.
        entries: addresses, or what is wrong with the sitemap.
        place: behind them.
        again: they were read before.
    """

    name: str
    entries: Sequence[str | InputError]
    place: SitemapPlace
    again: bool = False


async def walk_sitemaps(
    roots: Sequence[Root], client: SitemapClient, *, place: SitemapPlace | None
) -> AsyncGenerator[Found, None]:
    """Yield what sitemaps list, at most 50 entries at once; one that cannot be had is an error among them.

    Going on fetches the sitemap that was being read, and the indexes above it, anew. If an index does not name it any
    more, the whole index is read again: nothing new is missed, and what is known is known to the frontier.

    Args:
        roots: where to begin, one after the other.
        client: ready to fetch.
        place: where to go on; None: at the beginning.
    """
    for number in range(place.number if place else 0, len(roots)):
        known = place if place is not None and place.number == number else None
        walk = _Walk(number, roots[number].url, known=known)
        while (chain := walk.next()) is not None:
            if isinstance(chain, Found):
                yield chain
                continue
            try:
                sitemap = await client.fetch(chain[-1], is_robots=len(chain) == 1 and bool(roots[number].near))
            except BadSitemap as error:
                yield walk.failed(chain, str(error))
                continue
            for found in walk.read(chain, sitemap):
                yield found


class _Walk:
    """Which sitemap comes next, below one that was given. Depth first, in the order of the indexes."""

    def __init__(self, number: int, sitemap: str, *, known: SitemapPlace | None) -> None:
        self._number = number
        self._known = known
        self._waiting: list[tuple[str, ...]] = [(sitemap,)]
        self._seen: set[str] = set()

    def next(self) -> tuple[str, ...] | Found | None:
        """Return the way to the next sitemap, or why there is none to the next; None at the end."""
        while self._waiting:
            chain = self._waiting.pop()
            if chain[-1] in self._seen:
                continue
            if len(self._seen) >= SITEMAPS_MAX:
                self._waiting.clear()
                return self.failed(chain, f"more than {SITEMAPS_MAX:,} sitemaps; this one and others were not read")
            self._seen.add(chain[-1])
            if len(chain) > NESTED_MAX:
                return self.failed(chain, f"more than {NESTED_MAX} sitemaps inside each other")
            return chain
        return None

    def failed(self, chain: tuple[str, ...], reason: str) -> Found:
        """Return an error in place of a sitemap, or of what is missing of it."""
        name = shown(chain[-1])
        error = InputError(f"sitemap {name} cannot be read: {reason}", text=chain[-1], place=f"sitemap {chain[-1]}")
        return Found(name=name, entries=[error], place=self._place(chain, self._done(chain)))

    def read(self, chain: tuple[str, ...], sitemap: Sitemap) -> Iterator[Found]:
        """Yield what a sitemap lists; if it is an index, put its sitemaps next."""
        if sitemap.is_index:
            self._put_next(chain, list(sitemap))
        else:
            yield from self._entries(chain, sitemap)
        if sitemap.broken:
            yield self.failed(chain, f"{sitemap.broken}; what came before that was taken")

    def _entries(self, chain: tuple[str, ...], sitemap: Sitemap) -> Iterator[Found]:
        done, entry, addresses = self._done(chain), 0, iter(sitemap)
        while some := list(islice(addresses, min(BATCH, done - entry) if entry < done else BATCH)):
            entry += len(some)
            place = self._place(chain, max(entry, done))
            yield Found(name=shown(chain[-1]), entries=some, place=place, again=entry <= done)

    def _put_next(self, chain: tuple[str, ...], children: list[str]) -> None:
        known = self._known.within if self._known is not None else ()
        if known[: len(chain)] == chain and len(known) > len(chain) and known[len(chain)] in children:
            del children[: children.index(known[len(chain)])]
        self._waiting.extend((*chain, child) for child in reversed(children))

    def _done(self, chain: tuple[str, ...]) -> int:
        """Return how many entries of a sitemap were read before."""
        return self._known.entry if self._known is not None and self._known.within == chain else 0

    def _place(self, chain: tuple[str, ...], entry: int) -> SitemapPlace:
        return SitemapPlace(number=self._number, within=chain, entry=entry)
