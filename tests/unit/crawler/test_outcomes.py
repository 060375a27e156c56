"""One result per request, whatever happens to its visit."""

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from browsercrawl import Blocked, Crawler, ErrorKind, FinishReason, Outcome, Request, Retry, Skip, Stop, Visit
from browsercrawl.errors import Disposition, InputError
from browsercrawl.events import HandlerRaised, HostDeferred, RetryScheduled, UserLog, VisitFailed, VisitStarted
from browsercrawl.result import Phase
from browsercrawl.testing.fake_browser import NEVER, FakePageScript

if TYPE_CHECKING:
    from tests.unit.crawler.conftest import Crawl

URL = "http://site.test/"


def only(**fields: Any) -> dict[str, FakePageScript]:
    """A site of one page."""
    return {URL: FakePageScript(**fields)}


@pytest.mark.parametrize("status", [200, 201, 204, 299, None])
async def test_crawl_final_2xx_succeeds(crawl: "Crawl", status: int | None) -> None:
    """A final 2xx is a success, an empty 204 too, and so is a page without HTTP."""
    done = await crawl(only(status=status, title="t"), [URL])
    assert (done.only.outcome, done.only.http_status, done.only.attempts) == (Outcome.SUCCEEDED, status, 1)
    assert done.summary.succeeded == 1


@pytest.mark.parametrize(
    ("status", "kind", "attempts"),
    [
        (300, ErrorKind.HTTP_REJECTED, 1),
        (401, ErrorKind.BLOCKED, 1),
        (403, ErrorKind.BLOCKED, 1),
        (404, ErrorKind.HTTP_REJECTED, 1),
        (407, ErrorKind.BLOCKED, 1),
        (408, ErrorKind.HTTP_FAILED, 3),
        (410, ErrorKind.HTTP_REJECTED, 1),
        (425, ErrorKind.HTTP_FAILED, 3),
        (429, ErrorKind.HOST_UNAVAILABLE, 3),
        (500, ErrorKind.HTTP_FAILED, 3),
        (503, ErrorKind.HOST_UNAVAILABLE, 3),
        (599, ErrorKind.HTTP_FAILED, 3),
    ],
)
async def test_crawl_bad_status_fails_as_designed(crawl: "Crawl", status: int, kind: ErrorKind, attempts: int) -> None:
    """Each status has its kind; what is worth it is tried three times in all, the rest once."""
    done = await crawl(only(status=status), [URL])
    assert done.only.error is not None
    assert (done.only.outcome, done.only.error.kind, done.only.attempts) == (Outcome.FAILED, kind, attempts)
    assert done.only.http_status == status
    assert len(done.told(VisitStarted)) == attempts
    assert [event.final for event in done.told(VisitFailed)] == [False] * (attempts - 1) + [True]
    assert (done.summary.failed, done.summary.retried) == (1, attempts - 1)
    assert done.summary.exit_code == 1


async def test_crawl_accepted_status_succeeds(crawl: "Crawl") -> None:
    """`accept_status` takes a status as a success."""
    done = await crawl(only(status=404), [URL], visit={"accept_status": [404]})
    assert done.only.outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize(
    ("retry_after", "least_s", "most_s"),
    [("120", 120, 121), (None, 60, 67), ("Thu, 01 Jan 2026 00:02:00 GMT", 120, 121), ("nonsense", 60, 67)],
)
async def test_crawl_429_waits_as_long_as_the_host_asks(
    crawl: "Crawl", retry_after: str | None, least_s: float, most_s: float
) -> None:
    """429 defers the host: by Retry-After in seconds or as a date, else by `defer_s` with its jitter."""
    headers = {"retry-after": retry_after} if retry_after else {}
    answers = iter([FakePageScript(status=429, headers=headers), FakePageScript()])
    done = await crawl(lambda _: next(answers), [URL])
    assert (done.only.outcome, done.only.attempts) == (Outcome.SUCCEEDED, 2)
    (deferred,) = done.told(HostDeferred)
    assert least_s <= deferred.delay_s <= most_s
    assert least_s <= done.only.timings.total_s <= most_s + 1
    assert done.only.timings.politeness_s >= least_s - 1


