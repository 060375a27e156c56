"""Lines of a file, and the place from which they are read on: at a line's end, with a hash of all that stands before.

The hash is taken anew when reading goes on: it both shows that nothing changed and is the beginning of the next.
"""

import os
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict

from browsercrawl.crawler.inputs.waiting import threaded
from browsercrawl.dispatcher.feed import BATCH
from browsercrawl.errors import InputChanged, InputError

LINE_BYTES_MAX = 1_000_000
"""A longer line is no URL, and no request."""

_BLOCK_BYTES = 262_144
_HASH_BYTES = 16
_HASHED_AT_ONCE_BYTES = 1_048_576


class FilePlace(BaseModel):
    """How far a file was read.

    Attributes:
        offset: bytes read; a line ends there.
        line: lines read.
        size: of the file when it was opened, bytes.
        mtime_ns: when it had last been changed then.
        hash: BLAKE2b of the bytes before `offset`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    offset: int
    line: int
    size: int
    mtime_ns: int
    hash: str


class Line(NamedTuple):
    """A line without its end; `content` is None for one that is too long to be one."""

    number: int
    content: bytes | None


class Source(Protocol):
    """What lines are read from."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def descriptor(self) -> int:
        """Of the file behind it."""

    async def read(self, offset: int) -> bytes:
        """Return some of what stands there, waiting for it if need be; nothing at the end."""


@dataclass(frozen=True, slots=True)
class RegularFile:
    """An open file; it ends where it ends when that is reached."""

    name: str
    descriptor: int

    async def read(self, offset: int) -> bytes:
        """Return some of what stands there; nothing at the end.

        Raises:
            InputError: the disk refuses.
        """
        try:
            return await threaded(partial(os.pread, self.descriptor, _BLOCK_BYTES, offset))
        except OSError as error:
            raise InputError(f"{self.name} cannot be read: {error.strerror or error}") from error


async def read_lines(source: Source, place: FilePlace | None) -> AsyncGenerator[tuple[list[Line], FilePlace], None]:
    """Yield lines, at most 50 at once, as soon as they are there, each time with the place behind them.

    Args:
        source: to read.
        place: where to go on; None: at the beginning.

    Raises:
        InputChanged: what was read before is not what stands there now.
        InputError: it cannot be read.
    """
    status = await threaded(partial(os.fstat, source.descriptor))  # first: what changes later shows against it
    cutter = _Cutter()
    if place is not None:
        cutter = await threaded(partial(_verified, source, place, status))
    read_to = cutter.offset
    while block := await source.read(read_to):
        read_to += len(block)
        for lines in cutter.take(block):
            yield lines, cutter.place(status)
    if lines := cutter.end():
        yield lines, cutter.place(status)


class _Cutter:
    """Cuts bytes into lines and keeps count: bytes, lines, hash."""

    def __init__(self, *, offset: int = 0, number: int = 0) -> None:
        self.offset = offset
        """Bytes behind the last line given out; more while a line is passed over that is too long."""
        self.hash = blake2b(digest_size=_HASH_BYTES)
        self._number = number
        self._rest = b""
        self._is_long = False

    def take(self, block: bytes) -> Iterator[list[Line]]:
        """Yield the lines that end in this block, at most 50 at once; `place` then is behind these."""
        *whole, self._rest = (self._rest + block).split(b"\n")
        for start in range(0, len(whole), BATCH):
            some = whole[start : start + BATCH]
            self._count(b"\n".join(some) + b"\n")
            yield [self._line(content) for content in some]
        if len(self._rest) > LINE_BYTES_MAX:
            self._count(self._rest)
            self._rest, self._is_long = b"", True

    def end(self) -> list[Line]:
        """Return the last line if it has no end of its own."""
        if not self._rest and not self._is_long:
            return []
        self._count(self._rest)
        return [self._line(self._rest)]

    def place(self, status: os.stat_result) -> FilePlace:
        """Return the place behind the lines given out."""
        return FilePlace(
            offset=self.offset,
            line=self._number,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            hash=self.hash.hexdigest(),
        )

    def _count(self, content: bytes) -> None:
        self.hash.update(content)
        self.offset += len(content)

    def _line(self, content: bytes) -> Line:
        self._number += 1
        is_long, self._is_long = self._is_long or len(content) > LINE_BYTES_MAX, False
        return Line(self._number, None if is_long else content)


def _verified(source: Source, place: FilePlace, status: os.stat_result) -> _Cutter:
    """Return a cutter that has read up to `place`. Takes as long as reading that far does."""
    cutter = _Cutter(offset=place.offset, number=place.line)
    last, done = b"\n", 0
    try:
        while done < place.offset:
            block = os.pread(source.descriptor, min(_HASHED_AT_ONCE_BYTES, place.offset - done), done)
            if not block:
                break
            cutter.hash.update(block)
            done, last = done + len(block), block[-1:]
        following = os.pread(source.descriptor, 2, place.offset)
    except OSError as error:
        raise InputError(f"{source.name} cannot be read: {error.strerror or error}") from error
    if done < place.offset:
        raise _changed(source, place, f"it has {status.st_size:,} bytes now")
    if cutter.hash.hexdigest() != place.hash:
        raise _changed(source, place, "they are others now")
    if last != b"\n" and following:  # the file ended without a newline; its last line counted as one
        if not following.startswith((b"\n", b"\r\n")):
            raise _changed(source, place, f"line {place.line:,} has grown")
        rest = following[: following.index(b"\n") + 1]
        cutter.hash.update(rest)
        cutter.offset += len(rest)
    return cutter


def _changed(source: Source, place: FilePlace, what: str) -> InputChanged:
    return InputChanged(
        f"{source.name} has changed: the run has read its first {place.offset:,} bytes ({place.line:,} lines; it had "
        f"{place.size:,} bytes then), and {what}; put it back as it was (lines may be added at its end) and resume, or "
        "begin a new run with it"
    )
