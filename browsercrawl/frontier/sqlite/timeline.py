"""The store's own time: it goes on from where an earlier process left it, and never goes back.

While a store is open its time grows with the monotonic clock of its process, so a wall clock that is stepped changes
nothing. Between two openings it grows by what the wall clock says has passed, if that is positive: a wait that was
stored is over when its time has come, and is never longer than it was, however wrong the clock has been set.
"""

from browsercrawl.clock import Clock


class Timeline:
    """Translates between the store's time and this process's clock.

    Args:
        clock: of this process; read in the store's thread.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead_s = 0.0

    def begin(self, *, now: float | None, wall: float | None) -> None:
        """Go on from the last instant that the file tells; None: it tells none, and time is that of the clock."""
        if now is not None and wall is not None:
            self._ahead_s = now + max(0.0, self.wall() - wall) - self._clock.now()

    def now(self, *, after: float | None) -> float:
        """Return the present instant of the store.

        Args:
            after: the last instant that the file tells: another process may be ahead, and time does not go back.
        """
        now = self._clock.now() + self._ahead_s
        if after is not None and after > now:
            self._ahead_s += after - now
            return after
        return now

    def wall(self) -> float:
        """Return the calendar time, in seconds."""
        return self._clock.utc().timestamp()

    def on_clock(self, instant: float) -> float:
        """Return when an instant of the store is, on this process's clock."""
        return instant - self._ahead_s
