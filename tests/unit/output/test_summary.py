"""The meter and the summary: right counts, quantiles within their error, constant memory, exit codes."""

import math
import statistics
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from browsercrawl.clock import SystemClock
from browsercrawl.errors import Disposition, ErrorKind, RunDamaged
from browsercrawl.output import FinishReason, Meter, Summary, counts_of
from browsercrawl.output.summary import RECENT_S, Histogram
from browsercrawl.result import ErrorInfo, Outcome, Result, Timings

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ERROR = ErrorInfo(kind=ErrorKind.DEADLINE, message="late", disposition=Disposition.RETRY_FRESH)

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A loaded machine is no failure."""


class HandClock(SystemClock):
    """A clock turned by hand."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time


def result(outcome: Outcome = Outcome.SUCCEEDED, **fields: object) -> Result:
    """Give a result of which only the named fields matter."""
    values = {"request_id": "1", "url": "https://a.example/", "finished_at": NOW, "attempts": 1}
    return Result.model_validate({**values, "outcome": outcome, **fields})


def summary(reason: FinishReason, *, failed: int) -> Summary:
    """Give the summary of a run of two seconds."""
    totals = Meter(HandClock()).totals().model_dump() | {"failed": failed, "succeeded": 6}
    return Summary(
        **totals,
        run_id="r1",
        finish_reason=reason,
        duplicates=0,
        links_skipped={},
        started_at=NOW,
        finished_at=NOW,
        duration_s=2.0,
        options={},
    )


@unhurried
@given(st.lists(st.floats(0.001, 10_000), min_size=1, max_size=200), st.sampled_from([0.5, 0.95]))
def test_histogram_quantile_is_within_its_error(durations: list[float], share: float) -> None:
    """A quantile is off by 2.5 % at most, whatever the durations."""
    histogram = Histogram()
    for each in durations:
        histogram.add(each)
    exact = sorted(durations)[max(1, math.ceil(share * len(durations))) - 1]
    assert histogram.quantile(share) == pytest.approx(exact, rel=0.026)


def test_histogram_extremes_are_counted() -> None:
    """Nothing counted gives 0; durations below a millisecond give 0; absurdly long ones are kept at the top."""
    histogram = Histogram()
    assert histogram.quantile(0.5) == 0.0
    histogram.add(0.0)
    assert histogram.quantile(0.5) == 0.0
    for _ in range(3):
        histogram.add(1e9)
    assert 12 * 3600 < histogram.quantile(0.95) < 13 * 3600


def test_meter_counts_each_outcome_and_kind() -> None:
    """Counts by outcome, failures by kind, partial and retried ones."""
    meter = Meter(HandClock())
    meter.count_result(result(attempts=3))
    meter.count_result(result(partial=True))
    meter.count_result(result(Outcome.FAILED, error=ERROR))
    meter.count_result(result(Outcome.SKIPPED, attempts=0, skip_reason="handler: no"))
    totals = meter.totals()
    assert (totals.succeeded, totals.failed, totals.skipped, totals.partial, totals.retried) == (2, 1, 1, 1, 2)
    assert totals.failures == {ErrorKind.DEADLINE: 1}


@pytest.mark.parametrize(
    ("outcome", "fields", "ending", "counts"),
    [
        (Outcome.SUCCEEDED, {}, "succeeded", {}),
        (Outcome.SUCCEEDED, {"partial": True, "attempts": 3}, "succeeded", {"partial": 1, "retried": 2}),
        (Outcome.FAILED, {"error": ERROR, "attempts": 2}, "failed.deadline", {"retried": 1}),
        (Outcome.FAILED, {"error": ERROR, "partial": True}, "failed.deadline", {}),
        (Outcome.SKIPPED, {"skip_reason": "too_deep", "attempts": 0}, "skipped.too_deep", {}),
        (Outcome.SKIPPED, {"skip_reason": "handler: sold: out"}, "skipped.handler", {}),
    ],
)
def test_counts_of_each_ending_has_its_word(
    outcome: Outcome, fields: dict[str, object], ending: str, counts: dict[str, int]
) -> None:
    """Every ending is counted under one word, and a handler's own reasons under one together."""
    assert counts_of(result(outcome, **fields)) == (ending, counts)


@unhurried
@given(st.lists(st.sampled_from([0.0, 0.004, 0.3, 20.0])), st.integers(0, 20))
def test_meter_goes_on_where_an_earlier_one_stood(durations: list[float], cut: int) -> None:
    """Two processes of a run together count what one would have."""
    whole, parts, phases = Meter(HandClock()), dict[str, int](), None
    earlier = Meter(HandClock())
    for number, seconds in enumerate(durations):
        each = result(
            [Outcome.SUCCEEDED, Outcome.FAILED][number % 2],
            attempts=2,
            partial=True,
            error=ERROR if number % 2 else None,
            timings=Timings(navigate_s=seconds),
        )
        whole.count_result(each)
        if number < cut:
            ending, counts = counts_of(each)
            for word, count in ((ending, 1), *counts.items()):
                parts[word] = parts.get(word, 0) + count
            earlier.count_result(each)
            phases = earlier.phases_json()
    later = Meter(HandClock(), totals=parts, phases=phases)
    for number, seconds in list(enumerate(durations))[cut:]:
        error = ERROR if number % 2 else None
        outcome = [Outcome.SUCCEEDED, Outcome.FAILED][number % 2]
        later.count_result(result(outcome, attempts=2, partial=True, error=error, timings=Timings(navigate_s=seconds)))
    assert later.totals() == whole.totals()
    assert later.phases_json() == whole.phases_json()


