"""The governor in a whole crawl: what the machine bears, told by a script of readings, is what is used."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import pytest

from browsercrawl import Crawler, ErrorKind, Outcome, Visit
from browsercrawl.clock import Clock
from browsercrawl.crawler import crawler, governor
from browsercrawl.events import (
    HandlerRaised,
    LeaseAcquired,
    LeaseReleased,
    LimitChanged,
    PressureChanged,
    PressureShed,
    VisitFailed,
)
from browsercrawl.output import FinishReason
from browsercrawl.pressure import Controller, Decision, Load, Reading, Sensors
from browsercrawl.testing.fake_browser import FakeBehaviour, FakePageScript

if TYPE_CHECKING:
    from tests.unit.crawler.conftest import Crawl

URL = "http://site.test/"
LIMIT_BYTES = 10 * 2**30
Share = Callable[[float], float]
"""Tells for each second how much of the memory is used."""


class ScriptedSensors(Sensors):
    """Gives memory by a script in place of the machine's."""

    def __init__(self, clock: Clock, share: Share) -> None:
        super().__init__(clock=clock)
        self._now = clock.now
        self._share = share
        self._begun = clock.now()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    def read(self) -> Reading:
        """Return what the script says, and the gauges."""
        gauges = super().read().gauges
        at_s = self._now()
        used_bytes = round(self._share(at_s - self._begun) * LIMIT_BYTES)
        self.last = Reading(
            at_s=at_s,
            memory_used_bytes=used_bytes,
            memory_limit_bytes=LIMIT_BYTES,
            memory_source="script",
            gauges=gauges,
        )
        return self.last


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[Share], None]:
    """Have the sensors follow a script: real ones would tell of the machine that runs the tests."""

    def follow(share: Share) -> None:
        monkeypatch.setattr(crawler, "Sensors", lambda clock, **_: ScriptedSensors(clock, share))

    return follow


async def test_crawl_with_room_uses_what_was_configured(crawl: "Crawl", memory: Callable[[Share], None]) -> None:
    """Without pressure the limit never moves, and nothing is given up."""
    memory(lambda _: 0.3)
    done = await crawl(lambda _: FakePageScript(load_s=2), [f"{URL}{number}" for number in range(60)])
    assert {result.outcome for result in done.results} == {Outcome.SUCCEEDED}
    assert done.told(LimitChanged) + done.told(PressureShed) + done.told(PressureChanged) == []


async def test_crawl_short_of_memory_goes_on_with_fewer_pages(crawl: "Crawl", memory: Callable[[Share], None]) -> None:
    """Above the high mark pages are no more admitted, stock is given up; afterwards the limit comes back."""
    memory(lambda at_s: 0.88 if 10 < at_s < 30 else 0.3)
    done = await crawl(lambda _: FakePageScript(load_s=2), [f"{URL}{number}" for number in range(200)])
    assert {(result.outcome, result.attempts) for result in done.results} == {(Outcome.SUCCEEDED, 1)}
    assert len(done.results) == 200
    limits = [event.limit for event in done.told(LimitChanged)]
    assert min(limits) < 4
    assert limits[-1] == 4
    assert {"stop_admitting", "stop_reusing"} <= {event.rung for event in done.told(PressureShed)}
    assert next(event.signal for event in done.told(PressureChanged)) == "memory"


async def test_crawl_critically_short_puts_the_heaviest_page_back(
    crawl: "Crawl", memory: Callable[[Share], None]
) -> None:
    """A page is given up for the others: its request is visited again, and no attempt was spent."""
    memory(lambda at_s: 0.97 if 10 < at_s < 12 else 0.3)
    done = await crawl(lambda _: FakePageScript(load_s=3), [f"{URL}{number}" for number in range(40)])
    assert {(result.outcome, result.attempts) for result in done.results} == {(Outcome.SUCCEEDED, 1)}
    given_up = [event for event in done.told(VisitFailed) if event.kind is ErrorKind.MEMORY_SHORT]
    assert given_up
    assert not any(event.final for event in given_up)
    assert "put_back_heaviest" in {event.rung for event in done.told(PressureShed)}
    held = 0
    for event in done.events:
        held += isinstance(event, LeaseAcquired) - isinstance(event, LeaseReleased)
        assert 0 <= held <= 4
    assert held == 0


async def test_crawl_waits_while_others_use_the_memory(crawl: "Crawl", memory: Callable[[Share], None]) -> None:
    """Critical without a page of ours: the crawl is paused, with a name for it, and goes on when there is room."""
    memory(lambda at_s: 0.97 if at_s < 100 else 0.3)
    done = await crawl(lambda _: FakePageScript(load_s=1), [f"{URL}{number}" for number in range(20)])
    assert {result.outcome for result in done.results} == {Outcome.SUCCEEDED}
    states = [event.state for event in done.told(PressureChanged)]
    assert "paused" in states
    assert states[-1] == "running"


