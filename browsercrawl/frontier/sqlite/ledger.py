"""One transaction's view of the file: the rows it works on, what time has brought about, and what is counted.

A ledger lives for one transaction, in which nobody else writes; so a row is read once and written once, before the
next question to an index (`flush`). It holds the rules of slots, lanes and sessions; what callers ask for is built from
it in `intake.py`, `claims.py`, `records.py` and `outlook.py`. All that happens in a transaction happens at one instant,
`now`.
"""

import sqlite3
from collections import Counter
from dataclasses import dataclass

from browsercrawl.errors import InternalError
from browsercrawl.frontier.interface import Bounds, RulesOf, SessionLimitOf, SlotOf
from browsercrawl.frontier.slots import SLOT_MOVES, SlotState
from browsercrawl.frontier.sqlite.rows import (
    PUT_BACK,
    REQUEST,
    LaneRow,
    RequestRow,
    RunRow,
    SessionRow,
    SlotRow,
    State,
    run_values,
)
from browsercrawl.frontier.sqlite.saving import save_lanes, save_run, save_sessions, save_slots
from browsercrawl.frontier.sqlite.schema import bytes_text
from browsercrawl.frontier.sqlite.timeline import Timeline
from browsercrawl.frontier.trust import Trust, claims_max

_STATES = {state.value: state for state in SlotState}
_ROWS_MAX = 5000
"""Rows kept in memory at most, in transactions that may meet any number."""
_DUE_AT_ONCE = 500
_NEVER = -1
"""An opening that never was: nobody was asked in it."""

_CLAIMS = """SELECT count(*) FROM lanes CROSS JOIN requests INDEXED BY requests_due
    ON requests.slot = lanes.slot AND requests.lane = lanes.number
    WHERE session = ? AND state = 2 AND until IS NOT NULL"""


_NTH_END = """SELECT until FROM requests WHERE slot = ? AND state = 2 AND until IS NOT NULL
    ORDER BY until LIMIT 1 OFFSET ?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a store was opened with.

    Attributes:
        store: its number among all openings of the file; 0 until it has one.
    """

    timeline: Timeline
    rules_of: RulesOf
    session_limit_of: SessionLimitOf
    most: Bounds
    exclusive: bool
    owner_timeout_s: float
    slot_of: SlotOf = str
    store: int = 0


