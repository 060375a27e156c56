"""`browsercrawl status`: how a run stands, told from its directory; nothing in it is changed or locked.

A run's own process needs not be asked: its store and its lock tell all, while it works and after it died.
"""

import json
import os
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from browsercrawl.cli.arguments import BadUsage, Grammar, Option
from browsercrawl.cli.foreground import login_command, resume_command
from browsercrawl.cli.terminal import harmless_json
from browsercrawl.cli.view import WHOLE, InputRead, RunState, RunStatus, paused, run_line
from browsercrawl.crawler.account import sessions_noted
from browsercrawl.errors import RunDirectoryError
from browsercrawl.frontier.sqlite import StoreView, read_store
from browsercrawl.output import FinishReason, Holder, holder_of

EVERY_S = 1.0
"""`--watch` looks so often."""

_MEASURING_SHARE = 0.05
"""Of the time, at most so much is spent on adding up the sizes of the run's files: there may be millions."""

GRAMMAR = Grammar(
    command="status",
    summary="Tell how a run stands: one that goes on, one that was interrupted, one that is over.",
    details=(
        (
            "It only reads, so it may be asked at any time: while another process works on the run, and after that "
            "process was killed. Requests shown as open were being visited when it died; they are visited again."
        ),
        "Exit codes: 0 well, 2 bad usage, no such run, or a damaged one.",
    ),
    operands="RUN_DIR",
    operands_help="The run's directory.",
    options=(
        Option(flag="--watch", group="Output", help="Look again each second, until no process works on it; or Ctrl-C."),
        Option(flag="--json", group="Output", help="One line of JSON; with --watch one for each second."),
    ),
    examples=(
        ("how far is it?", "browsercrawl status runs/mine"),
        ("look over its shoulder from another terminal", "browsercrawl status runs/mine --watch"),
        ("what failed, by kind", "browsercrawl status runs/mine --json | jq .failures"),
        ("how its sessions do", "browsercrawl status runs/mine --json | jq -c '.sessions[]'"),
    ),
)


def execute(arguments: Namespace) -> int:
    """Print how the run stands, once or until it ends."""
    given: dict[str, Any] = vars(arguments)
    watch, as_json = Watch(one_run(given["operands"], "status")), "json" in given
    if "watch" not in given:
        _print(watch.look(), as_json=as_json)
        return 0
    looks = watch.until_it_ends()
    with suppress(KeyboardInterrupt):  # the way to leave it
        if not as_json and sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
            from browsercrawl.cli.drawing import watch_run  # noqa: PLC0415 - rich, when there is something to draw

            watch_run(looks)
        else:
            last = ""
            for status in looks:
                told = run_line(status.model_copy(update={"elapsed_s": 0.0}))  # that time passes is no change
                if as_json or told != last:
                    print(_json_line(status) if as_json else run_line(status), flush=True)
                last = told
    return 0


def one_run(operands: Sequence[str], command: str) -> Path:
    """Return the run directory that a command was given.

    Raises:
        BadUsage: none, or more than one, was given. RunDirectoryError: it is no run directory.
    """
    if len(operands) != 1:
        wrong = "give a run directory" if not operands else f"give one run directory, not {len(operands)}"
        raise BadUsage(f"{wrong}: browsercrawl {command} RUN_DIR")
    path = Path(operands[0])
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise RunDirectoryError(f"run directory {path} {what}; name the directory that crawl or run has made")
    if not (path / STORE).is_file():
        raise RunDirectoryError(f"{path} is no run directory: it holds no {STORE}")
    return path


STORE = "run.sqlite"


