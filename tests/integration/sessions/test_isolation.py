"""Nothing of one session is ever seen by another, however many are open at once and however often they hibernate."""

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, cast

from browsercrawl import Outcome, Request, Visit
from browsercrawl.events import ContextOpened, SessionHibernated
from browsercrawl.testing import ForwardProxy

if TYPE_CHECKING:
    from tests.integration.sessions.conftest import Area, NewCrawler, RunThrough, Watch

PLACES = ("cookie", "local", "session", "idb", "cache", "worker")
LOCALES = ("de-DE", "fr-FR", "ja-JP", "pt-BR", "fi-FI")
ZONES = ("Europe/Berlin", "Europe/Paris", "Asia/Tokyo", "America/Sao_Paulo", "Europe/Helsinki")
NAMES = [f"s{number}" for number in range(len(LOCALES))]
SELF = """() => ({
    agent: navigator.userAgent, language: navigator.language,
    zone: Intl.DateTimeFormat().resolvedOptions().timeZone, width: innerWidth,
})"""


def profile(number: int, proxy: str) -> dict[str, Any]:
    """Return a session that differs from the others in all it can."""
    return {
        "name": NAMES[number],
        "proxy": proxy,
        "identity": {
            "user_agent": f"agent of {NAMES[number]}",
            "locale": LOCALES[number],
            "timezone": ZONES[number],
            "viewport": {"width": 900 + number, "height": 700},
            "headers": {"X-Session": NAMES[number]},
        },
    }


async def test_sessions_side_by_side_see_only_what_is_theirs(
    area: "Area", new_crawler: "NewCrawler", watch: "Watch", run_through: "RunThrough"
) -> None:
    """Six stores, HTTP cache, proxy, identity and headers: each session finds its own or nothing, in 2 contexts too.

    What travels (cookie, localStorage; IndexedDB where asked) is found again after hibernation. Every other session's
    proxy wants a password.
    """
    with ExitStack() as stack:
        proxies = [
            stack.enter_context(ForwardProxy(username=name, password="pw") if number % 2 else ForwardProxy())
            for number, name in enumerate(NAMES)
        ]
        urls = [
            proxy.url.replace("//", f"//{name}:pw@") if number % 2 else proxy.url
            for number, (name, proxy) in enumerate(zip(NAMES, proxies, strict=True))
        ]
        profiles = [profile(number, url) for number, url in enumerate(urls)]
        profiles[0]["indexed_db"] = True
        crawler = new_crawler(pool={"contexts_max": 2}, visit={"timeout_s": 20}, sessions={"profiles": profiles})

        @crawler.handler("store")
        async def store(visit: Visit) -> None:
            visit.push({place: await visit.page.inner_text(f"#{place}") for place in PLACES})

        @crawler.handler("echo")
        async def echo(visit: Visit) -> None:
            visit.push({**json.loads(await visit.page.inner_text("#echo")), **await visit.page.evaluate(SELF)})

        def wish(name: str, query: str = "") -> list[Request]:
            path = f"store?by={name}{query}"
            ready = "html[data-ready]"
            return [
                Request(url=area.url(path), session=name, label="store", wait_for=ready),
                Request(url=area.url(f"echo?by={name}{query}"), session=name, label="echo"),
            ]

        async with crawler:
            wrote = await run_through(crawler, [each for name in NAMES for each in wish(name, f"&set={name}")])
            read = await run_through(crawler, [each for name in NAMES for each in wish(name)])

    assert {result.outcome for result in wrote.results + read.results} == {Outcome.SUCCEEDED}, wrote.results
    assert len(wrote.results + read.results) == 4 * len(NAMES)
    for result in wrote.results + read.results:
        name, found = str(result.session), cast("dict[str, Any]", result.data[0])
        number = NAMES.index(name)
        if result.label == "echo":
            assert found["headers"]["x-session"] == name
            assert found["headers"]["user-agent"] == found["agent"] == f"agent of {name}"
            assert str(found["headers"]["accept-language"]).startswith(LOCALES[number])
            assert (found["language"], found["zone"], found["width"]) == (LOCALES[number], ZONES[number], 900 + number)
        elif "&set=" in result.url:
            assert found == dict.fromkeys(PLACES, name)
        else:
            assert set(found.values()) <= {name, "none"}, (name, found)
            assert (found["cookie"], found["local"]) == (name, name)
            assert found["idb"] == name or number > 0
    for name, proxy in zip(NAMES, proxies, strict=True):
        asked = [each.target for each in proxy.requests if "?by=" in each.target]
        assert len(asked) >= 4
        assert {target for target in asked if f"?by={name}" not in target} == set()
    seen_by_proxies = sum("?by=" in each.target and "store" in each.target for p in proxies for each in p.requests)
    assert area.site.hits("/members/store") == seen_by_proxies, "somebody went past his proxy"
    assert set(watch.count(SessionHibernated)) == set(NAMES)
    # A script that may be cached for an hour is fetched once for each context: no session has it of another's.
    opened = watch.count(ContextOpened)
    assert len(NAMES) <= area.site.hits("/members/static/members_kept.js") <= opened.total()
    assert len(opened) == len(NAMES)
    assert max(event.contexts for event in watch.told(ContextOpened)) <= 2
