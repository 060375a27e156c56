"""`browsercrawl doctor`: looks at everything a crawl needs of this machine, by doing it."""

import asyncio
import platform
import resource
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from enum import StrEnum
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from shutil import disk_usage

from pydantic import BaseModel, ConfigDict

from browsercrawl import events
from browsercrawl.browser import find_browser, launcher, refuse_unsupported
from browsercrawl.cli.arguments import Grammar, Option
from browsercrawl.cli.settings import browser_fields
from browsercrawl.cli.terminal import shown_bytes
from browsercrawl.clock import SystemClock
from browsercrawl.config import BrowserConfig
from browsercrawl.config.playwright_file import FILE_NAME
from browsercrawl.errors import BrowsercrawlError, ConfigError, LaunchFailed
from browsercrawl.events import Event
from browsercrawl.ports import BrowserPort, ContextOptions
from browsercrawl.pressure import Sensors
from browsercrawl.testing import DemoSite

_PLAYWRIGHT = "1.65."
_FILES_MIN = 4096
_MEMORY_BYTES_MIN = 1_000_000_000
_PROCESSES_MIN = 1000
_SHM = Path("/dev/shm")  # noqa: S108 - the kernel's shared memory, not a temporary file of ours
_SHM_BYTES_MIN = 512_000_000
_STEP_LIMIT_S = 30.0
_SESSIONS_EXTRA = "pip install 'browsercrawl[sessions]'"

GRAMMAR = Grammar(
    command="doctor",
    summary="Check that crawling works on this machine, and say what to do if not.",
    details=(
        (
            "Starts the browser and renders a page of the demo shop on loopback. Exit code 0: crawling works here; 3: "
            "it does not, and the table says what to do."
        ),
    ),
    options=(Option(flag="--json", group="Output", help="Print the findings to standard output as JSON."),),
    examples=(
        ("look at this machine", "browsercrawl doctor"),
        ("what is wrong, for a script", "browsercrawl doctor --json | jq '.checks[] | select(.state != \"ok\")'"),
    ),
)


