"""What the pool does for sessions: their limits, saving what is kept before a context goes, and reviving it."""

import asyncio
from typing import TYPE_CHECKING

import pytest

from browsercrawl.config import PoolConfig
from browsercrawl.errors import StateUnusable
from browsercrawl.pool import Lease, Pool, PoolSize
from browsercrawl.ports import SessionTerms
from browsercrawl.testing.fake_browser import FakeContext, FakeKeeper, FakePage

if TYPE_CHECKING:
    from tests.unit.pool.conftest import World

KEPT = SessionTerms(is_kept=True)


def pool_of(
    world: "World", *kept: str, pages_max: int = 2, contexts_max: int = 2, terms: SessionTerms = KEPT
) -> tuple[Pool, FakeKeeper]:
    """Make a pool that keeps what these sessions leave."""
    keeper = FakeKeeper(clock=world.clock)
    keeper.own = dict.fromkeys(kept, terms)
    pool = Pool(
        world.launcher,
        config=PoolConfig(),
        size=PoolSize(pages_max=pages_max, contexts_max=contexts_max),
        keeper=keeper,
        clock=world.clock,
        emit=world.events.append,
    )
    world.pools.append(pool)
    return pool, keeper


def jar_of(lease: Lease) -> dict[str, str]:
    """Return the cookies of a lease's context by name."""
    return {name: str(each["value"]) for name, each in context_of(lease).jar.items()}


def context_of(lease: Lease) -> FakeContext:
    """Return the fake context of a lease."""
    page = lease.page
    assert isinstance(page, FakePage)
    return page.context


async def visit(world: "World", pool: Pool, session: str, mark: str) -> dict[str, str]:
    """Visit a page of a session and leave a cookie; return those that were there before."""
    lease = await pool.acquire(session)
    await world.visit(lease)
    before = jar_of(lease)
    context_of(lease).jar[mark] = {"name": mark, "value": session}
    await lease.release()
    return before


async def test_acquire_for_another_session_hibernates_the_idle_one(world: "World") -> None:
    """A context that makes way is saved first, and what was saved is there when its session comes back."""
    pool, keeper = pool_of(world, "a", "b", "c")
    for name in "abc":
        assert await visit(world, pool, name, "one") == {}
        world.check(pool)
    assert [session for session, _ in keeper.hibernated] == ["a"]
    assert await visit(world, pool, "a", "two") == {"one": "a"}
    assert pool.statistics().contexts <= 2


async def test_acquire_many_sessions_never_exceeds_contexts_max(world: "World") -> None:
    """Contexts that are being saved count: there are never more than may be, however many sessions want one."""
    names = [f"s{number}" for number in range(12)]
    pool, keeper = pool_of(world, *names, pages_max=3, contexts_max=3)
    keeper.save_s = 1.0
    room = asyncio.Semaphore(3)

    async def come(name: str, number: int) -> None:
        async with room:
            seen = await visit(world, pool, name, str(number))
        assert seen == dict.fromkeys([str(each) for each in range(number)], name)

    async def work() -> None:
        for number in range(3):
            await asyncio.gather(*(come(name, number) for name in names))

    await world.clock.run_until(work())
    assert world.launcher.browsers[0].contexts_peak <= 3


async def test_acquire_session_that_is_being_saved_waits_for_it(world: "World") -> None:
    """A session has one context: while the old one is saved, no other is opened for it."""
    pool, keeper = pool_of(world, "a", contexts_max=3)
    keeper.save_s = 2.0
    await visit(world, pool, "a", "one")
    pool.recycle("a", "a test")
    coming = asyncio.create_task(pool.acquire("a"))
    await world.clock.advance(1.9)
    assert not coming.done()
    assert world.launcher.contexts_open == 1
    await world.clock.advance(0.2)
    lease = await coming
    assert jar_of(lease) == {"one": "a"}
    await lease.release()


async def test_acquire_beyond_the_sessions_limit_waits_for_a_release(world: "World") -> None:
    """`pages_max` of a session holds whatever the pool has."""
    pool, _ = pool_of(world, "a", pages_max=4, contexts_max=4, terms=SessionTerms(pages_max=2, is_kept=True))
    first, second = await pool.acquire("a"), await pool.acquire("a")
    third = asyncio.create_task(pool.acquire("a"))
    await world.clock.advance(1)
    assert not third.done()
    other = await pool.acquire("b")
    await first.release()
    await world.clock.advance(0)
    assert third.done()
    for lease in (second, other, await third):
        await lease.release()


