"""Where a run's results, events, files and summary go, and what keeps secrets out of them."""

from browsercrawl.output.artifacts import ArtifactStore
from browsercrawl.output.event_log import EventLog, Listener, Stamped, stderr_lines
from browsercrawl.output.redaction import neutralise, redact_text, redact_url, redact_value, safe_text, safe_url
from browsercrawl.output.results import ResultWriter, result_line
from browsercrawl.output.run_directory import RunDirectory, default_run_directory
from browsercrawl.output.summary import FinishReason, Meter, Summary, Totals

__all__ = [
    "ArtifactStore",
    "EventLog",
    "FinishReason",
    "Listener",
    "Meter",
    "ResultWriter",
    "RunDirectory",
    "Stamped",
    "Summary",
    "Totals",
    "default_run_directory",
    "neutralise",
    "redact_text",
    "redact_url",
    "redact_value",
    "result_line",
    "safe_text",
    "safe_url",
    "stderr_lines",
]
