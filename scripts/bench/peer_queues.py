"""The queues that `frontier_peers.py` compares, each used as its own users would.

Each runs in the environment in which it is installed, so what it needs is imported in its `open`.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

from frontier import LINE

HOST = "shop.example.com"
BODY = LINE.decode()


class Queue(Protocol):
    """A queue under measurement, in a directory of its own."""

    async def open(self, home: Path) -> None:
        """Begin, or go on with what an earlier process left there."""

    async def add(self, urls: Sequence[str]) -> None:
        """Offer a page's worth of links, some of which are known."""

    async def take(self) -> tuple[str, Any] | None:
        """Return the next request: its URL, and what `done` wants; None: there is none now."""

    async def done(self, ticket: Any, url: str, *, stored: bool) -> None:
        """Mark it done; `stored`: and store a result of about 800 bytes."""

    async def is_finished(self) -> bool:
        """Tell whether nothing is left to be done."""

    async def results(self) -> list[str]:
        """Return the URLs of the results stored so far."""

    async def close(self) -> None:
        """End as a program does that was not killed."""


class Ours:
    """Our frontier, with the writer of `results.jsonl` behind it where it has a file."""

    def __init__(self, *, durable: bool) -> None:
        self._durable = durable

    async def open(self, home: Path) -> None:
        """Open the store; what a killed owner had claimed returns."""
        from browsercrawl.clock import SystemClock
        from browsercrawl.events import discard
        from browsercrawl.frontier import Frontier, MemoryFrontier, Record
        from browsercrawl.output import Projection, ResultFile, Space
        from browsercrawl.politeness import HostRules
        from browsercrawl.request import Request

        rules, clock = HostRules(), SystemClock()
        self._request, self._record = Request, Record
        self._projection: Projection | None = None
        self._path = home / "results.jsonl"
        self._frontier: Frontier
        if not self._durable:
            self._frontier = MemoryFrontier(clock=clock, rules_of=lambda _: rules)
            return
        from browsercrawl.frontier.sqlite import SqliteFrontier, make_store

        store = home / "run.sqlite"
        if not store.exists():
            make_store(store, notes={})
        self._frontier = await SqliteFrontier.open(store, clock=clock, rules_of=lambda _: rules)
        size = int((await self._frontier.notes()).get("results_size", "0"))
        self._projection = Projection(
            self._frontier,
            file=ResultFile(self._path, size=size),
            space=Space(clock=clock, emit=discard),
            clock=clock,
            emit=discard,
        )
        self._projection.start(on_failure=_raise, on_room=lambda: None)

    async def add(self, urls: Sequence[str]) -> None:
        """Make requests of the URLs and store them."""
        await self._frontier.schedule([self._request(url=url) for url in urls])

    async def take(self) -> tuple[str, Any] | None:
        """Claim one."""
        claims = await self._frontier.claim(owner="bench", limit=1, lease_s=120.0)
        return (claims[0].request.url, claims[0]) if claims else None

    async def done(self, ticket: Any, url: str, *, stored: bool) -> None:
        """Complete it; its line is stored in the same commit, and nobody wants lines of the memory store."""
        wanted = stored and self._projection is not None
        line = json.dumps({"url": url, "body": BODY}).encode() if wanted else None
        await self._frontier.complete(ticket, record=self._record(ending="succeeded", line=line))
        if self._projection is not None and wanted:
            self._projection.wake()

    async def is_finished(self) -> bool:
        """Nothing is open."""
        return self._frontier.counts().open == 0

    async def results(self) -> list[str]:
        """Read `results.jsonl`."""
        if self._projection is None:
            return []
        await self._projection.flush()
        return _urls_of_lines(self._path)

    async def close(self) -> None:
        """Write what the outbox holds and close the store."""
        if self._projection is not None:
            await self._projection.close()
        await self._frontier.close()


