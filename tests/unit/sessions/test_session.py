"""The life of one session: its phases, how many claims it has room for, and what pauses it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from browsercrawl.config import SessionProfile
from browsercrawl.errors import InternalError
from browsercrawl.sessions.session import LOGINS_IN_VAIN_MAX, Phase, Session
from browsercrawl.sessions.state import SessionState

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def member(**profile: Any) -> Session:
    """Return a session with a login."""
    return Session(
        SessionProfile.model_validate({"name": "ann", "account": "ann", "login": {}, **profile}), is_own=False
    )


def logged_in(**profile: Any) -> Session:
    """Return one that is logged in."""
    session = member(**profile)
    session.begin_login()
    session.logged_in(NOW)
    return session


def test_session_without_login_is_in_from_the_beginning() -> None:
    """It has no limit of pages, and cannot expire."""
    session = Session(SessionProfile(name="bob"), is_own=False)
    assert (session.phase, session.claims_max) == (Phase.IN, None)
    assert not session.expired()
    assert session.phase is Phase.IN


def test_claims_max_follows_the_phase() -> None:
    """One claim until it is logged in, then as many as it may have pages; none while it is held or paused."""
    session = member(max_pages=3)
    assert session.claims_max == 1
    session.begin_login()
    assert session.claims_max == 1
    session.logged_in(NOW)
    assert session.claims_max == 3
    session.reopens_at = 5.0
    assert session.claims_max == 0
    session.reopens_at = None
    session.expired()
    assert session.claims_max == 1
    session.pause("why")
    assert session.claims_max == 0


def test_claims_max_default_with_login_is_one() -> None:
    """A login without more is used by one page at a time."""
    assert logged_in().claims_max == 1


def test_expired_twice_is_news_once() -> None:
    """Pages of one login that all show its end say one thing."""
    session = logged_in()
    assert session.expired()
    assert not session.expired()
    assert session.epoch == 1


@pytest.mark.parametrize("accepted", [True, False])
def test_expired_counts_logins_in_vain(accepted: bool) -> None:
    """Only logins after which no page was accepted are in vain, and only in a row."""
    session = logged_in()
    for _ in range(LOGINS_IN_VAIN_MAX):
        if accepted:
            session.visited(succeeded=True)
        session.expired()
        session.begin_login()
        session.logged_in(NOW)
    assert session.logins_in_vain == (0 if accepted else LOGINS_IN_VAIN_MAX)


def test_expired_restored_state_is_no_login_in_vain() -> None:
    """A saved login that no longer holds is not one that was made now."""
    session = member()
    session.restored(SessionState(session="ann", domains=("site.test",), epoch=4))
    assert (session.phase, session.epoch) == (Phase.IN, 4)
    assert session.expired()
    assert session.logins_in_vain == 0


def test_visited_failure_is_not_accepted() -> None:
    """A visit that failed proves nothing about the login."""
    session = logged_in()
    session.visited(succeeded=False)
    assert (session.accepted, session.health.pages, session.health.failures) == (0, 0, 1)


def test_login_interrupted_leaves_nothing_behind() -> None:
    """A login that was cut short was none; one that had worked by then counts."""
    session = member()
    session.begin_login()
    session.login_interrupted()
    assert (session.phase, session.failed_tries, session.epoch) == (Phase.OUT, 0, 0)
    done = logged_in()
    done.login_interrupted()
    assert (done.phase, done.epoch) == (Phase.IN, 1)


def test_begin_login_twice_is_a_bug() -> None:
    """The table of moves allows one login at a time."""
    session = member()
    session.begin_login()
    with pytest.raises(InternalError, match="ann"):
        session.begin_login()


@pytest.mark.parametrize("ends", ["logged_in", "login_failed"])
def test_pause_during_a_login_stays(ends: str) -> None:
    """A session that was paused while it was being logged in stays paused, however that login ends."""
    session = member()
    session.begin_login()
    assert session.pause("its proxies failed")
    if ends == "logged_in":
        session.logged_in(NOW)
    else:
        session.login_failed()
    assert session.phase is Phase.PAUSED
    assert session.claims_max == 0


def test_unpause_starts_with_a_clean_slate() -> None:
    """Another run has all its tries; health is counted on."""
    session = member()
    session.begin_login()
    session.login_failed()
    session.pause("why")
    assert not session.pause("again")
    session.unpause()
    assert (session.phase, session.failed_tries, session.reason, session.reopens_at) == (Phase.OUT, 0, None, None)
    free = Session(SessionProfile(name="bob"), is_own=False)
    free.pause("why")
    free.unpause()
    assert free.phase is Phase.IN


def test_told_shows_health_and_no_state() -> None:
    """What is told has the counts and the age of the state, and none of its values."""
    session = logged_in()
    session.state = SessionState(
        session="ann",
        domains=("site.test",),
        cookies=({"name": "sid", "value": "planted", "domain": "site.test", "path": "/", "expires": -1,
                  "httpOnly": True, "secure": False, "sameSite": "Lax"},),
        saved_at=NOW,
    )  # fmt: skip
    session.visited(succeeded=True)
    told = session.told(NOW.replace(second=30))
    assert (told.session, told.phase, told.pages, told.logins, told.state_age_s) == ("ann", "in", 1, 1, 30.0)
    assert "planted" not in repr(told)
