"""What each store promises, one sentence at a time; the whole of it is in tests/property/frontier."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from browsercrawl.errors import ConfigError
from browsercrawl.frontier import (
    UNBOUNDED,
    Bounds,
    Claim,
    Cost,
    Frontier,
    FrontierCounts,
    HostUpdate,
    MemoryFrontier,
    Record,
    RulesOf,
    SessionLimitOf,
    Verdict,
)
from browsercrawl.frontier.sqlite import SqliteFrontier, StoreOptions, make_store
from browsercrawl.politeness import HostRules
from browsercrawl.request import Request
from browsercrawl.testing.virtual_clock import VirtualClock

FREE = HostRules()
SLOW = HostRules(delay_s=1.0)
DONE = Record(ending="succeeded")

Make = Callable[..., Awaitable[Frontier]]


@pytest.fixture
def clock() -> VirtualClock:
    """A clock turned by hand."""
    return VirtualClock()


@pytest.fixture(params=["memory", "sqlite"])
async def make(request: pytest.FixtureRequest, clock: VirtualClock, tmp_path: Path) -> AsyncIterator[Make]:
    """Opens a fresh store; the second time another one."""
    made: list[Frontier] = []

    async def open_one(
        rules: HostRules | RulesOf = FREE, *, limits: SessionLimitOf | None = None, most: Bounds = UNBOUNDED
    ) -> Frontier:
        rules_of: RulesOf = rules if callable(rules) else lambda _: rules
        if request.param == "memory":
            made.append(MemoryFrontier(clock=clock, rules_of=rules_of, session_limit_of=limits, most=most))
        else:
            path = tmp_path / f"{len(made)}.sqlite"
            make_store(path, notes={})
            options = StoreOptions(session_limit_of=limits, most=most)
            made.append(await SqliteFrontier.open(path, clock=clock, rules_of=rules_of, options=options))
        return made[-1]

    yield open_one
    for frontier in made:
        await frontier.close()


def _request(host: str, page: int | str, *, session: str | None = None, priority: int = 0) -> Request:
    return Request(url=f"http://{host}.test/{page}", session=session, priority=priority)


async def _claim(
    frontier: Frontier, limit: int = 1, *, warm: tuple[str, ...] = (), lease_s: float = 100.0
) -> list[Claim]:
    return await frontier.claim(owner="test", limit=limit, lease_s=lease_s, warm=warm)


def _urls(claims: list[Claim]) -> list[str]:
    return [claim.request.url.removeprefix("http://") for claim in claims]


async def test_frontier_path_that_is_full_takes_no_more_links_of_other_queries(make: Make) -> None:
    """Only links count, by path and session, duplicates not; what has no query is not meant, nor are seeds."""
    frontier = await make(most=Bounds(of_path=2))
    seeds = [_request("a", f"list?seed={number}") for number in range(5)]
    assert await frontier.schedule(seeds) == [Verdict.STORED] * 5
    first, second = await _claim(frontier, 2)
    links = [_request("a", "list?page=1"), seeds[0], _request("a", "list?page=2"), _request("a", "list?page=2")]
    more = [_request("a", "list?page=3"), _request("a", "list"), _request("a", "list/?page=3"), _request("b", "list?p")]
    stored, duplicate, full = Verdict.STORED, Verdict.DUPLICATE, Verdict.PATH_FULL
    assert await frontier.complete(first, record=DONE, links=[*links, *more]) == [
        stored, duplicate, stored, duplicate, full, stored, stored, stored,
    ]  # fmt: skip
    again = [_request("a", "list?page=4"), _request("a", "list?page=1"), _request("a", "list?page=4", session="me")]
    assert await frontier.complete(second, record=DONE, links=again) == [full, duplicate, stored]
    assert (await frontier.totals())["link.max_per_path"] == 2


async def test_frontier_slot_that_went_idle_still_keeps_its_delay(clock: VirtualClock, make: Make) -> None:
    """A request that comes to a host whose last one was just finished waits for the rest of the delay."""
    frontier = await make(SLOW)
    await frontier.schedule([_request("a", 1)])
    await frontier.complete((await _claim(frontier))[0], record=DONE)
    await clock.advance(0.25)
    await frontier.schedule([_request("a", 2)])
    assert await _claim(frontier) == []
    assert await frontier.ready_in() == 0.75
    await clock.advance(0.75)
    (claim,) = await _claim(frontier)
    assert (claim.politeness_s, claim.queued_s) == (0.75, 0.0)


async def test_frontier_restrained_slot_keeps_the_longer_delay_until_the_end(clock: VirtualClock, make: Make) -> None:
    """A Crawl-delay holds from the instant it is told, also once the slot was idle; a shorter one changes nothing."""
    frontier = await make(SLOW)
    await frontier.restrain("a.test:80", delay_s=5.0)
    await frontier.restrain("a.test:80", delay_s=0.5)
    await frontier.schedule([_request("a", 1)])
    assert await frontier.ready_in() == 5.0
    await clock.advance(5.0)
    await frontier.complete((await _claim(frontier))[0], record=DONE)
    await clock.advance(100.0)
    await frontier.schedule([_request("a", 2), _request("a", 3)])
    assert [claim.delay_s for claim in await _claim(frontier, 2)] == [5.0]
    assert await frontier.ready_in() == 5.0


@pytest.mark.parametrize("ends", [False, True])
async def test_frontier_claim_that_came_to_no_visit_gives_its_delay_back(
    clock: VirtualClock, make: Make, ends: bool
) -> None:
    """The next one goes at once; what else holds the slot back, and what earlier claims reserved, stays."""
    frontier = await make(SLOW)
    await frontier.schedule([_request("a", number) for number in range(5)])
    await frontier.complete((await _claim(frontier))[0], record=DONE)
    await clock.advance(1.0)
    (claim,) = await _claim(frontier)
    assert await frontier.ready_in() == 1.0
    unused = HostUpdate(unused=claim.reserved)
    if ends:
        await frontier.complete(claim, record=DONE, host=unused)
    else:
        await frontier.release(claim, cost=Cost.NOTHING, host=unused)
    assert await frontier.ready_in() == 0.0
    (claim,) = await _claim(frontier)
    await frontier.defer("a.test:80", 7.0)
    await frontier.release(claim, cost=Cost.NOTHING, host=HostUpdate(unused=claim.reserved))
    assert await frontier.ready_in() == 7.0
    await clock.advance(7.0)
    (claim,) = await _claim(frontier)
    await frontier.release(claim, cost=Cost.NOTHING, host=HostUpdate(unused=claim.reserved, defer_s=0.25))
    assert await frontier.ready_in() == 0.25


async def test_frontier_slow_host_with_ten_thousand_requests_delays_no_other(clock: VirtualClock, make: Make) -> None:
    """The requests of 100 other hosts are all claimed at once, though 10,000 of a slow host came before them."""
    frontier = await make(lambda host: SLOW if host == "slow.test:80" else FREE)
    await frontier.schedule([_request("slow", page) for page in range(10_000)])
    await frontier.schedule([_request(f"h{number}", 0) for number in range(100)])
    hosts = Counter(claim.request.address.host for claim in await _claim(frontier, 1000))
    assert len(hosts) == 101
    assert set(hosts.values()) == {1}
    assert frontier.counts().waiting == 9_999


async def test_frontier_two_equal_lanes_take_turns(clock: VirtualClock, make: Make) -> None:
    """A lane that was stored first and is longer does not go first all the time."""
    frontier = await make()
    await frontier.schedule([_request("a", page) for page in range(3)] + [_request("b", page) for page in range(3)])
    assert _urls(await _claim(frontier, 6)) == ["a.test/0", "b.test/0", "a.test/1", "b.test/1", "a.test/2", "b.test/2"]


async def test_frontier_higher_priority_goes_first_within_and_between_lanes(clock: VirtualClock, make: Make) -> None:
    """Priority beats the order of storing and the turns."""
    frontier = await make()
    await frontier.schedule([_request("a", "low"), _request("a", "high", priority=2), _request("b", "mid", priority=1)])
    assert _urls(await _claim(frontier, 3)) == ["a.test/high", "b.test/mid", "a.test/low"]


async def test_frontier_request_put_back_goes_behind_all_without_stalls(clock: VirtualClock, make: Make) -> None:
    """A request under which browsers die must not hold up the others, whatever its priority."""
    frontier = await make()
    await frontier.schedule([_request("a", "deadly", priority=9), _request("a", 1), _request("b", 1)])
    (deadly,) = await _claim(frontier)
    assert await frontier.release(deadly, cost=Cost.STALL)
    claims = await _claim(frontier, 3)
    assert _urls(claims) == ["b.test/1", "a.test/1", "a.test/deadly"]
    assert (claims[2].stalls, claims[2].attempt) == (1, 1)


async def test_frontier_request_in_its_retry_pause_does_not_block_its_lane(clock: VirtualClock, make: Make) -> None:
    """The rest of the lane goes on; the retry has its old place again when the pause is over."""
    frontier = await make()
    await frontier.schedule([_request("a", page) for page in range(3)])
    (first,) = await _claim(frontier)
    assert await frontier.release(first, delay_s=10.0, cost=Cost.ATTEMPT)
    assert _urls(await _claim(frontier)) == ["a.test/1"]
    await clock.advance(10.0)
    (again,) = await _claim(frontier)
    assert again.request == first.request
    assert (again.attempt, again.stalls, again.politeness_s, again.queued_s) == (2, 0, 10.0, 0.0)


async def test_frontier_warm_session_goes_first_but_passes_a_cold_one_64_times_at_most(
    clock: VirtualClock, make: Make
) -> None:
    """Warm contexts are used while they are warm; the cold lane's turn comes all the same."""
    frontier = await make()
    await frontier.schedule([_request("a", page, session="cold") for page in range(2)])
    await frontier.schedule([_request("b", page, session="warm") for page in range(200)])
    sessions = [claim.request.session for claim in await _claim(frontier, 202, warm=("warm",))]
    # After the cold lane's turn the warm one goes once in its own right, and then 64 times for its warmth.
    assert sessions == [*["warm"] * 64, "cold", *["warm"] * 65, "cold", *["warm"] * 71]


