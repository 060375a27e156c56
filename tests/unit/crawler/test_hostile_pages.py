"""What pages and their addresses say is written down in harmless words and bounded in length."""

import json
from pathlib import Path

from browsercrawl import Crawler, CrawlerConfig, Request, Visit
from browsercrawl.errors import Skip
from browsercrawl.events import Event, VisitFailed
from browsercrawl.testing.fake_browser import FakeLauncher, FakePageScript

URL = "http://site.test/"
EVIL = "\x1b[2J\x1b]0;pwned\x07\x9b31m\r\n\u202egpj.exe\u2066\u200b\U000e0041[red]=1+1"
HUGE = EVIL * 50_000
STEERING = set("\x1b\x07\x9b\r\u202e\u2066\u200b\U000e0041")


async def test_run_of_pages_that_say_too_much_stays_small_and_harmless(tmp_path: Path) -> None:
    """A title, an address, a type, an error or a reason of megabytes takes a few kilobytes, in files and in memory."""
    links = tuple(f"{URL}{number}" for number in range(50))
    address = f"{URL}#{'x' * 2_000_000}"
    sites = {
        URL: FakePageScript(title=HUGE, content_type="text/" + "x" * 1_000_000, final_url=address, links=links),
        f"{URL}error": FakePageScript(),
        f"{URL}skip": FakePageScript(),
        f"{URL}network": FakePageScript(network_error=f"ERR_{'X' * 1_000_000}"),
        **{link: FakePageScript(title=EVIL) for link in links},
    }
    events: list[Event] = []
    config = CrawlerConfig.load({"output": tmp_path / "run", "links": {"depth": 1}, "retry": {"retries": 0}})
    crawler = Crawler(config, launch=FakeLauncher(sites), on_event=events.append)

    @crawler.handler()
    async def _(visit: Visit) -> None:
        if visit.request.url == f"{URL}error":
            raise RuntimeError(f"Set-Cookie: a=geheim; {HUGE}")
        if visit.request.url == f"{URL}skip":
            raise Skip(f"https://me:geheim@site.test/ {HUGE}")
        visit.enqueue(f"{URL}?enqueued")

    async with crawler, crawler.stream([URL, f"{URL}error", f"{URL}skip", f"{URL}network"]) as stream:
        results = {result.url: result async for result in stream}
    assert len(results) == 4 + 51
    for result in results.values():
        texts = (result.title, result.content_type, result.parent_url, result.error.message if result.error else None)
        assert all(len(text or "") <= 2_000 for text in texts)
        assert len(result.final_url or "") <= 65_536
        assert len(result.skip_reason or "") <= 2_100
    lines = (tmp_path / "run" / "results.jsonl").read_bytes().splitlines()
    assert max(map(len, lines)) < 100_000
    assert sum(map(len, lines)) < 400_000
    told = (tmp_path / "run" / "events.jsonl").read_text(encoding="utf-8")
    assert not set(told) & STEERING
    assert max(map(len, told.splitlines())) < 50_000
    assert "geheim" not in told + b"".join(lines).decode()
    kinds = {event.kind for event in events if isinstance(event, VisitFailed)}
    assert kinds == {"handler_failed", "network", "http_rejected"}


async def test_request_of_a_page_with_a_huge_address_does_not_carry_it(tmp_path: Path) -> None:
    """What each link's request remembers of its page is bounded: links may be thousands, an address megabytes."""
    address = f"{URL}{'x' * 2_000_000}"
    sites = {URL: FakePageScript(final_url=address, links=(f"{URL}a",)), f"{URL}a": FakePageScript()}
    config = CrawlerConfig.load({"links": {"depth": 1}})
    async with Crawler(config, launch=FakeLauncher(sites)) as crawler, crawler.stream([Request(url=URL)]) as stream:
        (child,) = [result async for result in stream if result.depth]
    assert child.parent_url is not None
    assert len(child.parent_url) == 2_000
    assert json.dumps(child.parent_url).startswith('"http://site.test/xxx')
