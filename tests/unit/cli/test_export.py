"""`browsercrawl export`: every result once, in three formats, whatever state the run is in."""

import csv
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet  # type: ignore[import-untyped]  # it ships no stubs

from browsercrawl.cli import export, main
from browsercrawl.output import ResultFile, result_line
from browsercrawl.result import Result

MakeRun = Callable[..., Path]


def _lines(results: Sequence[Result]) -> list[bytes]:
    return [result_line(result).encode() for result in results]


def _exported(run: Path, *options: str, capfdbinary: pytest.CaptureFixture[bytes]) -> bytes:
    assert main(["export", str(run), *options]) == 0
    out, err = capfdbinary.readouterr()
    assert err == b""
    return out


def _cells(text: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.decode(), newline="")))


def test_export_jsonl_is_the_lines_as_they_are(
    make_run: MakeRun, results: list[Result], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """JSON lines are the run's own, byte for byte, in order."""
    run = make_run(results)
    assert _exported(run, capfdbinary=capfdbinary) == (run / "results.jsonl").read_bytes()


@pytest.mark.parametrize("unwritten", [0, 1, 3])
def test_export_killed_run_has_each_result_once(
    make_run: MakeRun, results: list[Result], capfdbinary: pytest.CaptureFixture[bytes], unwritten: int
) -> None:
    """What only the store has is there, and what a killed process wrote behind the safe end, or tore, is not twice."""
    run = make_run(results, unwritten=unwritten)
    lines = _lines(results)
    with (run / "results.jsonl").open("ab") as file:
        file.write(b"".join(line + b"\n" for line in lines[3 - unwritten :])[:-20])
    assert _exported(run, capfdbinary=capfdbinary).splitlines() == lines


@pytest.mark.parametrize("renamed", [False, True])
def test_export_during_a_retry_takes_the_file_the_store_speaks_of(
    make_run: MakeRun, results: list[Result], capfdbinary: pytest.CaptureFixture[bytes], renamed: bool
) -> None:
    """Killed while `retry-failed` puts a new file in place of the old, the run has the results of the new one."""
    run = make_run(results[2:], notes={"results_swap": "1"})
    right = (run / "results.jsonl").read_bytes()
    if not renamed:
        (run / "results.jsonl.new").write_bytes(right)
        (run / "results.jsonl").write_bytes(b"".join(line + b"\n" for line in _lines(results)))
    assert _exported(run, capfdbinary=capfdbinary) == right


def test_export_csv_reads_back_what_the_results_say(
    make_run: MakeRun, results: list[Result], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Quotes, commas and line breaks survive; nothing is an empty cell; data is JSON; formulas are defused."""
    text = _exported(make_run(results), "--format", "csv", capfdbinary=capfdbinary)
    good, bad, left = _cells(text)
    assert good["title"] == "'" + (results[0].title or "")
    assert json.loads(good["data"]) == [{"price": 12.5, "tags": ["=x", None]}, "second"]
    assert (good["outcome"], good["http_status"], good["partial"], good["links"]) == ("succeeded", "200", "false", "2")
    assert (good["started_at"], good["error_kind"], good["artifacts"]) == ("2026-11-21T05:04:09.123456Z", "", "")
    assert (bad["error_kind"], bad["error_message"], bad["attempts"]) == ("network", "reset", "3")
    assert (left["outcome"], left["skip_reason"], left["http_status"]) == ("skipped", "handler: sold", "")
    assert text.endswith(b"\r\n")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(title=st.text(st.characters(codec="utf-8"), max_size=30))
def test_write_csv_any_title_reads_back(results: list[Result], title: str) -> None:
    """No text breaks the table: it comes back as it was, with an apostrophe in front where a formula would begin."""
    sink = io.BytesIO()
    record = results[0].model_copy(update={"title": title})
    assert export.write_csv(_lines([record, results[1]]), sink) == 2
    rows = _cells(sink.getvalue())
    assert len(rows) == 2
    assert rows[0]["title"] in {title, f"'{title}"}
    assert not rows[0]["title"].startswith(
        ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
    )


def test_export_parquet_has_typed_columns(make_run: MakeRun, results: list[Result], tmp_path: Path) -> None:
    """Numbers, instants and truth values have their types, texts are as they are, and nothing is null."""
    assert main(["export", str(make_run(results)), "--to", str(tmp_path / "results.parquet")]) == 0
    table = parquet.read_table(tmp_path / "results.parquet")
    good, bad, _ = table.to_pylist()
    assert good["title"] == results[0].title
    assert (good["http_status"], good["links"], good["partial"]) == (200, 2, False)
    assert good["finished_at"] == results[0].finished_at
    assert isinstance(good["total_s"], float)
    assert json.loads(good["data"])[1] == "second"
    assert (bad["error_kind"], bad["http_status"], bad["started_at"], bad["data"]) == ("network", None, None, None)
    assert table.column_names == [column.name for column in export.COLUMNS]


def test_export_parquet_holds_one_row_group_at_a_time(results: list[Result], monkeypatch: pytest.MonkeyPatch) -> None:
    """A row group ends after so many rows, or so many bytes, and what was read is written before more is read."""
    monkeypatch.setattr(export, "ROWS", 2)
    sink, read, ahead = io.BytesIO(), 0, []

    def lines() -> Any:
        nonlocal read
        for line in _lines(results) * 3:
            ahead.append((read, sink.tell()))
            read += 1
            yield line

    assert export.write_parquet(lines(), sink) == 9
    file = parquet.ParquetFile(io.BytesIO(sink.getvalue()))
    assert [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)] == [2, 2, 2, 2, 1]
    sizes = dict(ahead)
    assert sizes[2] > sizes[1]
    assert sizes[4] > sizes[3]


@pytest.mark.parametrize("wanted", ["jsonl", "csv", "parquet"])
def test_export_run_without_results_is_an_empty_table(make_run: MakeRun, tmp_path: Path, wanted: str) -> None:
    """A run that has nothing yet gives a file that can be read, with all columns and no row."""
    target = tmp_path / f"results.{wanted}"
    assert main(["export", str(make_run(waiting=2)), "--to", str(target)]) == 0
    if wanted == "parquet":
        assert parquet.read_table(target).num_rows == 0
    else:
        assert target.read_text().count("\n") == (wanted == "csv")


def test_export_to_a_file_is_whole_or_not_there(
    make_run: MakeRun, results: list[Result], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line that is no result leaves no file behind, neither the one asked for nor another; JSON lines still come."""
    run = make_run(results)
    with (run / "results.jsonl").open("rb+") as file:
        file.write(b"[")  # the same size, so that only its reader can tell
    before = sorted(tmp_path.iterdir())
    assert main(["export", str(run), "--to", str(tmp_path / "results.csv")]) == 2
    assert "results.jsonl, line 1: this is no result" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before
    assert main(["export", str(run), "--to", str(tmp_path / "results.jsonl")]) == 0


def test_export_to_a_file_that_exists_leaves_it_alone(
    make_run: MakeRun, results: list[Result], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is ever overwritten."""
    target = tmp_path / "results.csv"
    target.write_text("mine")
    assert main(["export", str(make_run(results)), "--to", str(target)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert target.read_text() == "mine"


def test_export_file_of_results_cut_short_is_damaged(
    make_run: MakeRun, results: list[Result], capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that has less than the run has recorded is reported, never passed off as all there is."""
    run = make_run(results)
    os.truncate(run / "results.jsonl", 40)
    assert main(["export", str(run), "--to", str(run / "x.jsonl")]) == 2
    assert "results.jsonl is damaged" in capsys.readouterr().err
    assert not (run / "x.jsonl").exists()


def test_export_parquet_without_its_package_says_what_to_type(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The extra is named."""
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    assert main(["export", str(make_run()), "--format", "parquet", "--to", "x"]) == 2
    assert "pip install 'browsercrawl[parquet]'" in capsys.readouterr().err


def test_export_disk_that_refuses_is_told_in_a_line(
    make_run: MakeRun, results: list[Result], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the output cannot be written the command fails with the reason, not with a traceback."""
    run = make_run(results)
    with Path("/dev/full").open("wb") as full:
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(full))
        assert main(["export", str(run)]) == 1
    assert "standard output cannot be written: No space left" in capsys.readouterr().err


def test_export_reader_that_leaves_ends_it_quietly(make_run: MakeRun, results: list[Result]) -> None:
    """`... | head -1` gives no traceback, nor anything else."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "browsercrawl", "export", str(make_run(results))]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, timeout=30, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (130, b"")


@pytest.mark.parametrize("wanted", ["jsonl", "csv"])
def test_export_terminal_is_not_steered_by_what_a_page_says(
    make_run: MakeRun, results: list[Result], monkeypatch: pytest.MonkeyPatch, wanted: str
) -> None:
    """On a terminal no escape sequence of a page's title gets through; Parquet is not written there at all."""
    title = results[0].model_copy(update={"title": "\x1b[2J\x9b1m\r\u202e"})
    run = make_run([title])
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        assert main(["export", str(run), "--format", wanted]) == 0
        shown = os.read(ours, 65_536).decode()
        assert main(["export", str(run), "--format", "parquet"]) == 2
    os.close(ours)
    assert "u202e" in shown
    assert not set(shown.replace("\r\n", "")) & set("\x1b\x9b\r\u202e")


def test_stored_lines_go_on_as_they_were_at_the_first(make_run: MakeRun, results: list[Result]) -> None:
    """What is written while an export goes on is not in it: it shows one instant, and needs no lock."""
    run = make_run(results[:2])
    lines = export.stored_lines(run)
    first = next(lines)
    size = (run / "results.jsonl").stat().st_size
    file = ResultFile(run / "results.jsonl", size=size)
    file.append(_lines(results[2:]))
    file.close()
    assert [first, *lines] == _lines(results[:2])
    assert isinstance(json.loads(first)["finished_at"], str)
    assert datetime.fromisoformat(json.loads(first)["finished_at"]) == results[0].finished_at
