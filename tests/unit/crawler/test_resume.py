"""Runs that several processes work on, one after the other: here several crawlers on one directory, a fake browser.

The real kills are in `tests/faults/test_durable_runs.py`.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from browsercrawl import CrawlDispatcher, Crawler, CrawlerConfig, FinishReason, Request, ResultRecord, Summary, Visit
from browsercrawl.clock import SystemClock
from browsercrawl.crawler.inputs import JobSeeds
from browsercrawl.errors import ConfigError, InputChanged, OutputFailed, RunBusy
from browsercrawl.events import Event, RunStarted, VisitStarted
from browsercrawl.frontier.sqlite import SqliteFrontier
from browsercrawl.politeness import HostRules
from browsercrawl.result import SkipReason
from browsercrawl.testing.fake_browser import FakeLauncher, FakePageScript

URL = "http://site.test/"
SHOP = "shop.test"


def tree(url: str) -> FakePageScript:
    """Each page links to two further ones, to itself, and out of scope."""
    name = url.rsplit("/", 1)[-1] or "1"
    links = [f"{URL}{2 * int(name)}", f"{URL}{2 * int(name) + 1}", url, "http://other.test/"]
    return FakePageScript(title=name, links=tuple(links))


def crawler_of(output: Path, sites: Any = tree, **options: Any) -> Crawler:
    """A crawler that makes its run directory or goes on with it; on the machine's clock, as files are."""
    kept = {key: options.pop(key) for key in ("sinks", "on_event") if key in options}
    config = {"concurrency": 2, "output": output, "resume": True, "retry": {"backoff_s": 0.01}, **options}
    return Crawler(CrawlerConfig.load(config), launch=FakeLauncher(sites), **kept)


def records(output: Path) -> list[ResultRecord]:
    """All lines of `results.jsonl`."""
    return [ResultRecord.model_validate_json(line) for line in (output / "results.jsonl").read_text().splitlines()]


async def stopped_after(crawler: Crawler, seeds: Sequence[str], number: int) -> Summary:
    """Run until so many results were there, then stop."""
    async with crawler, crawler.stream(seeds) as stream:
        for _ in range(number):
            await anext(stream)
        await crawler.stop()
        async for _ in stream:
            pass
    assert stream.summary is not None
    return stream.summary


@pytest.mark.parametrize("cuts", [(1,), (5, 4), (2, 2, 2, 2)])
async def test_run_in_pieces_has_the_results_of_one_in_one_go(tmp_path: Path, cuts: tuple[int, ...]) -> None:
    """However often it is stopped: each page once, and counts, duplicates and left-out links as of a single run."""
    options = {"links": {"depth": 3}, "host": {"per_host": 1}}
    seeds = [URL, "nothing", URL, "x:", "nothing"]
    whole = await crawler_of(tmp_path / "whole", **options).run(seeds)
    output = tmp_path / "pieces"
    for cut in cuts:
        summary = await stopped_after(crawler_of(output, **options), seeds, cut)
        assert summary.finish_reason is FinishReason.STOPPED
        assert summary.unfinished > 0
    last = await crawler_of(output, **options).run(seeds)
    expected, found = records(tmp_path / "whole"), records(output)
    assert max(Counter(each.request_id for each in found).values()) == 1
    assert sorted(each.request_id for each in found) == sorted(each.request_id for each in expected)
    assert len(found) == 15 + 3
    told = ("succeeded", "failed", "skipped", "duplicates", "links_skipped", "finish_reason", "unfinished", "failures")
    assert {name: getattr(last, name) for name in told} == {name: getattr(whole, name) for name in told}
    assert (whole.resumed, last.resumed) == (False, True)


async def test_run_resumed_when_finished_does_nothing_again(tmp_path: Path) -> None:
    """The same program started again visits nothing; the summary and the file are those of the run."""
    first = await crawler_of(tmp_path / "run", links={"depth": 2}).run([URL, "nothing"])
    before = (tmp_path / "run" / "results.jsonl").read_bytes()
    events: list[Event] = []
    again = await crawler_of(tmp_path / "run", links={"depth": 2}, on_event=events.append).run([URL, "nothing"])
    assert (tmp_path / "run" / "results.jsonl").read_bytes() == before
    told = ("run_id", "succeeded", "failed", "duplicates", "links_skipped", "started_at", "finish_reason")
    assert {name: getattr(again, name) for name in told} == {name: getattr(first, name) for name in told}
    assert not [event for event in events if isinstance(event, VisitStarted)]


