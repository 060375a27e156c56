"""Looking for the number of pages with the best throughput, by trials: more pages that bring nothing are not kept."""

import math
import statistics
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

KEEP = 0.05
"""What twice as many pages must bring in pages/s to be kept, and a part of it for a part more: a page that brings less
than a twentieth of the others' share is not worth its memory."""
FACTORS = (2.0, 1.4, 1.2)
"""By what sizes are tried larger and smaller: doubled (slow start), then closer; a tenth off the best is left."""
BATCH_VISITS = 8
"""Visits in one measurement of throughput, at least; at least one for each page, so that all pages count alike."""
BATCHES_MAX = 24
"""Batches after which a difference that is still not clear of its noise is too small to matter."""
CLEAR, LIKELY = 2.0, 1.0
"""Standard errors that make a difference clear (97.7 %) at any time, and likely enough (84 %) at a trial's end."""
VARIATION = 0.5
"""Of the durations of visits, relative to their mean, until batches show more: two batches alike prove nothing."""
REST_S, REST_S_MAX = 60.0, 600.0
"""Between two searches: the trials of a search cost throughput, so the longer nothing better is found the rarer."""
FALLEN = 0.85
"""A size that brings less than this part of what it did is looked at again, downwards too."""


@dataclass(frozen=True, slots=True)
class Beat:
    """What a search hears at each step: `is_full` if pages were as many as the size says, `most` it may try."""

    at_s: float
    finished: int
    is_full: bool
    most: int


class Tally:
    """The last batches of visits at one size, and what they say of its throughput."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.batches: deque[tuple[int, float]] = deque(maxlen=BATCHES_MAX)
        self._settling = size
        self._visits = 0
        self._since: float | None = None

    def add(self, beat: Beat) -> bool:
        """Count what has finished; tell whether that has made a batch full.

        The visits that began at another size, one for each page, do not count.
        """
        if self._settling > 0 or not beat.is_full or self._since is None:
            self._settling -= beat.finished
            self._visits, self._since = 0, beat.at_s
            return False
        self._visits += beat.finished
        if self._visits < max(BATCH_VISITS, self.size) or beat.at_s <= self._since:
            return False
        self.batches.append((self._visits, beat.at_s - self._since))
        self._visits, self._since = 0, beat.at_s
        return True

    def copy(self) -> "Tally":
        """Return what is known now."""
        copy = Tally(self.size)
        copy.batches.extend(self.batches)
        return copy

    def settle(self, visits: int) -> None:
        """Leave out the next visits: they began at another size."""
        self._settling = visits

    @property
    def rate(self) -> float:
        """Visits per second."""
        return sum(visits for visits, _ in self.batches) / sum(took_s for _, took_s in self.batches)

    @property
    def error(self) -> float:
        """Relative standard error of the rate: what the batches show, but no less than usual visits would give."""
        rates = [visits / took_s for visits, took_s in self.batches]
        seen = statistics.stdev(rates) / math.sqrt(len(rates)) / self.rate if len(rates) > 1 else 0.0
        return max(seen, VARIATION / math.sqrt(sum(visits for visits, _ in self.batches)))


class Search:
    """Looks for the number of pages with the best throughput, by trials.

    Both sizes are measured in turns, so that what changes meanwhile meets both, until the difference is clear of its
    noise; if that takes too long, things stay as they were. First twice as many, again and again (slow start), or
    half; then closer; then rest.

    Attributes:
        home: the best size known.
        size: what is in force: that, or a trial's.
    """

    def __init__(self, size: int) -> None:
        self.home = self.size = size
        self._best = Tally(size)
        self._trial: Tally | None = None
        self._factor = FACTORS[0]
        self._factors = deque(_both(FACTORS))
        self._usual: Tally | None = None
        self._rests_until = math.inf
        self._rest_s = REST_S

    def interrupt(self, at_s: float) -> None:
        """Forget what was measured under pressure, and rest."""
        self.size = self.home
        self._best, self._trial, self._usual = Tally(self.home), None, None
        self._factors.clear()
        self._rests_until = at_s + self._rest_s

    def step(self, beat: Beat) -> int:
        """Return the size from now on."""
        trial, best = self._trial, self._best
        now, other = (trial, best) if trial and self.size == trial.size else (best, trial)
        if not now.add(beat):
            return self.size
        if trial and other:
            is_kept = self._judge(trial)
            if is_kept is None:
                if len(now.batches) >= 2 * len(other.batches):
                    self._turn_to(other)
                return self.size
            if is_kept:
                self._keep(trial)
            self._trial = None
        elif self._has_fallen():
            self._best, self._usual = Tally(self.home), None  # what it brought before says nothing any more
            self._factors = deque(sorted(_both(FACTORS)))
            return self.size
        elif beat.at_s >= self._rests_until:
            self._factors.append(FACTORS[1])
        self._turn_to(self._next_trial(beat) or self._best)
        return self.size

    def _turn_to(self, tally: Tally) -> None:
        if tally.size != self.size:
            tally.settle(max(tally.size, self.size))
            self.size = tally.size

    def _next_trial(self, beat: Beat) -> Tally | None:
        while self._factors:
            self._factor = self._factors.popleft()
            size = round(self.home * self._factor)
            size = min(max(size, self.home + 1), beat.most) if self._factor > 1 else min(size, self.home - 1)
            if size >= 1 and (size > self.home) == (self._factor > 1):
                self._trial = Tally(size)
                return self._trial
        if self._usual is None or beat.at_s >= self._rests_until:
            self._usual = self._best.copy()
            self._rests_until, self._rest_s = beat.at_s + self._rest_s, min(2 * self._rest_s, REST_S_MAX)
        return None

    def _keep(self, trial: Tally) -> None:
        """Take a trial's size for the best, and go on in the same direction, then closer."""
        self.home, self._best = trial.size, trial
        closer = [each for each in FACTORS if each < max(self._factor, 1 / self._factor)]
        self._factors = deque([self._factor, *_both(closer)])
        self._usual, self._rest_s = None, REST_S

    def _judge(self, trial: Tally) -> bool | None:
        """Tell whether the trial's size is to be kept; None: not clear yet."""
        is_up = trial.size > self.home
        low, high = (self._best, trial) if is_up else (trial, self._best)
        needed = math.log1p(KEEP * (high.size / low.size - 1))
        difference = math.log(high.rate / low.rate) - needed
        is_last = len(trial.batches) == BATCHES_MAX
        if abs(difference) < (LIKELY if is_last else CLEAR) * math.hypot(high.error, low.error):
            return False if is_last else None
        return (difference > 0) == is_up

    def _has_fallen(self) -> bool:
        """Tell whether the best size brings clearly less than when it was chosen."""
        usual, best = self._usual, self._best
        return usual is not None and (
            math.log(FALLEN * usual.rate / best.rate) > CLEAR * math.hypot(usual.error, best.error)
        )


def _both(factors: Sequence[float]) -> list[float]:
    return [each for factor in factors for each in (factor, 1 / factor)]
