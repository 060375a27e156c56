"""Many accounts on few contexts, their sessions ending at random: is each page the right account's, no login too many?

    python scripts/bench/accounts.py [--accounts 50] [--pages 2000] [--contexts 6] [--concurrency 4]
                                     [--expire 10-60] [--seed 0] [--django] [--mixed]

The pages are spread evenly over the accounts of the demo site's members' area or, with `--django`, of Django's admin
(both are served by other processes, which are not counted). Each session ends after a number of pages drawn from
`--expire` by seed, account and number of the login, so that the least possible number of logins is known: the page
that a login leads to is one of them. With `--mixed` the requests come in random order instead of account by account.
Afterwards a second crawler visits one page of each account with the saved states.

The exit code is 1 if a page was wrong, a login too many, or somebody logged in again whose session still held.
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

from tree_cpu import measured_run

DJANGO = Path(__file__).parents[2] / "tests" / "integration" / "sessions" / "django_site" / "serve.py"

DEMO = """
import json, sys
from browsercrawl.testing import DemoSite
accounts, least, most, seed = map(int, sys.argv[1:])
with DemoSite(accounts=accounts) as site:
    site.members.rotate_every = 3
    site.members.expire_between(least, most, seed=seed)
    print(site.url, flush=True)
    for _ in sys.stdin:
        members = site.members
        live = {account: members.live_sessions(account) for account in members.accounts}
        print(json.dumps({"logins": members.logins, "live": live}), flush=True)
