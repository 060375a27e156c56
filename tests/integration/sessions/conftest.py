"""Crawls of the members' area with a real browser: who there is, what each saw, and what happened to the sessions."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import pytest

from browsercrawl import Crawler, CrawlerConfig, Request, Result, Summary
from browsercrawl.dispatcher import Seeds
from browsercrawl.events import Event
from browsercrawl.testing import DemoSite

E = TypeVar("E", bound=Event)

FIELDS = {"#user": "{username}", "#password": "{password}"}


class Area:
    """The members' area, and how its members are configured.

    Attributes:
        site: that it is part of.
    """

    def __init__(self, site: DemoSite) -> None:
        self.site = site

    def url(self, path: str) -> str:
        """Return an address in it."""
        return f"{self.site.url}/members/{path}"

    def credentials(self, number: int) -> dict[str, str]:
        """Return what a member logs in with."""
        account = f"member-{number}"
        return {"username": account, "password": self.site.password(account)}

    def form(self, path: str = "login", *, steps: list[dict[str, str]] | None = None) -> dict[str, Any]:
        """Return the recipe for one of its login forms, by the fields of each step."""
        return {
            "kind": "form",
            "url": self.url(path),
            "steps": [{"fields": fields} for fields in steps or [FIELDS]],
            "success": {"selector": "#account"},
        }

    def member(self, number: int, *, name: str | None = None, **login: Any) -> dict[str, Any]:
        """Return the profile of a member who logs in by the form, unless told otherwise."""
        given = {"recipe": self.form(), "credentials": self.credentials(number), **login}
        return {"name": name or f"m{number}", "login": given}

    def visits(self, sessions: list[str], *, pages: range) -> list[Request]:
        """Return requests of each session for the same pages, the sessions in turn."""
        return [Request(url=self.url(f"page/{page}"), session=name) for page in pages for name in sessions]


class Watch:
    """What crawlers have told so far."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def told(self, kind: type[E]) -> list[E]:
        """Events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def count(self, kind: type[Event]) -> Counter[str]:
        """How many events of a kind there were, by session."""
        return Counter(event.session for event in self.events if isinstance(event, kind))  # type: ignore[attr-defined]  # those asked for have one


@dataclass(frozen=True, slots=True)
class Crawled:
    """What a run gave."""

    results: list[Result]
    summary: Summary


class RunThrough(Protocol):
    """Crawls to the end, in a crawler that is open."""

    async def __call__(self, crawler: Crawler, seeds: Seeds) -> Crawled:
        """Crawl."""


class NewCrawler(Protocol):
    """Makes crawlers, by their configuration's options."""

    def __call__(self, **options: Any) -> Crawler:
        """Make one."""


async def _run_through(crawler: Crawler, seeds: Seeds) -> Crawled:
    async with crawler.stream(seeds) as stream:
        results = [result async for result in stream]
    assert stream.summary is not None
    return Crawled(results, stream.summary)


@pytest.fixture
def run_through() -> RunThrough:
    """Crawl to the end."""
    return _run_through


@pytest.fixture
def area() -> Iterator[Area]:
    """A members' area nobody has been to."""
    with DemoSite(accounts=12) as site:
        yield Area(site)


@pytest.fixture
def watch() -> Watch:
    """What the crawlers of `new_crawler` tell."""
    return Watch()


@pytest.fixture
def new_crawler(watch: Watch) -> NewCrawler:
    """Make crawlers, by their configuration's options."""

    def make(**options: Any) -> Crawler:
        config = CrawlerConfig.load({"concurrency": 2, "retry": {"backoff_s": 0.1}, **options})
        return Crawler(config, on_event=watch.events.append)

    return make
