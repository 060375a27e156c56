"""Temporary folders of drivers: which are left over, and which are not to be touched."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from browsercrawl.browser.leftovers import PREFIX, Folder, processes_of, sweep

_LIMIT_S = 10.0
_STRANGER = 54_321

Plant = Callable[[str], Path]
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary directory of the test's own, with nothing in it."""
    made = Path(tempfile.mkdtemp(prefix="swept-"))
    monkeypatch.setattr(tempfile, "tempdir", str(made))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def plant(temporary: Path) -> Plant:
    """Make a folder with something in it, as a killed crawler leaves one."""

    def make(name: str) -> Path:
        path = temporary / name
        (path / "profile").mkdir(parents=True)
        return path

    return make


@pytest.fixture
def start() -> Iterator[Start]:
    """Start processes; what still runs at the end is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def start_process(*argv: str, **options: Any) -> "subprocess.Popen[bytes]":
        started.append(subprocess.Popen(argv, **options))
        return started[-1]

    yield start_process
    for process in started:
        process.kill()
        process.communicate()


def names(folder: Path) -> set[str]:
    """Return the names in a folder."""
    return {path.name for path in folder.iterdir()}


async def test_sweep_leftover_is_removed_with_its_processes(plant: Plant, start: Start) -> None:
    """What nobody has locked goes, and so do a stopped driver in it, and a browser by its profile, with its group."""
    left = plant(f"{PREFIX}dead")
    driver = start("sleep", "60", env={**os.environ, "TMPDIR": str(left)})
    driver.send_signal(signal.SIGSTOP)
    wait_for_child = "sleep 60 & echo started; wait"
    option = f"--user-data-dir={left}/profile"
    browser = start("sh", "-c", wait_for_child, "x", option, process_group=0, stdout=subprocess.PIPE)
    reader = start("sh", "-c", "sleep 60; true", "x", f"{left}/profile", process_group=0)
    assert browser.stdout is not None
    assert browser.stdout.readline() == b"started\n"
    own = Folder()
    await sweep(own)
    assert (driver.wait(_LIMIT_S), browser.wait(_LIMIT_S)) == (-signal.SIGKILL, -signal.SIGKILL)
    assert browser.stdout.read() == b"", "its child holds the pipe no more"
    assert reader.poll() is None, "who only looks into the folder is left alone"
    os.killpg(reader.pid, signal.SIGKILL)
    assert names(own.path.parent) == {own.path.name}
    await own.remove()


async def test_sweep_what_is_not_left_over_stays(plant: Plant, temporary: Path) -> None:
    """Neither living owners' folders are touched, nor new, foreign, linked or otherwise named ones."""
    living, own = Folder(), Folder()
    (living.path / "profile").mkdir()
    new = temporary / f"{PREFIX}new"
    new.mkdir()
    elsewhere = plant("elsewhere")
    link = temporary / f"{PREFIX}link"
    link.symlink_to(elsewhere)
    file = temporary / f"{PREFIX}file"
    file.write_text("x")
    spool = plant("browsercrawl-spool-x")
    stay = [living.path, own.path, new, elsewhere / "profile", link, file, spool]
    if os.geteuid() == 0:
        foreign = plant(f"{PREFIX}foreign")
        os.chown(foreign, _STRANGER, _STRANGER)
        stay.append(foreign)
    await sweep(own)
    assert [path for path in stay if not path.exists()] == []
    assert await living.remove()
    assert await own.remove()


async def test_sweep_old_empty_folder_is_removed(temporary: Path) -> None:
    """An empty folder may be in the making; after a minute it is not any more."""
    old = temporary / f"{PREFIX}old"
    old.mkdir()
    made_s = old.stat().st_mtime - 120
    os.utime(old, (made_s, made_s))
    own = Folder()
    await sweep(own)
    assert not old.exists()
    await own.remove()


async def test_sweep_many_leftovers_takes_some_at_a_time(plant: Plant, temporary: Path) -> None:
    """One start clears 20 and is not held up by more; the next goes on."""
    for number in range(25):
        plant(f"{PREFIX}{number}")
    own = Folder()
    await sweep(own)
    assert len(names(temporary)) == 1 + 5
    await sweep(own)
    assert names(temporary) == {own.path.name}
    await own.remove()


async def test_sweep_without_a_temporary_directory_does_nothing(temporary: Path) -> None:
    """It never fails, also when the directory is gone under it."""
    own = Folder()
    assert await own.remove()
    await sweep(own)


async def test_folder_removed_gives_up_its_lock(temporary: Path) -> None:
    """Removed it is gone, asked again as well, and the lock's file descriptor is closed."""
    before = len(names(Path("/dev/fd")))
    folder = Folder()
    (folder.path / "profile").mkdir()
    assert folder.path.stat().st_mode & 0o077 == 0
    assert await folder.remove()
    assert await folder.remove()
    assert not folder.path.exists()
    assert len(names(Path("/dev/fd"))) == before


async def test_processes_of_nobody_is_nobody(temporary: Path) -> None:
    """This process is never among them, even if it names the folder."""
    assert processes_of([temporary]) == []
    assert processes_of([]) == []
