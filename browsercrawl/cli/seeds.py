"""Where a crawl's first requests come from: the command line, a file, or standard input.

Nothing is read ahead of the crawl: the next line is looked at when the crawler asks for it, so a file of any length
costs the memory of one block. A bad line becomes an `InputError` in the stream, naming the file and the line; the
crawler makes a failed result of it and the other lines go on.
"""

import os
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from browsercrawl.cli.arguments import BadUsage
from browsercrawl.cli.streams import read_block
from browsercrawl.errors import InputError, InvalidURL
from browsercrawl.request import Request

Seed = Request | InputError

_LINE_BYTES_MAX = 1_000_000


class BadURL(InvalidURL, InputError):
    """A line of input whose URL is none: it has the kind of the one and the text of the other."""


@dataclass(frozen=True, slots=True)
class UrlsFile:
    """An open file of URLs; `name` is for messages."""

    name: str
    descriptor: int


@contextmanager
def open_urls(path: str | None) -> Iterator[UrlsFile | None]:
    """Open the file of `--urls-file`, before anything is started, and close it at the end.

    Args:
        path: `-` is standard input; None: there is no file.

    Raises:
        BadUsage: it cannot be read.
    """
    if path is None:
        yield None
        return
    try:
        descriptor = os.dup(0) if path == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise BadUsage(f"--urls-file {path}: {error.strerror}") from error
    try:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise BadUsage(f"--urls-file {path}: is a directory; name a file with one URL per line")
        yield UrlsFile("standard input" if path == "-" else path, descriptor)
    finally:
        os.close(descriptor)


def check_urls(urls: Sequence[str]) -> None:
    """Refuse a command line on which no URL can be crawled: better before anything has started.

    Raises:
        BadUsage: every one is wrong; the message says what is wrong with the first.
    """
    seeds = [_seed(url, f"argument {number}") for number, url in enumerate(urls, start=1)]
    if seeds and all(isinstance(seed, InputError) for seed in seeds):
        meant = "" if ":" in urls[0] else f"; did you mean https://{urls[0]} ?"
        raise BadUsage(f"{seeds[0]}{meant}")


async def read_seeds(urls: Sequence[str], file: UrlsFile | None) -> AsyncIterator[Seed]:
    """Yield the requests of the command line, then those of the file.

    Args:
        urls: as typed.
        file: one URL or one JSON request per line; blank lines and lines that begin with # mean nothing.
    """
    for number, url in enumerate(urls, start=1):
        yield _seed(url, f"argument {number}")
    if file is None:
        return
    number = 0
    async for line in _lines(file.descriptor):
        number += 1
        where = f"{file.name}, line {number}"
        if line is None:
            yield InputError(f"{where}: longer than {_LINE_BYTES_MAX:,} bytes")
            continue
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            yield InputError(f"{where}: not UTF-8 ({error.reason} at byte {error.start})")
            continue
        if text and not text.startswith("#"):
            yield _seed(text, where)


def _seed(text: str, where: str) -> Seed:
    try:
        return Request.from_json(text) if text.startswith("{") else Request(url=text)
    except InvalidURL as error:
        return BadURL(f"{where}: {error.message}", text=text)
    except InputError as error:
        return InputError(f"{where}: {error.message}", text=text)


async def _lines(descriptor: int) -> AsyncIterator[bytes | None]:
    """Yield lines without their end; None for one that is too long to be one."""
    rest, skipping = b"", False
    while block := await read_block(descriptor):
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            yield None if skipping or len(line) > _LINE_BYTES_MAX else line
            skipping = False
        if len(rest) > _LINE_BYTES_MAX:
            rest, skipping = b"", True
    if rest or skipping:
        yield None if skipping else rest
