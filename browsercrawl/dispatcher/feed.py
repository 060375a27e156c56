"""Back-pressured input: seeds are pulled only as fast as the frontier empties.

With each batch goes a mark that tells how far the input was read once the batch is stored. It is stored with it, so
that a run that is resumed goes on from there.
"""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol, cast, runtime_checkable

from browsercrawl.config import LinksConfig
from browsercrawl.errors import InputChanged, InputError, InvalidURL
from browsercrawl.net import Reason, Way
from browsercrawl.request import Request
from browsercrawl.urls import Address

Seed = str | Request | InputError
"""A URL, a request, or a line of input that could not be read (it becomes a failed result)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Some seeds in a row.

    Attributes:
        mark: where the input goes on after them, in its own words.
        again: the run has read them before (a program's iterable starts anew when the run is resumed).
        found: not the user named them, but a sitemap: they are not trusted, and chosen by patterns.
        near: the sitemap was found by way of these seeds' robots.txt: its entries are taken like links of theirs.
    """

    seeds: Sequence[Seed]
    mark: str
    again: bool = False
    found: bool = False
    near: tuple[str, ...] = ()


class Network(Protocol):
    """What input that lies in the network is read through: the network guard, as for pages."""

    async def trust(self, addresses: Iterable[Address]) -> None:
        """Allow the private origins of addresses that the user gave himself."""

    def refusal(self, address: Address) -> Reason | None:
        """Tell why an address must not be asked, as far as it shows; a public one switches the guard on."""

    async def open(self, proxy: str | None) -> Way:
        """Open a way: through the proxy that pages have, or this one. Whoever opened it closes it.

        Raises:
            ProxyFailed, ValueError: the proxy is none. OSError: no port is free.
        """


@runtime_checkable
class DurableSeeds(Protocol):
    """Input that can be read from any place in it, such as a file."""

    def batches(self, mark: str | None, *, network: Network | None = None) -> AsyncIterator[Batch]:
        """Read on from a mark that an earlier batch carried; None: from the beginning.

        Args:
            mark: of the batch.
            network: what to fetch through; None: nothing guards.

        Raises:
            InputChanged: what was read before is not what stands there now.
        """


Seeds = Iterable[Seed] | AsyncIterable[Seed] | DurableSeeds
"""Input of any length."""

BATCH = 50
"""Seeds of a plain iterable taken at once before others get their turn on the event loop."""


async def batches(seeds: Seeds, mark: str | None, *, network: Network | None = None) -> AsyncGenerator[Batch, None]:
    """Cut the input into batches: 50 at a time of an iterable, one by one of an async iterable (the next may be late).

    Args:
        seeds: the input.
        mark: of the last batch that the run has stored; None: none yet.
        network: for input that lies there.

    Raises:
        InputChanged: the mark is none of this kind of input.
        Whatever the input raises.
    """
    if isinstance(seeds, DurableSeeds):
        async with aclosing(cast("AsyncGenerator[Batch, None]", seeds.batches(mark, network=network))) as durable:
            async for batch in durable:
                yield batch
        return
    if mark is not None and not mark.isdecimal():
        raise InputChanged("the run was begun with the input of a job; resume it from the command line")
    known, read = int(mark or 0), 0
    async with aclosing(_pieces(seeds)) as pieces:
        async for piece in pieces:
            old, new = piece[: max(0, known - read)], piece[max(0, known - read) :]
            read += len(piece)
            if old:
                yield Batch(seeds=old, mark=str(known), again=True)
            if new:
                yield Batch(seeds=new, mark=str(read))


async def _pieces(seeds: Iterable[Seed] | AsyncIterable[Seed]) -> AsyncGenerator[list[Seed], None]:
    if isinstance(seeds, AsyncIterable):
        async for seed in seeds:
            yield [seed]
        return
    batch: list[Seed] = []
    try:
        for seed in seeds:
            batch.append(seed)
            if len(batch) >= BATCH:
                yield batch
                batch = []
    except Exception:
        yield batch  # what was read before the iterable raised counts as well
        raise
    if batch:
        yield batch


def request_of(seed: str | Request, links: LinksConfig) -> Request:
    """Make a request of a seed.

    Args:
        seed: a URL, or a request, which stays as it is.
        links: tells which addresses are the same.

    Raises:
        InvalidURL: the string is no http or https URL.
    """
    if isinstance(seed, Request):
        return seed
    if not isinstance(seed, str):
        raise InvalidURL(f"a seed must be a URL or a Request, not {type(seed).__name__}")
    if not (links.keep_fragments or links.sort_query):
        return Request(url=seed)
    return Request(url=seed, keep_fragment=links.keep_fragments, sort_query=links.sort_query)
