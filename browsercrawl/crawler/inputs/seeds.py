"""The seeds of a job, in batches, each with the mark from which a killed run reads on.

First the listed URLs, then the file or the pipe, then the sitemaps. Nothing is read ahead of the crawl but what a pipe
gives: the next block is looked at when the crawler asks for more, so input of any length costs the memory of one block.
What cannot be made a request becomes an `InputError` that names its place; the crawler makes a failed result of it and
the rest goes on.
"""

import json
import os
import re
import shlex
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, suppress
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from browsercrawl.clock import SystemClock
from browsercrawl.config import CrawlerConfig
from browsercrawl.config.job_values import FROM_ROBOTS
from browsercrawl.crawler.inputs.lines import LINE_BYTES_MAX, FilePlace, Line, RegularFile, read_lines
from browsercrawl.crawler.inputs.pipe import Pipe, Spool
from browsercrawl.crawler.inputs.sitemap import SitemapClient, check_sitemaps
from browsercrawl.crawler.inputs.waiting import threaded
from browsercrawl.crawler.inputs.walk import Found, Root, SitemapPlace, walk_sitemaps
from browsercrawl.dispatcher.feed import BATCH, Batch, Network, Seed
from browsercrawl.errors import ConfigError, InputChanged, InputError, InvalidURL, RunDamaged
from browsercrawl.events import discard
from browsercrawl.output import Space
from browsercrawl.request import Request
from browsercrawl.urls import Address, address

NEAR_MAX = 100
"""Folders of one origin from which the scope of its sitemaps is seen, of its first seeds."""

Listed = str | Request | Mapping[str, Any]
"""A URL, a request, or the fields of one."""


class BadURL(InvalidURL, InputError):
    """A piece of input whose URL is none: it has the kind of the one and the text and place of the other."""


class _Part(StrEnum):
    URLS = "urls"
    FILE = "file"
    SITEMAPS = "sitemaps"


