"""Sessions on the command line as people use them: a run that waits for a login, `login`, and going on; no secret out.

Real Chromium and the members' area of the demo site.
"""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from browsercrawl.config import BrowserConfig, CrawlerConfig
from browsercrawl.crawler.logging_in import LoggedIn, Person, log_in
from browsercrawl.errors import LoginFailed
from browsercrawl.sessions import SessionCode
from browsercrawl.testing import DemoSite

_LIMIT_S = 90.0
_COMMAND = [sys.executable, "-m", "browsercrawl"]

JOB = """
seeds:
  urls:
    - {{url: "{url}/members/page/1", session: alice}}
    - {{url: "{url}/members/page/1", session: bob}}
    - {{url: "{url}/members/page/2", session: bob}}
sessions:
  profiles:
    alice: {{login: {{form: {form}, username: member-0, password: "${{ALICE}}", logged_out: {out}}}}}
    bob:
      login: {{form: {form}, username: member-1, password: "${{BOB}}", logged_out: {out}, tries: 2, backoff: 50ms}}
  key: ${{STATE_KEY}}
"""
FORM = (
    '{{url: "{url}/members/login", steps: [{{fields: {{"#user": "{{username}}", "#password": "{{password}}"}}}}], '
    'success: {{url: "*/members/*", selector: "#account"}}, failure: "p.error"}}'
)
STATE_KEY = "wLQk0Pxl3gKq0cHhXv9vI3bq3Ff8mZC1H3t0l1nN2aQ="


@pytest.fixture
def site() -> Iterator[DemoSite]:
    """Open the demo site with two members."""
    with DemoSite(products=1, accounts=2) as opened:
        yield opened


@pytest.fixture
def secrets(site: DemoSite) -> dict[str, str]:
    """Return what the job takes from the environment."""
    return {"ALICE": site.password("member-0"), "BOB": site.password("member-1"), "STATE_KEY": STATE_KEY}


@pytest.fixture
def job(site: DemoSite, tmp_path: Path) -> Path:
    """Write the job."""
    path = tmp_path / "shop.yaml"
    form = FORM.format(url=site.url)
    out = f'{{url: "{site.url}/members/login*", missing: "#account"}}'
    path.write_text(JOB.format(url=site.url, form=form, out=out))
    return path


def _run(folder: Path, *argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*_COMMAND, *argv], cwd=folder, env=os.environ | environment, capture_output=True, text=True,
        timeout=_LIMIT_S, check=False,
    )  # fmt: skip


def _status(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(_run(folder, "status", "out", "--json").stdout)
    return told


def test_login_lets_a_run_go_on_that_waits_for_its_session(
    site: DemoSite, secrets: dict[str, str], job: Path, tmp_path: Path
) -> None:
    """A wrong password pauses one session, the other goes on, the end says what to type, and that works.

    No secret, right or wrong, is in any file of the run, in the states, or on the terminal; nobody logs in twice.
    """
    wrong = {**secrets, "BOB": "not-the-password"}
    first = _run(tmp_path, "run", "shop.yaml", "--output", "out", "--json", **wrong)
    assert first.returncode == 4, first.stderr
    assert "session 'bob' is paused: the site refuses the login" in first.stderr
    assert "log it in with: browsercrawl login out bob" in first.stderr
    assert "go on with: browsercrawl resume out" in first.stderr
    status = _status(tmp_path)
    assert (status["parked"], status["succeeded"]) == (2, 1)
    assert status["log_in"] == ["browsercrawl login out bob"]
    assert [(each["session"], each["phase"], each["logins"]) for each in status["sessions"]] == [
        ("bob", "paused", 0), ("alice", "in", 1),
    ]  # fmt: skip

    failed = _run(tmp_path, "login", "shop.yaml", "bob", BOB="not-the-password", STATE_KEY=STATE_KEY)
    assert failed.returncode == 1
    assert "the site refuses the login" in failed.stderr
    (picture,) = (tmp_path / "sessions").glob("*.png")
    assert str(picture) in failed.stderr
    assert stat.S_IMODE(picture.stat().st_mode) == 0o600

    done = _run(tmp_path, "login", "out", "bob", BOB=secrets["BOB"], STATE_KEY=STATE_KEY)
    assert done.returncode == 0, done.stderr
    for words in ("bob is logged in", "member-1", "number 1", "cookie", "sessions/bob-", "holds until"):
        assert words in done.stderr
    assert not picture.exists()

    last = _run(tmp_path, "resume", "out", **secrets)
    assert last.returncode == 0, last.stderr
    results = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert sorted(result["title"] for result in results) == [
        "Page 1 of member-0", "Page 1 of member-1", "Page 2 of member-1",
    ]  # fmt: skip
    assert site.members.logins == {"member-0": 1, "member-1": 1}
    after = {each["session"]: each for each in _status(tmp_path)["sessions"]}
    assert (after["alice"]["pages"], after["bob"]["pages"]) == (1, 2)

    planted = [*secrets.values(), "not-the-password"]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [(path.name, text) for path in files for text in planted if text.encode() in path.read_bytes()] == []
    told = "".join(process.stdout + process.stderr for process in (first, failed, done, last))
    assert [text for text in planted if text in told] == []


def test_login_interrupted_exits_130_and_leaves_nothing(site: DemoSite, job: Path, tmp_path: Path) -> None:
    """Ctrl-C ends it at once, with the browser; no state is saved."""
    job.write_text(job.read_text().replace('/members/login"', '/members/login?hang=1"'))
    process = subprocess.Popen(
        [*_COMMAND, "login", "shop.yaml", "bob"], cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"BOB": "x", "STATE_KEY": STATE_KEY},
    )  # fmt: skip
    until = time.monotonic() + _LIMIT_S
    while not site.hits("/members/login"):
        assert time.monotonic() < until, "not in time"
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=_LIMIT_S)
    assert process.returncode == 130, told
    assert "browsercrawl: interrupted" in told
    assert list(tmp_path.glob("sessions/*.json")) == []


