"""Starting a browser, its command line, its loss in every way, and that nothing is left of it."""

import asyncio
import os
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from browsercrawl.browser import PlaywrightBrowser, launcher
from browsercrawl.config import BrowserConfig
from browsercrawl.errors import (
    BrowserCrashed,
    BrowserNotFound,
    ConfigError,
    ContextBroken,
    Disposition,
    LaunchFailed,
    disposition_of,
)
from browsercrawl.events import Event, SandboxUnavailable, discard
from browsercrawl.ports import ContextOptions

if TYPE_CHECKING:
    from tests.integration.browser.conftest import Site, Tab


def _driver_of(browser: PlaywrightBrowser) -> int:
    pid = browser._driver.pid
    assert pid is not None
    return pid


def _family(browser: PlaywrightBrowser) -> list[psutil.Process]:
    driver = psutil.Process(_driver_of(browser))
    return [driver, *driver.children(recursive=True)]


def _folders() -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob("browsercrawl-*"))


async def _gone(family: list[psutil.Process], limit_s: float = 3) -> bool:
    deadline = time.monotonic() + limit_s
    while any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in family):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


async def test_launch_command_line_has_each_switch_once() -> None:
    """Read back from the process: one merged value per switch, the user's among them."""
    config = BrowserConfig(
        process_per_site=True,
        launch_options={"args": ["--disable-features=Mine,RenderDocument", "--lang=de", "--mute-audio", "--no-pings"]},
    )
    browser = await launcher(config, discard)()
    words = psutil.Process(browser.facts.pid).cmdline()[1:]
    await browser.close(limit_s=5)
    switches = [word for word in words if word.startswith("--")]
    assert [name for name, n in Counter(s.partition("=")[0] for s in switches).items() if n > 1] == []
    features = next(s for s in switches if s.startswith("--disable-features=")).partition("=")[2].split(",")
    assert {"Mine", "RenderDocument", "PaintHolding"} <= set(features)
    assert len(features) == len(set(features))
    assert {"--process-per-site", "--lang=de", "--mute-audio", "--no-pings", "--remote-debugging-pipe"} <= set(switches)


async def test_launch_environment_does_not_leak_and_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that would change the driver's ways stay outside; this process's environment is as before."""
    monkeypatch.setenv("NODE_OPTIONS", "--no-such-option")
    monkeypatch.setenv("PWDEBUG", "1")
    before = dict(os.environ)
    browsers = await asyncio.gather(*(launcher(BrowserConfig(), discard)() for _ in range(2)))
    assert dict(os.environ) == before
    assert len({browser.facts.pid for browser in browsers}) == 2
    await asyncio.gather(*(browser.close(limit_s=5) for browser in browsers))


async def test_launch_root_warns_of_the_missing_sandbox() -> None:
    """As root the sandbox is not tried: a warning says so; whoever requires it gets no browser."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    events: list[Event] = []
    browser = await launcher(BrowserConfig(), events.append)()
    await browser.close(limit_s=5)
    assert [type(event) for event in events] == [SandboxUnavailable]
    assert not browser.facts.sandbox
    assert "root" in browser.facts.sandbox_reason
    with pytest.raises(LaunchFailed, match="root"):
        await launcher(BrowserConfig(sandbox="require"), discard)()


async def test_launch_missing_or_false_binary_says_what_is_wrong(tmp_path: Path) -> None:
    """A binary that is not there, and one that is no browser; nothing is left of either."""
    with pytest.raises(BrowserNotFound, match="is not a file"):
        await launcher(BrowserConfig(executable=tmp_path / "none"), discard)()
    false = tmp_path / "false"
    false.write_text("#!/bin/sh\nexit 3\n", encoding="utf-8")
    false.chmod(0o755)
    with pytest.raises(LaunchFailed, match=r"ended at once \(exitCode=3.*set browser.executable to"):
        await launcher(BrowserConfig(executable=false), discard)()
    assert _folders() == []


async def test_launch_binary_that_never_answers_ends_at_the_limit(tmp_path: Path) -> None:
    """A launch has a time limit, and what it started is killed."""
    asleep = tmp_path / "asleep"
    asleep.write_text("#!/bin/sh\nsleep 600\n", encoding="utf-8")
    asleep.chmod(0o755)
    started = time.monotonic()
    with pytest.raises(LaunchFailed):
        await launcher(BrowserConfig(executable=asleep, launch_limit_s=1.5), discard)()
    assert time.monotonic() - started < 6
    assert _folders() == []
    assert psutil.Process().children(recursive=True) == []


@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.2, 0.4])
async def test_launch_cancelled_midway_leaves_nothing(after_s: float) -> None:
    """Whenever a launch is cancelled, its processes and files are gone when it returns."""
    launch = asyncio.ensure_future(launcher(BrowserConfig(), discard)())
    await asyncio.wait({launch}, timeout=after_s)
    launch.cancel()
    await asyncio.wait({launch})
    if not launch.cancelled():  # it was faster
        await launch.result().close(limit_s=5)
    assert await _gone(psutil.Process().children(recursive=True))
    assert _folders() == []


