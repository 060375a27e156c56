"""What each store promises about sessions and their limits, one sentence at a time."""

import pytest

from browsercrawl.errors import ConfigError
from browsercrawl.frontier import (
    Cost,
    Record,
    Verdict,
)
from browsercrawl.politeness import HostRules
from browsercrawl.testing.virtual_clock import VirtualClock
from tests.unit.frontier.conftest import Make, asked, claimed, urls

FREE = HostRules()
SLOW = HostRules(delay_s=1.0)
DONE = Record(ending="succeeded")


async def test_frontier_session_with_a_limit_has_no_more_claims_than_that_on_all_hosts(
    clock: VirtualClock, make: Make
) -> None:
    """Its other requests are parked, wherever they are; the next is claimed when one is given back."""
    frontier = await make(limits={"s": 2, "t": None}.__getitem__)
    await frontier.schedule([asked(host, 0, session="s") for host in "abc"])
    await frontier.schedule([asked("a", 0, session="t")])
    first, *rest = await claimed(frontier, 9)
    assert urls([first, *rest]) == ["a.test/0", "b.test/0", "a.test/0"]
    assert (frontier.counts().parked, frontier.counts().queued) == (1, 0)
    await frontier.complete(first, record=DONE)
    assert frontier.counts().parked == 0
    assert urls(await claimed(frontier, 9)) == ["c.test/0"]


async def test_frontier_session_that_is_held_keeps_its_claims_and_gets_no_other_until_the_limit_is_raised(
    clock: VirtualClock, make: Make
) -> None:
    """A hold ends no visit under way, and nothing but the next word ends the hold."""
    frontier = await make()
    await frontier.schedule([asked("a", page, session="s") for page in range(3)])
    (claim,) = await claimed(frontier)
    await frontier.limit_session("s", 0)
    assert await frontier.complete(claim, record=DONE) == []
    assert (await claimed(frontier), await frontier.ready_in(), frontier.counts().parked) == ([], None, 2)
    await frontier.limit_session("s", 1)
    assert await frontier.ready_in() == 0.0
    assert urls(await claimed(frontier, 9)) == ["a.test/1"]


async def test_frontier_session_limited_below_its_claims_gets_room_when_enough_have_expired(
    clock: VirtualClock, make: Make
) -> None:
    """`ready_in` names the instant, also where the room is used on another host."""
    frontier = await make()
    await frontier.schedule([asked("a", page, session="s") for page in range(3)])
    for lease_s in (3.0, 5.0, 9.0):
        await claimed(frontier, lease_s=lease_s)
    await frontier.limit_session("s", 2)
    await frontier.defer("a.test:80", 7.0)
    assert await frontier.ready_in() == 7.0
    await frontier.schedule([asked("b", 0, session="s")])
    assert await frontier.ready_in() == 5.0
    await clock.advance(5.0)
    assert urls(await claimed(frontier, 9)) == ["b.test/0"]


async def test_frontier_session_that_gets_room_waits_for_the_slot_and_the_pause_besides(
    clock: VirtualClock, make: Make
) -> None:
    """`ready_in` names the instant at which the last of what holds a parked lane back is over."""
    frontier = await make(lambda host: HostRules(concurrency_max=1) if host == "n.test:80" else FREE)
    await frontier.schedule([asked("a", 0, session="s"), asked("b", 0, session="s"), asked("n", 0)])
    await frontier.limit_session("s", 1)
    await claimed(frontier, lease_s=3.0)
    await frontier.limit_session("s", 2)
    (paused,) = await claimed(frontier)
    await frontier.release(paused, delay_s=9.0, cost=Cost.ATTEMPT)
    await frontier.limit_session("s", 1)
    await frontier.defer("a.test:80", 20.0)
    await claimed(frontier, lease_s=8.0)
    await frontier.limit_session("", 0)
    assert await frontier.ready_in() == 9.0
    await frontier.schedule([asked("n", 1, session="s")])
    assert await frontier.ready_in() == 8.0


