"""Sensors of a machine on which nothing happens, for crawls on a virtual clock."""

from browsercrawl.clock import Clock
from browsercrawl.pressure import Reading, Sensors


class StillSensors(Sensors):
    """Always tells of the same machine, which has room for everything; the user's gauges are asked as ever.

    What the real ones measure per second means nothing while virtual seconds pass in no time, what else they tell
    depends on who else uses the machine, and most of such a crawl's time would go into asking the kernel.
    """

    def __init__(self, *, clock: Clock, memory_limit_bytes: int | None = None) -> None:
        super().__init__(clock=clock, memory_limit_bytes=memory_limit_bytes)
        self._now = clock.now
        self._limit_bytes = memory_limit_bytes or 16 * 2**30

    def _look(self) -> Reading:
        return Reading(
            at_s=self._now(),
            memory_used_bytes=self._limit_bytes // 4,
            memory_limit_bytes=self._limit_bytes,
            memory_source="still",
            cpu_share=0.25,
            cpu_cores=2.0,
            open_files=100,
            open_files_max=10_000,
            pids=100,
            pids_max=10_000,
        )
