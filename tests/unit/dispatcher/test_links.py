"""Which links of a page become requests, and the reason for which each other one counts."""

import time
from typing import Any

import pytest

from browsercrawl.config import LinksConfig
from browsercrawl.dispatcher.links import LinkFollower
from browsercrawl.errors import ConfigError, HandlerFailed
from browsercrawl.request import Request
from browsercrawl.result import SkipReason
from browsercrawl.urls import address

SEED = "https://www.shop.co.uk/docs/intro"


def _followed(
    links: list[str], *, seed: Request | str = SEED, final: str | None = None, **options: Any
) -> tuple[list[Request], dict[str, int]]:
    parent = Request(url=seed) if isinstance(seed, str) else seed
    follower = LinkFollower(LinksConfig.model_validate({"depth": 9, **options}))
    requests, left_out = follower.requests(parent, final or parent.url, links=links, asked_for=())
    return requests, {str(reason): number for reason, number in left_out.items()}


def _urls(links: list[str], **options: Any) -> list[str]:
    return [request.url for request in _followed(links, **options)[0]]


@pytest.mark.parametrize(
    ("scope", "inside", "outside"),
    [
        (
            "host",
            ["https://www.shop.co.uk/", "https://www.shop.co.uk:443/x", "https://WWW.SHOP.co.uk/x?y"],
            ["http://www.shop.co.uk/", "https://shop.co.uk/", "https://www.shop.co.uk:8443/", "https://www.shop.co.uk./"],
        ),
        (
            "domain",
            ["http://shop.co.uk/", "https://a.b.shop.co.uk:8443/", "https://shop.co.uk./"],
            ["https://other.co.uk/", "https://co.uk/", "https://notshop.co.uk/", "https://shop.co.uk.evil.test/"],
        ),
        (
            "prefix",
            ["https://www.shop.co.uk/docs/", "http://www.shop.co.uk/docs/a/b?c", "https://www.shop.co.uk/x/../docs/y"],
            [
                "https://www.shop.co.uk/docs", "https://www.shop.co.uk/", "https://www.shop.co.uk/docs/../x",
                "https://www.shop.co.uk/docs/%2e%2e/x", "https://www.shop.co.uk:8443/docs/", "https://shop.co.uk/docs/",
                "https://www.shop.co.uk/?/docs/", "https://www.shop.co.uk/docsx/", "https://evil.test/docs/",
            ],
        ),
        ("any", ["https://evil.test/", "http://127.0.0.1/"], []),
    ],
)  # fmt: skip
def test_scope_is_what_its_name_says(scope: str, inside: list[str], outside: list[str]) -> None:
    """Each scope takes all of its own and nothing else, however an address is written; the rest is counted."""
    requests, left_out = _followed(inside + outside, scope=scope)
    assert [request.url for request in requests] == inside
    assert left_out == ({"out_of_scope": len(outside)} if outside else {})


@pytest.mark.parametrize(
    ("seed", "inside", "outside"),
    [
        ("http://127.0.0.1:81/", "http://127.0.0.1:81/x", "http://127.0.0.1:82/"),
        ("http://10.0.0.1/", "http://10.0.0.1/x", "http://11.0.0.1/"),
        ("http://[::1]/", "http://[::1]/x", "http://[::2]/"),
        ("http://localhost:81/", "http://localhost:81/x", "http://localhost:82/"),
        ("http://github.io/", "http://github.io/x", "http://me.github.io/"),
        ("http://me.github.io/", "http://www.me.github.io/x", "http://you.github.io/"),
    ],
)
def test_scope_domain_of_a_host_without_one_is_the_host(seed: str, inside: str, outside: str) -> None:
    """An address in numbers, a single label and a public suffix are no domains that others could belong to."""
    assert _urls([inside, outside], seed=seed, scope="domain") == [inside]


def test_scope_list_takes_its_hosts_only_and_they_add_to_every_other() -> None:
    """Names of hosts are exact unless they say otherwise; a port may stand with them."""
    hosts = ["a.test", "*.B.test", "c.test:81"]
    inside = ["http://a.test:9/", "http://x.b.test/", "http://c.test:81/"]
    outside = ["http://b.test/", "http://c.test/", "http://a.test.evil/"]
    assert _urls([*inside, *outside, f"{SEED}/x"], scope="list", hosts=hosts) == inside
    assert _urls([*inside, *outside, f"{SEED}/x"], scope="host", hosts=hosts) == [*inside, f"{SEED}/x"]
    with pytest.raises(ConfigError, match="scope list needs hosts"):
        LinksConfig(scope="list")
    with pytest.raises(ConfigError, match=r"write example\.com"):
        LinksConfig(hosts=frozenset({"http://a.test/"}))


