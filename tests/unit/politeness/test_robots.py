"""When robots.txt is asked, and what its answers mean, on a clock that no real second passes on."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf

import pytest

from browsercrawl.errors import NetworkFailed, RobotsUnavailable
from browsercrawl.events import Event, RobotsRead
from browsercrawl.politeness import Robots
from browsercrawl.politeness.robots import AGAIN_S, AHEAD_MAX, CRAWL_DELAY_MAX_S, FAILURE_S, FRESH_S
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
        self.ways: list[str | None] = []
        self.delays: dict[str, float] = {}
        self.events: list[Event] = []
        self.robots = Robots(
            self.fetch,
            token="browsercrawl",
            clock=self.clock,
            emit=self.events.append,
            restrain=self.restrain,
        )

    async def fetch(self, url: str, proxy: str | None) -> Answer:
        """Answer."""
        self.asked[url] += 1
        self.ways.append(proxy)
        answer = self.answer
        if answer.wait_s == inf:
            await asyncio.Event().wait()
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


@pytest.mark.parametrize(("status", "refuses"), [(500, False), (502, False), (503, True), (429, True), (0, False)])
async def test_robots_without_an_answer_is_told_to_one_and_the_next_asks_anew(
    world: World, status: int, refuses: bool
) -> None:
    """A failure costs one request's attempt, and says whether the host asks for a pause."""
    world.answer = Answer(status=status, headers={"retry-after": "700"})
    for tries in (1, 2):
        with pytest.raises(RobotsUnavailable) as failed:
            await world.settled()
        assert (failed.value.refuses, failed.value.is_hosts) == (refuses, True)
        assert failed.value.retry_after == ("700" if status else None)
        assert world.asked.total() == tries
    world.answer = Answer(body=RULES)
    assert not await world.settled(f"{URL}private")


async def test_robots_failure_that_nobody_came_for_is_not_told_later(world: World) -> None:
    """After a while it says nothing any more: the origin is asked."""
    world.answer = Answer(status=500)
    world.robots.leave(URL)
    await world.clock.sleep(FAILURE_S + 1)
    world.answer = Answer(body=RULES)
    assert await world.settled()


async def test_robots_through_a_proxy_that_fails_is_not_the_hosts_failure(world: World) -> None:
    """It is asked the way that the session's pages go, and what fails there is not held against the host."""
    world.answer = Answer(status=0)
    assert world.robots.leave(URL, proxy="http://p.test:1").wait_s is not None
    await world.clock.sleep(0.1)
    with pytest.raises(RobotsUnavailable) as failed:
        world.robots.leave(URL, proxy="http://p.test:1")
    assert not failed.value.is_hosts
    assert world.ways == ["http://p.test:1"]


async def test_robots_of_a_redirects_target_is_waited_for_within_a_limit(world: World) -> None:
    """The answer, or that there is none in time; one that failed a moment ago is not asked again for the next page."""
    assert await world.robots.wait_leave(f"{URL}private", limit_s=5) is False
    world.answer.wait_s = inf
    assert await world.robots.wait_leave("http://slow.test/", limit_s=0.01) is None
    world.answer = Answer(status=500)
    for _ in range(10):
        assert await world.robots.wait_leave("http://ill.test/", limit_s=5) is None
    assert world.asked["http://ill.test/robots.txt"] == 1


async def test_robots_of_redirects_targets_keep_no_other_site_waiting(world: World) -> None:
    """What was asked for a page that is there is not counted among what is asked ahead of visits."""
    for number in range(AHEAD_MAX + 1):
        assert await world.robots.wait_leave(f"http://h{number}.test/", limit_s=5)
    began = world.clock.now()
    assert await world.settled()
    assert world.clock.now() - began < 1


async def test_robots_large_file_is_read_without_holding_others_up(world: World) -> None:
    """It is read in a thread; nothing is allowed before that."""
    world.answer = Answer(body=RULES + b"\n" + b"Disallow: /x*$\n" * 20_000)
    assert not await world.settled(f"{URL}private")


async def test_robots_remembers_no_more_sites_than_it_may(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, answered or not, what is kept of them is bounded."""
    monkeypatch.setattr("browsercrawl.politeness.robots.SITES_MAX", 300)
    for number in range(2_000):
        world.answer = Answer(status=500) if number % 2 else Answer(body=RULES)
        with suppress(RobotsUnavailable):
            await world.settled(f"http://h{number}.test/")
    assert len(world.robots._sites) <= 301
    assert world.robots._bytes <= 301 * len(RULES)


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


async def test_robots_closed_while_asking_leaves_nothing(world: World) -> None:
    """What is under way ends with it."""
    world.answer.wait_s = inf
    world.robots.leave(URL)
    await world.robots.close()
    assert {task for task in asyncio.all_tasks() if task.get_name().startswith("robots")} == set()
