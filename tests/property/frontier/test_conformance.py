"""Every store behind the Frontier interface does what a slow and obvious model does, whatever is asked of it.

A new store adds itself to `STORES`. Times are multiples of 1/8 s, which floats hold exactly, so equal means equal.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from browsercrawl.clock import Clock
from browsercrawl.frontier import Claim, Frontier, FrontierCounts, MemoryFrontier, RulesOf, Verdict
from browsercrawl.politeness import HostRules
from browsercrawl.request import Request
from browsercrawl.testing.virtual_clock import VirtualClock

MakeStore = Callable[[Clock, RulesOf, int | None], Frontier]

STORES: dict[str, MakeStore] = {
    "memory": lambda clock, rules_of, most: MemoryFrontier(clock=clock, rules_of=rules_of, requests_max=most),
}

PASSED_OVER_MAX = 64
LONG_LEASE_S = 1000.0
RULES = {
    "free.test:80": HostRules(),
    "slow.test:80": HostRules(delay_s=1.0),
    "narrow.test:80": HostRules(concurrency_max=1),
    "both.test:80": HostRules(delay_s=0.5, concurrency_max=2),
}


@dataclass
class Record:
    """One stored request, as the model sees it."""

    request: Request
    number: int
    stored_at: float
    standing: str = "queued"
    until: float = 0.0
    token: int | None = None
    attempt: int = 1
    stalls: int = 0
    queued_s: float = 0.0
    politeness_s: float = 0.0

    @property
    def lane(self) -> tuple[str, str]:
        return (self.request.address.host, self.request.session_key)

    @property
    def rank(self) -> tuple[bool, int]:
        return (self.stalls > 0, -self.request.priority)


class Model:
    """The interface's text, done the slow way: every question looks at every record."""

    def __init__(self, most: int | None) -> None:
        self.most = most
        self.now = 0.0
        self.records: dict[str, Record] = {}
        self.duplicates = 0
        self.open_at = dict.fromkeys(RULES, 0.0)
        self.turns: dict[tuple[str, str], int] = {}
        self.passed: dict[tuple[str, str], int] = {}
        self.turn = 0

    def store(self, requests: Sequence[Request]) -> list[Verdict]:
        verdicts = []
        for request in requests:
            if request.id in self.records:
                self.duplicates += 1
                verdicts.append(Verdict.DUPLICATE)
            elif self.most is not None and len(self.records) >= self.most:
                verdicts.append(Verdict.FULL)
            else:
                record = Record(request, number=len(self.records), stored_at=self.now)
                self.records[request.id] = record
                if record.lane not in self.turns:
                    self._give_turn(record.lane)
                verdicts.append(Verdict.STORED)
        return verdicts

    def standing(self, standing: str, host: str | None = None) -> list[Record]:
        return [
            record
            for record in self.records.values()
            if record.standing == standing and host in {None, record.request.address.host}
        ]

    def has_room(self, host: str) -> bool:
        most = RULES[host].concurrency_max
        return most is None or len(self.standing("claimed", host)) < most

    def is_held(self, host: str) -> bool:
        return self.open_at[host] > self.now or not self.has_room(host)

    def expected(self, warm: set[str]) -> Record | None:
        """Return what a claim must take next; a lane that gives way to a warm one is counted as passed over."""
        ready = [record for record in self.standing("queued") if not self.is_held(record.request.address.host)]
        if not ready:
            return None
        best = min(record.rank for record in ready)
        heads = [record for record in ready if record.rank == best]
        lanes = sorted({record.lane for record in heads}, key=self.turns.__getitem__)
        chosen = lanes[0]
        warm_lanes = [lane for lane in lanes if lane[1] in warm]
        if chosen[1] not in warm and warm_lanes and self.passed[chosen] < PASSED_OVER_MAX:
            self.passed[chosen] += 1
            chosen = warm_lanes[0]
        return min((record for record in heads if record.lane == chosen), key=lambda record: record.number)

    def claim(self, record: Record, claim: Claim) -> None:
        host = record.request.address.host
        record.standing, record.until, record.token = "claimed", claim.expires_at, claim.token
        self.open_at[host] = max(self.open_at[host], self.now + RULES[host].delay_s)
        self._give_turn(record.lane)

    def settle(self, record: Record, standing: str, until: float = 0.0) -> None:
        record.standing, record.until, record.token = standing, until, None
        record.queued_s = record.politeness_s = 0.0
        if all(other.standing == "finished" for other in self.records.values() if other.lane == record.lane):
            del self.turns[record.lane]

    def events(self) -> list[float]:
        ends = [record.until for record in self.records.values() if record.standing in {"claimed", "retrying"}]
        return sorted({at for at in [*ends, *self.open_at.values()] if at > self.now})

    def advance(self, target: float) -> None:
        """Let time pass, event by event: in between, each request waits for one and the same reason."""
        for at in [*(event for event in self.events() if event <= target), target]:
            for record in self.standing("queued"):
                if self.is_held(record.request.address.host):
                    record.politeness_s += at - self.now
                else:
                    record.queued_s += at - self.now
            for record in self.standing("retrying"):
                record.politeness_s += at - self.now
            self.now = at
            for record in self.records.values():
                if record.standing == "claimed" and record.until <= at:
                    record.standing = "queued"
                    record.stalls += 1
                    record.queued_s = record.politeness_s = 0.0
                elif record.standing == "retrying" and record.until <= at:
                    record.standing = "queued"

    def ready_in(self) -> float | None:
        for at in [self.now, *self.events()]:
            for host, rules in RULES.items():
                claimed = [record for record in self.standing("claimed", host) if record.until > at]
                there = self.standing("queued", host) + [
                    record
                    for record in self.standing("claimed", host) + self.standing("retrying", host)
                    if record.until <= at
                ]
                room = rules.concurrency_max is None or len(claimed) < rules.concurrency_max
                if there and room and self.open_at[host] <= at:
                    return at - self.now
        return None

    def counts(self) -> FrontierCounts:
        waiting = [record for record in self.standing("queued") if self.is_held(record.request.address.host)]
        return FrontierCounts(
            stored=len(self.records),
            queued=len(self.standing("queued")) - len(waiting),
            waiting=len(waiting),
            retrying=len(self.standing("retrying")),
            claimed=len(self.standing("claimed")),
            finished=len(self.standing("finished")),
            duplicates=self.duplicates,
        )

    def _give_turn(self, lane: tuple[str, str]) -> None:
        self.turn += 1
        self.turns[lane] = self.turn
        self.passed[lane] = 0


