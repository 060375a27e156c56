"""The rules of the controller, one by one: what a limit follows, how it falls, grows, and comes back."""

import itertools
from dataclasses import replace
from typing import Any

import pytest

from browsercrawl.pressure import Available, Controller, Decision, Limits, Load, Reading, Rung, Signal, State
from browsercrawl.pressure.controller import (
    COUNT_HIGH,
    COUNT_SLOW,
    DECREASE_KILLED,
    HOLD_S,
    LOOP_LAG_S,
    PAUSE_AFTER_S,
    PSI_FULL,
    PSI_SOME,
    RESUME_AFTER_S,
    RETRY_S,
    RETRY_S_MAX,
)
from browsercrawl.pressure.shedding import CRITICAL, HIGH, LOW

LIMIT = 1000
STEP_S = 0.25
QUIET: dict[str, Any] = {"memory_used_bytes": 0}


class Bench:
    """A controller of a crawl that uses all the pages it may, and the time.

    Attributes:
        load: what the crawl does; `active` follows the limit unless `is_obedient` is off.
    """

    def __init__(self, *, start: int = 10, is_adaptive: bool = False, is_obedient: bool = True) -> None:
        self.controller = Controller(Limits(start=start, is_adaptive=is_adaptive))
        self.load = Load(active=start, wanted=64, finished=0, starting_bytes=0, cost_bytes=1, pages_max=start)
        self.is_obedient = is_obedient
        self.now_s = 0.0
        self.decision: Decision = self.step()

    def step(self, after_s: float = STEP_S, **measured: Any) -> Decision:
        self.now_s += after_s
        values: dict[str, Any] = {"memory_used_bytes": 0, "memory_limit_bytes": LIMIT, **measured}
        self.decision = self.controller.step(Reading(at_s=self.now_s, memory_source="simulated", **values), self.load)
        if self.is_obedient:
            self.load = replace(self.load, active=self.decision.limit)
        return self.decision

    def until_limit(self, limit: int, *, seconds: float = 1000.0, **measured: Any) -> float:
        """Step until there is a limit; return how long that took."""
        begun_s = self.now_s
        while self.decision.limit != limit:
            assert self.now_s - begun_s < seconds, self.decision
            self.step(**measured)
        return self.now_s - begun_s


def test_controller_starts_at_what_was_configured() -> None:
    """The configured number of pages may be in use from the first step on."""
    decision = Bench(start=10).decision
    assert (decision.limit, decision.state, decision.signal) == (10, State.RUNNING, Signal.NONE)
    assert decision.starts >= 10
    assert decision.is_reusing
    assert decision.shed is None
    assert Bench(start=3, is_adaptive=True).decision.limit == 3


def test_controller_memory_is_promised_only_what_fits_is_admitted() -> None:
    """Used, still to be taken, and one more page stay below the high mark."""
    bench = Bench(is_obedient=False)
    bench.load = replace(bench.load, active=2, starting_bytes=150, cost_bytes=100)
    decision = bench.step(memory_used_bytes=400)
    assert (decision.limit, decision.starts, decision.signal) == (2 + 3, 3, Signal.MEMORY)


def test_controller_page_that_never_fits_it_may_be_tried_alone() -> None:
    """One page may always start where there is as much room as there will be, whatever it takes."""
    bench = Bench(is_obedient=False)
    bench.load = replace(bench.load, active=0, cost_bytes=10 * LIMIT)
    decision = bench.step(memory_used_bytes=int(LOW * LIMIT) - 1)
    assert (decision.limit, decision.starts) == (1, 1)
    bench.load = replace(bench.load, active=1)
    assert bench.step(memory_used_bytes=int(LOW * LIMIT) - 1).starts == 0


def test_controller_limit_is_unknown_memory_binds_nothing() -> None:
    """Without a memory limit the other sensors do their work alone."""
    bench = Bench()
    bench.load = replace(bench.load, starting_bytes=10**15, cost_bytes=10**15)
    assert bench.step(memory_used_bytes=10**15, memory_limit_bytes=0).limit == 10


