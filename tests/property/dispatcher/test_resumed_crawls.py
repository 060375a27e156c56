"""Whole crawls in pieces: whatever the site, and wherever it is stopped, the pieces add up to one run.

On the machine's clock, because the store's thread does not wait on a virtual one.
"""

import asyncio
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from browsercrawl import Crawler, CrawlerConfig, ResultRecord, Summary
from browsercrawl.errors import CrawlerClosed
from browsercrawl.testing.fake_browser import FakeLauncher, FakePageScript

URLS = [f"http://site{number % 3}.test/{number}" for number in range(12)]


@dataclass(frozen=True)
class Cut:
    """Where a process ends: after so many of its results, gently or at once."""

    after: int
    gently: bool


_pages = st.builds(
    lambda links, status, network: FakePageScript(
        links=tuple(links), status=status, network_error="ERR_CONNECTION_RESET" if network else None
    ),
    st.lists(st.sampled_from(URLS), max_size=4),
    st.sampled_from([200, 200, 200, 404, 500]),
    st.sampled_from([False, False, False, False, True]),
)
_sites = st.fixed_dictionaries(dict.fromkeys(URLS, _pages))
_seeds = st.lists(st.sampled_from([*URLS, "no url", "x:"]), min_size=1, max_size=12)
_cuts = st.lists(st.builds(Cut, st.integers(0, 6), st.booleans()), max_size=4)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(site=_sites, seeds=_seeds, cuts=_cuts, concurrency=st.integers(1, 3), depth=st.integers(0, 2))
def test_crawl_in_any_pieces_gives_each_request_its_one_result(
    site: dict[str, FakePageScript], seeds: list[str], cuts: list[Cut], concurrency: int, depth: int
) -> None:
    """Each request has one line, equal in outcome to that of a run in one go; the summary is that of the whole."""
    options = {
        "concurrency": concurrency,
        "links": {"depth": depth, "scope": "any"},
        "retry": {"retries": 1, "backoff_s": 0.001},
    }
    with tempfile.TemporaryDirectory(prefix="pieces-") as folder:
        whole = asyncio.run(crawl(site, seeds, [], {**options, "output": Path(folder) / "whole", "resume": True}))
        pieces = asyncio.run(crawl(site, seeds, cuts, {**options, "output": Path(folder) / "pieces", "resume": True}))
        expected, found = (outcomes(Path(folder) / name) for name in ("whole", "pieces"))
    if concurrency == 1:  # else which of two pages finds a link first decides its depth
        assert found == expected
    assert max(Counter(key for key, _ in found).values(), default=1) == 1
    assert (pieces.succeeded, pieces.failed) == (
        sum(outcome == "succeeded" for _, outcome in found),
        sum(outcome == "failed" for _, outcome in found),
    )
    assert pieces.unfinished == whole.unfinished == 0


async def crawl(
    site: dict[str, FakePageScript], seeds: list[str], cuts: list[Cut], options: dict[str, object]
) -> Summary:
    """Run up to each cut, each time with a new crawler, and then to the end."""
    config = CrawlerConfig.load(options)
    for cut in cuts:
        async with Crawler(config, launch=FakeLauncher(site)) as crawler, crawler.stream(seeds) as stream:
            number = 0
            with suppress(CrawlerClosed):
                async for _ in stream:
                    number += 1
                    if number > cut.after:
                        break
            if cut.gently:
                await crawler.stop()
            else:
                crawler.abort()
    return await Crawler(config, launch=FakeLauncher(site)).run(seeds)


def outcomes(output: Path) -> list[tuple[str, str]]:
    """Return id and outcome of each line."""
    records = [ResultRecord.model_validate_json(line) for line in (output / "results.jsonl").read_text().splitlines()]
    return sorted((each.request_id, each.outcome) for each in records)
