"""The state of a session: what belongs to it, what has expired, what changed; and it never shows a value.

Then what a user gives for it: state files and keys.
"""

import base64
import hashlib
import json
import subprocess
import sys
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from browsercrawl.errors import ConfigError, StateUnusable
from browsercrawl.sessions.state import Cookie, SavedOrigin, SessionState, is_within
from browsercrawl.sessions.vault import StateVault, parse_key, read_state_file

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PLANTED = "hunter2"
KEY = bytes(range(32))


def cookie(domain: str = "example.com", *, name: str = "sid", value: str = PLANTED, expires: float = -1) -> Cookie:
    """Return a cookie as Playwright gives it."""
    return {
        "name": name,
        "value": value,
        "domain": domain,
        "path": "/",
        "expires": expires,
        "httpOnly": True,
        "secure": True,
        "sameSite": "Lax",
    }


def state(*cookies: Cookie, origins: tuple[SavedOrigin, ...] = (), domains: tuple[str, ...] = ()) -> SessionState:
    """Return a state of session `shop`."""
    return SessionState(session="shop", domains=domains or ("example.com",), cookies=cookies, origins=origins)


def origin(name: str = "https://example.com", **entries: str) -> SavedOrigin:
    """Return an origin with some localStorage."""
    return SavedOrigin(origin=name, local_storage=entries)


def kept(cookie_domain: str, *domains: str) -> bool:
    """Tell whether a cookie belongs to a session of these domains."""
    return bool(state(cookie(cookie_domain)).restricted(domains).cookies)


@pytest.mark.parametrize(
    ("cookie_domain", "domain"),
    [
        ("example.com", "example.com"),
        (".example.com", "example.com"),
        ("app.example.com", "example.com"),
        (".app.example.com", "example.com"),
        (".example.com", "app.example.com"),
        (".example.com", "a.b.example.com"),
        (".Example.COM", "example.com"),
        (".example.com", ".Example.com"),
        ("xn--mnchen-3ya.de", "münchen.de"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "[::1]"),
        ("localhost", "localhost"),
        ("app.localhost", "localhost"),
    ],
)
def test_restricted_own_cookie_is_kept(cookie_domain: str, domain: str) -> None:
    """A cookie of the host, of one below it, or shared by a parent domain belongs to the session."""
    assert kept(cookie_domain, domain)


@pytest.mark.parametrize(
    ("cookie_domain", "domain"),
    [
        ("evilexample.com", "example.com"),
        (".evilexample.com", "example.com"),
        ("example.com.evil.net", "example.com"),
        ("example.com", "app.example.com"),  # without the dot it is sent to example.com only
        ("other.example.com", "app.example.com"),
        (".other.example.com", "app.example.com"),
        (".com", "example.com"),
        ("com", "example.com"),
        ("", "example.com"),
        (".", "example.com"),
        (".0.0.1", "127.0.0.1"),
        ("127.0.0.1", "0.0.0.1"),
        ("1.127.0.0.1", "127.0.0.1"),
        (".localhost", "app.localhost"),
        ("localhost", "127.0.0.1"),
    ],
)
def test_restricted_foreign_cookie_is_dropped(cookie_domain: str, domain: str) -> None:
    """A host that merely ends in the same characters, a neighbour and a bare suffix are foreign."""
    assert not kept(cookie_domain, domain)


_labels = st.from_regex(r"[a-z]{1,3}", fullmatch=True)
_hosts = st.lists(_labels, min_size=1, max_size=4).map(".".join)


@given(host=_hosts, domain=_hosts)
def test_is_within_any_names_agrees_with_their_labels(host: str, domain: str) -> None:
    """A host is within a domain exactly when the domain's labels are the last of the host's."""
    labels, last = host.split("."), domain.split(".")
    assert is_within(host, [domain]) == (labels[-len(last) :] == last)


@given(host=_hosts, prefix=_labels, below=_labels)
def test_restricted_any_host_knows_its_own_and_no_lookalike(host: str, prefix: str, below: str) -> None:
    """Whatever the host: itself and what is below it belong, what only ends in its characters does not."""
    assert kept(host, host)
    assert kept(f"{below}.{host}", host)
    assert not kept(f"{prefix}{host}", host)
    assert kept(f".{host}", f"{below}.{host}") == ("." in host)


