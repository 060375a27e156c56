"""All sensors together: rates between readings, quotas, counts, and machines on which hardly anything can be read."""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from browsercrawl.clock import SystemClock
from browsercrawl.pressure import Reading, Sensors
from browsercrawl.testing.virtual_clock import VirtualClock

Record = Callable[[Mapping[str, str]], Path]

V2 = {
    "/proc/self/cgroup": "0::/pod/crawl\n",
    "/proc/self/mountinfo": "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
    "/sys/fs/cgroup/pod/crawl/cgroup.procs": "1\n",
}
V1 = {
    "/proc/self/cgroup": "8:pids:/jobs\n2:cpuacct:/jobs\n1:cpu:/jobs\n0::/\n",
    "/proc/self/mountinfo": (
        "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
        "33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct\n"
        "39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n"
        "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
    ),
    "/sys/fs/cgroup/cpu/jobs/cgroup.procs": "1\n",
    "/sys/fs/cgroup/pids/jobs/cgroup.procs": "1\n",
}
GROUP = "/sys/fs/cgroup/pod/crawl"
IDLE = "cpu  0 0 0 0 0 0 0 0 0 0\n" + "".join(f"cpu{core} 0 0 0 {{ticks}} 0 0 0 0 0 0\n" for core in range(512))


class Machine:
    """A recorded machine, and the sensors that look at it once a second."""

    def __init__(self, record: Record, files: Mapping[str, str]) -> None:
        self.record = record
        self.clock = VirtualClock()
        self.root = record({"/proc/stat": IDLE.format(ticks=1000), **files})
        self.sensors = Sensors(clock=self.clock, root=self.root)
        self._ticks = 1000

    async def second(self, files: Mapping[str, str] | None = None) -> Reading:
        """Let a second pass in which the machine is idle, unless the files say otherwise, and look."""
        await self.clock.advance(1)
        self._ticks += 100
        self.record({"/proc/stat": IDLE.format(ticks=self._ticks), **(files or {})})
        return self.sensors.read()

    def source(self, what: str) -> str:
        """Return where something was found."""
        (source,) = [each.source for each in self.sensors.where() if each.what == what]
        return source


def stalls(some_us: int, full_us: int) -> str:
    """Return what the kernel tells of stalls."""
    return (
        f"some avg10=1.00 avg60=0.00 avg300=0.00 total={some_us}\n"
        f"full avg10=0.50 avg60=0.00 avg300=0.00 total={full_us}\n"
    )


@pytest.fixture
def own_cores() -> Iterator[frozenset[int]]:
    """Give the cores this process may run on, and restore them."""
    if sys.platform != "linux":
        pytest.skip("only Linux tells the cores of a process")
    cores = os.sched_getaffinity(0)
    yield frozenset(cores)
    os.sched_setaffinity(0, cores)


async def test_sensors_stalls_of_own_cgroup_are_a_share_of_the_time_between_readings(record: Record) -> None:
    """PSI is the growth of `total` since the last reading, of our own cgroup before that of the machine."""
    files = {f"{GROUP}/memory.pressure": stalls(5_000_000, 1_000_000), "/proc/pressure/memory": stalls(9, 9)}
    machine = Machine(record, {**V2, **files})
    first = machine.sensors.read()
    assert (first.psi_some, first.psi_full) == (None, None)
    reading = await machine.second({f"{GROUP}/memory.pressure": stalls(5_250_000, 1_100_000)})
    assert [reading.psi_some, reading.psi_full] == pytest.approx([0.25, 0.1])
    reading = await machine.second({f"{GROUP}/memory.pressure": stalls(9_999_000, 1_100_000)})
    assert (reading.psi_some, reading.psi_full) == (1.0, 0.0)
    assert machine.source("memory stalls") == f"{GROUP}/memory.pressure"


async def test_sensors_stalls_are_those_of_the_machine_where_the_cgroup_tells_none(record: Record) -> None:
    """Version 1 has no PSI of its own: that of the machine is taken; a kernel without any gives None."""
    machine = Machine(record, V1)
    assert machine.sensors.read().psi_some is None
    assert (await machine.second()).psi_some is None
    assert machine.source("memory stalls") == ""
    await machine.second({"/proc/pressure/memory": stalls(0, 0)})
    reading = await machine.second({"/proc/pressure/memory": stalls(500_000, 0)})
    assert [reading.psi_some, reading.psi_full] == pytest.approx([0.5, 0.0])
    assert machine.source("memory stalls") == "/proc/pressure/memory"


