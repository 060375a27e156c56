"""The run's pulse: status events every few seconds, and a word when somebody held the event loop."""

from collections.abc import Callable, Sequence

from browsercrawl.clock import Clock
from browsercrawl.events import Emit, HandlerBlockedLoop, Status

TICK_S = 0.25

BLOCKED_S = 1.0
"""A tick this late means that something held the loop."""


async def watch(
    clock: Clock,
    emit: Emit,
    *,
    status: Callable[[], Status],
    every_s: float,
    recent_handlers: Callable[[], Sequence[str]],
    on_tick: Callable[[], None],
) -> None:
    """Emit status and blocked-loop events until cancelled, and call `on_tick` a few times a second.

    Args:
        clock: gives the time.
        emit: takes the events.
        status: how the run stands.
        every_s: between two status events.
        recent_handlers: names of the handlers that ran since the last call: one of them held the loop, if it was held.
        on_tick: looks whether a limit was reached.
    """
    next_status = clock.now() + every_s
    while True:
        asleep = clock.now()
        await clock.sleep(TICK_S)
        late_s = clock.now() - asleep - TICK_S
        handlers = list(recent_handlers())
        if late_s > BLOCKED_S:
            emit(HandlerBlockedLoop(handlers=handlers, blocked_s=round(late_s, 3)))
        on_tick()
        if clock.now() >= next_status:
            emit(status())
            next_status = clock.now() + every_s