async def test_frontier_warm_session_never_overtakes_a_higher_priority(clock: VirtualClock, make: Make) -> None:
    """Warmth decides among equals only."""
    frontier = await make()
    await frontier.schedule([_request("b", 0, session="warm"), _request("a", 0, session="cold", priority=1)])
    assert _urls(await _claim(frontier, 2, warm=("warm",))) == ["a.test/0", "b.test/0"]


async def test_frontier_warm_lane_whose_slot_was_closed_is_found_again(clock: VirtualClock, make: Make) -> None:
    """A warm lane set aside while its host was deferred is preferred again once the host is open."""
    frontier = await make()
    await frontier.schedule([_request("w", page, session="warm") for page in range(2)])
    await frontier.schedule([_request(f"c{number}", 0, session="cold") for number in range(3)])
    assert _urls(await _claim(frontier, warm=("warm",))) == ["w.test/0"]
    await frontier.defer("w.test:80", 5.0)
    assert _urls(await _claim(frontier, warm=("warm",))) == ["c0.test/0"]
    await clock.advance(5.0)
    assert _urls(await _claim(frontier, 2, warm=("warm",))) == ["w.test/1", "c1.test/0"]


async def test_frontier_retry_on_a_deferred_host_is_ready_when_both_pauses_are_over(
    clock: VirtualClock, make: Make
) -> None:
    """`ready_in` names no instant at which a claim would find nothing."""
    frontier = await make()
    await frontier.schedule([_request("a", 0)])
    await frontier.defer("b.test:80", 1.0)
    (claim,) = await _claim(frontier)
    await frontier.release(claim, delay_s=2.0, cost=Cost.ATTEMPT)
    await frontier.defer("a.test:80", 7.0)
    assert await frontier.ready_in() == 7.0
    await clock.advance(3.0)
    assert (await frontier.ready_in(), frontier.counts().waiting) == (4.0, 1)


