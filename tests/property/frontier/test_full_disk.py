"""A really full disk: the store waits, says so, and goes on or gives up; nothing is half-written."""

import asyncio
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from browsercrawl.clock import SystemClock
from browsercrawl.errors import OutputFailed
from browsercrawl.frontier import Record
from browsercrawl.frontier.sqlite import SqliteFrontier, StoreOptions, make_store
from browsercrawl.politeness import HostRules
from browsercrawl.request import Request

_BYTES = 2_000_000


@contextmanager
def _small_disk(home: Path) -> Iterator[Path]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_BYTES}", "browsercrawl-test", home], check=True)
    try:
        yield home
    finally:
        subprocess.run(["umount", home], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB with a store on it, half of it taken by a file called `ballast`."""
    with _small_disk(tmp_path) as home:
        make_store(home / "run.sqlite", notes={})
        (home / "ballast").write_bytes(bytes(_BYTES // 2))
        yield home


class _Ear:
    """Hears what the store says about the disk."""

    def __init__(self) -> None:
        self.said: list[str | None] = []
        self._loop = asyncio.get_running_loop()
        self._more = asyncio.Event()

    def __call__(self, message: str | None) -> None:
        self._loop.call_soon_threadsafe(self._hear, message)

    async def hear(self) -> None:
        await self._more.wait()
        self._more.clear()

    def _hear(self, message: str | None) -> None:
        self.said.append(message)
        self._more.set()


async def _open(home: Path, ear: _Ear | None = None) -> SqliteFrontier:
    options = StoreOptions(on_full=ear)
    return await SqliteFrontier.open(
        home / "run.sqlite", clock=SystemClock(), rules_of=lambda _: HostRules(), options=options
    )


async def _fill(store: SqliteFrontier, stored: list[int]) -> None:
    """Store batch after batch, noting each that is."""
    while True:
        await store.schedule([Request(url=f"http://a.test/{len(stored)}/{page}/{'x' * 900}") for page in range(10)])
        stored.append(10)


async def test_store_on_a_full_disk_waits_and_goes_on_when_there_is_room(disk: Path) -> None:
    """It says so once, with the reason, and once when it is over; what waited is done then, once."""
    ear, stored = _Ear(), list[int]()
    store = await _open(disk, ear)
    filling = asyncio.ensure_future(_fill(store, stored))
    await ear.hear()
    assert ear.said == ["database or disk is full"]
    assert not filling.done()
    before = len(stored)
    (disk / "ballast").unlink()
    await ear.hear()
    assert ear.said == ["database or disk is full", None]
    filling.cancel()
    await asyncio.wait({filling})
    await store.ready_in()
    assert store.counts().stored >= 10 * (before + 1)  # the one that had to wait is stored
    assert store.counts().stored - sum(stored) in {0, 10}  # the one that was cancelled may be, too
    store.give_up()
    await store.close()


async def test_store_being_opened_on_a_full_disk_can_be_told_to_give_up(disk: Path) -> None:
    """Not even the opening waits for room for ever: whoever stops the run ends it, and a cancellation does, too."""
    await (await _open(disk)).close()
    filler = disk / "filler"
    with suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(bytes(4096))
            file.flush()
    os.truncate(filler, filler.stat().st_size - 9 * 4096)  # enough for the index of the journal, not for the journal
    for end in ("cancellation", "given up"):
        ear, given_up = _Ear(), threading.Event()
        options = StoreOptions(on_full=ear, given_up=given_up)
        opened = SqliteFrontier.open(
            disk / "run.sqlite", clock=SystemClock(), rules_of=lambda _: HostRules(), options=options
        )
        opening = asyncio.create_task(opened)
        await ear.hear()
        assert not opening.done()
        opening.cancel() if end == "cancellation" else given_up.set()
        async with asyncio.timeout(10):
            await asyncio.wait({opening})
        assert opening.cancelled() or isinstance(opening.exception(), OutputFailed)


async def test_store_told_to_give_up_waits_no_longer_and_has_lost_nothing(disk: Path) -> None:
    """Whoever waits gets an error that says what to do; when there is room the next process goes on."""
    ear, stored = _Ear(), list[int]()
    store = await _open(disk, ear)
    await store.schedule([Request(url="http://a.test/first")])
    (claim,) = await store.claim(owner="me", limit=1, lease_s=60)
    filling = asyncio.ensure_future(_fill(store, stored))
    await ear.hear()
    store.give_up()
    with pytest.raises(OutputFailed, match="free some space"):
        await filling
    with pytest.raises(OutputFailed, match="cannot be written"):
        await store.complete(claim, record=Record(ending="succeeded", line=b"x" * 500_000))
    await store.close()
    assert ear.said == ["database or disk is full"]
    (disk / "ballast").unlink()
    again = await _open(disk)
    assert again.returned in {0, 1}  # put back at the end, if there was room for that
    assert again.counts().stored == 1 + sum(stored)
    assert again.counts().finished == 0
    await again.close()
