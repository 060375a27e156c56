"""The command line as people and programs use it: a process, real Chromium, the demo site."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from browsercrawl.testing import DemoSite

_LIMIT_S = 60.0
_COMMAND = [sys.executable, "-m", "browsercrawl"]


@pytest.fixture
def site() -> Iterator[DemoSite]:
    """Open the demo site."""
    with DemoSite() as opened:
        yield opened


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command in an empty folder."""

    def run_command(*argv: str, given: str = "", env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*_COMMAND, *argv], cwd=tmp_path, input=given, env=env, capture_output=True, text=True, timeout=_LIMIT_S,
            check=False,
        )  # fmt: skip

    return run_command


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the command in an empty folder; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start_command(*argv: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*_COMMAND, *argv], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start_command
    for process in started:
        process.kill()
        process.communicate()


def _wait(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + _LIMIT_S
    while not condition():
        assert time.monotonic() < until, "not in time"
        time.sleep(0.02)


def _is_alive(process: psutil.Process) -> bool:
    """Tell whether a process runs; one that is dead but not yet collected by its adoptive parent does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _results(tmp_path: Path) -> list[dict[str, Any]]:
    (file,) = tmp_path.glob("runs/*/results.jsonl")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_crawl_json_writes_one_result_per_line_and_nothing_else(
    site: DemoSite, run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """Standard output is data, standard error is for people, and the run directory holds the same results."""
    done = run("crawl", f"{site.url}/", f"{site.url}/about", "--json")
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    truth = {page.path: page.title for page in site.truth().pages}
    assert {result["url"]: result["title"] for result in results} == {
        f"{site.url}/": truth["/"],
        f"{site.url}/about": truth["/about"],
    }
    assert all(not {"html", "text"} & set(result) for result in results)
    assert "2 of 2 pages" in done.stderr
    assert "\x1b" not in done.stderr
    assert sorted(_results(tmp_path), key=str) == sorted(results, key=str)


def test_crawl_depth_and_max_requests_are_the_size_of_the_job(
    site: DemoSite, run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """Links are followed as far as asked for and no further, and reaching the limit is success."""
    done = run("crawl", f"{site.url}/", "--depth", "1", "--max-requests", "5", "--save", "html", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    succeeded = [result for result in _results(tmp_path) if result["outcome"] == "succeeded"]
    assert len(succeeded) == 5
    assert {result["depth"] for result in succeeded} == {0, 1}
    (directory,) = tmp_path.glob("runs/*")
    saved = [artifact["path"] for result in succeeded for artifact in result["artifacts"]]
    assert len(saved) == 5
    assert all((directory / path).is_file() for path in saved)


def test_crawl_urls_file_with_one_bad_line_finishes_the_others(
    site: DemoSite, run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """The bad line is one failed result that names file, line and reason; the exit code says that one failed."""
    lines = [f"{site.url}/faults/json?n={number}" for number in range(20)]
    lines[7] = "htp:/nonsense"
    (tmp_path / "urls.txt").write_text("\n".join(["# pages", *lines]))
    done = run("crawl", "--urls-file", "urls.txt", "--json")
    assert done.returncode == 1
    results = [json.loads(line) for line in done.stdout.splitlines()]
    (failed,) = [result for result in results if result["outcome"] == "failed"]
    assert failed["error"]["kind"] == "url_invalid"
    assert failed["error"]["message"].startswith("urls.txt, line 9: ")
    assert sum(result["outcome"] == "succeeded" for result in results) == 19
    assert "urls.txt, line 9: " in done.stderr


def test_crawl_quiet_with_failures_says_so_in_one_line(
    site: DemoSite, run: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """`--quiet` leaves errors: an exit code of 1 has its reason."""
    done = run("crawl", f"{site.url}/faults/status?is=404", f"{site.url}/", "--quiet")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"browsercrawl: 1 request failed; see \S+/runs/\S+/results\.jsonl\n", done.stderr)


def test_crawl_without_terminal_writes_warnings_as_lines(
    site: DemoSite, run: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """What goes wrong stands in a batch's log when it happens, redacted and without colour."""
    done = run("crawl", f"{site.url}/faults/status?is=404&token=hunter2", "--retries", "0")
    assert done.returncode == 1
    assert re.search(r"^\d\d:\d\d:\d\d \[warning  \] visit\.failed .*kind=http_rejected", done.stderr, re.MULTILINE)
    assert "hunter2" not in done.stderr
    assert "\x1b" not in done.stderr


def test_crawl_standard_input_is_read_as_it_comes(site: DemoSite, tmp_path: Path) -> None:
    """A URL is crawled, and its result written, while standard input is still open."""
    process = subprocess.Popen(
        [*_COMMAND, "crawl", "--urls-file", "-", "--json", "--quiet"],
        cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    for number in range(2):
        process.stdin.write(f"{site.url}/faults/json?n={number}\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["url"].endswith(f"n={number}")
    process.stdin.close()
    assert process.stdout.read() == ""
    assert process.wait(_LIMIT_S) == 0
    process.stdout.close()


def test_crawl_no_browser_on_the_machine_exits_3_saying_what_to_type(
    run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """Without any Chromium there is no traceback but a command to copy."""
    nowhere = {"PATH": str(tmp_path), "HOME": str(tmp_path), "PLAYWRIGHT_BROWSERS_PATH": str(tmp_path)}
    done = run("crawl", "http://127.0.0.1:9/", env={**os.environ, **nowhere})
    assert done.returncode == 3
    assert "playwright install" in done.stderr
    assert "Traceback" not in done.stderr


def test_crawl_output_that_exists_exits_2(
    site: DemoSite, run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """A run never writes into a directory that is there already."""
    (tmp_path / "mine").mkdir()
    done = run("crawl", f"{site.url}/", "--output", "mine")
    assert done.returncode == 2
    assert "exists already" in done.stderr
    assert list((tmp_path / "mine").iterdir()) == []


def test_crawl_reader_that_leaves_ends_the_crawl(site: DemoSite, start: Callable[..., subprocess.Popen[str]]) -> None:
    """`... | head -1` ends the crawl without a traceback, long before its pages are done."""
    process = start("crawl", f"{site.url}/", "--depth", "9", "--json")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(_LIMIT_S) == 130
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_crawl_first_signal_finishes_the_open_pages(
    site: DemoSite, start: Callable[..., subprocess.Popen[str]], tmp_path: Path, number: signal.Signals
) -> None:
    """Open pages get their result, nothing new is begun, the exit code is 130, and no process is left."""
    urls = [f"{site.url}/faults/slow?ms=1500&n={each}" for each in range(12)]
    process = start("crawl", *urls, "--concurrency", "2")
    _wait(lambda: site.hits("/faults/slow") == 2)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    _, told = process.communicate(timeout=_LIMIT_S)
    assert process.returncode == 130
    assert "finishing 2 open pages; Ctrl-C again stops at once" in told
    assert [result["outcome"] for result in _results(tmp_path)] == ["succeeded"] * 2
    assert [child for child in children if _is_alive(child)] == []


def test_crawl_second_signal_stops_at_once(
    site: DemoSite, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """Pages that would take long are given up, well before the drain deadline, and no process is left."""
    process = start("crawl", *(f"{site.url}/faults/silent?n={each}" for each in range(4)), "--concurrency", "2")
    _wait(lambda: site.hits("/faults/silent") == 2)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    while "finishing" not in process.stderr.readline():
        assert process.poll() is None
    asked = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=_LIMIT_S)
    assert process.returncode == 130
    assert time.monotonic() - asked < 8
    assert _results(tmp_path) == []
    assert [child for child in children if _is_alive(child)] == []


def test_demo_equals_the_ground_truth(run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    """The demo finds every page and product of its shop and says so."""
    done = run("demo", "--products", "8")
    assert done.returncode == 0, done.stderr
    with DemoSite(products=8) as site:
        pages = len(site.truth().pages)
    assert "equal to what the shop really holds" in done.stderr
    assert re.search(rf"pages +{pages} of {pages} *\n", done.stderr)
    assert re.search(r"products +8 of 8 *\n", done.stderr)
    assert len(_results(tmp_path)) == pages


def test_demo_serve_opens_the_shop_until_a_signal(start: Callable[..., subprocess.Popen[str]]) -> None:
    """The address is the only line on standard output; a signal closes the shop and the exit code is 0."""
    process = start("demo", "--serve")
    assert process.stdout is not None
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\n", process.stdout.readline())
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=_LIMIT_S)
    assert process.returncode == 0
    assert "/faults/" in told


def test_demo_on_a_terminal_is_live_and_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    """Progress is redrawn in place, the cursor comes back, and the summary is what stays."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(tmp_path)
        os.environ["TERM"] = "xterm-256color"
        os.execv(sys.executable, [*_COMMAND, "demo", "--products", "8"])
    shown = b""
    while select.select([terminal], [], [], _LIMIT_S)[0]:
        try:
            shown += os.read(terminal, 65_536)
        except OSError:  # Linux's way of saying that the other end is closed
            break
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    assert b"pages/s" in shown
    assert shown.count(b"\x1b[?25l") == shown.count(b"\x1b[?25h") >= 1
    assert b"equal to what the shop really holds" in shown[shown.rindex(b"\x1b[?25h") :]


def test_doctor_json_tells_every_check(run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """Where tests run, crawling works; each check is typed, and only data is on standard output."""
    done = run("doctor", "--json")
    assert done.returncode == 0, done.stdout
    diagnosis = json.loads(done.stdout)
    assert diagnosis["usable"] is True
    assert [check["name"] for check in diagnosis["checks"]] == [
        "Python", "system", "Playwright", "sessions", "shared memory", "open files", "processes", "memory",
        "memory stalls", "CPU", "browser", "sandbox", "test page",
    ]  # fmt: skip
    assert {check["state"] for check in diagnosis["checks"]} <= {"ok", "warn"}
    found = {check["name"]: check["found"] for check in diagnosis["checks"]}
    assert re.fullmatch(r"[\d.]+ [MGT]B of [\d.]+ [MGT]B used \(/(proc|sys)/\S+\)", found["memory"])
    assert re.fullmatch(r"[\d.]+ cores \(.+\)", found["CPU"])


def test_doctor_wrong_playwright_file_is_a_row_of_the_table(
    run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """A file with a proxy that cannot be used is told like everything else, without traceback or password."""
    (tmp_path / "playwright.config.json").write_text('{"launchOptions": {"proxy": {"server": "http://u:hunter2@p:1"}}}')
    done = run("doctor", "--json")
    assert done.returncode == 3
    (check,) = [check for check in json.loads(done.stdout)["checks"] if check["state"] == "fail"]
    assert check["name"] == "configuration"
    assert "playwright.config.json: proxy: a user name and password" in check["advice"]
    assert "hunter2" not in done.stdout + done.stderr


def test_doctor_no_browser_exits_3_with_the_remedy(
    run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """The table still tells everything else, and what to type."""
    nowhere = {"PATH": str(tmp_path), "HOME": str(tmp_path), "PLAYWRIGHT_BROWSERS_PATH": str(tmp_path)}
    done = run("doctor", env={**os.environ, **nowhere})
    assert done.returncode == 3
    assert "playwright install" in done.stdout
    assert "Crawling does not work on this machine yet." in done.stdout