async def test_frontier_expired_claim_is_given_to_the_next_and_the_old_owner_is_refused(
    clock: VirtualClock, make: Make
) -> None:
    """The fencing token keeps an owner taken for dead from settling what another has in hand."""
    frontier = await make()
    await frontier.schedule([_request("a", 0)])
    (old,) = await _claim(frontier, lease_s=5.0)
    assert await frontier.ready_in() == 5.0
    await clock.advance(5.0)
    (new,) = await _claim(frontier)
    assert (new.stalls, new.attempt, new.token != old.token) == (1, 1, True)
    assert await frontier.complete(old, record=DONE, links=[_request("a", 1)]) is None
    assert not await frontier.release(old, cost=Cost.ATTEMPT)
    assert frontier.counts().stored == 1
    assert await frontier.complete(new, record=DONE) == []
    assert await frontier.complete(new, record=DONE) is None


async def test_frontier_owner_that_is_late_may_still_settle_until_the_next_claim(
    clock: VirtualClock, make: Make
) -> None:
    """Work that was done is not done again because its owner was a moment late."""
    frontier = await make(HostRules(concurrency_max=1))
    await frontier.schedule([_request("a", 0)])
    (late,) = await _claim(frontier, lease_s=5.0)
    await clock.advance(6.0)
    assert await frontier.ready_in() == 0.0
    assert frontier.counts().queued == 1
    assert await frontier.complete(late, record=DONE) == []
    assert await _claim(frontier) == []
    assert frontier.counts().open == 0


