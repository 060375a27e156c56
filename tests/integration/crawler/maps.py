"""Sites with sitemaps, and crawls of them with a fake browser."""

from collections.abc import Callable, Sequence
from typing import Any

from browsercrawl import Crawler, CrawlerConfig, Result
from browsercrawl.crawler.inputs import JobSeeds
from browsercrawl.testing.fake_browser import FakeLauncher, Sites
from browsercrawl.testing.server import Exchange, Server

Content = Callable[[Exchange], None]

SPACE = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'


class Site:
    """A server that has what it is given, by path."""

    def __init__(self) -> None:
        self.contents: dict[str, Content | str] = {}
        self._server = Server(self._answer)
        self.port = self._server.port
        self.root = f"http://127.0.0.1:{self.port}"
        self.stop = self._server.stop

    def asked(self) -> list[str]:
        """What it was asked, in order."""
        return [arrival.target for arrival in self._server.arrivals()]

    def put(self, path: str, content: Content | str) -> str:
        """Have something at a path; an address is redirected to."""
        self.contents[path] = content
        return self.root + path

    def _answer(self, exchange: Exchange) -> None:
        content = self.contents.get(exchange.target)
        if callable(content):
            content(exchange)
        elif content is not None and content.startswith("http"):
            exchange.respond(status=302, headers={"Location": content})
        else:
            exchange.respond(content or "", status=404 if content is None else 200)


def urlset(*pages: str) -> str:
    """Write a sitemap."""
    return f"<urlset {SPACE}>{''.join(f'<url><loc>{page}</loc></url>' for page in pages)}</urlset>"


def index(*sitemaps: str) -> str:
    """Write an index."""
    return (
        f"<sitemapindex {SPACE}>{''.join(f'<sitemap><loc>{each}</loc></sitemap>' for each in sitemaps)}</sitemapindex>"
    )


async def crawled(
    sitemaps: Sequence[str],
    *,
    urls: Sequence[str] = (),
    pages: Sites = None,
    prepare: Callable[[Crawler], object] = lambda _: None,
    **options: Any,
) -> tuple[dict[str, str], dict[str, int]]:
    """Crawl; return what became of each request or piece of input, and the links left out, by reason."""
    config = CrawlerConfig.load({"retry": {"retries": 0}, **options})
    seeds = JobSeeds(urls=urls, sitemaps=sitemaps, config=config)
    async with Crawler(config, launch=FakeLauncher(pages)) as crawler:
        prepare(crawler)
        async with crawler.stream(seeds) as stream:
            told = {result.url: ended(result) async for result in stream}
    assert stream.summary is not None
    return told, {str(reason): count for reason, count in stream.summary.links_skipped.items()}


def ended(result: Result) -> str:
    """Return how a request ended, in a word or a sentence."""
    return result.error.message if result.error is not None else result.skip_reason or result.outcome
