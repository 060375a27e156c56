"""Logging in, in mid-crawl and again: who waits, who goes on, and what it costs."""

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from browsercrawl import Crawler, CrawlerConfig, FinishReason, Outcome, Request, Retry, Skip, Visit
from browsercrawl.errors import ConfigError, ErrorKind
from browsercrawl.events import (
    SessionExpired,
    SessionLoggedIn,
    SessionLoginFailed,
    SessionLoginStarted,
    SessionPaused,
    Status,
    VisitFailed,
)
from browsercrawl.sessions.session import LOGINS_IN_VAIN_MAX
from browsercrawl.testing.fake_browser import FakeLauncher, FakePageScript

if TYPE_CHECKING:
    from tests.unit.crawler.sessions.conftest import Area

SITE = "http://site.test"


def pages(session: str, number: int) -> list[Request]:
    """Return requests of a session."""
    return [Request(url=f"{SITE}/{session}/{each}", session=session) for each in range(number)]


def all_of(*lists: list[Request]) -> list[Request]:
    """Return requests of several sessions, in turn."""
    return [request for each in zip(*lists, strict=True) for request in each]


async def test_crawl_many_pages_of_one_session_logs_in_once(area: "Area") -> None:
    """One login for all pages of a session, and the pages are visited with what it brought."""
    done = await area.run(area.crawler(["ann"]), pages("ann", 12))
    assert done.outcomes() == {("ann", "succeeded"): 12}
    assert area.tries == [("ann", 0.0)]
    assert {each.data[0]["sid"] for each in done.results if isinstance(each.data[0], dict)} == {"ann:1"}
    assert all(each.attempts == 1 for each in done.results)


@pytest.mark.parametrize("max_pages", [1, 3, 8])
async def test_crawl_max_pages_is_never_exceeded_nor_two_logins_at_once(area: "Area", max_pages: int) -> None:
    """A session has as many pages at once as it may and no more, and its logins never overlap."""
    count = 0

    def expire_every_ten(visit: Visit) -> None:
        nonlocal count
        count += 1
        if count % 10 == 0:
            area.expire("ann")

    area.on_visit = expire_every_ten
    crawler = area.crawler(["ann"], profile={"max_pages": max_pages}, concurrency=8)
    done = await area.run(crawler, pages("ann", 60))
    assert done.outcomes() == {("ann", "succeeded"): 60}
    assert area.pages_peak["ann"] == max_pages
    assert area.logins_peak["ann"] == 1
    assert len(area.tries) == len(done.told(SessionLoggedIn)) == 1 + len(done.told(SessionExpired))


async def test_crawl_others_of_the_session_wait_without_page_or_claim(area: "Area") -> None:
    """While a session is being logged in, one claim and one page are its; the others are told as parked."""
    area.login_s = 50.0
    crawler = area.crawler(["ann"], profile={"max_pages": 8}, concurrency=8)

    async def look() -> None:
        await area.clock.sleep(25.0)
        status = crawler.status()
        assert (status.active, status.parked, status.pages, status.queued) == (1, 19, 1, 0)
        assert [each.phase for each in status.sessions] == ["logging_in"]

    async with crawler, asyncio.TaskGroup() as group:
        group.create_task(look())
        done = await area.run(crawler, pages("ann", 20))
    assert done.outcomes() == {("ann", "succeeded"): 20}


async def test_crawl_other_sessions_go_on_during_a_login(area: "Area") -> None:
    """A login that takes long holds up nobody else, not even with two pages in all."""
    area.login_s = 300.0
    seeds = pages("ann", 5) + [Request(url=f"{SITE}/free/{each}", session="free") for each in range(10)]
    done = await area.run(area.crawler(["ann"], concurrency=2, login={"timeout_s": 600}), seeds)
    assert done.outcomes() == {("ann", "succeeded"): 5, ("free", "succeeded"): 10}
    assert [each.session for each in done.results] == ["free"] * 10 + ["ann"] * 5


async def test_crawl_expiry_costs_no_attempt_and_no_stall(area: "Area") -> None:
    """Pages that find the session logged out are visited again after one login, as if for the first time."""

    def expire_once(visit: Visit) -> None:
        if visit.request.url.endswith("/5") and len(area.tries) == 1:
            area.expire("ann")

    area.on_visit = expire_once
    done = await area.run(area.crawler(["ann"], profile={"max_pages": 3}), pages("ann", 12))
    assert done.outcomes() == {("ann", "succeeded"): 12}
    assert {each.attempts for each in done.results} == {1}
    assert len(done.told(SessionExpired)) == 1
    assert [login.login for login in done.told(SessionLoggedIn)] == [1, 2]
    assert all(not failed.final for failed in done.told(VisitFailed))
    assert {each.data[0]["sid"] for each in done.results if isinstance(each.data[0], dict)} == {"ann:1", "ann:2"}


