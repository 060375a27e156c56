"""The memory sensor, on recorded machines: the level that binds is the one read, and nothing it finds there raises."""

from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import pytest

from browsercrawl.pressure import MemoryReading, read_memory
from browsercrawl.pressure.cgroups import Cgroups
from browsercrawl.pressure.memory import Memory

Record = Callable[[Mapping[str, str]], Path]

MB = 1_000_000
HOST = (4_096_000_000, 24_576_000_000, "host")
UNLIMITED_V1 = 9_223_372_036_854_771_712

V2_MOUNT = "29 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNTS = (
    "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n"
    "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
    "35 31 0:32 {top} /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
)
V2_MOUNT_BESIDE_V1 = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
V1_CGROUPS = "9:name=systemd:/\n8:pids:/\n4:memory:{path}\n2:cpuacct:/\n1:cpu:/\n"


def v2(folder: str, *, limit: int | str, used: int, cache: int = 0, high: int | str = "max") -> dict[str, str]:
    """Return the files of a cgroup of version 2."""
    base = f"/sys/fs/cgroup{folder}"
    return {
        f"{base}/memory.max": f"{limit}\n",
        f"{base}/memory.high": f"{high}\n",
        f"{base}/memory.current": f"{used}\n",
        f"{base}/memory.stat": f"anon 1\nfile 2\ninactive_anon 3\ninactive_file {cache}\nactive_file 5\n",
        f"{base}/memory.events": "low 0\nhigh 3\nmax 17\noom 2\noom_kill 1\noom_group_kill 0\n",
    }


def v1(
    folder: str, *, used: int, limit: int = UNLIMITED_V1, cache: int = 0, above: int = UNLIMITED_V1
) -> dict[str, str]:
    """Return the files of a cgroup of version 1; `above` is the tightest limit of it and its parents."""
    base = f"/sys/fs/cgroup/memory{folder}"
    stat = f"cache 1\ninactive_file 7\nhierarchical_memory_limit {above}\ntotal_cache 1\ntotal_inactive_file {cache}\n"
    return {
        f"{base}/memory.limit_in_bytes": f"{limit}\n",
        f"{base}/memory.usage_in_bytes": f"{used}\n",
        f"{base}/memory.stat": stat,
        f"{base}/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n",
    }


def process(cgroup: str, mounts: str) -> dict[str, str]:
    """Return the files that say where this process is."""
    return {"/proc/self/cgroup": cgroup, "/proc/self/mountinfo": mounts}


def v1_process(*, path: str, top: str = "/") -> dict[str, str]:
    """Return the same for a machine that has version 1 only."""
    return process(V1_CGROUPS.format(path=path), V1_MOUNTS.format(top=top))


def found(reading: MemoryReading) -> tuple[int, int, str]:
    """Return what a reading says without the files it is from."""
    return reading.used_bytes, reading.limit_bytes, reading.source


def memory(root: Path, *, limit_bytes: int | None = None) -> Memory:
    """Return the sensor of a recorded machine."""
    return Memory(root, cgroups=Cgroups(root), limit_bytes=limit_bytes)


def test_memory_cgroup_v2_reads_working_set(record: Record) -> None:
    """Version 2: the limit of the own cgroup; used is without the file cache that can be given back."""
    root = record({
        **process("0::/app.slice/crawl\n", V2_MOUNT),
        **v2("/app.slice/crawl", limit=1_000 * MB, used=700 * MB, cache=200 * MB),
        **v2("/app.slice", limit="max", used=900 * MB),
    })  # fmt: skip
    reading = read_memory(root)
    folder = f"{root}/sys/fs/cgroup/app.slice/crawl"
    files = (f"{folder}/memory.max", f"{folder}/memory.current")
    assert reading == MemoryReading(500 * MB, 1_000 * MB, "cgroup v2 /app.slice/crawl", files)
    assert (reading.share, reading.room_bytes) == (0.5, 500 * MB)


