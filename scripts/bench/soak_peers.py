"""What `soak.py` measures: pages that keep state, and crawlers, each as its own users would run it.

`python soak_peers.py TASK` runs a crawler in a process of its own, in the environment in which it is installed, so what
it needs is imported in its function. It takes title, HTML, text and links of each page, keeps nothing, and tells on
standard output how far it is. Settings that make the comparison fair: the same browser, as many pages at once, no pause
and no limiter, the load event awaited. What else a crawler does by default it does: crawl4ai also makes Markdown.
"""

import asyncio
import gc
import json
import logging
import os
import re
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

PACKAGES = {"ours": "browsercrawl", "crawl4ai": "crawl4ai", "crawlee": "crawlee"}
TELLS_PER_COUNT = 10
"""Counting objects, after a garbage collection, takes some 0.2 s: it is done with every tenth line only."""

PAGE = """<!doctype html>
<html lang="en" data-visit="{number}">
<head><meta charset="utf-8"><title>visit {number}</title><link rel="stylesheet" href="/static/style.css"></head>
<body><h1>Visit {number}</h1><p><img src="/static/banner.png" alt="" width="320" height="120"></p>
<table><tbody id="rows"></tbody></table>
<script src="/soak.js"></script><script src="/rows.js?visit={number}"></script>
</body></html>
"""

SCRIPT = """const visit = Number(document.documentElement.dataset.visit);
document.cookie = `seen${visit % 20}=${visit}; path=/; max-age=3600`;
localStorage.setItem(`item${visit % 50}`, 'l'.repeat(1000));
sessionStorage.setItem('state', 's'.repeat(10000));
window.name = `visit ${visit}`;
for (let step = 0; step < 3; step++) history.pushState({ step }, '', `#step${step}`);
window.kept = Array.from({ length: 40000 }, (_, at) => ({ at, text: `${at} of visit ${visit}`, more: [at, visit] }));
for (const name of ['scroll', 'resize', 'click', 'keydown', 'storage', 'message'])
  for (let at = 0; at < 10; at++) addEventListener(name, () => kept[at].more.push(name));
for (let at = 0; at < 4; at++) setInterval(() => { kept[at].text = `tick ${performance.now()}`; }, 50);
const observer = new MutationObserver((changes) => kept.push({ changes: changes.length }));
observer.observe(document, { subtree: true, childList: true });
addEventListener('pagehide', () => sessionStorage.setItem('left', visit));
function show(rows) {
  for (const [name, price] of rows) {
    const row = document.getElementById('rows').insertRow();
    row.insertCell().innerHTML = `<a href="/visit/${name}">${name}</a>`;
    row.insertCell().textContent = price;
  }
  document.documentElement.dataset.done = visit;
}
"""

SNAPSHOT = """() => ({
    title: document.title, html: document.documentElement.outerHTML, text: document.body.innerText,
    links: Array.from(document.links, link => link.href),
})"""


def serving() -> Any:
    """Serve the pages until the returned server is stopped."""
    from browsercrawl.testing.server import Exchange, Server
    from browsercrawl.testing.shop import Shop

    shop = Shop()
    cached = {"Cache-Control": "public, max-age=3600"}

    def answer(exchange: Exchange) -> None:
        head, _, rest = exchange.path.removeprefix("/").partition("/")
        number = int(rest) if head == "visit" and rest.isdigit() else exchange.number("visit", 0, most=10**9)
        if head == "visit":
            cookie = {"Set-Cookie": f"server{number % 20}={number}; HttpOnly; Path=/"}
            exchange.respond(PAGE.format(number=number), headers=cookie)
        elif head == "soak.js":
            exchange.respond(SCRIPT, content_type="text/javascript", headers=cached)
        elif head == "rows.js":
            rows = [[f"{number}-{at}", f"{(number * 7 + at) % 90}.90"] for at in range(40)]
            exchange.respond(f"show({json.dumps(rows)});", content_type="text/javascript")
        elif not shop.answer(exchange):
            exchange.respond(status=404)

    return Server(answer)


class Task(NamedTuple):
    """What is to be crawled.

    Attributes:
        base: of the pages, whose addresses go on with a number.
        browser: path of the executable.
        every: visits from line to line.
    """

    subject: str
    base: str
    browser: str
    visits: int
    at_once: int
    every: int


