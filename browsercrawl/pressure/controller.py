"""How many pages may be in use: one pure step from what is measured to a limit.

Three things bound the limit, the lowest holds:

- Memory, by prediction: what is used, what pages that started will still take, and one more page must stay below the
  high mark. Waiting for memory to be used instead would come too late: pages grow for seconds.
- The window. Pressure (memory above the high mark, stalls, a killed process, a late event loop, files and processes
  running out) makes it smaller at once by a factor, quiet lets it grow a little at a time: additive increase and
  multiplicative decrease, which settles fairly beside others who do the same (Chiu and Jain, 1989). What has just
  failed is not tried again for a while, for twice as long each time: no sawtooth.
- With `concurrency="auto"`, throughput: more pages that do not bring more pages/s are not kept. Found by trial: some
  visits at one size, some at another, until the difference is clear of its noise.

CPU saturation alone stops growth and nothing else: a crawl that uses its CPU fully is what is wanted.
"""

import math
import sys
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import NamedTuple

from browsercrawl.pressure.reading import Reading
from browsercrawl.pressure.search import Beat, Search
from browsercrawl.pressure.shedding import CRITICAL, HIGH, LOW, Available, Shed, Shedder, share_of

PSI_SOME = 0.10
"""Share of time that some task waits for memory: GLib's monitor warns at 100 ms in 2 s, 5 %; tools page at 10 %."""
PSI_FULL = 0.05
"""Share of time that all wait: nothing at all gets done in it."""
LOOP_LAG_S = 0.2
"""A loop so late answers every event of every page so late; below it visits of seconds do not notice."""
CPU_FULL = 0.95
"""Readings of a machine that is busy all the time are rarely higher."""
COUNT_SLOW, COUNT_HIGH = 0.8, 0.9
"""Shares of the limit on open files, or processes, or of what a user's gauge measures, at which growth stops, and pages
are given up: a browser that starts takes dozens of files at once."""
FRUGAL_BYTES = 64_000_000
"""Where memory binds, a page that takes so much gets no successor: a new page peaks at half of what a reused one does,
for that holds the old document until the new one is there. Smaller ones are not worth what a new page costs in CPU."""
FRUGAL_S = 10.0
"""So long after memory was short last: else stock would be made and thrown away in turns."""
RELIEF = 0.5
"""Growth goes on when stalls and lateness are below half of what stopped it: they double easily with one more page."""
SMOOTHING_S = 2.0
"""Time constant for stalls, lateness and CPU: one collection of garbage or one launch does not decide."""

DECREASE = 0.7
"""Of the window on a signal: 0.5 gives away too much of a machine that is ours, 0.9 takes ten times as long."""
DECREASE_KILLED = 0.5
"""When the kernel has killed something, everything before came too late."""
HOLD_S = 2.0
"""After a decrease the next one waits: until then the closed pages' memory is back, and visits have ended."""
INTERVAL_S = 1.0
"""Between two increases: the time in which the last one shows."""
INCREASE_PART = 8
"""An increase is an eighth, at least one page: from half of what there was back to all of it in about seven steps.
Below half, it doubles."""
RETRY_S, RETRY_S_MAX = 5.0, 160.0
"""How long a size that failed is not tried again: at first, and after failing again and again."""
RETRY_FRESH_S = 30.0
"""A size that held for so long after it was tried again fails for a new reason."""
USED = 0.75
"""Part of the window that must be in use for it to be tried or enlarged: else something other than it is what binds,
such as politeness. Some pages are always between two visits."""

STEP_S, STEP_S_MIN = 0.25, 0.02
"""Between two steps: half of what a page needs to grow by 100 MB; less where memory runs out before. A look at the
machine takes 0.3 ms."""
AHEAD_S = 0.06
"""Until a page that is given up has stopped growing: its crash takes 10 to 50 ms. What will be used by then counts, for
one page alone can take 1.7 GB/s."""
AHEAD_FROM = 0.5
"""Share of the limit from which on it is looked ahead: below it there is room for whatever comes within a step."""

