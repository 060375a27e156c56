"""A crawl with the real browser over the demo site and its faults, with what must hold for every crawl checked."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import psutil
import pytest

from browsercrawl import Crawler, CrawlerConfig, Result, Summary
from browsercrawl.dispatcher import Seeds
from browsercrawl.events import BrowserLaunched, Event, LeaseAcquired, LeaseReleased, VisitFailed, VisitStarted
from browsercrawl.events.models import VisitSucceeded
from browsercrawl.testing import DemoSite

E = TypeVar("E", bound=Event)


@dataclass(kw_only=True)
class Watched:
    """A crawl that goes on: its events so far, and when each came."""

    events: list[tuple[float, Event]] = field(default_factory=list)
    _listeners: list[tuple[type[Event], Callable[[Any], None]]] = field(default_factory=list)

    def take(self, event: Event) -> None:
        """Note an event."""
        self.events.append((time.monotonic(), event))
        for kind, listener in self._listeners:
            if isinstance(event, kind):
                listener(event)

    def on(self, kind: type[E], listener: Callable[[E], None]) -> None:
        """Have a function called with each event of a kind."""
        self._listeners.append((kind, listener))

    def told(self, kind: type[E]) -> list[E]:
        """Events of a kind."""
        return [event for _, event in self.events if isinstance(event, kind)]

    async def wait(self, condition: Callable[[], bool], limit_s: float = 30.0) -> None:
        """Return when something has become true."""
        async with asyncio.timeout(limit_s):
            while not condition():  # noqa: ASYNC110 - what is waited for happens in other processes
                await asyncio.sleep(0.02)

    @property
    def browser(self) -> psutil.Process:
        """The main process of the browser launched last."""
        pid = self.told(BrowserLaunched)[-1].pid
        assert pid is not None
        return psutil.Process(pid)

    @property
    def renderers(self) -> list[psutil.Process]:
        """The browser's renderer processes."""
        return [each for each in self.browser.children(recursive=True) if "--type=renderer" in each.cmdline()]

    @property
    def driver(self) -> psutil.Process:
        """The process of Playwright's driver."""
        return next(each for each in psutil.Process().children() if "node" in each.name())

    def held_s(self, url: str) -> float:
        """Seconds from the start of the last attempt of a URL to its outcome."""
        at: dict[type[Event], float] = {}
        for when, event in self.events:
            if isinstance(event, VisitStarted | VisitSucceeded | VisitFailed) and event.url == url:
                at[type(event)] = when
        started = at.pop(VisitStarted)
        return max(at.values()) - started


@dataclass(kw_only=True)
class Crawled(Watched):
    """What a crawl left."""

    results: list[Result]
    summary: Summary
    took_s: float

    def of(self, url: str) -> Result:
        """The one result of a URL."""
        (result,) = (result for result in self.results if result.url == url)
        return result


Prepare = Callable[[Crawler, Watched], object]


class Crawl(Protocol):
    """Crawls to the end; `prepare` registers handlers and listeners, `options` are the configuration's."""

    async def __call__(self, seeds: Seeds, *, prepare: Prepare | None = None, **options: Any) -> Crawled:
        """Crawl."""


async def _crawl(seeds: Seeds, *, prepare: Prepare | None = None, **options: Any) -> Crawled:
    watched = Watched()
    config = CrawlerConfig.load({"concurrency": 2, "retry": {"backoff_s": 0.1}, **options})
    crawler = Crawler(config, on_event=watched.take)
    if prepare is not None:
        prepare(crawler, watched)
    began = time.monotonic()
    async with crawler, crawler.stream(seeds) as stream:
        results = [result async for result in stream]
        took_s = time.monotonic() - began
    assert stream.summary is not None
    check_books(watched, config.pages_max)
    ids = Counter(result.request_id for result in results)
    assert max(ids.values()) == 1, "a request has two results"
    return Crawled(results=results, summary=stream.summary, took_s=took_s, events=watched.events)


def check_books(watched: Watched, pages_max: int) -> None:
    """Check that leases never exceeded their limit, that each has ended, and that no browser is left."""
    held = 0
    for _, event in watched.events:
        held += isinstance(event, LeaseAcquired) - isinstance(event, LeaseReleased)
        assert 0 <= held <= pages_max, f"{held} leases of {pages_max}"
    assert held == 0, f"{held} leases were never released"
    left = [event.pid for event in watched.told(BrowserLaunched) if event.pid and psutil.pid_exists(event.pid)]
    assert [pid for pid in left if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE] == []


@pytest.fixture
def crawl() -> Crawl:
    """Crawl with the real browser, and check the books afterwards."""
    return _crawl


@pytest.fixture(scope="module")
def site() -> Iterator[DemoSite]:
    """The demo shop and the faults."""
    with DemoSite() as running:
        yield running
