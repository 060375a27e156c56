"""The renderer processes of a browser: their size, and which of them a page lives in.

There is no way to ask Chromium for a page's process, and in its sandbox a renderer cannot tell its own CPU time. But it
knows that of its main thread since the page was opened, to the microsecond, also while a script of the page spins. A
few readings, each between two looks at the processes, leave one process whose main thread has used as much in between.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
from playwright.async_api import CDPSession

from browsercrawl.browser.calls import Calls

_FRESH_S = 1.0
_READINGS = 5
_PAUSE_MAX_S = 0.008
_LAG_S = 0.01
"""The kernel brings a running thread's time up to date with each tick: 4 or 10 ms."""


@dataclass(frozen=True, slots=True)
class Renderer:
    """One renderer process: its memory of its own, in bytes."""

    process: psutil.Process
    own_bytes: int


@dataclass(frozen=True, slots=True)
class _Used:
    """CPU seconds of a process and of its main thread."""

    process_s: float
    main_s: float


class Renderers:
    """The renderer processes of one browser, looked at no more than once a second unless asked to."""

    def __init__(self, session: CDPSession, calls: Calls) -> None:
        self._session = session
        self._calls = calls
        self._seen: tuple[Renderer, ...] = ()
        self._seen_at = -_FRESH_S
        self._measuring = asyncio.Lock()
        """Guards the renderers' rest, for a moment: two pages that are looked for at once cannot be told apart."""

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
            self._seen = tuple(Renderer(each, own_bytes(each)) for each in await self.listed(limit_s=limit_s))
        return tuple(renderer for renderer in self._seen if renderer.own_bytes > size_bytes)

    async def home(self, main_s: Callable[[], Awaitable[float]], *, limit_s: float) -> psutil.Process | None:
        """Return the process a page lives in; None: it cannot be told.

        Args:
            main_s: reads the CPU time of the main thread of the page's renderer.
            limit_s: for all of it, other pages that are being looked for included.

        Raises:
            TimeoutError, playwright.async_api.Error: the page or the browser did not answer.
        """
        async with asyncio.timeout(limit_s), self._measuring:
            processes = await self.listed(limit_s=limit_s)
            looks = [{process: _used(process) for process in processes}]
            readings: list[float] = []
            for _ in range(_READINGS):
                readings.append(await main_s())
                looks.append({process: _used(process) for process in processes})
                # At random: what else is done to renderers may come in a rhythm.
                await asyncio.sleep(random.uniform(0, _PAUSE_MAX_S))
        errors = {process: _error([look[process] for look in looks], readings) for process in processes}
        possible = {process: error for process, error in errors.items() if error is not None}
        return min(possible, key=possible.__getitem__, default=None)

    async def listed(self, *, limit_s: float) -> list[psutil.Process]:
        """Ask the browser for its renderers.

        Raises:
            TimeoutError, playwright.async_api.Error: the browser did not answer.
        """
        answer = await self._calls.run(self._session.send("SystemInfo.getProcessInfo"), limit_s=limit_s)
        processes = []
        for each in answer["processInfo"]:
            if each["type"] == "renderer":
                try:
                    processes.append(psutil.Process(each["id"]))
                except psutil.Error:
                    continue
        return processes


def _error(looks: list[_Used | None], readings: list[float]) -> float | None:
    """Return by how much a process's main thread missed what was read, in seconds; None: it cannot have been this one.

    Args:
        looks: before each reading, and after the last.
        readings: the CPU time of the page's main thread.
    """
    error = 0.0
    for number in range(1, len(readings)):
        before, last, now = looks[number - 1], looks[number], looks[number + 1]
        if before is None or last is None or now is None:
            return None
        used_s = readings[number] - readings[number - 1]
        if used_s > now.process_s - before.process_s:
            return None
        error += abs(now.main_s - last.main_s - used_s)
    return error if error <= _LAG_S * len(readings) else None


def _used(process: psutil.Process) -> _Used | None:
    """Look at the CPU time of a process; None if it is gone. Off Linux the main thread's is not known apart."""
    try:
        process_s = time.clock_gettime(~process.pid << 3 | 2)  # the kernel's name of that process's own clock
        main_s = int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[0]) / 1e9
    except (OSError, OverflowError):
        try:
            times = process.cpu_times()
        except psutil.Error:
            return None
        process_s = main_s = times.user + times.system
    return _Used(process_s, main_s)


def own_bytes(process: psutil.Process) -> int:
    """Return the memory a process shares with no other; 0 if it is gone. Off Linux: what is resident."""
    try:
        memory = process.memory_info()
        return int(memory.rss - getattr(memory, "shared", 0))
    except psutil.Error:
        return 0
