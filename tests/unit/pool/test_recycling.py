"""Wear: pages, contexts and browsers are replaced before they break, and nobody waits for it."""

from typing import TYPE_CHECKING

import pytest

from browsercrawl.events import BrowserRecycled, BrowserRetired, ContextRecycled, PoolChecked
from browsercrawl.pool.checking import LEAKY_LOOKS_MAX, LOOK_EVERY_S, LOOK_LIMIT_S, SILENT_LOOKS_MAX
from browsercrawl.pool.wear import DRIFT_SAMPLES, Budget, Drift, Wear
from browsercrawl.ports import SessionTerms
from browsercrawl.testing.fake_browser import NEVER
from browsercrawl.testing.virtual_clock import VirtualClock

if TYPE_CHECKING:
    from tests.unit.pool.conftest import World


async def serve(world: "World", *sessions: str) -> None:
    """Lend a page of each session once."""
    for session in sessions:
        lease = await world.clock.run_until(world.pools[-1].acquire(session))
        await world.visit(lease)
        await lease.release()


async def test_worn_browser_is_replaced_before_it_is_closed(world: "World") -> None:
    """The successor is up before the worn one retires; who is in the old one stays, who comes gets the new one."""
    pool = world.pool(recycle={"browser_visits_max": 3})
    held = await pool.acquire("a")
    await world.visit(held)
    await serve(world, "b", "c")
    old = world.browser
    await world.clock.advance(LOOK_EVERY_S + 0.1)
    assert world.launcher.launches == 2
    assert world.launcher.browsers_open == 2
    assert pool.statistics().browsers == 2
    assert held.lost is None
    fresh = await pool.acquire("a")
    assert fresh.context_id != held.context_id
    assert list(world.launcher.browsers[-1].contexts)
    await held.release()
    await world.clock.settle()
    assert old.lost == "closed"
    assert pool.statistics().browsers == 1
    await fresh.release()
    (recycled,) = [event for event in world.events if isinstance(event, BrowserRecycled)]
    assert (recycled.generation, recycled.visits, recycled.why) == (1, 3, "served 3 visits")
    assert [event for event in world.events if isinstance(event, BrowserRetired)] == [
        BrowserRetired(generation=1, clean=True)
    ]
    world.check(pool)


async def test_worn_browser_whose_successor_does_not_start_goes_on(world: "World") -> None:
    """A launch that fails costs nothing, and is told: the worn browser serves until another, a minute later, works."""
    pool = world.pool(recycle={"browser_visits_max": 1})
    await serve(world, "a")
    world.launcher.fail_next = 1
    await world.clock.advance(30)
    assert world.launcher.browsers_open == 1
    assert len(world.named("browser.launch_failed")) == 1
    await serve(world, "a")
    assert pool.statistics().generation == 1
    await world.clock.advance(60)
    assert pool.statistics().generation == 2
    assert world.launcher.browsers_open == 1


async def test_worn_browser_that_dies_while_it_retires_loses_only_its_own(world: "World") -> None:
    """The successor is not touched, and no third browser is launched."""
    pool = world.pool(recycle={"browser_visits_max": 1})
    held = await pool.acquire("a")
    await world.clock.advance(LOOK_EVERY_S + 0.1)
    fresh = await pool.acquire("b")
    world.launcher.browsers[0].die("boom")
    await world.clock.settle()
    assert (held.lost, fresh.lost) == ("boom", None)
    assert pool.statistics().browsers == 1
    assert world.launcher.launches == 2
    await held.release(condemned="browser_crashed")
    await fresh.release()
    world.check(pool)


async def test_worn_browser_that_dies_before_its_successor_is_up_waits_for_that(world: "World") -> None:
    """The launch that goes on is the one that everybody waits for."""
    pool = world.pool(recycle={"browser_age_max_s": 10})
    await serve(world, "a")
    world.launcher.launch_s = 5
    await world.clock.advance(12)
    assert (world.launcher.attempts, world.launcher.launches) == (2, 1)
    world.browser.die("boom")
    await serve(world, "a")
    assert (world.launcher.attempts, world.launcher.launches) == (2, 2)
    assert pool.statistics().generation == 2


async def test_browser_recycling_keeps_the_state_of_its_sessions(world: "World") -> None:
    """A kept session is saved before its context in the new browser is opened, and finds what it had."""
    pool = world.pool(recycle={"browser_visits_max": 1})
    world.keeper.own["a"] = SessionTerms(is_kept=True, pages_max=1)
    lease = await pool.acquire("a")
    page = await world.visit(lease)
    page.context.jar["mark"] = {"name": "mark", "value": 1}
    await lease.release()
    await world.clock.advance(LOOK_EVERY_S + 0.1)
    assert pool.statistics().generation == 2
    lease = await world.clock.run_until(pool.acquire("a"))
    page = await world.visit(lease)
    assert page.context.jar["mark"]["value"] == 1
    await lease.release()


