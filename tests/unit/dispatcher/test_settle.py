"""The pure decision after a visit: again, or finished."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from browsercrawl.dispatcher.settle import LOGOUTS_MAX, Again, Extenuation, Finished, History, decide
from browsercrawl.errors import (
    BrowserCrashed,
    BrowsercrawlError,
    DeadlineExceeded,
    Disposition,
    HostUnavailable,
    HttpRejected,
    LeaseTimeout,
    LoginFailed,
    PageBlocked,
    ProxyFailed,
    SessionExpired,
    SessionPaused,
    UnknownLabel,
)
from browsercrawl.frontier import Claim, Cost
from browsercrawl.request import Request
from browsercrawl.result import Outcome


def claim(attempt: int) -> Claim:
    """A claim of some attempt."""
    return Claim(
        request=Request(url="http://site.test/"),
        token=1,
        owner="test",
        expires_at=1.0,
        attempt=attempt,
        stalls=0,
        stored_at=0.0,
        queued_s=0.0,
        politeness_s=0.0,
    )


RETRY_FRESH = DeadlineExceeded("late")
DEFER = HostUnavailable("429", retry_after=None)


@pytest.mark.parametrize(
    ("error", "attempt", "deaths_alone", "expected"),
    [
        (None, 3, 0, Finished(Outcome.SUCCEEDED)),
        (RETRY_FRESH, 1, 0, Again(Disposition.RETRY_FRESH, Cost.ATTEMPT)),
        (RETRY_FRESH, 2, 0, Again(Disposition.RETRY_FRESH, Cost.ATTEMPT)),
        (RETRY_FRESH, 3, 0, Finished(Outcome.FAILED)),
        (DEFER, 2, 0, Again(Disposition.DEFER_HOST, Cost.ATTEMPT)),
        (DEFER, 3, 0, Finished(Outcome.FAILED)),
        (HttpRejected("404"), 1, 0, Finished(Outcome.FAILED)),
        (UnknownLabel("?"), 1, 0, Finished(Outcome.FAILED)),
        (BrowserCrashed("gone"), 3, 0, Again(Disposition.PUT_BACK, Cost.STALL)),
        (BrowserCrashed("gone"), 1, 2, Again(Disposition.PUT_BACK, Cost.STALL)),
        (BrowserCrashed("gone"), 1, 3, Finished(Outcome.FAILED)),
        (LeaseTimeout("late"), 9, 0, Again(Disposition.PUT_BACK, Cost.STALL)),
    ],
)
def test_decide_each_disposition_has_its_consequence(
    error: BrowsercrawlError | None, attempt: int, deaths_alone: int, expected: Again | Finished
) -> None:
    """Retries are bounded by attempts, put-backs by deaths alone; everything else ends at once."""
    history = History(deaths_alone=deaths_alone)
    assert decide(error, claim(attempt), attempts_max=3, history=history, deaths_max=3) == expected


def test_decide_shared_fate_spends_no_attempt() -> None:
    """What a neighbour in the same renderer may have done is put back, even at the last attempt."""
    decision = decide(
        RETRY_FRESH, claim(3), attempts_max=3, history=History(), deaths_max=3, extra=Extenuation.SHARED_FATE
    )
    assert decision == Again(Disposition.PUT_BACK, Cost.STALL)


@pytest.mark.parametrize("error", [SessionExpired("out"), LoginFailed("no"), SessionPaused("no"), ProxyFailed("no")])
def test_decide_session_to_blame_costs_the_request_nothing(error: BrowsercrawlError) -> None:
    """What the identity is to blame for spends neither attempt nor stall, however often it was tried."""
    decision = decide(error, claim(9), attempts_max=3, history=History(), deaths_max=3)
    assert decision == Again(Disposition.PAUSE_SESSION, Cost.NOTHING)


def test_decide_page_that_no_login_opens_fails() -> None:
    """A page that shows its session as logged out after one login and another ends as failed."""
    decision = decide(
        SessionExpired("out"), claim(1), attempts_max=3, history=History(logouts=LOGOUTS_MAX), deaths_max=3
    )
    assert decision == Finished(Outcome.FAILED)


@pytest.mark.parametrize(
    ("attempt", "expected"), [(1, Again(Disposition.RETRY_FRESH, Cost.ATTEMPT)), (3, Finished(Outcome.FAILED))]
)
def test_decide_replaced_session_tries_a_refusal_again(attempt: int, expected: Again | Finished) -> None:
    """What the site refused to a session that another has replaced is tried again, as often as anything."""
    error, extra = PageBlocked("403"), Extenuation.SESSION_REPLACED
    assert decide(error, claim(attempt), attempts_max=3, history=History(), deaths_max=3, extra=extra) == expected


def test_history_travels_in_the_memo() -> None:
    """What earlier attempts left is the same after it went through a claim's memo; without one it is nothing."""
    history = History(started_at=datetime(2026, 1, 1, tzinfo=UTC), navigate_s=1.5, deaths_alone=2)
    assert History.of(replace(claim(2), memo=history.memo())) == history
    assert History.of(claim(1)) == History()
