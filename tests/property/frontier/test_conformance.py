"""Every store behind the Frontier interface does what a slow and obvious model does, whatever is asked of it.

A new store adds a harness to `conftest.py`. Times are multiples of 1/8 s, which floats hold exactly, so equal means
equal.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from browsercrawl.frontier import Claim, Cost, FrontierCounts, HostUpdate, Record, Refusal, Verdict, trust
from browsercrawl.frontier.interface import REFUSED
from browsercrawl.frontier.slots import Slot, Tally
from browsercrawl.politeness import HostRules
from browsercrawl.request import Request
from browsercrawl.testing.virtual_clock import VirtualClock

PASSED_OVER_MAX = 64
LONG_LEASE_S = 1000.0
RULES = {
    "free.test:80": HostRules(),
    "slow.test:80": HostRules(delay_s=1.0),
    "narrow.test:80": HostRules(concurrency_max=1),
    "both.test:80": HostRules(delay_s=0.5, concurrency_max=2),
}


@dataclass
class Stored:
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
    memo: str = ""
    refused: int = 0

    @property
    def lane(self) -> tuple[str, str]:
        return (self.request.address.host, self.request.session_key)

    @property
    def rank(self) -> tuple[bool, int]:
        return (self.stalls > 0, -self.request.priority)


class Model:
    """The interface's text, done the slow way: every question looks at every record."""

    def __init__(self, limits: dict[str, int | None], *, most: int | None, host_most: int | None) -> None:
        self.limits = limits
        self.most = most
        self.host_most = host_most
        self.now = 0.0
        self.records: dict[str, Stored] = {}
        self.refused: set[str] = set()
        self.duplicates = 0
        self.totals: Counter[str] = Counter()
        self.outbox: list[bytes] = []
        self.notes: dict[str, str] = {}
        self.slots = {host: Slot(host, rules, tally=Tally(), at=0.0) for host, rules in RULES.items()}
        """Only their restraint is used here; the rules of that have tests of their own (`test_trust.py`)."""
        self.turns: dict[tuple[str, str], int] = {}
        self.passed: dict[tuple[str, str], int] = {}
        self.turn = 0

    def store(self, requests: Sequence[Request], *, again: bool = False) -> list[Verdict]:
        verdicts = []
        for request in requests:
            host = request.address.host
            of_host = sum(record.request.address.host == host for record in self.records.values())
            if request.id in self.records or request.id in self.refused:
                self.duplicates += not again
                verdicts.append(Verdict.DUPLICATE)
            elif self.most is not None and len(self.records) >= self.most:
                verdicts.append(Verdict.FULL)
            elif self.host_most is not None and of_host >= self.host_most:
                verdicts.append(Verdict.HOST_FULL)
            else:
                record = Stored(request, number=len(self.records), stored_at=self.now)
                self.records[request.id] = record
                if record.lane not in self.turns:
                    self._give_turn(record.lane)
                verdicts.append(Verdict.STORED)
        return verdicts

    def record(self, record: Record) -> None:
        self.totals[record.ending] += 1
        self.totals.update(record.counts)
        if record.line is not None:
            self.outbox.append(record.line)

    def heed(self, record: Stored, update: HostUpdate | None) -> None:
        if update is not None:
            trust.heed(self.slots[record.request.address.host], update, refused=record.refused, at=self.now)

    def standing(self, standing: str, host: str | None = None) -> list[Stored]:
        return [
            record
            for record in self.records.values()
            if record.standing == standing and host in {None, record.request.address.host}
        ]

    def has_room(self, host: str) -> bool:
        most = trust.claims_max(self.slots[host].trust, RULES[host].concurrency_max)
        return most is None or len(self.standing("claimed", host)) < most

    def is_parked(self, record: Stored) -> bool:
        session = record.request.session_key
        claimed = [other for other in self.standing("claimed") if other.request.session_key == session]
        most = self.limits[session]
        return most is not None and len(claimed) >= most

    def is_held(self, host: str) -> bool:
        return self.slots[host].open_at > self.now or not self.has_room(host)

    def expected(self, warm: set[str]) -> Stored | None:
        """Return what a claim must take next; a lane that gives way to a warm one is counted as passed over."""
        ready = [
            record
            for record in self.standing("queued")
            if not self.is_held(record.request.address.host) and not self.is_parked(record)
        ]
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

    def claim(self, record: Stored, claim: Claim, lease_s: float) -> None:
        host = record.request.address.host
        record.standing, record.token = "claimed", claim.token
        slot = self.slots[host]
        record.until, record.refused = self.now + lease_s, slot.refused
        assert claim.delay_s == trust.reserve(slot, at=self.now)
        assert (claim.refusals, claim.failures) == (slot.refusals, slot.failures)
        assert claim.is_down is (slot.trust is trust.Trust.DOWN)
        self._give_turn(record.lane)

    def settle(self, record: Stored, standing: str, until: float = 0.0) -> None:
        record.standing, record.until, record.token = standing, until, None
        record.queued_s = record.politeness_s = 0.0
        if all(other.standing == "finished" for other in self.records.values() if other.lane == record.lane):
            del self.turns[record.lane]

    def events(self) -> list[float]:
        ends = [record.until for record in self.records.values() if record.standing in {"claimed", "retrying"}]
        return sorted({at for at in [*ends, *(slot.open_at for slot in self.slots.values())] if at > self.now})

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
            claimed = [record for record in self.standing("claimed") if record.until > at]
            there = [
                record for record in self.records.values() if record.standing == "queued" or self._is_due(record, at)
            ]
            of_host = Counter(record.request.address.host for record in claimed)
            of_session = Counter(record.request.session_key for record in claimed)
            for record in there:
                host, session = record.lane
                slot, session_most = self.slots[host], self.limits[session]
                host_most = trust.claims_max(slot.trust, RULES[host].concurrency_max)
                if (
                    slot.open_at <= at
                    and (host_most is None or of_host[host] < host_most)
                    and (session_most is None or of_session[session] < session_most)
                ):
                    return at - self.now
        return None

    def counts(self) -> FrontierCounts:
        queued = [record for record in self.standing("queued") if not self.is_parked(record)]
        waiting = [record for record in queued if self.is_held(record.request.address.host)]
        return FrontierCounts(
            stored=len(self.records),
            queued=len(queued) - len(waiting),
            waiting=len(waiting),
            parked=len(self.standing("queued")) - len(queued),
            retrying=len(self.standing("retrying")),
            claimed=len(self.standing("claimed")),
            finished=len(self.standing("finished")),
            duplicates=self.duplicates,
        )

    def _is_due(self, record: Stored, at: float) -> bool:
        return record.standing in {"claimed", "retrying"} and record.until <= at

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
_left = st.builds(
    Record,
    ending=st.sampled_from(["succeeded", "failed.network", "skipped.handler"]),
    line=st.sampled_from([None, b"{}", b'{"a":1}']),
    counts=st.dictionaries(st.sampled_from(["retried", "links"]), st.integers(0, 3)),
)
_limits = st.sampled_from([None, None, 0, 1, 2])
_first_limits = st.fixed_dictionaries(dict.fromkeys(["", "a", "b"], _limits))
_updates = st.none() | st.builds(
    HostUpdate,
    defer_s=_seconds,
    refusals=st.integers(0, 3),
    failures=st.integers(0, 3),
    is_down=st.sampled_from([False, False, True]),
    pace_s=st.none() | _seconds,
    visits=st.sampled_from([0, 0, 2]),
)