async def test_frontier_slot_with_concurrency_gives_no_more_than_that_at_once(clock: VirtualClock, make: Make) -> None:
    """The next is claimed when one is given back, not before; the wait counts as politeness."""
    frontier = await make(HostRules(concurrency_max=2))
    await frontier.schedule([_request("a", page) for page in range(3)])
    first, _ = await _claim(frontier, 3)
    await clock.advance(3.0)
    assert await _claim(frontier) == []
    await frontier.complete(first, record=DONE)
    (third,) = await _claim(frontier)
    assert (third.politeness_s, third.queued_s) == (3.0, 0.0)


async def test_frontier_longer_deferral_stays_when_a_shorter_one_comes(clock: VirtualClock, make: Make) -> None:
    """A host that asked for a minute gets it, even if another answer of it asked for a second."""
    frontier = await make()
    await frontier.defer("a.test:80", 60.0)
    await frontier.defer("a.test:80", 1.0)
    await frontier.schedule([_request("a", 0)])
    assert await frontier.ready_in() == 60.0


async def test_frontier_full_refuses_what_is_new_and_counts_what_is_known(clock: VirtualClock, make: Make) -> None:
    """The bound is the size of the run: finished requests count, duplicates do not."""
    frontier = await make(most=Bounds(requests=2))
    verdicts = await frontier.schedule([_request("a", page) for page in (0, 0, 1, 2)])
    assert verdicts == [Verdict.STORED, Verdict.DUPLICATE, Verdict.STORED, Verdict.FULL]
    (claim,) = await _claim(frontier)
    assert await frontier.complete(claim, record=DONE, links=[_request("a", 3), _request("a", 0)]) == [
        Verdict.FULL,
        Verdict.DUPLICATE,
    ]
    assert frontier.counts() == FrontierCounts(
        stored=2, queued=1, waiting=0, parked=0, retrying=0, claimed=0, finished=1, duplicates=2
    )


