"""`browsercrawl resume`: go on with a run where the process before has left it, however that ended."""

import shlex
import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from browsercrawl.cli.arguments import BadUsage, Grammar
from browsercrawl.cli.crawl import EXIT_CODES, REPORTING
from browsercrawl.cli.foreground import Reporting
from browsercrawl.cli.running import run_job
from browsercrawl.cli.status import STORE, Watch, one_run
from browsercrawl.cli.terminal import count_of, printable
from browsercrawl.cli.view import RunState, retriable
from browsercrawl.config.job import JobFile
from browsercrawl.frontier.sqlite import read_store
from browsercrawl.output import RunDirectory

GRAMMAR = Grammar(
    command="resume",
    summary="Go on with a run that was interrupted, ended early or killed.",
    details=(
        (
            "What has its result keeps it; pages that were open are visited again, and the rest follows. The run's own "
            "job is used, with the present values of the environment variables that it names; handlers are looked for "
            "where they were. A run that is finished is left as it is."
        ),
        (
            "A file of URLs must be what it was as far as it was read. Standard input is kept in the run; if it was "
            "cut off, pipe the rest to this command."
        ),
        f"{EXIT_CODES} Of a finished run: 0 or 1.",
    ),
    operands="RUN_DIR",
    operands_help="The run's directory.",
    options=REPORTING,
    examples=(
        ("after Ctrl-C, a full disk, or a power failure", "browsercrawl resume runs/mine"),
        ("with its further results as they come", "browsercrawl resume runs/mine --json | jq -r .title"),
    ),
)


def execute(arguments: Namespace) -> int:
    """Go on with the run and return the exit code."""
    given: dict[str, Any] = vars(arguments)
    run = one_run(given["operands"], "resume")
    status, notes = Watch(run).look(), read_store(run / STORE).notes
    if status.state is RunState.FINISHED:
        if "quiet" not in given:
            told = f"{run} is finished: {count_of(status.results, 'result')}"
            if status.failed:
                told += f", {status.failed:,} of them failed"
            if notes.get("job") and retriable(status.failures):
                told += f"; to try what failed again: browsercrawl retry-failed {shlex.quote(str(run))}"
            print(f"browsercrawl: {printable(told)}", file=sys.stderr)
        return 1 if status.failed else 0
    job = stored_job(run, notes)
    RunDirectory.open(run).close()  # a run that is busy is refused before anything of the user's is loaded
    return run_job(job, directory=run, resume=True, reporting=reporting_of(run, given))


def stored_job(run: Path, notes: Mapping[str, str]) -> JobFile:
    """Return the job of a run.

    Raises:
        BadUsage: it belongs to a Python program.
    """
    if not notes.get("job"):
        raise BadUsage(
            f"{run} was made by a Python program, and only that knows its input and handlers; run it again with "
            f"CrawlerConfig(output={str(run)!r}, resume=True)"
        )
    return JobFile.from_stored(notes["job"], name=str(run / "job.yaml"))


def reporting_of(run: Path, given: Mapping[str, Any]) -> Reporting:
    """Return what the options say about what is shown."""
    return Reporting(title=str(run), as_json="json" in given, quiet="quiet" in given)
