"""`browsercrawl export`: a run's results as JSON lines, as a table for spreadsheets, or as Parquet.

What is exported is the run as of one instant: the lines of `results.jsonl` that its store vouches for, and those that
wait in the store to be written there. So every finished request is there once, whether the run is going on, was killed
or is over. One batch of rows is in memory at a time.
"""

import csv
import io
import json
import os
import sqlite3
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, cast

from browsercrawl.cli.arguments import BadUsage, Grammar, Option, one_of
from browsercrawl.cli.status import STORE, one_run
from browsercrawl.cli.terminal import count_of, harmless_json, printable, shown_bytes
from browsercrawl.errors import OutputFailed, RunDamaged
from browsercrawl.frontier.sqlite import schema
from browsercrawl.output import record_of
from browsercrawl.result import ResultRecord, Timings

ROWS = 10_000
"""Rows of a row group of Parquet at most."""

ROWS_BYTES = 16_000_000
"""A row group ends when its lines in `results.jsonl` have so many bytes."""

_RESULTS = "results.jsonl"
_FORMATS = ("jsonl", "csv", "parquet")
_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""A cell that begins so is taken for a formula by spreadsheet programs (OWASP, "CSV Injection")."""
_PASSED_OVER = "\0 \u00a0\u200b\ufeff"
"""Some of them look behind these."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its name, its type in Parquet, and where its value comes from (None: no value)."""

    name: str
    kind: str
    value: Callable[[ResultRecord], object]


def _plain(name: str, kind: str = "string") -> Column:
    return Column(name, kind, lambda record: getattr(record, name))


def _of_error(part: str) -> Column:
    return Column(f"error_{part}", "string", lambda record: getattr(record.error, part) if record.error else None)


def _of_timings(name: str) -> Column:
    return Column(name, "double", lambda record: getattr(record.timings, name))


COLUMNS = (
    *(_plain(name) for name in ("request_id", "url", "final_url", "outcome")),
    _plain("http_status", "int32"),
    _plain("content_type"),
    _plain("partial", "bool"),
    _plain("title"),
    *(_of_error(part) for part in ("kind", "message", "phase", "disposition")),
    _plain("skip_reason"),
    _plain("attempts", "int32"),
    *(_plain(name) for name in ("session", "label")),
    _plain("depth", "int32"),
    _plain("parent_url"),
    _plain("links", "int64"),
    *(_of_timings(name) for name in Timings.model_fields),
    *(_plain(name, "int64") for name in ("transferred_bytes", "refused_connections")),
    *(_plain(name, "timestamp") for name in ("started_at", "finished_at")),
    Column("data", "string", lambda record: _json(record.data) if record.data else None),
    Column("artifacts", "artifacts", lambda record: [each.model_dump() for each in record.artifacts]),
)
"""Of CSV and Parquet, which writes `artifacts` as a list of structures; everything else is flat."""

GRAMMAR = Grammar(
    command="export",
    summary="Write a run's results as JSON lines, CSV or Parquet.",
    details=(
        (
            "There is one line or row for each request that has its result, also while the run is going on and after "
            f"it was killed. CSV and Parquet have the columns {', '.join(column.name for column in COLUMNS)}; data is "
            "JSON, and so is artifacts in CSV, where an empty cell means that there is nothing."
        ),
        (
            "Pages may say anything, and spreadsheet programs run what begins with = + - or @ as a formula: in CSV "
            "such a text gets an apostrophe in front. JSON lines and Parquet have every text as it is."
        ),
        "Exit codes: 0 well, 1 the file cannot be written, 2 bad usage, no such run, or a damaged one.",
    ),
    operands="RUN_DIR",
    operands_help="The run's directory.",
    options=(
        Option(
            flag="--format",
            metavar="FORMAT",
            group="Output",
            read=one_of(_FORMATS),
            default="as the name after --to ends, else jsonl",
            help="jsonl, csv or parquet (which needs pip install 'browsercrawl[parquet]').",
        ),
        Option(
            flag="--to",
            metavar="FILE",
            group="Output",
            read=Path,
            default="standard output",
            help="Write this file: it is there whole or not at all, and must not exist before.",
        ),
    ),
    examples=(
        ("a table for a spreadsheet", "browsercrawl export runs/mine --to results.csv"),
        ("typed and compact, for data tools", "browsercrawl export runs/mine --to results.parquet"),
        (
            "addresses of what failed so far",
            "browsercrawl export runs/mine | jq -r 'select(.outcome == \"failed\") | .url'",
        ),
    ),
)