async def test_run_resumed_takes_new_seeds_too(tmp_path: Path) -> None:
    """What the program's input has gained since is crawled."""
    await crawler_of(tmp_path / "run").run([URL])
    summary = await crawler_of(tmp_path / "run").run([URL, f"{URL}2"])
    assert (summary.succeeded, summary.duplicates) == (2, 0)


async def test_run_started_says_what_it_goes_on_with(tmp_path: Path) -> None:
    """The first event of a resumed run tells how much of it is done."""
    events: list[Event] = []
    await stopped_after(crawler_of(tmp_path / "run", links={"depth": 3}), [URL], 3)
    await crawler_of(tmp_path / "run", on_event=events.append).run([URL])
    (started,) = [event for event in events if isinstance(event, RunStarted)]
    assert started.resumed
    assert started.finished >= 3


async def test_run_held_by_another_is_refused(tmp_path: Path) -> None:
    """Two crawlers on one directory: the second is told who has it, and the first goes on unharmed."""
    crawler = crawler_of(tmp_path / "run", links={"depth": 2})
    async with crawler, crawler.stream([URL]) as stream:
        await anext(stream)
        with pytest.raises(RunBusy, match="process"):
            await crawler_of(tmp_path / "run").run([URL])
        rest = [result async for result in stream]
    assert len(rest) == 6


class Collecting:
    """A sink that keeps what it gets."""

    def __init__(self, *, failures: int = 0) -> None:
        self.got: list[ResultRecord] = []
        self.closed = 0
        self._failures = failures

    async def write(self, records: Sequence[ResultRecord]) -> None:
        if self._failures:
            self._failures -= 1
            raise RuntimeError("not now")
        self.got.extend(records)

    async def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("with_directory", [True, False])
async def test_sinks_get_each_record(tmp_path: Path, with_directory: bool) -> None:
    """A sink sees every finished request, also without a run directory, and is closed with the run."""
    sink = Collecting()
    output = {"output": tmp_path / "run"} if with_directory else {}
    config = CrawlerConfig.load({"links": {"depth": 2}, **output})
    await Crawler(config, launch=FakeLauncher(tree), sinks=[sink]).run([URL, "nothing"])
    assert sorted(each.url for each in sink.got) == sorted(
        [*(f"{URL}{name}" for name in ["", *range(2, 8)]), "nothing"]
    )
    assert sink.closed == 1
    if with_directory:
        assert sink.got == records(tmp_path / "run")


async def test_sink_that_fails_for_good_ends_the_run_and_gets_it_all_at_the_resumption(tmp_path: Path) -> None:
    """No record is lost to a broken sink: the run fails saying so, and what it missed waits for the next process."""
    clock_options = {"links": {"depth": 2}}
    with pytest.raises(OutputFailed, match="Collecting"):
        await crawler_of(tmp_path / "run", sinks=[Collecting(failures=99)], **clock_options).run([URL])
    sink = Collecting()
    await crawler_of(tmp_path / "run", sinks=[sink], **clock_options).run([URL])
    assert Counter(each.url for each in sink.got) == Counter(f"{URL}{name}" for name in ["", *range(2, 8)])
    assert sink.got == records(tmp_path / "run")


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"max_failures": 3}, FinishReason.MAX_FAILURES),
        ({"max_failure_share": 0.5}, FinishReason.MAX_FAILURES),
        ({"max_disk_bytes": 1}, FinishReason.MAX_DISK),
        ({"max_time_s": 0.3}, FinishReason.MAX_TIME),
    ],
)
async def test_run_ended_by_a_limit_can_go_on_without_it(
    tmp_path: Path, limits: dict[str, Any], reason: FinishReason
) -> None:
    """Each limit has its own finish reason and exit code 4; nothing that was not visited is lost."""

    def sites(_url: str) -> FakePageScript:
        return FakePageScript(status=404 if "failure" in str(limits) else 200, load_s=0.02)

    seeds = [f"{URL}{number}" for number in range(60)]
    first = await crawler_of(tmp_path / "run", sites, limits=limits).run(seeds)
    assert (first.finish_reason, first.exit_code) == (reason, 4)
    assert first.finish_detail
    assert first.succeeded + first.failed < 60
    last = await crawler_of(tmp_path / "run", sites).run(seeds)
    assert last.finish_reason is FinishReason.FINISHED
    assert Counter(each.url for each in records(tmp_path / "run")) == Counter(seeds)


