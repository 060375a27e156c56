"""The shed ladder: what to give up next when memory runs short, cheapest first. A pure choice; others do it.

Going up: of the rungs whose threshold is reached, that have anything to act on and do not cool down, the lowest one is
taken, one at a time; so a rung is reached only when what is cheaper has been tried or there is nothing of it. Going
down: the two rungs that are states (`stop_admitting`, `stop_reusing`) end with hysteresis, the others are done once.
In an emergency there is no time for what may help: a page goes at once.
"""

from dataclasses import dataclass
from enum import Enum

from browsercrawl.pressure.reading import Reading


class Rung(Enum):
    """What can be given up, cheapest first. The names are public: they stand in events."""

    STOP_ADMITTING = "stop_admitting"
    STOP_REUSING = "stop_reusing"
    CLOSE_PARKED = "close_parked"
    DROP_CACHES = "drop_caches"
    HIBERNATE_IDLE = "hibernate_idle"
    RECYCLE_FATTEST = "recycle_fattest"
    PUT_BACK_HEAVIEST = "put_back_heaviest"
    FAIL_ALONE = "fail_alone"


HIGH = 0.85
"""Share of the memory limit that pages are planned up to: the rest is for what nobody predicted, and 5 % of pages are
larger than predicted."""
LOW = 0.75
"""Below it there is room again: ten points, so that what was closed can be opened without being closed again."""
CRITICAL = 0.93
"""At 1 GiB, less than one more page of 100 MB is left: something that runs has to go."""
EMERGENCY = 0.96
"""The next reading may be too late."""
HYSTERESIS = 0.05
"""A state ends so far below where it began: more than one average page of a container of 2 GiB."""

THRESHOLDS = {
    Rung.STOP_ADMITTING: HIGH,
    Rung.STOP_REUSING: HIGH,  # a new page per visit peaks at half of what a reused one does, and costs CPU only
    Rung.CLOSE_PARKED: 0.87,
    Rung.DROP_CACHES: 0.89,  # collecting garbage costs every page some 100 ms
    Rung.HIBERNATE_IDLE: 0.90,  # the session's next visit opens its context anew
    Rung.RECYCLE_FATTEST: 0.91,  # costs a launch, and what is open in it has to end first
    Rung.PUT_BACK_HEAVIEST: CRITICAL,  # loses work: half a visit
    Rung.FAIL_ALONE: CRITICAL,
}
"""The share of the limit from which on a rung may be taken."""

COOL_DOWNS_S = {
    Rung.STOP_ADMITTING: 0.0,  # a state: taken once, until it ends
    Rung.STOP_REUSING: 0.0,
    Rung.CLOSE_PARKED: 1.0,  # a closed page's memory is back within a second
    Rung.DROP_CACHES: 10.0,  # what was dropped has to grow again before dropping it gains anything
    Rung.HIBERNATE_IDLE: 2.0,  # saving its state takes up to a second, closing another one
    Rung.RECYCLE_FATTEST: 10.0,  # a browser drains and launches for seconds, and meanwhile holds more, not less
    Rung.PUT_BACK_HEAVIEST: 1.0,  # a killed renderer's memory is back within a second
    Rung.FAIL_ALONE: 1.0,
}
"""How long a rung is given to show its effect before it is taken again, in seconds."""

EMERGENCY_COOL_DOWN_S = 0.2
"""In an emergency, for the page that goes: the time in which the kernel takes back what a killed process held."""

