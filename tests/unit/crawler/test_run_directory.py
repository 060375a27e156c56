"""What a run leaves in its directory, and that no secret gets there."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browsercrawl import Crawler, CrawlerConfig, Request, Result, Visit
from browsercrawl.errors import BrowserNotFound, ConfigError, InvalidURL, RunDirectoryError
from browsercrawl.events import BrowserCrashed, Event
from browsercrawl.testing.fake_browser import FakeLauncher, FakePageScript

URL = "http://site.test/"


def crawler_of(sites: Any, output: Path, **options: Any) -> Crawler:
    """A crawler with a run directory; on the machine's clock, because files are written in real time."""
    config = {"concurrency": 2, "output": output, "retry": {"retries": 1, "backoff_s": 0.01}, **options}
    return Crawler(CrawlerConfig.load(config), launch=FakeLauncher(sites))


def lines(path: Path) -> list[dict[str, Any]]:
    """Parse a file of JSON lines, each of them whole."""
    text = path.read_text()
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def names(folder: Path) -> list[str]:
    """List what is in a folder."""
    return sorted(path.name for path in folder.iterdir())


async def test_run_directory_holds_one_line_per_result_and_the_summary(tmp_path: Path) -> None:
    """`results.jsonl` has each result once, `events.jsonl` begins and ends with the run, `summary.json` agrees."""
    sites = {
        URL: FakePageScript(title="t", html="<p>body</p>", links=(f"{URL}a",)),
        f"{URL}a": FakePageScript(status=500),
    }
    output = tmp_path / "run"
    summary = await crawler_of(sites, output, links={"depth": 1}).run([URL, "nothing", URL])
    assert summary.run_dir == output
    results = lines(output / "results.jsonl")
    assert [(each["url"], each["outcome"], each["attempts"]) for each in results] == [
        ("nothing", "failed", 0),
        (URL, "succeeded", 1),
        (f"{URL}a", "failed", 2),
    ]
    assert all("html" not in each and "text" not in each for each in results)
    assert results[1]["links"] == 1
    events = lines(output / "events.jsonl")
    names = [each["event"] for each in events]
    assert names[0] == "run.started"
    assert "run.finished" in names
    assert "browser.retired" in names, "also the browser's end is in the file"
    assert not {"lease.acquired", "visit.started", "request.scheduled"} & set(names)
    assert {each["run_id"] for each in events} == {summary.run_id}
    written = json.loads((output / "summary.json").read_text())
    assert (written["succeeded"], written["failed"], written["duplicates"]) == (1, 2, 1)
    assert json.loads((output / "job.yaml").read_text())["links"]["depth"] == 1
    assert summary.events_dropped == 0


async def test_run_directory_existing_is_refused_before_any_browser(tmp_path: Path) -> None:
    """A second run into the same directory is refused, the first one's files stay as they are."""
    output = tmp_path / "run"
    crawler = crawler_of(None, output)
    await crawler.run([URL])
    before = (output / "results.jsonl").read_bytes()
    launcher = FakeLauncher()
    with pytest.raises(RunDirectoryError, match="exists already"):
        await Crawler(CrawlerConfig(output=output), launch=launcher).run([URL])
    with pytest.raises(RunDirectoryError):
        await crawler.run([URL])
    assert launcher.attempts == 0
    assert (output / "results.jsonl").read_bytes() == before


async def test_run_directory_without_a_browser_is_removed(tmp_path: Path) -> None:
    """Where no browser could be opened nothing is left behind: the same command works once there is one."""
    launcher = FakeLauncher(None)
    launcher.fail_next, launcher.error = 1, BrowserNotFound("none")
    crawler = Crawler(CrawlerConfig.load({"output": tmp_path / "run"}), launch=launcher)
    with pytest.raises(BrowserNotFound):
        await crawler.run([URL])
    assert names(tmp_path) == []
    assert (await crawler.run([URL])).succeeded == 1


async def test_run_directory_keeps_files_of_successes_only(tmp_path: Path) -> None:
    """Artifacts exist for what succeeded, one per name; a failed attempt's pictures are not written."""
    output = tmp_path / "run"
    crawler = crawler_of(
        {URL: FakePageScript(html="<p>", text="p"), f"{URL}bad": FakePageScript()},
        output,
        visit={"save": ["html", "text", "screenshot"], "capture": []},
    )

    @crawler.handler()
    async def _(visit: Visit) -> None:
        await visit.screenshot("cart")
        assert (await visit.screenshot("cart", full_page=True)).startswith(b"\x89PNG")
        await visit.screenshot()
        if visit.request.url != URL:
            raise ValueError("no")

    results = [result async for result in crawler.stream([URL, f"{URL}bad"])]
    good, bad = sorted(results, key=lambda each: each.url)
    assert sorted(each.name for each in good.artifacts) == ["cart", "html", "screenshot", "text"]
    assert (good.html, good.text, bad.artifacts) == (None, None, ())
    on_disk = {str(path.relative_to(output)) for path in (output / "artifacts").rglob("*") if path.is_file()}
    assert on_disk == {each.path for each in good.artifacts}
    assert all((output / each.path).stat().st_size == each.bytes for each in good.artifacts)


@pytest.mark.parametrize("name", ["../up", "a b", "", "x" * 65, ".hidden"])
async def test_run_directory_bad_picture_name_fails_the_visit(tmp_path: Path, name: str) -> None:
    """A name that cannot be a file's is refused in the handler, where its author sees it."""
    crawler = crawler_of(None, tmp_path / "run")

    @crawler.handler()
    async def _(visit: Visit) -> None:
        await visit.screenshot(name)

    (result,) = [each async for each in crawler.stream([URL])]
    assert result.error is not None
    assert result.error.kind == "handler_failed"
    assert "screenshot's name" in result.error.message


