"""Sitemaps that the robots.txt of the hosts to crawl name: real servers on loopback, a fake browser."""

from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from browsercrawl import Crawler, CrawlerConfig, Request
from browsercrawl.crawler.inputs import JobSeeds
from browsercrawl.crawler.inputs.sitemap import SitemapClient
from browsercrawl.crawler.inputs.walk import Found, Root, walk_sitemaps
from browsercrawl.errors import ConfigError, InputError
from browsercrawl.testing.fake_browser import FakeLauncher, FakePageScript
from browsercrawl.testing.server import Exchange
from tests.integration.crawler.maps import Content, Site, crawled, index, urlset


@pytest.fixture
def site() -> Iterator[Site]:
    """Give a site."""
    made = Site()
    yield made
    made.stop()


@pytest.fixture
def other() -> Iterator[Site]:
    """Give another one."""
    made = Site()
    yield made
    made.stop()


def named(site: Site, *pages: str) -> str:
    """Have a robots.txt that names a sitemap of these pages; return the site's first page."""
    site.put("/robots.txt", f"User-agent: *\nDisallow:\nSitemap: {site.put('/map.xml', urlset(*pages))}\n")
    return f"{site.root}/"


async def walked(url: str) -> list[Found]:
    """Walk from the robots.txt of a seed."""
    client = SitemapClient(pauses_s=())
    async with aclosing(walk_sitemaps([Root(url, near=("http://a.example/",))], client, place=None)) as found:
        return [each async for each in found]


async def test_crawl_robots_stands_for_the_sitemaps_of_each_origin_once(site: Site, other: Site) -> None:
    """Of each origin among the URLs, in their order; what the hosts' robots.txt name is crawled as well."""
    own = other.put("/own.xml", urlset(f"{other.root}/own"))
    first = named(site, f"{site.root}/1", f"{site.root}/2")
    urls = [f"{site.root}/a?x=1", "nonsense", named(other, f"{other.root}/3"), first]
    told, left_out = await crawled(["robots", own], urls=urls)
    assert told.pop("nonsense").startswith("URL 2: not a URL")
    assert set(told.values()) == {"succeeded"}
    assert sorted(told) == sorted(
        [
            *(f"{site.root}/{page}" for page in ("", "1", "2", "a?x=1")),
            *(f"{other.root}/{page}" for page in ("", "3", "own")),
        ]
    )
    assert site.asked() == ["/robots.txt", "/map.xml"]
    assert other.asked() == ["/robots.txt", "/map.xml", "/own.xml"]
    assert left_out == {}


def _status(status: int) -> Content:
    return lambda exchange: exchange.respond("Sitemap: http://127.0.0.1:1/x.xml", status=status)


def _loop(exchange: Exchange) -> None:
    exchange.respond(status=302, headers={"Location": exchange.path})


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(_status(404), id="missing"),
        pytest.param(_status(403), id="forbidden"),
        pytest.param(_status(204), id="nothing"),
        pytest.param(_loop, id="redirect loop"),
        pytest.param("", id="empty"),
        pytest.param("User-agent: *\nDisallow: /\n", id="no sitemap"),
        pytest.param("Sitemap: /relative.xml\nSitemap: ftp://a.example/x\n", id="none that is one"),
        pytest.param("<!doctype html><html><body>Sitemap: http://127.0.0.1:1/</body></html>", id="html"),
        pytest.param("\x00\xff" * 99, id="noise"),
    ],
)
async def test_walk_robots_that_names_nothing_is_no_failure(site: Site, content: Content | str) -> None:
    """Nobody promised one: whatever stands there, the walk goes on, after one request."""
    assert await walked(site.put("/robots.txt", content)) == []
    assert set(site.asked()) == {"/robots.txt"}


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_walk_robots_that_cannot_be_had_is_a_failure(site: Site, status: int) -> None:
    """What it names is not known then, and that is told."""
    (found,) = await walked(site.put("/robots.txt", _status(status)))
    (error,) = found.entries
    assert isinstance(error, InputError)
    assert error.message == f"sitemap {site.root}/robots.txt cannot be read: the server answered {status}"


async def test_walk_robots_that_names_a_missing_sitemap_is_a_failure(site: Site) -> None:
    """What it does name has to be there; the others are read all the same."""
    good = site.put("/good.xml", index(site.put("/inner.xml", urlset("http://a.example/1"))))
    url = site.put("/robots.txt", f"Sitemap: {site.root}/none.xml\nSitemap: {good}\n")
    bad, inner = await walked(url)
    (error,) = bad.entries
    assert isinstance(error, InputError)
    assert error.message == f"sitemap {site.root}/none.xml cannot be read: the server answered 404"
    assert list(inner.entries) == ["http://a.example/1"]


