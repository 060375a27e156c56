"""Sessions that are paused in a crawl that memory holds back."""

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from browsercrawl import FinishReason, Request
from browsercrawl.pressure import Reading, Sensors

if TYPE_CHECKING:
    from tests.unit.crawler.sessions.conftest import Area


async def test_crawl_short_of_memory_beside_a_paused_session_is_not_over(
    area: "Area", monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left is not only that session's while nothing could be claimed: the others finish when there is room."""
    measure = Sensors.read

    def read(sensors: Sensors) -> Reading:
        used = 0.97 if 4 <= area.clock.now() < 30 else 0.3
        sensors.last = replace(measure(sensors), memory_used_bytes=round(used * 2**33), memory_limit_bytes=2**33)
        return sensors.last

    monkeypatch.setattr(Sensors, "read", read)
    area.refuses = lambda account, _: account == "ann"
    crawler = area.crawler(["ann"], login={"tries": 1}, concurrency=1)
    others = [Request(url=f"http://site.test/{number}", session="bob") for number in range(10)]
    done = await area.run(crawler, [Request(url="http://site.test/ann", session="ann"), *others])
    assert done.outcomes() == {("bob", "succeeded"): 10}
    assert done.summary.finish_reason is FinishReason.SESSIONS_PAUSED
