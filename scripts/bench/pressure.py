"""Whether a crawl lives within a memory limit: heavy pages in a cgroup made for it, version 1 or 2.

    python scripts/bench/pressure.py [--limits 512,1024,2048] [--pages 60] [--profiles balanced,lean]
    python scripts/bench/pressure.py --limits 1024 --peers PEERS/bin/python

Each page fills its renderer with 100 MB before its load event (`--mixed`: from 5 to 400 MB); 16 pages at once are
allowed. Each subject runs in a process of its own, alone in a fresh cgroup with the limit, against a site that runs
outside. Counted are pages that came, processes that the kernel killed for want of memory, the highest use, and
pages/s from the first request to the last result. With `--peers` Crawlee crawls the same pages in the same way, with
its own automatic concurrency. Needs the right to make cgroups.
"""

import argparse
import asyncio
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

ALLOWED = 16
LIMIT_S = 900.0
MIXED_MB = (5, 20, 50, 100, 200, 400)
_V1 = Path("/sys/fs/cgroup/memory")
_V2 = Path("/sys/fs/cgroup")


class Measured(NamedTuple):
    """What one run came to."""

    done: int
    seconds: float
    kills: int
    peak_bytes: int


class Group:
    """A cgroup with a memory limit."""

    def __init__(self, limit_bytes: int) -> None:
        self._is_v1 = (_V1 / "memory.limit_in_bytes").exists()
        self.path = Path(tempfile.mkdtemp(prefix="browsercrawl-bench-", dir=_V1 if self._is_v1 else _V2))
        (self.path / ("memory.limit_in_bytes" if self._is_v1 else "memory.max")).write_text(str(limit_bytes))

    @property
    def kills(self) -> int:
        """Processes that were killed in it for want of memory."""
        lines = (self.path / ("memory.oom_control" if self._is_v1 else "memory.events")).read_text().splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)

    @property
    def peak_bytes(self) -> int:
        """The most that was ever used in it."""
        return int((self.path / ("memory.max_usage_in_bytes" if self._is_v1 else "memory.peak")).read_text())

    def run(self, command: Sequence[str]) -> str:
        """Run a command in it and return what it printed."""
        entered = ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(self.path), *command]
        done = subprocess.run(entered, stdout=subprocess.PIPE, text=True, timeout=LIMIT_S, check=False)
        return done.stdout

    def close(self) -> None:
        """Remove it; its processes are gone a moment after its last command."""
        until = time.monotonic() + 10
        while True:
            try:
                self.path.rmdir()
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)
            else:
                return


async def crawl_with_us(urls: list[str], profile: str) -> int:
    """Crawl and return how many pages came."""
    from browsercrawl import Crawler, CrawlerConfig

    config = CrawlerConfig.load({"profile": profile, "concurrency": ALLOWED, "visit": {"capture": []}})
    done = 0
    async with Crawler(config) as crawler, crawler.stream(urls) as stream:
        async for result in stream:
            done += result.outcome == "succeeded"
    return done


async def crawl_with_crawlee(urls: list[str], executable: str) -> int:
    """Crawl with Crawlee's automatic concurrency and return how many pages came."""
    from crawlee import ConcurrencySettings  # type: ignore[import-not-found]  # installed beside, see soak
    from crawlee.crawlers import PlaywrightCrawler  # type: ignore[import-not-found]  # same
    from crawlee.storage_clients import MemoryStorageClient  # type: ignore[import-not-found]  # same

    crawler = PlaywrightCrawler(
        browser_launch_options={"executable_path": executable, "chromium_sandbox": os.geteuid() != 0},
        concurrency_settings=ConcurrencySettings(max_concurrency=ALLOWED),
        configure_logging=False,
        fingerprint_generator=None,
        headless=True,
        storage_client=MemoryStorageClient(),
    )
    came: set[str] = set()

    async def take(context: Any) -> None:
        await context.page.title()
        came.add(context.request.url)

    crawler.router.default_handler(take)
    await crawler.run(urls)
    return len(came)


def crawl(subject: str, urls: list[str], executable: str) -> None:
    """Crawl as one of the subjects and print what came of it."""
    started = time.monotonic()
    work = crawl_with_crawlee(urls, executable) if subject == "crawlee" else crawl_with_us(urls, subject)
    done = asyncio.run(work)
    print(json.dumps({"done": done, "seconds": time.monotonic() - started}))


def measured(python: str, subject: str, urls: list[str], *, limit_bytes: int) -> Measured:
    """Run a subject within a limit."""
    from browsercrawl.browser import find_browser
    from browsercrawl.config import BrowserConfig

    executable = str(find_browser(BrowserConfig()).path)
    group = Group(limit_bytes)
    try:
        output = group.run([python, "-W", "ignore", __file__, "--one", json.dumps([subject, urls, executable])])
        report: dict[str, Any] = json.loads(output.splitlines()[-1]) if output else {"done": 0, "seconds": math.nan}
        return Measured(int(report["done"]), float(report["seconds"]), group.kills, group.peak_bytes)
    finally:
        group.close()


def compare(limits_mb: list[int], subjects: dict[str, str], *, pages: int, mixed: bool) -> None:
    """Run all subjects within each limit and print the table."""
    print(f"{'limit':>9}  {'subject':10}{'pages done':>12}{'kills':>7}{'peak':>9}{'pages/s':>9}")
    from browsercrawl.testing import DemoSite

    with DemoSite() as site:
        for limit_mb in limits_mb:
            for subject, python in subjects.items():
                sizes = [MIXED_MB[number % len(MIXED_MB)] if mixed else 100 for number in range(pages)]
                urls = [f"{site.url}/faults/big?mb={size}&page={number}" for number, size in enumerate(sizes)]
                seen = measured(python, subject, urls, limit_bytes=limit_mb * 2**20)
                print(
                    f"{limit_mb:5} MiB  {subject:10}{seen.done:>5} of {pages:<4}{seen.kills:>7}"
                    f"{seen.peak_bytes / 2**20:>6.0f} MiB{seen.done / seen.seconds:>8.2f}",
                    flush=True,
                )


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limits", default="512,1024,2048", help="in MiB, with commas")
    parser.add_argument("--pages", type=int, default=60)
    parser.add_argument("--profiles", default="balanced,lean")
    parser.add_argument("--mixed", action="store_true", help="pages from 5 to 400 MB")
    parser.add_argument("--peers", help="interpreter of the environment that has Crawlee")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        crawl(*json.loads(arguments.one))
        return
    subjects = dict.fromkeys(arguments.profiles.split(","), sys.executable)
    if arguments.peers:
        subjects["crawlee"] = arguments.peers
    limits_mb = [int(each) for each in arguments.limits.split(",")]
    compare(limits_mb, subjects, pages=arguments.pages, mixed=arguments.mixed)


if __name__ == "__main__":
    main()