async def test_crawl_robots_entries_are_chosen_like_links(site: Site, other: Site) -> None:
    """Scope and patterns hold; what is left out is counted by its reason, and has no result."""
    root = site.root
    entries = [
        f"{root}/docs/1",
        f"{root}/docs/2.pdf",
        f"{root}/blog/1",
        f"{other.root}/docs/1",
        "javascript:x",
        f"{root}/docs/3",
    ]
    links = {"include": ["*/docs/*"], "exclude": ["*.pdf"], "max_per_host": 2}
    told, left_out = await crawled(["robots"], urls=[named(site, *entries)], links=links)
    assert told == {f"{root}/": "succeeded", f"{root}/docs/1": "succeeded"}
    assert left_out == {"out_of_scope": 1, "excluded": 1, "not_included": 1, "invalid_url": 1, "max_per_host": 1}


async def test_crawl_entries_of_a_given_sitemap_are_chosen_by_patterns(site: Site, other: Site) -> None:
    """The user named it: the scope does not hold, and what cannot be crawled of it has a result."""
    root = site.root
    named = site.put("/map.xml", urlset(f"{root}/docs/2.pdf", f"{root}/blog/1", f"{other.root}/docs/1", "javascript:x"))
    told, left_out = await crawled([named], links={"include": ["*/docs/*"], "exclude": ["*.pdf"]})
    assert told.pop(f"{other.root}/docs/1") == "succeeded"
    assert "neither an http nor an https URL" in told.pop("javascript:x")
    assert told == {}
    assert left_out == {"excluded": 1, "not_included": 1}


async def test_crawl_robots_entries_are_seen_from_each_seed(site: Site) -> None:
    """With the scope `prefix`, an entry below the folder of any seed of the origin is in it."""
    entries = [f"{site.root}/{folder}/page" for folder in ("docs", "blog", "shop", "docs-old")]
    named(site, *entries)
    urls = [f"{site.root}/docs/", f"{site.root}/blog/index.html?x=/shop/"]
    told, left_out = await crawled(["robots"], urls=urls, links={"scope": "prefix"})
    assert set(told) == {*urls, *entries[:2]}
    assert left_out == {"out_of_scope": 2}


async def test_crawl_robots_entry_that_redirects_widens_nothing(site: Site, other: Site) -> None:
    """Where the site leads to is not the user's word; with a seed of his own it is."""
    entry, seed = f"{site.root}/out", named(site, f"{site.root}/out")

    def pages(url: str) -> FakePageScript:
        name = url.rpartition("/")[2]
        if name not in {"out", "mine"}:
            return FakePageScript()
        return FakePageScript(final_url=f"{other.root}/{name}/", links=(f"{other.root}/from-{name}",))

    urls = [seed, f"{site.root}/mine"]
    told, left_out = await crawled(["robots"], urls=urls, pages=pages, links={"depth": 1})
    assert set(told) == {*urls, entry, f"{other.root}/from-mine"}
    assert left_out == {"out_of_scope": 1}


async def test_crawl_robots_entries_are_asked_about_by_the_users_scope(site: Site, other: Site) -> None:
    """It gets the seed and the entry; where it raises, the entry fails as a handler's failure."""
    entries = [f"{other.root}/yes", f"{site.root}/no", f"{site.root}/broken"]
    seed = named(site, *entries)
    asked: list[tuple[str, tuple[str, ...]]] = []

    def prepare(crawler: Crawler) -> None:
        @crawler.scope
        def decide(request: Request, url: str) -> bool:
            asked.append((url, (request.url,)))
            if url.endswith("broken"):
                raise ValueError("no idea")
            return url.endswith("yes")

    told, left_out = await crawled(["robots"], urls=[seed], prepare=prepare)
    assert asked == [(entry, (seed,)) for entry in entries]
    assert told[entries[0]] == "succeeded"
    assert "raised ValueError: no idea" in told[entries[2]]
    assert left_out == {"out_of_scope": 1}


@pytest.mark.parametrize("stops", [1, 60, 130])
async def test_crawl_robots_resumed_is_as_if_it_had_not_been_stopped(site: Site, tmp_path: Path, stops: int) -> None:
    """Whenever the run is stopped: each entry has one result in the end, and each that is left out was counted once."""
    pages = [f"{site.root}/{'no' if number % 3 else 'yes'}/{number}" for number in range(600)]
    seed = named(site, *pages)
    config: dict[str, Any] = {"links": {"exclude": ["*/no/*"]}, "output": tmp_path / "run", "concurrency": 2}
    seeds = JobSeeds(urls=[seed], sitemaps=["robots"])
    crawler = Crawler(CrawlerConfig.load(config), launch=FakeLauncher(None))
    async with crawler, crawler.stream(seeds) as stream:
        urls = [(await anext(stream)).url for _ in range(stops)]
        await crawler.stop()
        urls += [result.url async for result in stream]
    told, left_out = await crawled(["robots"], urls=[seed], **config, resume=True)
    assert sorted([*urls, *told]) == sorted([seed, *(page for page in pages if "/yes/" in page)])
    assert left_out == {"excluded": 400}


def test_job_seeds_robots_without_urls_is_refused() -> None:
    """There is nothing whose robots.txt could be asked."""
    with pytest.raises(ConfigError, match=r"robots stands for the robots\.txt of the hosts of urls: give some"):
        JobSeeds(sitemaps=["robots"])
