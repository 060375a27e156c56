"""Whole crawls of random sites with random faults and random ends: nothing is lost, done twice, or left behind."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from browsercrawl import Crawler, CrawlerConfig, ErrorKind, FinishReason, Outcome, Request, Result, Retry, Skip, Visit
from browsercrawl.events import Event, LeaseAcquired, LeaseReleased, RequestScheduled
from browsercrawl.testing.fake_browser import NEVER, FakeBehaviour, FakeLauncher, FakePageScript
from browsercrawl.testing.virtual_clock import VirtualClock

HOSTS = ("http://a.test/", "http://b.test/", "http://c.test:8080/")

FAULTS: tuple[dict[str, Any], ...] = (
    {"status": 204},
    {"status": 404},
    {"status": 403},
    {"status": 500},
    {"status": 503},
    {"status": 429, "headers": {"retry-after": "7"}},
    {"network_error": "ERR_CONNECTION_RESET"},
    {"download": True},
    {"commit_s": NEVER},
    {"load_s": NEVER},
    {"hang": "interruptible"},
    {"hang": "for_good"},
    {"crash_s": 0.0},
    {"crash_s": 0.4, "load_s": 2.0},
    {"kills_browser": True},
    {"kills_browser": True, "commit_s": 0.7},
    {"lasting": frozenset({"Page.route"})},
    {"context_lasting": frozenset({"BrowserContext.route"})},
    {"grows_bytes": 10**9},
    {"close_s": NEVER},
)

HANDLERS = ("fine", "slow", "raises", "retry_once", "skip", "closes", "kills", "closes_context", "enqueues")

URLS = tuple(f"{host}{number}" for number in range(10) for host in HOSTS)

scripts = st.builds(
    lambda base, load_s, links: {"load_s": load_s, "links": links, **base},
    st.one_of(st.just({}), st.sampled_from(FAULTS)),
    st.floats(0, 3),
    st.lists(st.sampled_from(URLS), max_size=3).map(tuple),
)


@dataclass(frozen=True)
class Plan:
    """A crawl to be made."""

    pages: dict[str, dict[str, Any]]
    seeds: list[Any]
    options: dict[str, Any]
    dies_at_call: int | None
    stop_at_s: float | None
    drain_s: float


labels = st.one_of(st.none(), st.none(), st.sampled_from((*HANDLERS, "unknown")))

plans = st.builds(
    lambda pages, wishes, odd, **rest: Plan(
        pages=dict(zip(URLS, pages, strict=False)),
        seeds=[
            *(
                Request(url=url, label=label, session=session)
                for url, (label, session) in zip(URLS, wishes, strict=False)
            ),
            *odd,
        ],
        **rest,
    ),
    pages=st.lists(scripts, min_size=3, max_size=len(URLS)),
    wishes=st.lists(st.tuples(labels, st.sampled_from([None, None, "me"])), min_size=1, max_size=len(URLS)),
    odd=st.lists(st.sampled_from(["nonsense", "ftp://x/", URLS[0], Request(url=URLS[1], priority=1)]), max_size=3),
    options=st.fixed_dictionaries(
        {
            "concurrency": st.integers(1, 6),
            "retry": st.fixed_dictionaries({"retries": st.integers(0, 2)}),
            "host": st.fixed_dictionaries(
                {"delay_s": st.sampled_from([0, 0, 2]), "per_host": st.sampled_from([None, None, 1])}
            ),
            "links": st.fixed_dictionaries(
                {
                    "depth": st.integers(0, 2),
                    "scope": st.sampled_from(["host", "any"]),
                    "max_requests": st.sampled_from([None, None, 5]),
                }
            ),
            "pool": st.fixed_dictionaries(
                {
                    "reuse": st.sampled_from(["clean", "keep", "never"]),
                    "isolation": st.sampled_from(["session", "request"]),
                    "recycle": st.fixed_dictionaries({"page_visits_max": st.sampled_from([1, 3, 25])}),
                }
            ),
        }
    ),
    dies_at_call=st.one_of(st.none(), st.integers(1, 60)),
    stop_at_s=st.one_of(st.none(), st.none(), st.floats(0, 200)),
    drain_s=st.sampled_from([0.0, 5.0]),
)


def register(crawler: Crawler, clock: VirtualClock) -> None:
    """Give the crawler one handler per kind of conduct."""
    tried: Counter[str] = Counter()

    def add(label: str | None, conduct: str) -> None:
        @crawler.handler(label)
        async def _(visit: Visit) -> None:
            page: Any = visit.page
            visit.push(visit.request.id)
            tried[visit.request.id] += 1
            if conduct == "slow":
                await clock.sleep(100)
            elif conduct == "raises":
                raise ValueError("no")
            elif conduct == "retry_once" and tried[visit.request.id] == 1:
                raise Retry("once")
            elif conduct == "skip":
                raise Skip("dull")
            elif conduct == "closes":
                page.end()
            elif conduct == "kills":
                page.context.browser.die("by its handler")
            elif conduct == "closes_context":
                page.context.end()
            elif conduct == "enqueues":
                visit.enqueue(f"{visit.request.url}/more")
                await visit.enqueue_links(label="fine")
            await clock.sleep(0.5)

    add(None, "fine")
    for conduct in HANDLERS:
        add(conduct, conduct)


async def carry_out(plan: Plan) -> None:
    """Make the crawl and check all that must hold."""
    clock = VirtualClock(autojump=True)
    behaviour = FakeBehaviour(dies_at_call=plan.dies_at_call)
    launcher = FakeLauncher(lambda url: FakePageScript(**plan.pages.get(url, {})), clock=clock, behaviour=behaviour)
    if plan.dies_at_call is not None and plan.dies_at_call < 4:
        behaviour.dies_at_call = None  # a browser that never opens a page is another story: LaunchFailed
    events: list[Event] = []
    crawler = Crawler(CrawlerConfig.load(plan.options), on_event=events.append, launch=launcher, clock=clock)
    register(crawler, clock)
    results: list[Result] = []
    async with crawler:
        stream = crawler.stream(plan.seeds)

        async def stop() -> None:
            await clock.sleep(plan.stop_at_s or 0)
            await crawler.stop(drain_s=plan.drain_s)

        stopping = asyncio.create_task(stop()) if plan.stop_at_s is not None else None
        async for result in stream:
            results.append(result)
            behaviour.dies_at_call = None  # once is enough
        if stopping is not None:
            stopping.cancel()
            await asyncio.wait({stopping})
    check(plan, results, events, launcher)
    summary = stream.summary
    assert summary is not None
    stored = sum(isinstance(event, RequestScheduled) for event in events)
    refused = sum(
        each.attempts == 0 and each.error is not None and each.error.kind == ErrorKind.URL_INVALID for each in results
    )
    beyond = sum(each.skip_reason == "max_requests" for each in results)
    assert stored + refused + beyond == len(results) + summary.unfinished
    assert summary.succeeded + summary.failed + summary.skipped == len(results)
    if plan.stop_at_s is None:
        reasons = {FinishReason.FINISHED}
        if beyond or "max_requests" in summary.links_skipped:
            reasons = {FinishReason.MAX_REQUESTS}
        elif "too_deep" in summary.links_skipped:
            reasons = {FinishReason.MAX_DEPTH}
        assert summary.unfinished == 0
        assert summary.finish_reason in reasons
    assert asyncio.all_tasks() == {asyncio.current_task()}


def check(plan: Plan, results: list[Result], events: list[Event], launcher: FakeLauncher) -> None:
    """Check what holds for results, leases and the browser."""
    assert max(Counter(each.request_id for each in results).values(), default=1) == 1, "one result per request"
    for each in results:
        assert (each.outcome is Outcome.FAILED) == (each.error is not None)
        assert (each.outcome is Outcome.SKIPPED) == (each.skip_reason is not None)
        assert each.attempts <= plan.options["retry"]["retries"] + 1
        assert each.data in ((), (each.request_id,)), "of one attempt only"
        assert each.error is None or each.error.kind is not ErrorKind.INTERNAL, each.error
    leases = 0
    for event in events:
        leases += isinstance(event, LeaseAcquired) - isinstance(event, LeaseReleased)
        assert 0 <= leases <= plan.options["concurrency"]
    assert leases == 0
    assert launcher.misuse == []
    assert (launcher.pages_open, launcher.contexts_open, launcher.browsers_open) == (0, 0, 0)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(plan=plans)
def test_crawl_any_site_with_any_faults_gives_each_request_its_one_result(plan: Plan) -> None:
    """Every request has exactly one result, or, only after a stop, is counted as unfinished; nothing is left."""
    asyncio.run(carry_out(plan))
