"""Politeness: delays and concurrency per host, Retry-After, and how long to pause before trying again."""

from browsercrawl.politeness.backoff import host_deferral_s, retry_delay_s
from browsercrawl.politeness.gaps import VisitGaps
from browsercrawl.politeness.retry_after import retry_after_s
from browsercrawl.politeness.rules import HostRules, slot_rules

__all__ = ["HostRules", "VisitGaps", "host_deferral_s", "retry_after_s", "retry_delay_s", "slot_rules"]
