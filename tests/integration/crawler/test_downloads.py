"""What becomes of files that a site sends: kept only where asked for, whole, bounded, and under a name of ours."""

import asyncio
import hashlib
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from browsercrawl.testing.server import Exchange, Server
from browsercrawl.visit import Visit

if TYPE_CHECKING:
    from tests.integration.crawler.conftest import NewCrawler

BODY = bytes(range(256)) * 400
BLOCK = b"x" * 65_536
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Count 0/Kids[]>>endobj\n%%EOF\n"
HOSTILE = {
    "climbs": 'attachment; filename="../../etc/passwd"',
    "climbs-encoded": "attachment; filename*=UTF-8''..%2F..%2Fetc%2Fpasswd",
    "backslashes": r'attachment; filename="..\\..\\boot.ini"',
    "device": 'attachment; filename="CON"',
    "long": f'attachment; filename="{"a" * 300}.csv"',
    "unicode": "attachment; filename*=UTF-8''%E5%A0%B1%E5%91%8A.pdf",
    "bidi": "attachment; filename*=UTF-8''invoice%E2%80%AEfdp.exe",
    "nul": "attachment; filename*=UTF-8''a%00b.txt",
    "hidden": 'attachment; filename=".bashrc"',
    "empty": 'attachment; filename=""',
    "no-name": "attachment",
}
PAGES = {
    "frame": "<iframe src=/file?n=frame></iframe>",
    "inner": '<button id=one onclick="document.body.append(Object.assign('
    "document.createElement('iframe'), {src: '/file?n=inner'}))\">a</button>",
    "popup": "<button id=one onclick=\"window.open('/file?n=popup')\">a</button>",
    "opened": "<button id=one onclick=\"window.open('/frame')\">a</button>",
    "two": "<a id=one href=/file?n=1 download=same.txt>1</a> <a id=two href=/file?n=2 download=same.txt>2</a>",
    "blob": "<a id=one download=made.txt>a</a><script>one.href=URL.createObjectURL(new Blob(['made']))</script>",
    "leaver": "<iframe id=frame srcdoc='<a id=one href=/orphan download></a><script>one.click()</script>'></iframe>"
    "<script>setTimeout(() => frame.remove(), 300)</script>",
    "endless-maker": "<a id=one download></a><script>let n = 0; setInterval(() => { one.href = '/file/late' + ++n;"
    "one.click() }, 40)</script>",
    "flood": "<a id=one download></a><script>let n = 0; const timer = setInterval(() => { one.href = '/file?' + ++n;"
    "one.click(); if (n == 40) { clearInterval(timer); document.body.className = 'over' } }, 100)</script>",
}


def answer(exchange: Exchange) -> None:
    """Be a site with files."""
    kind, _, name = exchange.path.strip("/").partition("/")
    if kind == "file":
        exchange.respond(BODY, content_type="text/csv", headers={"Content-Disposition": "attachment; filename=a.csv"})
    elif kind == "hostile":
        exchange.respond(BODY, headers={"Content-Disposition": HOSTILE[name]})
    elif kind == "moved":
        exchange.respond(status=302, headers={"Location": "/file"})
    elif kind == "pdf":
        exchange.respond(PDF, content_type="application/pdf")
    elif kind == "missing":
        exchange.respond(BODY, status=404, headers={"Content-Disposition": "attachment"})
    elif kind in {"announced", "endless", "slow", "cut", "orphan"}:
        if kind == "orphan":
            exchange.pause(0.7)
        exchange.keep = False
        lengths = {"announced": "1000000000", "cut": "1000000"}
        length = {"Content-Length": lengths[kind]} if kind in lengths else {}
        exchange.begin({"Content-Disposition": "attachment", "Connection": "close", **length})
        exchange.send(BLOCK)
        while kind != "cut":
            exchange.send(BLOCK)
            exchange.pause(0.05 if kind == "slow" else 0.002)
    else:
        exchange.respond(f"<title>{kind}</title><p>page</p>{PAGES.get(kind, '')}")


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    """The site's address."""
    server = Server(answer)
    yield f"http://127.0.0.1:{server.port}/"
    server.stop()


def lines_of(run: Path) -> dict[str, dict[str, Any]]:
    """Return the lines of a run's results, by the end of their URL."""
    lines = [json.loads(line) for line in (run / "results.jsonl").read_text().splitlines()]
    return {line["url"].split("/", 3)[3]: line for line in lines}


