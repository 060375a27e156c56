"""A crawl in a simulated container: its memory stays within the limit, its pages within theirs, and nothing stalls.

Assumed: no page takes more than predicted, each grows at least evenly over `GROWTH_S`, and where a neighbour grows too,
all growth between two steps is less than what is left above the critical mark.
"""

import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from browsercrawl.pressure import Available, Controller, Decision, Limits, Load, Reading, Rung, State, unseen_bytes
from browsercrawl.pressure.costs import GROWTH_S
from browsercrawl.pressure.shedding import CRITICAL, HIGH, LOW

LIMIT = 1 << 30
STEP_S = 0.25
PAGES_MAX = 16
VISIT_S = (0.3, 8.0)
GOES_AT_S, GONE_AT_S = 60.0, 120.0
"""When a neighbour begins to take memory, and when it has given it back."""


@dataclass
class Page:
    """A page in use: grows evenly to its size, and ends."""

    begun_s: float
    size: float
    growth_s: float
    ends_s: float

    def held(self, at_s: float) -> float:
        return self.size * min(1.0, (at_s - self.begun_s) / self.growth_s)


@dataclass
class Container:
    """A crawl with more work than it can do, in a container with a memory limit.

    Attributes:
        cost: what each page is predicted to take; none takes more.
        base: what the browser takes without pages. `leak`: how much more each second.
        neighbour: what somebody else takes at a time.
        growth_min_s: how long a page grows at least.
        worst: the highest use seen.
    """

    cost: float
    base: float
    seed: int
    leak: float = 0.0
    neighbour: Callable[[float], float] = lambda _: 0.0
    growth_min_s: float = 0.1
    now_s: float = 0.0
    worst: float = 0.0
    finished: int = 0
    pages: list[Page] = field(default_factory=list)
    controller: Controller = field(default_factory=lambda: Controller(Limits(start=PAGES_MAX, is_adaptive=False)))

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def used(self) -> float:
        own = sum(page.held(self.now_s) for page in self.pages)
        return self.base + self.leak * self.now_s + self.neighbour(self.now_s) + own

    def step(self) -> Decision:
        """Let time pass, decide, and do what was decided."""
        self.now_s += STEP_S
        self.worst = max(self.worst, self.used())
        before = len(self.pages)
        self.pages = [page for page in self.pages if page.ends_s > self.now_s]
        finished = before - len(self.pages)
        self.finished += finished
        active = len(self.pages)
        decision = self.controller.step(
            Reading(
                at_s=self.now_s,
                memory_used_bytes=int(self.used()),
                memory_limit_bytes=LIMIT,
                memory_source="simulated",
            ),
            Load(
                active=active,
                wanted=PAGES_MAX,
                finished=finished,
                starting_bytes=sum(
                    unseen_bytes(int(self.cost), age_s=self.now_s - page.begun_s) for page in self.pages
                ),
                cost_bytes=int(self.cost),
                pages_max=PAGES_MAX,
                available=Available(pages_open=active),
            ),
        )
        if decision.shed and decision.shed.rung is Rung.PUT_BACK_HEAVIEST:
            self.pages.pop()
        for _ in range(min(decision.starts, decision.limit - len(self.pages))):
            self._start()
        return decision

    def until(self, at_s: float) -> list[Decision]:
        decisions = []
        while self.now_s < at_s:
            decisions.append(self.step())
        return decisions

    def _start(self) -> None:
        draw = self.random.uniform
        growth_s, takes_s = draw(self.growth_min_s, GROWTH_S), draw(*VISIT_S)
        self.pages.append(Page(self.now_s, self.cost * draw(0.05, 1.0), growth_s, self.now_s + takes_s))


def _ramp(size: float, ramp_s: float) -> Callable[[float], float]:
    """A neighbour that takes `size` within `ramp_s`, and gives all of it back at once."""
    return lambda at_s: size * min(1.0, max(0.0, (at_s - GOES_AT_S) / ramp_s)) if at_s < GONE_AT_S else 0.0


@settings(max_examples=25, deadline=None)
@given(
    cost=st.floats(0.01, 0.3).map(lambda part: part * LIMIT),
    base=st.floats(0.05, 0.5).map(lambda part: part * LIMIT),
    leak=st.floats(0, 0.0005).map(lambda part: part * LIMIT),
    seed=st.integers(0, 2**32),
)
def test_controller_pages_cost_what_was_learned_memory_stays_below_the_high_mark(
    cost: float, base: float, leak: float, seed: int
) -> None:
    """Without a neighbour no page is ever started that does not fit: only the leak goes past the mark.

    The leak may do so for as long as the longest visit lasts, for until then nothing has to end.
    """
    container = Container(cost=cost, base=base, leak=leak, seed=seed)
    decisions = container.until(100.0)
    assert container.worst <= HIGH * LIMIT + leak * (VISIT_S[1] + STEP_S) + PAGES_MAX  # bytes lost to rounding
    assert all(decision.state is State.RUNNING and 1 <= decision.limit <= PAGES_MAX for decision in decisions)
    assert container.finished >= 100 / VISIT_S[1] - 1