def test_crawl_session_option_gives_the_seeds_a_session(site: DemoSite, tmp_path: Path) -> None:
    """`--session` names it for all of them; nobody needs a profile for that."""
    done = _run(tmp_path, "crawl", f"{site.url}/", "--session", "mine", "--json", "--output", "out")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["session"] == "mine"


# --- a person --------------------------------------------------------------------------------------------------------


def _config(site: DemoSite, folder: Path, *, sign: str = "#account") -> CrawlerConfig:
    recipe = {
        "kind": "form",
        "url": f"{site.url}/members/login",
        "steps": [{"fields": {"#user": "x"}}],
        "success": {"url": "*/members/*", "selector": sign},
    }
    login = {"recipe": recipe, "credentials": {"username": "member-0"}}
    sessions = {"profiles": [{"name": "alice", "login": login}], "state_dir": folder}
    return CrawlerConfig.load({"browser": BrowserConfig(), "sessions": sessions})


def _logged_in_by(site: DemoSite, folder: Path, done: Callable[[], Any], *, path: str, limit_s: float = 30) -> LoggedIn:
    person = Person(url=f"{site.url}{path}", limit_s=limit_s, done=done)
    return asyncio.run(log_in(_config(site, folder), "alice", code=SessionCode(), person=person))


async def _never() -> None:
    await asyncio.get_running_loop().create_future()


async def _at_once() -> None:
    return


def test_log_in_by_hand_ends_at_enter(site: DemoSite, tmp_path: Path) -> None:
    """The person's word counts, whatever shows; what is there is saved, as one login more each time."""
    first = _logged_in_by(site, tmp_path, _at_once, path="/members/login")
    again = _logged_in_by(site, tmp_path, _at_once, path="/members/login")
    assert (first.login, again.login, first.cookies) == (1, 2, 1)
    assert first.account == "member-0"
    assert first.path is not None
    assert stat.S_IMODE(first.path.stat().st_mode) == 0o600


def test_log_in_by_hand_that_takes_too_long_fails_with_a_picture(site: DemoSite, tmp_path: Path) -> None:
    """Nobody came: the state of before, if any, stays as it was."""
    with pytest.raises(LoginFailed, match=r"nobody logged in within 1 s; what the page looked like: .*\.png"):
        _logged_in_by(site, tmp_path, _never, path="/members/login", limit_s=1)
    assert list(tmp_path.glob("*.json")) == []
    assert len(list(tmp_path.glob("*.png"))) == 1


def test_log_in_by_hand_that_leaves_nothing_fails(site: DemoSite, tmp_path: Path) -> None:
    """A page without cookies and storage is no login, whoever says so."""
    with pytest.raises(LoginFailed, match="left neither cookies nor storage for 127"):
        _logged_in_by(site, tmp_path, _at_once, path="/robots.txt")


def test_log_in_by_hand_ends_when_the_sign_shows(site: DemoSite, tmp_path: Path) -> None:
    """Nobody needs to come back to the terminal."""
    config = _config(site, tmp_path, sign="#password")  # which the first page shows already
    person = Person(url=f"{site.url}/members/login", limit_s=30, done=_never)
    done = asyncio.run(log_in(config, "alice", code=SessionCode(), person=person))
    assert (done.session, done.login, done.cookies) == ("alice", 1, 1)


def test_login_by_a_function_of_the_users(site: DemoSite, tmp_path: Path) -> None:
    """It gets the page and the session with its secrets; another tells that a page is logged out."""
    (tmp_path / "own.py").write_text(
        "async def log_in(page, session):\n"
        f"    await page.goto({site.url!r} + '/members/login')\n"
        "    await page.fill('#user', session.account)\n"
        "    await page.fill('#password', session.password)\n"
        "    await page.press('#password', 'Enter')\n"
        "    await page.wait_for_selector('#account')\n"
        "async def is_out(page):\n"
        "    return await page.locator('#login').count() > 0\n"
    )
    login = '{function: "own:log_in", logged_out: {function: "own:is_out"}, password_file: secret}'
    (tmp_path / "job.yaml").write_text(
        f"seeds: {{urls: ['{site.url}/members/page/3'], session: me}}\n"
        f"sessions: {{profiles: {{me: {{login: {login}, account: member-0, domains: [127.0.0.1]}}}}}}\n"
    )
    (tmp_path / "secret").write_text(site.password("member-0"))
    open_to_all = _run(tmp_path, "login", "job.yaml", "me")
    assert open_to_all.returncode == 1
    assert "others may read the secret's file" in open_to_all.stderr
    (tmp_path / "secret").chmod(0o600)
    done = _run(tmp_path, "run", "job.yaml", "--json", "--output", "out")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["title"] == "Page 3 of member-0"
    assert site.members.logins == {"member-0": 1}
    run = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert [path.name for path in run if site.password("member-0").encode() in path.read_bytes()] == []
