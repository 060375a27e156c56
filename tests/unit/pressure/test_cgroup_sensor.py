"""The sensors inside a real cgroup, made for the test where that is permitted."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from browsercrawl.pressure.cgroups import Cgroups

MB = 1_000_000
LIMIT_S = 60.0
PROGRAM = """
import dataclasses, json, os, sys, time
for folder in sys.argv[1:]:
    with open(f"{folder}/cgroup.procs", "w") as file:
        file.write(str(os.getpid()))
from browsercrawl.clock import SystemClock
from browsercrawl.pressure import Sensors
sensors = Sensors(clock=SystemClock())
first = sensors.read()
held = bytearray(b"x") * 60_000_000
until = time.monotonic() + 1.0
while time.monotonic() < until:
    pass
found = {each.what: each.source for each in sensors.where()}
print(json.dumps([dataclasses.asdict(first), dataclasses.asdict(sensors.read()), found]))
"""


class Group:
    """A cgroup below those there are, in each hierarchy that a controller of ours is in."""

    def __init__(self, name: str) -> None:
        found = {name: Cgroups(Path("/")).place(name) for name in ("memory", "cpu", "cpuacct", "pids")}
        self.folders = {controller: Path(place.mount) / name for controller, place in found.items() if place}
        self.version = found["memory"].version if found["memory"] else 0

    def make(self) -> None:
        """Make it, and one inside it.

        Raises:
            OSError: it is not permitted, or not all controllers are there.
        """
        if len(self.folders) < 4:
            raise FileNotFoundError("not all controllers are mounted")
        for folder in set(self.folders.values()):
            folder.mkdir()
            if self.version == 2:
                (folder / "cgroup.subtree_control").write_text("+memory +cpu +pids")
            (folder / "inner").mkdir()
        self.set("memory", {"memory.max": "512M"} if self.version == 2 else {"memory.limit_in_bytes": "512M"})

    def set(self, controller: str, files: dict[str, str]) -> None:
        """Set limits of it."""
        for name, text in files.items():
            (self.folders[controller] / name).write_text(text)

    def remove(self) -> None:
        """Remove it; a process that has just ended may be in it for a moment yet."""
        until = time.monotonic() + LIMIT_S
        for folder in (each / inner for each in set(self.folders.values()) for inner in ("inner", "")):
            while folder.is_dir() and time.monotonic() < until:
                with suppress(OSError):
                    folder.rmdir()


@pytest.fixture
def group() -> Iterator[Group]:
    """Give a cgroup with another inside; the outer one has 512 MiB."""
    made = Group(f"browsercrawl-test-{os.getpid()}")
    try:
        made.make()
    except OSError as error:
        made.remove()
        pytest.skip(f"no cgroup can be made here: {error!r}")
    yield made
    made.remove()


def test_sensors_inside_a_real_cgroup_see_its_limits(group: Group) -> None:
    """A process in a group inside a limited one sees that limit, what is used of it, and where it is written."""
    if group.version == 2:
        group.set("cpu", {"cpu.max": "50000 100000"})
    else:
        group.set("cpu", {"cpu.cfs_quota_us": "50000"})
    group.set("pids", {"pids.max": "77"})
    command = [sys.executable, "-c", PROGRAM, *{str(folder / "inner") for folder in group.folders.values()}]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr
    first, second, found = json.loads(done.stdout)
    name = group.folders["memory"].name
    _assert_told(second, name=f"cgroup v{group.version} /{name}")
    assert 55 * MB < second["memory_used_bytes"] - first["memory_used_bytes"] < 90 * MB
    assert second["cpu_share"] > 0.3  # it was busy for a second, with half a core
    files = {"memory.max", "memory.limit_in_bytes", "cpu.max", "cpu.cfs_quota_us", "pids.max"}
    for what in ("memory limit", "CPU cores", "processes"):
        assert Path(found[what]).name in files
        assert Path(found[what]).parent.name == name


def _assert_told(reading: dict[str, Any], *, name: str) -> None:
    assert (reading["memory_source"], reading["memory_limit_bytes"]) == (name, 512 * 1024 * 1024)
    assert 55 * MB < reading["memory_used_bytes"] < reading["memory_limit_bytes"]
    assert (reading["cpu_cores"], reading["pids_max"], reading["oom_kills"]) == (0.5, 77, 0)
    assert 1 <= reading["pids"] < 77
