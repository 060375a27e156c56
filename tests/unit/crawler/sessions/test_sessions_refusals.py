"""Sessions that the site refuses, and proxies that fail: what is replaced, what rests, and what is not blamed."""

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from browsercrawl import Blocked, FinishReason, Request, Visit
from browsercrawl.errors import ErrorKind, NetworkFailed
from browsercrawl.events import SessionPaused, SessionProxyChanged, SessionRetired, VisitFailed
from browsercrawl.sessions import roster as roster_module

if TYPE_CHECKING:
    from tests.unit.crawler.sessions.conftest import Area

SITE = "http://site.test"
ONE, TWO, THREE = "http://one.test:1", "http://two.test:2", "http://three.test:3"


def pages(session: str | None, number: int) -> list[Request]:
    """Return requests of a session."""
    return [Request(url=f"{SITE}/{session}/{each}", session=session) for each in range(number)]


def proxy_of(visit: Visit) -> str:
    """Return the proxy that a visit's context was opened with."""
    page: Any = visit.page
    return str(page.context.options.extra.get("proxy", {}).get("server", ""))


class Proxies:
    """Lets visits fail through proxies that are down, and notes through which they came."""

    def __init__(self, area: "Area", *down: str) -> None:
        self.down = set(down)
        self.used: list[str] = []
        self._area = area

    def __call__(self, visit: Visit) -> None:
        """Be what a handler calls first."""
        self.used.append(proxy_of(visit))
        if self.used[-1] in self.down:
            raise NetworkFailed("no proxy", code="ERR_PROXY_CONNECTION_FAILED")


async def test_crawl_refused_pool_session_is_replaced_and_the_page_tried_again(area: "Area") -> None:
    """Another session takes the name: without the cookies of the one that was refused, and an attempt is spent."""
    crawler = area.crawler(sessions={"pool": 1}, concurrency=1, retry={"backoff_s": 0.1})
    crawler._handlers._by_label.clear()
    jars: list[bool] = []

    @crawler.handler()
    async def _(visit: Visit) -> None:
        context: Any = visit.page.context
        jars.append("marked" in context.jar)
        context.jar["marked"] = {"name": "marked", "value": "1", "domain": "site.test", "path": "/"}
        if len(jars) == 3:
            raise Blocked("captcha")

    done = await area.run(crawler, [f"{SITE}/{number}" for number in range(4)])
    assert done.summary.succeeded == 4
    assert jars == [False, True, True, False, True]
    assert sorted(each.attempts for each in done.results) == [1, 1, 1, 2]
    assert [each.session for each in done.told(SessionRetired)] == ["pool:0"]


async def test_crawl_pages_refused_together_replace_their_session_once(area: "Area") -> None:
    """Several pages of one session that are refused at once say the same thing: it is replaced once, not for each."""
    crawler = area.crawler(sessions={"pool": 1}, concurrency=4, retry={"backoff_s": 0.1})
    crawler._handlers._by_label.clear()
    refused: list[str] = []

    @crawler.handler()
    async def _(visit: Visit) -> None:
        await area.clock.sleep(1.0 + int(visit.request.url[-1]) / 100)
        if len(refused) < 4:
            refused.append(visit.request.url)
            raise Blocked("captcha")

    done = await area.run(crawler, [f"{SITE}/{number}" for number in range(4)])
    assert done.summary.succeeded == 4
    assert len(done.told(SessionRetired)) == 1


async def test_crawl_refused_named_session_changes_its_proxy(area: "Area") -> None:
    """A named session stays who it is, and comes through another proxy."""
    proxies = Proxies(area)
    seen: list[str] = []

    def refuse_first(visit: Visit) -> None:
        proxies(visit)
        seen.append(visit.request.url)
        if len(seen) == 2:
            raise Blocked("not from there")

    area.on_visit = refuse_first
    done = await area.run(area.crawler(["ann"], sessions={"proxies": [ONE, TWO]}), pages("ann", 3))
    assert done.outcomes() == {("ann", "succeeded"): 3}
    assert proxies.used == [ONE, ONE, TWO, TWO]
    assert [each.again_in_s for each in done.told(SessionProxyChanged)] == [None]
    assert len(area.tries) == 1


async def test_crawl_proxy_that_is_down_costs_no_attempt(area: "Area") -> None:
    """A failure of the proxy is never the URL's: the page is visited through another, as if for the first time."""
    proxies = area.on_visit = Proxies(area, ONE)
    done = await area.run(area.crawler(["ann"], sessions={"proxies": [ONE, TWO]}), pages("ann", 4))
    assert done.outcomes() == {("ann", "succeeded"): 4}
    assert {each.attempts for each in done.results} == {1}
    assert proxies.used == [ONE, TWO, TWO, TWO, TWO]
    assert [each.kind for each in done.told(VisitFailed)] == [ErrorKind.PROXY_FAILED]


