"""What holds for every test: nothing is left behind by a test, a module or the whole session.

Checked: child processes, threads, listening sockets and files in TMPDIR (against what was there before), and asyncio
tasks that their event loop had to cancel when it closed. The check costs a fraction of a millisecond, or some
with child processes; only what seems left over is looked at again, for as long as it may take to go by itself.
"""

import asyncio
import shutil
import tempfile
import threading
import time
from asyncio import runners
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import psutil
import pytest

_GOING_S = 3.0
"""A killed process and a joined thread may take a moment to vanish, on a loaded machine."""

_THIS = psutil.Process()


@dataclass(frozen=True, slots=True)
class _Footprint:
    """What this process has open on the machine, each thing by a name that can be read in a failure."""

    processes: frozenset[str]
    threads: frozenset[str]
    sockets: frozenset[str]
    files: frozenset[str]

    @classmethod
    def now(cls) -> "_Footprint":
        return cls(
            frozenset(f"{child.pid} {child.name()}" for child in _children() if child.is_running()),
            frozenset(f"{thread.name} ({thread.ident})" for thread in threading.enumerate()),
            frozenset(str(each.laddr) for each in _THIS.net_connections("inet") if each.status == psutil.CONN_LISTEN),
            frozenset(path.name for path in Path(tempfile.gettempdir()).iterdir()),
        )

    def beyond(self, before: "_Footprint") -> dict[str, list[str]]:
        new = {each.name: getattr(self, each.name) - getattr(before, each.name) for each in fields(self)}
        return {name: sorted(things) for name, things in new.items() if things}


def _children() -> list[psutil.Process]:
    """Return all that descend from this process; psutil looks at every process of the machine for that."""
    try:
        lists = [path.read_bytes() for path in Path("/proc/self/task").glob("*/children")]
    except OSError:  # a thread that has just ended
        lists = []
    has_none = bool(lists) and not any(lists)
    return [] if has_none else _THIS.children(recursive=True)


def _left(before: _Footprint) -> dict[str, list[str]]:
    until = time.monotonic() + _GOING_S
    while (left := _Footprint.now().beyond(before)) and time.monotonic() < until:
        time.sleep(0.02)
    return left


@pytest.fixture(scope="session", autouse=True)
def _tidy_session() -> Iterator[None]:
    """Give the session a TMPDIR of its own; afterwards it is empty, and no process anywhere still refers to it.

    The second catches what is not our child any more, such as a browser whose driver died before it.
    """
    outside = tempfile.gettempdir()
    private = tempfile.mkdtemp(prefix="bc-")  # short: sockets below it have at most 107 characters for their path
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_DEBUG_TEMPROOT", outside)  # pytest's own files stay where its user looks for them
        patch.setenv("TMPDIR", private)
        patch.setattr(tempfile, "tempdir", private)
        before = _Footprint.now()
        yield
        left = _left(before)
        orphans = _processes_naming(private)
    shutil.rmtree(private)
    assert not left, f"left behind by the session: {left}"
    assert not orphans, f"processes of this session that outlived their parents: {orphans}"


def _processes_naming(path: str) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            named = process.environ().get("TMPDIR") == path or any(path in word for word in process.cmdline())
        except psutil.Error:  # gone meanwhile, or another user's
            continue
        if named and process.pid != _THIS.pid:
            found.append(f"{process.pid} {process.name()}")
    return found


@pytest.fixture(scope="module", autouse=True)
def _tidy_module(_tidy_session: None) -> Iterator[None]:
    """Fail the module's last test when the module's fixtures leave something behind."""
    before = _Footprint.now()
    yield
    left = _left(before)
    assert not left, f"left behind by the module: {left}"


@pytest.fixture(autouse=True)
def _tidy_test(_tidy_module: None) -> Iterator[None]:
    """Fail a test that leaves something behind, and one whose event loop closes over tasks that are not done."""
    cancelled: list[str] = []
    cancel_all = runners._cancel_all_tasks  # type: ignore[attr-defined]  # private, therefore not in the stubs

    def record(loop: asyncio.AbstractEventLoop) -> None:
        cancelled.extend(repr(task) for task in asyncio.all_tasks(loop))
        cancel_all(loop)

    with pytest.MonkeyPatch.context() as patch:
        # what asyncio.Runner (so asyncio.run, so pytest-asyncio) calls to close a loop; there is no public hook
        patch.setattr(runners, "_cancel_all_tasks", record)
        before = _Footprint.now()
        yield
        left = _left(before)
    assert not left, f"left behind by the test: {left}"
    assert not cancelled, f"tasks not done when their event loop closed: {cancelled}"