async def test_crawl_retry_after_zero_still_backs_off(crawl: "Crawl") -> None:
    """A host that asks for no pause at all is not tried again in the same instant."""
    done = await crawl(only(status=429, headers={"retry-after": "0"}), [URL])
    first, second = (event.delay_s for event in done.told(RetryScheduled))
    assert 0.5 <= first <= 1 <= second <= 2
    assert done.only.timings.total_s >= first + second - 0.01


async def test_crawl_retries_pause_longer_each_time(crawl: "Crawl") -> None:
    """The pause doubles up to its cap, and a retried request succeeds with its attempts counted."""
    answers = iter([*[FakePageScript(status=500)] * 4, FakePageScript()])
    done = await crawl(lambda _: next(answers), [URL], retry={"retries": 9, "backoff_s": 2, "backoff_max_s": 6})
    assert (done.only.outcome, done.only.attempts) == (Outcome.SUCCEEDED, 5)
    for event, longest_s in zip(done.told(RetryScheduled), (2, 4, 6, 6), strict=True):
        assert longest_s / 2 <= event.delay_s <= longest_s


@pytest.mark.parametrize(
    ("fields", "kind", "phase", "attempts"),
    [
        ({"network_error": "ERR_CONNECTION_RESET"}, ErrorKind.NETWORK, Phase.NAVIGATE, 3),
        ({"download": True}, ErrorKind.DOWNLOAD, Phase.NAVIGATE, 1),
        ({"commit_s": NEVER}, ErrorKind.DEADLINE, Phase.NAVIGATE, 3),
        ({"crash_s": 0.0}, ErrorKind.PAGE_CRASHED, Phase.NAVIGATE, 3),
        ({"crash_s": 1.0, "load_s": 5.0}, ErrorKind.PAGE_CRASHED, Phase.NAVIGATE, 3),
        ({"hang": "interruptible"}, ErrorKind.DEADLINE, Phase.CAPTURE, 3),
        ({"hang": "for_good"}, ErrorKind.DEADLINE, Phase.CAPTURE, 3),
        ({"call_s": NEVER}, ErrorKind.DEADLINE, Phase.CAPTURE, 3),
    ],
)
async def test_crawl_faulty_page_fails_and_neighbours_finish(
    crawl: "Crawl", fields: dict[str, Any], kind: ErrorKind, phase: Phase, attempts: int
) -> None:
    """A fault fails its own request, with kind, phase and attempts; the others of the same run succeed."""
    good = [f"{URL}{number}" for number in range(20)]
    sites = {URL: FakePageScript(**fields), **{url: FakePageScript(load_s=1) for url in good}}
    done = await crawl(sites, [good[0], URL, *good[1:]])
    failed = done.of(URL)
    assert failed.error is not None
    assert (failed.error.kind, failed.error.phase, failed.attempts) == (kind, phase, attempts)
    assert {done.of(url).outcome for url in good} == {Outcome.SUCCEEDED}
    visit_s = sum(getattr(failed.timings, f"{each}_s") for each in ("navigate", "wait", "handle", "capture"))
    # A page that hangs for good takes its context along 10 s later, and with it the next try: that one is put back.
    assert visit_s <= attempts * 60 + (11 if fields.get("hang") == "for_good" else 0.001)


async def test_crawl_load_event_missing_is_partial(crawl: "Crawl") -> None:
    """After commit a missing load event is no failure: at two thirds of the deadline the visit goes on."""
    done = await crawl(only(load_s=NEVER, title="there"), [URL])
    assert (done.only.outcome, done.only.partial, done.only.title) == (Outcome.SUCCEEDED, True, "there")
    assert done.only.timings.navigate_s == pytest.approx(40)
    assert done.summary.partial == 1


async def test_crawl_wait_for_that_comes_late_succeeds(crawl: "Crawl") -> None:
    """`wait_for` waits for presence, within the deadline."""
    done = await crawl(only(selectors={".a": 30.0}), [URL], visit={"wait_for": ".a"})
    assert done.only.outcome is Outcome.SUCCEEDED
    assert done.only.timings.wait_s == pytest.approx(30)