def test_restricted_origins_belong_by_their_host() -> None:
    """Origins of the hosts stay, whatever scheme and port; those of others and of no web address go."""
    names = [
        "http://example.com:8080",
        "https://a.example.com",
        "https://evilexample.com",
        "chrome-extension://x",
        "null",
    ]
    found = state(origins=tuple(origin(name, k="v") for name in names)).restricted(["example.com"])
    assert [each.origin for each in found.origins] == names[:2]


@pytest.mark.parametrize("domain", ["", "a b", "https://example.com", "example.com:8080", "me@example.com", "a.com/x"])
def test_domain_no_host_name_is_refused(domain: str) -> None:
    """What is no plain host name is refused where it is given, not silently matched with nothing."""
    with pytest.raises(StateUnusable, match=r"domains.* must be host names"):
        state(domains=(domain,))
    with pytest.raises(StateUnusable, match="domains must be host names"):
        state().restricted([domain])


def test_domains_any_spelling_become_canonical() -> None:
    """Domains are kept as browsers write them."""
    assert state(domains=("Example.COM", ".münchen.de")).domains == ("example.com", "xn--mnchen-3ya.de")


def test_unexpired_drops_what_expired() -> None:
    """A cookie ends with its second; one of the browser's session never does by itself."""
    at = NOW.timestamp()
    cookies = [
        cookie(name="past", expires=at - 1),
        cookie(name="now", expires=at),
        cookie(name="later", expires=at + 1),
    ]
    stays = cookie(name="session")
    unset = {key: value for key, value in cookie(name="unset").items() if key != "expires"}
    assert [each["name"] for each in state(*cookies, stays, unset).unexpired(NOW).cookies] == [
        "later",
        "session",
        "unset",
    ]


@pytest.mark.parametrize(
    ("found", "dead"),
    [
        (state(), True),
        (state(cookie(expires=1)), True),
        (state(cookie(expires=1), origins=(origin(k="v"),)), True),
        (state(cookie(expires=1), cookie(name="b")), False),
        (state(cookie(expires=NOW.timestamp() + 1)), False),
        (state(origins=(origin(k="v"),)), False),
        (state(origins=(origin(),)), True),
    ],
)
def test_is_dead_tells_whether_anybody_can_be_logged_in(found: SessionState, dead: bool) -> None:
    """Dead is what has nothing, and what had cookies that are all expired."""
    assert found.is_dead(NOW) is dead


def test_last_expiry_is_of_the_cookie_that_lasts_longest() -> None:
    """The time at which the last cookie expires; none when no cookie does."""
    assert state(cookie(expires=-1)).last_expiry is None
    assert state(cookie(expires=-1), cookie(expires=7), cookie(expires=3)).last_expiry == datetime.fromtimestamp(7, UTC)


def test_changed_from_expiry_and_order_do_not_count() -> None:
    """Moved expiry times, flags, counters and the order of cookies are no change; the sites renew them at each page."""
    one, two = cookie(name="a"), cookie(name="b")
    first = state(one, two, origins=(origin(k="v"), origin("https://a.example.com", k="v")))
    second = state({**two, "expires": 99.5}, one, origins=first.origins[::-1]).model_copy(update={"revision": 9})
    assert not first.changed_from(second)


@pytest.mark.parametrize("key", ["name", "value", "domain", "path", "partitionKey"])
def test_changed_from_cookie_of_another_kind_is_a_change(key: str) -> None:
    """What a cookie is and where it is sent is its substance."""
    assert state(cookie()).changed_from(state({**cookie(), key: "/other"}))


def test_changed_from_storage_is_a_change() -> None:
    """So is any entry of localStorage, and what is in IndexedDB."""
    first = state(origins=(origin(k="v"),))
    assert first.changed_from(state(origins=(origin(k="w"),)))
    assert first.changed_from(state())
    databases = SavedOrigin(origin="https://example.com", local_storage={"k": "v"}, indexed_db=({"name": "db"},))
    assert first.changed_from(state(origins=(databases,)))


def test_with_cookies_takes_the_place_of_all() -> None:
    """The new cookies are the only ones, and later changes of what was given do not come through."""
    given_cookie: dict[str, Any] = cookie(name="new")
    found = state(cookie(name="old")).with_cookies([given_cookie])
    given_cookie["value"] = "changed"
    assert [(each["name"], each["value"]) for each in found.cookies] == [("new", PLANTED)]


