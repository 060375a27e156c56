"""Both stores, on a clock turned by hand."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from browsercrawl.frontier import (
    UNBOUNDED,
    Bounds,
    Claim,
    Frontier,
    MemoryFrontier,
    RulesOf,
    SessionLimitOf,
)
from browsercrawl.frontier.sqlite import SqliteFrontier, StoreOptions, make_store
from browsercrawl.politeness import HostRules
from browsercrawl.request import Request
from browsercrawl.testing.virtual_clock import VirtualClock

FREE = HostRules()

Make = Callable[..., Awaitable[Frontier]]


@pytest.fixture
def clock() -> VirtualClock:
    """A clock turned by hand."""
    return VirtualClock()


@pytest.fixture(params=["memory", "sqlite"])
async def make(request: pytest.FixtureRequest, clock: VirtualClock, tmp_path: Path) -> AsyncIterator[Make]:
    """Opens a fresh store; the second time another one."""
    made: list[Frontier] = []

    async def open_one(
        rules: HostRules | RulesOf = FREE, *, limits: SessionLimitOf | None = None, most: Bounds = UNBOUNDED
    ) -> Frontier:
        rules_of: RulesOf = rules if callable(rules) else lambda _: rules
        if request.param == "memory":
            made.append(MemoryFrontier(clock=clock, rules_of=rules_of, session_limit_of=limits, most=most))
        else:
            path = tmp_path / f"{len(made)}.sqlite"
            make_store(path, notes={})
            options = StoreOptions(session_limit_of=limits, most=most)
            made.append(await SqliteFrontier.open(path, clock=clock, rules_of=rules_of, options=options))
        return made[-1]

    yield open_one
    for frontier in made:
        await frontier.close()


def asked(host: str, page: int | str, *, session: str | None = None, priority: int = 0) -> Request:
    """Return a request for a page of a host."""
    return Request(url=f"http://{host}.test/{page}", session=session, priority=priority)


async def claimed(
    frontier: Frontier, limit: int = 1, *, warm: tuple[str, ...] = (), lease_s: float = 100.0
) -> list[Claim]:
    """Claim as many as there are, up to a number."""
    return await frontier.claim(owner="test", limit=limit, lease_s=lease_s, warm=warm)


def urls(claims: list[Claim]) -> list[str]:
    """Return host and path of what was claimed."""
    return [claim.request.url.removeprefix("http://") for claim in claims]
