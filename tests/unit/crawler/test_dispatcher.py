"""`CrawlDispatcher`: the same engine without `async`, from any thread."""

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from browsercrawl import CrawlDispatcher, CrawlerConfig, Outcome, Request
from browsercrawl.crawler import threaded
from browsercrawl.errors import BrowserNotFound, CrawlerClosed, InvalidURL
from browsercrawl.events import Status
from browsercrawl.testing.fake_browser import NEVER, FakeLauncher, FakePageScript

URL = "http://site.test/"


@contextmanager
def dispatcher_of(sites: Any = None, **options: Any) -> Iterator[tuple[CrawlDispatcher, FakeLauncher]]:
    """A dispatcher with a fake browser, stopped in the end whatever happened."""
    launcher = FakeLauncher(sites)
    dispatcher = CrawlDispatcher(CrawlerConfig.load({"concurrency": 4, **options}), launch=launcher)
    try:
        yield dispatcher, launcher
    finally:
        dispatcher.stop(drain_s=1)
    assert (launcher.pages_open, launcher.contexts_open, launcher.browsers_open) == (0, 0, 0)
    assert launcher.misuse == []


def test_dispatcher_example_of_the_readme_runs_as_written(capsys: pytest.CaptureFixture[str]) -> None:
    """Start, add, status, results, stop."""
    launcher = FakeLauncher({"https://example.com": FakePageScript(title="Example")})
    dispatcher = CrawlDispatcher(launch=launcher)
    dispatcher.start()
    dispatcher.add_task(url="https://example.com")
    print(dispatcher.get_status())  # noqa: T201 - as written
    for result in dispatcher.results():
        assert (result.title, result.outcome) == ("Example", Outcome.SUCCEEDED)
    dispatcher.stop()
    table = capsys.readouterr().out
    assert "queued" in table
    assert len(table.splitlines()) == 6
    assert dispatcher.get_status().succeeded == 1
    assert launcher.browsers_open == 0


def test_dispatcher_tasks_before_start_and_after_stop() -> None:
    """Tasks added before the start are crawled; after the stop none is taken; ids are the requests' own."""
    with dispatcher_of() as (dispatcher, _):
        first = dispatcher.add_task(URL)
        assert first == Request(url=URL).id
        assert dispatcher.get_status() == Status(queued=1)
        dispatcher.start()
        dispatcher.start()
        assert [result.request_id for result in dispatcher.results()] == [first]
        assert [result.request_id for result in dispatcher.results()] == []
        second = dispatcher.add_task(Request(url=f"{URL}2", data={"a": 1}))
        assert [result.request_id for result in dispatcher.results()] == [second]
        dispatcher.stop()
        with pytest.raises(CrawlerClosed):
            dispatcher.add_task(URL)
        with pytest.raises(CrawlerClosed):
            dispatcher.start()
        assert dispatcher.get_status().succeeded == 2


def test_dispatcher_stopped_before_its_start_is_closed() -> None:
    """A dispatcher that never ran can be stopped, again and again; nothing is waited for."""
    with dispatcher_of() as (dispatcher, launcher):
        dispatcher.add_task(URL)
        dispatcher.stop()
        dispatcher.stop()
        assert list(dispatcher.results()) == []
        with pytest.raises(CrawlerClosed):
            dispatcher.start()
    assert launcher.attempts == 0


def test_dispatcher_known_task_answers_the_first_id() -> None:
    """A second task of a known key is not crawled and has the first one's id, also once that is finished."""
    with dispatcher_of() as (dispatcher, _):
        dispatcher.start()
        first = dispatcher.add_task(f"{URL}#a")
        assert dispatcher.add_task(URL) == first
        assert len(list(dispatcher.results())) == 1
        assert dispatcher.add_task("HTTP://SITE.test:80/") == first
        assert list(dispatcher.results()) == []


@pytest.mark.parametrize("url", ["nothing", "file:///etc/passwd", "http://x.test/" + "a" * 70_000])
def test_dispatcher_bad_url_is_refused_at_once(url: str) -> None:
    """`add_task` raises on what is no URL, and nothing is open because of it."""
    with dispatcher_of() as (dispatcher, _):
        dispatcher.start()
        with pytest.raises(InvalidURL):
            dispatcher.add_task(url)
        assert list(dispatcher.results()) == []


