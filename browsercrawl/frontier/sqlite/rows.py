"""Rows of the tables, as the transaction that works on them sees them."""

from dataclasses import dataclass, fields
from enum import IntEnum
from operator import attrgetter
from typing import NamedTuple

from browsercrawl.frontier.interface import FrontierCounts
from browsercrawl.frontier.slots import SlotState
from browsercrawl.frontier.trust import Trust, claims_max

PUT_BACK = 1 << 32
"""Added to the rank of a request with stalls: it then goes behind all without, whatever their priority."""

TOKEN_BITS = 20
"""The lower bits of a token count the claims of its request; the upper ones are the request's number."""


class State(IntEnum):
    """Where a stored request stands. Of one that succeeded or was skipped no row remains."""

    QUEUED = 0
    RETRYING = 1
    CLAIMED = 2
    FAILED = 3
    """Finished; kept for `take_back`."""


@dataclass(slots=True)
class RunRow:
    """The one row of `run`.

    Attributes:
        now: the store's time at the last commit; None in a fresh file.
        wall: the calendar time then.
        opening: how often the store was opened; the last number is that of the store opened last.
        rules: of the opening at which the rules of all slots and the limits of all sessions became outdated.
        turn: number of the last turn; `line`, `slot`, `lane`: likewise of the last of each.
    """

    now: float | None
    wall: float | None
    opening: int
    rules: int
    turn: int
    line: int
    slot: int
    lane: int
    stored: int
    queued: int
    waiting: int
    parked: int
    retrying: int
    claimed: int
    finished: int
    duplicates: int

    def counts(self) -> FrontierCounts:
        """Return what the frontier's callers are told of it."""
        return FrontierCounts(
            stored=self.stored,
            queued=self.queued,
            waiting=self.waiting,
            parked=self.parked,
            retrying=self.retrying,
            claimed=self.claimed,
            finished=self.finished,
            duplicates=self.duplicates,
        )


run_values = attrgetter(*(field.name for field in fields(RunRow)))
"""Gives the columns of a `RunRow`."""


@dataclass(slots=True, eq=False)
class SlotRow:
    """One host:port; see `browsercrawl.frontier.slots.Slot` and `trust.Trusting`, whose words these are.

    Attributes:
        rules: the opening at which its rules were asked.
        stored: requests ever stored of it.
        parked: of its queued requests, those in lanes that are parked.
        aside: some of its lanes are set aside.
        best_lane: of its lanes that are not parked the one to go first, with its rank and turn. In the file only while
            the slot is ready.
        alarm: it changes by itself no earlier than then; looked at when that instant has come.
        chance: it gives no claim before then if nobody does anything; None: it does now, or never by itself.
    """

    number: int
    host: str
    rules: int
    delay_s: float
    pace_s: float
    jitter: float
    concurrency_max: int | None
    state: SlotState
    since: float
    held_s: float
    open_at: float
    stored: int
    queued: int
    parked: int
    claimed: int
    retrying: int
    refusals: int
    refused: int
    failures: int
    trust: Trust
    forgive_at: float
    aside: int
    best_lane: int | None
    best_rank: int | None
    best_turn: int | None
    alarm: float | None
    chance: float | None
    is_new: bool = False
    is_best_known: bool = False
    saved: "tuple[object, ...]" = ()
    """What of it is in the indexes of the file."""

    @property
    def is_full(self) -> bool:
        """As many are claimed as may be."""
        most = claims_max(self.trust, self.concurrency_max)
        return most is not None and self.claimed >= most

    @property
    def is_held(self) -> bool:
        """Its queued requests wait for politeness."""
        return self.state is SlotState.BUSY or self.state is SlotState.SNOOZED

    def held_until(self, at: float) -> float:
        """Return the seconds that requests were held back here, up to `at`."""
        return self.held_s + (at - self.since if self.is_held else 0.0)

    def warn(self, at: float) -> None:
        """Let it be looked at when `at` has come, if not earlier."""
        if self.alarm is None or at < self.alarm:
            self.alarm = at

    def lane_changed(self, lane: "LaneRow") -> None:
        """Keep the best lane right after a lane's head or turn has changed."""
        if not self.is_best_known:
            return
        best = (self.best_rank, self.best_turn)
        is_better = lane.rank is not None and (self.best_rank is None or (lane.rank, lane.turn) < best)
        if is_better:
            self.best_lane, self.best_rank, self.best_turn = lane.number, lane.rank, lane.turn
        elif self.best_lane == lane.number and (lane.rank, lane.turn) != best:
            self.is_best_known = False


@dataclass(slots=True, eq=False)
class LaneRow:
    """The requests of one slot and one session; forgotten with its last unfinished request.

    Attributes:
        members: its requests that are not finished; `queued`: those of them that are queued.
        passed: how often it was passed over since its last turn.
        head: number of the first request queued in it, with its rank; None: none is, or the lane is parked.
        limited: its session has a limit; `parked`: and no room.
        aside: it is set aside from its session's lanes because its slot has no room.
    """

    number: int
    slot: int
    session: bytes
    members: int
    queued: int
    passed: int
    head: int | None
    limited: bool
    parked: bool
    rank: int | None
    turn: int
    aside: int
    is_new: bool = False
    saved: "tuple[object, ...]" = ()

    def enter(self, number: int, rank: int) -> None:
        """A request is queued in it."""
        self.queued += 1
        if self.parked:
            return
        if self.rank is None or self.head is None or (rank, number) < (self.rank, self.head):
            self.head, self.rank = number, rank


@dataclass(slots=True, eq=False)
class SessionRow:
    """A session that a request was ever stored of, or that a limit was told of.

    Attributes:
        rules: the opening at which its limit was asked or told.
        claims_max: requests of it claimed at once; None: no limit.
        claimed: over all slots; only counted while there is a limit.
    """

    key: bytes
    rules: int
    claims_max: int | None
    claimed: int

    @property
    def has_room(self) -> bool:
        """One more of its requests may be claimed."""
        return self.claims_max is None or self.claimed < self.claims_max


class RequestRow(NamedTuple):
    """A request that is not finished, without what only its claim needs."""

    number: int
    slot: int
    lane: int
    state: int
    rank: int
    attempt: int
    stalls: int
    token: int
    since: float
    refused: int | None


REQUEST = "SELECT number, slot, lane, state, rank, attempt, stalls, token, since, refused FROM requests"
