"""The user's own proxy behind the network guard."""

from browsercrawl import Crawler, CrawlerConfig
from browsercrawl.testing import DemoSite, ForwardProxy


async def test_crawl_guarded_goes_through_the_proxy_of_all_sessions() -> None:
    """`browser.proxy` stands behind the guard: it gets what is allowed; when it is down, that is what is told."""
    with DemoSite() as site, ForwardProxy() as proxy:
        config = {
            "concurrency": 1,
            "retry": {"retries": 0},
            "network": {"guard": "on"},
            "browser": {"proxy": proxy.url},
        }
        async with Crawler(CrawlerConfig.load(config)) as crawler:
            result = await crawler.fetch(site.url)
            assert result.outcome == "succeeded", result.error
            assert f"{site.url}/" in {request.target for request in proxy.requests}
            proxy.stop()
            failed = await crawler.fetch(f"{site.url}/?again")
    assert failed.error is not None
    assert "cannot be reached" in failed.error.message
