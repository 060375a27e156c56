"""The standing restraint towards each host."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from browsercrawl.config import HostConfig, HostRule, is_like
from browsercrawl.urls import is_loopback

_DELAY_S = 1.0
"""Between two starts on a stranger's host, if the user leaves it to us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRules:
    """Restraint towards one host:port; what the frontier keeps for its slot.

    Attributes:
        delay_s: seconds between two starts.
        concurrency_max: pages at once; None: as many as the delay allows.
        jitter: share of the delay that is added to it at most, at random.
    """

    delay_s: float = 0.0
    concurrency_max: int | None = None
    jitter: float = 0.0


def slot_rules(config: HostConfig, hosts: Sequence[HostRule] = ()) -> Callable[[str], HostRules]:
    """Return the function that gives the rules of a slot: of a `hostname:port`, or a domain.

    Args:
        config: holds for all.
        hosts: overrides; the first that matches counts.

    Example:
        >>> slot_rules(HostConfig(delay_s=None))("127.0.0.1:8000").delay_s
        0.0
        >>> slot_rules(HostConfig(delay_s=None))("example.com:443").delay_s
        1.0
        >>> slot_rules(HostConfig(), [HostRule(host="*.example.com", delay_s=5)])("shop.example.com:443").delay_s
        5.0
    """

    def rules(host: str) -> HostRules:
        name = host.rpartition(":")[0] or host
        rule = next((rule for rule in hosts if is_like(name, rule.host) or is_like(host, rule.host)), None)
        delay_s, per_host, jitter = config.delay_s, config.per_host, config.jitter
        if delay_s is None:
            delay_s = 0.0 if is_loopback(name) else _DELAY_S
        if rule is not None:
            delay_s = delay_s if rule.delay_s is None else rule.delay_s
            per_host = per_host if rule.per_host is None else rule.per_host
            jitter = jitter if rule.jitter is None else rule.jitter
        return HostRules(delay_s=delay_s, concurrency_max=per_host, jitter=jitter)

    return rules
