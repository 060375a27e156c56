"""Every way to log in, in one crawl; every way it can fail, in another; every way a page shows that it is over."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.async_api import Page

from browsercrawl import ErrorKind, Outcome, Request
from browsercrawl.events import SessionExpired, SessionHibernated, SessionLoggedIn, SessionLoginFailed, SessionPaused
from browsercrawl.output import FinishReason
from browsercrawl.sessions import LoginSession

if TYPE_CHECKING:
    from tests.integration.sessions.conftest import Area, NewCrawler, RunThrough, Watch

PNG = b"\x89PNG\r\n"


def storage_state(path: Path, value: str, *, domain: str = "127.0.0.1", expires: float = -1) -> Path:
    """Write a login as Playwright's `context.storage_state(path=...)` does."""
    cookie = {
        "name": "member_session", "value": value, "domain": domain, "path": "/members/", "expires": expires,
        "httpOnly": True, "secure": False, "sameSite": "Lax",
    }  # fmt: skip
    path.write_text(json.dumps({"cookies": [cookie], "origins": []}))
    path.chmod(0o600)
    return path


def ways(area: "Area", folder: Path) -> dict[str, dict[str, Any]]:
    """Return the profile of one member for each way to log in, by the area that its pages are in."""
    user, password, code = {"#user": "{username}"}, {"#password": "{password}"}, {"#code": "{totp}"}
    sent = {"user": "{username}", "password": "{password}"}
    secret = area.site.totp_secret("member-2")
    signs = {"url": area.url("login*"), "missing": "#account"}
    saved = storage_state(folder / "saved.json", area.site.members.open_session("member-6"))
    json_login = {"kind": "http", "url": area.url("login/json"), "json_body": sent, "cookie": "member_session"}
    post_login = {"kind": "http", "url": area.url("login/json"), "form": sent}
    form, state = area.form, {"kind": "state", "file": str(saved)}
    return {
        "form": area.member(0, recipe=form()),
        "steps": area.member(1, recipe=form("login?steps=2", steps=[user, password])),
        "totp": area.member(
            2,
            recipe=form("login?steps=2&otp=1", steps=[user, password, code]),
            credentials={**area.credentials(2), "totp": secret},
        ),
        "json": area.member(3, recipe=json_login, logged_out=signs),
        "post": area.member(4, recipe=post_login, logged_out=signs),
        "coroutine": area.member(5, recipe=None, logged_out=signs) | {"account": "member-5"},
        "state": area.member(6, recipe=state, logged_out=signs, credentials={}) | {"domains": ["127.0.0.1"]},
        "token": area.member(7, recipe=form("token/"), logged_out={"missing": "#account"}),
        "idb": area.member(8, recipe=form("idb/"), logged_out={"missing": "#account"}) | {"indexed_db": True},
    }


async def test_every_recipe_logs_in_once_and_survives_hibernation(
    area: "Area", new_crawler: "NewCrawler", watch: "Watch", run_through: "RunThrough", tmp_path: Path
) -> None:
    """Nine members by nine recipes on two contexts: all come back from hibernation, none logs in a second time.

    Forms of one and of two steps, a one-time password, HTTP with JSON and as a form, a coroutine, a file of
    Playwright's, and apps that keep their token in localStorage or IndexedDB and have no cookie at all.
    """
    profiles = {name: {**profile, "name": name} for name, profile in ways(area, tmp_path).items()}
    crawler = new_crawler(pool={"contexts_max": 2}, sessions={"profiles": list(profiles.values())})

    @crawler.login("coroutine")
    async def log_in(page: Page, session: LoginSession) -> None:
        await page.goto(area.url("login"))
        await page.fill("#user", session.username)
        await page.fill("#password", session.password)
        await page.click("#login button")
        await page.wait_for_selector("#account")

    def page_of(name: str, number: int) -> Request:
        folder = f"{name}/" if name in {"token", "idb"} else ""
        return Request(url=area.url(f"{folder}page/{number}"), session=name, wait_for="html[data-ready]")

    async with crawler:
        for number in (1, 2):
            done = await run_through(crawler, [page_of(name, number) for name in profiles])
            found = {result.session: (result.outcome, result.title) for result in done.results}
            assert found == {
                name: (Outcome.SUCCEEDED, f"Page {number} of member-{member}") for member, name in enumerate(profiles)
            }
    assert area.site.members.logins == {f"member-{number}": 1 for number in range(len(profiles))}
    assert watch.count(SessionLoggedIn) == dict.fromkeys(profiles, 1)
    assert min(watch.count(SessionHibernated)[name] for name in profiles) >= 1
    assert all(event.complete for event in watch.told(SessionHibernated))


