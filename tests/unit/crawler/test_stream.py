"""Streams, runs and crawlers: how they begin, end early, fail, and what they leave (nothing)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from browsercrawl import BrowsercrawlError, Crawler, CrawlerConfig, FinishReason, Outcome, Request, Result, Visit
from browsercrawl.errors import (
    BrowserNotFound,
    ConfigError,
    CrawlerBusy,
    CrawlerClosed,
    InputError,
    InvalidURL,
    LaunchFailed,
)
from browsercrawl.events import Event, HandlerBlockedLoop, LogDegraded, RunFinished, Status
from browsercrawl.testing.fake_browser import NEVER, FakeLauncher, FakePageScript
from browsercrawl.testing.virtual_clock import VirtualClock

URL = "http://site.test/"
NothingLeft = Callable[[FakeLauncher], None]


class Bench:
    """A crawler with a fake browser and a virtual clock."""

    def __init__(self, sites: Any = None, **options: Any) -> None:
        self.clock = VirtualClock(autojump=True)
        self.launcher = FakeLauncher(sites, clock=self.clock)
        self.events: list[Event] = []
        self.crawler = Crawler(
            CrawlerConfig.load({"concurrency": 2, **options}),
            on_event=self.events.append,
            launch=self.launcher,
            clock=self.clock,
        )


def endless(pulled: list[int]) -> Iterator[str]:
    """Yield URLs for ever, and note how many were taken."""
    while True:
        pulled.append(1)
        yield f"{URL}{len(pulled)}"


async def endless_async(pulled: list[int]) -> AsyncIterator[str]:
    """Do the same asynchronously."""
    for url in endless(pulled):
        yield url


@pytest.mark.parametrize("make", [endless, endless_async])
async def test_stream_slow_consumer_bounds_what_is_pulled(make: Any, nothing_left: NothingLeft) -> None:
    """Of an endless input only what a slow consumer needs soon is pulled and visited."""
    bench = Bench()
    pulled: list[int] = []
    async with bench.crawler, bench.crawler.stream(make(pulled)) as stream:
        for _ in range(30):
            await anext(stream)
            await bench.clock.sleep(60)
        status = bench.crawler.status()
    assert len(pulled) <= 30 + 1000 + 3 * 50
    assert status.succeeded <= 30 + 3 * 2
    nothing_left(bench.launcher)


async def test_stream_slow_consumer_bounds_bad_seeds_too(nothing_left: NothingLeft) -> None:
    """Seeds that fail without a visit do not pile up either."""
    bench = Bench()
    pulled: list[int] = []
    async with bench.crawler, bench.crawler.stream(f"no url {url}" for url in endless(pulled)) as stream:
        for _ in range(30):
            await anext(stream)
            await bench.clock.sleep(60)
    assert len(pulled) <= 30 + 4 * 50
    nothing_left(bench.launcher)


@pytest.mark.parametrize("make", [endless, endless_async])
async def test_run_endless_input_ends_at_max_requests(make: Any, nothing_left: NothingLeft) -> None:
    """`max_requests` ends a run whose input never does."""
    bench = Bench(links={"max_requests": 120})
    summary = await bench.crawler.run(make([]))
    assert summary.succeeded == 120
    assert (summary.finish_reason, summary.unfinished) == (FinishReason.MAX_REQUESTS, 0)
    nothing_left(bench.launcher)


async def test_run_input_that_raises_raises_after_what_was_read(nothing_left: NothingLeft) -> None:
    """What the input raises comes out of the stream once, after the results of all it gave; then the stream is over."""

    def seeds() -> Iterator[str]:
        yield from (f"{URL}{number}" for number in range(1200))  # more than is read ahead
        raise OSError("the file is gone")

    bench = Bench()
    results: list[Result] = []
    async with bench.crawler:
        stream = bench.crawler.stream(seeds())

        async def consume() -> None:
            async for result in stream:
                results.append(result)  # noqa: PERF401 - what comes before the error is to be kept

        with pytest.raises(OSError, match="the file is gone"):
            await consume()
        assert await anext(stream, None) is None
        with pytest.raises(OSError, match="the file is gone"):
            await bench.crawler.run(seeds())
    assert len(results) == 1200
    assert [event.finish_reason for event in bench.events if isinstance(event, RunFinished)] == ["failed", "failed"]
    nothing_left(bench.launcher)


async def test_run_input_that_is_cancelled_from_inside_is_not_taken_for_its_end() -> None:
    """A CancelledError out of the input does not end a run as if all had been read."""

    async def seeds() -> AsyncIterator[str]:
        yield URL
        raise asyncio.CancelledError

    with pytest.raises(InputError):
        await Bench().crawler.run(seeds())


async def test_stream_break_stops_claiming_and_the_next_run_begins(nothing_left: NothingLeft) -> None:
    """After `break` a dropped stream claims nothing more; the next run waits for its pages' end and works."""
    bench = Bench(lambda _: FakePageScript(load_s=1))
    async with bench.crawler as crawler:
        async for _ in crawler.stream(endless([])):
            break
        before = crawler.status().succeeded
        one = await crawler.fetch(f"{URL}one")
        assert one.outcome is Outcome.SUCCEEDED
        async for _ in crawler.stream(endless([])):
            break
    assert before <= 1 + 2 * 3
    nothing_left(bench.launcher)


