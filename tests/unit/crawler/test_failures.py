"""`on_failed` beside the crawl: it holds up neither results nor a stop, and is never left behind."""

import asyncio

from browsercrawl.crawler.failures import Failures
from browsercrawl.errors import Disposition, ErrorKind
from browsercrawl.events import Event, HandlerRaised
from browsercrawl.result import ErrorInfo, Outcome, Result
from browsercrawl.testing.virtual_clock import VirtualClock

ERROR = ErrorInfo(kind=ErrorKind.DEADLINE, message="too late", disposition=Disposition.DROP)


def failed(number: int) -> Result:
    """Make a failed result."""
    return Result(
        request_id=f"{number:032x}",
        url=f"http://site.test/{number}",
        outcome=Outcome.FAILED,
        error=ERROR,
        finished_at=VirtualClock().utc(),
    )


async def test_failures_shows_each_in_order_and_goes_on_after_one_that_raises() -> None:
    """Every failed result is shown once, one at a time; an error of the handler is told and changes nothing."""
    shown: list[str] = []
    events: list[Event] = []
    room: list[int] = []

    async def on_failed(result: Result) -> None:
        shown.append(result.url)
        await asyncio.sleep(0)
        if result.url.endswith("/1"):
            raise ValueError("no")

    failures = Failures(on_failed, emit=events.append, on_room=lambda: room.append(1))
    for number in range(3):
        failures.put(failed(number))
    await failures.close(limit_s=5)
    assert shown == [f"http://site.test/{number}" for number in range(3)]
    assert [each.message for each in events if isinstance(each, HandlerRaised)] == ["ValueError: no"]
    assert len(room) == 3


async def test_failures_close_gives_up_a_handler_that_takes_too_long() -> None:
    """At the end of the limit the handler is cancelled, and how many results it did not see is told."""
    events: list[Event] = []
    cancelled = asyncio.Event()

    async def on_failed(_: Result) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    failures = Failures(on_failed, emit=events.append, on_room=lambda: None)
    for number in range(3):
        failures.put(failed(number))
    await failures.close(limit_s=0.01)
    await asyncio.wait_for(cancelled.wait(), 1)
    assert [each.message for each in events if isinstance(each, HandlerRaised)] == [
        "the run ended with 3 failed results not shown to it"
    ]


async def test_failures_has_room_until_a_hundred_wait() -> None:
    """A handler that does not keep up holds back new claims."""
    failures = Failures(lambda _: asyncio.sleep(3600), emit=lambda _: None, on_room=lambda: None)
    for number in range(101):
        assert failures.has_room() is (number < 100)
        failures.put(failed(number))
    await failures.close(limit_s=0.01)
