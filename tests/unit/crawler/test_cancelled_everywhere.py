"""Cancellation at every await: a small crawl is made once to count the steps of its tasks, then once for each step.

A step is what a task does until an await suspends it. The crawl has all that can be going on at once: a session that
logs in, a retry, pages that fail, hang and crash, popups, handlers. No real second passes.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from browsercrawl import Crawler, CrawlerConfig, Request, Result, ResultRecord, Visit
from browsercrawl.clock import Clock, SystemClock
from browsercrawl.events import Event, LeaseAcquired, LeaseReleased
from browsercrawl.sessions import LoginSession
from browsercrawl.testing.fake_browser import FakeLauncher, FakePage, FakePageScript
from browsercrawl.testing.virtual_clock import VirtualClock

SITE = "http://site.test"
CONCURRENCY = 3
ENDS_WITHIN_S = 30.0
"""On the crawl's clock, from a cancellation to the end of everything; a browser alone has 10 s to close."""

TRUTH = {
    "/member/1": "succeeded",
    "/member/2": "succeeded",
    "/popups": "succeeded",
    "/flaky": "succeeded",
    "/gone": "failed",
    "/hung": "succeeded",
    "/crashes": "succeeded",
    "/enqueues": "succeeded",
    "/found": "succeeded",
}

Task = asyncio.Task[Any]


