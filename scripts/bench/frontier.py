"""What the frontier's stores cost: storing requests, and claiming and finishing them with their results.

    python scripts/bench/frontier.py                                   memory and SQLite at 10^5 and 10^6, three shapes
    python scripts/bench/frontier.py --sizes 10000000 --stores sqlite  ten million
    python scripts/bench/frontier.py --stores sqlite,sqlite-limited --shape "1 host, 1,000 sessions"

Each row is a process of its own. `schedule` stores URLs, given as strings, in batches of 60, the links of a page:
checking, canonical form, fingerprint and storing. `finish` is, at that depth, 30,000 times claim, complete and a line
of 700 bytes through the outbox, by 16 workers and one writer of lines; the frontier is not drained. Memory is the
largest resident size of the process. In a store that is `-limited` at most one request of each named session is
claimed at once. Other systems can be measured on the same work: implement `Subject`, call `main`.
"""

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

BATCH = 60
WORKERS = 16
FINISHED = 30_000
LINE = b"x" * 700

Seed = tuple[str, str | None]
"""A URL, and the session it is visited with."""


class Subject(Protocol):
    """A store under measurement. What it imports, it imports in `open`."""

    async def open(self, home: Path) -> None:
        """Begin, with an empty directory for its files."""

    async def schedule(self, seeds: Sequence[Seed]) -> None:
        """Store a batch."""

    async def finish(self, number: int) -> None:
        """Claim and finish so many requests, with a result of `LINE` each."""

    async def close(self) -> None:
        """Let go of the files."""


def one_host(number: int) -> Seed:
    """All requests are of one host."""
    return f"https://shop.example.com/products/item-{number}?ref=list&page={number % 50}", None


def many_hosts(number: int) -> Seed:
    """100,000 hosts, in no order."""
    host = number * 2_654_435_761 % 100_003 % 100_000
    return f"https://www.site-{host}.example.com/articles/{number}?ref=list", None


def many_sessions(number: int) -> Seed:
    """One host with 1,000 sessions, in no order."""
    session = number * 2_654_435_761 % 1_009 % 1_000
    return f"https://app.example.com/accounts/{number}?view=full", f"account-{session}"


SHAPES = {"1 host": one_host, "100,000 hosts": many_hosts, "1 host, 1,000 sessions": many_sessions}


