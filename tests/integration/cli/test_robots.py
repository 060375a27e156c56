"""robots.txt and the crawler's name, as a site sees them: the command, real Chromium, a server that notes it all."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from browsercrawl.testing.server import Exchange, Server

RULES = "User-agent: *\nDisallow: /\n\nUser-agent: browsercrawl\nDisallow: /private\nCrawl-delay: 0.5\n"


class _Site:
    def __init__(self) -> None:
        self.agents: list[tuple[str, str]] = []
        self.server = Server(self._answer)
        self.url = f"http://127.0.0.1:{self.server.port}"

    def _answer(self, exchange: Exchange) -> None:
        self.agents.append((exchange.path, exchange.headers["user-agent"]))
        if exchange.path == "/robots.txt":
            exchange.respond(RULES, content_type="text/plain")
        elif exchange.path == "/moved":
            exchange.respond(status=302, headers={"Location": "/private/moved"})
        else:
            exchange.respond("<title>t</title><a href='/private/a'>a</a><a href='/b'>b</a><a href='/moved'>c</a>")


@pytest.fixture
def site() -> Iterator[_Site]:
    """Return a site with rules."""
    made = _Site()
    yield made
    made.server.stop()


def _crawl(site: _Site, folder: Path, *options: str) -> dict[str, dict[str, Any]]:
    command = [sys.executable, "-m", "browsercrawl", "crawl", f"{site.url}/", "--depth", "1", "--json", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    return {each["url"].removeprefix(site.url): each for each in results}


def test_crawl_keeps_to_robots_and_says_who_it_is(site: _Site, tmp_path: Path) -> None:
    """It is asked first, once, by name; forbidden pages are skipped, a redirect to one as well; the delay is kept."""
    ended = _crawl(site, tmp_path, "--contact", "crawler@a.test")
    assert {path: (each["outcome"], each["skip_reason"]) for path, each in ended.items()} == {
        "/": ("succeeded", None),
        "/b": ("succeeded", None),
        "/private/a": ("skipped", "robots"),
        "/moved": ("skipped", "robots"),
    }
    paths = [path for path, _ in site.agents]
    assert paths[0] == "/robots.txt"
    assert paths.count("/robots.txt") == 1
    assert "/private/a" not in paths
    assert site.agents[0][1].startswith("browsercrawl/")
    assert all(agent.startswith("Mozilla/5.0 ") for path, agent in site.agents[1:] if path != "/favicon.ico")
    assert all(agent.endswith(" (+crawler@a.test)") for _, agent in site.agents)
    # When they are begun: when they arrive, a busy machine may have held back the first one.
    starts = sorted(datetime.fromisoformat(ended[path]["started_at"]) for path in ("/", "/b", "/moved"))
    assert min(later - earlier for earlier, later in pairwise(starts)) > timedelta(seconds=0.49)


def test_crawl_told_to_ignore_robots_does(site: _Site, tmp_path: Path) -> None:
    """It is not asked, and everything is visited."""
    ended = _crawl(site, tmp_path, "--ignore-robots")
    assert {each["outcome"] for each in ended.values()} == {"succeeded"}
    assert "/robots.txt" not in [path for path, _ in site.agents]
