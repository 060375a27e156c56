"""What a robots.txt allows: the cases of RFC 9309, and whatever else a server may send."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from browsercrawl.politeness import ROBOTS_BYTES_MAX, RobotsFile

SITE = "https://site.test"
GROUPS = "User-agent: browsercrawl\nDisallow: /a\nUser-agent: x\nDisallow: /\nUser-agent: browsercrawl\nDisallow: /c"
NOTHING = ["", "User-agent: *\nDisallow:", "User-agent: x\nDisallow: /", "Disallow: /", "<html>"]
PIECES = [b"User-agent:", b"Disallow:", b"Allow:", b"Crawl-delay:", b"Sitemap:", b"*", b"$", b"%", b"\n"]


def allows(text: str | bytes, path: str) -> bool:
    """Tell whether a file lets us have a path."""
    body = text.encode() if isinstance(text, str) else text
    return RobotsFile(body, token="browsercrawl").allows(f"{SITE}{path}")


@pytest.mark.parametrize(
    ("text", "allowed", "forbidden"),
    [
        pytest.param("User-agent: *\nDisallow: /a", "/b", "/a", id="everybody"),
        pytest.param("User-agent: *\nDisallow: /\n\nUser-agent: BrowserCrawl\nDisallow: /a", "/b", "/a", id="ours"),
        pytest.param("User-agent: browsercrawl/2.0\nDisallow: /a\nUser-agent: *\nAllow: /", "/b", "/a", id="version"),
        pytest.param("User-agent: browser\nDisallow: /\nUser-agent: *\nDisallow: /a", "/b", "/a", id="beginning"),
        pytest.param("User-agent: browsercrawler\nDisallow: /\nUser-agent: *\nDisallow: /a", "/b", "/a", id="longer"),
        pytest.param("User-agent: x\nUser-agent: browsercrawl\nDisallow: /a", "/b", "/a", id="shared-group"),
        pytest.param(GROUPS, "/b", "/c", id="several-groups"),
        pytest.param(GROUPS, "/b", "/a", id="several-groups-first"),
        pytest.param("User-agent: *\nDisallow: /a\nAllow: /a/b", "/a/b/c", "/a/c", id="longest"),
        pytest.param("User-agent: *\nAllow: /a\nDisallow: /a\nDisallow: /b", "/a", "/b", id="equal-allows"),
        pytest.param("User-agent: *\nDisallow: /*.gif$", "/x.gif?y", "/x.gif", id="star-and-end"),
        pytest.param("User-agent: *\nDisallow: /a*/c", "/a/b", "/a/b/c", id="star-within"),
        pytest.param("User-agent: *\nDisallow: /a/%C3%B6", "/a/o", "/a/%c3%b6", id="percent-case"),
        pytest.param("User-agent: *\nDisallow: /ö", "/o", "/%C3%B6", id="percent-encoded"),
        pytest.param("User-agent: *\nDisallow: /%62ar", "/foo", "/bar", id="percent-decoded"),
        pytest.param("User-agent: *\nDisallow: /a?b=1", "/a?b=2", "/a?b=1&c", id="query"),
        pytest.param("User-agent: *\nFrobnicate: 3\nDisallow: /a # because", "/b", "/a", id="unknown-and-comment"),
        pytest.param("User-agent: *\r\nDisallow: /a\r\n", "/b", "/a", id="crlf"),
        pytest.param("\ufeffUser-agent: *\nDisallow: /a", "/b", "/a", id="mark"),
        pytest.param(b"\xff\xfe" + "User-agent: *\nDisallow: /a".encode("utf-16-le"), "/b", "/a", id="utf-16"),
        pytest.param(b"User-agent: *\nDisallow: /\xff\xfe\nDisallow: /a\n\0\0", "/b", "/a", id="bytes"),
        pytest.param("user agent *\ndisallow: /a", "/b", "/a", id="careless"),
    ],
)
def test_file_rules_hold_for_our_token(text: str | bytes, allowed: str, forbidden: str) -> None:
    """Each case allows the one path and forbids the other."""
    assert allows(text, allowed)
    assert not allows(text, forbidden)


@pytest.mark.parametrize("text", NOTHING)
def test_file_without_rules_for_us_allows_all(text: str) -> None:
    """Nothing is forbidden by an empty file, an empty rule, another's group, a rule of nobody, or a web page."""
    assert allows(text, "/a")


