"""What a bad page costs: how long until its result and until a page works again, and what its neighbours notice.

    python scripts/bench/faults.py [--rounds 5] [--kinds hang-inline,...] [--parts times,neighbours] [--pages 100]

*times*: a crawler of its own for each fault and round, one page at once: two good pages, the fault, a good page. The
result's time counts from what `from` names: the deadline (2 s after the visit began), the signal that was sent, or the
start of the visit where a fault ends before its deadline; below 0 is before the deadline. `handed out` and `visited`
count from the end of the faulty attempt: until the next page is lent to a visit, and until a visit has ended well.
Where the fault is put back (its browser died), its result is that of its second attempt. Without retries.

*neighbours*: good pages of the demo shop, four pages at once, with none and with one in ten of each kind beside them,
in turn within each round; medians, and the median of the rounds' own ratios. A hung page holds its place for 2 s, so
pages/s fall by that alone: `silent`, which does nothing else, shows by how much. `visit` is how long a good page took,
and what 95 % of them stayed below. `harmed` are good pages without a good result, by their errors; there must be none.

Signals are sent to the real processes by a handler while its page is open. The process of its renderer is the one whose
CPU time is what the page's own says it is. The site is served by another process.
"""

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from browsercrawl import Crawler, CrawlerConfig, Outcome, Result, Visit
from browsercrawl.events import (
    BrowserLaunched,
    Event,
    PageKilled,
    VisitFailed,
    VisitStarted,
    VisitSucceeded,
)

TIMEOUT_S = 2.0
AT_ONCE = 4
ONE_IN = 10
CRAWL_LIMIT_S = 300.0
SPIN_MS = 200
"""Of work that tells a renderer from another: Chromium and the kernel round CPU times to 10 ms."""
GONE_LIMIT_S = 5.0


class Fault(NamedTuple):
    """A way in which a visit goes wrong.

    Attributes:
        path: of the fault site.
        since: what its result's time counts from.
        waits: a handler is at work in the page.
        process: which one gets a signal from the handler.
        sent: which signal it gets.
    """

    path: str
    since: str = "deadline"
    waits: bool = False
    process: str = ""
    sent: signal.Signals | None = None


def _struck(process: str, sent: signal.Signals) -> Fault:
    return Fault("page", "deadline" if sent is signal.SIGSTOP else "signal", True, process, sent)


FAULTS = {
    "hang-inline": Fault("hang-inline"),
    "hang-load": Fault("hang-load"),
    "hang-later": Fault("hang-later", waits=True),
    "silent": Fault("silent"),
    "endless": Fault("endless"),
    "crash": Fault("crash", "start", waits=True),
    "dialogs": Fault("dialogs"),
    "popups": Fault("popups", "start"),
    **{
        f"{sent.name} {process}": _struck(process, sent)
        for process in ("renderer", "browser", "driver")
        for sent in (signal.SIGSTOP, signal.SIGKILL)
    },
}


class Watched:
    """A crawl: when each event came, and which processes belong to it."""

    def __init__(self) -> None:
        self.events: list[tuple[float, Event]] = []
        self.struck: dict[str, float] = {}
        self.browsers: set[int] = set()

    def take(self, event: Event) -> None:
        """Note an event."""
        self.events.append((time.monotonic(), event))
        if isinstance(event, BrowserLaunched) and event.pid is not None:
            self.browsers.add(event.pid)

    def first(self, kind: type[Event], *, url: str | None = None, after: float = 0.0) -> float | None:
        """Return when the first such event came after a moment; None: there is none."""
        return next(
            (
                at
                for at, event in self.events
                if at > after and isinstance(event, kind) and url in (None, getattr(event, "url", None))
            ),
            None,
        )

    def processes(self, process: str) -> list[psutil.Process]:
        """Return those of a kind: of the browser launched last, or its driver."""
        if process == "driver":
            return [each for each in psutil.Process().children() if "node" in each.name()][-1:]
        launched = [event.pid for _, event in self.events if isinstance(event, BrowserLaunched)]
        browser = psutil.Process(launched[-1])
        if process == "browser":
            return [browser]
        return [each for each in browser.children(recursive=True) if "--type=renderer" in " ".join(each.cmdline())]


async def _renderer_of(visit: Visit, watched: Watched) -> psutil.Process:
    session = await visit.page.context.new_cdp_session(visit.page)
    await session.send("Performance.enable")
    await visit.page.evaluate("ms => { const end = performance.now() + ms; while (performance.now() < end); }", SPIN_MS)
    metrics = (await session.send("Performance.getMetrics"))["metrics"]
    used_s = next(each["value"] for each in metrics if each["name"] == "ProcessTime")
    return min(watched.processes("renderer"), key=lambda each: abs(sum(each.cpu_times()[:2]) - used_s))


