"""How long to leave a host or a request alone after a failure."""

import random as stdlib_random
from random import Random

from browsercrawl.config import HostConfig, RetryConfig

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


def host_deferral_s(config: HostConfig, refusals: int, *, asked_s: float | None, random: Random | None = None) -> float:
    """Return for how long a host that answered 429 or 503 is left alone.

    What the host asks for is granted. Otherwise the pause is `defer_s`, doubled with each consecutive refusal, plus up
    to a tenth at random; never more than `defer_max_s` in either case.

    Args:
        config: `defer_s` and `defer_max_s`.
        refusals: how often in a row it has refused, from 1. Pages that were open when it first did are one refusal.
        asked_s: what its Retry-After said; None: nothing usable.
        random: source of the jitter; None: Python's own generator.
    """
    if asked_s is not None:
        return min(asked_s, config.defer_max_s)
    pause_s = config.defer_s * 2.0 ** min(refusals - 1, _DOUBLINGS_MAX)
    return min(pause_s * (1.0 + _JITTER * _draw(random)), config.defer_max_s)


def _draw(random: Random | None) -> float:
    return stdlib_random.random() if random is None else random.random()
