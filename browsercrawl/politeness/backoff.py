"""How long to leave a host or a request alone after a failure."""

import random as stdlib_random
from collections import OrderedDict
from dataclasses import dataclass
from random import Random

from browsercrawl.config import HostConfig, RetryConfig

_HOSTS_MAX = 10_000
"""Hosts remembered as refusing; past that the one refused longest ago is forgotten and starts anew."""
_JITTER = 0.1
_DOUBLINGS_MAX = 60
"""Enough for every pause to have reached its cap; keeps the power of two a finite number."""


def retry_delay_s(config: RetryConfig, attempt: int, *, random: Random | None = None) -> float:
    """Return the pause before a request is tried again.

    It doubles with each attempt up to `backoff_max_s`; the upper half of it is random, so that requests that failed
    together do not come back together, and yet none comes back at once.

    Args:
        config: `backoff_s` and `backoff_max_s`.
        attempt: the number of the attempt that failed, from 1.
        random: None: Python's own generator.
    """
    longest_s = min(config.backoff_max_s, config.backoff_s * 2.0 ** min(attempt - 1, _DOUBLINGS_MAX))
    return longest_s * (0.5 + 0.5 * _draw(random))


@dataclass(slots=True)
class _Refusals:
    consecutive: int
    until: float


class HostBackoff:
    """Decides for how long a host that answered 429 or 503 is deferred.

    What the host asks for is granted. Otherwise the pause is `defer_s`, doubled with each consecutive refusal, plus up
    to a tenth at random; never more than `defer_max_s` in either case. Refusals that arrive while a pause stands are
    echoes of pages that were open when it began: they do not double it. A success ends the series. At most 10,000
    hosts are remembered.

    Args:
        config: `defer_s` and `defer_max_s`.
        random: source of the jitter; None: Python's own generator.
    """

    def __init__(self, config: HostConfig, *, random: Random | None = None) -> None:
        self._config = config
        self._random = random
        self._hosts: OrderedDict[str, _Refusals] = OrderedDict()

    def __len__(self) -> int:
        return len(self._hosts)

    def deferral_s(self, host: str, *, asked_s: float | None, now: float) -> float:
        """Count a refusal and return for how many seconds from `now` the host is to be left alone.

        Args:
            host: `hostname:port`.
            asked_s: what its Retry-After said; None: nothing usable.
            now: on the engine's clock.
        """
        known = self._hosts.pop(host, None)
        refusals = known or _Refusals(consecutive=0, until=now)
        if known is None or refusals.until <= now:
            refusals.consecutive += 1
        pause_s = self._own_pause_s(refusals, now) if asked_s is None else min(asked_s, self._config.defer_max_s)
        refusals.until = max(refusals.until, now + pause_s)
        self._hosts[host] = refusals
        if len(self._hosts) > _HOSTS_MAX:
            self._hosts.popitem(last=False)
        return pause_s

    def forgive(self, host: str) -> None:
        """A visit of this host succeeded: its next refusal is a first one."""
        self._hosts.pop(host, None)

    def _own_pause_s(self, refusals: _Refusals, now: float) -> float:
        if refusals.until > now:
            return refusals.until - now
        pause_s = self._config.defer_s * 2.0 ** min(refusals.consecutive - 1, _DOUBLINGS_MAX)
        return min(pause_s * (1.0 + _JITTER * _draw(self._random)), self._config.defer_max_s)


def _draw(random: Random | None) -> float:
    return stdlib_random.random() if random is None else random.random()