async def test_sensors_hybrid_stalls_are_told_by_version_2(record: Record) -> None:
    """Version 2 tells the stalls of our cgroup also where it has no controller of its own."""
    machine = Machine(record, {**V1, "/sys/fs/cgroup/unified/memory.pressure": stalls(1, 1)})
    assert machine.source("memory stalls") == "/sys/fs/cgroup/unified/memory.pressure"


async def test_sensors_readings_close_together_keep_the_last_rates(record: Record) -> None:
    """A second look in the same moment says the same as the first, and does not shorten the next span."""
    machine = Machine(record, {**V2, "/proc/pressure/memory": stalls(0, 0)})
    machine.sensors.read()
    reading = await machine.second({"/proc/pressure/memory": stalls(200_000, 0)})
    record({"/proc/pressure/memory": stalls(400_000, 0)})
    again = machine.sensors.read()
    assert (again.psi_some, again.cpu_share) == (reading.psi_some, reading.cpu_share)
    assert (await machine.second({"/proc/pressure/memory": stalls(700_000, 0)})).psi_some == pytest.approx(0.5)


async def test_sensors_counter_that_begins_anew_gives_no_rate(record: Record) -> None:
    """A counter that is smaller than before says nothing, once."""
    machine = Machine(record, {**V2, "/proc/pressure/memory": stalls(9_000_000, 0)})
    machine.sensors.read()
    assert (await machine.second({"/proc/pressure/memory": stalls(1, 0)})).psi_some is None
    assert (await machine.second({"/proc/pressure/memory": stalls(100_001, 0)})).psi_some == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("own", "parent"),
    [("75000 100000", "max 100000"), ("max 100000", "75000 100000"), ("75000 100000", "80000 100000")],
)
async def test_sensors_cpu_quota_v2_is_found_at_any_level(record: Record, own: str, parent: str) -> None:
    """Version 2: cores are those of the tightest quota on the way up, and use is measured at the level that has it."""
    folder = GROUP if own != "max 100000" else "/sys/fs/cgroup/pod"
    quota = {f"{GROUP}/cpu.max": f"{own}\n", "/sys/fs/cgroup/pod/cpu.max": f"{parent}\n"}
    machine = Machine(record, {**V2, **quota, f"{folder}/cpu.stat": "usage_usec 7000000\nuser_usec 1\n"})
    assert machine.sensors.read().cpu_share is None
    reading = await machine.second({f"{folder}/cpu.stat": "usage_usec 7600000\nuser_usec 1\n"})
    assert [reading.cpu_cores, reading.cpu_share] == pytest.approx([0.75, 0.8])
    assert machine.source("CPU cores") == f"{folder}/cpu.max"


async def test_sensors_cpu_quota_v1_is_measured_by_its_account(record: Record) -> None:
    """Version 1: the quota is of one hierarchy, the use of another; -1 is no quota."""
    files = {
        "/sys/fs/cgroup/cpu/jobs/cpu.cfs_quota_us": "50000\n",
        "/sys/fs/cgroup/cpu/jobs/cpu.cfs_period_us": "100000\n",
        "/sys/fs/cgroup/cpuacct/jobs/cpuacct.usage": "1000000000\n",
    }
    machine = Machine(record, {**V1, **files})
    machine.sensors.read()
    reading = await machine.second({"/sys/fs/cgroup/cpuacct/jobs/cpuacct.usage": "1550000000\n"})
    assert [reading.cpu_cores, reading.cpu_share] == pytest.approx([0.5, 1.1])
    record({"/sys/fs/cgroup/cpu/jobs/cpu.cfs_quota_us": "-1\n"})
    reading = await machine.second()
    assert (reading.cpu_cores, reading.cpu_share) == (len(os.sched_getaffinity(0)), 0.0)


