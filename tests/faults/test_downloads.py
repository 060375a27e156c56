"""Downloads when something dies under them: browser, crawler, disk or server. one result, one whole file."""

import hashlib
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from browsercrawl.errors import Disposition
from browsercrawl.events import RetryScheduled
from browsercrawl.testing.server import Exchange, Server
from tests.faults.test_full_disk import Disk, is_paused

if TYPE_CHECKING:
    from tests.faults.conftest import Commands, Crawl, Wait, Watched

BODY = bytes(range(256)) * 4_000
"""A megabyte."""


class Site:
    """A site with one file, of which it keeps the second half back while `hold` is true.

    Its name is another one each time, as with sites that put the time into it.

    Attributes:
        asked: how often it was asked for the file.
        body: the file.
        on_half: called, in the server's thread, when half of it has been sent.
    """

    def __init__(self) -> None:
        self.hold = True
        self.asked = 0
        self.body = BODY
        self.on_half: Callable[[], object] = lambda: None
        self._server = Server(self._answer)
        self.file = f"http://127.0.0.1:{self._server.port}/file"

    def stop(self) -> None:
        """Close it."""
        self._server.stop()

    def _answer(self, exchange: Exchange) -> None:
        if exchange.path != "/file":
            exchange.respond("no such page", status=404)
            return
        self.asked += 1
        disposition = {"Content-Disposition": f"attachment; filename=report-{self.asked}.bin"}
        exchange.begin({"Content-Length": str(len(self.body)), **disposition}, content_type="application/octet-stream")
        exchange.send(self.body[: len(self.body) // 2])
        self.on_half()
        while self.hold:
            exchange.pause(0.02)
        exchange.send(self.body[len(self.body) // 2 :])


@pytest.fixture
def site() -> Iterator[Site]:
    """The site."""
    opened = Site()
    yield opened
    opened.stop()


def artifacts(run: Path) -> list[Path]:
    """Return all files among the artifacts, hidden ones as well."""
    return [path for path in (run / "artifacts").rglob("*") if not path.is_dir()]


def coming(folder: Path) -> list[Path]:
    """Return the files of downloads that are coming in, below a folder for temporary files."""
    return [path for path in folder.glob("browsercrawl-driver-*/downloads/*") if path.stat().st_size]


def check_whole(commands: "Commands", site: Site) -> None:
    """The file has its one result and lies there whole; nothing else does, nor in the folder for temporary files."""
    (result,) = commands.results()
    assert (result["url"], result["outcome"]) == (site.file, "succeeded")
    (artifact,) = result["artifacts"]
    assert artifact["sha256"] == hashlib.sha256(BODY).hexdigest()
    assert [path.relative_to(commands.directory) for path in artifacts(commands.directory)] == [Path(artifact["path"])]
    assert (commands.directory / artifact["path"]).read_bytes() == BODY


async def test_browser_killed_while_downloading_puts_the_visit_back(site: Site, crawl: "Crawl", tmp_path: Path) -> None:
    """SIGKILL of the browser in the middle of a file: no attempt is spent, and the next one gets it whole."""

    def prepare(_: object, watched: "Watched") -> None:
        def strike() -> None:
            if site.hold:
                site.hold = False
                watched.browser.kill()

        site.on_half = strike

    run = tmp_path / "run"
    done = await crawl([site.file], output=run, visit={"save": ["download"]}, prepare=prepare)
    result = done.of(site.file)
    assert (result.outcome, result.attempts, site.asked) == ("succeeded", 1, 2)
    assert [event.disposition for event in done.told(RetryScheduled)] == [Disposition.PUT_BACK]
    assert [path.read_bytes() == BODY for path in artifacts(run)] == [True]
    assert [each.sha256 for each in result.artifacts] == [hashlib.sha256(BODY).hexdigest()]


async def test_file_that_stands_still_ends_with_the_visits_deadline(site: Site, crawl: "Crawl", tmp_path: Path) -> None:
    """Half of a file, then silence: a failure by the deadline, soon after it, and no piece is kept."""
    visit = {"save": ["download"], "timeout_s": 3}
    done = await crawl([site.file], output=tmp_path / "run", visit=visit, retry={"retries": 0})
    result = done.of(site.file)
    assert result.error is not None
    assert result.error.kind == "deadline"
    assert done.held_s(site.file) < 3 + 2
    assert artifacts(tmp_path / "run") == []


@pytest.mark.parametrize(
    "step",
    [
        "while it comes",
        "browsercrawl.output.artifacts:keep:before",
        "browsercrawl.output.artifacts:keep:after",
        "browsercrawl.output.artifacts:ArtifactStore.keep:after",
    ],
)
def test_crawler_killed_while_downloading_is_resumed_with_one_whole_file(
    commands: "Commands", site: Site, wait: "Wait", step: str
) -> None:
    """`kill -9` before, while and after a file is kept: resumed, it has one result and one file, and no piece is left.

    Not even where the site gives the file another name the second time.
    """
    argv = ("crawl", site.file, "--save", "download", "--output", "run", "--quiet")
    if step == "while it comes":
        run = commands.start(*argv)
        wait(lambda: bool(coming(commands.temporary)))
        run.kill()
        site.hold = False
    else:
        site.hold = False
        assert commands.mortal(step, *argv).wait() == -signal.SIGKILL
    commands.run("resume", "run", "--quiet")
    check_whole(commands, site)
    assert site.asked == 2
    wait(lambda: not list(commands.temporary.glob("browsercrawl-*")))


def test_run_interrupted_while_downloading_leaves_nothing(commands: "Commands", site: Site, wait: "Wait") -> None:
    """Two SIGINTs in the middle of a file: 130 at once, no piece of it anywhere, and resume gets it whole."""
    run = commands.start("crawl", site.file, "--save", "download", "--output", "run")
    wait(lambda: bool(coming(commands.temporary)))
    run.signal(signal.SIGINT)
    wait(lambda: "Ctrl-C again stops at once" in run.err)
    began = time.monotonic()
    run.signal(signal.SIGINT)
    run.ends(130)
    assert time.monotonic() - began < 5
    assert artifacts(commands.directory) == []
    wait(lambda: not list(commands.temporary.glob("browsercrawl-*")))
    site.hold = False
    commands.run("resume", "run", "--quiet")
    check_whole(commands, site)


def test_disk_that_is_too_small_for_a_file_pauses_the_run(commands: "Commands", site: Site, wait: "Wait") -> None:
    """The run waits for room as with all it keeps, without a piece of the file; with room it is there whole."""
    site.hold = False
    step = "browsercrawl.dispatcher.dispatcher:Dispatcher.run:before"
    commands.mortal(step, "crawl", site.file, "--save", "download", "--output", "run", "--quiet").wait()
    disk = Disk(commands.directory / "artifacts")
    disk.mount("300k")
    try:
        run = commands.start("resume", "run")
        wait(lambda: is_paused(run))
        assert "artifacts" in run.err
        wait(lambda: artifacts(commands.directory) == [])
        disk.grow()
        run.ends(0)
        check_whole(commands, site)
        assert site.asked == 1, "it is not fetched again for that"
    finally:
        commands.end()
        disk.unmount()


def test_temporary_disk_that_is_too_small_for_a_file_is_named(commands: "Commands", site: Site, wait: "Wait") -> None:
    """Where the browser has no room for what comes, that is the failure and no broken connection; nothing is left."""
    site.hold = False
    disk = Disk(commands.temporary / "small")
    disk.path.mkdir()
    disk.mount("12m")
    site.body = BODY * 20
    commands.environment["TMPDIR"] = str(disk.path)
    try:
        run = commands.run("crawl", site.file, "--save", "download", "--retries", "0", "--output", "run", code=1)
        (result,) = commands.results()
        assert "there is no room for it in the folder for temporary files" in result["error"]["message"]
        assert artifacts(commands.directory) == []
        wait(lambda: list(disk.path.iterdir()) == [])
        assert "Traceback" not in run.err
    finally:
        commands.end()
        disk.unmount()
