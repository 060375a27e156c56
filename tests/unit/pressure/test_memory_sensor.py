"""The memory sensor, on recorded trees of cgroup v2, v1 and hybrid machines: the level that binds is the one read."""

from pathlib import Path

import psutil
import pytest

from browsercrawl.pressure import MemoryReading, read_memory
from browsercrawl.pressure import memory as memory_module

MB = 1_000_000
TOTAL = 24_000 * MB
UNLIMITED_V1 = 9_223_372_036_854_771_712

V2_MOUNT = "29 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNTS = (
    "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
    "35 31 0:32 {top} /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
)
HYBRID_CGROUPS = "9:name=systemd:/\n8:pids:/\n4:memory:{path}\n2:cpuacct:/\n1:cpu:/\n0::/\n"


class Tree:
    """Recorded files below a directory that stands for `/`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: str) -> None:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def v2(self, folder: str, *, limit: int | None, used: int, cache: int = 0) -> None:
        base = f"/sys/fs/cgroup{folder}"
        self.write(f"{base}/memory.max", f"{limit or 'max'}\n")
        self.write(f"{base}/memory.current", f"{used}\n")
        self.write(f"{base}/memory.stat", f"anon 1\nfile 2\ninactive_anon 3\ninactive_file {cache}\nactive_file 5\n")

    def v1(self, folder: str, *, limit: int | None, used: int, cache: int = 0) -> None:
        base = f"/sys/fs/cgroup/memory{folder}"
        self.write(f"{base}/memory.limit_in_bytes", f"{limit or UNLIMITED_V1}\n")
        self.write(f"{base}/memory.usage_in_bytes", f"{used}\n")
        self.write(f"{base}/memory.stat", f"cache 1\ninactive_file 7\ntotal_cache 1\ntotal_inactive_file {cache}\n")

    def read(self) -> MemoryReading:
        return read_memory(self.root)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """Give an empty tree, on a machine of 24 GB of which 4 GB are used."""
    monkeypatch.setattr(memory_module, "_host", lambda: MemoryReading(4_000 * MB, TOTAL, "host"))
    return Tree(tmp_path)


def test_memory_cgroup_v2_reads_working_set(tree: Tree) -> None:
    """Version 2: the limit of the own cgroup; used is without the file cache that can be given back."""
    tree.write("/proc/self/cgroup", "0::/app.slice/crawl\n")
    tree.write("/proc/self/mountinfo", V2_MOUNT)
    tree.v2("/app.slice/crawl", limit=1_000 * MB, used=700 * MB, cache=200 * MB)
    tree.v2("/app.slice", limit=None, used=900 * MB)
    reading = tree.read()
    assert reading == MemoryReading(500 * MB, 1_000 * MB, "cgroup2")
    assert reading.share == 0.5


def test_memory_cgroup_v2_parent_with_less_room_binds(tree: Tree) -> None:
    """A parent that others have nearly filled binds, though its limit is higher; its usage counts, not ours."""
    tree.write("/proc/self/cgroup", "0::/pod/crawl\n")
    tree.write("/proc/self/mountinfo", V2_MOUNT)
    tree.v2("/pod/crawl", limit=2_000 * MB, used=100 * MB)
    tree.v2("/pod", limit=4_000 * MB, used=3_900 * MB)
    assert tree.read() == MemoryReading(3_900 * MB, 4_000 * MB, "cgroup2")


def test_memory_cgroup_v2_namespace_reads_mount_itself(tree: Tree) -> None:
    """In a container with its own namespace the path is `/` and the container's limit stands at the mount."""
    tree.write("/proc/self/cgroup", "0::/\n")
    tree.write("/proc/self/mountinfo", V2_MOUNT)
    tree.v2("", limit=512 * MB, used=100 * MB)
    assert tree.read() == MemoryReading(100 * MB, 512 * MB, "cgroup2")


