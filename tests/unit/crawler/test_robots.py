"""robots.txt in a whole crawl, with the fake browser: what is asked when, and what becomes of requests."""

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from browsercrawl import ErrorKind, Outcome
from browsercrawl.errors import NetworkFailed
from browsercrawl.events import LeaseAcquired, RobotsRead, VisitStarted
from browsercrawl.net import http
from browsercrawl.net.http import Answer
from browsercrawl.testing.fake_browser import FakePageScript

if TYPE_CHECKING:
    from tests.unit.crawler.conftest import Crawl

SITE = "http://site.test"
Sites = dict[str, list[Answer | NetworkFailed]]
RULES = Answer(200, b"User-agent: *\nDisallow: /private\nCrawl-delay: 3", "")


class Hosts:
    """Answers questions for robots.txt by a script; the last answer of each is given again and again."""

    def __init__(self, answers: Sites) -> None:
        self.answers = answers
        self.asked: Counter[str] = Counter()

    async def get(self, url: str) -> Answer:
        """Answer."""
        answers = self.answers.get(url.removesuffix("/robots.txt"), [Answer(404, b"", "")])
        self.asked[url] += 1
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, NetworkFailed):
            raise answer
        return answer


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sites], Hosts]:
    """Have robots.txt answered by a script."""

    def answer(answers: Sites) -> Hosts:
        hosts = Hosts(answers)
        monkeypatch.setattr(http.HttpClient, "get", lambda _, url: hosts.get(url))
        return hosts

    return answer


async def test_robots_forbids_request_is_skipped_unvisited(crawl: "Crawl", hosts: Callable[[Sites], Hosts]) -> None:
    """A forbidden request is skipped by name, without a page; the others keep the Crawl-delay; one question is asked."""
    asked = hosts({SITE: [RULES]}).asked
    urls = [f"{SITE}/{number}" for number in range(4)]
    done = await crawl(
        lambda _: FakePageScript(), [f"{SITE}/private/1", *urls, f"{SITE}/private"], host={"robots": True}
    )
    skipped = [done.of(f"{SITE}/private/1"), done.of(f"{SITE}/private")]
    assert {(each.outcome, each.skip_reason, each.attempts) for each in skipped} == {(Outcome.SKIPPED, "robots", 0)}
    assert {done.of(url).outcome for url in urls} == {Outcome.SUCCEEDED}
    assert asked == {f"{SITE}/robots.txt": 1}
    assert len(done.told(LeaseAcquired)) == len(urls)
    begun = sorted(result.started_at for result in done.results if result.started_at)
    assert all((after - before).total_seconds() >= 3 - 1e-3 for before, after in pairwise(begun[1:]))
    (read,) = done.told(RobotsRead)
    assert (read.host, read.crawl_delay_s, read.problem) == (SITE, 3.0, "")


async def test_robots_is_asked_before_anything_and_occupies_no_page(
    crawl: "Crawl", hosts: Callable[[Sites], Hosts]
) -> None:
    """Of 30 hosts each is asked once, however many of its requests come, and nothing of it is visited before."""
    asked = hosts({}).asked
    urls = [f"http://h{host}.test/{number}" for host in range(30) for number in range(3)]
    done = await crawl(lambda _: FakePageScript(load_s=1), urls, host={"robots": True})
    assert {(result.outcome, result.attempts) for result in done.results} == {(Outcome.SUCCEEDED, 1)}
    assert set(asked.values()) == {1}
    assert len(asked) == 30
    known: set[str] = set()
    for event in done.events:
        if isinstance(event, RobotsRead):
            known.add(event.host)
        elif isinstance(event, VisitStarted):
            assert event.url.rpartition("/")[0] in known


async def test_robots_answers_5xx_host_is_deferred_and_asked_again(
    crawl: "Crawl", hosts: Callable[[Sites], Hosts]
) -> None:
    """While there is no answer nothing is visited; afterwards all is well."""
    asked = hosts({SITE: [Answer(503, b"", "7"), RULES]}).asked
    done = await crawl(lambda _: FakePageScript(), [f"{SITE}/1", f"{SITE}/2"], host={"robots": True})
    assert {result.outcome for result in done.results} == {Outcome.SUCCEEDED}
    assert asked == {f"{SITE}/robots.txt": 2}
    assert min(result.timings.politeness_s for result in done.results) >= 7


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(500, b"", ""), ErrorKind.HOST_UNAVAILABLE),
        (NetworkFailed("no connection", code="ERR_CONNECTION_REFUSED"), ErrorKind.NETWORK),
    ],
)
async def test_robots_cannot_be_had_requests_fail_in_the_end(
    crawl: "Crawl", hosts: Callable[[Sites], Hosts], answer: Answer | NetworkFailed, kind: ErrorKind
) -> None:
    """A host that never answers is never visited; its requests fail as a visit would, within the same bounds."""
    hosts({SITE: [answer]})
    done = await crawl(lambda _: FakePageScript(), [f"{SITE}/1", "http://well.test/1"], host={"robots": True})
    failed = done.of(f"{SITE}/1")
    assert failed.error is not None
    assert (failed.error.kind, failed.attempts) == (kind, 0)
    assert "robots.txt" in failed.error.message or kind is ErrorKind.NETWORK
    assert done.of("http://well.test/1").outcome is Outcome.SUCCEEDED
    assert [event.url for event in done.told(VisitStarted)] == ["http://well.test/1"]


async def test_robots_forbids_where_a_redirect_leads_its_page_is_not_kept(
    crawl: "Crawl", hosts: Callable[[Sites], Hosts]
) -> None:
    """A page that was not asked for, behind a redirect, is skipped: nothing of it is kept."""
    hosts({SITE: [RULES]})
    script = FakePageScript(final_url=f"{SITE}/private/2", links=(f"{SITE}/3",))
    done = await crawl(lambda _: script, [f"{SITE}/1"], host={"robots": True}, links={"depth": 1})
    assert (done.only.outcome, done.only.skip_reason, done.only.html) == (Outcome.SKIPPED, "robots", None)


async def test_robots_is_not_asked_unless_configured(crawl: "Crawl", hosts: Callable[[Sites], Hosts]) -> None:
    """The Python API asks nobody by default."""
    asked = hosts({SITE: [RULES]}).asked
    done = await crawl(lambda _: FakePageScript(), [f"{SITE}/private"])
    assert done.only.outcome is Outcome.SUCCEEDED
    assert not asked