@pytest.mark.parametrize("scope", ["host", "domain", "prefix"])
def test_scope_is_the_seeds_however_many_pages_lie_between(scope: str) -> None:
    """What a page has to know of its seed travels with its request, and no redirect on the way changes it."""
    (child,) = _followed(["https://www.shop.co.uk/docs/deep/er/x"], scope=scope)[0]
    links = ["https://www.shop.co.uk/docs/y", "http://elsewhere.test/", "http://elsewhere.test/docs/deep/er/"]
    requests, left_out = _followed(links, seed=child, final="http://elsewhere.test/docs/deep/er/x", scope=scope)
    assert [request.url for request in requests] == links[:1]
    assert left_out == {"out_of_scope": 2}
    stored = Request.from_json(child.model_dump_json(exclude_defaults=True))
    assert _urls(links, seed=stored, scope=scope) == links[:1]


def test_scope_costs_a_request_nothing_where_its_own_address_tells() -> None:
    """Hosts and domains are not stored with every link; a prefix is, without query and password."""
    links = ["https://www.shop.co.uk/docs/x?y"]
    assert _followed(links)[0][0].anchors == ()
    assert _followed(links, scope="domain")[0][0].anchors == ()
    assert _followed(links, scope="any")[0][0].anchors == ()
    seed = "https://me:secret@www.shop.co.uk/docs/?token=1"
    (child,) = _followed(["https://www.shop.co.uk/docs/a/b"], seed=seed, scope="prefix")[0]
    assert child.anchors == ("https://www.shop.co.uk:443/docs/",)


@pytest.mark.parametrize(
    ("scope", "final", "inside", "outside"),
    [
        ("host", "http://new.test/", ["http://new.test/a", SEED], ["http://x.new.test/"]),
        ("domain", "http://www.new.test/", ["http://x.new.test/", SEED], ["http://old.test/"]),
        ("prefix", "http://new.test/en/docs/", ["http://new.test/en/docs/a", SEED], ["http://new.test/en/"]),
        ("prefix", "https://www.shop.co.uk/v2/docs/", ["https://www.shop.co.uk/v2/docs/a", SEED], ["https://www.shop.co.uk/v2/"]),
        ("prefix", "https://www.shop.co.uk/", [SEED], ["https://www.shop.co.uk/other"]),
        ("prefix", "http://new.test/" + "x" * 3000 + "/", [SEED], ["http://new.test/"]),
        ("host", "about:blank", [SEED], ["http://new.test/"]),
    ],
)  # fmt: skip
def test_scope_of_a_seed_that_redirects_holds_for_all_its_descendants(
    scope: str, final: str, inside: list[str], outside: list[str]
) -> None:
    """Where a seed leads to belongs to its scope, unless that lies above it; two links on both still belong to it."""
    links = [f"{inside[0]}?child", *inside, *outside]
    requests, left_out = _followed(links, final=final, scope=scope)
    assert [request.url for request in requests] == [f"{inside[0]}?child", *inside]
    assert left_out == {"out_of_scope": len(outside)}
    grandchildren = _urls(links, seed=requests[0], scope=scope)
    assert grandchildren == [f"{inside[0]}?child", *inside]


def test_scope_function_decides_in_place_of_the_scope_and_sees_the_seed() -> None:
    """It gets the page's request and the link's canonical spelling; what it raises is told as a handler's error."""
    asked: list[tuple[str, ...]] = []

    def scope(request: Request, url: str) -> bool:
        asked.append((*request.anchors, url))
        if "bad" in url:
            raise ValueError("Cookie: a=b\nmore")
        return "/in/" in url

    follower = LinkFollower(LinksConfig(depth=9, hosts=frozenset({"*"})), scope=scope)
    parent = Request(url="http://a.test/x?y")
    (child,), left_out = follower.requests(
        parent, parent.url, links=["HTTP://B.test/in/", "http://b.test/out/"], asked_for=()
    )
    assert (child.url, child.anchors, dict(left_out)) == (
        "HTTP://B.test/in/", ("http://a.test:80/",), {SkipReason.OUT_OF_SCOPE: 1},
    )  # fmt: skip
    with pytest.raises(HandlerFailed, match=r"raised ValueError: Cookie: \[redacted\]$"):
        follower.requests(child, child.url, links=["http://b.test/bad"], asked_for=())
    assert asked[0] == ("http://b.test/in/",)
    assert asked[-1] == ("http://a.test:80/", "http://b.test/bad")


