"""The memory of a process tree, on real processes that hold as much as the test says."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise

import psutil
import pytest

from browsercrawl.pressure import TreeSampler

MB = 1_000_000
HOLDER = (
    "import sys\n"
    "held = []\n"
    "for line in sys.stdin:\n"
    "    held.append(bytearray(b'x') * int(line))\n"
    "    print('held', flush=True)\n"
)
Start = Callable[[], "Holder"]


class Holder:
    """A process that takes memory when it is told to, and keeps it."""

    def __init__(self, stack: ExitStack) -> None:
        command = [sys.executable, "-I", "-c", HOLDER]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        stack.callback(self.end)
        self.pid = self._process.pid

    def take(self, number: int) -> None:
        """Have it take so many bytes more; returns when it has."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{number}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "held\n"

    def end(self) -> None:
        """End it; may be called again."""
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def start() -> Iterator[Start]:
    """Give a function that starts such processes, which end with the test."""
    with ExitStack() as stack:
        yield lambda: Holder(stack)


def test_tree_new_process_counts_at_once(start: Start) -> None:
    """A process is in the sum from the first sample on, however many others there are."""
    holders = [start() for _ in range(5)]
    for holder in holders:
        holder.take(30 * MB)
    total = TreeSampler(lambda: [holder.pid for holder in holders]).sample()
    assert 150 * MB < total < 300 * MB


def test_tree_growth_is_seen_when_it_is_the_process_s_turn(start: Start) -> None:
    """All processes are looked at in turn, two at each sample; one that grew counts with what it has now."""
    holders = [start() for _ in range(5)]
    for holder in holders:
        holder.take(1 * MB)
    sampler = TreeSampler(lambda: [holder.pid for holder in holders])
    before = sampler.sample()
    for holder in holders:
        holder.take(40 * MB)
    sums = [before, *(sampler.sample() for _ in range(3))]
    assert all(later - sooner < 100 * MB for sooner, later in pairwise(sums))
    assert sums[-1] - before > 190 * MB


def test_tree_process_that_ended_counts_no_more(start: Start) -> None:
    """A process no longer named is forgotten; one that is gone but still named counts nothing after its turn."""
    gone, stays, left = start(), start(), start()
    for holder in (gone, stays, left):
        holder.take(50 * MB)
    pids = [gone.pid, stays.pid, left.pid]
    sampler = TreeSampler(lambda: pids)
    assert sampler.sample() > 150 * MB
    pids.remove(left.pid)
    gone.end()
    sampler.sample()
    assert 50 * MB < sampler.sample() < 100 * MB


def test_tree_shared_memory_counts_once(start: Start) -> None:
    """Two processes that run the same program hold less together than twice what is resident of each."""
    holders = [start(), start()]
    for holder in holders:
        holder.take(MB)
    resident = sum(psutil.Process(holder.pid).memory_info().rss for holder in holders)
    total = TreeSampler(lambda: [holder.pid for holder in holders]).sample()
    assert 0 < total < resident


def test_tree_of_no_processes_is_zero() -> None:
    """Nothing named, or nothing there, is nothing held; nothing raises."""
    assert TreeSampler(list).sample() == 0
    assert TreeSampler(lambda: [2**22 + 1]).sample() == 0