def kept(run: Path) -> list[Path]:
    """Return all files among the artifacts."""
    return [path for path in (run / "artifacts").rglob("*") if not path.is_dir()]


def temporary_files() -> list[Path]:
    """Return what there is of downloads outside of the run directory."""
    return list(Path(tempfile.gettempdir()).glob("browsercrawl-driver-*/downloads/*"))


async def gone(seconds: float = 5.0) -> bool:
    """Tell whether no temporary file of a download is left, in a moment."""
    until = time.monotonic() + seconds
    while temporary_files() and time.monotonic() < until:  # noqa: ASYNC110 - the driver removes them unasked
        await asyncio.sleep(0.02)
    return not temporary_files()


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    """Options of a crawler that keeps downloads."""
    return {"output": tmp_path / "run", "visit": {"save": ["download"]}, "retry": {"retries": 0}}


async def test_run_without_asking_refuses_every_download(base: str, new_crawler: "NewCrawler", tmp_path: Path) -> None:
    """By default a file is a failure of its own kind, and nothing of it reaches the disk."""
    run = tmp_path / "run"
    async with new_crawler(output=run, visit={"save": ["text"]}) as crawler:
        await crawler.run([f"{base}file", f"{base}pdf", f"{base}frame"])
        assert temporary_files() == []
    lines = lines_of(run)
    assert {name: line["error"] and line["error"]["kind"] for name, line in lines.items()} == {
        "file": "download",
        "pdf": "download",
        "frame": None,
    }
    assert [path.name.partition("-")[2] for path in kept(run)] == ["text.txt"]


async def test_run_keeps_the_files_that_come_in_place_of_pages(
    base: str, new_crawler: "NewCrawler", options: dict[str, Any]
) -> None:
    """A file is kept as it was sent, with status, address, type and hash; a page beside it is a page; a 404 fails."""
    run = options["output"]
    names = ["file", "moved", "pdf", "page", "missing"]
    async with new_crawler(**options) as crawler:
        await crawler.run(f"{base}{name}" for name in names)
        assert await gone()
    lines = lines_of(run)
    assert {name: line["http_status"] for name, line in lines.items()} == dict.fromkeys(names, 200) | {"missing": 404}
    assert [line["url"] for line in lines.values() if line["outcome"] != "succeeded"] == [f"{base}missing"]
    assert lines["page"]["artifacts"] == []
    assert lines["moved"]["final_url"] == f"{base}file"
    for name, body, media_type in (
        ("file", BODY, "text/csv"),
        ("moved", BODY, "text/csv"),
        ("pdf", PDF, "application/pdf"),
    ):
        (artifact,) = lines[name]["artifacts"]
        assert (run / artifact["path"]).read_bytes() == body
        assert artifact["bytes"] == len(body)
        assert artifact["sha256"] == hashlib.sha256(body).hexdigest()
        assert artifact["content_type"] == lines[name]["content_type"] == media_type
        assert artifact["name"] == "download-1"


async def test_run_gives_hostile_names_no_say(base: str, new_crawler: "NewCrawler", options: dict[str, Any]) -> None:
    """Whatever a site calls its file, it lies in the request's folder under the request's id, readable and whole."""
    run = options["output"]
    async with new_crawler(**options) as crawler:
        summary = await crawler.run(f"{base}hostile/{name}" for name in HOSTILE)
        assert await gone()
    assert summary.succeeded == len(HOSTILE)
    for line in lines_of(run).values():
        (artifact,) = line["artifacts"]
        folder, name = artifact["path"].removeprefix("artifacts/").split("/")
        assert folder == line["request_id"][:2]
        assert name.startswith(f"{line['request_id']}-download-1.")
        assert name.isascii()
        assert len(name) < 140
        assert (run / artifact["path"]).read_bytes() == BODY
    assert len(kept(run)) == len(HOSTILE)


