"""Leases, warm contexts, reuse, recycling, and closing."""

import asyncio
from typing import TYPE_CHECKING

import pytest

from browsercrawl.errors import (
    BrowserNotFound,
    ConfigError,
    InternalError,
    LaunchFailed,
    LeaseTimeout,
    PoolClosed,
    PoolSaturated,
)
from browsercrawl.pool.stock import STOCK_PAGES
from browsercrawl.testing.fake_browser import NEVER, FakePageScript

if TYPE_CHECKING:
    from tests.unit.pool.conftest import World


async def test_acquire_first_opens_browser_context_and_page(world: "World") -> None:
    """A lease on a cold pool launches one browser, opens one context and one page, and takes one permit."""
    pool = world.pool(pages_max=2)
    lease = await pool.acquire("a")
    assert (pool.free, list(pool.warm), lease.session, lease.page_visits) == (1, ["a"], "a", 1)
    world.check(pool)
    await lease.release()
    assert pool.free == 2
    world.check(pool)


async def test_acquire_full_raises_saturated(world: "World") -> None:
    """The limit is never exceeded, not even by calls that have not awaited yet."""
    pool = world.pool(pages_max=2)
    tasks = [asyncio.create_task(pool.acquire("a")) for _ in range(3)]
    done = await asyncio.gather(*tasks, return_exceptions=True)
    leases = [lease for lease in done if not isinstance(lease, BaseException)]
    assert len(leases) == 2
    assert isinstance(done[2], PoolSaturated)
    for lease in leases:
        await lease.release()


async def test_acquire_after_release_reuses_the_parked_page(world: "World") -> None:
    """A healthy page serves the next lease of its session."""
    pool = world.pool()
    first = await pool.acquire("a")
    page = await world.visit(first)
    await first.release()
    second = await pool.acquire("a")
    assert second.page.raw is page
    assert second.page_visits == 2
    await second.release()


async def test_acquire_twice_at_once_opens_one_context(world: "World") -> None:
    """Leases of one session share one opening of its context."""
    world.behaviour.open_context_s = 1
    pool = world.pool()
    one, two = await world.clock.run_until(asyncio.gather(pool.acquire("a"), pool.acquire("a")))
    assert world.browser.contexts_opened == 1
    assert one.context_id == two.context_id
    await one.release()
    await two.release()


async def test_release_twice_raises(world: "World") -> None:
    """A lease ends exactly once."""
    pool = world.pool()
    lease = await pool.acquire("a")
    await lease.release()
    with pytest.raises(InternalError):
        await lease.release()
    assert pool.free == 2


async def test_release_after_page_visits_max_replaces_the_page(world: "World") -> None:
    """A page is closed after its budget of visits and another takes its place in the same context."""
    pool = world.pool(recycle={"page_visits_max": 3})
    contexts = set()
    for _ in range(7):
        lease = await pool.acquire("a")
        await world.visit(lease)
        contexts.add(lease.context_id)
        await lease.release()
    await world.clock.settle()
    assert world.browser.pages_opened == 3
    assert len(contexts) == 1
    world.check(pool)


async def test_context_worn_is_replaced_before_it_ends(world: "World") -> None:
    """A worn context drains: its last lease goes on while the next lease already has a new context."""
    pool = world.pool(recycle={"context_visits_max": 2})
    one, two = await pool.acquire("a"), await pool.acquire("a")
    assert one.context_id == two.context_id
    await one.release()
    three = await pool.acquire("a")
    assert three.context_id != two.context_id
    assert len(world.browser.contexts) == 2
    await two.release()
    await three.release()
    await world.clock.settle()
    assert len(world.browser.contexts) == 1
    assert len(world.named("context.recycled")) == 1
    world.check(pool)


@pytest.mark.parametrize(
    "script", [FakePageScript(lasting=frozenset({"Page.route"})), FakePageScript(grows_bytes=10**9)]
)
async def test_release_of_unfit_page_closes_it(world: "World", script: FakePageScript) -> None:
    """A page that was changed for good or has grown too much never serves again."""
    world.pages["http://x.test/"] = script
    pool = world.pool()
    lease = await pool.acquire("a")
    page = await world.visit(lease, "http://x.test/")
    await lease.release()
    await world.clock.settle()
    assert page.closed
    assert pool.statistics().contexts == 1
    world.check(pool)


