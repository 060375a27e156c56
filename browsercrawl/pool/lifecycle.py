"""The lives of everything the pool owns: one Enum and one table of legal moves each.

    page     OPENING ─▶ LEASED ─▶ RETURNING ─▶ PARKED ─▶ LEASED …        any of them ─▶ CLOSING ─▶ CLOSED
    context  OPENING ─▶ OPEN ─▶ DRAINING ─▶ HIBERNATING ─▶ CLOSING ─▶ CLOSED          OPEN ─▶ HIBERNATING or CLOSING
    lease    ACQUIRING ─▶ HELD ─▶ RELEASING ─▶ ENDED                     at the pool's close: HELD ─▶ REVOKED ─▶ ENDED
    browser  DOWN ─▶ LAUNCHING ─▶ UP ─▶ DOWN …, UP ─▶ LAUNCHING (its successor)  any of them ─▶ CLOSED
    pool     OPEN ─▶ CLOSING ─▶ CLOSED

CLOSED without CLOSING is death: with its context, its browser, or at user code's hands.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import TypeVar

from browsercrawl.errors import InternalError


class PageState(Enum):
    """Where a page is. OPENING to RETURNING are *live*: they count against pages_max and the stock."""

    OPENING = auto()
    PARKED = auto()
    LEASED = auto()
    RETURNING = auto()
    """Its lease ends; it is being readied for the next."""
    CLOSING = auto()
    CLOSED = auto()


class ContextState(Enum):
    """Where a context is. OPENING to HIBERNATING are live: they count against contexts_max."""

    OPENING = auto()
    OPEN = auto()
    DRAINING = auto()
    """No new leases; closes when its last one ends."""
    HIBERNATING = auto()
    """Nobody uses it; the state of its session is being saved."""
    CLOSING = auto()
    CLOSED = auto()


class LeaseState(Enum):
    """Where a lease is. From ACQUIRING to RELEASING it holds a permit."""

    ACQUIRING = auto()
    HELD = auto()
    RELEASING = auto()
    REVOKED = auto()
    """Ended by the pool's close; its holder has yet to notice."""
    ENDED = auto()


class BrowserState(Enum):
    """Where the pool's browser is; while it is UP its successor may be on its way."""

    DOWN = auto()
    LAUNCHING = auto()
    UP = auto()
    CLOSED = auto()


class PoolState(Enum):
    """Where the pool itself is."""

    OPEN = auto()
    CLOSING = auto()
    CLOSED = auto()


_P, _C, _L, _B = PageState, ContextState, LeaseState, BrowserState
_S = TypeVar("_S", bound=Enum)

_MOVES: Mapping[Enum, frozenset[Enum]] = {
    _P.OPENING: frozenset({_P.LEASED, _P.PARKED, _P.CLOSING, _P.CLOSED}),
    _P.PARKED: frozenset({_P.LEASED, _P.CLOSING, _P.CLOSED}),
    _P.LEASED: frozenset({_P.RETURNING, _P.PARKED, _P.CLOSING, _P.CLOSED}),
    _P.RETURNING: frozenset({_P.PARKED, _P.CLOSING, _P.CLOSED}),
    _P.CLOSING: frozenset({_P.CLOSED}),
    _P.CLOSED: frozenset(),
    _C.OPENING: frozenset({_C.OPEN, _C.CLOSED}),
    _C.OPEN: frozenset({_C.DRAINING, _C.HIBERNATING, _C.CLOSING, _C.CLOSED}),
    _C.DRAINING: frozenset({_C.HIBERNATING, _C.CLOSING, _C.CLOSED}),
    _C.HIBERNATING: frozenset({_C.CLOSING, _C.CLOSED}),
    _C.CLOSING: frozenset({_C.CLOSED}),
    _C.CLOSED: frozenset(),
    _L.ACQUIRING: frozenset({_L.HELD, _L.ENDED}),
    _L.HELD: frozenset({_L.RELEASING, _L.REVOKED}),
    _L.RELEASING: frozenset({_L.ENDED}),
    _L.REVOKED: frozenset({_L.ENDED}),
    _L.ENDED: frozenset(),
    _B.DOWN: frozenset({_B.LAUNCHING, _B.CLOSED}),
    _B.LAUNCHING: frozenset({_B.UP, _B.DOWN, _B.CLOSED}),
    _B.UP: frozenset({_B.DOWN, _B.LAUNCHING, _B.CLOSED}),
    _B.CLOSED: frozenset(),
    PoolState.OPEN: frozenset({PoolState.CLOSING}),
    PoolState.CLOSING: frozenset({PoolState.CLOSED}),
    PoolState.CLOSED: frozenset(),
}


def moved(old: _S, new: _S, *, what: str) -> _S:
    """Return the new state if the move is legal.

    Args:
        old: the state now.
        new: the state wanted.
        what: whose, for the message.

    Raises:
        InternalError: the table does not allow it.
    """
    if new not in _MOVES[old]:
        raise InternalError(f"{what} cannot go from {old.name} to {new.name}")
    return new
