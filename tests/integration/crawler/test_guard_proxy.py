"""The user's own proxy behind the network guard."""

import pytest

from browsercrawl import Crawler, CrawlerConfig
from browsercrawl.errors import SessionPaused
from browsercrawl.testing import DemoSite, ForwardProxy
from tests.socks import socks_proxy


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


@pytest.mark.parametrize("guard", ["on", "off"])
async def test_crawl_session_logs_in_to_its_socks_proxy(guard: str) -> None:
    """Chromium cannot log in to a SOCKS proxy: the session's own way does, also while the guard is off."""
    async with socks_proxy(("me", "p@ss")) as proxy:
        with DemoSite() as site:

            def crawler(password: str) -> Crawler:
                server = proxy.url.replace("//", f"//me:{password}@")
                sessions = {"proxies": [server], "proxy_cooldown_s": 0.0}
                return Crawler(CrawlerConfig.load({"network": {"guard": guard}, "sessions": sessions}))

            async with crawler("p%40ss") as right:
                result = await right.fetch(site.url)
            assert result.outcome == "succeeded", result.error
            assert set(proxy.asked) == {site.url.split("/")[2]}
            async with crawler("mistaken") as wrong:
                with pytest.raises(SessionPaused, match="refuses our user name and password") as told:
                    await wrong.fetch(site.url)
    assert "mistaken" not in str(told.value)
