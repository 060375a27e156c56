"""When a claim will succeed if nobody does anything; see `browsercrawl.frontier.chances`, whose way this is."""

import math

from browsercrawl.frontier.sqlite import owners
from browsercrawl.frontier.sqlite.ledger import Ledger
from browsercrawl.frontier.sqlite.rows import SessionRow, SlotRow, State

_FIRST_END = """SELECT until FROM requests INDEXED BY requests_due CROSS JOIN lanes ON lanes.number = requests.lane
    WHERE requests.slot = ? AND state = ? AND until IS NOT NULL AND NOT lanes.parked ORDER BY until LIMIT 1"""
_PARKED_ENDS = """SELECT until, session FROM slots
    CROSS JOIN requests INDEXED BY requests_due ON requests.slot = slots.number
    CROSS JOIN lanes ON lanes.number = requests.lane
    WHERE alarm < ? AND requests.state = 2 AND until IS NOT NULL AND lanes.parked ORDER BY until"""
_END_OF_SESSION = """SELECT until FROM lanes CROSS JOIN requests INDEXED BY requests_due
    ON requests.slot = lanes.slot AND requests.lane = lanes.number
    WHERE session = ? AND state = 2 AND until IS NOT NULL ORDER BY until LIMIT 1 OFFSET ?"""
_END_OF_LANE = """SELECT min(until) FROM requests INDEXED BY requests_due
    WHERE slot = ? AND lane = ? AND until IS NOT NULL"""


def ready_in(ledger: Ledger) -> float | None:
    """See `Frontier.ready_in`."""
    ledger.flush()
    if ledger.database.execute("SELECT 1 FROM slots WHERE best_rank IS NOT NULL LIMIT 1").fetchone() is not None:
        return 0.0
    chance = _first_of_sessions(ledger, _first_of_slots(ledger))
    # A death returns claims before they expire; where their ends bring nothing, their early ends do not either.
    if chance != math.inf and not ledger.terms.exclusive and ledger.run.claimed:
        chance = min(chance, owners.next_death(ledger))
    return None if chance == math.inf else chance - ledger.now


def _first_of_slots(ledger: Ledger) -> float:
    """Return when the first slot gives a claim to a lane that is not parked."""
    first = math.inf
    query = "SELECT number FROM slots WHERE chance IS NOT NULL ORDER BY chance"
    for (number,) in ledger.database.execute(query):
        slot = ledger.slot(number)
        if slot.chance is None or slot.chance >= first:
            break
        first = min(first, _chance_of_slot(ledger, slot))
        ledger.trim()
    return first


def _chance_of_slot(ledger: Ledger, slot: SlotRow) -> float:
    if slot.queued > slot.parked:
        return ledger.room_at(slot)
    ends = [
        end
        for state in (State.CLAIMED, State.RETRYING)
        for (end,) in ledger.database.execute(_FIRST_END, (slot.number, state))
    ]
    return max(ledger.room_at(slot), min(ends, default=math.inf))


def _first_of_sessions(ledger: Ledger, first: float) -> float:
    """Return `first`, or when an earlier claim that expires gives room to its session."""
    seen: set[bytes] = set()
    for until, key in ledger.database.execute(_PARKED_ENDS, (first,)).fetchall():
        if until >= first:
            break
        if key not in seen:
            seen.add(key)
            first = min(first, _chance_of_session(ledger, ledger.session(key)))
    return first


def _chance_of_session(ledger: Ledger, session: SessionRow) -> float:
    """Return when a session without room could get a claim; what it has claimed comes back until then."""
    if not session.claims_max:
        return math.inf
    execute = ledger.database.execute
    room_at: float
    (room_at,) = execute(_END_OF_SESSION, (session.key, session.claimed - session.claims_max)).fetchone()
    lanes = execute("SELECT number, slot, queued FROM lanes WHERE session = ?", (session.key,)).fetchall()
    chances = []
    for number, slot, queued in lanes:
        filled_at = 0.0 if queued else execute(_END_OF_LANE, (slot, number)).fetchone()[0]
        chances.append(max(room_at, filled_at, ledger.room_at(ledger.slot(slot))))
    return min(chances)
