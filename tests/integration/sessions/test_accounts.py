"""Many accounts on fewer contexts, with sessions that end at random: the right name on each page, no login too many."""

import random
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from browsercrawl import Outcome
from browsercrawl.events import ContextOpened, SessionExpired, SessionLoggedIn, SessionRevived
from browsercrawl.output import FinishReason

if TYPE_CHECKING:
    from tests.integration.sessions.conftest import Area, Crawled, NewCrawler, RunThrough, Watch

SEED = 20_260_201
ACCOUNTS = 8
PAGES = 25
"""Of each account."""

CONTEXTS = 6
LEAST, MOST = 6, 20
"""So many pages a session shows before it ends."""


def check_names(done: "Crawled", pages: int) -> None:
    """Check that each page of each account is there once, and shows that account's name."""
    found = Counter((result.outcome, str(result.session), result.title) for result in done.results)
    assert found == Counter(
        (Outcome.SUCCEEDED, f"m{number}", f"Page {page} of member-{number}")
        for number in range(ACCOUNTS)
        for page in range(pages)
    )
    assert all(f"member-{str(result.session)[1:]}" in (result.text or "") for result in done.results)
    assert {result.attempts for result in done.results} == {1}, "a page spent an attempt on a login"
    assert done.summary.finish_reason is FinishReason.FINISHED


async def test_accounts_that_expire_at_random_log_in_no_more_than_they_must(
    area: "Area", new_crawler: "NewCrawler", watch: "Watch", run_through: "RunThrough", tmp_path: Path
) -> None:
    """8 accounts, 200 pages, 6 contexts, rotating cookies, everybody logged out in between; then a restart.

    Each page shows the right account, each session is ended by the site before its account logs in anew, and a new
    crawler logs in only those whose session the site has ended.
    """
    members = area.site.members
    members.rotate_every = 3
    members.expire_between(LEAST, MOST, seed=SEED)
    profiles = [area.member(number) for number in range(ACCOUNTS)]
    options = {"concurrency": 4, "pool": {"contexts_max": CONTEXTS}, "retry": {"retries": 0}}
    sessions = {"profiles": profiles, "state_dir": tmp_path / "states"}
    names = [f"m{number}" for number in range(ACCOUNTS)]
    half = ACCOUNTS * PAGES // 2
    seeds = area.visits(names, pages=range(PAGES))
    random.Random(SEED).shuffle(seeds)
    crawler = new_crawler(**options, sessions=sessions)
    done = 0

    @crawler.handler()
    async def log_everybody_out_once(_: object) -> None:
        nonlocal done
        done += 1
        if done == half:
            members.log_out()

    async with crawler:
        first = await run_through(crawler, seeds)
    check_names(first, PAGES)
    expired = watch.count(SessionExpired)
    assert members.logins == {f"member-{number}": 1 + expired[f"m{number}"] for number in range(ACCOUNTS)}, expired
    assert watch.count(SessionLoggedIn).total() == members.logins.total()
    assert expired.total() > ACCOUNTS, "more must have ended than by logging everybody out"
    assert {
        account: members.live_sessions(account) for account in members.accounts if members.live_sessions(account) > 1
    } == {}
    assert members.failed_logins == {}
    assert max(event.contexts for event in watch.told(ContextOpened)) <= CONTEXTS

    before = members.logins
    ended = [account for account in members.accounts[:ACCOUNTS] if not members.live_sessions(account)]
    members.expire_after_pages = None
    watch.events.clear()
    async with new_crawler(**options, sessions=sessions) as again:
        second = await run_through(again, area.visits(names, pages=range(2)))
    check_names(second, 2)
    assert sorted((members.logins - before).elements()) == ended, "somebody logged in whose state still held"
    assert set(watch.count(SessionRevived)) == set(names)
