"""Links: what is followed, how deep, where to, and what is counted instead."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from browsercrawl import Crawler, Request, Visit
from browsercrawl.errors import ConfigError
from browsercrawl.events import RequestScheduled
from browsercrawl.result import SkipReason
from browsercrawl.testing.fake_browser import FakePageScript

if TYPE_CHECKING:
    from tests.unit.crawler.conftest import Crawl

URL = "http://site.test/"


def tree(url: str) -> FakePageScript:
    """Each page links to two below it."""
    return FakePageScript(links=(f"{url}a", f"{url}b"))


@pytest.mark.parametrize(("depth", "pages"), [(0, 1), (1, 3), (2, 7), (3, 15)])
async def test_crawl_depth_is_the_number_of_links_followed(crawl: "Crawl", depth: int, pages: int) -> None:
    """A seed has depth 0; links at the configured depth are counted, not followed."""
    done = await crawl(tree, [URL], links={"depth": depth})
    assert len(done.results) == pages
    assert max(each.depth for each in done.results) == depth
    assert all((each.parent_url is None) == (each.url == URL) for each in done.results)
    assert done.summary.links_skipped == ({"too_deep": 2 ** (depth + 1)} if depth else {})


async def test_crawl_links_are_followed_though_not_captured(crawl: "Crawl") -> None:
    """Following needs no `links` in `capture`."""
    done = await crawl(tree, [URL], links={"depth": 1}, visit={"capture": []})
    assert len(done.results) == 3
    assert done.only if len(done.results) == 1 else all(each.html is None for each in done.results)


@pytest.mark.parametrize(("scope", "followed"), [("host", {f"{URL}x"}), ("any", {f"{URL}x", "http://site.test:81/"})])
async def test_crawl_scope_and_what_is_no_address_are_counted(crawl: "Crawl", scope: str, followed: set[str]) -> None:
    """Scope host means the seed's host:port; each link of a page counts once, the seed itself is a duplicate."""
    links = (f"{URL}x", f"{URL}x#again", URL, "http://site.test:81/", "mailto:a@b.c", "http://x/" + "a" * 70_000)
    site = {URL: FakePageScript(links=links)}
    done = await crawl(site, [URL], links={"depth": 1, "scope": scope})
    assert {each.url for each in done.results} - {URL} == followed
    outside = {} if scope == "any" else {"out_of_scope": 1}
    assert done.summary.links_skipped == {"invalid_url": 2, **outside}
    assert done.summary.duplicates == 1


async def test_crawl_redirected_seed_widens_its_scope(crawl: "Crawl") -> None:
    """A seed that leads to another host means the site there; a later page's redirect does not widen anything."""
    www = "http://www.site.test/"
    site = {
        URL: FakePageScript(final_url=www, links=(f"{www}a", f"{URL}b")),
        f"{www}a": FakePageScript(final_url="http://else.test/", links=("http://else.test/x", f"{www}c")),
        f"{www}c": FakePageScript(),
        f"{URL}b": FakePageScript(),
    }
    done = await crawl(site, [URL], links={"depth": 5})
    assert {each.url for each in done.results} == {URL, f"{www}a", f"{URL}b", f"{www}c"}
    assert done.summary.links_skipped == {"out_of_scope": 1}


async def test_crawl_scope_function_that_raises_fails_its_page(crawl: "Crawl") -> None:
    """The user's own scope decides for all pages, in place of `links.scope`; its error is the page's result."""

    def prepare(crawler: Crawler) -> None:
        @crawler.scope
        def _(request: Request, url: str) -> bool:
            if "bad" in request.url:
                raise RuntimeError("no idea")
            return "else" in url or "bad" in url

        with pytest.raises(ConfigError, match="two functions for the scope"):
            crawler.scope(lambda _request, _url: True)

    other = "http://else.test/"
    site = {URL: FakePageScript(links=(other, f"{URL}a", f"{URL}bad")), f"{URL}bad": FakePageScript(links=(URL,))}
    done = await crawl({**site, other: FakePageScript()}, [URL], links={"depth": 3}, prepare=prepare)
    assert {each.url: each.outcome for each in done.results} == {
        URL: "succeeded", other: "succeeded", f"{URL}bad": "failed",
    }  # fmt: skip
    error = done.of(f"{URL}bad").error
    assert error is not None
    assert (error.kind, error.phase) == ("handler_failed", "handle")
    assert error.message.endswith("raised RuntimeError: no idea")
    assert done.summary.links_skipped == {"out_of_scope": 1}


async def test_crawl_scope_that_is_a_coroutine_function_is_refused() -> None:
    """It is asked for each link, and cannot be awaited there."""

    async def scope(_request: Request, _url: str) -> bool:
        return True

    with pytest.raises(ConfigError, match="must be a plain `def` function"):
        Crawler().scope(scope)  # type: ignore[arg-type]  # that is the test


