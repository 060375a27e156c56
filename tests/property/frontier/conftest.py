"""The stores that must pass the conformance suite, and how each is opened."""

import itertools
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

from browsercrawl.frontier import Bounds, Frontier, MemoryFrontier, RulesOf, SessionLimitOf
from browsercrawl.frontier.sqlite import SqliteFrontier, StoreOptions, make_store
from browsercrawl.testing.virtual_clock import VirtualClock


class MemoryHarness:
    """Opens the store under test; this one ends with its process.

    Attributes:
        is_durable: it can be opened again, after `close` of the store or `crash` of its process.
    """

    is_durable = False

    async def open(
        self, clock: VirtualClock, rules_of: RulesOf, *, limits: SessionLimitOf, most: int | None, host_most: int | None
    ) -> Frontier:
        """Open the store; a durable one is found as it was left."""
        return MemoryFrontier(
            clock=clock, rules_of=rules_of, session_limit_of=limits, most=Bounds(requests=most, of_host=host_most)
        )

    def crash(self) -> None:
        """Go on with what would be there if the process died now."""
        raise NotImplementedError

    def close(self) -> None:
        """Leave nothing."""


class SqliteHarness(MemoryHarness):
    """A file in a directory of its own."""

    is_durable = True

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="store-"))
        self._path = self._home / "0.sqlite"
        make_store(self._path, notes={})

    async def open(
        self, clock: VirtualClock, rules_of: RulesOf, *, limits: SessionLimitOf, most: int | None, host_most: int | None
    ) -> Frontier:
        """Open the file; nobody else has it open."""
        options = StoreOptions(session_limit_of=limits, most=Bounds(requests=most, of_host=host_most))
        return await SqliteFrontier.open(self._path, clock=clock, rules_of=rules_of, options=options)

    def crash(self) -> None:
        """Copy what is on disk."""
        old, self._path = self._path, self._home / f"{int(self._path.stem) + 1}.sqlite"
        for end in ("", "-wal"):
            shutil.copyfile(f"{old}{end}", f"{self._path}{end}")

    def close(self) -> None:
        """Remove the file."""
        shutil.rmtree(self._home)


class SharedHarness(SqliteHarness):
    """Three stores on one file. Each call that changes something is another one's: nobody must see a difference."""

    is_durable = False

    async def open(
        self, clock: VirtualClock, rules_of: RulesOf, *, limits: SessionLimitOf, most: int | None, host_most: int | None
    ) -> Frontier:
        """Open the file three times. Their hearts beat in real time, so none is ever taken for dead."""
        options = StoreOptions(
            session_limit_of=limits,
            most=Bounds(requests=most, of_host=host_most),
            exclusive=False,
            owner_timeout_s=1_000_000.0,
        )
        stores = [
            await SqliteFrontier.open(self._path, clock=clock, rules_of=rules_of, options=options) for _ in range(3)
        ]
        return _Several(stores)


class _Several:
    def __init__(self, stores: list[SqliteFrontier]) -> None:
        self._stores = stores
        self._turns = itertools.cycle(stores)
        self._store = stores[0]

    def __getattr__(self, name: str) -> Any:
        if name in {
            "schedule",
            "refuse",
            "claim",
            "complete",
            "release",
            "defer",
            "restrain",
            "limit_session",
            "emptied",
            "note",
        }:
            self._store = next(self._turns)
        return getattr(self._store, name)

    async def close(self) -> None:
        for store in self._stores:
            await store.close()


HARNESSES = {"memory": MemoryHarness, "sqlite": SqliteHarness, "sqlite, shared": SharedHarness}


@pytest.fixture(params=sorted(HARNESSES))
def harness(request: pytest.FixtureRequest) -> type[MemoryHarness]:
    """Each store there is."""
    return HARNESSES[request.param]
