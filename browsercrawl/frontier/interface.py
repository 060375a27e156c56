"""The frontier: the set of requests of a run, and the only place that knows their state.

Life of a request here:

    schedule ──▶ queued ──claim──▶ claimed ──complete──▶ finished (only its id is remembered)
                   ▲                  │
                   ├──── release ─────┤   (a retry or a put-back; with a pause, it is retrying until that is over)
                   └──── expiry ──────┘   (its owner is taken for dead)

Requests wait in *lanes*, one per host:port and session, in priority order. A lane is ready when its slot and its
session both have room. Its *slot* (its host:port) has: fewer than `concurrency_max` of its requests claimed, the delay
since its last claim over, and the host not deferred (see `trust.py` for hosts that fail). Its *session* has: fewer
than its limit of its requests claimed, on all hosts together; a limit of 0 holds it. Requests queued in lanes whose
session has none are *parked*. `claim` takes from ready lanes only, so nothing that waits for politeness or for a
session occupies a page.

Time passes for a store only when it is called: what has come due meanwhile (a pause, a delay, an expiry) then counts
from the instant at which it was due. So how often a store is asked changes nothing.

Every change is one step: all of it or, on error, nothing; and when a method has returned, a durable store has it on
disk. What a finished request leaves (its `Record`) is stored in the same step as its done mark: the line waits in the
*outbox* until whoever writes `results.jsonl` has it safe (`lines`, `emptied`), and is counted in `totals`.

Several stores implement this (memory, SQLite; PostgreSQL later): one conformance suite, all pass. Nothing here assumes
that one process owns the store; every claim has an owner, an expiry and a token, and an old token is refused.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from browsercrawl.request import Request


class Verdict(StrEnum):
    """What became of a request given to `schedule`."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    """Its id is known already; nothing was stored, the duplicate was counted."""
    FULL = "max_requests"
    """The frontier has stored `requests_max` requests; this one is refused."""
    HOST_FULL = "max_per_host"
    """`host_requests_max` requests of its host:port are stored; this one is refused."""

    PATH_FULL = "max_per_path"
    """`path_requests_max` links of its path and session, which differ in their query only, are stored; only links
    given to `complete` are counted and refused."""


REFUSED = frozenset({Verdict.FULL, Verdict.HOST_FULL, Verdict.PATH_FULL})
"""There was no room."""


class Cost(StrEnum):
    """What giving a request back with `release` counts for."""

    ATTEMPT = "attempt"
    """An attempt was spent: a retry."""
    STALL = "stall"
    """A put-back: a stall is counted, and it goes behind all requests without stalls."""
    NOTHING = "nothing"
    """A put-back for which it is not to blame: it keeps its place in its lane, as if it had not been claimed."""


class SlotRules(Protocol):
    """Restraint towards one host:port; `politeness` implements it, and the two know nothing else of each other."""

    @property
    def delay_s(self) -> float:
        """Seconds between two claims of the same slot, kept exactly: reserved at the claim."""

    @property
    def concurrency_max(self) -> int | None:
        """Claims of the slot at once; None: no limit of its own."""

    @property
    def jitter(self) -> float:
        """Share of the delay that each claim adds to it at most, at random."""


RulesOf = Callable[[str], SlotRules]
"""Gives the rules of a host:port; asked when its slot comes into being, and again if that was forgotten meanwhile or
the run was opened anew. A store may call it in a thread of its own."""

SlotOf = Callable[[str], str]
"""Gives the key of the slot of a host:port, and of such a key the key itself. A store may call it in any thread."""

SessionLimitOf = Callable[[str], int | None]
"""Gives the first limit of a session, by its key; asked when it is first seen unless `limit_session` told one, and
again if it was forgotten meanwhile or the run was opened anew. A store may call it in a thread of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How many requests a frontier stores at most, finished ones included; None: no limit.

    Attributes:
        requests: in all.
        of_host: of each slot.
        of_path: links that differ in their query only.
    """

    requests: int | None = None
    of_host: int | None = None
    of_path: int | None = None


UNBOUNDED = Bounds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a finished request leaves.

    Attributes:
        ending: how it ended, such as `succeeded` or `failed.network`; counted in `totals`, and `take_back` goes by it.
        line: for the outbox, without newline; None when nobody wants lines.
        counts: what is counted in `totals` besides, such as `{"retried": 2}`.
    """

    ending: str
    line: bytes | None = None
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A seed that gets its result without becoming a request; its id is known from then on.

    Attributes:
        id: 32 hexadecimal digits.
    """

    id: str
    record: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class HostUpdate:
    """What a visit's outcome says about its host.

    Attributes:
        defer_s: hold the slot back for at least so long from now; a longer deferral that stands already stays.
        refusals: consecutive refusals (429, 503) of the host, this one included.
        failures: likewise of connections that failed, and of other 5xx. The slot keeps the largest numbers told, though
            this one grows by one at a time. Both 0: it served us; that clears them unless either was told since the
            claim was made. With a deferral and either of them the slot is on trial: one claim at a time until they are
            cleared. Before that, whoever is served clears `failures`.
        is_down: with either of them: the host is given up until the run is opened anew.
        pace_s: the delay that the host's speed asks for; None: as before. The slot keeps it if it is longer than what
            it has, else the mean of the two; and never less than its rules say.
        visits: starts besides the claim's own, each of which the slot owes a delay.
        unused: `Claim.reserved` of a claim that came to no visit: what it reserved is given back, unless the slot is
            held back otherwise by now. Of the rest only `defer_s` counts then, and it puts nothing on trial.
    """

    defer_s: float = 0.0
    refusals: int = 0
    failures: int = 0
    is_down: bool = False
    pace_s: float | None = None
    visits: int = 0
    unused: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxLine:
    """A line that waits to be written; `number` grows in commit order."""

    number: int
    line: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to visit a request until `expires_at`.

    Attributes:
        slot: key of its slot.
        token: fences the claim: `complete` and `release` are refused once the request was claimed again or finished. An
            owner that is merely late, past `expires_at` but before the next claim, is still served.
        owner: who holds it.
        expires_at: on the frontier's clock; an expired claim's request can be claimed again, with a stall counted.
        attempt: 1 for the first visit; grows only by attempts that were spent.
        stalls: how often it was put back or its claim expired, none of it the request's fault.
        stored_at: when the request entered the frontier, on its clock.
        queued_s: time waited since it was stored, released or its claim expired, without what counts as politeness.
        politeness_s: of that wait, its own retry pause, and the time in its lane during which the slot was held back
            (delay, concurrency, deferral), parked or not: a slot knows nothing of sessions.
        delay_s: what its slot keeps between this claim and the next, if not more.
        reserved: the store's own mark of that, for `HostUpdate.unused`.
        refusals: consecutive refusals of its host when it was claimed, and `failures`; see `HostUpdate`.
        is_down: its host was given up: it is not to be visited.
        memo: what its last owner left with `release`; empty before, and kept when a claim expires.
    """

    request: Request
    slot: str = ""
    token: int
    owner: str
    expires_at: float
    attempt: int
    stalls: int
    stored_at: float
    queued_s: float
    politeness_s: float
    delay_s: float = 0.0
    reserved: float | None = None
    refusals: int = 0
    failures: int = 0
    is_down: bool = False
    memo: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontierCounts:
    """How many requests stand where. `queued + waiting + parked + retrying + claimed + finished == stored`.

    Attributes:
        stored: all ever stored.
        queued: could go now, or wait only for their turn in a lane.
        waiting: in lanes whose slot holds them back (delay, concurrency, deferral).
        parked: in lanes whose session has no room, whatever their slot says.
        retrying: released with a pause that is not over; then queued, waiting or parked.
        claimed: being visited.
        finished: completed.
        duplicates: how often a request was not stored because its id was known.
    """

    stored: int
    queued: int
    waiting: int
    parked: int
    retrying: int
    claimed: int
    finished: int
    duplicates: int

    @property
    def open(self) -> int:
        """Requests that do not have their result yet."""
        return self.stored - self.finished


