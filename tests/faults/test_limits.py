"""What limits a run, or ends it early: each with its own reason and exit code, never overshot; the run can go on."""

import signal
from collections import Counter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.faults.conftest import Commands, Pages


def test_max_requests_is_never_overshot(commands: "Commands", pages: "Pages") -> None:
    """Many pages at once, each with new links, and a kill in between: no page more is visited than was asked for."""
    argv = ["crawl", pages.page(1), pages.page(400), pages.page(401), "--depth", "99", "--max-requests", "41"]
    step = "browsercrawl.frontier.sqlite.store:SqliteFrontier.complete:after:20"
    killed = commands.mortal(step, *argv, "--concurrency", "16", "--output", "run", "--quiet")
    assert killed.wait() == -signal.SIGKILL
    commands.run("resume", "run", "--quiet")
    assert len(commands.results()) == len(pages.hits()) == 41
    summary = commands.summary()
    assert (summary["finish_reason"], summary["exit_code"], summary["unfinished"]) == ("max_requests", 0, 0)
    assert summary["links_skipped"]["max_requests"] > 0
    assert commands.status()["state"] == "finished"


def test_max_requests_refuses_seeds_beyond_it_once(commands: "Commands", pages: "Pages") -> None:
    """Listed pages that found no room have a skipped result, one each, also when the run was killed in between."""
    urls = [pages.page(number) for number in range(100, 120)]
    step = "browsercrawl.frontier.sqlite.store:SqliteFrontier.schedule:after"
    argv = ["crawl", *urls, "--max-requests", "5", "--output", "run", "--quiet"]
    assert commands.mortal(step, *argv).wait() == -signal.SIGKILL
    commands.run("resume", "run", "--quiet")
    outcomes = {each["url"]: (each["outcome"], each["skip_reason"]) for each in commands.results()}
    assert outcomes == dict.fromkeys(urls[:5], ("succeeded", None)) | dict.fromkeys(
        urls[5:], ("skipped", "max_requests")
    )


def test_depth_and_max_per_host_are_the_size_of_the_job(commands: "Commands", pages: "Pages") -> None:
    """Both keep links out, say so, and are no failure."""
    commands.run("crawl", pages.page(1), "--depth", "2", "--output", "run", "--quiet")
    assert set(pages.hits()) == {f"/p/{number}" for number in range(1, 8)}
    summary = commands.summary()
    assert (summary["finish_reason"], summary["links_skipped"]) == ("max_depth", {"too_deep": 16})
    commands.directory = commands.folder / "narrow"
    other = pages.page(300).replace("127.0.0.1", "localhost")
    commands.run("crawl", pages.page(1), other, "--depth", "99", "--max-per-host", "6", "--output", "narrow", "--quiet")
    hosts = Counter(each["url"].split("/")[2] for each in commands.results())
    assert max(hosts.values()) == 6
    assert commands.summary()["finish_reason"] == "max_per_host"
    assert commands.summary()["links_skipped"]["max_per_host"] > 0


@pytest.mark.parametrize(("limit", "least"), [("3", 3), ("50%", 20)])
def test_max_failures_ends_the_run_early(commands: "Commands", pages: "Pages", limit: str, least: int) -> None:
    """So many pages failed, or such a share of at least twenty: exit code 4; when the site is well the rest follows."""
    urls = [f"{pages.url}/bad/{number}" for number in range(60)]
    (commands.folder / "urls.txt").write_text("\n".join(urls))
    argv = ["--retries", "0", "--concurrency", "2", "--output", "run", "--quiet"]
    commands.run("crawl", "--urls-file", "urls.txt", "--max-failures", limit, *argv, code=4)
    early = commands.summary()
    assert (early["finish_reason"], early["exit_code"]) == ("max_failures", 4)
    assert f"max_failures is {limit}" in early["finish_detail"]
    assert least <= early["failed"] <= least + 2, "pages that are open already may fail besides"
    assert commands.status()["state"] == "interrupted"
    commands.run("resume", "run", "--quiet", code=4)  # the limit stands, for each process anew
    again = commands.summary()
    assert again["finish_reason"] == "max_failures"
    assert early["failed"] + least <= again["failed"] <= early["failed"] + least + 2
    pages.is_well = True
    commands.run("resume", "run", "--quiet", code=1)
    last = commands.summary()
    assert (last["finish_reason"], last["failed"]) == ("finished", again["failed"])
    assert sorted(each["url"] for each in commands.results()) == sorted(urls)


