"""`browsercrawl retry-failed`: what is taken back, and that a kill at any step leaves the run as before or as after."""

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from browsercrawl.cli import main
from browsercrawl.cli.status import Watch
from browsercrawl.clock import SystemClock
from browsercrawl.config import HostConfig
from browsercrawl.crawler import retrying
from browsercrawl.errors import ErrorKind
from browsercrawl.frontier import Record, Refusal
from browsercrawl.frontier.sqlite import SqliteFrontier
from browsercrawl.output import RunDirectory
from browsercrawl.politeness import slot_rules
from browsercrawl.result import ErrorInfo, Result, ResultRecord

MakeRun = Callable[..., Path]


class Killed(BaseException):
    """Stands for a kill: nothing of ours handles it."""


def _ids(run: Path) -> list[str]:
    return [json.loads(line)["request_id"] for line in (run / "results.jsonl").read_bytes().splitlines()]


def _more_failures(results: Sequence[Result]) -> list[Result]:
    error = results[1].error
    assert isinstance(error, ErrorInfo)
    late = results[2].model_copy(
        update={
            "outcome": results[1].outcome,
            "error": error.model_copy(update={"kind": ErrorKind.DEADLINE}),
            "skip_reason": None,
        }
    )
    return [results[0], results[1], late]


@pytest.mark.parametrize(
    ("kinds", "left"), [(None, [0]), ([ErrorKind.DEADLINE], [0, 1]), ([ErrorKind.BLOCKED], [0, 1, 2])]
)
def test_take_back_failed_leaves_the_lines_of_the_others(
    make_run: MakeRun, results: list[Result], kinds: list[ErrorKind] | None, left: list[int]
) -> None:
    """What was taken back waits again and has no result any more; the other kinds keep theirs."""
    all_results = _more_failures(results)
    run = make_run(all_results, notes={"finish_reason": "finished"})
    count = asyncio.run(retrying.take_back_failed(run, kinds))
    assert count == 3 - len(left)
    assert _ids(run) == [all_results[index].request_id for index in left]
    status = Watch(run).look()
    assert (status.queued, status.failed) == (count, len(left) - 1)
    assert (status.state == "finished") == (count == 0)


def test_take_back_failed_after_a_kill_writes_what_waits_first(make_run: MakeRun, results: list[Result]) -> None:
    """Lines that only the store has get into the file, and to the user's sinks, before any is taken out."""
    seen: list[str] = []

    class Sink:
        async def write(self, records: Sequence[ResultRecord]) -> None:
            seen.extend(record.request_id for record in records)

        async def close(self) -> None:
            seen.append("closed")

    run = make_run(results, unwritten=2)
    assert asyncio.run(retrying.take_back_failed(run, sinks=lambda: [Sink()])) == 1
    assert seen == [results[1].request_id, results[2].request_id, "closed"]
    assert _ids(run) == [results[0].request_id, results[2].request_id]


@pytest.mark.parametrize("step", ["before", "after_the_store", "after_the_file"])
def test_take_back_failed_killed_at_any_step_can_be_given_again(
    make_run: MakeRun,
    results: list[Result],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    step: str,
) -> None:
    """The results are those of before or of after, an export shows the same, and the next process ends the work."""
    run = make_run(results, notes={"finish_reason": "finished"})
    finish_swap = RunDirectory.finish_swap

    def die(*_: object, **__: object) -> None:
        raise Killed

    def die_after(directory: RunDirectory) -> None:
        finish_swap(directory)
        raise Killed

    with monkeypatch.context() as patch:
        if step == "before":
            patch.setattr(SqliteFrontier, "take_back", die)
        else:
            patch.setattr(RunDirectory, "finish_swap", die if step == "after_the_store" else die_after)
        with pytest.raises(Killed):
            asyncio.run(retrying.take_back_failed(run))
    whole = [result.request_id for result in results]
    assert main(["export", str(run)]) == 0
    exported = [json.loads(line)["request_id"] for line in capfd.readouterr().out.splitlines()]
    assert exported == (whole if step == "before" else [whole[0], whole[2]])
    assert asyncio.run(retrying.take_back_failed(run)) == (1 if step == "before" else 0)
    assert _ids(run) == [whole[0], whole[2]]
    assert Watch(run).look().queued == 1
    assert not (run / "results.jsonl.new").exists()


def test_retry_failed_nothing_failed_says_so(
    make_run: MakeRun, results: list[Result], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is started, the exit code is 0, and what else is left to do is named."""
    run = make_run(results[:1], waiting=1)
    assert main(["retry-failed", str(run), "--kind", "network,deadline"]) == 0
    told = capsys.readouterr().err
    assert "no request of the kind network or deadline has failed; go on with what is left: browsercrawl resume" in told


def test_retry_failed_unknown_kind_names_the_nearest(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    """A kind that no failure has is a mistake, not nothing to do."""
    assert main(["retry-failed", str(make_run()), "--kind", "netwrk"]) == 2
    assert "did you mean network?" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["run_busy", "config_invalid", "crawler_closed", "output_failed", "launch_failed"])
def test_retry_failed_kind_that_no_result_has_is_refused(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """Only kinds that a request can fail with are taken, and named."""
    assert main(["retry-failed", str(make_run()), "--kind", kind]) == 2
    told = capsys.readouterr().err.partition(": ")[2].replace(f"{kind!r}", "").replace(f'"{kind}"', "")
    assert "handler_failed" in told
    assert "run_directory" not in told


def test_retry_failed_only_input_that_is_no_request_failed_says_so(
    make_run: MakeRun, results: list[Result], capsys: pytest.CaptureFixture[str]
) -> None:
    """Lines that were no URLs have failed, but there is nothing to visit."""
    run = make_run(results[:1])
    refusal = Refusal(id="0" * 32, record=Record(ending="failed.url_invalid", line=b"{}"))

    async def refuse() -> None:
        frontier = await SqliteFrontier.open(run / "run.sqlite", clock=SystemClock(), rules_of=slot_rules(HostConfig()))
        await frontier.refuse([refusal])
        await frontier.close()

    asyncio.run(refuse())
    assert main(["retry-failed", str(run)]) == 0
    assert "nothing to visit again: what failed is input that is no request" in capsys.readouterr().err