async def test_crawl_wait_for_missing_fails_in_its_phase(crawl: "Crawl") -> None:
    """A missing `wait_for` is a failure, tried again; a request's own wish comes before the configuration's."""
    done = await crawl(only(selectors={".a": 0.0}), [Request(url=URL, wait_for=".b")], visit={"wait_for": ".a"})
    assert done.only.error is not None
    assert (done.only.error.kind, done.only.error.phase) == (ErrorKind.SELECTOR_MISSING, Phase.WAIT)
    assert done.only.attempts == 3


# --- handlers ----------------------------------------------------------------------------------------------------


async def slow(visit: Visit) -> None:
    """Take for ever."""
    await visit.page.context.browser.clock.sleep(NEVER)  # type: ignore[union-attr]  # the fake's


async def closes(visit: Visit) -> None:
    """Close the page."""
    visit.page.end()  # type: ignore[attr-defined]  # the fake's way of page.close()


async def crashes(visit: Visit) -> None:
    """Lose the renderer, and trip over that."""
    visit.page.die()  # type: ignore[attr-defined]  # the fake's
    raise RuntimeError("the page is gone")


async def retries(visit: Visit) -> None:
    """Ask for another try."""
    raise Retry("not yet")


async def blocks(visit: Visit) -> None:
    """Blame the session."""
    raise Blocked("logged out")


async def raises(visit: Visit) -> None:
    """Have a bug."""
    raise KeyError("no such thing")


async def exits_oddly(visit: Visit) -> None:
    """Raise what is no Exception."""
    raise BaseException("like pytest.fail()")  # noqa: TRY002 - what this is about


async def cancels_itself(visit: Visit) -> None:
    """Raise a cancellation nobody asked for."""
    raise asyncio.CancelledError


async def pushes_nonsense(visit: Visit) -> None:
    """Push what is not JSON."""
    visit.push({"when": object()})  # type: ignore[dict-item]  # what this is about


async def enqueues_nonsense(visit: Visit) -> None:
    """Enqueue what is no web page."""
    visit.enqueue("file:///etc/passwd")


@pytest.mark.parametrize(
    ("handler", "kind", "attempts"),
    [
        (slow, ErrorKind.DEADLINE, 3),
        (closes, ErrorKind.PAGE_CLOSED, 1),
        (crashes, ErrorKind.PAGE_CRASHED, 3),
        (retries, ErrorKind.HANDLER_RETRY, 3),
        (blocks, ErrorKind.BLOCKED, 1),
        (raises, ErrorKind.HANDLER_FAILED, 3),
        (exits_oddly, ErrorKind.HANDLER_FAILED, 3),
        (cancels_itself, ErrorKind.HANDLER_FAILED, 3),
        (pushes_nonsense, ErrorKind.HANDLER_FAILED, 3),
        (enqueues_nonsense, ErrorKind.HANDLER_FAILED, 3),
    ],
)
async def test_crawl_handler_misbehaving_fails_its_own_request_only(
    crawl: "Crawl", handler: Any, kind: ErrorKind, attempts: int
) -> None:
    """Whatever a handler does ends as one failed result of the right kind; the other requests finish."""

    def prepare(crawler: Crawler) -> None:
        crawler.handler("bad")(handler)

        @crawler.handler()
        async def good(visit: Visit) -> None:
            visit.push(visit.request.url)

    urls = [f"{URL}{number}" for number in range(9)]
    done = await crawl(None, [Request(url=URL, label="bad"), *urls], prepare=prepare)
    failed = done.of(URL)
    assert failed.error is not None
    assert (failed.outcome, failed.error.kind, failed.attempts) == (Outcome.FAILED, kind, attempts)
    assert failed.data == ()
    assert all(done.of(url).data == (url,) for url in urls)
    assert done.summary.finish_reason is FinishReason.FINISHED


async def test_crawl_handler_past_its_deadline_is_cancelled(crawl: "Crawl") -> None:
    """A handler past its deadline is cancelled, its phase is named, and it cost the deadline, no more."""
    cancelled = []

    def prepare(crawler: Crawler) -> None:
        @crawler.handler()
        async def _(visit: Visit) -> None:
            try:
                await slow(visit)
            except asyncio.CancelledError:
                cancelled.append(visit.request.url)
                raise

    done = await crawl(None, [Request(url=URL, timeout_s=5)], prepare=prepare, retry={"retries": 0})
    assert done.only.error is not None
    assert (done.only.error.kind, done.only.error.phase) == (ErrorKind.DEADLINE, Phase.HANDLE)
    assert done.only.timings.total_s == pytest.approx(5)
    assert cancelled == [URL]