async def test_login_that_fails_pauses_its_session_only_and_shows_why(
    area: "Area", new_crawler: "NewCrawler", watch: "Watch", run_through: "RunThrough", tmp_path: Path
) -> None:
    """A changed form, a captcha, a wrong password, a page that hangs, bad state files: each is told, others go on.

    Where there was a page, its picture is in the run directory. The run says that sessions are paused and how many
    requests wait for them; no password is in any of its files.
    """
    wrong = {"username": "member-2", "password": "not-the-password"}
    short = {"timeout_s": 2, "tries": 1}
    unattended = {"credentials": {}, "logged_out": {"missing": "#account"}}
    state = {"kind": "state", "file": str(storage_state(tmp_path / "old.json", "x", expires=1_000_000_000))}
    foreign = {"kind": "state", "file": str(storage_state(tmp_path / "foreign.json", "x", domain="shop.example"))}
    profiles = [
        area.member(0, name="renamed", recipe=area.form("login?renamed=1"), **short),
        area.member(1, name="captcha", recipe=area.form("login?captcha=1"), **short),
        area.member(2, name="wrong", credentials=wrong, tries=2, backoff_s=0.1),
        area.member(3, name="hanging", recipe=area.form("login?hang=1"), **short),
        area.member(4, name="expired", recipe=state, **unattended) | {"domains": ["127.0.0.1"]},
        area.member(5, name="foreign", recipe=foreign, **unattended) | {"domains": ["127.0.0.1"]},
        area.member(6, name="good"),
    ]
    bad = {str(profile["name"]) for profile in profiles} - {"good"}
    run = tmp_path / "run"
    async with new_crawler(concurrency=6, output=run, sessions={"profiles": profiles}) as crawler:
        seeds = [Request(url=area.url(f"page/{page}"), session=str(each["name"])) for each in profiles for page in "12"]
        done = await run_through(crawler, seeds)
        status = crawler.status()

    assert {(result.session, result.outcome) for result in done.results} == {("good", Outcome.SUCCEEDED)}
    assert len(done.results) == 2
    assert done.summary.finish_reason is FinishReason.SESSIONS_PAUSED
    assert (status.parked, status.sessions_paused) == (2 * len(bad), len(bad))
    assert watch.count(SessionPaused) == dict.fromkeys(bad, 1)
    last = {event.session: event for event in watch.told(SessionLoginFailed)}
    said = {name: event.message for name, event in last.items()}
    assert "no #user at" in said["renamed"]
    assert "captcha" in said["captcha"]
    assert "its form came back empty" in said["wrong"]
    assert "within 2 s" in said["hanging"]
    paused = {event.session: event.reason for event in watch.told(SessionPaused)}
    assert "expired at 2001-09-09" in paused["expired"]
    assert "what it has is for shop.example" in paused["foreign"]
    assert area.site.members.failed_logins == {"member-2": 2}
    assert area.site.members.logins == {"member-6": 1}
    assert {last[name].kind for name in ("renamed", "captcha", "wrong", "hanging")} == {ErrorKind.LOGIN_FAILED}
    for name in ("renamed", "captcha", "wrong"):
        picture = last[name].artifact
        assert picture is not None, name
        assert (run / picture).read_bytes().startswith(PNG)
    files = b"".join(path.read_bytes() for path in run.rglob("*") if path.is_file() and path.suffix != ".png")
    for secret in ("not-the-password", *(area.site.password(account) for account in area.site.members.accounts)):
        assert secret.encode() not in files, "a password is in the run directory"


async def test_every_kind_of_logged_out_page_is_noticed(
    area: "Area", new_crawler: "NewCrawler", watch: "Watch", run_through: "RunThrough"
) -> None:
    """Redirect, 401, a login form in place and a script that leaves: no such page is a result, nor costs an attempt.

    Each session ends after three pages, of which the one after the login is the first.
    """
    signs = {"redirect": {}, "401": {"status": [401]}, "prompt": {"present": "#login"}, "script": {}}
    profiles = [
        area.member(number, name=f"out-{kind}", logged_out=sign) for number, (kind, sign) in enumerate(signs.items())
    ]
    area.site.members.expire_after_pages = 3
    async with new_crawler(sessions={"profiles": profiles}, retry={"retries": 0}) as crawler:
        seeds = [
            Request(url=area.url(f"page/{page}?out={kind}"), session=f"out-{kind}")
            for page in range(6)
            for kind in signs
        ]
        done = await run_through(crawler, seeds)
    members = {f"out-{kind}": f"member-{number}" for number, kind in enumerate(signs)}
    for result in done.results:
        assert (result.outcome, result.attempts) == (Outcome.SUCCEEDED, 1), result
        assert str(result.title).endswith(f" of {members[str(result.session)]}"), result
    assert len(done.results) == 24
    assert area.site.members.logins == dict.fromkeys(members.values(), 3)
    assert watch.count(SessionExpired) == dict.fromkeys(members, 2)
    assert done.summary.finish_reason is FinishReason.FINISHED