async def test_frontier_refuse_counts_what_has_no_result(clock: VirtualClock, make: Make) -> None:
    """What is counted besides the refusals is in the totals, together with the mark."""
    frontier = await make()
    assert await frontier.refuse([], mark="7", counts={"link.excluded": 2}) == []
    assert await frontier.refuse([], counts={"link.excluded": 3, "link.guard": 1}) == []
    assert await frontier.totals() == {"link.excluded": 5, "link.guard": 1}
    assert (await frontier.notes())["input"] == "7"


async def test_frontier_when_the_rules_cannot_be_had_stores_and_finishes_nothing(
    clock: VirtualClock, make: Make
) -> None:
    """A batch is stored as a whole or not at all, and a request is finished together with its links or not at all."""

    def rules_of(host: str) -> HostRules:
        if host.startswith("bad"):
            raise ConfigError(host)
        return HostRules()

    frontier = await make(rules_of)
    with pytest.raises(ConfigError):
        await frontier.schedule([_request("a", 0), _request("bad", 0)])
    assert frontier.counts().stored == 0
    await frontier.schedule([_request("a", 0)])
    (claim,) = await _claim(frontier)
    with pytest.raises(ConfigError):
        await frontier.complete(claim, record=DONE, links=[_request("a", 1), _request("bad", 0)])
    assert (frontier.counts().stored, frontier.counts().claimed) == (1, 1)
    assert await frontier.complete(claim, record=DONE) == []


async def test_frontier_session_with_a_limit_has_no_more_claims_than_that_on_all_hosts(
    clock: VirtualClock, make: Make
) -> None:
    """Its other requests are parked, wherever they are; the next is claimed when one is given back."""
    frontier = await make(limits={"s": 2, "t": None}.__getitem__)
    await frontier.schedule([_request(host, 0, session="s") for host in "abc"])
    await frontier.schedule([_request("a", 0, session="t")])
    first, *rest = await _claim(frontier, 9)
    assert _urls([first, *rest]) == ["a.test/0", "b.test/0", "a.test/0"]
    assert (frontier.counts().parked, frontier.counts().queued) == (1, 0)
    await frontier.complete(first, record=DONE)
    assert frontier.counts().parked == 0
    assert _urls(await _claim(frontier, 9)) == ["c.test/0"]


async def test_frontier_session_that_is_held_keeps_its_claims_and_gets_no_other_until_the_limit_is_raised(
    clock: VirtualClock, make: Make
) -> None:
    """A hold ends no visit under way, and nothing but the next word ends the hold."""
    frontier = await make()
    await frontier.schedule([_request("a", page, session="s") for page in range(3)])
    (claim,) = await _claim(frontier)
    await frontier.limit_session("s", 0)
    assert await frontier.complete(claim, record=DONE) == []
    assert (await _claim(frontier), await frontier.ready_in(), frontier.counts().parked) == ([], None, 2)
    await frontier.limit_session("s", 1)
    assert await frontier.ready_in() == 0.0
    assert _urls(await _claim(frontier, 9)) == ["a.test/1"]


async def test_frontier_session_limited_below_its_claims_gets_room_when_enough_have_expired(
    clock: VirtualClock, make: Make
) -> None:
    """`ready_in` names the instant, also where the room is used on another host."""
    frontier = await make()
    await frontier.schedule([_request("a", page, session="s") for page in range(3)])
    for lease_s in (3.0, 5.0, 9.0):
        await _claim(frontier, lease_s=lease_s)
    await frontier.limit_session("s", 2)
    await frontier.defer("a.test:80", 7.0)
    assert await frontier.ready_in() == 7.0
    await frontier.schedule([_request("b", 0, session="s")])
    assert await frontier.ready_in() == 5.0
    await clock.advance(5.0)
    assert _urls(await _claim(frontier, 9)) == ["b.test/0"]