async def test_crawl_late_page_of_the_old_login_does_not_log_in_again(area: "Area") -> None:
    """A page that was begun in an earlier login, and ends in a later one, says nothing about the later."""
    slow = f"{SITE}/ann/0"

    async def handle(visit: Visit) -> None:
        if visit.request.url == slow and not area.visits:
            area.visits.append(("ann", "/ann/0", ""))
            area.expire("ann")
            await area.clock.sleep(20.0)
            visit.page.context.jar.pop("sid")  # type: ignore[attr-defined]  # the fake's: seen with the old cookie
            raise Skip("whatever it shows, it is that of a stranger")
        await area.clock.sleep(1.0)

    crawler = area.crawler(["ann"], profile={"max_pages": 2})
    crawler._handlers._by_label.clear()
    crawler.handler()(handle)
    late: list[float] = []

    async def is_out(page: Any) -> bool:
        if page.url == slow and not late and area.clock.now() > 20:
            late.append(area.clock.now())
            return True
        return page.url != slow and await area.is_out(page)

    crawler._session_code.logged_out[None] = is_out
    area.login_s = 1.0
    done = await area.run(crawler, pages("ann", 4))
    assert late, "the slow page was seen late"
    assert done.outcomes() == {("ann", "succeeded"): 4}
    assert len(done.told(SessionExpired)) == len(done.told(SessionLoggedIn)) - 1


async def test_crawl_failed_logins_are_spaced_and_then_pause_the_session(area: "Area") -> None:
    """The pause between tries doubles, to the second; then the session waits, the others finish, the run says so."""
    area.refuses = lambda account, number: account == "ann"
    login = {"tries": 4, "backoff_s": 5.0}
    async with area.crawler(["ann", "bob"], login=login) as crawler:
        done = await area.run(crawler, all_of(pages("ann", 3), pages("bob", 3)))
    assert [at for name, at in area.tries if name == "ann"] == [0.0, 7.0, 19.0, 41.0]  # 2 s each, then 5, 10, 20
    assert [failed.again_in_s for failed in done.told(SessionLoginFailed)] == [5.0, 10.0, 20.0, None]
    assert [failed.tries for failed in done.told(SessionLoginFailed)] == [1, 2, 3, 4]
    assert [paused.session for paused in done.told(SessionPaused)] == ["ann"]
    assert done.outcomes() == {("bob", "succeeded"): 3}
    summary = done.summary
    assert (summary.finish_reason, summary.unfinished, summary.exit_code) == (FinishReason.SESSIONS_PAUSED, 3, 4)
    assert summary.finish_detail is not None
    assert "ann" in summary.finish_detail
    assert "bob" not in summary.finish_detail
    assert "wrong password" in summary.finish_detail


async def test_run_again_after_a_pause_tries_again_and_finishes(area: "Area") -> None:
    """The next run of a crawler begins with a clean slate: as many tries as the first."""
    area.refuses = lambda account, number: number <= 2
    async with area.crawler(["ann"], login={"tries": 2, "backoff_s": 1.0}) as crawler:
        first = await area.run(crawler, pages("ann", 3))
        assert crawler.status().sessions_paused == 1
        second = await area.run(crawler, pages("ann", 3))
        assert crawler.status().sessions_paused == 0
    assert (first.summary.finish_reason, first.results) == (FinishReason.SESSIONS_PAUSED, [])
    assert (second.summary.finish_reason, second.summary.succeeded) == (FinishReason.FINISHED, 3)
    assert len(area.tries) == 3


async def test_crawl_page_that_is_always_logged_out_fails_alone(area: "Area") -> None:
    """A page that the account may not see fails after it was seen twice right after a login; the session goes on."""
    area.denies = lambda path, _: path == "/ann/1"
    done = await area.run(area.crawler(["ann"]), pages("ann", 5))
    (failed,) = [each for each in done.results if each.outcome is Outcome.FAILED]
    assert failed.url == f"{SITE}/ann/1"
    assert failed.error is not None
    assert failed.error.kind is ErrorKind.SESSION_EXPIRED
    assert done.outcomes() == {("ann", "succeeded"): 4, ("ann", "failed"): 1}
    assert done.summary.finish_reason is FinishReason.FINISHED
    assert len(area.tries) <= 4