class Frontier(Protocol):
    """See the module's text. All methods are safe to call from one event loop at once; none blocks it.

    Raises:
        OutputFailed: (any of them) the store cannot be read or written, and was told not to wait for it any longer.
    """

    async def schedule(self, requests: Sequence[Request], *, again: bool = False) -> list[Verdict]:
        """Store a batch.

        Args:
            requests: in the order in which they shall be visited, all else equal.
            again: known ones are not counted as duplicates: the input is being read once more.

        Returns:
            One verdict per request, in order. A known id is a duplicate also when the frontier is full.
        """

    async def refuse(
        self, refusals: Sequence[Refusal], *, mark: str | None = None, counts: Mapping[str, int] | None = None
    ) -> list[bool]:
        """Record seeds that get their result without a visit, and how far the input was read.

        Args:
            refusals: they count neither as stored nor as finished.
            mark: what `notes` shall give as `input`; None: leave it.
            counts: what else is counted in `totals`, in the same step.

        Returns:
            For each whether it is recorded now; False: its id was known, and nothing was stored for it.
        """

    async def claim(self, *, owner: str, limit: int, lease_s: float, warm: Collection[str] = ()) -> list[Claim]:
        """Take up to `limit` requests from ready lanes, best first.

        In a lane, requests without stalls go first, then higher priority, then what was stored first. Among ready
        lanes their heads compare likewise: without stalls before with; then higher priority; then, among equals,
        lanes whose session is in `warm`; then the lane whose last turn (or whose beginning) is longest ago. The lane
        that would go but for `warm` is passed over: at most 64 times between two turns of it. At most one request of
        a slot with a delay is taken per call. The state changes here (claim counted for slot and session, next instant
        of the slot reserved), never later.

        Args:
            owner: name of the caller, for fencing and for counting.
            limit: at most so many, >= 1.
            lease_s: the claim expires after so many seconds, or earlier when its owner is taken for dead.
            warm: session keys whose context is open.
        """

    async def complete(
        self, claim: Claim, *, record: Record, links: Sequence[Request] = (), host: HostUpdate | None = None
    ) -> list[Verdict] | None:
        """Finish a request: done mark, record, links found and the host's update, in one step.

        Returns:
            The links' verdicts; None when the claim is not valid any more: then nothing was changed.
        """

    async def release(
        self,
        claim: Claim,
        *,
        delay_s: float = 0.0,
        cost: Cost,
        memo: str | None = None,
        host: HostUpdate | None = None,
    ) -> bool:
        """Give a request back to its lane.

        Args:
            claim: as given by `claim`.
            delay_s: seconds before which it may not be claimed again; the rest of its lane goes on meanwhile.
            cost: what this counts for; of an expired claim the stall is counted already, and stays.
            memo: for the next claim; None: as it was.
            host: what the visit says about the host.

        Returns:
            False when the claim is not valid any more: then nothing was changed.
        """

    async def defer(self, host: str, delay_s: float) -> None:
        """Hold a slot back for at least `delay_s` from now; a longer deferral that stands already stays."""

    async def restrain(self, host: str, *, delay_s: float) -> None:
        """Keep at least `delay_s` between two claims of a host's slot from now on, and until the next one.

        What was told holds until the run is opened anew; no more than what holds already changes nothing.
        """

    async def limit_session(self, session: str, claims_max: int | None) -> None:
        """Set how many requests of a session may be claimed at once, on all hosts together, from now on.

        Claims that exist stay valid, also when there are more. What was told holds until something else is, in all
        stores that share a file, or until the run is opened anew.

        Args:
            session: its key; "" is the anonymous one. It need not have any requests.
            claims_max: 0: none, it is held; None: no limit.
        """

    async def ready_in(self) -> float | None:
        """Tell when a claim will succeed if nothing else happens until then.

        Returns:
            Seconds, exactly: 0 at once; until a delay, a deferral, a retry pause or another's claim is over; None: not
            before something is scheduled or released, or a session's limit is raised.
        """

    def counts(self) -> FrontierCounts:
        """Return the counts as the last call of another method left them; costs constant time and never waits."""

    async def totals(self) -> dict[str, int]:
        """Return what was counted so far, by name.

        That is the records' `ending`, their `counts`, those given to `refuse`, and `link.<verdict>` for links that
        `complete` refused.
        """

    async def lines(self, limit: int) -> list[OutboxLine]:
        """Return the first `limit` lines of the outbox, in commit order; they stay in it."""

    async def emptied(self, *, upto: int, size: int) -> None:
        """Take the lines up to this number out of the outbox.

        Args:
            upto: of the last line that is safe.
            size: of the file of lines, in bytes; `notes` gives it as `results_size`.
        """

    async def note(self, values: Mapping[str, str]) -> None:
        """Remember values by name, such as the run's id, for whoever opens the store next."""

    async def notes(self) -> dict[str, str]:
        """Return all that is remembered."""

    async def close(self) -> None:
        """Let go of the store: what is still claimed through it is put back, without a stall. Idempotent."""
