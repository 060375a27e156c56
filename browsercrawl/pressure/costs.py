"""What one more page will cost in memory, learned while crawling.

A page's cost varies by a factor of twenty from site to site, so it is kept per key (a host, a session, or both joined:
the caller says which). The estimate is an order statistic of the last 39 costs seen: of n+1 exchangeable values the
last one exceeds the k-th smallest of the others with probability 1 - k/(n+1), whatever their distribution. The second
largest of 39 is thus a true 95 % bound without assuming a shape (mean and deviation fail for two kinds of page on one
host), and one freak page does not move it. With fewer, it is the largest seen.
"""

import math
from array import array
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

START_BYTES = 100_000_000
"""A page's cost until pages were seen: more than nine of ten pages of the web take."""

KEYS_MAX = 2048
"""Keys remembered, the longest unused forgotten first: about 2 MB if all are full."""

SAMPLES = 39
"""Costs remembered of a key: with so many the second largest is the bound that 95 % keep."""

KNOWN = 8
"""Costs seen of a key before a lower cost than everybody's is believed of it: the largest of 8 bounds 89 %."""

GROWTH_S = 4.0
"""How long a page grows after its start at most: what loads later is mostly images, and they are small beside it."""

_STEP = 0.5
"""Share of a total's error that one observation corrects: half the noise of a full step, twice as slow."""
_TOTALS_KNOWN = 16
"""Totals a key must have been part of: by then less than 0.1 % of the start value is left in its share."""
_DEVIATIONS = 2.0
"""Mean absolute deviations above the mean that 95 % of normally distributed costs stay below."""
_DEVIATION_WEIGHT = 0.1


def unseen_bytes(cost_bytes: int, *, age_s: float, growth_s: float = GROWTH_S) -> int:
    """Return what a page that should cost so much has not taken yet.

    Holds for pages that grow at least evenly; the sum over all pages in use is `Load.starting_bytes`.

    Args:
        cost_bytes: what was predicted at its start.
        age_s: seconds since then.
        growth_s: how long pages grow, above 0.
    """
    return round(cost_bytes * min(1.0, max(0.0, 1.0 - age_s / growth_s)))


@dataclass(slots=True)
class _Samples:
    """The last costs of one key and kind of page."""

    values: "array[float]" = field(default_factory=lambda: array("d"))
    upper: float = 0.0

    def add(self, value: float) -> None:
        if len(self.values) == SAMPLES:
            del self.values[0]
        self.values.append(value)
        self.upper = sorted(self.values)[-2 if len(self.values) == SAMPLES else -1]

    @property
    def is_known(self) -> bool:
        return len(self.values) >= KNOWN


@dataclass(slots=True)
class _Share:
    """A key's part in totals."""

    mean: float = START_BYTES
    deviation: float = 0.0
    seen: int = 0


@dataclass(slots=True)
class _Key:
    new: _Samples = field(default_factory=_Samples)
    reused: _Samples = field(default_factory=_Samples)
    share: _Share = field(default_factory=_Share)

    def estimate(self, *, is_reused: bool) -> tuple[float, bool] | None:
        """Return the upper estimate, and whether it may be believed if it is low; the other kind stands in."""
        own, other = (self.reused, self.new) if is_reused else (self.new, self.reused)
        for samples in (own, other):
            if samples.is_known:
                return samples.upper, True
        if self.share.seen >= _TOTALS_KNOWN:
            return self.share.mean + _DEVIATIONS * self.share.deviation, True
        most = max(own.upper, other.upper)
        return (most, False) if most else None


class Costs:
    """Learns what pages cost, per key and kind of page.

    A reused page holds the old document until the new one commits, so it grows by other amounts than a new page does.
    """

    def __init__(self) -> None:
        self._all = _Key()
        self._keys: OrderedDict[str, _Key] = OrderedDict()

    def __len__(self) -> int:
        """Return how many keys are remembered."""
        return len(self._keys)

    def observe(self, keys: Sequence[str], cost_bytes: int, *, is_reused: bool) -> None:
        """Note what one page took.

        Args:
            keys: all that the page counts for.
            cost_bytes: by how much it had grown at its peak; below zero counts as zero.
            is_reused: it held another document before.
        """
        for key in (self._all, *(self._key(name) for name in keys)):
            (key.reused if is_reused else key.new).add(max(0.0, float(cost_bytes)))

    def observe_total(self, pages: Sequence[str], *, base_bytes: int, total_bytes: int) -> None:
        """Learn from a total alone: which pages were open, and what was in use.

        One step of the normalised least-mean-squares rule (Kaczmarz's projection, halved): the error of the predicted
        total is shared out among the keys by how many pages each has in it.

        Args:
            pages: the key of each open page, all of them grown.
            base_bytes: in use without any page.
            total_bytes: in use now.
        """
        if not pages:
            return
        counts = Counter(pages)
        taken_bytes = total_bytes - base_bytes
        _project([(self._all.share, len(pages))], taken_bytes)
        _project([(self._key(name).share, count) for name, count in counts.items()], taken_bytes)

    def predict(self, keys: Sequence[str], *, is_reused: bool) -> int:
        """Return what one more page will hardly exceed (95 %), in bytes.

        The first key that is known well enough answers. A key seen less than `KNOWN` times may only raise what holds
        for all pages, and so may all pages raise only what a page costs until pages were seen.

        Args:
            keys: most telling first.
            is_reused: the page holds another document now.
        """
        most = 0.0
        for name in keys:
            key = self._keys.get(name)
            estimate = key.estimate(is_reused=is_reused) if key else None
            if estimate is None:
                continue
            self._keys.move_to_end(name)
            upper, is_known = estimate
            if is_known:
                return round(max(most, upper))
            most = max(most, upper)
        upper, is_known = self._all.estimate(is_reused=is_reused) or (0.0, False)
        return round(max(most, upper if is_known else max(upper, START_BYTES)))

    def _key(self, name: str) -> _Key:
        key = self._keys.get(name)
        if key is None:
            key = self._keys[name] = _Key()
            if len(self._keys) > KEYS_MAX:
                self._keys.popitem(last=False)
        else:
            self._keys.move_to_end(name)
        return key


def _project(shares: list[tuple[_Share, int]], taken_bytes: int) -> None:
    """Correct the shares by a part of what they miss the total by."""
    error = taken_bytes - sum(share.mean * count for share, count in shares)
    norm = sum(count * count for _, count in shares)
    miss = abs(error) / math.sqrt(sum(count for _, count in shares))  # independent deviations add up in squares
    for share, count in shares:
        share.mean = max(0.0, share.mean + _STEP * error * count / norm)
        share.seen += 1
        if share.seen >= _TOTALS_KNOWN:  # before, the error is that of the start value
            share.deviation += _DEVIATION_WEIGHT * (miss - share.deviation)
