"""The frontier in memory, for runs that need not outlive their process.

How it keeps time without a timer: each slot knows the next instant at which it changes by itself (a delay or a pause
is over, a claim expires), and every call first carries out, in order, what has come due since the last one. Between
calls nothing runs. Of a finished request only the 16 bytes of its id remain; lanes go with their last request, sessions
with their last lane unless a limit was told, slots when their delay or deferral is over, their host has not refused us
last, and no longer delay was told.
"""

from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import NamedTuple

from browsercrawl.clock import Clock
from browsercrawl.frontier.chances import Chances
from browsercrawl.frontier.interface import (
    REFUSED,
    UNBOUNDED,
    Bounds,
    Claim,
    Cost,
    FrontierCounts,
    HostUpdate,
    OutboxLine,
    Record,
    Refusal,
    RulesOf,
    SessionLimitOf,
    SlotOf,
    SlotRules,
    Verdict,
)
from browsercrawl.frontier.paths import path_key
from browsercrawl.frontier.ranking import Ranking
from browsercrawl.frontier.slots import Entry, Lane, Session, Slot, Standing, Tally
from browsercrawl.frontier.trust import Trust, defer, heed, reserve, restrain
from browsercrawl.frontier.turns import Turns
from browsercrawl.request import Request


class _Terms(NamedTuple):
    """What was asked for a batch: the rules of its new slots, the first limits of its new sessions."""

    rules: dict[str, SlotRules]
    limits: dict[str, int | None]


