"""Slots, sessions, their lanes and the requests in them: who stands where, and what a slot's restraint makes of it.

Nothing here reads a clock or waits: every change is told the instant at which it happens. So a change that is noticed
late (a delay that was over a while ago) leaves the very state that it would have left in time.
"""

from dataclasses import dataclass
from enum import Enum, auto
from heapq import nsmallest
from operator import attrgetter

from browsercrawl.errors import InternalError
from browsercrawl.frontier.interface import SlotRules
from browsercrawl.frontier.ranking import Ranking
from browsercrawl.frontier.trust import Trust, claims_max
from browsercrawl.request import Request


class Standing(Enum):
    """Where a stored request stands."""

    NEW = auto()
    """Being stored."""
    QUEUED = auto()
    """In its lane."""
    RETRYING = auto()
    """Out of its lane until its own pause is over, so that the lane goes on without it."""
    CLAIMED = auto()
    FINISHED = auto()


_STANDING_MOVES = {
    Standing.NEW: {Standing.QUEUED},
    # From queued to retrying, queued or finished: its claim expired, and the late owner settles it after all.
    Standing.QUEUED: {Standing.CLAIMED, Standing.QUEUED, Standing.RETRYING, Standing.FINISHED},
    Standing.RETRYING: {Standing.QUEUED},
    Standing.CLAIMED: {Standing.QUEUED, Standing.RETRYING, Standing.FINISHED},
    Standing.FINISHED: set(),
}


class SlotState(Enum):
    """What a slot's queued requests can expect of it; whether their sessions have room is another question."""

    EMPTY = auto()
    """None is queued; some may be claimed or pausing, and a delay may be running."""
    READY = auto()
    """One may be claimed now."""
    BUSY = auto()
    """As many are claimed as may be."""
    SNOOZED = auto()
    """There is room, but a delay or a deferral is not over."""


SLOT_MOVES = {
    SlotState.EMPTY: {SlotState.READY, SlotState.BUSY, SlotState.SNOOZED},
    SlotState.READY: {SlotState.EMPTY, SlotState.BUSY, SlotState.SNOOZED},
    SlotState.BUSY: {SlotState.EMPTY, SlotState.READY, SlotState.SNOOZED},
    SlotState.SNOOZED: {SlotState.EMPTY, SlotState.READY, SlotState.BUSY},
}

_HELD = (SlotState.BUSY, SlotState.SNOOZED)


@dataclass(slots=True)
class Tally:
    """How many requests stand where, over all slots."""

    queued: int = 0
    waiting: int = 0
    parked: int = 0
    retrying: int = 0
    claimed: int = 0


class Entry:
    """A stored request that is not finished.

    Attributes:
        node: its place in its lane, among the pausing or among the claimed: it is in one of them at a time.
        memo: what its last owner left for the next.
        refused: how often its slot had been refused when it was claimed last.
        since: when its present wait began; `paused_s` of it was its own pause, and the slot had been held for
            `held_from_s` altogether when the rest began.
        until: end of its pause or of its claim.
        token: of its last claim; 0 before the first.
    """

    __slots__ = (
        "attempt", "held_from_s", "lane", "memo", "node", "number", "paused_s", "refused", "request", "since", "stalls",
        "standing", "stored_at", "token", "until",
    )  # fmt: skip

    def __init__(self, request: Request, lane: "Lane", *, number: int, at: float) -> None:
        self.request = request
        self.lane = lane
        self.number = number
        self.node: tuple[float | tuple[bool, int, int], int, Entry] | None = None
        self.standing = Standing.NEW
        self.attempt = 1
        self.stalls = 0
        self.token = 0
        self.stored_at = self.since = at
        self.until = at
        self.paused_s = 0.0
        self.held_from_s = 0.0
        self.memo = ""
        self.refused = 0


class Session:
    """One session with its lanes, and how many of its requests may be claimed at once.

    Attributes:
        claims_max: None: no limit.
        claimed: over all slots.
        is_told: nobody need be asked for its limit, so it is remembered without lanes too.
    """

    __slots__ = ("claimed", "claims_max", "is_told", "key", "lanes")

    def __init__(self, key: str, claims_max: int | None) -> None:
        self.key = key
        self.claims_max = claims_max
        self.claimed = 0
        self.is_told = False
        self.lanes: dict[Lane, None] = {}

    @property
    def has_room(self) -> bool:
        """One more of its requests may be claimed."""
        return self.claims_max is None or self.claimed < self.claims_max