async def test_crawl_only_proxy_rests_to_the_second(area: "Area") -> None:
    """Where there is no other proxy, the session waits until the one has rested, twice as long each time."""
    proxies = Proxies(area, ONE)
    at: list[float] = []

    def fail_twice(visit: Visit) -> None:
        at.append(area.clock.now())
        if len(at) == 3:
            proxies.down.clear()
        proxies(visit)

    area.on_visit = fail_twice
    crawler = area.crawler(sessions={"proxies": [ONE], "proxy_cooldown_s": 30.0})
    done = await area.run(crawler, pages("bob", 1))
    assert done.summary.succeeded == 1
    assert at == [0.0, 30.0, 90.0]
    assert [each.again_in_s for each in done.told(SessionProxyChanged)] == [30.0, 60.0]


async def test_crawl_five_failed_proxies_in_a_row_pause_the_session(area: "Area") -> None:
    """A session whose proxies all fail waits for its user; others go on."""
    proxies = area.on_visit = Proxies(area, ONE)
    sessions = {
        "proxies": [TWO],
        "profiles": [{"name": "ann", "proxy": ONE, "max_pages": 1}],
        "proxy_cooldown_s": 1.0,
    }
    done = await area.run(area.crawler(sessions=sessions), [*pages("ann", 2), *pages("bob", 2)])
    assert done.outcomes() == {("bob", "succeeded"): 2}
    assert (done.summary.finish_reason, done.summary.unfinished) == (FinishReason.SESSIONS_PAUSED, 2)
    assert [each.session for each in done.told(SessionPaused)] == ["ann"]
    assert proxies.used.count(ONE) == 5


@pytest.mark.parametrize("session", [None, "bob"])
async def test_crawl_pages_that_fail_together_blame_their_proxy_once(area: "Area", session: str | None) -> None:
    """Eight pages that are open when a proxy goes down are one failure of it: a healthy one takes over."""
    proxies = Proxies(area, ONE)
    crawler = area.crawler(sessions={"proxies": [ONE, TWO, THREE]}, concurrency=8)
    crawler._handlers._by_label.clear()

    @crawler.handler()
    async def _(visit: Visit) -> None:
        await area.clock.sleep(1.0 + int(visit.request.url[-1]) / 100)
        proxies(visit)

    done = await area.run(crawler, pages(session, 8))
    assert done.summary.finish_detail is None
    assert done.summary.succeeded == 8
    assert len(done.told(SessionProxyChanged)) == 1
    assert set(proxies.used) == {ONE, TWO}


async def test_crawl_proxy_function_is_asked_for_another(area: "Area") -> None:
    """A function that gives proxies is told how many a session had."""
    proxies = area.on_visit = Proxies(area, ONE)
    crawler = area.crawler(concurrency=1)
    asked: list[tuple[str, int]] = []

    @crawler.proxy
    def _(session: str, number: int) -> str:
        asked.append((session, number))
        return (ONE, TWO)[min(number, 1)]

    done = await area.run(crawler, pages("bob", 2))
    assert done.summary.succeeded == 2
    assert asked == [("bob", 0), ("bob", 1)]
    assert proxies.used == [ONE, TWO, TWO]


async def test_crawl_proxy_function_that_raises_does_not_fail_requests(area: "Area") -> None:
    """A mistake in the user's function is not a bug of ours, nor the request's failure."""
    crawler = area.crawler()

    @crawler.proxy
    def _(session: str, number: int) -> str:
        raise LookupError("no proxies left")

    done = await area.run(crawler, pages("bob", 1))
    assert [each.error.kind for each in done.results if each.error] == []


async def test_crawl_paused_session_of_many_is_not_forgotten(area: "Area", monkeypatch: pytest.MonkeyPatch) -> None:
    """A session of the engine's own that is paused ends the run as paused, however many came after it."""
    monkeypatch.setattr(roster_module, "OWN_SESSIONS_MAX", 3)
    down = "http://a.test"

    def fail(visit: Visit) -> None:
        if visit.request.url.startswith(down):
            raise NetworkFailed("no proxy", code="ERR_PROXY_CONNECTION_FAILED")

    area.on_visit = fail
    crawler = area.crawler(sessions={"per_host": True, "proxies": [ONE, TWO], "proxy_cooldown_s": 0.0}, concurrency=1)
    seeds: list[str | Request] = [
        Request(url=f"{down}/", priority=9),
        *(f"http://h{number}.test/" for number in range(10)),
    ]
    async with crawler:
        running = asyncio.create_task(area.run(crawler, seeds))
        await asyncio.wait({running}, timeout=2.0)  # of the machine's time: an idle run has no virtual time to pass
        hangs = not running.done()
        if hangs:
            await crawler.stop(drain_s=0.0)
        done = await running
    assert not hangs
    assert done.summary.finish_reason is FinishReason.SESSIONS_PAUSED