class Watch:
    """Looks at one run, again and again."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._bytes = 0
        self._measure_at = 0.0

    def look(self) -> RunStatus:
        """Return how the run stands now.

        Raises:
            RunDirectoryError, RunDamaged: it cannot be told.
        """
        before = holder_of(self._directory)
        while True:
            view = read_store(self._directory / STORE)
            holder = holder_of(self._directory)
            if holder == before:  # else a process came or went meanwhile, and what it noted belongs to another state
                break
            before = holder
        return status_of(self._directory, view, holder=holder, disk_bytes=self._measured())

    def until_it_ends(self) -> Iterator[RunStatus]:
        """Yield how the run stands, each second; last, how it stands when no process works on it any more."""
        while True:
            status = self.look()
            yield status
            if status.state is not RunState.RUNNING:
                return
            time.sleep(EVERY_S)

    def _measured(self) -> int:
        begun = time.monotonic()
        if begun >= self._measure_at:
            self._bytes = _size(self._directory)
            done = time.monotonic()
            self._measure_at = done + (done - begun) / _MEASURING_SHARE
        return self._bytes


def status_of(directory: Path, view: StoreView, *, holder: Holder | None, disk_bytes: int) -> RunStatus:
    """Put together how a run stands.

    Args:
        directory: of the run, as the user named it.
        view: what its store tells.
        holder: the process that works on it.
        disk_bytes: its size.
    """
    counts, notes, totals = view.counts, view.notes, view.totals
    reason = FinishReason(notes["finish_reason"]) if notes.get("finish_reason") else None
    if holder is not None:
        state = RunState.RUNNING
    else:
        state = RunState.FINISHED if reason in WHOLE and not counts.open else RunState.INTERRUPTED
    sessions = sessions_noted(notes, datetime.now(UTC))
    failures, skips = _by_kind(totals, "failed."), _by_kind(totals, "skipped.")
    go_on = state is RunState.INTERRUPTED and notes.get("job")
    return RunStatus(
        run_dir=directory.absolute(),
        run_id=notes.get("run_id", ""),
        state=state,
        finish_reason=None if holder is not None else reason,
        pid=holder.pid if holder else None,
        process_started_at=holder.since if holder else None,
        started_at=datetime.fromisoformat(notes["started_at"]) if notes.get("started_at") else None,
        elapsed_s=_elapsed_s(notes, holder),
        stored=counts.stored,
        queued=counts.queued,
        waiting=counts.waiting,
        parked=counts.parked,
        retrying=counts.retrying,
        claimed=counts.claimed,
        finished=counts.finished,
        succeeded=totals.get("succeeded", 0),
        failed=sum(failures.values()),
        skipped=sum(skips.values()),
        partial=totals.get("partial", 0),
        retried=totals.get("retried", 0),
        duplicates=counts.duplicates,
        failures=failures,
        skips=skips,
        input=_input(notes.get("input"), directory),
        disk_bytes=disk_bytes,
        sessions=tuple(sessions),
        log_in=tuple(
            login_command(directory, each.session) for each in paused(sessions) if _has_login(notes, each.session)
        )
        if go_on
        else (),
        go_on=resume_command(directory) if go_on else None,
    )


def _has_login(notes: Mapping[str, str], session: str) -> bool:
    """Tell whether the run's job says how a session logs in."""
    part: Any = json.loads(notes["job"])
    for step in ("sessions", "profiles", session, "login"):
        part = part.get(step) if isinstance(part, dict) else None
    return part is not None


def _elapsed_s(notes: Mapping[str, str], holder: Holder | None) -> float:
    """Return how long processes have worked on a run; the present one notes it only every few seconds."""
    noted = float(notes.get("elapsed_s") or 0.0)
    return noted if holder is None else max(noted, round((datetime.now(UTC) - holder.since).total_seconds(), 3))


def _by_kind(totals: Mapping[str, int], start: str) -> dict[str, int]:
    """Return what was counted under names that begin so, the largest number first."""
    found = {name.removeprefix(start): number for name, number in totals.items() if name.startswith(start) and number}
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _input(mark: str | None, directory: Path) -> InputRead | None:
    """Return how far the seeds were read, if the mark tells: it is in the words of whoever reads them."""
    try:
        read = json.loads(mark or "null")
    except ValueError:
        return None
    if isinstance(read, int):
        return InputRead(lines=read)
    if not isinstance(read, dict):
        return None
    file = read.get("file")
    if isinstance(file, dict) and {"line", "offset", "size"} <= file.keys():
        return InputRead(lines=file["line"], read_bytes=file["offset"], total_bytes=_total_bytes(file, directory))
    return InputRead(lines=read["listed"]) if "listed" in read else None


def _total_bytes(file: Mapping[str, int], directory: Path) -> int | None:
    """Return the size of the input; of what came through a pipe, when it has ended."""
    if (directory / "input.txt.part").exists():
        return None
    kept = directory / "input.txt"
    size = kept.stat().st_size if kept.exists() else file["size"]
    return max(size, file["offset"])  # a file that has grown since it was opened


def _size(directory: Path) -> int:
    """Return the bytes of all files below a directory; what comes or goes meanwhile may count or not."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            with suppress(OSError):
                total += (Path(folder) / name).lstat().st_size
    return total


def _print(status: RunStatus, *, as_json: bool) -> None:
    if as_json:
        print(_json_line(status))
        return
    from browsercrawl.cli.drawing import print_run  # noqa: PLC0415 - rich, when there is something to draw

    print_run(status)


def _json_line(status: RunStatus) -> str:
    return harmless_json(status.model_dump_json())