async def test_run_keeps_what_a_page_and_its_handler_download(
    base: str, new_crawler: "NewCrawler", options: dict[str, Any]
) -> None:
    """Files of frames, popups and clicks are kept beside what the page gives; equal names do not meet."""
    run = options["output"]

    crawler = new_crawler(**options)

    @crawler.handler()
    async def click(visit: Visit) -> None:
        for element in await visit.page.locator("[id]").all():
            async with visit.page.context.expect_event("download"):
                await element.click()

    async with crawler:
        summary = await crawler.run(f"{base}{name}" for name in ("two", "blob", "inner", "popup", "opened"))
        assert await gone()
    assert summary.succeeded == 5
    lines = lines_of(run)
    assert [each["name"] for each in lines["two"]["artifacts"]] == ["download-1", "download-2"]
    assert [(run / each["path"]).read_bytes() for each in lines["two"]["artifacts"]] == [BODY, BODY]
    for name in ("inner", "popup", "opened"):
        (artifact,) = lines[name]["artifacts"]
        assert (run / artifact["path"]).read_bytes() == BODY
        assert lines[name]["title"] == name, "the page itself is there, too"
    (made,) = lines["blob"]["artifacts"]
    assert (run / made["path"]).read_bytes() == b"made"
    assert made["content_type"] is None


@pytest.mark.parametrize("name", ["announced", "endless", "flood"])
async def test_run_breaks_off_what_is_too_large(
    base: str, new_crawler: "NewCrawler", options: dict[str, Any], name: str
) -> None:
    """Over the limit a download is stopped while it runs, with or without a length, as are too many; none is kept."""
    options["visit"] |= {"max_download_bytes": 1_000_000 if name != "flood" else 100_000_000, "timeout_s": 20}
    if name == "flood":
        options["visit"] |= {"wait_for": ".over"}
    started = time.monotonic()
    async with new_crawler(**options) as crawler:
        await crawler.run([f"{base}{name}"])
        assert await gone()
    assert lines_of(options["output"])[name]["error"]["kind"] == "too_large"
    assert time.monotonic() - started < 12
    assert kept(options["output"]) == []


@pytest.mark.parametrize(("name", "kind"), [("slow", "deadline"), ("cut", "network")])
async def test_run_gives_up_on_what_does_not_come(
    base: str, new_crawler: "NewCrawler", options: dict[str, Any], name: str, kind: str
) -> None:
    """A download past the visit's deadline and one that breaks off are failures, and leave nothing."""
    options["visit"] |= {"timeout_s": 3}
    async with new_crawler(**options) as crawler:
        await crawler.run([f"{base}{name}"])
        assert await gone()
    assert lines_of(options["output"])[name]["error"]["kind"] == kind
    assert kept(options["output"]) == []


async def test_run_cancelled_while_downloading_leaves_nothing(
    base: str, new_crawler: "NewCrawler", options: dict[str, Any]
) -> None:
    """A crawl that is cancelled in the middle of a download leaves no file, and its request for the next run."""
    async with new_crawler(**options) as crawler:
        running = asyncio.create_task(crawler.run([f"{base}slow"]))
        while not temporary_files():  # noqa: ASYNC110 - there is nothing else to wait for
            await asyncio.sleep(0.02)
        running.cancel()
        await asyncio.wait({running})
        assert running.cancelled()
    assert temporary_files() == []
    assert kept(options["output"]) == []


async def test_run_gives_no_visit_what_the_page_before_it_downloads(
    base: str, new_crawler: "NewCrawler", options: dict[str, Any]
) -> None:
    """A page that goes on downloading while its tab serves the next visit gives that one nothing."""
    run = options["output"]
    names = [f"{name}?{number}" for number in range(6) for name in ("endless-maker", "file", "endless-maker", "page")]
    async with new_crawler(**options, concurrency=1) as crawler:
        summary = await crawler.run(f"{base}{name}" for name in dict.fromkeys(names))
        assert await gone()
    assert summary.failed == 0
    for name, line in lines_of(run).items():
        if not name.startswith("endless-maker"):
            assert [each["source"] for each in line["artifacts"]] == [f"{base}file?…"] * name.startswith("file")


async def test_run_removes_what_a_frame_that_is_gone_downloads(
    base: str, new_crawler: "NewCrawler", options: dict[str, Any]
) -> None:
    """A file without end that begins to come when its frame is gone is broken off, though the browser tells nobody."""
    options["visit"] |= {"timeout_s": 12, "wait_for": "#never"}
    async with new_crawler(**options) as crawler:
        running = asyncio.create_task(crawler.run([f"{base}leaver"]))
        while not temporary_files():
            await asyncio.sleep(0.02)
            assert not running.done(), "it never began to come"
        assert await gone(), "while its page is still there"
        assert not running.done()
        summary = await running
    assert summary.failures == {"selector_missing": 1}
    assert kept(options["output"]) == []