async def test_frontier_retry_of_a_held_session_is_nothing_to_wait_for(clock: VirtualClock, make: Make) -> None:
    """`ready_in` looks beyond a pause whose end makes nothing ready, to one that does."""
    frontier = await make()
    await frontier.schedule([asked("a", 0, session="s"), asked("a", 0, session="t")])
    for claim in await claimed(frontier, 2):
        await frontier.release(claim, delay_s=1.0 if claim.request.session == "s" else 4.0, cost=Cost.ATTEMPT)
    await frontier.limit_session("s", 0)
    assert await frontier.ready_in() == 4.0
    await frontier.limit_session("t", 0)
    assert await frontier.ready_in() is None
    await clock.advance(4.0)
    assert (await frontier.ready_in(), frontier.counts().parked) == (None, 2)


async def test_frontier_time_parked_counts_as_queued_but_where_the_slot_held_back_too(
    clock: VirtualClock, make: Make
) -> None:
    """Politeness is what the slot asks for, whatever the session says meanwhile."""
    frontier = await make(limits=lambda _: 0)
    await frontier.defer("a.test:80", 2.0)
    await frontier.schedule([asked("a", 0)])
    await clock.advance(5.0)
    await frontier.limit_session("", None)
    (claim,) = await claimed(frontier)
    assert (claim.politeness_s, claim.queued_s) == (2.0, 3.0)


async def test_frontier_lane_that_is_parked_is_not_passed_over(clock: VirtualClock, make: Make) -> None:
    """Its turn comes after 64 others have gone before it while it was ready, not while it was held."""
    frontier = await make()
    await frontier.schedule([asked("a", 0, session="cold")])
    await frontier.schedule([asked("b", page, session="warm") for page in range(200)])
    await frontier.limit_session("cold", 0)
    assert len(await claimed(frontier, 100, warm=("warm",))) == 100
    await frontier.limit_session("cold", 1)
    sessions = [claim.request.session for claim in await claimed(frontier, 66, warm=("warm",))]
    assert sessions == [*["warm"] * 64, "cold", "warm"]


async def test_frontier_request_given_back_for_nothing_keeps_its_place(clock: VirtualClock, make: Make) -> None:
    """What the session is to blame for costs the request neither an attempt nor a stall, nor its place."""
    frontier = await make()
    await frontier.schedule([asked("a", page) for page in range(3)])
    (claim,) = await claimed(frontier)
    assert await frontier.release(claim, cost=Cost.NOTHING)
    again, *rest = await claimed(frontier, 3)
    assert urls([again, *rest]) == ["a.test/0", "a.test/1", "a.test/2"]
    assert (again.attempt, again.stalls) == (1, 0)


async def test_frontier_session_told_before_it_is_seen_is_not_asked_for(clock: VirtualClock, make: Make) -> None:
    """The first limit is for sessions of which nobody said anything, and each is asked for once."""
    sought: list[str] = []

    def limit_of(session: str) -> int | None:
        sought.append(session)
        return 1

    frontier = await make(limits=limit_of)
    await frontier.limit_session("s", 2)
    await frontier.schedule([asked(host, page, session=name) for host in "ab" for page in range(3) for name in "st"])
    assert sought == ["t"]
    assert sorted(claim.request.session or "" for claim in await claimed(frontier, 9)) == ["s", "s", "t"]


async def test_frontier_when_a_limit_cannot_be_had_stores_nothing(clock: VirtualClock, make: Make) -> None:
    """As with the rules of a host: a batch is stored as a whole or not at all."""

    def limit_of(session: str) -> int | None:
        if session == "bad":
            raise ConfigError(session)
        return None

    frontier = await make(limits=limit_of)
    with pytest.raises(ConfigError):
        await frontier.schedule([asked("a", 0), asked("a", 1, session="bad")])
    assert frontier.counts().stored == 0
    assert await frontier.schedule([asked("a", 0)]) == [Verdict.STORED]
