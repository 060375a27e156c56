"""What becomes of a request after a visit: a pure decision, and the result it leads to."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import Enum

from browsercrawl.errors import BrowsercrawlError, Disposition, ErrorKind, disposition_of
from browsercrawl.frontier import Claim, Cost
from browsercrawl.redaction import shorten
from browsercrawl.request import Request
from browsercrawl.result import Artifact, ErrorInfo, Outcome, Phase, Result, Timings
from browsercrawl.urls import URL_LENGTH_MAX
from browsercrawl.visit import VisitOutcome

SPENDING = frozenset({Disposition.RETRY_SAME, Disposition.RETRY_FRESH, Disposition.DEFER_HOST})
"""Dispositions that lead to another attempt and spend one."""


LOGOUTS_MAX = 2
"""A page that shows its session as logged out right after so many logins is one that the account may not see."""


EXPIRIES_MAX = 10
"""So is one that shows it in so many logins, whoever made them."""


class Extenuation(Enum):
    """What puts a failure in another light."""

    SHARED_FATE = "shared_fate"
    """Another page of the same renderer may have brought it about."""
    SESSION_REPLACED = "session_replaced"
    """The site refused the session, and another has taken its place."""


@dataclass(slots=True)
class History:
    """What earlier attempts of a request left; travels in its claim's memo.

    Attributes:
        started_at: when its first visit began; None: no page was had yet.
        deaths_alone: how often the browser died while this request was visited alone.
        logouts: how often its page showed its session as logged out that had been logged in for this very visit.
        expiries: how often its page showed its session as logged out at all.
        proxy_failures: how often a proxy failed under it.
        transferred_bytes: by its contexts during its visits; None: nobody has counted.
        refused_connections: likewise, by the network guard.
    """

    started_at: datetime | None = None
    queued_s: float = 0.0
    politeness_s: float = 0.0
    lease_s: float = 0.0
    navigate_s: float = 0.0
    wait_s: float = 0.0
    handle_s: float = 0.0
    capture_s: float = 0.0
    deaths_alone: int = 0
    logouts: int = 0
    expiries: int = 0
    proxy_failures: int = 0
    transferred_bytes: int | None = None
    refused_connections: int = 0

    @classmethod
    def of(cls, claim: Claim) -> "History":
        """Read the memo of a claim."""
        if not claim.memo:
            return cls()
        values = json.loads(claim.memo)
        begun = values.pop("started_at")
        return cls(started_at=datetime.fromisoformat(begun) if begun else None, **values)

    def memo(self) -> str:
        """Write it down for the next claim."""
        values = asdict(self)
        values["started_at"] = self.started_at.isoformat() if self.started_at else None
        return json.dumps(values)

    def add(self, claim: Claim, outcome: VisitOutcome, *, lease_s: float) -> None:
        """Add one attempt's times."""
        self.queued_s += claim.queued_s
        self.politeness_s += claim.politeness_s
        self.lease_s += lease_s
        self.navigate_s += outcome.times.navigate_s
        self.wait_s += outcome.times.wait_s
        self.handle_s += outcome.times.handle_s
        self.capture_s += outcome.times.capture_s

    def timings(self, *, total_s: float) -> Timings:
        """Return the sums."""
        return Timings(
            queued_s=round(self.queued_s, 6),
            politeness_s=round(self.politeness_s, 6),
            lease_s=round(self.lease_s, 6),
            navigate_s=round(self.navigate_s, 6),
            wait_s=round(self.wait_s, 6),
            handle_s=round(self.handle_s, 6),
            capture_s=round(self.capture_s, 6),
            total_s=round(total_s, 6),
        )


@dataclass(frozen=True, slots=True)
class Again:
    """The request will be visited again."""

    disposition: Disposition
    cost: Cost


@dataclass(frozen=True, slots=True)
class Finished:
    """The request has its final outcome."""

    outcome: Outcome


