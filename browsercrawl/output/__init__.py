"""Where a run's results, events, files and summary go."""

from browsercrawl.output.artifacts import ArtifactStore
from browsercrawl.output.event_log import EventLog, redacted, stderr_lines
from browsercrawl.output.results import ResultWriter, result_line
from browsercrawl.output.run_directory import RunDirectory, default_run_directory
from browsercrawl.output.summary import FinishReason, Meter, Summary, Totals

__all__ = [
    "ArtifactStore",
    "EventLog",
    "FinishReason",
    "Meter",
    "ResultWriter",
    "RunDirectory",
    "Summary",
    "Totals",
    "default_run_directory",
    "redacted",
    "result_line",
    "stderr_lines",
]
