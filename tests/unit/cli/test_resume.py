"""`browsercrawl resume`: what is decided before a browser is started."""

from collections.abc import Callable
from pathlib import Path

import pytest

from browsercrawl.cli import main
from browsercrawl.errors import Disposition, ErrorKind
from browsercrawl.output import RunDirectory
from browsercrawl.result import ErrorInfo, Result

MakeRun = Callable[..., Path]


def _files(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}


@pytest.mark.parametrize(("shown", "code"), [(slice(0, 1), 0), (slice(0, 3), 1)])
def test_resume_finished_run_says_so_and_does_nothing(
    make_run: MakeRun, results: list[Result], capsys: pytest.CaptureFixture[str], shown: slice, code: int
) -> None:
    """The exit code is that of the run, and each file stays byte for byte as it was."""
    run = make_run(results[shown], notes={"finish_reason": "finished"})
    before = _files(run)
    assert main(["resume", str(run)]) == code
    assert "is finished: " in capsys.readouterr().err
    assert main(["resume", str(run), "--quiet"]) == code
    assert capsys.readouterr().err == ""
    assert _files(run) == before


@pytest.mark.parametrize(
    ("kind", "is_a_job", "is_offered"),
    [(ErrorKind.NETWORK, True, True), (ErrorKind.URL_INVALID, True, False), (ErrorKind.NETWORK, False, False)],
)
def test_resume_finished_run_offers_to_retry_only_what_can_be(
    make_run: MakeRun,
    results: list[Result],
    capsys: pytest.CaptureFixture[str],
    kind: ErrorKind,
    is_a_job: bool,
    is_offered: bool,
) -> None:
    """Input that was no URL cannot be visited again, nor can the command line go on with a program's run."""
    error = ErrorInfo(kind=kind, message="no", disposition=Disposition.DROP)
    failed = results[1].model_copy(update={"error": error})
    run = make_run([results[0], failed], notes={"finish_reason": "finished"}, is_a_job=is_a_job)
    assert main(["resume", str(run)]) == 1
    told = capsys.readouterr().err
    assert "2 results, 1 of them failed" in told
    assert ("retry-failed" in told) == is_offered


@pytest.mark.parametrize("command", ["resume", "retry-failed"])
def test_run_of_a_program_is_refused_with_what_to_do(
    make_run: MakeRun, results: list[Result], capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """The command line does not know the program's handlers; going on without them would be wrong."""
    run = make_run(results, waiting=1, is_a_job=False)
    before = _files(run)
    assert main([command, str(run)]) == 2
    assert "was made by a Python program" in (told := capsys.readouterr().err)
    assert "resume=True" in told
    assert _files(run) == before


@pytest.mark.parametrize("command", ["resume", "retry-failed"])
def test_run_that_is_held_is_refused_naming_the_holder(
    make_run: MakeRun, results: list[Result], capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """Two processes never work on one run."""
    run = make_run(results, waiting=1)
    with RunDirectory.open(run):
        before = _files(run)
        assert main([command, str(run)]) == 2
        assert "is being run by process" in capsys.readouterr().err
        assert _files(run) == before
