"""The crawler: what users hold in their hands. `Crawler` for async programs, `CrawlDispatcher` for plain scripts."""

from browsercrawl.crawler.crawler import Crawler
from browsercrawl.crawler.stream import Stream
from browsercrawl.crawler.threaded import CrawlDispatcher

__all__ = ["CrawlDispatcher", "Crawler", "Stream"]
