"""A pool over fake browsers on a virtual clock."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from browsercrawl.config import PoolConfig
from browsercrawl.events import Event
from browsercrawl.pool import Lease, Pool, PoolSize
from browsercrawl.testing.fake_browser import (
    FakeBehaviour,
    FakeBrowser,
    FakeKeeper,
    FakeLauncher,
    FakePage,
    FakePageScript,
)
from browsercrawl.testing.virtual_clock import VirtualClock


@dataclass
class World:
    """A pool and all it stands on; `pages` scripts the site by URL, other URLs are empty pages."""

    clock: VirtualClock = field(default_factory=VirtualClock)
    behaviour: FakeBehaviour = field(default_factory=FakeBehaviour)
    pages: dict[str, FakePageScript] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    pools: list[Pool] = field(default_factory=list)
    keeper: FakeKeeper = field(default_factory=FakeKeeper)

    def __post_init__(self) -> None:
        self.launcher = FakeLauncher(self._site, clock=self.clock, behaviour=self.behaviour)

    def _site(self, url: str) -> FakePageScript:
        return self.pages.get(url, FakePageScript())

    def pool(self, *, pages_max: int = 2, contexts_max: int = 8, **config: object) -> Pool:
        """Make a pool; it is closed at the end of the test."""
        pool = Pool(
            self.launcher,
            config=PoolConfig.model_validate(config),
            size=PoolSize(pages_max=pages_max, contexts_max=contexts_max),
            keeper=self.keeper,
            clock=self.clock,
            emit=self.events.append,
        )
        self.pools.append(pool)
        return pool

    @property
    def browser(self) -> FakeBrowser:
        """The browser launched last."""
        return self.launcher.browsers[-1]

    def named(self, name: str) -> list[Event]:
        """Return the events of a name."""
        return [event for event in self.events if event.name == name]

    async def visit(self, lease: Lease, url: str = "http://site.test/") -> FakePage:
        """Use the lease's page for a visit."""
        page = lease.page
        assert isinstance(page, FakePage)
        await page.begin()
        await page.goto(url, wait_until="commit", load_limit_s=1, limit_s=1)
        return page

    def check(self, pool: Pool) -> None:
        """Compare the pool's books with what is open in the browsers."""
        books = pool.statistics()
        assert books.pages - books.pages_opening == self.launcher.pages_open
        assert books.contexts + books.contexts_closing == self.launcher.contexts_open
        assert self.launcher.misuse == []


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Give a world; afterwards every pool is closed and nothing is left of it."""
    world = World()
    yield world
    for pool in world.pools:
        await world.clock.run_until(pool.close(limit_s=5))
        assert pool.free == 0
        books = pool.statistics()
        assert (books.leases, books.pages, books.contexts, books.contexts_closing, books.browsers) == (0, 0, 0, 0, 0)
    assert world.launcher.pages_open == world.launcher.contexts_open == world.launcher.browsers_open == 0
    await world.clock.settle()
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("pool")] == []
