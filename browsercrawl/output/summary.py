"""What a run came to: the summary, and the meter that counts while it goes on."""

import math
from collections import Counter
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, JsonValue, computed_field

from browsercrawl.clock import Clock
from browsercrawl.errors import ErrorKind
from browsercrawl.result import Outcome, Result, SkipReason, Timings

RECENT_S = 20
"""Pages per second are taken over so many seconds."""

_LEAST_S = 0.001
_RATIO = 1.05
_BUCKETS = 361  # 1 ms times 1.05 to the power of 361: some 12 hours
_PHASES = tuple(Timings.model_fields)


class FinishReason(StrEnum):
    """Why a run ended."""

    FINISHED = "finished"
    """No request was left; reaching `max_requests` or `depth` is the size of the job, and counts as this."""
    STOPPED = "stopped"
    """The program that runs the crawler stopped it."""
    HANDLER_STOP = "handler_stop"
    """A handler raised `Stop`."""
    INTERRUPTED = "interrupted"
    """A signal, or the program left."""
    LIMIT = "limit"
    """A limit on time, failures, disk or bytes was reached."""
    FAILED = "failed"
    """The engine could not go on: no browser, or a bug."""


class Totals(BaseModel):
    """The counts of a run so far."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    succeeded: int = Field(ge=0)
    failed: int = Field(ge=0)
    skipped: int = Field(ge=0)
    partial: int = Field(ge=0, description="Succeeded without the awaited load event.")
    retried: int = Field(ge=0, description="Attempts beyond the first of each request.")
    failures: dict[ErrorKind, int] = Field(description="Failed requests, by kind.")
    phase_p50_s: dict[str, float] = Field(description="Median seconds by phase, over visited requests.")
    phase_p95_s: dict[str, float] = Field(description="95th percentile, likewise; both within 2.5 %.")


class Summary(Totals):
    """What a whole run came to."""

    run_id: str
    finish_reason: FinishReason
    finish_detail: str | None = Field(default=None, description="What exactly ended it early.")
    links_skipped: dict[SkipReason, int] = Field(description="Links kept out of the frontier, by reason.")
    duplicates: int = Field(ge=0, description="Requests that were known already.")
    unfinished: int = Field(default=0, ge=0, description="Requests put back or never visited, by an early end.")
    started_at: datetime
    finished_at: datetime
    duration_s: float = Field(ge=0)
    options: dict[str, JsonValue] = Field(description="The options in effect, after profile and defaults.")
    run_dir: Path | None = None
    events_dropped: int = Field(default=0, ge=0, description="Events that did not get into events.jsonl.")

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorated property
    @property
    def pages_per_s(self) -> float:
        """Requests visited to their end, by the run's duration."""
        return (self.succeeded + self.failed) / self.duration_s if self.duration_s > 0 else 0.0

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorated property
    @property
    def exit_code(self) -> int:
        """What a command that did this run exits with: 0, 1 (some failed), 4 (ended by a limit), 130 (interrupted)."""
        if self.finish_reason is FinishReason.INTERRUPTED:
            return 130
        if self.finish_reason is FinishReason.LIMIT:
            return 4
        return 1 if self.failed or self.finish_reason is FinishReason.FAILED else 0


class Histogram:
    """Quantiles of durations in constant memory: logarithmic buckets, each 5 % wider than the one before."""

    def __init__(self) -> None:
        self._counts = [0] * (_BUCKETS + 1)
        self._total = 0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        index = 0 if seconds < _LEAST_S else min(_BUCKETS, 1 + int(math.log(seconds / _LEAST_S) / math.log(_RATIO)))
        self._counts[index] += 1
        self._total += 1

    def quantile(self, share: float) -> float:
        """Return the duration that `share` (0 to 1) of all stay within, off by 2.5 % at most.

        0.0 when nothing was counted or the duration is below a millisecond; nothing above 12 hours is told apart.
        """
        wanted = max(1, math.ceil(share * self._total))
        passed = 0
        for index, count in enumerate(self._counts):
            passed += count
            if passed >= wanted:
                return float(_LEAST_S * _RATIO ** (index - 0.5)) if index else 0.0
        return 0.0


class Meter:
    """Counts a run's results as they come. Its memory does not grow with them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started = clock.now()
        self._outcomes: Counter[Outcome] = Counter()
        self._partial = 0
        self._retried = 0
        self._failures: Counter[ErrorKind] = Counter()
        self._phases = {phase: Histogram() for phase in _PHASES}
        self._recent = [0] * RECENT_S
        self._second = int(self._started)

    def count_result(self, result: Result) -> None:
        """Count a finished request."""
        self._outcomes[result.outcome] += 1
        self._partial += result.partial and result.outcome is Outcome.SUCCEEDED
        if result.outcome is Outcome.FAILED and result.error:
            self._failures[result.error.kind] += 1
        if result.attempts == 0:
            return
        self._retried += result.attempts - 1
        for phase, histogram in self._phases.items():
            histogram.add(getattr(result.timings, phase))
        self._turn()
        self._recent[self._second % RECENT_S] += 1

    @property
    def pages_per_s(self) -> float:
        """Visited requests that ended per second, over the last `RECENT_S` (or since the start, if that is shorter)."""
        self._turn()
        span = min(RECENT_S - 1 + self._clock.now() % 1, self._clock.now() - self._started)
        return sum(self._recent) / span if span > 0 else 0.0

    def totals(self) -> Totals:
        """Return the counts so far."""
        return Totals(
            succeeded=self._outcomes[Outcome.SUCCEEDED],
            failed=self._outcomes[Outcome.FAILED],
            skipped=self._outcomes[Outcome.SKIPPED],
            partial=self._partial,
            retried=self._retried,
            failures=dict(self._failures),
            phase_p50_s=self._quantiles(0.5),
            phase_p95_s=self._quantiles(0.95),
        )

    def _quantiles(self, share: float) -> dict[str, float]:
        return {phase.removesuffix("_s"): round(each.quantile(share), 4) for phase, each in self._phases.items()}

    def _turn(self) -> None:
        """Empty the seconds that have passed since the last look."""
        now = int(self._clock.now())
        for second in range(max(self._second, now - RECENT_S) + 1, now + 1):
            self._recent[second % RECENT_S] = 0
        self._second = max(self._second, now)
