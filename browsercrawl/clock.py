"""Time as the engine sees it: one monotonic clock, injected, so that tests can turn it by hand."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the engine asks of time."""

    def now(self) -> float:
        """Return seconds on a clock that never goes back; only differences mean anything."""

    def utc(self) -> datetime:
        """Return the calendar time, in UTC."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` (at once when not positive)."""


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> float:
        """Return `time.monotonic()`."""
        return time.monotonic()

    def utc(self) -> datetime:
        """Return the wall clock, in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Sleep on the running event loop."""
        await asyncio.sleep(max(0.0, seconds))
