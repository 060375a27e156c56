"""Crawls with the real browser, what must hold for every crawl checked; and the command as a process to be killed."""

import asyncio
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import psutil
import pytest

from browsercrawl import Crawler, CrawlerConfig, Result, Summary
from browsercrawl.cli.entry import main
from browsercrawl.dispatcher import Seeds
from browsercrawl.events import (
    BrowserLaunched,
    Event,
    LeaseAcquired,
    LeaseReleased,
    VisitFailed,
    VisitStarted,
    VisitSucceeded,
)
from browsercrawl.testing import DemoSite
from browsercrawl.testing.server import Exchange, Server

E = TypeVar("E", bound=Event)


@dataclass(kw_only=True)
class Watched:
    """A crawl that goes on: its events so far, and when each came."""

    events: list[tuple[float, Event]] = field(default_factory=list)
    _listeners: list[tuple[type[Event], Callable[[Any], None]]] = field(default_factory=list)

    def take(self, event: Event) -> None:
        """Note an event."""
        self.events.append((time.monotonic(), event))
        for kind, listener in self._listeners:
            if isinstance(event, kind):
                listener(event)

    def on(self, kind: type[E], listener: Callable[[E], None]) -> None:
        """Have a function called with each event of a kind."""
        self._listeners.append((kind, listener))

    def told(self, kind: type[E]) -> list[E]:
        """Events of a kind."""
        return [event for _, event in self.events if isinstance(event, kind)]

    async def wait(self, condition: Callable[[], bool], limit_s: float = 30.0) -> None:
        """Return when something has become true."""
        async with asyncio.timeout(limit_s):
            while not condition():  # noqa: ASYNC110 - what is waited for happens in other processes
                await asyncio.sleep(0.02)

    @property
    def browser(self) -> psutil.Process:
        """The main process of the browser launched last."""
        pid = self.told(BrowserLaunched)[-1].pid
        assert pid is not None
        return psutil.Process(pid)

    @property
    def renderers(self) -> list[psutil.Process]:
        """The browser's renderer processes."""
        return [each for each in self.browser.children(recursive=True) if "--type=renderer" in each.cmdline()]

    @property
    def driver(self) -> psutil.Process:
        """The process of Playwright's driver."""
        return next(each for each in psutil.Process().children() if "node" in each.name())

    def held_s(self, url: str) -> float:
        """Seconds from the start of the last attempt of a URL to its outcome."""
        at: dict[type[Event], float] = {}
        for when, event in self.events:
            if isinstance(event, VisitStarted | VisitSucceeded | VisitFailed) and event.url == url:
                at[type(event)] = when
        started = at.pop(VisitStarted)
        return max(at.values()) - started


@dataclass(kw_only=True)
class Crawled(Watched):
    """What a crawl left."""

    results: list[Result]
    summary: Summary
    took_s: float

    def of(self, url: str) -> Result:
        """The one result of a URL."""
        (result,) = (result for result in self.results if result.url == url)
        return result


Prepare = Callable[[Crawler, Watched], object]


class Crawl(Protocol):
    """Crawls to the end; `prepare` registers handlers and listeners, `options` are the configuration's."""

    async def __call__(self, seeds: Seeds, *, prepare: Prepare | None = None, **options: Any) -> Crawled:
        """Crawl."""


async def _crawl(seeds: Seeds, *, prepare: Prepare | None = None, **options: Any) -> Crawled:
    watched = Watched()
    config = CrawlerConfig.load({"concurrency": 2, "retry": {"backoff_s": 0.1}, **options})
    crawler = Crawler(config, on_event=watched.take)
    if prepare is not None:
        prepare(crawler, watched)
    began = time.monotonic()
    async with crawler, crawler.stream(seeds) as stream:
        results = [result async for result in stream]
        took_s = time.monotonic() - began
    assert stream.summary is not None
    check_books(watched, config.pages_max)
    ids = Counter(result.request_id for result in results)
    assert max(ids.values()) == 1, "a request has two results"
    return Crawled(results=results, summary=stream.summary, took_s=took_s, events=watched.events)


def check_books(watched: Watched, pages_max: int) -> None:
    """Check that leases never exceeded their limit, that each has ended, and that no browser is left."""
    held = 0
    for _, event in watched.events:
        held += isinstance(event, LeaseAcquired) - isinstance(event, LeaseReleased)
        assert 0 <= held <= pages_max, f"{held} leases of {pages_max}"
    assert held == 0, f"{held} leases were never released"
    left = [event.pid for event in watched.told(BrowserLaunched) if event.pid and psutil.pid_exists(event.pid)]
    assert [pid for pid in left if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE] == []


