"""A long file of URLs with one bad line, through the job's reader and a crawler, with the fake browser."""

from pathlib import Path
from typing import TYPE_CHECKING

from browsercrawl import Crawler, CrawlerConfig, Outcome
from browsercrawl.crawler.inputs import JobSeeds
from browsercrawl.testing.fake_browser import FakeLauncher
from browsercrawl.testing.fake_script import FakePageScript
from browsercrawl.testing.virtual_clock import VirtualClock

if TYPE_CHECKING:
    from browsercrawl import Result


async def test_crawl_ten_thousand_lines_one_of_them_bad(tmp_path: Path) -> None:
    """The bad line is one failed result that names file, line and reason; the other 9,999 are crawled."""
    lines = [f"http://site.test/{number}" for number in range(10_000)]
    lines[6_399] = "chrome://settings"
    (tmp_path / "urls.txt").write_text("\n".join(lines))
    clock = VirtualClock(autojump=True)
    launcher = FakeLauncher(lambda _: FakePageScript(), clock=clock)
    failed: list[Result] = []
    succeeded = 0
    async with Crawler(CrawlerConfig(concurrency=8), launch=launcher, clock=clock) as crawler:
        async for result in crawler.stream(JobSeeds(file=tmp_path / "urls.txt")):
            if result.outcome is Outcome.SUCCEEDED:
                succeeded += 1
            else:
                failed.append(result)
    assert succeeded == 9_999
    (bad,) = failed
    assert bad.url == "chrome://settings"
    assert bad.error is not None
    assert "urls.txt, line 6400: " in bad.error.message
