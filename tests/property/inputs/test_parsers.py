"""Whatever a page, a server or a file says: each parser returns what it promises, or raises its own error, in time."""

import gzip
import json
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from browsercrawl.config import LinksConfig
from browsercrawl.config.job import JobFile
from browsercrawl.config.sessions import is_like
from browsercrawl.crawler.inputs.readers import BadSitemap
from browsercrawl.crawler.inputs.sitemap import _Document, _through, _Unpacker
from browsercrawl.dispatcher.links import LinkFollower
from browsercrawl.errors import ConfigError, InvalidURL
from browsercrawl.politeness import retry_after_s
from browsercrawl.request import Request
from browsercrawl.urls import URL_LENGTH_MAX, address, bare, fingerprint, shown, without_session_id

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LIMIT_S = 2.0
"""Of CPU; no single text may take longer."""

_ANY = st.text(max_size=80)  # with halves of surrogate pairs, which pages can make
_PIECES = st.sampled_from(
    [
        "http://", "https://", "HTTP:\\\\", "//", "/", "\\", "@", ":", "?", "#", "&", "=", ";", ".", "..",
        "/./", "%2e%2e",
        "%", "%00", "[", "]", "[::1]", "[::ffff:1.2.3.4]", "0x7f.1", "127.1", "ex\u00e4mple.test", "xn--",
        "a.test", "a.test.",
        ":80", ":99999", " ", "\t", "\n", "\0", "\u3002", "\u200d", "\ud800", "/(S(0123456789abcdefghijklmn))/",
        ";jsessionid=1", "?PHPSESSID=1", "&sid=0123456789abcdef0123456789", "/..;jsessionid=1", "user:pw",
        "javascript:",
        "data:text/html,", "x" * 300, "\U0001f600",
    ]
)  # fmt: skip
_URLS = (
    _ANY
    | st.lists(_PIECES, max_size=14).map("".join)
    | st.lists(_PIECES, max_size=12).map(lambda some: "http://a.test" + "".join(some))
)


@unhurried
@given(url=_URLS, keep=st.booleans(), sort=st.booleans(), drop=st.booleans())
@example(url="http://a.test/..;jsessionid=1/..;jsessionid=2", keep=False, sort=False, drop=True)
def test_address_of_any_text_is_stable_or_refused(url: str, *, keep: bool, sort: bool, drop: bool) -> None:
    """The canonical spelling is its own; its parts fit; anything else is `InvalidURL`, and a message can show it."""
    assert len(shown(url)) <= 200
    fingerprint(url)
    try:
        found = address(url, keep_fragment=keep, sort_query=sort, drop_session_id=drop)
    except InvalidURL:
        assert bare(url) == url
        return
    assert address(found.canonical, keep_fragment=keep, sort_query=sort, drop_session_id=drop) == found
    assert found.canonical.startswith(("http://", "https://"))
    assert found.canonical.isascii()
    assert found.host.startswith(found.hostname)
    assert found.host.removeprefix(found.hostname)[1:].isdigit()
    assert without_session_id(without_session_id(found.canonical)) == without_session_id(found.canonical)


@pytest.mark.parametrize(
    "url",
    [
        "http://a.test/" + "/" * URL_LENGTH_MAX, "http://a.test/?" + "&" * 65_000, "http://a.test/" + "../" * 21_000,
        "http://a.test/" + ";jsessionid=" * 5_000, "http://a.test/?" + "sid=0123456789abcdef0123456789&" * 2_000,
        "http://" + "@" * 65_000 + "a.test", "http://" + "a." * 32_000 + "test", "http://a.test/" + "%" * 65_000,
        "http://" + "\u00e4." * 30_000 + "test", "x" * 10_000_000, "http://a.test/" + "/(S(" * 16_000,
    ],
)  # fmt: skip
def test_address_of_a_huge_text_is_found_or_refused_at_once(url: str) -> None:
    """No text makes the engine busy: neither reading it, nor showing it, nor asking whether it is a trap."""
    begun = time.process_time()
    with suppress(InvalidURL):
        without_session_id(address(url, sort_query=True, drop_session_id=True).canonical)
    shown(url)
    LinkFollower(LinksConfig(depth=1, scope="domain")).requests(
        Request(url="http://a.test/"), url, links=[url], asked_for=[]
    )
    assert time.process_time() - begun < LIMIT_S


@unhurried
@given(
    links=st.lists(_URLS, max_size=8),
    final=_URLS,
    scope=st.sampled_from(["host", "domain", "prefix", "any"]),
    patterns=st.lists(st.text("*?[]a./:", min_size=1, max_size=12), max_size=3),
)
def test_links_of_any_page_are_each_followed_counted_or_the_same(
    links: list[str], final: str, scope: str, patterns: list[str]
) -> None:
    """No page makes the follower raise; what it follows is in scope for the page and, later, for each descendant."""
    config = LinksConfig.model_validate({"depth": 2, "scope": scope, "exclude": patterns})
    follower = LinkFollower(config)
    parent = Request(url="http://me@www.a.test/x/y?z")
    requests, left_out = follower.requests(parent, final, links=links, asked_for=())
    assert len(requests) + left_out.total() <= len(links)
    assert len({request.id for request in requests}) == len(requests)
    for request in requests:
        assert not any(is_like(address(request.url).canonical, pattern) for pattern in patterns)
        again, _ = follower.requests(request, "http://elsewhere.test/", links=[request.url, parent.url], asked_for=())
        assert request.url in {each.url for each in again}
        stored = json.dumps(request.model_dump(exclude_defaults=True))
        assert Request.model_validate(json.loads(stored)) == request


