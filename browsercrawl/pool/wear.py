"""Wear: what a page, a context or a browser has been through, and when that is enough.

Budgets are checked where something is given back or lent, so that it is replaced in good time and at rest. Each thing
gets its own share of its budget, from 90 to 100 %, so that what was opened together is not replaced together.
"""

import random
import statistics
from collections import deque
from dataclasses import dataclass

from browsercrawl.clock import Clock
from browsercrawl.config import RecycleConfig

JITTER = 0.1
"""A budget is used up to 10 % earlier."""

DRIFT_SAMPLES = 8
"""Openings that make a median: the first of them is what is usual, the last is what has become of it."""
DRIFT_FACTOR = 4.0
"""Opening a page takes so many times as long as in the beginning: what opens it is worn."""
DRIFT_S = 0.5
"""But no less than this longer: below it nobody cares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What something may go through before it is replaced; `bytes_max` 0: its memory is not looked at."""

    visits_max: int
    age_max_s: float
    bytes_max: int = 0


class Drift:
    """Tells when opening a page has become slow. Medians, so that a single slow one does not count."""

    def __init__(self) -> None:
        self._usual: list[float] = []
        self._last: deque[float] = deque(maxlen=DRIFT_SAMPLES)

    def add(self, took_s: float) -> None:
        """Note how long an opening took, in seconds."""
        if len(self._usual) < DRIFT_SAMPLES:
            self._usual.append(took_s)
        else:
            self._last.append(took_s)

    def reason(self) -> str | None:
        """Tell in words that it has become slow; None: it has not."""
        if len(self._last) < DRIFT_SAMPLES:
            return None
        usual_s, now_s = statistics.median(self._usual), statistics.median(self._last)
        if now_s <= max(DRIFT_FACTOR * usual_s, usual_s + DRIFT_S):
            return None
        return f"opening a page takes {now_s:.2f} s, it took {usual_s:.2f} s"


class Wear:
    """What one thing has been through.

    Attributes:
        visits: it has served.
        drift: of the pages opened in it.
    """

    __slots__ = ("_born_at", "_budget", "_share", "drift", "visits")

    def __init__(self, budget: Budget, *, born_at: float, share: float) -> None:
        """Begin.

        Args:
            budget: what it may go through.
            born_at: on the clock that `reason` is told of.
            share: of the budget that it may use.
        """
        self.visits = 0
        self.drift = Drift()
        self._budget = budget
        self._born_at = born_at
        self._share = share

    def reason(self, now: float, *, held_bytes: int = 0, visits_max: int | None = None) -> str | None:
        """Tell in words why it should be replaced; None: it should not.

        Args:
            now: seconds.
            held_bytes: what it holds, if that is known.
            visits_max: a lower budget of its own; used as it is, without jitter.
        """
        budget, share = self._budget, self._share
        # Rounded up: a budget of a few visits is kept exactly.
        if self.visits >= -int(-budget.visits_max * share // 1) or (visits_max and self.visits >= visits_max):
            return f"served {self.visits} visits"
        if now - self._born_at >= budget.age_max_s * share:
            return f"is {now - self._born_at:.0f} s old"
        if budget.bytes_max and held_bytes >= budget.bytes_max * share:
            return f"holds {held_bytes / 1e6:.0f} MB"
        return self.drift.reason()


class Budgets:
    """What a pool's pages, contexts and browsers may go through."""

    def __init__(self, config: RecycleConfig, clock: Clock) -> None:
        self._clock = clock
        self._random = random.Random()
        self._page = Budget(visits_max=config.page_visits_max, age_max_s=config.page_age_max_s)
        self._context = Budget(visits_max=config.context_visits_max, age_max_s=config.context_age_max_s)
        self._browser = Budget(
            visits_max=config.browser_visits_max,
            age_max_s=config.browser_age_max_s,
            bytes_max=config.browser_bytes_max,
        )

    def new_page(self) -> Wear:
        """Begin the wear of a page."""
        return self._new(self._page)

    def new_context(self) -> Wear:
        """Begin the wear of a context."""
        return self._new(self._context)

    def new_browser(self) -> Wear:
        """Begin the wear of a browser."""
        return self._new(self._browser)

    def _new(self, budget: Budget) -> Wear:
        return Wear(budget, born_at=self._clock.now(), share=1 - JITTER * self._random.random())