async def test_release_after_lasting_context_change_recycles_the_context(world: "World") -> None:
    """A context that user code changed for good takes no further lease."""
    world.pages["http://x.test/"] = FakePageScript(context_lasting=frozenset({"BrowserContext.route"}))
    pool = world.pool()
    lease = await pool.acquire("a")
    await world.visit(lease, "http://x.test/")
    await lease.release()
    await world.clock.settle()
    assert len(pool.warm) == 0
    assert world.launcher.contexts_open == 0
    world.check(pool)


async def test_reuse_never_gives_every_lease_a_new_page(world: "World") -> None:
    """With reuse off a page serves one lease."""
    pool = world.pool(reuse="never")
    for _ in range(3):
        lease = await pool.acquire("a")
        assert lease.page_visits == 1
        await world.visit(lease)
        await lease.release()
    await world.clock.settle()
    assert (world.browser.pages_opened, world.launcher.pages_open, world.launcher.contexts_open) == (3, 0, 1)


async def test_isolation_request_gives_a_context_of_its_own(world: "World") -> None:
    """An isolated lease shares no context, is not warm, and leaves nothing behind."""
    pool = world.pool()
    shared = await pool.acquire("a")
    alone = await pool.acquire("a", isolation="request")
    assert alone.context_id != shared.context_id
    await world.visit(alone)
    await alone.release()
    await shared.release()
    await world.clock.settle()
    assert world.launcher.contexts_open == 1
    world.check(pool)


async def test_contexts_full_closes_the_least_recently_used(world: "World") -> None:
    """When contexts_max is reached, the idle context used longest ago makes way."""
    pool = world.pool(pages_max=1, contexts_max=2)
    for session in ("a", "b", "a", "c"):
        lease = await pool.acquire(session)
        await lease.release()
    await world.clock.settle()
    assert set(pool.warm) == {"a", "c"}
    world.check(pool)


async def test_stock_full_closes_parked_pages_of_other_sessions(world: "World") -> None:
    """Live pages never exceed pages_max and the stock, however many sessions come by."""
    pool = world.pool(pages_max=1, contexts_max=20)
    for number in range(12):
        lease = await pool.acquire(f"s{number}")
        await lease.release()
    await world.clock.settle()
    assert pool.statistics().pages_parked == 1 + STOCK_PAGES
    assert len(pool.warm) == 12
    world.check(pool)


async def test_acquire_cancelled_gives_everything_back(world: "World") -> None:
    """A cancelled acquire frees its permit at once; the page opened for it serves the next lease."""
    world.behaviour.open_page_s = 2
    pool = world.pool()
    task = asyncio.create_task(pool.acquire("a"))
    await world.clock.advance(1)
    task.cancel()
    await world.clock.settle()
    assert task.cancelled()
    assert pool.free == 2
    await world.clock.advance(2)
    assert pool.statistics().pages_parked == 1
    lease = await pool.acquire("a")
    assert world.browser.pages_opened == 1
    await lease.release()
    world.check(pool)


async def test_acquire_slow_browser_raises_lease_timeout(world: "World") -> None:
    """An acquire ends within its limit, whatever the launch does, and gives its permit back."""
    world.launcher.launch_s = 1000
    pool = world.pool(acquire_limit_s=10)
    with pytest.raises(LeaseTimeout):
        await world.clock.run_until(pool.acquire("a"))
    assert world.clock.now() == 10
    assert pool.free == 2


async def test_release_cancelled_still_ends_the_lease(world: "World") -> None:
    """A release goes on to its end when its caller is cancelled."""
    world.pages["http://x.test/"] = FakePageScript(call_s=1)
    pool = world.pool()
    lease = await pool.acquire("a")
    await world.visit(lease, "http://x.test/")
    task = asyncio.create_task(lease.release())
    await world.clock.settle()
    task.cancel()
    await world.clock.advance(2)
    assert task.cancelled()
    assert pool.free == 2
    world.check(pool)