@pytest.mark.parametrize(
    ("measured", "signal"),
    [
        ({"memory_used_bytes": HIGH * LIMIT}, Signal.MEMORY),
        ({"psi_some": 2 * PSI_SOME}, Signal.PSI),
        ({"psi_full": 2 * PSI_FULL}, Signal.PSI),
        ({"loop_lag_s": 2 * LOOP_LAG_S}, Signal.LOOP),
        ({"open_files": COUNT_HIGH * 100, "open_files_max": 100}, Signal.FILES),
        ({"pids": COUNT_HIGH * 100, "pids_max": 100}, Signal.PIDS),
    ],
    ids=["memory", "psi some", "psi full", "loop", "files", "pids"],
)
def test_controller_pressure_lasts_limit_falls_by_a_factor_down_to_one(measured: Any, signal: Signal) -> None:
    """Each sensor cuts the limit, again and again with time in between, but never below one."""
    bench = Bench()
    bench.until_limit(7, seconds=2.0, **measured)
    assert bench.decision.signal is signal
    assert bench.until_limit(4, **measured) == HOLD_S
    bench.until_limit(1, **measured)
    for _ in range(100):
        assert bench.step(**measured).limit == 1
    assert bench.decision.state is State.RUNNING


@pytest.mark.parametrize("measured", [{"psi_some": 1.0}, {"loop_lag_s": 1.0}], ids=["psi", "loop"])
def test_controller_pressure_is_a_moment_limit_stays(measured: Any) -> None:
    """One bad reading decides nothing."""
    bench = Bench()
    bench.step(**{name: value / 2 for name, value in measured.items()})
    for _ in range(10):
        assert bench.step().limit == 10


def test_controller_kernel_kills_limit_is_halved_once_for_each() -> None:
    """A kill that is new cuts hardest; those from before the crawl do not count."""
    bench = Bench()
    bench.controller = Controller(Limits(start=10, is_adaptive=False))
    bench.load = replace(bench.load, active=10)
    assert bench.step(oom_kills=7).limit == 10
    decision = bench.step(oom_kills=8)
    assert (decision.limit, decision.signal) == (10 * DECREASE_KILLED, Signal.OOM_KILL)
    assert bench.step(oom_kills=8).limit == 5


def test_controller_cpu_is_full_nothing_is_taken_away() -> None:
    """A crawl that uses its CPU fully is what is wanted."""
    bench = Bench()
    for _ in range(200):
        assert bench.step(cpu_share=1.0).limit == 10


@pytest.mark.parametrize(
    ("measured", "signal"),
    [
        ({"cpu_share": 1.0}, Signal.CPU),
        ({"psi_some": 0.6 * PSI_SOME}, Signal.PSI),
        ({"loop_lag_s": 0.6 * LOOP_LAG_S}, Signal.LOOP),
        ({"open_files": COUNT_SLOW * 100, "open_files_max": 100}, Signal.FILES),
    ],
    ids=["cpu", "psi", "loop", "files"],
)
def test_controller_half_of_the_pressure_is_left_limit_does_not_grow(measured: Any, signal: Signal) -> None:
    """Between the mark that cuts and the one that lets grow, the limit stays; then it grows again."""
    bench = Bench()
    for _ in range(100):
        assert bench.step(**measured).limit == 10
    bench.until_limit(7, memory_used_bytes=900, **measured)
    for _ in range(100):
        decision = bench.step(**measured)
        assert (decision.limit, decision.signal) == (7, signal)
    bench.until_limit(10, **QUIET)


def test_controller_pressure_has_gone_limit_returns_within_a_minute() -> None:
    """From one page back to 32: doubled up to half, then by an eighth, and the size that failed after a while."""
    bench = Bench(start=32)
    bench.until_limit(1, memory_used_bytes=900)
    limits = [bench.decision.limit]
    while limits[-1] < 32:
        limits.append(bench.step(**QUIET).limit)
    assert len(limits) * STEP_S <= 20
    steps = [after - before for before, after in itertools.pairwise(limits) if after != before]
    assert all(step > 0 for step in steps)
    assert max(steps) <= 8


def test_controller_size_fails_again_it_is_tried_ever_more_rarely() -> None:
    """A size that brings pressure each time does not make a sawtooth: the waits double up to a bound."""
    bench = Bench(start=10)
    failed_at: list[float] = []
    while bench.now_s < 1500:
        before = bench.decision.limit
        # Ten pages are too many, at once; nine are fine.
        decision = bench.step(memory_used_bytes=860 if bench.load.active == 10 else 500)
        if decision.limit < before:
            failed_at.append(bench.now_s)
    waits = [after - before for before, after in itertools.pairwise(failed_at)]
    assert waits[0] >= RETRY_S
    assert waits[-1] >= RETRY_S_MAX
    assert len(failed_at) <= 15


