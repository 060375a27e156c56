"""A queue of any length with a bounded share of memory: the rest waits in an unnamed temporary file."""

import json
import tempfile
from collections import deque
from typing import IO, Generic, TypeVar

from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)


class Spool(Generic[M]):
    """First in, first out. Not safe for threads: the owner's lock guards it.

    The file has no name from the start, so that nothing is left behind whatever way the process ends.
    """

    def __init__(self, model: type[M], *, memory_max: int) -> None:
        """Make an empty spool.

        Args:
            model: what it holds.
            memory_max: so many items stay in memory, >= 1.
        """
        self._model = model
        self._memory_max = memory_max
        self._head: deque[M] = deque()
        self._file: IO[bytes] | None = None
        self._read_at = 0
        self._on_disk = 0

    def __len__(self) -> int:
        return len(self._head) + self._on_disk

    def put(self, item: M) -> None:
        """Add an item.

        Raises:
            OSError: the temporary file cannot be written.
        """
        if self._on_disk == 0 and len(self._head) < self._memory_max:
            self._head.append(item)
            return
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="browsercrawl-spool-")  # noqa: SIM115 - lives as long as we do
        self._file.seek(0, 2)
        # Not pydantic's own JSON: it refuses half a surrogate pair, which scripts and JSON files may well hold.
        self._file.write(json.dumps(item.model_dump(mode="json")).encode() + b"\n")
        self._on_disk += 1

    def take(self) -> M | None:
        """Remove and return the oldest item; None when there is none."""
        if not self._head and self._on_disk:
            self._refill()
        return self._head.popleft() if self._head else None

    def close(self) -> None:
        """Forget everything. Idempotent."""
        self._head.clear()
        self._on_disk = 0
        if self._file is not None:
            self._file.close()
            self._file = None

    def __del__(self) -> None:
        """Close the file, should its owner have forgotten to."""
        self.close()

    def _refill(self) -> None:
        assert self._file is not None, "items on disk have a file"
        self._file.seek(self._read_at)
        for _ in range(min(self._on_disk, self._memory_max)):
            self._head.append(self._model.model_validate(json.loads(self._file.readline())))
            self._on_disk -= 1
        self._read_at = self._file.tell()
        if self._on_disk == 0:
            self._file.seek(0)
            self._file.truncate()
            self._read_at = 0
