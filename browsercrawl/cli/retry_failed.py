"""`browsercrawl retry-failed`: visit what failed in a run again, as if it had never been visited."""

import asyncio
import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from browsercrawl.cli.arguments import Grammar, Option, some_of
from browsercrawl.cli.crawl import EXIT_CODES, REPORTING
from browsercrawl.cli.foreground import resume_command
from browsercrawl.cli.loading import importable, load_code
from browsercrawl.cli.resume import reporting_of, stored_job
from browsercrawl.cli.running import run_job
from browsercrawl.cli.status import STORE, one_run
from browsercrawl.cli.terminal import count_of, printable
from browsercrawl.config.job import Job, JobFile
from browsercrawl.crawler.retrying import take_back_failed
from browsercrawl.errors import (
    BrowsercrawlError,
    BrowserError,
    Disposition,
    ErrorKind,
    InputError,
    InternalError,
    InvalidURL,
    PoolError,
    UnknownLabel,
    VisitError,
)
from browsercrawl.frontier.sqlite import StoreView, read_store
from browsercrawl.output import RunDirectory, Sink


def _result_kinds() -> tuple[str, ...]:
    """Return the kinds of failure that a result can have; what ends the whole run is in none."""
    errors: list[type[BrowsercrawlError]] = [VisitError, BrowserError, PoolError]
    for error in errors:
        errors += error.__subclasses__()
    errors += [InvalidURL, InputError, UnknownLabel, InternalError]
    kinds = {error.kind for error in errors if error.disposition is not Disposition.STOP}
    return tuple(kind.value for kind in ErrorKind if kind in kinds)


GRAMMAR = Grammar(
    command="retry-failed",
    summary="Visit again what failed in a run, all of it or some kinds of failure.",
    details=(
        (
            "Requests that failed lose their results and wait again with all their attempts; then the run goes on like "
            "with browsercrawl resume. Lines of input that are no URL stay failed."
        ),
        f"{EXIT_CODES} If nothing failed that could be tried again: 0.",
    ),
    operands="RUN_DIR",
    operands_help="The run's directory.",
    options=(
        Option(
            flag="--kind",
            metavar="KINDS",
            group="What to visit again",
            read=some_of(_result_kinds()),
            default="all",
            help="Kinds of failure, with commas; browsercrawl status names those of the run.",
        ),
        *REPORTING,
    ),
    examples=(
        ("the site is well again", "browsercrawl retry-failed runs/mine"),
        ("only what may pass by itself", "browsercrawl retry-failed runs/mine --kind network,deadline"),
    ),
)


def execute(arguments: Namespace) -> int:
    """Take back what failed, go on with the run, and return the exit code."""
    given: dict[str, Any] = vars(arguments)
    run = one_run(given["operands"], "retry-failed")
    view = read_store(run / STORE)
    file = stored_job(run, view.notes)
    job = file.resolve(os.environ)  # what is wrong with it is told before anything is taken back
    RunDirectory.open(run).close()  # likewise that another process runs it
    kinds = [ErrorKind(kind) for kind in given["kind"]] if "kind" in given else None
    count = asyncio.run(take_back_failed(run, kinds, sinks=partial(_sinks, job, file)))
    if "quiet" not in given:
        told = (
            f"{count_of(count, 'failed request')} of {run} to be visited again" if count else _nothing(run, view, kinds)
        )
        print(f"browsercrawl: {printable(told)}", file=sys.stderr)
    if not count:
        return 0
    return run_job(file, directory=run, resume=True, reporting=reporting_of(run, given))


def _nothing(run: Path, view: StoreView, kinds: Sequence[ErrorKind] | None) -> str:
    of_kind = f" of the kind {' or '.join(kinds)}" if kinds else ""
    left = f"; go on with what is left: {resume_command(run)}" if view.counts.open else ""
    failed = [name for name in view.totals if name.startswith("failed.")]
    if any(kinds is None or name.removeprefix("failed.") in kinds for name in failed):
        return f"nothing to visit again: what failed is input that is no request{left}"
    return f"nothing to visit again: no request{of_kind} has failed{left}"


def _sinks(job: Job, file: JobFile) -> Sequence[Sink]:
    with importable(file.base):
        return load_code(job, file).sinks