class Teller:
    """Gives the addresses to visit until they are all given or SIGUSR1 comes, and writes how far the crawl is."""

    def __init__(self, task: Task) -> None:
        self._task = task
        # Whatever a crawler prints goes to the errors: the lines have the real standard output to themselves.
        self._lines = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        self._done = 0
        self._wrong = 0
        self.stopped = False

    def listen(self) -> None:
        """Begin to listen for the signal."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._stop)

    def _stop(self) -> None:
        self.stopped = True

    def urls(self) -> Iterator[str]:
        """Yield addresses, each another one; some more than asked for, lest the last measurement meet the end."""
        for number in range(self._task.visits + self._task.every // 2):
            if self.stopped:
                return
            yield f"{self._task.base}{number}"

    def visited(self, url: str, html: str | None) -> None:
        """Note that a page came, and whether it is the right one and its script ran to its end."""
        number = re.sub(r"^.*\D", "", url)
        self._done += 1
        self._wrong += f'data-done="{number}"' not in (html or "")
        if self._done % self._task.every == 0:
            self._tell(counted=self._done % (self._task.every * TELLS_PER_COUNT) == 0)

    def _tell(self, *, counted: bool) -> None:
        line = {
            "done": self._done,
            "wrong": self._wrong,
            "at_s": time.monotonic(),
            "tasks": len(asyncio.all_tasks()),
            "objects": _playwright_objects() if counted else None,
        }
        self._lines.write(json.dumps(line) + "\n")


def _playwright_objects() -> int:
    """Return how many of Playwright's objects are alive in this process, as the garbage collector sees it."""
    gc.collect()
    # As text, because a class may have made something else of its `__module__`.
    modules = (str(type(each).__module__) for each in gc.get_objects())
    return sum(name.startswith(("playwright.", "patchright.")) for name in modules)


async def crawl_ours(task: Task, teller: Teller) -> None:
    """Crawl with `balanced`, its defaults."""
    from browsercrawl import Crawler, CrawlerConfig

    config = CrawlerConfig.load({"concurrency": task.at_once, "browser": {"executable": task.browser}})
    async with Crawler(config) as crawler, crawler.stream(teller.urls()) as stream:
        async for result in stream:
            teller.visited(result.url, result.html)
            if teller.stopped:
                break


async def crawl_crawl4ai(task: Task, teller: Teller) -> None:
    """Crawl with crawl4ai: one crawler, as many workers as pages at once, no dispatcher that would limit them."""
    from crawl4ai import (  # type: ignore[import-not-found]  # installed beside, see soak
        AsyncWebCrawler,
        BrowserConfig,
        CacheMode,
        CrawlerRunConfig,
    )
    from playwright.async_api import BrowserType

    launch = BrowserType.launch

    async def launch_given(self: BrowserType, **options: Any) -> Any:
        return await launch(self, **{"executable_path": task.browser, **options})

    # crawl4ai has no setting for the path of the executable.
    BrowserType.launch = launch_given  # type: ignore[method-assign]  # same
    config = CrawlerRunConfig(
        cache_mode=CacheMode.BYPASS,
        wait_until="load",
        delay_before_return_html=0,
        mean_delay=0,
        max_range=0,
        verbose=False,
    )
    remaining = teller.urls()
    async with AsyncWebCrawler(config=BrowserConfig(verbose=False)) as crawler:

        async def work() -> None:
            for url in remaining:
                result = await crawler.arun(url, config=config)
                teller.visited(url, result.html)

        await asyncio.gather(*(work() for _ in range(task.at_once)))


async def crawl_crawlee(task: Task, teller: Teller) -> None:
    """Crawl with Crawlee: fixed concurrency, storage in memory, no fingerprints."""
    from crawlee import ConcurrencySettings  # type: ignore[import-not-found]  # installed beside, see soak
    from crawlee.crawlers import PlaywrightCrawler  # type: ignore[import-not-found]  # same
    from crawlee.storage_clients import MemoryStorageClient  # type: ignore[import-not-found]  # same

    crawler = PlaywrightCrawler(
        browser_launch_options={"executable_path": task.browser, "chromium_sandbox": os.geteuid() != 0},
        concurrency_settings=ConcurrencySettings(
            min_concurrency=task.at_once, max_concurrency=task.at_once, desired_concurrency=task.at_once
        ),
        configure_logging=False,
        fingerprint_generator=None,
        headless=True,
        storage_client=MemoryStorageClient(),
    )

    async def take(context: Any) -> None:
        snapshot = await context.page.evaluate(SNAPSHOT)
        teller.visited(context.request.url, snapshot["html"])
        if teller.stopped:
            crawler.stop()

    async def miss(context: Any, _error: Exception) -> None:
        teller.visited(context.request.url, None)

    crawler.router.default_handler(take)
    crawler.failed_request_handler(miss)
    await crawler.run(list(teller.urls()))


SUBJECTS: dict[str, Callable[[Task, Teller], Awaitable[None]]] = {
    "ours": crawl_ours,
    "crawl4ai": crawl_crawl4ai,
    "crawlee": crawl_crawlee,
}


async def crawl(task: Task) -> None:
    """Crawl as one of the subjects."""
    teller = Teller(task)
    teller.listen()
    await SUBJECTS[task.subject](task, teller)


def versions() -> dict[str, str | None]:
    """Return what is installed here; None: it is not."""
    found: dict[str, str | None] = {}
    for package in (*PACKAGES.values(), "playwright"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    if sys.argv[1] == "versions":
        print(json.dumps(versions()))
    else:
        asyncio.run(crawl(Task(*json.loads(sys.argv[1]))))
