"""When a claim will succeed if nobody does anything, exactly.

Of lanes whose session has room each slot knows it. A session without room gets some when enough of its own claims have
expired, if ever; it is looked at only when that may come first, so that parked lanes cost nothing while others go.
"""

from collections.abc import Iterable
from itertools import chain
from operator import attrgetter

from browsercrawl.frontier.ranking import Ranking
from browsercrawl.frontier.slots import Entry, Lane, Session, Slot, Standing


class Chances:
    """Ranks the slots by the first instant at which they could give a claim."""

    def __init__(self) -> None:
        self._slots: Ranking[Slot] = Ranking("chance")

    def place(self, slot: Slot, at: float | None) -> None:
        """Let a slot stand at an instant before which it gives no claim; None: it never does by itself."""
        if at is None:
            self._slots.drop(slot)
        elif slot.chance is None or slot.chance[0] != at:
            self._slots.put(slot, at)

    def first(self, entries: Iterable[Entry]) -> float | None:
        """Return the first instant at which a claim will succeed; None: never by itself.

        Args:
            entries: those that are claimed, in any order; others are passed by.
        """
        first = self._first_of_slots()
        seen: set[Session] = set()
        ends = [entry for entry in entries if entry.standing is Standing.CLAIMED and entry.lane.is_parked]
        for end in sorted(ends, key=attrgetter("until")):
            if first is not None and end.until >= first:
                break
            session = end.lane.session
            if session not in seen and session.claims_max:
                seen.add(session)
                at = _chance_of(session, [end.until for end in ends if end.lane.session is session])
                first = at if first is None else min(first, at)
        return first

    def _first_of_slots(self) -> float | None:
        while (slot := self._slots.first()) is not None and slot.chance is not None:
            placed_at, at = slot.chance[0], slot.chance_at()
            if at == placed_at:
                return at
            self.place(slot, at)
        return None


def _chance_of(session: Session, ends: list[float]) -> float:
    """Return when a session with so many claims too many could get one more; what it has claimed comes back then."""
    assert session.claims_max, "a session that may have none never gets room by itself"
    room_at = sorted(ends)[session.claimed - session.claims_max]
    return min(max(room_at, lane.slot.room_at, _filled_at(lane)) for lane in session.lanes)


def _filled_at(lane: Lane) -> float:
    """Return from when on something is queued in a lane."""
    if lane.queue:
        return 0.0
    return min(end.until for end in chain(lane.slot.claimed, lane.slot.paused) if end.lane is lane)