class FrontierMachine(RuleBasedStateMachine):
    """Does the same to a store and to the model, and compares all that can be seen of them."""

    make: Any

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._run = self._runner.get_loop().run_until_complete
        self._clock = VirtualClock()
        self._ahead_s = 0.0
        """The model's time is ahead of the process's clock: it goes on when the process was another one."""
        self._claims: list[Claim] = []
        """All ever made, outdated ones too."""

    @initialize(
        limits=_first_limits, most=st.sampled_from([None, None, 10]), host_most=st.sampled_from([None, None, 4])
    )
    def start(self, limits: dict[str, int | None], most: int | None, host_most: int | None) -> None:
        self._harness = type(self).make()
        self.model = Model(dict(limits), most=most, host_most=host_most)
        self.store = self._run(self._open(limits))

    @rule(requests=_batches, again=st.sampled_from([False, False, True]))
    def schedule(self, requests: list[Request], again: bool) -> None:
        verdicts = self._run(self.store.schedule(requests, again=again))
        assert verdicts == self.model.store(requests, again=again)

    @rule(requests=st.lists(_requests, max_size=3), left=_left, mark=st.sampled_from([None, "1", "2"]))
    def refuse(self, requests: list[Request], left: Record, mark: str | None) -> None:
        refusals = [Refusal(id=request.id, record=left) for request in requests]
        for refusal, is_new in zip(refusals, self._run(self.store.refuse(refusals, mark=mark)), strict=True):
            assert is_new is not (refusal.id in self.model.records or refusal.id in self.model.refused)
            if is_new:
                self.model.refused.add(refusal.id)
                self.model.record(left)
        if mark is not None:
            self.model.notes["input"] = mark

    @rule(
        limit=st.integers(1, 4),
        lease_s=st.sampled_from([1.0, LONG_LEASE_S, LONG_LEASE_S]),
        warm=st.sets(st.sampled_from(["", "a", "b"])),
    )
    def claim(self, limit: int, lease_s: float, warm: set[str]) -> None:
        claims = self._run(self.store.claim(owner="me", limit=limit, lease_s=lease_s, warm=warm))
        for claim in claims:
            record = self.model.expected(warm)
            assert record is not None, f"{claim.request} was not to be had"
            assert claim.request == record.request
            assert (claim.owner, claim.expires_at) == ("me", self._clock.now() + lease_s)
            assert (claim.attempt, claim.stalls, claim.memo) == (record.attempt, record.stalls, record.memo)
            assert (claim.queued_s, claim.politeness_s) == (record.queued_s, record.politeness_s)
            assert claim.stored_at == record.stored_at - self._ahead_s
            assert claim.token not in {old.token for old in self._claims}
            self.model.claim(record, claim, lease_s)
            self._claims.append(claim)
        assert len(claims) == limit or self.model.expected(warm) is None

    @precondition(lambda self: self._claims)
    @rule(data=st.data(), left=_left, links=_batches, host=_updates)
    def complete(self, data: st.DataObject, left: Record, links: list[Request], host: HostUpdate | None) -> None:
        claim, record = self._pick(data)
        host = self._perhaps_unused(data, claim, host)
        verdicts = self._run(self.store.complete(claim, record=left, links=links, host=host))
        if record is None:
            assert verdicts is None
        else:
            assert verdicts == self.model.store(links)
            self.model.totals.update(f"link.{verdict}" for verdict in verdicts or () if verdict in REFUSED)
            self.model.record(left)
            self.model.heed(record, host)
            self.model.settle(record, "finished")

    @precondition(lambda self: self._claims)
    @rule(
        data=st.data(),
        delay_s=_seconds,
        cost=st.sampled_from(Cost),
        memo=st.sampled_from([None, "", "{}"]),
        host=_updates,
    )
    def release(
        self, data: st.DataObject, delay_s: float, cost: Cost, memo: str | None, host: HostUpdate | None
    ) -> None:
        claim, record = self._pick(data)
        host = self._perhaps_unused(data, claim, host)
        done = self._run(self.store.release(claim, delay_s=delay_s, cost=cost, memo=memo, host=host))
        assert done is (record is not None)
        if record is not None:
            record.attempt += cost is Cost.ATTEMPT
            record.stalls += cost is Cost.STALL and record.standing == "claimed"
            record.memo = record.memo if memo is None else memo
            self.model.heed(record, host)
            self.model.settle(record, "retrying" if delay_s else "queued", self.model.now + delay_s)

    def _perhaps_unused(self, data: st.DataObject, claim: Claim, host: HostUpdate | None) -> HostUpdate | None:
        return replace(host, unused=claim.reserved) if host and data.draw(st.sampled_from([False, True])) else host

    @rule(host=st.sampled_from(sorted(RULES)), delay_s=_seconds)
    def defer(self, host: str, delay_s: float) -> None:
        self._run(self.store.defer(host, delay_s))
        trust.defer(self.model.slots[host], delay_s, at=self.model.now)

    @rule(host=st.sampled_from(sorted(RULES)), delay_s=_seconds)
    def restrain(self, host: str, delay_s: float) -> None:
        self._run(self.store.restrain(host, delay_s=delay_s))
        trust.restrain(self.model.slots[host], delay_s, at=self.model.now)

    @rule(session=st.sampled_from(["", "a", "b"]), claims_max=_limits)
    def limit_session(self, session: str, claims_max: int | None) -> None:
        self._run(self.store.limit_session(session, claims_max))
        self.model.limits[session] = claims_max

    @rule(limit=st.integers(1, 4), size=st.integers(0, 99), safe=st.booleans())
    def write_lines(self, limit: int, size: int, safe: bool) -> None:
        lines = self._run(self.store.lines(limit))
        assert [each.line for each in lines] == self.model.outbox[:limit]
        assert [each.number for each in lines] == sorted({each.number for each in lines})
        if lines and safe:
            self._run(self.store.emptied(upto=lines[-1].number, size=size))
            del self.model.outbox[: len(lines)]
            self.model.notes["results_size"] = str(size)

    @rule(values=st.dictionaries(st.sampled_from(["input", "run_id"]), st.text(max_size=3), max_size=2))
    def note(self, values: dict[str, str]) -> None:
        self._run(self.store.note(values))
        self.model.notes.update(values)

    @rule(seconds=_seconds | st.sampled_from([400.0, 2000.0]))
    def pass_time(self, seconds: float) -> None:
        self._run(self._clock.advance(seconds))
        self.model.advance(self.model.now + seconds)

    @rule()
    def wait_ready(self) -> None:
        self.pass_time(min(self._run(self.store.ready_in()) or 0.0, 30.0))

    @rule(seconds=_seconds, again=_seconds)
    def pass_time_unseen(self, seconds: float, again: float) -> None:
        """The store is not asked in between: what came due then must count from then."""
        self.pass_time(seconds)
        self.pass_time(again)

    @precondition(lambda self: type(self).make.is_durable)
    @rule(killed=st.booleans(), wall_s=st.sampled_from([-7200.0, 0.0, 0.5, 2.0, 7200.0]), limits=_first_limits)
    def open_again(self, killed: bool, wall_s: float, limits: dict[str, int | None]) -> None:
        """Another process goes on, with limits of its own; so much time has passed meanwhile by the calendar."""
        claimed = self.model.standing("claimed")
        self.note({"seen": "yes"})  # its time is that of its last commit
        if killed:
            self._harness.crash()
        self._run(self.store.close())
        if not killed:
            for record in claimed:
                self.model.settle(record, "queued")
        self._run(self.store.close())
        self._clock = VirtualClock(start_s=3.0, utc_start=self._clock.utc() + timedelta(seconds=wall_s))
        self.store = self._run(self._open(limits))
        assert self.store.returned == (len(claimed) if killed else 0)
        self.model.advance(self.model.now + max(0.0, wall_s))
        for record in self.model.standing("claimed"):
            record.stalls += 1
            self.model.settle(record, "queued")
        self.model.limits = dict(limits)
        for host, slot in self.model.slots.items():
            slot.delay_s, slot.pace_s = RULES[host].delay_s, 0.0
            slot.trust = trust.Trust.TRIAL if slot.trust is trust.Trust.DOWN else slot.trust
        self._ahead_s = self.model.now - self._clock.now()

    @invariant()
    def agree(self) -> None:
        if hasattr(self, "model"):
            assert self._run(self.store.ready_in()) == self.model.ready_in()
            counts = self.store.counts()
            assert counts == self.model.counts()
            open_now = counts.queued + counts.waiting + counts.parked + counts.retrying + counts.claimed
            assert counts.open == open_now == counts.stored - counts.finished
            assert self._run(self.store.totals()) == +self.model.totals
            assert self._run(self.store.notes()) == self.model.notes

    def teardown(self) -> None:
        """Nothing is lost: all that is open can be claimed in the end, once each, and is known afterwards."""
        try:
            if hasattr(self, "store"):
                self._drain()
        finally:
            if hasattr(self, "store"):
                self._run(self.store.close())
                self._harness.close()
            self._runner.close()

    def _drain(self) -> None:
        for session in self.model.limits:
            self._run(self.store.limit_session(session, None))
        left = {record.request.id for record in self.model.records.values() if record.standing != "finished"}
        while self.store.counts().open:
            claims = self._run(self.store.claim(owner="me", limit=3, lease_s=LONG_LEASE_S))
            for claim in claims:
                left.remove(claim.request.id)
                assert self._run(self.store.complete(claim, record=Record(ending="succeeded"))) == []
            if not claims:
                ready_in = self._run(self.store.ready_in())
                assert ready_in, "something is open that no time will make ready"
                self._run(self._clock.advance(ready_in))
        assert not left
        assert self._run(self.store.ready_in()) is None
        everything = [record.request for record in self.model.records.values()]
        assert set(self._run(self.store.schedule(everything))) <= {Verdict.DUPLICATE}

    async def _open(self, limits: dict[str, int | None]) -> Any:
        most, host_most = self.model.most, self.model.host_most
        return await self._harness.open(
            self._clock, RULES.__getitem__, limits=limits.__getitem__, most=most, host_most=host_most
        )

    def _pick(self, data: st.DataObject) -> tuple[Claim, Stored | None]:
        """Return a claim of the last few, and the record it still has a right to."""
        claim = data.draw(st.sampled_from(self._claims[-6:]))
        record = self.model.records[claim.request.id]
        return claim, record if record.token == claim.token else None


def test_store_whatever_is_asked_agrees_with_the_obvious_model(harness: Any) -> None:
    """States, order, times, counts and refusals are those of the interface's text, after any sequence of calls.

    A durable store is closed or killed, and opened again, at any point of it, at any time of day.
    """

    class Machine(FrontierMachine):
        make = harness

    checks = list(HealthCheck)
    run_machine(
        Machine,
        settings=settings(max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=checks),
    )