PAUSE_AFTER_S = 5.0
"""How long one more page must make memory critical, without a page of ours: a neighbour's peak or a closing browser is
shorter."""
RESUME_AFTER_S = 2.0
"""How long there must be room again: a level lower than the one that paused would leave memory between both unused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the crawl was configured with.

    Attributes:
        start: pages that may be in use at first, at least 1.
        is_adaptive: look for the best number by throughput; else `start` is only ever lowered, and returned to.
    """

    start: int
    is_adaptive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the crawl does now.

    Attributes:
        active: pages in use.
        wanted: requests that could have a page now, beside those that have one; may be cut off at `pages_max`.
        finished: visits that ended since the last step.
        starting_bytes: what pages in use will still take, by prediction (`costs.unseen_bytes`).
        cost_bytes: what one more page will take, by prediction.
        pages_max: pages that may ever be in use, at least 1.
        available: what could be given up.
    """

    active: int
    wanted: int
    finished: int
    starting_bytes: int
    cost_bytes: int
    pages_max: int
    available: Available = field(default_factory=Available)


class State(Enum):
    """Whether pages may be in use at all."""

    RUNNING = "running"
    PAUSED = "paused"


class Signal(Enum):
    """What decided a limit. The names are public: they stand in events."""

    NONE = "none"
    MEMORY = "memory"
    OOM_KILL = "oom_kill"
    PSI = "psi"
    CPU = "cpu"
    GAUGE = "gauge"
    LOOP = "loop"
    FILES = "files"
    PIDS = "pids"
    THROUGHPUT = "throughput"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What holds until the next step.

    Attributes:
        limit: pages that may be in use; from 1 to `pages_max` while running, 0 while paused.
        starts: pages that may start before the next step, also in place of those that end until then: their memory is
            not back yet. 0 while none is admitted.
        state: paused only while, without a page of ours, one more would make memory critical.
        signal: what keeps the limit from being higher.
        next_s: by when the next step should come, in seconds.
        is_reusing: False while each visit should get a page that holds no other document.
        shed: what to give up now.
    """

    limit: int
    starts: int
    state: State
    signal: Signal
    next_s: float
    is_reusing: bool
    shed: Shed | None


class _Level(NamedTuple):
    """A sensor's value, from where on nothing grows, and from where on pages are given up."""

    signal: Signal
    value: float
    slow: float
    high: float


