"""Cutting the input into batches, and making requests of seeds."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from browsercrawl.config import LinksConfig
from browsercrawl.dispatcher.feed import BATCH, Batch, Network, batches, request_of
from browsercrawl.errors import InvalidURL
from browsercrawl.request import Request


async def test_batches_plain_iterable_is_cut() -> None:
    """50 at a time, the rest at the end, nothing of nothing; the mark counts what was read."""
    seeds = [f"http://site.test/{number}" for number in range(2 * BATCH + 1)]
    cut = [batch async for batch in batches(seeds, None)]
    assert [len(batch.seeds) for batch in cut] == [BATCH, BATCH, 1]
    assert [seed for batch in cut for seed in batch.seeds] == seeds
    assert [batch.mark for batch in cut] == [str(BATCH), str(2 * BATCH), str(2 * BATCH + 1)]
    assert [batch async for batch in batches([], None)] == []


async def test_batches_async_iterable_comes_one_by_one() -> None:
    """The next of an async iterable may be late: none waits for it."""

    async def seeds() -> AsyncIterator[str]:
        yield "a"
        yield "b"

    assert [batch.seeds async for batch in batches(seeds(), None)] == [["a"], ["b"]]


async def test_batches_of_a_resumed_iterable_begin_anew_and_say_so() -> None:
    """A program's iterable is read again from its beginning; what was read before is marked, and the mark stays."""
    seeds = [f"http://site.test/{number}" for number in range(2 * BATCH)]
    cut = [batch async for batch in batches(seeds, str(BATCH))]
    assert [(batch.again, batch.mark) for batch in cut] == [(True, str(BATCH)), (False, str(2 * BATCH))]


async def test_batches_of_durable_seeds_are_theirs() -> None:
    """Input that knows its place is asked to go on from its mark, and cuts itself."""
    given: list[tuple[str | None, Network | None]] = []

    class File:
        async def batches(self, mark: str | None, *, network: Network | None = None) -> AsyncIterator[Batch]:
            given.append((mark, network))
            yield Batch(seeds=["a", "b"], mark="byte 4")

    assert [batch async for batch in batches(File(), "byte 2")] == [Batch(seeds=["a", "b"], mark="byte 4")]
    assert given == [("byte 2", None)]


def test_request_of_takes_urls_and_requests() -> None:
    """A request stays itself; a URL becomes one."""
    request = Request(url="http://site.test/", priority=3)
    assert request_of(request, LinksConfig()) is request
    assert request_of("http://site.test/", LinksConfig()) == Request(url="http://site.test/")


def test_request_of_a_url_follows_the_configured_identity() -> None:
    """Where addresses that differ after # are different pages, seeds say so like links."""
    links = LinksConfig(keep_fragments=True, sort_query=True)
    made = request_of("http://site.test/?b=1&a=2#x", links)
    assert made == Request(url="http://site.test/?b=1&a=2#x", keep_fragment=True, sort_query=True)


@pytest.mark.parametrize("seed", ["", "x", "mailto:a@b", None, 5, b"http://site.test/", ("http://site.test/",)])
def test_request_of_anything_else_is_an_invalid_url(seed: Any) -> None:
    """Everything else is told by its type, never by its content."""
    with pytest.raises(InvalidURL):
        request_of(seed, LinksConfig())