async def test_run_max_per_host_takes_no_more_of_a_host_than_that(tmp_path: Path) -> None:
    """Seeds beyond it have a skipped result, links are counted; other hosts are not held back."""
    options = {"links": {"depth": 5, "scope": "any", "max_per_host": 4}}
    seeds = [f"{URL}{number}" for number in (1, 2, 3, 4, 5)] + ["http://quiet.test/9"]
    summary = await crawler_of(tmp_path / "run", **options).run(seeds)
    by_host = Counter(each.url.split("/")[2] for each in records(tmp_path / "run") if each.outcome == "succeeded")
    assert max(by_host.values()) == 4
    assert by_host["site.test"] == 4
    assert [each.skip_reason for each in records(tmp_path / "run") if each.outcome == "skipped"] == ["max_per_host"]
    assert summary.links_skipped[SkipReason.MAX_PER_HOST] > 0
    assert (summary.finish_reason, summary.exit_code) == (FinishReason.MAX_PER_HOST, 0)


async def test_run_resumed_keeps_to_the_seeds_scope_and_to_what_a_path_has_had(tmp_path: Path) -> None:
    """Two steps from its seed and in another process, a page's links are judged by the seed; so are endless queries."""

    def calendar(url: str) -> FakePageScript:
        day = int(url.rpartition("=")[2]) if "=" in url else 0
        days = [f"http://www.{SHOP}/docs/calendar?day={day + step}" for step in (1, 2)]
        return FakePageScript(links=(*days, f"http://www.{SHOP}/", f"http://{SHOP}/docs/"))

    options = {"links": {"depth": 99, "scope": "prefix", "max_per_path": 5}, "host": {"per_host": 1}}
    seeds = [f"http://www.{SHOP}/docs/"]
    await stopped_after(crawler_of(tmp_path / "run", calendar, **options), seeds, 4)
    summary = await crawler_of(tmp_path / "run", calendar, **options).run(seeds)
    assert [each.url.removeprefix(seeds[0]) for each in records(tmp_path / "run")] == [
        "", *(f"calendar?day={day}" for day in range(1, 6)),
    ]  # fmt: skip
    assert summary.links_skipped == {"out_of_scope": 12, "max_per_path": 3}
    assert summary.finish_reason is FinishReason.MAX_PER_PATH


async def test_rules_give_wishes_by_url_and_label(tmp_path: Path) -> None:
    """The first rule that matches counts; a request's own wishes and label go before."""
    crawler = crawler_of(
        tmp_path / "run",
        lambda _: FakePageScript(selectors={".price": 0.0}),
        rules=[
            {"url": "*/product/*", "handler": "product", "wait_for": ".price"},
            {"url": "*", "save": ["html"], "wait_for": ".never", "timeout_s": 0.2},
        ],
        retry={"retries": 0},
    )

    @crawler.handler()
    async def _(visit: Visit) -> None:
        visit.push("default")

    @crawler.handler("product")
    async def _(visit: Visit) -> None:
        visit.push("product")

    await crawler.run([f"{URL}product/1", f"{URL}other"])
    first, second = sorted(records(tmp_path / "run"), key=lambda each: each.url, reverse=True)
    assert (first.outcome, first.data, first.artifacts) == ("succeeded", ("product",), ())
    assert second.error is not None
    assert second.error.kind in {"selector_missing", "deadline"}


