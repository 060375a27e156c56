"""Our own death, and the polite end: no process, no zombie and no temporary folder is left, whatever stands still."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from browsercrawl.browser import PlaywrightBrowser, launcher
from browsercrawl.config import BrowserConfig
from browsercrawl.events import discard
from browsercrawl.ports import ContextOptions
from browsercrawl.testing import DemoSite

if TYPE_CHECKING:
    from tests.faults.conftest import Commands, Started, Wait

_GONE_S = 5.0


class Family:
    """What a crawler has started, by what it is; known also when all are dead."""

    def __init__(self, crawler: int) -> None:
        self.all = psutil.Process(crawler).children(recursive=True)
        self.driver = self._with("run-driver")[0]
        self.guardian = self._with("browsercrawl-guardian")[0]
        self.browser = psutil.Process(self._with("--type=zygote")[0].ppid())
        self.renderers = self._with("--type=renderer")

    def _with(self, word: str) -> list[psutil.Process]:
        return [each for each in self.all if word in each.cmdline()]

    @property
    def left(self) -> list[str]:
        """Who still lives."""
        return [f"{each.pid} {each.name()}" for each in self.all if _lives(each)]


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _folders(commands: "Commands") -> list[str]:
    """Return the temporary folders of drivers."""
    return [path.name for path in commands._temporary.glob("browsercrawl-*")]


def _start(commands: "Commands", site: DemoSite, wait: "Wait", mark: str) -> tuple["Started", Family]:
    """Start a crawl, which is at its two pages that never end when this returns."""
    paths = [f"/faults/{name}?{mark}" for name in ("hang-inline", "silent")]
    urls = [site.url + path for path in paths]
    crawler = commands.steady("crawl", *urls, "--concurrency", "2", "--timeout", "50s", "--output", mark)
    wait(lambda: all(site.arrivals(path) for path in paths))
    return crawler, Family(crawler.pid)


def _suspend(processes: Iterable[psutil.Process]) -> None:
    for each in processes:
        each.suspend()


_STRIKES: dict[str, Callable[[Family], object]] = {
    "alone": lambda _: None,
    "driver_stopped": lambda family: family.driver.suspend(),
    "driver_killed": lambda family: family.driver.kill(),
    "browser_stopped": lambda family: family.browser.suspend(),
    "renderers_stopped": lambda family: _suspend(family.renderers),
    "all_stopped": lambda family: _suspend(each for each in family.all if each != family.guardian),
}
"""What happens just before the crawler is killed."""


@pytest.mark.parametrize("strike", _STRIKES)
def test_crawler_killed_leaves_no_process_and_no_folder(
    commands: "Commands", site: DemoSite, wait: "Wait", strike: str
) -> None:
    """SIGKILL of the command, whatever stands still or died before: within 5 s nothing of it is left, no folder too."""
    crawler, family = _start(commands, site, wait, strike)
    assert family.renderers
    assert len(_folders(commands)) == 1
    _STRIKES[strike](family)
    crawler.kill()
    wait(lambda: not family.left and not _folders(commands), limit_s=_GONE_S)


def test_crawler_start_sweeps_what_a_killed_one_left(commands: "Commands", site: DemoSite, wait: "Wait") -> None:
    """Guardian and crawler killed, driver stopped: the next start removes all of it, and leaves the living alone."""
    crawler, lost = _start(commands, site, wait, "lost")
    living, other = _start(commands, site, wait, "living")
    lost.guardian.kill()
    lost.driver.suspend()
    crawler.kill()
    assert len(_folders(commands)) == 2
    assert _lives(lost.browser), "without guardian and driver nobody ends it"
    commands.run("crawl", f"{site.url}/faults/page", "--output", "next")
    assert lost.left == []
    assert len(_folders(commands)) == 1
    assert len(other.left) == len(other.all)
    living.kill()
    wait(lambda: not other.left and not _folders(commands), limit_s=_GONE_S)


async def _open(site: DemoSite, mark: str) -> tuple[PlaywrightBrowser, Family]:
    """Launch a browser that shows a page."""
    browser = await launcher(BrowserConfig(), discard)()
    assert isinstance(browser, PlaywrightBrowser)
    context = await browser.new_context(ContextOptions(), limit_s=10)
    page = await context.new_page(limit_s=10)
    await page.begin()
    await page.goto(f"{site.url}/faults/page?{mark}", wait_until="load", load_limit_s=10, limit_s=10)
    return browser, Family(os.getpid())


def _folders_here() -> list[str]:
    return [path.name for path in Path(tempfile.gettempdir()).glob("browsercrawl-*")]


async def test_close_with_a_stopped_renderer_leaves_nothing(site: DemoSite) -> None:
    """A renderer that stands still outlives its browser's polite end, but not ours."""
    browser, family = await _open(site, "polite")
    _suspend(family.renderers)
    await browser.close(limit_s=5)
    assert family.left == []
    assert _folders_here() == []


