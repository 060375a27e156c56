"""Waiting for room on a full disk: the run pauses, tells so once, and goes on by itself."""

import asyncio
import errno
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from browsercrawl.clock import Clock
from browsercrawl.errors import OutputFailed
from browsercrawl.events import Emit, RunContinued, RunPaused

RETRY_S = 1.0
"""Between two tries to write on a full disk."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_REMEDY = "free some space and the run goes on by itself; or stop it, and resume it later"

T = TypeVar("T")


class Space:
    """What the writers of a run have in common: they all wait while the disk is full, until told to give up.

    Each writer tries again for itself; the pause lasts until the last of them got through, and has one pair of events
    however many they are. Belongs to one event loop.
    """

    def __init__(self, *, clock: Clock, emit: Emit, on_change: Callable[[], None] | None = None) -> None:
        """Make it for one run.

        Args:
            clock: for the time between two tries.
            emit: takes `run.paused` and `run.continued`.
            on_change: called after `is_paused` has changed; must not raise.
        """
        self._clock = clock
        self._emit = emit
        self._on_change = on_change
        self._writers = 0  # that wait now
        self._store_waits = False
        self._paused_at: float | None = None
        self.gave_up = asyncio.Event()
        """Set by `give_up`."""
        self.given_up = threading.Event()
        """Likewise, for a store that waits in a thread of its own."""

    @property
    def is_paused(self) -> bool:
        """Whether somebody waits for room: nothing new should be begun."""
        return self._paused_at is not None

    async def write(self, work: Callable[[], T], *, path: Path) -> T:
        """Do something with files in a thread; while the disk is full, again every second.

        A cancellation passes when the try that is going on has ended: nobody closes a file under it.

        Args:
            work: leaves nothing half done when it raises.
            path: what it writes, for messages.

        Returns:
            What `work` returned.

        Raises:
            OutputFailed: it cannot be written, for another reason than a full disk or after `give_up`.
        """
        waits = False
        try:
            while True:
                try:
                    return await _in_thread(work)
                except OSError as error:
                    if error.errno not in _FULL or self.gave_up.is_set():
                        raise self._failed(path, error) from error
                    if not waits:
                        waits = True
                        self._writers += 1
                        self._pause(path, error.strerror or str(error))
                await wait_up_to(self._clock, RETRY_S, event=self.gave_up)
        finally:
            if waits:
                self._writers -= 1
                self._continue()

    def full(self, path: Path, message: str) -> None:
        """Say that a store waits for room, in a thread of its own. May be said again.

        Args:
            path: what it cannot write.
            message: why, in the system's words.
        """
        self._store_waits = True
        self._pause(path, message)

    def free(self) -> None:
        """Say that the store waits no longer."""
        self._store_waits = False
        self._continue()

    def give_up(self) -> None:
        """End the waiting: who waits now and who meets a full disk later fails. May be called again."""
        self.gave_up.set()
        self.given_up.set()

    def _pause(self, path: Path, reason: str) -> None:
        if self._paused_at is not None:
            return
        self._paused_at = self._clock.now()
        self._emit(RunPaused(path=str(path), message=f"{path} cannot be written: {reason}; {_REMEDY}"))
        self._changed()

    def _continue(self) -> None:
        if self._paused_at is None or self._writers or self._store_waits:
            return
        paused_s, self._paused_at = self._clock.now() - self._paused_at, None
        if not self.gave_up.is_set():
            self._emit(RunContinued(paused_s=round(paused_s, 3)))
        self._changed()

    def _changed(self) -> None:
        if self._on_change is not None:
            self._on_change()

    def _failed(self, path: Path, error: OSError) -> OutputFailed:
        remedy = "; free some space, then resume the run" if error.errno in _FULL else ""
        return OutputFailed(f"{path} cannot be written: {error.strerror or error}{remedy}")


async def wait_up_to(clock: Clock, seconds: float, *, event: asyncio.Event) -> None:
    """Return when the time is over or the event is set, whichever is first."""
    waits = {asyncio.ensure_future(clock.sleep(seconds)), asyncio.ensure_future(event.wait())}
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()
        await asyncio.wait(waits)


async def _in_thread(work: Callable[[], T]) -> T:
    job = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.wait({job})
    except asyncio.CancelledError:
        await asyncio.wait({job})
        job.exception()  # looked at, or asyncio would report it as never retrieved
        raise
    return job.result()