class OurStore:
    """One of our stores."""

    def __init__(self, *, durable: bool, limited: bool = False) -> None:
        self._durable = durable
        self._session_limit_of = (lambda key: 1 if key else None) if limited else None
        self._done = 0

    async def open(self, home: Path) -> None:
        """Make an empty frontier."""
        from browsercrawl.clock import SystemClock
        from browsercrawl.frontier import Frontier, MemoryFrontier, Record
        from browsercrawl.politeness import HostRules
        from browsercrawl.request import Request

        rules, clock = HostRules(), SystemClock()
        self._request, self._record = Request, Record(ending="succeeded", line=LINE)
        self._frontier: Frontier
        if self._durable:
            from browsercrawl.frontier.sqlite import SqliteFrontier, StoreOptions, make_store

            path, options = home / "run.sqlite", StoreOptions(session_limit_of=self._session_limit_of)
            make_store(path, notes={})
            self._frontier = await SqliteFrontier.open(path, clock=clock, rules_of=lambda _: rules, options=options)
        else:
            self._frontier = MemoryFrontier(
                clock=clock, rules_of=lambda _: rules, session_limit_of=self._session_limit_of
            )

    async def schedule(self, seeds: Sequence[Seed]) -> None:
        """Make requests of the URLs and store them."""
        await self._frontier.schedule([self._request(url=url, session=session) for url, session in seeds])

    async def finish(self, number: int) -> None:
        """Let 16 workers claim and complete one at a time, and a writer take the lines."""
        self._done = 0
        writer = asyncio.create_task(self._write(number))
        await asyncio.gather(*(self._work(number // WORKERS) for _ in range(WORKERS)))
        self._done = number
        await writer

    async def close(self) -> None:
        """Close the frontier."""
        await self._frontier.close()

    async def _work(self, number: int) -> None:
        for _ in range(number):
            (claim,) = await self._frontier.claim(owner="bench", limit=1, lease_s=120.0, warm=_WARM)
            assert await self._frontier.complete(claim, record=self._record) == []

    async def _write(self, number: int) -> None:
        written = 0
        while lines := await self._frontier.lines(1000) or self._done < number:
            if lines is not True and lines:
                written += sum(len(each.line) + 1 for each in lines)
                await self._frontier.emptied(upto=lines[-1].number, size=written)
            await asyncio.sleep(0.01)


_WARM = frozenset({"", *(f"account-{number}" for number in range(WORKERS))})
"""Sessions whose context is open: the shared one, and a few of the many."""

SUBJECTS: dict[str, Callable[[], Subject]] = {
    "memory": lambda: OurStore(durable=False),
    "sqlite": lambda: OurStore(durable=True),
    "memory-limited": lambda: OurStore(durable=False, limited=True),
    "sqlite-limited": lambda: OurStore(durable=True, limited=True),
}


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of one subject at one size and shape; seconds are per request."""

    schedule_s: float
    schedule_cpu_s: float
    finish_s: float
    finish_cpu_s: float
    memory_bytes: int
    disk_bytes: int


async def measure(subject: Subject, *, shape: str, size: int) -> Row:
    """Measure one subject in this process.

    Args:
        subject: fresh.
        shape: one of `SHAPES`.
        size: requests stored before any is claimed.
    """
    finished = min(FINISHED, size // 2) // WORKERS * WORKERS
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        await subject.open(Path(home))
        schedule_s, schedule_cpu_s = await _timed(_fill(subject, SHAPES[shape], size))
        finish_s, finish_cpu_s = await _timed(subject.finish(finished))
        await subject.close()
        disk_bytes = _size(Path(home))
    return Row(
        schedule_s=schedule_s / size,
        schedule_cpu_s=schedule_cpu_s / size,
        finish_s=finish_s / finished,
        finish_cpu_s=finish_cpu_s / finished,
        memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        disk_bytes=disk_bytes,
    )


def _size(home: Path) -> int:
    return sum(path.stat().st_size for path in home.rglob("*") if path.is_file())


async def _fill(subject: Subject, seed: Callable[[int], Seed], size: int) -> None:
    for start in range(0, size, BATCH):
        await subject.schedule([seed(number) for number in range(start, min(start + BATCH, size))])


async def _timed(work: Awaitable[None]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    await work
    return time.perf_counter() - wall, time.process_time() - cpu


def rows(script: str, stores: Sequence[str], sizes: Sequence[int], shapes: Sequence[str]) -> Iterator[str]:
    """Measure each combination in a process of its own and give a line of the table for each.

    Args:
        script: the program to run for one row; it ends in `main`.
        stores: names of subjects.
        sizes: requests stored.
        shapes: of `SHAPES`.
    """
    titles = ("schedule/s", "us CPU", "finish/s", "us CPU", "MB", "MB disk")
    yield f"{'store':<14} {'requests':>10} {'shape':<24}" + "".join(f"{title:>11}" for title in titles)
    for size in sizes:
        for shape in shapes:
            for store in stores:
                command = [sys.executable, script, "--one", json.dumps([store, shape, size])]
                row = Row(**json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
                figures = (
                    1 / row.schedule_s,
                    row.schedule_cpu_s * 1e6,
                    1 / row.finish_s,
                    row.finish_cpu_s * 1e6,
                    row.memory_bytes / 1e6,
                    row.disk_bytes / 1e6,
                )
                yield f"{store:<14} {size:>10,} {shape:<24}" + "".join(f"{figure:>11,.0f}" for figure in figures)


def main(script: str, subjects: dict[str, Callable[[], Subject]]) -> None:
    """Print the table, or measure one row.

    Args:
        script: the program that was started.
        subjects: by name; all are measured unless the command line says otherwise.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="100000,1000000", help="comma-separated numbers of requests")
    parser.add_argument("--stores", default=",".join(subjects), help="comma-separated; default: all")
    parser.add_argument("--shape", action="append", choices=sorted(SHAPES), help="may be repeated; default: all")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        store, shape, size = json.loads(arguments.one)
        print(json.dumps(asdict(asyncio.run(measure(subjects[store](), shape=shape, size=size)))))
        return
    sizes = [int(size) for size in arguments.sizes.split(",")]
    for line in rows(script, arguments.stores.split(","), sizes, arguments.shape or list(SHAPES)):
        print(line, flush=True)


if __name__ == "__main__":
    main(__file__, SUBJECTS)
