"""Where the kernel keeps the cgroups of this process.

Each controller (memory, cpu, pids) belongs to one hierarchy: to the one of version 2, or to one of version 1 for itself
or with others. A machine may run both (hybrid): then version 2 is mounted, but a controller may be in version 1 all
the same. In a container the paths in `/proc/self/cgroup` are those of the host unless it has a namespace of its own,
and only the container's own part may be mounted.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from browsercrawl.pressure.kernel import read_text

_LEVELS_MAX = 32


@dataclass(frozen=True, slots=True)
class Place:
    """The cgroup of this process in one hierarchy.

    Attributes:
        version: of the hierarchy.
        mount: the folder where it, or the part of it that we see, is mounted.
        folders: of our own cgroup, its parent and so on; the last one is `mount`.
    """

    version: Literal[1, 2]
    mount: str
    folders: tuple[str, ...]

    def words(self, folder: str) -> str:
        """Say which of the folders that is: `cgroup v2 /a/b`."""
        return f"cgroup v{self.version} {folder.removeprefix(self.mount) or '/'}"


class _Mount(NamedTuple):
    version: Literal[1, 2]
    controllers: frozenset[str]
    top: str
    folder: str


class Cgroups:
    """The hierarchies that this process is in, as they were when this was made; its limits are not remembered.

    Args:
        root: where `proc` and `sys` are found.
    """

    def __init__(self, root: Path) -> None:
        base = str(root).rstrip("/")
        self._paths: dict[str, str] = {}
        """Of this process, by controller; that in version 2 under the empty name."""
        for line in read_text(f"{base}/proc/self/cgroup").splitlines():
            number, _, rest = line.partition(":")
            controllers, colon, path = rest.partition(":")
            if colon and path.startswith("/") and (controllers or number == "0"):
                self._paths |= dict.fromkeys(controllers.split(","), path)
        mounts = map(_mount, read_text(f"{base}/proc/self/mountinfo").splitlines())
        self._mounts = [each._replace(folder=base + each.folder) for each in mounts if each]

    def place(self, controller: str) -> Place | None:
        """Return where a controller has us; None if it is not there, or its hierarchy is not mounted."""
        if controller in self._paths:
            return self._place(1, controller)
        return self.unified()

    def unified(self) -> Place | None:
        """Return where version 2 has us, whichever controllers it has."""
        return self._place(2, "")

    def _place(self, version: Literal[1, 2], controller: str) -> Place | None:
        path = self._paths.get(controller)
        if path is None:
            return None
        fallback: Place | None = None
        for mount in self._mounts:
            if mount.version != version or not (version == 2 or controller in mount.controllers):
                continue
            folder = _below(mount, path)
            if folder is not None and os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises PermissionError
                return Place(version, mount.folder, _upwards(folder, mount.folder))
            # our own part is not to be seen here, but what contains it limits us too
            fallback = fallback or Place(version, mount.folder, (mount.folder,))
        return fallback


def _mount(line: str) -> _Mount | None:
    """Read a line of mountinfo; None if it is of no cgroup."""
    before, _, after = line.partition(" - ")
    words, kinds = before.split(" "), after.split(" ")
    if len(words) < 5 or len(kinds) < 3 or kinds[0] not in {"cgroup", "cgroup2"}:
        return None
    top, folder = (word.replace("\\040", " ").rstrip("/") for word in words[3:5])
    return _Mount(2 if kinds[0] == "cgroup2" else 1, frozenset(kinds[-1].split(",")), top, folder)


def _below(mount: _Mount, path: str) -> str | None:
    """Place a cgroup's path below a mount; None if it is outside of what is mounted there."""
    if ".." in path.split("/") or not f"{path}/".startswith(f"{mount.top}/"):
        return None
    return f"{mount.folder}{path[len(mount.top) :]}".rstrip("/")


def _upwards(folder: str, mount: str) -> tuple[str, ...]:
    folders = [folder]
    while folders[-1] != mount and len(folders) < _LEVELS_MAX:
        folders.append(folders[-1].rpartition("/")[0])
    return tuple(folders)
