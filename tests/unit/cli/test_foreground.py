"""What a crawl in the foreground tells without a terminal, and what `--quiet` keeps back."""

import pytest

from browsercrawl.cli.foreground import Reporting, display_of
from browsercrawl.events import RunContinued, RunPaused, RunStarted, SandboxUnavailable

EVENTS = (
    RunStarted(version="1", profile="lean", concurrency=4, options={"some": "option"}, resumed=True, finished=18),
    SandboxUnavailable(reason="no namespaces", remedy="nothing"),
    RunPaused(path="run.sqlite", message="run.sqlite cannot be written: No space left on device; free some space"),
    RunContinued(paused_s=75.0),
)


def _told(capsys: pytest.CaptureFixture[str], *, quiet: bool) -> list[str]:
    with display_of(Reporting(title="x", quiet=quiet)) as display:
        for event in EVENTS:
            display.tell(event)
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


def test_display_quiet_tells_of_a_full_disk_and_of_its_end_only(capsys: pytest.CaptureFixture[str]) -> None:
    """Quiet means errors only: whoever waits for a run that waits for room learns it, and when it goes on."""
    paused, continued = _told(capsys, quiet=True)
    assert "run.sqlite cannot be written: No space left on device" in paused
    assert continued == "browsercrawl: the run goes on after a pause of 1 min 15 s"


def test_display_without_terminal_tells_warnings_and_what_a_resumed_run_has(capsys: pytest.CaptureFixture[str]) -> None:
    """In a log each is one line, and the start of a resumed run one in words, without its options."""
    resumed, sandbox, paused, continued = _told(capsys, quiet=False)
    assert resumed == "browsercrawl: resumed: 18 requests done before"
    assert "no namespaces" in sandbox
    assert "No space left on device" in paused
    assert "the run goes on" in continued