async def test_crawl_handler_that_swallows_its_cancellation_delays_nothing(crawl: "Crawl") -> None:
    """A handler that goes on after its cancellation gets half a second, then loses its page; the run ends it."""
    ended = []

    def prepare(crawler: Crawler) -> None:
        @crawler.handler()
        async def _(visit: Visit) -> None:
            try:
                await slow(visit)
            except asyncio.CancelledError:
                try:
                    await slow(visit)
                finally:
                    ended.append(True)

    done = await crawl(None, [Request(url=URL, timeout_s=5)], prepare=prepare, retry={"retries": 0})
    assert done.only.error is not None
    assert done.only.error.kind is ErrorKind.DEADLINE
    assert done.only.timings.total_s == pytest.approx(5.5)
    assert ended == [True]


async def test_crawl_handler_skips_and_stops(crawl: "Crawl") -> None:
    """`Skip` ends a request as skipped with its reason; `Stop` too, and the run drains and puts the rest back."""

    def prepare(crawler: Crawler) -> None:
        @crawler.handler()
        async def _(visit: Visit) -> None:
            visit.push("lost")
            if visit.request.url.endswith("/3"):
                raise Stop("enough")
            raise Skip("dull")

    done = await crawl(None, [f"{URL}{number}" for number in range(9)], prepare=prepare, concurrency=1)
    assert [(each.outcome, each.skip_reason, each.data) for each in done.results] == [
        *[(Outcome.SKIPPED, "handler: dull", ())] * 3,
        (Outcome.SKIPPED, "handler: enough", ()),
    ]
    assert done.summary.finish_reason is FinishReason.HANDLER_STOP
    assert done.summary.finish_detail == "handler: enough"
    assert (done.summary.skipped, done.summary.unfinished) == (4, 5)


async def test_crawl_attempt_that_is_retried_leaves_nothing(crawl: "Crawl") -> None:
    """What a failed attempt pushed, enqueued and pictured does not count; that of the one that succeeds does."""
    tries: list[str] = []

    def prepare(crawler: Crawler) -> None:
        @crawler.handler()
        async def _(visit: Visit) -> None:
            tries.append(visit.request.url)
            visit.push(len(tries))
            visit.enqueue(f"{URL}child{len(tries)}")
            await visit.enqueue_links(label="child")
            if len(tries) < 3:
                raise Retry("again")

        @crawler.handler("child")
        async def _(visit: Visit) -> None:
            raise Skip("seen")

    done = await crawl(lambda _: FakePageScript(), [URL], prepare=prepare, links={"max_requests": 2})
    assert done.of(URL).data == (3,)
    assert [each.url for each in done.results[1:]] == [f"{URL}child3"]


async def test_crawl_on_failed_sees_failed_results_once(crawl: "Crawl") -> None:
    """`on_failed` gets each final failure; one that raises is recorded, and the result stands."""
    seen: list[str] = []

    def prepare(crawler: Crawler) -> None:
        @crawler.on_failed
        async def _(result: Any) -> None:
            seen.append(result.url)
            raise ValueError("on my way out")

    sites = {URL: FakePageScript(status=500), f"{URL}good": FakePageScript()}
    done = await crawl(sites, [URL, f"{URL}good"], prepare=prepare)
    assert seen == [URL]
    assert done.of(URL).outcome is Outcome.FAILED
    (raised,) = done.told(HandlerRaised)
    assert (raised.where, raised.message) == ("on_failed", "ValueError: on my way out")


async def test_crawl_on_failed_that_cancels_itself_loses_no_result(crawl: "Crawl") -> None:
    """A cancellation out of user code is not taken for one of ours."""

    def prepare(crawler: Crawler) -> None:
        @crawler.on_failed
        async def _(result: Any) -> None:
            raise asyncio.CancelledError

    done = await crawl(only(status=404), [URL], prepare=prepare)
    assert done.only.outcome is Outcome.FAILED
    assert len(done.told(HandlerRaised)) == 1