async def test_crawl_page_that_never_fits_fails_alone(crawl: "Crawl", memory: Callable[[Share], None]) -> None:
    """A page that takes all memory is put back, tried alone, and fails by itself; its neighbours have their results."""
    heavy = f"{URL}heavy"
    inside: list[str] = []

    def prepare(crawler: Crawler) -> None:
        @crawler.handler()
        async def look(visit: Visit) -> None:
            inside.append(visit.request.url)
            try:
                page: Any = visit.page
                await page.context.browser.clock.sleep(4)
            finally:
                inside.remove(visit.request.url)

    memory(lambda _: 0.98 if heavy in inside else 0.3)
    sites = {heavy: FakePageScript(grows_bytes=LIMIT_BYTES * 68 // 100)}
    urls = [f"{URL}{number}" for number in range(12)]
    done = await crawl(
        lambda url: sites.get(url, FakePageScript()),
        [*urls[:3], heavy, *urls[3:]],
        prepare=prepare,
        pool={"recycle": {"page_bytes_max": LIMIT_BYTES}},
    )
    failed = done.of(heavy)
    assert failed.error is not None
    assert failed.error.kind is ErrorKind.MEMORY_EXCEEDED
    assert {(done.of(url).outcome, done.of(url).attempts) for url in urls} == {(Outcome.SUCCEEDED, 1)}


async def test_crawl_that_waits_too_long_for_memory_ends_early(crawl: "Crawl", memory: Callable[[Share], None]) -> None:
    """The wait is bounded: the run ends, says why, and what is left can be resumed."""
    memory(lambda at_s: 0.3 if at_s < 5 else 0.97)
    done = await crawl(lambda _: FakePageScript(load_s=1), [f"{URL}{number}" for number in range(100)])
    assert done.summary.finish_reason is FinishReason.MEMORY
    assert done.summary.unfinished > 0
    assert "by others" in (done.summary.finish_detail or "")
    assert {result.outcome for result in done.results} == {Outcome.SUCCEEDED}


async def test_crawl_gauge_of_the_user_is_full_pages_become_fewer(
    crawl: "Crawl", memory: Callable[[Share], None]
) -> None:
    """What only the user can measure holds the crawl back like memory does, and is told with the other readings."""
    memory(lambda _: 0.3)
    crawlers: list[Crawler] = []

    def prepare(crawler: Crawler) -> None:
        crawlers.append(crawler)
        clock, begun = crawler._clock, crawler._clock.now()

        @crawler.gauge("licences")
        def licences() -> float:
            return 0.95 if 5 < clock.now() - begun < 25 else 0.5

    done = await crawl(lambda _: FakePageScript(load_s=2), [f"{URL}{number}" for number in range(80)], prepare=prepare)
    assert {result.outcome for result in done.results} == {Outcome.SUCCEEDED}
    changes = done.told(LimitChanged)
    assert min(event.limit for event in changes) == 1
    assert {event.signal for event in changes if event.limit < event.before} == {"gauge"}
    assert changes[-1].limit > 1
    assert crawlers[0].pressure().gauges == {"licences": 0.5}


async def test_crawl_gauge_that_raises_is_told_once_and_dropped(
    crawl: "Crawl", memory: Callable[[Share], None]
) -> None:
    """A broken gauge holds nothing back, and the log says which it was."""
    memory(lambda _: 0.3)

    def prepare(crawler: Crawler) -> None:
        @crawler.gauge("broken")
        def broken() -> float:
            raise ZeroDivisionError("no connections")

        @crawler.gauge("odd")
        def odd() -> float:
            return float("nan")

    done = await crawl(lambda _: FakePageScript(load_s=2), [f"{URL}{number}" for number in range(20)], prepare=prepare)
    assert {result.outcome for result in done.results} == {Outcome.SUCCEEDED}
    assert sorted(event.where for event in done.told(HandlerRaised)) == ["gauge 'broken'", "gauge 'odd'"]
    assert done.told(LimitChanged) == []


def test_crawler_pressure_without_a_run_is_measured_each_time_also_by_a_gauge() -> None:
    """What is told is never an old reading, and a gauge that asks for it is told the rest."""
    crawler_ = Crawler()
    seen: list[Reading] = []

    @crawler_.gauge("nosy")
    def nosy() -> float:
        seen.append(crawler_.pressure())
        return 0.5

    first, second = crawler_.pressure(), crawler_.pressure()
    assert first.at_s < second.at_s
    assert first.gauges == second.gauges == {"nosy": 0.5}
    assert [(each.at_s, each.gauges) for each in seen] == [(first.at_s, {}), (second.at_s, {})]


async def test_crawl_limit_grows_again_pages_start_though_none_has_ended(
    crawl: "Crawl", memory: Callable[[Share], None]
) -> None:
    """After pressure, what waits is visited as soon as it may be, also beside a visit that takes long."""
    memory(lambda _: 0.3)
    starts: list[float] = []

    def prepare(crawler: Crawler) -> None:
        clock = crawler._clock

        @crawler.gauge("licences")
        def used() -> float:
            return 1.0 if clock.now() < 40 else 0.0

        @crawler.handler()
        async def stay(_: Visit) -> None:
            starts.append(clock.now())
            await clock.sleep(1 if clock.now() < 8 else 50)

    await crawl(lambda _: FakePageScript(), [f"{URL}{number}" for number in range(16)], prepare=prepare)
    late = [at for at in starts if 8 <= at < 55]
    assert len(late) == 4
    assert late[0] < 10
    assert 40 <= late[1] < 45


async def test_crawl_browser_opens_slowly_no_page_counts_as_grown_before_it_is_there(
    crawl: "Crawl", memory: Callable[[Share], None]
) -> None:
    """Where there is room for one page at a time, four that wait for the browser do not begin together."""
    memory(lambda _: 0.82)
    starts: list[float] = []

    def prepare(crawler: Crawler) -> None:
        @crawler.handler()
        async def note(_: Visit) -> None:
            starts.append(crawler._clock.now())
            await crawler._clock.sleep(3)

    slow, page = FakeBehaviour(open_context_s=12.0), FakePageScript(grows_bytes=150_000_000)
    await crawl(lambda _: page, [f"{URL}{number}" for number in range(8)], prepare=prepare, behaviour=slow)
    assert starts[1] - starts[0] >= 1


async def test_crawl_requests_that_come_to_no_page_are_no_visits(
    crawl: "Crawl", memory: Callable[[Share], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand requests of a host that was given up say nothing of what pages take, nor of how many are best."""
    memory(lambda _: 0.3)
    ended: list[int] = []

    class Watched(Controller):
        def step(self, reading: Reading, load: Load) -> Decision:
            ended.append(load.finished)
            return super().step(reading, load)

    monkeypatch.setattr(governor, "Controller", Watched)
    down = FakePageScript(network_error="ERR_CONNECTION_REFUSED")
    done = await crawl(
        lambda url: down if "down" in url else FakePageScript(load_s=30),
        [*(f"http://down.test/{number}" for number in range(1_000)), *(f"{URL}{number}" for number in range(80))],
        host={"failures_max": 1, "defer_s": 1},
        retry={"retries": 0},
    )
    assert len(done.results) == 1_080
    assert 75 <= sum(ended) <= 100


async def test_crawl_page_alone_is_not_blamed_for_what_another_one_held(
    crawl: "Crawl", memory: Callable[[Share], None]
) -> None:
    """Where the browser is too busy to be looked at, a small page is given up for others, and never fails for them."""
    inside: dict[str, float] = {}
    slow = FakeBehaviour()
    spikes: list[float] = []
    now: list[Callable[[], float]] = []

    def share(_: float) -> float:
        since = next((at for url, at in inside.items() if url.endswith("small")), None)
        if since is None or now[0]() < since + 0.1 or (len(spikes) == 2 and now[0]() > spikes[-1]):
            return 0.3
        if since not in spikes:
            spikes.append(since)
        return 0.98

    def prepare(crawler: Crawler) -> None:
        now.append(crawler._clock.now)

        @crawler.handler()
        async def stay(visit: Visit) -> None:
            inside[visit.request.url] = crawler._clock.now()
            slow.audit_s = 0.5 if spikes and visit.request.url.endswith("small") else 0.0  # beyond the limit of a look
            try:
                await crawler._clock.sleep(2.5)
            finally:
                del inside[visit.request.url]

    memory(share)
    large = FakePageScript(grows_bytes=LIMIT_BYTES // 2)
    done = await crawl(
        lambda url: large if url.endswith("large") else FakePageScript(),
        [f"{URL}small", f"{URL}large"],
        prepare=prepare,
        behaviour=slow,
        concurrency=1,
        pool={"recycle": {"page_bytes_max": LIMIT_BYTES}},
    )
    assert spikes
    assert not [event for event in done.told(VisitFailed) if event.kind is ErrorKind.MEMORY_EXCEEDED]
    assert {result.outcome for result in done.results} == {Outcome.SUCCEEDED}
