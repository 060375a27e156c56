"""`browsercrawl run`: a job that is written in a file."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from browsercrawl.cli.arguments import BadUsage, Grammar, Option
from browsercrawl.cli.crawl import EXIT_CODES, REPORTING
from browsercrawl.cli.foreground import Reporting
from browsercrawl.cli.running import read_job, start_job

GRAMMAR = Grammar(
    command="run",
    summary="Run a job that is written in a YAML file.",
    details=(
        (
            "Its fields are named like the options of browsercrawl crawl, and it can name functions of yours that get "
            "the pages. The file is looked at as a whole before anything is started; what is wrong is told with its "
            "line. A text in it may hold ${NAME}, the value of an environment variable, which is never stored."
        ),
        EXIT_CODES,
    ),
    operands="JOB.yaml",
    operands_help="The job; browsercrawl init writes an example.",
    options=(
        Option(
            flag="--output",
            metavar="DIR",
            group="Output",
            read=Path,
            default="as the job says, else runs/<time>-<host>",
            help="The run directory to make.",
        ),
        *REPORTING,
    ),
    examples=(
        ("write an example, look at it, run it", "browsercrawl init shop.yaml\nbrowsercrawl run shop.yaml"),
        ("every night, into a directory of its own", "browsercrawl run shop.yaml --quiet --output runs/$(date +%F)"),
        ("with a secret that stays in the environment", "TOKEN=... browsercrawl run shop.yaml"),
    ),
)


def execute(arguments: Namespace) -> int:
    """Run the job and return the exit code."""
    given: dict[str, Any] = vars(arguments)
    if len(given["operands"]) != 1:
        raise BadUsage("give one job file: browsercrawl run JOB.yaml; browsercrawl init writes an example")
    path = Path(given["operands"][0])
    reporting = Reporting(title=path.name, as_json="json" in given, quiet="quiet" in given)
    return start_job(read_job(path), reporting=reporting, output=given.get("output"))
