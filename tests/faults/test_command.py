"""The command `browsercrawl crawl` when it is killed, stopped, or has no disk: as a process of its own."""

import json
import os
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
_COMMAND = [sys.executable, "-m", "browsercrawl", "crawl"]

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """The command's own TMPDIR."""
    path = tmp_path / "t"
    path.mkdir()
    return path


@pytest.fixture
def start(tmp_path: Path, temporary: Path) -> Iterator[Start]:
    """Start the command in an empty folder; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start_command(*argv: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [*_COMMAND, *argv],
            cwd=tmp_path,
            env={**os.environ, "TMPDIR": str(temporary)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start_command
    for process in started:
        process.kill()
        process.communicate()


def wait(condition: Callable[[], bool], limit_s: float = _LIMIT_S) -> None:
    """Wait until something has become true."""
    until = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until, "not in time"
        time.sleep(0.02)


def is_alive(process: psutil.Process) -> bool:
    """Tell whether a process runs; one that is dead but not yet collected by its adoptive parent does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file, each of which must be a whole one."""
    text = path.read_text(encoding="utf-8")
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def test_command_killed_leaves_no_process_and_no_file(site: DemoSite, start: Start, temporary: Path) -> None:
    """SIGKILL of the command: within 5 s its driver and browser are gone, hung pages included, and so are its files."""
    urls = [f"{site.url}/faults/{name}?kill={number}" for number in range(2) for name in ("silent", "hang-load")]
    process = start(*urls, "--concurrency", "4", "--output", "run")
    wait(lambda: len(site.arrivals("/faults/silent?kill")) + len(site.arrivals("/faults/hang-load?kill")) == 4)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.kill()
    process.communicate()
    wait(lambda: not any(is_alive(child) for child in children), limit_s=5)
    wait(lambda: not list(temporary.rglob("*")), limit_s=5)


def test_command_stopped_with_hung_pages_ends_in_time(site: DemoSite, start: Start, tmp_path: Path) -> None:
    """SIGTERM while pages hang: after the drain time they are given up; whole lines, exit code 130, nothing left."""
    urls = [f"{site.url}/faults/hang-load?stop={number}" for number in range(2)]
    process = start(f"{site.url}/about", *urls, "--concurrency", "2", "--output", "run", "--timeout", "50s")
    wait(lambda: len(site.arrivals("/faults/hang-load?stop")) == 2)
    children = psutil.Process(process.pid).children(recursive=True)
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=_LIMIT_S)
    assert process.returncode == 130
    assert time.monotonic() - asked < 8 + 5
    assert [line["url"] for line in lines_of(tmp_path / "run" / "results.jsonl")] == [f"{site.url}/about"]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["unfinished"] == 2
    assert [child for child in children if is_alive(child)] == []


def test_command_secrets_reach_nothing_but_the_results(site: DemoSite, start: Start, tmp_path: Path) -> None:
    """Passwords and tokens of URLs are in no event, message, summary or option, though requests that had them fail."""
    secrets = ("hunter2", "tok-0815", "key-4711", "sesam")
    host = site.url.removeprefix("http://")
    urls = [
        f"http://me:hunter2@{host}/faults/echo",
        f"{site.url}/faults/reset?access_token=tok-0815",
        f"{site.url}/faults/status?is=404&api_key=key-4711",
        f"{site.url}/faults/page#token=tok-0815",
        f"http://me:hunter2@{host}:99999/",
    ]
    process = start(*urls, "--retries", "0", "--output", "run")
    told, complained = process.communicate(timeout=_LIMIT_S)
    assert process.returncode == 1
    assert len(lines_of(tmp_path / "run" / "results.jsonl")) == len(urls)
    proxied = start(f"{site.url}/about", "--proxy", f"http://me:sesam@{host}", "--output", "proxied")
    told_too, complained_too = proxied.communicate(timeout=_LIMIT_S)
    assert proxied.returncode == 2, "a proxy with a password is refused, not used without it"
    assert not (tmp_path / "proxied").exists()
    texts = {"stdout": told + told_too, "stderr": complained + complained_too}
    for name in ("events.jsonl", "summary.json", "job.yaml"):
        texts[name] = (tmp_path / "run" / name).read_text()
    for where, text in texts.items():
        assert [secret for secret in secrets if secret in text] == [], where


def test_command_run_directory_is_complete_and_private(site: DemoSite, start: Start, tmp_path: Path) -> None:
    """A finished run has left its files, results and events in whole lines, nobody else may read the results."""
    process = start(f"{site.url}/about", f"{site.url}/faults/reset", "--retries", "1", "--save", "html,text,screenshot",
                    "--output", "run")  # fmt: skip
    process.communicate(timeout=_LIMIT_S)
    assert process.returncode == 1
    run = tmp_path / "run"
    assert {"results.jsonl", "events.jsonl", "summary.json", "job.yaml", "artifacts"} <= {
        path.name for path in run.iterdir()
    }
    results = {line["outcome"]: line for line in lines_of(run / "results.jsonl")}
    assert results.keys() == {"succeeded", "failed"}
    assert sorted(each["name"] for each in results["succeeded"]["artifacts"]) == ["html", "screenshot", "text"]
    assert all((run / each["path"]).is_file() for each in results["succeeded"]["artifacts"])
    assert (run / "results.jsonl").stat().st_mode & 0o077 == 0
    names = [line["event"] for line in lines_of(run / "events.jsonl")]
    assert (names[0], names.count("run.finished")) == ("run.started", 1)
    assert names.count("visit.failed") == 2
    assert not {"lease.acquired", "visit.started", "request.scheduled"} & set(names)
