"""The directory of a run: made whole before the first page opens, locked while the run lasts, opened again later."""

import fcntl
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import JsonValue

from browsercrawl.clock import Clock
from browsercrawl.errors import OutputFailed, RunBusy, RunDamaged, RunDirectoryError
from browsercrawl.output.line_file import FILE_MODE
from browsercrawl.output.results import raw_lines
from browsercrawl.output.summary import Summary
from browsercrawl.redaction import redact_value

DEFAULT_PARENT = "runs"
_NAMES_TRIED_MAX = 100
_HOST_LENGTH_MAX = 60

_LOCK_TRIES = 10
_LOCK_PAUSE_S = 0.02
_HOLDER_BYTES = 20
"""The process id in the lock file always takes as much, so that writing it needs no room on a full disk."""


def default_run_directory(host: str, clock: Clock) -> Path:
    """Return `runs/<UTC time>-<host>` below the working directory; a path that does not exist yet.

    Args:
        host: what is crawled, such as the first request's `hostname:port`; anything is made fit for a file name.
        clock: gives the time.
    """
    shown = re.sub(r"[^A-Za-z0-9.-]+", "-", host).strip(".-")[:_HOST_LENGTH_MAX] or "run"
    name = f"{clock.utc():%Y%m%dT%H%M%SZ}-{shown}"
    parent = Path(DEFAULT_PARENT)
    for number in range(2, _NAMES_TRIED_MAX):
        if not os.path.lexists(parent / name):
            break
        name = f"{name.rpartition('_')[0] or name}_{number}"
    return parent / name


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a run's lock.

    Attributes:
        pid: of the process; None when the lock file does not tell.
        since: when it took the lock.
    """

    pid: int | None
    since: datetime

    def __str__(self) -> str:
        who = "another process" if self.pid is None else f"process {self.pid}"
        return f"{who} (since {self.since:%Y-%m-%d %H:%M:%S} UTC)"


def holder_of(path: Path) -> Holder | None:
    """Tell who runs the run in a directory; changes nothing, and holds up nobody.

    Args:
        path: a run directory, or any other path.

    Returns:
        None when nobody does.

    Raises:
        RunDirectoryError: the lock file cannot be read.
    """
    try:
        lock = os.open(path / ".lock", os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RunDirectoryError(f"{path}/.lock cannot be read: {error.strerror or error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(lock)
    finally:
        os.close(lock)
    return None


class RunDirectory:
    """The files of one run.

    A program killed at any moment leaves the directory whole or not at all (a hidden `.<name>.new-*` may stay beside
    it). The lock is the kernel's, on the file `.lock`: it ends with the process, however that dies.
    """

    def __init__(self, path: Path, lock: int, *, made: bool) -> None:
        """Take over a directory and its lock; use `create` or `open`."""
        self.path = path
        self.results = path / "results.jsonl"
        self.events = path / "events.jsonl"
        self.store = path / "run.sqlite"
        self.artifacts = path / "artifacts"
        self.job = path / "job.yaml"
        self.summary = path / "summary.json"
        self._lock = lock
        self._made = made
        self._new_results = path / "results.jsonl.new"

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        options: Mapping[str, JsonValue] | None = None,
        prepare: Callable[[Path], None] | None = None,
    ) -> Self:
        """Make the directory with its empty files, and lock it; it survives a power failure from then on.

        Args:
            path: where.
            options: the options in effect; kept in `job.yaml` without their secrets.
            prepare: puts more files into the hidden directory, given to it, that becomes the run's.

        Raises:
            RunDirectoryError: `path` exists, or cannot be made.
        """
        target = Path(path)
        if os.path.lexists(target):
            raise RunDirectoryError(f"run directory {target} exists already; name another one or remove it")
        try:
            return cls(target.absolute(), _make(target.absolute(), options or {}, prepare=prepare), made=True)
        except OSError as error:
            raise RunDirectoryError(f"run directory {target} cannot be made: {error.strerror or error}") from error

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the directory of an earlier run, and lock it.

        Raises:
            RunDirectoryError: there is none, or it cannot be opened.
            RunBusy: another process runs it.
        """
        target = Path(path)
        if not target.is_dir():
            what = "is no directory" if os.path.lexists(target) else "does not exist"
            raise RunDirectoryError(f"{target} is no run directory: it {what}")
        if not (target / "run.sqlite").is_file():
            raise RunDirectoryError(f"{target} is no run directory: it has no run.sqlite")
        try:
            lock = _locked(target)
            try:
                (target / "artifacts").mkdir(mode=0o700, exist_ok=True)  # copies are made that leave out what is empty
                return cls(target.absolute(), lock, made=False)
            except BaseException:
                os.close(lock)
                raise
        except OSError as error:
            raise RunDirectoryError(f"run directory {target} cannot be opened: {error.strerror or error}") from error

    def write_summary(self, summary: Summary) -> None:
        """Write `summary.json`, whole or not at all.

        Raises:
            OutputFailed: it cannot be written.
        """
        text = json.dumps(redact_value(summary.model_dump(mode="json")), indent=2, ensure_ascii=False)
        fresh = self.summary.with_name(".summary.json.new")
        try:
            _write_file(fresh, text + "\n")
            fresh.replace(self.summary)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            raise OutputFailed(f"{self.summary} cannot be written: {error.strerror or error}") from error

    # --- taking results back -----------------------------------------------------------------------------------------
    # Killed between any two steps, the run is as before or as after: (a) `replace_results`; (b) in one transaction the
    # store records the new size, the requests taken back, and the note `results_swap`; (c) `finish_swap`; (d) the note
    # is cleared. Who opens a run first does (c) and (d) if the note is there, and `drop_swap` if not.

    def replace_results(self, keep: Callable[[str], bool], *, size: int) -> int:
        """Write the results anew beside the file, without some of them. Blocks: call it from a thread.

        Args:
            keep: tells by a `request_id` whether its line stays.
            size: bytes of the file that the run has recorded.

        Returns:
            Bytes of the new file.

        Raises:
            RunDamaged: a line is no result, or the file is too short.
            OutputFailed: the new file cannot be written; it is removed.
        """
        fresh = self._new_results
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
            with os.fdopen(descriptor, "wb") as file:
                for number, line in raw_lines(self.results, size=size):
                    if keep(_request_id(self.results, number, line)):
                        file.write(line + b"\n")
                file.flush()
                os.fsync(descriptor)
                written = file.tell()
            _sync(self.path)
        except BaseException as error:
            fresh.unlink(missing_ok=True)
            if isinstance(error, OSError):
                reason = error.strerror or error
                raise OutputFailed(f"{fresh} cannot be written: {reason}; nothing was taken back") from error
            raise
        return written

    def finish_swap(self) -> None:
        """Let the new results take the place of the old, if that has not happened yet.

        Raises:
            OutputFailed: it cannot be done.
        """
        try:
            if self._new_results.exists():
                self._new_results.replace(self.results)
            _sync(self.path)
        except OSError as error:
            raise OutputFailed(f"{self.results} cannot be replaced: {error.strerror or error}") from error

    def drop_swap(self) -> None:
        """Remove new results that were never to count."""
        self._new_results.unlink(missing_ok=True)

    # --- the end -----------------------------------------------------------------------------------------------------

    def discard(self) -> None:
        """Remove the directory of a run that never opened a page; the same command may then be given again.

        A directory that was opened is only closed: there is an earlier run in it.
        """
        if self._made:
            shutil.rmtree(self.path, ignore_errors=True)
        self.close()

    def close(self) -> None:
        """Release the lock; may be called again."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        """Return the directory; its lock ends with the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Release the lock."""
        self.close()


def _make(target: Path, options: Mapping[str, JsonValue], *, prepare: Callable[[Path], None] | None) -> int:
    """Make everything beside `target`, lock it, then give it its name. Returns the lock."""
    missing = [each for each in (target.parent, *target.parent.parents) if not each.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    made = fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.new-", dir=target.parent))  # mode 0700
    lock = -1
    try:
        (fresh / "artifacts").mkdir(mode=0o700)
        for name in ("results.jsonl", "events.jsonl"):
            _write_file(fresh / name, "")
        # JSON is YAML: no dependency is needed to write it, nor to read it back.
        _write_file(fresh / "job.yaml", json.dumps(redact_value(dict(options)), indent=2, ensure_ascii=False) + "\n")
        lock = os.open(fresh / ".lock", os.O_RDWR | os.O_CREAT | os.O_EXCL, FILE_MODE)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _sign(lock)
        if prepare is not None:
            prepare(fresh)
        for folder, _, files in os.walk(fresh):
            for name in files:
                (Path(folder) / name).chmod(FILE_MODE)
                _sync(Path(folder) / name)
            _sync(Path(folder))
        # A directory that was made meanwhile and holds anything, as each of ours does, makes this fail.
        made = fresh.rename(target)
        for parent in (target.parent, *(each.parent for each in missing)):
            with suppress(PermissionError):  # one may make directories where one may not list them
                _sync(parent)
    except BaseException:
        if lock >= 0:
            os.close(lock)
        shutil.rmtree(made, ignore_errors=True)
        raise
    return lock


def _locked(target: Path) -> int:
    """Return the directory's lock, taken and signed."""
    lock = os.open(target / ".lock", os.O_RDWR | os.O_CREAT, FILE_MODE)
    try:
        for left in range(_LOCK_TRIES, 0, -1):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if left == 1:
                    raise RunBusy(
                        f"{target} is being run by {_holder(lock)}; wait for its end, or stop it, then try again"
                    ) from None
                time.sleep(_LOCK_PAUSE_S)  # it may only be `holder_of`, which looks for an instant
        _sign(lock)
    except BaseException:
        os.close(lock)
        raise
    return lock


def _sign(lock: int) -> None:
    """Write into the lock file who holds it: the process's id; since when is the file's time."""
    try:
        os.pwrite(lock, f"{os.getpid():<{_HOLDER_BYTES - 1}}\n".encode(), 0)
    except OSError:
        os.ftruncate(lock, 0)  # a full disk, perhaps: better no name than a wrong one


def _holder(lock: int) -> Holder:
    text = os.pread(lock, _HOLDER_BYTES, 0).decode("ascii", "replace").strip()
    since = datetime.fromtimestamp(os.fstat(lock).st_mtime, UTC)
    return Holder(pid=int(text) if text.isdecimal() else None, since=since)


def _request_id(path: Path, number: int, line: bytes) -> str:
    try:
        return str(json.loads(line)["request_id"])
    except (ValueError, TypeError, KeyError):
        raise RunDamaged(f"{path} is damaged: line {number} is no result; it was left as it is") from None


def _write_file(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _sync(path: Path) -> None:
    """Bring a file, or the names in a directory, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