_requests = st.builds(
    lambda host, page, session, priority: Request(
        url=f"http://{host.removesuffix(':80')}/{page}", session=session, priority=priority
    ),
    st.sampled_from(sorted(RULES)),
    st.integers(0, 5),
    st.sampled_from([None, "a", "b"]),
    st.sampled_from([0, 0, 0, 5]),
)
_batches = st.lists(_requests, max_size=8)
_seconds = st.integers(0, 24).map(lambda eighths: eighths / 8)


class FrontierMachine(RuleBasedStateMachine):
    """Does the same to a store and to the model, and compares all that can be seen of them."""

    make: MakeStore

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._clock = VirtualClock()
        self._claims: list[Claim] = []
        """All ever made, outdated ones too."""

    @initialize(most=st.sampled_from([None, None, 10]))
    def start(self, most: int | None) -> None:
        self.model = Model(most)
        self.store = type(self).make(self._clock, RULES.__getitem__, most)

    @rule(requests=_batches)
    def schedule(self, requests: list[Request]) -> None:
        assert self._runner.run(self.store.schedule(requests)) == self.model.store(requests)

    @rule(
        limit=st.integers(1, 4),
        lease_s=st.sampled_from([1.0, LONG_LEASE_S, LONG_LEASE_S]),
        warm=st.sets(st.sampled_from(["", "a", "b"])),
    )
    def claim(self, limit: int, lease_s: float, warm: set[str]) -> None:
        claims = self._runner.run(self.store.claim(owner="me", limit=limit, lease_s=lease_s, warm=warm))
        for claim in claims:
            record = self.model.expected(warm)
            assert record is not None, f"{claim.request} was not to be had"
            assert claim.request == record.request
            assert (claim.owner, claim.expires_at) == ("me", self.model.now + lease_s)
            assert (claim.attempt, claim.stalls) == (record.attempt, record.stalls)
            assert (claim.queued_s, claim.politeness_s) == (record.queued_s, record.politeness_s)
            assert claim.stored_at == record.stored_at
            assert claim.token not in {old.token for old in self._claims}
            self.model.claim(record, claim)
            self._claims.append(claim)
        assert len(claims) == limit or self.model.expected(warm) is None

    @precondition(lambda self: self._claims)
    @rule(data=st.data(), links=_batches)
    def complete(self, data: st.DataObject, links: list[Request]) -> None:
        claim, record = self._pick(data)
        verdicts = self._runner.run(self.store.complete(claim, links=links))
        if record is None:
            assert verdicts is None
        else:
            assert verdicts == self.model.store(links)
            self.model.settle(record, "finished")

    @precondition(lambda self: self._claims)
    @rule(data=st.data(), delay_s=_seconds, spent=st.booleans())
    def release(self, data: st.DataObject, delay_s: float, spent: bool) -> None:
        claim, record = self._pick(data)
        assert self._runner.run(self.store.release(claim, delay_s=delay_s, spent=spent)) is (record is not None)
        if record is not None:
            record.attempt += spent
            record.stalls += not spent and record.standing == "claimed"
            self.model.settle(record, "retrying" if delay_s else "queued", self.model.now + delay_s)

    @rule(host=st.sampled_from(sorted(RULES)), delay_s=_seconds)
    def defer(self, host: str, delay_s: float) -> None:
        self._runner.run(self.store.defer(host, delay_s))
        self.model.open_at[host] = max(self.model.open_at[host], self.model.now + delay_s)

    @rule(seconds=_seconds)
    def pass_time(self, seconds: float) -> None:
        self._runner.run(self._clock.advance(seconds))
        self.model.advance(self.model.now + seconds)

    @rule()
    def wait_ready(self) -> None:
        self.pass_time(min(self._runner.run(self.store.ready_in()) or 0.0, 30.0))

    @rule(seconds=_seconds, again=_seconds)
    def pass_time_unseen(self, seconds: float, again: float) -> None:
        """The store is not asked in between: what came due then must count from then."""
        self.pass_time(seconds)
        self.pass_time(again)

    @invariant()
    def agree(self) -> None:
        if hasattr(self, "model"):
            counts = self.store.counts()
            assert counts == self.model.counts()
            open_now = counts.queued + counts.waiting + counts.retrying + counts.claimed
            assert counts.open == open_now == counts.stored - counts.finished
            assert self._runner.run(self.store.ready_in()) == self.model.ready_in()

    def teardown(self) -> None:
        """Nothing is lost: all that is open can be claimed in the end, once each, and is known afterwards."""
        try:
            if hasattr(self, "model"):
                self._drain()
        finally:
            self._runner.close()

    def _drain(self) -> None:
        left = {record.request.id for record in self.model.records.values() if record.standing != "finished"}
        while self.store.counts().open:
            claims = self._runner.run(self.store.claim(owner="me", limit=3, lease_s=LONG_LEASE_S))
            for claim in claims:
                left.remove(claim.request.id)
                assert self._runner.run(self.store.complete(claim)) == []
            if not claims:
                ready_in = self._runner.run(self.store.ready_in())
                assert ready_in, "something is open that no time will make ready"
                self._runner.run(self._clock.advance(ready_in))
        assert not left
        assert self._runner.run(self.store.ready_in()) is None
        everything = [record.request for record in self.model.records.values()]
        verdicts = self._runner.run(self.store.schedule(everything))
        assert set(verdicts) <= {Verdict.DUPLICATE}

    def _pick(self, data: st.DataObject) -> tuple[Claim, Record | None]:
        """Return a claim of the last few, and the record it still has a right to."""
        claim = data.draw(st.sampled_from(self._claims[-6:]))
        record = self.model.records[claim.request.id]
        return claim, record if record.token == claim.token else None


@pytest.mark.parametrize("store", sorted(STORES))
def test_store_whatever_is_asked_agrees_with_the_obvious_model(store: str) -> None:
    """States, order, times, counts and refusals are those of the interface's text, after any sequence of calls."""

    class Machine(FrontierMachine):
        make = staticmethod(STORES[store])

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
