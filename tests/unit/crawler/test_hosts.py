"""What a crawl does to hosts that refuse, fail, are slow, or have a pace of their own."""

import json
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from browsercrawl import Crawler, Outcome, Request
from browsercrawl.errors import ErrorKind
from browsercrawl.events import HostDeferred, HostGivenUp
from browsercrawl.testing.fake_script import FakeBehaviour, FakePageScript
from browsercrawl.visit import Visit

if TYPE_CHECKING:
    from tests.unit.crawler.conftest import Crawl, Crawled

OK = FakePageScript()
REFUSED = FakePageScript(network_error="ERR_CONNECTION_REFUSED")
PATIENT = {"retries": 0}


def urls(host: str, number: int) -> list[str]:
    """So many pages of a host."""
    return [f"http://{host}/{page}" for page in range(number)]


def starts(done: "Crawled", host: str) -> list[float]:
    """When the visits of a host began."""
    begun = [result.started_at for result in done.results if result.url.startswith(f"http://{host}/")]
    return sorted(at.timestamp() for at in begun if at is not None)


async def test_crawl_five_pages_of_a_host_start_a_delay_apart(crawl: "Crawl") -> None:
    """Five pages at once, one second between two: they start at 0, 1, 2, 3 and 4 s."""
    done = await crawl(lambda _: OK, urls("a.test", 5), concurrency=5, host={"delay_s": 1.0})
    first, *later = starts(done, "a.test")
    assert [at - first for at in later] == pytest.approx([1.0, 2.0, 3.0, 4.0], abs=1e-6)


async def test_crawl_jitter_only_adds(crawl: "Crawl") -> None:
    """With a jitter of one half, gaps lie between the delay and one and a half of it, and differ."""
    done = await crawl(lambda _: OK, urls("a.test", 30), host={"delay_s": 1.0, "jitter": 0.5})
    gaps = [later - earlier for earlier, later in pairwise(starts(done, "a.test"))]
    assert 1.0 - 1e-6 <= min(gaps) < 1.2
    assert 1.3 < max(gaps) <= 1.5 + 1e-6


async def test_crawl_rate_holds_over_all_hosts(crawl: "Crawl") -> None:
    """Ten visits per second begin a tenth of a second apart, whatever their hosts and however many pages are free."""
    seeds = [f"http://h{number}.test/" for number in range(50)]
    done = await crawl(lambda _: OK, seeds, concurrency=20, rate=10)
    began = [at for number in range(50) for at in starts(done, f"h{number}.test")]
    began.sort()
    assert min(later - earlier for earlier, later in pairwise(began)) >= 0.1 - 1e-6
    assert began[-1] - began[0] == pytest.approx(4.9, abs=0.01)


async def test_crawl_rate_holds_where_pages_are_late(crawl: "Crawl") -> None:
    """Visits that waited together for a browser to open do not begin together when it is there."""
    seeds = [f"http://h{number}.test/" for number in range(20)]
    slow = FakeBehaviour(open_context_s=8.0)
    done = await crawl(lambda _: OK, seeds, concurrency=8, rate=2, behaviour=slow)
    began = sorted(at for number in range(20) for at in starts(done, f"h{number}.test"))
    assert min(later - earlier for earlier, later in pairwise(began)) >= 0.5 - 1e-6


async def test_crawl_requests_that_come_to_no_visit_take_none_of_their_hosts_time(crawl: "Crawl") -> None:
    """A hundred requests whose label has no handler fail at once, and the one that has is not kept waiting."""

    def prepare(crawler: Crawler) -> None:
        @crawler.handler("known")
        async def look(_: Visit) -> None: ...

    lost = [Request(url=url, label="lost") for url in urls("a.test", 100)]
    seeds = [*lost, Request(url="http://a.test/known", label="known")]
    done = await crawl(lambda _: OK, seeds, prepare=prepare, host={"delay_s": 5.0})
    assert {str(result.error.kind) for result in done.results if result.error} == {"unknown_label"}
    assert done.of("http://a.test/known").timings.total_s < 10.0


