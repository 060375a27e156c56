"""A crawl with the real browser in which a call into it fails, or never returns: each kind of call, then each call."""

import asyncio
import inspect
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pytest
from playwright.async_api import Error as PlaywrightError

from browsercrawl import Crawler, CrawlerConfig, Outcome
from browsercrawl.browser.calls import Calls
from browsercrawl.events import Event, LeaseAcquired, LeaseReleased
from browsercrawl.pool import checking

if TYPE_CHECKING:
    from tests.faults.conftest import Pages

TIMEOUT_S = 3.0
TOOK_MAX_S = 25.0
"""Of one crawl: it takes less than 2 s, and a call that does not return costs the limits of a lease and of a close."""

ROUND = 2
"""After so many crawls pages and a context have been replaced: there are no other kinds of calls."""

Way = Literal["fails", "hangs"]
WAYS: tuple[Way, ...] = ("fails", "hangs")


@dataclass
class Saboteur:
    """Stands in for `Calls.run`.

    Attributes:
        called: the kinds of the calls since `aim`, in order.
        hit: the call that was aimed at has come.
    """

    called: list[str] = field(default_factory=list)
    hit: bool = False
    _run: Any = Calls.run
    _way: Way = "fails"
    _kind: str | None = None
    _at: int = 0

    def aim(self, way: Way = "fails", *, at: int = 0, kind: str | None = None) -> None:
        """Choose the call that fails next: the one of this number, of all or of its kind; 0: none."""
        self.called = []
        self.hit = False
        self._way, self._at, self._kind = way, at, kind

    async def run(self, calls: Calls, call: Awaitable[Any], *, limit_s: float) -> Any:
        """Run a call, unless it is the one."""
        kind = kind_of(call)
        self.called.append(kind)
        number = len(self.called) if self._kind is None else self.called.count(self._kind)
        if self.hit or number != self._at or self._kind not in {None, kind}:
            return await self._run(calls, call, limit_s=limit_s)
        self.hit = True
        if inspect.iscoroutine(call):
            call.close()
        elif isinstance(call, asyncio.Future):
            calls.abandon(call)
        if self._way == "hangs":
            await asyncio.sleep(limit_s)
            raise TimeoutError(f"no answer within {limit_s:.3g} s")
        raise PlaywrightError("Target page, context or browser has been closed")


def kind_of(call: Awaitable[Any]) -> str:
    """Name a call: the method of Playwright's, and of a CDP session what it sends."""
    if not inspect.iscoroutine(call):
        return "task"
    sent = call.cr_frame.f_locals.get("method", "") if call.cr_frame is not None else ""
    return f"{call.__qualname__} {sent}".strip()


@pytest.fixture
def saboteur(monkeypatch: pytest.MonkeyPatch) -> Saboteur:
    """Have every call into the browser go through one who may spoil it."""
    one = Saboteur()

    async def run(calls: Calls, call: Awaitable[Any], *, limit_s: float) -> Any:
        return await one.run(calls, call, limit_s=limit_s)

    monkeypatch.setattr(Calls, "run", run)
    monkeypatch.setattr(checking, "LOOK_EVERY_S", 0.2)  # so that each crawl has the calls of a look as well
    monkeypatch.setattr(checking, "LOOK_LIMIT_S", 1.0)
    return one


class Crawls:
    """Crawls ten pages again and again, with one crawler."""

    def __init__(self, crawler: Crawler, pages: "Pages") -> None:
        self._crawler = crawler
        self._urls = [pages.page(number) for number in range(101, 111)]

    async def check(self, where: str) -> None:
        """Crawl: each page has its one result, which is right."""
        began = time.monotonic()
        async with self._crawler.stream(self._urls) as stream:
            results = [result async for result in stream]
        told = [(each.url, each.outcome, each.title, each.error) for each in results]
        right = [(url, Outcome.SUCCEEDED, f"page {url.rpartition('/')[2]}", None) for url in self._urls]
        assert sorted(told, key=lambda each: each[0]) == right, where
        assert time.monotonic() - began < TOOK_MAX_S, where


@asynccontextmanager
async def crawls(pages: "Pages") -> AsyncIterator[Crawls]:
    """Give crawls by one crawler, whose pages and contexts are often replaced, so that there is much to call."""
    events: list[Event] = []
    config = CrawlerConfig.load(
        {
            "concurrency": 2,
            "visit": {"timeout_s": TIMEOUT_S},
            "retry": {"backoff_s": 0.05},
            "pool": {
                "acquire_limit_s": 4,
                "close_limit_s": 1,
                "recycle": {"page_visits_max": 3, "context_visits_max": 7},
            },
        }
    )
    async with Crawler(config, on_event=events.append) as crawler:
        yield Crawls(crawler, pages)
    leases = Counter(type(event) for event in events)
    assert leases[LeaseAcquired] == leases[LeaseReleased]


@pytest.mark.parametrize("way", WAYS)
async def test_crawl_with_a_call_of_any_kind_failing_gives_each_page_its_result(
    pages: "Pages", saboteur: Saboteur, way: Way
) -> None:
    """The first call of each kind, or one in the middle, fails or does not return: all pages succeed all the same."""
    async with crawls(pages) as some:
        await some.check("the browser is launched")  # a first launch that fails is the end of a crawl
        saboteur.aim()
        for _ in range(ROUND):
            await some.check("without a fault")
        kinds = Counter(saboteur.called)
        assert len(kinds) > 8
        for kind, number in kinds.items():
            at = 1 if way == "hangs" else 1 + number // 2
            saboteur.aim(way, at=at, kind=kind)
            for _ in range(2 * ROUND):
                if not saboteur.hit:
                    await some.check(f"{way}: call {at} of {kind}")
            assert saboteur.hit, f"there was no call {at} of {kind}"


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("way", WAYS)
async def test_crawl_with_any_call_failing_gives_each_page_its_result(
    pages: "Pages", saboteur: Saboteur, way: Way
) -> None:
    """The n-th call, for each n, fails or does not return: all pages succeed all the same."""
    async with crawls(pages) as some:
        await some.check("the browser is launched")
        saboteur.aim()
        for _ in range(ROUND):
            await some.check("without a fault")
        calls = len(saboteur.called)
        assert calls > 100
        for at in range(1, calls + 1):
            saboteur.aim(way, at=at)
            for _ in range(2 * ROUND):
                if not saboteur.hit:
                    await some.check(f"{way}: call {at}")
            assert saboteur.hit, f"there was no call {at}"
