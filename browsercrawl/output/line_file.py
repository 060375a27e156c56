"""A file of whole lines: what is appended stands there entirely or not at all, also when the disk is full."""

import os
import threading
from collections import deque
from pathlib import Path

FILE_MODE = 0o600

ROTATED_KEPT = 5
"""Older files kept beside a rotating one: `events.jsonl.1` to `.5`."""

_TAIL_BYTES = 65_536


class LineFile:
    """An append-only file of lines. Not thread-safe."""

    def __init__(self, path: Path) -> None:
        """Open the file, making it if need be.

        Raises:
            OSError: it cannot be opened.
        """
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, FILE_MODE)
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
                self.cut(self.size)
            return whole, error
        self.size += written
        return written, None

    def cut(self, size: int) -> None:
        """Forget what stands after so many bytes; when the system refuses now, before the next line is appended."""
        self.size = size
        try:
            os.ftruncate(self._fd, size)
        except OSError:
            self._torn = True

    def cut_torn_line(self) -> None:
        """Forget what stands after the last newline: a line that a killed process left unfinished.

        Raises:
            OSError: the file cannot be read.
        """
        end = self.size
        while end > 0:
            start = max(0, end - _TAIL_BYTES)
            newline = os.pread(self._fd, end - start, start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < self.size:
            self.cut(end)

    def ends_line(self, size: int) -> bool:
        """Tell whether a line ends after so many bytes; the beginning counts as an end.

        Raises:
            OSError: the file cannot be read.
        """
        return size == 0 or os.pread(self._fd, 1, size - 1) == b"\n"

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

    The thread wakes at a fixed interval, or when half of the room is used, and writes all waiting lines in one go.
    Lines that find no room or cannot be written are forgotten and counted. The thread ends with `close`; a process
    that ends without it does not wait for it.
    """

    def __init__(self, path: Path, *, interval_s: float, bytes_max: int, rotate_bytes: int | None = None) -> None:
        """Open the file and start the thread.

        Args:
            path: file to append to; a last line that is not whole is cut off.
            interval_s: lines are written at least this often.
            bytes_max: room for lines that are not written yet.
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
        self._rotate_bytes = rotate_bytes
        self._file = LineFile(path)
        self._file.cut_torn_line()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._closing = False
        self._count = threading.Lock()  # guards what waits and the counts
        self._writing = threading.Lock()  # guards the file: one drain at a time, so lines keep their order
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"browsercrawl-{path.name}", daemon=True)
        self._thread.start()

    def offer(self, line: bytes) -> bool:
        """Take a line (with its newline) to be written soon. Returns False when there is no room or after `close`."""
        with self._count:
            if self._closing or (self._waiting and self._waiting_bytes + len(line) > self._bytes_max):
                self.dropped += 1
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
                for _ in batch:
                    self._waiting_bytes -= len(self._waiting.popleft())
                self.dropped += len(batch) - written

    def close(self) -> None:
        """Write what waits, end the thread, close the file. Look at `error` afterwards. May be called again.

        Blocks as long as the disk does: call it from a thread.
        """
        with self._count:
            self._closing = True
        self._wake.set()
        self._thread.join()
        if not self._file.closed:
            self.drain()
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
