"""A crawl in a container with little memory: a real cgroup, made for the test where that is permitted."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from browsercrawl.pressure.cgroups import Cgroups
from browsercrawl.testing import DemoSite

if TYPE_CHECKING:
    from tests.faults.conftest import Wait

LIMIT_S = 90.0


class Container:
    """A memory cgroup of 512 MiB."""

    def __init__(self) -> None:
        place = Cgroups(Path("/")).place("memory")
        if place is None:
            raise FileNotFoundError("no memory controller is mounted")
        self.is_v2 = place.version == 2
        self.folder = Path(tempfile.mkdtemp(prefix="browsercrawl-test-", dir=place.mount))
        (self.folder / ("memory.max" if self.is_v2 else "memory.limit_in_bytes")).write_text("512M")

    @property
    def kills(self) -> int:
        """Processes that the kernel has killed in it."""
        text = (self.folder / ("memory.events" if self.is_v2 else "memory.oom_control")).read_text()
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill "))


@pytest.fixture
def container(wait: "Wait") -> Iterator[Container]:
    """Give one, and remove it."""
    try:
        made = Container()
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error!r}")
    yield made

    def is_removed() -> bool:
        with suppress(OSError):  # a process that has just ended may be in it for a moment yet
            made.folder.rmdir()
        return not made.folder.exists()

    wait(is_removed)


def test_crawl_in_a_small_container_finishes_without_a_kill(
    container: Container, site: DemoSite, tmp_path: Path
) -> None:
    """Pages of 100 MB, far more at once allowed than fit into 512 MiB: all come, the kernel kills nothing."""
    urls = [f"{site.url}/faults/big?mb=100&n={number}" for number in range(10)]
    crawl = [sys.executable, "-m", "browsercrawl", "crawl", *urls, "--concurrency", "16", "--json", "--quiet"]
    enter = ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(container.folder)]
    done = subprocess.run(
        [*enter, *crawl, "--output", str(tmp_path / "run")],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(each["outcome"], each["attempts"]) for each in results] == [("succeeded", 1)] * len(urls)
    assert container.kills == 0
