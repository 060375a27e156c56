"""Input that is read while its process is killed: each line counts once, wherever the reading was."""

import os
import random
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.faults.conftest import Commands, Pages, Wait

SEED = 20_260_103


def test_url_file_killed_at_random_has_each_line_once(commands: "Commands", pages: "Pages", wait: "Wait") -> None:
    """Good lines, bad lines, requests in JSON and repeated lines: killed again and again, each has its one result."""
    chance = random.Random(SEED)
    lines: list[str] = []
    for number in range(100, 220):
        lines.append(pages.page(number))
        if number % 8 == 0:
            lines.append(f"no url {number}")
        if number % 16 == 0:
            lines += ["", "# a comment", f'{{"url": "{pages.page(number + 300)}", "label": "l{number}"}}', '{"url": 1}']
    (commands.folder / "urls.txt").write_text("\n".join(lines))
    argv = ["crawl", "--urls-file", "urls.txt", "--concurrency", "4", "--output", "run", "--quiet"]
    for number in range(5):
        done = pages.answered
        pages.room = 18
        wanted = chance.randint(0, 12)
        life = commands.start(*(["resume", "run", "--quiet"] if commands.directory.exists() else argv))
        wait(lambda goal=done + wanted: pages.answered >= goal)  # type: ignore[misc]  # mypy knows no such default
        time.sleep(chance.uniform(0.0, 0.3 if wanted else 1.0))
        assert life.process.poll() is None, f"seed {SEED}, life {number} ended by itself: {life.err}"
        life.kill()
    pages.room = None
    commands.run("resume", "run", "--quiet", code=1)
    results = commands.results()
    good = {line for line in lines if line.startswith("http")} | {
        pages.page(each + 300) for each in range(112, 220, 16)
    }
    assert Counter(each["url"] for each in results if each["outcome"] == "succeeded") == Counter(good)
    failed = Counter(each["url"] for each in results if each["outcome"] == "failed")
    assert failed == Counter(line for line in lines if line.startswith(("no url", '{"url": 1}')))


def test_url_file_that_has_changed_is_refused(commands: "Commands", pages: "Pages") -> None:
    """Another line where one was read: exit 2 naming the file, nothing is visited; put back, the run goes on."""
    path = commands.folder / "urls.txt"
    urls = [pages.page(number) for number in range(100, 116)]
    path.write_text("\n".join(urls))
    step = "browsercrawl.output.projection:Projection._write:after"
    argv = ["crawl", "--urls-file", "urls.txt", "--output", "run", "--quiet"]
    assert commands.mortal(step, *argv).wait() == -signal.SIGKILL
    path.write_text("\n".join([*urls[1:], urls[0]]))
    left, asked = commands.status(), len(pages.arrived)
    refused = commands.run("resume", "run", "--quiet", code=2)
    assert "urls.txt has changed" in refused.err
    assert commands.status()["state"] == "interrupted"
    path.write_text("\n".join(urls))
    commands.run("resume", "run", "--quiet")
    assert sorted(each["url"] for each in commands.results()) == urls
    assert left["finished"] > 0
    assert len(pages.arrived) > asked


def test_standard_input_that_was_killed_is_crawled_as_far_as_it_was_kept(
    commands: "Commands", pages: "Pages", wait: "Wait"
) -> None:
    """What had come through the pipe is crawled at resume, a last line that was torn is not, and that is told.

    The rest, piped to resume, completes it.
    """
    urls = [pages.page(number) for number in range(100, 130)]
    text = "".join(f"{url}\n" for url in urls).encode()
    torn = text.index(b"/p/120") + 4
    for rest in (None, text[text.index(urls[20].encode()) :]):
        commands.directory = commands.folder / ("cut" if rest is None else "whole")
        name = commands.directory.name
        pages.room = 4
        reading, writing = os.pipe()
        life = commands.start("crawl", "--urls-file", "-", "--output", name, "--quiet", stdin=reading)
        os.close(reading)
        os.write(writing, text[:torn])
        kept = commands.directory / "input.txt.part"
        wait(lambda kept=kept: kept.exists() and kept.stat().st_size == torn and pages.room == 0)  # type: ignore[misc]  # mypy knows no such default
        life.kill()
        os.close(writing)
        pages.room = None
        if rest is None:
            commands.run("resume", name, "--quiet", code=1)
        else:
            more, piping = os.pipe()
            resumed = commands.start("resume", name, "--quiet", stdin=more)
            os.close(more)
            os.write(piping, rest)
            os.close(piping)
            resumed.ends(0)
        results = commands.results()
        found = [each["url"] for each in results if each["outcome"] == "succeeded"]
        assert sorted(found) == (urls[:20] if rest is None else urls)
        (lost,) = [each["error"]["message"] for each in results if each["outcome"] == "failed"] or [""]
        assert ("it had not ended" in lost) == (rest is None)
