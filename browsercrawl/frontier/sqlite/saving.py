"""Writing rows that were changed: each with as few touches of the indexes as it needs."""

import sqlite3
from collections.abc import Iterable, Sequence

from browsercrawl.frontier.sqlite.rows import LaneRow, RunRow, SessionRow, SlotRow, run_values

_SAVE_RUN = """UPDATE run SET now = ?, wall = ?, opening = ?, rules = ?, turn = ?, line = ?, slot = ?, lane = ?,
    stored = ?, queued = ?, waiting = ?, parked = ?, retrying = ?, claimed = ?, finished = ?, duplicates = ?"""
_INSERT_SLOT = """INSERT INTO slots VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
    ?, ?, ?, ?, ?)"""
_SAVE_SLOT = """UPDATE slots SET rules = ?, delay_s = ?, pace_s = ?, jitter = ?, concurrency_max = ?, state = ?,
    since = ?, held_s = ?, open_at = ?, stored = ?, queued = ?, parked = ?, claimed = ?, retrying = ?, refusals = ?,
    refused = ?, failures = ?, trust = ?, forgive_at = ?, aside = ? WHERE number = ?"""
_INSERT_LANE = "INSERT INTO lanes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SAVE_LANE = """UPDATE lanes SET members = ?, queued = ?, passed = ?, head = ?, limited = ?, parked = ?, rank = ?,
    turn = ?, aside = ? WHERE number = ?"""
_SAVE_LANE_IN_PLACE = "UPDATE lanes SET members = ?, queued = ?, passed = ?, head = ? WHERE number = ?"


def save_run(database: sqlite3.Connection, run: RunRow) -> None:
    """Write the one row of `run`."""
    database.execute(_SAVE_RUN, run_values(run))


def save_sessions(database: sqlite3.Connection, sessions: Iterable[SessionRow]) -> None:
    """Write sessions, new ones too."""
    rows = [(session.key, session.rules, session.claims_max, session.claimed) for session in sessions]
    _many(database, "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?)", rows)


def save_lanes(database: sqlite3.Connection, lanes: Iterable[LaneRow]) -> None:
    """Write lanes, new ones too."""
    new, moved, in_place = [], [], []
    for lane in lanes:
        placed = (lane.limited, lane.parked, lane.rank, lane.turn, lane.aside)
        rest = (lane.members, lane.queued, lane.passed, lane.head)
        if lane.is_new:
            new.append((lane.number, lane.slot, lane.session, *rest, *placed))
        elif placed != lane.saved:
            moved.append((*rest, *placed, lane.number))
        else:
            in_place.append((*rest, lane.number))
        lane.is_new, lane.saved = False, placed
    _many(database, _INSERT_LANE, new)
    _many(database, _SAVE_LANE, moved)
    _many(database, _SAVE_LANE_IN_PLACE, in_place)


def save_slots(database: sqlite3.Connection, slots: Iterable[SlotRow]) -> None:
    """Write slots, new ones too."""
    new, plain, ranked, timed = [], [], [], []
    for slot in slots:
        placed = (slot.best_lane, slot.best_rank, slot.best_turn, slot.alarm, slot.chance)
        terms = (slot.rules, slot.delay_s, slot.pace_s, slot.jitter, slot.concurrency_max)
        rest = (
            slot.state.value, slot.since, slot.held_s, slot.open_at, slot.stored, slot.queued, slot.parked,
            slot.claimed, slot.retrying, slot.refusals, slot.refused, slot.failures, slot.trust.value, slot.forgive_at,
            slot.aside,
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
    _many(database, _INSERT_SLOT, new)
    _many(database, _SAVE_SLOT, plain)
    _many(database, "UPDATE slots SET best_lane = ?, best_rank = ?, best_turn = ? WHERE number = ?", ranked)
    _many(database, "UPDATE slots SET alarm = ?, chance = ? WHERE number = ?", timed)


def _many(database: sqlite3.Connection, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
    if rows:
        database.executemany(statement, rows)
