"""How much memory this process and its browsers use, and how much they may.

What binds is the level with the least room left: the cgroup itself, one of its parents (whose other children count
against it too), or the machine. Used memory is the working set, as Kubernetes has it: usage without the file cache that
the kernel gives back at need (`inactive_file`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import psutil


@dataclass(frozen=True, slots=True)
class MemoryReading:
    """One look at memory.

    Attributes:
        used_bytes: working set of the level that binds.
        limit_bytes: its limit; 0 when nothing could be read.
        source: what kind of level that is.
    """

    used_bytes: int
    limit_bytes: int
    source: Literal["cgroup2", "cgroup1", "host", "unknown"]

    @property
    def share(self) -> float:
        """Used part of the limit; 0.0 when unknown."""
        return self.used_bytes / self.limit_bytes if self.limit_bytes else 0.0


class _Files(NamedTuple):
    source: Literal["cgroup2", "cgroup1"]
    limit: str
    usage: str
    cache: str


_V2 = _Files("cgroup2", "memory.max", "memory.current", "inactive_file ")
_V1 = _Files("cgroup1", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ")
_LEVELS_MAX = 32


def read_memory(root: Path = Path("/")) -> MemoryReading:
    """Read memory now: the level with the least room left. Never raises; takes some 150 microseconds.

    Args:
        root: where `proc` and `sys` are found.
    """
    host = _host()
    total = host.limit_bytes if host else 0
    try:
        levels = _cgroup_levels(root, total)
    except (OSError, ValueError):
        levels = []
    readings = [*levels, *([host] if host else [])]
    return min(readings, key=lambda reading: reading.limit_bytes - reading.used_bytes, default=_UNKNOWN)


_UNKNOWN = MemoryReading(0, 0, "unknown")


def _host() -> MemoryReading | None:
    try:
        memory = psutil.virtual_memory()
    except (psutil.Error, OSError, ValueError, RuntimeError):
        return None
    return MemoryReading(memory.total - memory.available, memory.total, "host")


def _cgroup_levels(root: Path, total: int) -> list[MemoryReading]:
    """Read each limited level, from this process's cgroup up to where its hierarchy is mounted."""
    place = _place(root)
    if place is None:
        return []
    files, mount, folder = place
    readings: list[MemoryReading] = []
    for _ in range(_LEVELS_MAX):
        reading = _level(folder, files=files, total=total)
        if reading:
            readings.append(reading)
        if folder == mount:
            break
        folder = folder.rpartition("/")[0]
    return readings


def _level(folder: str, *, files: _Files, total: int) -> MemoryReading | None:
    try:
        limit = int(_text(f"{folder}/{files.limit}"))
        if total and limit >= total:  # v1 writes "no limit" as a huge number
            return None
        used = int(_text(f"{folder}/{files.usage}"))
        _, _, cache = _text(f"{folder}/memory.stat").partition(f"\n{files.cache}")
        return MemoryReading(max(0, used - int(cache.partition("\n")[0] or 0)), limit, files.source)
    except (OSError, ValueError):  # "max", the root of the hierarchy, or a level we may not read
        return None


def _place(root: Path) -> tuple[_Files, str, str] | None:
    """Find the files of the memory controller, its mount point, and this process's folder below it.

    A machine may run both versions at once (hybrid): then version 2 is mounted but memory may belong to version 1.
    """
    v1: str | None = None
    v2: str | None = None
    for line in _text(f"{root}/proc/self/cgroup").splitlines():
        number, controllers, folder = line.split(":", 2)
        if "memory" in controllers.split(","):
            v1 = folder
        elif number == "0" and not controllers:
            v2 = folder
    files, path = (_V1, v1) if v1 is not None else (_V2, v2)
    if path is None:
        return None
    for line in _text(f"{root}/proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup2" if files is _V2 else kind == "cgroup" and "memory" in options.split(" ")[-1].split(","):
            top, mounted_at = before.split(" ")[3:5]
            mount = f"{root}{mounted_at}".replace("//", "/").rstrip("/")
            return files, mount, _folder(mount, top=top, path=path)
    return None


def _folder(mount: str, *, top: str, path: str) -> str:
    """Place a cgroup path below its mount; in a container only the container's own part may be mounted there."""
    inside = path.removeprefix(top.rstrip("/")).strip("/")
    folder = f"{mount}/{inside}" if inside and ".." not in inside.split("/") else mount
    return folder if Path(folder).is_dir() else mount


def _text(path: str) -> str:
    return Path(path).read_text(encoding="ascii", errors="replace")
