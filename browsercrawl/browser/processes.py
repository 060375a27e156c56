"""The operating system's side of a browser: its processes and their end."""

import asyncio
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

import psutil

_POLL_S = 0.25
_FILES_MAX = 10_240 if sys.platform == "darwin" else 65_536
"""Open files: more than any crawl needs; what macOS grants, and no burden for programs that go through all numbers."""


def raise_file_limit() -> None:
    """Raise this process's limit of open files, and so that of its children, as far as it may. Never lowers it."""
    with suppress(OSError, ValueError):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, _FILES_MAX)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def children_of(pid: int) -> list[psutil.Process]:
    """Return all living descendants of a process; none if it is gone."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def is_alive(pid: int) -> bool:
    """Tell whether a process runs (or is stopped); a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def kill_group(pid: int) -> None:
    """Kill a process, and its whole group if it leads one that is not ours. Nothing happens if it is gone."""
    try:
        if os.getpgid(pid) == pid != os.getpgrp():
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


class Group:
    """The process group of a browser.

    The launcher script that often leads it may be gone before the browser is, and the browser before its children: a
    stopped renderer does not notice. As long as any of them is there the kernel gives the group's number to no other.

    Args:
        number: of the group.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._leader: psutil.Process | None = None
        with suppress(psutil.Error):
            self._leader = psutil.Process(number)

    @classmethod
    def of(cls, pid: int, *, starter: int | None) -> "Group | None":
        """Return the group of a process that was started into one of its own.

        Args:
            pid: of the process.
            starter: the process that started it; in its group, and in ours, are others that must live.
        """
        try:
            number = os.getpgid(pid)
            ours = {os.getpgrp()} if starter is None else {os.getpgrp(), os.getpgid(starter)}
        except ProcessLookupError:
            return None
        return None if number in ours else cls(number)

    def members(self) -> list[psutil.Process]:
        """Return the processes of the group, zombies too."""
        if self._is_anothers():
            return []
        members = []
        for pid in psutil.pids():
            with suppress(ProcessLookupError, psutil.Error):
                if os.getpgid(pid) == self.number:
                    members.append(psutil.Process(pid))
        return members

    def kill(self) -> None:
        """Kill all of it, stopped processes too; nothing happens if it is gone."""
        if not self._is_anothers():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.number, signal.SIGKILL)

    def _is_anothers(self) -> bool:
        """Tell whether the number was given away again, which takes a new leader."""
        is_led = psutil.pid_exists(self.number)
        return is_led and (self._leader is None or not self._leader.is_running())


async def reap(processes: Iterable[psutil.Process], *, starter: int | None, limit_s: float) -> None:
    """Collect those killed processes that are left to us, as happens to process 1 of a container. Nobody else does.

    Args:
        processes: were killed; asyncio knows nothing of them.
        starter: the process that started them, dead or dying too; asyncio collects it.
        limit_s: seconds.
    """
    dying = list(processes)
    parents = {os.getpid(), starter, *(each.pid for each in dying)}
    deadline = time.monotonic() + limit_s
    # A zombie whose threads still end can neither be collected nor leaves its children to us yet.
    while dying := [each for each in dying if _is_to_collect(each, parents)]:
        if time.monotonic() >= deadline:
            return
        await asyncio.sleep(0.01)


def _is_to_collect(process: psutil.Process, parents: set[int | None]) -> bool:
    """Collect a process if that is possible now. Returns whether it is still to come."""
    try:
        # its identity is checked first: the number may be that of a child of the user's by now
        if not process.is_running() or process.ppid() not in parents:
            return False
        if process.ppid() == os.getpid() and process.status() == psutil.STATUS_ZOMBIE:
            return os.waitpid(process.pid, os.WNOHANG) == (0, 0)
    except (psutil.Error, ChildProcessError):
        return False
    return True


async def wait_gone(processes: Iterable[psutil.Process], *, limit_s: float) -> bool:
    """Wait until processes are gone (a zombie that nobody reaps counts as gone). Returns whether all are."""
    watched = list(processes)
    deadline = time.monotonic() + limit_s
    while any(_is_running(process) for process in watched):
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(0.01)
    return True


def _is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


class ExitWatch:
    """Calls back when a process, not necessarily a child, ends. Owns what it needs for it until `release`."""

    def __init__(self, pid: int, on_exit: Callable[[], None]) -> None:
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self._pidfd: int | None = None
        self._poll: asyncio.Task[None] | None = None
        try:
            self._pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            self._loop.call_soon(on_exit)
        except (AttributeError, OSError):  # not Linux, or a kernel before 5.3
            self._poll = asyncio.create_task(self._wait(pid))
        else:
            self._loop.add_reader(self._pidfd, self._fire)

    def look(self) -> None:
        """Call back now if the process has ended and the loop has not come to say so; a few microseconds."""
        if self._pidfd is not None:
            end = select.poll()
            end.register(self._pidfd, select.POLLIN)
            if end.poll(0):
                self._fire()

    def _fire(self) -> None:
        self.release()
        self._on_exit()

    async def _wait(self, pid: int) -> None:
        while is_alive(pid):  # noqa: ASYNC110 - same
            await asyncio.sleep(_POLL_S)
        self._on_exit()

    def release(self) -> None:
        """Stop watching; may be called again."""
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None
        if self._poll is not None:
            self._poll.cancel()
