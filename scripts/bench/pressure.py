"""Whether a crawl lives within a memory limit: heavy pages in a cgroup made for it, version 1 or 2.

    python scripts/bench/pressure.py [--cases 1024,512,2048,step,mixed] [--subjects balanced,lean] [--rounds 1]
    python scripts/bench/pressure.py --subjects balanced,crawlee,crawl4ai --peers PEERS/bin/python --out raw.jsonl
    PLOTS/bin/python scripts/bench/pressure.py --plot docs/pressure.svg raw.jsonl

Each page fills its renderer with 100 MB before its load event; 16 pages at once are allowed. Cases: a limit in MiB
with 60 pages; `step`, 1 GiB, of which a neighbour takes half for eight seconds after ten pages; `mixed`, 1 GiB and
pages from 5 to 400 MB, with one of 1,500 MB that can never fit.

Each subject runs in a process of its own, alone in a fresh cgroup with the limit, against a site that runs outside.
Counted are pages that came, processes that the kernel killed for want of memory, the highest use, and pages/s from the
start of the crawl to its last page. Five times a second the cgroup's working set and its renderers are written down.
Crawlee runs with its own automatic concurrency, crawl4ai with its memory-adaptive dispatcher, both as they come, 16 at
most; `PEERS` is an environment that has them. Needs the right to make cgroups.
"""

import argparse
import asyncio
import itertools
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

ALLOWED = 16
LIMIT_S = 300.0
SAMPLE_S = 0.2
MIXED_MB = (5, 20, 50, 100, 200, 400)
NEVER_MB = 1500
NEIGHBOUR_AFTER, NEIGHBOUR_S = 10, 8
_V1 = Path("/sys/fs/cgroup/memory")
_V2 = Path("/sys/fs/cgroup")
_NEIGHBOUR = "import sys, time; held = bytearray(b'x') * int(sys.argv[1]); time.sleep(float(sys.argv[2]))"

Tell = Callable[..., None]
"""Takes facts of a crawl as it goes on: `done=1`, `limit=4`."""


class Case(NamedTuple):
    """What is to be crawled within which limit."""

    name: str
    limit_bytes: int
    pages_mb: list[int]
    has_neighbour: bool = False


class Group:
    """A cgroup with a memory limit."""

    def __init__(self, limit_bytes: int) -> None:
        self._is_v1 = (_V1 / "memory.limit_in_bytes").exists()
        self.path = Path(tempfile.mkdtemp(prefix="browsercrawl-bench-", dir=_V1 if self._is_v1 else _V2))
        (self.path / ("memory.limit_in_bytes" if self._is_v1 else "memory.max")).write_text(str(limit_bytes))

    @property
    def kills(self) -> int:
        """Processes that were killed in it for want of memory."""
        return self._field("memory.oom_control" if self._is_v1 else "memory.events", "oom_kill")

    @property
    def peak_bytes(self) -> int:
        """The most that was ever used in it."""
        return int((self.path / ("memory.max_usage_in_bytes" if self._is_v1 else "memory.peak")).read_text())

    @property
    def used_bytes(self) -> int:
        """Its working set."""
        usage = (self.path / ("memory.usage_in_bytes" if self._is_v1 else "memory.current")).read_text()
        return int(usage) - self._field("memory.stat", "total_inactive_file" if self._is_v1 else "inactive_file")

    @property
    def renderers(self) -> int:
        """Renderer processes in it."""
        found = 0
        for pid in (self.path / "cgroup.procs").read_text().split():
            with suppress(OSError):
                found += b"--type=renderer" in Path(f"/proc/{pid}/cmdline").read_bytes()
        return found

    def _field(self, file: str, name: str) -> int:
        lines = (self.path / file).read_text().splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith(f"{name} ")), 0)

    def start(self, command: Sequence[str]) -> "subprocess.Popen[str]":
        """Start a command in it."""
        entered = ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(self.path), *command]
        return subprocess.Popen(entered, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def close(self) -> None:
        """End what is in it, and remove it."""
        until = time.monotonic() + 10
        while True:
            for pid in (self.path / "cgroup.procs").read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            try:
                self.path.rmdir()
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)
            else:
                return