async def test_stream_aclose_ends_pages_and_is_idempotent(nothing_left: NothingLeft) -> None:
    """`aclose` ends open pages; again it does nothing; what was not visited is unfinished."""
    bench = Bench(lambda url: FakePageScript(load_s=0 if url == f"{URL}0" else NEVER))
    async with bench.crawler:
        stream = bench.crawler.stream([f"{URL}{number}" for number in range(9)])
        first = await anext(stream)
        await asyncio.gather(stream.aclose(), stream.aclose())
        await stream.aclose()
        assert first.url == f"{URL}0"
        assert await anext(stream, None) is None
        assert stream.summary is not None
        assert (stream.summary.succeeded, stream.summary.unfinished) == (1, 8)
        assert stream.summary.finish_reason is FinishReason.STOPPED
    nothing_left(bench.launcher)


@pytest.mark.parametrize("how", ["aclose", "crawler", "drop"])
async def test_stream_never_begun_leaves_nothing_and_ends(how: str, nothing_left: NothingLeft) -> None:
    """A stream that was never asked for a result can be closed, dropped and iterated; the crawler stays usable."""
    bench = Bench()
    async with bench.crawler as crawler:
        stream = crawler.stream([URL])
        if how == "aclose":
            await stream.aclose()
            assert await anext(stream, None) is None
        elif how == "drop":
            del stream
            assert (await crawler.fetch(URL)).outcome is Outcome.SUCCEEDED
    if how == "crawler":
        assert await anext(stream, None) is None
    nothing_left(bench.launcher)


async def test_stream_dropped_then_another_never_begun_is_awaited_at_exit(nothing_left: NothingLeft) -> None:
    """The crawler's exit ends an abandoned run also when a later one was made and never begun."""
    bench = Bench(lambda _: FakePageScript(load_s=1))
    async with bench.crawler as crawler:
        async for _ in crawler.stream(endless([])):
            break
        later = crawler.stream([URL])
    assert await anext(later, None) is None
    nothing_left(bench.launcher)


async def test_crawler_second_run_is_refused_while_somebody_waits_for_the_first() -> None:
    """One run at a time; the first is not harmed."""
    bench = Bench(lambda _: FakePageScript(load_s=0.05))
    async with bench.crawler as crawler, crawler.stream([URL]) as stream:
        waiting = asyncio.create_task(anext(stream))
        await asyncio.sleep(0)
        with pytest.raises(CrawlerBusy):
            crawler.stream([URL])
        with pytest.raises(CrawlerBusy):
            await crawler.fetch(URL)
        assert (await waiting).outcome is Outcome.SUCCEEDED


