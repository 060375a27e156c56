"""A real application: Django's admin, with its own form, CSRF tokens, cookies and sessions in a database."""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest

from browsercrawl import Outcome, Request, Visit
from browsercrawl.events import SessionExpired

if TYPE_CHECKING:
    from tests.integration.sessions.conftest import NewCrawler, RunThrough, Watch

SERVE = Path(__file__).parent / "django_site" / "serve.py"
ACCOUNTS = 3
PATHS = ("", "auth/user/", "auth/user/add/", "auth/group/1/change/", "password_change/")


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[str]:
    """The URL of an admin of its own process, whose sessions show 3 or 4 pages."""
    command = [sys.executable, str(SERVE), str(tmp_path), "--accounts", str(ACCOUNTS), "--expire", "3-4"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url, "Django did not start"
        yield url
        process.stdin.close()
        process.wait(10)


def profile(url: str, number: int) -> dict[str, Any]:
    """Return a superuser's profile; that its pages redirect to the login needs no word."""
    recipe = {
        "kind": "form",
        "url": f"{url}/admin/login/?next=/admin/",
        "steps": [{"fields": {"#id_username": "{username}", "#id_password": "{password}"}, "submit": "[type=submit]"}],
        "success": {"url": f"{url}/admin/", "selector": "#user-tools strong"},
        "failure": ".errornote",
    }
    credentials = {"username": f"user-{number}", "password": f"pw-user-{number}"}
    return {"name": f"u{number}", "login": {"recipe": recipe, "credentials": credentials}}


def counted(url: str) -> dict[str, dict[str, int]]:
    """Return what Django has counted of each user."""
    with urlopen(f"{url}/counts/") as response:
        counts: dict[str, dict[str, int]] = json.load(response)
    return counts


async def test_django_admin_shows_each_account_its_own_name(
    admin: str, new_crawler: "NewCrawler", watch: "Watch", run_through: "RunThrough"
) -> None:
    """Superusers on two contexts, logged out now and then: each page has the right name, no login too many."""
    sessions = {"profiles": [profile(admin, number) for number in range(ACCOUNTS)]}
    crawler = new_crawler(pool={"contexts_max": 2}, sessions=sessions, retry={"retries": 0})

    @crawler.handler()
    async def whose(visit: Visit) -> None:
        visit.push(await visit.page.inner_text("#user-tools strong"))

    names = [f"u{number}" for number in range(ACCOUNTS)]
    async with crawler:
        seeds = [Request(url=f"{admin}/admin/{path}", session=name) for path in PATHS for name in names]
        done = await run_through(crawler, seeds)
    counts = await asyncio.to_thread(counted, admin)

    found = Counter((result.outcome, result.session, result.data) for result in done.results)
    # Django's style shows the name in capitals.
    assert found == {(Outcome.SUCCEEDED, name, (f"USER-{name[1:]}",)): len(PATHS) for name in names}
    expired = watch.count(SessionExpired)
    assert counts["logins"] == {f"user-{name[1:]}": 1 + expired[name] for name in names}
    assert expired.total() >= ACCOUNTS
    assert all(expired[name] <= counts["expired"][f"user-{name[1:]}"] for name in names)
