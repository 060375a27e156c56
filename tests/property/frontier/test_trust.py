"""What a slot makes of its host, whatever is told in whatever order, with any number of claims at once."""

from hypothesis import given, settings
from hypothesis import strategies as st

from browsercrawl.config import HostConfig
from browsercrawl.frontier import Claim, Cost, HostUpdate, MemoryFrontier, Record
from browsercrawl.frontier.trust import FORGIVEN_S
from browsercrawl.politeness import (
    OPENINGS_MAX,
    REFUSALS_MAX,
    HostRules,
    host_deferral_s,
    host_opening_s,
    is_hopeless,
)
from browsercrawl.request import Request
from browsercrawl.testing.virtual_clock import VirtualClock

DONE = Record(ending="succeeded")
HOST = "a.test:80"

_deeds = st.sampled_from(["served", "refused", "failed", "silent", "wait", "restrained", "roamed"])


def _requests(number: int) -> list[Request]:
    return [Request(url=f"http://a.test/{page}") for page in range(number)]


def _frontier(clock: VirtualClock, rules: HostRules) -> MemoryFrontier:
    return MemoryFrontier(clock=clock, rules_of=lambda _: rules)


async def _claim(frontier: MemoryFrontier, limit: int = 1) -> list[Claim]:
    return await frontier.claim(owner="me", limit=limit, lease_s=10**6)


def _update(config: HostConfig, claim: Claim, deed: str) -> HostUpdate | None:
    if deed == "refused":
        refusals = claim.refusals + 1
        is_down = is_hopeless(config, refusals=refusals)
        return HostUpdate(refusals=refusals, defer_s=host_deferral_s(config, refusals, asked_s=None), is_down=is_down)
    if deed == "failed":
        failures = claim.failures + 1
        is_down = is_hopeless(config, failures=failures)
        return HostUpdate(failures=failures, defer_s=host_opening_s(config, failures), is_down=is_down)
    if deed == "roamed":
        return HostUpdate(visits=2)
    return HostUpdate() if deed == "served" else None


@given(
    deeds=st.lists(st.tuples(_deeds, st.integers(0, 3), st.sampled_from([0.0, 0.25, 1.0, 70.0])), max_size=60),
    delay_s=st.sampled_from([0.0, 0.5, 1.0]),
    jitter=st.sampled_from([0.0, 0.5]),
    most=st.sampled_from([None, 1, 3]),
)
@settings(max_examples=200, deadline=None)
async def test_slot_whatever_happens_keeps_its_delay_and_its_deferrals(
    deeds: list[tuple[str, int, float]], delay_s: float, jitter: float, most: int | None
) -> None:
    """Between two claims there is the delay, told or configured, and never one while the host is left alone.

    After a pause there is one claim at a time until the host has served one. Once it is given up all go at once.
    """
    clock, config = VirtualClock(), HostConfig(failures_max=3, defer_s=8.0)
    frontier = _frontier(clock, HostRules(delay_s=delay_s, jitter=jitter, concurrency_max=most))
    await frontier.schedule(_requests(300))
    held: list[Claim] = []
    least_s, closed_until, claimed_at, gap_s, is_down, on_trial = delay_s, 0.0, None, 0.0, False, False
    for deed, which, wait_s in deeds:
        await clock.advance(wait_s)
        claims = await _claim(frontier, 4)
        for claim in claims:
            now = clock.now()
            assert claim.is_down is is_down
            if is_down:
                continue
            assert now >= closed_until
            assert claimed_at is None or now >= claimed_at + gap_s
            assert least_s <= claim.delay_s <= least_s * (1 + jitter)
            on_trial = on_trial and bool(claim.refusals or claim.failures)
            assert not (on_trial and held), "one at a time until it serves"
            assert most is None or len(held) < most
            claimed_at, gap_s = now, claim.delay_s
            held.append(claim)
        for claim in claims if is_down else []:
            await frontier.complete(claim, record=DONE)
        if deed == "restrained":
            least_s = max(least_s, 0.75)
            await frontier.restrain(HOST, delay_s=0.75)
        if deed in {"wait", "restrained"} or not held or is_down:
            continue
        claim = held.pop(which % len(held))
        update = _update(config, claim, deed)
        await frontier.release(claim, cost=Cost.NOTHING, host=update)
        if update is not None and (update.refusals or update.failures):
            closed_until = max(closed_until, clock.now() + update.defer_s)
            on_trial = on_trial or update.defer_s > 0
            is_down = update.is_down


@given(extra=st.integers(0, 300), at_once=st.integers(1, 50))
@settings(max_examples=30, deadline=None)
async def test_slot_that_is_given_up_lets_all_go_in_no_time(extra: int, at_once: int) -> None:
    """However many wait, and whatever its delay: claims come as fast as they are asked for, each once."""
    clock = VirtualClock()
    frontier = _frontier(clock, HostRules(delay_s=5.0, concurrency_max=1))
    await frontier.schedule(_requests(extra + 1))
    (first,) = await _claim(frontier)
    await frontier.complete(first, record=DONE, host=HostUpdate(failures=9, is_down=True))
    seen = set()
    while claims := await _claim(frontier, at_once):
        for claim in claims:
            assert claim.is_down
            seen.add(claim.request.url)
            await frontier.complete(claim, record=DONE)
    assert len(seen) == extra
    assert clock.now() == 0.0


async def test_slot_left_in_peace_for_long_begins_anew() -> None:
    """What a host did half an hour ago, counted from the end of its pause, is not held against it any more."""
    clock = VirtualClock()
    frontier = _frontier(clock, HostRules())
    await frontier.schedule(_requests(9))
    (claim,) = await _claim(frontier)
    await frontier.release(claim, cost=Cost.ATTEMPT, host=HostUpdate(refusals=4, defer_s=100.0))
    await clock.advance(100.0)
    (trial,) = await _claim(frontier, 5)
    assert trial.refusals == 4
    await frontier.release(trial, cost=Cost.NOTHING)  # it hung: that says nothing
    await clock.advance(FORGIVEN_S)
    claims = await _claim(frontier, 5)
    assert [claim.refusals for claim in claims] == [0] * 5


def test_host_that_only_refuses_is_given_up_within_hours_whatever_it_asks_for() -> None:
    """The pauses of a host have a sum: three hours for refusals, minutes for failures, as `defer_max_s` allows."""
    config = HostConfig()
    asked_s = [host_deferral_s(config, number, asked_s=1.0) for number in range(1, REFUSALS_MAX + 1)]
    unasked_s = [host_deferral_s(config, number, asked_s=None) for number in range(1, REFUSALS_MAX + 1)]
    assert 3600 < sum(asked_s) < sum(unasked_s) < 4 * 3600
    assert is_hopeless(config, refusals=REFUSALS_MAX + 1)
    assert not is_hopeless(config, refusals=REFUSALS_MAX)
    assert config.failures_max is not None
    opened_s = [host_opening_s(config, config.failures_max + number) for number in range(OPENINGS_MAX)]
    assert 420 <= sum(opened_s) <= 420 * 1.1
    assert host_opening_s(config, config.failures_max - 1) == 0.0
    assert is_hopeless(config, failures=config.failures_max + OPENINGS_MAX)
    assert not is_hopeless(HostConfig(failures_max=None), failures=10**6)
