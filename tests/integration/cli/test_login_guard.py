"""`browsercrawl login` behind the network guard: a login page reaches no more of the private network than a crawl's.

Real Chromium; the site and the service beside it are two ports of this machine, of which the job names one.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browsercrawl.config import CrawlerConfig
from browsercrawl.crawler.logging_in import LoggedIn, Person, log_in
from browsercrawl.errors import LoginFailed
from browsercrawl.events import ConnectionRefused, Event
from browsercrawl.sessions import SessionCode
from browsercrawl.testing.server import Exchange, Server

_LIMIT_S = 90.0
FORM = (
    "<title>form</title><img src='{there}image'><iframe src='{there}frame'></iframe>"
    "<script>fetch('{there}fetch', {{mode: 'no-cors'}})</script>"
    "<form method=get action='/in'><input id=user name=u><input id=password name=p type=password>"
    "<button>in</button></form>"
)
JOB = """
seeds: {{urls: ["{url}/"], session: me}}
network: {{{network}}}
visit: {{timeout: 10s}}
sessions:
  profiles:
    me:
      login:
        form:
          url: "{url}/{start}"
          steps: [{{fields: {{"#user": "{{username}}", "#password": "{{password}}"}}}}]
          success: {{selector: "#account"}}
        username: me
        password: ${{PASSWORD}}
        timeout: 10s
"""


class Site:
    """A site with a login, and a service beside it that nobody has named."""

    def __init__(self) -> None:
        self.beside = Server(lambda exchange: exchange.respond("<title>secret</title>"))
        self.server = Server(self._answer)
        self.url = f"http://127.0.0.1:{self.server.port}"
        self.there = f"http://127.0.0.1:{self.beside.port}/"

    def _answer(self, exchange: Exchange) -> None:
        if exchange.path == "/moved":
            exchange.respond(status=302, headers={"Location": self.there})
        elif exchange.path == "/in":
            exchange.respond("<title>in</title><p id=account>me</p>", headers={"Set-Cookie": "sid=1; Max-Age=3600"})
        else:
            exchange.respond(FORM.format(there=self.there))

    def reached(self) -> set[str]:
        """Return what the service was asked for."""
        return {arrival.target for arrival in self.beside.arrivals()} - {"/favicon.ico"}


@pytest.fixture
def site() -> Iterator[Site]:
    """The site."""
    opened = Site()
    yield opened
    opened.server.stop()
    opened.beside.stop()


def login(site: Site, folder: Path, *, network: str, start: str = "login") -> "subprocess.CompletedProcess[str]":
    """Log in by the command, from a job with this network section."""
    (folder / "job.yaml").write_text(JOB.format(url=site.url, network=network, start=start))
    command = [sys.executable, "-m", "browsercrawl", "login", "job.yaml", "me"]
    environment = os.environ | {"PASSWORD": "planted"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_LIMIT_S, check=False
    )


def test_login_guarded_reaches_its_own_origin_alone(site: Site, tmp_path: Path) -> None:
    """The job's guard holds: what the login page embeds from another port is refused and told; the login works."""
    done = login(site, tmp_path, network="guard: on")
    assert done.returncode == 0, done.stderr
    assert site.reached() == set()
    told = f"the network guard let no page reach 127.0.0.1:{site.beside.port} (loopback)"
    assert done.stderr.count(told) == 1


def test_login_guarded_redirect_beside_fails(site: Site, tmp_path: Path) -> None:
    """A login address that redirects to a private one leads nowhere, and it is said why."""
    done = login(site, tmp_path, network="guard: on", start="moved")
    assert done.returncode == 1, done.stderr
    assert site.reached() == set()
    assert f"let no page reach 127.0.0.1:{site.beside.port} (loopback)" in done.stderr


@pytest.mark.parametrize("network", ["guard: auto", "guard: on, allow: [127.0.0.1]", "guard: off"])
def test_login_where_the_job_lets_it_reaches_what_it_embeds(site: Site, tmp_path: Path, network: str) -> None:
    """A job of private addresses, one that allows them, one without guard: the page reaches its other half."""
    done = login(site, tmp_path, network=network)
    assert done.returncode == 0, done.stderr
    assert {"/image", "/frame", "/fetch"} & site.reached()
    assert "network guard" not in done.stderr


def function_login(site: Site, folder: Path, *, person: bool, events: list[Event], **profile: Any) -> LoggedIn:
    """Log in by the user's own function, or by a person who sees the form and is done at once."""

    async def own(page: Any, _: Any) -> None:
        await page.goto(f"{site.url}/in", wait_until="load")

    async def at_once() -> None:
        return

    sessions = {
        "profiles": [{"name": "me", "account": "me", "login": {"timeout_s": 10}, **profile}],
        "state_dir": folder,
    }
    config = CrawlerConfig.load({"sessions": sessions})
    who = Person(url=f"{site.url}/in", limit_s=20, done=at_once) if person else None
    code = SessionCode(logins={"me": own})
    return asyncio.run(log_in(config, "me", code=code, person=who, emit=events.append))


def test_login_by_a_function_that_names_nothing_is_guarded(site: Site, tmp_path: Path) -> None:
    """Where nobody has named an address the guard is on; the session's domains name one, and a person's first page."""
    events: list[Event] = []
    with pytest.raises(LoginFailed):
        function_login(site, tmp_path, person=False, events=events)
    assert [event.port for event in events if isinstance(event, ConnectionRefused)] == [site.server.port]
    events.clear()
    assert function_login(site, tmp_path, person=False, events=events, domains=["127.0.0.1"]).cookies == 1
    assert function_login(site, tmp_path, person=True, events=events).cookies == 1
    assert [event for event in events if isinstance(event, ConnectionRefused)] == []
