"""Runs that are killed: again and again in one run, at its most delicate steps, and by their own pages.

Real processes, real Chromium, SIGKILL; afterwards the results are compared with the truth, and the server's counts with
what a kill may cost: the pages that were open.
"""

import json
import random
import shutil
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.faults.conftest import Commands, Pages, Started, Wait

SEED = 20_260_101
OPEN = 4
"""Pages open at once."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kills", [20, pytest.param(50, marks=pytest.mark.soak)])
def test_run_killed_again_and_again_has_each_page_once(
    commands: "Commands", pages: "Pages", wait: "Wait", kills: int
) -> None:
    """Killed at random moments, the run ends with the truth, and no kill costs more than the open pages.

    A third of the kills come while the command starts, the others some moments after a random number of pages. The
    site answers only so many pages of each life that the run cannot be over before the last kill.
    """
    chance = random.Random(SEED)
    job = {"seeds": {"urls": [pages.page(1)]}, "links": {"depth": 99}, "pace": {"concurrency": OPEN},
           "browser": {"user_agent": "life ${LIFE}"}, "output": {"directory": "run"}}  # fmt: skip
    (commands.folder / "job.yaml").write_text(json.dumps(job))
    began = time.monotonic()
    for number in range(kills):
        commands.environment["LIFE"] = str(number)
        wanted = 0 if chance.random() < 0.3 else chance.randint(1, 6)
        pages.room = wanted + OPEN
        goal = pages.answered + wanted
        life = resume_or_run(commands)
        wait(lambda goal=goal: pages.answered >= goal)  # type: ignore[misc]  # mypy knows no such default
        time.sleep(chance.uniform(0.0, 0.3 if wanted else 1.2))
        assert life.process.poll() is None, f"life {number} ended by itself: {life.err}"
        asked = Counter(pages.agents.get(f"life {number}", []))
        life.kill()
        assert max(asked.values(), default=0) <= 1, f"life {number} asked for a page twice: {asked.most_common(2)}"
        wait(lambda: not commands.family(), 10)  # its browser goes by itself
    took_s = time.monotonic() - began
    left = commands.status()
    assert left["state"] == "interrupted"
    assert left["finished"] < pages.number
    pages.room = None
    commands.environment["LIFE"] = "last"
    commands.run("resume", "run", "--quiet")

    found = {(each["url"], each["outcome"], each["title"], each["depth"], each["parent_url"])
             for each in commands.results()}  # fmt: skip
    assert found == pages.truth()
    assert len(commands.results()) == pages.number
    assert len(pages.agents["life last"]) == len(set(pages.agents["life last"])) == pages.number - left["finished"]
    lives = [set(pages.agents.get(f"life {number}", [])) for number in (*range(kills), "last")]
    wasted = [len(asked & set().union(*lives[number + 1 :])) for number, asked in enumerate(lives)]
    again = pages.hits().total() - pages.number
    told = f"seed {SEED}; {kills} kills in {took_s:.0f} s, {left['finished']} pages; visited again: {again}"
    print(told)  # noqa: T201 - pytest shows it with a failure
    assert max(wasted) <= OPEN, f"a kill cost more than the {OPEN} open pages: {wasted}"
    assert again <= OPEN * kills
    summary = commands.summary()
    assert (summary["succeeded"], summary["failed"], summary["unfinished"]) == (pages.number, 0, 0)
    assert summary["duplicates"] == 2 * pages.number - 1, "as in a run that nobody kills"
    assert commands.status()["state"] == "finished"


# --- handlers --------------------------------------------------------------------------------------------------------

POISON = """
import asyncio
import os

async def page(visit):
    number = int(visit.request.url.rsplit("/", 1)[1])
    if os.path.exists("deadly"):
        await asyncio.sleep(0.1 if number in {poison} else 0.3)  # so whoever is open beside a killer dies with it
        if number in {poison}:
            os.kill(os.getpid(), 9)
"""


def write_job(commands: "Commands", urls: list[str], code: str, *, concurrency: int = OPEN) -> None:
    """Write a job with a handler, and the module that has it."""
    (commands.folder / "mine.py").write_text(code)
    job = {"seeds": {"urls": urls}, "handlers": {"default": "mine:page"}, "pace": {"concurrency": concurrency},
           "output": {"directory": "run"}}  # fmt: skip
    (commands.folder / "job.yaml").write_text(json.dumps(job))


def resume_or_run(commands: "Commands") -> "Started":
    """Begin the run, or go on with it."""
    return commands.steady(*(["resume", "run"] if commands.directory.exists() else ["run", "job.yaml"]), "--quiet")


def test_page_that_kills_the_crawler_holds_up_nobody(commands: "Commands", pages: "Pages") -> None:
    """Two pages kill the process whenever they are visited: all others get their results within a few lives.

    Nothing is held against the killers either: when they have become harmless, they succeed.
    """
    poison = (1, 4)  # the first and the last of those that are visited at once
    urls = [pages.page(number) for number in range(1, 7)]
    write_job(commands, urls, POISON.replace("{poison}", repr(set(poison))))
    (commands.folder / "deadly").touch()
    harmless = {url for number, url in enumerate(urls, start=1) if number not in poison}
    for _ in range(10):
        assert resume_or_run(commands).wait() == -signal.SIGKILL
        if commands.status()["finished"] == len(harmless):
            break
    else:
        pytest.fail(f"after ten lives only {len(commands.results())} pages have their results")
    (commands.folder / "deadly").unlink()
    commands.run("resume", "run", "--quiet")
    assert {each["url"]: each["outcome"] for each in commands.results()} == dict.fromkeys(urls, "succeeded")


HANDLER = """
import os