@pytest.mark.parametrize("pattern", ["*a" * 500 + "b", "*" * 1000 + "b", "*?" * 300 + "b", "*aaaaaaaa" * 100 + "b"])
def test_pattern_of_any_form_costs_little(pattern: str) -> None:
    """Patterns have no form that makes matching explode, with the longest address that is looked at."""
    begun = time.process_time()
    assert not is_like("http://a.test/" + "a" * 2_048, pattern)
    assert time.process_time() - begun < LIMIT_S


_DATES = st.lists(
    st.sampled_from(
        ["Sun,", "Sunday,", "Sun", "06", "6", "Nov", "1994", "94", "08:49:37", "8:49", "99:99:99", "-",
         "06-Nov-94", "GMT",
         "+2400", "-0000", "-9999", "+99999", "9999", "0001", "(", ")", ",", ".", "Dec", "31", "23:59:60",
         "EST", "-08:00"]
    ),
    max_size=9,
)  # fmt: skip


@unhurried
@given(st.text(max_size=80) | _DATES.map(" ".join) | _DATES.map("".join))
@example("Mon, 01 Jan 0001 00:00:00 +2359")
@example("9" * 5_000)
def test_retry_after_of_any_text_is_a_time_or_nothing(value: str) -> None:
    """A header is a number of seconds, never negative, or nothing at all."""
    found = retry_after_s(value, now_utc=NOW)
    assert found is None or found >= 0


_SITEMAP = (
    b'<?xml version="1.0" encoding="UTF-8"?><urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">'
    b"<url><loc>http://a.test/1</loc></url><url><loc>http://a.test/2</loc></url></urlset>"
)
_TAGS = st.lists(
    st.sampled_from(
        [b"<urlset>", b"</urlset>", b"<sitemapindex>", b"<url>", b"<loc>", b"</loc>", b"</url>",
         b"http://a.test/", b"&amp;",
         b"&x;", b"<!DOCTYPE x [<!ENTITY y 'z'>]>", b"<!--", b"-->", b"<![CDATA[", b"]]>", b"<?xml encoding='x'?>",
         b"\xff\xfe", b"\0", b"\xef\xbb\xbf", b"\n", b"<a:b xmlns:a=''>", b"<?xml version='1.0' encoding='utf-16'?>"]
    ),
    max_size=12,
).map(b"".join)  # fmt: skip


@st.composite
def _spoilt(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from([_SITEMAP, gzip.compress(_SITEMAP), b"http://a.test/1\nhttp://a.test/2"])))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 8))] = draw(st.binary(max_size=8))
    return bytes(data)


@unhurried
@given(data=_spoilt() | _TAGS | st.binary(max_size=60), size=st.integers(1, 40))
def test_sitemap_of_any_bytes_lists_addresses_or_is_bad(data: bytes, size: int) -> None:
    """What arrives in whatever pieces is understood, or refused with a reason; nothing else is raised."""
    document, unpackers = _Document(), [_Unpacker(), _Unpacker()]
    with suppress(BadSitemap):
        for start in range(0, len(data), size):
            for piece in _through(unpackers, data[start : start + size]):
                document.feed(piece)
        for unpacker in unpackers:
            unpacker.end()
        document.end()
    assert all("\n" not in url for url in document.sitemap(None))


_KEYS = st.sampled_from(
    ["seeds", "urls", "file", "sitemap", "visit", "timeout", "save", "links", "depth", "scope", "hosts", "include",
     "exclude", "limits", "max_failures", "max_disk", "pace", "delay", "memory", "rules", "url", "handlers",
     "sessions", "profiles", "output", "base", "x"]
)  # fmt: skip
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | _KEYS
    | st.sampled_from(["http://a.test/", "10s", "5%", "1GB", "${X}", "${", "list", "a:b", "*", "1e999", "0x10", "-1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
_SIGNS = st.lists(
    st.sampled_from(
        ["seeds:", "urls:", "links:", "include:", " ", "  ", "\n", "- ", "[", "]", "{", "}", ",", ": ", "&a",
         "*a", "!!str ",
         "|", ">", "'", '"', "#", "---", "...", "? ", "\t", "${X}", "1", "x", "\0", "\x85", "\ufeff", "%YAML 9.9"]
    ),
    max_size=20,
).map("".join)  # fmt: skip


def _as_yaml(value: object) -> str:
    import yaml  # noqa: PLC0415 - takes its time

    return yaml.safe_dump(value, allow_unicode=False)


@unhurried
@given(text=_SIGNS | st.text(max_size=60) | st.dictionaries(_KEYS, _VALUES, max_size=5).map(_as_yaml))
def test_job_file_of_any_text_is_a_job_or_says_what_is_wrong(text: str) -> None:
    """Reading, resolving and configuring a job raise `ConfigError` alone, whatever stands in the file."""
    with suppress(ConfigError):
        file = JobFile.read(text, name="job.yaml", base=Path("/"))
        JobFile.from_stored(file.stored(), name="run")
        job = file.resolve({"X": text})
        job.config(Path("run"))
