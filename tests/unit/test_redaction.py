"""Redaction: a planted secret never survives, wherever it stands, and what is no secret does."""

import json
import re
import string
import time
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from browsercrawl.redaction import (
    ITEMS_MAX,
    LENGTH_MAX,
    is_secret_name,
    neutralise,
    redact_text,
    redact_url,
    redact_value,
    safe_text,
    shorten,
)

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A loaded machine is no failure."""

SECRET_NAMES = [
    "token", "access_token", "id_token", "refresh_token", "csrf-token", "X-Amz-Security-Token", "password", "passwd",
    "pwd", "user_password", "newPassword", "secret", "client_secret", "api_key", "apikey", "API-Key", "X-Api-Key",
    "auth", "X-Shop-Auth", "authorization", "sessionid", "session_id", "PHPSESSID", "JSESSIONID", "sid", "signature",
    "sig", "X-Goog-Signature", "X-Amz-Credential", "jwt", "AWSAccessKeyId", "oauth_verifier", "otp", "pin", "cookie",
    "userPin",
]  # fmt: skip
URL_NAMES = [*SECRET_NAMES, "key", "code", "session", "ticket", "%74oken", "to%6Ben", "a%5Btoken%5D", "%2574oken"]

secrets = st.text(string.ascii_letters + string.digits + "-._~+*", min_size=8, max_size=24).map(lambda s: f"S3kr3t{s}")
wild_secrets = st.text(min_size=8, max_size=24).map(lambda s: f"S3kr3t{s}")
words = st.text(string.ascii_lowercase, min_size=1, max_size=8).filter(
    lambda word: not is_secret_name(word, in_url=True)
)


@st.composite
def urls_with_secret(draw: st.DrawFn) -> tuple[str, str]:
    """Give a URL with a secret planted in one of the places where secrets stand, and the secret."""
    secret = draw(secrets)
    name = draw(st.sampled_from(URL_NAMES))
    other = "&".join(f"{key}={value}" for key, value in draw(st.lists(st.tuples(words, words), max_size=3)))
    host, path = draw(words) + ".example", "/".join(draw(st.lists(words, max_size=3)))
    pair = f"{name}={secret}"
    query = draw(st.permutations([part for part in (other, pair) if part]))
    url = draw(
        st.sampled_from(
            [
                f"https://{host}/{path}?{'&'.join(query)}",
                f"https://{host}/{path}#{'&'.join(query)}",
                f"https://{host}/{path}?{other}#/route?{pair}",
                f"https://{host}/{path};{pair}?{other}",
                f"https://{host}/{path}/{pair}/more",
                f"https://me:{secret}@{host}/{path}?{other}",
                f"https://{secret}@{host}:8080/{path}",
                f"https://{secret}:@{host}",
                f"https://me:a/{secret}@{host}/{path}",
                f"https://me:a#{secret}@{host}/{path}",
                f"https:\\\\me:{secret}@{host}\\{path}",
                f"//me:{secret}@{host}/{path}",
                f"/{path}?{pair}",
                f"HTTPS://Me:{secret}@[::1]:80/",
                f"socks5://me:{secret}@{host}:1080",
            ]
        )
    )
    for _ in range(draw(st.integers(0, 3))):
        wrap = draw(
            st.sampled_from(["https://x.example/login?next={}&page=2", "https://x.example/#/go?to={}", "/a?u={}"])
        )
        url = wrap.format(quote(url, safe=""))
    return url, secret


@unhurried
@given(urls_with_secret())
def test_redact_url_planted_secret_never_survives(planted: tuple[str, str]) -> None:
    """A secret in user info, path, query or fragment is gone, also of a URL inside a URL, encoded up to three times."""
    url, secret = planted
    assert secret not in redact_url(url)


@unhurried
@given(urls_with_secret(), words, words, st.sampled_from(["{}", '"{}"', "'{}'", "({})", "<{}>", "url={}", "{},"]))
def test_redact_text_url_inside_loses_its_secret(planted: tuple[str, str], before: str, after: str, form: str) -> None:
    """A URL within a message is redacted as if it stood alone, whatever brackets or quotes it stands in."""
    url, secret = planted
    assert secret not in redact_text(f"{before} {form.format(url)} {after}")


@unhurried
@given(wild_secrets, st.sampled_from(SECRET_NAMES))
def test_redact_url_any_characters_in_value_are_lost(secret: str, name: str) -> None:
    """A secret value runs to the next `&` or `#`, whatever stands in it."""
    assume(not re.search("[&#]", secret))
    assert redact_url(f"https://a.example/?x=1&{name}={secret}&y=2") == f"https://a.example/?x=1&{name}=[redacted]&y=2"


@unhurried
@given(secrets, st.sampled_from(SECRET_NAMES), words)
def test_redact_text_named_value_never_survives(secret: str, name: str, word: str) -> None:
    """`name=value`, `name: value` and JSON lose the value of a secret name."""
    for text in (
        f"{word} {name}={secret} {word}",
        f"{word} {name}: {secret}, {word}",
        f'{word} {name}="{word} {secret}" {word}',
        f'{{"{word}": 1, "{name}": "{secret} {word}", "a": 2}}',
        f"{{'{name}':'{secret}'}}",
        f"({name}={secret})",
        f"{word}?{name}={secret}&{word}=1",
    ):
        assert secret not in redact_text(text), text


@unhurried
@given(
    secrets,
    st.sampled_from(["Authorization", "authorization", "Proxy-Authorization", "Cookie", "cookie", "Set-Cookie"]),
    st.sampled_from(
        ["{h}: Basic {s}", "{h}: a=1; b={s}; Path=/", "{h}={s} x", '"{h}": "k={s}; z"', "x: 1\r\n{h}:{s}\r\n"]
    ),
)
def test_redact_text_header_line_never_survives(secret: str, header: str, form: str) -> None:
    """All that follows an authorization or cookie header is gone, to the end of its line."""
    assert secret not in redact_text(form.format(h=header, s=secret))


@unhurried
@given(secrets)
def test_redact_text_credentials_without_name_never_survive(secret: str) -> None:
    """User info without scheme, bearer tokens and JSON Web Tokens are known by their form."""
    for text in (f"proxy me:{secret}@proxy.example:8080 refused", f"sent bearer {secret}", f"Bearer {secret}, again"):
        assert secret not in redact_text(text)
    secret = re.sub("[^A-Za-z0-9_-]", "x", secret)
    jwt = f"eyJhbGciOi.eyJ{secret}.{secret}"
    for text in (f"got {jwt}", f'["{jwt}"]', f"https://a.example/verify/{jwt}", f"https://a.example/?v={jwt}#x"):
        assert secret not in redact_text(text)
        assert secret not in redact_url(text)


@unhurried
@given(st.one_of(urls_with_secret().map(lambda planted: planted[0]), st.text()))
def test_redact_applied_twice_changes_nothing_more(text: str) -> None:
    """Redaction of what was redacted is the same text, so that writing through two layers does no harm."""
    once = redact_text(text)
    assert redact_text(once) == once


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/",
        "https://example.com/a/b.html?page=2&sort=price&q=a%20b#top",
        "https://medium.com/@joe/a-title",
        "https://unpkg.com/react@18/umd/react.js",
        "http://[::1]:8080/x?time=12:30&mail=bob@example.com",
        "https://example.com/?q=%2540&e=100%25&z=YWJj==&author=me&spinner=1&monkey=2",
    ],
)
def test_redact_url_without_secret_stays(url: str) -> None:
    """A URL that holds no secret is not touched."""
    assert redact_url(url) == url


@pytest.mark.parametrize(
    "text",
    [
        "net::ERR_CONNECTION_RESET at https://example.com/a?page=2",
        "exited with code=7, exit code: 9, key: value, session: alice",
        "wrote to bob@example.com at 12:30",
        "no element matches 'a.next > b:nth-child(2)' after 5 s",
    ],
)
def test_redact_text_without_secret_stays(text: str) -> None:
    """Ordinary messages are not touched."""
    assert redact_text(text) == text


@unhurried
@given(secrets, st.sampled_from(SECRET_NAMES), st.integers(0, 6))
def test_redact_value_nested_secret_never_survives(secret: str, name: str, depth: int) -> None:
    """A value under a secret name, or with a secret in its text, is gone at any depth; numbers and lists too."""
    value: object = {
        name: [secret, 1234],
        "n": {name: {"x": secret}},
        "list": [f"{name}={secret}"],
        "proxy": f"http://me:{secret}@p.example",
        f"https://me:{secret}@k.example": None,
    }
    for _ in range(depth):
        value = {"in": [value]}
    written = json.dumps(redact_value(value))
    assert secret not in written
    assert "1234" not in written


def test_redact_value_is_always_json() -> None:
    """What comes out can be written as strict JSON: no NaN, no lone surrogate, no object, all bounded."""
    deep: object = "x"
    for _ in range(100):
        deep = [deep]
    value = {
        "nan": float("nan"),
        "half": "\ud800",
        "object": object(),
        "deep": deep,
        "many": list(range(1000)),
        5: b"x",
    }
    written = json.dumps(redact_value(value), allow_nan=False, ensure_ascii=False)
    assert written.encode()
    many = json.loads(written)["many"]
    assert len(many) == ITEMS_MAX + 1
    assert many[-1] == "… 800 more"


@unhurried
@given(st.text())
def test_neutralise_leaves_nothing_that_steers_a_terminal(text: str) -> None:
    """No control character, line break, direction mark or lone surrogate is left; what is printable stays."""
    safe = neutralise(text)
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]", safe)
    assert not text.isprintable() or safe == text


@unhurried
@given(st.text(max_size=50), st.integers(20, 40))
def test_shorten_cuts_with_a_mark(text: str, length_max: int) -> None:
    """A text that fits stays; a longer one fits afterwards and says that something is missing."""
    short = shorten(text, length_max=length_max)
    assert len(short) <= length_max
    assert short == text or " more]" in short


@pytest.mark.parametrize(
    "piece",
    ["a", "a:", 'a="', "//", "%25", "/x=//", "eyJ", "eyJaaaaaaa.", "@", ":@", "cookie ", "&a=%3Fb", "bearer ", "a='\\"],
)
def test_redact_hostile_text_takes_linear_time(piece: str) -> None:
    """A page cannot hold the crawler up with a text: a megabyte of any repeated piece takes well under a second."""
    text = piece * (1_000_000 // len(piece))
    started = time.process_time()
    assert len(safe_text(text)) <= LENGTH_MAX
    redact_url(text)
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize(
    "text",
    [
        "https://a.test/cb#access_token=geheim&state=1", "https://a.test/#/route?id_token=geheim",
        "https://a.test/saml?SAMLResponse=geheim", "https://a.test/?X-Amz-Signature=geheim&X-Amz-Date=1",
        "https://a.test/?pw=geheim", "https://a.test/?user_pw=geheim", "https://a.test/?access-code=geheim",
        "https://a.test/?code_verifier=geheim", "https://a.test/?hmac=geheim", "https://a.test/?totp=geheim",
        "https://a.test/?next=https%3A%2F%2Fme%3Ageheim%40b.test%2F", "//me:geheim@a.test/", "me:geheim@a.test",
        "https://a.test/;jsessionid=geheim?x=1", "wss://a.test/?Ocp-Apim-Subscription-Key=geheim",
        "Set-Cookie: sid=geheim; Path=/", "set-cookie:geheim", "{'Authorization': 'Basic geheim'}",
        "Proxy-Authorization: Digest geheim, geheim",
    ],
)  # fmt: skip
def test_redact_text_and_url_known_places_of_secrets(text: str) -> None:
    """Where sites and protocols put secrets, nothing of them is left, alone and within a message."""
    assert "geheim" not in redact_text(f"GET {text} failed")
    assert "geheim" not in safe_text(text)
    if "://" in text:
        assert "geheim" not in redact_url(text)


def test_neutralise_leaves_nothing_invisible_and_what_people_write() -> None:
    """Characters that turn, hide or tag text are escaped; letters, joiners and emoji stay."""
    for sign in "\x00\x1b\x7f\x9b\u061c\u200b\u200e\u202e\u2028\u2060\u2069\ufeff\ufff9\U000e0041":
        assert neutralise(f"a{sign}b").isascii()
    kept = "Zo\u00eb \u4e2d\u6587 \u05e2\u05d1 \u0645\u06cc\u200c\u062e \U0001f469\u200d\U0001f4bb \u00bd"
    assert neutralise(kept) == kept