def test_with_origin_keeps_databases_and_neighbours() -> None:
    """One origin's localStorage is replaced; its IndexedDB and the other origins stay as they are."""
    databases = SavedOrigin(origin="https://example.com", local_storage={"old": "1"}, indexed_db=({"name": "db"},))
    other = origin("https://a.example.com", k="v")
    found = state(origins=(databases, other)).with_origin("https://example.com", {"new": "2"})
    assert found.origins == (databases.model_copy(update={"local_storage": {"new": "2"}}), other)
    assert found.with_origin("https://b.example.com", {"x": "y"}).origins[2] == origin("https://b.example.com", x="y")
    assert found.with_origin("https://a.example.com", {}).origins == found.origins[:1]


def test_as_storage_state_is_the_form_playwright_takes() -> None:
    """The localStorage is a list of names and values, and there is no key `indexedDB` without a database."""
    databases = SavedOrigin(origin="https://a.example.com", indexed_db=({"name": "db", "stores": []},))
    assert state(cookie(), origins=(origin(k="v"), databases)).as_storage_state() == {
        "cookies": [cookie()],
        "origins": [
            {"origin": "https://example.com", "localStorage": [{"name": "k", "value": "v"}]},
            {"origin": "https://a.example.com", "localStorage": [], "indexedDB": [{"name": "db", "stores": []}]},
        ],
    }


_text = st.text(st.characters(), max_size=8)  # with lone surrogates, as JavaScript's strings have them
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=6,
)
_cookies = st.builds(
    lambda name, value, expires, extra: {**extra, **cookie(name=name, value=value, expires=expires)},
    _text,
    _text,
    st.just(-1) | st.floats(0, 4e9),
    st.fixed_dictionaries({}, optional={"partitionKey": _text, "_crHasCrossSiteAncestor": st.booleans()}),
)
_origins = st.builds(
    SavedOrigin,
    origin=st.sampled_from(["https://example.com", "http://localhost:8080", "https://a.example.com"]),
    local_storage=st.dictionaries(_text, _text, max_size=3),
    indexed_db=st.lists(_json, max_size=2).map(tuple),
)


@given(
    cookies=st.lists(_cookies, max_size=3), origins=st.lists(_origins, max_size=3, unique_by=lambda each: each.origin)
)
def test_storage_state_round_trip_is_the_same(cookies: list[Cookie], origins: list[SavedOrigin]) -> None:
    """What Playwright gives comes back as it was, through JSON too, with what later versions add to a cookie."""
    first = state(*cookies, origins=tuple(origins))
    storage = json.loads(json.dumps(first.as_storage_state()))
    assert SessionState.from_storage_state(storage, session="shop", domains=["example.com"]) == first


def test_from_storage_state_other_keys_are_left_out() -> None:
    """Passkeys and private files, saved by Playwright on demand, are no part of a state."""
    stored = {"origin": "https://example.com", "localStorage": [{"name": "k", "value": "v"}], "opfs": [{"path": "x"}]}
    storage = {"origins": [stored], "credentials": [{"id": PLANTED}]}
    found = SessionState.from_storage_state(storage, session="shop", domains=["example.com"], account="me")
    assert (found.origins, found.cookies, found.account) == ((origin(k="v"),), (), "me")


@pytest.mark.parametrize(
    "storage",
    [
        {},
        {"session": PLANTED},
        {"cookies": PLANTED},
        {"cookies": [PLANTED]},
        {"cookies": None},
        {"cookies": [{"name": PLANTED}]},
        *(
            {"cookies": [{**cookie(), key: wrong}]}
            for key, wrong in [
                ("value", 5),
                ("domain", None),
                ("path", [PLANTED]),
                ("expires", PLANTED),
                ("expires", True),
                ("expires", -5),
                ("expires", float("nan")),
                ("expires", float("inf")),
                ("expires", 10**400),
                ("sameSite", [PLANTED]),
                ("sameSite", "no_restriction"),
                ("partitionKey", {"topLevelSite": PLANTED}),
            ]
        ),
        {"origins": [{"origin": "https://example.com", "localStorage": {PLANTED: PLANTED}}]},
        {"origins": [{"origin": "https://example.com", "localStorage": [{"name": PLANTED, "value": 1}]}]},
        {"origins": [{"localStorage": []}]},
        {"origins": [{"origin": "https://example.com", "localStorage": []}] * 2},
    ],
)
def test_from_storage_state_wrong_form_is_told_without_values(storage: dict[str, Any]) -> None:
    """What Playwright would choke on is refused in one sentence that repeats nothing of it."""
    with pytest.raises(StateUnusable, match=r"^not a session state: ") as caught:
        SessionState.from_storage_state(storage, session="shop", domains=["example.com"])
    assert PLANTED not in "".join(traceback.format_exception(caught.value))


