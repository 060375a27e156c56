"""The gap between two visits, of a host and of a run, where it counts: at their starts."""

from collections import OrderedDict

from browsercrawl.config import HostConfig

_HOSTS_MAX = 10_000
"""Hosts remembered; past that the one visited longest ago is forgotten: its delay is over, or its frontier keeps it."""

PACE_MAX_S = 60.0
"""A host that answers slowly is not asked less often than that for it."""

_LATE_S = 0.1
"""A loop that is as late as that still keeps a rate on average."""

_EPSILON = 1e-9
"""An instant that was waited for has come, though sums of floats may miss it by a hair."""


class VisitGaps:
    """Keeps the starts of two visits of a host its delay apart.

    The frontier keeps claims apart. But getting a page takes a moment, the first one longest: without this, two visits
    claimed a second apart would reach the host together when their pages become ready together.
    """

    def __init__(self) -> None:
        self._next: OrderedDict[str, float] = OrderedDict()

    def reserve(self, host: str, *, delay_s: float, now: float) -> tuple[float, float]:
        """Take the next start of a host.

        Args:
            host: `hostname:port`.
            delay_s: to the start after it.
            now: on the engine's clock.

        Returns:
            Seconds until this visit may start, and, from now, until the host's next one may; (0, 0) without a delay.
        """
        if not delay_s:
            return 0.0, 0.0
        start = max(now, self._next.pop(host, now))
        self._next[host] = start + delay_s
        if len(self._next) > _HOSTS_MAX:
            self._next.popitem(last=False)
        return start - now, start - now + delay_s


def pace_s(config: HostConfig, latency_s: float) -> float:
    """Return the delay that a host asks for by how long it took to answer.

    Args:
        config: `latency_factor`.
        latency_s: from the request for the main document to its first byte.
    """
    return min(config.latency_factor * latency_s, PACE_MAX_S)


class VisitRate:
    """Keeps the visits of a run, over all hosts together, to a rate.

    Args:
        rate: visits per second; None: no limit.
    """

    def __init__(self, rate: float | None) -> None:
        self._every_s = 0.0 if rate is None else 1.0 / rate
        self._next = 0.0

    def room(self, most: int, *, now: float) -> int:
        """Return how many visits may begin now, `most` at most; what was not used in time is lost: no rush follows."""
        if not self._every_s:
            return most
        self._next = max(self._next, now - _LATE_S)
        return min(most, max(0, int((now - self._next) / self._every_s + 1.0 + _EPSILON)))

    def take(self, number: int) -> None:
        """Count visits that begin; below 0: that were counted and did not come about."""
        self._next += number * self._every_s

    def ready_in(self, *, now: float) -> float:
        """Return the seconds until one more may begin."""
        return max(0.0, self._next - now)