async def test_launch_owned_option_is_refused_by_name() -> None:
    """What the engine sets cannot be set behind its back."""
    with pytest.raises(ConfigError, match="env"):
        await launcher(BrowserConfig(launch_options={"env": {}}), discard)()


@pytest.mark.parametrize("who", ["browser", "driver"])
async def test_lost_process_is_noticed_at_once(site: "Site", tab: "Tab", browser: PlaywrightBrowser, who: str) -> None:
    """SIGKILL of browser or driver: noticed in a moment, waiting calls fail as crashed, and close leaves nothing."""
    family = _family(browser)
    url = site.url("/slow", lambda exchange: exchange.pause(None))
    loading = asyncio.ensure_future(tab.load(url))
    await asyncio.wait({loading}, timeout=0.3)
    pid = browser.facts.pid if who == "browser" else _driver_of(browser)
    assert pid is not None
    started = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    reason = await asyncio.wait_for(browser.wait_lost(), 2)
    assert time.monotonic() - started < 1
    assert reason
    with pytest.raises(BrowserCrashed):
        await asyncio.wait_for(loading, 2)
    with pytest.raises(BrowserCrashed):
        await browser.new_context(ContextOptions(), limit_s=1)
    assert tab.page.context.closed
    assert not await browser.close(limit_s=2)
    assert await _gone(family)
    assert _folders() == []


@pytest.mark.parametrize("who", ["browser", "driver"])
async def test_close_stopped_process_is_killed(browser: PlaywrightBrowser, tab: "Tab", who: str) -> None:
    """SIGSTOP of browser or driver: the end comes by force, soon after the limit, and leaves nothing."""
    family = _family(browser)
    pid = browser.facts.pid if who == "browser" else _driver_of(browser)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    started = time.monotonic()
    assert not await browser.close(limit_s=1)
    assert time.monotonic() - started < 4
    assert await _gone(family, 0.5)
    assert _folders() == []


async def test_close_and_kill_may_be_repeated(browser: PlaywrightBrowser, tab: "Tab") -> None:
    """The end comes once, politely; asking again changes nothing."""
    family = _family(browser)
    assert await browser.close(limit_s=5)
    assert await browser.close(limit_s=5)
    await browser.kill()
    assert await browser.wait_lost() == "closed"
    assert await _gone(family, 0.5)
    assert _folders() == []


async def test_kill_leaves_nothing(browser: PlaywrightBrowser, site: "Site", tab: "Tab") -> None:
    """Killed with a hung page open: no process, no file, no call."""
    family = _family(browser)
    await tab.load(site.url("/h", "<script>setTimeout(() => { while (1); }, 0)</script>"))
    await browser.kill()
    assert browser.lost == "killed"
    assert await _gone(family, 0.5)
    assert _folders() == []
    assert browser._driver.calls._abandoned == set()


async def test_context_closed_by_user_breaks_its_pages(browser: PlaywrightBrowser, tab: "Tab", site: "Site") -> None:
    """A context that is gone is told from a page and a browser that are gone."""
    await tab.page.raw.context.close()
    assert tab.page.context.closed
    with pytest.raises(ContextBroken):
        await tab.load(site.url("/"))
    with pytest.raises(ContextBroken):
        await tab.page.context.new_page(limit_s=2)
    assert browser.lost is None


async def test_block_image_is_never_fetched(site: "Site") -> None:
    """Blocked types are refused in every context, others pass, and the page loads at once."""
    browser = await launcher(BrowserConfig(block=frozenset({"image", "stylesheet"})), discard)()
    site.url("/p.png", lambda exchange: exchange.respond(b"", content_type="image/png"))
    site.url("/s.js", lambda exchange: exchange.respond("window.ran = 1", content_type="text/javascript"))
    url = site.url("/b", "<img src=/p.png><link rel=stylesheet href=/c.css><script src=/s.js></script>")
    for _ in range(2):
        context = await browser.new_context(ContextOptions(), limit_s=5)
        page = await context.new_page(limit_s=5)
        await page.begin()
        assert (await page.goto(url, wait_until="load", load_limit_s=5, limit_s=6)).loaded
        assert await page.raw.evaluate("window.ran") == 1
    assert (site.hits("/p.png"), site.hits("/c.css")) == (0, 0)
    await browser.close(limit_s=5)


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ({"colour": 1}, "colour"),
        ({"permissions": ["foo"]}, "foo"),
        ({"timezone_id": "Mars/Base"}, "Mars/Base"),
        ({"viewport": {"width": -1, "height": 5}}, "width"),
        ({"client_certificates": [{"origin": "https://x", "certPath": "/none", "keyPath": "/none"}]}, "/none"),
        ({"storage_state": "/none.json"}, "/none.json"),
    ],
)
async def test_new_context_bad_option_is_a_config_error(
    browser: PlaywrightBrowser, option: dict[str, object], named: str
) -> None:
    """An option that Playwright or Chromium refuses, now or with the first page, is the caller's mistake, named."""

    async def open_page() -> None:
        context = await browser.new_context(ContextOptions(extra=option), limit_s=5)
        await context.new_page(limit_s=5)

    with pytest.raises(ConfigError, match=named) as caught:
        await open_page()
    assert disposition_of(caught.value) is Disposition.STOP
    assert browser.lost is None
