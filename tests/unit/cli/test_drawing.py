"""The closing summary and the doctor's table."""

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from browsercrawl.cli.drawing import print_checks, print_summary
from browsercrawl.cli.view import Failure
from browsercrawl.config import CrawlerConfig
from browsercrawl.errors import ErrorKind
from browsercrawl.output import FinishReason, Summary
from browsercrawl.result import SkipReason

NOW = datetime.now(UTC)
SUMMARY = Summary(
    succeeded=1180, failed=24, skipped=3, partial=2, retried=31, links_skipped={SkipReason.OUT_OF_SCOPE: 412},
    refused=3, transferred_bytes=12_300_000,
    failures={ErrorKind.HTTP_REJECTED: 20, ErrorKind.DEADLINE: 4}, phase_p50_s={"navigate": 0.82},
    phase_p95_s={"navigate": 2.4}, run_id="x", finish_reason=FinishReason.FINISHED, duplicates=0, unfinished=0,
    started_at=NOW, finished_at=NOW, duration_s=84.2, options={}, run_dir=Path.cwd() / "runs/now-shop.example",
)  # fmt: skip


def _screen(width: int = 120) -> tuple[io.StringIO, Console]:
    text = io.StringIO()
    return text, Console(file=text, width=width, force_terminal=False)


def test_print_summary_tells_what_became_of_it_all() -> None:
    """Counts, failures by kind with examples, pace, profile, and where the results are."""
    text, console = _screen()
    failure = Failure("deadline", "https://a.example/", "no document after 60 s")
    print_summary(SUMMARY, CrawlerConfig(profile="lean", concurrency=4), failures=[failure], console=console)
    wanted = (
        "✗  1,180 of 1,207 pages in 1 min 24 s", "2 of them partly", "24   http_rejected 20, deadline 4",
        "no document after 60 s", "out of scope 412", "12 MB  3 connections refused",
        "14.3 pages/s; a page loads in 0.82 s, 95 % within 2.40 s",
        "lean: headless shell, pages reused as they are, one renderer per site; 4 at once",
        " runs/now-shop.example/results.jsonl",
    )  # fmt: skip
    assert [words for words in wanted if words not in text.getvalue()] == []


def test_print_summary_interrupted_tells_what_is_left() -> None:
    """A run that ended early says why, and how many requests have no result."""
    text, console = _screen()
    early = SUMMARY.model_copy(update={"finish_reason": FinishReason.INTERRUPTED, "unfinished": 99})
    print_summary(early, CrawlerConfig(), console=console)
    assert "pages in 1 min 24 s, then interrupted" in text.getvalue()
    assert "not finished    99" in text.getvalue()


def test_print_summary_no_page_was_timed_leaves_out_the_pace() -> None:
    """A resumed run that had nothing left to visit does not claim that a page loads in no time."""
    text, console = _screen()
    untimed = {"phase_p50_s": {"navigate": 0.0}, "phase_p95_s": {"navigate": 0.0}}
    print_summary(SUMMARY.model_copy(update=untimed), CrawlerConfig(), console=console)
    assert "pages/s" not in text.getvalue()
    assert "0.00 s" not in text.getvalue()


def test_print_summary_interrupted_on_a_full_disk_exits_as_interrupted() -> None:
    """What else went wrong while a signal ended the run is told; the exit code stays that of the signal."""
    text, console = _screen()
    detail = {"finish_reason": FinishReason.INTERRUPTED, "finish_detail": "results.jsonl cannot be written"}
    early = SUMMARY.model_copy(update=detail)
    print_summary(early, CrawlerConfig(), console=console)
    assert "then interrupted (results.jsonl cannot be written)" in text.getvalue()
    assert early.exit_code == 130


@pytest.mark.parametrize("reason", [FinishReason.MAX_REQUESTS, FinishReason.MAX_PER_HOST, FinishReason.MAX_DEPTH])
def test_print_summary_size_of_the_job_is_no_early_end(reason: FinishReason) -> None:
    """Reaching what was asked for is success; it is mentioned, not warned of."""
    text, console = _screen()
    print_summary(SUMMARY.model_copy(update={"finish_reason": reason, "failed": 0}), CrawlerConfig(), console=console)
    assert "✓  1,180 of 1,183 pages" in text.getvalue()
    assert f"{reason.replace('_', ' ')} reached" in text.getvalue()


@pytest.mark.parametrize(
    ("states", "verdict"),
    [
        (["ok", "ok"], "Crawling works on this machine."),
        (["ok", "warn"], "the marked points could be better"),
        (["warn", "fail"], "Crawling does not work on this machine yet."),
    ],
)
def test_print_checks_ends_in_the_verdict_of_the_worst(states: list[str], verdict: str) -> None:
    """One failed check means that crawling does not work; a warning does not."""
    text, console = _screen(60)
    checks = [(f"check {state}", state, "found \x1b[2J " + "x" * 90, "do this\nor that") for state in states]
    print_checks(checks, console)
    assert verdict in " ".join(text.getvalue().split())
    assert "or that" in text.getvalue()
    assert "\x1b" not in text.getvalue()
    assert max(map(len, text.getvalue().splitlines())) <= 60