def deeper(url: str) -> str:
    """A relative link that a server answers at any depth."""
    return f"{url}news/"


def wider(url: str) -> str:
    """Each page adds a parameter to its own address."""
    return f"{url}&sort=asc" if "?" in url else f"{url}?sort=asc"


def numbered(url: str) -> str:
    """Each folder has one below it, of another name."""
    return f"{url}{url.count('/')}/"


def tomorrow(url: str) -> str:
    """A calendar."""
    return f"{URL}calendar?day={int(url.partition('day=')[2] or 0) + 1}"


def another_session(url: str) -> str:
    """A server without cookies gives each visitor of a page a new session, and writes it into the link."""
    return f"{URL}shop;jsessionid={hash(url) & 0xFFFFFFFF:x}"


@pytest.mark.parametrize(
    ("trap", "pages", "reason"),
    [
        (deeper, 4, "repeated_path"),
        (wider, 51, "too_many_parameters"),
        (numbered, 26, "path_too_deep"),
        (tomorrow, 31, "max_per_path"),
        (another_session, 2, None),
    ],
)
async def test_crawl_of_an_endless_site_ends_by_itself(
    crawl: "Crawl", trap: Callable[[str], str], pages: int, reason: str | None
) -> None:
    """Without any limit of depth a site that makes up its addresses is left after a few pages, and it is told why."""
    links = {"depth": 1_000_000, "max_per_path": 30}
    if trap is wider:
        links["max_per_path"] = 1_000
    done = await crawl(lambda url: FakePageScript(links=(trap(url),)), [URL], links=links)
    assert len(done.results) == pages
    assert done.summary.links_skipped == ({reason: 1} if reason else {})
    assert done.summary.finish_reason == ("max_per_path" if reason == "max_per_path" else "finished")
    assert done.summary.exit_code == 0


async def test_crawl_enqueue_links_gives_label_session_and_keeps_to_scope(crawl: "Crawl") -> None:
    """Links a handler asks for go to their label's handler, in the page's session, at any depth, in scope."""
    links = (f"{URL}p1", f"{URL}p2", f"{URL}p1#x", "http://else.test/")
    site = {URL: FakePageScript(links=links), f"{URL}p1": FakePageScript(), f"{URL}p2": FakePageScript()}

    def prepare(crawler: Crawler) -> None:
        @crawler.handler()
        async def _(visit: Visit) -> None:
            assert await visit.enqueue_links(".next a", label="product") == 4

        @crawler.handler("product")
        async def _(visit: Visit) -> None:
            visit.push(visit.session)

    done = await crawl(site, [Request(url=URL, session="me")], prepare=prepare)
    assert {(each.url, each.label, each.session, each.depth, each.data) for each in done.results if each.depth} == {
        (f"{URL}p1", "product", "me", 1, ("me",)),
        (f"{URL}p2", "product", "me", 1, ("me",)),
    }
    assert done.summary.links_skipped == {"out_of_scope": 1}


async def test_crawl_enqueue_goes_anywhere(crawl: "Crawl") -> None:
    """`enqueue` takes any host and whole requests with wishes of their own."""
    other = "http://else.test/"

    def prepare(crawler: Crawler) -> None:
        @crawler.handler()
        async def _(visit: Visit) -> None:
            if visit.request.url == URL:
                visit.enqueue(other)
                visit.enqueue(Request(url=other, session="x", priority=3, data={"a": 1}))
            visit.push(visit.request.data)

    done = await crawl(None, [URL], prepare=prepare)
    assert [(each.url, each.session, each.data) for each in done.results[1:]] == [
        (other, "x", ({"a": 1},)),
        (other, None, ({},)),
    ] or {each.session for each in done.results[1:]} == {"x", None}
    assert len(done.told(RequestScheduled)) == 3


async def test_crawl_priority_goes_first_within_a_lane(crawl: "Crawl") -> None:
    """Of what waits in a lane the higher priority is visited first, and equals in the order they came."""
    seeds = [Request(url=f"{URL}{number}", priority=number % 3) for number in range(9)]
    done = await crawl(None, seeds, concurrency=1)
    order = [int(each.url.removeprefix(URL)) for each in done.results]
    assert order == [2, 5, 8, 1, 4, 7, 0, 3, 6]


async def test_crawl_max_requests_counts_links_kept_out(crawl: "Crawl") -> None:
    """Links beyond `max_requests` are counted, not stored."""
    done = await crawl(tree, [URL], links={"depth": 9, "max_requests": 4})
    assert len(done.results) == 4
    assert done.summary.links_skipped[SkipReason.MAX_REQUESTS] > 0
    assert done.summary.exit_code == 0
