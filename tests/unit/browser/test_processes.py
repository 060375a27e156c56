"""Process groups, their dead, and the limit of open files."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from browsercrawl.browser.processes import Group, reap

_LIMIT_S = 10.0

Pair = tuple["subprocess.Popen[bytes]", "subprocess.Popen[bytes]"]

_RAISE = """
import resource, sys
from browsercrawl.browser import processes
soft, hard, processes._FILES_MAX = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
processes.raise_file_limit()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two processes of one group, the leader first; they are killed at the end."""
    leader = subprocess.Popen(["sleep", "60"], process_group=0)
    member = subprocess.Popen(["sleep", "60"], process_group=leader.pid)
    yield leader, member
    for process in (leader, member):
        process.kill()
        process.wait()


async def test_group_kill_reaches_a_stopped_member_without_its_leader(pair: Pair) -> None:
    """The browser is gone and its renderer stands still: it is found and killed; killing again does nothing."""
    leader, member = pair
    group = Group.of(member.pid, starter=os.getpid())
    assert group is not None
    assert group.number == leader.pid
    assert {each.pid for each in group.members()} == {leader.pid, member.pid}
    member.send_signal(signal.SIGSTOP)
    leader.kill()
    leader.wait()
    assert [each.pid for each in group.members()] == [member.pid]
    group.kill()
    assert member.wait(_LIMIT_S) == -signal.SIGKILL
    assert group.members() == []
    group.kill()


async def test_group_of_others_is_none(pair: Pair) -> None:
    """Our own group, the starter's, and that of nobody are no browser's."""
    leader, member = pair
    assert Group.of(os.getpid(), starter=None) is None
    assert Group.of(member.pid, starter=leader.pid) is None
    member.kill()
    member.wait()
    assert Group.of(member.pid, starter=None) is None


async def test_group_number_given_away_is_not_used(pair: Pair) -> None:
    """A group that has another leader than the one that was known is somebody else's."""
    leader, member = pair
    group = Group(leader.pid)
    group._leader = psutil.Process(member.pid)  # stands for one that had the leader's number before
    member.kill()
    member.wait()
    group.kill()
    assert group.members() == []
    assert leader.poll() is None


async def test_reap_dead_child_is_collected(pair: Pair) -> None:
    """Dead children are collected; those of others, and who is gone already, are not waited for."""
    _, member = pair
    member.kill()
    processes = [psutil.Process(member.pid), psutil.Process(os.getppid())]
    await reap(processes, starter=None, limit_s=_LIMIT_S)
    assert not psutil.pid_exists(member.pid)
    await reap(processes, starter=None, limit_s=_LIMIT_S)


async def test_reap_living_child_is_waited_for_until_the_limit(pair: Pair) -> None:
    """What was killed and does not die does not hold up the end for ever, and nothing happens to it."""
    leader, _ = pair
    await reap([psutil.Process(leader.pid)], starter=None, limit_s=0.05)
    assert leader.poll() is None


@pytest.mark.parametrize(
    ("soft", "hard", "most", "raised"),
    [(256, 1024, 65_536, 1024), (900, 900, 65_536, 900), (256, 1024, 600, 600), (700, 1024, 600, 700)],
)
def test_raise_file_limit_goes_to_the_hard_limit(soft: int, hard: int, most: int, raised: int) -> None:
    """The soft limit becomes the hard one, but no more than is of use; it is never lowered, and the hard one stays."""
    argv = [sys.executable, "-c", _RAISE, str(soft), str(hard), str(most)]
    run = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.split() == [str(raised), str(hard)]
