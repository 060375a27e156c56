"""The frontier beside the queues of Scrapy and Crawlee: the same work in one run, and what a `kill -9` costs each.

    python -m venv PEERS && PEERS/bin/pip install scrapy 'crawlee[sql-sqlite]' aiosqlite
    python scripts/bench/frontier_peers.py --python PEERS/bin/python [--sizes 10000,100000] [--rounds 3]
    python scripts/bench/frontier_peers.py --python PEERS/bin/python --kills 3

Work: URLs of one host are offered in batches of 60, the links of a page, of which 20 are known; then 16 workers take
one request each, store a result of about 800 bytes as each system's users do, and mark it done, until none is left.
Every measurement is a process of its own; in each round the subjects take their turns. Each of the two phases is cut
off after --limit seconds: the rate until then is told, with the number reached. CPU is of the process (none starts
others); memory is the growth of its largest resident size since the queue was opened; disk is what files occupy.

With --kills, 2,000 requests, each visited for 5 ms, are killed at about half, and the next process goes on: first with
what the queue gives (for up to --patience seconds, for claims that must expire), then with the same input once more.
"""

import argparse
import asyncio
import json
import logging
import os
import resource
import shutil
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
from typing import Any, NamedTuple

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
                await asyncio.sleep(2.0 if visit_s else 0.05)
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

    def told(step: str, address: str) -> None:
        os.write(file, f"{step} {address}\n".encode())

    return told


def _steps(path: Path, step: str) -> list[str]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.removeprefix(f"{step} ") for line in lines if line.startswith(f"{step} ")]


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


class Damage(NamedTuple):
    """What a kill did, as counted from outside.

    Attributes:
        done: finished before the kill, by what the process wrote down.
        in_flight: given and not finished at that moment.
        lost: neither finished nor given by the next process.
        lost_for_good: nor when the input was offered again.
        given_twice: given before the kill and by the next process.
        done_twice: of these, finished before the kill.
        missing: finished, before or after, and without a result in the end.
        doubled: with more than one result in the end.
        offered_twice: needless gifts of requests, finished or given already, when the input was offered again.
        waited_s: until the next process had finished what it was given by itself.
    """

    done: int
    in_flight: int
    lost: int
    lost_for_good: int
    given_twice: int
    done_twice: int
    missing: int
    doubled: int
    offered_twice: int
    waited_s: float


