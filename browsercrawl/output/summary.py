"""What a run came to: the summary, and the meter that counts while it goes on."""

import json
import math
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, JsonValue, computed_field

from browsercrawl.clock import Clock
from browsercrawl.errors import ErrorKind, RunDamaged
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
    """No request was left."""
    MAX_REQUESTS = "max_requests"
    """Likewise; `max_requests` was reached, and kept out others. That is the size of the job, not an early end."""
    MAX_DEPTH = "max_depth"
    """Likewise; links deeper than `depth` were not followed. That is the size of the job, too."""
    MAX_PER_HOST = "max_per_host"
    """Likewise; `max_per_host` kept out requests of a host that had so many."""
    MAX_PER_PATH = "max_per_path"
    """Likewise; `max_per_path` kept out links that differ in their query only: raise it if they are no trap."""
    ENDLESS_SERIES = "endless_series"
    """Likewise; pages in a row that led to nothing but the next were followed no further: see `follow_traps`."""
    STOPPED = "stopped"
    """The program that runs the crawler stopped it."""
    HANDLER_STOP = "handler_stop"
    """A handler raised `Stop`."""
    INTERRUPTED = "interrupted"
    """A signal, or the program left."""
    MAX_TIME = "max_time"
    """It took as long as it may: an early end (exit code 4), like the next three. Resumed, it goes on."""
    MAX_FAILURES = "max_failures"
    """So many requests failed, or such a share of them, as may fail."""
    MAX_DISK = "max_disk"
    """The run directory has grown as large as it may."""
    MAX_BYTES = "max_bytes"
    """So much was sent and received as may be."""
    SESSIONS_PAUSED = "sessions_paused"
    """What is left belongs to sessions that could not be logged in: an early end, too; `browsercrawl login` helps."""
    MEMORY = "memory"
    """It waited too long for memory that others use: an early end; resumed, it goes on."""
    FAILED = "failed"
    """The engine could not go on: no browser, or a bug."""


_EARLY_ENDS = frozenset(
    {
        FinishReason.MAX_TIME,
        FinishReason.MAX_FAILURES,
        FinishReason.MAX_DISK,
        FinishReason.MAX_BYTES,
        FinishReason.SESSIONS_PAUSED,
        FinishReason.MEMORY,
    }
)


