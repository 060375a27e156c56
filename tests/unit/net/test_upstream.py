"""Reading the URL of a proxy."""

import base64

import pytest

from browsercrawl.net import Upstream


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://me:pw@proxy.example:8080", Upstream("proxy.example", 8080, False, "me", "pw")),
        ("http://me:pw@proxy.example", Upstream("proxy.example", 80, False, "me", "pw")),
        ("https://me:pw@proxy.example/", Upstream("proxy.example", 443, True, "me", "pw")),
        ("http://[::1]:3128", Upstream("::1", 3128)),
        ("http://m%40e:p%3A%2F%20%C3%A9@h:1", Upstream("h", 1, False, "m@e", "p:/ é")),
        ("http://me@h:1", Upstream("h", 1, False, "me", "")),
    ],
)
def test_upstream_parse_url_of_a_proxy_is_taken_apart(url: str, expected: Upstream) -> None:
    """Ports have the scheme's default; user name and password are decoded."""
    assert Upstream.parse(url) == expected


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("socks5://planted:planted@h:1080", "SOCKS"),
        ("ftp://planted:planted@h", "http or https"),
        ("planted:planted@h:80", "http or https"),
        ("http://planted:planted@h:0", "http or https"),
        ("http://planted:planted@h:99999", "http or https"),
        ("http://planted:planted@", "http or https"),
        ("http://planted:pl/anted@h:80", "http or https"),
        ("http://planted:planted@h:80/planted", "ends with its port"),
        ("http://planted:planted@h:80/?planted", "ends with its port"),
        ("http://plant%3Aed:planted@h:80", "colon"),
    ],
)
def test_upstream_parse_what_is_no_proxy_is_refused_without_secret(url: str, why: str) -> None:
    """The message says why, and repeats nothing of the URL; nor does the chain of causes."""
    with pytest.raises(ValueError, match=why) as caught:
        Upstream.parse(url)
    assert "plant" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert "plant" not in str(caught.value.__context__)


def test_upstream_repr_has_no_secret() -> None:
    """Neither user name nor password stands in what a log might show."""
    upstream = Upstream.parse("http://planted:planted@proxy.example:8080")
    assert "planted" not in f"{upstream} {upstream!r} {upstream.address}"


def test_upstream_header_keeps_each_byte_of_the_password() -> None:
    """What was percent-encoded arrives as the same bytes, UTF-8 or not; without credentials there is no header."""
    line = Upstream.parse("http://me:%C3%A9%FF%0D%0A@h:1").header()
    assert base64.b64decode(line.split()[-1]) == b"me:\xc3\xa9\xff\r\n"
    assert line.endswith(b"\r\n")
    assert line.count(b"\n") == 1
    assert Upstream.parse("http://h:1").header() == b""
