"""The standing restraint towards each host."""

from collections.abc import Callable
from dataclasses import dataclass

from browsercrawl.config import HostConfig
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


def slot_rules(config: HostConfig) -> Callable[[str], HostRules]:
    """Return the function that gives the rules of a `hostname:port`.

    Example:
        >>> slot_rules(HostConfig(delay_s=None))("127.0.0.1:8000").delay_s
        0.0
        >>> slot_rules(HostConfig(delay_s=None))("example.com:443").delay_s
        1.0
    """
    near = HostRules(delay_s=0.0 if config.delay_s is None else config.delay_s, concurrency_max=config.per_host)
    far = HostRules(delay_s=_DELAY_S if config.delay_s is None else config.delay_s, concurrency_max=config.per_host)
    return lambda host: near if is_loopback(host.rpartition(":")[0]) else far
