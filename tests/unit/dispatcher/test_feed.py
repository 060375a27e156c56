"""Cutting the input into batches, and making requests of seeds."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from browsercrawl.dispatcher.feed import BATCH, batches, request_of
from browsercrawl.errors import InvalidURL
from browsercrawl.request import Request


async def test_batches_plain_iterable_is_cut() -> None:
    """50 at a time, the rest at the end, nothing of nothing."""
    seeds = [f"http://site.test/{number}" for number in range(2 * BATCH + 1)]
    cut = [batch async for batch in batches(seeds)]
    assert [len(batch) for batch in cut] == [BATCH, BATCH, 1]
    assert [seed for batch in cut for seed in batch] == seeds
    assert [batch async for batch in batches([])] == []


async def test_batches_async_iterable_comes_one_by_one() -> None:
    """The next of an async iterable may be late: none waits for it."""

    async def seeds() -> AsyncIterator[str]:
        yield "a"
        yield "b"

    assert [batch async for batch in batches(seeds())] == [["a"], ["b"]]


def test_request_of_takes_urls_and_requests() -> None:
    """A request stays itself; a URL becomes one."""
    request = Request(url="http://site.test/", priority=3)
    assert request_of(request) is request
    assert request_of("http://site.test/") == Request(url="http://site.test/")


@pytest.mark.parametrize("seed", ["", "x", "mailto:a@b", None, 5, b"http://site.test/", ("http://site.test/",)])
def test_request_of_anything_else_is_an_invalid_url(seed: Any) -> None:
    """Everything else is told by its type, never by its content."""
    with pytest.raises(InvalidURL):
        request_of(seed)