async def test_sensors_cpu_without_quota_is_that_of_our_cores(record: Record, own_cores: frozenset[int]) -> None:
    """Cores are those this process may run on; what anyone does on them counts, what is done on others does not."""
    core = min(own_cores)
    os.sched_setaffinity(0, {core})
    machine = Machine(record, {})
    machine.sensors.read()
    # user, nice, system, idle, iowait, irq, softirq, steal
    idle = IDLE.format(ticks=1000).splitlines()
    idle[core + 1] = f"cpu{core} 30 5 10 1040 10 2 1 2 0 0"
    idle[core + 2] = f"cpu{core + 1} 99 0 0 1001 0 0 0 0 0 0"
    reading = await machine.second({"/proc/stat": "\n".join(idle)})
    assert [reading.cpu_cores, reading.cpu_share] == pytest.approx([1.0, 0.5])
    assert machine.source("CPU cores") == ("taskset or cpuset" if (os.cpu_count() or 1) > 1 else "host")


async def test_sensors_busy_machine_outweighs_an_idle_group(record: Record) -> None:
    """A group far below its quota gets no more CPU where others have taken all of it."""
    files = {f"{GROUP}/cpu.max": "75000 100000\n", f"{GROUP}/cpu.stat": "usage_usec 0\n"}
    machine = Machine(record, {**V2, **files})
    machine.sensors.read()
    busy = "cpu 0\n" + "".join(f"cpu{core} 90 0 0 1010 0 0 0 0 0 0\n" for core in range(512))
    reading = await machine.second({"/proc/stat": busy, f"{GROUP}/cpu.stat": "usage_usec 75000\n"})
    assert reading.cpu_share == pytest.approx(0.9)


def test_sensors_pids_are_those_of_the_level_with_least_room(record: Record) -> None:
    """Processes and threads are counted where the fewest may still come: our cgroup, its parents, or the machine."""
    host = {"/proc/loadavg": "0.1 0.1 0.1 3/700 4711\n", "/proc/sys/kernel/pid_max": "32768\n"}
    machine = Machine(record, {**V2, **host, "/proc/sys/kernel/threads-max": "190000\n"})
    reading = machine.sensors.read()
    assert (reading.pids, reading.pids_max) == (700, 32_768)
    record({f"{GROUP}/pids.max": "max\n", f"{GROUP}/pids.current": "90\n"})
    assert (machine.sensors.read().pids, reading.pids_max) == (700, 32_768)
    record({"/sys/fs/cgroup/pod/pids.max": "512\n", "/sys/fs/cgroup/pod/pids.current": "150\n"})
    reading = machine.sensors.read()
    assert (reading.pids, reading.pids_max) == (150, 512)
    assert machine.source("processes") == "/sys/fs/cgroup/pod/pids.max"


def test_sensors_pids_v1_are_found_in_their_own_hierarchy(record: Record) -> None:
    """Version 1 keeps them in a hierarchy of their own; a machine that tells no limit has none."""
    machine = Machine(record, {**V1, "/proc/loadavg": "0.1 0.1 0.1 3/700 4711\n"})
    reading = machine.sensors.read()
    assert (reading.pids, reading.pids_max) == (700, None)
    record({"/sys/fs/cgroup/pids/jobs/pids.max": "100\n", "/sys/fs/cgroup/pids/jobs/pids.current": "40\n"})
    reading = machine.sensors.read()
    assert (reading.pids, reading.pids_max) == (40, 100)


def test_sensors_open_files_are_counted() -> None:
    """Each file this process opens is one more."""
    sensors = Sensors(clock=SystemClock())
    before = sensors.read()
    with ExitStack() as opened:
        for _ in range(50):
            opened.enter_context(Path(os.devnull).open("rb"))
        assert sensors.read().open_files == before.open_files + 50
    assert before.open_files_max is None or before.open_files_max > before.open_files > 2


async def test_sensors_loop_lag_is_the_worst_since_the_last_reading() -> None:
    """A loop that is held up shows at once, even before it comes to run again, and only in one reading."""
    async with Sensors(clock=SystemClock()) as sensors:
        await asyncio.sleep(0)  # the measuring begins
        time.sleep(1.0)  # noqa: ASYNC251 - what is measured: a callback that holds the loop up
        assert 0.8 < sensors.read().loop_lag_s < 60
        assert sensors.read().loop_lag_s < 0.8


