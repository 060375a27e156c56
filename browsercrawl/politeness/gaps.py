"""The gap between two visits of a host, where it counts: at their starts."""

from collections import OrderedDict

_HOSTS_MAX = 10_000
"""Hosts remembered; past that the one visited longest ago is forgotten: its delay is over, or its frontier keeps it."""


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