async def test_crawl_all_pages_logged_out_pauses_after_few_logins(area: "Area") -> None:
    """A sign that is wrong for every page pauses the session; nobody's account is locked by hundreds of logins."""
    area.denies = lambda *_: True
    done = await area.run(area.crawler(["ann"]), pages("ann", 50))
    assert done.summary.finish_reason is FinishReason.SESSIONS_PAUSED
    assert len(area.tries) == LOGINS_IN_VAIN_MAX
    assert done.summary.unfinished >= 50 - LOGINS_IN_VAIN_MAX / 2
    assert "logged out right after each login" in (done.summary.finish_detail or "")


@pytest.mark.parametrize("signal", [Skip("gone"), Retry("again"), ValueError("no table in the page")])
async def test_crawl_handler_that_stumbles_on_a_logged_out_page_is_not_blamed(area: "Area", signal: Exception) -> None:
    """What a handler says of a page that turns out to be logged out does not count, nor what it pushed or found."""
    crawler = area.crawler(["ann"])
    crawler._handlers._by_label.clear()
    stumbled: list[str] = []

    @crawler.handler()
    async def _(visit: Visit) -> None:
        visit.push(len(area.tries))
        if visit.request.url.endswith("/2") and not stumbled:
            stumbled.append(visit.request.url)
            area.expire("ann")
            visit.push("of a stranger")
            visit.enqueue(f"{SITE}/of-a-stranger")
            raise signal

    done = await area.run(crawler, pages("ann", 4))
    assert stumbled
    assert done.outcomes() == {("ann", "succeeded"): 4}
    assert [each.data for each in done.results if each.url.endswith("/2")] == [(2,)]
    assert {each.attempts for each in done.results} == {1}


async def test_crawl_hanging_login_ends_at_its_limit(area: "Area") -> None:
    """A login that does not end is cancelled at its limit, to the second, and counts as failed."""
    area.login_s = 10_000.0
    done = await area.run(area.crawler(["ann"], login={"timeout_s": 20, "tries": 2, "backoff_s": 3}), pages("ann", 2))
    assert [at for _, at in area.tries] == [0.0, 23.0]
    assert [each.kind for each in done.told(SessionLoginFailed)] == [ErrorKind.LOGIN_FAILED] * 2
    assert "20 s" in done.told(SessionLoginFailed)[0].message
    assert done.summary.unfinished == 2


@pytest.mark.parametrize("ending", ["stop", "drain", "abort"])
async def test_stop_during_a_login_leaves_a_session_that_can_log_in(area: "Area", ending: str) -> None:
    """However a run ends in mid-login, nothing of it is left, and the next run logs in."""
    area.login_s = 100.0

    async def end(crawler: Crawler) -> None:
        await area.clock.sleep(10.0)
        if ending == "abort":
            crawler.abort()
        else:
            await crawler.stop(drain_s=0.0 if ending == "stop" else 30.0)

    async with area.crawler(["ann"], login={"timeout_s": 3000}) as crawler:
        async with asyncio.TaskGroup() as group:
            group.create_task(end(crawler))
            first = await area.run(crawler, pages("ann", 3))
        assert (first.results, first.summary.unfinished) == ([], 3)
        assert [each.phase for each in crawler.status().sessions] != ["paused"]
        area.login_s = 1.0
        second = await area.run(crawler, pages("ann", 3))
    assert second.outcomes() == {("ann", "succeeded"): 3}
    assert len(second.told(SessionLoginStarted)) == 1


async def test_crawl_login_that_is_deaf_to_its_cancellation_is_not_left_behind(area: "Area") -> None:
    """A login that swallows the cancellation at its limit is cancelled once more, at the latest with the run."""
    crawler = area.crawler(["ann"], login={"timeout_s": 5, "tries": 1})
    lent: list[object] = []

    async def deaf(page: Any, _: object) -> None:
        lent.append(page)
        for _ in range(2):
            try:
                await area.clock.sleep(1000.0)
            except asyncio.CancelledError:
                continue

    crawler._session_code.logins[None] = deaf
    done = await area.run(crawler, pages("ann", 1))
    assert done.summary.finish_reason is FinishReason.SESSIONS_PAUSED
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left)
    assert left == set()


async def test_crawl_login_whose_page_crashes_is_the_sessions_failure(area: "Area") -> None:
    """A login page that always takes its renderer down fails logins, never the requests that wait for them."""
    crawler = area.crawler(["ann"], login={"tries": 2, "backoff_s": 1})

    async def crash(page: Any, _: object) -> None:
        area.tries.append(("ann", area.clock.now()))
        page.die()
        await page.screenshot(full_page=False, limit_s=1)

    crawler._session_code.logins[None] = crash
    done = await area.run(crawler, pages("ann", 3))
    assert done.results == []
    assert done.summary.finish_reason is FinishReason.SESSIONS_PAUSED


