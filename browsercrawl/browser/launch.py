"""Starting a browser, knowing when it is lost, and ending it."""

import asyncio
import os
import re
import sys
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from playwright.async_api import Browser, CDPSession
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import TimeoutError as PlaywrightTimeout

from browsercrawl.browser.audit import Auditor
from browsercrawl.browser.blocking import Blocking
from browsercrawl.browser.calls import Calls, Link, is_closed_error, summary, translate
from browsercrawl.browser.context import PlaywrightContext
from browsercrawl.browser.discovery import BrowserBinary, find_browser
from browsercrawl.browser.download_limit import DownloadLimit
from browsercrawl.browser.driver import Driver, refuse_unsupported
from browsercrawl.browser.force import Kills
from browsercrawl.browser.pdf_files import PdfFiles
from browsercrawl.browser.processes import ExitWatch, raise_file_limit
from browsercrawl.browser.renderers import Renderers
from browsercrawl.browser.switches import CommandLine, command_line
from browsercrawl.config import BrowserConfig
from browsercrawl.errors import BrowserCrashed, BrowsercrawlError, ConfigError, LaunchFailed
from browsercrawl.events import Emit, SandboxUnavailable
from browsercrawl.ports import Audit, BrowserFacts, BrowserPort, ContextOptions, LaunchBrowser

_CLOSED = "closed"
_OWNED_OPTIONS = frozenset(
    {
        "artifacts_dir",
        "channel",
        "chromium_sandbox",
        "downloads_path",
        "env",
        "executable_path",
        "handle_sighup",
        "handle_sigint",
        "handle_sigterm",
        "headless",
        "proxy",
        "timeout",
        "traces_dir",
    }
)
_EXIT_CODE = re.compile(r"exitCode=\w+, signal=\w+")


