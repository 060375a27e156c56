"""The files that visits leave: page sources, texts, screenshots, and what handlers save."""

import asyncio
import gzip
import os
import re
import tempfile
from pathlib import Path

from browsercrawl.errors import OutputFailed
from browsercrawl.result import Artifact

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

    def __init__(self, root: Path) -> None:
        """Take the `artifacts` directory of a run; it exists."""
        self._root = root

    async def write(self, request_id: str, name: str, *, data: bytes | str, extension: str) -> Artifact:
        """Write a file, off the event loop.

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
        return await asyncio.to_thread(self._write, f"{request_id}-{name}.{extension}", name, data=data)

    def _write(self, file_name: str, name: str, *, data: bytes | str) -> Artifact:
        content = data.encode("utf-8", "replace") if isinstance(data, str) else data
        if file_name.rpartition(".")[2] in _GZIPPED and len(content) >= _GZIP_BYTES_MIN:
            packed = gzip.compress(content, GZIP_LEVEL, mtime=0)
            if len(packed) < len(content) * 0.9:
                content, file_name = packed, file_name + ".gz"
        path = self._root / file_name[:2] / file_name
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            _replace(path, content)
        except OSError as error:
            raise OutputFailed(f"artifact {path} cannot be written: {error.strerror or error}") from error
        return Artifact(name=name, path=f"{self._root.name}/{file_name[:2]}/{file_name}", bytes=len(content))


def _replace(path: Path, content: bytes) -> None:
    descriptor, fresh = tempfile.mkstemp(prefix=".new-", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(fresh).replace(path)
    except BaseException:
        Path(fresh).unlink()
        raise
