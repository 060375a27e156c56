"""Who sees what: sessions keep to themselves, and nothing a handler changes for good reaches another visit."""

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from browsercrawl import Crawler, Outcome, Request, Visit
from browsercrawl.events import BrowserLaunched, Event, LeaseReleased
from browsercrawl.testing import DemoSite

if TYPE_CHECKING:
    from tests.integration.crawler.conftest import NewCrawler

Act = Callable[[Visit], Awaitable[object]]


async def residue(crawler: Crawler, url: str, **wishes: Any) -> dict[str, Any]:
    """Visit the page that shows what it finds of earlier visits."""
    result = await crawler.fetch(Request(url=url, **wishes))
    assert result.outcome is Outcome.SUCCEEDED, result.error
    assert result.text is not None
    shown: dict[str, Any] = json.loads(result.text[result.text.index("{") :])
    return shown


async def test_sessions_see_nothing_of_each_other(
    site: DemoSite, new_crawler: "NewCrawler", events: list[Event]
) -> None:
    """Cookies, localStorage and the cache of one session exist for that session only, and stay with it."""
    async with new_crawler() as crawler:
        await crawler.fetch(Request(url=f"{site.url}/faults/leave-marks", session="a"))
        for stranger in ("b", None):
            found = await residue(crawler, f"{site.url}/faults/residue", session=stranger)
            assert (found["cookies"], found["local"], found["session"], found["name"]) == ("", {}, {}, "")
        own = await residue(crawler, f"{site.url}/faults/residue", session="a")
        assert (own["cookies"], own["local"]) == ("mark=cookie", {"mark": "local"})
        assert (own["session"], own["name"]) == ({}, "")
        alone = await residue(crawler, f"{site.url}/faults/residue", session="a", isolation="request")
        assert (alone["cookies"], alone["local"]) == ("", {})
        before = site.hits("/static/app.js")
        for session, fetched in (("a", 1), ("a", 1), ("b", 2), ("a", 2)):
            await crawler.fetch(Request(url=f"{site.url}/about", session=session))
            assert site.hits("/static/app.js") - before == fetched, session
    assert sum(isinstance(event, BrowserLaunched) for event in events) == 1


async def test_isolation_per_request_gives_everybody_a_context_of_his_own(
    site: DemoSite, new_crawler: "NewCrawler"
) -> None:
    """With `isolation="request"` a visit sees nothing of any other's, its own session's included."""
    async with new_crawler(pool={"isolation": "request"}) as crawler:
        for session in ("a", None):
            await crawler.fetch(Request(url=f"{site.url}/faults/leave-marks", session=session))
            found = await residue(crawler, f"{site.url}/faults/residue", session=session)
            assert (found["cookies"], found["local"], found["session"], found["name"]) == ("", {}, {}, "")


async def _route(visit: Visit) -> None:
    await visit.page.route("**/*", lambda route: route.fulfill(status=200, body="<title>fake</title>"))


async def _route_context(visit: Visit) -> None:
    await visit.page.context.route("**/*", lambda route: route.fulfill(status=200, body="<title>fake</title>"))


async def _listen(visit: Visit) -> None:
    visit.page.on("request", lambda _: visit.log("overheard"))


LASTING: dict[str, Act] = {
    "route": _route,
    "context.route": _route_context,
    "on": _listen,
    "add_init_script": lambda visit: visit.page.add_init_script("window.planted = 1"),
    "context.add_init_script": lambda visit: visit.page.context.add_init_script("window.planted = 1"),
    "expose_function": lambda visit: visit.page.expose_function("planted", lambda: 1),
    "set_viewport_size": lambda visit: visit.page.set_viewport_size({"width": 333, "height": 222}),
    "emulate_media": lambda visit: visit.page.emulate_media(media="print"),
    "keyboard.down": lambda visit: visit.page.keyboard.down("Shift"),
    "mouse.down": lambda visit: visit.page.mouse.down(),
    "clock": lambda visit: visit.page.clock.set_fixed_time(0),
    "set_extra_http_headers": lambda visit: visit.page.set_extra_http_headers({"X-Planted": "1"}),
    "context.set_extra_http_headers": lambda visit: visit.page.context.set_extra_http_headers({"X-Planted": "1"}),
    "set_offline": lambda visit: visit.page.context.set_offline(True),
    "harmless": lambda visit: visit.page.evaluate("window.planted = 1"),
}

PROBE = """() => ({
    planted: typeof window.planted,
    width: innerWidth,
    print: matchMedia('print').matches,
    past: Date.now() < 1e12,
})"""


@pytest.mark.parametrize("profile", ["balanced", "lean"])
async def test_lasting_user_code_never_reaches_the_next_visit(
    site: DemoSite, new_crawler: "NewCrawler", events: list[Event], profile: str
) -> None:
    """Routes, listeners, scripts, emulation, headers, held keys: each costs its page (or context), not the next visit.

    Harmless code costs nothing: its page is used again.
    """
    crawler = new_crawler(profile=profile, concurrency=1)

    @crawler.handler("act")
    async def act(visit: Visit) -> None:
        await LASTING[str(visit.request.data["what"])](visit)

    @crawler.handler("probe")
    async def probe(visit: Visit) -> None:
        shown = await visit.page.evaluate(PROBE)
        keys = "document.body.addEventListener('keydown', e => window.shifted = e.shiftKey)"
        await visit.page.evaluate(keys)
        await visit.page.keyboard.press("a")
        visit.push({**shown, "shift": await visit.page.evaluate("window.shifted")})

    @crawler.handler("headers")
    async def headers(visit: Visit) -> None:
        visit.push("x-planted" in await visit.page.inner_text("body"))

    async with crawler:
        for what in LASTING:
            site_page = f"{site.url}/faults/page"
            acted = await crawler.fetch(Request(url=site_page, label="act", data={"what": what}))
            assert acted.outcome is Outcome.SUCCEEDED, (what, acted.error)
            released = [event for event in events if isinstance(event, LeaseReleased)]
            assert released[-1].kept is (what == "harmless"), (what, released[-1])
            probed = await crawler.fetch(Request(url=site_page, label="probe"))
            assert (probed.title, probed.data) == (
                "fault: page",
                ({"planted": "undefined", "width": 1280, "print": False, "past": False, "shift": False},),
            ), (what, probed.error)
            echoed = await crawler.fetch(Request(url=f"{site.url}/faults/echo", label="headers"))
            assert echoed.data == (False,), (what, echoed.error)
    assert not [event for event in events if event.name == "user.log"]