def test_memory_cgroup_v2_parent_with_less_room_binds(record: Record) -> None:
    """A parent that others have nearly filled binds, though its limit is higher; its usage counts, not ours."""
    root = record({
        **process("0::/pod/crawl\n", V2_MOUNT),
        **v2("/pod/crawl", limit=2_000 * MB, used=100 * MB),
        **v2("/pod", limit=4_000 * MB, used=3_900 * MB),
    })  # fmt: skip
    assert found(read_memory(root)) == (3_900 * MB, 4_000 * MB, "cgroup v2 /pod")


def test_memory_level_that_binds_changes_between_readings(record: Record) -> None:
    """Which level binds is found anew at each reading, and so are limits that are changed while the crawl runs."""
    root = record({
        **process("0::/pod/crawl\n", V2_MOUNT),
        **v2("/pod/crawl", limit=2_000 * MB, used=100 * MB),
        **v2("/pod", limit="max", used=3_900 * MB),
    })  # fmt: skip
    sensor = memory(root)
    assert found(sensor.read()) == (100 * MB, 2_000 * MB, "cgroup v2 /pod/crawl")
    record(v2("/pod", limit=4_000 * MB, used=3_900 * MB))
    assert found(sensor.read()) == (3_900 * MB, 4_000 * MB, "cgroup v2 /pod")
    record(v2("/pod/crawl", limit=120 * MB, used=100 * MB))
    assert found(sensor.read()) == (100 * MB, 120 * MB, "cgroup v2 /pod/crawl")


def test_memory_cgroup_v2_throttled_level_is_a_limit(record: Record) -> None:
    """`memory.high` binds where it is lower: above it the kernel lets nobody go on."""
    root = record({
        **process("0::/x\n", V2_MOUNT), **v2("/x", limit=1_000 * MB, high=900 * MB, used=100 * MB),
    })  # fmt: skip
    reading = read_memory(root)
    assert found(reading) == (100 * MB, 900 * MB, "cgroup v2 /x")
    assert reading.files[0].endswith("/x/memory.high")


@pytest.mark.parametrize("path", ["/", "/../../other", "/docker/abc"])
def test_memory_cgroup_v2_in_container_reads_mount_itself(record: Record, path: str) -> None:
    """Where only the container's part is mounted, its limit stands at the mount, whatever path the process is told."""
    root = record({**process(f"0::{path}\n", V2_MOUNT), **v2("", limit=512 * MB, used=100 * MB)})
    assert found(read_memory(root)) == (100 * MB, 512 * MB, "cgroup v2 /")


def test_memory_cgroup_v1_reads_tightest_level(record: Record) -> None:
    """Version 1: a level without limit is passed over; the parent's working set counts against the parent's limit."""
    root = record({
        **v1_process(path="/jobs/one"),
        **v1("/jobs/one", used=100 * MB),
        **v1("/jobs", limit=3_000 * MB, used=800 * MB, cache=50 * MB),
        **v1("", used=5_000 * MB),
    })  # fmt: skip
    assert found(read_memory(root)) == (750 * MB, 3_000 * MB, "cgroup v1 /jobs")


def test_memory_cgroup_v1_in_container_reads_mounted_part(record: Record) -> None:
    """Version 1 in a container that sees only its own part: the path's mounted prefix is taken off."""
    root = record({
        **v1_process(path="/docker/abc/inner", top="/docker/abc"),
        **v1("", limit=1_000 * MB, used=600 * MB, cache=100 * MB),
        **v1("/inner", limit=900 * MB, used=200 * MB),
    })  # fmt: skip
    assert found(read_memory(root)) == (500 * MB, 1_000 * MB, "cgroup v1 /")