class Steps:
    """Counts the steps that tasks of the running loop take, and cancels one of them in such a step.

    Attributes:
        taken: steps so far.
        place: where the cancellation was; empty: nowhere yet.
    """

    def __init__(self, at: int, *, of: str = "", whom: Callable[[Task], Task], until: int | None = None) -> None:
        """Count from now on.

        Args:
            at: the number of the step; 0: only count.
            of: only steps of tasks whose names begin so count.
            whom: given the task whose step it is, the one to cancel.
            until: cancel again in each step up to this one.
        """
        self.taken = 0
        self.place = ""
        self._at, self._until = at, at if until is None else until
        self._of, self._whom = of, whom
        asyncio.get_running_loop().set_task_factory(self._make)

    def stop(self) -> None:
        """Count the steps of no further tasks."""
        asyncio.get_running_loop().set_task_factory(None)

    def note(self, task: Task) -> None:
        """Note that a task takes a step."""
        if not task.get_name().startswith(self._of):
            return
        self.taken += 1
        if self._at <= self.taken <= self._until and self._whom(task).cancel():
            self.place = self.place or f"step {self.taken}, {task.get_name()!r}"

    def _make(self, loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> Task:
        counted = _Counted(work, self)
        counted.task = asyncio.Task(counted, loop=loop, **options)
        return counted.task


class _Counted(Coroutine[Any, Any, Any]):
    """A coroutine that tells of each step before it takes it."""

    def __init__(self, inner: Coroutine[Any, Any, Any], steps: Steps) -> None:
        self.task: Task | None = None
        self._inner = inner
        self._steps = steps

    def send(self, value: Any) -> Any:
        """Take a step."""
        if self.task is not None:
            self._steps.note(self.task)
        return self._inner.send(value)

    def throw(self, *error: Any) -> Any:
        """Take a step that begins with an error."""
        if self.task is not None:
            self._steps.note(self.task)
        return self._inner.throw(*error)

    def close(self) -> None:
        """End it."""
        self._inner.close()

    def __await__(self) -> Generator[Any, None, Any]:
        return self._inner.__await__()


class _Inline(ThreadPoolExecutor):
    """Works at once, in the event loop's thread: a virtual clock would run on while a thread works."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - handed to whoever waits, as every executor does
            future.set_exception(error)
        return future


@dataclass
class Site:
    """A site with a page of each kind, and what crawlers of it do.

    Attributes:
        second: how long one is, on the clock.
        hangs: one of its pages does, the first time.
        complaints: what asyncio would have logged, such as an exception that nobody took.
    """

    clock: Clock = field(default_factory=lambda: VirtualClock(autojump=True))
    second: float = 1.0
    hangs: bool = True
    events: list[Event] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._tried: Counter[str] = Counter()
        self.launcher = FakeLauncher(self._script, clock=self.clock)
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, told: self.complaints.append(str(told)))
        if isinstance(self.clock, VirtualClock):
            loop.set_default_executor(_Inline())

    def crawler(self, **options: Any) -> Crawler:
        """Make a crawler."""
        config = {
            "concurrency": CONCURRENCY,
            "visit": {"timeout_s": 4 * self.second},
            "retry": {"retries": 1, "backoff_s": 0.1 * self.second},
            "sessions": {"profiles": [{"name": "ann", "account": "ann", "login": {}}]},
            **options,
        }
        crawler = Crawler(
            CrawlerConfig.load(config), on_event=self.events.append, launch=self.launcher, clock=self.clock
        )
        crawler.login()(self._log_in)
        crawler.logged_out()(self._is_out)
        crawler.handler()(self._handle)
        crawler.on_failed(self._show)
        return crawler

    def seeds(self) -> list[Request]:
        """Return what is to be visited; the last page of `TRUTH` is found on the way."""
        paths = list(TRUTH)[:-1]
        return [Request(url=SITE + path, session="ann" if path.startswith("/member") else None) for path in paths]

    def _script(self, url: str) -> FakePageScript:
        path = url.removeprefix(SITE)
        self._tried[path] += 1
        is_first = self._tried[path] == 1
        scripts: dict[str, dict[str, Any]] = {
            "/popups": {"popups": 2, "load_s": 0.3},
            "/flaky": {"status": 500 if is_first else 200},
            "/gone": {"status": 404},
            "/hung": {"hang": "crashable" if is_first and self.hangs else "no", "load_s": 0.2},
            "/crashes": {"crash_s": 0.5 if is_first else None, "load_s": 1.0},
        }
        script = scripts.get(path, {"load_s": 0.1})
        return FakePageScript(**{k: v * self.second if k.endswith("_s") and v else v for k, v in script.items()})

    async def _log_in(self, page: FakePage, _: LoginSession) -> None:
        await self.clock.sleep(0.2 * self.second)
        page.context.jar["sid"] = {"name": "sid", "value": "1", "domain": "site.test", "path": "/"}

    async def _is_out(self, page: FakePage) -> bool:
        await self.clock.sleep(0.01 * self.second)
        return "sid" not in page.context.jar

    async def _handle(self, visit: Visit) -> None:
        visit.push(visit.request.url)
        await self.clock.sleep(0.1 * self.second)
        if visit.request.url.endswith("/enqueues"):
            visit.enqueue(f"{SITE}/found")

    async def _show(self, _: Result) -> None:
        await self.clock.sleep(0.1 * self.second)

    def check_nothing_left(self) -> None:
        """Each lease ended once; no task, page, context, browser is left; and the fake was used as it may be."""
        held: set[int] = set()
        for event in self.events:
            if isinstance(event, LeaseAcquired):
                assert event.lease_id not in held
                held.add(event.lease_id)
            elif isinstance(event, LeaseReleased):
                held.remove(event.lease_id)
            assert len(held) <= CONCURRENCY
        assert not held, f"leases that never ended: {held}"
        self.events.clear()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not others, f"tasks left: {others}"
        launcher = self.launcher
        assert (launcher.pages_open, launcher.contexts_open, launcher.browsers_open) == (0, 0, 0)
        assert launcher.misuse == []
        assert self.complaints == []


def check_results(results: list[Result]) -> None:
    """Each request has its one right result."""
    assert sorted((each.url.removeprefix(SITE), each.outcome.value) for each in results) == sorted(TRUTH.items())
    assert all(each.data == (each.url,) for each in results if each.outcome == "succeeded")


async def stream(crawler: Crawler, site: Site) -> list[Result]:
    """Crawl in a stream of a crawler that is open for it alone."""
    async with crawler, crawler.stream(site.seeds()) as results:
        return [result async for result in results]


async def run(crawler: Crawler, site: Site) -> None:
    """Crawl in a run."""
    await crawler.run(site.seeds())


async def cancelled_at(step: int, crawl: Callable[[Crawler, Site], Coroutine[Any, Any, Any]], *, times: int) -> bool:
    """Cancel whoever waits for a crawl when the crawl takes a step; returns whether it took so many."""
    site = Site()
    crawler = site.crawler()
    steps = Steps(step, whom=lambda _: task, until=step + times - 1)
    task: Task = asyncio.create_task(crawl(crawler, site), name="test: crawl")
    began = site.clock.now()
    await asyncio.wait({task})
    steps.stop()
    if not steps.place:
        return False
    assert task.cancelled(), steps.place
    assert site.clock.now() - began < 10 + ENDS_WITHIN_S, steps.place
    site.check_nothing_left()
    return True


@pytest.mark.parametrize(
    ("crawl", "stride", "times"), [(stream, 1, 1), (run, 1, 1), (stream, 5, 10_000), (run, 5, 10_000)]
)
def test_crawl_cancelled_in_any_step_ends_and_leaves_nothing(
    crawl: Callable[[Crawler, Site], Coroutine[Any, Any, Any]], stride: int, times: int
) -> None:
    """Whoever waits for the crawl is cancelled, once or again and again: it ends in time, all its leases with it."""
    step = 1
    while asyncio.run(cancelled_at(step, crawl, times=times)):
        step += stride
    assert step > 100, "the crawl has so many steps at least"


async def cancelled_then_again(step: int) -> bool:
    """Cancel the consumer of a stream in a step of the crawl; the same crawler then makes the whole crawl."""
    site = Site()
    async with site.crawler() as crawler:

        async def consume() -> None:
            async with crawler.stream(site.seeds()) as results:
                async for _ in results:
                    pass

        steps = Steps(step, whom=lambda _: task)
        task: Task = asyncio.create_task(consume(), name="test: crawl")
        await asyncio.wait({task})
        steps.stop()
        async with crawler.stream(site.seeds()) as results:
            check_results([result async for result in results])
    site.check_nothing_left()
    return bool(steps.place)


def test_crawler_after_a_cancelled_run_makes_a_whole_one() -> None:
    """Pool, sessions and crawler of a run that was cancelled in any of its steps serve the next one."""
    step = 1
    while asyncio.run(cancelled_then_again(step)):
        step += 7
    assert step > 100


async def cut_off(step: int) -> bool:
    """Cancel a visit in one of its own steps; returns whether visits took so many."""
    site = Site()
    steps = Steps(step, of="visit ", whom=lambda visit: visit)
    results = await asyncio.create_task(stream(site.crawler(), site))
    steps.stop()
    check_results(results)
    site.check_nothing_left()
    return bool(steps.place)


def test_visit_cancelled_by_somebody_else_is_made_again() -> None:
    """A visit whose task is cancelled in any of its steps, by whatever but the engine, leaves no request behind."""
    step = 1
    while asyncio.run(cut_off(step)):
        step += 1
    assert step > 50


async def resumed(step: int, output: Path) -> int:
    """Cancel a durable run in a step, and resume it until it is through; returns the steps it took."""
    site = Site(clock=SystemClock(), second=0.01, hangs=False)
    options = {"output": output, "resume": True, "visit": {"timeout_s": 20}}
    steps = Steps(step, whom=lambda _: task)
    task: Task = asyncio.create_task(run(site.crawler(**options), site), name="test: crawl")
    await asyncio.wait({task})
    steps.stop()
    assert task.cancelled() == bool(steps.place)
    site.check_nothing_left()
    summary = await site.crawler(**options).run(site.seeds())
    site.check_nothing_left()
    assert summary.unfinished == 0
    lines = (output / "results.jsonl").read_text(encoding="utf-8").splitlines()
    records = [ResultRecord.model_validate_json(line) for line in lines]
    assert sorted((each.url.removeprefix(SITE), each.outcome) for each in records) == sorted(TRUTH.items())
    return steps.taken


def test_durable_run_cancelled_in_any_step_is_resumed(tmp_path: Path) -> None:
    """Whatever the store had committed by then: resumed, the run has one right line for each request."""
    number = asyncio.run(resumed(0, tmp_path / "whole"))
    for step in range(1, number, max(1, number // 25)):
        asyncio.run(resumed(step, tmp_path / str(step)))
