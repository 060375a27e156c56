"""Sitemaps and the network guard: real servers on loopback, a fake browser, crawls from seeds to summary."""

import re
import resource
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from browsercrawl import BrowserConfig, Crawler, CrawlerConfig, NetworkConfig
from browsercrawl.crawler.inputs import JobSeeds
from browsercrawl.crawler.inputs.readers import BadSitemap
from browsercrawl.crawler.inputs.sitemap import SitemapClient
from browsercrawl.events import discard
from browsercrawl.net import Guard, Reason, Way
from browsercrawl.testing.fake_browser import FakeLauncher
from browsercrawl.testing.proxy import ForwardProxy
from browsercrawl.urls import Address
from tests.integration.crawler.maps import Site, crawled, index, urlset
from tests.socks import socks_proxy


@pytest.fixture
def site() -> Iterator[Site]:
    """Give the site that the user names."""
    made = Site()
    yield made
    made.stop()


@pytest.fixture
def secret() -> Iterator[Site]:
    """Give a private one that the user does not name."""
    made = Site()
    yield made
    made.stop()


class Guarded:
    """A network without a crawl."""

    def __init__(self) -> None:
        self.guard = Guard(NetworkConfig(), emit=discard)
        self.opened = 0

    async def trust(self, addresses: Iterable[Address]) -> None:
        """See `Network`."""
        for each in addresses:
            self.guard.trust(each)

    def refusal(self, address: Address) -> Reason | None:
        """See `Network`."""
        return self.guard.refusal(address)

    async def open(self, proxy: str | None) -> Way:
        """See `Network`."""
        self.opened += 1
        return await self.guard.open(proxy)


def attack(site: Site, secret: Site) -> tuple[str, dict[str, str]]:
    """Have an index that leads to the secret in every way; return it and, by sitemap, who is refused for what."""
    named = secret.put("/named.xml", urlset(f"{secret.root}/page"))
    hidden = secret.put("/redirected.xml", urlset())
    local = f"http://localhost:{secret.port}/local.xml"
    inner = secret.put("/from-robots.xml", urlset())
    robots = site.put("/robots.txt", f"Sitemap: {inner}")
    redirect = site.put("/a.xml", site.put("/b.xml", hidden))
    metadata = "http://169.254.169.254/latest"
    whole = site.put(
        "/index.xml", index(named, redirect, local, robots, metadata, site.put("/good.xml", urlset(f"{site.root}/1")))
    )
    return whole, {
        named: "127.0.0.1 (loopback)",
        redirect: "127.0.0.1 (loopback)",
        local: "localhost (loopback)",
        inner: "127.0.0.1 (loopback)",
        metadata: "169.254.169.254 (metadata)",
    }


async def test_crawl_sitemap_that_leads_to_private_addresses_reaches_none(site: Site, secret: Site) -> None:
    """What it names or redirects to is refused, each a failed result with the guard's reason; the others go on."""
    whole, refused = attack(site, secret)
    told, _ = await crawled([whole], network={"guard": "on"})
    assert secret.asked() == []
    assert told.pop(f"{site.root}/1") == "succeeded"
    assert told == {
        url: f"sitemap {url} cannot be read: the network guard refuses {why}" for url, why in refused.items()
    }


async def test_crawl_sitemap_without_guard_reaches_what_it_leads_to(site: Site, secret: Site) -> None:
    """Without the guard the same sitemap reaches its aim: what the other test shows is the guard's doing."""
    whole, refused = attack(site, secret)
    site.put("/index.xml", str(site.contents["/index.xml"]).replace("http://169.254.169.254/latest", secret.root))
    await crawled([whole], network={"guard": "off"})
    assert {"/named.xml", "/redirected.xml", "/local.xml", "/from-robots.xml"} <= set(secret.asked())
    assert len(refused) == 5


async def test_crawl_sitemap_goes_through_a_socks_proxy(site: Site, secret: Site) -> None:
    """It is the guard's way that speaks SOCKS; what is refused the proxy never hears of."""
    whole = site.put("/index.xml", index(site.put("/a.xml", urlset(f"{site.root}/1")), f"{secret.root}/b.xml"))
    async with socks_proxy() as proxy:
        told, _ = await crawled([whole], network={"guard": "on"}, browser={"proxy": proxy.url})
    assert sorted(told.values()) == [
        f"sitemap {secret.root}/b.xml cannot be read: the network guard refuses 127.0.0.1 (loopback)",
        "succeeded",
    ]
    assert site.asked() == ["/index.xml", "/a.xml"]
    assert proxy.asked == [f"127.0.0.1:{site.port}"] * 2


