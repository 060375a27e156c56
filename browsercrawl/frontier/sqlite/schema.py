"""The file: its tables, how it is made, opened and checked.

What a row means is told by the model it is read into (`rows.py`), whose fields are in the order of the columns. Times
are on the store's own time line (`timeline.py`). The file is made in WAL mode: readers never wait for the writer, nor
it for them.
"""

import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from browsercrawl.errors import OutputFailed, RunDamaged

APPLICATION_ID = 0x62637231
"""Stands in the header of every file of ours, so that it cannot be taken for another program's."""
VERSION = 3
"""Of the tables; a file of another version is left alone."""

WAIT_FOR_OTHERS_S = 5.0
"""SQLite itself waits so long for another process's transaction; then we do (`thread.py`)."""

_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_CHECKED_BYTES_MAX = 256 * 2**20
"""Up to this size each page is looked at when a run is opened; more would take seconds."""

_TABLES = """
CREATE TABLE run (  -- one row: what is counted over all, and the numbers to give next
    now REAL, wall REAL, opening INTEGER NOT NULL, rules INTEGER NOT NULL,
    turn INTEGER NOT NULL, line INTEGER NOT NULL, slot INTEGER NOT NULL, lane INTEGER NOT NULL,
    stored INTEGER NOT NULL, queued INTEGER NOT NULL, waiting INTEGER NOT NULL, parked INTEGER NOT NULL,
    retrying INTEGER NOT NULL, claimed INTEGER NOT NULL, finished INTEGER NOT NULL, duplicates INTEGER NOT NULL
);
INSERT INTO run VALUES (NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);

CREATE TABLE known (id BLOB PRIMARY KEY) WITHOUT ROWID;

CREATE TABLE paths (  -- links that differ in their query only, counted where there is a limit
    key BLOB PRIMARY KEY, stored INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE requests (
    number INTEGER PRIMARY KEY,  -- in the order of storing
    id BLOB NOT NULL, slot INTEGER NOT NULL, lane INTEGER NOT NULL, state INTEGER NOT NULL, rank INTEGER NOT NULL,
    attempt INTEGER NOT NULL, stalls INTEGER NOT NULL, token INTEGER NOT NULL, stored_at REAL NOT NULL,
    since REAL NOT NULL, paused_s REAL NOT NULL, held_from_s REAL NOT NULL,
    until REAL, store INTEGER, owner BLOB, refused INTEGER, memo BLOB, ending TEXT,
    body NOT NULL
);
CREATE INDEX requests_queued ON requests (lane, rank) WHERE state = 0;
CREATE INDEX requests_due ON requests (slot, state, until) WHERE until IS NOT NULL;
CREATE INDEX requests_ending ON requests (ending) WHERE ending IS NOT NULL;

CREATE TABLE slots (
    number INTEGER PRIMARY KEY, host TEXT NOT NULL UNIQUE,
    rules INTEGER NOT NULL, delay_s REAL NOT NULL, pace_s REAL NOT NULL, jitter REAL NOT NULL, concurrency_max INTEGER,
    state INTEGER NOT NULL, since REAL NOT NULL, held_s REAL NOT NULL, open_at REAL NOT NULL,
    stored INTEGER NOT NULL, queued INTEGER NOT NULL, parked INTEGER NOT NULL, claimed INTEGER NOT NULL,
    retrying INTEGER NOT NULL, refusals INTEGER NOT NULL, refused INTEGER NOT NULL, failures INTEGER NOT NULL,
    trust INTEGER NOT NULL, forgive_at REAL NOT NULL, aside INTEGER NOT NULL,
    best_lane INTEGER, best_rank INTEGER, best_turn INTEGER, alarm REAL, chance REAL
);
CREATE INDEX slots_ready ON slots (best_rank, best_turn) WHERE best_rank IS NOT NULL;
CREATE INDEX slots_alarm ON slots (alarm) WHERE alarm IS NOT NULL;
CREATE INDEX slots_chance ON slots (chance) WHERE chance IS NOT NULL;

CREATE TABLE lanes (
    number INTEGER PRIMARY KEY, slot INTEGER NOT NULL, session BLOB NOT NULL,
    members INTEGER NOT NULL, queued INTEGER NOT NULL, passed INTEGER NOT NULL, head INTEGER,
    limited INTEGER NOT NULL, parked INTEGER NOT NULL, rank INTEGER, turn INTEGER NOT NULL, aside INTEGER NOT NULL,
    UNIQUE (session, slot)
);
CREATE INDEX lanes_ranked ON lanes (slot, rank, turn) WHERE rank IS NOT NULL;
CREATE INDEX lanes_warm ON lanes (session, rank, turn) WHERE rank IS NOT NULL AND aside = 0;
CREATE INDEX lanes_aside ON lanes (slot) WHERE aside = 1;

CREATE TABLE sessions (
    key BLOB PRIMARY KEY, rules INTEGER NOT NULL, claims_max INTEGER, claimed INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE outbox (number INTEGER PRIMARY KEY, line BLOB NOT NULL);
CREATE TABLE totals (name TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE notes (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE owners (store INTEGER PRIMARY KEY, name TEXT NOT NULL, beat REAL NOT NULL);
"""