def test_dispatcher_thousands_beyond_memory_come_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks and unread results beyond the bound wait on disk; each has its one result, with odd text unharmed."""
    monkeypatch.setattr(threaded, "TASKS_IN_MEMORY", 50)
    monkeypatch.setattr(threaded, "RESULTS_IN_MEMORY", 20)
    with dispatcher_of(lambda url: FakePageScript(title=url, html="<p>\ud83d")) as (dispatcher, _):
        ids = [dispatcher.add_task(Request(url=f"{URL}{number}", data={"a": "\ud800"})) for number in range(1500)]
        dispatcher.start()
        until = time.monotonic() + 20
        while dispatcher.get_status().succeeded < 1500 and time.monotonic() < until:
            time.sleep(0.01)
        results = list(dispatcher.results())
    assert Counter(result.request_id for result in results) == Counter(ids)
    assert {result.html for result in results} == {"<p>\ud83d"}
    assert all(result.title == result.url for result in results)


def test_dispatcher_several_threads_share_the_results() -> None:
    """Each result goes to exactly one of the threads that ask; all of them end."""
    with dispatcher_of() as (dispatcher, _):
        taken: list[list[str]] = [[], [], [], []]
        dispatcher.start()
        ids = [dispatcher.add_task(f"{URL}{number}") for number in range(300)]
        threads = [
            threading.Thread(target=lambda mine=mine: mine.extend(each.request_id for each in dispatcher.results()))
            for mine in taken
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert Counter(each for mine in taken for each in mine) == Counter(ids)


def test_dispatcher_results_timeout_ends_the_wait() -> None:
    """`results(timeout_s)` ends when the next result does not come in time; later ones can be had again."""
    with dispatcher_of(lambda url: FakePageScript(load_s=NEVER if url == URL else 0)) as (dispatcher, _):
        dispatcher.start()
        dispatcher.add_task(URL)
        assert list(dispatcher.results(timeout_s=0.05)) == []
        dispatcher.add_task(f"{URL}2")
        assert next(dispatcher.results(timeout_s=30)).url == f"{URL}2"


def test_dispatcher_engine_error_is_raised_from_the_next_call() -> None:
    """No browser: every method says so; `stop` only if no other call has."""
    for tell_first in (True, False):
        launcher = FakeLauncher()
        launcher.error, launcher.fail_next = BrowserNotFound("none here"), 99
        dispatcher = CrawlDispatcher(launch=launcher)
        dispatcher.add_task(URL)
        dispatcher.start()
        if tell_first:
            with pytest.raises(BrowserNotFound):
                list(dispatcher.results())
            with pytest.raises(BrowserNotFound):
                dispatcher.get_status()
            with pytest.raises(BrowserNotFound):
                dispatcher.add_task(URL)
            dispatcher.stop()
        else:
            assert dispatcher._thread is not None
            dispatcher._thread.join(20)
            with pytest.raises(BrowserNotFound):
                dispatcher.stop()
            dispatcher.stop()


def test_dispatcher_followed_links_are_waited_for() -> None:
    """`results()` ends only when the links that were followed have their results too."""

    def site(url: str) -> FakePageScript:
        return FakePageScript(links=(f"{url}a", f"{url}b", URL) if len(url) < len(URL) + 5 else ())

    with dispatcher_of(site, links={"depth": 9}) as (dispatcher, _):
        dispatcher.start()
        dispatcher.add_task(URL)
        assert len(list(dispatcher.results())) == 2**6 - 1


def test_dispatcher_as_context_manager_starts_and_stops() -> None:
    """`with` starts and stops; results there can still be taken afterwards, what is open then has none."""
    launcher = FakeLauncher(lambda url: FakePageScript(load_s=NEVER if url == URL else 0))
    with CrawlDispatcher(CrawlerConfig(concurrency=2, drain_s=0), launch=launcher) as dispatcher:
        dispatcher.add_task(f"{URL}2")
        dispatcher.add_task(URL)
        while dispatcher.get_status().succeeded < 1:
            time.sleep(0.005)
        started = time.monotonic()
        dispatcher.stop(drain_s=0.1)
        assert time.monotonic() - started < 5
    assert [result.url for result in dispatcher.results()] == [f"{URL}2"]
    assert launcher.browsers_open == 0


def test_dispatcher_stop_wakes_whoever_waits_for_results() -> None:
    """`results()` in another thread ends when the dispatcher is stopped."""
    with dispatcher_of(lambda _: FakePageScript(load_s=NEVER)) as (dispatcher, _):
        dispatcher.start()
        dispatcher.add_task(URL)
        waiting = threading.Thread(target=lambda: list(dispatcher.results()))
        waiting.start()
        dispatcher.stop(drain_s=0)
        waiting.join(10)
        assert not waiting.is_alive()


def test_dispatcher_status_and_stop_race_with_the_end() -> None:
    """Asking for the status while the crawl ends always gets an answer, from whatever thread."""
    for _ in range(20):
        with dispatcher_of() as (dispatcher, _launcher):
            dispatcher.start()
            dispatcher.add_task(URL)
            asked: list[Status] = []
            asking = threading.Thread(target=lambda d=dispatcher, a=asked: a.extend(d.get_status() for _ in range(50)))
            asking.start()
            dispatcher.stop(drain_s=0)
            asking.join(10)
            assert len(asked) == 50


_SCRIPT = """
import sys
from browsercrawl import CrawlDispatcher, CrawlerConfig
from browsercrawl.testing.fake_browser import FakeLauncher, FakePageScript
dispatcher = CrawlDispatcher(
    CrawlerConfig(output=sys.argv[1], concurrency=2), launch=FakeLauncher(lambda url: FakePageScript(load_s=0.2))
)
dispatcher.start()
for number in range(4):
    dispatcher.add_task(f"http://site.test/{number}")