async def page(visit):
    number = int(visit.request.url.rsplit("/", 1)[1])
    visit.push({"number": number})
    await visit.enqueue_links()
    visit.push("all")
    if os.path.exists(f"deadly-{number}"):
        os.remove(f"deadly-{number}")
        os.kill(os.getpid(), 9)
"""


def test_handler_killed_in_the_middle_counts_once(commands: "Commands", pages: "Pages") -> None:
    """A process that dies in a handler, after it pushed and enqueued: what it pushed and found is there once."""
    pages.number = 15
    write_job(commands, [pages.page(1)], HANDLER)
    for number in (1, 5, 12):
        (commands.folder / f"deadly-{number}").touch()
        assert resume_or_run(commands).wait() == -signal.SIGKILL
    commands.run("resume", "run", "--quiet")
    found = {each["url"]: each["data"] for each in commands.results()}
    assert found == {pages.page(number): [{"number": number}, "all"] for number in range(1, 16)}
    assert commands.summary()["succeeded"] == 15


DEADLY_TO_BROWSERS = """
import os
from contextlib import suppress

import psutil

async def page(visit):
    if visit.request.url.endswith("/3"):
        with open("deaths", "a") as file:
            file.write("x")
        if os.path.getsize("deaths") == 4:
            os.kill(os.getpid(), 9)
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                if "--remote-debugging-pipe" in process.cmdline():
                    process.kill()
        await visit.page.wait_for_timeout(60_000)
"""


def test_page_that_kills_browsers_is_quarantined_across_processes(commands: "Commands", pages: "Pages") -> None:
    """Three deaths of the browser while a page was visited alone fail it, also if the crawler is killed in between.

    Two deaths make it a suspect; the third is its first alone. Then the crawler is killed, which counts for nothing;
    the next process sees the second and the third. Its neighbours succeed.
    """
    urls = [pages.page(number) for number in range(1, 6)]
    write_job(commands, urls, DEADLY_TO_BROWSERS, concurrency=2)
    assert resume_or_run(commands).wait() == -signal.SIGKILL
    assert commands.status()["failures"] == {}, commands.events("visit.failed")
    commands.run("resume", "run", "--quiet", code=1)
    errors = {each["url"]: (each["error"] or {}).get("kind") for each in commands.results()}
    assert errors == {url: "quarantined" if url.endswith("/3") else None for url in urls}
    assert (commands.folder / "deaths").stat().st_size == 3 + 1 + 2


# --- the most delicate steps -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "step",
    [
        "browsercrawl.output.projection:Projection._write:before",
        "browsercrawl.output.projection:Projection._write:after",
        "browsercrawl.frontier.sqlite.store:SqliteFrontier.emptied:after",
    ],
)
def test_run_killed_around_the_write_of_results_has_each_once(commands: "Commands", pages: "Pages", step: str) -> None:
    """Killed when results are committed and not written, written and not recorded, or just recorded: each is once."""
    urls = [pages.page(number) for number in range(100, 106)]
    assert commands.mortal(step, "crawl", *urls, "--output", "run", "--quiet").wait() == -signal.SIGKILL
    finished = commands.status()["finished"]
    written = len((commands.directory / "results.jsonl").read_bytes().splitlines())
    assert (written == 0) == step.endswith("_write:before")
    assert finished >= max(written, 1)
    assert len(commands.run("export", "run").out.splitlines()) == finished
    commands.run("resume", "run", "--quiet")
    assert sorted(each["url"] for each in commands.results()) == urls


RETRY_STEPS = {
    "nothing done": "browsercrawl.output.run_directory:RunDirectory.replace_results:before",
    "new file written": "browsercrawl.output.run_directory:RunDirectory.replace_results:after",
    "taken back": "browsercrawl.frontier.sqlite.store:SqliteFrontier.take_back:after",
    "file replaced": "browsercrawl.output.run_directory:RunDirectory.finish_swap:after",
    "all done": "browsercrawl.frontier.sqlite.store:SqliteFrontier.note:after",
}


@pytest.mark.timeout(300)  # sixteen starts of the command, one after the other
def test_retry_failed_killed_between_any_two_steps_is_done_or_not(commands: "Commands", pages: "Pages") -> None:
    """Killed at each of its steps, the run is as before or as after, can be looked at, and goes on: each page once."""
    good, bad = [pages.page(number) for number in (7, 8, 9)], [f"{pages.url}/bad/{number}" for number in (1, 2)]
    commands.run("crawl", bad[0], *good, bad[1], "--retries", "0", "--output", "run", "--quiet", code=1)
    before = commands.directory.rename(commands.folder / "before")
    pages.is_well = True
    for name, step in RETRY_STEPS.items():
        shutil.rmtree(commands.directory, ignore_errors=True)
        shutil.copytree(before, commands.directory)
        assert commands.mortal(step, "retry-failed", "run", "--quiet").wait() == -signal.SIGKILL, name
        is_done = name in {"taken back", "file replaced", "all done"}
        told = commands.status()
        assert (told["state"], told["failed"], told["queued"]) == (
            ("interrupted", 0, 2) if is_done else ("finished", 2, 0)
        ), name
        exported = [json.loads(line)["url"] for line in commands.run("export", "run").out.splitlines()]
        assert sorted(exported) == sorted(good if is_done else good + bad), name
        commands.run("resume" if is_done else "retry-failed", "run", "--quiet")
        assert {each["url"]: each["outcome"] for each in commands.results()} == dict.fromkeys(
            good + bad, "succeeded"
        ), name
        assert not (commands.directory / "results.jsonl.new").exists(), name
