"""A look at a store from outside: for telling how a run stands, while its process lives and after it died."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from browsercrawl.frontier.interface import FrontierCounts
from browsercrawl.frontier.sqlite import owners, schema
from browsercrawl.frontier.sqlite.rows import RunRow


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreView:
    """How a store stands, as its last commit left it.

    Attributes:
        lines: how many wait in the outbox.
        owners: who has it open, or died over it.
    """

    counts: FrontierCounts
    totals: Mapping[str, int]
    notes: Mapping[str, str]
    lines: int
    owners: tuple[str, ...]


def read_store(path: Path) -> StoreView:
    """Look at a store; nothing in it is changed, and nobody who writes it is held up.

    Raises:
        RunDamaged: it is damaged, no store, or of another version. OutputFailed: it cannot be read.
    """
    schema.check_header(path)
    try:
        is_still = not schema.has_journal(path)
        view = _read(path, still=is_still)
        if is_still and schema.has_journal(path):  # somebody began to write meanwhile
            view = _read(path, still=False)
    except sqlite3.Error as error:
        raise schema.unusable(path, error) from error
    return view


def _read(path: Path, *, still: bool) -> StoreView:
    database = schema.connect_to_read(path, still=still)
    try:
        database.execute("BEGIN")
        return StoreView(
            counts=RunRow(*database.execute("SELECT * FROM run").fetchone()).counts(),
            totals={name: number for name, number in database.execute("SELECT * FROM totals") if number},
            notes={name: schema.bytes_text(value) for name, value in database.execute("SELECT * FROM notes")},
            lines=database.execute("SELECT count(*) FROM outbox").fetchone()[0],
            owners=owners.names(database),
        )
    finally:
        database.close()
