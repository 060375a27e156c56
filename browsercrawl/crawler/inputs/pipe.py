"""Input that comes only once, such as standard input: kept in the run directory before anything is made of it.

It is kept in `input.txt.part`, which becomes `input.txt` when the input has ended: so a torn last line is told from one
that simply has no newline, and input that was cut off by a kill from input that is complete. It is taken as fast as it
comes, so that little is lost to a kill, but not without bound ahead of the crawl, so that it may be endless.
"""

import asyncio
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from browsercrawl.crawler.inputs.waiting import read_block, threaded
from browsercrawl.errors import InputError, OutputFailed
from browsercrawl.output import Space

AHEAD_BYTES = 256_000_000
"""So much is kept ahead of the crawl: the addresses of some millions of pages."""

_BLOCK_BYTES = 262_144
_FILE_MODE = 0o600


@dataclass(frozen=True, slots=True)
class Pipe:
    """Input that comes once.

    Attributes:
        name: for messages.
        descriptor: to read it from; None: it is gone, and only what was kept counts. Its owner closes it.
        is_rest: it follows what a run has kept before. If it gives nothing at all, nobody has piped anything: what is
            missing is missing still.
    """

    name: str
    descriptor: int | None
    is_rest: bool = False


def holds_input(directory: Path) -> bool:
    """Tell whether a run directory keeps what came through a pipe."""
    return any(path.exists() for path in _paths(directory))


class Spool:
    """The file that keeps a pipe; a `Source` of lines. While it is entered, a task takes what arrives."""

    def __init__(self, pipe: Pipe, *, directory: Path, space: Space, ahead_bytes: int = AHEAD_BYTES) -> None:
        """Describe it.

        Args:
            pipe: what to keep. One whose input is complete is not read any more.
            directory: of the run.
            space: waits while the disk is full.
            ahead_bytes: so much is kept ahead of what was read.
        """
        self.name = pipe.name
        self.descriptor = -1
        self.is_cut = False
        """The pipe is gone and had not ended: what is kept is not all of it. Known when all that is kept was read."""
        self._is_complete = False
        self._pipe = pipe
        self._whole, self._part = _paths(directory)
        self._space = space
        self._ahead_bytes = ahead_bytes
        self._size = 0  # of what may be read; grows when it is safe on the disk
        self._read_to = 0
        self._arrived = asyncio.Event()
        self._wanted = asyncio.Event()
        self._taking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Open the file and begin to take what arrives.

        Raises:
            OutputFailed: the file cannot be made.
        """
        try:
            await threaded(self._open)
        except OSError as error:
            raise OutputFailed(f"{self._part} cannot be opened: {error.strerror or error}") from error
        if self._pipe.descriptor is not None and not self._is_complete:
            self._taking = asyncio.create_task(self._take(self._pipe.descriptor), name=f"keep {self.name}")
            self._taking.add_done_callback(lambda _: self._arrived.set())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take no more, and close the file."""
        if self._taking is not None:
            self._taking.cancel()
            await asyncio.wait({self._taking})
            if not self._taking.cancelled():
                self._taking.exception()  # `read` has raised it, or nobody reads any more
        os.close(self.descriptor)

    async def read(self, offset: int) -> bytes:
        """Return some of what stands there, waiting for it to arrive; nothing at the end.

        Raises:
            InputError: the pipe cannot be read.
            OutputFailed: what arrived cannot be kept.
        """
        self._read_to = offset
        self._wanted.set()
        while offset >= self._size:
            if self._taking is None:
                return b""
            if self._taking.done():
                self._taking.result()
                return b""
            self._arrived.clear()
            await self._arrived.wait()
        return await threaded(partial(os.pread, self.descriptor, min(_BLOCK_BYTES, self._size - offset), offset))

    def _open(self) -> None:
        if self._whole.exists():
            self.descriptor = os.open(self._whole, os.O_RDONLY | os.O_CLOEXEC)
            self._size = os.fstat(self.descriptor).st_size
            self._is_complete = True
            return
        self.descriptor = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)
        self._size = _whole_lines(self.descriptor)
        self.is_cut = self._pipe.descriptor is None
        if not self.is_cut:
            os.ftruncate(self.descriptor, self._size)  # a line that a kill has torn

    async def _take(self, pipe: int) -> None:
        was_given = not self._pipe.is_rest
        while True:
            while self._size - self._read_to >= self._ahead_bytes:
                self._wanted.clear()
                await self._wanted.wait()
            try:
                block = await read_block(pipe)
            except OSError as error:
                raise InputError(f"{self.name} cannot be read: {error.strerror or error}") from error
            if not block:
                break
            was_given = True
            await self._space.write(partial(self._append, block), path=self._part)
            self._size += len(block)
            self._arrived.set()
        if not was_given:
            self.is_cut = True
            return
        await self._space.write(partial(self._part.rename, self._whole), path=self._whole)

    def _append(self, block: bytes) -> None:
        """Write behind what is safe. Synced, or a mark in the store might outlive the lines it stands behind."""
        written = 0
        while written < len(block):
            written += os.pwrite(self.descriptor, memoryview(block)[written:], self._size + written)
        os.fsync(self.descriptor)


def _paths(directory: Path) -> tuple[Path, Path]:
    return directory / "input.txt", directory / "input.txt.part"


def _whole_lines(descriptor: int) -> int:
    """Return how many bytes of a file are whole lines."""
    end = os.fstat(descriptor).st_size
    while end:
        start = max(end - _BLOCK_BYTES, 0)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