async def test_stream_many_never_begun_do_not_chain_up(nothing_left: NothingLeft) -> None:
    """Streams made and never begun cost nothing and hold nothing, however many."""
    bench = Bench()
    async with bench.crawler as crawler:
        for _ in range(3000):
            crawler.stream([URL])
        held = [crawler.stream([URL]) for _ in range(3000)]
        assert (await crawler.fetch(URL)).outcome is Outcome.SUCCEEDED
        assert len(held) == 3000
    nothing_left(bench.launcher)


async def test_stream_left_by_break_is_ended_by_the_next_run(nothing_left: NothingLeft) -> None:
    """A loop left early does not block the crawler, even while the stream is still held; coming back to it is told."""
    bench = Bench(lambda _: FakePageScript(load_s=0.01))
    async with bench.crawler as crawler:
        stream = crawler.stream(endless([]))
        async for _ in stream:
            break
        assert (await crawler.fetch(URL)).outcome is Outcome.SUCCEEDED
        with pytest.raises(CrawlerClosed, match="next run"):
            await anext(stream)
    nothing_left(bench.launcher)


async def test_crawler_closed_is_refused_everywhere() -> None:
    """After its end a crawler cannot be used; closing again does nothing."""
    crawler = Bench().crawler
    await crawler.aclose()
    await crawler.aclose()
    with pytest.raises(CrawlerClosed):
        crawler.stream([URL])
    with pytest.raises(CrawlerClosed):
        await crawler.run([URL])
    with pytest.raises(CrawlerClosed):
        await crawler.fetch(URL)
    with pytest.raises(CrawlerClosed):
        await crawler.__aenter__()


async def test_crawler_runs_again_and_keeps_its_browser_warm(nothing_left: NothingLeft) -> None:
    """Inside `async with` the browser is launched once; outside, each run has one of its own."""
    bench = Bench()
    async with bench.crawler as crawler:
        for _ in range(3):
            assert (await crawler.run([URL])).succeeded == 1
    assert bench.launcher.launches == 1
    nothing_left(bench.launcher)
    bench = Bench()
    for _ in range(3):
        assert (await bench.crawler.fetch(URL)).outcome is Outcome.SUCCEEDED
        nothing_left(bench.launcher)
    assert bench.launcher.launches == 3


@pytest.mark.parametrize("error", [BrowserNotFound("none here"), LaunchFailed("it dies")])
async def test_crawler_without_a_browser_raises_once(error: BrowsercrawlError, nothing_left: NothingLeft) -> None:
    """No browser: run, stream and fetch raise it, a stream only once, and nothing hangs."""
    bench = Bench()
    bench.launcher.error, bench.launcher.fail_next = error, 99
    async with bench.crawler as crawler:
        with pytest.raises(type(error)):
            await crawler.run([URL])
        with pytest.raises(type(error)):
            await crawler.fetch(URL)
        stream = crawler.stream([URL])
        with pytest.raises(type(error)):
            await anext(stream)
        assert await anext(stream, None) is None
        bench.launcher.fail_next = 0
        assert (await crawler.fetch(URL)).outcome is Outcome.SUCCEEDED
    nothing_left(bench.launcher)


async def test_crawler_browser_gone_for_good_in_the_middle_raises(nothing_left: NothingLeft) -> None:
    """A browser that cannot be launched again ends the run with that error; what is open is put back."""
    bench = Bench(lambda url: FakePageScript(kills_browser=url == f"{URL}3"))
    pulled: list[str] = []

    def seeds() -> Iterator[str]:
        for number in range(200):
            bench.launcher.fail_next = 99
            pulled.append(f"{URL}{number}")
            yield pulled[-1]

    async with bench.crawler as crawler:
        await crawler.fetch(URL)
        with pytest.raises(LaunchFailed):
            await crawler.run(seeds())
    (finished,) = [event for event in bench.events if isinstance(event, RunFinished)][1:]
    assert finished.finish_reason == "failed"
    assert finished.unfinished > 0
    nothing_left(bench.launcher)


