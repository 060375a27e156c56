"""What the engine itself costs: CPU and memory per request, with the fake browser.

    python scripts/bench/engine.py [--sizes 1000,100000,1000000] [--durable]

With `--durable` each run has a directory: the frontier is the SQLite store, and every result is written.

Each size runs in a process of its own. CPU is the process's user and system time over the run, divided by its requests;
memory is the growth of its resident set between the first tenth and the end, divided by the requests finished meanwhile
(a plain list of what is left after garbage collection would miss what the allocator keeps).
"""

import argparse
import asyncio
import gc
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from browsercrawl import Crawler, CrawlerConfig
from browsercrawl.testing.fake_browser import FakePageScript, fake_launcher

CONCURRENCY = 16
HOSTS = 100
PAGE = FakePageScript(title="page", html="<html></html>" * 100, text="text " * 100)


async def crawl(size: int, output: Path | None) -> tuple[float, float]:
    """Crawl `size` URLs; return CPU seconds per request and bytes of growth per finished request."""
    process = psutil.Process()
    early = max(1, size // 10)
    rss_early = 0

    def urls() -> Iterator[str]:
        for number in range(size):
            yield f"http://host{number % HOSTS}.example/page/{number}"

    capture = {"capture": ["html", "text"]}
    config = CrawlerConfig.load({"concurrency": CONCURRENCY, "visit": capture, "output": output})
    done = 0
    started = time.process_time()
    async with Crawler(config, launch=fake_launcher(lambda _url: PAGE)) as crawler, crawler.stream(urls()) as stream:
        async for result in stream:
            assert result.outcome == "succeeded", result
            done += 1
            if done == early:
                gc.collect()
                rss_early = process.memory_info().rss
        gc.collect()
        rss_late = process.memory_info().rss
    assert done == size, f"{done} results of {size}"
    return (time.process_time() - started) / size, (rss_late - rss_early) / (size - early)


def main() -> None:
    """Run every size in a process of its own and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1000,100000,1000000", help="comma-separated numbers of requests")
    parser.add_argument("--durable", action="store_true", help="with a run directory")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            output = Path(folder) / "run" if arguments.durable else None
            cpu_s, growth = asyncio.run(crawl(arguments.one, output))
        print(f"{arguments.one:>10,} requests  {cpu_s * 1e6:8.0f} us CPU each  {growth:8.0f} bytes each", flush=True)
        return
    for size in arguments.sizes.split(","):
        durable = ["--durable"] if arguments.durable else []
        subprocess.run([sys.executable, __file__, "--one", size, *durable], check=True)


if __name__ == "__main__":
    main()
