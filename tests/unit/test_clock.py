"""The machine's clock keeps the clock's promises."""

from datetime import UTC

from browsercrawl.clock import SystemClock


async def test_system_clock_goes_forward_and_sleeps() -> None:
    """`now` never goes back, a sleep takes at least its time, and one that is not positive none."""
    clock = SystemClock()
    before = clock.now()
    await clock.sleep(0.01)
    assert clock.now() - before >= 0.009
    await clock.sleep(0)
    await clock.sleep(-5)
    assert clock.utc().tzinfo is UTC