async def test_crawl_sitemap_goes_the_way_that_pages_go(site: Site) -> None:
    """Through a proxy of the sessions, with its password: nobody learns from where the crawler is run."""
    whole = site.put("/map.xml", urlset(f"{site.root}/1"))
    with ForwardProxy(username="me", password="secret") as proxy:
        way = proxy.url.replace("://", "://me:secret@")
        told, _ = await crawled([whole], sessions={"proxies": [way]})
    assert told == {f"{site.root}/1": "succeeded"}
    assert [(request.target, request.username) for request in proxy.requests] == [(whole, "me")]


@pytest.mark.parametrize(
    ("url", "proxy", "reason"),
    [
        ("http://127.0.0.1:1/", "socks5://127.0.0.1:1", "the proxy 127.0.0.1:1 cannot be reached"),
        ("http://127.0.0.1:1/", None, "the connection failed (ERR_CONNECTION_REFUSED)"),
        ("https://127.0.0.1:1/", None, "the connection failed (ERR_CONNECTION_REFUSED)"),
    ],
)
async def test_fetch_by_a_way_says_what_failed(url: str, proxy: str | None, reason: str) -> None:
    """Though the connection to the way looks cut, the error names the true cause."""
    network = Guarded()
    client = SitemapClient(BrowserConfig(proxy=proxy), network=network, pauses_s=())
    with pytest.raises(BadSitemap, match=re.escape(reason)):
        await client.fetch(url)
    network.guard.close()


async def test_fetch_without_a_free_port_is_tried_again(site: Site) -> None:
    """No way can be opened: that is what the error says, after as many tries as any passing failure gets."""
    url = site.put("/sitemap.xml", urlset("https://a.example/"))
    network = Guarded()
    client = SitemapClient(network=network, pauses_s=(0.0, 0.0))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        with pytest.raises(BadSitemap, match=r"no way into the network: .*Too many open files"):
            await client.fetch(url)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert network.opened == 3
    assert list(await client.fetch(url)) == ["https://a.example/"]
    network.guard.close()


async def test_crawl_private_page_in_a_sitemap_is_no_word_of_the_users(site: Site, secret: Site) -> None:
    """The sitemap's own private origin is the user's choice, another one in it is not, as in a link."""
    named = site.put("/sitemap.xml", urlset(f"{site.root}/page", f"{secret.root}/page", "http://10.0.0.1/"))
    told, _ = await crawled([named], network={"guard": "on"})
    assert told == {f"{site.root}/page": "succeeded", f"{secret.root}/page": "guard", "http://10.0.0.1/": "guard"}


async def test_crawl_private_sitemap_is_trusted_unless_denied(site: Site) -> None:
    """`deny: [private]` takes the trust in addresses of sitemaps back, as in seeds."""
    named = site.put("/sitemap.xml", urlset(f"{site.root}/page"))
    told, _ = await crawled([named], network={"deny": ["private"]})
    assert told == {named: f"sitemap {named} cannot be read: the network guard refuses 127.0.0.1 (denied)"}
    assert site.asked() == []


async def test_crawl_resumed_trusts_the_origin_of_a_sitemap_that_was_read(site: Site, tmp_path: Path) -> None:
    """Its pages that wait when the run ends are visited by the process that goes on, which reads no sitemap."""
    pages = [f"{site.root}/{number}" for number in range(30)]
    named = site.put("/sitemap.xml", urlset(*pages))
    options: dict[str, Any] = {"network": {"guard": "on"}, "output": tmp_path / "run", "concurrency": 1}
    config = CrawlerConfig.load(options)
    seeds = JobSeeds(sitemaps=[named], config=config)
    async with Crawler(config, launch=FakeLauncher(None)) as crawler, crawler.stream(seeds) as stream:
        first = [await anext(stream)]
        await crawler.stop()
        first += [result async for result in stream]
    told, _ = await crawled([named], **options, resume=True)
    assert len(told) == 30 - len(first) > 0
    assert set(told.values()) == {"succeeded"}


async def test_crawl_sitemap_spelled_as_a_request_is_none(site: Site) -> None:
    """An entry is an address: it cannot choose the session, label or key of its request."""
    entry = f'{{"url": "{site.root}/x", "session": "alice", "label": "pay"}}'
    told, _ = await crawled([site.put("/sitemap.xml", urlset(entry))])
    assert list(told) == [entry]
    assert "not a URL" in told[entry]
