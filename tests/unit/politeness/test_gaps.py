"""Visits of one host start its delay apart, however long getting their pages took."""

import pytest

from browsercrawl.politeness import VisitGaps


def test_reserve_visits_that_are_ready_together_start_a_delay_apart() -> None:
    """Each takes the next start; hosts do not know of each other."""
    gaps = VisitGaps()
    assert [gaps.reserve("a:80", delay_s=2.0, now=10.0) for _ in range(3)] == [(0.0, 2.0), (2.0, 4.0), (4.0, 6.0)]
    assert gaps.reserve("b:80", delay_s=2.0, now=10.0) == (0.0, 2.0)


def test_reserve_visit_that_comes_in_time_does_not_wait() -> None:
    """What comes a delay later, or more, starts at once; a moment early, it waits for that moment."""
    gaps = VisitGaps()
    gaps.reserve("a:80", delay_s=2.0, now=10.0)
    assert gaps.reserve("a:80", delay_s=2.0, now=12.0) == (0.0, 2.0)
    assert gaps.reserve("a:80", delay_s=2.0, now=13.5) == pytest.approx((0.5, 2.5))
    assert gaps.reserve("a:80", delay_s=2.0, now=60.0) == (0.0, 2.0)


def test_reserve_without_a_delay_remembers_nothing() -> None:
    """A host without a delay never waits."""
    gaps = VisitGaps()
    assert [gaps.reserve("a:80", delay_s=0.0, now=1.0) for _ in range(2)] == [(0.0, 0.0)] * 2
    assert not gaps._next


def test_reserve_remembers_a_bounded_number_of_hosts() -> None:
    """The one visited longest ago is forgotten first."""
    gaps = VisitGaps()
    for number in range(10_001):
        gaps.reserve(f"{number}:80", delay_s=100.0, now=float(number) / 1000)
    assert len(gaps._next) == 10_000
    assert gaps.reserve("0:80", delay_s=100.0, now=11.0)[0] == 0.0
    assert gaps.reserve("10000:80", delay_s=100.0, now=11.0)[0] > 0.0
