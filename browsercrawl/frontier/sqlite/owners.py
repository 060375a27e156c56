"""Who has the file open, and what becomes of the claims of those who died.

Who opens it exclusively knows that nobody else lives: all claims return at once. Where stores share a file, each shows
that it lives by its heartbeat; the claims of one not heard of for a while return from then on. Either counts as a
stall, as an expired claim does.
"""

import math
import os
import sqlite3

from browsercrawl.frontier.sqlite.claims import put_back
from browsercrawl.frontier.sqlite.ledger import Ledger

BEATS_PER_TIMEOUT = 6
"""So often a store shows that it lives, in the time after which it is taken for dead."""

_CLAIMED = "SELECT number, token, slot FROM requests INDEXED BY requests_due WHERE until IS NOT NULL AND state = 2"
_END = "UPDATE requests SET until = min(until, ?), token = token + ? WHERE number = ?"
_ALARM = "UPDATE slots SET alarm = min(coalesce(alarm, ?), ?) WHERE number = ?"


def arrive(ledger: Ledger) -> int:
    """Enter a store that was opened; if exclusively, all claims return, and all rules and limits are asked anew.

    Returns:
        The store's number.
    """
    run = ledger.run
    run.opening += 1
    if ledger.terms.exclusive:
        ledger.database.execute("DELETE FROM owners")
        _end_claims(ledger, None, at=ledger.now)
        ledger.flush()
        ledger.forget()
        ledger.catch_up()
        run.rules = run.opening  # after the claims have returned, by the limits under which they were counted
        _ask_limits(ledger)
    _enter(ledger, run.opening)
    return run.opening


def depart(ledger: Ledger) -> None:
    """Let go: what is still claimed through this store is put back, without a stall."""
    mine = ledger.database.execute(_CLAIMED + " AND store = ?", (ledger.terms.store,)).fetchall()
    put_back(ledger, [token for _, token, _ in mine])
    ledger.database.execute("DELETE FROM owners WHERE store = ?", (ledger.terms.store,))


def beat(ledger: Ledger) -> None:
    """Show that this store lives, and let the claims of dead ones expire: first in each transaction of shared files."""
    timeout_s, own = ledger.terms.owner_timeout_s, ledger.terms.store
    beats = dict(ledger.database.execute("SELECT store, beat FROM owners").fetchall())
    for store, last in beats.items():
        if store != own and last + timeout_s <= ledger.now:
            _end_claims(ledger, store, at=last + timeout_s)
            ledger.database.execute("DELETE FROM owners WHERE store = ?", (store,))
    if own and (own not in beats or ledger.now - beats[own] >= timeout_s / BEATS_PER_TIMEOUT):
        _enter(ledger, own)


def next_death(ledger: Ledger) -> float:
    """Return when the first of the other owners will be taken for dead if nothing is heard of it; if ever."""
    query = "SELECT min(beat) FROM owners WHERE store != ?"
    (last,) = ledger.database.execute(query, (ledger.terms.store,)).fetchone()
    return math.inf if last is None else last + ledger.terms.owner_timeout_s


def names(database: sqlite3.Connection) -> tuple[str, ...]:
    """Return the owners that have the file open, or died over it."""
    return tuple(name for (name,) in database.execute("SELECT name FROM owners ORDER BY store"))


def _ask_limits(ledger: Ledger) -> None:
    """Ask the limits of all sessions with lanes: theirs decide what is ready. Those of others wait until it matters."""
    execute = ledger.database.execute
    (key,) = execute("SELECT min(session) FROM lanes").fetchone()
    while key is not None:
        ledger.session(key)
        ledger.trim()
        (key,) = execute("SELECT min(session) FROM lanes WHERE session > ?", (key,)).fetchone()


def _enter(ledger: Ledger, store: int) -> None:
    row = (store, f"process {os.getpid()}", ledger.now)
    ledger.database.execute("INSERT OR REPLACE INTO owners VALUES (?, ?, ?)", row)


def _end_claims(ledger: Ledger, store: int | None, *, at: float) -> None:
    """Let claims expire at an instant if not earlier: those of a store; None: all, and their tokens are void."""
    which, values = (_CLAIMED, ()) if store is None else (_CLAIMED + " AND store = ?", (store,))
    for number, _, slot in ledger.database.execute(which, values).fetchall():
        ledger.database.execute(_END, (at, store is None, number))
        ledger.database.execute(_ALARM, (at, at, slot))
