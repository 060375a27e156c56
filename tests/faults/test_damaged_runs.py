"""Run directories that are damaged, or of another version: a clear error, and not a byte is changed."""

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from browsercrawl.cli.entry import main

if TYPE_CHECKING:
    from tests.faults.conftest import Commands, Pages

COMMANDS = ("status", "export", "resume", "retry-failed")


def overwrite(path: Path, start: int, content: bytes) -> None:
    """Put something into a file."""
    with path.open("r+b") as file:
        file.seek(start)
        file.write(content)


def garbage(size: int) -> bytes:
    """Give bytes that mean nothing."""
    return random.Random(1).randbytes(size)


def with_a_page_of_requests_lost(path: Path) -> None:
    """Overwrite the page at which the table of requests begins."""
    with closing(sqlite3.connect(path)) as database:
        ((page,),) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'requests'")
        ((size,),) = database.execute("PRAGMA page_size")
    overwrite(path, (page - 1) * size, garbage(size))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "garbage in the header": lambda path: overwrite(path, 0, garbage(64)),
    "garbage behind the header": lambda path: overwrite(path, 4096, garbage(path.stat().st_size - 4096)),
    "half of it": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "nothing": lambda path: path.write_bytes(b""),
    "no database": lambda path: path.write_text("something else\n" * 1000),
    "another program's": lambda path: overwrite(path, 68, b"\x00\x00\x00\x00"),
    "older": lambda path: overwrite(path, 60, (0).to_bytes(4, "big")),
    "newer": lambda path: overwrite(path, 60, (99).to_bytes(4, "big")),
}

WORDS = {"older": "older browsercrawl", "newer": "newer browsercrawl"}


def test_store_that_is_damaged_or_of_another_version_is_refused_and_untouched(
    commands: "Commands", pages: "Pages", capfd: pytest.CaptureFixture[str]
) -> None:
    """Each command that is given such a run says what is wrong with which file, exits with 2, and changes nothing.

    Also when the run was killed and changes wait beside the file.
    """
    urls = [f"{pages.url}/bad/{number}" for number in range(4)]
    argv = ["--retries", "0", "--concurrency", "1", "--max-failures", "1"]
    commands.run("crawl", *urls, *argv, "--output", "ended", "--quiet", code=4)
    step = "browsercrawl.output.projection:Projection._write:after"
    commands.mortal(step, "crawl", *urls, *argv, "--output", "killed", "--quiet").wait()
    capfd.readouterr()
    for origin in ("ended", "killed"):
        for name, damage in DAMAGES.items():
            if origin == "killed" and name in {"garbage behind the header", "half of it"}:
                continue  # the changes that wait replace those pages
            shutil.rmtree(commands.directory, ignore_errors=True)
            shutil.copytree(commands.folder / origin, commands.directory)
            store = commands.directory / "run.sqlite"
            damage(store)
            before = commands.files()
            for command in COMMANDS:
                what = f"{command} of {origin} with {name}"
                assert main([command, str(commands.directory)]) == 2, what
                told = capfd.readouterr()
                assert str(store) in told.err, what
                assert WORDS.get(name, "left as it is") in told.err, what
                assert told.out == "", what
                assert commands.files() == before, what


def test_store_with_a_lost_page_is_refused_by_what_would_work_on_it(
    commands: "Commands", pages: "Pages", capfd: pytest.CaptureFixture[str]
) -> None:
    """One page of the table of requests is garbage: nothing that would write goes on, and nothing is changed."""
    urls = [f"{pages.url}/bad/{number}" for number in range(4)]
    commands.run("crawl", *urls, "--retries", "0", "--max-failures", "1", "--output", "run", "--quiet", code=4)
    with_a_page_of_requests_lost(commands.directory / "run.sqlite")
    before = commands.files()
    for command in ("resume", "retry-failed"):
        assert main([command, str(commands.directory)]) == 2
        assert "run.sqlite cannot be used: " in capfd.readouterr().err
        assert commands.files() == before


def test_torn_last_lines_are_cut_off_at_resume(commands: "Commands", pages: "Pages") -> None:
    """What a killed process left half-written at the end of results and events is gone; each line is whole, once."""
    urls = [pages.page(number) for number in range(100, 106)]
    step = "browsercrawl.output.projection:Projection._write:after"
    commands.mortal(step, "crawl", *urls, "--output", "run", "--quiet").wait()
    with (commands.directory / "results.jsonl").open("ab") as results:
        results.write(b'{"request_id":"0123')
    with (commands.directory / "events.jsonl").open("ab") as events:
        events.write(b'{"ts":"2026-01-01T00:00:00Z","event":"run.fin')
    commands.run("resume", "run", "--quiet")
    assert sorted(each["url"] for each in commands.results()) == urls
    assert len(commands.events("run.started")) >= 1
    assert len(commands.events("run.finished")) == 1


def test_results_that_miss_what_was_recorded_are_refused(
    commands: "Commands", pages: "Pages", capfd: pytest.CaptureFixture[str]
) -> None:
    """Whoever shortened the file is told so: the run is not gone on with, and no file but the store is changed."""
    urls = [f"{pages.url}/bad/{number}" for number in range(4)]
    commands.run("crawl", *urls, "--retries", "0", "--max-failures", "2", "--concurrency", "1", "--output", "ended",
                 "--quiet", code=4)  # fmt: skip
    whole = (commands.folder / "ended" / "results.jsonl").read_bytes()
    path = commands.directory / "results.jsonl"
    for left in (whole[: whole.index(b"\n") + 1], whole[:-20], whole[:-1] + b"xx", b"", None):
        shutil.rmtree(commands.directory, ignore_errors=True)
        shutil.copytree(commands.folder / "ended", commands.directory)
        path.unlink()
        if left is not None:
            path.write_bytes(left)
        before = commands.files()
        for command in ("resume", "retry-failed", "export"):
            assert main([command, str(commands.directory)]) == 2, command
            told = capfd.readouterr().err
            assert f"{path} is damaged" in told or (left is None and f"{path} cannot be read" in told), command
            after = commands.files()
            assert {name for name in before | after if before.get(name) != after.get(name)} <= {"run.sqlite"}
    path.write_bytes(whole)
    assert main(["export", str(commands.directory)]) == 0
    assert capfd.readouterr().out.encode() == whole
