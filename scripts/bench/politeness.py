"""What politeness costs and how exact it is, at the frontier: 10,000 hosts, a delay each, jitter, every visit heard.

    python scripts/bench/politeness.py                      both stores: as many claims as they give, and 1,000 a second
    python scripts/bench/politeness.py --hosts 1000 --seconds 5

*full*: a delay so short that some host is always due: how many claims per second there are, and how evenly the hosts
share them. *paced*: a delay such that 1,000 claims are due each second: how late each comes after the instant at which
it is due. *beside*: 100 hosts of one request, stored after 10,000 of one slow host: how long the last of them waits.
*down*: how fast 20,000 requests of a host that was given up are let go. A claim is finished at once, as served; claims
are asked for 16 at a time, each millisecond when none is due. With *paced*, hosts come in over the first delay.
"""

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from pathlib import Path

from browsercrawl.clock import SystemClock
from browsercrawl.frontier import Frontier, HostUpdate, MemoryFrontier, Record, RulesOf
from browsercrawl.frontier.sqlite import SqliteFrontier, make_store
from browsercrawl.politeness import HostRules
from browsercrawl.request import Request

DONE = Record(ending="succeeded")
JITTER = 0.1
LIMIT = 16
SLOW = 10_000
DOWN = 20_000
LEASE_S = 1000.0


async def opened(store: str, home: Path, rules_of: RulesOf) -> Frontier:
    """Open a fresh store."""
    if store == "memory":
        return MemoryFrontier(clock=SystemClock(), rules_of=rules_of)
    make_store(home / "run.sqlite", notes={})
    return await SqliteFrontier.open(home / "run.sqlite", clock=SystemClock(), rules_of=rules_of)


async def fill(frontier: Frontier, hosts: int, each: int, *, per_s: float) -> None:
    """Store so many requests of each host: all in turns; or, so many hosts per second, each host's together."""
    if not per_s:
        for page in range(each):
            for start in range(0, hosts, 500):
                some = range(start, min(start + 500, hosts))
                await frontier.schedule([Request(url=f"http://h{host}.test/{page}") for host in some])
        return
    began = time.monotonic()
    for host in range(hosts):
        await frontier.schedule([Request(url=f"http://h{host}.test/{page}") for page in range(each)])
        await asyncio.sleep(max(0.0, began + host / per_s - time.monotonic()))


async def paced(frontier: Frontier, seconds: float) -> tuple[Counter[str], list[float]]:
    """Claim and finish for so long; returns the claims by host, and how late those after a host's first came."""
    claimed, late, due = Counter[str](), [], dict[str, float]()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        claims = await frontier.claim(owner="bench", limit=LIMIT, lease_s=LEASE_S)
        for claim in claims:
            now = claim.expires_at - LEASE_S
            claimed[claim.slot] += 1
            if claim.slot in due:
                late.append(now - due[claim.slot])
            due[claim.slot] = now + claim.delay_s
        await asyncio.gather(*(frontier.complete(claim, record=DONE, host=HostUpdate()) for claim in claims))
        wait_s = await frontier.ready_in()
        await asyncio.sleep(0.001 if wait_s is None else min(wait_s, 0.001))
    return claimed, sorted(late)


async def full_and_paced(store: str, hosts: int, seconds: float) -> None:
    """Measure throughput, fairness and exactness."""
    for name, delay_s in (("full", hosts / 50_000), ("paced", hosts / 1_000)):
        with tempfile.TemporaryDirectory(prefix="bench-") as home:
            rules = HostRules(delay_s=delay_s, concurrency_max=2, jitter=JITTER)
            frontier = await opened(store, Path(home), {f"h{host}.test:80": rules for host in range(hosts)}.__getitem__)
            each, per_s = (1 + int(seconds * 10_000 / hosts), 0) if name == "full" else (5, hosts / delay_s)
            filling = asyncio.create_task(fill(frontier, hosts, each, per_s=per_s))
            if name == "full":
                await filling
            cpu, began = time.process_time(), time.monotonic()
            claimed, late = await paced(frontier, seconds + (delay_s if name == "paced" else 0.0))
            await filling
            took_s, cpu = time.monotonic() - began, time.process_time() - cpu
            counts = [claimed[f"h{host}.test:80"] for host in range(hosts)]
            await frontier.close()
        number = claimed.total()
        print(f"{store:7} {name:6} {number / took_s:8,.0f} claims/s  {1e6 * cpu / number:5.0f} us CPU each", end="  ")
        if name == "full":
            print(f"hosts had {min(counts)} to {max(counts)}")
        else:
            p50, p99 = (1000 * late[int(share * (len(late) - 1))] for share in (0.5, 0.99))
            print(f"late by {p50:.1f} ms (median), {p99:.1f} ms (p99), {1000 * late[-1]:.1f} ms (most)", end="; ")
            print(f"{sum(each < -1e-6 for each in late)} early")


async def beside(store: str) -> None:
    """Measure how long others wait beside a slow host."""
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        slow, free = HostRules(delay_s=1.0), HostRules()
        frontier = await opened(store, Path(home), lambda host: slow if host == "slow.test:80" else free)
        await frontier.schedule([Request(url=f"http://slow.test/{page}") for page in range(SLOW)])
        await frontier.schedule([Request(url=f"http://h{host}.test/") for host in range(100)])
        began, left = time.monotonic(), 100
        while left:
            for claim in await frontier.claim(owner="bench", limit=LIMIT, lease_s=LEASE_S):
                left -= claim.slot != "slow.test:80"
                await frontier.complete(claim, record=DONE, host=HostUpdate())
        print(f"{store:7} beside {1000 * (time.monotonic() - began):8.1f} ms until the last of the 100 others")
        await frontier.close()


async def down(store: str) -> None:
    """Measure how fast the requests of a host that was given up are let go."""
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        frontier = await opened(store, Path(home), lambda _: HostRules(delay_s=1.0, concurrency_max=1))
        await frontier.schedule([Request(url=f"http://slow.test/{page}") for page in range(DOWN)])
        (first,) = await frontier.claim(owner="bench", limit=1, lease_s=LEASE_S)
        await frontier.complete(first, record=DONE, host=HostUpdate(failures=13, is_down=True))
        began = time.monotonic()
        while claims := await frontier.claim(owner="bench", limit=LIMIT, lease_s=LEASE_S):
            await asyncio.gather(*(frontier.complete(claim, record=DONE) for claim in claims))
        took_s = time.monotonic() - began
        print(f"{store:7} down   {DOWN / took_s:8,.0f} requests/s let go")
        await frontier.close()


async def measure(hosts: int, seconds: float) -> None:
    """Measure both stores."""
    for store in ("memory", "sqlite"):
        await full_and_paced(store, hosts, seconds)
        await beside(store)
        await down(store)


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    given = parser.parse_args()
    asyncio.run(measure(given.hosts, given.seconds))


if __name__ == "__main__":
    main()
