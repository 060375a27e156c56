"""Looking names up: once for all who ask, and without anybody else waiting for names that hang."""

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from browsercrawl.net import resolver as resolver_module
from browsercrawl.net.resolver import Resolver

LIMIT_S = 10.0
HANGS = """
import asyncio, socket, time
from browsercrawl.net.resolver import Resolver
socket.getaddrinfo = lambda *_, **__: time.sleep(60)
async def main():
    async with asyncio.timeout(0.2):
        await Resolver().addresses("slow.test")
asyncio.run(main())
"""


class Names:
    """What answers instead of the system: at once, or not before `release` for names that begin with `slow`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.released = threading.Event()

    def getaddrinfo(self, name: str, *_: Any, **__: Any) -> list[Any]:
        """Return an address, or fail for names that begin with `no`."""
        self.asked.append(name)
        if name.startswith("slow"):
            self.released.wait(LIMIT_S)
        if name.startswith("no"):
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        if name.startswith("many"):
            return [(socket.AF_INET, 1, 6, "", (f"10.0.{number % 50}.{number // 50}", 0)) for number in range(5_000)]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))] * 2


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    """Answer instead of the system."""
    made = Names()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    yield made
    made.released.set()


async def asking(resolver: Resolver, count: int, *, names: Names) -> list["asyncio.Task[Any]"]:
    """Ask for so many names that hang, until as many as can be are being looked up."""
    tasks = [asyncio.create_task(resolver.addresses(f"slow{number}.test")) for number in range(count)]
    async with asyncio.timeout(LIMIT_S):
        while len(names.asked) < min(count, resolver_module._THREADS_MAX):  # noqa: ASYNC110 - threads tell nobody
            await asyncio.sleep(0)
    return tasks


async def ended(tasks: list["asyncio.Task[Any]"]) -> None:
    """Cancel tasks and wait for their end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_resolver_name_is_looked_up_once(names: Names) -> None:
    """All who ask at a time get one answer, which is kept for the next; a failure is everybody's, and is not kept."""
    resolver = Resolver()
    found = await asyncio.gather(*(resolver.addresses("a.test") for _ in range(3)))
    assert [[str(ip) for ip in each] for each in found] == [["192.0.2.1"]] * 3
    await resolver.addresses("a.test")
    assert names.asked == ["a.test"]
    for _ in range(2):
        failures = await asyncio.gather(*(resolver.addresses("no.test") for _ in range(3)), return_exceptions=True)
        assert [type(each) for each in failures] == [socket.gaierror] * 3
    assert names.asked == ["a.test", "no.test", "no.test"]
    resolver.close()


async def test_resolver_name_of_many_addresses_has_some(names: Names) -> None:
    """Thousands of addresses, of thousands of names, would fill memory and keep the guard busy."""
    resolver = Resolver()
    found = await resolver.addresses("many.test")
    assert len(found) == len(set(found)) == 64
    assert names.asked == ["many.test"]


async def test_resolver_names_that_hang_keep_no_other_waiting(names: Names) -> None:
    """A page can have 32 connections looked up at a time: while all of these hang, other names are found at once."""
    resolver = Resolver()
    hanging = await asking(resolver, 32, names=names)
    async with asyncio.timeout(2):
        assert await resolver.addresses("a.test")
    await ended(hanging)


async def test_resolver_name_that_nobody_waits_for_is_not_looked_up(names: Names) -> None:
    """What is given up before its turn costs no thread; who waits longer gets his turn."""
    resolver = Resolver()
    hanging = await asking(resolver, resolver_module._THREADS_MAX, names=names)
    given_up = [asyncio.create_task(resolver.addresses(f"a{number}.test")) for number in range(100)]
    kept = asyncio.create_task(resolver.addresses("b.test"))
    await asyncio.sleep(0)
    await ended(given_up)
    names.released.set()
    assert await kept
    await ended(hanging)
    assert names.asked[resolver_module._THREADS_MAX :] == ["b.test"]


async def test_resolver_slow_answer_is_in_time_or_not(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits is told when the limit is over, and the answer that comes later serves the next."""
    monkeypatch.setattr(resolver_module, "LOOKUP_LIMIT_S", 0.05)
    resolver = Resolver()
    with pytest.raises(TimeoutError, match="within"):
        await resolver.addresses("slow.test")
    names.released.set()
    monkeypatch.setattr(resolver_module, "LOOKUP_LIMIT_S", LIMIT_S)
    assert await resolver.addresses("slow.test")
    assert names.asked == ["slow.test"]


def test_resolver_closed_serves_the_next_event_loop(names: Names, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever waits for his turn is told of the end; lookups that outlive their event loop disturb nobody."""
    resolver = Resolver()

    async def first() -> None:
        hanging = await asking(resolver, resolver_module._THREADS_MAX, names=names)
        waiting = asyncio.create_task(resolver.addresses("a.test"))
        await asyncio.sleep(0)
        resolver.close()
        with pytest.raises(OSError, match="any more"):
            await waiting
        await ended(hanging)

    async def second() -> None:
        async with asyncio.timeout(LIMIT_S):
            assert await resolver.addresses("b.test")

    asyncio.run(first())
    asyncio.run(second())
    names.released.set()
    assert names.asked[-1] == "b.test"
    assert not caplog.records


def test_resolver_lookup_that_hangs_does_not_keep_the_process() -> None:
    """A process ends at once, whatever the system still waits for."""
    began_at = time.monotonic()
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, timeout=30, check=False)
    assert b"TimeoutError" in done.stderr
    assert time.monotonic() - began_at < 20
