"""Input that is read while its process is killed: each line counts once, wherever the reading was."""

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.integration.crawler.maps import Site, index, urlset

if TYPE_CHECKING:
    from tests.faults.conftest import Commands, Pages, Wait

SEED = 20_260_103


@pytest.fixture
def site() -> Iterator[Site]:
    """Give a site of sitemaps."""
    made = Site()
    yield made
    made.stop()


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
        life = commands.steady(*(["resume", "run", "--quiet"] if commands.directory.exists() else argv))
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


def test_sitemaps_of_robots_killed_at_random_have_each_page_once(
    commands: "Commands", pages: "Pages", wait: "Wait", site: Site
) -> None:
    """Wherever in the sitemaps it was: each page has its one result, each that is excluded was counted once."""
    chance = random.Random(SEED)
    wanted = [pages.page(number) for number in range(100, 220)]
    unwanted = [f"{pages.url}/bad/{number}" for number in range(300)]
    listed = [*wanted, *unwanted]
    chance.shuffle(listed)
    parts = [site.put(f"/{start}.xml", urlset(*listed[start : start + 70])) for start in range(0, len(listed), 70)]
    site.put("/robots.txt", f"Sitemap: {site.put('/index.xml', index(*parts))}")
    site.put("/", "<title>home</title>")
    argv = [
        "crawl",
        f"{site.root}/",
        "--sitemap",
        "robots",
        "--scope",
        "any",
        "--exclude",
        "*/bad/*",
        "--output",
        "run",
    ]
    for number in range(4):
        done = pages.answered
        pages.room = 18
        goal = done + chance.randint(0, 12)
        life = commands.start(*(["resume", "run"] if commands.directory.exists() else argv), "--quiet")
        wait(lambda goal=goal: pages.answered >= goal)  # type: ignore[misc]  # mypy knows no such default
        time.sleep(chance.uniform(0.0, 0.5))
        assert life.process.poll() is None, f"seed {SEED}, life {number} ended by itself: {life.err}"
        life.kill()
    pages.room = None
    commands.run("resume", "run", "--quiet")
    ended = Counter((each["url"], each["outcome"]) for each in commands.results())
    assert ended == Counter((url, "succeeded") for url in [f"{site.root}/", *wanted])
    assert json.loads((commands.directory / "summary.json").read_text())["links_skipped"] == {"excluded": 300}


def test_url_file_that_has_changed_is_refused(commands: "Commands", pages: "Pages") -> None:
    """Another line where one was read: exit 2 naming the file, nothing is visited; put back, the run goes on."""
    path = commands.folder / "urls.txt"
    urls = [pages.page(number) for number in range(100, 180)]  # more than are done when the first is written
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


def test_standard_input_that_was_cut_off_goes_on_with_the_rest(
    commands: "Commands", pages: "Pages", wait: "Wait"
) -> None:
    """A killed reader of a pipe: resume says what is missing; with the rest piped to it each line has its result once.

    The line that was torn is part of the rest.
    """
    urls = [pages.page(number) for number in range(100, 130)]
    text = "".join(f"{url}\n" for url in urls).encode()
    torn = text.index(b"/p/120") + 4
    pages.room = 4
    reading, writing = os.pipe()
    life = commands.start("crawl", "--urls-file", "-", "--output", "run", "--quiet", stdin=reading)
    os.close(reading)
    os.write(writing, text[:torn])
    kept = commands.directory / "input.txt.part"
    wait(lambda: kept.exists() and kept.stat().st_size == torn and pages.room == 0)
    life.kill()
    os.close(writing)
    pages.room = None
    refused = commands.run("resume", "run", "--quiet", code=2)
    assert "standard input was cut off" in refused.err
    assert "its first 20 whole lines were kept" in refused.err
    reading, writing = os.pipe()
    resumed = commands.start("resume", "run", "--quiet", stdin=reading)
    os.close(reading)
    os.write(writing, text[text.index(urls[20].encode()) :])
    os.close(writing)
    resumed.ends(0)
    assert sorted(each["url"] for each in commands.results()) == urls
    assert {each["outcome"] for each in commands.results()} == {"succeeded"}
