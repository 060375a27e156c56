"""What goes wrong around sessions: their files, their proxies, the browser and the crawler itself are taken away."""

import asyncio
import base64
import json
import secrets
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from browsercrawl import Outcome, Request
from browsercrawl.events import (
    BrowserCrashed,
    SessionLoginStarted,
    SessionPaused,
    SessionProxyChanged,
    SessionRevived,
    VisitFailed,
    VisitStarted,
)
from browsercrawl.output import FinishReason
from browsercrawl.sessions.state import SessionState
from browsercrawl.sessions.vault import StateVault
from browsercrawl.testing import DemoSite, ForwardProxy

if TYPE_CHECKING:
    from tests.faults.conftest import Commands, Crawl, Crawled, Wait, Watched

HOST = "127.0.0.1"


@pytest.fixture
def site() -> Iterator[DemoSite]:
    """A members' area nobody has been to."""
    with DemoSite() as running:
        yield running


def member(site: DemoSite, number: int, *, path: str = "login", **profile: Any) -> dict[str, Any]:
    """Return the profile of a member who logs in by a form."""
    account = f"member-{number}"
    recipe = {
        "kind": "form",
        "url": f"{site.url}/members/{path}",
        "steps": [{"fields": {"#user": "{username}", "#password": "{password}"}}],
        "success": {"selector": "#account"},
    }
    login: dict[str, Any] = {
        "recipe": recipe, "credentials": {"username": account, "password": site.password(account)},
        "logged_out": {"url": f"{site.url}/members/login*", "missing": "#account"},
    }  # fmt: skip
    return {"name": f"m{number}", "login": login, **profile}


def visits(site: DemoSite, sessions: list[str], pages: range) -> list[Request]:
    """Return requests of sessions for the same pages, the sessions in turn."""
    return [Request(url=f"{site.url}/members/page/{page}", session=name) for page in pages for name in sessions]


def check_names(done: "Crawled", sessions: list[str], pages: range) -> None:
    """Check that exactly these sessions have these pages, each with the right name on it and at its first attempt."""
    found = Counter((each.session, each.title, each.outcome, each.attempts) for each in done.results)
    assert found == Counter(
        (name, f"Page {page} of member-{name[1:]}", Outcome.SUCCEEDED, 1) for name in sessions for page in pages
    )


# --- saved states ----------------------------------------------------------------------------------------------------


async def test_state_files_that_cannot_be_used_are_kept_and_told(
    site: DemoSite, crawl: "Crawl", tmp_path: Path
) -> None:
    """Damaged, or saved with another key: the file stays byte for byte, its session is paused, all others go on.

    Of those one has a state that holds and does not log in, and one has none and does.
    """
    keys = [secrets.token_bytes(32) for _ in range(2)]
    vaults = [StateVault(tmp_path / "states", key=key) for key in keys]
    for number, vault in ((0, vaults[0]), (1, vaults[1]), (2, vaults[0])):
        cookie = {"name": "member_session", "value": site.members.open_session(f"member-{number}"), "domain": HOST,
                  "path": "/members/", "expires": -1, "httpOnly": True, "secure": False, "sameSite": "Lax"}  # fmt: skip
        state = SessionState(session=f"m{number}", domains=(HOST,), account=f"member-{number}", epoch=1)
        assert vault.save(state.with_cookies([cookie])) is None
    damaged, foreign = (vaults[0].path_of(f"m{number}") for number in range(2))
    assert damaged is not None
    assert foreign is not None
    damaged.write_bytes(damaged.read_bytes()[:-40] + b"\n")
    before = damaged.read_bytes(), foreign.read_bytes()

    key = base64.urlsafe_b64encode(keys[0]).decode()
    sessions = {"profiles": [member(site, number) for number in range(4)], "state_dir": tmp_path / "states", "key": key}
    done = await crawl(visits(site, [f"m{number}" for number in range(4)], range(3)), sessions=sessions)
    check_names(done, ["m2", "m3"], range(3))
    assert done.summary.finish_reason is FinishReason.SESSIONS_PAUSED
    assert (damaged.read_bytes(), foreign.read_bytes()) == before
    paused = {event.session: event.reason for event in done.told(SessionPaused)}
    assert set(paused) == {"m0", "m1"}
    assert f"{damaged} is damaged" in paused["m0"]
    assert f"{foreign} is encrypted with the key of id " in paused["m1"]
    assert site.members.logins == {"member-0": 1, "member-1": 1, "member-2": 1, "member-3": 1}
    assert [event.session for event in done.told(SessionLoginStarted)] == ["m3"]
    assert not any(key in repr(event) for _, event in done.events)