def kill(python: str, subject: str, *, patience_s: float) -> Damage:
    """Kill one subject at half of its work, let it go on, and compare with what was asked for."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        home = Path(name)
        process = subprocess.Popen(_command(python, "be_killed", subject, home=name), stdout=subprocess.DEVNULL)
        while process.poll() is None and len(_steps(home / "before", "done")) < KILL_SIZE // 2:
            time.sleep(0.001)
        assert process.poll() is None, f"{subject} ended before it could be killed"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        report = _run(_command(python, "go_on", subject, home=name, patience_s=patience_s))
        every = {url(number) for number in range(KILL_SIZE)}
        given, done = set(_steps(home / "before", "given")), set(_steps(home / "before", "done"))
        after, done_after = set(_steps(home / "after", "given")), set(_steps(home / "after", "done"))
        again = _steps(home / "again", "given")
    lost = every - done - set(report["found"]) - after
    results = Counter(report["own"])
    return Damage(
        done=len(done),
        in_flight=len(given - done),
        lost=len(lost),
        lost_for_good=len(lost.difference(again)),
        given_twice=len(given & after),
        done_twice=len(done & after),
        missing=len((done | done_after) - results.keys()),
        doubled=sum(count > 1 for count in results.values()),
        offered_twice=len(again) - len(set(again) - done - done_after),
        waited_s=report["waited_s"],
    )


# --- from outside ----------------------------------------------------------------------------------------------------


def _command(python: str, task: str, subject: str, **terms: object) -> list[str]:
    interpreter = sys.executable if subject in OUR_QUEUES else python
    return [interpreter, "-W", "ignore", __file__, "--one", json.dumps([task, subject, terms])]


def _run(command: Sequence[str]) -> Any:
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])


def one(task: str, subject: str, terms: dict[str, Any]) -> None:
    """Do one task in this process and print its report."""
    logging.disable(logging.WARNING)
    queue = QUEUES[subject]()
    if task == "measure":
        report: object = asyncio.run(measure(queue, **terms))
    elif task == "be_killed":
        report = asyncio.run(be_killed(queue, Path(terms["home"])))
    else:
        report = asyncio.run(go_on(queue, Path(terms["home"]), patience_s=terms["patience_s"]))
    print(json.dumps(report))


def _load() -> str:
    return f"load {os.getloadavg()[0]:.1f}"


def compare(python: str, subjects: Sequence[str], size: int, options: argparse.Namespace) -> None:
    """Measure all subjects at one size, in turn within each round, and print the table."""
    rows: dict[str, list[Measured]] = {subject: [] for subject in subjects}
    terms = {"size": size, "stored": not options.no_results, "limit_s": options.limit}
    for number in range(options.rounds):
        for subject in subjects:
            report = _run(_command(python, "measure", subject, **terms))
            row = Measured(Phase(*report[0]), Phase(*report[1]), *report[2:])
            rows[subject].append(row)
            speeds = f"{row.add.number / row.add.wall_s:10,.0f}/s {row.finish.number / row.finish.wall_s:10,.0f}/s"
            print(f"round {number + 1} {subject:22} {speeds}  {_load()}", flush=True)
    what = "without results" if options.no_results else "with results"
    print(
        f"\n{size:,} requests, {what}; medians of {options.rounds} rounds; x: to {OURS}, median of the rounds' ratios"
    )
    titles = ("offered/s", "x", "us CPU", "finished/s", "x", "us CPU", "MB more", "MB queued", "MB after")
    print(f"{'':22}" + "".join(f"{title:>11}" for title in titles) + "  cut off at")
    for subject in subjects:
        print(f"{subject:22}{_figures(rows[subject], rows.get(OURS, []), size)}", flush=True)
    print()


def _figures(own: Sequence[Measured], ours: Sequence[Measured], size: int) -> str:
    median, cells = statistics.median, []
    for phases, theirs in (
        ([r.add for r in own], [r.add for r in ours]),
        ([r.finish for r in own], [r.finish for r in ours]),
    ):
        speeds = [phase.number / phase.wall_s for phase in phases]
        ratios = [speed * phase.wall_s / phase.number for speed, phase in zip(speeds, theirs, strict=False)]
        cells += [f"{median(speeds):,.0f}", f"{median(ratios):.2f}" if ratios else "-"]
        cells.append(f"{median(phase.cpu_s / phase.number for phase in phases) * 1e6:,.0f}")
    cells += [f"{median(row.memory_bytes for row in own) / 1e6:,.0f}"]
    cells += [
        f"{median(row.queued_bytes for row in own) / 1e6:,.0f}",
        f"{median(row.disk_bytes for row in own) / 1e6:,.0f}",
    ]
    cut = [f"{row.add.number:,} offered, {row.finish.number:,} finished" for row in own if row.finish.number < size]
    return "".join(f"{cell:>11}" for cell in cells) + ("  " + cut[0] if cut else "")


def compare_kills(python: str, subjects: Sequence[str], kills: int, patience_s: float) -> None:
    """Kill each subject some times and print what it cost."""
    print(f"{KILL_SIZE:,} requests, {WORKERS} in flight, killed at about half; a column for each kill")
    for subject in subjects:
        damages = [kill(python, subject, patience_s=patience_s) for _ in range(kills)]
        print(subject)
        for name in Damage._fields:
            print(f"    {name:14}" + "".join(f"{getattr(damage, name):>8,.5g}" for damage in damages), flush=True)


def _versions(python: str) -> None:
    """Print versions; say what is missing, and end."""
    found = json.loads(
        subprocess.run([python, __file__, "--versions"], check=True, capture_output=True, text=True).stdout
    )
    missing = [name for name, number in found.items() if number is None]
    if missing:
        names = ", ".join(missing)
        sys.exit(f"{python} has no {names}: {python} -m pip install scrapy 'crawlee[sql-sqlite]' aiosqlite")
    print(", ".join(f"{name} {number}" for name, number in found.items()) + f"; {_load()}", flush=True)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", help="interpreter of the environment that has the peers")
    parser.add_argument("--sizes", default="10000,100000", help="comma-separated numbers of requests")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for each of the two phases")
    parser.add_argument("--no-results", action="store_true", help="mark requests done without a result")
    parser.add_argument("--subjects", default=",".join(QUEUES), help="comma-separated")
    parser.add_argument("--kills", type=int, default=0, help="kill each subject so many times, instead of measuring")
    parser.add_argument("--patience", type=float, default=330.0, help="seconds until all must have been given again")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--versions", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(*json.loads(options.one))
        return
    if options.versions:
        print(json.dumps({package: _version(package) for package in PEER_PACKAGES}))
        return
    if options.python is None:
        parser.error("--python is missing: the interpreter of an environment that has Scrapy and Crawlee")
    if shutil.which(options.python) is None:
        parser.error(f"--python {options.python}: no such program")
    _versions(options.python)
    subjects = options.subjects.split(",")
    if options.kills:
        compare_kills(
            options.python, [name for name in subjects if "memory" not in name], options.kills, options.patience
        )
        return
    for size in options.sizes.split(","):
        compare(options.python, subjects, int(size), options)


if __name__ == "__main__":
    main()
