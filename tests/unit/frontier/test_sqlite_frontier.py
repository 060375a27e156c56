"""What the durable store promises besides what every store does."""

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from browsercrawl.errors import ConfigError, InputError, InternalError
from browsercrawl.frontier import Claim, Cost, HostUpdate, Record, Verdict
from browsercrawl.frontier.sqlite import SqliteFrontier, StoreOptions, make_store, read_store
from browsercrawl.politeness import HostRules
from browsercrawl.request import Request
from browsercrawl.testing.virtual_clock import VirtualClock


class _Rules:
    """The rules of all hosts; asking those of `gate` waits until it is opened, and with it the store's thread."""

    def __init__(self) -> None:
        self.rules = HostRules()
        self.gate = threading.Event()

    def __call__(self, host: str) -> HostRules:
        if host == "gate.test:80":
            assert self.gate.wait(30)
        if host == "bad.test:80":
            raise ConfigError(host)
        return self.rules


class _SteppedClock(VirtualClock):
    """A clock whose calendar somebody sets."""

    stepped = timedelta()

    def utc(self) -> datetime:
        return super().utc() + self.stepped


@pytest.fixture
def clock() -> _SteppedClock:
    """A clock turned by hand."""
    return _SteppedClock()


@pytest.fixture
def rules() -> _Rules:
    """No restraint, until a test says otherwise."""
    return _Rules()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A fresh store."""
    path = tmp_path / "run.sqlite"
    make_store(path, notes={})
    return path


@pytest.fixture
async def store(path: Path, clock: _SteppedClock, rules: _Rules) -> AsyncIterator[SqliteFrontier]:
    """It, open."""
    store = await SqliteFrontier.open(path, clock=clock, rules_of=rules)
    yield store
    rules.gate.set()
    await store.close()


def _request(page: int | str, *, host: str = "a") -> Request:
    return Request(url=f"http://{host}.test/{page}")


async def _claim(store: SqliteFrontier, limit: int = 1) -> list[Claim]:
    return await store.claim(owner="me", limit=limit, lease_s=100.0)


async def test_store_claim_whose_caller_is_cancelled_is_put_back(store: SqliteFrontier, rules: _Rules) -> None:
    """What nobody learnt of is not lost until it expires: the next claim gets it, no stall counted."""
    await store.schedule([_request(1)])
    blocker = asyncio.ensure_future(store.schedule([_request(1, host="gate")]))
    claiming = asyncio.ensure_future(_claim(store, 2))
    await asyncio.sleep(0)  # both are submitted
    claiming.cancel()
    await asyncio.wait({claiming})
    rules.gate.set()
    await blocker
    while len(claims := await _claim(store, 2)) < 2:
        assert store.counts().claimed
    assert claiming.cancelled()
    assert [claim.stalls for claim in claims] == [0, 0]


async def test_store_methods_whose_callers_are_cancelled_harm_no_other(store: SqliteFrontier, rules: _Rules) -> None:
    """A cancelled call is carried out or not; those before and after it are."""
    blocker = asyncio.ensure_future(store.schedule([_request(1, host="gate")]))
    calls = [asyncio.ensure_future(store.schedule([_request(page)])) for page in range(3)]
    await asyncio.sleep(0)
    calls[1].cancel()
    rules.gate.set()
    assert [await call for call in (blocker, calls[0], calls[2])] == [[Verdict.STORED]] * 3
    assert await store.schedule([_request(0), _request(2)]) == [Verdict.DUPLICATE] * 2


async def test_store_of_calls_committed_together_only_the_culprit_fails(store: SqliteFrontier, rules: _Rules) -> None:
    """Commits are shared, failures are not."""
    blocker = asyncio.ensure_future(store.schedule([_request(1, host="gate")]))
    calls = [asyncio.ensure_future(store.schedule([_request(1), _request(1, host=host)])) for host in ("b", "bad", "c")]
    await asyncio.sleep(0)
    rules.gate.set()
    await blocker
    first, failed, last = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(failed, ConfigError)
    assert (first, last) == ([Verdict.STORED, Verdict.STORED], [Verdict.DUPLICATE, Verdict.STORED])
    await store.ready_in()
    assert store.counts().stored == 4


async def test_store_opened_anew_gives_a_host_that_was_given_up_one_chance(
    store: SqliteFrontier, path: Path, clock: _SteppedClock, rules: _Rules
) -> None:
    """One request finds out, and what was counted against the host still is; served, it is trusted again."""
    await store.schedule([_request(page) for page in range(5)])
    (claim,) = await _claim(store)
    await store.release(claim, cost=Cost.ATTEMPT, host=HostUpdate(failures=13, is_down=True))
    assert [each.is_down for each in await _claim(store, 2)] == [True, True]
    await store.close()
    again = await SqliteFrontier.open(path, clock=clock, rules_of=rules)
    (probe,) = await _claim(again, 5)
    assert (probe.is_down, probe.failures) == (False, 1)
    assert await again.complete(probe, record=Record(ending="succeeded"), host=HostUpdate()) == []
    assert [(each.is_down, each.failures) for each in await _claim(again, 5)] == [(False, 0)] * 4
    await again.close()


async def test_store_closed_puts_back_what_it_claimed_without_a_stall(
    store: SqliteFrontier, path: Path, clock: _SteppedClock, rules: _Rules
) -> None:
    """A process that ends in good order leaves no claim behind; it may close twice, and use it no more."""
    await store.schedule([_request(page) for page in range(3)])
    claims = await _claim(store, 2)
    await store.close()
    await store.close()
    with pytest.raises(InternalError, match="after it was closed"):
        await store.release(claims[0], cost=Cost.STALL)
    again = await SqliteFrontier.open(path, clock=clock, rules_of=rules)
    assert again.returned == 0
    assert [claim.stalls for claim in await _claim(again, 5)] == [0, 0, 0]
    assert not await again.release(claims[0], cost=Cost.STALL)
    await again.close()


async def test_store_calendar_stepped_while_it_is_open_changes_nothing(
    store: SqliteFrontier, clock: _SteppedClock, rules: _Rules
) -> None:
    """Waits are measured by the clock that nobody sets."""
    await store.defer("a.test:80", 60.0)
    await store.schedule([_request(1)])
    for hours in (5, -5):
        clock.stepped = timedelta(hours=hours)
        await clock.advance(1.0)
        await store.note({"hours": str(hours)})
    assert await store.ready_in() == 58.0


async def test_store_opened_again_asks_the_rules_of_its_hosts_anew(
    store: SqliteFrontier, path: Path, clock: _SteppedClock, rules: _Rules
) -> None:
    """A run may be resumed with another delay; it counts from the next claim."""
    await store.schedule([_request(page) for page in range(3)])
    await store.close()
    rules.rules = HostRules(delay_s=7.0)
    again = await SqliteFrontier.open(path, clock=clock, rules_of=rules)
    assert len(await _claim(again, 3)) == 1
    assert await again.ready_in() == 7.0
    await again.close()


async def test_store_opened_again_forgets_told_limits_and_asks_the_first_ones_anew(
    store: SqliteFrontier, path: Path, clock: _SteppedClock, rules: _Rules
) -> None:
    """A hold ends with its process; what another run of the file is given holds at once, of old requests too."""
    await store.limit_session("", 0)
    await store.schedule([_request(page) for page in range(3)])
    assert await _claim(store) == []
    await store.close()
    for limit, number in ((None, 3), (2, 2), (0, 0)):
        options = StoreOptions(session_limit_of={"": limit}.__getitem__)
        again = await SqliteFrontier.open(path, clock=clock, rules_of=rules, options=options)
        assert len(await _claim(again, 9)) == number
        assert (again.counts().parked, read_store(path).counts) == (3 - number, again.counts())
        await again.limit_session("", 1)
        await again.close()


async def test_store_failed_requests_taken_back_are_parked_while_their_session_is_held(store: SqliteFrontier) -> None:
    """They come back to a lane, and the limit of its session counts for it."""
    await store.schedule([_request(1)])
    await store.complete((await _claim(store))[0], record=Record(ending="failed.network"))
    await store.limit_session("", 0)
    assert await store.take_back(size=0) == 1
    assert (store.counts().parked, await _claim(store)) == (1, [])
    await store.limit_session("", 1)
    assert len(await _claim(store)) == 1


async def test_store_takes_failed_requests_back_by_kind_as_if_never_tried(store: SqliteFrontier) -> None:
    """They are queued in their old order, with a first attempt; what was counted for their ending is not any more."""
    await store.schedule([_request(page) for page in range(6)])
    endings = ["succeeded", "failed.network", "failed.deadline", "skipped.handler", "failed.network"]
    for ending in endings:
        (claim,) = await _claim(store)
        assert await store.release(claim, cost=Cost.ATTEMPT, memo="tried")
        (claim,) = await _claim(store)
        await store.complete(claim, record=Record(ending=ending, line=b"{}"))
    network = {_request(1).id, _request(4).id}
    assert await store.failed({"network"}) == network
    assert await store.failed() == network | {_request(2).id}
    assert await store.take_back({"network", "unheard_of"}, size=77) == 2
    assert await store.totals() == {"succeeded": 1, "failed.deadline": 1, "skipped.handler": 1}
    assert await store.notes() == {"results_size": "77", "results_swap": "1"}
    assert (store.counts().finished, store.counts().open) == (3, 3)
    claims = await _claim(store, 9)
    assert [claim.request for claim in claims] == [_request(1), _request(4), _request(5)]
    assert {(claim.attempt, claim.stalls, claim.memo) for claim in claims} == {(1, 0, "")}
    assert await store.take_back(size=1) == 1
    assert await store.failed() == set()


async def test_store_request_of_any_content_comes_back_as_it_was(store: SqliteFrontier) -> None:
    """Half characters, NUL, numbers beyond JSON: nothing is lost or changed on the way through the file."""
    odd = [
        Request(url="http://a.test/1", session="\U0001f36a", label="\udfff", key="\udc80", parent_url="\ud812"),
        Request(url="http://a.test/2", session="a\0b", data={"\ud800": ["\udc80", 10**30, None, True, 1.5]}),
        Request(url="http://a.test/3", priority=10**9, depth=10**15, data={"a": [[[{"a": {}}]]], "inf": float("inf")}),
        Request(url="http://a.test/4", priority=-(10**9), wait_for="'; DROP TABLE requests; --"),
    ]  # fmt: skip
    assert await store.schedule(odd) == [Verdict.STORED] * 4
    claims = {claim.request.url: claim.request for claim in await _claim(store, 9)}
    assert [claims[request.url] for request in odd] == odd
    await store.note({"path": "caf\udce9"})
    assert (await store.notes())["path"] == "caf\udce9"


async def test_store_request_that_cannot_be_written_is_refused_with_its_batch(store: SqliteFrontier) -> None:
    """The message says whose data it is; nothing of the batch is stored, and the store goes on."""
    huge = Request(url="http://a.test/2", data={"number": 10**5000})
    with pytest.raises(InputError, match=r"http://a\.test/2 cannot be stored"):
        await store.schedule([_request(1), huge])
    assert await store.schedule([_request(1)]) == [Verdict.STORED]
