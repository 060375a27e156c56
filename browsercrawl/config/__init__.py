"""Configuration: what a crawler can be told, and how people write durations and sizes."""

from browsercrawl.config.models import (
    BrowserConfig,
    CrawlerConfig,
    HostConfig,
    LimitsConfig,
    LinksConfig,
    PoolConfig,
    Profile,
    ResourceType,
    RetryConfig,
    Saved,
    VisitConfig,
    VisitRule,
)
from browsercrawl.config.units import duration_s, size_bytes

__all__ = [
    "BrowserConfig",
    "CrawlerConfig",
    "HostConfig",
    "LimitsConfig",
    "LinksConfig",
    "PoolConfig",
    "Profile",
    "ResourceType",
    "RetryConfig",
    "Saved",
    "VisitConfig",
    "VisitRule",
    "duration_s",
    "size_bytes",
]