def execute(arguments: Namespace) -> int:
    """Export and return the exit code."""
    given: dict[str, Any] = vars(arguments)
    run, target = one_run(given["operands"], "export"), cast("Path | None", given.get("to"))
    suffix = target.suffix.lower().lstrip(".") if target else ""
    wanted: str = given.get("format") or (suffix if suffix in _FORMATS else "jsonl")
    if wanted == "parquet" and target is None and sys.stdout.isatty():
        raise BadUsage("Parquet is no text for a terminal; add --to FILE")
    write = writer_of(wanted)
    with closing(stored_lines(run)) as lines, _opened(target) as sink:
        count = write(lines, sink)
    if target is not None:
        size = shown_bytes(target.stat().st_size)
        print(f"browsercrawl: {count_of(count, 'result')} in {printable(str(target))} ({size})", file=sys.stderr)
    return 0


def stored_lines(run: Path) -> Generator[bytes, None, None]:
    """Yield the line of each request that has its result at the instant of the first one, in order, without newline.

    Args:
        run: its directory; what is going on there goes on.

    Raises:
        RunDamaged: the store or the file of results cannot be used. OutputFailed: they cannot be read.
    """
    file, unwritten = _opened_results(run)
    left = unwritten.results_size
    try:
        with file:
            while left > 0 and (line := file.readline()).endswith(b"\n"):
                left -= len(line)
                yield line[:-1]
    except OSError as error:
        raise OutputFailed(f"{run / _RESULTS} cannot be read: {error.strerror or error}") from error
    if left:
        raise RunDamaged(f"{run / _RESULTS} is damaged: no line ends where the run has recorded an end")
    yield from unwritten.lines


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unwritten:
    """What a store says about the file of results, as of one instant.

    Attributes:
        results_size: bytes of it that count.
        is_swapping: another file is being put in its place.
        lines: those that are not in it.
    """

    results_size: int
    is_swapping: bool
    lines: tuple[bytes, ...]


def _opened_results(run: Path) -> tuple[BinaryIO, _Unwritten]:
    """Open the file of results that the store speaks of: `retry-failed` may be putting another in its place."""
    results, fresh = run / _RESULTS, run / f"{_RESULTS}.new"
    schema.check_header(run / STORE)
    while True:
        file = _open(results)
        try:
            unwritten = _read_unwritten(run / STORE)
        except BaseException:
            file.close()
            raise
        if unwritten.is_swapping:
            file.close()
            return _open(fresh if fresh.exists() else results), unwritten
        if not results.exists() or os.path.samestat(os.fstat(file.fileno()), results.stat()):
            return file, unwritten
        file.close()


def _read_unwritten(path: Path) -> _Unwritten:
    try:
        while True:
            is_still = not schema.has_journal(path)
            database = schema.connect_to_read(path, still=is_still)
            try:
                database.execute("BEGIN")
                notes = {name: schema.bytes_text(value) for name, value in database.execute("SELECT * FROM notes")}
                lines = tuple(line for (line,) in database.execute("SELECT line FROM outbox ORDER BY number"))
            finally:
                database.close()
            if not (is_still and schema.has_journal(path)):  # else somebody began to write meanwhile
                break
    except sqlite3.Error as error:
        raise schema.damaged(path, str(error)) from error
    return _Unwritten(
        results_size=int(notes.get("results_size") or 0), is_swapping=bool(notes.get("results_swap")), lines=lines
    )


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise RunDamaged(f"{path} cannot be read: {error.strerror or error}") from error


Write = Callable[[Iterable[bytes], BinaryIO], int]
"""Writes the lines of a run into a file and returns how many they were."""


def writer_of(wanted: str) -> Write:
    """Return what writes a format.

    Raises:
        BadUsage: it needs a package that is not installed.
    """
    if wanted != "parquet":
        return write_csv if wanted == "csv" else write_jsonl
    if find_spec("pyarrow") is None:
        raise BadUsage("--format parquet needs pyarrow; type: pip install 'browsercrawl[parquet]'")
    return write_parquet