"""


class Plan(NamedTuple):
    """What is crawled."""

    accounts: int
    pages: int
    contexts: int
    concurrency: int
    least: int
    most: int
    seed: int
    django: bool
    mixed: bool

    @property
    def each(self) -> int:
        """Pages of each account."""
        return self.pages // self.accounts

    def account(self, number: int) -> str:
        """Return the name of an account."""
        return f"user-{number}" if self.django else f"member-{number}"

    def least_logins(self, account: str) -> int:
        """Return how many logins an account needs: each gives as many pages as its session shows, less the first."""
        shown, logins = 0, 0
        while shown < self.each:
            logins += 1
            shown += random.Random(f"{self.seed} {account} {logins}").randint(self.least, self.most) - 1
        return logins


class Site:
    """A site in a process of its own."""

    def __init__(self, process: "subprocess.Popen[str]", url: str, *, django: bool) -> None:
        self._process = process
        self.url = url
        self._django = django

    def told(self) -> dict[str, dict[str, int]]:
        """Return logins and live sessions of each account."""
        told: dict[str, dict[str, int]]
        if self._django:
            with urlopen(f"{self.url}/counts/") as response:
                told = json.load(response)
            live = {user: count - told["expired"].get(user, 0) for user, count in told["logins"].items()}
            return {"logins": told["logins"], "live": live}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        told = json.loads(self._process.stdout.readline())
        return told


@contextmanager
def serving(plan: Plan, folder: Path) -> Iterator[Site]:
    """Serve what is crawled."""
    expire = f"{plan.least}-{plan.most}"
    demo = [sys.executable, "-c", DEMO, *map(str, (plan.accounts, plan.least, plan.most, plan.seed))]
    admin = [sys.executable, str(DJANGO), str(folder), "--accounts", str(plan.accounts), "--groups", str(plan.each),
             "--expire", expire, "--seed", str(plan.seed)]  # fmt: skip
    command = admin if plan.django else demo
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield Site(process, process.stdout.readline().strip(), django=plan.django)
        process.stdin.close()


def profile(plan: Plan, url: str, number: int) -> dict[str, Any]:
    """Return how an account logs in."""
    account, area = plan.account(number), f"{url}/admin/" if plan.django else f"{url}/members/"
    fields = ("#id_username", "#id_password") if plan.django else ("#user", "#password")
    name = "#user-tools strong" if plan.django else "#account"
    recipe = {
        "kind": "form",
        "url": f"{area}login/?next=/admin/" if plan.django else f"{area}login",
        "steps": [{"fields": dict(zip(fields, ("{username}", "{password}"), strict=True))}],
        "success": {"url": area, "selector": name},
    }
    signs = {"url": f"{area}login*", "missing": name}
    return {
        "name": account,
        "login": {"recipe": recipe, "credentials": credentials(plan, account), "logged_out": signs},
    }


def credentials(plan: Plan, account: str) -> dict[str, str]:
    """Return what an account logs in with."""
    from browsercrawl.testing.members import Members

    password = f"pw-{account}" if plan.django else Members(accounts=plan.accounts).password(account)
    return {"username": account, "password": password}


async def crawl(plan: Plan, url: str, states: Path, each: int) -> dict[str, Any]:
    """Crawl so many pages of each account; return what was seen."""
    from browsercrawl import Crawler, CrawlerConfig, Request, Visit
    from browsercrawl.events import ContextOpened, Event, SessionHibernated

    contexts = hibernations = 0
    others: Counter[str] = Counter()

    def watch(event: Event) -> None:
        nonlocal contexts, hibernations
        if isinstance(event, ContextOpened):
            contexts = max(contexts, event.contexts)
        hibernations += isinstance(event, SessionHibernated)
        if event.name.startswith("session."):
            others[event.name] += 1

    config = CrawlerConfig.load(
        {
            "concurrency": plan.concurrency,
            "pool": {"contexts_max": plan.contexts},
            "sessions": {
                "profiles": [profile(plan, url, number) for number in range(plan.accounts)],
                "state_dir": states,
            },
        }
    )
    path = "/admin/auth/group/{}/change/" if plan.django else "/members/page/{}"
    seeds = [
        Request(url=url + path.format(page), session=plan.account(number))
        for page in range(1, each + 1)
        for number in range(plan.accounts)
    ]
    if plan.mixed:
        random.Random(plan.seed).shuffle(seeds)
    name = "#user-tools strong" if plan.django else "#account"
    crawler = Crawler(config, on_event=watch)

    @crawler.handler()
    async def whose(visit: Visit) -> None:
        visit.push(await visit.page.locator(name).text_content())

    pages = wrong = 0
    async with crawler.stream(seeds) as stream:
        async for result in stream:
            pages += 1
            wrong += result.outcome != "succeeded" or result.data != (result.session,) or result.attempts != 1
    return {"pages": pages, "wrong": wrong, "contexts": contexts, "hibernations": hibernations, "events": others}


def measured(plan: Plan, url: str, states: Path, each: int) -> dict[str, Any]:
    """Crawl in a process of its own; its CPU seconds and time come with what it has seen."""
    started = time.monotonic()
    one = json.dumps({"plan": plan, "url": url, "states": str(states), "each": each})
    cpu_s, output = measured_run([sys.executable, __file__, "--one", one])
    return {**json.loads(output.splitlines()[-1]), "cpu_s": cpu_s, "wall_s": time.monotonic() - started}


def compare(plan: Plan) -> bool:
    """Crawl, crawl again, and print the table. Returns whether all was well."""
    with tempfile.TemporaryDirectory(prefix="accounts-") as folder, serving(plan, Path(folder)) as site:
        states = Path(folder) / "states"
        first = measured(plan, site.url, states, plan.each)
        between = site.told()
        second = measured(plan, site.url, states, 1)
        after = site.told()
    accounts = [plan.account(number) for number in range(plan.accounts)]
    logins, least = sum(between["logins"].values()), sum(map(plan.least_logins, accounts))
    again = sum(after["logins"].values()) - logins
    ended = sum(not between["live"].get(account) for account in accounts)
    rows = {
        "pages": f"{first['pages']:,} of {plan.each * plan.accounts:,}",
        "wrong pages": first["wrong"] + second["wrong"],
        "logins": f"{logins} (the least possible: {least})",
        "contexts, at most": f"{first['contexts']} (limit {plan.contexts})",
        "hibernations": first["hibernations"],
        "time": f"{first['wall_s']:.0f} s, {first['pages'] / first['wall_s']:.1f} pages/s",
        "CPU per page": f"{first['cpu_s'] / first['pages'] * 1000:.0f} ms",
        "restart": f"{again} of {len(accounts)} logged in anew (sessions that had ended: {ended})",
        "events": ", ".join(f"{name} {count}" for name, count in sorted(first["events"].items())),
    }
    for name, told in rows.items():
        print(f"{name:20}{told}")
    is_whole = first["pages"] == plan.each * plan.accounts and second["pages"] == plan.accounts
    return is_whole and (first["wrong"] + second["wrong"], logins, again) == (0, least, ended)


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=50)
    parser.add_argument("--pages", type=int, default=2000, help="of all accounts together")
    parser.add_argument("--contexts", type=int, default=6, help="open at once, at most")
    parser.add_argument("--concurrency", type=int, default=4, help="pages open at once")
    parser.add_argument("--expire", default="10-60", help="pages that a session shows before it ends")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--django", action="store_true", help="crawl Django's admin")
    parser.add_argument("--mixed", action="store_true", help="requests in random order")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        one = json.loads(arguments.one)
        seen = asyncio.run(crawl(Plan(*one["plan"]), one["url"], Path(one["states"]), one["each"]))
        print(json.dumps(seen))
        return
    least, _, most = arguments.expire.partition("-")
    plan = Plan(
        arguments.accounts, arguments.pages, arguments.contexts, arguments.concurrency,
        int(least), int(most), arguments.seed, arguments.django, arguments.mixed,
    )  # fmt: skip
    sys.exit(0 if compare(plan) else 1)


if __name__ == "__main__":
    main()
