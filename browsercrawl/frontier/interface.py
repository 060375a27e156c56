"""The frontier: the set of requests of a run, and the only place that knows their state.

Life of a request here:

    schedule ──▶ queued ──claim──▶ claimed ──complete──▶ finished (only its id is remembered)
                   ▲                  │
                   ├──── release ─────┤   (a retry or a put-back; with a pause, it is retrying until that is over)
                   └──── expiry ──────┘   (its owner is taken for dead)

Requests wait in *lanes*, one per host:port and session, in priority order. A lane is ready when its *slot* (its
host:port) has room: fewer than `concurrency_max` of its requests claimed, the delay since its last claim over, and the
host not deferred. `claim` takes from ready lanes only, so nothing that waits for politeness occupies a page.

Time passes for a store only when it is called: what has come due meanwhile (a pause, a delay, an expiry) then counts
from the instant at which it was due. So how often a store is asked changes nothing.

Several stores implement this (memory now; SQLite and PostgreSQL later): one conformance suite, all pass. Nothing here
assumes that one process owns the store; every claim has an owner, an expiry and a token, and an old token is refused.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from browsercrawl.request import Request


class Verdict(StrEnum):
    """What became of a request given to `schedule`."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    """Its id is known already; nothing was stored, the duplicate was counted."""
    FULL = "full"
    """The frontier has stored `requests_max` requests; this one is refused."""


class SlotRules(Protocol):
    """Restraint towards one host:port; `politeness` implements it, and the two know nothing else of each other."""

    @property
    def delay_s(self) -> float:
        """Seconds between two claims of the same slot, kept exactly: reserved at the claim."""

    @property
    def concurrency_max(self) -> int | None:
        """Claims of the slot at once; None: no limit of its own."""


RulesOf = Callable[[str], SlotRules]
"""Gives the rules of a host:port; asked when the slot comes into being, and again if it was forgotten meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to visit a request until `expires_at`.

    Attributes:
        token: fences the claim: `complete` and `release` are refused once the request was claimed again or finished. An
            owner that is merely late, past `expires_at` but before the next claim, is still served.
        owner: who holds it.
        expires_at: on the frontier's clock; an expired claim's request can be claimed again, with a stall counted.
        attempt: 1 for the first visit; grows only by attempts that were spent.
        stalls: how often it was put back or its claim expired, none of it the request's fault.
        stored_at: when the request entered the frontier, on its clock.
        queued_s: time waited since it was stored, released or its claim expired, without what counts as politeness.
        politeness_s: of that wait, its own retry pause, and the time in its lane during which the slot was held back
            (delay, concurrency, deferral).
    """

    request: Request
    token: int
    owner: str
    expires_at: float
    attempt: int
    stalls: int
    stored_at: float
    queued_s: float
    politeness_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontierCounts:
    """How many requests stand where. `queued + waiting + retrying + claimed + finished == stored`.

    Attributes:
        stored: all ever stored.
        queued: could go now, or wait only for their turn in a lane.
        waiting: in lanes whose slot holds them back (delay, concurrency, deferral).
        retrying: released with a pause that is not over; then queued or waiting.
        claimed: being visited.
        finished: completed.
        duplicates: how often a request was not stored because its id was known.
    """

    stored: int
    queued: int
    waiting: int
    retrying: int
    claimed: int
    finished: int
    duplicates: int

    @property
    def open(self) -> int:
        """Requests that do not have their result yet."""
        return self.stored - self.finished


class Frontier(Protocol):
    """See the module's text. All methods are safe to call from one event loop at once; none blocks it."""

    async def schedule(self, requests: Sequence[Request]) -> list[Verdict]:
        """Store a batch, all of it or, on error, nothing.

        Returns:
            One verdict per request, in order. A known id is a duplicate also when the frontier is full.
        """

    async def claim(self, *, owner: str, limit: int, lease_s: float, warm: Collection[str] = ()) -> list[Claim]:
        """Take up to `limit` requests from ready lanes, best first.

        In a lane, requests without stalls go first, then higher priority, then what was stored first. Among ready
        lanes their heads compare likewise: without stalls before with; then higher priority; then, among equals,
        lanes whose session is in `warm`; then the lane whose last turn (or whose beginning) is longest ago. The lane
        that would go but for `warm` is passed over: at most 64 times between two turns of it. At most one request of
        a slot with a delay is taken per call. The state changes here (claim counted, next instant of the slot
        reserved), never later.

        Args:
            owner: name of the caller, for fencing and for counting.
            limit: at most so many, >= 1.
            lease_s: the claim expires after so many seconds.
            warm: session keys whose context is open.
        """

    async def complete(self, claim: Claim, *, links: Sequence[Request] = ()) -> list[Verdict] | None:
        """Finish a request and store the links found, in one step: all of it or, on error, nothing.

        Returns:
            The links' verdicts; None when the claim is not valid any more: then nothing was changed.
        """

    async def release(self, claim: Claim, *, delay_s: float = 0.0, spent: bool) -> bool:
        """Give a request back to its lane.

        Args:
            claim: as given by `claim`.
            delay_s: seconds before which it may not be claimed again; the rest of its lane goes on meanwhile.
            spent: True: an attempt was spent (a retry); False: a put-back, a stall is counted and it goes behind all
                requests without stalls.

        Returns:
            False when the claim is not valid any more: then nothing was changed.
        """

    async def defer(self, host: str, delay_s: float) -> None:
        """Hold a slot back for at least `delay_s` from now; a longer deferral that stands already stays."""

    async def ready_in(self) -> float | None:
        """Tell when a claim will succeed if nothing else happens until then.

        Returns:
            Seconds, exactly: 0 at once; until a delay, a deferral, a retry pause or another's claim is over; None: not
            before something is scheduled or released.
        """

    def counts(self) -> FrontierCounts:
        """Return the counts; costs constant time."""
