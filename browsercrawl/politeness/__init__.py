"""Politeness: robots.txt, delays and concurrency per host, Retry-After, and how long to pause before trying again."""

from browsercrawl.politeness.backoff import (
    OPENINGS_MAX,
    REFUSALS_MAX,
    host_deferral_s,
    host_opening_s,
    is_hopeless,
    retry_delay_s,
)
from browsercrawl.politeness.gaps import VisitGaps, VisitRate, pace_s
from browsercrawl.politeness.grouping import slot_key
from browsercrawl.politeness.retry_after import retry_after_s
from browsercrawl.politeness.robots import Leave, Robots
from browsercrawl.politeness.robots_file import ROBOTS_BYTES_MAX, RobotsFile
from browsercrawl.politeness.rules import HostRules, slot_rules

__all__ = [
    "OPENINGS_MAX",
    "REFUSALS_MAX",
    "ROBOTS_BYTES_MAX",
    "HostRules",
    "Leave",
    "Robots",
    "RobotsFile",
    "VisitGaps",
    "VisitRate",
    "host_deferral_s",
    "host_opening_s",
    "is_hopeless",
    "pace_s",
    "retry_after_s",
    "retry_delay_s",
    "slot_key",
    "slot_rules",
]
