"""What sessions cost: a login on a warm context, hibernation with and without localStorage, and a thousand of them.

    python scripts/bench/sessions.py [--rounds 5] [--short 5] [--long 25] [--sessions 1000] [--subjects warm,...]

Each subject fetches the same page again and again, one at a time, in a process of its own. Every round runs each
subject at two lengths, in turn (ten times as long where the context stays open); the difference of their CPU seconds
(whole process tree), or of their time, by the difference of their pages is the cost of a page with start-up taken off.
The site is served by another process, which is not counted. Quoted are medians over the rounds, and the median of each
round's difference to its basis.

    anonymous   no session
    warm        a session with a login on its warm context: cookies and localStorage are taken after each page, and the
                page is looked at for signs of being logged out
    cookies     two such sessions in turn on one context: each page costs a hibernation and a revival
    origins N   the same, with localStorage of N origins; Playwright brings it back by a visit to each

`--sessions` then visits three pages of each of so many accounts, logged in by HTTP, with room for 8 contexts.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from accounts import Plan, credentials, serving
from tree_cpu import measured_run

SUBJECTS = {"anonymous": 0, "warm": 0, "cookies": 0, "origins 1": 1, "origins 3": 3, "origins 10": 10}
"""With how many origins each session has localStorage of."""

CHEAP = {"anonymous", "warm"}
CHEAP_TIMES = 10
"""What costs a tenth is measured over ten times as many pages."""

BASES = {"warm": "anonymous", **{name: "warm" for name in SUBJECTS if name not in CHEAP}}
STORED_BYTES = 200
CONTEXTS = 8
PAGES_EACH = 3


def saved_states(folder: Path, names: list[str], *, origins: int) -> None:
    """Write down a state of each session, so that it counts as logged in."""
    from browsercrawl.sessions.state import SavedOrigin, SessionState
    from browsercrawl.sessions.vault import StateVault

    cookie = {"name": "session", "value": "x" * 40, "domain": "127.0.0.1", "path": "/", "expires": -1,
              "httpOnly": True, "secure": False, "sameSite": "Lax"}  # fmt: skip
    stored = [
        SavedOrigin(origin=f"http://app{number}.example", local_storage={"kept": "x" * STORED_BYTES})
        for number in range(origins)
    ]
    domains = ("127.0.0.1", "example")
    for name in names:
        state = SessionState(session=name, account=name, domains=domains, cookies=(cookie,), origins=stored)
        StateVault(folder, key=None).save(state.model_copy(update={"epoch": 1}))


async def fetch_pages(subject: str, url: str, count: int) -> dict[str, Any]:
    """Fetch the page so many times; return how long leases took, and how often a session was revived."""
    from browsercrawl import Crawler, CrawlerConfig, Request
    from browsercrawl.events import Event, SessionRevived

    names = ["a"] if subject == "warm" else [] if subject == "anonymous" else ["a", "b"]
    recipe = {"kind": "http", "url": f"{url}/login", "form": {}}
    signs = {"url": f"{url}/login*", "missing": "title"}
    profiles = [
        {"name": name, "account": name, "domains": ["127.0.0.1", "example"],
         "login": {"recipe": recipe, "logged_out": signs}}
        for name in names
    ]  # fmt: skip
    revived = 0

    def watch(event: Event) -> None:
        nonlocal revived
        revived += isinstance(event, SessionRevived)

    leases = []
    with tempfile.TemporaryDirectory(prefix="sessions-") as folder:
        saved_states(Path(folder), names, origins=SUBJECTS[subject])
        config = CrawlerConfig.load(
            {
                "concurrency": 1,
                "pool": {"contexts_max": 1},
                "sessions": {"profiles": profiles, "state_dir": folder},
            }
        )
        async with Crawler(config, on_event=watch) as crawler:
            started = time.monotonic()
            for number in range(count):
                session = names[number % len(names)] if names else None
                result = await crawler.fetch(Request(url=url, session=session))
                assert result.outcome == "succeeded", result
                leases.append(result.timings.lease_s)
            seconds = time.monotonic() - started
    return {"seconds": seconds, "lease_s": statistics.median(leases), "revived": revived}


class Cost(NamedTuple):
    """What a page of a subject took in one round."""

    cpu_s: float
    wall_s: float
    lease_s: float


def page_cost(subject: str, url: str, short: int, long: int) -> Cost:
    """Run a subject at both lengths."""
    times = CHEAP_TIMES if subject in CHEAP else 1
    seen = []
    for count in (short * times, long * times):
        one = json.dumps({"subject": subject, "url": url, "count": count})
        cpu_s, output = measured_run([sys.executable, __file__, "--one", one])
        told = json.loads(output.splitlines()[-1])
        assert told["revived"] >= (0 if subject == "anonymous" else 1 if subject == "warm" else count), told
        seen.append((cpu_s, told["seconds"], told["lease_s"]))
    (cpu_short, wall_short, _), (cpu_long, wall_long, lease_s) = seen
    pages = (long - short) * times
    return Cost((cpu_long - cpu_short) / pages, (wall_long - wall_short) / pages, lease_s)


def compare(subjects: list[str], *, rounds: int, short: int, long: int) -> None:
    """Run all subjects in turn and print the table."""
    server = subprocess.Popen([sys.executable, "-m", "browsercrawl.testing"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = f"{server.stdout.readline().split()[0].rstrip('/')}/faults/page"
        costs: dict[str, list[Cost]] = {subject: [] for subject in subjects}
        for number in range(rounds):
            for subject, known in costs.items():
                known.append(page_cost(subject, url, short, long))
            line = "  ".join(f"{subject} {known[-1].cpu_s * 1000:.0f} ms" for subject, known in costs.items())
            print(f"round {number + 1}: {line}", flush=True)
    finally:
        server.terminate()
        server.wait()
    print(f"\n{'':12}{'CPU per page':>14}{'time per page':>15}{'lease':>10}   {'beyond':12}{'CPU':>10}{'time':>10}")
    for subject, known in costs.items():
        cpu, wall, lease = (statistics.median(values) * 1000 for values in zip(*known, strict=True))
        line = f"{subject:12}{cpu:11.1f} ms{wall:12.1f} ms{lease:7.1f} ms"
        if (base := BASES.get(subject)) in costs:
            pairs = list(zip(known, costs[base], strict=True))
            more_cpu = statistics.median(one.cpu_s - other.cpu_s for one, other in pairs) * 1000
            more_wall = statistics.median(one.wall_s - other.wall_s for one, other in pairs) * 1000
            line += f"   {base:12}{more_cpu:7.1f} ms{more_wall:7.1f} ms"
        print(line)


async def crawl_accounts(plan: Plan, url: str) -> dict[str, Any]:
    """Visit the pages of all accounts; return what that took, and what is left of it in memory."""
    import gc
    from collections import Counter

    import psutil

    from browsercrawl import Crawler, CrawlerConfig, Request

    sent = {"user": "{username}", "password": "{password}"}
    recipe = {"kind": "http", "url": f"{url}/members/login/json", "json_body": sent, "cookie": "member_session"}
    profiles = [
        {
            "name": account,
            "login": {
                "recipe": recipe,
                "credentials": credentials(plan, account),
                "logged_out": {"missing": "#account"},
            },
        }
        for account in map(plan.account, range(plan.accounts))
    ]
    config = CrawlerConfig.load(
        {
            "concurrency": plan.concurrency,
            "pool": {"contexts_max": plan.contexts},
            "sessions": {"profiles": profiles},
            "visit": {"capture": []},
        }
    )
    events: Counter[str] = Counter()
    pages = wrong = 0
    process = psutil.Process()
    before = process.memory_info().rss
    started = time.monotonic()
    async with Crawler(config, on_event=lambda event: events.update([event.name])) as crawler:
        seeds = (
            Request(url=f"{url}/members/page/{page}", session=str(each["name"]))
            for page in range(PAGES_EACH)
            for each in profiles
        )
        async with crawler.stream(seeds) as stream:
            async for result in stream:
                pages += 1
                wrong += not str(result.title).endswith(f" of {result.session}")
        seconds = time.monotonic() - started
        gc.collect()
        after = process.memory_info().rss
    return {"pages": pages, "wrong": wrong, "seconds": seconds, "before": before, "after": after, "events": events}


def thousand(sessions: int) -> None:
    """Crawl many sessions on few contexts and print what happened."""
    never = 1_000_000
    plan = Plan(sessions, sessions * PAGES_EACH, CONTEXTS, 4, never, never, 0, django=False, mixed=False)
    with tempfile.TemporaryDirectory(prefix="sessions-") as folder, serving(plan, Path(folder)) as site:
        cpu_s, output = measured_run([sys.executable, __file__, "--all", json.dumps({"plan": plan, "url": site.url})])
        logins = sum(site.told()["logins"].values())
    seen = json.loads(output.splitlines()[-1])
    events = seen["events"]
    print(
        f"\n{sessions:,} sessions, {seen['pages']:,} pages ({seen['wrong']} wrong), {CONTEXTS} contexts: "
        f"{logins} logins, "
        f"{events.get('session.hibernated', 0)} hibernations, {events.get('session.revived', 0)} revivals, "
        f"{seen['pages'] / seen['seconds']:.1f} pages/s, {cpu_s / seen['pages'] * 1000:.0f} ms CPU per page; "
        f"Python {seen['before'] / 1e6:.0f} MB before, {seen['after'] / 1e6:.0f} MB at the end"
    )


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="0: the many sessions only")
    parser.add_argument("--short", type=int, default=5, help="pages of the short run")
    parser.add_argument("--long", type=int, default=25, help="pages of the long run")
    parser.add_argument("--subjects", default=",".join(SUBJECTS), help="those to compare, comma-separated")
    parser.add_argument("--sessions", type=int, default=1000, help="0: the costs only")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--all", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        one = json.loads(arguments.one)
        print(json.dumps(asyncio.run(fetch_pages(one["subject"], one["url"], one["count"]))))
    elif arguments.all:
        everything = json.loads(arguments.all)
        print(json.dumps(asyncio.run(crawl_accounts(Plan(*everything["plan"]), everything["url"]))))
    else:
        if arguments.rounds:
            compare(arguments.subjects.split(","), rounds=arguments.rounds, short=arguments.short, long=arguments.long)
        if arguments.sessions:
            thousand(arguments.sessions)


if __name__ == "__main__":
    main()