_STATES = (Rung.STOP_ADMITTING, Rung.STOP_REUSING)
_STOCK = (Rung.CLOSE_PARKED, Rung.DROP_CACHES, Rung.HIBERNATE_IDLE, Rung.RECYCLE_FATTEST)
_PAGE_GOES = (Rung.PUT_BACK_HEAVIEST, Rung.FAIL_ALONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Available:
    """What there is to give up.

    Attributes:
        pages_open: pages in use.
        pages_parked: pages in stock.
        contexts_idle: contexts without a page in use that can be revived from their saved state.
        browsers: that are open.
        is_recyclable: a context or browser is larger than a fresh one, and none is being replaced yet.
        alone_bytes: what the only page in use holds; 0: unknown, or several are in use.
        has_tried_alone: the only page in use was put back before, and nothing else has run beside it since.
    """

    pages_open: int = 0
    pages_parked: int = 0
    contexts_idle: int = 0
    browsers: int = 0
    is_recyclable: bool = False
    alone_bytes: int = 0
    has_tried_alone: bool = False


@dataclass(frozen=True, slots=True)
class Shed:
    """A rung to take now.

    Attributes:
        rung: what to do.
        share: the measured value: used memory as a share of its limit.
        threshold: what it exceeds.
    """

    rung: Rung
    share: float
    threshold: float


class Shedder:
    """Chooses the rung; remembers when each was taken.

    Attributes:
        level: the highest rung taken since memory was last well below its threshold; None: nothing is given up.
    """

    def __init__(self) -> None:
        self.level: Rung | None = None
        self._taken_at: dict[Rung, float] = {}
        self._in_force: set[Rung] = set()

    @property
    def is_admitting(self) -> bool:
        """False while no page may be opened beside those that are open."""
        return Rung.STOP_ADMITTING not in self._in_force

    @property
    def is_reusing(self) -> bool:
        """False while each visit should get a page that holds no other document."""
        return Rung.STOP_REUSING not in self._in_force

    def choose(self, reading: Reading, available: Available, *, is_stuck: bool = False) -> Shed | None:
        """Return what to give up now; None: nothing, or what was done last needs more time to show.

        Args:
            reading: what was measured; without a limit nothing is given up.
            available: what there is to give up.
            is_stuck: not even one page can start: what is kept for later goes whatever the share.
        """
        share = share_of(reading)
        self._descend(share)
        urgent = share >= EMERGENCY and available.pages_open > 0
        for rung in _PAGE_GOES if urgent else tuple(Rung):
            threshold = LOW if is_stuck and rung in _STOCK else THRESHOLDS[rung]
            if share < threshold or not self._is_possible(rung, reading=reading, available=available):
                continue
            cool_down_s = EMERGENCY_COOL_DOWN_S if urgent else COOL_DOWNS_S[rung]
            if reading.at_s - self._taken_at.get(rung, -cool_down_s) < cool_down_s:
                if rung in _PAGE_GOES:
                    return None  # one page at a time, by whichever of the two rungs
                continue
            self._take(rung, at_s=reading.at_s)
            return Shed(rung, share, EMERGENCY if urgent else threshold)
        return None

    def _take(self, rung: Rung, *, at_s: float) -> None:
        for each in _PAGE_GOES if rung in _PAGE_GOES else (rung,):
            self._taken_at[each] = at_s
        if rung in _STATES:
            self._in_force.add(rung)
        if rung in _PAGE_GOES:
            self._in_force.update(_STATES)  # an emergency goes past them
        if self.level is None or _ORDER[rung] > _ORDER[self.level]:
            self.level = rung

    def _descend(self, share: float) -> None:
        self._in_force = {rung for rung in self._in_force if share >= THRESHOLDS[rung] - HYSTERESIS}
        if self.level and share < THRESHOLDS[self.level] - HYSTERESIS:
            below = [rung for rung in self._in_force if share >= THRESHOLDS[rung] - HYSTERESIS]
            self.level = max(below, key=_ORDER.__getitem__, default=None)

    def _is_possible(self, rung: Rung, *, reading: Reading, available: Available) -> bool:
        """Tell whether a rung has anything to act on."""
        rest_bytes = reading.memory_used_bytes - available.alone_bytes
        is_to_blame = (
            available.pages_open == 1
            and available.has_tried_alone
            and available.alone_bytes > 0
            and rest_bytes < LOW * reading.memory_limit_bytes  # else it is somebody else who needs too much
        )
        return {
            Rung.STOP_ADMITTING: self.is_admitting,
            Rung.STOP_REUSING: self.is_reusing,
            Rung.CLOSE_PARKED: available.pages_parked > 0,
            Rung.DROP_CACHES: available.browsers > 0,
            Rung.HIBERNATE_IDLE: available.contexts_idle > 0,
            Rung.RECYCLE_FATTEST: available.is_recyclable,
            Rung.PUT_BACK_HEAVIEST: available.pages_open > 0 and not is_to_blame,
            Rung.FAIL_ALONE: is_to_blame,
        }[rung]


_ORDER = {rung: number for number, rung in enumerate(Rung)}


def share_of(reading: Reading) -> float:
    """Return used memory as a share of its limit; 0.0 when there is none."""
    return reading.memory_used_bytes / reading.memory_limit_bytes if reading.memory_limit_bytes else 0.0
