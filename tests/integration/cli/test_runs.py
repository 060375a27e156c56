"""Runs that are interrupted, killed and gone on with, as their users do it: processes, real Chromium, the demo site."""

import csv
import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from pyarrow import parquet  # type: ignore[import-untyped]  # it ships no stubs

from browsercrawl.testing import DemoSite

_LIMIT_S = 60.0
_COMMAND = [sys.executable, "-m", "browsercrawl"]

Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def site() -> Iterator[DemoSite]:
    """Open the demo site."""
    with DemoSite() as opened:
        yield opened


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run the command in an empty folder."""

    def run_command(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*_COMMAND, *argv], cwd=tmp_path, capture_output=True, text=True, timeout=_LIMIT_S, check=False
        )

    return run_command


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start the command in an empty folder; what still runs at the end is killed.

    It has a TMPDIR of its own: what is killed leaves its temporary files.
    """
    started: list[subprocess.Popen[str]] = []
    with tempfile.TemporaryDirectory(prefix="k-") as own:

        def start_command(*argv: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [*_COMMAND, *argv], cwd=tmp_path, env={**os.environ, "TMPDIR": own}, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            started.append(process)
            return process

        yield start_command
        for process in started:
            _kill(process)
            process.communicate()


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill a process, and the browser that a killed crawler leaves to itself."""
    with suppress(psutil.NoSuchProcess):
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for each in family:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(family[1:], timeout=10)
    process.wait(_LIMIT_S)


def _wait(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + _LIMIT_S
    while not condition():
        assert time.monotonic() < until, "not in time"
        time.sleep(0.02)


def _status(run: Run) -> dict[str, Any]:
    done = run("status", "mine", "--json")
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _results(tmp_path: Path) -> list[dict[str, Any]]:
    lines = (tmp_path / "mine" / "results.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _files(tmp_path: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (tmp_path / "mine").iterdir() if path.is_file()}


def _crawl_shop(site: DemoSite) -> list[str]:
    return ["crawl", f"{site.url}/", "--depth", "1000", "--output", "mine", "--concurrency", "2", "--quiet"]


def _is_the_shop(site: DemoSite, results: list[dict[str, Any]]) -> bool:
    truth = {f"{site.url}{page.path}": page.title for page in site.truth().pages}
    assert Counter(result["url"] for result in results).most_common(1)[0][1] == 1
    return {result["url"]: result["title"] for result in results} == truth


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_crawl_interrupted_and_resumed_finds_the_whole_shop(
    site: DemoSite, run: Run, start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    """Each page has one result, equal to the truth; at most the open pages were visited twice; then nothing is left."""
    # Slowly, so that it goes on while its status is asked for.
    crawl = start(*_crawl_shop(site), "--delay", "100ms")
    _wait(lambda: sum(site.hits(page.path) for page in site.truth().pages) > 12)
    running = _status(run)
    assert (running["state"], running["pid"], running["go_on"]) == ("running", crawl.pid, None)
    if number is signal.SIGKILL:
        _kill(crawl)
    else:
        crawl.send_signal(number)
        crawl.communicate(timeout=_LIMIT_S)
        assert crawl.returncode == 130
    left = _status(run)
    assert (left["state"], left["pid"]) == ("interrupted", None)
    assert left["finish_reason"] == (None if number is signal.SIGKILL else "interrupted")
    assert 0 < left["finished"] < left["stored"]
    assert left["go_on"] == "browsercrawl resume mine"
    exported = run("export", "mine").stdout.splitlines()
    assert len(exported) == left["finished"]
    resumed = run("resume", "mine", "--quiet")
    assert (resumed.returncode, resumed.stdout, resumed.stderr) == (0, "", "")
    results = _results(tmp_path)
    assert _is_the_shop(site, results)
    assert {json.loads(line)["request_id"] for line in exported} <= {result["request_id"] for result in results}
    pages = Counter(page.path.partition("?")[0] for page in site.truth().pages)
    assert sum(site.hits(path) - number for path, number in pages.items()) <= 2
    assert _status(run)["state"] == "finished"
    before = _files(tmp_path)
    again = run("resume", "mine")
    assert (again.returncode, again.stdout) == (0, "")
    assert "mine is finished: 60 results" in again.stderr
    assert _files(tmp_path) == before


def test_resume_while_another_process_resumes_is_refused_naming_it(
    site: DemoSite, run: Run, start: Start, tmp_path: Path
) -> None:
    """The first goes on undisturbed; the second exits with 2 and the first one's number."""
    urls = [f"{site.url}/faults/slow?ms=1500&n={each}" for each in range(6)]
    crawl = start("crawl", *urls, "--output", "mine", "--concurrency", "1", "--quiet")
    _wait(lambda: site.hits("/faults/slow") == 1)
    _kill(crawl)
    first = start("resume", "mine", "--quiet")
    _wait(lambda: site.hits("/faults/slow") == 2)
    for command in ("resume", "retry-failed"):
        second = run(command, "mine")
        assert second.returncode == 2
        assert f"is being run by process {first.pid} (since " in second.stderr
    assert _status(run)["pid"] == first.pid
    first.communicate(timeout=_LIMIT_S)
    assert first.returncode == 0
    assert sorted(result["url"] for result in _results(tmp_path)) == sorted(urls)


def test_retry_failed_visits_only_what_failed(site: DemoSite, run: Run, tmp_path: Path) -> None:
    """Pages that are well again succeed, the others keep their lines, and the kinds asked for are the ones tried."""
    urls = [
        f"{site.url}/faults/silent?times=1",
        f"{site.url}/faults/status?is=404&times=1",
        f"{site.url}/faults/status?is=410",
        f"{site.url}/about",
    ]
    options = ["--output", "mine", "--retries", "0", "--timeout", "6s", "--quiet"]
    assert run("crawl", *urls, "htp:/nonsense", *options).returncode == 1
    assert _status(run)["failures"] == {"http_rejected": 2, "deadline": 1, "url_invalid": 1}
    late = run("retry-failed", "mine", "--kind", "network,deadline", "--json")
    assert late.returncode == 1
    assert [json.loads(line)["url"] for line in late.stdout.splitlines()] == [urls[0]]
    assert _status(run)["failures"] == {"http_rejected": 2, "url_invalid": 1}
    assert run("retry-failed", "mine", "--quiet").returncode == 1
    told = _status(run)
    assert (told["state"], told["succeeded"]) == ("finished", 3)
    assert told["failures"] == {"http_rejected": 1, "url_invalid": 1}
    results = _results(tmp_path)
    assert sorted(result["url"] for result in results) == sorted([*urls, "htp:/nonsense"])
    assert [site.hits(url.removeprefix(site.url)) for url in urls] == [2, 2, 2, 1]
    nothing = run("retry-failed", "mine", "--kind", "deadline")
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert "nothing to visit again" in nothing.stderr


def test_export_reads_back_in_every_format_while_the_run_goes_on(
    site: DemoSite, run: Run, start: Start, tmp_path: Path
) -> None:
    """Three formats of a run under way: whole lines, the same results, artifacts named; the run does not notice."""
    urls = [f"{site.url}/about", f"{site.url}/faults/status?is=404", f"{site.url}/faults/silent"]
    crawl = start("crawl", *urls, "--output", "mine", "--save", "html", "--retries", "0", "--timeout", "20s", "--quiet")
    _wait(lambda: (tmp_path / "mine").exists() and _status(run)["finished"] == 2)
    lines = [json.loads(line) for line in run("export", "mine").stdout.splitlines()]
    rows = list(csv.DictReader(io.StringIO(run("export", "mine", "--format", "csv").stdout, newline="")))
    written = run("export", "mine", "--to", "now.parquet")
    assert written.returncode == 0, written.stderr
    table = parquet.read_table(tmp_path / "now.parquet").to_pylist()
    assert len(lines) == 2
    for key in ("request_id", "url", "outcome", "title"):
        wanted = [line[key] or "" for line in lines]
        assert [row[key] for row in rows] == wanted
        assert [row[key] or "" for row in table] == wanted
    (html,) = next(row["artifacts"] for row in table if row["artifacts"])
    assert (tmp_path / "mine" / html["path"]).stat().st_size == html["bytes"]
    assert [html] == next(json.loads(row["artifacts"]) for row in rows if row["artifacts"])
    assert crawl.poll() is None


def test_export_parquet_through_a_pipe(site: DemoSite, run: Run, tmp_path: Path) -> None:
    """A pipe cannot be asked where it stands, and need not be."""
    assert run("crawl", f"{site.url}/about", "--output", "mine", "--quiet").returncode == 0
    done = subprocess.run(
        [*_COMMAND, "export", "mine", "--format", "parquet"], cwd=tmp_path, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    (row,) = parquet.read_table(io.BytesIO(done.stdout)).to_pylist()
    assert row["url"] == f"{site.url}/about"


def test_status_watch_on_a_terminal_redraws_until_the_run_ends(site: DemoSite, start: Start, tmp_path: Path) -> None:
    """Another terminal sees the run go on and end; the cursor comes back, and how it ended is what stays."""
    crawl = start("crawl", *(f"{site.url}/faults/slow?ms=900&n={each}" for each in range(6)),
                  "--output", "mine", "--concurrency", "1", "--quiet")  # fmt: skip
    _wait(lambda: site.hits("/faults/slow") == 1)
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(tmp_path)
        os.environ["TERM"] = "xterm-256color"
        os.execv(sys.executable, [*_COMMAND, "status", "mine", "--watch"])
    shown = b""
    while select.select([terminal], [], [], _LIMIT_S)[0]:
        try:
            shown += os.read(terminal, 65_536)
        except OSError:  # Linux's way of saying that the other end is closed
            break
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    assert crawl.wait(_LIMIT_S) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert f"running in process {crawl.pid}" in text
    assert "finished" in text[text.rindex("browsercrawl") :]
    assert "6 of 6" in text[text.rindex("browsercrawl") :]
    assert shown.count(b"\x1b[?25l") == shown.count(b"\x1b[?25h") == 1
