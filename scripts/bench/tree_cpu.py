"""CPU seconds of a command and all it starts: by cgroup where that is allowed, else by what the kernel sums up."""

import os
import resource
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

_V1 = Path("/sys/fs/cgroup/cpuacct")
_V2 = Path("/sys/fs/cgroup")


def measured_run(command: Sequence[str]) -> tuple[float, str]:
    """Run a command to its end.

    Returns:
        CPU seconds of its whole process tree, and what it printed.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    group = _make_group()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        # The shell enters the group before it becomes the command, so that nothing of it is missed.
        entered = ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(group), *command] if group else command
        process = subprocess.Popen(entered, stdout=subprocess.PIPE, text=True)
        output, _ = process.communicate()
        if process.returncode != 0:
            raise subprocess.CalledProcessError(process.returncode, command, output)
        if group:
            return _group_cpu_s(group), output
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, output
    finally:
        if group:
            group.rmdir()


def can_run_together() -> bool:
    """Tell whether commands may be measured at the same time: by cgroup each has its own account."""
    return _parent() is not None


def _parent() -> Path | None:
    parent = _V1 if (_V1 / "cpuacct.usage").exists() else _V2 if (_V2 / "cgroup.controllers").exists() else None
    return parent if parent is not None and os.access(parent, os.W_OK) else None


def _make_group() -> Path | None:
    parent = _parent()
    return None if parent is None else Path(tempfile.mkdtemp(prefix="browsercrawl-bench-", dir=parent))


def _group_cpu_s(group: Path) -> float:
    if (group / "cpuacct.usage").exists():
        return int((group / "cpuacct.usage").read_text()) / 1e9
    fields = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
    return int(fields["usage_usec"]) / 1e6