def crawler_of(watched: Watched, *, at_once: int, faults: dict[str, Fault]) -> Crawler:
    """Return a crawler whose handler waits and strikes; `faults` are known by their URL."""
    config = CrawlerConfig.load(
        {
            "concurrency": at_once,
            "visit": {"timeout_s": TIMEOUT_S, "capture": ["text"]},
            "retry": {"retries": 0},
            "limits": {"max_time_s": CRAWL_LIMIT_S},
        }
    )
    crawler = Crawler(config, on_event=watched.take)

    @crawler.handler()
    async def handle(visit: Visit) -> None:
        url = visit.request.url
        fault = faults.get(url)
        if fault is None or not fault.waits or url in watched.struck:
            return
        if fault.sent is not None:
            await strike(visit, fault)
        await visit.page.wait_for_selector("#never", timeout=0)  # as handlers wait: in a call that does not return

    async def strike(visit: Visit, fault: Fault) -> None:
        assert fault.sent is not None
        targets = watched.processes(fault.process)
        if fault.process == "renderer":
            targets = [await _renderer_of(visit, watched)]
        watched.struck[visit.request.url] = time.monotonic()
        for target in targets:
            target.send_signal(fault.sent)

    return crawler


# --- times -----------------------------------------------------------------------------------------------------------


class Times(NamedTuple):
    """One fault, seen once; seconds."""

    result_s: float
    handed_out_s: float
    visited_s: float
    came_to: str


async def time_fault(fault: Fault, site: str) -> Times:
    """Crawl two good pages, the fault and a good page, one at once."""
    watched = Watched()
    url = f"{site}/faults/{fault.path}"
    good = [f"{site}/faults/page?good={number}" for number in range(3)]
    if fault.path == "page":
        url += "?bad"
    seeds = [good[0], good[1], url, good[2]]
    results: dict[str, tuple[float, Result]] = {}
    crawler = crawler_of(watched, at_once=1, faults={url: fault})
    async with asyncio.timeout(CRAWL_LIMIT_S), crawler, crawler.stream(seeds) as stream:
        async for result in stream:
            results[result.url] = (time.monotonic(), result)
    wrong = {
        url: results.get(url) for url in good if url not in results or results[url][1].outcome != Outcome.SUCCEEDED
    }
    assert not wrong, f"good pages without a good result: {wrong}"
    started = watched.first(VisitStarted, url=url)
    assert started is not None, "the fault was never visited"
    since = {"start": started, "deadline": started + TIMEOUT_S, "signal": watched.struck.get(url, started)}[fault.since]
    ends = [at for kind in (VisitFailed, VisitSucceeded) if (at := watched.first(kind, url=url)) is not None]
    ended = min(ends)
    handed_out, visited = watched.first(VisitStarted, after=ended), watched.first(VisitSucceeded, after=ended)
    assert handed_out is not None
    assert visited is not None
    at, result = results[url]
    rungs = [event.rung for _, event in watched.events if isinstance(event, PageKilled)]
    came_to = result.error.kind.value if result.error else "partial" if result.partial else result.outcome.value
    attempts = f" at attempt {attempts}" if (attempts := _attempts(watched, url)) > 1 else ""
    return Times(at - since, handed_out - ended, visited - ended, f"{came_to}{attempts}; {', '.join(rungs) or '-'}")


def _attempts(watched: Watched, url: str) -> int:
    return sum(isinstance(event, VisitStarted) and event.url == url for _, event in watched.events)


def compare_times(kinds: Sequence[str], site: str, rounds: int) -> None:
    """Time all faults, in turn within each round, and print the table."""
    seen: dict[str, list[Times]] = {kind: [] for kind in kinds}
    for number in range(rounds):
        for kind, times in seen.items():
            try:
                times.append(asyncio.run(time_fault(FAULTS[kind], site)))
            except (AssertionError, TimeoutError) as error:
                print(f"{kind}: not timed: {error!r}", flush=True)
        print(f"round {number + 1} of {rounds} done, {_load()}", flush=True)
    print(f"\nseconds: median and worst of {rounds}\n{'fault':22}{'from':>10}", end="")
    print("".join(f"{title:>18}" for title in ("result", "handed out", "visited")) + "  came to; rungs of the ladder")
    for kind, times in ((kind, times) for kind, times in seen.items() if times):
        columns = zip(*(each[:3] for each in times), strict=True)
        cells = "".join(f"{statistics.median(column):10.2f}{max(column):8.2f}" for column in columns)
        outcomes = Counter(each[3] for each in times).most_common()
        said = " | ".join(f"{came_to}" + (f" ({count})" if len(outcomes) > 1 else "") for came_to, count in outcomes)
        print(f"{kind:22}{FAULTS[kind].since:>10}{cells}  {said}")
    print(flush=True)


# --- neighbours ------------------------------------------------------------------------------------------------------


class Speed(NamedTuple):
    """One crawl of good pages with faults among them.

    Attributes:
        pages_s: good pages by the second.
        visits_s: how long each good page's last visit took.
        harmed: why good pages have no good result.
    """

    pages_s: float
    visits_s: list[float]
    harmed: list[str]


