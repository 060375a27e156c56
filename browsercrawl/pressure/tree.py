"""How much memory a browser's processes hold, each shared page counted once."""

from collections.abc import Callable, Iterable

from browsercrawl.pressure.kernel import field, read_text
from browsercrawl.pressure.memory import private_bytes

_LOOKS = 2
"""Processes walked through at one sample."""


class TreeSampler:
    """Adds up what processes hold (PSS: their own memory, and their part of what they share), a few at a time.

    The kernel walks all pages of a process for this and holds a lock meanwhile that the process needs for more memory:
    rarely, then, at most once a second. Measured: 1 to 5 ms for a browser process of 50 to 150 MB, some 30 us per MB.

    Args:
        pids: returns those that there are now.
    """

    def __init__(self, pids: Callable[[], Iterable[int]]) -> None:
        self._pids = pids
        self._bytes: dict[int, int] = {}
        """By process; the one looked at longest ago first."""

    def sample(self) -> int:
        """Look at the processes whose turn it is, and return the sum of the last look at each. Never raises.

        A process that is new, or that may not be walked through, counts with what it has resident and shares with no
        other: some 50 microseconds, and for a renderer within a tenth.
        """
        there = dict.fromkeys(self._pids())
        self._bytes = {pid: held for pid, held in self._bytes.items() if pid in there}
        self._bytes |= {pid: _estimate(pid) for pid in there if pid not in self._bytes}
        for pid in list(self._bytes)[:_LOOKS]:
            del self._bytes[pid]
            held = _held(pid)
            self._bytes[pid] = _estimate(pid) if held is None else held
        return sum(self._bytes.values())


def _estimate(pid: int) -> int:
    return private_bytes(f"/proc/{pid}", pid)


def _held(pid: int) -> int | None:
    """Return the PSS of a process; None if the kernel does not tell it, or not us."""
    pss = field(read_text(f"/proc/{pid}/smaps_rollup"), "Pss:")
    return None if pss is None else pss * 1024