async def test_crawl_login_that_closes_its_page_does_not_fail_the_request(area: "Area") -> None:
    """A login coroutine that closes its page has logged in, or has failed; the request is not to blame."""
    crawler = area.crawler(["ann"], login={"tries": 2, "backoff_s": 1})

    async def close(page: Any, who: Any) -> None:
        await area.log_in(page, who)
        page.end()

    crawler._session_code.logins[None] = close
    done = await area.run(crawler, pages("ann", 3))
    assert [each for each in done.results if each.outcome is Outcome.FAILED] == []


async def test_crawl_other_pages_begin_as_soon_as_the_login_is_done(area: "Area") -> None:
    """The room that a login makes is used at once, not when the first page after it has come to its end."""
    area.scripts[f"{SITE}/ann/0"] = FakePageScript(commit_s=30.0)
    started: dict[str, float] = {}

    def note(visit: Visit) -> None:
        started[visit.request.url[-1]] = area.clock.now()

    area.on_visit = note
    await area.run(area.crawler(["ann"], profile={"max_pages": 3}), pages("ann", 3))
    assert started == {"0": 32.0, "1": 2.0, "2": 2.0}


async def test_crawl_logins_stay_few_where_a_page_is_forbidden(area: "Area") -> None:
    """With several pages at once as well, a page that may not be seen costs a few logins, not one per neighbour."""
    area.scripts[f"{SITE}/ann/0"] = FakePageScript(commit_s=5.0)
    area.denies = lambda path, _: path == "/ann/0"
    done = await area.run(area.crawler(["ann"], profile={"max_pages": 3}), pages("ann", 120))
    assert done.outcomes() == {("ann", "succeeded"): 119, ("ann", "failed"): 1}
    assert len(area.tries) <= 4


async def test_crawl_planted_secrets_are_nowhere(area: "Area") -> None:
    """Password, one-time secret and the proxy's password stand in no event, result, summary, nor any repr."""
    password, totp, proxy = "Planted-Pass-1", "PLANTEDBASE32SECRET7", "planted-proxy-3"
    credentials = {"username": "ann", "password": password, "totp": totp}
    crawler = area.crawler(
        ["ann"],
        login={"credentials": credentials, "tries": 2, "backoff_s": 1},
        profile={"proxy": f"http://user:{proxy}@127.0.0.1:9"},
        sessions={"proxy_cooldown_s": 0.5},
    )

    async def leak(page: Any, who: Any) -> None:
        raise RuntimeError(f"{who!r} typed {who.password} and {who.secrets.totp} into http://x/?q={who.password}")

    crawler._session_code.logins[None] = leak
    done = await area.run(crawler, pages("ann", 2))
    assert done.summary.finish_reason is FinishReason.SESSIONS_PAUSED
    everything = [*map(repr, done.events), repr(done.summary), done.summary.model_dump_json()]
    everything += [repr(crawler.config), repr(crawler.status())]
    for secret in (password, totp, proxy):
        assert not [text for text in everything if secret in text]


async def test_crawl_status_events_tell_of_each_session(area: "Area") -> None:
    """What a listener gets of a status has the health of the sessions in its own form, and goes into JSON."""
    done = await area.run(area.crawler(["ann"]), pages("ann", 8))
    last = done.told(Status)[-1]
    assert [(each.session, each.phase, each.pages, each.logins) for each in last.sessions] == [("ann", "in", 8, 1)]
    assert '"phase":"in"' in last.model_dump_json()


@pytest.mark.parametrize("recipe", [None, {"kind": "http", "url": f"{SITE}/login", "form": {}}], ids=["own", "http"])
async def test_crawl_with_a_login_that_is_not_noticed_to_be_over_is_refused(recipe: dict[str, Any] | None) -> None:
    """A login page would be taken for a result, so nothing is started; the message says what to give."""
    profile = {"name": "ann", "account": "ann", "login": {"recipe": recipe}}
    crawler = Crawler(CrawlerConfig.load({"sessions": {"profiles": [profile]}}), launch=FakeLauncher())
    crawler.login("ann")(_nothing)
    with pytest.raises(ConfigError, match=r"'ann': say how a page shows that it is logged out: give login\.logged_out"):
        await crawler.run([f"{SITE}/"])


async def _nothing(page: Any, session: Any) -> None:
    """Log nobody in."""