async def test_crawl_host_that_is_gone_costs_few_requests_and_minutes(crawl: "Crawl") -> None:
    """Of 1,000 requests of a dead host 13 are visited; the others fail as `host_down`, and it all takes 7 minutes."""
    done = await crawl(lambda _: REFUSED, urls("dead.test", 1_000), concurrency=1, retry=PATIENT)
    kinds = [result.error.kind for result in done.results if result.error]
    assert len(kinds) == 1_000
    assert kinds.count(ErrorKind.NETWORK) == 13
    assert kinds.count(ErrorKind.HOST_DOWN) == 987
    assert {result.attempts for result in done.results if result.error and result.error.kind == "host_down"} == {0}
    assert [round(event.delay_s, -1) // 10 for event in done.told(HostDeferred)] == pytest.approx([6, 12, 24], abs=3)
    assert len(done.told(HostGivenUp)) == 1
    assert 420 <= max(result.timings.total_s for result in done.results) <= 480


async def test_crawl_host_that_comes_back_loses_nothing_more(crawl: "Crawl") -> None:
    """An outage of two minutes costs the attempts of 11 visits; after one that is served all go on at once."""

    def site(_: str) -> FakePageScript:
        return answers.pop(0) if answers else OK

    answers = [REFUSED] * 11
    done = await crawl(site, urls("a.test", 200), concurrency=1, retry=PATIENT)
    outcomes = [result.outcome for result in done.results]
    assert (outcomes.count(Outcome.FAILED), outcomes.count(Outcome.SUCCEEDED)) == (11, 189)
    assert len(done.told(HostDeferred)) == 2
    assert not done.told(HostGivenUp)


async def test_crawl_host_that_fails_every_other_time_is_never_left_alone(crawl: "Crawl") -> None:
    """Failures must be consecutive: what serves in between is there."""
    turn = iter(range(10**6))
    done = await crawl(lambda _: OK if next(turn) % 2 else REFUSED, urls("a.test", 300), concurrency=8, retry=PATIENT)
    assert not done.told(HostDeferred)
    assert {result.outcome for result in done.results} == {Outcome.SUCCEEDED, Outcome.FAILED}


@pytest.mark.parametrize(
    "script",
    [
        FakePageScript(commit_s=1e9),
        FakePageScript(status=404),
        FakePageScript(crash_s=0.0),
        FakePageScript(network_error="ERR_INTERNET_DISCONNECTED"),
        FakePageScript(status=500, final_url="http://elsewhere.test/"),
        FakePageScript(network_error="ERR_NAME_NOT_RESOLVED", final_url="http://elsewhere.test/"),
    ],
)
async def test_crawl_what_is_not_the_hosts_fault_never_counts(crawl: "Crawl", script: FakePageScript) -> None:
    """A page that hangs, a 404, a crash, our own network, another host's 5xx or absence leave the host as it is."""
    done = await crawl(lambda _: script, urls("a.test", 60), retry=PATIENT)
    assert not done.told(HostDeferred)
    assert {str(result.error.kind) for result in done.results if result.error} & {"host_down"} == set()


async def test_crawl_host_that_refuses_for_ever_ends(crawl: "Crawl") -> None:
    """A host that answers 429 each time, however long it is left alone, is given up after eight refusals in a row."""
    done = await crawl(
        lambda _: FakePageScript(status=429),
        urls("a.test", 500),
        concurrency=1,
        retry=PATIENT,
        host={"defer_s": 1, "defer_max_s": 60},
    )
    kinds = [str(result.error.kind) for result in done.results if result.error]
    assert (kinds.count("host_unavailable"), kinds.count("host_down")) == (9, 491)
    assert max(result.timings.total_s for result in done.results) <= 4 * 60


async def test_crawl_host_that_refuses_who_was_led_to_it_is_left_alone_as_well(crawl: "Crawl") -> None:
    """A host leads to another, which answers 429: that one's own page waits as long as the first one's next."""
    led = FakePageScript(status=429, headers={"retry-after": "300"}, final_url="http://b.test/x")
    sites = {"http://a.test/0": led}
    seeds = ["http://a.test/0", "http://b.test/1"]
    done = await crawl(lambda url: sites.get(url, OK), seeds, concurrency=1, retry=PATIENT)
    assert starts(done, "b.test")[0] - starts(done, "a.test")[0] >= 300


async def test_crawl_slow_host_sets_its_own_pace(crawl: "Crawl") -> None:
    """With a factor of 5, a host that answers after 0.4 s is visited every 2 s, and one that is quick as configured."""
    pages = {"slow": FakePageScript(commit_s=0.4), "quick": FakePageScript(commit_s=0.01)}
    done = await crawl(
        lambda url: pages["slow" if "slow" in url else "quick"],
        [*urls("slow.test", 8), *urls("quick.test", 8)],
        host={"delay_s": 1.0, "latency_factor": 5},
    )
    slow, quick = (list(pairwise(starts(done, host))) for host in ("slow.test", "quick.test"))
    assert [later - earlier for earlier, later in slow[1:]] == pytest.approx([2.0] * 6, abs=0.01)
    assert [later - earlier for earlier, later in quick] == pytest.approx([1.0] * 7, abs=0.01)


async def test_crawl_override_holds_for_the_first_pattern_that_matches(crawl: "Crawl") -> None:
    """One host is visited every 5 s, its sibling every second, the rest without pause."""
    hosts = [{"host": "a.x.test", "delay_s": 5.0}, {"host": "*.x.test", "delay_s": 1.0}]
    seeds = [url for host in ("a.x.test", "b.x.test", "c.test") for url in urls(host, 3)]
    done = await crawl(lambda _: OK, seeds, hosts=hosts)
    spans = [starts(done, host)[-1] - starts(done, host)[0] for host in ("a.x.test", "b.x.test", "c.test")]
    assert spans == pytest.approx([10.0, 2.0, 0.0], abs=0.01)


async def test_crawl_by_domain_has_all_its_hosts_share_one_pace(crawl: "Crawl") -> None:
    """Hosts of a registrable domain take turns a delay apart; others, of a private suffix too, do not wait for them."""
    shared = [f"http://{name}.shop.co.uk/" for name in ("a", "b", "c")]
    apart = ["http://one.github.io/", "http://two.github.io/"]
    done = await crawl(lambda _: OK, [*shared, *apart], concurrency=8, host={"delay_s": 3.0, "by": "domain"})
    began = {result.url: result.started_at.timestamp() for result in done.results if result.started_at}
    first = min(began.values())
    assert sorted(began[url] - first for url in shared) == pytest.approx([0.0, 3.0, 6.0], abs=0.01)
    assert [began[url] - first for url in apart] == pytest.approx([0.0, 0.0], abs=0.01)


async def test_crawl_pages_that_a_handler_loads_are_owed_to_their_host(crawl: "Crawl") -> None:
    """A handler that goes to two more pages of the host makes the next visit wait for three delays in all."""

    def prepare(crawler: Crawler) -> None:
        @crawler.handler()
        async def roam(visit: Visit) -> None:
            page = visit.page
            for _ in range(2):
                await page.goto("http://a.test/other", wait_until="load", load_limit_s=1, limit_s=1)  # type: ignore[call-arg]  # the fake page

    done = await crawl(lambda _: OK, urls("a.test", 4), prepare=prepare, host={"delay_s": 1.0})
    gaps = [later - earlier for earlier, later in pairwise(starts(done, "a.test"))]
    assert gaps == pytest.approx([3.0, 3.0, 3.0], abs=0.01)


async def test_crawl_page_that_redirects_is_owed_to_the_host_it_leads_to(crawl: "Crawl") -> None:
    """Four hosts that lead to a fifth make its own page wait a delay after the last; a shared slot owes once."""
    elsewhere = FakePageScript(final_url="http://b.test/x")
    seeds = [*(f"http://a{number}.test/" for number in range(4)), "http://b.test/1"]
    done = await crawl(lambda _: elsewhere, seeds, concurrency=1, host={"delay_s": 10.0})
    assert starts(done, "b.test")[0] >= starts(done, "a3.test")[0] + 10.0
    home = FakePageScript(final_url="http://www.shop.test/")
    done = await crawl(lambda _: home, urls("shop.test", 3), host={"delay_s": 10.0, "by": "domain"})
    gaps = [later - earlier for earlier, later in pairwise(starts(done, "shop.test"))]
    assert gaps == pytest.approx([10.0, 10.0], abs=0.01)


async def test_crawl_input_sorted_by_host_keeps_no_other_host_waiting(crawl: "Crawl") -> None:
    """Of 3,000 pages of a slow host that come first, few are done before 50 other hosts have had their turn."""
    seeds = [*urls("slow.test", 3_000), *(f"http://h{number}.test/" for number in range(50))]
    done = await crawl(lambda _: OK, seeds, host={"delay_s": 1.0}, limits={"max_time_s": 60})
    assert len(done.results) > 100
    others = [result for result in done.results if not result.url.startswith("http://slow.test/")]
    assert len(others) == 50


async def test_crawl_host_given_up_in_a_durable_run_has_one_more_trial_when_resumed(
    crawl: "Crawl", tmp_path: Path
) -> None:
    """Every request has its line; the host is well again when the run goes on, and what is left of it is served."""
    host = {"failures_max": 2, "defer_s": 1}
    seeds = urls("a.test", 60)
    options: dict[str, Any] = {"output": tmp_path / "run", "retry": PATIENT, "host": host, "concurrency": 1}
    first = await crawl(lambda _: REFUSED, seeds, limits={"max_failures": 20}, **options)
    assert first.told(HostGivenUp)
    assert 20 <= len(first.results) < 60
    second = await crawl(lambda _: OK, seeds, resume=True, **options)
    assert {result.outcome for result in second.results} == {Outcome.SUCCEEDED}
    lines = (tmp_path / "run" / "results.jsonl").read_text().splitlines()
    assert len(lines) == 60
    assert len({json.loads(line)["request_id"] for line in lines}) == 60