class _Mark(BaseModel):
    """How far the input was read: `listed` of the URLs, or so far into the file or the sitemaps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    part: _Part = _Part.URLS
    listed: int = 0
    file: FilePlace | None = None
    sitemap: SitemapPlace | None = None


class JobSeeds:
    """Durable input (`dispatcher.DurableSeeds`): what is read again after a kill begins where the store's mark says.

    What refused seeds carry as `place` is the same whenever the same piece of input is read. Nothing is opened before
    `batches` gets there.
    """

    def __init__(
        self,
        *,
        urls: Sequence[Listed] = (),
        file: Path | Pipe | None = None,
        sitemaps: Sequence[str] = (),
        directory: Path | None = None,
        config: CrawlerConfig | None = None,
        space: Space | None = None,
    ) -> None:
        """Describe the input; the same description is needed to read on.

        Args:
            urls: URLs, requests, or mappings with a request's fields.
            file: a regular file, or a pipe, which is kept in `directory` as it arrives. One URL or one JSON request per
                line, UTF-8; blank lines and lines that begin with # mean nothing.
            sitemaps: addresses of sitemaps or of indexes of them; `robots` stands for those that the robots.txt of the
                hosts of `urls` name. They need `pip install browsercrawl[sitemap]`.
            directory: of the run; it exists when `batches` reads a pipe.
            config: of the crawl; it says how sitemaps are fetched.
            space: waits while the disk is full and a pipe cannot be kept; None: one that says nothing.

        Raises:
            ValueError: a pipe without a directory.
            ConfigError: sitemaps, but not what it takes to fetch them; or `robots` without URLs.
        """
        if isinstance(file, Pipe) and directory is None:
            raise ValueError(f"{file.name} needs a run directory to be kept in: give directory")
        self._urls = urls
        self._file = file
        self._roots = list(_roots(sitemaps, urls))
        self._directory = directory
        self._config = config or CrawlerConfig()
        self._space = space
        if sitemaps:
            check_sitemaps(self._config)

    async def batches(self, mark: str | None, *, network: Network | None = None) -> AsyncIterator[Batch]:
        """Read on from a mark that an earlier batch carried; None: from the beginning. At most 50 seeds a batch.

        A file that only grew since is read to its new end. Batches of a sitemap that was begun are marked `again` as
        far as they were read: it is fetched anew, and what it lists now may be something else.

        The rest of a pipe that was cut off is asked for when all that was kept of it has been given out; the sitemaps
        wait for that.

        Raises:
            InputChanged: a file is not what it was as far as it was read.
            InputError: a file cannot be read, or a pipe was cut off.
            OutputFailed: a pipe cannot be kept.
            RunDamaged: the mark is none of ours.
        """
        at = _read_mark(mark)
        if at.part is _Part.URLS:
            for batch in self._listed(at.listed):
                yield batch
        if at.part is not _Part.SITEMAPS and self._file is not None:
            async with aclosing(self._from_file(at.file)) as batches:
                async for batch in batches:
                    yield batch
        if self._roots:
            async with aclosing(self._from_sitemaps(at.sitemap, network)) as batches:
                async for batch in batches:
                    yield batch

    def _listed(self, done: int) -> Iterable[Batch]:
        for start in range(done, len(self._urls), BATCH):
            some = self._urls[start : start + BATCH]
            seeds = [
                seed_of(each, where=f"URL {number}", place=f"urls {number}")
                for number, each in enumerate(some, start=start + 1)
            ]
            yield Batch(seeds=seeds, mark=_Mark(listed=start + len(some)).model_dump_json(exclude_defaults=True))

    async def _from_file(self, place: FilePlace | None) -> AsyncGenerator[Batch, None]:
        async with AsyncExitStack() as stack:
            source: RegularFile | Spool
            if isinstance(self._file, Pipe):
                assert self._directory is not None, "checked when this was made"
                space = self._space or Space(clock=SystemClock(), emit=discard)
                source = await stack.enter_async_context(Spool(self._file, directory=self._directory, space=space))
            else:
                assert self._file is not None, "asked for by who has one"
                source = await _opened(self._file, resumed=place is not None)
                stack.callback(os.close, source.descriptor)
            lines = await stack.enter_async_context(aclosing(read_lines(source, place)))
            async for some, reached in lines:
                place = reached
                seeds = [seed for line in some if (seed := _seed_of_line(line, source.name)) is not None]
                if seeds:
                    yield Batch(seeds=seeds, mark=_file_mark(place))
            if isinstance(source, Spool) and source.is_cut:
                raise self._cut(source.name, lines_kept=place.line if place else 0)

    def _cut(self, name: str, *, lines_kept: int) -> InputError:
        resume = f"browsercrawl resume {shlex.quote(str(self._directory))}"
        return InputError(
            f"{name} was cut off: it had not ended when the run's process did, and only its first {lines_kept:,} whole "
            f"lines were kept; pipe what follows them to {resume}, or, if that was all, an empty line: echo | {resume}"
        )

    async def _from_sitemaps(self, place: SitemapPlace | None, network: Network | None) -> AsyncGenerator[Batch, None]:
        if network is not None:
            await network.trust(_addresses(root.url for root in self._roots if not root.near))
        client = SitemapClient(self._config.browser, network=network)
        async with aclosing(walk_sitemaps(self._roots, client, place=place)) as found:
            async for some in found:
                seeds = [each if isinstance(each, InputError) else _seed_found(each, some) for each in some.entries]
                near = self._roots[some.place.number].near
                mark = _Mark(part=_Part.SITEMAPS, sitemap=some.place).model_dump_json(exclude_defaults=True)
                yield Batch(seeds=seeds, mark=mark, again=some.again, found=True, near=near)


def seed_of(given: Listed, *, where: str, place: str) -> Seed:
    """Check a URL, or make a request of a JSON object with its fields, or of these fields.

    Args:
        given: what stands there.
        where: for the message of the error.
        place: for the error.

    Returns:
        The URL, the request, or the error that says why it is neither.
    """
    if isinstance(given, Request):
        return given
    text = given if isinstance(given, str) else json.dumps(dict(given), default=str)
    try:
        if text.startswith("{"):
            return Request.from_json(text)
        address(text)
        return text
    except InvalidURL as error:
        return BadURL(f"{where}: {error.message}", text=text, place=place)
    except InputError as error:
        return InputError(f"{where}: {error.message}", text=text, place=place)


def _seed_found(url: str, found: Found) -> Seed:
    """Check an entry of a sitemap; it is an address and nothing else: what a request may ask for is the user's say."""
    try:
        address(url)
    except InvalidURL as error:
        place = f"sitemap {found.place.within[-1]} {url}"
        return BadURL(f"sitemap {found.name}: {error.message}", text=url, place=place)
    return url


