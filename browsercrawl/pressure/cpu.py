"""How much of the CPU that is allowed is used: by our cgroups against their quotas, by everyone on our cores."""

import os
from pathlib import Path
from typing import NamedTuple

import psutil

from browsercrawl.pressure.cgroups import Cgroups, Place
from browsercrawl.pressure.kernel import Growth, field, number, read_number, read_text

_TICKS_PER_S = 100
"""Linux tells CPU times to programs in these, whatever it counts in itself."""


class Cores(NamedTuple):
    """How many cores may be used, and what says so."""

    number: float
    source: str


class Cpu:
    """Looks at CPU use again and again, at places found once.

    Args:
        root: where `proc` and `sys` are found.
        cgroups: of this process.
    """

    def __init__(self, root: Path, *, cgroups: Cgroups) -> None:
        self._base = str(root).rstrip("/")
        self._place = cgroups.place("cpu")
        self._account = cgroups.place("cpuacct") if self._place and self._place.version == 1 else self._place
        self._machine = Growth()
        self._groups: dict[str, Growth] = {}

    def share(self, at_s: float) -> float | None:
        """Return CPU used since the last look as a share of what is allowed, at the level nearest to its limit.

        None at the first look. A level that is given a quota meanwhile counts from its second look on.
        """
        shares = [self._machine.rate(*_ticks(f"{self._base}/proc/stat"))]
        for folder, quota in self._quotas():
            used_s = self._used_s(folder)
            if used_s is not None:
                growth = self._groups.setdefault(folder, Growth())
                rate = growth.rate(at_s, used_s)
                shares.append(None if rate is None else rate / quota)
        return max((share for share in shares if share is not None), default=None)

    def cores(self) -> Cores:
        """Return how many cores may be used at most: by the cores given to this process, or by the tightest quota."""
        own = _own_cores()
        there = os.cpu_count() or 1
        is_part = 0 < len(own) < there
        levels = [Cores(float(len(own)), "taskset or cpuset") if is_part else Cores(float(there), "host")]
        if self._place is not None:
            name = "cpu.max" if self._place.version == 2 else "cpu.cfs_quota_us"
            levels += [Cores(quota, f"{folder}/{name}") for folder, quota in self._quotas()]
        return min(levels, key=lambda level: level.number)

    def _quotas(self) -> list[tuple[str, float]]:
        """Return each level that has a quota, and how many cores it comes to."""
        if self._place is None:
            return []
        quotas = ((folder, _quota(self._place, folder)) for folder in self._place.folders)
        return [(folder, quota) for folder, quota in quotas if quota is not None]

    def _used_s(self, folder: str) -> float | None:
        """Return the CPU time of a level so far; None if it is not told."""
        if self._place is None or self._account is None:
            return None
        if self._account.version == 2:
            used_us = field(read_text(f"{folder}/cpu.stat"), "usage_usec")
            return None if used_us is None else used_us / 1e6
        used_ns = read_number(f"{self._account.mount}{folder.removeprefix(self._place.mount)}/cpuacct.usage")
        return None if used_ns is None else used_ns / 1e9


def _quota(place: Place, folder: str) -> float | None:
    if place.version == 2:
        words = read_text(f"{folder}/cpu.max").split()
        quota, period = map(number, words) if len(words) == 2 else (None, None)
    else:
        quota, period = read_number(f"{folder}/cpu.cfs_quota_us"), read_number(f"{folder}/cpu.cfs_period_us")
    return quota / period if quota and period else None


def _own_cores() -> frozenset[int]:
    """Return the cores that this process may run on, as set by `taskset` or a cpuset; none where it is not told."""
    try:
        return frozenset(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # not Linux
        return frozenset()


def _ticks(file: str) -> tuple[float, float]:
    """Return the time that has passed on our cores, and how much of it they were busy, in seconds of all together.

    What the hypervisor kept from the machine (steal) is busy: it is not there to be used.
    """
    cores, passed, idle = _own_cores(), 0, 0
    for line in read_text(file).splitlines():
        if not line.startswith("cpu"):
            break
        name, *words = line.split()
        times = [number(word) or 0 for word in words[:8]]
        if number(name[3:]) in cores and len(times) == 8:
            passed += sum(times)
            idle += times[3] + times[4]
    if passed:
        return passed / _TICKS_PER_S, (passed - idle) / _TICKS_PER_S
    try:
        told = psutil.cpu_times()
    except (psutil.Error, OSError, ValueError, RuntimeError):
        return 0.0, 0.0
    return sum(told[:4]), sum(told[:4]) - told.idle
