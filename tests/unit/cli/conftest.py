"""Run directories as an earlier process has left them: real stores and files, made without a browser."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import pytest

from browsercrawl.clock import SystemClock
from browsercrawl.config import HostConfig
from browsercrawl.config.job import JobFile
from browsercrawl.errors import Disposition, ErrorKind
from browsercrawl.frontier import Record
from browsercrawl.frontier.sqlite import SqliteFrontier, make_store
from browsercrawl.output import ResultFile, RunDirectory, counts_of, result_line
from browsercrawl.politeness import slot_rules
from browsercrawl.request import Request
from browsercrawl.result import ErrorInfo, Outcome, Result

NOTES = {"run_id": "3f2a9c1be0d74a55", "started_at": "2026-11-21T05:02:12+00:00", "elapsed_s": "734.2"}


class MakeRun(Protocol):
    """Makes a run directory."""

    def __call__(
        self,
        results: Sequence[Result] = (),
        *,
        unwritten: int = 0,
        waiting: int = 0,
        notes: Mapping[str, str] | None = None,
        is_a_job: bool = True,
    ) -> Path:
        """Make it with these results.

        Args:
            results: what the run has come to.
            unwritten: so many of them, the last ones, stand in the store only.
            waiting: further requests without a result.
            notes: what the store shall remember besides.
            is_a_job: False: a Python program made it.
        """


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Make run directories below the test's own."""

    def make(
        results: Sequence[Result] = (),
        *,
        unwritten: int = 0,
        waiting: int = 0,
        notes: Mapping[str, str] | None = None,
        is_a_job: bool = True,
    ) -> Path:
        path = tmp_path / "mine"
        job = JobFile({"seeds": {"urls": ["http://127.0.0.1:9/"]}}, base=tmp_path).stored()
        stored = NOTES | ({"job": job} if is_a_job else {}) | dict(notes or {})
        requests = [Request(url=result.url) for result in results]
        requests += [Request(url=f"http://127.0.0.1:9/waiting/{number}") for number in range(waiting)]
        with RunDirectory.create(path, prepare=lambda fresh: make_store(fresh / "run.sqlite", notes=stored)) as run:
            asyncio.run(_fill(run, requests, results, unwritten))
        return path

    return make


async def _fill(run: RunDirectory, requests: Sequence[Request], results: Sequence[Result], unwritten: int) -> None:
    frontier = await SqliteFrontier.open(run.store, clock=SystemClock(), rules_of=slot_rules(HostConfig()))
    file = ResultFile(run.results, size=0)
    try:
        await frontier.schedule(requests)
        for claim, result in zip(
            await frontier.claim(owner="test", limit=len(results) or 1, lease_s=60), results, strict=False
        ):
            assert claim.request.url == result.url
            ending, counts = counts_of(result)
            line = result_line(result).encode()
            await frontier.complete(claim, record=Record(ending=ending, line=line, counts=counts))
        written = await frontier.lines(len(results) - unwritten) if len(results) > unwritten else []
        if written:
            await frontier.emptied(upto=written[-1].number, size=file.append([each.line for each in written]))
    finally:
        file.close()
        await frontier.close()


@pytest.fixture
def results() -> list[Result]:
    """Return three results: one with everything in it, a failure and a skip."""
    now = datetime(2026, 11, 21, 5, 4, 9, 123456, tzinfo=UTC)
    urls = [f"http://127.0.0.1:9/{name}" for name in ("good", "bad", "left")]
    good, bad, left = (Request(url=url).id for url in urls)
    error = ErrorInfo(kind=ErrorKind.NETWORK, message="reset", disposition=Disposition.RETRY_FRESH)
    return [
        Result(
            request_id=good,
            url=urls[0],
            final_url=urls[0],
            outcome=Outcome.SUCCEEDED,
            http_status=200,
            title='=SUM(A1) "quoted",\r\nover\rlines; Nordlicht · 灯',
            data=({"price": 12.5, "tags": ["=x", None]}, "second"),
            attempts=2,
            links=("http://127.0.0.1:9/a", "http://127.0.0.1:9/b"),
            started_at=now,
            finished_at=now,
        ),
        Result(request_id=bad, url=urls[1], outcome=Outcome.FAILED, error=error, attempts=3, finished_at=now),
        Result(request_id=left, url=urls[2], outcome=Outcome.SKIPPED, skip_reason="handler: sold", finished_at=now),
    ]