class State(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    """Crawling works, but not as well as it could."""
    FAIL = "fail"
    """Crawling does not work."""


class Check(BaseModel):
    """One thing looked at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    state: State
    found: str
    advice: str = ""


class Diagnosis(BaseModel):
    """All that was looked at, in order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    usable: bool
    checks: tuple[Check, ...]


def execute(arguments: Namespace) -> int:
    """Examine the machine, print what was found, and return the exit code."""
    checks = [*(check() for check in _STILL), *_check_pressure(), *asyncio.run(_examine_browser())]
    diagnosis = Diagnosis(usable=all(check.state is not State.FAIL for check in checks), checks=tuple(checks))
    if "json" in vars(arguments):
        print(diagnosis.model_dump_json(indent=2))
    else:
        from browsercrawl.cli.drawing import print_checks  # noqa: PLC0415 - rich, when there is something to draw

        print_checks([(check.name, check.state.value, check.found, check.advice) for check in checks])
    return 0 if diagnosis.usable else 3


def _check_python() -> Check:
    found = f"{platform.python_implementation()} {platform.python_version()}"
    try:
        refuse_unsupported()
    except LaunchFailed as error:
        return Check(name="Python", state=State.FAIL, found=found, advice=error.message)
    return Check(name="Python", state=State.OK, found=found)


def _check_system() -> Check:
    found = f"{platform.system()} {platform.release()}, {platform.machine()}"
    if platform.system() == "Linux":
        return Check(name="system", state=State.OK, found=found)
    return Check(name="system", state=State.WARN, found=found, advice="tested on Linux only; elsewhere best effort")


def _check_playwright() -> Check:
    found = version("playwright")
    if found.startswith(_PLAYWRIGHT):
        return Check(name="Playwright", state=State.OK, found=found)
    advice = f"this version drives another browser build: pip install 'playwright=={_PLAYWRIGHT}*'"
    return Check(name="Playwright", state=State.FAIL, found=found, advice=advice)


def _check_files() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    found = " of ".join("unlimited" if limit == unlimited else f"{limit:,}" for limit in (soft, hard))
    if hard != unlimited and hard < _FILES_MIN:
        advice = f"the browser needs many: raise the hard limit to {_FILES_MIN} or more (ulimit -Hn)"
        return Check(name="open files", state=State.WARN, found=found, advice=advice)
    return Check(name="open files", state=State.OK, found=found)


def _check_pressure() -> Iterator[Check]:
    """Look at what the pressure on this machine is measured by: how much there is of everything, and what says so."""
    found = {each.what: each for each in Sensors(clock=SystemClock()).where()}

    processes = found["processes"]
    told = "unlimited" if processes.value is None else f"up to {processes.value:,} ({processes.source})"
    is_tight = processes.value is not None and processes.value < _PROCESSES_MIN
    advice = f"threads count too, and a page takes some 20: allow {_PROCESSES_MIN} or more" if is_tight else ""
    yield Check(name="processes", state=State.WARN if is_tight else State.OK, found=told, advice=advice)

    limit, used = found["memory limit"], found["memory used"]
    told = f"{shown_bytes(int(used.value or 0))} of {shown_bytes(int(limit.value or 0))} used ({limit.source})"
    is_tight = (limit.value or 0) < _MEMORY_BYTES_MIN
    advice = "tight for a browser: keep --concurrency low, or give it 1 GB or more" if is_tight else ""
    if limit.value is None:
        told, advice = "not told by this system", "it cannot be seen when memory runs out: keep --concurrency low"
    yield Check(name="memory", state=State.WARN if is_tight else State.OK, found=told, advice=advice)

    stalls = found["memory stalls"]
    told = "not told by this kernel" if stalls.value is None else f"{stalls.value:.1f} s so far ({stalls.source})"
    yield Check(name="memory stalls", state=State.OK, found=told)

    cores = found["CPU cores"]
    yield Check(name="CPU", state=State.OK, found=f"{cores.value:g} cores ({cores.source})")


def _check_shared_memory() -> Check:
    if not _SHM.is_dir():
        return Check(name="shared memory", state=State.OK, found="none; the browser uses temporary files")
    usage = disk_usage(_SHM)
    found = f"{shown_bytes(usage.free)} of {shown_bytes(usage.total)} free in {_SHM}"
    if usage.free < _SHM_BYTES_MIN:
        advice = "the browser uses temporary files instead; in Docker, --shm-size=1g is faster"
        return Check(name="shared memory", state=State.WARN, found=found, advice=advice)
    return Check(name="shared memory", state=State.OK, found=found)


def _check_sessions() -> Check:
    missing = [module for module in ("cryptography", "pyotp") if find_spec(module) is None]
    if missing:
        found = f"no {' and no '.join(missing)}; for encrypted logins and one-time passwords: {_SESSIONS_EXTRA}"
        return Check(name="sessions", state=State.OK, found=found)
    found = "logins can be encrypted at rest, one-time passwords made"
    return Check(name="sessions", state=State.OK, found=found)


_STILL: tuple[Callable[[], Check], ...] = (
    _check_python,
    _check_system,
    _check_playwright,
    _check_sessions,
    _check_shared_memory,
    _check_files,
)
"""What can be looked at without starting anything."""


async def _examine_browser() -> list[Check]:
    try:
        config = BrowserConfig(**browser_fields(None))
    except ConfigError as error:
        return [Check(name="configuration", state=State.FAIL, found=FILE_NAME, advice=error.message)]
    remedies: list[str] = []

    def on_event(event: Event) -> None:
        if isinstance(event, events.SandboxUnavailable):
            remedies.append(event.remedy)

    try:
        binary = find_browser(config)
    except BrowsercrawlError as error:
        return [Check(name="browser", state=State.FAIL, found="none", advice=error.message)]
    where = {"configured": "as configured", "playwright": "Playwright's own build", "system": "of the system"}
    found = f"{binary.path} ({where[binary.origin]})"
    try:
        started = time.monotonic()
        browser = await launcher(config, on_event)()
    except BrowsercrawlError as error:
        return [Check(name="browser", state=State.FAIL, found=found, advice=error.message)]
    try:
        took_s = time.monotonic() - started
        facts = browser.facts
        checks = [
            Check(name="browser", state=State.OK, found=f"{facts.version}, up in {took_s:.1f} s: {found}"),
            Check(name="sandbox", state=State.OK, found="on")
            if facts.sandbox
            else Check(
                name="sandbox", state=State.WARN, found=f"off: {facts.sandbox_reason}", advice=" ".join(remedies)
            ),
        ]
        return [*checks, await _check_page(browser)]
    finally:
        await browser.close(limit_s=_STEP_LIMIT_S)


async def _check_page(browser: BrowserPort) -> Check:
    """Render a page that is empty without its script."""
    async with DemoSite(products=1) as site:
        expected = site.truth().pages[0].title
        started = time.monotonic()
        try:
            context = await browser.new_context(ContextOptions(), limit_s=_STEP_LIMIT_S)
            page = await context.new_page(limit_s=_STEP_LIMIT_S)
            await page.begin()
            await page.goto(f"{site.url}/", wait_until="load", load_limit_s=_STEP_LIMIT_S, limit_s=_STEP_LIMIT_S)
            title = (await page.snapshot((), limit_s=_STEP_LIMIT_S)).title
            await context.close(limit_s=_STEP_LIMIT_S)
        except BrowsercrawlError as error:
            return Check(
                name="test page", state=State.FAIL, found=error.message, advice="is a proxy or firewall in between?"
            )
    if title != expected:
        return Check(name="test page", state=State.FAIL, found=f"its script did not run: title {title!r}")
    return Check(
        name="test page", state=State.OK, found=f"rendered, JavaScript ran, {time.monotonic() - started:.1f} s"
    )
