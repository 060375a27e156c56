"""Real processes on one file: what they share, and what is left of one that was stopped or killed."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from browsercrawl.clock import SystemClock
from browsercrawl.frontier import Claim, Record
from browsercrawl.frontier.sqlite import SqliteFrontier, StoreOptions, make_store, read_store
from browsercrawl.politeness import HostRules
from browsercrawl.request import Request

TIMEOUT_S = 1.0
"""An owner silent for so long is taken for dead."""

_CHILD = """
import asyncio, json, sys
from pathlib import Path
from browsercrawl.clock import SystemClock
from browsercrawl.frontier import Record
from browsercrawl.frontier.sqlite import SqliteFrontier, StoreOptions
from browsercrawl.politeness import HostRules
from browsercrawl.request import Request

DONE = Record(ending="succeeded", line=b"{}")

async def main(path, exclusive, timeout_s):
    store = await SqliteFrontier.open(
        Path(path), clock=SystemClock(), rules_of=lambda _: HostRules(),
        options=StoreOptions(exclusive=exclusive, owner_timeout_s=timeout_s),
    )
    claims, pages = [], 0
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        if order == "claim":
            new = await store.claim(owner="child", limit=3, lease_s=1000.0)
            claims += new
            answer = [claim.request.id for claim in new]
        elif order == "complete":
            answer = [await store.complete(claim, record=DONE) is not None for claim in claims]
            claims.clear()
        else:  # store for ever, and say after each batch how much is stored
            while True:
                await store.schedule([Request(url=f"http://c.test/{pages + n}") for n in range(7)])
                pages += 7
                print(pages, flush=True)
        print(json.dumps(answer), flush=True)
    await store.close()

asyncio.run(main(*json.loads(sys.argv[1])))
"""


class _Child:
    """A process that has the store open and does as it is told."""

    def __init__(self, path: Path, *, exclusive: bool = False) -> None:
        terms = json.dumps([str(path), exclusive, TIMEOUT_S])
        self.process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, terms], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._path = path

    def send(self, order: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def read(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def ask(self, order: str) -> Any:
        self.send(order)
        return self.read()

    def stop(self) -> None:
        """Stop it outside of a transaction: the kernel would keep that one's lock for it."""
        while True:
            os.kill(self.process.pid, signal.SIGSTOP)
            other = sqlite3.connect(self._path, timeout=0, isolation_level=None)
            try:
                other.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError:
                os.kill(self.process.pid, signal.SIGCONT)
            finally:
                other.close()

    def end(self) -> None:
        """Let it close the store, or kill it if it is in no state to; nothing of it is left."""
        with self.process as process:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGCONT)
                assert process.stdin is not None
                process.stdin.close()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with 30 requests."""
    path = tmp_path / "run.sqlite"
    make_store(path, notes={})

    async def fill() -> None:
        store = await SqliteFrontier.open(path, clock=SystemClock(), rules_of=lambda _: HostRules())
        await store.schedule([Request(url=f"http://h{page % 4}.test/{page}") for page in range(30)])
        await store.close()

    asyncio.run(fill())
    return path


@pytest.fixture
def child(path: Path) -> Iterator[Callable[..., _Child]]:
    """Starts processes on the store and ends them."""
    children: list[_Child] = []

    def start(*, exclusive: bool = False) -> _Child:
        children.append(_Child(path, exclusive=exclusive))
        return children[-1]

    yield start
    for each in children:
        each.end()


async def _open(path: Path, *, exclusive: bool) -> SqliteFrontier:
    options = StoreOptions(exclusive=exclusive, owner_timeout_s=TIMEOUT_S)
    return await SqliteFrontier.open(path, clock=SystemClock(), rules_of=lambda _: HostRules(), options=options)


async def _claim_all(store: SqliteFrontier, number: int) -> list[Claim]:
    """Claim so many, waiting for them as the store says."""
    claims = await store.claim(owner="parent", limit=number, lease_s=1000.0)
    while len(claims) < number:
        ready_in = await store.ready_in()
        assert ready_in is not None
        await asyncio.sleep(ready_in)
        claims += await store.claim(owner="parent", limit=number, lease_s=1000.0)
    return claims


def test_processes_that_share_a_file_never_hold_the_same_request(child: Callable[..., _Child], path: Path) -> None:
    """Each request is claimed once and finished once, whichever of three processes gets it."""
    children = [child() for _ in range(3)]
    claimed: list[str] = []
    while True:
        for each in children:
            each.send("claim")
        got = [each.read() for each in children]
        claimed += [id_ for ids in got for id_ in ids]
        assert all(all(each.ask("complete")) for each in children)
        if not any(got):
            break
    assert len(claimed) == len(set(claimed)) == 30
    view = read_store(path)
    assert (view.counts.finished, view.totals, view.lines) == (30, {"succeeded": 30}, 30)


def test_processes_that_share_a_file_share_the_limits_of_sessions(child: Callable[..., _Child], path: Path) -> None:
    """A limit told through one counts in all, and so do the claims of all."""
    other = child()
    assert len(other.ask("claim")) == 3

    async def share() -> None:
        store = await _open(path, exclusive=False)
        await store.limit_session("", 4)
        assert len(await store.claim(owner="parent", limit=99, lease_s=1000.0)) == 1
        assert await asyncio.to_thread(other.ask, "claim") == []
        assert read_store(path).counts.parked == 26
        assert await asyncio.to_thread(other.ask, "complete") == [True] * 3
        assert len(await store.claim(owner="parent", limit=99, lease_s=1000.0)) == 3
        await store.close()

    asyncio.run(share())


def test_process_that_is_stopped_loses_its_claims_and_is_refused_afterwards(
    child: Callable[..., _Child], path: Path
) -> None:
    """Another gets them with a stall when it has been silent for long enough; until then, and else, nobody does."""
    stopped = child()
    held = set(stopped.ask("claim"))
    stopped.stop()

    async def take_over() -> None:
        store = await _open(path, exclusive=False)
        others = await store.claim(owner="parent", limit=99, lease_s=1000.0)
        assert held.isdisjoint(claim.request.id for claim in others)
        assert len(others) == 27
        late = await _claim_all(store, 3)
        assert {claim.request.id for claim in late} == held
        assert [(claim.attempt, claim.stalls) for claim in late] == [(1, 1)] * 3
        os.kill(stopped.process.pid, signal.SIGCONT)
        assert await asyncio.to_thread(stopped.ask, "complete") == [False] * 3
        for claim in late:
            assert await store.complete(claim, record=Record(ending="succeeded")) == []
        await store.close()

    asyncio.run(take_over())
    assert read_store(path).counts.finished == 3


def test_process_that_shows_it_lives_keeps_its_claims(child: Callable[..., _Child], path: Path) -> None:
    """However long a visit takes: an idle owner's heart beats."""
    alive = child()
    alive.ask("claim")

    async def wait() -> None:
        store = await _open(path, exclusive=False)
        await _claim_all(store, 27)
        for _ in range(3):
            await asyncio.sleep(await store.ready_in() or 0.0)  # until it could be dead, were it silent
            assert await store.claim(owner="parent", limit=9, lease_s=1000.0) == []
        await store.close()

    asyncio.run(wait())
    assert alive.ask("complete") == [True] * 3


