"""browsercrawl: crawl JavaScript-heavy and login-protected sites through a pool of leased browser contexts, and finish.

Example:
    >>> from browsercrawl import Crawler
    >>> async def titles() -> None:
    ...     async with Crawler() as crawler:
    ...         async for result in crawler.stream(["https://example.com/"]):
    ...             print(result.url, result.outcome, result.title)
"""

from browsercrawl.config import (
    BrowserConfig,
    CrawlerConfig,
    HostConfig,
    LimitsConfig,
    LinksConfig,
    NetworkConfig,
    PoolConfig,
    RetryConfig,
    VisitConfig,
    VisitRule,
)
from browsercrawl.crawler import CrawlDispatcher, Crawler, Stream
from browsercrawl.errors import Blocked, BrowsercrawlError, ErrorKind, Retry, Skip, Stop
from browsercrawl.output import FinishReason, Sink, Summary
from browsercrawl.request import Request
from browsercrawl.result import Outcome, Result, ResultRecord
from browsercrawl.version import VERSION as __version__  # noqa: N811 - Python's own name for it
from browsercrawl.visit import Visit

__all__ = [
    "Blocked",
    "BrowserConfig",
    "BrowsercrawlError",
    "CrawlDispatcher",
    "Crawler",
    "CrawlerConfig",
    "ErrorKind",
    "FinishReason",
    "HostConfig",
    "LimitsConfig",
    "LinksConfig",
    "NetworkConfig",
    "Outcome",
    "PoolConfig",
    "Request",
    "Result",
    "ResultRecord",
    "Retry",
    "RetryConfig",
    "Sink",
    "Skip",
    "Stop",
    "Stream",
    "Summary",
    "Visit",
    "VisitConfig",
    "VisitRule",
    "__version__",
]
