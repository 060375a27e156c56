"""The file of a durable store: who may read it, what is no such file, and that looking at it leaves no trace."""

import asyncio
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from browsercrawl.clock import SystemClock
from browsercrawl.errors import OutputFailed, RunDamaged
from browsercrawl.frontier import Record
from browsercrawl.frontier.sqlite import SqliteFrontier, make_store, read_store
from browsercrawl.politeness import HostRules
from browsercrawl.request import Request


async def _open(path: Path) -> SqliteFrontier:
    return await SqliteFrontier.open(path, clock=SystemClock(), rules_of=lambda _: HostRules())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with 3,000 requests, closed."""
    path = tmp_path / "run.sqlite"
    make_store(path, notes={"run_id": "r1"})

    async def fill() -> None:
        store = await _open(path)
        await store.schedule([Request(url=f"http://a.test/{page}") for page in range(3000)])
        await store.close()

    asyncio.run(fill())
    return path


def _names(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir())


def _header(at: int, value: int) -> Callable[[bytes], bytes]:
    return lambda content: content[:at] + value.to_bytes(4, "big") + content[at + 4 :]


def _other_database(_: bytes) -> bytes:
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE t (a)")
    content = database.serialize()
    database.close()
    return content


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "no SQLite database"),
    "text": (lambda _: b"{}\n" * 100, "no SQLite database"),
    "another program's": (_other_database, "not one of a run"),
    "older": (_header(60, 0), "an older browsercrawl"),
    "newer": (_header(60, 99), "a newer browsercrawl"),
    "cut": (lambda content: content[: len(content) // 2 // 4096 * 4096], "cannot be used"),
    "overwritten": (
        lambda content: content[: 5 * 4096] + b"\xa5" * 65536 + content[5 * 4096 + 65536 :],
        "cannot be used",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_store_damaged_or_foreign_file_is_refused_and_left_as_it_is(path: Path, damage: str) -> None:
    """A clear error that names the file; not a byte of it is changed, and nothing is left beside it."""
    change, said = DAMAGE[damage]
    path.write_bytes(change(path.read_bytes()))
    content = path.read_bytes()
    with pytest.raises(RunDamaged, match=said) as caught:
        asyncio.run(_open(path))
    assert str(path) in str(caught.value)
    assert path.read_bytes() == content
    assert _names(path) == [path.name]


def test_store_damaged_below_a_journal_is_left_as_it_is_with_it(path: Path, tmp_path: Path) -> None:
    """After a kill changes wait beside the file: a refused opening does not copy them into it."""
    copy = tmp_path / "copy" / path.name
    copy.parent.mkdir()

    async def die() -> None:
        store = await _open(path)
        await store.schedule([Request(url="http://b.test/")])
        for end in ("", "-wal"):
            shutil.copyfile(f"{path}{end}", f"{copy}{end}")
        await store.close()

    asyncio.run(die())
    copy.write_bytes(DAMAGE["overwritten"][0](copy.read_bytes()))
    content, journal = copy.read_bytes(), Path(f"{copy}-wal").read_bytes()
    assert journal
    with pytest.raises(RunDamaged):
        asyncio.run(_open(copy))
    assert (copy.read_bytes(), Path(f"{copy}-wal").read_bytes()) == (content, journal)


@pytest.mark.parametrize("damage", ["empty", "another program's", "newer", "overwritten"])
def test_read_store_of_a_damaged_file_says_so_and_leaves_it_as_it_is(path: Path, damage: str) -> None:
    """`status` of a damaged run is an error, not a traceback."""
    damaged = DAMAGE[damage][0](path.read_bytes()) if damage != "overwritten" else b"\xa5" * 40_000
    path.write_bytes(damaged)
    with pytest.raises(RunDamaged):
        read_store(path)
    assert path.read_bytes() == damaged
    assert _names(path) == [path.name]


async def test_store_and_what_stands_beside_it_are_its_owners_alone(path: Path) -> None:
    """URLs may hold secrets: nobody else may read the file, nor its journal."""
    store = await _open(path)
    await store.note({"a": "b"})
    assert len(_names(path)) == 3
    assert {each.stat().st_mode & 0o777 for each in path.parent.iterdir()} == {0o600}
    await store.close()
    assert _names(path) == [path.name]


def test_make_store_where_a_file_stands_overwrites_nothing(tmp_path: Path) -> None:
    """Making a store never costs anybody his data."""
    path = tmp_path / "run.sqlite"
    path.write_text("mine")
    with pytest.raises(OutputFailed, match="cannot be made"):
        make_store(path, notes={})
    assert path.read_text() == "mine"


async def test_read_store_while_it_is_open_and_after_sees_what_was_committed(path: Path) -> None:
    """It neither waits for the writer nor changes or leaves anything."""
    store = await _open(path)
    (claim,) = await store.claim(owner="me", limit=1, lease_s=60)
    await store.complete(claim, record=Record(ending="succeeded", line=b"{}", counts={"retried": 1}))
    await store.claim(owner="me", limit=2, lease_s=60)
    view = read_store(path)
    assert (view.counts.finished, view.counts.claimed, view.counts.stored) == (1, 2, 3000)
    assert (view.totals, view.notes, view.lines) == ({"succeeded": 1, "retried": 1}, {"run_id": "r1"}, 1)
    assert len(view.owners) == 1
    await store.close()


def test_read_store_that_nobody_has_open_leaves_no_trace(path: Path) -> None:
    """Also where it may not be written."""
    path.chmod(0o400)
    content = path.read_bytes()
    assert read_store(path).counts.queued == 3000
    assert path.read_bytes() == content
    assert _names(path) == [path.name]
