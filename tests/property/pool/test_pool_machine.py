"""Whatever happens in whatever order, the pool keeps its limits and its books equal what is really open."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from browsercrawl.config import PoolConfig
from browsercrawl.errors import BrowsercrawlError, PoolSaturated, StateUnusable
from browsercrawl.events import BrowserCrashed, ContextClosed, Event, LeaseAcquired, LeaseReleased, PageKilled
from browsercrawl.pool import Lease, Pool, PoolSize
from browsercrawl.pool.stock import STOCK_PAGES
from browsercrawl.ports import SessionTerms
from browsercrawl.testing.fake_browser import (
    NEVER,
    FakeBehaviour,
    FakeKeeper,
    FakeLauncher,
    FakePage,
    FakePageScript,
)
from browsercrawl.testing.virtual_clock import VirtualClock

T = TypeVar("T")
PAGES_MAX = 4
CONTEXTS_MAX = 5
SITES = {
    "fine": FakePageScript(),
    "hung": FakePageScript(hang="interruptible"),
    "crashable": FakePageScript(hang="crashable"),
    "killable": FakePageScript(hang="killable"),
    "hung for good": FakePageScript(hang="for_good"),
    "never closes": FakePageScript(close_s=NEVER),
    "closes slowly": FakePageScript(close_s=3),
    "slow": FakePageScript(call_s=1),
    "crashes": FakePageScript(crash_s=0),
    "lasting": FakePageScript(lasting=frozenset({"Page.route"})),
    "lasting for its context": FakePageScript(context_lasting=frozenset({"BrowserContext.route"})),
    "kills": FakePageScript(kills_browser=True),
}

TERMS = {
    "a": SessionTerms(pages_max=1, is_kept=True),
    "b": SessionTerms(pages_max=2, is_kept=True, context_visits_max=2),
    "c": SessionTerms(is_kept=True),
    "d": SessionTerms(pages_max=1),
}
"""Other sessions have none."""

ACTIONS = (
    *["acquire"] * 5,
    *["visit_and_release"] * 5,
    *["release_all"] * 2,
    *["pass_time"] * 3,
    *["cancel"] * 2,
    *["close_context", "kill_browser", "change_behaviour"],
)
Draw = Callable[[st.SearchStrategy[Any]], Any]


class PoolMachine(RuleBasedStateMachine):
    """Random acquires, releases, cancels and deaths, in random timing, on a virtual clock."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = VirtualClock()
        self.behaviour = FakeBehaviour()
        self.launcher = FakeLauncher(SITES, clock=self.clock, behaviour=self.behaviour)
        self.events: list[Event] = []
        self.acquiring: list[asyncio.Task[Lease]] = []
        self.releasing: list[asyncio.Task[None]] = []
        self.held: list[Lease] = []
        self.cancelled = 0
        self.keeper = FakeKeeper(clock=self.clock)
        self.keeper.own.update(TERMS)
        self.deaths = 0
        self.marks: dict[str, int] = {}
        """What was written last into the cookies of each kept session, unless a death may have taken it along."""

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run on the machine's loop."""
        return self.loop.run_until_complete(work)

    @initialize(
        reuse=st.sampled_from(["clean", "keep", "never"]),
        page_visits=st.integers(1, 4),
        visits=st.integers(1, 6),
        browser_visits=st.sampled_from([3, 10, 1000]),
    )
    def make(self, reuse: str, page_visits: int, visits: int, browser_visits: int) -> None:
        """Make the pool."""
        self.pool = Pool(
            self.launcher,
            config=PoolConfig.model_validate(
                {
                    "reuse": reuse,
                    "recycle": {
                        "page_visits_max": page_visits,
                        "context_visits_max": visits,
                        "browser_visits_max": browser_visits,
                    },
                    "acquire_limit_s": 30,
                }
            ),
            size=PoolSize(pages_max=PAGES_MAX, contexts_max=CONTEXTS_MAX),
            keeper=self.keeper,
            clock=self.clock,
            emit=self.events.append,
        )

    @rule(action=st.sampled_from(ACTIONS), draw=st.data())
    def act(self, action: str, draw: st.DataObject) -> None:
        """Do one thing. One rule for all, so that their weights are ours."""
        getattr(self, action)(draw.draw)

    def acquire(self, draw: Draw) -> None:
        """Ask for leases of a session, all at once; a full pool refuses."""
        session, isolation = draw(st.sampled_from("abcdefg")), draw(st.sampled_from(["session", "session", "request"]))

        async def ask() -> None:
            await self.clock.settle()
            free = self.pool.free
            task = asyncio.ensure_future(self.pool.acquire(session, isolation=isolation))
            await asyncio.sleep(0)
            if not free:
                await asyncio.wait({task})
                assert isinstance(task.exception(), PoolSaturated)
                return
            assert self.pool.free == free - 1 or task.done()
            self.acquiring.append(task)

        for _ in range(draw(st.integers(1, PAGES_MAX))):
            self.run(ask())

    def visit_and_release(self, draw: Draw) -> None:
        """Visit a page of some temper and give it back."""
        if not self.held:
            return
        lease = self.held.pop(draw(st.integers(0, len(self.held) - 1)))
        site, condemned = (
            draw(st.sampled_from(sorted(SITES))),
            draw(st.sampled_from([None, None, "deadline", "network"])),
        )

        async def visit() -> None:
            self.mark(lease)
            with suppress(BrowsercrawlError):
                await lease.page.begin()
                await lease.page.goto(site, wait_until="commit", load_limit_s=1, limit_s=1)
            await lease.release(condemned=condemned)

        self.releasing.append(self.loop.create_task(visit()))

    def mark(self, lease: Lease) -> None:
        """Read what the session's last visit has written, whatever context that was in, and write something new."""
        page, context = lease.page, lease.context
        if context is None or context.private or not context.terms.is_kept or lease.lost or page.closed:
            return
        assert isinstance(page, FakePage)
        deaths = [each for each in self.events if _takes_state_along(each)]
        if len(deaths) > self.deaths:
            self.deaths = len(deaths)
            self.marks.clear()
        jar, session = page.context.jar, lease.session
        if session in self.marks:
            assert jar["mark"]["value"] == self.marks[session]
        self.marks[session] = self.marks.get(session, 0) + 1
        jar["mark"] = {"name": "mark", "value": self.marks[session]}

    def release_all(self, _draw: Draw) -> None:
        """All visits end well, one after the other."""
        leases, self.held = self.held, []

        async def release() -> None:
            for lease in leases:
                await lease.release()

        self.run(self.clock.run_until(release()))

    def cancel(self, draw: Draw) -> None:
        """Cancel an acquire or a release at whatever await it is."""
        tasks = [*self.acquiring, *self.releasing]
        if not tasks:
            return
        task = tasks[draw(st.integers(0, len(tasks) - 1))]
        self.cancelled += task in self.acquiring  # each may leave a context of its own to be closed
        task.cancel()

    def close_context(self, draw: Draw) -> None:
        """User code closes the context it was given; the pool sees it at the release."""
        if not self.held:
            return
        lease = self.held.pop(draw(st.integers(0, len(self.held) - 1)))
        page = lease.page.raw
        assert isinstance(page, FakePage)

        async def close_and_release() -> None:
            page.context.end()
            await lease.release(condemned="context_broken")

        self.releasing.append(self.loop.create_task(close_and_release()))

    def kill_browser(self, draw: Draw) -> None:
        """The browser dies, now or at one of its next calls."""
        calls = draw(st.integers(0, 3))
        for browser in self.launcher.browsers[-draw(st.integers(1, 2)) :][:1]:
            if calls:
                self.behaviour.dies_at_call = browser.calls + calls
            else:
                browser.die()

    def change_behaviour(self, draw: Draw) -> None:
        """The browser gets slower or faster, or its next launches fail."""
        self.behaviour.open_page_s = draw(st.sampled_from([0, 1, 20]))
        self.behaviour.open_context_s = draw(st.sampled_from([0, 0, 1, 20]))
        self.behaviour.close_context_s = draw(st.sampled_from([0, 1, NEVER]))
        self.behaviour.audit_s = draw(st.sampled_from([0, 0, 1, NEVER]))
        self.behaviour.leaked_contexts = draw(st.sampled_from([0, 0, 1]))
        self.launcher.launch_s = draw(st.sampled_from([0, 2]))
        self.launcher.fail_next = draw(st.sampled_from([0, 0, 1, 6]))
        self.keeper.save_s = draw(st.sampled_from([0, 0, 1, 4]))
        self.keeper.error = draw(st.sampled_from([None, None, None, StateUnusable("told to fail")]))

    def pass_time(self, draw: Draw) -> None:
        """Time passes."""
        self.run(self.clock.advance(draw(st.sampled_from([0.5, 3, 40]))))

    @invariant()
    def books_equal_reality(self) -> None:
        """Limits hold, the pool's counts are the browsers' counts, and nothing dead was handed out."""
        if not hasattr(self, "pool"):
            return
        self.run(self.clock.settle())
        for acquired in [task for task in self.acquiring if task.done()]:
            self.acquiring.remove(acquired)
            if acquired.cancelled() or acquired.exception() is not None:
                assert acquired.cancelled() or isinstance(acquired.exception(), BrowsercrawlError)
                continue
            self.held.append(acquired.result())
        for released in [task for task in self.releasing if task.done()]:
            self.releasing.remove(released)
            assert released.cancelled() or released.exception() is None
        for lease in self.held:
            assert lease.lost is not None or not lease.page.closed
        self.check_books()

    def check_books(self) -> None:
        """Compare the books with the fakes."""
        books = self.pool.statistics()
        assert len({id(lease.page) for lease in self.held if lease.lost is None}) == sum(
            lease.lost is None for lease in self.held
        )
        assert books.leases <= PAGES_MAX
        shared = [lease for lease in self.held if lease.lost is None and lease.context and not lease.context.private]
        used = Counter(lease.session for lease in shared)
        assert all(used[session] <= (TERMS[session].pages_max or PAGES_MAX) for session in used if session in TERMS)
        for session, terms in TERMS.items():
            contexts = {id(lease.context) for lease in shared if lease.session == session}
            assert not terms.is_kept or len(contexts) <= 1
        assert books.pages - books.pages_opening == self.launcher.pages_open
        assert books.contexts + books.contexts_closing >= self.launcher.contexts_open
        assert books.contexts <= CONTEXTS_MAX
        assert books.pages - books.pages_closing <= PAGES_MAX + STOCK_PAGES
        assert books.replacements <= PAGES_MAX + self.cancelled
        assert self.launcher.browsers_open <= 2  # one may retire
        assert self.launcher.misuse == []

    def teardown(self) -> None:
        """At rest all permits are free; after the close nothing is open, and each lease has ended once."""
        try:
            if hasattr(self, "pool"):
                self.run(self.come_to_an_end())
            assert asyncio.all_tasks(self.loop) == set()
        finally:
            for task in asyncio.all_tasks(self.loop):  # of a failed example
                task.cancel()
            self.run(asyncio.sleep(0))
            self.loop.close()

    async def come_to_an_end(self) -> None:
        """Let all end, check that the pool is at rest, close it."""
        kept, given_back = self.held[::2], self.held[1::2]
        for lease in given_back:
            self.releasing.append(asyncio.ensure_future(lease.release()))
        await self.clock.advance(200)
        for task in self.acquiring:
            assert task.done()
            if not task.cancelled() and task.exception() is None:
                kept.append(task.result())
        assert all(task.done() for task in self.releasing)
        books = self.pool.statistics()
        assert (books.leases, books.replacements, books.pages_opening) == (len(kept), 0, 0)
        assert self.pool.free == max(0, self.pool.limit - len(kept))
        self.check_books()
        await self.clock.run_until(self.pool.close(limit_s=5))
        await asyncio.gather(*(lease.release() for lease in kept))
        assert (self.launcher.pages_open, self.launcher.contexts_open, self.launcher.browsers_open) == (0, 0, 0)
        books = self.pool.statistics()
        assert (books.leases, books.pages, books.contexts, books.contexts_closing) == (0, 0, 0, 0)
        begun = Counter(event.lease_id for event in self.events if isinstance(event, LeaseAcquired))
        ended = Counter(event.lease_id for event in self.events if isinstance(event, LeaseReleased))
        assert begun == ended
        assert set(begun.values()) <= {1}
        await self.clock.settle()
        assert asyncio.all_tasks() == {asyncio.current_task()}


def _takes_state_along(event: Event) -> bool:
    """Tell whether a context may have ended without being saved: by a death, or by the ladder."""
    if isinstance(event, PageKilled):
        return event.rung == "kill_renderer" and not event.worked  # its context is next
    return isinstance(event, BrowserCrashed) or (isinstance(event, ContextClosed) and not event.clean)


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(
    max_examples=200, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
