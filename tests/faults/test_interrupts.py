"""Signals at awkward moments, and two processes that want the same run."""

import random
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.faults.conftest import Commands, Pages, Wait

SEED = 20_260_102


def test_first_signal_lets_open_pages_end_and_claims_nothing_more(
    commands: "Commands", pages: "Pages", wait: "Wait"
) -> None:
    """SIGTERM: the open pages get their results, no other is begun, exit 130; the rest follows with resume."""
    urls = [f"{pages.url}/held/{number}" for number in range(6)]
    run = commands.steady("crawl", *urls, "--concurrency", "2", "--output", "run")
    wait(lambda: len(pages.arrived) == 2)
    run.signal(signal.SIGTERM)
    wait(lambda: "finishing 2 open pages" in run.err)
    pages.hold = False
    run.ends(130, limit_s=8 + 5)
    assert sorted(each["url"] for each in commands.results()) == urls[:2]
    told = commands.status()
    assert (told["state"], told["finish_reason"], told["claimed"], told["queued"]) == (
        "interrupted", "interrupted", 0, 4,
    )  # fmt: skip
    assert len(pages.arrived) == 2
    commands.run("resume", "run", "--quiet")
    assert sorted(each["url"] for each in commands.results()) == urls
    assert len(pages.arrived) == len(urls)


def test_second_signal_ends_the_run_at_once(commands: "Commands", pages: "Pages", wait: "Wait") -> None:
    """Two SIGINTs while pages are open: over in a moment, exit 130, and what was open is visited again at resume."""
    urls = [f"{pages.url}/held/{number}" for number in range(6)]
    run = commands.steady("crawl", *urls, "--concurrency", "4", "--output", "run")
    wait(lambda: len(pages.arrived) == 4)
    run.signal(signal.SIGINT)
    wait(lambda: "Ctrl-C again stops at once" in run.err)
    began = time.monotonic()
    run.signal(signal.SIGINT)
    run.ends(130)
    assert time.monotonic() - began < 4
    told = commands.status()
    assert (told["state"], told["claimed"], told["queued"]) == ("interrupted", 0, 6)
    pages.hold = False
    commands.run("resume", "run", "--quiet")
    assert sorted(each["url"] for each in commands.results()) == urls


def test_signal_while_nothing_is_open_ends_the_run_at_once(commands: "Commands", pages: "Pages", wait: "Wait") -> None:
    """All that is left waits for politeness: the run does not wait for that."""
    urls = [pages.page(number) for number in (101, 102)]
    run = commands.start("crawl", *urls, "--delay", "50s", "--output", "run", "--quiet")
    wait(lambda: (commands.directory / "results.jsonl").exists() and len(commands.results()) == 1)
    began = time.monotonic()
    run.signal(signal.SIGINT)
    run.ends(130)
    assert time.monotonic() - began < 4
    assert commands.status()["waiting"] == 1


def test_signal_during_start_and_end_leaves_a_run_or_nothing(commands: "Commands", pages: "Pages") -> None:
    """SIGINT or SIGTERM at random moments of short runs: 130 or 0, no traceback, and a run that resumes, or none.

    Where nothing is left there was nothing: no page was asked for.
    """
    chance = random.Random(SEED)
    urls = [pages.page(number) for number in range(101, 107)]
    for number in range(5):
        commands.directory = commands.folder / f"run-{number}"
        asked = len(pages.arrived)
        run = commands.start("crawl", *urls, "--output", commands.directory.name, "--quiet")
        time.sleep(0.3 + 0.4 * number + chance.uniform(0, 0.4))
        number_sent = chance.choice([signal.SIGINT, signal.SIGTERM])
        run.signal(number_sent)
        code = run.wait()
        if not commands.directory.exists():  # perhaps the interpreter was not even up
            assert len(pages.arrived) == asked
            continue
        assert "Traceback" not in run.err, f"seed {SEED}, run {number}:\n{run.err}"
        assert code in {0, 130} or (commands.summary()["finish_reason"] == "finished" and code == -number_sent), code
        if code == 130:
            commands.run("resume", commands.directory.name, "--quiet")
        assert sorted(each["url"] for each in commands.results()) == urls


def test_processes_that_resume_a_run_at_the_same_time_are_one(
    commands: "Commands", pages: "Pages", wait: "Wait"
) -> None:
    """Of two that resume a run in the same moment one has it; the other exits with 2, names it, and harms nothing.

    Killed, the one leaves the lock free at once.
    """
    urls = [f"{pages.url}/held/{number}" for number in range(4)]
    first = commands.start("crawl", *urls, "--concurrency", "1", "--output", "run", "--quiet")
    wait(lambda: len(pages.arrived) == 1)
    first.kill()
    rivals = [commands.start("resume", "run", "--quiet") for _ in range(2)]
    wait(lambda: any(each.process.poll() is not None for each in rivals))
    loser, winner = sorted(rivals, key=lambda each: each.process.poll() is None)
    loser.ends(2)
    assert f"is being run by process {winner.pid} (since " in loser.err
    wait(lambda: len(pages.arrived) == 2)
    winner.kill()
    pages.hold = False
    commands.run("resume", "run", "--quiet")
    assert sorted(each["url"] for each in commands.results()) == urls
