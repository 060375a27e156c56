"""The guardian: what it kills when its owner dies, and what it leaves alone."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from browsercrawl.browser import guardian as module
from browsercrawl.browser.guardian import _SCRIPT, Guardian

_LIMIT_S = 10.0
_NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder as a driver has one."""
    with tempfile.TemporaryDirectory(prefix="guarded-", ignore_cleanup_errors=True) as made:
        path = Path(made)
        (path / "profile").mkdir()
        (path / "profile" / "lock").write_text("x")
        yield path


@pytest.fixture
def start() -> Iterator[Start]:
    """Start `sleep` with a TMPDIR; what still runs at the end is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def sleep(tmpdir: Path | str, *, group: int | None = None) -> "subprocess.Popen[bytes]":
        """`group`: 0 to lead one, else the one to join; None: the test's own."""
        process = subprocess.Popen(["sleep", "60"], env={**os.environ, "TMPDIR": str(tmpdir)}, process_group=group)
        started.append(process)
        return process

    yield sleep
    for process in started:
        process.kill()
        process.wait()


def wait(condition: Callable[[], bool]) -> None:
    """Wait until something has become true in another process."""
    until = time.monotonic() + _LIMIT_S
    while not condition():
        assert time.monotonic() < until, "not in time"
        time.sleep(0.01)


def is_there(path: Path) -> bool:
    """Tell whether a file or folder exists."""
    return path.exists()


def ignores(pid: int | None, number: int) -> bool:
    """Tell whether a process ignores a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    (mask,) = (int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigIgn:"))
    return bool(mask >> (number - 1) & 1)


def close(guardian: Guardian) -> None:
    """Have a guardian see what it sees when its owner dies."""
    assert guardian._process is not None
    assert guardian._process.stdin is not None
    guardian._process.stdin.close()


def ended(guardian: Guardian) -> int:
    """Wait for its end; returns its exit code."""
    assert guardian._process is not None
    return guardian._process.wait(_LIMIT_S)


def test_guardian_owner_dies_kills_what_it_was_told(folder: Path, start: Start) -> None:
    """A stopped driver, and a group with a stopped member and no leader any more, are killed; the folder is removed."""
    driver, leader = start(folder), start(folder, group=0)
    member = start("/elsewhere", group=leader.pid)
    guardian = Guardian(folder)
    guardian.tell("driver", driver.pid)
    guardian.tell("group", leader.pid)
    for process in (driver, member):
        process.send_signal(signal.SIGSTOP)
    leader.kill()
    leader.wait()
    close(guardian)
    assert (driver.wait(_LIMIT_S), member.wait(_LIMIT_S)) == (-signal.SIGKILL, -signal.SIGKILL)
    assert ended(guardian) == 0
    assert not folder.exists()


@_NEEDS_PROC
def test_guardian_told_nothing_finds_them_by_the_folder(folder: Path, start: Start) -> None:
    """Killed during a launch: driver and browser are known by their TMPDIR; a group is killed with its leader."""
    driver, leader = start(folder), start(folder, group=0)
    member = start("/elsewhere", group=leader.pid)
    bystander = start(f"{folder}-not")
    guardian = Guardian(folder)
    close(guardian)
    for process in (driver, leader, member):
        assert process.wait(_LIMIT_S) == -signal.SIGKILL
    assert ended(guardian) == 0
    assert bystander.poll() is None
    assert not folder.exists()


@_NEEDS_PROC
def test_guardian_number_of_another_process_is_left_alone(folder: Path, start: Start) -> None:
    """A number that was given to somebody else since is not killed: neither process nor group."""
    driver, leader = start("/elsewhere"), start("/elsewhere", group=0)
    guardian = Guardian(folder)
    guardian.tell("driver", driver.pid)
    guardian.tell("group", leader.pid)
    close(guardian)
    assert ended(guardian) == 0
    assert (driver.poll(), leader.poll()) == (None, None)
    assert not folder.exists()


async def test_guardian_dismissed_touches_nothing(folder: Path, start: Start) -> None:
    """Dismissed it is gone at once, asked twice as well, and a stopped one too; nothing was killed or removed."""
    driver = start(folder)
    guardian, stopped = Guardian(folder), Guardian(folder)
    for each in (guardian, stopped):
        each.tell("driver", driver.pid)
    assert stopped.pid is not None
    os.kill(stopped.pid, signal.SIGSTOP)
    for each in (guardian, guardian, stopped):
        await each.dismiss()
        assert each._process is not None
        assert each._process.returncode is not None
    guardian.tell("driver", driver.pid)
    assert driver.poll() is None
    assert is_there(folder / "profile" / "lock")


@_NEEDS_PROC
def test_guardian_signals_of_a_terminal_do_not_end_it(folder: Path) -> None:
    """It is in a session of its own, and outlives INT, TERM, HUP and QUIT while its owner lives."""
    guardian = Guardian(folder)
    assert guardian.pid is not None
    assert os.getsid(guardian.pid) == guardian.pid
    wait(lambda: ignores(guardian.pid, signal.SIGTERM))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        os.kill(guardian.pid, number)
    assert folder.exists()
    close(guardian)
    assert ended(guardian) == 0
    assert not folder.exists()


async def test_guardian_without_a_shell_does_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no shell can be started everything else works."""
    monkeypatch.setattr(module, "_SHELL", str(folder / "none"))
    guardian = Guardian(folder)
    guardian.tell("driver", os.getpid())
    assert guardian.pid is None
    await guardian.dismiss()
    assert is_there(folder)


@pytest.mark.parametrize("number", ["", "0", "1", "01", "-1", "x", "7 8", "$(touch made)", "*"])
def test_guardian_senseless_number_kills_nothing(folder: Path, number: str, tmp_path: Path) -> None:
    """Neither everybody's nor process 1's number is ever used, nor what is no number."""
    record = 'kill() { echo "$*" >>killed; }\n' + _SCRIPT.replace("/proc/", "/nowhere/")
    subprocess.run(
        ["sh", "-c", record, "guardian", str(folder)],
        input=f"driver {number}\ngroup {number}\n", text=True, cwd=tmp_path, check=True, timeout=_LIMIT_S,
    )  # fmt: skip
    assert list(tmp_path.iterdir()) == []
    assert not folder.exists()