async def test_browser_that_grows_is_replaced(world: "World") -> None:
    """What its own processes hold counts against its budget."""
    world.behaviour.browser_bytes = 10**9
    pool = world.pool(recycle={"browser_bytes_max": 2 * 10**9})
    await serve(world, "a")
    await world.clock.advance(60)
    assert world.launcher.launches == 1
    world.behaviour.browser_bytes = 2 * 10**9
    await world.clock.advance(LOOK_EVERY_S)
    world.behaviour.browser_bytes = 0
    assert pool.statistics().generation == 2
    (recycled,) = [event for event in world.events if isinstance(event, BrowserRecycled)]
    assert recycled.why == "holds 2000 MB"


async def test_browser_that_has_more_open_than_is_known_is_replaced(world: "World") -> None:
    """A leak that stays is mended by the browser's end; one that passes is none."""
    pool = world.pool()
    await serve(world, "a")
    world.behaviour.leaked_contexts = 1
    await world.clock.advance(LOOK_EVERY_S * (LEAKY_LOOKS_MAX - 2))
    world.behaviour.leaked_contexts = 0
    await world.clock.advance(2 * LOOK_EVERY_S)
    world.behaviour.leaked_pages = 1
    await world.clock.advance(LOOK_EVERY_S * (LEAKY_LOOKS_MAX - 2))
    assert world.launcher.launches == 1
    await world.clock.advance(4 * LOOK_EVERY_S)
    world.behaviour.leaked_pages = 0
    assert pool.statistics().generation == 2


async def test_browser_that_does_not_answer_is_killed_and_replaced(world: "World") -> None:
    """One that answers no look any more is as good as dead, also when no page of it is in use."""
    pool = world.pool()
    lease = await pool.acquire("a")
    world.behaviour.audit_s = NEVER
    await world.clock.advance(SILENT_LOOKS_MAX * (LOOK_EVERY_S + LOOK_LIMIT_S) + 1)
    assert lease.lost is not None
    assert "did not answer 3 times" in lease.lost
    assert pool.statistics().browsers == 0
    world.behaviour.audit_s = 0
    await lease.release(condemned="browser_crashed")
    await serve(world, "a")
    assert pool.statistics().generation == 2


async def test_check_compares_the_books_with_the_browser(world: "World") -> None:
    """Once a minute it is told what is open by both counts."""
    pool = world.pool()
    lease = await pool.acquire("a")
    await world.clock.advance(130)
    told = [event for event in world.events if isinstance(event, PoolChecked)]
    assert [(event.contexts, event.contexts_seen, event.pages, event.pages_seen) for event in told] == [
        (1, 1, 1, 1)
    ] * 3
    await lease.release()


async def test_idle_contexts_and_parked_pages_age(world: "World") -> None:
    """What nobody uses is closed when it is old, not kept until somebody comes."""
    pool = world.pool(recycle={"page_age_max_s": 100, "context_age_max_s": 1000})
    await serve(world, "a")
    await world.clock.advance(80)
    assert (world.launcher.pages_open, world.launcher.contexts_open) == (1, 1)
    await world.clock.advance(30)
    assert (world.launcher.pages_open, world.launcher.contexts_open) == (0, 1)
    await world.clock.advance(1000)
    assert world.launcher.contexts_open == 0
    (recycled,) = [event for event in world.events if isinstance(event, ContextRecycled)]
    assert recycled.why.endswith("s old")
    world.check(pool)


async def test_context_in_which_pages_open_slowly_is_replaced(world: "World") -> None:
    """When opening a page takes many times as long as in the beginning, its context is worn."""
    pool = world.pool(reuse="never")
    await serve(world, *["a"] * DRIFT_SAMPLES)
    world.behaviour.open_page_s = 1
    await serve(world, *["a"] * DRIFT_SAMPLES)
    world.behaviour.open_page_s = 0
    await serve(world, "a")
    (recycled,) = [event for event in world.events if isinstance(event, ContextRecycled)]
    assert recycled.why == "opening a page takes 1.00 s, it took 0.00 s"
    world.check(pool)


def test_drift_a_slow_moment_is_none() -> None:
    """Single slow openings, and a machine that is slow from the beginning, are no wear."""
    drift = Drift()
    for took_s in [2.0] * DRIFT_SAMPLES + [2.5, 30.0] * DRIFT_SAMPLES + [3.0] * DRIFT_SAMPLES:
        drift.add(took_s)
    assert drift.reason() is None
    for _ in range(DRIFT_SAMPLES):
        drift.add(9.0)
    assert drift.reason() is not None


@pytest.mark.parametrize("share", [0.9, 0.95, 1.0])
def test_wear_small_budgets_are_kept_exactly_and_large_ones_spread(share: float) -> None:
    """A budget of two visits is two; one of a thousand is used from 900 on; a lower one of its own counts as it is."""
    clock = VirtualClock()
    small = Wear(Budget(visits_max=2, age_max_s=10), born_at=clock.now(), share=share)
    small.visits = 1
    assert small.reason(0) is None
    small.visits = 2
    assert small.reason(0) == "served 2 visits"
    large = Wear(Budget(visits_max=1000, age_max_s=10), born_at=0, share=share)
    large.visits = round(1000 * share) - 1
    assert large.reason(0) is None
    assert large.reason(0, visits_max=50) is not None
    large.visits += 1
    assert large.reason(0) is not None
