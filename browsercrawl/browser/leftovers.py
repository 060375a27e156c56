"""The temporary folder of a driver: locked while its owner lives, a leftover afterwards.

The kernel drops the lock with its owner, whatever the kind of death, and in a container as well as outside; nobody has
to judge by a process number. It is the folder itself that is locked: systemd-tmpfiles spares such a folder too,
however old it is (https://systemd.io/TEMPORARY_DIRECTORIES).
"""

import asyncio
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Collection, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

import psutil

from browsercrawl.browser.processes import kill_group, wait_gone

PREFIX = "browsercrawl-driver-"

_REMOVALS_MAX = 40
_REMOVAL_PAUSE_S = 0.05
_ENTRIES_MAX = 10_000
_LEFTOVERS_MAX = 20
_MAKING_S = 60.0
"""An empty folder younger than this may be one that its owner has not locked yet."""
_GONE_LIMIT_S = 2.0


class Folder:
    """A temporary folder with its lock: one owner, one end.

    Attributes:
        path: of the folder; nobody but the owner may look into it.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        try:
            self._lock: int | None = _open(self.path)
        except OSError:
            self.path.rmdir()
            raise
        with suppress(OSError):  # a file system without locks: then no sweep can have it either
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    async def remove(self) -> bool:
        """Remove it with all it holds, and give up the lock. Returns whether it is gone; may be called again."""
        for _ in range(_REMOVALS_MAX):  # a process that was not ours to wait for may still write its last
            shutil.rmtree(self.path, ignore_errors=True)
            if not self.path.exists():
                break
            await asyncio.sleep(_REMOVAL_PAUSE_S)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        return not self.path.exists()


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


async def sweep(own: Folder) -> None:
    """Remove what killed processes of this user have left beside our folder, and kill what still works in it.

    Never raises, and leaves alone what has a living owner, what is another user's, and what only has a similar name.
    At most 20 folders are removed at a time; the next start goes on.
    """
    locks: dict[Path, int] = {}
    try:
        for path in _candidates(own.path):
            lock = _take(path)
            if lock is not None:
                locks[path] = lock
            if len(locks) == _LEFTOVERS_MAX:
                break
        if not locks:
            return
        doomed = processes_of(locks)
        for process in doomed:
            kill_group(process.pid)
        await wait_gone(doomed, limit_s=_GONE_LIMIT_S)
        for path in locks:
            shutil.rmtree(path, ignore_errors=True)
            await asyncio.sleep(0)  # others have their turn
    finally:
        for lock in locks.values():
            os.close(lock)


def processes_of(folders: Collection[Path]) -> list[psutil.Process]:
    """Return the processes of this user that have one of these folders as their TMPDIR or as value of an option."""
    texts = {str(folder) for folder in folders}
    found = []
    for process in psutil.process_iter():
        try:
            # of root too: another user's processes may name what they like
            is_ours = process.uids().real == os.getuid() and process.pid != os.getpid()
            if is_ours and (process.environ().get("TMPDIR") in texts or _options(process) & texts):
                found.append(process)
        except (psutil.Error, OSError):  # gone, or a zombie
            continue
    return found


def _options(process: psutil.Process) -> set[str]:
    """Return the folders of a driver that a command line has as an option's value, or in it; not `less FOLDER/FILE`."""
    return {
        f"{before}{PREFIX}{after.partition(os.sep)[0]}"
        for word in process.cmdline()
        if word.startswith("--")
        for before, named, after in [word.partition("=")[2].partition(PREFIX)]
        if named
    }


def _candidates(own: Path) -> Iterator[Path]:
    """Yield the folders of this user with a driver's name, but ours and those that may just be in the making."""
    try:
        made_s = own.stat().st_mtime
        with os.scandir(own.parent) as entries:
            for entry in islice(entries, _ENTRIES_MAX):
                if entry.name.startswith(PREFIX) and entry.name != own.name and _is_leavable(entry, made_s):
                    yield Path(entry.path)
    except OSError:
        return


def _is_leavable(entry: "os.DirEntry[str]", now_s: float) -> bool:
    try:
        status = entry.stat(follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            return False
        return now_s - status.st_mtime > _MAKING_S or any(Path(entry.path).iterdir())
    except OSError:
        return False


def _take(path: Path) -> int | None:
    """Return the lock of a folder that nobody else holds."""
    try:
        lock = _open(path)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock
