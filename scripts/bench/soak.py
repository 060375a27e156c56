"""Whether a long crawl stays as it was: speed, CPU and memory over thousands of visits to pages that keep state.

    python scripts/bench/soak.py [--visits 20000] [--out RAW.jsonl]
    python scripts/bench/soak.py --visits 3000 --subjects ours,crawl4ai,crawlee --peers PEERS/bin/python --out RAW.jsonl
    PLOTS/bin/python scripts/bench/soak.py --plot docs/soak.svg RAW.jsonl ...

Four pages at once; every visit has an address of its own. Each page has a style sheet, an image and two scripts, sets
cookies, localStorage, sessionStorage and window.name, adds to the history, keeps some 6 MB of objects alive, and has
listeners, timers and an observer; it writes once more when it is left. The page says when its script has run to the
end, and each visit is checked for that.

Subjects run one after the other, each in a process of its own (`soak_peers.py`) and with a temporary folder of its own;
all are measured in the same way: from outside, every hundredth visit. CPU is that of the whole process tree by cgroup
accounting (where no cgroup may be made: of the living processes and what they have reaped, which loses what a browser
had reaped when it ends). Memory is each process's proportional share (PSS), so that sums count nothing twice; the raw
file has resident and unshared sizes as well. A row is a thousand visits: memory and counts are medians of its ten
measurements. The slope is a least-squares fit to all measurements after the first thousand (of a shorter run: half).

The first SIGINT, or the end of `--max-time`, lets the subject end and prints what there is; the second kills it.
"""

import argparse
import json
import os
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from soak_peers import PACKAGES, serving
from tree_cpu import _group_cpu_s, _make_group

AT_ONCE = 4
SAMPLES_PER_ROW = 10
WARM_UP = 1000
END_LIMIT_S = 60.0
SILENCE_LIMIT_S = 180.0
PARTS = ("python", "driver", "browser", "renderers")
MB = 1e6


# --- measuring from outside ------------------------------------------------------------------------------------------


class Signals:
    """Counts SIGINT instead of dying of it."""

    def __init__(self) -> None:
        self.count = 0
        signal.signal(signal.SIGINT, self._take)

    def _take(self, *_: object) -> None:
        self.count += 1


class Subject:
    """A crawler in a process of its own, with a cgroup and a temporary folder, and all the processes it starts."""

    def __init__(self, python: str, task: Sequence[object]) -> None:
        self._group = _make_group()
        self._home = Path(tempfile.mkdtemp(prefix="soak-"))
        self._seen: dict[int, psutil.Process] = {}
        script = Path(__file__).with_name("soak_peers.py")
        command = [python, "-W", "ignore", str(script), json.dumps(task)]
        entered = ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(self._group), *command]
        (self._home / "tmp").mkdir()
        places = {"TMPDIR": str(self._home / "tmp"), "CRAWL4_AI_BASE_DIRECTORY": str(self._home)}
        # A session of its own: a SIGINT from the terminal reaches only this process, which then asks it to end.
        with (self._home / "errors").open("w") as errors:
            self.process = subprocess.Popen(
                entered if self._group else command,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=self._home,
                env=os.environ | places,
                start_new_session=True,
            )

    def lines(self, signals: Signals, *, limit_s: float) -> Iterator[dict[str, Any]]:
        """Yield what the subject tells until it ends; see that it does."""
        assert self.process.stdout is not None
        source, rest, asked = self.process.stdout.fileno(), b"", signals.count
        end_at, silent_since, is_ending = time.monotonic() + limit_s, time.monotonic(), False
        while True:
            now = time.monotonic()
            if not is_ending and (signals.count > asked or now > end_at):
                print(f"asked to end after {limit_s - (end_at - now):.0f} s", flush=True)
                self.process.send_signal(signal.SIGUSR1)
                is_ending, end_at = True, now + END_LIMIT_S
            elif signals.count > asked + 1 or (is_ending and now > end_at) or now - silent_since > SILENCE_LIMIT_S:
                print(f"killed; its last word came {now - silent_since:.0f} s ago", flush=True)
                self._kill()
            if not select.select([source], [], [], 1.0)[0]:
                continue
            data = os.read(source, 65_536)
            if not data:
                return
            silent_since = time.monotonic()
            *whole, rest = (rest + data).split(b"\n")
            for line in whole:
                yield json.loads(line)

    def measure(self) -> dict[str, Any]:
        """Return CPU seconds so far, and what each part holds now."""
        cpu_s = self._cpu_s()
        parts = {part: dict.fromkeys(("rss", "uss", "pss", "processes", "files"), 0) for part in PARTS}
        for process in self._processes():
            try:
                with process.oneshot():
                    part, memory = parts[self._part(process)], process.memory_full_info()
                    size = {"rss": memory.rss, "uss": memory.uss, "pss": memory.pss, "files": process.num_fds()}
            except psutil.Error:  # gone meanwhile
                continue
            for name, value in (size | {"processes": 1}).items():
                part[name] += value
        return {"cpu_s": cpu_s, "parts": parts}

    def close(self) -> str:
        """Let it end, kill what is left, and remove all. Returns what there was to be said of its end."""
        try:
            self.process.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._kill()
        if self.process.stdout is not None:
            self.process.stdout.close()
        _, alive = psutil.wait_procs(self._processes(), timeout=5.0)
        self._kill()
        psutil.wait_procs(alive, timeout=5.0)
        files = [path.name for path in (self._home / "tmp").iterdir()]
        said = f"ended with {self.process.wait()}; left: {len(alive)} processes, {len(files)} temporary files"
        if self.process.returncode:
            said += "\n" + "\n".join((self._home / "errors").read_text().splitlines()[-20:])
        shutil.rmtree(self._home, ignore_errors=True)
        if self._group:
            self._group.rmdir()
        return said

    def _kill(self) -> None:
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def _processes(self) -> list[psutil.Process]:
        """Return the living processes, those included that have lost their parents."""
        try:
            root = psutil.Process(self.process.pid)
            pids = {each.pid for each in (root, *root.children(recursive=True))}
        except psutil.NoSuchProcess:
            pids = set()
        if self._group:
            pids |= {int(pid) for pid in (self._group / "cgroup.procs").read_text().split()}
        for pid in pids.difference(self._seen):
            with suppress(psutil.NoSuchProcess):
                self._seen[pid] = psutil.Process(pid)
        self._seen = {pid: each for pid, each in self._seen.items() if _is_alive(each)}
        return list(self._seen.values())

    def _part(self, process: psutil.Process) -> str:
        line = process.cmdline()
        if process.pid == self.process.pid:
            return "python"
        if any("--type=renderer" in word for word in line):
            return "renderers"
        return "driver" if line and Path(line[0]).name.startswith("node") else "browser"

    def _cpu_s(self) -> float:
        return (
            _group_cpu_s(self._group) if self._group else sum(sum(each.cpu_times()[:4]) for each in self._processes())
        )


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def soak(python: str, task: Mapping[str, Any], *, signals: Signals, limit_s: float) -> Iterator[dict[str, Any]]:
    """Run one subject and yield its measurements."""
    subject = Subject(python, list(task.values()))
    try:
        for line in subject.lines(signals, limit_s=limit_s):
            yield line | subject.measure()
    finally:
        print(f"{task['subject']} {subject.close()}", flush=True)


# --- what it comes to ------------------------------------------------------------------------------------------------

COLUMNS = {
    "pages/s": "{:.1f}", "CPU ms": "{:.1f}", "python": "{:.1f}", "driver": "{:.1f}", "browser": "{:.1f}",
    "renderers": "{:.1f}", "all MB": "{:.1f}", "processes": "{:.1f}", "files": "{:.1f}", "tasks": "{:.1f}",
    "objects": "{:,.1f}", "wrong": "{:.0f}",
}  # fmt: skip
"""Of the table, with the form of their figures."""


class Point(NamedTuple):
    """One measurement: visits so far, and a figure for each column that has one."""

    done: int
    figures: dict[str, float]


def points(samples: Sequence[Mapping[str, Any]]) -> list[Point]:
    """Return a point for each measurement but the first, which has the start in it."""
    found = []
    for before, now in pairwise(samples):
        pages = now["done"] - before["done"]
        parts = {part: now["parts"][part]["pss"] / MB for part in PARTS}
        figures = {
            "pages/s": pages / (now["at_s"] - before["at_s"]),
            "CPU ms": (now["cpu_s"] - before["cpu_s"]) / pages * 1000,
            **parts,
            "all MB": sum(parts.values()),
            "processes": sum(now["parts"][part]["processes"] for part in PARTS),
            "files": sum(now["parts"][part]["files"] for part in PARTS),
            "tasks": now["tasks"],
            "wrong": now["wrong"] - before["wrong"],
        }
        found.append(Point(now["done"], figures if now["objects"] is None else figures | {"objects": now["objects"]}))
    return found


def rows(found: Sequence[Point], size: int) -> dict[int, dict[str, float]]:
    """Return the figures of each thousand visits, by the number at which it ends."""
    table = {}
    for end in sorted({-(-point.done // size) * size for point in found}):
        own = [point.figures for point in found if end - size < point.done <= end]
        cells = {name: [figures[name] for figures in own if name in figures] for name in COLUMNS}
        table[end] = {name: statistics.median(values) for name, values in cells.items() if values}
        table[end]["pages/s"] = statistics.harmonic_mean(cells["pages/s"])
        table[end]["CPU ms"] = statistics.mean(cells["CPU ms"])
        table[end]["wrong"] = sum(cells["wrong"])
    return table


class Slope(NamedTuple):
    """A fitted line: its growth per thousand visits, that figure's standard error, and its mean height."""

    growth: float
    error: float
    mean: float


def slope(found: Sequence[Point], name: str) -> Slope | None:
    """Fit a line to a column after the warm-up; None: there are too few points."""
    first = min(WARM_UP, found[-1].done / 2)
    pairs = [
        (point.done / 1000, point.figures[name]) for point in found if point.done > first and name in point.figures
    ]
    if len(pairs) < 3:
        return None
    x, y = zip(*pairs, strict=True)
    line = statistics.linear_regression(x, y)
    left = sum((b - line.intercept - line.slope * a) ** 2 for a, b in pairs) / (len(pairs) - 2)
    spread = sum((a - statistics.mean(x)) ** 2 for a in x)
    return Slope(line.slope, (left / spread) ** 0.5, statistics.mean(y))


def report(subject: str, samples: Sequence[Mapping[str, Any]], size: int) -> None:
    """Print the table of one subject, and its slopes."""
    found = points(samples)
    if not found:
        print(f"{subject}: too few measurements to say anything")
        return
    print(f"\n{subject}: memory in MB; means of CPU and pages/s, medians of the rest")
    print(f"{'visits':>10}" + "".join(f"{name:>10}" for name in COLUMNS))
    for end, figures in rows(found, size).items():
        cells = (form.format(figures[name]) if name in figures else "-" for name, form in COLUMNS.items())
        print(f"{end:>10,}" + "".join(f"{cell:>10}" for cell in cells))
    slopes = [slope(found, name) if name != "wrong" else None for name in COLUMNS]
    print(f"{'slope':>10}" + "".join(f"{line.growth:>+10.2f}" if line else f"{'-':>10}" for line in slopes))
    print(f"{'+-':>10}" + "".join(f"{line.error:>10.2f}" if line else f"{'-':>10}" for line in slopes))
    shares = (f"{line.growth / line.mean:>+10.2%}" if line and line.mean else f"{'-':>10}" for line in slopes)
    print(f"{'of mean':>10}" + "".join(shares))
    print("slope: change per 1,000 visits; +-: its standard error", flush=True)


# --- the picture -----------------------------------------------------------------------------------------------------

COLOURS = {
    "renderers": "#7aa6c2", "browser": "#c2955b", "driver": "#7f9f6d", "python": "#a85751",
    "ours": "#2f6f9f", "crawl4ai": "#b5533c", "crawlee": "#8a7f3a",
}  # fmt: skip
NAMES = {"ours": "browsercrawl", "crawl4ai": "crawl4ai", "crawlee": "Crawlee"}


class Soaked(NamedTuple):
    """One subject's run, as a raw file has it."""

    path: Path
    subject: str
    size: int
    samples: list[dict[str, Any]]


def read(paths: Sequence[Path]) -> list[Soaked]:
    """Read raw files."""
    runs: list[Soaked] = []
    for path in paths:
        for line in map(json.loads, path.read_text().splitlines()):
            if "subject" in line:
                runs.append(Soaked(path, line["subject"], line["every"], []))
            else:
                runs[-1].samples.append(line)
    return [run for run in runs if len(points(run.samples)) > 1]


def plot(picture: Path, paths: Sequence[Path]) -> None:
    """Draw our longest run, and below it all the runs that were made side by side with others."""
    try:
        import matplotlib as mpl  # type: ignore[import-not-found]  # no dependency of the project
        from matplotlib import pyplot as plt
    except ImportError:
        sys.exit(f"{sys.executable} has no matplotlib: run --plot with an environment that has matplotlib and psutil")
    runs = read(paths)
    ours = [run for run in runs if run.subject == "ours"]
    if not ours:
        sys.exit("these files have no run of ours with two measurements")
    longest = max(ours, key=lambda run: run.samples[-1]["done"])
    shared = {run.path for run in runs if run.subject != "ours"}
    others = [run for run in runs if run.path in shared]
    # Text stays text, and nothing depends on the day: the same data give the same file.
    mpl.rcParams.update(
        {"svg.hashsalt": "soak", "svg.fonttype": "none", "font.size": 10, "axes.spines.top": False,
         "axes.spines.right": False, "axes.titlelocation": "left", "axes.titlesize": 11, "axes.grid": True,
         "axes.grid.axis": "y", "grid.color": "#e4e4e4", "axes.axisbelow": True, "axes.edgecolor": "#888888",
         "xtick.color": "#555555", "ytick.color": "#555555", "text.color": "#222222", "axes.labelcolor": "#555555",
         "font.family": "sans-serif",
         "font.sans-serif": ["DejaVu Sans", "Arial", "sans-serif"]}
    )  # fmt: skip
    height = 2 if others else 1
    figure, axes = plt.subplots(height, 2, figsize=(10, 3.5 * height), layout="constrained", squeeze=False)
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    _draw_parts(axes[0][0], longest)
    _draw_lines(axes[0][1], [longest], "CPU ms", f"{NAMES['ours']}: CPU per page, ms")
    if others:
        _draw_lines(axes[1][0], others, "all MB", "Side by side: memory of all processes, MB")
        _draw_lines(axes[1][1], others, "CPU ms", "Side by side: CPU per page, ms")
    for axis in axes.flat:
        axis.set_xlabel("visits")
        axis.set_ylim(0, axis.get_ylim()[1] * 1.15)  # room for the legend
        axis.set_xlim(left=0)
        axis.xaxis.set_major_formatter("{x:,.0f}")
        axis.yaxis.set_major_formatter("{x:,.0f}")
        axis.tick_params(length=0)
        axis.legend(
            frameon=False, loc="upper right", ncols=4, fontsize=9, columnspacing=1.2, handlelength=1.2, borderaxespad=0
        )
    figure.savefig(picture, metadata={"Date": None} if picture.suffix == ".svg" else None, facecolor="white")
    print(f"{picture}: {picture.stat().st_size:,} bytes")


def _draw_parts(axis: Any, run: Soaked) -> None:
    found = points(run.samples)
    parts = ("python", "driver", "browser", "renderers")
    heights = [[point.figures[part] for point in found] for part in parts]
    axis.stackplot([point.done for point in found], heights, labels=parts, colors=[COLOURS[part] for part in parts])
    axis.set_title(f"{NAMES[run.subject]}: memory, MB")


def _draw_lines(axis: Any, runs: Sequence[Soaked], name: str, title: str) -> None:
    for run in runs:
        found = points(run.samples)
        x, y, colour = [each.done for each in found], [each.figures[name] for each in found], COLOURS[run.subject]
        axis.plot(x, y, color=colour, linewidth=0.8, alpha=0.35)
        size = min(run.size, max(1, x[-1] // 5))
        means = rows(found, size)
        middles = [(end - size + min(end, x[-1])) / 2 for end in means]
        axis.plot(middles, [row[name] for row in means.values()], color=colour, linewidth=2, label=NAMES[run.subject])
    axis.set_title(title)


# --- the command -----------------------------------------------------------------------------------------------------


def installed(python: str, subject: str) -> dict[str, str]:
    """Return the versions a subject runs with; say what is missing, and end."""
    script = Path(__file__).with_name("soak_peers.py")
    told = subprocess.run([python, str(script), "versions"], check=True, capture_output=True, text=True).stdout
    found: dict[str, str | None] = json.loads(told)
    if found[PACKAGES[subject]] is None:
        sys.exit(f"{python} has no {PACKAGES[subject]}: {python} -m pip install crawl4ai 'crawlee[playwright]'")
    return {package: number for package in (PACKAGES[subject], "playwright") if (number := found[package])}


def run(subjects: Sequence[str], options: argparse.Namespace) -> None:
    """Run the subjects one after the other, print their tables, write what was measured."""
    from browsercrawl import BrowserConfig
    from browsercrawl.browser import find_browser

    browser = str(options.browser or find_browser(BrowserConfig()).path)
    signals = Signals()
    every = max(1, options.row // SAMPLES_PER_ROW)
    server = serving()
    try:
        with options.out.open("w") if options.out else tempfile.TemporaryFile("w") as raw:
            for subject in subjects:
                python = sys.executable if subject == "ours" else options.peers
                versions = installed(python, subject)
                about = {"subject": subject, "versions": versions, "load": os.getloadavg()[0], "every": options.row}
                print(json.dumps(about), file=raw, flush=True)
                print(f"\n{subject} {versions}, load {about['load']:.1f}", flush=True)
                task = {
                    "subject": subject, "base": f"http://127.0.0.1:{server.port}/visit/", "browser": browser,
                    "visits": options.visits, "at_once": AT_ONCE, "every": every,
                }  # fmt: skip
                samples = []
                for sample in soak(python, task, signals=signals, limit_s=options.max_time):
                    samples.append(sample)
                    print(json.dumps(sample), file=raw, flush=True)
                report(subject, samples, options.row)
                if signals.count:
                    break
    finally:
        server.stop()


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visits", type=int, default=20_000)
    parser.add_argument("--subjects", default="ours", help=f"comma-separated: {', '.join(PACKAGES)}")
    parser.add_argument("--peers", help="interpreter of the environment that has crawl4ai and Crawlee")
    parser.add_argument("--browser", type=Path, help="executable for all subjects (default: the one we find)")
    parser.add_argument("--row", type=int, default=1000, help="visits in a row of the table")
    parser.add_argument("--max-time", type=float, default=7200.0, help="seconds for each subject")
    parser.add_argument("--out", type=Path, help="file for the raw measurements, as JSON lines")
    parser.add_argument("--plot", type=Path, metavar="PICTURE", help="draw raw files instead of measuring")
    parser.add_argument("files", type=Path, nargs="*", help="raw files to draw")
    options = parser.parse_args()
    if options.plot:
        plot(options.plot, options.files)
        return
    subjects = options.subjects.split(",")
    if unknown := [subject for subject in subjects if subject not in PACKAGES]:
        parser.error(f"--subjects has {', '.join(unknown)}; known are {', '.join(PACKAGES)}")
    if subjects != ["ours"] and (options.peers is None or shutil.which(options.peers) is None):
        parser.error(f"--peers {options.peers}: no interpreter of an environment that has the peers")
    if options.files:
        parser.error("files are for --plot")
    run(subjects, options)


if __name__ == "__main__":
    main()
