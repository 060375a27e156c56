"""Playwright's driver: a Node process of its own for each browser, in an environment that we prepare.

Playwright hands the driver a copy of `os.environ`, taken a few turns of the event loop after `start()`, and offers no
way to pass another. So the environment is exchanged for just these turns, under a lock for the whole process; that it
worked is checked on the child itself, which is also how the child is told from others.
"""

import asyncio
import os
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress

import psutil
from playwright.async_api import Playwright, async_playwright

from browsercrawl.browser.calls import Calls, summary
from browsercrawl.browser.guardian import Guardian
from browsercrawl.browser.leftovers import Folder, processes_of, sweep
from browsercrawl.browser.processes import Group, children_of, kill_group, reap, wait_gone
from browsercrawl.errors import LaunchFailed

_EXCHANGING = threading.Lock()
"""Guards `os.environ` while a driver takes its copy; held for a few turns of one event loop."""

_TURNS = 4
_GONE_LIMIT_S = 5.0
_LEAKS = ("DEBUG", "PWDEBUG", "NODE_OPTIONS", "SELENIUM_", "PLAYWRIGHT_")
_KEPT = frozenset({"PLAYWRIGHT_BROWSERS_PATH", "PLAYWRIGHT_NODEJS_PATH"})


class Driver:
    """A driver process, its private temporary folder, the browser it starts, and who sees to them if we die: one end.

    Attributes:
        calls: all calls through this driver.
        folder: path of the temporary folder of driver and browser.
        downloads: where in it the browser puts what it downloads; made by Playwright.
        playwright: the API object, once started.
        browser_pid: of the browser, once known.

    Raises:
        LaunchFailed: there is no room for a temporary folder.
    """

    def __init__(self) -> None:
        self.calls = Calls()
        try:
            self._folder = Folder()
        except OSError as error:
            reason = error.strerror or error
            raise LaunchFailed(f"no temporary folder can be made: {reason}; make room, or set TMPDIR") from error
        self.folder = self._folder.path
        self.downloads = self.folder / "downloads"
        self._guardian = Guardian(self.folder)
        self._process: psutil.Process | None = None  # by which the driver is told from who gets its number later
        self._group: Group | None = None
        self.playwright: Playwright | None = None
        self._starting: asyncio.Task[Playwright] | None = None
        self.browser_pid: int | None = None

    @property
    def pid(self) -> int | None:
        """Of the driver, once started."""
        return None if self._process is None else self._process.pid

    async def start(self, *, limit_s: float) -> Playwright:
        """Start the driver, and before it remove what others have left.

        Raises:
            LaunchFailed: it does not start, or not in the environment meant for it.
            TimeoutError: not within `limit_s`.
        """
        await sweep(self._folder)
        starting = await self._start_in_environment()
        try:
            # Shielded: cut short, Playwright would leave its process half made. `kill` waits for it, then ends it.
            self.playwright = await self.calls.run(asyncio.shield(starting), limit_s=limit_s)
        except TimeoutError:
            raise
        except Exception as error:  # Playwright raises the base class itself when the driver ends at once
            raise LaunchFailed(f"Playwright's driver does not start: {summary(error)}; reinstall playwright") from error
        self._process = self._find()
        if self._process is None:
            raise LaunchFailed("Playwright's driver did not take the environment made for it")
        self._guardian.tell("driver", self._process.pid)
        return self.playwright

    def adopt(self, browser_pid: int) -> None:
        """The driver has started a browser: it ends with it."""
        self.browser_pid = browser_pid
        self._group = Group.of(browser_pid, starter=self.pid)
        if self._group is not None:
            self._guardian.tell("group", self._group.number)

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

    def _find(self) -> psutil.Process | None:
        """Find the driver among this process's children, by the folder in its environment."""
        for child in psutil.Process().children():
            try:
                if child.environ().get("TMPDIR") == str(self.folder):
                    return child
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

        Works when either is dead, stopped or half started; may be called again.
        """
        if self.playwright is None and self._starting is not None:
            await asyncio.wait({self._starting}, timeout=_GONE_LIMIT_S)
            if not self._starting.done():
                self.calls.abandon(self._starting)
            elif self._starting.exception() is None:
                self.playwright = self._starting.result()
        self._process = self._process or self._find()
        family = self._family()
        # Told first that the end is meant, Playwright does not report the driver's death as an unexpected one.
        stopping = asyncio.ensure_future(self.stop(limit_s=_GONE_LIMIT_S))
        await asyncio.sleep(0)
        if self._group is not None:
            self._group.kill()
            family += self._group.members()  # only now: what is killed starts nothing more
        driver = [] if self._process is None else [self._process]
        for process in [*family, *driver]:
            if process.is_running():
                kill_group(process.pid)
        gone = await wait_gone([*family, *driver], limit_s=_GONE_LIMIT_S)
        await stopping
        await reap(family, starter=self.pid, limit_s=_GONE_LIMIT_S)
        await self.calls.drain(limit_s=_GONE_LIMIT_S)
        removed = await self._folder.remove()
        await self._guardian.dismiss()
        return removed and gone

    def _family(self) -> list[psutil.Process]:
        """Stop the driver and return what it has started, as far as that can be told without the browser's group."""
        family: list[psutil.Process] = []
        with suppress(psutil.Error):
            if self._process is not None:
                self._process.suspend()  # or it could start a browser behind our back
                family += children_of(self._process.pid)
        if self._group is None:  # a launch that was cut short
            family += [each for each in processes_of([self.folder]) if each.pid != self.pid]
        return family


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
