"""A crawler with a real browser over the demo site."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from browsercrawl import Crawler, CrawlerConfig
from browsercrawl.events import Event
from browsercrawl.testing import DemoSite

NewCrawler = Callable[..., Crawler]


@pytest.fixture(scope="module")
def site() -> Iterator[DemoSite]:
    """The demo shop and the faults."""
    with DemoSite() as running:
        yield running


@pytest.fixture
def events() -> list[Event]:
    """Events of the crawlers of `new_crawler`."""
    return []


@pytest.fixture
def new_crawler(events: list[Event]) -> NewCrawler:
    """Make crawlers, by their configuration's options."""

    def make(**options: Any) -> Crawler:
        config = CrawlerConfig.load({"concurrency": 2, "retry": {"backoff_s": 0.1}, **options})
        return Crawler(config, on_event=events.append)

    return make