def test_memory_cgroup_v1_limit_of_hidden_parent_is_known(record: Record) -> None:
    """A parent that is not mounted in the container still limits it, which version 1 tells at each level."""
    root = record({
        **v1_process(path="/docker/abc", top="/docker/abc"), **v1("", used=600 * MB, cache=100 * MB, above=800 * MB),
    })  # fmt: skip
    reading = read_memory(root)
    assert found(reading) == (500 * MB, 800 * MB, "cgroup v1 /")
    assert reading.files[0].endswith("/memory/memory.stat")


def test_memory_cgroup_v1_mount_of_another_group_is_not_mistaken_for_ours(record: Record) -> None:
    """A mounted group whose name only begins like ours has no folder for us: what is mounted is read itself."""
    root = record({
        **v1_process(path="/docker/abcd", top="/docker/abc"),
        **v1("", limit=1_000 * MB, used=1 * MB),
        **v1("/d", limit=7 * MB, used=1 * MB),
    })  # fmt: skip
    assert found(read_memory(root)) == (1 * MB, 1_000 * MB, "cgroup v1 /")


def test_memory_hybrid_reads_version_1(record: Record) -> None:
    """Hybrid, as recorded: version 2 is mounted too and has our process, but memory belongs to version 1."""
    path = "/jobs/9329e4d5"
    root = record({
        **process(V1_CGROUPS.format(path=path) + "0::/\n", V1_MOUNTS.format(top="/") + V2_MOUNT_BESIDE_V1),
        "/sys/fs/cgroup/unified/cgroup.controllers": "\n",
        "/sys/fs/cgroup/unified/memory.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
        **v1(path, limit=1_073_741_824, used=5_140_480, cache=143_360),
        **v1("/jobs", used=50 * MB),
        **v1("", used=348_626_944, cache=253_321_216),
    })  # fmt: skip
    assert found(read_memory(root)) == (4_997_120, 1_073_741_824, f"cgroup v1 {path}")


def test_memory_without_limit_reads_host(record: Record) -> None:
    """Where no level has a limit (recorded from a hybrid machine), the machine itself is what binds."""
    root = record({**v1_process(path="/"), **v1("", used=348_626_944, cache=253_321_216)})
    reading = read_memory(root)
    assert found(reading) == HOST
    assert reading.files == (f"{root}/proc/meminfo",) * 2


def test_memory_full_host_binds_before_generous_limit(record: Record) -> None:
    """A limit that the machine cannot honour any more does not hide that the machine is full."""
    root = record({**process("0::/x\n", V2_MOUNT), **v2("/x", limit=24_000 * MB, used=100 * MB)})
    assert found(read_memory(root)) == HOST


@pytest.mark.parametrize(
    "text",
    ["", "\n\n", "garbage\n", "\0\xff" * 99, "0::/x", "0:::\n1:2\n", "4:memory:/gone\n", "9" * 70_000, "-1\n", "max"],
)
def test_memory_unreadable_files_fall_back_to_host(record: Record, text: str) -> None:
    """Missing, empty or garbled files never raise: the machine's own figures are taken."""
    assert found(read_memory(record({}))) == HOST
    assert found(read_memory(record({"/proc/self/cgroup": text}))) == HOST
    assert found(read_memory(record({"/proc/self/mountinfo": text}))) == HOST
    garbled = dict.fromkeys([*v2("/x", limit=1, used=1), *v1("/x", limit=1, used=1)], text)
    for cgroup, mounts in (("0::/x\n", V2_MOUNT), (V1_CGROUPS.format(path="/x"), V1_MOUNTS.format(top="/"))):
        root = record({**garbled, **process(cgroup, mounts)})
        assert found(read_memory(root)) == HOST
        assert memory(root).kills() == 0


def test_memory_level_that_may_not_be_read_is_passed_over(record: Record) -> None:
    """A level whose files cannot be read does not hide those above it."""
    root = record({
        **process("0::/pod/crawl\n", V2_MOUNT), **v2("/pod", limit=4_000 * MB, used=3_900 * MB),
    })  # fmt: skip
    (root / "sys/fs/cgroup/pod/crawl/memory.max").mkdir(parents=True)  # to read it fails, for root too
    assert found(read_memory(root)) == (3_900 * MB, 4_000 * MB, "cgroup v2 /pod")