class PlaywrightBrowser:
    """A browser process with a driver of its own; see `ports.BrowserPort`."""

    def __init__(self, driver: Driver, raw: Browser, *, config: BrowserConfig, facts: BrowserFacts) -> None:
        self._driver = driver
        self._raw = raw
        self._config = config
        self._facts = facts
        self._lost: str | None = None
        self._lost_event = asyncio.Event()
        self._ending: asyncio.Task[bool] | None = None
        self._contexts: set[PlaywrightContext] = set()
        self._blocking: Blocking | None = None
        self._pdf_files: PdfFiles | None = None
        self._opening = 0
        self._link: Link | None = None
        self._downloads: DownloadLimit | None = None
        self._auditor: Auditor | None = None
        self._user_agent = config.user_agent
        raw.on("disconnected", self._on_disconnected)
        self._watches = [
            ExitWatch(pid, partial(self._set_lost, f"the {who} process died"))
            for who, pid in (("browser", driver.browser_pid), ("driver", driver.pid))
            if pid is not None
        ]

    async def prepare(self, session: CDPSession, *, limit_s: float) -> None:
        """Finish the launch: what needs the browser-level CDP session."""
        calls = self._driver.calls
        renderers = Renderers(session, calls)
        per_site = self._config.process_per_site
        self._downloads = DownloadLimit(session, calls, folder=self._driver.downloads)
        self._link = Link(
            calls, self._gone, renderers, kills=Kills(), process_per_site=per_site, downloads=self._downloads
        )
        self._auditor = Auditor(session, self._link, driver_pid=self._driver.pid)
        if self._config.contact is not None and self._user_agent is None:
            version = await calls.run(session.send("Browser.getVersion"), limit_s=limit_s)
            self._user_agent = f"{version['userAgent']} {self._config.identification}"
        self._blocking = Blocking(session, calls, config=self._config)
        await self._blocking.start(limit_s=limit_s)

    async def hide_viewer(self, *, limit_s: float) -> None:
        """Finish the launch of a browser with a viewer for PDFs: they are files here."""
        session = await self._driver.calls.run(self._raw.new_browser_cdp_session(), limit_s=limit_s)
        self._pdf_files = PdfFiles(session, self._driver.calls)
        await self._pdf_files.start(limit_s=limit_s)

    @property
    def facts(self) -> BrowserFacts:
        """What was launched."""
        return self._facts

    @property
    def lost(self) -> str | None:
        """Why the browser or its driver is gone; None while it lives."""
        return self._lost

    async def wait_lost(self) -> str:
        """Return when the browser or its driver is gone, with the reason."""
        await self._lost_event.wait()
        return self._lost or _CLOSED

    def _on_disconnected(self, _: Browser) -> None:
        self._set_lost("the browser disconnected")

    def _set_lost(self, reason: str) -> None:
        if self._lost is None:
            self._lost = reason
            self._lost_event.set()
            for context in self._contexts:
                context.wake()

    def _gone(self) -> BrowserCrashed | None:
        """Tell whether the browser is gone, looking at the processes: their end may not have been reported yet."""
        for watch in self._watches:
            watch.look()
        return None if self._lost is None else BrowserCrashed(f"the browser is gone: {self._lost}")

    async def new_context(self, options: ContextOptions, *, limit_s: float) -> PlaywrightContext:
        """Open a context."""
        assert self._link is not None  # prepare() is part of every launch
        assert self._blocking is not None
        if self._lost is not None:
            raise BrowserCrashed(f"the browser is gone: {self._lost}")
        chosen: dict[str, Any] = {
            "accept_downloads": options.download_bytes_max is not None,
            **self._config.context_options,
            **options.extra,
        }
        if self._user_agent is not None:
            chosen.setdefault("user_agent", self._user_agent)
        self._opening += 1
        try:
            if chosen.get("proxy") and not options.relayed:
                await self._blocking.behind_proxy(limit_s=limit_s)
            raw = await self._driver.calls.run(self._raw.new_context(**chosen), limit_s=limit_s)
        except (TimeoutError, PlaywrightTimeout) as error:
            raise translate(error, "opening a context", gone=self._gone) from error
        except (TypeError, OSError, PlaywrightError) as error:
            gone = self._gone()
            if gone is not None or is_closed_error(error):
                raise gone or translate(error, "opening a context", gone=self._gone) from error
            raise ConfigError(f"contextOptions: no context can be opened with them: {summary(error)}") from error
        finally:
            self._opening -= 1
        self._contexts = {known for known in self._contexts if not known.closed}
        context = PlaywrightContext(raw, self._link, options=options)
        self._contexts.add(context)
        return context

    async def audit(self, *, page_bytes_max: int, limit_s: float) -> Audit:
        """Ask the browser what it has open; close what nobody knows, and kill a renderer that holds too much."""
        assert self._auditor is not None  # prepare() is part of every launch
        if self._lost is not None:
            raise BrowserCrashed(f"the browser is gone: {self._lost}")

        def open_contexts() -> list[PlaywrightContext]:
            return [context for context in self._contexts if context.closing or not context.closed]

        try:
            return await self._auditor.audit(
                open_contexts, is_opening=lambda: self._opening > 0, page_bytes_max=page_bytes_max, limit_s=limit_s
            )
        except (TimeoutError, PlaywrightError) as error:
            raise translate(error, "asking the browser what it has open", gone=self._gone) from error

    def kill_heaviest(self, error: Callable[[], BrowsercrawlError]) -> bool:
        """Kill the renderer that holds most."""
        assert self._auditor is not None  # prepare() is part of every launch
        return self._lost is None and self._auditor.kill_heaviest(error)

    async def trim(self, *, limit_s: float) -> bool:
        """Ask all its processes to drop caches and collect garbage."""
        assert self._auditor is not None  # prepare() is part of every launch
        return self._lost is None and await self._auditor.trim(limit_s=limit_s)

    async def close(self, *, limit_s: float) -> bool:
        """Close politely within the limit, then kill what is left."""
        return await self._end(self._close(limit_s))

    async def kill(self) -> None:
        """Kill browser and driver at once."""
        if self._ending is not None and not self._ending.done():
            await self._driver.kill()
        await self._end(self._kill())

    async def _end(self, ending: Coroutine[Any, Any, bool]) -> bool:
        """Run the one end of this browser; a caller that is cancelled meanwhile does not stop it."""
        if self._ending is None:
            self._ending = asyncio.create_task(ending)
        else:
            ending.close()
        return await asyncio.shield(self._ending)

    async def _close(self, limit_s: float) -> bool:
        started = time.monotonic()
        was_there = self._lost is None
        self._set_lost(_CLOSED)
        try:
            polite = was_there and await self._driver.calls.settled(self._raw.close(), limit_s=0.7 * limit_s)
            if polite:
                polite = await self._driver.stop(limit_s=max(0.1, limit_s - (time.monotonic() - started)))
        finally:  # also when the whole loop is being ended
            await self._kill()
        return polite

    async def _kill(self) -> bool:
        self._set_lost("killed")
        for watch in self._watches:
            watch.release()
        gone = await self._driver.kill()
        for context in tuple(self._contexts):
            await context.close(limit_s=0)
        if self._downloads is not None:
            await self._downloads.close()
        if self._blocking is not None:
            await self._blocking.close()
        if self._pdf_files is not None:
            await self._pdf_files.close()
        return gone


def launcher(
    config: BrowserConfig, emit: Emit, *, memory_bytes: int | None = None, guarded: bool = False
) -> LaunchBrowser:
    """Return what launches a browser of this configuration, again and again.

    Args:
        config: which browser, and how.
        emit: takes `SandboxUnavailable`.
        memory_bytes: what may be used here, if that is less than the machine has.
        guarded: contexts may get a proxy of their own.
    """

    async def launch() -> BrowserPort:
        return await _launch(config, emit, memory_bytes=memory_bytes, guarded=guarded)

    return launch


