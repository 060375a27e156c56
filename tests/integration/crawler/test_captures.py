"""What a run keeps of each page, with a real browser: every kind, in every profile, and only of pages that succeed."""

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest

from browsercrawl import Outcome
from browsercrawl.config import Saved
from browsercrawl.events import ContextOpened, Event, PageKilled
from browsercrawl.testing import DemoSite

if TYPE_CHECKING:
    from tests.integration.crawler.conftest import NewCrawler

KINDS = sorted(set(get_args(Saved)) - {"download"})


def contents(run: Path, line: dict[str, Any]) -> dict[str, bytes]:
    """Return the artifacts that a line names, by name."""
    found = {}
    for each in line["artifacts"]:
        body = (run / each["path"]).read_bytes()
        assert len(body) == each["bytes"]
        found[each["name"]] = gzip.decompress(body) if each["path"].endswith(".gz") else body
    return found


def lines_of(run: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's results."""
    return [json.loads(line) for line in (run / "results.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("profile", ["balanced", "lean"])
async def test_run_saves_every_kind_and_reuses_its_pages(
    site: DemoSite, new_crawler: "NewCrawler", events: list[Event], tmp_path: Path, profile: str
) -> None:
    """Each page's six files are there and are what they are called; pages are reused as if nothing had been saved."""
    run = tmp_path / "run"
    urls = [f"{site.url}/faults/redirect?n={1 + number}" for number in range(6)]
    async with new_crawler(profile=profile, output=run, concurrency=1, visit={"save": KINDS}) as crawler:
        summary = await crawler.run(urls)
    assert summary.succeeded == len(urls)
    for line in lines_of(run):
        files = contents(run, line)
        assert sorted(files) == KINDS
        assert b"fault: page" in files["html"]
        assert files["screenshot"].startswith(b"\x89PNG")
        assert files["pdf"].startswith(b"%PDF-")
        assert files["pdf"].rstrip().endswith(b"%%EOF")
        assert b"multipart/related" in files["mhtml"]
        assert f"({site.url}/faults/page)".encode() in files["markdown"], "links are absolute"
        assert files["text"].split()[0] in files["markdown"]
    assert sum(isinstance(event, ContextOpened) for event in events) == 1
    assert not any(isinstance(event, PageKilled) for event in events)


async def test_run_keeps_no_file_of_a_page_that_failed(
    site: DemoSite, new_crawler: "NewCrawler", tmp_path: Path
) -> None:
    """A refused page, a file to download and an answer without a document leave nothing behind."""
    run = tmp_path / "run"
    names = ["status?is=404", "download", "204", "reset"]
    async with new_crawler(output=run, visit={"save": KINDS}, retry={"retries": 0}) as crawler:
        await crawler.run(f"{site.url}/faults/{name}" for name in names)
    assert {line["outcome"] for line in lines_of(run)} == {Outcome.SUCCEEDED, Outcome.FAILED}
    assert [line["artifacts"] for line in lines_of(run)] == [[]] * len(names)
    assert [path for path in (run / "artifacts").rglob("*") if path.is_file()] == []
