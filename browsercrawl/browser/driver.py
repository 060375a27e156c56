"""Playwright's driver: a Node process of its own for each browser, in an environment that we prepare.

Playwright hands the driver a copy of `os.environ`, taken a few turns of the event loop after `start()`, and offers no
way to pass another. So the environment is exchanged for just these turns, under a lock for the whole process; that it
worked is checked on the child itself, which is also how the child is told from others.
"""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

import psutil
from playwright.async_api import Playwright, async_playwright

from browsercrawl.browser.calls import Calls, summary
from browsercrawl.browser.processes import children_of, is_alive, kill_group, wait_gone
from browsercrawl.errors import LaunchFailed

_EXCHANGING = threading.Lock()
"""Guards `os.environ` while a driver takes its copy; held for a few turns of one event loop."""

_TURNS = 4
_GONE_LIMIT_S = 5.0
_REMOVALS_MAX = 40
_REMOVAL_PAUSE_S = 0.05
_LEAKS = ("DEBUG", "PWDEBUG", "NODE_OPTIONS", "SELENIUM_", "PLAYWRIGHT_")
_KEPT = frozenset({"PLAYWRIGHT_BROWSERS_PATH", "PLAYWRIGHT_NODEJS_PATH"})


class Driver:
    """A driver process, its private temporary folder, and the browser it starts: one owner, one end.

    Attributes:
        calls: all calls through this driver.
        folder: the temporary folder of driver and browser.
        playwright: the API object, once started.
        pid: of the driver, once started.
        browser_pid: of the browser, once known.
    """

    def __init__(self) -> None:
        self.calls = Calls()
        self.folder = Path(tempfile.mkdtemp(prefix="browsercrawl-"))
        self.playwright: Playwright | None = None
        self._starting: asyncio.Task[Playwright] | None = None
        self.pid: int | None = None
        self.browser_pid: int | None = None

    async def start(self, *, limit_s: float) -> Playwright:
        """Start the driver.

        Raises:
            LaunchFailed: it does not start, or not in the environment meant for it.
            TimeoutError: not within `limit_s`.
        """
        starting = await self._start_in_environment()
        try:
            # Shielded: cut short, Playwright would leave its process half made. `kill` waits for it, then ends it.
            self.playwright = await self.calls.run(asyncio.shield(starting), limit_s=limit_s)
        except TimeoutError:
            raise
        except Exception as error:  # Playwright raises the base class itself when the driver ends at once
            raise LaunchFailed(f"Playwright's driver does not start: {summary(error)}; reinstall playwright") from error
        self.pid = self._find()
        if self.pid is None:
            raise LaunchFailed("Playwright's driver did not take the environment made for it")
        return self.playwright

    def _environment(self) -> dict[str, str | None]:
        """Return what to change for the driver; None removes a variable."""
        changes: dict[str, str | None] = {
            name: None for name in os.environ if name.startswith(_LEAKS) and name not in _KEPT
        }
        return changes | {
            "TMPDIR": str(self.folder),
            "PLAYWRIGHT_DISABLE_SERVICE_WORKER_NETWORK": "1",
            "PLAYWRIGHT_DISABLE_SERVICE_WORKER_CONSOLE": "1",
        }

    async def _start_in_environment(self) -> "asyncio.Task[Playwright]":
        while not _EXCHANGING.acquire(blocking=False):  # noqa: ASYNC110 - another thread's loop may hold it: never block this one
            await asyncio.sleep(0.002)
        changes = self._environment()
        before = {name: os.environ.get(name) for name in changes}
        try:
            _apply(changes)
            self._starting = asyncio.ensure_future(async_playwright().start())
            for _ in range(_TURNS):
                await asyncio.sleep(0)
        finally:
            _apply(before)
            _EXCHANGING.release()
        return self._starting

    def _find(self) -> int | None:
        """Find the driver among this process's children, by the folder in its environment."""
        for child in psutil.Process().children():
            try:
                if child.environ().get("TMPDIR") == str(self.folder):
                    return int(child.pid)
            except psutil.Error:
                continue
        return None

    async def stop(self, *, limit_s: float) -> bool:
        """Let the driver end by itself. Returns whether it did."""
        if self.playwright is None:
            return False
        return await self.calls.settled(self.playwright.stop(), limit_s=limit_s)

    async def kill(self) -> bool:
        """Kill browser and driver with all their processes and remove the folder. Returns whether all is gone.

        Works when either is stopped or half started; may be called again.
        """
        if self.playwright is None and self._starting is not None:
            await asyncio.wait({self._starting}, timeout=_GONE_LIMIT_S)
            if not self._starting.done():
                self.calls.abandon(self._starting)
            elif self._starting.exception() is None:
                self.playwright = self._starting.result()
        self.pid = self.pid or self._find()
        doomed: list[psutil.Process] = []
        browsers = set() if self.browser_pid is None else {self.browser_pid}
        if self.pid is not None and is_alive(self.pid):
            os.kill(self.pid, signal.SIGSTOP)  # or it could start a browser behind our back
            doomed += [psutil.Process(self.pid), *children_of(self.pid)]
            # A browser leads a group of its own; one whose launch was cut short is known only as a child.
            browsers |= {process.pid for process in doomed[1:] if _leads_group(process.pid)}
        for pid in browsers:
            doomed += children_of(pid)
        # Told first that the end is meant, Playwright does not report the driver's death as an unexpected one.
        stopping = asyncio.ensure_future(self.stop(limit_s=_GONE_LIMIT_S))
        await asyncio.sleep(0)
        for pid in browsers:
            kill_group(pid)
        if self.pid is not None and is_alive(self.pid):
            kill_group(self.pid)
        for process in doomed:
            if process.is_running():
                kill_group(process.pid)
        gone = await wait_gone(doomed, limit_s=_GONE_LIMIT_S)
        await stopping
        await self.calls.drain(limit_s=_GONE_LIMIT_S)
        return await self._remove_folder() and gone

    async def _remove_folder(self) -> bool:
        for _ in range(_REMOVALS_MAX):  # a process that was not ours to wait for may still write its last
            shutil.rmtree(self.folder, ignore_errors=True)
            if not self.folder.exists():
                return True
            await asyncio.sleep(_REMOVAL_PAUSE_S)
        return False


def _leads_group(pid: int) -> bool:
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:
        return False


def _apply(changes: Mapping[str, str | None]) -> None:
    for name, value in changes.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def refuse_unsupported() -> None:
    """Refuse platforms and Python versions that are known not to work.

    Raises:
        LaunchFailed: with the reason.
    """
    if sys.platform == "win32":
        raise LaunchFailed("Windows is not supported yet: process groups and signals work differently; use WSL")
    if (3, 14, 0) <= sys.version_info[:3] <= (3, 14, 6):
        version = ".".join(map(str, sys.version_info[:3]))
        raise LaunchFailed(
            f"Python {version} leaks a task with every call into the browser (fixed in 3.14.7); use another version"
        )
