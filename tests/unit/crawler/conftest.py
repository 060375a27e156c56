"""A crawl with a fake browser, from its seeds to nothing left, on a clock that no real second passes on."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import pytest

from browsercrawl import Crawler, CrawlerConfig, Result, Summary
from browsercrawl.crawler import crawler
from browsercrawl.dispatcher import Seeds
from browsercrawl.events import Event
from browsercrawl.testing.fake_browser import FakeBehaviour, FakeLauncher, Sites
from browsercrawl.testing.still_sensors import StillSensors
from browsercrawl.testing.virtual_clock import VirtualClock

E = TypeVar("E", bound=Event)


@dataclass(frozen=True, kw_only=True)
class Crawled:
    """What a crawl left."""

    results: list[Result]
    summary: Summary
    events: list[Event]
    launcher: FakeLauncher

    @property
    def only(self) -> Result:
        """The result, of which there is one."""
        (result,) = self.results
        return result

    def of(self, url: str) -> Result:
        """The one result of a URL."""
        (result,) = (result for result in self.results if result.url == url)
        return result

    def told(self, kind: type[E]) -> list[E]:
        """Events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]


Prepare = Callable[[Crawler], object]


class Crawl(Protocol):
    """Crawls to the end; `prepare` registers handlers, `options` are the configuration's."""

    async def __call__(
        self,
        sites: Sites,
        seeds: Seeds,
        *,
        prepare: Prepare | None = None,
        behaviour: FakeBehaviour | None = None,
        **options: Any,
    ) -> Crawled:
        """Crawl."""


async def _crawl(
    sites: Sites,
    seeds: Seeds,
    *,
    prepare: Prepare | None = None,
    behaviour: FakeBehaviour | None = None,
    **options: Any,
) -> Crawled:
    clock = VirtualClock(autojump=True)
    launcher = FakeLauncher(sites, clock=clock, behaviour=behaviour)
    events: list[Event] = []
    config = CrawlerConfig.load({"concurrency": 4, **options})
    crawler = Crawler(config, on_event=events.append, launch=launcher, clock=clock)
    if prepare is not None:
        prepare(crawler)
    async with crawler, crawler.stream(seeds) as stream:
        results = [result async for result in stream]
    assert stream.summary is not None
    assert_nothing_left(launcher)
    ids = [result.request_id for result in results]
    assert len(ids) == len(set(ids)), "a request has two results"
    return Crawled(results=results, summary=stream.summary, events=events, launcher=launcher)


def assert_nothing_left(launcher: FakeLauncher) -> None:
    """No task but the test's own, no page, no context, no browser; and the fake was used as it may be."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert not others, f"tasks left: {others}"
    assert (launcher.pages_open, launcher.contexts_open, launcher.browsers_open) == (0, 0, 0)
    assert launcher.misuse == []


@pytest.fixture(scope="module", autouse=True)
def _machine_that_stands_still() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crawler, "Sensors", StillSensors)
        yield


@pytest.fixture
def crawl() -> Crawl:
    """Crawl with a fake browser, and check that nothing is left."""
    return _crawl


@pytest.fixture
def nothing_left() -> Callable[[FakeLauncher], None]:
    """Check that nothing is left, for tests that crawl by themselves."""
    return assert_nothing_left