async def test_frontier_session_that_gets_room_waits_for_the_slot_and_the_pause_besides(
    clock: VirtualClock, make: Make
) -> None:
    """`ready_in` names the instant at which the last of what holds a parked lane back is over."""
    frontier = await make(lambda host: HostRules(concurrency_max=1) if host == "n.test:80" else FREE)
    await frontier.schedule([_request("a", 0, session="s"), _request("b", 0, session="s"), _request("n", 0)])
    await frontier.limit_session("s", 1)
    await _claim(frontier, lease_s=3.0)
    await frontier.limit_session("s", 2)
    (paused,) = await _claim(frontier)
    await frontier.release(paused, delay_s=9.0, cost=Cost.ATTEMPT)
    await frontier.limit_session("s", 1)
    await frontier.defer("a.test:80", 20.0)
    await _claim(frontier, lease_s=8.0)
    await frontier.limit_session("", 0)
    assert await frontier.ready_in() == 9.0
    await frontier.schedule([_request("n", 1, session="s")])
    assert await frontier.ready_in() == 8.0


async def test_frontier_retry_of_a_held_session_is_nothing_to_wait_for(clock: VirtualClock, make: Make) -> None:
    """`ready_in` looks beyond a pause whose end makes nothing ready, to one that does."""
    frontier = await make()
    await frontier.schedule([_request("a", 0, session="s"), _request("a", 0, session="t")])
    for claim in await _claim(frontier, 2):
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
    await frontier.schedule([_request("a", 0)])
    await clock.advance(5.0)
    await frontier.limit_session("", None)
    (claim,) = await _claim(frontier)
    assert (claim.politeness_s, claim.queued_s) == (2.0, 3.0)


async def test_frontier_lane_that_is_parked_is_not_passed_over(clock: VirtualClock, make: Make) -> None:
    """Its turn comes after 64 others have gone before it while it was ready, not while it was held."""
    frontier = await make()
    await frontier.schedule([_request("a", 0, session="cold")])
    await frontier.schedule([_request("b", page, session="warm") for page in range(200)])
    await frontier.limit_session("cold", 0)
    assert len(await _claim(frontier, 100, warm=("warm",))) == 100
    await frontier.limit_session("cold", 1)
    sessions = [claim.request.session for claim in await _claim(frontier, 66, warm=("warm",))]
    assert sessions == [*["warm"] * 64, "cold", "warm"]


async def test_frontier_request_given_back_for_nothing_keeps_its_place(clock: VirtualClock, make: Make) -> None:
    """What the session is to blame for costs the request neither an attempt nor a stall, nor its place."""
    frontier = await make()
    await frontier.schedule([_request("a", page) for page in range(3)])
    (claim,) = await _claim(frontier)
    assert await frontier.release(claim, cost=Cost.NOTHING)
    again, *rest = await _claim(frontier, 3)
    assert _urls([again, *rest]) == ["a.test/0", "a.test/1", "a.test/2"]
    assert (again.attempt, again.stalls) == (1, 0)


async def test_frontier_session_told_before_it_is_seen_is_not_asked_for(clock: VirtualClock, make: Make) -> None:
    """The first limit is for sessions of which nobody said anything, and each is asked for once."""
    asked: list[str] = []

    def limit_of(session: str) -> int | None:
        asked.append(session)
        return 1

    frontier = await make(limits=limit_of)
    await frontier.limit_session("s", 2)
    await frontier.schedule([_request(host, page, session=name) for host in "ab" for page in range(3) for name in "st"])
    assert asked == ["t"]
    assert sorted(claim.request.session or "" for claim in await _claim(frontier, 9)) == ["s", "s", "t"]


async def test_frontier_when_a_limit_cannot_be_had_stores_nothing(clock: VirtualClock, make: Make) -> None:
    """As with the rules of a host: a batch is stored as a whole or not at all."""

    def limit_of(session: str) -> int | None:
        if session == "bad":
            raise ConfigError(session)
        return None

    frontier = await make(limits=limit_of)
    with pytest.raises(ConfigError):
        await frontier.schedule([_request("a", 0), _request("a", 1, session="bad")])
    assert frontier.counts().stored == 0
    assert await frontier.schedule([_request("a", 0)]) == [Verdict.STORED]
