"""When robots.txt is asked, and what its answers mean, on a clock that no real second passes on."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import pytest

from browsercrawl import CrawlerConfig
from browsercrawl.errors import NetworkFailed, RobotsUnavailable
from browsercrawl.events import Event, HostDeferred, HostGivenUp, RobotsRead
from browsercrawl.politeness import Robots
from browsercrawl.politeness.robots import AGAIN_S, AHEAD_MAX, CRAWL_DELAY_MAX_S, FRESH_S
from browsercrawl.testing.virtual_clock import VirtualClock

RULES = b"User-agent: *\nDisallow: /private\nCrawl-delay: 5"
URL = "http://site.test/"


@dataclass
class Answer:
    """An answer to a request for robots.txt; no status: no answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    wait_s: float = 0.0


class World:
    """Sites that answer as they are told; notes what they are asked."""

    def __init__(self) -> None:
        self.clock = VirtualClock(autojump=True)
        self.answer = Answer(body=RULES)
        self.asked: Counter[str] = Counter()
        self.delays: dict[str, float] = {}
        self.events: list[Event] = []
        self.robots = Robots(
            self.fetch,
            config=CrawlerConfig.load({"retry": {"retries": 2}}),
            clock=self.clock,
            emit=self.events.append,
            restrain=self.restrain,
        )

    async def fetch(self, url: str) -> Answer:
        """Answer."""
        self.asked[url] += 1
        answer = self.answer
        if answer.wait_s:
            await self.clock.sleep(answer.wait_s)
        if not answer.status:
            raise NetworkFailed("no connection", code="ERR_CONNECTION_FAILED")
        return answer

    async def restrain(self, host: str, delay_s: float) -> None:
        """Note a host's delay."""
        self.delays[host] = delay_s

    async def settled(self, url: str = URL) -> bool:
        """Ask as the dispatcher does, until it is known whether an address is allowed."""
        while (leave := self.robots.leave(url)).wait_s is not None:
            await self.clock.sleep(leave.wait_s)
        return leave.allowed


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Return sites, and the robots that asks them."""
    made = World()
    yield made
    await made.robots.close()


async def test_robots_fifty_requests_of_a_site_ask_once(world: World) -> None:
    """However many wait for the answer, one fetch gives it to all; the address asked is the origin's."""
    world.answer.wait_s = 3.0
    urls = [f"http://me:pw@SITE.test:80/{page}" for page in range(50)]
    assert all(await asyncio.gather(*map(world.settled, urls)))
    assert world.asked == {"http://site.test/robots.txt": 1}


async def test_robots_each_origin_has_its_own(world: World) -> None:
    """Scheme, host and port make an origin."""
    for url in (URL, "https://site.test/", "http://site.test:81/", "http://www.site.test/"):
        assert await world.settled(url)
    assert len(world.asked) == 4


async def test_robots_forbidden_path_is_told(world: World) -> None:
    """The rules hold, and the delay is told before the first address is allowed."""
    assert not await world.settled(f"{URL}private/x")
    assert await world.settled(f"{URL}public")
    assert world.delays == {"site.test:80": 5.0}
    assert [event.http_status for event in world.events if isinstance(event, RobotsRead)] == [200]


async def test_robots_long_delay_is_capped(world: World) -> None:
    """A day between two pages is kept as half a minute."""
    world.answer = Answer(body=b"User-agent: *\nCrawl-delay: 86400")
    await world.settled()
    assert world.delays == {"site.test:80": CRAWL_DELAY_MAX_S}


@pytest.mark.parametrize("status", [204, 302, 401, 403, 404, 410, 451])
async def test_robots_answer_without_rules_allows_all(world: World, status: int) -> None:
    """A 4xx, a redirect without end and an empty answer say that there are no rules."""
    world.answer = Answer(status=status)
    assert await world.settled(f"{URL}private")
    assert world.asked.total() == 1


@pytest.mark.parametrize(
    ("status", "least_s", "most_s"), [(500, 180, 200), (503, 180, 200), (429, 180, 200), (0, 1, 4)]
)
async def test_robots_without_an_answer_is_asked_three_times_then_given_up(
    world: World, status: int, least_s: float, most_s: float
) -> None:
    """As often as a page would be tried, with growing pauses; then its requests fail, and the kind says why."""
    world.answer = Answer(status=status)
    began = world.clock.now()
    with pytest.raises(RobotsUnavailable, match="3 times in a row"):
        await world.settled()
    assert world.asked.total() == 3
    assert least_s <= world.clock.now() - began <= most_s
    assert [type(event) for event in world.events] == [HostDeferred, HostDeferred, HostGivenUp]


async def test_robots_pause_that_is_asked_for_is_kept(world: World) -> None:
    """Retry-After is granted."""
    world.answer = Answer(status=503, headers={"retry-after": "700"})
    with pytest.raises(RobotsUnavailable):
        await world.settled()
    assert [event.delay_s for event in world.events if isinstance(event, HostDeferred)] == [700.0, 700.0]


async def test_robots_given_up_is_asked_again_after_an_hour(world: World) -> None:
    """A site that has come back is visited again."""
    world.answer = Answer(status=500)
    with pytest.raises(RobotsUnavailable):
        await world.settled()
    world.answer = Answer(body=RULES)
    with pytest.raises(RobotsUnavailable):
        world.robots.leave(URL)
    await world.clock.sleep(AGAIN_S)
    assert await world.settled()


async def test_robots_answer_a_day_old_holds_until_the_next_is_there(world: World) -> None:
    """Nobody waits for a new answer; when it cannot be had the old one goes on holding."""
    assert not await world.settled(f"{URL}private")
    await world.clock.sleep(FRESH_S)
    world.answer = Answer(status=500)
    assert world.robots.leave(f"{URL}private").allowed is False
    await world.clock.sleep(AGAIN_S)
    world.answer = Answer(body=b"")
    assert world.robots.leave(f"{URL}private").allowed is False
    assert world.robots.leave(f"{URL}private").wait_s is None
    await world.clock.sleep(1)
    assert world.asked.total() == 3
    assert world.robots.leave(f"{URL}private").allowed


async def test_robots_of_many_sites_keep_step_with_visits(world: World) -> None:
    """Of 2,000 sites only some are asked ahead of their first visit, and all have their answer in the end."""
    world.answer.wait_s = 0.5
    urls = [f"http://h{number}.test/" for number in range(2_000)]
    waits = [world.robots.leave(url).wait_s for url in urls]
    await world.clock.sleep(0.1)
    assert world.asked.total() == AHEAD_MAX
    assert max(wait for wait in waits if wait is not None) < 30
    assert all(await asyncio.gather(*map(world.settled, urls)))
    assert world.asked.total() == 2_000


async def test_robots_sitemaps_are_told(world: World) -> None:
    """Callers get what the `Sitemap` lines name."""
    world.answer = Answer(body=b"Sitemap: http://site.test/map.xml")
    assert await world.robots.sitemaps(URL, limit_s=1) == ("http://site.test/map.xml",)


async def test_robots_closed_while_asking_leaves_nothing(world: World) -> None:
    """What is under way ends with it."""
    world.answer.wait_s = 1e9
    world.robots.leave(URL)
    await world.robots.close()
    assert {task for task in asyncio.all_tasks() if task.get_name().startswith("robots")} == set()