def test_meter_phases_json_is_compact() -> None:
    """What is kept for a later process grows with the spread of durations, not with their number."""
    meter = Meter(HandClock())
    for _ in range(10_000):
        meter.count_result(result(timings=Timings(navigate_s=0.2)))
    assert len(meter.phases_json()) < 300


@pytest.mark.parametrize(
    "before",
    [
        {"totals": {"failed.of_the_future": 1}},
        {"totals": {"succeeded": -1}},
        {"phases": "nonsense"},
        {"phases": '{"total_s":[1]}'},
        {"phases": '{"total_s":{"9999":1}}'},
    ],
)
def test_meter_counts_of_another_version_are_refused(before: dict[str, Any]) -> None:
    """Counts that cannot be understood raise one typed error instead of giving wrong numbers."""
    with pytest.raises(RunDamaged, match="counts"):
        Meter(HandClock(), **before)


def test_meter_words_it_does_not_know_are_left_alone() -> None:
    """The store counts other things too, such as links kept out; they are nobody's result."""
    totals = Meter(HandClock(), totals={"succeeded": 2, "link.too_deep": 7}).totals()
    assert (totals.succeeded, totals.failed, totals.skipped) == (2, 0, 0)


def test_meter_phases_cover_visited_requests_only() -> None:
    """Quantiles by phase come from requests that were visited; a skipped one does not pull them down."""
    meter = Meter(HandClock())
    for navigate_s in (0.1, 0.2, 0.3):
        meter.count_result(result(timings=Timings(navigate_s=navigate_s, total_s=1.0)))
        meter.count_result(result(Outcome.SKIPPED, attempts=0))
    totals = meter.totals()
    assert totals.phase_p50_s.keys() == {name.removesuffix("_s") for name in Timings.model_fields}
    assert totals.phase_p50_s["navigate"] == pytest.approx(statistics.median([0.1, 0.2, 0.3]), rel=0.03)
    assert totals.phase_p95_s["navigate"] == pytest.approx(0.3, rel=0.03)


def test_meter_rate_follows_recent_seconds() -> None:
    """The rate is that of the last seconds: right at a steady pace, from the first second on, and 0 after a pause."""
    clock = HandClock()
    meter = Meter(clock)
    assert meter.pages_per_s == 0.0
    for step in range(1, 400):
        clock.time = 1000.0 + step / 10
        meter.count_result(result())
        if step > 10:
            assert meter.pages_per_s == pytest.approx(10, rel=0.15)
    clock.time += RECENT_S + 1
    assert meter.pages_per_s == 0.0
    clock.time += 1e9
    assert meter.pages_per_s == 0.0


def test_meter_memory_does_not_grow() -> None:
    """A hundred thousand results take no more memory than a thousand."""

    def size(meter: Meter) -> int:
        held = [meter._recent, meter._counts, *(each._counts for each in meter._phases.values())]
        return sum(sys.getsizeof(each) for each in held)

    meter = Meter(HandClock())
    for _ in range(1000):
        meter.count_result(result())
    before = size(meter)
    one = result(Outcome.SUCCEEDED)
    for _ in range(20_000):
        meter.count_result(one)
    assert size(meter) == before


@pytest.mark.parametrize(
    ("reason", "failed", "code"),
    [
        (FinishReason.FINISHED, 0, 0),
        (FinishReason.FINISHED, 1, 1),
        (FinishReason.STOPPED, 0, 0),
        (FinishReason.HANDLER_STOP, 0, 0),
        (FinishReason.HANDLER_STOP, 2, 1),
        (FinishReason.MAX_REQUESTS, 0, 0),
        (FinishReason.MAX_DEPTH, 0, 0),
        (FinishReason.MAX_REQUESTS, 1, 1),
        (FinishReason.MAX_DEPTH, 1, 1),
        (FinishReason.MAX_TIME, 0, 4),
        (FinishReason.MAX_FAILURES, 1, 4),
        (FinishReason.MAX_DISK, 0, 4),
        (FinishReason.FAILED, 0, 1),
        (FinishReason.INTERRUPTED, 1, 130),
    ],
)
def test_summary_exit_code_follows_the_contract(reason: FinishReason, failed: int, code: int) -> None:
    """0 all well, 1 some failed, 4 ended early by a limit, 130 interrupted; the job's own size is no early end."""
    assert summary(reason, failed=failed).exit_code == code


def test_summary_rate_is_of_visited_requests() -> None:
    """Pages per second are the requests that succeeded or failed, by the duration."""
    assert summary(FinishReason.FINISHED, failed=2).pages_per_s == 4.0