class Lane:
    """The requests of one slot and one session. It is ready when it has a head, and its slot and session have room.

    Attributes:
        is_parked: its session has no room.
        members: requests that are not finished; a lane without any is forgotten.
        turn: number of its last turn; the lowest goes first.
        passed: how often it was passed over since its last turn.
        node: its place among the lanes of its slot; None while nothing is queued in it, or it is parked.
        session_node: its place among the lanes of its session.
    """

    __slots__ = ("is_parked", "members", "node", "passed", "queue", "session", "session_node", "slot", "turn")

    def __init__(self, slot: "Slot", session: Session, *, turn: int) -> None:
        self.slot = slot
        self.session = session
        self.is_parked = not session.has_room
        self.queue: Ranking[Entry] = Ranking("node")
        self.members = 0
        self.turn = turn
        self.passed = 0
        self.node: tuple[tuple[bool, int, int], int, Lane] | None = None
        self.session_node: tuple[tuple[bool, int, int], int, Lane] | None = None


class Slot:
    """One host:port with its lanes, its claims and its restraint; see `trust.Trusting` for the rest of that.

    Attributes:
        open_at: no claim before this instant: the delay since the last claim, or a deferral.
        parked: of its queued requests, those in lanes that are parked.
        lanes: by session.
        ranked: the lanes in which something is queued and that are not parked, best first.
        aside: lanes taken off their session's list while this slot had no room.
        node: its place among the slots that are ready.
        alarm: its place by the next instant at which it changes by itself.
        chance: its place by an instant before which it gives no claim if nobody does anything; see `chance_at`.
    """

    __slots__ = (
        "_rules", "_since", "_tally", "alarm", "aside", "chance", "claimed", "delay_s", "failures", "forgive_at",
        "held_s", "host", "jitter", "lanes", "members", "node", "open_at", "pace_s", "parked", "paused", "queued",
        "ranked", "refusals", "refused", "state", "trust",
    )  # fmt: skip

    def __init__(self, host: str, rules: SlotRules, *, tally: Tally, at: float) -> None:
        self.host = host
        self._rules = rules
        self.delay_s = rules.delay_s
        self.pace_s = 0.0
        self.jitter = rules.jitter
        self._tally = tally
        self.state = SlotState.EMPTY
        self._since = at
        self.held_s = 0.0
        self.open_at = at
        self.refusals = self.failures = self.refused = 0
        self.forgive_at = at
        self.trust = Trust.FULL
        self.members = 0
        self.queued = 0
        self.parked = 0
        self.lanes: dict[str, Lane] = {}
        self.ranked: Ranking[Lane] = Ranking("node")
        self.paused: Ranking[Entry] = Ranking("node")
        self.claimed: Ranking[Entry] = Ranking("node")
        self.aside: dict[Lane, None] = {}
        self.node: tuple[tuple[bool, int, int], int, Slot] | None = None
        self.alarm: tuple[float, int, Slot] | None = None
        self.chance: tuple[float, int, Slot] | None = None

    @property
    def is_full(self) -> bool:
        """As many are claimed as may be."""
        most = claims_max(self.trust, self._rules.concurrency_max)
        return most is not None and len(self.claimed) >= most

    @property
    def is_restrained(self) -> bool:
        """A longer delay was told than its rules say."""
        return self.delay_s > self._rules.delay_s

    def held_until(self, at: float) -> float:
        """Return the seconds that requests were held back here, up to `at`."""
        return self.held_s + (at - self._since if self.state in _HELD else 0.0)

    def refresh(self, at: float) -> bool:
        """Bring the state up to date with what was changed; returns whether it is another one now."""
        if not self.queued:
            to = SlotState.EMPTY
        elif self.is_full:
            to = SlotState.BUSY
        elif self.open_at > at:
            to = SlotState.SNOOZED
        else:
            to = SlotState.READY
        if to is self.state:
            return False
        self._transition(to, at)
        return True

    @property
    def room_at(self) -> float:
        """The instant at which it has room if nobody does anything."""
        most = claims_max(self.trust, self._rules.concurrency_max)
        if most is None or len(self.claimed) < most:
            return self.open_at
        ends = nsmallest(len(self.claimed) - most + 1, (entry.until for entry in self.claimed))
        return max(self.open_at, ends[-1])

    def outlook(self) -> tuple[float | None, float | None]:
        """Return when it changes by itself next, and before when it gives no claim; None: never by itself."""
        first = self._next_end()
        due = None if first is None else first.until
        alarm = due
        if self.state is SlotState.SNOOZED and (due is None or self.open_at < due):
            alarm = self.open_at
        if self.queued > self.parked:
            return alarm, self.room_at
        return alarm, None if due is None else max(self.room_at, due)

    def chance_at(self) -> float | None:
        """Return when it could give a claim first, exactly, as long as those of its lanes that are parked stay so."""
        if self.queued > self.parked:
            return self.room_at
        first = self._next_end()
        if first is not None and first.lane.is_parked:
            ends = (*self.claimed, *self.paused)
            first = min((end for end in ends if not end.lane.is_parked), key=attrgetter("until"), default=None)
        return None if first is None else max(self.room_at, first.until)

    def due(self, at: float) -> Entry | None:
        """Return a request whose pause or claim is over at `at`; None when there is none (any more)."""
        for first in (self.claimed.first(), self.paused.first()):
            if first is not None and first.until <= at:
                return first
        return None

    def move(self, entry: Entry, to: Standing, *, at: float) -> None:
        """Let a request stand elsewhere: the one place where that changes, with all that is counted by it.

        `refresh` follows when all moves of an instant are made.
        """
        standing, lane, tally = entry.standing, entry.lane, self._tally
        if to not in _STANDING_MOVES[standing]:
            raise InternalError(f"request {entry.request.id} cannot go from {standing.name} to {to.name}")
        if standing is Standing.NEW:
            self.members += 1
            lane.members += 1
        elif standing is Standing.QUEUED:
            lane.queue.drop(entry)
            self._count_queued(lane, -1)
        elif standing is Standing.RETRYING:
            self.paused.drop(entry)
            tally.retrying -= 1
        else:
            self.claimed.drop(entry)
            lane.session.claimed -= 1
            tally.claimed -= 1
        entry.standing = to
        if to is Standing.QUEUED:
            entry.held_from_s = self.held_until(at)
            lane.queue.put(entry, (entry.stalls > 0, -entry.request.priority, entry.number))
            self._count_queued(lane, 1)
        elif to is Standing.RETRYING:
            self.paused.put(entry, entry.until)
            tally.retrying += 1
        elif to is Standing.CLAIMED:
            self.claimed.put(entry, entry.until)
            lane.session.claimed += 1
            tally.claimed += 1
        else:
            self.members -= 1
            lane.members -= 1

    def park(self, lane: Lane, *, parked: bool) -> None:
        """Let a lane of this slot be parked or not, after its session has lost or got room."""
        number = len(lane.queue)
        self._count_queued(lane, -number)
        lane.is_parked = parked
        self._count_queued(lane, number)

    def _next_end(self) -> Entry | None:
        """Return the request whose pause or claim is over first."""
        claimed, paused = self.claimed.first(), self.paused.first()
        if claimed is None or (paused is not None and paused.until < claimed.until):
            return paused
        return claimed

    def _count_queued(self, lane: Lane, number: int) -> None:
        self.queued += number
        if lane.is_parked:
            self.parked += number
            self._tally.parked += number
        else:
            self._count_shown(number)

    def _count_shown(self, number: int) -> None:
        """Count queued requests that are not parked."""
        if self.state in _HELD:
            self._tally.waiting += number
        else:
            self._tally.queued += number

    def _transition(self, to: SlotState, at: float) -> None:
        if to not in SLOT_MOVES[self.state]:
            raise InternalError(f"slot {self.host} cannot go from {self.state.name} to {to.name}")
        shown = self.queued - self.parked
        self._count_shown(-shown)
        self.held_s = self.held_until(at)
        self.state = to
        self._since = at
        self._count_shown(shown)