def text_bytes(text: str) -> bytes:
    """Return any string as bytes: also one that is no proper Unicode, as names of files may be."""
    return text.encode("utf-8", "surrogatepass")


def bytes_text(stored: bytes) -> str:
    """Return the string that `text_bytes` was given."""
    return stored.decode("utf-8", "surrogatepass")


def make_store(path: Path, *, notes: Mapping[str, str]) -> None:
    """Create the store of a new run: one file, readable by its owner only.

    Args:
        path: must not exist.
        notes: what `Frontier.notes` shall give.

    Raises:
        OutputFailed: it cannot be written, or exists.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        _fill(path, notes)
    except (OSError, sqlite3.Error) as error:
        raise OutputFailed(f"the run's store {path} cannot be made: {error}") from error


def _fill(path: Path, notes: Mapping[str, str]) -> None:
    database = sqlite3.connect(path, isolation_level=None)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("BEGIN")
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {VERSION}")
        for statement in _TABLES.split(";\n"):
            database.execute(statement)
        database.executemany("INSERT INTO notes VALUES (?, ?)", [(name, text_bytes(notes[name])) for name in notes])
        database.execute("COMMIT")
    finally:
        database.close()


def connect(path: Path) -> sqlite3.Connection:
    """Open a checked file for reading and writing; the connection belongs to the thread that calls."""
    database = sqlite3.connect(_uri(path, "mode=rw"), uri=True, isolation_level=None, timeout=WAIT_FOR_OTHERS_S)
    try:
        # NORMAL: a commit survives the death of the process; the last moments before a power failure may be lost,
        # never the file. The journal is copied back in large portions: pages written often are then copied once.
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute("PRAGMA cache_size = -65536")
        database.execute("PRAGMA wal_autocheckpoint = 8000")
        database.execute("PRAGMA journal_size_limit = 67108864")
        database.execute("PRAGMA secure_delete = OFF")
        database.execute("PRAGMA temp_store = MEMORY")
    except BaseException:
        database.close()
        raise
    return database


def connect_to_read(path: Path, *, still: bool) -> sqlite3.Connection:
    """Open a checked file for reading only.

    Args:
        path: of the store.
        still: nobody writes it: then not even a lock is taken, and nothing is left beside the file.
    """
    how = "mode=ro&immutable=1" if still else "mode=ro"
    return sqlite3.connect(_uri(path, how), uri=True, isolation_level=None, timeout=WAIT_FOR_OTHERS_S)


def has_journal(path: Path) -> bool:
    """Tell whether changes wait beside the file: somebody has it open, or died over it."""
    try:
        return path.with_name(path.name + "-wal").stat().st_size > 0
    except FileNotFoundError:
        return False


def check(path: Path, *, pages: bool) -> None:
    """Make sure that a file is a store of this version, without changing a byte of it.

    Args:
        path: of the store.
        pages: look at its pages too, unless it is very large; else damage shows when it is met.

    Raises:
        RunDamaged: it is not, or is damaged. OutputFailed: it cannot be read.
    """
    check_header(path)
    if not pages:
        return
    database = connect_to_read(path, still=not has_journal(path))
    try:
        count, size = (database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        if not has_journal(path) and path.stat().st_size < count * size:
            raise damaged(path, f"it has {path.stat().st_size:,} bytes and should have {count * size:,}")
        database.execute("SELECT now FROM run").fetchone()
        if count * size <= _CHECKED_BYTES_MAX:
            (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise damaged(path, found)
    except sqlite3.Error as error:
        raise unusable(path, error) from error
    finally:
        database.close()


def check_header(path: Path) -> None:
    """Make sure that a file is a store of this version, by its first bytes.

    Raises:
        RunDamaged: it is not, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except OSError as error:
        raise damaged(path, error.strerror or str(error)) from error
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        raise damaged(path, "it is no SQLite database")
    version, application = int.from_bytes(header[60:64], "big"), int.from_bytes(header[68:72], "big")
    if application != APPLICATION_ID:
        raise damaged(path, "it is a database, but not one of a run")
    if version != VERSION:
        age = "a newer" if version > VERSION else "an older"
        raise RunDamaged(
            f"the run's store {path} was made by {age} browsercrawl (version {version} of its tables, this one knows "
            f"{VERSION}); go on with that browsercrawl, or begin a new run. The file was left as it is"
        )


def unusable(path: Path, error: sqlite3.Error) -> RunDamaged | OutputFailed:
    """Return the error for a file that SQLite cannot read."""
    code = getattr(error, "sqlite_errorcode", 0)
    if code & 0xFF in _DAMAGE or code == sqlite3.SQLITE_IOERR_SHORT_READ:
        return damaged(path, str(error))
    return OutputFailed(f"the run's store {path} cannot be used: {error}")


def damaged(path: Path, why: str) -> RunDamaged:
    """Return the error for a file that cannot be used."""
    return RunDamaged(f"the run's store {path} cannot be used: {why}. The file was left as it is; begin a new run")


def _uri(path: Path, how: str) -> str:
    return f"{path.absolute().as_uri()}?{how}"
