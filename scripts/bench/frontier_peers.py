"""The frontier beside the queues of Scrapy and Crawlee: the same work in one run, and what a `kill -9` costs each.

    python -m venv PEERS && PEERS/bin/pip install scrapy 'crawlee[sql-sqlite]' aiosqlite
    python scripts/bench/frontier_peers.py --python PEERS/bin/python [--sizes 10000,100000] [--rounds 3]
    python scripts/bench/frontier_peers.py --python PEERS/bin/python --kills 3

Work: URLs of one host are offered in batches of 60, the links of a page, of which 20 are known; then 16 workers take
one request each, store a result of about 800 bytes as each system's users do, and mark it done, until none is left.
Every measurement is a process of its own; in each round the subjects take their turns. Each of the two phases is cut off
after --limit seconds: the rate until then is told, with the number reached. CPU is of the process (none starts others);
memory is the growth of its largest resident size since the queue was opened; disk is what is allocated to files.

With --kills, 2,000 requests, each visited for 5 ms, are killed at about half, and the next process goes on: first with
what the queue gives (for up to --patience seconds, for claims that must expire), then with the same input offered again.
"""

import argparse
import asyncio
import json
import logging
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from frontier import BATCH, WORKERS
from peer_queues import HOST, OUR_QUEUES, PEER_PACKAGES, QUEUES, Queue

NEW = BATCH * 2 // 3
KILL_SIZE = 2000
VISIT_S = 0.005
OURS = "browsercrawl SQLite"


def url(number: int) -> str:
    """Return the URL with this number."""
    return f"https://{HOST}/products/item-{number}?page={number % 50}&ref=list"


def batch(start: int, size: int) -> list[str]:
    """Return a page's links: some new ones, and half as many that were offered before."""
    new = [url(number) for number in range(start, min(start + NEW, size))]
    known = [url((start + number) * 2_654_435_761 % start) for number in range(BATCH - NEW)] if start else []
    return new + known


class Phase(NamedTuple):
    """How far a phase came."""

    number: int
    wall_s: float
    cpu_s: float


class Measured(NamedTuple):
    """One run of one subject."""

    add: Phase
    finish: Phase
    memory_bytes: int
    queued_bytes: int
    disk_bytes: int


async def fill(queue: Queue, size: int, *, limit_s: float) -> tuple[int, Phase]:
    """Offer requests. Returns how many new ones, and the phase, which counts all that were offered."""
    wall, cpu, start, offered = time.perf_counter(), time.process_time(), 0, 0
    while start < size and time.perf_counter() - wall < limit_s:
        links = batch(start, size)
        await queue.add(links)
        offered += len(links)
        start = min(start + NEW, size)
    return start, Phase(offered, time.perf_counter() - wall, time.process_time() - cpu)


Told = Callable[[str, str], None]


async def drain(queue: Queue, *, limit_s: float, stored: bool = True, visit_s: float = 0.0, told: Told) -> Phase:
    """Let 16 workers take and finish requests until none is left or the time is over; `told` hears of each step."""
    wall, cpu = time.perf_counter(), time.process_time()
    phase = Phase(0, 0.0, 0.0)

    async def work() -> None:
        nonlocal phase
        while time.perf_counter() - wall < limit_s:
            taken = await queue.take()
            if taken is None:
                if await queue.is_finished():
                    return
                await asyncio.sleep(1.0 if visit_s else 0.05)
                continue
            address, ticket = taken
            told("given", address)
            await asyncio.sleep(visit_s)
            await queue.done(ticket, address, stored=stored)
            told("done", address)
            phase = Phase(phase.number + 1, time.perf_counter() - wall, time.process_time() - cpu)

    await asyncio.gather(*(work() for _ in range(WORKERS)))
    return phase


async def measure(queue: Queue, *, size: int, stored: bool, limit_s: float) -> Measured:
    """Measure a fresh queue in this process."""
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        await queue.open(Path(home))
        before = _resident_bytes()
        number, add = await fill(queue, size, limit_s=limit_s)
        queued_bytes = _allocated(Path(home))
        finish = await drain(queue, limit_s=limit_s, stored=stored, told=lambda _step, _address: None)
        assert finish.number == number or finish.wall_s > limit_s * 0.9, f"{finish.number} of {number} were given"
        memory_bytes = _resident_bytes() - before
        await queue.close()
        return Measured(add, finish, memory_bytes, queued_bytes, _allocated(Path(home)))


def _resident_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _allocated(home: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in home.rglob("*") if path.is_file())


# --- killed and reopened ---------------------------------------------------------------------------------------------


def _journal(path: Path) -> Told:
    """Return what writes down each step at once, so that a kill takes nothing of it."""
    file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    return lambda step, address: _ = os.write(file, f"{step} {address}\n".encode())  # placeholder


async def be_killed(queue: Queue, home: Path) -> None:
    """Fill the queue and work until somebody kills this process."""
    (home / "queue").mkdir()
    await queue.open(home / "queue")
    await fill(queue, KILL_SIZE, limit_s=600)
    await drain(queue, limit_s=600, visit_s=VISIT_S, told=_journal(home / "before"))


async def go_on(queue: Queue, home: Path, *, patience_s: float) -> dict[str, object]:
    """Go on where a killed process was; return the results found at first and in the end."""
    await queue.open(home / "queue")
    found = await queue.results()
    waited = await drain(queue, limit_s=patience_s, visit_s=VISIT_S, told=_journal(home / "after"))
    own = await queue.results()
    await fill(queue, KILL_SIZE, limit_s=600)
    await drain(queue, limit_s=min(patience_s, 30), visit_s=VISIT_S, told=_journal(home / "again"))
    await queue.close()
    return {"found": found, "own": own, "waited_s": waited.wall_s}