async def test_run_stopped_with_a_sink_that_hangs_ends_and_keeps_what_it_was_to_get(tmp_path: Path) -> None:
    """A stop waits for a sink no longer than the drain deadline; the records wait for the next process."""

    class Hanging(Collecting):
        async def write(self, records: Sequence[ResultRecord]) -> None:
            await asyncio.Event().wait()

    crawler = crawler_of(tmp_path / "run", sinks=[Hanging()], links={"depth": 2})
    async with asyncio.timeout(20):
        async with crawler, crawler.stream([URL]) as stream:
            await anext(stream)
            await crawler.stop(drain_s=0.2, reason=FinishReason.INTERRUPTED)
            async for _ in stream:
                pass
    assert stream.summary is not None
    assert (stream.summary.finish_reason, stream.summary.exit_code) == (FinishReason.INTERRUPTED, 130)
    assert "resume" in str(stream.summary.finish_detail)
    sink = Collecting()
    last = await crawler_of(tmp_path / "run", sinks=[sink], links={"depth": 2}).run([URL])
    assert last.succeeded == 7
    assert Counter(each.url for each in sink.got) == Counter(each.url for each in records(tmp_path / "run"))


async def test_run_stopped_again_and_again_visits_as_many_at_once_as_ever(tmp_path: Path) -> None:
    """What a stop cuts off is put back without a stall: it is no suspect, to be visited alone."""
    seeds = [f"{URL}{number}" for number in range(6)]

    def slow(_url: str) -> FakePageScript:
        return FakePageScript(load_s=30.0)

    for _ in range(3):  # more often than makes a suspect
        started = asyncio.Semaphore(0)

        def on_event(event: Event, started: asyncio.Semaphore = started) -> None:
            if isinstance(event, VisitStarted):
                started.release()

        crawler = crawler_of(tmp_path / "run", slow, concurrency=6, on_event=on_event)
        running = asyncio.create_task(crawler.run(seeds))
        for _ in seeds:
            await started.acquire()
        await crawler.stop(drain_s=0.0)
        assert (await running).unfinished == 6
    store = await SqliteFrontier.open(
        tmp_path / "run" / "run.sqlite", clock=SystemClock(), rules_of=lambda _: HostRules()
    )
    claims = await store.claim(owner="test", limit=6, lease_s=60)
    assert [(claim.attempt, claim.stalls) for claim in claims] == [(1, 0)] * 6
    await store.close()


async def test_values_that_no_file_can_hold_fail_their_request_alone(tmp_path: Path) -> None:
    """An integer of thousands of digits, pushed or in a request's data, is the handler's failure; the run goes on."""
    sites = dict.fromkeys([f"{URL}push", f"{URL}enqueue", f"{URL}fine"], FakePageScript())
    crawler = crawler_of(tmp_path / "run", sites, sinks=[Collecting()], retry={"retries": 0})

    @crawler.handler()
    async def _(visit: Visit) -> None:
        if visit.request.url.endswith("push"):
            visit.push({"a": 10**5000})
        if visit.request.url.endswith("enqueue"):
            visit.enqueue(Request(url=f"{URL}next", data={"a": 10**5000}))

    summary = await crawler.run(list(sites))
    kinds = {each.url.removeprefix(URL): each.error.kind if each.error else None for each in records(tmp_path / "run")}
    assert kinds == {"push": "handler_failed", "enqueue": "input_invalid", "fine": None}
    assert summary.unfinished == 0


async def test_run_begun_from_the_command_line_is_not_resumed_by_a_program(tmp_path: Path) -> None:
    """Its input is the job's, which a program does not have: it is told so."""
    await crawler_of(tmp_path / "run").run(JobSeeds(urls=[URL]))
    with pytest.raises(InputChanged, match="command line"):
        await crawler_of(tmp_path / "run").run([URL])


def test_dispatcher_cannot_resume(tmp_path: Path) -> None:
    """Its tasks would wait for results that an earlier process had; it says so at once."""
    with pytest.raises(ConfigError, match="Crawler"):
        CrawlDispatcher(CrawlerConfig(output=tmp_path / "run", resume=True))
