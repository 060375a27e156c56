"""Whether `concurrency="auto"` finds a good number of pages by itself: its throughput beside that of fixed numbers.

    python scripts/bench/concurrency.py [--rounds 5] [--fixed 1,2,4,8,16,32,64] [--fixed-s 15] [--auto-s 60]

Two sites: `busy`, product pages of the demo shop, which keep the cores busy; and `far`, pages of a server that takes
500 ms for each answer. Every round crawls each with each number of pages and with `auto`, in turn, each in a process of
its own; the site is served by another. Throughput is from the first result on, so that a browser's launch is left out;
what `auto` loses while it looks is in it, and told apart: the second figure is that of its last third. A ratio is of
one round's `auto` and its best fixed number; quoted are medians over the rounds.
"""

import argparse
import asyncio
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import aclosing
from typing import NamedTuple
from urllib.request import urlopen

FAR_MS = 500


class Measured(NamedTuple):
    """Pages/s over the whole run and over its last third, and how many pages might be in use at its end."""

    rate: float
    late_rate: float
    limit: int


async def crawl(base: str, workload: str, *, concurrency: int | str, seconds: float) -> Measured:
    """Crawl for so many seconds from the first result on."""
    from browsercrawl import Crawler, CrawlerConfig
    from browsercrawl.events import LimitChanged

    limits: list[int] = []
    config = CrawlerConfig.load({"concurrency": concurrency, "visit": {"capture": ["links"]}})
    crawler = Crawler(
        config, on_event=lambda event: limits.extend([event.limit] if isinstance(event, LimitChanged) else [])
    )
    at: list[float] = []
    async with crawler, aclosing(crawler.stream(addresses(base, workload))) as stream:
        async for result in stream:
            assert result.outcome == "succeeded", result.error
            at.append(time.monotonic())
            if at[-1] - at[0] >= seconds:
                break
    late = [each for each in at if each >= at[0] + seconds * 2 / 3]
    limit = limits[-1] if limits else config.pages_start
    return Measured((len(at) - 1) / (at[-1] - at[0]), (len(late) - 1) / max(late[-1] - late[0], 1e-9), limit)


def addresses(base: str, workload: str) -> Iterator[str]:
    """Return addresses without end."""
    with urlopen(f"{base}/truth.json") as answer:
        pages = json.load(answer)["pages"]
    products = [page["path"] for page in pages if page["path"].startswith("/product/")]
    for number, path in enumerate(itertools.cycle(products)):
        yield f"{base}{path}?visit={number}" if workload == "busy" else f"{base}/faults/slow?ms={FAR_MS}&visit={number}"


def measured(base: str, workload: str, *, concurrency: int | str, seconds: float) -> Measured:
    """Crawl in a process of its own."""
    command = [sys.executable, __file__, "--one", json.dumps([base, workload, concurrency, seconds])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=seconds * 3 + 60)
    return Measured(*json.loads(done.stdout.splitlines()[-1]))


def compare(base: str, workload: str, *, rounds: int, sizes: list[int], fixed_s: float, auto_s: float) -> None:
    """Measure one site and print its table."""
    names: list[int | str] = [*sizes, "auto"]
    seen: dict[int | str, list[Measured]] = {size: [] for size in names}
    for _ in range(rounds):
        for size, runs in seen.items():
            seconds = auto_s if size == "auto" else fixed_s
            runs.append(measured(base, workload, concurrency=size, seconds=seconds))
            print(f"  {workload} {size}: {runs[-1].rate:.1f} pages/s", file=sys.stderr, flush=True)
    best = [max(runs[number].rate for size, runs in seen.items() if size != "auto") for number in range(rounds)]
    print(f"{workload}\n{'pages':>7}{'pages/s':>10}{'lowest':>9}{'highest':>9}")
    for size, runs in seen.items():
        rates = [run.rate for run in runs]
        print(f"{size:>7}{statistics.median(rates):>10.1f}{min(rates):>9.1f}{max(rates):>9.1f}")
    autos = seen["auto"]
    whole = [run.rate / most for run, most in zip(autos, best, strict=True)]
    late = [run.late_rate / most for run, most in zip(autos, best, strict=True)]
    print(
        f"auto to the best fixed number, median {statistics.median(whole):.2f} ({min(whole):.2f} to {max(whole):.2f})"
    )
    print(f"  of its last third {statistics.median(late):.2f} ({min(late):.2f} to {max(late):.2f})")
    print(f"  pages at its end: {', '.join(str(run.limit) for run in autos)}", flush=True)


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fixed", default="1,2,4,8,16,32,64", help="numbers of pages, with commas")
    parser.add_argument("--fixed-s", type=float, default=15.0)
    parser.add_argument("--auto-s", type=float, default=60.0)
    parser.add_argument("--workloads", default="busy,far")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        base, workload, concurrency, seconds = json.loads(arguments.one)
        print(json.dumps(asyncio.run(crawl(base, workload, concurrency=concurrency, seconds=seconds))))
        return
    site = subprocess.Popen([sys.executable, "-m", "browsercrawl.testing"], stdout=subprocess.PIPE, text=True)
    assert site.stdout is not None
    try:
        base = next(word for word in site.stdout.readline().split() if word.startswith("http")).rstrip("/.")
        sizes = [int(each) for each in arguments.fixed.split(",")]
        for workload in arguments.workloads.split(","):
            compare(
                base,
                workload,
                rounds=arguments.rounds,
                sizes=sizes,
                fixed_s=arguments.fixed_s,
                auto_s=arguments.auto_s,
            )
    finally:
        site.terminate()
        site.wait()


if __name__ == "__main__":
    main()