def decide(
    error: BrowsercrawlError | None,
    claim: Claim,
    *,
    attempts_max: int,
    history: History,
    deaths_max: int,
    extra: Extenuation | None = None,
) -> Again | Finished:
    """Decide what becomes of a request whose visit ended with this error, or without one.

    Args:
        error: None for success.
        claim: tells which attempt it was.
        attempts_max: visits a request may have in all.
        history: of its visits, this one included.
        deaths_max: so many deaths of the browser, while it was visited alone, end it.
        extra: what else is known about the error.
    """
    if error is None:
        return Finished(Outcome.SUCCEEDED)
    if extra is Extenuation.SHARED_FATE:
        return Again(Disposition.PUT_BACK, Cost.STALL)
    disposition = disposition_of(error)
    if disposition is Disposition.PUT_BACK:
        return Finished(Outcome.FAILED) if history.deaths_alone >= deaths_max else Again(disposition, Cost.STALL)
    if disposition is Disposition.PAUSE_SESSION:
        is_hopeless = history.logouts >= LOGOUTS_MAX or history.expiries >= EXPIRIES_MAX
        return Finished(Outcome.FAILED) if is_hopeless else Again(disposition, Cost.NOTHING)
    if extra is Extenuation.SESSION_REPLACED:
        disposition = Disposition.RETRY_FRESH
    if disposition in SPENDING and claim.attempt < attempts_max:
        return Again(disposition, Cost.ATTEMPT)
    return Finished(Outcome.FAILED)


def error_info(error: BrowsercrawlError, phase: Phase | None) -> ErrorInfo:
    """Put an error into the form a result carries."""
    return ErrorInfo(kind=error.kind, message=shorten(error.message), phase=phase, disposition=disposition_of(error))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What a result is made of besides its request."""

    outcome: Outcome
    attempts: int
    timings: Timings = field(default_factory=Timings)
    transferred_bytes: int | None = None
    refused_connections: int = 0
    started_at: datetime | None = None
    finished_at: datetime
    visit: VisitOutcome | None = None
    error: ErrorInfo | None = None
    skip_reason: str | None = None
    artifacts: Sequence[Artifact] = ()


def result_of(request: Request, ending: Ending) -> Result:
    """Make the result of a finished request."""
    visit = ending.visit
    navigation = visit.navigation if visit else None
    snapshot = visit.snapshot if visit else None
    final_url = snapshot.url if snapshot else navigation.final_url if navigation else None
    return Result(
        request_id=request.id,
        url=request.url,
        final_url=None if final_url is None else shorten(final_url, length_max=URL_LENGTH_MAX),
        outcome=ending.outcome,
        http_status=navigation.status if navigation else None,
        content_type=shorten(navigation.content_type) if navigation and navigation.content_type else None,
        partial=navigation is not None and not navigation.loaded,
        title=shorten(snapshot.title) if snapshot else None,
        html=snapshot.html if snapshot else None,
        text=snapshot.text if snapshot else None,
        links=snapshot.links if snapshot else (),
        data=visit.data if visit else (),
        artifacts=tuple(ending.artifacts),
        error=ending.error,
        skip_reason=ending.skip_reason,
        attempts=ending.attempts,
        session=request.session,
        label=request.label,
        depth=request.depth,
        parent_url=request.parent_url,
        timings=ending.timings,
        transferred_bytes=ending.transferred_bytes,
        refused_connections=ending.refused_connections,
        started_at=ending.started_at,
        finished_at=ending.finished_at,
    )


def failed_input(text: str, error: BrowsercrawlError, *, finished_at: datetime, request_id: str) -> Result:
    """Make the result of a seed that never became a request."""
    return Result(
        request_id=request_id,
        url=text,
        outcome=Outcome.FAILED,
        error=ErrorInfo(
            kind=error.kind if error.kind is not ErrorKind.INTERNAL else ErrorKind.INPUT_INVALID,
            message=shorten(error.message),
            disposition=Disposition.DROP,
        ),
        finished_at=finished_at,
    )
