"""Hung pages, crashes, and the death of the browser."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from browsercrawl.errors import BrowserCrashed, ErrorKind, LaunchFailed
from browsercrawl.events import BrowserCrashed as BrowserCrashedEvent
from browsercrawl.events import PageKilled
from browsercrawl.pool.supervisor import LAUNCH_FAILURES_MAX, YOUNG_S
from browsercrawl.testing.fake_browser import NEVER, FakePageScript

if TYPE_CHECKING:
    from tests.unit.pool.conftest import World


def rungs(world: "World") -> list[tuple[str, bool]]:
    """Return the rungs of the ladder that were climbed, in order."""
    return [(event.rung, event.worked) for event in world.events if isinstance(event, PageKilled)]


async def test_condemned_page_is_interrupted_then_closed(world: "World") -> None:
    """A hung page is closed after its script was ended, and its lease ends at once."""
    world.pages["http://x.test/"] = FakePageScript(hang="interruptible")
    pool = world.pool()
    lease = await pool.acquire("a")
    page = await world.visit(lease, "http://x.test/")
    await lease.release(condemned=ErrorKind.DEADLINE)
    assert pool.free == 2
    await world.clock.settle()
    assert rungs(world) == [("interrupt", True), ("close_page", True)]
    assert page.closed
    world.check(pool)


async def test_condemned_page_that_answers_is_simply_closed(world: "World") -> None:
    """After a network error nothing is interrupted."""
    pool = world.pool()
    lease = await pool.acquire("a")
    page = await world.visit(lease)
    await lease.release(condemned=ErrorKind.NETWORK)
    await world.clock.settle()
    assert page.closed
    assert rungs(world) == []


@pytest.mark.parametrize(
    ("hang", "ladder"),
    [
        ("crashable", ["interrupt", "stop_loading", "close_page", "crash_page", "close_page"]),
        ("killable", ["interrupt", "stop_loading", "close_page", "crash_page", "kill_renderer", "close_page"]),
    ],
)
async def test_page_that_obeys_late_takes_nobody_along(world: "World", hang: Any, ladder: list[str]) -> None:
    """Each rung is taken only if those before did not help; a page that dies of one costs its context nothing."""
    world.pages["http://x.test/"] = FakePageScript(hang=hang)
    pool = world.pool(pages_max=3)
    bad, neighbour = await pool.acquire("a"), await pool.acquire("a")
    await world.visit(bad, "http://x.test/")
    await bad.release(condemned=ErrorKind.DEADLINE)
    await world.clock.advance(10)
    assert [rung for rung, _ in rungs(world)] == ladder
    assert rungs(world)[-1] == ("close_page", True)
    assert neighbour.lost is None
    await neighbour.release()
    assert (pool.free, world.launcher.launches) == (3, 1)
    world.check(pool)


async def test_page_that_never_closes_takes_its_context(world: "World") -> None:
    """The ladder goes on to the context; leases in it are lost, leases elsewhere are not."""
    world.pages["http://x.test/"] = FakePageScript(hang="for_good")
    pool = world.pool(pages_max=3)
    bad, neighbour, other = await pool.acquire("a"), await pool.acquire("a"), await pool.acquire("b")
    await world.visit(bad, "http://x.test/")
    await bad.release(condemned=ErrorKind.DEADLINE)
    await world.clock.advance(10)
    assert [rung for rung, worked in rungs(world) if worked] == ["close_context"]
    assert neighbour.lost is not None
    assert other.lost is None
    await neighbour.release(condemned=ErrorKind.CONTEXT_BROKEN)
    await other.release()
    assert (pool.free, world.launcher.launches) == (3, 1)
    world.check(pool)


async def test_context_that_never_closes_takes_the_browser(world: "World") -> None:
    """The last rung kills the browser; the next lease gets a new one."""
    world.pages["http://x.test/"] = FakePageScript(hang="for_good")
    world.behaviour.close_context_s = NEVER
    pool = world.pool()
    lease = await pool.acquire("a")
    await world.visit(lease, "http://x.test/")
    await lease.release(condemned=ErrorKind.DEADLINE)
    await world.clock.advance(20)
    assert [rung for rung, _ in rungs(world)] == [
        "interrupt", "stop_loading", "close_page", "crash_page", "kill_renderer", "close_context", "kill_browser",
    ]  # fmt: skip
    assert world.launcher.browsers_open == 0
    world.check(pool)
    lease = await pool.acquire("a")
    assert pool.statistics().generation == 2
    await lease.release()
    world.behaviour.close_context_s = 0


async def test_page_of_a_browser_that_does_not_answer_goes_straight_to_the_last_rung(world: "World") -> None:
    """Nothing between helps, and would only take its time: the browser is killed within 5 s."""
    world.pages["http://x.test/"] = FakePageScript(hang="for_good")
    world.behaviour.audit_s = NEVER
    pool = world.pool()
    lease = await pool.acquire("a")
    await world.visit(lease, "http://x.test/")
    await lease.release(condemned=ErrorKind.DEADLINE)
    await world.clock.advance(5)
    assert [rung for rung, _ in rungs(world)] == ["interrupt", "stop_loading", "kill_browser"]
    assert world.launcher.browsers_open == 0
    world.behaviour.audit_s = 0
    world.check(pool)


async def test_browser_death_loses_its_leases_and_relaunches_once(world: "World") -> None:
    """All that lived in a dead browser is dead at once; those who come then share one launch."""
    pool = world.pool(pages_max=3)
    held, parked = await pool.acquire("a"), await pool.acquire("b")
    await parked.release()
    world.browser.die("boom")
    await world.clock.settle()
    assert held.lost == "boom"
    assert list(pool.warm) == []
    assert [event.leases_lost for event in world.events if isinstance(event, BrowserCrashedEvent)] == [1]
    one, two = await asyncio.gather(pool.acquire("a"), pool.acquire("b"))
    assert world.launcher.launches == 2
    assert not one.page.closed
    await asyncio.gather(held.release(), one.release(), two.release())
    assert pool.free == 3
    world.check(pool)


async def test_browser_death_unnoticed_is_seen_by_acquire(world: "World") -> None:
    """A page of a browser that died in this very moment is not handed out."""
    pool = world.pool()
    lease = await pool.acquire("a")
    await lease.release()
    world.browser.die()
    lease = await pool.acquire("a")
    assert not lease.page.closed
    assert pool.statistics().generation == 2
    await lease.release()


@pytest.mark.parametrize("call", range(1, 7))
async def test_browser_death_at_any_call_is_survived(world: "World", call: int) -> None:
    """Whichever call the browser dies in, permits come back and the next lease works."""
    pool = world.pool()
    await pool.start()
    world.behaviour.dies_at_call = call
    lease = await world.clock.run_until(pool.acquire("a"))
    with suppress(BrowserCrashed):
        await world.visit(lease)
    await lease.release()
    await world.clock.settle()
    assert pool.free == 2
    lease = await pool.acquire("a")
    await world.visit(lease)
    await lease.release()
    world.check(pool)


async def test_launch_failing_is_tried_again_within_a_budget(world: "World") -> None:
    """Launches that fail in a row are spaced out; after the budget the waiting leases are told."""
    pool = world.pool()
    world.launcher.fail_next = LAUNCH_FAILURES_MAX
    with pytest.raises(LaunchFailed):
        await world.clock.run_until(pool.acquire("a"))
    assert world.launcher.attempts == LAUNCH_FAILURES_MAX
    assert world.clock.now() == 0.5 + 1 + 2 + 4
    assert pool.free == 2
    world.launcher.fail_next = 1
    lease = await world.clock.run_until(pool.acquire("a"))
    await lease.release()


async def test_browsers_that_die_young_are_launched_ever_later(world: "World") -> None:
    """Two may die young in a row at no cost; then each launch waits longer, but none is ever refused."""
    pool = world.pool()
    waits = []
    for _ in range(7):
        before = world.clock.now()
        lease = await world.clock.run_until(pool.acquire("a"))
        waits.append(world.clock.now() - before)
        await lease.release()
        world.browser.die()
        await world.clock.settle()
    assert waits == [0, 0, 0, 0.5, 1, 2, 4]
    lease = await world.clock.run_until(pool.acquire("a"))
    await lease.release()
    await world.clock.advance(YOUNG_S)
    world.browser.die()
    await world.clock.settle()
    before = world.clock.now()
    lease = await world.clock.run_until(pool.acquire("a"))
    assert world.clock.now() == before
    await lease.release()


async def test_context_closed_by_user_code_is_replaced(world: "World") -> None:
    """A context that was closed under the pool is dead at the next look, its leases lost."""
    pool = world.pool()
    lease = await pool.acquire("a")
    page = await world.visit(lease)
    page.context.end()
    await lease.release()
    assert lease.lost is not None
    assert list(pool.warm) == []
    lease = await pool.acquire("a")
    assert not lease.page.closed
    await lease.release()
    world.check(pool)


async def test_parked_page_that_crashed_is_not_lent(world: "World") -> None:
    """A page that died while parked is closed, and another one lent."""
    pool = world.pool()
    lease = await pool.acquire("a")
    page = await world.visit(lease)
    await lease.release()
    page.die()
    lease = await pool.acquire("a")
    assert lease.page.raw is not page
    await lease.release()
    await world.clock.settle()
    assert page.closed
    world.check(pool)


async def test_context_that_opens_no_page_is_recycled(world: "World") -> None:
    """A page that cannot be opened in time costs its context, and after some tries the acquire."""
    world.behaviour.open_page_s = 100
    pool = world.pool(acquire_limit_s=10)
    task = asyncio.create_task(pool.acquire("a"))
    await world.clock.advance(4)
    world.behaviour.open_page_s = 0
    lease = await world.clock.run_until(task)
    assert len(world.named("context.recycled")) == 1
    await lease.release()
    world.check(pool)
