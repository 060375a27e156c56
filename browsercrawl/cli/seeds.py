"""What a job names as its input: its file or pipe, looked at before anything is started, and whose its seeds are."""

import os
import stat
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

from browsercrawl.cli.arguments import BadUsage
from browsercrawl.config import LinksConfig
from browsercrawl.crawler.inputs import Pipe, holds_input
from browsercrawl.dispatcher import Batch, DurableSeeds, Network, Seed
from browsercrawl.dispatcher.feed import request_of
from browsercrawl.errors import InputError
from browsercrawl.request import Request

_STANDARD_INPUT = 0


@contextmanager
def open_urls(path: str | None, *, resumed: Path | None = None) -> Iterator[Path | Pipe | None]:
    """Look at a job's file of URLs before anything is started; close at the end what had to be opened.

    Args:
        path: `-` is standard input; None: there is no file.
        resumed: directory of the run that goes on. The rest of what came through a pipe is then taken from standard
            input, if that is a pipe or a file; any other file is looked at when the run needs it.

    Raises:
        BadUsage: it cannot be read.
    """
    if path is None:
        yield None
        return
    name = "standard input" if path == "-" else path
    if resumed is not None:
        is_kept = path == "-" or holds_input(resumed)
        yield Pipe(name, _STANDARD_INPUT if _is_piped() else None, is_rest=True) if is_kept else Path(path)
        return
    if path == "-":
        yield Pipe(name, _STANDARD_INPUT)
        return
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise BadUsage(f"{path}: {error.strerror}") from error
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise BadUsage(f"{path}: is a directory; name a file with one URL per line")
        yield Path(path) if stat.S_ISREG(mode) else Pipe(path, descriptor)
    finally:
        os.close(descriptor)


class OwnedSeeds:
    """Durable input (`dispatcher.DurableSeeds`) whose seeds belong to a session, unless they name one.

    Args:
        seeds: the input.
        session: its name.
        links: tells which addresses are the same.
    """

    def __init__(self, seeds: DurableSeeds, *, session: str, links: LinksConfig) -> None:
        self._seeds = seeds
        self._session = session
        self._links = links

    async def batches(self, mark: str | None, *, network: Network | None = None) -> AsyncIterator[Batch]:
        """See `DurableSeeds.batches`."""
        inner = cast("AsyncGenerator[Batch, None]", self._seeds.batches(mark, network=network))
        async with aclosing(inner) as batches:
            async for batch in batches:
                yield replace(batch, seeds=[self._owned(seed) for seed in batch.seeds])

    def _owned(self, seed: Seed) -> Seed:
        if isinstance(seed, InputError):
            return seed
        request = request_of(seed, self._links)
        return request if request.session is not None else Request(**{**request.model_dump(), "session": self._session})


def _is_piped() -> bool:
    """Tell whether somebody gives us something: at a terminal, or started without any, nobody does."""
    if sys.stdin is None:  # it was closed when we were started: its number may be of a file of our own by now
        return False
    mode = os.fstat(_STANDARD_INPUT).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)