def write_jsonl(lines: Iterable[bytes], sink: BinaryIO) -> int:
    """Write the lines as they are."""
    count = 0
    for line in lines:
        sink.write(line + b"\n")
        count += 1
    return count


def write_csv(lines: Iterable[bytes], sink: BinaryIO) -> int:
    """Write a table as RFC 4180 has it: UTF-8, a row of names, quotes where needed, lines that end in CR LF.

    Raises:
        RunDamaged: a line is no result.
    """
    text = io.TextIOWrapper(sink, encoding="utf-8", errors="replace", newline="", write_through=True)
    try:
        table = csv.writer(text)
        table.writerow(column.name for column in COLUMNS)
        count = 0
        for record in _records(lines):
            table.writerow(_cell(column.value(record)) for column in COLUMNS)
            count += 1
        return count
    finally:
        text.detach()  # the file is the caller's


def write_parquet(lines: Iterable[bytes], sink: BinaryIO) -> int:
    """Write typed columns, compressed with Zstandard, in row groups of at most `ROWS` rows.

    Raises:
        RunDamaged: a line is no result.
    """
    import pyarrow as pa  # type: ignore[import-untyped]  # no stubs  # noqa: PLC0415 - an extra, and slow to load
    from pyarrow import parquet  # noqa: PLC0415 - same

    artifact = pa.struct(
        [
            *((name, "string") for name in ("name", "path")),
            ("bytes", "int64"),
            *((name, "string") for name in ("source", "content_type", "sha256")),
        ]
    )
    types = {"timestamp": pa.timestamp("us", tz="UTC"), "artifacts": pa.list_(artifact)}
    schema = pa.schema([(column.name, types.get(column.kind, column.kind)) for column in COLUMNS])
    count = 0
    with parquet.ParquetWriter(_Counted(sink), schema, compression="zstd") as table:
        for group in _groups(lines):
            rows = [{column.name: column.value(record) for column in COLUMNS} for record in _records(group, count)]
            table.write_batch(pa.RecordBatch.from_pylist(rows, schema=schema))
            count += len(rows)
    return count


def _records(lines: Iterable[bytes], before: int = 0) -> Iterator[ResultRecord]:
    for number, line in enumerate(lines, start=before + 1):
        try:
            yield record_of(line)
        except ValueError as error:
            raise RunDamaged(
                f"{_RESULTS}, line {number}: this is no result ({error}); --format jsonl exports lines as they are"
            ) from error


def _groups(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    group: list[bytes] = []
    size = 0
    for line in lines:
        group.append(line)
        size += len(line)
        if len(group) >= ROWS or size >= ROWS_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _cell(value: object) -> object:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f"'{value}" if value.lstrip(_PASSED_OVER).startswith(_FORMULA) else str(value)
        case list():
            return _json(value) if value else ""
        case None | int() | float():
            return value
    return str(value.isoformat()).replace("+00:00", "Z")  # type: ignore[attr-defined]  # a datetime


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class _Counted(io.RawIOBase):
    """A file that is only written to, and knows how much: Parquet asks for that, and a pipe does not tell."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._file.write(data)
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        return self._size


class _Screen(io.RawIOBase):
    """Writes lines to a terminal so that nothing a page supplied can steer it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        text = bytes(data).decode("utf-8", "replace").replace("\r\n", "\n")
        self._file.write(printable(harmless_json(text)).encode())
        return len(data)


@contextmanager
def _opened(target: Path | None) -> Iterator[BinaryIO]:
    """Open where to write; a file gets its name when it is whole and safe.

    Raises:
        BadUsage: the file exists already. OutputFailed: it cannot be written.
    """
    name = "standard output" if target is None else str(target)
    try:
        if target is None:
            with open(sys.stdout.fileno(), "wb", closefd=False) as out:
                yield cast("BinaryIO", _Screen(out)) if out.isatty() else out
            return
        _refuse_existing(target)
        descriptor, fresh = tempfile.mkstemp(prefix=f".{target.name}.new-", dir=target.parent)  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            _refuse_existing(target)  # made by somebody else meanwhile
            Path(fresh).rename(target)
        except BaseException:
            Path(fresh).unlink(missing_ok=True)
            raise
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputFailed(f"{name} cannot be written: {error.strerror or error}") from error


def _refuse_existing(target: Path) -> None:
    if os.path.lexists(target):
        raise BadUsage(f"--to {target}: exists already; name another file or remove it")