def test_controller_nothing_is_wanted_limit_does_not_grow() -> None:
    """Pages that nobody uses prove nothing: the limit stays where it was."""
    bench = Bench()
    bench.until_limit(7, memory_used_bytes=900)
    bench.is_obedient = False
    bench.load = replace(bench.load, active=2, wanted=0)
    for _ in range(100):
        assert bench.step(**QUIET).limit == 7


def test_controller_pages_max_falls_limit_follows_at_once() -> None:
    """The limit is never above what the pool may have."""
    for is_adaptive in (False, True):
        bench = Bench(is_adaptive=is_adaptive)
        bench.load = replace(bench.load, pages_max=3)
        assert bench.step().limit == 3


def test_controller_no_page_fits_crawl_pauses_and_resumes() -> None:
    """Pausing takes its time, and so does resuming; in between no page may be in use."""
    bench = Bench(is_obedient=False)
    bench.load = replace(bench.load, active=0, cost_bytes=50)
    full = {"memory_used_bytes": CRITICAL * LIMIT}
    first = bench.step(**full)
    assert (first.state, first.limit) == (State.RUNNING, 1)
    assert first.starts == 0
    assert bench.step(PAUSE_AFTER_S - 0.1, **full).state is State.RUNNING
    paused = bench.step(0.1, **full)
    assert (paused.state, paused.limit, paused.signal) == (State.PAUSED, 0, Signal.MEMORY)
    assert paused.starts == 0
    for _ in range(1000):
        assert bench.step(**full).state is State.PAUSED
    assert bench.step(**QUIET).state is State.PAUSED
    assert bench.step(RESUME_AFTER_S, **QUIET).limit == 1
    assert bench.decision.starts > 0


def test_controller_page_is_open_crawl_does_not_pause() -> None:
    """As long as a page of ours is open, it is the ladder that gives memory back."""
    bench = Bench(is_obedient=False)
    bench.load = replace(bench.load, active=1, available=Available(pages_open=1))
    for _ in range(100):
        decision = bench.step(memory_used_bytes=950)
        assert (decision.state, decision.limit) == (State.RUNNING, 1)


def test_controller_pause_during_a_trial_the_search_goes_on_afterwards() -> None:
    """With `auto`, other sizes are tried again once the crawl has come back from a pause."""
    bench = Bench(start=8, is_adaptive=True)
    bench.load = replace(bench.load, pages_max=64)

    def limits(seconds: float) -> set[int]:
        seen = set()
        for _ in range(round(seconds / STEP_S)):
            bench.load = replace(bench.load, finished=max(1, bench.decision.limit // 4))
            seen.add(bench.step().limit)
        return seen

    while bench.decision.limit <= 8:  # until a larger size is on trial
        limits(STEP_S)
    idle = replace(bench.load, active=0, finished=0, cost_bytes=200)
    for _ in range(round(2 * PAUSE_AFTER_S / STEP_S)):
        bench.load = idle
        bench.step(memory_used_bytes=800)
    assert bench.decision.state is State.PAUSED
    bench.load = replace(idle, cost_bytes=1)
    assert max(limits(200)) > 8


def test_controller_memory_dips_pause_begins_anew() -> None:
    """Only what lasts without a break pauses a crawl."""
    bench = Bench(is_obedient=False)
    bench.load = replace(bench.load, active=0)
    for _ in range(20):
        bench.step(memory_used_bytes=950)
        assert bench.step(PAUSE_AFTER_S - 0.1, memory_used_bytes=950).state is State.RUNNING
        bench.step(**QUIET)


def test_controller_memory_is_short_ladder_is_climbed() -> None:
    """The decision carries the rung, and what the states of the ladder mean for the next pages."""
    bench = Bench(is_obedient=False)
    bench.load = replace(bench.load, active=2, available=Available(pages_open=2, pages_parked=1))
    rungs = [shed.rung for shed in (bench.step(memory_used_bytes=880).shed for _ in range(3)) if shed]
    assert rungs == [Rung.STOP_ADMITTING, Rung.STOP_REUSING, Rung.CLOSE_PARKED]
    assert bench.decision.starts == 0
    assert not bench.decision.is_reusing


def test_controller_same_moment_twice_nothing_breaks() -> None:
    """Two readings of one instant are allowed, and the second one decides nothing new."""
    bench = Bench()
    assert bench.step(0.0, psi_some=1.0, loop_lag_s=9.0).limit == 10