class Controller:
    """Decides, step by step, how many pages may be in use.

    Steps may come at any interval. No clock, no I/O: the same readings and loads give the same decisions.
    """

    def __init__(self, limits: Limits) -> None:
        self._window = _Window(limits.start)
        self._search = Search(limits.start) if limits.is_adaptive else None
        self._shedder = Shedder()
        self._state = State.RUNNING
        self._smooth = {Signal.PSI: 0.0, Signal.CPU: 0.0, Signal.LOOP: 0.0}
        self._last: Reading | None = None
        self._turning_since: float | None = None
        self._frugal_until = -math.inf
        self._grew = 0.0

    def step(self, reading: Reading, load: Load) -> Decision:
        """Take one step.

        Args:
            reading: what was measured just now; not earlier than the last one.
            load: what the crawl did since then.
        """
        self._smoothe(reading)
        levels = self._levels(reading)
        has_room = _has_room(reading, load)
        self._pause_or_resume(reading.at_s, has_room=has_room, is_idle=load.active == 0)
        is_stuck = load.active == 0 and not has_room
        growth = self._growth(reading)
        # Only what lasts: one step alone may be a jump that is over.
        ahead_bytes = round(min(growth, self._grew) * AHEAD_S) if share_of(reading) >= AHEAD_FROM else 0
        self._grew = growth
        soon = replace(reading, memory_used_bytes=reading.memory_used_bytes + ahead_bytes)
        shed = self._shedder.choose(soon, load.available, is_stuck=is_stuck)
        starts = max(0, _room_bytes(reading, load, mark=HIGH) // max(1, load.cost_bytes))
        signal = self._move(reading.at_s, load, levels=levels, fitting=load.active + starts)
        self._last = reading
        if signal is Signal.MEMORY and load.cost_bytes >= FRUGAL_BYTES:
            self._frugal_until = reading.at_s + FRUGAL_S
        is_running = self._state is State.RUNNING
        if load.active == 0 and has_room:  # it fits, or nothing better is to be waited for
            starts = max(1, starts)
        elif load.active == 0 or not self._shedder.is_admitting:
            starts = 0
        return Decision(
            limit=max(1, min(self._window.size, load.active + starts)) if is_running else 0,
            starts=starts if is_running else 0,
            state=self._state,
            signal=signal,
            next_s=_next_s(reading, growth),
            is_reusing=self._shedder.is_reusing and reading.at_s >= self._frugal_until,
            shed=shed,
        )

    def _growth(self, reading: Reading) -> float:
        """Return by how many bytes a second memory has grown since the last step; 0 if it has not."""
        last = self._last
        if last is None or reading.at_s <= last.at_s or reading.memory_source != last.memory_source:
            return 0.0
        return max(0.0, (reading.memory_used_bytes - last.memory_used_bytes) / (reading.at_s - last.at_s))

    def _smoothe(self, reading: Reading) -> None:
        """Average what comes in bursts; what is unknown counts as quiet."""
        elapsed_s = reading.at_s - self._last.at_s if self._last else 0.0
        weight = -math.expm1(-elapsed_s / SMOOTHING_S)
        psi = max((reading.psi_some or 0.0) / PSI_SOME, (reading.psi_full or 0.0) / PSI_FULL)
        now = {Signal.PSI: psi, Signal.CPU: reading.cpu_share or 0.0, Signal.LOOP: reading.loop_lag_s}
        for signal, value in now.items():
            self._smooth[signal] += weight * (value - self._smooth[signal])

    def _levels(self, reading: Reading) -> list[_Level]:
        """List the sensors, the gravest first."""
        killed = self._last is not None and reading.oom_kills > self._last.oom_kills
        files = reading.open_files / reading.open_files_max if reading.open_files_max else 0.0
        pids = reading.pids / reading.pids_max if reading.pids_max else 0.0
        return [
            _Level(Signal.OOM_KILL, float(killed), 1.0, 1.0),
            _Level(Signal.MEMORY, share_of(reading), HIGH, HIGH),
            _Level(Signal.PSI, self._smooth[Signal.PSI], RELIEF, 1.0),
            _Level(Signal.LOOP, self._smooth[Signal.LOOP], RELIEF * LOOP_LAG_S, LOOP_LAG_S),
            _Level(Signal.FILES, files, COUNT_SLOW, COUNT_HIGH),
            _Level(Signal.PIDS, pids, COUNT_SLOW, COUNT_HIGH),
            _Level(Signal.GAUGE, max(reading.gauges.values(), default=0.0), COUNT_SLOW, COUNT_HIGH),
            _Level(Signal.CPU, self._smooth[Signal.CPU], CPU_FULL, math.inf),
        ]

    def _pause_or_resume(self, at_s: float, *, has_room: bool, is_idle: bool) -> None:
        """Change the state once what speaks for it has lasted."""
        is_paused = self._state is State.PAUSED
        if not (has_room if is_paused else is_idle and not has_room):
            self._turning_since = None
            return
        if self._turning_since is None:
            self._turning_since = at_s
        if at_s - self._turning_since >= (RESUME_AFTER_S if is_paused else PAUSE_AFTER_S):
            self._turning_since = None
            self._state = State.RUNNING if is_paused else State.PAUSED
            self._window.size = 1
            if self._search:  # a trial that was going on would never reach its size again
                self._search.interrupt(at_s)

    def _move(self, at_s: float, load: Load, *, levels: list[_Level], fitting: int) -> Signal:
        """Change the window, and return what keeps it from being larger."""
        if self._state is State.PAUSED:
            return Signal.MEMORY
        window, search, demand = self._window, self._search, load.active + load.wanted
        window.size = min(window.size, load.pages_max)
        pressing = next((each.signal for each in levels if each.value >= each.high), None)
        if pressing:
            if window.cut(at_s, active=load.active, signal=pressing) and search:
                search.interrupt(at_s)
                window.size = min(window.size, search.home)
            return pressing
        slowing = next((each.signal for each in levels if each.value >= each.slow), None)
        is_full = load.active >= USED * window.size and demand > window.size < fitting
        may_grow = slowing is None and is_full
        most = min(load.pages_max, window.most(at_s))
        if search and window.size == min(search.size, load.pages_max):
            beat = Beat(at_s, load.finished, is_full=is_full, most=most if may_grow else window.size)
            window.size = min(search.step(beat), load.pages_max)
        elif may_grow:
            window.grow(at_s, most=min(most, search.home) if search else most)
        if demand <= window.size <= fitting:
            return Signal.NONE
        if fitting < window.size:
            return Signal.MEMORY
        if slowing or window.size >= load.pages_max:
            return slowing or Signal.NONE
        if window.size >= most:
            return window.failed_by
        return Signal.THROUGHPUT if search and window.size >= search.home else Signal.NONE


def _has_room(reading: Reading, load: Load) -> bool:
    """Tell whether a page may start beside no other: it fits, or there is as much room as there ever will be.

    The second is for a page that fits nowhere: it has to be tried to be known.
    """
    return share_of(reading) < LOW or _room_bytes(reading, load, mark=CRITICAL) >= load.cost_bytes


def _room_bytes(reading: Reading, load: Load, *, mark: float) -> int:
    """Return what is left below a mark after all that started has grown."""
    if not reading.memory_limit_bytes:
        return sys.maxsize
    return int(mark * reading.memory_limit_bytes) - reading.memory_used_bytes - load.starting_bytes


def _next_s(reading: Reading, growth: float) -> float:
    """Return a quarter of the time in which memory would run out, as far as steps may be apart."""
    left_bytes = reading.memory_limit_bytes - reading.memory_used_bytes
    if not reading.memory_limit_bytes or not growth:
        return STEP_S
    return min(max(left_bytes / growth / 4, STEP_S_MIN), STEP_S)


class _Window:
    """How many pages pressure lets be in use: increased a little at a time, cut by a factor.

    Attributes:
        size: the window.
        failed_by: what cut it last.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.failed_by = Signal.NONE
        self._peak = size
        self._ceiling = sys.maxsize
        self._held_until = self._grows_at = self._retry_at = -math.inf
        self._retry_s = RETRY_S
        self._has_grown = True

    def most(self, at_s: float) -> int:
        """Return the largest size that may be tried now."""
        return max(1, self._ceiling - 1) if at_s < self._retry_at else sys.maxsize

    def grow(self, at_s: float, *, most: int) -> None:
        """Become larger, if it is time."""
        if at_s < self._grows_at or self.size >= most:
            return
        step = self.size if 4 * self.size <= self._peak else max(1, self.size // INCREASE_PART)
        self.size = min(self.size + step, most)
        self._grows_at = at_s + INTERVAL_S
        self._has_grown = True

    def cut(self, at_s: float, *, active: int, signal: Signal) -> bool:
        """Become smaller, unless the last cut is so fresh that it does not show yet; tell whether it was cut."""
        if at_s < self._held_until:
            return False
        level = max(1, min(self.size, active))
        if self._has_grown:  # else the same trouble goes on
            is_fresh = at_s - self._retry_at > RETRY_FRESH_S
            self._retry_s = RETRY_S if is_fresh else min(2 * self._retry_s, RETRY_S_MAX)
            self._peak = self.size
        self._ceiling = level
        self._retry_at = at_s + self._retry_s
        self._held_until = self._grows_at = at_s + HOLD_S
        self._has_grown = False
        self.size = max(1, int(level * (DECREASE_KILLED if signal is Signal.OOM_KILL else DECREASE)))
        self.failed_by = signal
        return True