async def test_acquire_worn_context_is_saved_and_replaced(world: "World") -> None:
    """A session's own `context_visits_max` counts, and its state passes to the next context."""
    pool, keeper = pool_of(world, "a", terms=SessionTerms(is_kept=True, context_visits_max=2))
    seen = [await visit(world, pool, "a", str(number)) for number in range(5)]
    assert [len(each) for each in seen] == [0, 1, 2, 3, 4]
    assert len(keeper.hibernated) == 2
    assert world.launcher.browsers[0].contexts_opened == 3


async def test_acquire_anonymous_context_is_closed_without_saving(world: "World") -> None:
    """What nobody keeps makes way at once."""
    pool, keeper = pool_of(world, "a", contexts_max=2)
    for name in ("", "x", "y", ""):
        await visit(world, pool, name, "one")
    assert keeper.hibernated == []


async def test_acquire_private_context_is_not_saved(world: "World") -> None:
    """`isolation="request"`: its context is one visit's, and not the session's."""
    pool, keeper = pool_of(world, "a")
    lease = await pool.acquire("a", isolation="request")
    await world.visit(lease)
    await lease.release()
    await world.clock.settle()
    assert keeper.hibernated == []


async def test_acquire_state_that_cannot_be_used_raises_at_once(world: "World") -> None:
    """It is not tried three times, opens no context, and leaves the permit free."""
    pool, keeper = pool_of(world, "a")
    keeper.error = StateUnusable("its file is damaged")
    with pytest.raises(StateUnusable):
        await pool.acquire("a")
    assert pool.free == 2
    assert world.launcher.contexts_open == 0
    keeper.error = None
    await visit(world, pool, "a", "one")


async def test_recycle_context_that_is_being_opened_takes_effect(world: "World") -> None:
    """A context asked for before its session changed is not what the session gets: the next lease has another."""
    pool, _ = pool_of(world, "a", contexts_max=3)
    world.behaviour.open_context_s = 1.0
    first = asyncio.create_task(pool.acquire("a"))
    await world.clock.advance(0.5)
    pool.recycle("a", "its proxy failed")
    await world.clock.advance(5)
    lease = await first
    await lease.release()
    await world.clock.advance(5)
    second = await world.clock.run_until(pool.acquire("a"))
    assert second.context_id > 1
    await second.release()


async def test_death_of_the_browser_leaves_sessions_that_can_come_back(world: "World") -> None:
    """Nothing is saved from a dead browser, and nothing waits for it."""
    pool, keeper = pool_of(world, "a")
    await visit(world, pool, "a", "one")
    pool.recycle("a", "to save it once")
    await world.clock.advance(1)
    await visit(world, pool, "a", "two")
    world.browser.die()
    await world.clock.advance(0)
    seen = await world.clock.run_until(visit(world, pool, "a", "three"))
    assert seen == {"one": "a"}
    assert len(keeper.hibernated) == 1


async def test_close_saves_what_is_open(world: "World") -> None:
    """The end of the pool is a release of every session."""
    pool, keeper = pool_of(world, "a", "b")
    for name in "ab":
        await visit(world, pool, name, "one")
    await world.clock.run_until(pool.close(limit_s=5))
    assert {session: list(jar) for session, jar in keeper.saved.items()} == {"a": ["one"], "b": ["one"]}


async def test_close_waits_for_contexts_that_are_being_saved(world: "World") -> None:
    """A context that was on its way out is saved before the browser goes, as far as the limit allows."""
    pool, keeper = pool_of(world, "a")
    keeper.save_s = 1.0
    await visit(world, pool, "a", "one")
    pool.recycle("a", "a test")
    await world.clock.advance(0.5)
    await world.clock.run_until(pool.close(limit_s=5))
    assert list(keeper.saved) == ["a"]


async def test_close_saves_a_context_that_waits_for_its_last_lease(world: "World") -> None:
    """A recycled context whose page is still lent holds what its session has; closing saves that too."""
    pool, keeper = pool_of(world, "a")
    lease = await pool.acquire("a")
    await world.visit(lease)
    context_of(lease).jar["one"] = {"name": "one", "value": "a"}
    pool.recycle("a", "a test")
    await world.clock.run_until(pool.close(limit_s=5))
    await lease.release()
    assert list(keeper.saved) == ["a"]


async def test_close_saving_that_does_not_end_is_given_up(world: "World") -> None:
    """Saving has its share of the limit, and closing ends in time."""
    pool, keeper = pool_of(world, "a")
    keeper.save_s = 1000.0
    await visit(world, pool, "a", "one")
    started_at = world.clock.now()
    await world.clock.run_until(pool.close(limit_s=5))
    assert world.clock.now() - started_at <= 6.0