async def _launch(config: BrowserConfig, emit: Emit, *, memory_bytes: int | None, guarded: bool) -> PlaywrightBrowser:
    refuse_unsupported()
    raise_file_limit()
    line = command_line(config, memory_bytes=memory_bytes, guarded=guarded)
    binary = find_browser(config)
    deadline = time.monotonic() + config.launch_limit_s
    why_not = _why_no_sandbox(config)
    if not why_not:
        try:
            return await _start(config, binary, line=line, sandbox="", deadline=deadline)
        except LaunchFailed as error:
            if config.sandbox == "require":
                raise
            why_not = str(error)
    browser = await _start(config, binary, line=line, sandbox=why_not, deadline=deadline)
    if config.sandbox == "auto":
        remedy = "run as an ordinary user where user namespaces are allowed, or set browser.sandbox to 'off'"
        emit(SandboxUnavailable(reason=why_not, remedy=remedy))
    return browser


def _why_no_sandbox(config: BrowserConfig) -> str:
    """Return why the sandbox need not be tried; empty when it is worth a try."""
    if config.sandbox == "off":
        return "switched off by browser.sandbox"
    if sys.platform == "linux" and os.geteuid() == 0:
        if config.sandbox == "require":
            raise LaunchFailed("browser.sandbox is 'require', but Chromium's sandbox cannot run as root")
        return "Chromium's sandbox cannot run as root"
    return ""


async def _start(
    config: BrowserConfig, binary: BrowserBinary, *, line: CommandLine, sandbox: str, deadline: float
) -> PlaywrightBrowser:
    """Start a driver and a browser, or leave nothing behind. `sandbox`: why it is off; empty: it is on."""
    options = _launch_options(config, binary, line=line, sandboxed=not sandbox)
    driver = Driver()
    try:
        browser = await _start_with(driver, config, options, sandbox=sandbox, deadline=deadline)
        if binary.kind == "full":
            left_s = max(0.05, deadline - time.monotonic())
            await browser.hide_viewer(limit_s=left_s)
        return browser
    except BaseException as error:
        await asyncio.shield(asyncio.create_task(driver.kill()))
        if isinstance(error, TimeoutError):
            raise LaunchFailed(f"{binary.path} did not start within {config.launch_limit_s:g} s") from error
        if isinstance(error, TypeError | PlaywrightError):
            raise LaunchFailed(f"{binary.path} does not start: {_launch_reason(error)}") from error
        raise


async def _start_with(
    driver: Driver, config: BrowserConfig, options: dict[str, Any], *, sandbox: str, deadline: float
) -> PlaywrightBrowser:
    def left_s() -> float:
        return max(0.05, deadline - time.monotonic())

    playwright = await driver.start(limit_s=left_s())
    options["timeout"] = 1000 * left_s()
    options["downloads_path"] = driver.downloads
    raw = await driver.calls.run(playwright.chromium.launch(**options), limit_s=left_s())
    session = await driver.calls.run(raw.new_browser_cdp_session(), limit_s=left_s())
    pid = await _browser_pid(session, driver.calls, limit_s=left_s())
    driver.adopt(pid)
    facts = BrowserFacts(
        pid=pid,
        binary=str(options["executable_path"]),
        version=raw.version,
        sandbox=not sandbox,
        sandbox_reason=sandbox,
    )
    browser = PlaywrightBrowser(driver, raw, config=config, facts=facts)
    await browser.prepare(session, limit_s=left_s())
    return browser


async def _browser_pid(session: CDPSession, calls: Calls, *, limit_s: float) -> int:
    answer = await calls.run(session.send("SystemInfo.getProcessInfo"), limit_s=limit_s)
    return next(int(process["id"]) for process in answer["processInfo"] if process["type"] == "browser")


def _launch_options(
    config: BrowserConfig, binary: BrowserBinary, *, line: CommandLine, sandboxed: bool
) -> dict[str, Any]:
    options = {k: v for k, v in config.launch_options.items() if k not in {"args", "ignore_default_args"}}
    for name in _OWNED_OPTIONS & options.keys():
        raise ConfigError(f"launch option {name} is set by the engine; use the field of `browser` made for it")
    options.update(
        executable_path=str(binary.path),
        headless=not config.headed,
        args=list(line.args),
        ignore_default_args=list(line.ignored),
        chromium_sandbox=sandboxed,
        handle_sigint=False,
        handle_sigterm=False,
        handle_sighup=False,
    )
    if config.proxy is not None:
        options["proxy"] = {"server": config.proxy}
    return options


def _launch_reason(error: BaseException) -> str:
    """Return the telling line of a failed launch: Chromium's own fatal one, else Playwright's first."""
    for line in str(error).splitlines():
        if "FATAL" in line or "error while loading shared libraries" in line or "No usable sandbox" in line:
            return line.strip()[-300:]
    if is_closed_error(error):
        code = _EXIT_CODE.search(str(error))
        how = f" ({code.group()})" if code else ""
        return (
            f"it ended at once{how}, without having been a Chromium; set browser.executable to that of a Chromium, "
            "Chrome or headless shell, or leave it out to have one found"
        )
    return summary(error)
