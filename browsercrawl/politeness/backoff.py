"""How long to leave a host or a request alone after a failure, and when to give a host up.

Two things are held against a host, each counted in a row: refusals (429, 503) and failures (no connection, other 5xx).
Neither is ever held against it twice for pages that were open at the same time.
"""

import random as stdlib_random
from random import Random

from browsercrawl.config import HostConfig, RetryConfig

_JITTER = 0.1
OPENINGS_MAX = 3
"""So often a host that fails is left alone, each time twice as long (1, 2 and 4 minutes if nothing else is said): a
restart is survived, and a host that is gone ends a run within minutes."""
REFUSALS_MAX = 8
"""So many refusals in a row, each after the pause that was asked for, or after ever longer ones: about three hours."""
_PATIENCE = 2
"""So many refusals in a row are taken at their word; a Retry-After that proved too short twice is not believed."""
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

    What the host asks for is granted; from the third refusal in a row on, the pause that would follow without is kept
    as well, from the beginning. Otherwise the pause is `defer_s`, doubled with each consecutive refusal, plus up to a
    tenth at random; never more than `defer_max_s` in either case.

    Args:
        config: `defer_s` and `defer_max_s`.
        refusals: how often in a row it has refused, from 1. Pages that were open when it first did are one refusal.
        asked_s: what its Retry-After said; None: nothing usable.
        random: source of the jitter; None: Python's own generator.
    """
    if asked_s is not None:
        refusals -= _PATIENCE
        if refusals <= 0:
            return min(asked_s, config.defer_max_s)
    pause_s = config.defer_s * 2.0 ** min(refusals - 1, _DOUBLINGS_MAX)
    return min(max(pause_s * (1.0 + _JITTER * _draw(random)), asked_s or 0.0), config.defer_max_s)


def host_opening_s(config: HostConfig, failures: int, *, random: Random | None = None) -> float:
    """Return for how long a host that fails is left alone: not at all before it has failed `failures_max` times.

    Args:
        config: `failures_max`, `defer_s` and `defer_max_s`.
        failures: how often in a row, from 1. Pages that were open together are one failure.
        random: source of the jitter; None: Python's own generator.
    """
    if config.failures_max is None or failures < config.failures_max:
        return 0.0
    return host_deferral_s(config, failures - config.failures_max + 1, asked_s=None, random=random)


def is_hopeless(config: HostConfig, *, refusals: int = 0, failures: int = 0) -> bool:
    """Tell whether a host that has refused or failed so often in a row is given up.

    Args:
        config: `failures_max`.
        refusals: this one included.
        failures: likewise.
    """
    most = config.failures_max
    return refusals > REFUSALS_MAX or (most is not None and failures >= most + OPENINGS_MAX)


def _draw(random: Random | None) -> float:
    return stdlib_random.random() if random is None else random.random()
