"""Who a request belongs to, who there is, and how much is remembered of them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from browsercrawl.config import SessionsConfig
from browsercrawl.request import ANONYMOUS, Request
from browsercrawl.sessions import roster as roster_module
from browsercrawl.sessions.roster import TOLD_MAX, Roster

SITE = "http://site.test"
LOGIN = {"recipe": {"kind": "form", "url": f"{SITE}/login", "steps": [{"fields": {"#p": "{password}"}}],
                    "success": {"selector": "#me"}}}  # fmt: skip


def roster(*, has_proxies: bool = False, **config: Any) -> Roster:
    """Make a roster."""
    return Roster(SessionsConfig.model_validate(config), has_proxies=has_proxies)


@pytest.mark.parametrize(
    ("config", "request_", "parent", "session"),
    [
        ({}, Request(url=f"{SITE}/a"), None, None),
        ({}, Request(url=f"{SITE}/a"), "ann", "ann"),
        ({}, Request(url=f"{SITE}/a", session="bob"), "ann", "bob"),
        ({"rules": [{"session": "r", "url": "*/a"}]}, Request(url=f"{SITE}/a"), "ann", "r"),
        ({"rules": [{"session": "r", "url": "*/b"}]}, Request(url=f"{SITE}/a"), "ann", "ann"),
        ({"rules": [{"session": "r", "key": "x*"}]}, Request(url=f"{SITE}/a", key="xy"), None, "r"),
        ({"rules": [{"session": "r", "url": "*/a", "key": "z"}]}, Request(url=f"{SITE}/a", key="xy"), None, None),
        ({"per_host": True}, Request(url=f"{SITE}:8080/a"), None, "host:site.test:8080"),
        ({"per_host": True}, Request(url="http://b.test:81/a"), "host:site.test:80", "host:b.test:81"),
        ({"per_host": True}, Request(url="http://b.test/a"), "ann", "ann"),
        ({"pool": 1}, Request(url=f"{SITE}/a"), "pool:7", "pool:0"),
    ],
)
def test_assigned_by_name_rule_parent_and_default(
    config: dict[str, Any], request_: Request, parent: str | None, session: str | None
) -> None:
    """A request's own name, then a rule, then its page, then what is configured for the rest."""
    assigned = roster(**config).assigned(request_, parent=parent)
    assert assigned.session == session
    assert (assigned.url, assigned.key) == (request_.url, request_.key)


def test_assigned_keeps_all_else_of_the_request() -> None:
    """Nothing but the session changes, and the id follows from that."""
    whole = Request(
        url=f"{SITE}/a?b=1#c", label="l", priority=3, data={"x": [1]}, keep_fragment=True, timeout_s=5, wait_for="#x"
    )
    assert whole.id  # looked at before: what is derived from the fields is not taken along
    assigned = roster(pool=1).assigned(whole)
    assert assigned == whole.model_copy(update={"session": "pool:0"})
    assert assigned.id == Request(**{**whole.model_dump(), "session": "pool:0"}).id != whole.id


def test_assigned_pool_is_the_same_every_time() -> None:
    """A run that is resumed gives a request to the same session; they spread."""
    pool = roster(pool=5)
    first = [pool.assigned(Request(url=f"{SITE}/{number}")).session for number in range(200)]
    assert first == [roster(pool=5).assigned(Request(url=f"{SITE}/{number}")).session for number in range(200)]
    assert {first.count(f"pool:{number}") > 20 for number in range(5)} == {True}


@pytest.mark.parametrize(
    ("url", "admits"),
    [
        (f"{SITE}/a", True),
        (f"{SITE}:8443/a", True),
        ("http://sub.site.test/", True),
        ("http://other.test/", False),
        ("http://evilsite.test/", False),
        ("http://site.test.evil.test/", False),
    ],
)
def test_admits_the_domains_of_the_login_or_those_named(url: str, admits: bool) -> None:
    """Without more, a session is bound to the host of its login form; who has no login may go anywhere."""
    bound = roster(profiles=[{"name": "ann", "account": "ann", "login": LOGIN}, {"name": "free"}])
    assert bound.admits(Request(url=url, session="ann")) is admits
    assert bound.admits(Request(url=url, session="free"))
    assert bound.admits(Request(url=url))


def test_of_anonymous_is_nobody_without_proxies() -> None:
    """Nothing is kept of requests without a session, unless their proxy may have to be replaced."""
    assert roster().of(ANONYMOUS) is None
    own = roster(has_proxies=True).of(ANONYMOUS)
    assert own is not None
    assert own.is_own


def test_of_an_unknown_name_is_a_session_without_login() -> None:
    """A request may name a session that has no profile: it has a state of its own, and no limit."""
    session = roster().of("somebody")
    assert session is not None
    assert (session.is_own, session.profile.login, session.claims_max) == (False, None, None)


def test_of_own_sessions_are_remembered_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those not used for longest go first."""
    monkeypatch.setattr(roster_module, "OWN_SESSIONS_MAX", 3)
    some = roster()
    first = some.of("host:1")
    for number in (2, 3, 1, 4):
        some.of(f"host:{number}")
    assert some.of("host:1") is first
    assert {session.name for session in some} == {"host:1", "host:3", "host:4"}


def test_of_a_paused_session_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its requests wait for it: were it forgotten, nobody would end the run that waits for them."""
    monkeypatch.setattr(roster_module, "OWN_SESSIONS_MAX", 2)
    some = roster()
    paused = some.of("host:0")
    assert paused is not None
    paused.pause("its proxies failed")
    for number in range(1, 6):
        some.of(f"host:{number}")
    assert [session.name for session in some.paused()] == ["host:0"]


def test_terms_limit_pages_and_keep_the_state() -> None:
    """A session with a login has one page at a time; all but the anonymous one are kept."""
    some = roster(profiles=[{"name": "ann", "account": "ann", "login": LOGIN}, {"name": "b", "context_visits_max": 9}])
    assert (some.terms("ann").pages_max, some.terms("ann").is_kept) == (1, True)
    assert (some.terms("b").pages_max, some.terms("b").context_visits_max) == (None, 9)
    assert some.terms("pool:1").is_kept
    assert not some.terms(ANONYMOUS).is_kept


def test_told_names_the_paused_first_and_not_all() -> None:
    """A status of thousands of sessions stays short, and what needs the user stands in front."""
    some = roster(profiles=[{"name": f"s{number}"} for number in range(TOLD_MAX + 50)])
    last = some.of(f"s{TOLD_MAX + 49}")
    assert last is not None
    last.pause("why")
    told = some.told(datetime(2026, 1, 1, tzinfo=UTC))
    assert len(told) == TOLD_MAX
    assert (told[0].session, told[0].phase, told[0].reason) == (last.name, "paused", "why")
