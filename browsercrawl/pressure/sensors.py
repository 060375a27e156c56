"""Looks at everything that can press on a crawl: memory, CPU, the event loop, open files and processes.

Wherever something cannot be read (another system, an older kernel, a container that hides it) the reading has less in
it; no look ever fails.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from browsercrawl.clock import Clock
from browsercrawl.pressure.cgroups import Cgroups
from browsercrawl.pressure.counts import Counts
from browsercrawl.pressure.cpu import Cpu
from browsercrawl.pressure.kernel import Growth, number, read_text
from browsercrawl.pressure.lag import LoopLag
from browsercrawl.pressure.memory import Memory
from browsercrawl.pressure.reading import Reading

_ROOT = Path("/")

Gauge = Callable[[], float]
"""User code that tells how much of something is used: 0 is nothing, 1 all there is."""


class Finding(NamedTuple):
    """Something that was found on this machine.

    Attributes:
        what: such as `memory limit`.
        value: bytes, cores or a number; None: there is none.
        source: the file or call it is from; empty if there is none.
    """

    what: str
    value: float | None
    source: str


class Sensors:
    """Finds once where to look, and then looks as often as it is asked.

    The lag of the event loop is measured while it is entered (`async with`); all else works without.

    Args:
        clock: that of the crawl.
        memory_limit_bytes: memory that this process and its browsers may take, if less than there is; what others
            used when this was made does not count. None: what the machine or the container has.
        root: where `proc` and `sys` are found.

    Attributes:
        last: what `read` returned last; None before.
        gauges: the user's own, by name: each returns a used share. One that raises, or returns no number, is dropped.
    """

    def __init__(self, *, clock: Clock, memory_limit_bytes: int | None = None, root: Path = _ROOT) -> None:
        cgroups = Cgroups(root)
        self._clock = clock
        self._base = str(root).rstrip("/")
        self._memory = Memory(root, cgroups=cgroups, limit_bytes=memory_limit_bytes)
        self._cpu = Cpu(root, cgroups=cgroups)
        self._counts = Counts(root, cgroups=cgroups)
        self._lag = LoopLag(clock)
        self._psi_files = [f"{self._base}/proc/pressure/memory"]
        if (place := cgroups.unified()) is not None:  # told there by the hierarchy, whoever has the memory controller
            self._psi_files.insert(0, f"{place.folders[0]}/memory.pressure")
        self._some, self._full = Growth(), Growth()
        self.last: Reading | None = None
        self.gauges: dict[str, Gauge] = {}
        self._broken: list[tuple[str, Exception]] = []
        self._for_gauges: Reading | None = None
        """What is known while the gauges are asked: one of them may want to know as well."""

    async def __aenter__(self) -> Self:
        """Begin to measure the lag of the event loop."""
        await self._lag.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop measuring it."""
        await self._lag.__aexit__(kind, error, trace)

    def read(self) -> Reading:
        """Look at everything now. Never raises; takes 0.3 to 0.7 ms. A gauge that asks is told all but the gauges."""
        if self._for_gauges is not None:
            return self._for_gauges
        self._for_gauges = reading = self._look()
        try:
            self.last = replace(reading, gauges=self._measured())
        finally:
            self._for_gauges = None
        return self.last

    def _look(self) -> Reading:
        at_s = self._clock.now()
        memory, files, pids = self._memory.read(), self._counts.files(), self._counts.pids()
        _, some_s, full_s = self._stalls()
        return Reading(
            at_s=at_s,
            memory_used_bytes=memory.used_bytes,
            memory_limit_bytes=memory.limit_bytes,
            memory_source=memory.source,
            oom_kills=self._memory.kills(),
            psi_some=_share(self._some, at_s, some_s),
            psi_full=_share(self._full, at_s, full_s),
            cpu_share=self._cpu.share(at_s),
            cpu_cores=self._cpu.cores().number,
            loop_lag_s=self._lag.take_worst_s(),
            open_files=files.number,
            open_files_max=files.most,
            pids=pids.number,
            pids_max=pids.most,
        )

    def take_broken(self) -> list[tuple[str, Exception]]:
        """Return the gauges that were dropped since the last call, and why."""
        broken, self._broken = self._broken, []
        return broken

    def _measured(self) -> dict[str, float]:
        shares: dict[str, float] = {}
        for name, gauge in list(self.gauges.items()):
            try:
                shares[name] = _finite(gauge())
            except Exception as error:  # noqa: BLE001 - the user's code may raise anything; the crawl goes on without it
                self.gauges.pop(name, None)
                self._broken.append((name, error))
        return shares

    def where(self) -> Sequence[Finding]:
        """Tell what there is to look at, and where it is read. Never raises."""
        memory, cores = self._memory.read(), self._cpu.cores()
        files, pids = self._counts.files(), self._counts.pids()
        stall_file, some_s, _ = self._stalls()
        limit_file, used_file = memory.files
        findings = (
            Finding("memory limit", memory.limit_bytes or None, limit_file),
            Finding("memory used", memory.used_bytes if memory.limit_bytes else None, used_file),
            Finding("memory stalls", some_s, stall_file),
            Finding("CPU cores", cores.number, cores.source),
            Finding("open files", files.most, files.source),
            Finding("processes", pids.most, pids.source),
        )
        return [each._replace(source=each.source.removeprefix(self._base)) for each in findings]

    def _stalls(self) -> tuple[str, float | None, float | None]:
        """Return how long some and all tasks have waited for memory so far, in seconds, and the file that says so."""
        for file in self._psi_files:
            some_s, full_s = (_total_s(read_text(file), name) for name in ("some", "full"))
            if some_s is not None:
                return file, some_s, full_s
        return "", None, None


def _finite(share: float) -> float:
    if not math.isfinite(share):
        raise ValueError(f"{share} is no share")
    return float(share)


def _total_s(text: str, name: str) -> float | None:
    for line in text.splitlines():
        if line.startswith(f"{name} "):
            total_us = number(line.partition(" total=")[2])
            return None if total_us is None else total_us / 1e6
    return None


def _share(growth: Growth, at_s: float, total_s: float | None) -> float | None:
    rate = growth.rate(at_s, total_s) if total_s is not None else None
    return None if rate is None else min(1.0, rate)
