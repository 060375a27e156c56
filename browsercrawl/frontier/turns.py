"""Whose turn it is: the choice among lanes that are ready.

Slots that are ready stand in one ranking, each at the rank of its best lane, so that a slot with thousands of lanes
comes and goes in one step. What prefers warm sessions cuts across slots: each session ranks its lanes. There, lanes of
a slot that has no room are set aside only when they turn up in front, and return when their slot is ready again.
"""

from collections.abc import Set as AbstractSet

from browsercrawl.frontier.ranking import Ranking
from browsercrawl.frontier.slots import Lane, Slot, SlotState

PASSED_OVER_MAX = 64
"""A cold lane whose turn it is gives way to warm ones so often: opening a context costs dozens of visits' worth of
reuse, so it should be spread over as many; yet every lane gets its turn."""


class Turns:
    """Ranks what is ready and picks the next lane in O(log n), plus one step per warm session if the head is cold."""

    def __init__(self) -> None:
        self._ready: Ranking[Slot] = Ranking("node")
        self._sessions: dict[str, Ranking[Lane]] = {}
        self._turn = 0

    @property
    def is_ready(self) -> bool:
        """A request may be claimed now."""
        return self._ready.first() is not None

    def next_turn(self) -> int:
        """Return a number above all given before: whoever has it goes last among equals."""
        self._turn += 1
        return self._turn

    def rerank(self, lane: Lane) -> None:
        """Put a lane where its head and its last turn belong, after either changed or it was parked or is no more."""
        head = lane.queue.first()
        if head is None or lane.is_parked:
            lane.slot.ranked.drop(lane)
            self._unlist(lane)
            lane.slot.aside.pop(lane, None)
            return
        rank = (head.stalls > 0, -head.request.priority, lane.turn)
        if lane.node is None or lane.node[0] != rank:
            lane.slot.ranked.put(lane, rank)
            self._list(lane)

    def update(self, slot: Slot) -> None:
        """Put a slot where its state and its best lane belong, after either changed."""
        best = slot.ranked.first()
        if slot.state is not SlotState.READY or best is None or best.node is None:
            self._ready.drop(slot)
            return
        if slot.node is None or slot.node[0] != best.node[0]:
            self._ready.put(slot, best.node[0])
        for lane in slot.aside:
            if lane.session_node is None:
                self._list(lane)
        slot.aside.clear()

    def best(self, warm: AbstractSet[str]) -> Lane | None:
        """Return the lane to claim from next; a cold one that gives way to it is counted as passed over."""
        slot = self._ready.first()
        head = slot.ranked.first() if slot is not None else None
        if head is None or not warm or head.session.key in warm or head.passed >= PASSED_OVER_MAX:
            return head
        instead = self._best_warm(warm, head)
        if instead is None:
            return head
        head.passed += 1
        return instead

    def _best_warm(self, warm: AbstractSet[str], head: Lane) -> Lane | None:
        """Return the lane of a warm session whose turn is longest ago, among those that are `head`'s equals."""
        best, best_rank = None, None
        few, other = (warm, self._sessions) if len(warm) <= len(self._sessions) else (self._sessions, warm)
        for session in [key for key in few if key in other]:
            lane = self._first_ready(session)
            if lane is not None and lane.node is not None and head.node is not None:
                rank = lane.node[0]
                if rank[:2] == head.node[0][:2] and (best_rank is None or rank < best_rank):
                    best, best_rank = lane, rank
        return best

    def _first_ready(self, session: str) -> Lane | None:
        ranking = self._sessions[session]
        while (lane := ranking.first()) is not None and lane.slot.state is not SlotState.READY:
            self._unlist(lane)
            lane.slot.aside[lane] = None
        return lane

    def _list(self, lane: Lane) -> None:
        if lane.node is not None:
            ranking = self._sessions.get(lane.session.key)
            if ranking is None:
                ranking = self._sessions[lane.session.key] = Ranking("session_node")
            ranking.put(lane, lane.node[0])

    def _unlist(self, lane: Lane) -> None:
        if lane.session_node is not None:
            ranking = self._sessions[lane.session.key]
            ranking.drop(lane)
            if not ranking:
                del self._sessions[lane.session.key]