def test_memory_nothing_readable_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that hides its memory gives a reading that says so, with a share of 0, and raises nothing."""

    def refuse() -> None:
        raise PermissionError("/proc/meminfo")

    monkeypatch.setattr(psutil, "virtual_memory", refuse)
    assert read_memory(tmp_path) == MemoryReading(0, 0, "unknown")
    assert read_memory(tmp_path).share == 0.0


def test_memory_other_system_is_read_through_psutil(tmp_path: Path) -> None:
    """Where there is no `/proc`, as on macOS, the operating system's own figures are taken."""
    reading = read_memory(tmp_path)
    assert (reading.source, reading.limit_bytes) == ("host", psutil.virtual_memory().total)
    assert memory(tmp_path).own_bytes() > MB


def test_memory_setting_below_the_limit_binds(record: Record) -> None:
    """What the user allows binds where it leaves less room; what others had before does not count against it."""
    root = record({"/proc/self/statm": "9000 5000 1000 1 0 8000 0\n"})
    own = memory(root).own_bytes()
    assert own > 0
    sensor = memory(root, limit_bytes=2_000 * MB)
    assert found(sensor.read()) == (own, 2_000 * MB, "setting")
    record({"/proc/meminfo": "MemTotal: 24000000 kB\nMemAvailable: 19000000 kB\n"})
    assert found(sensor.read()) == (own + 1_024_000_000, 2_000 * MB, "setting")


def test_memory_setting_above_the_limit_changes_nothing(record: Record) -> None:
    """A setting overrides downwards only: the container's limit binds before a higher one."""
    root = record({**process("0::/x\n", V2_MOUNT), **v2("/x", limit=1_000 * MB, used=700 * MB)})
    assert found(memory(root, limit_bytes=2_000 * MB).read()) == (700 * MB, 1_000 * MB, "cgroup v2 /x")


def test_memory_setting_counts_within_the_own_cgroup(record: Record) -> None:
    """In a container the neighbours outside of it do not count against the setting; memory given back does."""
    files = {
        **process("0::/x\n", V2_MOUNT), **v2("/x", limit="max", used=800 * MB), "/proc/self/statm": "9 0 0 0 0 0 0\n",
    }  # fmt: skip
    sensor = memory(record(files), limit_bytes=500 * MB)
    assert found(sensor.read()) == (0, 500 * MB, "setting")
    record({"/proc/meminfo": "MemTotal: 24000000 kB\nMemAvailable: 9000000 kB\n"})
    assert found(sensor.read()) == (0, 500 * MB, "setting")
    record(v2("/x", limit="max", used=600 * MB))  # a neighbour in the container has left
    assert sensor.read().used_bytes == 0
    record(v2("/x", limit="max", used=700 * MB))
    assert found(sensor.read()) == (100 * MB, 500 * MB, "setting")


def test_memory_kills_are_those_of_the_own_cgroup(record: Record) -> None:
    """Out-of-memory kills are counted where they happen: in our cgroup; without one, on the machine."""
    assert memory(record({})).kills() == 0
    assert memory(record({"/proc/vmstat": "nr_free_pages 1\noom_kill 7\ndrop_pagecache 0\n"})).kills() == 7
    assert memory(record({**v1_process(path="/x"), **v1("/x", used=1)})).kills() == 4
    assert memory(record({**process("0::/x\n", V2_MOUNT), **v2("/x", limit="max", used=1)})).kills() == 1


def test_memory_of_this_machine_is_plausible() -> None:
    """On this very machine something is used, and less than the limit."""
    reading = read_memory()
    assert 0 < reading.used_bytes < reading.limit_bytes
