"""Back-pressured input: seeds are pulled only as fast as the frontier empties."""

from collections.abc import AsyncGenerator, AsyncIterable, Iterable

from browsercrawl.errors import InputError, InvalidURL
from browsercrawl.request import Request
from browsercrawl.urls import address

Seed = str | Request | InputError
"""A URL, a request, or a line of input that could not be read (it becomes a failed result)."""

Seeds = Iterable[Seed] | AsyncIterable[Seed]
"""Input of any length."""

BATCH = 50
"""Seeds of a plain iterable taken at once before others get their turn on the event loop."""


async def batches(seeds: Seeds) -> AsyncGenerator[list[Seed], None]:
    """Cut the input into batches: 50 at a time of an iterable, one by one of an async iterable (the next may be late).

    Raises:
        Whatever the iterable raises.
    """
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


def request_of(seed: str | Request) -> Request:
    """Make a request of a seed.

    Raises:
        InvalidURL: the string is no http or https URL.
    """
    if isinstance(seed, Request):
        return seed
    if not isinstance(seed, str):
        raise InvalidURL(f"a seed must be a URL or a Request, not {type(seed).__name__}")
    address(seed)
    return Request(url=seed)
