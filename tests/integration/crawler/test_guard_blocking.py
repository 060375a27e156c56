"""Hosts that are blocked, in crawls: wherever a context's way leads, nothing of theirs is fetched, and that is told."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from browsercrawl import Result
from browsercrawl.testing import ForwardProxy
from browsercrawl.testing.server import SCRIPT, Exchange, Server

if TYPE_CHECKING:
    from tests.integration.crawler.conftest import NewCrawler

PAGE = """<title>page</title>
<script src='http://ads.localhost:{port}/s.js'></script>
<script src='http://deep.ads.localhost:{port}/s.js'></script>
<script src='http://bads.localhost:{port}/s.js'></script>
<a href='http://ads.localhost:{port}/linked'>x</a>
<script>
for (const host of ['ads', 'deep.ads', 'fine']) {{
  const socket = new WebSocket(`ws://${{host}}.localhost:{port}/socket`);
  socket.onerror = () => {{ if (++window.ended == 3) document.body.id = 'done' }};
}}
window.ended = 0;
</script>"""

WAYS: dict[str, tuple[dict[str, Any], str]] = {
    "guard": ({"network": {"guard": "on", "allow": ["*.localhost"]}}, "none"),
    "guard, proxy of all": ({"network": {"guard": "on", "allow": ["*.localhost"]}}, "all"),
    "guard, proxy of the session": ({"network": {"guard": "on", "allow": ["*.localhost"]}}, "session"),
    "guard not on yet": ({"network": {"guard": "auto"}}, "none"),
    "guard not on yet, proxy of the session": ({"network": {"guard": "auto"}}, "session"),
    "guard not on yet, proxy with a password": ({"network": {"guard": "auto"}}, "password"),
    "no guard, proxy of all": ({"network": {"guard": "off"}}, "all"),
    "no guard, proxy of the session": ({"network": {"guard": "off"}}, "session"),
    "no guard, proxy with a password": ({"network": {"guard": "off"}}, "password"),
}


class Site:
    """One server behind all names, which counts who was asked for what."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.server = Server(self._answer)
        self.port = self.server.port

    def _answer(self, exchange: Exchange) -> None:
        host = exchange.headers["host"].partition(":")[0]
        self.asked[host + exchange.path] += 1
        if exchange.path == "/s.js":
            exchange.respond("", content_type=SCRIPT)
        elif exchange.path == "/moved":
            exchange.respond(status=302, headers={"Location": f"http://ads.localhost:{self.port}/moved-to"})
        elif exchange.path == "/moves":
            exchange.respond(f"<meta http-equiv=refresh content='0;url=http://ads.localhost:{self.port}/moves-to'>")
        elif exchange.path == "/socket":
            exchange.respond("no socket", status=404)
        else:
            exchange.respond(PAGE.format(port=self.port))


@pytest.fixture
def site() -> Iterator[Site]:
    """The site."""
    opened = Site()
    yield opened
    opened.server.stop()


@pytest.mark.parametrize("way", WAYS)
async def test_crawl_with_blocked_hosts_never_reaches_them(site: Site, new_crawler: "NewCrawler", way: str) -> None:
    """Scripts, sockets, links, redirects, seeds, names below: none arrives, whichever way the context goes.

    Those that would have been pages are `skipped` as `blocked_host`; whose name only ends alike is fetched.
    """
    options, kind = WAYS[way]
    username, password = ("me", "planted") if kind == "password" else (None, "")
    names = ("page", "moved", "moves")
    urls = [f"http://site.localhost:{site.port}/{name}" for name in names]
    urls += [f"http://{host}.localhost:{site.port}/seed" for host in ("ads", "deep.ads")]
    with ForwardProxy(username=username, password=password) as proxy:
        url = proxy.url.replace("//", "//me:planted@") if password else proxy.url
        browser = {"block_hosts": ["ads.localhost"]} | ({"proxy": url} if kind == "all" else {})
        sessions = {"sessions": {"proxies": [url]}} if kind in {"session", "password"} else {}
        async with new_crawler(
            browser=browser,
            visit={"timeout_s": 10, "wait_for": "#done"},
            retry={"retries": 0},
            links={"depth": 1, "scope": "any"},
            **options,
            **sessions,
        ) as crawler:
            stream = crawler.stream(urls)
            results: dict[str, Result] = {result.url: result async for result in stream}
        assert bool(proxy.requests) == (kind != "none")
        assert [each.target for each in proxy.requests if "ads.localhost" in each.target.replace("bads", "")] == []
    told = [(results[url].outcome, results[url].skip_reason or results[url].error) for url in urls]
    assert told == [("succeeded", None), *[("skipped", "blocked_host")] * 4]
    assert {name for name in site.asked if "favicon" not in name} == {
        "site.localhost/page", "site.localhost/moved", "site.localhost/moves", "bads.localhost/s.js",
        "fine.localhost/socket",
    }  # fmt: skip
    assert stream.summary is not None
    assert stream.summary.links_skipped == {"blocked_host": 1}
    assert stream.summary.refused == 0, "the user's own list is no attack"