@pytest.fixture
def crawl() -> Crawl:
    """Crawl with the real browser, and check the books afterwards."""
    return _crawl


@pytest.fixture(scope="module")
def site() -> Iterator[DemoSite]:
    """The demo shop and the faults."""
    with DemoSite() as running:
        yield running


# --- the command as a process of its own -----------------------------------------------------------------------------

LIMIT_S = 60.0
"""Nothing that these tests wait for takes as long."""


def wait_until(condition: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
    """Wait until something has become true in another process or thread."""
    until = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until, "not in time"
        time.sleep(0.005)


@dataclass(kw_only=True)
class Started:
    """A process that was started, and what it told."""

    process: "subprocess.Popen[bytes]"
    _out: Path
    _err: Path

    @property
    def pid(self) -> int:
        """Its number."""
        return self.process.pid

    @property
    def out(self) -> str:
        """What it has written to standard output."""
        return self._out.read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        """What it has told people."""
        return self._err.read_text(encoding="utf-8")

    def wait(self, limit_s: float = LIMIT_S) -> int:
        """Wait for its end; returns its exit code."""
        return self.process.wait(limit_s)

    def ends(self, code: int, limit_s: float = LIMIT_S) -> None:
        """Wait for its end, which must be with this exit code and without a traceback."""
        found = self.process.wait(limit_s)
        assert "Traceback" not in self.err, self.err
        assert found == code, f"exit code {found} instead of {code}:\n{self.err}"

    def kill(self) -> None:
        """Kill it as `kill -9` does; what it has started is left to itself, and must go by itself."""
        self.process.kill()
        self.process.wait(LIMIT_S)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)


class Commands:
    """Starts the command and Python programs, with a folder to work in and a TMPDIR of their own.

    Attributes:
        folder: where they work; the run directory that `results` and the others look at is `run` in it.
        environment: what they find in theirs besides.
    """

    def __init__(self, folder: Path, temporary: Path) -> None:
        self.folder = folder
        self.directory = folder / "run"
        self.environment: dict[str, str] = {}
        self._temporary = temporary
        self._started: list[Started] = []

    @property
    def temporary(self) -> Path:
        """Their TMPDIR."""
        return self._temporary

    def start(self, *argv: str, stdin: int = subprocess.DEVNULL) -> Started:
        """Start `browsercrawl ARGV...`."""
        return self.program("-m", "browsercrawl", *argv, stdin=stdin)

    def steady(self, *argv: str) -> Started:
        """Start `browsercrawl ARGV...`, which opens as many pages as asked for at once; see `steady.py`."""
        return self.program(str(Path(__file__).with_name("steady.py")), *argv)

    def mortal(self, step: str, *argv: str) -> Started:
        """Start `browsercrawl ARGV...`, which kills itself at a step; see `mortal.py`."""
        return self.program(str(Path(__file__).with_name("mortal.py")), step, *argv)

    def program(self, *argv: str, stdin: int = subprocess.DEVNULL) -> Started:
        """Start the Python interpreter."""
        out, err = (self._temporary / f"{name}-{len(self._started)}" for name in ("out", "err"))
        environment = {**os.environ, "TMPDIR": str(self._temporary), **self.environment}
        with out.open("wb") as told, err.open("wb") as complained:
            process = subprocess.Popen(
                [sys.executable, *argv], cwd=self.folder, env=environment, stdin=stdin,
                stdout=told, stderr=complained,
            )  # fmt: skip
        started = Started(process=process, _out=out, _err=err)
        self._started.append(started)
        return started

    def run(self, *argv: str, code: int = 0) -> Started:
        """Run `browsercrawl ARGV...` to its end, which must be with this exit code."""
        started = self.start(*argv)
        started.ends(code)
        return started

    def status(self) -> dict[str, Any]:
        """Ask `browsercrawl status`, in this process: it only reads, and a start takes a second."""
        said = io.StringIO()
        with redirect_stdout(said):
            assert main(["status", str(self.directory), "--json"]) == 0
        told: dict[str, Any] = json.loads(said.getvalue())
        return told

    def results(self) -> list[dict[str, Any]]:
        """Return the lines of the run's results, all of which must be whole, and of different requests."""
        lines = lines_of(self.directory / "results.jsonl")
        ids = Counter(line["request_id"] for line in lines)
        assert [each for each in ids.items() if each[1] > 1] == [], "a request has two results"
        return lines

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the run's events of a name."""
        return [line for line in lines_of(self.directory / "events.jsonl") if line["event"] == name]

    def summary(self) -> dict[str, Any]:
        """Return the run's summary."""
        told: dict[str, Any] = json.loads((self.directory / "summary.json").read_text())
        return told

    def files(self) -> dict[str, bytes]:
        """Return the files of the run as they are, but the one that says who has it."""
        return {
            str(path.relative_to(self.directory)): path.read_bytes()
            for path in sorted(self.directory.rglob("*"))
            if path.is_file() and path.name != ".lock"
        }

    def family(self) -> list[psutil.Process]:
        """Return the processes that still run: ours, and whatever they have started and left behind."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("TMPDIR", "").startswith(str(self._temporary)):
                    found.append(process)
        return found

    def end(self) -> None:
        """Kill what still runs; the browsers of what was killed must have gone by themselves."""
        for started in self._started:
            if started.process.poll() is None:
                started.kill()
        left: list[psutil.Process] = []
        try:
            wait_until(lambda: not self.family(), 10)
        except AssertionError:
            left = self.family()
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        assert not left, f"processes that outlived the command that started them: {left}"


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file, each of which must be a whole one."""
    text = path.read_text(encoding="utf-8")
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    """Processes of a test's own; afterwards neither they nor their browsers are left."""
    folder = tmp_path / "work"
    folder.mkdir()
    with tempfile.TemporaryDirectory(prefix="k-") as temporary:
        commands = Commands(folder, Path(temporary))
        try:
            yield commands
        finally:
            commands.end()


