"""What a page costs: `lean` and `balanced` against a hand-tuned Playwright loop, on the demo shop.

    python scripts/bench/pages.py [--rounds 7] [--short 100] [--long 400]

Each subject crawls the same product pages, four at once, in a process of its own, and takes title, HTML, text and links
of each. Every round runs each subject at two lengths, in turn; the difference of their CPU seconds (whole process tree)
by the difference of their pages is the cost of a page with start-up taken off. The site is served by another process,
which is not counted. Quoted are medians, and the median of the rounds' own ratios.

The loop is what a careful person would write by hand for speed alone: pages reused, replaced after 25 visits,
`--process-per-site`, `RenderDocument` off, one evaluation per page. It cleans nothing, survives nothing.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from typing import NamedTuple
from urllib.request import urlopen

from tree_cpu import measured_run

PAGES_AT_ONCE = 4
PAGE_VISITS = 25
SUBJECTS = ("loop", "lean", "balanced")

SNAPSHOT = """() => JSON.stringify({
    title: document.title, html: document.documentElement.outerHTML, text: document.body.innerText,
    links: Array.from(document.links, link => link.href),
})"""


async def crawl_with_loop(urls: list[str]) -> int:
    """The hand-tuned loop. Returns how many links it saw."""
    from playwright.async_api import Page, async_playwright

    from browsercrawl.browser import find_browser
    from browsercrawl.browser.switches import command_line
    from browsercrawl.config import BrowserConfig

    config = BrowserConfig(process_per_site=True)
    links = 0
    async with async_playwright() as playwright:
        line = command_line(config)
        browser = await playwright.chromium.launch(
            executable_path=find_browser(config).path, args=list(line.args), ignore_default_args=list(line.ignored)
        )
        context = await browser.new_context()
        remaining = iter(urls)

        async def work() -> None:
            nonlocal links
            page: Page | None = None
            visits = 0
            for url in remaining:
                if page is None or visits >= PAGE_VISITS:
                    if page is not None:
                        await page.close()
                    page, visits = await context.new_page(), 0
                visits += 1
                await page.goto(url, wait_until="load")
                snapshot = json.loads(await page.evaluate(SNAPSHOT))
                links += len(snapshot["links"])

        await asyncio.gather(*(work() for _ in range(PAGES_AT_ONCE)))
        await browser.close()
    return links


async def crawl_with_us(urls: list[str], profile: str) -> int:
    """The crawler in its own words. Returns how many links it saw."""
    from browsercrawl import Crawler, CrawlerConfig

    links = 0
    config = CrawlerConfig.load({"profile": profile, "concurrency": PAGES_AT_ONCE})
    async with Crawler(config) as crawler, crawler.stream(urls) as stream:
        async for result in stream:
            assert result.outcome == "succeeded", result
            links += len(result.links)
    return links


def crawl(subject: str, base: str, count: int) -> None:
    """Crawl `count` product pages as one of the subjects and print what was seen."""
    with urlopen(f"{base}truth.json") as response:
        products = json.load(response)["products"]
    urls = [f"{base.rstrip('/')}{product['path']}" for product in products[:count]]
    assert len(urls) == count, f"the site has {len(urls)} products"
    started = time.monotonic()
    work = crawl_with_loop(urls) if subject == "loop" else crawl_with_us(urls, subject)
    links = asyncio.run(work)
    print(json.dumps({"links": links, "seconds": time.monotonic() - started}))


class Measured(NamedTuple):
    """What one run of one subject took."""

    cpu_s: float
    wall_s: float
    links: int


def measured(subject: str, base: str, count: int) -> Measured:
    """Run a subject in a process of its own."""
    command = [sys.executable, __file__, "--one", subject, "--base", base, "--count", str(count)]
    cpu_s, output = measured_run(command)
    report = json.loads(output.splitlines()[-1])
    return Measured(cpu_s, report["seconds"], report["links"])


def compare(rounds: int, short: int, long: int) -> None:
    """Run all subjects in turn and print the table."""
    server = subprocess.Popen(
        [sys.executable, "-m", "browsercrawl.testing", "--products", str(long)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        base = server.stdout.readline().split()[0]
        costs: dict[str, list[float]] = {subject: [] for subject in SUBJECTS}
        speeds: dict[str, list[float]] = {subject: [] for subject in SUBJECTS}
        for number in range(rounds):
            seen = set()
            for subject in SUBJECTS:
                start, whole = measured(subject, base, short), measured(subject, base, long)
                seen.add(whole.links)
                costs[subject].append((whole.cpu_s - start.cpu_s) / (long - short))
                speeds[subject].append((long - short) / (whole.wall_s - start.wall_s))
            assert len(seen) == 1, f"the subjects saw different pages: {seen}"
            line = "  ".join(f"{subject} {costs[subject][-1] * 1000:6.1f} ms" for subject in SUBJECTS)
            print(f"round {number + 1}: {line}", flush=True)
    finally:
        server.terminate()
        server.wait()
    print(f"\n{'':10}{'CPU per page':>14}{'to the loop':>14}{'lowest':>9}{'highest':>9}{'pages/s':>9}")
    for subject in SUBJECTS:
        ratios = [cost / loop for cost, loop in zip(costs[subject], costs["loop"], strict=True)]
        print(
            f"{subject:10}{statistics.median(costs[subject]) * 1000:11.1f} ms{statistics.median(ratios):13.2f}x"
            f"{min(ratios):8.2f}x{max(ratios):8.2f}x{statistics.median(speeds[subject]):9.1f}"
        )


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--short", type=int, default=100, help="pages of the short run")
    parser.add_argument("--long", type=int, default=400, help="pages of the long run")
    parser.add_argument("--one", choices=SUBJECTS, help=argparse.SUPPRESS)
    parser.add_argument("--base", help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        crawl(arguments.one, arguments.base, arguments.count)
    else:
        compare(arguments.rounds, arguments.short, arguments.long)


if __name__ == "__main__":
    main()
