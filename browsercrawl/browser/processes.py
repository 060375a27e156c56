"""The operating system's side of a browser: its processes, their end, and the size of its renderers."""

import asyncio
import os
import select
import signal
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import psutil
from playwright.async_api import CDPSession

from browsercrawl.browser.calls import Calls

_POLL_S = 0.25
_FRESH_S = 1.0
_CPU_SLACK_S = 0.03
"""Chromium and the kernel round CPU times to 10 ms."""


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
    """Kill a process, and its whole group if it leads one. Nothing happens if it is gone."""
    try:
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


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


@dataclass(frozen=True, slots=True)
class Renderer:
    """One renderer process: memory of its own in bytes, CPU time used so far in seconds."""

    pid: int
    own_bytes: int
    cpu_s: float


class Renderers:
    """The renderer processes of one browser, looked at no more than once a second unless asked to."""

    def __init__(self, session: CDPSession, calls: Calls) -> None:
        self._session = session
        self._calls = calls
        self._seen: tuple[Renderer, ...] = ()
        self._seen_at = -_FRESH_S

    async def larger_than(self, size_bytes: int, *, now: bool, limit_s: float) -> tuple[Renderer, ...]:
        """Return the renderers that hold more than `size_bytes` of their own.

        Args:
            size_bytes: private and anonymous memory.
            now: do not be content with a look of less than a second ago.
            limit_s: seconds.

        Raises:
            TimeoutError, playwright.async_api.Error: the browser did not answer.
        """
        if now or time.monotonic() - self._seen_at >= _FRESH_S:
            # Set first, so that pages coming back at the same time do not all look.
            self._seen_at = time.monotonic()
            self._seen = await self._look(limit_s=limit_s)
        return tuple(renderer for renderer in self._seen if renderer.own_bytes > size_bytes)

    async def may_be(
        self, suspects: Iterable[Renderer], cpu_s: Callable[[], Awaitable[float]], *, limit_s: float
    ) -> bool:
        """Tell whether a page lives in one of the suspects, as far as its renderer's CPU time can tell.

        There is no way to ask for a page's process. Its CPU time lies between those read just before and just after;
        that two processes agree to 30 ms is possible, then the answer is yes.

        Args:
            suspects: as given by `larger_than`.
            cpu_s: reads the CPU time of the page's renderer.
            limit_s: for each of the three reads.
        """
        pids = {renderer.pid for renderer in suspects}
        before = {renderer.pid: renderer.cpu_s for renderer in await self._look(limit_s=limit_s)}
        used_s = await cpu_s()
        after = {renderer.pid: renderer.cpu_s for renderer in await self._look(limit_s=limit_s)}
        return any(
            before[pid] - _CPU_SLACK_S <= used_s <= after[pid] + _CPU_SLACK_S
            for pid in pids & before.keys() & after.keys()
        )

    async def _look(self, *, limit_s: float) -> tuple[Renderer, ...]:
        answer = await self._calls.run(self._session.send("SystemInfo.getProcessInfo"), limit_s=limit_s)
        renderers = [process for process in answer["processInfo"] if process["type"] == "renderer"]
        return tuple(Renderer(p["id"], _own_bytes(p["id"]), p["cpuTime"]) for p in renderers)


def _own_bytes(pid: int) -> int:
    """Return the memory a process shares with no other; 0 if it is gone. Off Linux: what is resident."""
    try:
        memory = psutil.Process(pid).memory_info()
        return int(memory.rss - getattr(memory, "shared", 0))
    except psutil.Error:
        return 0
