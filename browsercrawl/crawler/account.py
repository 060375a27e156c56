"""The books of a run: what it has come to so far, over all processes that worked on it, and its summary at the end."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from pydantic import JsonValue

from browsercrawl.clock import Clock
from browsercrawl.config import LimitsConfig
from browsercrawl.crawler.files import RunFiles
from browsercrawl.dispatcher import LINK, Dispatcher
from browsercrawl.errors import OutputFailed
from browsercrawl.events import Status
from browsercrawl.output import ArtifactStore, FinishReason, Meter, Summary, size_of
from browsercrawl.pool import Pool
from browsercrawl.pressure import read_memory
from browsercrawl.result import Outcome, Result, SkipReason

SHARE_FROM = 20
"""Finished requests before their share of failures means anything."""


class Account:
    """Counts what this process does on top of what earlier ones have noted, and watches the limits.

    Args:
        files: of the run.
        clock: of the run.
        config: what ends the run early.
        on_limit: told when one of those limits is reached, with a sentence about it; maybe more than once.
    """

    def __init__(
        self, files: RunFiles, *, clock: Clock, config: LimitsConfig, on_limit: Callable[[FinishReason, str], None]
    ) -> None:
        self._meter = Meter(clock, totals=files.totals, phases=files.notes.get("phases") or None)
        self._failed = 0
        self._finished = 0
        self._config = config
        self._on_limit = on_limit
        self._artifacts: ArtifactStore | None = None
        self._artifacts_before_bytes = 0
        self._files = files
        self._clock = clock
        self._began = clock.now()
        self._before_s = float(files.notes.get("elapsed_s", 0))

    @property
    def elapsed_s(self) -> float:
        """How long this process has worked on the run."""
        return self._clock.now() - self._began

    async def measure(self, artifacts: ArtifactStore) -> None:
        """Take what this process will write there into account, and what earlier ones have written."""
        if self._config.max_disk_bytes is not None and self._files.directory is not None:
            self._artifacts_before_bytes = await size_of(self._files.directory.artifacts)
        self._artifacts = artifacts

    def count(self, result: Result) -> None:
        """Count a result, and look at the limits on failures."""
        self._meter.count_result(result)
        self._finished += 1
        if result.outcome is not Outcome.FAILED:
            return
        self._failed += 1
        most, share = self._config.max_failures, self._config.max_failure_share
        if most is not None and self._failed >= most:
            told = f"{self._failed} requests failed; max_failures is {most}"
            self._on_limit(FinishReason.MAX_FAILURES, told)
        elif share is not None and self._finished >= SHARE_FROM and self._failed >= share * self._finished:
            told = f"{self._failed} of {self._finished} requests failed; max_failures is {share:.0%}"
            self._on_limit(FinishReason.MAX_FAILURES, told)

    def look(self) -> None:
        """Look at the limits on time and disk; a few times a second."""
        time_s, disk_bytes = self._config.max_time_s, self._config.max_disk_bytes
        if time_s is not None and self.elapsed_s >= time_s:
            self._on_limit(FinishReason.MAX_TIME, f"max_time ({time_s:g} s) is over")
        elif disk_bytes is not None and (size := self._disk_bytes()) >= disk_bytes:
            told = f"the run directory holds {size:,} bytes; max_disk is {disk_bytes:,}"
            self._on_limit(FinishReason.MAX_DISK, told)

    async def keep(self, every_s: float) -> None:
        """Note every few seconds how the run stands, for whoever looks at it when this process is dead."""
        while True:
            await self._clock.sleep(every_s)
            await self._files.frontier.note(self._standing())

    async def close(self, reason: FinishReason) -> None:
        """Note how the run stands and why it has ended."""
        await self._files.frontier.note({**self._standing(), "finish_reason": reason})

    async def reason(self, dispatcher: Dispatcher | None) -> FinishReason:
        """Tell what the end of the requests means: that it was all, or all that was wanted."""
        totals = await self._files.frontier.totals()

        def kept_out(reason: SkipReason) -> bool:
            return f"{LINK}{reason}" in totals or f"skipped.{reason}" in totals

        if kept_out(SkipReason.MAX_REQUESTS) or (dispatcher is not None and dispatcher.input_left):
            return FinishReason.MAX_REQUESTS
        if kept_out(SkipReason.MAX_PER_HOST):
            return FinishReason.MAX_PER_HOST
        return FinishReason.MAX_DEPTH if kept_out(SkipReason.TOO_DEEP) else FinishReason.FINISHED

    async def summary(
        self, reason: FinishReason, *, detail: str | None, options: dict[str, JsonValue], events_dropped: int
    ) -> Summary:
        """Sum the run up."""
        files, counts = self._files, self._files.frontier.counts()
        totals = files.totals
        with suppress(OutputFailed):  # stopped on a full disk, where not even the passing of time can be noted
            totals = await files.frontier.totals()
        return Summary(
            **self._meter.totals().model_dump(),
            run_id=files.run_id,
            finish_reason=reason,
            finish_detail=detail,
            resumed=files.resumed,
            links_skipped={
                SkipReason(name.removeprefix(LINK)): number
                for name, number in sorted(totals.items())
                if name.startswith(LINK)
            },
            duplicates=counts.duplicates,
            unfinished=counts.open,
            started_at=datetime.fromisoformat(files.notes["started_at"]),
            finished_at=self._clock.utc(),
            duration_s=round(self._before_s + self.elapsed_s, 3),
            options=options,
            run_dir=files.directory.path if files.directory else None,
            events_dropped=events_dropped,
        )

    def status(self, pool: Pool, *, active: int) -> Status:
        """Return how the run stands now; `active` visits are open."""
        counts, totals = self._files.frontier.counts(), self._meter.totals()
        pages, memory = pool.statistics(), read_memory()
        return Status(
            queued=counts.queued,
            active=active,
            waiting=counts.waiting,
            retrying=counts.retrying,
            succeeded=totals.succeeded,
            failed=totals.failed,
            skipped=totals.skipped,
            limit=pool.limit,
            pages_per_s=round(self._meter.pages_per_s, 2),
            phase_p50_s=totals.phase_p50_s,
            phase_p95_s=totals.phase_p95_s,
            memory_used_bytes=memory.used_bytes,
            memory_limit_bytes=memory.limit_bytes,
            memory_source=memory.source,
            browsers=pages.browsers,
            contexts=pages.contexts,
            pages=pages.pages,
            elapsed_s=round(self.elapsed_s, 3),
        )

    def _disk_bytes(self) -> int:
        """Return the size of the run directory's files that grow."""
        directory, artifacts = self._files.directory, self._artifacts
        if directory is None or artifacts is None:
            return 0
        growing = [directory.results, directory.events, directory.store, directory.store.with_name("run.sqlite-wal")]
        size = sum(path.stat().st_size for path in growing if path.exists())
        return size + artifacts.bytes_written + self._artifacts_before_bytes

    def _standing(self) -> dict[str, str]:
        return {"elapsed_s": f"{self._before_s + self.elapsed_s:.3f}", "phases": self._meter.phases_json()}