async def crawl_beside(fault: Fault | None, site: str, pages: int) -> Speed:
    """Crawl good pages, with one fault after every nine of them."""
    watched = Watched()
    good = [f"{site}/about?good={number}" for number in range(pages)]
    seeds: list[str] = []
    faults = {}
    for number, url in enumerate(good):
        if fault is not None and number % (ONE_IN - 1) == 0:
            bad = f"{site}/faults/{fault.path}?bad={number}"
            faults[bad] = fault
            seeds.append(bad)
        seeds.append(url)
    crawler = crawler_of(watched, at_once=AT_ONCE, faults=faults)
    async with asyncio.timeout(CRAWL_LIMIT_S + 60), crawler:
        warm = await crawler.fetch(f"{site}/faults/page")
        assert warm.outcome == Outcome.SUCCEEDED, warm
        started = time.monotonic()
        async with crawler.stream(seeds) as stream:
            unwell = [each async for each in stream if each.outcome != Outcome.SUCCEEDED and each.url not in faults]
    harmed = [each.error.kind.value if each.error else each.outcome.value for each in unwell]
    begun: dict[str, float] = {}
    visits_s, ended = [], started
    for at, event in watched.events:
        if isinstance(event, VisitStarted):
            begun[event.url] = at
        elif isinstance(event, VisitSucceeded) and at > started and event.url not in faults:
            visits_s.append(at - begun[event.url])
            ended = at
    harmed += ["no result in time"] * (pages - len(visits_s) - len(harmed))
    return Speed(len(visits_s) / (ended - started), visits_s, harmed)


def compare_neighbours(kinds: Sequence[str], site: str, *, rounds: int, pages: int) -> None:
    """Crawl beside no fault and beside each, in turn within each round, and print the table."""
    seen: dict[str, list[Speed]] = {"none": [], **{kind: [] for kind in kinds}}
    for number in range(rounds):
        for kind, speeds in seen.items():
            speeds.append(asyncio.run(crawl_beside(FAULTS.get(kind), site, pages)))
        print(f"round {number + 1} of {rounds} done, {_load()}", flush=True)
    titles = ("good pages/s", "x", "lowest", "highest", "visit", "95 % below")
    print(f"\n{pages} good pages, {AT_ONCE} at once, 1 in {ONE_IN} bad; medians of {rounds} rounds")
    print(f"{'fault':22}" + "".join(f"{title:>14}" for title in titles) + "  harmed")
    for kind, speeds in seen.items():
        ratios = [own.pages_s / none.pages_s for own, none in zip(speeds, seen["none"], strict=True)]
        visits_s = [each for speed in speeds for each in speed.visits_s]
        cells = (
            f"{statistics.median(speed.pages_s for speed in speeds):.1f}",
            f"{statistics.median(ratios):.2f}",
            f"{min(ratios):.2f}",
            f"{max(ratios):.2f}",
            f"{statistics.median(visits_s) * 1000:.0f} ms",
            f"{statistics.quantiles(visits_s, n=20)[-1] * 1000:.0f} ms",
        )
        harmed = Counter(why for speed in speeds for why in speed.harmed)
        said = ", ".join(f"{count} {why}" for why, count in harmed.items()) or "0"
        print(f"{kind:22}" + "".join(f"{cell:>14}" for cell in cells) + f"  {said}")
    print(flush=True)


# --- the command -----------------------------------------------------------------------------------------------------


def _load() -> str:
    return f"load {os.getloadavg()[0]:.1f}"


@contextmanager
def serving() -> Iterator[str]:
    """Serve the demo site in a process of its own, and see that nothing else is left at the end."""
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        server = subprocess.Popen([sys.executable, "-m", "browsercrawl.testing"], stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            yield server.stdout.readline().split()[0].rstrip("/")
        finally:
            server.terminate()
            server.communicate()
            named = [each for each in psutil.process_iter() if _is_below(each, folder)]
            _, left = psutil.wait_procs(named, timeout=GONE_LIMIT_S)
            for process in left:
                process.kill()
            print(f"left: {len(left)} processes, {len(list(Path(folder).iterdir()))} temporary files", flush=True)


def _is_below(process: psutil.Process, folder: str) -> bool:
    """Tell whether a process was started by us or by what we started, its parents gone or not."""
    try:
        return process.pid != os.getpid() and process.environ().get("TMPDIR", "").startswith(folder)
    except psutil.Error:
        return False


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kinds", help=f"comma-separated (default: all): {', '.join(FAULTS)}")
    parser.add_argument("--parts", default="times,neighbours", help="comma-separated")
    parser.add_argument("--pages", type=int, default=100, help="good pages in each crawl of the second part")
    options = parser.parse_args()
    kinds = options.kinds.split(",") if options.kinds else list(FAULTS)
    if unknown := [kind for kind in kinds if kind not in FAULTS]:
        parser.error(f"--kinds has {', '.join(unknown)}; known are {', '.join(FAULTS)}")
    with serving() as site:
        if "times" in options.parts:
            compare_times(kinds, site, options.rounds)
        if "neighbours" in options.parts:
            compare_neighbours(kinds, site, rounds=options.rounds, pages=options.pages)


if __name__ == "__main__":
    main()