@settings(max_examples=25, deadline=None)
@given(
    cost=st.floats(0.02, 0.12).map(lambda part: part * LIMIT),
    taken=st.floats(0.2, 0.5).map(lambda part: part * LIMIT),
    ramp_s=st.floats(3.0, 20.0),
    seed=st.integers(0, 2**32),
)
def test_controller_neighbour_takes_half_nothing_is_killed_and_the_limit_recovers(
    cost: float, taken: float, ramp_s: float, seed: int
) -> None:
    """A neighbour that takes up to half of the memory within three seconds or more kills nothing, and is outlived.

    While it is there, work goes on; 25 s (100 steps) after it has gone, as many pages are in use as before.
    """
    container = Container(cost=cost, base=0.2 * LIMIT, seed=seed, neighbour=_ramp(taken, ramp_s))
    container.until(GOES_AT_S - 30)
    before = _busy(container, GOES_AT_S)
    finished = container.finished
    beside = container.until(GONE_AT_S)
    assert container.worst <= LIMIT
    assert all(1 <= decision.limit <= PAGES_MAX for decision in beside)
    assert container.finished > finished
    container.until(GONE_AT_S + 25)
    after = _busy(container, GONE_AT_S + 55)
    assert after >= 0.75 * before  # two means of half a minute: without any neighbour, one in a hundred is below 0.85


def _busy(container: Container, until_s: float) -> float:
    """Return how many pages are in use on average."""
    seen = []
    while container.now_s < until_s:
        container.step()
        seen.append(len(container.pages))
    return statistics.fmean(seen)


@settings(max_examples=15, deadline=None)
@given(
    taken=st.floats(0.84, 0.88).map(lambda part: part * LIMIT),
    cost=st.floats(0.02, 0.1).map(lambda part: part * LIMIT),
    seed=st.integers(0, 2**32),
)
def test_controller_neighbour_takes_nearly_all_crawl_pauses_and_resumes_by_itself(
    taken: float, cost: float, seed: int
) -> None:
    """With no page of ours left and memory still critical, the crawl pauses within 30 s, and goes on within 3 s."""
    container = Container(cost=cost, base=0.1 * LIMIT, seed=seed, neighbour=_ramp(taken, 15.0), growth_min_s=1.0)
    decisions = container.until(GONE_AT_S - 1)
    assert container.worst <= LIMIT
    assert all((decision.limit == 0) == (decision.state is State.PAUSED) for decision in decisions)
    begun_s = next(number for number, each in enumerate(decisions) if each.state is State.PAUSED) * STEP_S
    assert GOES_AT_S < begun_s <= GOES_AT_S + 30
    assert decisions[-1].state is State.PAUSED
    assert not container.pages
    finished = container.finished
    assert container.until(GONE_AT_S + 3)[-1].state is State.RUNNING
    container.until(GONE_AT_S + 30)
    assert container.finished > finished


@pytest.mark.parametrize("seed", range(3))
def test_controller_steady_load_nothing_is_given_up(seed: int) -> None:
    """Under a steady load no rung is ever taken: prediction alone keeps the measure, and more than half goes on."""
    container = Container(cost=0.06 * LIMIT, base=0.2 * LIMIT, seed=seed)
    decisions = container.until(300.0)
    assert all(decision.shed is None for decision in decisions)
    limits = [decision.limit for decision in decisions[120:]]
    assert min(limits) > PAGES_MAX / 2


@settings(max_examples=60, deadline=None)
@given(data=st.data(), is_adaptive=st.booleans(), start=st.integers(1, 20))
def test_controller_any_readings_limit_keeps_its_bounds(data: st.DataObject, is_adaptive: bool, start: int) -> None:
    """Whatever is measured, the limit is from 1 to `pages_max` while running and 0 only while paused.

    The same inputs give the same decisions, and a pause begins only when not even one page fits, and none is open.
    """
    controller, twin = (Controller(Limits(start=start, is_adaptive=is_adaptive)) for _ in range(2))
    now_s, kills, state = 0.0, 0, State.RUNNING
    share = st.none() | st.floats(0, 1)
    for _ in range(data.draw(st.integers(1, 40))):
        now_s += data.draw(st.sampled_from([0.0, 0.01, 0.25, 3.0, 100.0]))
        kills += data.draw(st.sampled_from([0, 0, 0, 1]))
        active = data.draw(st.integers(0, 30))
        reading = Reading(
            at_s=now_s,
            memory_used_bytes=data.draw(st.integers(0, int(1.2 * LIMIT))),
            memory_limit_bytes=data.draw(st.sampled_from([LIMIT, LIMIT, LIMIT, 0])),
            memory_source="simulated",
            oom_kills=kills,
            psi_some=data.draw(share),
            psi_full=data.draw(share),
            cpu_share=data.draw(share),
            loop_lag_s=data.draw(st.floats(0, 5)),
            open_files=data.draw(st.integers(0, 1000)),
            open_files_max=data.draw(st.sampled_from([1000, 0, None])),
            pids=data.draw(st.integers(0, 1000)),
            pids_max=data.draw(st.sampled_from([1000, 0, None])),
        )
        load = Load(
            active=active,
            wanted=data.draw(st.integers(0, 30)),
            finished=data.draw(st.integers(0, 100)),
            starting_bytes=data.draw(st.integers(0, LIMIT)),
            cost_bytes=data.draw(st.integers(0, LIMIT)),
            pages_max=data.draw(st.integers(1, 20)),
            available=Available(pages_open=active, pages_parked=data.draw(st.integers(0, 3)), browsers=1),
        )
        decision = controller.step(reading, load)
        assert twin.step(reading, load) == decision
        assert decision.limit == 0 if decision.state is State.PAUSED else 1 <= decision.limit <= load.pages_max
        if decision.state is State.PAUSED and state is State.RUNNING:
            assert active == 0
            taken_bytes = reading.memory_used_bytes + load.starting_bytes + load.cost_bytes
            assert taken_bytes > int(CRITICAL * reading.memory_limit_bytes)
            assert reading.memory_used_bytes >= LOW * reading.memory_limit_bytes > 0
        state = decision.state
