"""Runs that are killed: fifty times in one run, at its most delicate steps, and by their own pages.

Real processes, real Chromium, SIGKILL; afterwards the results are compared with the truth, and the server's counts with
what a kill may cost: the pages that were open.
"""

import json
import random
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.faults.conftest import Commands, Pages, Started, Wait

SEED = 20_260_101
KILLS = 50
OPEN = 4
"""Pages open at once."""


@pytest.mark.timeout(300)
def test_run_killed_fifty_times_has_each_page_once(commands: "Commands", pages: "Pages", wait: "Wait") -> None:
    """Killed fifty times at random moments, the run ends with the truth, and no kill costs more than the open pages.

    A third of the kills come while the command starts, the others some moments after a random number of pages. The
    site answers only so many pages of each life that the run cannot be over before the last kill.
    """
    chance = random.Random(SEED)
    lives: list[set[str]] = []
    began = time.monotonic()
    for number in range(KILLS):
        wanted = 0 if chance.random() < 0.3 else chance.randint(1, 6)
        pages.room = wanted + OPEN
        done, seen = pages.answered, len(pages.arrived)
        argv = ["crawl", pages.page(1), "--depth", "99", "--concurrency", str(OPEN), "--output", "run"]
        is_there = commands.directory.exists()
        life = commands.start(*(["resume", "run"] if is_there else argv), "--quiet")
        wait(lambda goal=done + wanted: pages.answered >= goal)  # type: ignore[misc]  # mypy knows no such default
        time.sleep(chance.uniform(0.0, 0.3 if wanted else 1.2))
        assert life.process.poll() is None, f"life {number} ended by itself: {life.err}"
        asked = Counter(pages.arrived[seen:])
        life.kill()
        assert max(asked.values(), default=0) <= 1, f"life {number} asked for a page twice: {asked.most_common(2)}"
        wait(lambda: not commands.family(), 10)  # its browser goes by itself
        lives.append(set(pages.arrived[seen:]))
    took_s = time.monotonic() - began
    left = commands.status()
    assert left["state"] == "interrupted"
    assert left["finished"] < pages.number
    pages.room = None
    seen = len(pages.arrived)
    commands.run("resume", "run", "--quiet")
    last = set(pages.arrived[seen:])
    assert len(pages.arrived) - seen == len(last) == pages.number - left["finished"]

    found = {(each["url"], each["outcome"], each["title"], each["depth"], each["parent_url"])
             for each in commands.results()}  # fmt: skip
    assert found == pages.truth()
    assert len(commands.results()) == pages.number
    again = pages.hits().total() - pages.number
    wasted = [len(asked & set().union(*lives[number + 1 :], last)) for number, asked in enumerate(lives)]
    print(f"seed {SEED}; {KILLS} kills in {took_s:.0f} s at {left['finished']} pages; visited again: {again}")
    assert max(wasted) <= OPEN, f"a kill cost more than the {OPEN} open pages: {wasted}"
    assert again <= OPEN * KILLS
    summary = commands.summary()
    assert (summary["succeeded"], summary["failed"], summary["unfinished"]) == (pages.number, 0, 0)
    assert summary["duplicates"] == 2 * pages.number - 1, "as in a run that nobody kills"
    assert commands.status()["state"] == "finished"


# --- handlers --------------------------------------------------------------------------------------------------------

POISON = """
import os

async def page(visit):
    number = int(visit.request.url.rsplit("/", 1)[1])
    if number in {poison} and os.path.exists("deadly"):
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
    return commands.start(*(["resume", "run"] if commands.directory.exists() else ["run", "job.yaml"]), "--quiet")


@pytest.mark.parametrize("poison", [(1,), (4,), (2, 3)])
def test_page_that_kills_the_crawler_holds_up_nobody(
    commands: "Commands", pages: "Pages", poison: tuple[int, ...]
) -> None:
    """Whichever pages kill the process whenever they are visited: all others get their results within a few lives.

    Nothing is held against the killers either: when they have become harmless, they succeed.
    """
    urls = [pages.page(number) for number in range(1, 9)]
    write_job(commands, urls, POISON.replace("{poison}", repr(set(poison))))
    (commands.folder / "deadly").touch()
    harmless = {url for number, url in enumerate(urls, start=1) if number not in poison}
    for _ in range(10):
        assert resume_or_run(commands).wait() == -signal.SIGKILL
        if commands.status()["finished"] == len(harmless):
            break
    (commands.folder / "deadly").unlink()
    commands.run("resume", "run", "--quiet")
    assert {each["url"]: each["outcome"] for each in commands.results()} == dict.fromkeys(urls, "succeeded")
    assert all(count == 1 or int(path[3:]) in poison or count <= 4 for path, count in pages.hits().items())
