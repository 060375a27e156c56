"""Waiting for room on a full disk: once told, tried again every second, ended by a stop."""

import asyncio
import errno
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from browsercrawl.errors import OutputFailed
from browsercrawl.events import Event, RunContinued, RunPaused
from browsercrawl.output import Space
from browsercrawl.testing.virtual_clock import VirtualClock

PATH = Path("run/file")


def failing(times: int, number: int = errno.ENOSPC) -> Callable[[], str]:
    """Give work that fails so often with the same error, then succeeds."""
    left = times

    def work() -> str:
        nonlocal left
        if left:
            left -= 1
            raise OSError(number, "No space left on device")
        return "done"

    return work


@pytest.fixture
def clock() -> VirtualClock:
    """A clock that jumps whenever nothing else can happen."""
    return VirtualClock(autojump=True)


@pytest.fixture
def told() -> list[Event]:
    """The events of the test's space."""
    return []


@pytest.fixture
async def space(clock: VirtualClock, told: list[Event]) -> Space:
    """A space with its events kept."""
    return Space(clock=clock, emit=told.append)


async def test_space_with_room_writes_and_says_nothing(space: Space, told: list[Event]) -> None:
    """Work that succeeds gives its value back; nobody hears of it."""
    assert await space.write(failing(0), path=PATH) == "done"
    assert told == []
    assert not space.is_paused


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
async def test_space_full_disk_waits_and_goes_on(
    space: Space, clock: VirtualClock, told: list[Event], number: int
) -> None:
    """A full disk, or a used-up quota, is tried again every second; one event says what to do, one that it is over."""
    assert await space.write(failing(3, number), path=PATH) == "done"
    paused, continued = told
    assert isinstance(paused, RunPaused)
    assert paused.path == str(PATH)
    assert "free some space" in paused.message
    assert isinstance(continued, RunContinued)
    assert continued.paused_s == clock.now() == 3.0
    assert not space.is_paused


async def test_space_several_writers_share_one_pause(clock: VirtualClock, told: list[Event]) -> None:
    """However many wait, there is one pair of events, and the pause ends with the last of them."""
    states: list[bool] = []
    shared = Space(clock=clock, emit=told.append, on_change=lambda: states.append(shared.is_paused))
    await asyncio.gather(*(shared.write(failing(times), path=PATH) for times in (1, 5, 3)))
    assert [type(event) for event in told] == [RunPaused, RunContinued]
    assert isinstance(told[1], RunContinued)
    assert told[1].paused_s >= 5.0
    assert states == [True, False]


async def test_space_store_that_waits_pauses_the_run(space: Space, told: list[Event]) -> None:
    """A store that waits in its own thread pauses the run just so, and a writer beside it makes no second pause."""
    full, states = partial(space.full, PATH, "database or disk is full"), list[bool]()
    steps: list[Callable[[], None]] = [full, full, space.free, space.free]
    for step in steps:
        step()
        await space.write(failing(2 if space.is_paused else 0), path=PATH)
        states.append(space.is_paused)
    assert states == [True, True, False, False]
    assert [type(event) for event in told] == [RunPaused, RunContinued]


async def test_space_other_error_fails_at_once(space: Space, told: list[Event]) -> None:
    """What waiting cannot mend raises one typed error that names the file."""
    with pytest.raises(OutputFailed, match="run/file cannot be written: No space") as caught:
        await space.write(failing(1, errno.EIO), path=PATH)
    assert isinstance(caught.value.__cause__, OSError)
    assert told == []


async def test_space_error_of_the_work_itself_passes(space: Space) -> None:
    """An error that has nothing to do with the disk is the caller's."""
    with pytest.raises(ZeroDivisionError):
        await space.write(lambda: 1 // 0, path=PATH)


async def test_space_given_up_ends_all_waiting(told: list[Event]) -> None:
    """After `give_up` who waits fails at once, without a second of delay, and so does who comes later."""
    clock = VirtualClock()
    space = Space(clock=clock, emit=told.append)
    waiting = [asyncio.ensure_future(space.write(failing(9), path=PATH)) for _ in range(3)]
    while space._writers < 3:  # noqa: ASYNC110 - what is waited for happens in threads
        await asyncio.sleep(0)
    space.give_up()
    for each in waiting:
        with pytest.raises(OutputFailed, match="free some space, then resume"):
            await each
    with pytest.raises(OutputFailed):
        await space.write(failing(1), path=PATH)
    assert await space.write(failing(0), path=PATH) == "done"
    assert clock.now() == 0.0
    assert [type(event) for event in told] == [RunPaused]
    assert not space.is_paused


async def test_space_cancelled_writer_ends_the_pause_after_its_try(space: Space, told: list[Event]) -> None:
    """A cancellation passes only when the thread has let go of the file; a waiting writer leaves no pause behind."""
    begun, may_end = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    ended = False

    def work() -> None:
        nonlocal ended
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(may_end.wait(), loop).result(30)
        ended = True
        raise OSError(errno.ENOSPC, "full")

    writer = asyncio.ensure_future(space.write(work, path=PATH))
    await begun.wait()
    writer.cancel()
    await asyncio.wait({writer}, timeout=0)
    assert not writer.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await writer
    assert ended
    assert not space.is_paused