_SECRET = "s3cr3t-Hunter2"


async def test_run_directory_has_no_secret_but_in_the_results(tmp_path: Path) -> None:
    """Planted passwords and tokens are in `results.jsonl` only, as parts of URLs, and in no error's message."""
    with_userinfo = f"http://alice:{_SECRET}@site.test/"
    urls = [
        f"{with_userinfo}ok",
        f"{with_userinfo}500",
        f"{with_userinfo}reset",
        f"{with_userinfo}handler?token={_SECRET}",
        f"{with_userinfo}kill",
        f"{URL}ok?access_token={_SECRET}",
        f"ftp://alice:{_SECRET}@site.test/",
        f"alice:{_SECRET}@site.test/",
        f"https://alice:{_SECRET}/@@site.test:x/",
    ]

    def site(url: str) -> FakePageScript:
        if "500" in url:
            return FakePageScript(status=500)
        if "reset" in url:
            return FakePageScript(network_error="ERR_CONNECTION_RESET")
        return FakePageScript(final_url=url, links=(f"{with_userinfo}linked", f"ftp://x:{_SECRET}@h/"))

    crawler = crawler_of(
        site,
        tmp_path / "run",
        links={"depth": 1},
        browser={
            "proxy": "http://proxy.test:8080",
            "context_options": {
                "http_credentials": {"username": "bob", "password": _SECRET},
                "extra_http_headers": {"Authorization": f"Bearer {_SECRET}", "X-Plain": _SECRET},
                "client_certificates": [{"key": f"-----BEGIN PRIVATE KEY-----\n{_SECRET}\n-----END PRIVATE KEY-----"}],
                "storage_state": {"cookies": [{"name": "sid", "value": _SECRET}]},
            },
            "launch_options": {"env": {"API_TOKEN": _SECRET}, "args": [f"--proxy-server=http://b:{_SECRET}@h:1"]},
        },
    )

    @crawler.handler()
    async def _(visit: Visit) -> None:
        visit.log("logging in", password=_SECRET, header=f"Cookie: a={_SECRET}", url=visit.request.url)
        page: Any = visit.page
        if "kill" in visit.request.url:
            page.context.browser.die("gone")
            raise RuntimeError(f"Target closed: {visit.request.url}")
        if "handler" in visit.request.url:
            raise RuntimeError(f"cannot open {visit.request.url}")

    @crawler.on_failed
    async def _(result: Result) -> None:
        raise RuntimeError(f"about {result.url}")

    labelled = Request(url=f"{with_userinfo}labelled", label="none")
    results = [result async for result in crawler.stream([*urls, labelled])]
    assert len(results) >= len(urls) + 1
    written = {path.name: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert {name for name, text in written.items() if _SECRET.encode() in text} == {"results.jsonl", "run.sqlite"}
    for line in lines(tmp_path / "run" / "results.jsonl"):
        assert _SECRET not in (line["error"] or {}).get("message", "")
        assert _SECRET not in json.dumps({**line, "url": "", "final_url": "", "parent_url": ""})
    errors = [each.error for each in results if each.error]
    assert "handler_failed" in {error.kind for error in errors}
    assert not [error.message for error in errors if _SECRET in error.message]


async def test_on_event_hears_no_secret_in_a_run_nor_outside_of_one() -> None:
    """A listener gets the events of the log, redacted; so are those of a browser that is closed after the run."""
    heard: list[Event] = []
    crawler = Crawler(on_event=heard.append, launch=FakeLauncher())
    crawler._emit(BrowserCrashed(generation=0, reason=f"token={_SECRET}", leases_lost=0))
    await crawler.run([f"http://alice:{_SECRET}@site.test/?token={_SECRET}"])
    assert {"browser.crashed", "visit.started", "visit.succeeded"} <= {event.name for event in heard}
    assert _SECRET not in repr(heard)


async def test_summary_of_a_run_whose_input_raised_has_no_secret() -> None:
    """What the input's exception says is redacted in the summary; the exception itself is the caller's own."""

    def seeds() -> Iterator[str]:
        yield URL
        raise ValueError(f"cannot read https://a.example/?token={_SECRET}")

    stream = Crawler(launch=FakeLauncher()).stream(seeds())
    with pytest.raises(ValueError, match="cannot read"):
        _ = [result async for result in stream]
    assert stream.summary is not None
    assert stream.summary.finish_detail == "ValueError: cannot read https://a.example/?token=[redacted]"


def test_crawler_given_a_plain_dict_says_so_at_once() -> None:
    """The mistake is told where it is made, not by the first run."""
    with pytest.raises(ConfigError, match=r"not a dict; see CrawlerConfig\.load"):
        Crawler({"concurrency": 3})  # type: ignore[arg-type]  # what this is about


async def test_exceptions_text_has_no_secret() -> None:
    """What is raised to the caller names no user, password nor query."""
    crawler = Crawler(launch=FakeLauncher())
    for url in (f"ftp://a:{_SECRET}@h/", f"a:{_SECRET}@h", f"https://a:{_SECRET}@h:bad/", f"nothing?token={_SECRET}"):
        with pytest.raises(InvalidURL) as raised:
            await crawler.fetch(url)
        assert _SECRET not in str(raised.value)
        with pytest.raises(InvalidURL) as invalid:
            Request(url=url)
        assert _SECRET not in str(invalid.value)
    with pytest.raises(ConfigError) as wrong:
        CrawlerConfig.load({"browser": {"proxy": {"password": _SECRET}}, "retry": {"retries": _SECRET}})
    assert _SECRET not in str(wrong.value)
