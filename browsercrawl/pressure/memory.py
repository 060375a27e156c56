"""How much memory this process and its browsers use, and how much they may.

What binds is the level with the least room left: the cgroup itself, one of its parents (whose other children count
against it too), the machine, or what the user allows. Used memory is the working set, as Kubernetes has it: usage
without the file cache that the kernel gives back at need (`inactive_file`).
"""

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from browsercrawl.pressure.cgroups import Cgroups, Place
from browsercrawl.pressure.kernel import field, number, read_number, read_text

_UNLIMITED_FROM = 1 << 60
"""Where the machine's memory is unknown. Version 1 writes "no limit" as a huge number."""
_PAGE_BYTES = 4096 if os.name == "nt" else os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class MemoryReading:
    """One look at memory.

    Attributes:
        used_bytes: working set of the level that binds.
        limit_bytes: its limit; 0 when nothing could be read.
        source: what kind of level that is: `cgroup v1 /a/b`, `host`, `setting`, `unknown`.
        files: what the limit and the usage were read from.
    """

    used_bytes: int
    limit_bytes: int
    source: str
    files: tuple[str, str] = ("", "")

    @property
    def room_bytes(self) -> int:
        """What may still be used; negative above the limit."""
        return self.limit_bytes - self.used_bytes

    @property
    def share(self) -> float:
        """Used part of the limit; 0.0 when unknown."""
        return self.used_bytes / self.limit_bytes if self.limit_bytes else 0.0


def read_memory(root: Path = Path("/")) -> MemoryReading:
    """Read memory now: the level with the least room left. Never raises; takes some 250 microseconds.

    Args:
        root: where `proc` and `sys` are found.
    """
    return Memory(root, cgroups=Cgroups(root)).read()


class Memory:
    """Looks at memory again and again, at places found once.

    Args:
        root: where `proc` and `sys` are found.
        cgroups: of this process.
        limit_bytes: what the user allows: memory taken after this was made, by anyone at the level of our own cgroup,
            counts against it; what others had before does not. None: what the machine has.
    """

    def __init__(self, root: Path, *, cgroups: Cgroups, limit_bytes: int | None = None) -> None:
        self._base = str(root).rstrip("/")
        self._place = cgroups.place("memory")
        self._limit_bytes = limit_bytes
        self._others_bytes: int | None = None

    def read(self) -> MemoryReading:
        """Return the level with the least room left; the outer one where two have the same. Never raises."""
        host = self._host()
        levels = [host] if host else []
        if self._place is not None:
            total = host.limit_bytes if host else _UNLIMITED_FROM
            found = (_limited(self._place, folder, total=total) for folder in reversed(self._place.folders))
            levels += filter(None, found)
        if self._limit_bytes is not None:
            levels.append(self._allowed(self._limit_bytes, host=host))
        return min(levels, key=lambda level: level.room_bytes, default=_UNKNOWN)

    def kills(self) -> int:
        """Return how many processes of our cgroup the kernel has killed for want of memory, whatever level wanted.

        Without a cgroup: how many of the machine; 0 if unknown. Version 1 does not count those of groups below ours.
        """
        killed = None
        if self._place is not None:
            name = "memory.events" if self._place.version == 2 else "memory.oom_control"
            killed = field(read_text(f"{self._place.folders[0]}/{name}"), "oom_kill")
        if killed is None:
            killed = field(read_text(f"{self._base}/proc/vmstat"), "oom_kill")
        return killed or 0

    def own_bytes(self) -> int:
        """Return the memory of this process that it shares with no other; 0 if unknown."""
        return private_bytes(f"{self._base}/proc/self", None)

    def _allowed(self, limit_bytes: int, *, host: MemoryReading | None) -> MemoryReading:
        """Measure what the user allows, at once and cheaply: what has come since the start is taken to be ours."""
        used = _used(self._place, self._place.folders[0]) if self._place else None
        now = used[0] if used else host.used_bytes if host else 0
        own = self.own_bytes()
        others = max(0, now - own)
        # others who give memory back leave room to us, others who take some cannot be told from our browsers
        self._others_bytes = others if self._others_bytes is None else min(self._others_bytes, others)
        files = ("memory_limit", used[1] if used else host.files[1] if host else "")
        return MemoryReading(max(own, now - self._others_bytes), limit_bytes, "setting", files)

    def _host(self) -> MemoryReading | None:
        file = f"{self._base}/proc/meminfo"
        text = read_text(file)
        total, available = field(text, "MemTotal:"), field(text, "MemAvailable:")
        if total and available is not None:
            return MemoryReading(max(0, total - available) * 1024, total * 1024, "host", (file, file))
        try:
            memory = psutil.virtual_memory()
        except (psutil.Error, OSError, ValueError, RuntimeError):
            return None
        used = memory.total - memory.available
        return MemoryReading(used, memory.total, "host", ("the operating system", "the operating system"))


_UNKNOWN = MemoryReading(0, 0, "unknown")


def private_bytes(folder: str, pid: int | None) -> int:
    """Return what a process has resident and shares with no other: an estimate that does not walk its memory.

    Args:
        folder: of the process, in `/proc`.
        pid: where there is no such folder; None: this process.
    """
    resident, shared = ([number(word) for word in read_text(f"{folder}/statm").split()[1:3]] + [None, None])[:2]
    if resident is not None and shared is not None:
        return max(0, resident - shared) * _PAGE_BYTES
    try:
        memory = psutil.Process(pid).memory_info()
    except (psutil.Error, OSError, ValueError):
        return 0
    return max(0, memory.rss - getattr(memory, "shared", 0))


def _limited(place: Place, folder: str, *, total: int) -> MemoryReading | None:
    """Read a level; None if it has no limit of its own, or may not be read.

    Above `memory.high` the kernel halts whoever asks for more: work there does not die, but it does not go on either.
    """
    names = ("memory.max", "memory.high") if place.version == 2 else ("memory.limit_in_bytes",)
    limits = [(limit, file) for name in names if (limit := read_number(file := f"{folder}/{name}"))]
    if place.version == 1 and folder == place.mount:  # what parents allow that are not to be seen here
        file = f"{folder}/memory.stat"
        limits += [(limit, file)] if (limit := field(read_text(file), "hierarchical_memory_limit")) else []
    limit, file = min(limits, default=(total, ""))
    used = _used(place, folder) if limit < total else None
    return MemoryReading(used[0], limit, place.words(folder), (file, used[1])) if used else None


def _used(place: Place, folder: str) -> tuple[int, str] | None:
    """Return the working set of a cgroup and the file it is from; None if there is none, as for the root of v2."""
    usage, cache = "memory.current", "inactive_file"
    if place.version == 1:
        usage, cache = "memory.usage_in_bytes", "total_inactive_file"
    file = f"{folder}/{usage}"
    used = read_number(file)
    if used is None:
        return None
    return max(0, used - (field(read_text(f"{folder}/memory.stat"), cache) or 0)), file