async def test_run_cancelled_ends_cleanly(nothing_left: NothingLeft) -> None:
    """Cancelling `run()` ends its pages and passes the cancellation on; the crawler can run again."""
    bench = Bench(lambda url: FakePageScript(load_s=0 if url == URL else NEVER))
    async with bench.crawler as crawler:
        run = asyncio.create_task(crawler.run([f"{URL}{number}" for number in range(9)]))
        await bench.clock.sleep(5)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        (finished,) = [event for event in bench.events if isinstance(event, RunFinished)]
        assert (finished.finish_reason, finished.unfinished) == ("stopped", 9)
        assert (await crawler.fetch(URL)).outcome is Outcome.SUCCEEDED
    nothing_left(bench.launcher)


@pytest.mark.parametrize("when_s", [0.0, 1.0])
@pytest.mark.parametrize("how", ["stop", "abort", "aclose", "cancel"])
async def test_run_ended_during_the_launch_leaves_no_browser(
    how: str, when_s: float, nothing_left: NothingLeft
) -> None:
    """A run that is ended before its browser is up ends at once, with a summary, and leaves no launch behind."""
    bench = Bench()
    bench.launcher.launch_s = 30
    run = asyncio.create_task(bench.crawler.run([URL]))
    await bench.clock.sleep(when_s)
    if how == "stop":
        await bench.crawler.stop()
    elif how == "abort":
        bench.crawler.abort()
    elif how == "aclose":
        await bench.crawler.aclose()
    else:
        run.cancel()
    if how == "cancel":
        with pytest.raises(asyncio.CancelledError):
            await run
    else:
        summary = await run
        assert (summary.finish_reason, summary.succeeded) == (FinishReason.STOPPED, 0)
    assert bench.clock.now() < 30
    assert bench.launcher.launches == 0
    nothing_left(bench.launcher)


async def test_crawler_stop_drains_then_puts_back(nothing_left: NothingLeft) -> None:
    """`stop` claims nothing more, lets open pages end for `drain_s`, and puts back what is open then."""
    bench = Bench(lambda url: FakePageScript(load_s={f"{URL}0": 3, f"{URL}1": 50}.get(url, 0)))
    run = asyncio.create_task(bench.crawler.run([f"{URL}{number}" for number in range(9)]))
    await bench.clock.sleep(1)
    await bench.crawler.stop(drain_s=8)
    summary = await run
    assert (summary.succeeded, summary.unfinished) == (1, 8)
    assert summary.finish_reason is FinishReason.STOPPED
    assert 8 < bench.clock.now() < 12
    nothing_left(bench.launcher)


async def test_crawler_abort_after_stop_ends_at_once(nothing_left: NothingLeft) -> None:
    """A second, harder stop does not wait for the first one's drain."""
    bench = Bench(lambda _: FakePageScript(load_s=50))
    run = asyncio.create_task(bench.crawler.run([f"{URL}{number}" for number in range(9)]))
    await bench.clock.sleep(1)
    stop = asyncio.create_task(bench.crawler.stop(drain_s=1000))
    await bench.clock.sleep(1)
    bench.crawler.abort()
    summary = await run
    await stop
    assert (summary.succeeded, summary.unfinished) == (0, 9)
    assert bench.clock.now() < 10
    nothing_left(bench.launcher)


async def test_crawler_stop_during_fetch_is_told() -> None:
    """A fetch that is stopped raises, it has no result to give."""
    bench = Bench(lambda _: FakePageScript(load_s=50))
    fetch = asyncio.create_task(bench.crawler.fetch(URL))
    await bench.clock.sleep(1)
    await bench.crawler.stop(drain_s=1)
    with pytest.raises(CrawlerClosed):
        await fetch


