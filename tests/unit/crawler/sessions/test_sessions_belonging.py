"""Which request belongs to which session: rules, hosts, pools, links; and where a session may go."""

from typing import TYPE_CHECKING, Any

from browsercrawl import Outcome, Request, Visit
from browsercrawl.testing.fake_browser import FakePageScript

if TYPE_CHECKING:
    from tests.unit.crawler.sessions.conftest import Area

SITE = "http://site.test"


async def test_crawl_rules_give_requests_to_sessions(area: "Area") -> None:
    """The first rule that matches decides, by URL or by key; what names a session keeps it."""
    sessions = {
        "rules": [
            {"session": "shop", "url": "*/shop/*"},
            {"session": "keyed", "key": "k-*"},
            {"session": "rest", "url": f"{SITE}/*"},
        ]
    }
    seeds: list[str | Request] = [
        f"{SITE}/shop/1",
        Request(url=f"{SITE}/a", key="k-1"),
        f"{SITE}/b",
        Request(url=f"{SITE}/shop/2", session="own"),
        "http://other.test/",
    ]
    done = await area.run(area.crawler(sessions=sessions), seeds)
    assert {each.url: each.session for each in done.results} == {
        f"{SITE}/shop/1": "shop",
        f"{SITE}/a": "keyed",
        f"{SITE}/b": "rest",
        f"{SITE}/shop/2": "own",
        "http://other.test/": None,
    }


async def test_crawl_per_host_gives_each_host_its_own(area: "Area") -> None:
    """`per-host`: one session a host, links to another host change to that one's."""
    area.scripts["http://a.test/"] = FakePageScript(links=("http://b.test/x", "http://a.test/y"))
    crawler = area.crawler(sessions={"per_host": True}, links={"depth": 1, "scope": "any"})
    done = await area.run(crawler, ["http://a.test/"])
    assert {each.url: each.session for each in done.results} == {
        "http://a.test/": "host:a.test:80",
        "http://a.test/y": "host:a.test:80",
        "http://b.test/x": "host:b.test:80",
    }


async def test_crawl_pool_spreads_requests_over_its_sessions(area: "Area") -> None:
    """A pool of three is three sessions, each of which gets a share."""
    done = await area.run(area.crawler(sessions={"pool": 3}), [f"{SITE}/{number}" for number in range(60)])
    shares = {each.session: 0 for each in done.results}
    for each in done.results:
        shares[each.session] += 1
    assert set(shares) == {"pool:0", "pool:1", "pool:2"}
    assert min(shares.values()) >= 10


async def test_crawl_links_inherit_the_session_of_their_page(area: "Area") -> None:
    """A link found by a member is visited by that member."""
    area.scripts[f"{SITE}/1"] = FakePageScript(links=(f"{SITE}/2",))
    area.scripts[f"{SITE}/2"] = FakePageScript(links=(f"{SITE}/3",))
    done = await area.run(area.crawler(["ann"], links={"depth": 5}), [Request(url=f"{SITE}/1", session="ann")])
    assert done.outcomes() == {("ann", "succeeded"): 3}


async def test_crawl_rule_decides_about_links_before_their_page_does(area: "Area") -> None:
    """A link that a rule gives to a session is that one's, wherever it was found."""
    area.scripts[f"{SITE}/1"] = FakePageScript(links=(f"{SITE}/admin/2", f"{SITE}/3"))
    sessions = {"rules": [{"session": "admin", "url": "*/admin/*"}]}
    crawler = area.crawler(sessions=sessions, links={"depth": 1})
    done = await area.run(crawler, [Request(url=f"{SITE}/1", session="bob")])
    assert {each.url: each.session for each in done.results} == {
        f"{SITE}/1": "bob",
        f"{SITE}/3": "bob",
        f"{SITE}/admin/2": "admin",
    }


async def test_crawl_session_stays_in_its_domains(area: "Area") -> None:
    """A seed elsewhere is skipped, saying why; a link is counted; subdomains are in."""
    area.scripts[f"{SITE}/1"] = FakePageScript(links=("http://other.test/", f"{SITE}/2", "http://sub.site.test/3"))
    profile: dict[str, Any] = {"domains": ["site.test"]}
    crawler = area.crawler(["ann"], profile=profile, links={"depth": 1, "scope": "any"})
    seeds = [Request(url=f"{SITE}/1", session="ann"), Request(url="http://elsewhere.test/", session="ann")]
    done = await area.run(crawler, seeds)
    (skipped,) = [each for each in done.results if each.outcome is Outcome.SKIPPED]
    assert (skipped.url, skipped.skip_reason) == ("http://elsewhere.test/", "session_domain")
    assert done.summary.links_skipped == {"session_domain": 1}
    assert {each.url for each in done.results if each.outcome is Outcome.SUCCEEDED} == {
        f"{SITE}/1",
        f"{SITE}/2",
        "http://sub.site.test/3",
    }
    assert not any(url.startswith("http://other") for _, url, _ in area.visits)


async def test_crawl_handler_gives_a_request_to_another_session(area: "Area") -> None:
    """A request that a handler enqueues for a session is that one's."""
    crawler = area.crawler(["ann"])

    def enqueue(visit: Visit) -> None:
        if visit.request.session is None:
            visit.enqueue(Request(url=f"{SITE}/hers", session="ann"))

    area.on_visit = enqueue
    done = await area.run(crawler, [f"{SITE}/public"])
    assert done.outcomes() == {(None, "succeeded"): 1, ("ann", "succeeded"): 1}
    assert area.tries_of("ann") == 1
