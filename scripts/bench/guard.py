"""What the network guard costs per page: the same crawl with it and without, on two kinds of pages.

    python scripts/bench/guard.py [--rounds 5] [--short 60] [--long 260]

`shop` are product pages of the demo shop, which run scripts; `images` are pages with fifty images of 2 KB each, none of
them seen before, so that every one is fetched. Four pages at once, each crawl in a process of its own; the sites are
served by others, which are not counted. Every round runs each way at two lengths; the difference of their CPU seconds
(whole process tree) by the difference of their pages is the cost of a page with start-up taken off. The two ways run at
the same time where cgroups tell their CPU apart, so that whatever else the machine does falls on both; else in turn.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.request import urlopen

from tree_cpu import can_run_together, measured_run

PAGES_AT_ONCE = 4
IMAGES = 50
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(2_000)
WAYS = ("off", "on")
SITES = ("shop", "images")


def serve_images() -> None:
    """Serve pages of images until the process is ended."""
    from browsercrawl.testing.server import Exchange, Server

    def answer(exchange: Exchange) -> None:
        if exchange.path.startswith("/page/"):
            number = exchange.path.rpartition("/")[2]
            images = "".join(f"<img src='/image/{number}-{each}'>" for each in range(IMAGES))
            exchange.respond(f"<!doctype html><title>{number}</title>{images}".encode())
        else:
            exchange.respond(PICTURE, content_type="image/png")

    server = Server(answer)
    print(f"http://127.0.0.1:{server.port}/", flush=True)
    sys.stdin.read()
    server.stop()


def crawl(way: str, site: str, *, base: str, count: int) -> None:
    """Crawl `count` pages of a site."""
    from browsercrawl import Crawler, CrawlerConfig

    if site == "shop":
        with urlopen(f"{base}truth.json") as response:
            products = json.load(response)["products"]
        urls = [f"{base.rstrip('/')}{product['path']}" for product in products[:count]]
    else:
        urls = [f"{base}page/{number}" for number in range(count)]

    async def run() -> None:
        config = CrawlerConfig.load({"concurrency": PAGES_AT_ONCE, "network": {"guard": way}})
        async with Crawler(config) as crawler:
            summary = await crawler.run(urls)
        assert summary.succeeded == len(urls) == count, summary

    asyncio.run(run())


def cpu_s(way: str, site: str, *, base: str, count: int) -> float:
    """Run a crawl in a process of its own; return its CPU seconds."""
    command = [sys.executable, __file__, "--one", way, "--site", site, "--base", base, "--count", str(count)]
    return measured_run(command)[0]


def compare(site: str, rounds: int, *, short: int, long: int) -> None:
    """Run both ways and print what a page costs."""
    shop = [sys.executable, "-m", "browsercrawl.testing", "--products", str(long)]
    command = shop if site == "shop" else [sys.executable, __file__, "--serve"]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    costs: dict[str, list[float]] = {way: [] for way in WAYS}
    try:
        assert server.stdout is not None
        base = server.stdout.readline().split()[0]
        with ThreadPoolExecutor(len(WAYS) if can_run_together() else 1) as runs:
            for number in range(rounds):
                ways = WAYS[:: -1 if number % 2 else 1]
                run = partial(cpu_s, site=site, base=base)
                ends = [list(runs.map(partial(run, count=count), ways)) for count in (short, long)]
                for way, least, most in zip(ways, *ends, strict=True):
                    costs[way].append(1000 * (most - least) / (long - short))
    finally:
        server.terminate()
        server.wait()
    ratios = [on / off for off, on in zip(costs["off"], costs["on"], strict=True)]
    medians = "  ".join(f"{way} {statistics.median(costs[way]):6.1f} ms" for way in WAYS)
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    print(f"{site:8}{medians}  ratio {statistics.median(ratios):.3f} ({spread})", flush=True)


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--short", type=int, default=60, help="pages of the short run")
    parser.add_argument("--long", type=int, default=260, help="pages of the long run")
    parser.add_argument("--site", choices=SITES, help="only this one")
    for hidden in ("--one", "--base"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve_images()
    elif given.one:
        crawl(given.one, given.site, base=given.base, count=given.count)
    else:
        for site in [given.site] if given.site else SITES:
            compare(site, given.rounds, short=given.short, long=given.long)


if __name__ == "__main__":
    main()
