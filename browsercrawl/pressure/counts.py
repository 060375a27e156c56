"""How many files and processes there are, and how many there may be."""

import os
import resource
from pathlib import Path
from typing import NamedTuple

import psutil

from browsercrawl.pressure.cgroups import Cgroups
from browsercrawl.pressure.kernel import number, read_number, read_text


class Count(NamedTuple):
    """How many there are of something.

    Attributes:
        number: 0 if unknown.
        most: how many there may be; None: unlimited, or unknown.
        source: what says so.
    """

    number: int
    most: int | None
    source: str


class Counts:
    """Counts again and again, at places found once.

    Args:
        root: where `proc` and `sys` are found.
        cgroups: of this process.
    """

    def __init__(self, root: Path, *, cgroups: Cgroups) -> None:
        self._base = str(root).rstrip("/")
        self._place = cgroups.place("pids")

    def files(self) -> Count:
        """Count the open files of this process."""
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return Count(self._open_files(), None if soft == resource.RLIM_INFINITY else soft, "ulimit -n")

    def pids(self) -> Count:
        """Count processes and threads, at the level with the least room for more: a cgroup, or the machine."""
        folders = self._place.folders if self._place is not None else ()
        levels = [
            Count(read_number(f"{folder}/pids.current") or 0, most, f"{folder}/pids.max")
            for folder in folders
            if (most := read_number(f"{folder}/pids.max")) is not None
        ]
        kernel = f"{self._base}/proc/sys/kernel"
        _, _, tasks = read_text(f"{self._base}/proc/loadavg").partition("/")
        running = number(tasks.partition(" ")[0]) or 0
        levels += [
            Count(running, most, file)
            for file in (f"{kernel}/pid_max", f"{kernel}/threads-max")
            if (most := read_number(file)) is not None
        ]
        return min(levels, key=lambda level: (level.most or 0) - level.number, default=Count(running, None, ""))

    def _open_files(self) -> int:
        folder = f"{self._base}/proc/self/fd"
        try:
            # the kernel tells their number as the folder's size since 6.2; to list them takes a microsecond for each
            return os.stat(folder).st_size or len(os.listdir(folder)) - 1  # noqa: PTH116, PTH208 - the cheapest
        except OSError:
            pass
        try:
            return psutil.Process().num_fds()
        except (psutil.Error, OSError, AttributeError):
            return 0