class Ledger:
    """See the module's text. Made when the transaction has begun; `finish` before its commit."""

    def __init__(self, database: sqlite3.Connection, terms: Terms) -> None:
        self.database = database
        self.terms = terms
        self.run = RunRow(*database.execute("SELECT * FROM run").fetchone())
        self._run = run_values(self.run)
        self.now = terms.timeline.now(after=self.run.now)
        self.totals: Counter[str] = Counter()
        self._changes = database.total_changes
        self._slots: dict[int, SlotRow] = {}
        self._by_host: dict[str, SlotRow] = {}
        self._lanes: dict[int, LaneRow] = {}
        self._by_session: dict[tuple[int, bytes], LaneRow] = {}
        self._sessions: dict[bytes, SessionRow] = {}
        self._changed_slots: dict[SlotRow, None] = {}
        self._changed_sessions: dict[SessionRow, None] = {}
        self._changed_lanes: dict[LaneRow, None] = {}

    def slot(self, number: int) -> SlotRow:
        """Return a slot by its number."""
        slot = self._slots.get(number)
        if slot is None:
            row = self.database.execute("SELECT * FROM slots WHERE number = ?", (number,)).fetchone()
            slot = self._adopt(row)
        return slot

    def slot_of(self, host: str) -> SlotRow:
        """Return the slot of a host:port, which comes into being if there is none."""
        slot = self._by_host.get(host)
        if slot is None:
            row = self.database.execute("SELECT * FROM slots WHERE host = ?", (host,)).fetchone()
            slot = self._adopt(row) if row is not None else self._open_slot(host)
        return slot

    def lane(self, number: int) -> LaneRow:
        """Return a lane by its number."""
        lane = self._lanes.get(number)
        if lane is None:
            row = self.database.execute("SELECT * FROM lanes WHERE number = ?", (number,)).fetchone()
            lane = self._adopt_lane(row)
        return lane

    def lane_of(self, slot: SlotRow, session: bytes) -> LaneRow:
        """Return the lane of a slot and a session, which comes into being if there is none."""
        lane = self._by_session.get((slot.number, session))
        if lane is None:
            query = "SELECT * FROM lanes WHERE slot = ? AND session = ?"
            row = None if slot.is_new else self.database.execute(query, (slot.number, session)).fetchone()
            lane = self._adopt_lane(row) if row is not None else self._open_lane(slot, session)
        return lane

    def session(self, key: bytes) -> SessionRow:
        """Return a session by its key; its limit is asked unless it was, or one was told."""
        session = self._find_session(key)
        if session.rules != self.run.rules:
            self.limit(key, self.terms.session_limit_of(bytes_text(key)))
        return session

    def limit(self, key: bytes, claims_max: int | None) -> None:
        """Let a session have this limit from now on."""
        session = self._find_session(key)
        had_room, was_limited = session.has_room, session.claims_max is not None
        session.rules, session.claims_max = self.run.rules, claims_max
        self._changed_sessions[session] = None
        is_limited = claims_max is not None
        if is_limited is not was_limited:
            session.claimed = self.database.execute(_CLAIMS, (key,)).fetchone()[0] if is_limited else 0
        if is_limited is not was_limited or session.has_room is not had_room:
            self._show(session)

    def count_claims(self, slot: SlotRow, lane: LaneRow, *, number: int) -> None:
        """Count claims that were made or, negative, have ended, after the request's row tells it."""
        slot.claimed += number
        self.run.claimed += number
        if lane.limited:
            session = self.session(lane.session)
            had_room = session.has_room
            session.claimed += number
            self._changed_sessions[session] = None
            if session.has_room is not had_room:
                self._show(session)

    def change_lane(self, lane: LaneRow) -> None:
        """Remember that a lane has to be written."""
        self._changed_lanes[lane] = None

    def request(self, number: int) -> RequestRow | None:
        """Return a request's row; None when there is none (any more)."""
        row = self.database.execute(REQUEST + " WHERE number = ?", (number,)).fetchone()
        return None if row is None else RequestRow(*row)

    def enqueue(self, slot: SlotRow, lane: LaneRow, *, number: int, rank: int) -> None:
        """Let a request stand in its lane; its own row is the caller's."""
        self._count_queued(slot, lane, 1)
        lane.enter(number, rank)
        slot.lane_changed(lane)
        self._changed_slots[slot] = None
        self._changed_lanes[lane] = None

    def dequeue(self, slot: SlotRow, lane: LaneRow, *, number: int) -> None:
        """Take a request out of its lane, after its row tells that it stands elsewhere."""
        self._count_queued(slot, lane, -1)
        lane.queued -= 1
        if lane.head == number:
            self._find_head(lane)
        slot.lane_changed(lane)
        self._changed_slots[slot] = None
        self._changed_lanes[lane] = None

    def give_turn(self, slot: SlotRow, lane: LaneRow) -> None:
        """A lane had its turn: among equals it goes last now."""
        self.run.turn += 1
        lane.turn, lane.passed = self.run.turn, 0
        slot.lane_changed(lane)
        self._changed_lanes[lane] = None

    def leave(self, slot: SlotRow, lane: LaneRow) -> None:
        """A request of a lane is finished; a lane without any is forgotten."""
        lane.members -= 1
        self._changed_lanes[lane] = None
        if not lane.members:
            slot.lane_changed(lane)
            del self._changed_lanes[lane], self._lanes[lane.number], self._by_session[lane.slot, lane.session]
            self.database.execute("DELETE FROM lanes WHERE number = ?", (lane.number,))

    def set_aside(self, lane: int, slot: int) -> None:
        """Set a lane aside until its slot has room, so that it is not met again among those of its session."""
        self.database.execute("UPDATE lanes SET aside = 1 WHERE number = ?", (lane,))
        self.database.execute("UPDATE slots SET aside = 1 WHERE number = ?", (slot,))
        if slot in self._slots:
            self._slots[slot].aside = 1
        if lane in self._lanes:
            known = self._lanes[lane]
            known.aside, known.saved = 1, (*known.saved[:-1], 1)

    def room_at(self, slot: SlotRow) -> float:
        """Return when a slot has room if nobody does anything."""
        most = claims_max(slot.trust, slot.concurrency_max)
        if most is None or slot.claimed < most:
            return slot.open_at
        end: float
        (end,) = self.database.execute(_NTH_END, (slot.number, slot.claimed - most)).fetchone()
        return max(slot.open_at, end)

    def settle(self, slot: SlotRow, at: float) -> None:
        """Follow up the changes made to a slot at an instant: its state, and when it changes next."""
        self._changed_slots[slot] = None
        if not slot.queued:
            to = SlotState.EMPTY
        elif slot.is_full:
            to = SlotState.BUSY
        elif slot.open_at > at:
            to = SlotState.SNOOZED
        else:
            to = SlotState.READY
        if to is not slot.state:
            self._transition(slot, to, at)
        self._look_ahead(slot)
        if to is SlotState.SNOOZED:
            slot.warn(slot.open_at)
        elif not slot.claimed and not slot.retrying:
            slot.alarm = None

    def catch_up(self) -> None:
        """Carry out what has come due by itself since the last transaction, of each slot in the order of time."""
        query = "SELECT * FROM slots WHERE alarm <= ? ORDER BY alarm LIMIT ?"
        while rows := self.database.execute(query, (self.now, _DUE_AT_ONCE)).fetchall():
            for row in rows:
                self._advance(self._slots.get(row[0]) or self._adopt(row))
            self.flush()
            self.forget()

    def flush(self) -> None:
        """Write the changed rows, so that the indexes tell the truth."""
        slots, self._changed_slots = self._changed_slots, {}
        for slot in slots:
            if slot.aside and slot.state is SlotState.READY:
                self._bring_back(slot)
        self._flush_lanes()
        for slot in slots:
            if slot.state is SlotState.READY and not slot.is_best_known:
                self._find_best(slot)
        if slots:
            save_slots(self.database, slots)
        if self._changed_sessions:
            sessions, self._changed_sessions = self._changed_sessions, {}
            save_sessions(self.database, sessions)

    def trim(self) -> None:
        """Where any number of rows is met: write them and let go of them before they are too many."""
        if len(self._slots) + len(self._lanes) + len(self._sessions) > _ROWS_MAX:
            self.flush()
            self.forget()

    def forget(self) -> None:
        """Let go of the rows read so far; only after `flush`."""
        self._slots.clear()
        self._by_host.clear()
        self._lanes.clear()
        self._by_session.clear()
        self._sessions.clear()

    def finish(self) -> None:
        """Write what is left to write, and the instant, if anything was."""
        self.flush()
        if self.totals:
            self.database.executemany(
                "INSERT INTO totals VALUES (?, ?) ON CONFLICT DO UPDATE SET number = number + excluded.number",
                [(name, number) for name, number in self.totals.items() if number],
            )
            self.totals.clear()
        if self.database.total_changes != self._changes or run_values(self.run) != self._run:
            self.run.now, self.run.wall = self.now, self.terms.timeline.wall()
            save_run(self.database, self.run)

    def _adopt(self, row: tuple[object, ...]) -> SlotRow:
        slot = SlotRow(*row)  # type: ignore[arg-type]  # the columns have the types of the fields
        slot.state = _STATES[slot.state]  # type: ignore[index]  # a number in the file
        slot.is_best_known = slot.best_lane is not None
        slot.trust = Trust(slot.trust)
        slot.saved = row[22:]
        self._slots[slot.number] = self._by_host[slot.host] = slot
        if slot.rules != self.run.rules:
            self._ask_rules(slot)
        return slot

    def _open_slot(self, host: str) -> SlotRow:
        now = self.now
        slot = SlotRow(
            0, host, 0, 0.0, 0.0, 0.0, None, SlotState.EMPTY, now, 0.0, now, 0, 0, 0, 0, 0, 0, 0, 0, Trust.FULL, now, 0,
            None, None, None, None, None,
            is_new=True, is_best_known=True,
        )  # fmt: skip
        self._ask_rules(slot)
        self.run.slot += 1
        slot.number = self.run.slot
        self._slots[slot.number] = self._by_host[host] = slot
        return slot

    def _ask_rules(self, slot: SlotRow) -> None:
        rules = self.terms.rules_of(slot.host)
        slot.rules, slot.delay_s, slot.concurrency_max = self.run.rules, rules.delay_s, rules.concurrency_max
        slot.pace_s, slot.jitter = 0.0, rules.jitter
        if slot.trust is Trust.DOWN:
            slot.trust = Trust.TRIAL  # the run was opened anew: it gets one more chance
        self._changed_slots[slot] = None

    def _adopt_lane(self, row: tuple[object, ...]) -> LaneRow:
        lane = LaneRow(*row)  # type: ignore[arg-type]  # the columns have the types of the fields
        lane.saved = row[7:]
        self._lanes[lane.number] = self._by_session[lane.slot, lane.session] = lane
        return lane

    def _open_lane(self, slot: SlotRow, session: bytes) -> LaneRow:
        own = self.session(session)
        self.run.lane += 1
        self.run.turn += 1
        lane = LaneRow(
            self.run.lane, slot.number, session, 0, 0, 0, None, own.claims_max is not None, not own.has_room,
            None, self.run.turn, 0, is_new=True,
        )  # fmt: skip
        self._lanes[lane.number] = self._by_session[slot.number, session] = lane
        return lane

    def _find_session(self, key: bytes) -> SessionRow:
        session = self._sessions.get(key)
        if session is None:
            row = self.database.execute("SELECT * FROM sessions WHERE key = ?", (key,)).fetchone()
            session = self._sessions[key] = SessionRow(*row) if row is not None else SessionRow(key, _NEVER, None, 0)
        return session

    def _show(self, session: SessionRow) -> None:
        """Let the lanes of a session tell its limit and whether it has room, after either has changed."""
        self._flush_lanes()
        is_limited, is_parked = session.claims_max is not None, not session.has_room
        query = "SELECT * FROM lanes WHERE session = ?"
        for row in self.database.execute(query, (session.key,)).fetchall():
            lane = self._lanes.get(row[0]) or self._adopt_lane(row)
            self._changed_lanes[lane] = None
            lane.limited = is_limited
            if lane.parked != is_parked:
                self._park(self.slot(lane.slot), lane, parked=is_parked)

    def _park(self, slot: SlotRow, lane: LaneRow, *, parked: bool) -> None:
        self._count_queued(slot, lane, -lane.queued)
        lane.parked = parked
        self._count_queued(slot, lane, lane.queued)
        self._find_head(lane)
        slot.lane_changed(lane)
        self._changed_slots[slot] = None
        self._look_ahead(slot)

    def _find_head(self, lane: LaneRow) -> None:
        query = "SELECT number, rank FROM requests WHERE lane = ? AND state = 0 ORDER BY rank, number LIMIT 1"
        found = None if lane.parked else self.database.execute(query, (lane.number,)).fetchone()
        lane.head, lane.rank = found or (None, None)

    def _count_queued(self, slot: SlotRow, lane: LaneRow, number: int) -> None:
        slot.queued += number
        if lane.parked:
            slot.parked += number
            self.run.parked += number
        else:
            self._count_shown(slot, number)

    def _count_shown(self, slot: SlotRow, number: int) -> None:
        """Count queued requests that are not parked."""
        if slot.is_held:
            self.run.waiting += number
        else:
            self.run.queued += number

    def _transition(self, slot: SlotRow, to: SlotState, at: float) -> None:
        if to not in SLOT_MOVES[slot.state]:
            raise InternalError(f"slot {slot.host} cannot go from {slot.state.name} to {to.name}")
        shown = slot.queued - slot.parked
        self._count_shown(slot, -shown)
        slot.held_s = slot.held_until(at)
        slot.state, slot.since = to, at
        self._count_shown(slot, shown)

    def _dues(self, slot: SlotRow) -> tuple[float | None, float | None]:
        """Return when the first pause and the first claim of a slot are over."""
        query = "SELECT min(until) FROM requests WHERE slot = ? AND state = ? AND until IS NOT NULL"
        execute = self.database.execute
        retrying = execute(query, (slot.number, State.RETRYING)).fetchone()[0] if slot.retrying else None
        claimed = execute(query, (slot.number, State.CLAIMED)).fetchone()[0] if slot.claimed else None
        return retrying, claimed

    def _look_ahead(self, slot: SlotRow) -> None:
        """Find out before when a slot gives no claim, after its state or what is parked has changed."""
        if slot.state is not SlotState.READY:
            slot.best_lane = slot.best_rank = slot.best_turn = None
            slot.is_best_known = False
        elif slot.queued > slot.parked:
            slot.chance = None
            return
        if slot.queued > slot.parked:
            slot.chance = self.room_at(slot)
        else:
            due = min((at for at in self._dues(slot) if at is not None), default=None)
            slot.chance = None if due is None else max(self.room_at(slot), due)

    def _advance(self, slot: SlotRow) -> None:
        """Carry out what came due in a slot, instant by instant."""
        while True:
            instants = [at for at in self._dues(slot) if at is not None]
            if slot.state is SlotState.SNOOZED:
                instants.append(slot.open_at)
            at = min(instants, default=None)
            slot.alarm = at
            self._changed_slots[slot] = None
            if at is None or at > self.now:
                return
            self._return_due(slot, at)
            self.settle(slot, at)

    def _return_due(self, slot: SlotRow, at: float) -> None:
        query = REQUEST + " WHERE slot = ? AND state = ? AND until <= ?"
        for state in (State.CLAIMED, State.RETRYING):
            for row in map(RequestRow._make, self.database.execute(query, (slot.number, state, at)).fetchall()):
                rank, stalls, since, paused_s = row.rank, row.stalls, row.since, at - row.since
                if state is State.CLAIMED:
                    rank, stalls, since, paused_s = rank if stalls else rank + PUT_BACK, stalls + 1, at, 0.0
                else:
                    slot.retrying -= 1
                    self.run.retrying -= 1
                self.database.execute(
                    """UPDATE requests SET state = 0, until = NULL, rank = ?, stalls = ?, since = ?, paused_s = ?,
                    held_from_s = ? WHERE number = ?""",
                    (rank, stalls, since, paused_s, slot.held_until(at), row.number),
                )
                lane = self.lane(row.lane)
                if state is State.CLAIMED:
                    self.count_claims(slot, lane, number=-1)
                self.enqueue(slot, lane, number=row.number, rank=rank)

    def _find_best(self, slot: SlotRow) -> None:
        query = "SELECT number, rank, turn FROM lanes WHERE slot = ? AND rank IS NOT NULL ORDER BY rank, turn LIMIT 1"
        slot.best_lane, slot.best_rank, slot.best_turn = self.database.execute(query, (slot.number,)).fetchone() or (
            None, None, None,
        )  # fmt: skip
        slot.is_best_known = True

    def _flush_lanes(self) -> None:
        if self._changed_lanes:
            lanes, self._changed_lanes = self._changed_lanes, {}
            save_lanes(self.database, lanes)

    def _bring_back(self, slot: SlotRow) -> None:
        """A slot has room again: its lanes return to those of their sessions."""
        slot.aside = 0
        for lane in self._lanes.values():
            if lane.slot == slot.number and lane.aside:
                lane.aside = 0
                lane.saved = (*lane.saved[:-1], 0)
        self.database.execute("UPDATE lanes SET aside = 0 WHERE slot = ? AND aside = 1", (slot.number,))
