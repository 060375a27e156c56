"""What outlives a context, a browser, and a process: cookies and localStorage of each session, and of no other."""

import json
import secrets
import stat
from base64 import urlsafe_b64encode
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from browsercrawl import Crawler, FinishReason, Request, Visit
from browsercrawl.events import BrowserCrashed, SessionHibernated, SessionLoggedIn, SessionPaused, SessionRevived
from browsercrawl.testing.fake_browser import FakeLauncher

if TYPE_CHECKING:
    from tests.unit.crawler.sessions.conftest import Area

SITE = "http://site.test"


def pages(session: str | None, number: int, *, of: str = "") -> list[Request]:
    """Return requests of a session."""
    return [Request(url=f"{SITE}/{of or session}/{each}", session=session) for each in range(number)]


def in_turn(*lists: list[Request]) -> list[Request]:
    """Return requests of several sessions, in turn."""
    return [request for each in zip(*lists, strict=True) for request in each]


def files_of(directory: Path, start: str) -> list[Path]:
    """Return the state files in a directory whose names begin so."""
    return sorted(directory.glob(f"{start}*.json"))


def one_of_each(names: list[str], round_: int) -> list[Request]:
    """Return one request of each session: its context is driven out before its next one comes."""
    return [Request(url=f"{SITE}/{name}/{round_}", session=name) for name in names]


def saved_cookie(name: str, value: str) -> dict[str, Any]:
    """Return a cookie of the site as Playwright gives it."""
    return {
        "name": name,
        "value": value,
        "domain": "site.test",
        "path": "/",
        "expires": -1,
        "httpOnly": True,
        "secure": False,
        "sameSite": "Lax",
    }


async def test_crawl_twenty_sessions_in_three_contexts_keep_their_logins(area: "Area") -> None:
    """Contexts hibernate and revive; each session's pages see its own cookies and localStorage, and nobody else's."""
    names = [f"m{number}" for number in range(20)]
    async with area.crawler(names, concurrency=3, pool={"contexts_max": 3}) as crawler:
        for round_ in range(4):
            done = await area.run(crawler, one_of_each(names, round_))
            assert done.outcomes() == {(name, "succeeded"): 1 for name in names}
            assert all(each.data == ({"sid": f"{each.session}:1", "me": each.session},) for each in done.results)
            assert len(done.told(SessionHibernated)) >= 17
            assert all(each.complete for each in done.told(SessionHibernated))
            assert len(done.told(SessionRevived)) >= (17 if round_ else 0)
    assert Counter(name for name, _ in area.tries) == dict.fromkeys(names, 1)
    assert max(browser.contexts_peak for browser in area.launcher.browsers) <= 3


async def test_crawl_sessions_without_login_keep_what_their_pages_left(area: "Area") -> None:
    """Cookies and localStorage of a session that never logs in survive hibernation as well."""
    crawler = area.crawler(concurrency=2, pool={"contexts_max": 2})
    crawler._handlers._by_label.clear()
    seen: list[tuple[str | None, int]] = []

    @crawler.handler()
    async def _(visit: Visit) -> None:
        page: Any = visit.page
        jar, local = page.context.jar, page.context.local.setdefault(SITE, {})
        before = int(jar["count"]["value"]) if "count" in jar else 0
        assert local.get("count", "0") == str(before)
        seen.append((visit.request.session, before))
        jar["count"] = saved_cookie("count", str(before + 1))
        local["count"] = str(before + 1)
        await area.clock.sleep(1.0)

    names = [f"v{number}" for number in range(6)]
    async with crawler:
        for round_ in range(4):
            done = await area.run(crawler, one_of_each(names, round_))
            assert done.summary.succeeded == 6
    for name in names:
        assert [count for session, count in seen if session == name] == [0, 1, 2, 3]


async def test_crawl_anonymous_pages_share_no_state_with_sessions(area: "Area") -> None:
    """A request without a session is visited in a context that no session has written to, and is never kept."""
    seeds = in_turn(pages("ann", 5), pages(None, 5, of="anon"))
    done = await area.run(area.crawler(["ann"], concurrency=2, pool={"contexts_max": 2}), seeds)
    assert done.summary.succeeded == 10
    assert all(each.data == ({"sid": "", "me": ""},) for each in done.results if each.session is None)
    assert {each.session for each in done.told(SessionHibernated)} == {"ann"}


async def test_crawl_death_of_the_browser_costs_no_login(area: "Area") -> None:
    """Sessions revive from what was saved last in the next browser, and nobody logs in again."""

    def kill(visit: Visit) -> None:
        if len(area.visits) in {9, 21}:
            page: Any = visit.page
            page.context.browser.die("killed by a test")

    area.on_visit = kill
    names = ["ann", "bob", "cid"]
    done = await area.run(area.crawler(names), in_turn(*(pages(name, 12) for name in names)))
    assert done.outcomes() == {(name, "succeeded"): 12 for name in names}
    assert len(done.told(BrowserCrashed)) >= 2
    assert len(area.tries) == 3