class Totals(BaseModel):
    """The counts of a run so far."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    succeeded: int = Field(ge=0)
    failed: int = Field(ge=0)
    skipped: int = Field(ge=0)
    partial: int = Field(ge=0, description="Succeeded without the awaited load event.")
    retried: int = Field(ge=0, description="Attempts beyond the first of each request.")
    failures: dict[ErrorKind, int] = Field(description="Failed requests, by kind.")
    skips: dict[str, int] = Field(default_factory=dict, description="Skipped requests, by reason.")
    phase_p50_s: dict[str, float] = Field(description="Median seconds by phase, over visited requests.")
    phase_p95_s: dict[str, float] = Field(description="95th percentile, likewise; both within 2.5 %.")


class Summary(Totals):
    """What a whole run came to."""

    run_id: str
    finish_reason: FinishReason
    finish_detail: str | None = Field(default=None, description="What exactly ended it early.")
    links_skipped: dict[SkipReason, int] = Field(description="Links, and entries of sitemaps, kept out, by reason.")
    refused: int = Field(default=0, ge=0, description="Connections of pages that the network guard refused.")
    transferred_bytes: int = Field(
        default=0, ge=0, description="Sent and received through the network guard and for `max_bytes`; 0 without both."
    )
    duplicates: int = Field(ge=0, description="Requests that were known already.")
    unfinished: int = Field(default=0, ge=0, description="Requests put back or never visited, by an early end.")
    started_at: datetime
    finished_at: datetime
    duration_s: float = Field(ge=0, description="Of all processes that worked on the run, together.")
    resumed: bool = Field(default=False, description="An earlier process began the run; the counts include its part.")
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
        if self.finish_reason in _EARLY_ENDS:
            return 4
        return 1 if self.failed or self.finish_reason is FinishReason.FAILED else 0


def counts_of(result: Result) -> tuple[str, dict[str, int]]:
    """Return what a finished request counts for, in the words of the store's totals.

    Returns:
        Its ending (`succeeded`, `failed.<kind>`, `skipped.<reason>`), and what counts besides (`partial`, `retried`).

    Example:
        >>> now = datetime(2026, 1, 1)
        >>> skipped = Result(request_id="1", url="", outcome="skipped", skip_reason="handler: sold", finished_at=now)
        >>> counts_of(skipped)
        ('skipped.handler', {})
    """
    ending, detail, counts = result.outcome.value, "", dict[str, int]()
    if result.outcome is Outcome.FAILED and result.error:
        detail = result.error.kind.value
    elif result.outcome is Outcome.SKIPPED and result.skip_reason:
        detail = result.skip_reason.partition(":")[0]
    if result.partial and result.outcome is Outcome.SUCCEEDED:
        counts["partial"] = 1
    if result.attempts > 1:
        counts["retried"] = result.attempts - 1
    return f"{ending}.{detail}" if detail else ending, counts


class Histogram:
    """Quantiles of durations in constant memory: logarithmic buckets, each 5 % wider than the one before."""

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        """Begin with nothing, or with the `counts` of another."""
        self._counts = [0] * (_BUCKETS + 1)
        for index, count in (counts or {}).items():
            self._counts[int(index)] += count
        self._total = sum(self._counts)

    @property
    def counts(self) -> dict[str, int]:
        """How many durations lie in each bucket that has any."""
        return {str(index): count for index, count in enumerate(self._counts) if count}

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

    def __init__(self, clock: Clock, *, totals: Mapping[str, int] | None = None, phases: str | None = None) -> None:
        """Begin, with what earlier processes of the run have counted.

        Args:
            clock: for the rate.
            totals: by the words of `counts_of`.
            phases: what `phases_json` gave.

        Raises:
            RunDamaged: they are not of this version's making.
        """
        self._clock = clock
        self._started = clock.now()
        self._counts = Counter(totals or {})
        self._recent = [0] * RECENT_S
        self._second = int(self._started)
        try:
            before = json.loads(phases or "{}")
            self._phases = {phase: Histogram(before.get(phase)) for phase in _PHASES}
            self.totals()
        except (ValueError, TypeError, AttributeError, IndexError) as error:
            raise RunDamaged(f"the run's counts were made by another version, or are damaged: {error}") from None

    def count_result(self, result: Result) -> None:
        """Count a finished request."""
        ending, counts = counts_of(result)
        self._counts[ending] += 1
        self._counts.update(counts)
        if result.attempts == 0:
            return
        for phase, histogram in self._phases.items():
            histogram.add(getattr(result.timings, phase))
        self._turn()
        self._recent[self._second % RECENT_S] += 1

    def phases_json(self) -> str:
        """Return the durations counted so far, for the meter of a later process."""
        return json.dumps({phase: each.counts for phase, each in self._phases.items()}, separators=(",", ":"))

    @property
    def pages_per_s(self) -> float:
        """Visited requests that ended per second, over the last `RECENT_S` (or since the start, if that is shorter)."""
        self._turn()
        span = min(RECENT_S - 1 + self._clock.now() % 1, self._clock.now() - self._started)
        return sum(self._recent) / span if span > 0 else 0.0

    def totals(self) -> Totals:
        """Return the counts so far."""
        outcomes, failures, skips = Counter[str](), dict[ErrorKind, int](), dict[str, int]()
        for word, count in self._counts.items():
            outcome, _, detail = word.partition(".")
            outcomes[outcome] += count
            if outcome == Outcome.FAILED and detail and count:
                failures[ErrorKind(detail)] = count
            elif outcome == Outcome.SKIPPED and detail and count:
                skips[detail] = count
        return Totals(
            succeeded=outcomes[Outcome.SUCCEEDED],
            failed=outcomes[Outcome.FAILED],
            skipped=outcomes[Outcome.SKIPPED],
            partial=self._counts["partial"],
            retried=self._counts["retried"],
            failures=failures,
            skips=skips,
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