async def test_sensors_loop_that_is_on_time_has_no_lag() -> None:
    """Nothing is added by the measuring itself, and nothing is measured before it is entered or after."""
    clock = VirtualClock()
    sensors = Sensors(clock=clock)
    assert sensors.read().loop_lag_s == 0
    async with sensors:
        await clock.advance(10)
        assert sensors.read().loop_lag_s == pytest.approx(0)
    await clock.advance(10)
    assert sensors.read().loop_lag_s == pytest.approx(0)


@pytest.mark.parametrize("text", ["", "garbage", "\0\xff\n" * 99, "9" * 70_000, "max max max", "-1 -1", "cpu\ncpu0\n"])
@pytest.mark.parametrize("place", [V1, V2, {}])
async def test_sensors_garbled_machine_gives_a_reading(record: Record, place: Mapping[str, str], text: str) -> None:
    """Whatever the files say, nothing raises, and what is unknown is said to be."""
    kernel = ("/proc/stat", "/proc/loadavg", "/proc/vmstat", "/proc/self/statm", "/proc/pressure/memory")
    limits = ("/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max")
    names = ("cpu.max", "cpu.stat", "memory.max", "memory.events", "memory.pressure", "pids.max", "pids.current")
    old = (
        "cpu/jobs/cpu.cfs_quota_us",
        "cpu/jobs/cpu.cfs_period_us",
        "cpuacct/jobs/cpuacct.usage",
        "pids/jobs/pids.max",
    )
    paths = [*kernel, *limits, *(f"{GROUP}/{name}" for name in names), *(f"/sys/fs/cgroup/{name}" for name in old)]
    machine = Machine(record, {**dict.fromkeys(paths, text), **place})
    for _ in range(2):
        reading = await machine.second(dict.fromkeys(paths, text))
        assert (reading.psi_some, reading.oom_kills, reading.pids, reading.pids_max) == (None, 0, 0, None)
        assert reading.cpu_cores == len(os.sched_getaffinity(0))
        assert reading.memory_source == "host"
    assert {each.what for each in machine.sensors.where()} == {
        "memory limit", "memory used", "memory stalls", "CPU cores", "open files", "processes",
    }  # fmt: skip


def test_sensors_gauge_that_looks_itself_is_told_all_but_the_gauges() -> None:
    """A gauge may go by what the sensors say, at the first look too; one that takes itself out harms nothing."""
    sensors = Sensors(clock=SystemClock(), memory_limit_bytes=300_000_000)
    seen: list[Reading] = []

    def looks() -> float:
        seen.append(sensors.read())
        return 0.5

    def leaves() -> float:
        del sensors.gauges["leaves"]
        raise ValueError("gone")

    sensors.gauges |= {"looks": looks, "leaves": leaves}
    reading = sensors.read()
    assert seen == [replace(reading, gauges={})]
    assert reading.gauges == {"looks": 0.5}
    assert [name for name, _ in sensors.take_broken()] == ["leaves"]


def test_sensors_setting_is_the_limit() -> None:
    """What the user allows is told as the limit, and where it is from."""
    sensors = Sensors(clock=SystemClock(), memory_limit_bytes=300_000_000)
    reading = sensors.read()
    assert (reading.memory_limit_bytes, reading.memory_source) == (300_000_000, "setting")
    assert ("memory limit", 300_000_000, "memory_limit") in sensors.where()


async def test_sensors_of_this_machine_are_plausible() -> None:
    """On this very machine everything that Linux tells is told, within its limits."""
    sensors = Sensors(clock=SystemClock())
    first = sensors.read()
    while (reading := sensors.read()).cpu_share is None:  # noqa: ASYNC110 - what is waited for is the kernel's clock
        await asyncio.sleep(0.05)
    assert first.at_s < reading.at_s
    assert 0 < reading.memory_used_bytes < reading.memory_limit_bytes
    assert 0 <= reading.cpu_share < 2
    assert 0 < reading.cpu_cores <= (os.cpu_count() or 1)
    assert reading.pids > 0
