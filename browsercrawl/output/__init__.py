"""Where a run's results, events, files and summary go."""

from browsercrawl.output.artifacts import ArtifactStore, size_of
from browsercrawl.output.event_log import EventLog, redacted, stderr_lines
from browsercrawl.output.projection import Outbox, Projection
from browsercrawl.output.results import ResultFile, raw_lines, read_lines, record_of, result_line
from browsercrawl.output.run_directory import Holder, RunDirectory, default_run_directory, holder_of
from browsercrawl.output.sinks import Sink
from browsercrawl.output.space import Space
from browsercrawl.output.summary import FinishReason, Meter, Summary, Totals, counts_of

__all__ = [
    "ArtifactStore",
    "EventLog",
    "FinishReason",
    "Holder",
    "Meter",
    "Outbox",
    "Projection",
    "ResultFile",
    "RunDirectory",
    "Sink",
    "Space",
    "Summary",
    "Totals",
    "counts_of",
    "default_run_directory",
    "holder_of",
    "raw_lines",
    "read_lines",
    "record_of",
    "redacted",
    "result_line",
    "size_of",
    "stderr_lines",
]