# --- a site that counts ----------------------------------------------------------------------------------------------


class Pages:
    """A site of linked pages on a loopback port, which knows what it was asked for and can keep answers back.

    Page `/p/N` links to itself, to the first, and to `/p/2N` and `/p/2N+1`, up to the number of pages. `/held/N` is
    not answered while `hold` is true, `/bad/N` is a 404 until `is_well`, `/big/N` has 100 kB that hardly compress.

    Attributes:
        arrived: the paths asked for, in order.
        agents: the paths asked for, by who asked (the User-Agent).
        answered: how many of them were answered.
        pause_s: each answer takes so long.
        room: so many more are answered; the others wait until their client has left. None: any number.
    """

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.arrived: list[str] = []
        self.agents: dict[str, list[str]] = {}
        self.answered = 0
        self.room: int | None = None
        self.hold = True
        self.is_well = False
        self.pause_s = 0.0
        self._lock = threading.Lock()  # guards the counts
        self._server = Server(self._answer)
        self.url = f"http://127.0.0.1:{self._server.port}"

    def page(self, number: int) -> str:
        """Return the URL of a page."""
        return f"{self.url}/p/{number}"

    def hits(self, start: str = "/p/") -> Counter[str]:
        """Return how often each path that begins so was asked for."""
        return Counter(path for path in tuple(self.arrived) if path.startswith(start))

    def truth(self) -> set[tuple[object, ...]]:
        """Return what a crawl from `/p/1` finds: URL, outcome, title, depth, parent."""
        return {
            (self.page(number), "succeeded", f"page {number}", number.bit_length() - 1,
             self.page(number // 2) if number > 1 else None)
            for number in range(1, self.number + 1)
        }  # fmt: skip

    def stop(self) -> None:
        """Close it."""
        self._server.stop()

    def _answer(self, exchange: Exchange) -> None:
        kind, _, name = exchange.path.removeprefix("/").partition("/")
        if kind not in {"p", "held", "bad", "big"}:
            exchange.respond("no such page", status=404)
            return
        with self._lock:
            self.arrived.append(exchange.path)
            self.agents.setdefault(exchange.headers.get("user-agent", ""), []).append(exchange.path)
            has_room = self.room != 0
            self.room = self.room - 1 if self.room else self.room
        if not has_room:
            exchange.pause(None)
        while kind == "held" and self.hold:
            exchange.pause(0.02)
        if self.pause_s:
            exchange.pause(self.pause_s)
        with self._lock:
            self.answered += 1
        number = int(name)
        targets = [number, 1, *(each for each in (2 * number, 2 * number + 1) if each <= self.number)]
        links = "".join(f'<a href="/p/{each}">{each}</a> ' for each in targets) if kind == "p" else ""
        bulk = f"<p hidden>{random.Random(number).randbytes(50_000).hex()}</p>" if kind == "big" else ""
        exchange.respond(
            f"<!doctype html><title>page {number}</title><link rel=icon href=data:,>{links}{bulk}",
            status=404 if kind == "bad" and not self.is_well else 200,
        )


@pytest.fixture
def pages() -> Iterator[Pages]:
    """A site of 500 pages that counts."""
    pages = Pages(500)
    yield pages
    pages.stop()


class Wait(Protocol):
    """Waits until something has become true."""

    def __call__(self, condition: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
        """Wait."""


@pytest.fixture(scope="session")
def wait() -> Wait:
    """Wait for what happens in other processes and threads."""
    return wait_until