# --- proxies ---------------------------------------------------------------------------------------------------------


def closed_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])


async def test_proxies_that_fail_cost_no_attempt_and_are_replaced(site: DemoSite, crawl: "Crawl") -> None:
    """One proxy is down, one refuses the password: every page and login comes through the third, at once.

    No page fails or spends an attempt, none goes without a proxy, and no password is told.
    """
    with ForwardProxy(username="someone", password="right") as picky, ForwardProxy() as good:
        wrong = picky.url.replace("//", "//someone:wrong@")
        sessions = {
            "profiles": [{"name": "m0", "max_pages": 1}, member(site, 1), member(site, 2)],
            "proxies": [f"http://{HOST}:{closed_port()}", wrong, good.url],
        }
        echo = [Request(url=f"{site.url}/members/echo?{number}", session="m0") for number in range(3)]
        members = visits(site, ["m1", "m2"], range(3))
        done = await crawl([*echo, *members], sessions=sessions, retry={"retries": 0}, concurrency=3)
        through = Counter(each.target for each in good.requests)
        refused = {each.username for each in picky.requests}
    assert {(each.outcome, each.attempts) for each in done.results} == {(Outcome.SUCCEEDED, 1)}
    assert len(done.results) == 9
    assert done.summary.finish_reason is FinishReason.FINISHED
    assert {url: through[url] for url in (each.url for each in done.results)} == {
        each.url: len([other for other in done.results if other.url == each.url]) for each in done.results
    }
    assert site.hits("/members/echo") == 3
    assert refused == {"someone"}, "the second proxy was never tried"
    assert len(done.told(SessionProxyChanged)) >= 2
    assert not any("wrong" in repr(event) for _, event in done.events), "a proxy's password is told"
    assert site.members.logins == {"member-1": 1, "member-2": 1}


async def test_proxy_that_dies_counts_once_for_all_pages_open_through_it(site: DemoSite, crawl: "Crawl") -> None:
    """A proxy dies under six pages at once: that is one failure, and the next proxy serves them all."""
    with ForwardProxy() as mortal, ForwardProxy() as good:
        started = 0

        def prepare(_: object, watched: "Watched") -> None:
            def count(_: VisitStarted) -> None:
                nonlocal started
                started += 1
                if started == 7:  # six have been served, so that the next six are open at the same time
                    mortal.stop()

            watched.on(VisitStarted, count)

        sessions = {"proxies": [mortal.url, good.url]}
        urls = [f"{site.url}/faults/slow?ms=300&{number}" for number in range(18)]
        done = await crawl(urls, sessions=sessions, retry={"retries": 0}, concurrency=6, prepare=prepare)
    assert {event.session: event.reason for event in done.told(SessionPaused)} == {}
    assert sorted(each.url for each in done.results) == sorted(urls)
    assert {(each.outcome, each.attempts) for each in done.results} == {(Outcome.SUCCEEDED, 1)}
    assert len(done.told(SessionProxyChanged)) == 1


async def test_session_whose_only_proxy_is_down_is_paused_alone(site: DemoSite, crawl: "Crawl") -> None:
    """After some tries the session is paused and its request waits; the URL has not failed, others do not notice."""
    sessions = {
        "profiles": [{"name": "lost", "proxy": f"http://{HOST}:{closed_port()}"}], "proxy_cooldown_s": 0.05
    }  # fmt: skip
    lost, other = f"{site.url}/members/echo?lost", f"{site.url}/members/echo?other"
    done = await crawl([Request(url=lost, session="lost"), other], sessions=sessions, retry={"retries": 0})
    (paused,) = done.told(SessionPaused)
    assert paused.session == "lost"
    assert "ERR_PROXY_CONNECTION_FAILED" in paused.reason
    assert done.summary.finish_reason is FinishReason.SESSIONS_PAUSED
    assert [(each.url, each.outcome) for each in done.results] == [(other, Outcome.SUCCEEDED)]
    assert site.hits("/members/echo?lost") == 0


