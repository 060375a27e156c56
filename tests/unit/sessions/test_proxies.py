"""Which proxy a session gets, how long one that failed rests, and who is asked."""

from browsercrawl.sessions.proxies import COOLDOWN_MAX_S, ProxyRotation
from browsercrawl.testing.virtual_clock import VirtualClock

A, B, C = "http://a.test:1", "http://b.test:2", "http://c.test:3"


def rotation(*urls: str, clock: VirtualClock | None = None) -> ProxyRotation:
    """Make a rotation with a cooldown of a minute."""
    return ProxyRotation(urls, cooldown_s=60, clock=clock or VirtualClock())


def test_of_is_sticky_and_spreads() -> None:
    """A session keeps its proxy; new ones get that which fewest have."""
    proxies = rotation(A, B)
    assert [proxies.of(name) for name in ("1", "2", "3", "4", "1", "2")] == [A, B, A, B, A, B]


def test_of_own_proxy_goes_before_the_list() -> None:
    """A session's own proxy is used, and none where there is nothing."""
    assert rotation(A).of("1", own=C) == C
    assert rotation().of("1") is None


async def test_failed_proxy_rests_and_another_is_given() -> None:
    """The failed one is nobody's next until it has rested; then it is in turn again."""
    clock = VirtualClock()
    proxies = rotation(A, B, clock=clock)
    assert proxies.of("1") == A
    assert proxies.failed("1") is None
    assert [proxies.of(name) for name in ("1", "2", "3")] == [B, B, B]
    await clock.advance(60)
    assert proxies.of("4") == A


async def test_failed_only_proxy_tells_when_it_has_rested() -> None:
    """The rest doubles with each failure in a row, up to an hour."""
    clock = VirtualClock()
    proxies = rotation(A, clock=clock)
    rests = []
    for _ in range(9):
        proxies.of("1")
        rests.append(rest := proxies.failed("1") or 0.0)
        await clock.advance(rest)
    assert rests == [60, 120, 240, 480, 960, 1920, 3600, 3600, COOLDOWN_MAX_S]


async def test_failed_twice_while_it_rests_counts_once() -> None:
    """Two sessions that find out about the same proxy do not let it rest twice as long."""
    clock = VirtualClock()
    proxies = rotation(A, clock=clock)
    assert (proxies.of("1"), proxies.of("2")) == (A, A)
    assert proxies.failed("1") == 60
    await clock.advance(10)
    assert proxies.failed("2") == 50


async def test_worked_forgives_earlier_failures() -> None:
    """A page that came through ends the row."""
    clock = VirtualClock()
    proxies = rotation(A, clock=clock)
    proxies.of("1")
    proxies.failed("1")
    await clock.advance(60)
    proxies.of("1")
    proxies.worked("1")
    assert proxies.failed("1") == 60


def test_failed_own_proxy_is_waited_for() -> None:
    """A session with a proxy of its own gets no other, whatever the list has."""
    proxies = rotation(A, B)
    assert proxies.of("1", own=C) == C
    assert proxies.failed("1", own=C) == 60
    assert proxies.of("1", own=C) == C


def test_failed_function_is_asked_with_the_number_had() -> None:
    """A function gives the next at once, and is asked once for each."""
    asked: list[tuple[str, int]] = []

    def give(session: str, number: int) -> str:
        asked.append((session, number))
        return f"http://p{number}.test:1"

    proxies = ProxyRotation([], cooldown_s=60, clock=VirtualClock(), function=give)
    assert [proxies.of("1"), proxies.of("1")] == ["http://p0.test:1"] * 2
    assert proxies.failed("1") is None
    assert proxies.of("1") == "http://p1.test:1"
    assert asked == [("1", 0), ("1", 1)]