@pytest.mark.timeout(300)  # up to eleven starts of the command, one after the other
def test_max_time_ends_each_process_early(commands: "Commands", pages: "Pages") -> None:
    """Exit code 4 after that time; each process has it anew, and together they complete the run."""
    pages.pause_s = 1.0  # ten seconds for all pages, on any machine; the limit is long enough to start a browser in
    urls = [pages.page(number) for number in range(100, 120)]
    argv = ["crawl", *urls, "--max-time", "6s", "--concurrency", "2", "--output", "run", "--quiet"]
    commands.run(*argv, code=4)
    early = commands.summary()
    assert (early["finish_reason"], early["finish_detail"]) == ("max_time", "max_time (6 s) is over")
    assert 6 <= early["duration_s"] < 6 + 8 + 2
    assert early["unfinished"] + early["succeeded"] == len(urls)
    assert early["unfinished"] > 0
    pages.pause_s = 0.0
    for _ in range(10):
        if commands.start("resume", "run", "--quiet").wait() == 0:
            break
    assert sorted(each["url"] for each in commands.results()) == urls
    assert commands.summary()["duration_s"] > early["duration_s"]


def test_max_disk_ends_the_run_early(commands: "Commands", pages: "Pages") -> None:
    """Exit code 4 when the directory has become as large as it may, and again if it is no smaller at resume."""
    urls = [f"{pages.url}/big/{number}" for number in range(100)]
    (commands.folder / "urls.txt").write_text("\n".join(urls))
    argv = ["crawl", "--urls-file", "urls.txt", "--save", "html", "--max-disk", "1MB", "--concurrency", "2"]
    commands.run(*argv, "--output", "run", "--quiet", code=4)
    early = commands.summary()
    assert early["finish_reason"] == "max_disk"
    assert "max_disk is 1,000,000" in early["finish_detail"]
    assert 300_000 < commands.status()["disk_bytes"] < 10_000_000, "less than it was: the store's journal is folded in"
    assert 0 < len(commands.results()) < len(urls)
    commands.run("resume", "run", "--quiet", code=4)
    assert commands.summary()["finish_reason"] == "max_disk"
    assert len(commands.results()) < len(urls)


def test_max_bytes_ends_each_process_early(commands: "Commands", pages: "Pages") -> None:
    """Exit code 4 when so much went over the network, also where the guard is off; each process has it anew."""
    urls = [f"{pages.url}/big/{number}" for number in range(36)]
    argv = ["crawl", *urls, "--max-bytes", "1MB", "--concurrency", "2", "--output", "run", "--quiet"]
    commands.run(*argv, code=4)
    early = commands.summary()
    assert early["finish_reason"] == "max_bytes"
    assert "max_bytes is 1,000,000" in early["finish_detail"]
    assert 1_000_000 <= early["transferred_bytes"] < 4_000_000
    results = commands.results()
    assert 0 < len(results) < len(urls)
    assert all(each["transferred_bytes"] > 100_000 for each in results)
    codes = [commands.start("resume", "run", "--quiet").wait()]
    while codes[-1] == 4 and len(codes) < len(urls):
        codes.append(commands.start("resume", "run", "--quiet").wait())
    assert codes[-1] == 0
    assert len(codes) > 1
    assert sorted(each["url"] for each in commands.results()) == sorted(urls)
    assert commands.summary()["transferred_bytes"] > 100_000 * len(urls)
