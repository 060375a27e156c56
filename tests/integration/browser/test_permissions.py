"""What a page gets that asks for what only its user could grant."""

from typing import Any

import pytest

from browsercrawl import Crawler, CrawlerConfig, Visit
from browsercrawl.testing import DemoSite

ASK = """async () => ({
    place: await new Promise(tell => navigator.geolocation.getCurrentPosition(
        found => tell(found.coords.latitude), error => tell(error.code))),
    notifications: Notification.permission,
    read: await navigator.clipboard.readText().catch(error => error.name),
    write: await navigator.clipboard.writeText('x').then(() => 'written', error => error.name),
    camera: await navigator.mediaDevices.getUserMedia({video: true}).then(() => 'seen', error => error.name),
})"""


@pytest.mark.parametrize("guard", ["auto", "on"])
async def test_page_that_asks_for_permissions_gets_none(guard: str) -> None:
    """Place, notifications, clipboard and camera are denied at once: nobody is there to grant them."""
    answers: list[dict[str, Any]] = []
    crawler = Crawler(CrawlerConfig.load({"concurrency": 1, "network": {"guard": guard}}))

    @crawler.handler()
    async def _(visit: Visit) -> None:
        answers.append(await visit.page.evaluate(ASK))

    with DemoSite() as site:
        result = await crawler.fetch(site.url)
    await crawler.aclose()
    assert result.outcome == "succeeded", result.error
    (told,) = answers
    assert told.pop("camera") in {"NotAllowedError", "NotFoundError"}
    assert told == {"place": 1, "notifications": "denied", "read": "NotAllowedError", "write": "NotAllowedError"}
