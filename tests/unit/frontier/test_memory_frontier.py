"""What the store in memory promises besides."""

import asyncio
import gc
import tracemalloc

from browsercrawl.frontier import HostUpdate, MemoryFrontier, Record
from browsercrawl.frontier.trust import FORGIVEN_S
from browsercrawl.politeness import HostRules
from browsercrawl.request import Request
from browsercrawl.testing.virtual_clock import VirtualClock


def _frontier(clock: VirtualClock) -> MemoryFrontier:
    return MemoryFrontier(clock=clock, rules_of=lambda _: HostRules(delay_s=1.0))


async def test_memory_frontier_five_claimers_of_a_slot_with_delay_start_one_second_apart() -> None:
    """The delay is reserved at the claim: five at once get 0, 1, 2, 3, 4, not five times 0."""
    clock = VirtualClock()
    frontier = _frontier(clock)
    await frontier.schedule([Request(url=f"http://a.test/{page}") for page in range(5)])
    starts: list[float] = []

    async def claimer() -> None:
        while not await frontier.claim(owner="test", limit=1, lease_s=100.0):
            await clock.sleep(await frontier.ready_in() or 0.0)
        starts.append(clock.now())

    await clock.run_until(asyncio.gather(*(claimer() for _ in range(5))))
    assert starts == [0.0, 1.0, 2.0, 3.0, 4.0]


async def test_memory_frontier_session_without_requests_is_asked_again_unless_it_was_told() -> None:
    """What was told is kept, what was asked is not: the memory does not grow with names that are done with."""
    asked: list[str] = []

    def limit_of(session: str) -> int | None:
        asked.append(session)
        return None

    frontier = MemoryFrontier(clock=VirtualClock(), rules_of=lambda _: HostRules(), session_limit_of=limit_of)
    await frontier.limit_session("told", 1)
    for page in range(2):
        pages = [Request(url=f"http://a.test/{page}", session=session) for session in ("told", "asked")]
        await frontier.schedule(pages)
        for claim in await frontier.claim(owner="test", limit=9, lease_s=100.0):
            await frontier.complete(claim, record=Record(ending="succeeded"))
    assert asked == ["asked", "asked"]


async def test_memory_frontier_after_many_hosts_keeps_nothing_but_ids() -> None:
    """Slots and lanes of finished requests are forgotten once their delay is over: at most 200 bytes each remain."""
    clock = VirtualClock()
    frontier = _frontier(clock)
    done = Record(ending="succeeded")
    number = 4000
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for start in range(0, number, 100):
            requests = [
                Request(url=f"http://h{page}.test/{page}", session=f"s{page % 7}") for page in range(start, start + 100)
            ]
            await frontier.schedule(requests)
            del requests
            claims = await frontier.claim(owner="test", limit=100, lease_s=100.0, warm=("s1",))
            assert [await frontier.complete(claim, record=done) for claim in claims] == [[]] * 100
            del claims
        await clock.advance(1.0)
        assert frontier.counts().finished == number
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert not frontier._slots
    assert not frontier._claims
    assert not frontier._turns._sessions
    assert not frontier._sessions
    assert grown / number <= 200


async def test_memory_frontier_host_that_went_idle_is_forgotten_no_earlier_than_what_it_did() -> None:
    """Failures in a row count on from request to request, a pace holds for minutes; then the slot goes, too."""
    clock = VirtualClock()
    frontier = MemoryFrontier(clock=clock, rules_of=lambda _: HostRules())
    for number in range(3):
        await frontier.schedule([Request(url=f"http://a.test/{number}")])
        (claim,) = await frontier.claim(owner="test", limit=1, lease_s=100.0)
        assert (claim.failures, claim.delay_s) == (number, 2.0 if number else 0.0)
        update = HostUpdate(failures=claim.failures + 1, pace_s=2.0)
        await frontier.complete(claim, record=Record(ending="failed.network"), host=update)
        await clock.advance(60.0)
    await clock.advance(FORGIVEN_S)
    assert frontier.counts().finished == 3
    assert not frontier._slots