def test_links_count_for_the_first_reason_that_holds() -> None:
    """No URL, out of scope, excluded, not included, too deep, a trap: in this order, each link once."""
    long = "x" * 3000
    links = [
        f"mailto:{long}", f"https://else.test/no/{long}", f"{SEED}/no/{long}", f"{SEED}/other/{long}",
        f"{SEED}/yes/{long}", f"{SEED}/yes/",
    ]  # fmt: skip
    options: dict[str, Any] = {"include": ["*/yes/*"], "exclude": ["*/no/*"]}
    reasons = ["invalid_url", "out_of_scope", "excluded", "not_included"]
    requests, left_out = _followed(links, **options)
    assert [request.url for request in requests] == links[-1:]
    assert left_out == dict.fromkeys([*reasons, "url_too_long"], 1)
    seed = Request(url=SEED, depth=9)
    assert _followed(links, seed=seed, **options) == ([], {**dict.fromkeys(reasons, 1), "too_deep": 2})


@pytest.mark.parametrize(
    ("options", "followed"),
    [
        ({"include": ["*.html"]}, {"a.html"}),
        ({"include": ["*/B?", "*.html"], "exclude": ["*/a*"]}, {"B1"}),
        ({"exclude": ["https://www.shop.co.uk/*"]}, set()),
        ({"exclude": ["*[a]*"]}, {"a.html", "B1", "b1"}),
        ({"include": ["*/"]}, set()),
    ],
)
def test_links_patterns_match_the_whole_canonical_address(options: dict[str, Any], followed: set[str]) -> None:
    """* is anything, ? one character, brackets are themselves; a page cannot evade one by another spelling."""
    links = [f"HTTPS://WWW.shop.co.uk:443/./{name}" for name in ("a.html", "B1", "b1")]
    assert {address(url).canonical.rpartition("/")[2] for url in _urls(links, **options)} == followed


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("a/" * 4, "repeated_path"),
        ("a/b/a/b/a/b", "repeated_path"),
        ("x/y/a/b/c/a/b/c/a/b/c/z", "repeated_path"),
        ("a//a//a//a", "repeated_path"),
        ("1/1/1", None),
        ("2024/12/12/12", None),
        ("a/b/a/b/c/a/b", None),
        ("a/b/b/a/c/c/a/b", None),
        ("/".join(map(str, range(26))), "path_too_deep"),
        ("/".join(map(str, range(25))), None),
        ("s?" + "&".join(f"f{number}=" for number in range(51)), "too_many_parameters"),
        ("s?" + "&".join(f"f{number}=" for number in range(50)), None),
        ("x" * 2100, "url_too_long"),
        ("x?y=" + "a/" * 30, None),
    ],
)
def test_links_trap_is_known_by_its_address(path: str, reason: str | None) -> None:
    """What people write passes; what a site makes up without end counts for its reason, and can be asked for."""
    url = f"https://www.shop.co.uk/{path}"
    requests, left_out = _followed([url])
    assert (len(requests), left_out) == ((0, {reason: 1}) if reason else (1, {}))
    assert _urls([url], follow_traps=True) == [url]


def test_links_with_session_ids_are_one_page() -> None:
    """The first is visited as it stands; also beyond its page, another session id makes no other request."""
    ids = ["0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"]
    links = [f"{SEED}?sid={each}&page=2" for each in ids] + [f"{SEED};jsessionid={each}?page=2" for each in ids]
    (first,) = _followed(links)[0]
    (later,) = _followed(links[3:])[0]
    (plain,) = _followed([f"{SEED}?page=2"])[0]
    assert first.url == links[0]
    assert first.id == later.id == plain.id
    assert Request.from_json(later.model_dump_json(exclude_defaults=True)).id == first.id
    assert len(_urls(links, follow_traps=True)) == 4


def test_links_held_against_a_long_list_of_hosts_take_no_time() -> None:
    """1,000 links of a page and 10,000 listed hosts are a matter of milliseconds; patterns among them count, too."""
    hosts = [*(f"h{number}.test" for number in range(10_000)), "*.pattern.test", "port.test:81"]
    links = [f"http://no{number}.test/" for number in range(1_000)]
    inside = ["http://h9999.test/", "http://a.pattern.test:8080/", "http://port.test:81/"]
    began = time.perf_counter()
    requests, left_out = _followed([*links, *inside], scope="list", hosts=hosts)
    assert time.perf_counter() - began < 2.0
    assert [request.url for request in requests] == inside
    assert left_out == {"out_of_scope": 1_000}