class MemoryFrontier:
    """Implements `Frontier` in memory; the methods' contracts stand there.

    Args:
        clock: read once per call.
        rules_of: the restraint towards a host:port, asked when its slot comes into being.
        session_limit_of: the first limit of a session, asked when it is first seen; None: no session has one.
        most: how many requests it stores.
        slot_of: which hosts share a slot.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        rules_of: RulesOf,
        session_limit_of: SessionLimitOf | None = None,
        most: Bounds = UNBOUNDED,
        slot_of: SlotOf = str,
    ) -> None:
        self._slot_of = slot_of
        self._clock = clock
        self._rules_of = rules_of
        self._session_limit_of = session_limit_of or (lambda _: None)
        self._most = most
        self._known: set[bytes] = set()
        self._stored = 0
        self._stored_of: Counter[str] = Counter()
        """By host:port; only counted when there is a limit."""
        self._stored_under: Counter[bytes] = Counter()
        """Links by path, likewise."""
        self._duplicates = 0
        self._finished = 0
        self._token = 0
        self._tally = Tally()
        self._turns = Turns()
        self._slots: dict[str, Slot] = {}
        self._sessions: dict[str, Session] = {}
        self._claims: dict[int, Entry] = {}
        """By token, until settled or claimed again: an expired claim is still in it."""
        self._alarms: Ranking[Slot] = Ranking("alarm")
        self._chances = Chances()
        self._outbox: deque[OutboxLine] = deque()
        self._lines = 0
        self._totals: Counter[str] = Counter()
        self._notes: dict[str, str] = {}

    async def schedule(self, requests: Sequence[Request], *, again: bool = False) -> list[Verdict]:
        """See `Frontier.schedule`."""
        now = self._catch_up()
        duplicates = self._duplicates
        verdicts = self._store(requests, self._terms_for(requests), now)
        if again:
            self._duplicates = duplicates
        return verdicts

    async def refuse(
        self, refusals: Sequence[Refusal], *, mark: str | None = None, counts: Mapping[str, int] | None = None
    ) -> list[bool]:
        """See `Frontier.refuse`."""
        self._catch_up()
        recorded: list[bool] = []
        for refusal in refusals:
            key = bytes.fromhex(refusal.id)
            recorded.append(key not in self._known)
            if recorded[-1]:
                self._known.add(key)
                self._record(refusal.record)
        self._totals.update(counts or {})
        if mark is not None:
            self._notes["input"] = mark
        return recorded

    async def claim(self, *, owner: str, limit: int, lease_s: float, warm: Collection[str] = ()) -> list[Claim]:
        """See `Frontier.claim`."""
        now = self._catch_up()
        warm = warm if isinstance(warm, AbstractSet) else frozenset(warm)
        claims: list[Claim] = []
        while len(claims) < limit and (lane := self._turns.best(warm)) is not None:
            claims.append(self._take(lane, owner=owner, lease_s=lease_s, now=now))
        return claims

    async def complete(
        self, claim: Claim, *, record: Record, links: Sequence[Request] = (), host: HostUpdate | None = None
    ) -> list[Verdict] | None:
        """See `Frontier.complete`."""
        now = self._catch_up()
        entry = self._claims.get(claim.token)
        if entry is None:
            return None
        # Links first: the slot and lane that most of them go to are not forgotten in between.
        verdicts = self._store(links, self._terms_for(links), now, are_links=True) if links else []
        self._totals.update(f"link.{verdict}" for verdict in verdicts if verdict in REFUSED)
        self._record(record)
        self._heed(host, entry, now)
        self._finish(entry, now)
        self._settle(entry.lane.slot, now)
        return verdicts

    async def release(
        self,
        claim: Claim,
        *,
        delay_s: float = 0.0,
        cost: Cost,
        memo: str | None = None,
        host: HostUpdate | None = None,
    ) -> bool:
        """See `Frontier.release`."""
        now = self._catch_up()
        entry = self._claims.pop(claim.token, None)
        if entry is None:
            return False
        if cost is Cost.ATTEMPT:
            entry.attempt += 1
        # If it expired, the stall is counted already.
        elif cost is Cost.STALL and entry.standing is Standing.CLAIMED:
            entry.stalls += 1
        if memo is not None:
            entry.memo = memo
        entry.since = now
        entry.until = now + delay_s
        entry.paused_s = 0.0
        self._heed(host, entry, now)
        self._move(entry, Standing.RETRYING if delay_s > 0 else Standing.QUEUED, now)
        self._settle(entry.lane.slot, now)
        return True

    async def defer(self, host: str, delay_s: float) -> None:
        """See `Frontier.defer`."""
        now = self._catch_up()
        slot = self._slot_of_host(host, now)
        defer(slot, delay_s, at=now)
        self._settle(slot, now)

    async def restrain(self, host: str, *, delay_s: float) -> None:
        """See `Frontier.restrain`."""
        now = self._catch_up()
        slot = self._slot_of_host(host, now)
        restrain(slot, delay_s, at=now)
        self._settle(slot, now)

    async def limit_session(self, session: str, claims_max: int | None) -> None:
        """See `Frontier.limit_session`."""
        now = self._catch_up()
        limited = self._sessions.get(session) or self._open_session(session, None)
        had_room = limited.has_room
        limited.claims_max, limited.is_told = claims_max, True
        if limited.has_room is not had_room:
            self._park(limited, now)

    async def ready_in(self) -> float | None:
        """See `Frontier.ready_in`."""
        now = self._catch_up()
        if self._turns.is_ready:
            return 0.0
        chance = self._chances.first(self._claims.values())
        return None if chance is None else chance - now

    def counts(self) -> FrontierCounts:
        """See `Frontier.counts`."""
        self._catch_up()
        tally = self._tally
        return FrontierCounts(
            stored=self._stored,
            queued=tally.queued,
            waiting=tally.waiting,
            parked=tally.parked,
            retrying=tally.retrying,
            claimed=tally.claimed,
            finished=self._finished,
            duplicates=self._duplicates,
        )

    async def totals(self) -> dict[str, int]:
        """See `Frontier.totals`."""
        return {name: number for name, number in self._totals.items() if number}

    async def lines(self, limit: int) -> list[OutboxLine]:
        """See `Frontier.lines`."""
        return list(islice(self._outbox, limit))

    async def emptied(self, *, upto: int, size: int) -> None:
        """See `Frontier.emptied`."""
        while self._outbox and self._outbox[0].number <= upto:
            self._outbox.popleft()
        self._notes["results_size"] = str(size)

    async def note(self, values: Mapping[str, str]) -> None:
        """See `Frontier.note`."""
        self._notes.update(values)

    async def notes(self) -> dict[str, str]:
        """See `Frontier.notes`."""
        return dict(self._notes)

    async def close(self) -> None:
        """See `Frontier.close`: nobody else can hold this store, so there is nothing to put back."""

    def _catch_up(self) -> float:
        """Carry out, in order, what has come due by itself; returns the present instant."""
        now = self._clock.now()
        while (slot := self._alarms.first()) is not None and slot.alarm is not None and slot.alarm[0] <= now:
            at = slot.alarm[0]
            while (entry := slot.due(at)) is not None:
                if entry.standing is Standing.CLAIMED:
                    entry.stalls += 1
                    entry.since = at
                    entry.paused_s = 0.0
                else:
                    entry.paused_s = at - entry.since
                self._move(entry, Standing.QUEUED, at)
            self._settle(slot, at)
        return now

    def _terms_for(self, requests: Sequence[Request]) -> _Terms:
        """Ask the rules of all new slots and the limits of all new sessions before anything is stored: it can fail."""
        hosts = {self._slot_of(request.address.host) for request in requests}
        keys = {request.session_key for request in requests}
        return _Terms(
            rules={host: self._rules_of(host) for host in hosts if host not in self._slots},
            limits={key: self._session_limit_of(key) for key in keys if key not in self._sessions},
        )

    def _store(
        self, requests: Sequence[Request], terms: _Terms, now: float, *, are_links: bool = False
    ) -> list[Verdict]:
        verdicts: list[Verdict] = []
        touched: dict[Slot, None] = {}
        for request in requests:
            id_ = bytes.fromhex(request.id)
            if id_ in self._known:
                self._duplicates += 1
                verdicts.append(Verdict.DUPLICATE)
            elif self._most.requests is not None and self._stored >= self._most.requests:
                verdicts.append(Verdict.FULL)
            elif are_links and not self._has_room_under(path := path_key(request) if self._most.of_path else None):
                verdicts.append(Verdict.PATH_FULL)
            elif not self._has_room_for(host := self._slot_of(request.address.host)):
                verdicts.append(Verdict.HOST_FULL)
            else:
                self._known.add(id_)
                self._stored += 1
                if are_links and path is not None:
                    self._stored_under[path] += 1
                slot = self._slots.get(host) or self._open_slot(host, terms.rules[host], now)
                key = request.session_key
                lane = slot.lanes.get(key)
                if lane is None:
                    session = self._sessions.get(key) or self._open_session(key, terms.limits[key])
                    lane = slot.lanes[key] = Lane(slot, session, turn=self._turns.next_turn())
                    session.lanes[lane] = None
                self._move(Entry(request, lane, number=self._stored, at=now), Standing.QUEUED, now)
                touched[slot] = None
                verdicts.append(Verdict.STORED)
        for slot in touched:
            self._settle(slot, now)
        return verdicts

    def _has_room_under(self, path: bytes | None) -> bool:
        """Tell whether one more link of a path may be stored."""
        most = self._most.of_path
        return path is None or most is None or self._stored_under[path] < most

    def _has_room_for(self, host: str) -> bool:
        """Count one more request of a host:port, unless that would be too many."""
        if self._most.of_host is None:
            return True
        if self._stored_of[host] >= self._most.of_host:
            return False
        self._stored_of[host] += 1
        return True

    def _record(self, record: Record) -> None:
        self._totals[record.ending] += 1
        self._totals.update(record.counts)
        if record.line is not None:
            self._lines += 1
            self._outbox.append(OutboxLine(number=self._lines, line=record.line))

    def _heed(self, update: HostUpdate | None, entry: Entry, now: float) -> None:
        if update is not None:
            heed(entry.lane.slot, update, refused=entry.refused, at=now)

    def _take(self, lane: Lane, *, owner: str, lease_s: float, now: float) -> Claim:
        """Claim the head of a lane that is ready, and reserve the next instant of its slot."""
        entry, slot = lane.queue.first(), lane.slot
        assert entry is not None, "a ranked lane has a head"
        self._claims.pop(entry.token, None)
        self._token += 1
        self._claims[self._token] = entry
        entry.token = self._token
        entry.until = now + lease_s
        entry.refused = slot.refused
        lane.turn = self._turns.next_turn()
        lane.passed = 0
        politeness_s = entry.paused_s + slot.held_until(now) - entry.held_from_s
        delay_s = reserve(slot, at=now)
        self._move(entry, Standing.CLAIMED, now)
        self._settle(slot, now)
        return Claim(
            request=entry.request,
            slot=slot.host,
            token=entry.token,
            owner=owner,
            expires_at=entry.until,
            attempt=entry.attempt,
            stalls=entry.stalls,
            stored_at=entry.stored_at,
            queued_s=max(0.0, now - entry.since - politeness_s),  # sums of floats may miss zero by a hair
            politeness_s=politeness_s,
            delay_s=delay_s,
            reserved=slot.open_at,
            refusals=slot.refusals,
            failures=slot.failures,
            is_down=slot.trust is Trust.DOWN,
            memo=entry.memo,
        )

    def _finish(self, entry: Entry, now: float) -> None:
        self._claims.pop(entry.token, None)
        self._finished += 1
        self._move(entry, Standing.FINISHED, now)
        lane, session = entry.lane, entry.lane.session
        if not lane.members:
            del lane.slot.lanes[session.key], session.lanes[lane]
            if not session.lanes and not session.is_told:
                del self._sessions[session.key]

    def _move(self, entry: Entry, to: Standing, at: float) -> None:
        """Let a request stand elsewhere; the caller settles its slot."""
        lane, session = entry.lane, entry.lane.session
        had_room = session.has_room
        lane.slot.move(entry, to, at=at)
        if session.has_room is had_room:
            self._turns.rerank(lane)
        else:
            self._park(session, at, but=lane.slot)

    def _park(self, session: Session, at: float, *, but: Slot | None = None) -> None:
        """Park the lanes of a session that has no room any more, or return them when it has.

        Args:
            session: with or without room.
            at: the instant.
            but: a slot that the caller settles; the others are settled here.
        """
        is_parked = not session.has_room
        for lane in session.lanes:
            lane.slot.park(lane, parked=is_parked)
            self._turns.rerank(lane)
            if lane.slot is not but:
                self._settle(lane.slot, at)

    def _open_session(self, key: str, claims_max: int | None) -> Session:
        session = self._sessions[key] = Session(key, claims_max)
        return session

    def _slot_of_host(self, host: str, now: float) -> Slot:
        key = self._slot_of(host)
        return self._slots.get(key) or self._open_slot(key, self._rules_of(key), now)

    def _open_slot(self, host: str, rules: SlotRules, now: float) -> Slot:
        slot = self._slots[host] = Slot(host, rules, tally=self._tally, at=now)
        return slot

    def _settle(self, slot: Slot, at: float) -> None:
        """Follow up the changes made to a slot: state, turn, next instants; forget it when nothing is left of it."""
        slot.refresh(at)
        self._turns.update(slot)
        alarm, chance = slot.outlook()
        if not slot.members and slot.open_at <= at:
            alarm = None  # nothing will change by itself any more
            if not slot.refusals and slot.trust is Trust.FULL and not slot.is_restrained:
                self._slots.pop(slot.host, None)
        if alarm is None:
            self._alarms.drop(slot)
        elif slot.alarm is None or slot.alarm[0] != alarm:
            self._alarms.put(slot, alarm)
        self._chances.place(slot, chance)
