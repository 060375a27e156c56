"""The books of a run: what it has come to so far, over all processes that worked on it, and its summary at the end."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from pydantic import JsonValue

from browsercrawl.clock import Clock
from browsercrawl.config import LimitsConfig
from browsercrawl.crawler.files import RunFiles
from browsercrawl.dispatcher import LINK, REFUSED, Dispatcher
from browsercrawl.errors import OutputFailed
from browsercrawl.events import SessionHealth, Status
from browsercrawl.net import Guard
from browsercrawl.output import ArtifactStore, FinishReason, Meter, Summary, size_of
from browsercrawl.pool import Pool
from browsercrawl.pressure import read_memory
from browsercrawl.redaction import safe_text
from browsercrawl.result import Outcome, Result, SkipReason
from browsercrawl.sessions import Phase, Sessions

SHARE_FROM = 20
"""Finished requests before their share of failures means anything."""


class Account:
    """Counts what this process does on top of what earlier ones have noted, and watches the limits.

    Args:
        files: of the run.
        clock: of the run.
        config: what ends the run early.
        guard: counts the bytes.
        on_limit: told when one of those limits is reached, with a sentence about it; maybe more than once.
    """

    def __init__(
        self,
        files: RunFiles,
        *,
        clock: Clock,
        config: LimitsConfig,
        guard: Guard,
        on_limit: Callable[[FinishReason, str], None],
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
        self._guard = guard
        self._transferred_at_first = guard.transferred_bytes
        self._transferred_before = int(files.notes.get("transferred_bytes", 0))
        self._sessions: list[SessionHealth] = []
        self._sessions_before = {each.session: each for each in sessions_noted(files.notes, clock.utc())}

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
        """Look at the limits on time, disk and bytes; a few times a second."""
        time_s, disk_bytes, most_bytes = self._config.max_time_s, self._config.max_disk_bytes, self._config.max_bytes
        if time_s is not None and self.elapsed_s >= time_s:
            self._on_limit(FinishReason.MAX_TIME, f"max_time ({time_s:g} s) is over")
        elif disk_bytes is not None and (size := self._disk_bytes()) >= disk_bytes:
            told = f"the run directory holds {size:,} bytes; max_disk is {disk_bytes:,}"
            self._on_limit(FinishReason.MAX_DISK, told)
        elif most_bytes is not None and (count := self._transferred_bytes()) >= most_bytes:
            told = f"{count:,} bytes were sent and received; max_bytes is {most_bytes:,}"
            self._on_limit(FinishReason.MAX_BYTES, told)

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

        if dispatcher is not None and dispatcher.paused_sessions and self._files.frontier.counts().open:
            return FinishReason.SESSIONS_PAUSED
        if kept_out(SkipReason.MAX_REQUESTS) or (dispatcher is not None and dispatcher.input_left):
            return FinishReason.MAX_REQUESTS
        if kept_out(SkipReason.MAX_PER_HOST):
            return FinishReason.MAX_PER_HOST
        if kept_out(SkipReason.MAX_PER_PATH):
            return FinishReason.MAX_PER_PATH
        if kept_out(SkipReason.ENDLESS_SERIES):
            return FinishReason.ENDLESS_SERIES
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
            refused=totals.get(REFUSED, 0),
            transferred_bytes=self._transferred_before + self._transferred_bytes(),
            duplicates=counts.duplicates,
            unfinished=counts.open,
            started_at=datetime.fromisoformat(files.notes["started_at"]),
            finished_at=self._clock.utc(),
            duration_s=round(self._before_s + self.elapsed_s, 3),
            options=options,
            run_dir=files.directory.path if files.directory else None,
            events_dropped=events_dropped,
        )

    def status(self, pool: Pool, *, active: int, sessions: Sessions) -> Status:
        """Return how the run stands now; `active` visits are open."""
        counts, totals = self._files.frontier.counts(), self._meter.totals()
        pages, memory = pool.statistics(), read_memory()
        self._sessions = sessions.roster.told(self._clock.utc())
        return Status(
            queued=counts.queued,
            active=active,
            waiting=counts.waiting,
            parked=counts.parked,
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
            sessions_paused=len(sessions.roster.paused()),
            sessions=self._sessions,
        )

    def _transferred_bytes(self) -> int:
        return self._guard.transferred_bytes - self._transferred_at_first

    def _disk_bytes(self) -> int:
        """Return the size of the run directory's files that grow."""
        directory, artifacts = self._files.directory, self._artifacts
        if directory is None or artifacts is None:
            return 0
        growing = [directory.results, directory.events, directory.store, directory.store.with_name("run.sqlite-wal")]
        size = sum(path.stat().st_size for path in growing if path.exists())
        return size + artifacts.bytes_written + self._artifacts_before_bytes

    def _standing(self) -> dict[str, str]:
        standing = {
            "elapsed_s": f"{self._before_s + self.elapsed_s:.3f}",
            "phases": self._meter.phases_json(),
            "transferred_bytes": str(self._transferred_before + self._transferred_bytes()),
        }
        if self._sessions:  # as of the last status, which told them at most a moment ago
            before = self._sessions_before
            told = [_together(each, before.get(each.session), self.elapsed_s) for each in self._sessions]
            standing["sessions"] = _written(told, self._clock.utc())
        return standing


def sessions_noted(notes: Mapping[str, str], now: datetime | None = None) -> Sequence[SessionHealth]:
    """Return how sessions did when a run's notes were written last; nothing if they do not tell.

    Args:
        notes: of the run.
        now: an aware time, for the age of the states; None: as it was then.
    """
    try:
        noted = json.loads(notes.get("sessions") or "{}")
        later_s = (now - datetime.fromisoformat(noted["at"])).total_seconds() if now and noted else 0.0
        told = [SessionHealth.model_validate(each) for each in noted.get("sessions", ())]
    except (ValueError, TypeError, KeyError, AttributeError):  # another version's
        return ()
    return [
        each if each.state_age_s is None else each.model_copy(update={"state_age_s": each.state_age_s + later_s})
        for each in told
    ]


def _together(health: SessionHealth, before: SessionHealth | None, elapsed_s: float) -> SessionHealth:
    """Return how a session does, over all processes that worked on the run.

    Args:
        health: of this process.
        before: as the earlier ones left it, when this process began.
        elapsed_s: since then.
    """
    reason = safe_text(health.reason) if health.reason is not None else None
    if before is None:
        return health.model_copy(update={"reason": reason})
    counts = {name: getattr(health, name) + getattr(before, name) for name in ("pages", "failures", "logins")}
    told = health.model_copy(update={**counts, "reason": reason, "last_login": health.last_login or before.last_login})
    if before.phase == Phase.IN and before.state_age_s is not None and health == _untouched(health.session):
        return told.model_copy(update={"phase": before.phase, "state_age_s": before.state_age_s + elapsed_s})
    return told


def _untouched(session: str) -> SessionHealth:
    """Return what is told of a session with a login that this process has not needed yet."""
    return SessionHealth(session=session, phase=Phase.OUT)


def _written(told: Sequence[SessionHealth], at: datetime) -> str:
    sessions = [each.model_dump(mode="json", exclude_defaults=True) for each in told]
    return json.dumps({"at": at.isoformat(), "sessions": sessions}, separators=(",", ":"))