def _roots(sitemaps: Sequence[str], urls: Sequence[Listed]) -> Iterator[Root]:
    """Yield where the sitemaps begin; for `robots`, at the robots.txt of each origin among the URLs, in their order."""
    for each in sitemaps:
        if each != FROM_ROBOTS:
            yield Root(each)
            continue
        if not urls:
            raise ConfigError(f"sitemaps: {FROM_ROBOTS} stands for the robots.txt of the hosts of urls: give some")
        for origin, near in _near(urls).items():
            yield Root(f"{origin}/robots.txt", tuple(near.values()))


def _near(urls: Sequence[Listed]) -> dict[str, dict[str, str]]:
    """Return, by origin, an address in each folder that has a seed: what a scope can be seen from."""
    found: dict[str, dict[str, str]] = {}
    for given in urls:
        seed = seed_of(given, where="", place="")
        if isinstance(seed, InputError):
            continue
        where = address(seed) if isinstance(seed, str) else seed.address
        folders = found.setdefault(where.origin, {})
        if len(folders) < NEAR_MAX:
            folders.setdefault(re.split("[?#]", where.canonical, maxsplit=1)[0].rpartition("/")[0], where.canonical)
    return found


def _addresses(urls: Iterable[str]) -> Iterator[Address]:
    """Yield the addresses of those URLs that are some."""
    for url in urls:
        with suppress(InvalidURL):
            yield address(url)


def _seed_of_line(line: Line, name: str) -> Seed | None:
    where, place = f"{name}, line {line.number}", f"file {line.number}"
    if line.content is None:
        return InputError(f"{where}: longer than {LINE_BYTES_MAX:,} bytes", place=place)
    try:
        text = line.content.decode("utf-8-sig").strip()  # the mark stands at the beginning of each file piped to us
    except UnicodeDecodeError as error:
        return InputError(f"{where}: not UTF-8 ({error.reason} at byte {error.start})", place=place)
    return seed_of(text, where=where, place=place) if text and not text.startswith("#") else None


async def _opened(path: Path, *, resumed: bool) -> RegularFile:
    try:
        return RegularFile(str(path), await threaded(partial(os.open, path, os.O_RDONLY | os.O_CLOEXEC)))
    except OSError as error:
        kind = InputChanged if resumed else InputError
        raise kind(f"{path} cannot be read: {error.strerror or error}; put it there, then resume the run") from error


def _file_mark(place: FilePlace | None) -> str:
    return _Mark(part=_Part.FILE, file=place).model_dump_json(exclude_defaults=True)


def _read_mark(mark: str | None) -> _Mark:
    if mark is None:
        return _Mark()
    try:
        return _Mark.model_validate_json(mark)
    except ValidationError as error:
        raise RunDamaged(
            "the run's note of how far its input was read cannot be understood: it was made by another version, or for "
            "a Python program's own input; resume the run by what began it"
        ) from error
