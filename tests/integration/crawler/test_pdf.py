"""PDFs in place of pages: the same outcome whether the browser could show them or not."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from browsercrawl.browser.discovery import find_browser
from browsercrawl.config import BrowserConfig
from browsercrawl.errors import BrowserNotFound
from browsercrawl.testing.server import Exchange, Server

if TYPE_CHECKING:
    from tests.integration.crawler.conftest import NewCrawler

PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Count 0/Kids[]>>endobj\n%%EOF\n"
HEADERS = {"plain": {}, "inline": {"Content-Disposition": 'inline; filename="a report.pdf"'}}
PLAIN = ("plain", "inline", "moved")


def answer(exchange: Exchange) -> None:
    """Be a site with a PDF, and pages that hold it."""
    name = exchange.path.strip("/")
    if name in HEADERS:
        exchange.respond(PDF, content_type="Application/PDF; charset=binary", headers=HEADERS[name])
    elif name == "missing":
        exchange.respond(PDF, status=404, content_type="application/pdf")
    elif name == "moved":
        exchange.respond(status=302, headers={"Location": "/plain"})
    elif name == "frame":
        exchange.respond("<title>frame</title><iframe src=/plain></iframe>")
    else:
        exchange.respond(f"<title>{name}</title><p>text")


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    """The site's address."""
    server = Server(answer)
    yield f"http://127.0.0.1:{server.port}/"
    server.stop()


@pytest.fixture(params=["shell", "full"])
def browser(request: pytest.FixtureRequest) -> BrowserConfig:
    """A headless shell, which has no viewer, and a full Chromium, which has one."""
    config = BrowserConfig(binary=request.param)
    try:
        find_browser(config)
    except BrowserNotFound:
        pytest.skip(f"there is no browser of this kind here: {request.param}")
    return config


async def test_pdf_in_place_of_a_page_fails_as_a_download(
    base: str, new_crawler: "NewCrawler", browser: BrowserConfig
) -> None:
    """Not asked for, it is told as what it is, at once, and not as an empty page; pages beside it are as ever."""
    names = (*PLAIN, "missing", "page", "frame")
    async with new_crawler(browser=browser, visit={"timeout_s": 20}, retry={"retries": 0}) as crawler:
        results = {
            result.url.removeprefix(base): result async for result in crawler.stream(base + each for each in names)
        }
    told = {name: result.error.kind if result.error else result.title for name, result in results.items()}
    assert told == dict.fromkeys((*PLAIN, "missing"), "download") | {"page": "page", "frame": "frame"}
    assert max(result.timings.navigate_s for result in results.values()) < 15


async def test_pdf_in_place_of_a_page_is_kept_where_asked_for(
    base: str, new_crawler: "NewCrawler", browser: BrowserConfig, tmp_path: Path
) -> None:
    """It is kept as it was sent, under its own name if it has one; in a frame as well; an error is an error."""
    options = {"browser": browser, "output": tmp_path / "run", "retry": {"retries": 0}}
    async with new_crawler(visit={"timeout_s": 20, "save": ["download"]}, **options) as crawler:
        stream = crawler.stream(base + each for each in (*PLAIN, "frame", "missing"))
        results = {result.url.removeprefix(base): result async for result in stream}
    for name in (*PLAIN, "frame"):
        (artifact,) = results[name].artifacts
        assert (tmp_path / "run" / artifact.path).read_bytes() == PDF
        assert artifact.content_type == "application/pdf"
    assert results["inline"].artifacts[0].path.endswith(".a_report.pdf")
    assert results["moved"].final_url == f"{base}plain"
    assert results["missing"].error is not None
    assert results["missing"].error.kind == "http_rejected"