def test_memory_cgroup_v2_path_outside_namespace_is_not_followed(tree: Tree) -> None:
    """A path that leads out of the namespace is read at the mount."""
    tree.write("/proc/self/cgroup", "0::/../../other\n")
    tree.write("/proc/self/mountinfo", V2_MOUNT)
    tree.v2("", limit=512 * MB, used=100 * MB)
    assert tree.read() == MemoryReading(100 * MB, 512 * MB, "cgroup2")


def test_memory_cgroup_v1_container_without_namespace(tree: Tree) -> None:
    """Version 1 in a container that sees only its own part: the path's mounted prefix is taken off."""
    tree.write("/proc/self/cgroup", HYBRID_CGROUPS.format(path="/docker/abc").replace("0::/\n", ""))
    tree.write("/proc/self/mountinfo", V1_MOUNTS.format(top="/docker/abc"))
    tree.v1("", limit=1_000 * MB, used=600 * MB, cache=100 * MB)
    assert tree.read() == MemoryReading(500 * MB, 1_000 * MB, "cgroup1")


def test_memory_hybrid_reads_version_1(tree: Tree) -> None:
    """Hybrid: version 2 is mounted too, but memory belongs to version 1; the least room up the tree binds."""
    tree.write("/proc/self/cgroup", HYBRID_CGROUPS.format(path="/jobs/one"))
    tree.write("/proc/self/mountinfo", V1_MOUNTS.format(top="/"))
    tree.write("/sys/fs/cgroup/unified/cgroup.controllers", "\n")
    tree.v1("/jobs/one", limit=None, used=100 * MB)
    tree.v1("/jobs", limit=3_000 * MB, used=800 * MB, cache=50 * MB)
    tree.v1("", limit=None, used=5_000 * MB)
    assert tree.read() == MemoryReading(750 * MB, 3_000 * MB, "cgroup1")


def test_memory_without_limit_reads_host(tree: Tree) -> None:
    """Where no level has a limit (recorded from a hybrid machine), the machine itself is what binds."""
    tree.write("/proc/self/cgroup", HYBRID_CGROUPS.format(path="/"))
    tree.write("/proc/self/mountinfo", V1_MOUNTS.format(top="/"))
    tree.v1("", limit=None, used=348_626_944, cache=253_321_216)
    assert tree.read() == MemoryReading(4_000 * MB, TOTAL, "host")


def test_memory_full_host_binds_before_generous_limit(tree: Tree) -> None:
    """A limit that the machine cannot honour any more does not hide that the machine is full."""
    tree.write("/proc/self/cgroup", "0::/x\n")
    tree.write("/proc/self/mountinfo", V2_MOUNT)
    tree.v2("/x", limit=TOTAL - MB, used=100 * MB)
    assert tree.read().source == "host"


@pytest.mark.parametrize("text", ["", "garbage\n", "0::/x", "0:::\n1:2\n", "4:memory:/gone\n"])
def test_memory_unreadable_files_fall_back_to_host(tree: Tree, text: str) -> None:
    """Missing, empty or garbled files never raise: the machine's own figures are taken."""
    assert tree.read().source == "host"
    tree.write("/proc/self/cgroup", text)
    assert tree.read().source == "host"
    tree.write("/proc/self/mountinfo", text)
    assert tree.read().source == "host"


def test_memory_nothing_readable_is_unknown(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be read the reading says so, and its share is 0."""
    monkeypatch.setattr(memory_module, "_host", lambda: None)
    assert tree.read() == MemoryReading(0, 0, "unknown")
    assert tree.read().share == 0.0


def test_memory_host_failure_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that hides its memory gives no reading and raises nothing."""

    def refuse() -> None:
        raise PermissionError("/proc/meminfo")

    monkeypatch.setattr(psutil, "virtual_memory", refuse)
    assert read_memory(tmp_path).source == "unknown"


def test_memory_of_this_machine_is_plausible() -> None:
    """On this very machine something is used, and less than the limit."""
    reading = read_memory()
    assert 0 < reading.used_bytes < reading.limit_bytes
