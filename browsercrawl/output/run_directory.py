"""The directory of a run: made whole before the first page opens, locked while the run lasts."""

import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import JsonValue

from browsercrawl.clock import Clock
from browsercrawl.errors import OutputFailed, RunDirectoryError
from browsercrawl.output.line_file import FILE_MODE
from browsercrawl.output.summary import Summary
from browsercrawl.redaction import redact_value

DEFAULT_PARENT = "runs"
_NAMES_TRIED_MAX = 100
_HOST_LENGTH_MAX = 60


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


class RunDirectory:
    """The files of one run.

    A program killed at any moment leaves the directory whole or not at all (a hidden `.<name>.new-*` may stay beside
    it). The lock is the kernel's, on the file `.lock`: it ends with the process, however that dies.
    """

    def __init__(self, path: Path, lock: int) -> None:
        """Take over a made directory and its lock; use `create`."""
        self.path = path
        self.results = path / "results.jsonl"
        self.events = path / "events.jsonl"
        self.artifacts = path / "artifacts"
        self.job = path / "job.yaml"
        self.summary = path / "summary.json"
        self._lock = lock

    @classmethod
    def create(cls, path: Path, *, options: Mapping[str, JsonValue] | None = None) -> Self:
        """Make the directory with its empty files, and lock it.

        Args:
            path: where.
            options: the options in effect; kept in `job.yaml` without their secrets.

        Raises:
            RunDirectoryError: `path` exists, or cannot be made.
        """
        target = Path(path)
        if os.path.lexists(target):
            raise RunDirectoryError(f"run directory {target} exists already; name another one or remove it")
        try:
            return cls(target.absolute(), _make(target.absolute(), options or {}))
        except OSError as error:
            raise RunDirectoryError(f"run directory {target} cannot be made: {error.strerror or error}") from error

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

    def discard(self) -> None:
        """Remove the directory of a run that never opened a page; the same command may then be given again."""
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


def _make(target: Path, options: Mapping[str, JsonValue]) -> int:
    """Make everything beside `target`, lock it, then give it its name. Returns the lock."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.new-", dir=target.parent))  # mode 0700
    lock = -1
    try:
        (fresh / "artifacts").mkdir(mode=0o700)
        for name in ("results.jsonl", "events.jsonl"):
            _write_file(fresh / name, "")
        # JSON is YAML: no dependency is needed to write it, nor to read it back.
        _write_file(fresh / "job.yaml", json.dumps(redact_value(dict(options)), indent=2, ensure_ascii=False) + "\n")
        lock = os.open(fresh / ".lock", os.O_RDWR | os.O_CREAT | os.O_EXCL, FILE_MODE)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # A directory that was made meanwhile and holds anything, as each of ours does, makes this fail.
        fresh.rename(target)
    except BaseException:
        if lock >= 0:
            os.close(lock)
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return lock


def _write_file(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
