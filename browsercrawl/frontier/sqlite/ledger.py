"""One transaction's view of the file: the rows it works on, what time has brought about, and what is counted.

A ledger lives for one transaction, in which nobody else writes; so a row is read once and written once, before the
next question to an index (`flush`). It holds the rules of slots and lanes; what callers ask for is built from it in
`intake.py`, `claims.py` and `records.py`. All that happens in a transaction happens at one instant, `now`.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from browsercrawl.errors import InternalError
from browsercrawl.frontier.interface import RulesOf
from browsercrawl.frontier.slots import SLOT_MOVES, SlotState
from browsercrawl.frontier.sqlite.rows import (
    PUT_BACK,
    REQUEST,
    LaneRow,
    RequestRow,
    RunRow,
    SlotRow,
    State,
    run_values,
)
from browsercrawl.frontier.sqlite.timeline import Timeline

_STATES = {state.value: state for state in SlotState}
_ROWS_MAX = 5000
"""Rows kept in memory at most, in transactions that may meet any number."""
_DUE_AT_ONCE = 500

_SAVE_RUN = """UPDATE run SET now = ?, wall = ?, opening = ?, rules = ?, turn = ?, line = ?, slot = ?, lane = ?,
    stored = ?, queued = ?, waiting = ?, retrying = ?, claimed = ?, finished = ?, duplicates = ?"""
_INSERT_SLOT = "INSERT INTO slots VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SAVE_SLOT = """UPDATE slots SET rules = ?, delay_s = ?, concurrency_max = ?, state = ?, since = ?, held_s = ?,
    open_at = ?, stored = ?, queued = ?, claimed = ?, retrying = ?, refusals = ?, refused = ?, parked = ?
    WHERE number = ?"""
_INSERT_LANE = "INSERT INTO lanes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SAVE_LANE = "UPDATE lanes SET members = ?, passed = ?, head = ?, rank = ?, turn = ?, parked = ? WHERE number = ?"
_SAVE_LANE_IN_PLACE = "UPDATE lanes SET members = ?, passed = ?, head = ? WHERE number = ?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a store was opened with.

    Attributes:
        store: its number among all openings of the file; 0 until it has one.
    """

    timeline: Timeline
    rules_of: RulesOf
    requests_max: int | None
    host_requests_max: int | None
    exclusive: bool
    owner_timeout_s: float
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
        self._changed_slots: dict[SlotRow, None] = {}
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

    def change(self, slot: SlotRow) -> None:
        """Remember that a slot has to be written."""
        self._changed_slots[slot] = None

    def change_lane(self, lane: LaneRow) -> None:
        """Remember that a lane has to be written."""
        self._changed_lanes[lane] = None

    def request(self, number: int) -> RequestRow | None:
        """Return a request's row; None when there is none (any more)."""
        row = self.database.execute(REQUEST + " WHERE number = ?", (number,)).fetchone()
        return None if row is None else RequestRow(*row)

    def enqueue(self, slot: SlotRow, lane: LaneRow, *, number: int, rank: int) -> None:
        """Let a request stand in its lane; its own row is the caller's."""
        slot.queued += 1
        self._count_queued(slot, 1)
        lane.enter(number, rank)
        slot.lane_changed(lane)
        self._changed_slots[slot] = None
        self._changed_lanes[lane] = None

    def dequeue(self, slot: SlotRow, lane: LaneRow, *, number: int) -> None:
        """Take a request out of its lane, after its row tells that it stands elsewhere."""
        slot.queued -= 1
        self._count_queued(slot, -1)
        if lane.head == number:
            query = "SELECT number, rank FROM requests WHERE lane = ? AND state = 0 ORDER BY rank, number LIMIT 1"
            lane.head, lane.rank = self.database.execute(query, (lane.number,)).fetchone() or (None, None)
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

    def park(self, lane: int, slot: int) -> None:
        """Set a lane aside until its slot has room, so that it is not met again among those of its session."""
        self.database.execute("UPDATE lanes SET parked = 1 WHERE number = ?", (lane,))
        self.database.execute("UPDATE slots SET parked = 1 WHERE number = ?", (slot,))
        if slot in self._slots:
            self._slots[slot].parked = 1
        if lane in self._lanes:
            known = self._lanes[lane]
            known.parked, known.saved = 1, (*known.saved[:-1], 1)

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
        if to is SlotState.READY:
            slot.chance = None
        else:
            slot.best_lane = slot.best_rank = slot.best_turn = None
            slot.is_best_known = False
            slot.chance = self._chance(slot)
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
            if slot.parked and slot.state is SlotState.READY:
                self._unpark(slot)
        if self._changed_lanes:
            lanes, self._changed_lanes = self._changed_lanes, {}
            self._save_lanes(lanes)
        for slot in slots:
            if slot.state is SlotState.READY and not slot.is_best_known:
                self._find_best(slot)
        if slots:
            self._save_slots(slots)

    def trim(self) -> None:
        """Where any number of rows is met: write them and let go of them before they are too many."""
        if len(self._slots) + len(self._lanes) > _ROWS_MAX:
            self.flush()
            self.forget()

    def forget(self) -> None:
        """Let go of the rows read so far; only after `flush`."""
        self._slots.clear()
        self._by_host.clear()
        self._lanes.clear()
        self._by_session.clear()

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
            self.database.execute(_SAVE_RUN, run_values(self.run))

    def _adopt(self, row: tuple[object, ...]) -> SlotRow:
        slot = SlotRow(*row)  # type: ignore[arg-type]  # the columns have the types of the fields
        slot.state = _STATES[slot.state]  # type: ignore[index]  # a number in the file
        slot.is_best_known = slot.best_lane is not None
        slot.saved = row[16:]
        self._slots[slot.number] = self._by_host[slot.host] = slot
        if slot.rules != self.run.rules:
            self._ask_rules(slot)
        return slot

    def _open_slot(self, host: str) -> SlotRow:
        now = self.now
        slot = SlotRow(
            0, host, 0, 0.0, None, SlotState.EMPTY, now, 0.0, now, 0, 0, 0, 0, 0, 0, 0, None, None, None, None, None,
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
        self._changed_slots[slot] = None

    def _adopt_lane(self, row: tuple[object, ...]) -> LaneRow:
        lane = LaneRow(*row)  # type: ignore[arg-type]  # the columns have the types of the fields
        lane.saved = row[6:]
        self._lanes[lane.number] = self._by_session[lane.slot, lane.session] = lane
        return lane

    def _open_lane(self, slot: SlotRow, session: bytes) -> LaneRow:
        self.run.lane += 1
        self.run.turn += 1
        lane = LaneRow(self.run.lane, slot.number, session, 0, 0, None, None, self.run.turn, 0, is_new=True)
        self._lanes[lane.number] = self._by_session[slot.number, session] = lane
        return lane

    def _count_queued(self, slot: SlotRow, number: int) -> None:
        if slot.is_held:
            self.run.waiting += number
        else:
            self.run.queued += number

    def _transition(self, slot: SlotRow, to: SlotState, at: float) -> None:
        if to not in SLOT_MOVES[slot.state]:
            raise InternalError(f"slot {slot.host} cannot go from {slot.state.name} to {to.name}")
        self._count_queued(slot, -slot.queued)
        slot.held_s = slot.held_until(at)
        slot.state, slot.since = to, at
        self._count_queued(slot, slot.queued)

    def _dues(self, slot: SlotRow) -> tuple[float | None, float | None]:
        """Return when the first pause and the first claim of a slot are over."""
        query = "SELECT min(until) FROM requests WHERE slot = ? AND state = ? AND until IS NOT NULL"
        execute = self.database.execute
        retrying = execute(query, (slot.number, State.RETRYING)).fetchone()[0] if slot.retrying else None
        claimed = execute(query, (slot.number, State.CLAIMED)).fetchone()[0] if slot.claimed else None
        return retrying, claimed

    def _chance(self, slot: SlotRow) -> float | None:
        """Return when a slot that is not ready could give a claim, exactly."""
        if slot.queued and not slot.is_full:
            return slot.open_at
        retrying, claimed = self._dues(slot)
        if claimed is not None and (slot.is_full or retrying is None or claimed < retrying):
            return max(slot.open_at, claimed)
        return None if retrying is None else max(slot.open_at, retrying)

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
                    slot.claimed -= 1
                    self.run.claimed -= 1
                else:
                    slot.retrying -= 1
                    self.run.retrying -= 1
                self.database.execute(
                    """UPDATE requests SET state = 0, until = NULL, rank = ?, stalls = ?, since = ?, paused_s = ?,
                    held_from_s = ? WHERE number = ?""",
                    (rank, stalls, since, paused_s, slot.held_until(at), row.number),
                )
                self.enqueue(slot, self.lane(row.lane), number=row.number, rank=rank)

    def _find_best(self, slot: SlotRow) -> None:
        query = "SELECT number, rank, turn FROM lanes WHERE slot = ? AND rank IS NOT NULL ORDER BY rank, turn LIMIT 1"
        slot.best_lane, slot.best_rank, slot.best_turn = self.database.execute(query, (slot.number,)).fetchone()
        slot.is_best_known = True

    def _unpark(self, slot: SlotRow) -> None:
        """A slot has room again: its lanes return to those of their sessions."""
        slot.parked = 0
        for lane in self._lanes.values():
            if lane.slot == slot.number and lane.parked:
                lane.parked = 0
                lane.saved = (*lane.saved[:-1], 0)
        self.database.execute("UPDATE lanes SET parked = 0 WHERE slot = ? AND parked = 1", (slot.number,))

    def _save_lanes(self, lanes: Iterable[LaneRow]) -> None:
        new, moved, in_place = [], [], []
        for lane in lanes:
            placed = (lane.rank, lane.turn, lane.parked)
            rest = (lane.members, lane.passed, lane.head)
            if lane.is_new:
                new.append((lane.number, lane.slot, lane.session, *rest, *placed))
            elif placed != lane.saved:
                moved.append((*rest, *placed, lane.number))
            else:
                in_place.append((*rest, lane.number))
            lane.is_new, lane.saved = False, placed
        self._many(_INSERT_LANE, new)
        self._many(_SAVE_LANE, moved)
        self._many(_SAVE_LANE_IN_PLACE, in_place)

    def _save_slots(self, slots: Iterable[SlotRow]) -> None:
        new, plain, ranked, timed = [], [], [], []
        for slot in slots:
            placed = (slot.best_lane, slot.best_rank, slot.best_turn, slot.alarm, slot.chance)
            terms = (slot.rules, slot.delay_s, slot.concurrency_max)
            rest = (
                slot.state.value, slot.since, slot.held_s, slot.open_at, slot.stored, slot.queued, slot.claimed,
                slot.retrying, slot.refusals, slot.refused, slot.parked,
            )  # fmt: skip
            if slot.is_new:
                new.append((slot.number, slot.host, *terms, *rest, *placed))
            else:
                plain.append((*terms, *rest, slot.number))
                if placed[:3] != slot.saved[:3]:
                    ranked.append((*placed[:3], slot.number))
                if placed[3:] != slot.saved[3:]:
                    timed.append((*placed[3:], slot.number))
            slot.is_new, slot.saved = False, placed
        self._many(_INSERT_SLOT, new)
        self._many(_SAVE_SLOT, plain)
        self._many("UPDATE slots SET best_lane = ?, best_rank = ?, best_turn = ? WHERE number = ?", ranked)
        self._many("UPDATE slots SET alarm = ?, chance = ? WHERE number = ?", timed)

    def _many(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        if rows:
            self.database.executemany(statement, rows)