def test_state_repr_and_str_show_no_value() -> None:
    """Neither repr nor str nor the message of a mistake has a value of a cookie or of storage."""
    databases = SavedOrigin(origin="https://example.com", local_storage={"k": PLANTED}, indexed_db=({"v": PLANTED},))
    found = state(cookie(), origins=(databases,))
    for text in (repr(found), str(found), f"{found!r:.999}", repr(found.origins), str(databases)):
        assert PLANTED not in text
    assert "shop" in repr(found)
    assert "https://example.com" in repr(found)
    with pytest.raises(StateUnusable) as caught:
        SessionState(session="shop", domains=(), epoch=-1, cookies=({"value": PLANTED},))
    assert PLANTED not in "".join(traceback.format_exception(caught.value))


def test_state_naive_time_is_refused() -> None:
    """A time without a zone would mean another moment on another machine."""
    with pytest.raises(StateUnusable, match="saved_at"):
        SessionState(session="shop", domains=(), saved_at=NOW.replace(tzinfo=None))
    later = NOW + timedelta(days=1)
    assert SessionState(session="shop", domains=(), saved_at=later).saved_at == later


# --- keys and files that a user gives ---------------------------------------------------------------------------------


def test_parse_key_what_the_message_tells_to_type_is_a_key() -> None:
    """The command in the message makes a key that is accepted, with the newline it prints."""
    with pytest.raises(ConfigError) as caught:
        parse_key("")
    program = str(caught.value).partition('python -c "')[2].rstrip('"')
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert len(printed.stdout) == 45
    assert parse_key(printed.stdout) == base64.urlsafe_b64decode(printed.stdout)


@given(st.binary(min_size=32, max_size=32))
def test_parse_key_any_key_comes_back(key: bytes) -> None:
    """Each 32 bytes have a text that is read as them."""
    assert parse_key(base64.urlsafe_b64encode(key).decode()) == parse_key(base64.b64encode(key).decode()) == key


@pytest.mark.parametrize(
    "text",
    [PLANTED, base64.urlsafe_b64encode(bytes(31)).decode(), "ä" * 44, "A" * 43, "*" * 44, "A" * 44],
)
def test_parse_key_wrong_text_is_not_repeated(text: str) -> None:
    """The message tells how to make a key; what was given may be one with a slip, and is not in it."""
    with pytest.raises(ConfigError, match="make one by: python -c") as caught:
        parse_key(text)
    assert text not in "".join(traceback.format_exception(caught.value))


def storage_file(path: Path, *cookies: tuple[str, float], origins: tuple[str, ...] = ()) -> Path:
    """Write what Playwright's `storage_state(path=...)` writes."""
    entry = {"name": "k", "value": PLANTED}
    storage = {
        "cookies": [
            {"name": "sid", "value": PLANTED, "domain": domain, "path": "/", "expires": expires, "sameSite": "Lax"}
            for domain, expires in cookies
        ],
        "origins": [{"origin": origin, "localStorage": [entry]} for origin in origins],
    }
    path.write_text(json.dumps(storage, indent=2))
    path.chmod(0o600)
    return path


def read(path: Path, *domains: str, key: bytes | None = None) -> SessionState:
    """Read a state file for session `mine`."""
    return read_state_file(path, session="mine", domains=domains or ("example.com",), key=key, now=NOW)


def test_read_state_file_of_playwright_is_restricted(tmp_path: Path) -> None:
    """Of Playwright's file only what belongs to the session and has not expired is taken."""
    path = tmp_path / "state.json"
    cookies = [("app.example.com", -1.0), (".example.com", 5.0), ("tracker.test", -1.0)]
    storage_file(path, *cookies, origins=("https://example.com", "https://tracker.test"))
    found = read(path)
    assert (found.session, found.domains, found.epoch, found.revision) == ("mine", ("example.com",), 0, 0)
    assert found.hosts == ("app.example.com", "example.com")
    assert [cookie["domain"] for cookie in found.cookies] == ["app.example.com"]
    assert found.logged_in_at is None