async def test_fetch_visits_one_page_only(nothing_left: NothingLeft) -> None:
    """`fetch` follows nothing, whatever the configuration and the handler say: one request is all its run takes."""
    bench = Bench(lambda url: FakePageScript(title="t", html="<p>", text="p", links=(f"{url}a",)), links={"depth": 3})

    @bench.crawler.handler()
    async def _(visit: Visit) -> None:
        visit.enqueue(f"{URL}other")

    one = await bench.crawler.fetch(URL)
    assert (one.url, one.title, one.html, one.text, one.links) == (URL, "t", "<p>", "p", (f"{URL}a",))
    (finished,) = [event for event in bench.events if isinstance(event, RunFinished)]
    assert (finished.finish_reason, finished.succeeded, finished.unfinished) == ("max_requests", 1, 0)
    nothing_left(bench.launcher)
    with pytest.raises(InvalidURL):
        await bench.crawler.fetch("nothing")


@pytest.mark.parametrize("seeds", [URL, b"http://x/", Request(url=URL)])
async def test_crawler_single_url_in_place_of_many_is_refused(seeds: Any) -> None:
    """A string is an iterable of strings, but surely not what was meant."""
    crawler = Bench().crawler
    with pytest.raises(InputError):
        crawler.stream(seeds)
    with pytest.raises(InputError):
        await crawler.run(seeds)


def test_crawler_handler_registered_wrongly_is_refused() -> None:
    """No parentheses, no coroutine function, or the second of a label: told at once, not at the first page."""
    crawler = Bench().crawler

    async def handler(visit: Visit) -> None:
        pass

    with pytest.raises(ConfigError, match="parentheses"):
        crawler.handler(handler)(handler)  # type: ignore[arg-type]  # what this is about
    with pytest.raises(ConfigError, match="async def"):
        crawler.handler()(print)  # type: ignore[type-var]  # what this is about
    crawler.handler("a")(handler)
    with pytest.raises(ConfigError, match="two handlers"):
        crawler.handler("a")(handler)


async def test_crawler_listener_that_raises_is_dropped_and_told() -> None:
    """`on_event` raising harms no crawl."""
    seen: list[Event] = []

    def listen(event: Event) -> None:
        seen.append(event)
        raise ValueError("no more")

    launcher = FakeLauncher()
    async with Crawler(CrawlerConfig(concurrency=2), on_event=listen, launch=launcher) as crawler:
        assert (await crawler.run([URL])).succeeded == 1
    assert not any(isinstance(event, LogDegraded) for event in seen)


async def test_crawler_handler_that_blocks_the_loop_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that holds the event loop for longer than a second is named in an event."""
    bench = Bench()

    @bench.crawler.handler()
    async def hog(visit: Visit) -> None:
        if visit.request.url == URL:
            bench.clock._now += 5  # time passes, and nothing else can run meanwhile
        else:
            await bench.clock.sleep(2)

    await bench.crawler.run([URL, f"{URL}2"])
    blocked = [event for event in bench.events if isinstance(event, HandlerBlockedLoop)]
    assert blocked
    assert any("hog" in name for name in blocked[0].handlers)
    assert blocked[0].blocked_s >= 4


async def test_crawler_status_before_during_and_after() -> None:
    """`status()` answers at any time, counts what is where, and reads well when printed."""
    bench = Bench(lambda _: FakePageScript(load_s=1))
    crawler = bench.crawler
    assert crawler.status() == Status()
    run = asyncio.create_task(crawler.run([f"{URL}{number}" for number in range(9)]))
    await bench.clock.sleep(1.5)
    during = crawler.status()
    assert (during.active, during.limit, during.succeeded, during.queued) == (2, 2, 2, 5)
    await run
    after = crawler.status()
    assert (after.active, after.succeeded, after.queued) == (0, 9, 0)
    assert "9 succeeded" in str(after)
    assert any(isinstance(event, Status) for event in bench.events)


async def test_crawlers_know_nothing_of_each_other() -> None:
    """Two crawlers at once, each with its own browser, results and events."""
    first, second = Bench(), Bench()
    second.crawler._clock = second.launcher._clock = second.clock = first.clock
    summaries = await asyncio.gather(
        first.crawler.run([f"{URL}{number}" for number in range(9)]), second.crawler.run([URL])
    )
    assert [summary.succeeded for summary in summaries] == [9, 1]
    assert (first.launcher.launches, second.launcher.launches) == (1, 1)
    assert len({summary.run_id for summary in summaries}) == 2