# --- processes -------------------------------------------------------------------------------------------------------


async def test_browser_killed_in_mid_crawl_costs_no_login(site: DemoSite, crawl: "Crawl") -> None:
    """SIGKILL of the browser: all sessions come back as they were, by cookies or by what is in localStorage."""
    names = [f"m{number}" for number in range(4)]
    profiles = [member(site, number, path="token/" if number == 3 else "login") for number in range(4)]
    seeds = [
        Request(url=f"{site.url}/members/{'token/' if name == 'm3' else ''}page/{page}", session=name,
                wait_for="html[data-ready]")
        for page in range(6) for name in names
    ]  # fmt: skip
    started = 0

    def prepare(_: object, watched: "Watched") -> None:
        def count(_: VisitStarted) -> None:
            nonlocal started
            started += 1
            if started == 12:
                asyncio.get_running_loop().call_later(0.05, watched.browser.kill)

        watched.on(VisitStarted, count)

    done = await crawl(seeds, concurrency=4, sessions={"profiles": profiles}, prepare=prepare)
    check_names(done, names, range(6))
    assert len(done.told(BrowserCrashed)) == 1
    assert site.members.logins == {f"member-{number}": 1 for number in range(4)}
    assert {event.session for event in done.told(SessionRevived)} == set(names)
    assert {event.kind for event in done.told(VisitFailed)} <= {"browser_crashed"}


PROGRAM = """
import asyncio
import json
import sys

from browsercrawl import Crawler, CrawlerConfig, Request

async def main():
    job = json.load(open("job.json"))
    seeds = [Request(**each) for each in job["seeds"]]
    summary = await Crawler(CrawlerConfig.load(job["config"])).run(seeds)
    sys.exit(0 if summary.finish_reason == "finished" else 1)

asyncio.run(main())
"""


def test_crawler_killed_in_mid_crawl_resumes_without_logins(site: DemoSite, commands: "Commands", wait: "Wait") -> None:
    """`kill -9` after all have logged in: the resumed run logs in nobody, and each page is there once.

    Between them a second kill, in the midst of reviving. A kill costs no more views than there were pages open.
    """
    accounts, pages, open_pages = 4, 10, 3
    names = [f"m{number}" for number in range(accounts)]
    config = {
        "output": "run", "resume": True, "concurrency": open_pages, "pool": {"contexts_max": open_pages},
        "sessions": {"profiles": [member(site, number) for number in range(accounts)]},
    }  # fmt: skip
    seeds = [{"url": request.url, "session": request.session} for request in visits(site, names, range(pages))]
    commands.folder.joinpath("job.json").write_text(json.dumps({"config": config, "seeds": seeds}))
    commands.folder.joinpath("mine.py").write_text(PROGRAM)

    def kill_after(pages: int) -> None:
        """Kill a life of the crawler when each account has been shown so many pages, over all lives."""
        life = commands.program("mine.py")
        everybody = site.members.accounts[:accounts]
        wait(lambda: min(site.members.pages[each] for each in everybody) >= pages or life.process.poll() is not None)
        assert life.process.poll() is None, life.err
        life.kill()
        wait(lambda: not commands.family(), 10)

    kill_after(3)  # the first is that of the login; when another is there, the login has been saved
    kill_after(5)
    assert site.members.logins == dict.fromkeys((f"member-{number}" for number in range(accounts)), 1)
    commands.program("mine.py").ends(0)
    found = Counter((each["session"], each["title"], each["outcome"]) for each in commands.results())
    assert found == Counter(
        (name, f"Page {page} of member-{name[1:]}", "succeeded") for name in names for page in range(pages)
    )
    assert site.members.logins == dict.fromkeys((f"member-{number}" for number in range(accounts)), 1)
    views = Counter(view for view in site.members.views if "/page/" in view[1])
    assert views.total() <= accounts * pages + 2 * open_pages
    states = [path for path in (commands.directory / "sessions").iterdir() if path.suffix == ".json"]
    assert {path.stat().st_mode & 0o777 for path in states} == {0o600}