def test_process_that_was_killed_loses_its_claims_to_who_shares_the_file(
    child: Callable[..., _Child], path: Path
) -> None:
    """Its requests are not lost, and it is gone from the owners."""
    killed = child()
    held = set(killed.ask("claim"))

    async def take_over() -> None:
        store = await _open(path, exclusive=False)
        killed.process.kill()
        killed.process.wait()
        claims = await _claim_all(store, 30)
        assert {claim.request.id for claim in claims if claim.stalls} == held
        assert len(read_store(path).owners) == 1
        await store.close()

    asyncio.run(take_over())


def test_process_that_was_killed_loses_its_claims_at_once_to_who_opens_it_exclusively(
    child: Callable[..., _Child], path: Path
) -> None:
    """No wait: they count as stalls, not as attempts, and go behind all without."""
    killed = child(exclusive=True)
    held = set(killed.ask("claim"))
    killed.process.kill()
    killed.process.wait()
    assert read_store(path).counts.claimed == 3

    async def resume() -> None:
        store = await _open(path, exclusive=True)
        assert store.returned == 3
        claims = await store.claim(owner="parent", limit=99, lease_s=1000.0)
        assert {claim.request.id for claim in claims[27:]} == held
        assert [(claim.attempt, claim.stalls) for claim in claims[27:]] == [(1, 1)] * 3
        await store.close()

    asyncio.run(resume())


def test_process_killed_while_it_stores_has_stored_all_that_it_said_and_only_whole_batches(
    child: Callable[..., _Child], path: Path
) -> None:
    """What a method has returned from survives; what it has not is there as a whole or not at all."""
    said = 0
    for round_ in range(1, 5):
        storing = child(exclusive=True)
        storing.send("store")
        for _ in range(round_ * 3):
            said = max(said, storing.read())
        storing.process.kill()
        storing.process.wait()
        assert storing.process.stdout is not None
        said = max([said, *(int(line) for line in storing.process.stdout.read().splitlines() if line)])
        counts = read_store(path).counts
        assert counts.stored - 30 >= said
        assert (counts.stored - 30) % 7 == 0

    async def drain() -> None:
        store = await _open(path, exclusive=True)
        stored = read_store(path).counts.stored
        claims = await store.claim(owner="parent", limit=stored + 1, lease_s=1000.0)
        assert len({claim.request.id for claim in claims}) == stored
        await store.close()

    asyncio.run(drain())
