"""What is blocked is never fetched, wherever in the browser it is asked for; everything else is as before."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from browsercrawl.browser import launcher
from browsercrawl.config import BrowserConfig
from browsercrawl.events import discard
from browsercrawl.ports import ContextOptions, PagePort
from browsercrawl.testing.proxy import ForwardProxy
from browsercrawl.testing.server import SCRIPT, Exchange

if TYPE_CHECKING:
    from tests.integration.browser.conftest import Site

HOSTS = BrowserConfig(block_hosts=frozenset({"ads.localhost"}))
MANY = BrowserConfig(block_hosts=HOSTS.block_hosts | {f"tracker{number}.metrics.example" for number in range(3_000)})
"""Too many for the command line."""


def script(exchange: Exchange) -> None:
    """Be a script that tells it ran."""
    exchange.respond(
        "self.ran = (self.ran || 0) + 1", content_type=SCRIPT, headers={"Access-Control-Allow-Origin": "*"}
    )


@asynccontextmanager
async def opened(config: BrowserConfig, proxy: str | None = None) -> AsyncIterator[PagePort]:
    """Open a page of a browser of its own, ready for a visit."""
    browser = await launcher(config, discard)()
    try:
        extra = {} if proxy is None else {"proxy": {"server": proxy, "bypass": "<-loopback>"}}
        context = await browser.new_context(ContextOptions(extra=extra), limit_s=5)
        page = await context.new_page(limit_s=5)
        await page.begin()
        yield page
    finally:
        await browser.close(limit_s=5)


async def load(page: PagePort, url: str) -> None:
    """Load a page to its end."""
    assert (await page.goto(url, wait_until="load", load_limit_s=5, limit_s=6)).loaded


@pytest.mark.parametrize("config", [HOSTS, MANY], ids=["rules", "patterns"])
async def test_block_hosts_stops_a_host_and_the_names_below_it_only(site: "Site", config: BrowserConfig) -> None:
    """Whole labels count; a name that ends alike and an address that merely contains one pass; `load` still comes."""
    site.url("/s.js", script)
    urls = [site.url("/s.js?" + each, host=each) for each in ("ads.localhost", "deep.ads.localhost")]
    urls += [site.url("/s.js?bads", host="bads.localhost"), site.url("/s.js?u=http://ads.localhost/x")]
    tags = "".join(f"<script src='{url}' onerror='window.failed=(window.failed||0)+1'></script>" for url in urls)
    async with opened(config) as page:
        await load(page, site.url("/", tags))
        assert await page.raw.evaluate("[window.ran, window.failed]") == [2, 2]
    assert site.hits("/s.js") == 2


async def test_block_hosts_behind_a_proxy_holds_as_well(site: "Site") -> None:
    """Where a proxy would resolve the name, the proxy is not even asked."""
    site.url("/s.js", script)
    tag = f"<script src='{site.url('/s.js', host='ads.localhost')}'></script><script src=/s.js></script>"
    with ForwardProxy() as proxy:
        async with opened(HOSTS, proxy=f"http://127.0.0.1:{proxy.port}") as page:
            await load(page, site.url("/", tag))
            assert await page.raw.evaluate("window.ran") == 1
        assert proxy.requests
    assert site.hits("/s.js") == 1


async def test_block_in_popups_frames_workers_and_after_redirects_holds(site: "Site") -> None:
    """No corner of the browser fetches what is blocked: neither by type nor by host."""
    config = BrowserConfig(block=frozenset({"image"}), block_hosts=MANY.block_hosts)
    site.url("/p.png", lambda exchange: exchange.respond(b"", content_type="image/png"))
    away = site.url("/secret", "x", host="ads.localhost")
    site.url("/r", lambda exchange: exchange.respond(status=302, headers={"Location": away}))
    inner = f"<img src=/p.png><script src='{away}'></script>"
    other = site.url("/inner", inner, host="other.localhost")
    site.url("/popup", inner)
    work = f"fetch('{away}').catch(()=>0).then(()=>fetch('/r')).catch(()=>0).then(()=>fetch('/done'))"
    site.url("/w.js", lambda exchange: exchange.respond(work, content_type=SCRIPT))
    claim = f"addEventListener('activate',e=>e.waitUntil({work}))"
    site.url("/sw.js", lambda exchange: exchange.respond(claim, content_type=SCRIPT))
    site.url("/done", "x")
    site.url("/count", lambda exchange: exchange.respond(str(site.hits("/done"))))
    start = "new Worker('/w.js');navigator.serviceWorker.register('/sw.js')"
    outer = f"<iframe src='{other}'></iframe><script>{start}</script>"
    async with opened(config) as page:
        await load(page, site.url("/", outer, host="localhost"))
        async with page.raw.expect_popup() as opening:
            await page.raw.evaluate("void open('/popup')")
        await (await opening.value).wait_for_load_state("load")
        await page.raw.wait_for_function("fetch('/count').then(r => r.text()).then(t => +t >= 2)", polling=100)
    assert (site.hits("/p.png"), site.hits("/secret")) == (0, 0)
    assert site.hits("/r") == 2


async def test_block_leaves_the_cache_and_what_is_not_blocked_alone(site: "Site") -> None:
    """A script that may be cached is fetched once for two loads: unlike routing, blocking keeps the HTTP cache on."""

    def lasting(exchange: Exchange) -> None:
        exchange.respond("window.ran = 1", content_type=SCRIPT, headers={"Cache-Control": "max-age=600"})

    site.url("/lasting.js", lasting)
    url = site.url("/", "<script src=/lasting.js></script><img src=/p.png>")
    config = BrowserConfig(block=frozenset({"image"}), block_hosts=MANY.block_hosts)
    async with opened(config) as page:
        for address in (url, f"{url}?again"):
            await load(page, address)
            assert await page.raw.evaluate("window.ran") == 1
    assert (site.hits("/lasting.js"), site.hits("/p.png")) == (1, 0)