class ScrapyQueue:
    """Scrapy's scheduler with a JOBDIR, and a JSON Lines feed for the results.

    Its own classes and defaults; only the queue class is chosen, and downloader and engine are left out.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind

    async def open(self, home: Path) -> None:
        """Open scheduler and feed."""
        from scrapy import (  # type: ignore[import-not-found]  # installed beside, see frontier_peers
            Request,
            Spider,
        )
        from scrapy.core.scheduler import Scheduler  # type: ignore[import-not-found]  # same
        from scrapy.exporters import JsonLinesItemExporter  # type: ignore[import-not-found]  # same
        from scrapy.extensions.feedexport import FileFeedStorage  # type: ignore[import-not-found]  # same
        from scrapy.utils.test import get_crawler  # type: ignore[import-not-found]  # same

        queue = f"scrapy.squeues.PickleFifo{self._kind}Queue"
        crawler = get_crawler(Spider, {"JOBDIR": str(home / "job"), "SCHEDULER_DISK_QUEUE": queue})
        crawler.spider = Spider.from_crawler(crawler, name="bench")
        # The default priority queue asks the downloader how busy a host is; here it never is.
        downloader = SimpleNamespace(slots={}, get_slot_key=lambda _request: HOST)
        crawler.engine = SimpleNamespace(downloader=downloader)
        self._request, self._path = Request, home / "items.jsonl"
        self._scheduler = Scheduler.from_crawler(crawler)
        self._scheduler.open(crawler.spider)
        self._storage = FileFeedStorage(str(self._path))
        self._file = self._storage.open(crawler.spider)
        self._exporter = JsonLinesItemExporter(self._file)

    async def add(self, urls: Sequence[str]) -> None:
        """Enqueue one by one, as its engine does."""
        for url in urls:
            self._scheduler.enqueue_request(self._request(url))

    async def take(self) -> tuple[str, Any] | None:
        """Take the next one off the queue: it is in memory only from now on."""
        request = self._scheduler.next_request()
        return None if request is None else (request.url, request)

    async def done(self, ticket: Any, url: str, *, stored: bool) -> None:  # noqa: ARG002 - there is no mark to set
        """Export the item."""
        if stored:
            self._exporter.export_item({"url": url, "body": BODY})

    async def is_finished(self) -> bool:
        """Nothing is queued."""
        return not self._scheduler.has_pending_requests()

    async def results(self) -> list[str]:
        """Read the feed."""
        self._file.flush()
        return _urls_of_lines(self._path)

    async def close(self) -> None:
        """Close both, which is when the queue's state is written."""
        self._scheduler.close("finished")
        self._storage.store(self._file)


class CrawleeQueue:
    """Crawlee's request queue, and its dataset for the results, on one of its storage clients."""

    def __init__(self, *, sql: bool) -> None:
        self._sql = sql

    async def open(self, home: Path) -> None:
        """Open queue and dataset; the event manager saves the queue's state every minute, as in a crawler."""
        from crawlee import service_locator  # type: ignore[import-not-found]  # installed beside, see frontier_peers
        from crawlee.configuration import Configuration  # type: ignore[import-not-found]  # same
        from crawlee.storage_clients import (  # type: ignore[import-not-found]  # same
            FileSystemStorageClient,
            SqlStorageClient,
        )
        from crawlee.storages import Dataset, RequestQueue  # type: ignore[import-not-found]  # same

        configuration = Configuration(storage_dir=str(home), purge_on_start=False)
        service_locator.set_configuration(configuration)
        self._client = SqlStorageClient() if self._sql else FileSystemStorageClient()
        service_locator.set_storage_client(self._client)
        self._events = service_locator.get_event_manager()
        await self._events.__aenter__()
        self._queue = await RequestQueue.open(name="bench")
        self._dataset = await Dataset.open(name="bench")

    async def add(self, urls: Sequence[str]) -> None:
        """Add the batch and wait for it."""
        await self._queue.add_requests(list(urls), wait_for_all_requests_to_be_added=True)

    async def take(self) -> tuple[str, Any] | None:
        """Fetch the next one."""
        request = await self._queue.fetch_next_request()
        return None if request is None else (request.url, request)

    async def done(self, ticket: Any, url: str, *, stored: bool) -> None:
        """Push the data, then mark the request: two steps."""
        if stored:
            await self._dataset.push_data({"url": url, "body": BODY})
        await self._queue.mark_request_as_handled(ticket)

    async def is_finished(self) -> bool:
        """Ask the queue."""
        return bool(await self._queue.is_finished())

    async def results(self) -> list[str]:
        """Read the dataset."""
        return [item["url"] async for item in self._dataset.iterate_items()]

    async def close(self) -> None:
        """End the event manager, which saves the state once more, and the connections."""
        await self._events.__aexit__(None, None, None)
        if self._sql:
            await self._client.close()


QUEUES: dict[str, Callable[[], Queue]] = {
    "browsercrawl memory": lambda: Ours(durable=False),
    "browsercrawl SQLite": lambda: Ours(durable=True),
    "Scrapy disk": lambda: ScrapyQueue("Disk"),
    "Scrapy SQLite": lambda: ScrapyQueue("SQLite"),
    "Crawlee files": lambda: CrawleeQueue(sql=False),
    "Crawlee SQL (SQLite)": lambda: CrawleeQueue(sql=True),
}
OUR_QUEUES = ("browsercrawl memory", "browsercrawl SQLite")
PEER_PACKAGES = ("scrapy", "queuelib", "crawlee", "sqlalchemy", "aiosqlite")


def _urls_of_lines(path: Path) -> list[str]:
    urls = []
    for line in path.read_bytes().splitlines():
        try:
            urls.append(json.loads(line)["url"])
        except ValueError:  # torn by a kill
            continue
    return urls


def _raise(error: Exception) -> None:
    raise error
