"""URLs: what is one, when two are the same, and what of them may be shown."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from browsercrawl.errors import InvalidURL
from browsercrawl.urls import URL_LENGTH_MAX, address, is_loopback, shown

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("url", "canonical", "host"),
    [
        ("http://Example.COM", "http://example.com/", "example.com:80"),
        ("https://example.com:443/a/./b/../c", "https://example.com/a/c", "example.com:443"),
        ("http://example.com:8080/?b=2&a=1#frag", "http://example.com:8080/?b=2&a=1", "example.com:8080"),
        ("http://example.com/#", "http://example.com/", "example.com:80"),
        ("http://b\u00fccher.example/\u00e4", "http://xn--bcher-kva.example/%C3%A4", "xn--bcher-kva.example:80"),
        ("http://[::1]/", "http://[::1]/", "[::1]:80"),
        ("http://0x7f.1/", "http://127.0.0.1/", "127.0.0.1:80"),
        ("  http://example.com/\n", "http://example.com/", "example.com:80"),
        ("https:\\\\example.com\\a", "https://example.com/a", "example.com:443"),
    ],
)
def test_address_is_what_a_browser_makes_of_it(url: str, canonical: str, host: str) -> None:
    """Case, default ports, dots, fragments and encodings make no difference."""
    assert address(url)[:2] == (canonical, host)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "/path",
        "http://",
        "http:///",
        "http://a b/",
        "http://x:99999/",
        "file:///etc/passwd",
        "chrome://gpu",
        "javascript:1",
        "data:,x",
        "about:blank",
        "mailto:a@b.c",
        "http://x/\ud800",
        "http://x/" + "a" * URL_LENGTH_MAX,
    ],
)
def test_address_of_no_web_url_is_refused(url: str) -> None:
    """Only absolute http and https URLs, of a sane length."""
    with pytest.raises(InvalidURL):
        address(url)


@given(st.text())
def test_address_of_any_text_is_an_address_or_invalid(text: str) -> None:
    """Nothing else is raised, and what is canonical stays so."""
    try:
        found = address(text)
    except InvalidURL:
        return
    assert address(found.canonical) == found


@pytest.mark.parametrize(
    "url",
    [
        f"https://user:{SECRET}@example.com/a",
        f"https://{SECRET}@example.com/a",
        f"https://user:{SECRET}/x@example.com/a",
        f"user:{SECRET}@example.com/a",
        f"ftp://user:{SECRET}@example.com/a",
        f"//user:{SECRET}@example.com/a",
        f"https:/user:{SECRET}@example.com/a",
        f"https://user:{SECRET}@example.com:bad/a",
        f"https://example.com/?token={SECRET}",
        f"https://example.com/#token={SECRET}",
        f"nonsense?key={SECRET}",
    ],
)
def test_shown_has_no_secret(url: str) -> None:
    """User names, passwords, queries and fragments are not shown, however malformed the URL is."""
    assert SECRET not in shown(url)
    with suppress(InvalidURL):
        assert SECRET not in shown(address(url).canonical)
    with pytest.raises(InvalidURL) as raised:
        address(f"{url}{'a' * URL_LENGTH_MAX}")
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://example.com/@me/x", "https://example.com/@me/x"),
        ("https://example.com:81/a?b", "https://example.com:81/a?…"),
        ("http://x/" + "a" * 500, "http://x/" + "a" * 190 + "…"),
        ("", ""),
    ],
)
def test_shown_keeps_what_tells_a_page(url: str, text: str) -> None:
    """Host and path stay, up to 200 characters."""
    assert shown(url) == text


@pytest.mark.parametrize(
    ("hostname", "loopback"),
    [
        ("localhost", True),
        ("a.localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("[::1]", True),
        ("127.0.0.1.example.com", False),
        ("127.example.com", False),
        ("localhost.example.com", False),
        ("10.0.0.1", False),
    ],
)
def test_is_loopback_tells_this_machine_only(hostname: str, loopback: bool) -> None:
    """A name that merely begins like a loopback address belongs to a stranger."""
    assert is_loopback(hostname) is loopback