async def test_driver_stopped_no_call_hangs_and_kill_clears_everything(site: DemoSite) -> None:
    """A driver that stands still: a call ends at its limit, a cancelled one at once, and nothing is left of it."""
    browser, family = await _open(site, "wedged")
    page = browser._raw.contexts[0].pages[0]
    family.driver.suspend()
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await browser._driver.calls.run(page.evaluate("1"), limit_s=0.5)
    assert time.monotonic() - began < 0.5 + 1
    hung = asyncio.ensure_future(page.evaluate("1"))
    await asyncio.wait({hung}, timeout=0.1)
    hung.cancel()
    done, _ = await asyncio.wait({hung}, timeout=1)
    assert done, "a cancelled call waits for the driver"
    assert hung.cancelled()
    await browser.kill()
    assert family.left == []
    assert _folders_here() == []
    assert browser._driver.calls._abandoned == set()


_PROCESS_ONE = """
import asyncio, json, os, sys
import psutil
from browsercrawl import Crawler, CrawlerConfig
from browsercrawl.events import BrowserLaunched, VisitStarted

pids, visits = [], []

def take(event):
    if isinstance(event, BrowserLaunched):
        pids.append(event.pid)
    if isinstance(event, VisitStarted):
        visits.append(event)
        if len(visits) == 2:
            victim = psutil.Process(pids[-1])
            if sys.argv[1] == "driver":
                victim = next(each for each in psutil.Process().children() if "run-driver" in each.cmdline())
            asyncio.get_running_loop().call_later(0.3, victim.kill)

async def crawl():
    crawler = Crawler(CrawlerConfig.load({"concurrency": 2}), on_event=take)
    async with crawler, crawler.stream(sys.argv[2:]) as stream:
        return [result.outcome async for result in stream]

outcomes = asyncio.run(crawl())
left = [[each.pid, each.name(), each.status()] for each in psutil.process_iter() if each.pid != 1]
print(json.dumps({"pid": os.getpid(), "outcomes": outcomes, "launches": len(pids), "left": left}))
"""
_NAMESPACE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]


def _has_namespaces() -> bool:
    try:
        return subprocess.run([*_NAMESPACE, "true"], capture_output=True, check=False, timeout=10).returncode == 0
    except OSError:
        return False


@pytest.mark.skipif(not _has_namespaces(), reason="process namespaces are not permitted here")
@pytest.mark.parametrize("victim", ["browser", "driver"])
def test_crawler_as_process_one_leaves_no_zombie(site: DemoSite, tmp_path: Path, victim: str) -> None:
    """Without an init, as in a container: who is orphaned by the death of browser or driver is reaped."""
    urls = [f"{site.url}/faults/slow?ms=800&one-{victim}={number}" for number in range(4)]
    argv = [*_NAMESPACE, sys.executable, "-c", _PROCESS_ONE, victim, *urls]
    run = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout.splitlines()[-1])
    assert told == {"pid": 1, "outcomes": ["succeeded"] * 4, "launches": 2, "left": []}
    assert _folders_here() == []