async def test_second_crawler_on_the_same_state_dir_logs_nobody_in(area: "Area", tmp_path: Path) -> None:
    """What holds is used: tomorrow's crawl begins logged in, from files that only their owner may read."""
    names = ["ann", "bob"]
    seeds = in_turn(*(pages(name, 3) for name in names))
    states = tmp_path / "states"
    for logins in (2, 0):
        done = await area.run(area.crawler(names, sessions={"state_dir": states}), seeds)
        assert done.outcomes() == {("ann", "succeeded"): 3, ("bob", "succeeded"): 3}
        assert len(done.told(SessionLoggedIn)) == logins
    assert [stat.S_IMODE(path.stat().st_mode) for path in files_of(states, "")] == [0o600, 0o600]


async def test_crawl_state_that_no_longer_holds_logs_in_once(area: "Area", tmp_path: Path) -> None:
    """A saved login that the site has forgotten costs one expiry and one login, and the new one is saved."""
    options: dict[str, Any] = {"sessions": {"state_dir": tmp_path}}
    await area.run(area.crawler(["ann"], **options), pages("ann", 2))
    area.expire("ann")
    for tries in (2, 2):
        done = await area.run(area.crawler(["ann"], **options), pages("ann", 2))
        assert done.outcomes() == {("ann", "succeeded"): 2}
        assert len(area.tries) == tries