async def test_release_of_slow_closing_page_frees_the_permit_at_once(world: "World") -> None:
    """Closing a page goes on beside the next lease, as long as there are not too many."""
    world.pages["http://x.test/"] = FakePageScript(close_s=3)
    pool = world.pool(pages_max=1, reuse="never")
    lease = await pool.acquire("a")
    await world.visit(lease, "http://x.test/")
    await lease.release()
    assert (pool.free, pool.statistics().replacements) == (1, 1)
    lease = await pool.acquire("a")
    await world.visit(lease, "http://x.test/")
    releasing = asyncio.create_task(lease.release())
    await world.clock.advance(0.5)
    assert not releasing.done()
    assert (pool.free, world.launcher.pages_open) == (0, 2)
    await world.clock.advance(4)
    assert releasing.done()
    assert pool.free == 1
    world.check(pool)


async def test_release_tells_popups_and_dialogs_of_its_visit(world: "World") -> None:
    """What a visit opened besides its page is counted in the event of its lease's end, and only there."""
    world.pages["http://loud.test/"] = FakePageScript(popups=3, dialogs=2)
    pool = world.pool()
    for url in ("http://loud.test/", "http://quiet.test/"):
        lease = await pool.acquire("a")
        await world.visit(lease, url)
        await lease.release()
    told = [(event.model_dump()["popups"], event.model_dump()["dialogs"]) for event in world.named("lease.released")]
    assert told == [(3, 2), (0, 0)]


async def test_acquire_config_error_is_raised_at_the_first_try(world: "World") -> None:
    """Options that no context takes do not get better: one try, and the permit is free again."""
    world.behaviour.context_error = ConfigError("contextOptions: Mars/Base")
    pool = world.pool()
    with pytest.raises(ConfigError, match="Mars/Base"):
        await pool.acquire("a")
    assert world.browser.calls == 1
    assert pool.free == 2


async def test_close_with_leases_out_ends_them(world: "World") -> None:
    """Closing leaves nothing open; a holder's late release is accepted, once."""
    pool = world.pool()
    lease = await pool.acquire("a")
    await world.visit(lease)
    await asyncio.gather(pool.close(limit_s=1), pool.close(limit_s=1))
    assert lease.lost is not None
    assert world.launcher.pages_open == world.launcher.browsers_open == 0
    await lease.release()
    with pytest.raises(InternalError):
        await lease.release()
    with pytest.raises(PoolClosed):
        await pool.acquire("a")
    assert len(world.named("lease.released")) == 1


async def test_close_while_acquiring_raises_pool_closed(world: "World") -> None:
    """Those who wait for a page are told, whatever they wait for."""
    world.behaviour.open_page_s = NEVER
    pool = world.pool()
    task = asyncio.create_task(pool.acquire("a"))
    await world.clock.advance(1)
    await world.clock.run_until(pool.close(limit_s=1))
    with pytest.raises(PoolClosed):
        await task


async def test_close_during_launch_leaves_no_browser(world: "World") -> None:
    """A launch that is going on is ended with the pool."""
    world.launcher.launch_s = 30
    pool = world.pool()
    task = asyncio.create_task(pool.acquire("a"))
    await world.clock.advance(1)
    await world.clock.run_until(pool.close(limit_s=1))
    with pytest.raises(PoolClosed):
        await task
    assert world.launcher.browsers == []


async def test_start_failing_raises_at_once(world: "World") -> None:
    """A browser that does not start is reported by the first try."""
    world.launcher.fail_next = 1
    pool = world.pool()
    with pytest.raises(LaunchFailed):
        await pool.start()
    assert world.launcher.attempts == 1
    world.launcher.fail_next, world.launcher.error = 1, BrowserNotFound("none here")
    with pytest.raises(BrowserNotFound):
        await pool.start()
    await pool.start()
    assert pool.statistics().browsers == 1
