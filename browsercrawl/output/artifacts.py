"""The files that visits leave: page sources, texts, screenshots, and what handlers save."""

import asyncio
import gzip
import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from browsercrawl.output.downloads import keep, safe_name
from browsercrawl.output.line_file import FILE_MODE
from browsercrawl.output.space import Space
from browsercrawl.result import Artifact, DownloadedFile
from browsercrawl.urls import shown

GZIP_LEVEL = 1
"""Measured on 107 kB of page source: level 6 takes twice the time of 1 and saves a further tenth."""

_GZIP_BYTES_MIN = 1_000
_GZIPPED = frozenset({"html", "txt", "json", "xml", "md", "svg", "csv", "mhtml"})
_REQUEST_ID = re.compile(r"[0-9a-f]{32}\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")
_EXTENSION = re.compile(r"[a-z0-9]{1,10}\Z")


class ArtifactStore:
    """Writes artifacts below a directory, spread over 256 folders by the request's id.

    A file is there whole or not at all. Writing the same name for the same request again replaces the file.
    """

    def __init__(self, root: Path, *, space: Space) -> None:
        """Take the `artifacts` directory of a run, which exists, and what waits while the disk is full."""
        self._root = root
        self._space = space
        self.bytes_written = 0
        """Bytes by which the directory has grown; a replaced file does not count any more."""

    async def write(self, request_id: str, name: str, *, data: bytes | str, extension: str) -> Artifact:
        """Write a file, off the event loop; while the disk is full, wait.

        Args:
            request_id: 32 hexadecimal digits.
            name: what it is: letters, digits, `-` and `_`, at most 64 characters.
            data: text is encoded in UTF-8; text formats are compressed where it pays, and their name ends in `.gz`.
            extension: of the file name, without dot, such as `html`.

        Returns:
            The artifact; `bytes` is the size of the file.

        Raises:
            ValueError: the name or the extension holds anything else.
            OutputFailed: the file cannot be written.
        """
        for pattern, part in ((_REQUEST_ID, request_id), (_NAME, name), (_EXTENSION, extension)):
            if not pattern.match(part):
                raise ValueError(f"{part!r} cannot be part of a file name: use letters, digits, '-' and '_'")
        path = self._root / request_id[:2] / f"{request_id}-{name}.{extension}"
        path, size, growth = await self._space.write(partial(_write, path, data), path=path)
        self.bytes_written += growth
        return Artifact(name=name, path=f"{self._root.name}/{path.parent.name}/{path.name}", bytes=size)

    async def keep(self, request_id: str, download: DownloadedFile) -> Artifact:
        """Write what was downloaded, as it is, off the event loop; while the disk is full, wait.

        The site's name for it becomes the end of the file's name, made safe.

        Raises:
            ValueError: the id is none.
            OutputFailed: the file cannot be written.
        """
        if not _REQUEST_ID.match(request_id):
            raise ValueError(f"{request_id!r} is no request's id")
        name = f"download-{download.number}"
        path = self._root / request_id[:2] / f"{request_id}-{name}.{safe_name(download.name)}"
        size, growth, digest = await self._space.write(partial(keep, download.file, path), path=path)
        self.bytes_written += growth
        return Artifact(
            name=name,
            path=f"{self._root.name}/{path.parent.name}/{path.name}",
            bytes=size,
            source=shown(download.url),
            content_type=download.content_type,
            sha256=digest,
        )


async def size_of(path: Path) -> int:
    """Return the bytes of all files below a directory; what is removed meanwhile may count or not."""
    return await asyncio.to_thread(lambda: sum(_sizes(path)))


def _write(path: Path, data: bytes | str) -> tuple[Path, int, int]:
    """Write a file, compressed where it pays. Returns its path, its size, and by how much the directory has grown."""
    content = data.encode("utf-8", "replace") if isinstance(data, str) else data
    if path.suffix[1:] in _GZIPPED and len(content) >= _GZIP_BYTES_MIN:
        packed = gzip.compress(content, GZIP_LEVEL, mtime=0)
        if len(packed) < len(content) * 0.9:
            content, path = packed, path.with_name(f"{path.name}.gz")
    path.parent.mkdir(mode=0o700, exist_ok=True)
    before = path.stat().st_size if path.exists() else 0
    _replace(path, content)
    return path, len(content), len(content) - before


def _replace(path: Path, content: bytes) -> None:
    # Always the same hidden name: what a killed process left there, the request's next visit takes over.
    fresh = path.with_name(f".{path.name}.new")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE), "wb") as file:
            file.write(content)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def _sizes(path: Path) -> Iterator[int]:
    folders = [path]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(Path(entry.path))
                    else:
                        yield _size(entry)
        except FileNotFoundError:
            continue


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0