def corrupt(path: Path) -> None:
    """Cut a file in half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


async def test_crawl_corrupt_state_pauses_that_session_only(area: "Area", tmp_path: Path) -> None:
    """A damaged file is named and left as it is; its session waits, the others go on."""
    names = ["ann", "bob"]
    seeds = in_turn(*(pages(name, 3) for name in names))
    options: dict[str, Any] = {"sessions": {"state_dir": tmp_path}}
    await area.run(area.crawler(names, **options), seeds)
    (file,) = files_of(tmp_path, "ann-")
    corrupt(file)
    before = file.read_bytes()
    done = await area.run(area.crawler(names, **options), seeds)
    assert done.outcomes() == {("bob", "succeeded"): 3}
    assert (done.summary.finish_reason, done.summary.unfinished) == (FinishReason.SESSIONS_PAUSED, 3)
    (paused,) = done.told(SessionPaused)
    assert file.name in paused.reason
    assert file.name in (done.summary.finish_detail or "")
    assert file.read_bytes() == before
    assert len(area.tries) == 2


@pytest.mark.parametrize("key", ["another", "none"])
async def test_crawl_state_of_another_key_pauses_and_is_kept(area: "Area", tmp_path: Path, key: str) -> None:
    """What cannot be decrypted is neither used nor replaced; with the right key it is used again."""
    right = urlsafe_b64encode(secrets.token_bytes(32)).decode()
    other = urlsafe_b64encode(secrets.token_bytes(32)).decode()
    await area.run(area.crawler(["ann"], sessions={"state_dir": tmp_path, "key": right}), pages("ann", 1))
    (file,) = files_of(tmp_path, "ann-")
    before = file.read_bytes()
    assert b"ann:1" not in before
    given = {"key": other} if key == "another" else {}
    wrong = await area.run(area.crawler(["ann"], sessions={"state_dir": tmp_path, **given}), pages("ann", 1))
    assert wrong.summary.finish_reason is FinishReason.SESSIONS_PAUSED
    assert "key" in (wrong.summary.finish_detail or "")
    assert file.read_bytes() == before
    again = await area.run(area.crawler(["ann"], sessions={"state_dir": tmp_path, "key": right}), pages("ann", 1))
    assert again.summary.succeeded == 1
    assert len(area.tries) == 1


async def test_crawl_state_of_another_account_pauses(area: "Area", tmp_path: Path) -> None:
    """A session whose account was changed does not go on as the old one, nor throw its login away."""
    options: dict[str, Any] = {"sessions": {"state_dir": tmp_path}}
    await area.run(area.crawler(["ann"], **options), pages("ann", 1))
    done = await area.run(area.crawler(["ann"], profile={"account": "anna"}, **options), pages("ann", 1))
    assert done.summary.finish_reason is FinishReason.SESSIONS_PAUSED
    assert "another account" in (done.summary.finish_detail or "")
    assert len(area.tries) == 1


async def test_crawl_private_contexts_start_from_the_login(area: "Area") -> None:
    """`isolation="request"`: each page has a context of its own that begins logged in; one login serves all."""
    done = await area.run(
        area.crawler(["ann"], profile={"max_pages": 3}, pool={"isolation": "request"}), pages("ann", 9)
    )
    assert done.outcomes() == {("ann", "succeeded"): 9}
    assert len(area.tries) == 1


def state_file(path: Path, value: str) -> Path:
    """Write what Playwright would save for a login."""
    path.write_text(json.dumps({"cookies": [saved_cookie("sid", value)], "origins": []}))
    path.chmod(0o600)
    return path


def from_file(path: Path) -> dict[str, Any]:
    """Return a profile that takes its login from a file."""
    recipe = {"kind": "state", "file": path}
    return {"profiles": [{"name": "ann", "account": "ann", "login": {"recipe": recipe}, "domains": ["site.test"]}]}


async def test_crawl_login_from_a_state_file_is_used(area: "Area", tmp_path: Path) -> None:
    """A saved state is taken as it is; when the site does not believe it, the session waits for a fresh one."""
    area.valid.add("ann:file")
    sessions = from_file(state_file(tmp_path / "state.json", "ann:file"))
    done = await area.run(area.crawler(sessions=sessions), pages("ann", 3))
    assert done.outcomes() == {("ann", "succeeded"): 3}
    assert all(each.data[0]["sid"] == "ann:file" for each in done.results if isinstance(each.data[0], dict))
    area.expire("ann")
    done = await area.run(area.crawler(sessions=sessions), pages("ann", 3))
    assert done.summary.finish_reason is FinishReason.SESSIONS_PAUSED
    assert "save a fresh state" in (done.summary.finish_detail or "")


async def test_crawl_fresh_state_file_is_used_in_mid_crawl(area: "Area", tmp_path: Path) -> None:
    """A file that was renewed while the crawl ran is what the next login is made of, in a context opened with it."""
    area.valid.add("ann:old")
    path = state_file(tmp_path / "state.json", "ann:old")

    def renew(visit: Visit) -> None:
        if visit.request.url.endswith("/2") and "ann:new" not in area.valid:
            state_file(path, "ann:new")
            area.valid = {"ann:new"}

    area.on_visit = renew
    done = await area.run(area.crawler(sessions=from_file(path)), pages("ann", 6))
    assert done.summary.finish_detail is None
    assert done.outcomes() == {("ann", "succeeded"): 6}


async def test_crawl_fresh_state_file_wins_over_a_kept_state_that_is_dead(area: "Area", tmp_path: Path) -> None:
    """Who follows the advice to save a fresh state is logged in by it, though an older one is kept in `state_dir`."""
    path = state_file(tmp_path / "state.json", "ann:old")
    sessions = {**from_file(path), "state_dir": tmp_path / "kept", "save_every_pages": 1}
    area.valid.add("ann:old")
    first = await area.run(area.crawler(sessions=sessions), pages("ann", 3))
    assert first.summary.succeeded == 3
    area.expire("ann")
    area.valid.add("ann:new")
    state_file(path, "ann:new")
    second = await area.run(area.crawler(sessions=sessions), pages("ann", 3))
    assert second.summary.finish_detail is None
    assert second.outcomes() == {("ann", "succeeded"): 3}


async def test_run_after_a_pause_for_proxies_does_not_log_in_again(area: "Area") -> None:
    """A session that was paused for another reason than its login is still logged in for the next run."""
    async with area.crawler(["ann"]) as crawler:
        await area.run(crawler, pages("ann", 2))
        sessions = crawler._sessions
        assert sessions is not None
        session = sessions.roster.of("ann")
        assert session is not None
        sessions.pause(session, "its proxies failed")
        done = await area.run(crawler, pages("ann", 2))
    assert done.outcomes() == {("ann", "succeeded"): 2}
    assert len(area.tries) == 1


async def test_resume_of_a_run_whose_session_was_paused_finishes_it(area: "Area", tmp_path: Path) -> None:
    """The requests that waited are there the next day, and only they; the login that works now is kept with the run."""
    area.login_s = 0.0
    area.refuses = lambda account, number: number == 1
    options: dict[str, Any] = {"output": tmp_path / "run", "resume": True, "login": {"tries": 1}}
    seeds = [*pages("ann", 3), *pages("bob", 2)]
    outcomes = []
    for _ in range(3):
        crawler = Crawler(
            area.crawler(["ann"], **options).config, launch=FakeLauncher(), on_event=area.events.append
        )  # on the machine's clock: the store's thread does not wait on a virtual one
        crawler.login()(area.log_in)
        crawler.logged_out("ann")(area.is_out)
        summary = await crawler.run(seeds)
        outcomes.append((summary.finish_reason, summary.succeeded, summary.unfinished, len(area.tries)))
    assert outcomes == [
        (FinishReason.SESSIONS_PAUSED, 2, 3, 1),
        (FinishReason.FINISHED, 5, 0, 2),
        (FinishReason.FINISHED, 5, 0, 2),
    ]
    kept = files_of(tmp_path / "run" / "sessions", "")
    assert [path.name.partition("-")[0] for path in kept] == ["ann", "bob"]
