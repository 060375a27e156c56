"""What finished requests have left: the outbox, the totals, and failed requests that can be taken back."""

from collections.abc import Collection

from browsercrawl.frontier.interface import OutboxLine
from browsercrawl.frontier.sqlite.claims import FAILED
from browsercrawl.frontier.sqlite.intake import note, request_of
from browsercrawl.frontier.sqlite.ledger import Ledger
from browsercrawl.frontier.sqlite.rows import PUT_BACK
from browsercrawl.frontier.sqlite.schema import bytes_text, text_bytes

_AT_ONCE = 500
_QUEUE_AGAIN = """UPDATE requests SET state = 0, lane = ?, rank = ?, attempt = 1, stalls = 0, since = ?, paused_s = 0,
    held_from_s = ?, memo = NULL, ending = NULL WHERE number = ?"""


def lines(ledger: Ledger, limit: int) -> list[OutboxLine]:
    """See `Frontier.lines`."""
    rows = ledger.database.execute("SELECT number, line FROM outbox ORDER BY number LIMIT ?", (limit,))
    return [OutboxLine(number=number, line=line) for number, line in rows]


def emptied(ledger: Ledger, *, upto: int, size: int) -> None:
    """See `Frontier.emptied`."""
    ledger.database.execute("DELETE FROM outbox WHERE number <= ?", (upto,))
    note(ledger, {"results_size": str(size)})


def totals(ledger: Ledger) -> dict[str, int]:
    """See `Frontier.totals`."""
    counted = dict(ledger.database.execute("SELECT name, number FROM totals"))
    for name, number in ledger.totals.items():  # of this very transaction
        counted[name] = counted.get(name, 0) + number
    return {name: number for name, number in counted.items() if number}


def notes(ledger: Ledger) -> dict[str, str]:
    """See `Frontier.notes`."""
    return {name: bytes_text(value) for name, value in ledger.database.execute("SELECT name, value FROM notes")}


def failed(ledger: Ledger, kinds: Collection[str] | None) -> set[str]:
    """See `SqliteFrontier.failed`."""
    found: set[str] = set()
    for ending in _endings(ledger, kinds):
        rows = ledger.database.execute("SELECT id FROM requests WHERE ending = ?", (ending,))
        found.update(id_.hex() for (id_,) in rows)
    return found


def take_back(ledger: Ledger, kinds: Collection[str] | None, *, size: int) -> int:
    """See `SqliteFrontier.take_back`."""
    before = ledger.run.finished
    for ending in _endings(ledger, kinds):
        query = "SELECT number, slot, body, rank FROM requests WHERE ending = ? LIMIT ?"
        while rows := ledger.database.execute(query, (ending, _AT_ONCE)).fetchall():
            for number, slot_number, body, rank in rows:
                slot = ledger.slot(slot_number)
                lane = ledger.lane_of(slot, text_bytes(request_of(body).session_key))
                first_rank = rank - PUT_BACK if rank > PUT_BACK // 2 else rank
                held_s = slot.held_until(ledger.now)
                ledger.database.execute(_QUEUE_AGAIN, (lane.number, first_rank, ledger.now, held_s, number))
                lane.members += 1
                ledger.enqueue(slot, lane, number=number, rank=first_rank)
                ledger.settle(slot, ledger.now)
                ledger.trim()
            ledger.run.finished -= len(rows)
            ledger.totals[ending] -= len(rows)
    note(ledger, {"results_size": str(size), "results_swap": "1"})
    return before - ledger.run.finished


def _endings(ledger: Ledger, kinds: Collection[str] | None) -> list[str]:
    """Return the endings of failed requests that are meant."""
    if kinds is not None:
        return sorted(FAILED + kind for kind in set(kinds))
    rows = ledger.database.execute("SELECT DISTINCT ending FROM requests WHERE ending IS NOT NULL")
    return [ending for (ending,) in rows]
