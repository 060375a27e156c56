"""The gap between two visits of a host, where it counts: at their starts."""

from collections import OrderedDict
from collections.abc import Callable

from browsercrawl.politeness.rules import HostRules

_HOSTS_MAX = 10_000
"""Hosts remembered; past that the one visited longest ago is forgotten: its delay is over, or its frontier keeps it."""


class VisitGaps:
    """Keeps the starts of two visits of a host its delay apart.

    The frontier keeps claims apart. But getting a page takes a moment, the first one longest: without this, two visits
    claimed a second apart would reach the host together when their pages become ready together.

    Args:
        rules_of: gives the rules of a `hostname:port`.
    """

    def __init__(self, rules_of: Callable[[str], HostRules]) -> None:
        self._rules_of = rules_of
        self._next: OrderedDict[str, float] = OrderedDict()

    def reserve(self, host: str, *, now: float) -> tuple[float, float]:
        """Take the next start of a host.

        Args:
            host: `hostname:port`.
            now: on the engine's clock.

        Returns:
            Seconds until this visit may start, and, from now, until the host's next one may; (0, 0) without a delay.
        """
        delay_s = self._rules_of(host).delay_s
        if not delay_s:
            return 0.0, 0.0
        start = max(now, self._next.pop(host, now))
        self._next[host] = start + delay_s
        if len(self._next) > _HOSTS_MAX:
            self._next.popitem(last=False)
        return start - now, start - now + delay_s
