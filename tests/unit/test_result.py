"""Results: the fields of the contract, and their JSON."""

from datetime import UTC, datetime

from browsercrawl.errors import Disposition, ErrorKind
from browsercrawl.result import ErrorInfo, Outcome, Phase, Result, ResultRecord

FIELDS = [
    "request_id", "url", "final_url", "outcome", "http_status", "content_type", "partial", "title", "data",
    "artifacts", "error", "skip_reason", "attempts", "session", "label", "depth", "parent_url", "timings",
    "started_at", "finished_at", "transferred_bytes", "refused_connections",
]  # fmt: skip

TIMINGS = ["queued_s", "politeness_s", "lease_s", "navigate_s", "wait_s", "handle_s", "capture_s", "total_s"]


def test_result_has_the_fields_of_the_contract() -> None:
    """Names and order are public."""
    assert list(Result.model_fields) == [*FIELDS, "html", "text", "links"]
    assert list(ResultRecord.model_fields) == [*FIELDS, "links"]
    assert list(Result.model_fields["timings"].annotation.model_fields) == TIMINGS  # type: ignore[union-attr]  # a model
    assert [outcome.value for outcome in Outcome] == ["succeeded", "failed", "skipped"]


def test_result_survives_json_and_hides_bodies_in_its_repr() -> None:
    """A result read back is equal; printing one does not print a page."""
    error = ErrorInfo(kind=ErrorKind.DEADLINE, message="late", phase=Phase.WAIT, disposition=Disposition.RETRY_FRESH)
    result = Result(
        request_id="0" * 32,
        url="http://site.test/",
        outcome=Outcome.FAILED,
        html="<p>body</p>",
        text="body",
        links=("http://site.test/link",),
        data=({"a": [1, None, True]},),
        error=error,
        finished_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    assert Result.model_validate_json(result.model_dump_json()) == result
    assert "body" not in repr(result)
    assert "link" not in repr(result)