def test_file_robots_itself_is_always_allowed() -> None:
    """RFC 9309, section 2.2.2: /robots.txt is implicitly allowed."""
    assert allows("User-agent: *\nDisallow: /", "/robots.txt")


def test_file_larger_than_the_limit_is_read_up_to_it() -> None:
    """What stands before 500 KiB counts, what follows does not."""
    filler = "# filler\n" * (ROBOTS_BYTES_MAX // 9)
    text = f"User-agent: *\nDisallow: /a\n{filler}Disallow: /b\n"
    assert not allows(text, "/a")
    assert allows(text, "/b")


def test_file_delay_and_sitemaps_are_read() -> None:
    """The delay of our group, and the addresses of sitemaps wherever they stand; what is no address is left out."""
    groups = b"User-agent: x\nCrawl-delay: 9\nUser-agent: *\nCrawl-delay: 2.5\n"
    file = RobotsFile(b"Sitemap: https://site.test/a.xml\n" + groups + b"Sitemap: /b", token="browsercrawl")
    assert file.crawl_delay_s == 2.5
    assert file.sitemaps == ("https://site.test/a.xml",)


@pytest.mark.parametrize("delay", ["-1", "nan", "inf", "1e999", "soon", ""])
def test_file_delay_that_is_none_is_passed_over(delay: str) -> None:
    """What is no number of seconds changes nothing."""
    assert RobotsFile(f"User-agent: *\nCrawl-delay: {delay}".encode(), token="browsercrawl").crawl_delay_s is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("".join(f"User-agent: a{n}\n" for n in range(15_000)), "Disallow: /b\n" * 15_000, id="agents"),
        pytest.param("User-agent: *\n", "".join(f"Disallow: /{n}*a$\n" for n in range(25_000)), id="rules"),
        pytest.param("User-agent: *\nDisallow: /", "*a" * 250_000, id="stars"),
        pytest.param("User-agent: *\n", "".join(f"Disallow: {'*a' * 12}{n}b\n" for n in range(14_000)), id="nearly"),
        pytest.param("User-agent: *\n", f"Disallow: *{'a' * 1_900}b\n" * 250, id="long"),
    ],
)
def test_file_made_to_cost_much_is_read_in_seconds(before: str, after: str) -> None:
    """Half a megabyte of agents before as many rules, of rules, or of one rule of stars: no minutes, no gigabytes."""
    began = time.process_time()
    assert allows(before + after, "/" + "a" * 2_000) in {True, False}
    assert time.process_time() - began < 10


@pytest.mark.parametrize("stars", [10, 20, 40, 10_000])
def test_file_pattern_of_stars_that_nearly_matches_is_not_tried_in_every_way(stars: int) -> None:
    """Each part is looked for once, after the one before: with backtracking 20 stars would take years."""
    began = time.process_time()
    assert allows(f"User-agent: *\nDisallow: /{'*a' * stars}*b", "/" + "a" * 20_000)
    assert not allows(f"User-agent: *\nDisallow: /{'*a' * stars}*b", "/" + "a" * 20_000 + "b")
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("rules", "length", "costly"), [(30, 100, False), (3_000, 100, False), (3_000, 2_000, True), (30_000, 100, True)]
)
def test_file_tells_where_it_is_costly(rules: int, length: int, costly: bool) -> None:
    """A thread costs more than usual files do; files of many thousand rules, and very long addresses, get one."""
    file = RobotsFile(("User-agent: *\n" + "Disallow: /*b\n" * rules).encode(), token="browsercrawl")
    assert file.is_costly(f"{SITE}/{'a' * length}") is costly


@given(body=st.lists(st.sampled_from(PIECES) | st.binary(max_size=8)).map(b" ".join), path=st.text())
def test_file_of_any_bytes_is_read(body: bytes, path: str) -> None:
    """Whatever stands there, and whatever is asked, there is an answer."""
    file = RobotsFile(body, token="browsercrawl")
    assert file.allows(f"{SITE}/{path}") in {True, False}
    assert file.crawl_delay_s is None or file.crawl_delay_s >= 0