@pytest.mark.parametrize("key", [None, KEY])
def test_read_state_file_of_a_vault_becomes_the_session(tmp_path: Path, key: bytes | None) -> None:
    """A vault's file is taken for whatever session the user names it for, with its version."""
    saved = state(cookie(".example.com"), origins=(origin(k="v"),)).model_copy(
        update={"epoch": 3, "revision": 4, "account": "me@example.com", "logged_in_at": NOW}
    )
    vault = StateVault(tmp_path, key=key)
    vault.save(saved)
    path = vault.path_of("shop")
    assert path is not None
    found = read(path, "app.example.com", key=key)
    assert (found.session, found.domains, found.epoch, found.revision) == ("mine", ("app.example.com",), 3, 4)
    assert (found.cookies, found.origins) == (saved.cookies, ())
    assert (found.account, found.logged_in_at) == ("me@example.com", NOW)


def test_read_state_file_of_other_domains_names_them(tmp_path: Path) -> None:
    """A file of other hosts is refused with some of the hosts it is of, and those expected."""
    path = storage_file(tmp_path / "state.json", *((f"host{number}.test", -1.0) for number in range(9)))
    with pytest.raises(StateUnusable) as caught:
        read(path)
    assert f"{path} has nothing for example.com: what it has is for host0.test, host1.test" in str(caught.value)
    assert "host4.test and 4 more" in str(caught.value)
    with pytest.raises(StateUnusable, match="what it has is for no host"):
        read(storage_file(path))


def test_read_state_file_expired_says_when(tmp_path: Path) -> None:
    """A login that is over is told with its time and what to do."""
    path = storage_file(tmp_path / "state.json", ("example.com", 0.0), ("example.com", 86400.0), ("other.test", -1.0))
    with pytest.raises(StateUnusable, match="expired at 1970-01-02 00:00:00 UTC; log in anew"):
        read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        (b"", "is damaged: it is no JSON object"),
        (b"{}", "is not a session state: there are neither cookies nor origins"),
        (b'{"cookies": [{"name": "hunter2"}]}', "is not a session state: cookies: each must have a value"),
        (b'{"cookies": "hunter2"}', "is not a session state: cookies"),
    ],
)
def test_read_state_file_unusable_is_told_with_its_name(tmp_path: Path, content: bytes | None, message: str) -> None:
    """A file that is none of both is told by its path, without what is in it, and left as it is."""
    path = tmp_path / "state.json"
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)
    with pytest.raises(StateUnusable, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path} ")
    assert PLANTED not in "".join(traceback.format_exception(caught.value))
    assert content is None or path.read_bytes() == content


@pytest.mark.parametrize("wrong", [{"account": 5}, {"logged_in_at": PLANTED}, {"cookies": [{"name": PLANTED}]}])
def test_read_state_file_of_ours_with_a_wrong_body_is_told(tmp_path: Path, wrong: dict[str, Any]) -> None:
    """Also a file whose hash is right, so written by no damage, is checked before it is used."""
    vault = StateVault(tmp_path, key=None)
    vault.save(state(cookie()))
    path = vault.path_of("shop")
    assert path is not None
    document = json.loads(path.read_text())
    document["body"].update(wrong)
    del document["sha256"]
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    path.write_text(json.dumps(document | {"sha256": hashlib.sha256(canonical.encode()).hexdigest()}))
    with pytest.raises(StateUnusable, match=f"json is not a session state: {next(iter(wrong))}") as caught:
        vault.load("shop")
    assert PLANTED not in "".join(traceback.format_exception(caught.value))


def test_read_state_file_readable_by_others_is_refused(tmp_path: Path) -> None:
    """Playwright leaves its file readable for all; the message has the command that mends it, quoted for a shell."""
    path = storage_file(tmp_path / "my state.json", ("example.com", -1.0))
    path.chmod(0o644)
    with pytest.raises(StateUnusable, match="mode 644") as caught:
        read(path)
    subprocess.run(str(caught.value).partition("type: ")[2], shell=True, check=True, timeout=60)
    assert read(path).hosts == ("example.com",)
