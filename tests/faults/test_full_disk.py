"""A disk that fills up under a run: the run pauses, nothing is half-written, and it goes on when there is room again.

Each run directory lies on a file system of its own, in memory and small, which is made larger to let the run go on.
"""

import gzip
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.faults.conftest import Commands, Pages, Started, Wait


class Disk:
    """A small file system, mounted at a folder until `unmount`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_mounted = False

    def mount(self, size: str) -> None:
        """Mount it, or skip the test where that is not allowed."""
        done = self._call("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(self.path))
        if done.returncode != 0:
            pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
        self.is_mounted = True

    def grow(self) -> None:
        """Give it room for everything."""
        done = self._call("mount", "-o", "remount,size=256m", str(self.path))
        assert done.returncode == 0, done.stderr

    def fill(self) -> Path:
        """Write until there is no room for a single byte. Returns the file to remove."""
        ballast = self.path / "ballast"
        with ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                return ballast

    def unmount(self) -> None:
        """Let go of it; lazily, since a test that failed may have left a file open."""
        if self.is_mounted:
            done = self._call("umount", "--lazy", str(self.path))
            assert done.returncode == 0, done.stderr

    def _call(self, *argv: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=10)


@pytest.fixture
def disk(commands: "Commands") -> Iterator[Disk]:
    """A file system for the run directory, to be mounted."""
    path = commands.folder / "disk"
    path.mkdir()
    disk = Disk(path)
    commands.directory = path / "run"
    yield disk
    commands.end()
    disk.unmount()


def is_paused(run: "Started") -> bool:
    """Tell whether a run has told that it waits for room."""
    return "run.paused" in run.err


def check_saved(commands: "Commands", urls: list[str]) -> None:
    """Each page has its one result, and its source lies there, whole; besides those there is no file."""
    results = commands.results()
    assert sorted(each["url"] for each in results) == sorted(urls)
    named = {each["artifacts"][0]["path"] for each in results}
    found = {str(path.relative_to(commands.directory)) for path in commands.directory.rglob("artifacts/*/*")}
    assert found == named
    for each in results:
        number = each["url"].rsplit("/", 1)[1]
        source = gzip.decompress((commands.directory / each["artifacts"][0]["path"]).read_bytes()).decode()
        assert f"page {number}</title>" in source
        assert source.endswith("</html>")


def test_disk_that_fills_pauses_the_run_until_there_is_room(
    commands: "Commands", pages: "Pages", disk: Disk, wait: "Wait"
) -> None:
    """Saved pages fill the disk: people are told, nothing new is visited, and with room again all of it is complete."""
    disk.mount("2m")
    urls = [f"{pages.url}/big/{number}" for number in range(60)]
    (commands.folder / "urls.txt").write_text("\n".join(urls))
    run = commands.start("crawl", "--urls-file", "urls.txt", "--save", "html", "--concurrency", "2",
                         "--output", str(commands.directory))  # fmt: skip
    wait(lambda: is_paused(run))
    assert "cannot be written: " in run.err
    assert "free some space and the run goes on by itself" in run.err
    at_the_pause = len(pages.arrived)
    commands.results()
    time.sleep(1.5)  # nothing shall happen in that time
    assert len(pages.arrived) <= at_the_pause + 2, "a full disk, and pages are visited all the same"
    assert run.process.poll() is None
    assert len(pages.arrived) < len(urls)
    disk.grow()
    run.ends(0)
    check_saved(commands, urls)
    assert pages.hits("/big/").total() == len(urls)
    assert run.err.count("run.paused") == 1
    assert str(commands.directory) in run.err
    assert commands.summary()["finish_reason"] == "finished"


@pytest.mark.parametrize("signals", [1, 2])
def test_run_stopped_on_a_full_disk_ends_in_time_and_can_be_resumed(
    commands: "Commands", pages: "Pages", disk: Disk, wait: "Wait", signals: int
) -> None:
    """Not even its end can be written: within the drain time, or at once, it ends with 130; later it is completed."""
    disk.mount("8m")
    urls = [f"{pages.url}/held/{number}" for number in range(12)]
    run = commands.steady("crawl", *urls, "--concurrency", "2", "--output", str(commands.directory))
    wait(lambda: len(pages.arrived) == 2)
    ballast = disk.fill()
    pages.hold = False
    wait(lambda: is_paused(run))
    began = time.monotonic()
    for _ in range(signals):
        run.signal(signal.SIGINT)
        time.sleep(0.3)  # two of them at once would be one
    assert run.wait() == 130, run.err
    assert "Traceback" not in run.err, run.err
    assert time.monotonic() - began < (8 if signals == 1 else 0) + 5
    assert len(pages.arrived) <= 4
    assert "resume" in run.err
    ballast.unlink()
    commands.run("resume", str(commands.directory), "--quiet")
    assert sorted(each["url"] for each in commands.results()) == sorted(urls)
    assert commands.status()["state"] == "finished"


def test_run_that_cannot_even_be_opened_on_a_full_disk_waits_and_can_be_stopped(
    commands: "Commands", pages: "Pages", disk: Disk, wait: "Wait"
) -> None:
    """Resumed on a full disk: it says that it waits, a signal ends it with 130, and with room it is completed."""
    disk.mount("8m")
    urls = [pages.page(number) for number in range(100, 106)]
    step = "browsercrawl.output.projection:Projection._write:before"
    commands.mortal(step, "crawl", *urls, "--output", str(commands.directory), "--quiet").wait()
    ballast = disk.fill()
    run = commands.start("resume", str(commands.directory))
    wait(lambda: is_paused(run))
    run.signal(signal.SIGINT)
    time.sleep(0.3)  # two of them at once would be one
    run.signal(signal.SIGINT)
    assert run.wait(10) == 130, run.err
    assert "Traceback" not in run.err, run.err
    ballast.unlink()
    commands.run("resume", str(commands.directory), "--quiet")
    assert sorted(each["url"] for each in commands.results()) == urls


def test_disk_that_is_full_for_artifacts_only_pauses_the_run(
    commands: "Commands", pages: "Pages", wait: "Wait"
) -> None:
    """The run's own files have room, the saved pages have not: it waits for them too, and leaves no piece of one."""
    urls = [f"{pages.url}/big/{number}" for number in range(10)]
    step = "browsercrawl.dispatcher.dispatcher:Dispatcher.run:before"
    commands.mortal(step, "crawl", *urls, "--save", "html", "--output", "run", "--quiet").wait()
    disk = Disk(commands.directory / "artifacts")
    disk.mount("300k")
    try:
        run = commands.start("resume", "run")
        wait(lambda: is_paused(run))
        assert "artifacts" in run.err
        wait(lambda: not list(commands.directory.rglob("artifacts/*/.*")))
        disk.grow()
        run.ends(0)
        check_saved(commands, urls)
    finally:
        commands.end()
        disk.unmount()


def test_disk_without_room_for_a_run_directory_is_told_before_anything_starts(
    commands: "Commands", pages: "Pages", disk: Disk
) -> None:
    """Not even the directory can be made: a clear message, nothing is left there, and no page was visited."""
    disk.mount("64k")
    run = commands.run("crawl", pages.page(1), "--output", str(commands.directory), "--quiet", code=1)
    assert "cannot be made: database or disk is full" in run.err
    assert list(disk.path.iterdir()) == []
    assert pages.arrived == []