next(dispatcher.results())
"""


def test_dispatcher_left_running_is_stopped_at_exit(tmp_path: Path) -> None:
    """A script that forgets to stop ends by itself: the run is drained and its directory is complete."""
    run = tmp_path / "run"
    script = [sys.executable, "-W", "error", "-c", _SCRIPT, str(run)]
    done = subprocess.run(script, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert '"finish_reason": "stopped"' in (run / "summary.json").read_text()
    assert len((run / "results.jsonl").read_text().splitlines()) >= 2
    assert (run / "events.jsonl").read_text().endswith("\n")


def test_dispatcher_past_max_requests_every_task_has_a_skipped_result() -> None:
    """`add_task` never drops: tasks beyond the size of the job are told so, also those added later."""
    config = CrawlerConfig.load({"links": {"max_requests": 2}})
    with CrawlDispatcher(config, launch=FakeLauncher()) as dispatcher:
        for number in range(120):
            dispatcher.add_task(f"{URL}{number}")
        first = [result.skip_reason for result in dispatcher.results()]
        dispatcher.add_task(f"{URL}later")
        later = [result.skip_reason for result in dispatcher.results()]
    assert sorted(map(str, first)) == ["None"] * 2 + ["max_requests"] * 118
    assert later == ["max_requests"]


def test_dispatcher_results_end_when_only_a_paused_session_is_left() -> None:
    """Tasks whose session cannot be logged in keep nobody waiting; the status tells, and others go on."""
    recipe = {"url": f"{URL}login", "steps": [{"fields": {"#user": "{username}"}}], "success": {"selector": "#me"}}
    login = {"recipe": recipe, "credentials": {"username": "ann"}, "timeout_s": 0.2, "tries": 1}
    with dispatcher_of(sessions={"profiles": [{"name": "ann", "login": login}]}) as (dispatcher, _):
        dispatcher.start()
        for page in range(3):
            dispatcher.add_task(Request(url=f"{URL}ann/{page}", session="ann"))
            dispatcher.add_task(f"{URL}{page}")
        assert Counter(result.session for result in dispatcher.results()) == {None: 3}
        status = dispatcher.get_status()
        assert (status.sessions_paused, status.parked, status.succeeded) == (1, 3, 3)
        dispatcher.add_task(f"{URL}later")
        assert [result.url for result in dispatcher.results()] == [f"{URL}later"]
