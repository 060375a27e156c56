"""A file of whole lines: what is appended stands there entirely or not at all, also when the disk is full."""

import os
import threading
from collections import deque
from pathlib import Path

FILE_MODE = 0o600

ROTATED_KEPT = 5
"""Older files kept beside a rotating one: `events.jsonl.1` to `.5`."""


class LineFile:
    """An append-only file of lines. Not thread-safe: `LineWriter` guards it."""

    def __init__(self, path: Path) -> None:
        """Open the file, making it if need be.

        Raises:
            OSError: it cannot be opened.
        """
        self.path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, FILE_MODE)
        self.size = os.fstat(self._fd).st_size
        self._torn = False

    def append(self, lines: bytes) -> tuple[int, OSError | None]:
        """Append whole lines.

        Args:
            lines: each ends with a newline.

        Returns:
            How many bytes, all of whole lines, now stand in the file, and the error that kept out the rest.
        """
        written = 0
        try:
            if self._torn:
                os.ftruncate(self._fd, self.size)
                self._torn = False
            while written < len(lines):
                written += os.write(self._fd, memoryview(lines)[written:])
        except OSError as error:
            whole = lines.rfind(b"\n", 0, written) + 1
            self.size += whole
            if whole < written:
                self._truncate()
            return whole, error
        self.size += written
        return written, None

    def _truncate(self) -> None:
        try:
            os.ftruncate(self._fd, self.size)
        except OSError:
            self._torn = True  # the next append tries again before it writes anything

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._fd < 0

    def sync(self) -> None:
        """Have the kernel bring the file to the disk.

        Raises:
            OSError: it cannot.
        """
        os.fsync(self._fd)

    def close(self) -> None:
        """Close the file; may be called again."""
        if not self.closed:
            os.close(self._fd)
            self._fd = -1


class LineWriter:
    """Writes lines from a thread of its own, so that a slow disk does not hold the event loop.

    The thread wakes at a fixed interval, or when half of the room is used, and writes all waiting lines in one go. It
    ends with `close`; a process that ends without it does not wait for it.
    """

    def __init__(
        self, path: Path, *, interval_s: float, bytes_max: int, lossy: bool, rotate_bytes: int | None = None
    ) -> None:
        """Open the file and start the thread.

        Args:
            path: file to append to.
            interval_s: lines are written at least this often.
            bytes_max: room for lines that are not written yet.
            lossy: lines that find no room or cannot be written are forgotten and counted; otherwise they keep waiting.
            rotate_bytes: a file that would grow past this becomes `<name>.1`, up to `ROTATED_KEPT`; None: never.

        Raises:
            OSError: the file cannot be opened.
        """
        self.dropped = 0
        """Lines forgotten so far."""
        self.error: OSError | None = None
        """Why the last lines could not be written; None when they could."""
        self._interval_s = interval_s
        self._bytes_max = bytes_max
        self._lossy = lossy
        self._rotate_bytes = rotate_bytes
        self._file = LineFile(path)
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._closing = False
        self._count = threading.Lock()  # guards what waits and the counts
        self._writing = threading.Lock()  # guards the file: one drain at a time, so lines keep their order
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"browsercrawl-{path.name}", daemon=True)
        self._thread.start()

    @property
    def closing(self) -> bool:
        """Whether `close` was called."""
        return self._closing

    def offer(self, line: bytes) -> bool:
        """Take a line (with its newline) to be written soon. Returns False when there is no room or after `close`."""
        with self._count:
            if self._closing or (self._waiting and self._waiting_bytes + len(line) > self._bytes_max):
                self.dropped += self._lossy
                return False
            self._waiting.append(line)
            self._waiting_bytes += len(line)
            crowded = self._waiting_bytes * 2 > self._bytes_max
        if crowded:
            self._wake.set()
        return True

    def drain(self) -> None:
        """Write all waiting lines now, in the calling thread. Look at `error` afterwards."""
        with self._writing:
            with self._count:
                batch = list(self._waiting)
            if not batch:
                return
            written, self.error = self._append(batch)
            with self._count:
                for _ in range(len(batch) if self._lossy else written):
                    self._waiting_bytes -= len(self._waiting.popleft())
                self.dropped += (len(batch) - written) * self._lossy

    def close(self, *, sync: bool = False) -> None:
        """Write what waits, end the thread, close the file. Look at `error` afterwards. May be called again.

        Blocks as long as the disk does: call it from a thread.

        Args:
            sync: bring the file to the disk.
        """
        with self._count:
            self._closing = True
        self._wake.set()
        self._thread.join()
        if self._file.closed:
            return
        self.drain()
        with self._writing:
            try:
                if sync and self.error is None:
                    self._file.sync()
            except OSError as error:
                self.error = error
            finally:
                self._file.close()

    def _append(self, batch: list[bytes]) -> tuple[int, OSError | None]:
        """Write a batch. Returns how many of its lines were written, and the error that kept out the rest."""
        data = b"".join(batch)
        try:
            if self._rotate_bytes and self._file.size and self._file.size + len(data) > self._rotate_bytes:
                self._rotate()
        except OSError as error:
            return 0, error
        whole, failure = self._file.append(data)
        return data.count(b"\n", 0, whole), failure

    def _rotate(self) -> None:
        path = self._file.path
        for number in range(ROTATED_KEPT, 0, -1):
            newer = path.with_name(f"{path.name}.{number - 1}") if number > 1 else path
            if newer.exists():
                newer.replace(path.with_name(f"{path.name}.{number}"))
        fresh = LineFile(path)
        self._file.close()
        self._file = fresh

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(self._interval_s)
            self._wake.clear()
            self.drain()