class Watch:
    """Runs a subject in a cgroup and writes down what can be seen from outside."""

    def __init__(self, case: Case, command: Sequence[str]) -> None:
        self.case = case
        self.group = Group(case.limit_bytes)
        self.samples: list[dict[str, float]] = []
        self.done = 0
        self.limit = math.nan
        self.seconds = math.nan
        self._begun: float | None = None
        self._process = self.group.start(command)
        self._neighbour: subprocess.Popen[str] | None = None

    def run(self) -> dict[str, Any]:
        """Watch it to its end, and return what was seen."""
        reader = threading.Thread(target=self._read)
        reader.start()
        until = time.monotonic() + LIMIT_S
        try:
            while self._process.poll() is None and time.monotonic() < until:
                self._sample()
                time.sleep(SAMPLE_S)
            kills, peak = self.group.kills, self.group.peak_bytes
        finally:
            self.group.close()
            self._process.wait()
            reader.join()
            if self._neighbour is not None:
                self._neighbour.wait()
        seen = {"done": self.done, "seconds": self.seconds, "kills": kills, "peak": peak, "samples": self.samples}
        return {"case": self.case.name, "pages": len(self.case.pages_mb), "limit": self.case.limit_bytes, **seen}

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with suppress(ValueError):
                fact = json.loads(line)
                if "begun" in fact:
                    self._begun = time.monotonic()
                self.limit = fact.get("limit", self.limit)
                self.done += fact.get("done", 0)
                if "done" in fact and self._begun is not None:
                    self.seconds = time.monotonic() - self._begun

    def _sample(self) -> None:
        if self._begun is None:
            return
        at_s = time.monotonic() - self._begun
        seen = {"used": self.group.used_bytes, "renderers": self.group.renderers, "kills": self.group.kills}
        self.samples.append({"at": round(at_s, 2), "done": self.done, "limit": self.limit, **seen})
        if self.case.has_neighbour and self._neighbour is None and self.done >= NEIGHBOUR_AFTER:
            half = str(self.case.limit_bytes // 2)
            self._neighbour = self.group.start([sys.executable, "-c", _NEIGHBOUR, half, str(NEIGHBOUR_S)])


async def crawl_with_us(urls: list[str], profile: str, tell: Tell) -> None:
    """Crawl with one of our profiles."""
    from browsercrawl import Crawler, CrawlerConfig
    from browsercrawl.events import Event, LimitChanged

    def on_event(event: Event) -> None:
        if isinstance(event, LimitChanged):
            tell(limit=event.limit)

    config = CrawlerConfig.load({"profile": profile, "concurrency": ALLOWED, "visit": {"capture": []}})
    tell(limit=ALLOWED)
    async with Crawler(config, on_event=on_event) as crawler, crawler.stream(urls) as stream:
        async for result in stream:
            tell(done=int(result.outcome == "succeeded"))


async def crawl_with_crawlee(urls: list[str], executable: str, tell: Tell) -> None:
    """Crawl with Crawlee's automatic concurrency."""
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
        tell(done=int(context.request.url not in came))
        came.add(context.request.url)

    crawler.router.default_handler(take)
    await crawler.run(urls)


async def crawl_with_crawl4ai(urls: list[str], executable: str, tell: Tell) -> None:
    """Crawl with crawl4ai's memory-adaptive dispatcher."""
    from crawl4ai import (  # type: ignore[import-not-found]  # installed beside, see soak
        AsyncWebCrawler,
        BrowserConfig,
        CacheMode,
        CrawlerRunConfig,
        MemoryAdaptiveDispatcher,
    )
    from playwright.async_api import BrowserType

    launch = BrowserType.launch

    async def launch_given(self: BrowserType, **options: Any) -> Any:
        return await launch(self, **{"executable_path": executable, **options})

    # crawl4ai has no setting for the path of the executable.
    BrowserType.launch = launch_given  # type: ignore[method-assign]  # same
    config = CrawlerRunConfig(cache_mode=CacheMode.BYPASS, wait_until="load", verbose=False, stream=True)
    async with AsyncWebCrawler(config=BrowserConfig(verbose=False)) as crawler:
        dispatcher = MemoryAdaptiveDispatcher(max_session_permit=ALLOWED)
        async for result in await crawler.arun_many(urls, config=config, dispatcher=dispatcher):
            tell(done=int(result.success))


def crawl(subject: str, urls: list[str], executable: str) -> None:
    """Crawl as one of the subjects, and print how it goes on."""

    def tell(**facts: int) -> None:
        print(json.dumps(facts), flush=True)

    tell(begun=1)
    if subject == "crawlee":
        asyncio.run(crawl_with_crawlee(urls, executable, tell))
    elif subject == "crawl4ai":
        asyncio.run(crawl_with_crawl4ai(urls, executable, tell))
    else:
        asyncio.run(crawl_with_us(urls, subject, tell))


def cases(names: str) -> Iterator[Case]:
    """Read the names of cases."""
    for name in names.split(","):
        if name == "step":
            yield Case("1024 MiB, step", 2**30, [100] * 60, has_neighbour=True)
        elif name == "mixed":
            sizes = [MIXED_MB[number % len(MIXED_MB)] for number in range(48)]
            yield Case("1024 MiB, mixed", 2**30, [*sizes[:24], NEVER_MB, *sizes[24:]])
        else:
            yield Case(f"{name} MiB", int(name) * 2**20, [100] * 60)


def compare(all_cases: Sequence[Case], subjects: dict[str, str], *, rounds: int, out: Path | None) -> None:
    """Run all subjects in each case, in turn, and print the table."""
    from browsercrawl.browser import find_browser
    from browsercrawl.config import BrowserConfig
    from browsercrawl.testing import DemoSite

    executable = str(find_browser(BrowserConfig()).path)
    print(f"{'case':17}{'subject':10}{'pages done':>12}{'kills':>7}{'peak':>9}{'seconds':>9}{'pages/s':>9}")
    with DemoSite() as site:
        for case in all_cases:
            urls = [f"{site.url}/faults/big?mb={mb}&page={number}" for number, mb in enumerate(case.pages_mb)]
            for subject, python in [*subjects.items()] * rounds:
                one = json.dumps([subject, urls, executable])
                seen = Watch(case, [python, "-W", "ignore", __file__, "--one", one]).run()
                print(
                    f"{case.name:17}{subject:10}{seen['done']:>5} of {seen['pages']:<4}{seen['kills']:>7}"
                    f"{seen['peak'] / 2**20:>6.0f} MiB{seen['seconds']:>9.1f}{seen['done'] / seen['seconds']:>9.2f}",
                    flush=True,
                )
                if out is not None:
                    with out.open("a") as file:
                        file.write(json.dumps({"subject": subject, **seen}) + "\n")


def plot(raw: Path, picture: Path) -> None:
    """Draw one column for each case, with what each subject did in it."""
    import matplotlib as mpl  # type: ignore[import-not-found]  # no dependency of the project
    from matplotlib import pyplot as plt

    runs = [json.loads(line) for line in raw.read_text().splitlines()]
    names = list(dict.fromkeys(run["case"] for run in runs))
    subjects = list(dict.fromkeys(run["subject"] for run in runs))
    colours = dict(zip(subjects, ("#1f6f8b", "#7a9e3b", "#c8553d", "#8d6a9f"), strict=False))
    rows = ("memory, MiB", "renderers, limit", "pages done")
    style = {"svg.hashsalt": "pressure", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False}
    with mpl.rc_context({**style, "axes.spines.right": False}):
        figure, axes = plt.subplots(len(rows), len(names), figsize=(3.4 * len(names), 6.4), squeeze=False, sharex="col")
        for column, name in enumerate(names):
            memory, pages, done = (axes[row][column] for row in range(len(rows)))
            memory.set_title(name, loc="left")
            for run in [run for run in runs if run["case"] == name]:
                colour, samples = colours[run["subject"]], run["samples"]
                at = [each["at"] for each in samples]
                memory.plot(at, [each["used"] / 2**20 for each in samples], color=colour, lw=1)
                killed = [now["at"] for before, now in itertools.pairwise(samples) if now["kills"] > before["kills"]]
                memory.plot(killed, [run["limit"] / 2**20 * 1.05] * len(killed), "x", color=colour, ms=5)
                pages.plot(at, [each["renderers"] for each in samples], color=colour, lw=1)
                pages.plot(at, [each["limit"] for each in samples], color=colour, lw=1, ls=":")
                done.plot(at, [each["done"] for each in samples], color=colour, lw=1.4, label=run["subject"])
                memory.axhline(run["limit"] / 2**20, color="#999999", lw=0.7)
            memory.set_ylim(0, None)
            done.set_xlabel("seconds")
        for row, words in enumerate(rows):
            axes[row][0].set_ylabel(words)
        axes[-1][0].legend(frameon=False, loc="lower right")
        figure.tight_layout()
        figure.savefig(picture, metadata={"Date": None} if picture.suffix == ".svg" else None, facecolor="white")


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default="1024,512,2048,step,mixed", help="limits in MiB, step, mixed, with commas")
    parser.add_argument("--subjects", default="balanced,lean", help="profiles, crawlee, crawl4ai, with commas")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--peers", default=sys.executable, help="interpreter of the environment that has the others")
    parser.add_argument("--out", type=Path, help="append what was seen, for --plot")
    parser.add_argument("--plot", nargs=2, type=Path, metavar=("PICTURE", "RAW"))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        crawl(*json.loads(arguments.one))
        return
    if arguments.plot:
        plot(arguments.plot[1], arguments.plot[0])
        return
    peers = ("crawlee", "crawl4ai")
    subjects = {name: arguments.peers if name in peers else sys.executable for name in arguments.subjects.split(",")}
    compare(list(cases(arguments.cases)), subjects, rounds=arguments.rounds, out=arguments.out)


if __name__ == "__main__":
    main()