async def test_crawl_visit_log_becomes_an_event(crawl: "Crawl") -> None:
    """`visit.log` is an event with the request's id; a value that is not JSON is put as text and fails nothing."""

    def prepare(crawler: Crawler) -> None:
        @crawler.handler()
        async def _(visit: Visit) -> None:
            visit.log("seen", message=1, where={1, 2})

    done = await crawl(None, [URL], prepare=prepare)
    assert done.only.outcome is Outcome.SUCCEEDED
    (line,) = done.told(UserLog)
    assert (line.request_id, line.message) == (done.only.request_id, "seen")
    assert line.fields == {"message": 1, "where": "{1, 2}"}


# --- seeds -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seed", "kind"),
    [
        ("no url", ErrorKind.URL_INVALID),
        ("file:///etc/passwd", ErrorKind.URL_INVALID),
        ("chrome://version", ErrorKind.URL_INVALID),
        ("http://x.test/" + "a" * 70_000, ErrorKind.URL_INVALID),
        ("http://x.test/\ud800", ErrorKind.URL_INVALID),
        (None, ErrorKind.URL_INVALID),
        ({"url": URL, "password": "hunter2"}, ErrorKind.URL_INVALID),
        (InputError("urls.txt, line 7: not a request"), ErrorKind.INPUT_INVALID),
    ],
)
async def test_crawl_bad_seed_is_a_failed_result(crawl: "Crawl", seed: Any, kind: ErrorKind) -> None:
    """A seed that is no request gets a failed result that says why; the others finish."""
    done = await crawl(None, [URL, seed, f"{URL}2", seed])
    bad = [each for each in done.results if each.outcome is Outcome.FAILED]
    assert [each.error and each.error.kind for each in bad] == [kind, kind]
    assert all(each.attempts == 0 and each.error and "hunter2" not in each.error.message for each in bad)
    assert (done.summary.succeeded, done.summary.failed) == (2, 2)


async def test_crawl_unknown_label_fails_without_a_page(crawl: "Crawl") -> None:
    """A label without a handler fails its request, once for two equal ones, and opens no page for it."""

    def prepare(crawler: Crawler) -> None:
        @crawler.handler("known")
        async def _(visit: Visit) -> None:
            pass

    unknown = Request(url=URL, label="knwon")
    done = await crawl(None, [unknown, unknown], prepare=prepare)
    assert done.only.error is not None
    assert (done.only.error.kind, done.only.error.disposition) == (ErrorKind.UNKNOWN_LABEL, Disposition.DROP)
    assert "known" in done.only.error.message
    assert (done.only.attempts, done.summary.duplicates) == (0, 1)
    assert done.told(VisitStarted) == []


async def test_crawl_duplicates_are_counted_and_have_no_result(crawl: "Crawl") -> None:
    """Equal URLs are one request; another session or key makes another."""
    same: list[str | Request] = ["http://SITE.test:80/#a", URL, Request(url=URL)]
    done = await crawl(None, [*same, Request(url=URL, session="me"), Request(url=URL, key="2")])
    assert (len(done.results), done.summary.duplicates) == (3, 2)


async def test_crawl_max_requests_gives_each_url_of_a_list_its_result(crawl: "Crawl") -> None:
    """However long a list is: what lies beyond the size of the job has a skipped result."""
    done = await crawl(None, [f"{URL}{number}" for number in range(320)], links={"max_requests": 3})
    assert (done.summary.succeeded, done.summary.skipped) == (3, 317)
    assert done.summary.finish_detail is None


async def test_crawl_max_requests_skips_what_is_beyond(crawl: "Crawl") -> None:
    """Seeds past `max_requests` that were read are skipped with that reason, once each; the run ends well."""
    done = await crawl(None, [f"{URL}{number}" for number in (1, 2, 3, 4, 4, 1)], links={"max_requests": 2})
    assert [each.skip_reason for each in done.results if each.outcome is Outcome.SKIPPED] == ["max_requests"] * 2
    assert (done.summary.succeeded, done.summary.duplicates, done.summary.exit_code) == (2, 1, 0)
