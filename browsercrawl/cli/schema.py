"""`browsercrawl schema`: what a job file may hold, for editors."""

import json
from argparse import Namespace

from browsercrawl.cli.arguments import Grammar
from browsercrawl.config.job_schema import job_schema

GRAMMAR = Grammar(
    command="schema",
    summary="Print the JSON Schema of job files, for editors.",
    details=(
        (
            "An editor that knows YAML schemas completes a job file, explains its fields and marks mistakes while you "
            "type."
        ),
    ),
    examples=(
        ("keep it beside the job", "browsercrawl schema > job.schema.json"),
        (
            "and let the job's first line name it",
            "sed -i '1i # yaml-language-server: $schema=job.schema.json' crawl.yaml",
        ),
    ),
)


def execute(_: Namespace) -> int:
    """Print the schema and return the exit code."""
    print(json.dumps(job_schema(), indent=2, ensure_ascii=False))
    return 0
