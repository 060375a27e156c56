"""The pool: lends pages of warm contexts, never more than its limit, and never a dead one.

How it stays right under concurrency: every decision (permit, context, page, what makes way) is made and entered in the
books between two awaits; only then comes the I/O; after it the books are looked at again. An acquire that must wait
waits for the next change of the books, until its limit, and then decides anew. Nothing is locked.

What is opened belongs to the pool from its first moment, not to who asked for it: an acquire that is cancelled gives
its permit back at once, and the page that was being opened for it is parked for the next one.

A lease's permit is given back when its page is parked; if the page must be closed, at once, while the closing goes on
as a *replacement*. There are at most pages_max replacements; beyond that a release waits for its own closing.
"""

import asyncio
import itertools
from collections.abc import Collection
from typing import Any

from browsercrawl.clock import Clock
from browsercrawl.config import PoolConfig
from browsercrawl.errors import (
    BrowsercrawlError,
    Disposition,
    LeaseTimeout,
    PoolClosed,
    PoolSaturated,
    disposition_of,
)
from browsercrawl.events import Emit, LeaseAcquired, LeaseReleased
from browsercrawl.pool.background import Background, Changes, Means
from browsercrawl.pool.checking import Checker
from browsercrawl.pool.closing import Closer
from browsercrawl.pool.lease import Lease
from browsercrawl.pool.lifecycle import ContextState, LeaseState, PageState, PoolState, moved
from browsercrawl.pool.opening import Opener, OpeningLimits
from browsercrawl.pool.relief import Relief
from browsercrawl.pool.returning import Returner
from browsercrawl.pool.statistics import PoolStatistics
from browsercrawl.pool.stock import PooledContext, PooledPage, PoolSize, Stock
from browsercrawl.pool.supervisor import Reactions, Supervisor, Unit
from browsercrawl.pool.upkeep import Upkeep
from browsercrawl.pool.wear import Budgets
from browsercrawl.ports import LaunchBrowser, SessionKeeper
from browsercrawl.request import Isolation

ACQUIRE_FAILURES_MAX = 3
"""So many contexts or pages may fail to open for one acquire before it gives up."""
SAVE_SHARE = 0.4
"""Of the time for closing: at most so much is spent on saving the sessions that are open."""
CLOSE_GRACE_S = 1.0
"""Once the browser is gone, what waits on it gets at least so long to notice, whatever limit the close was given."""


class Pool:
    """Lends pages.

    Args:
        launch: starts a browser; called again after a crash.
        config: how pages and contexts are reused and replaced.
        size: how much may be open.
        keeper: tells how a session's context is opened, and keeps what outlives it.
        clock: for limits and waits.
        emit: takes the `lease.*`, `context.*`, `browser.*` and `page.killed` events.

    Attributes:
        relief: gives memory back.
    """

    def __init__(
        self,
        launch: LaunchBrowser,
        *,
        config: PoolConfig,
        size: PoolSize,
        keeper: SessionKeeper,
        clock: Clock,
        emit: Emit,
    ) -> None:
        self._config = config
        self._keeper = keeper
        self._clock = clock
        self._emit = emit
        self._budgets = Budgets(config.recycle, clock)
        self._tasks = Background(clock)
        self._changes = Changes()
        means = Means(clock=clock, emit=emit, tasks=self._tasks, changes=self._changes)
        self._supervisor = Supervisor(
            launch,
            means=means,
            reactions=Reactions(
                on_lost=self._on_lost,
                on_retiring=self._on_retiring,
                care=self._care,
                new_wear=self._budgets.new_browser,
            ),
        )
        self._stock = Stock(size, on_empty=self._supervisor.retire, on_closed=self._on_closed)
        self._closer = Closer(
            self._stock, means=means, limit_s=config.close_limit_s, kill_browser=self._supervisor.lose
        )
        self._upkeep = Upkeep(self._stock, means=means, closer=self._closer, keeper=keeper)
        self._opener = Opener(
            self._stock,
            means=means,
            upkeep=self._upkeep,
            supervisor=self._supervisor,
            limits=OpeningLimits(open_s=config.acquire_limit_s / 2, close_s=config.close_limit_s, keeper=keeper),
        )
        self._checker = Checker(
            self._stock,
            means=means,
            upkeep=self._upkeep,
            supervisor=self._supervisor,
            page_bytes_max=config.recycle.page_bytes_max,
        )
        self._state = PoolState.OPEN
        self._leases: set[Lease] = set()
        self.relief = Relief(
            self._stock, means=means, upkeep=self._upkeep, supervisor=self._supervisor, leases=self._leases
        )
        self._waiting: dict[Lease, None] = {}
        """Leases for whose context there is no room yet: it goes to the one that came first."""
        self._lease_ids = itertools.count(1)
        self._returner = Returner(self._stock, means=means, upkeep=self._upkeep, config=config, end=self._end)
        self._closing: asyncio.Task[None] | None = None

    # --- what it tells -----------------------------------------------------------------------------------------------

    @property
    def limit(self) -> int:
        """Leases that should be out at once now, at most the pool's size; those that are out beyond it end in time."""
        return self._stock.limit

    @property
    def size_max(self) -> int:
        """Leases that may ever be out at once."""
        return self._stock.size.pages_max

    @property
    def free(self) -> int:
        """Leases that could be acquired now; 0 once closing has begun."""
        return max(0, self.limit - len(self._leases)) if self._state is PoolState.OPEN else 0

    @property
    def warm(self) -> Collection[str]:
        """Keys of the sessions with an open context: a live view, valid until the next await."""
        return self._stock.warm

    def statistics(self) -> PoolStatistics:
        """Return how the pool stands.

        Raises:
            InternalError: its books are wrong.
        """
        stock = self._stock
        statistics = PoolStatistics(
            limit=self.limit,
            leases=len(self._leases),
            pages_opening=stock.pages_in(PageState.OPENING),
            pages_parked=stock.pages_in(PageState.PARKED),
            pages_leased=stock.pages_in(PageState.LEASED),
            pages_returning=stock.pages_in(PageState.RETURNING),
            pages_closing=stock.pages_in(PageState.CLOSING),
            contexts=stock.live_contexts,
            contexts_closing=stock.contexts_in(ContextState.CLOSING),
            replacements=self._upkeep.replacements,
            browsers=self._supervisor.up,
            generation=self._supervisor.generation,
            launches=self._supervisor.launches,
        )
        statistics.check()
        return statistics

    # --- what it does ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Launch the browser, once, without trying again.

        Raises:
            BrowserNotFound: no usable binary.
            LaunchFailed: it does not start.
            PoolClosed: closing has begun.
        """
        self._refuse_if_closing()
        if self._supervisor.current is None:
            launch = self._supervisor.launching(failures_max=1)
            await asyncio.wait({launch})
            self._refuse_if_closing()
            if error := launch.result():
                raise error

    async def acquire(self, session: str, *, isolation: Isolation = "session") -> Lease:
        """Lend a page of a session's context.

        The permit is taken before the first await. Cancelled or failed, everything is given back.

        Args:
            session: key of the session; its context is opened if there is none.
            isolation: `request` opens a context for this lease alone, closed at its release.

        Returns:
            A lease to be released exactly once.

        Raises:
            PoolSaturated: all permits are taken; ask `free` first.
            PoolClosed: closing has begun, before or while it waited.
            LeaseTimeout: no page could be made ready within `acquire_limit_s`.
            BrowserNotFound, LaunchFailed: the browser does not start (again).
            ConfigError: no context can be opened with these options.
            StateUnusable: the session's saved state cannot be used.
            CallTimeout, ContextBroken, BrowserCrashed: opening failed repeatedly.
        """
        self._refuse_if_closing()
        if len(self._leases) >= self._stock.size.pages_max:
            raise PoolSaturated(f"all {len(self._leases)} leases are taken; wait for one to be released")
        lease = Lease(next(self._lease_ids), session, asked_at=self._clock.now(), give_back=self._release)
        self._leases.add(lease)
        try:
            page = await self._find_page(lease, isolation)
        except BaseException:
            self._abandon(lease)
            raise
        lease.transition(LeaseState.HELD)
        lease.held_from = self._clock.now()
        self._emit(
            LeaseAcquired(
                lease_id=lease.id,
                session=session,
                context_id=page.context.id,
                page_visits=page.wear.visits,
                waited_s=lease.held_from - lease.asked_at,
            )
        )
        return lease

    def resize(self, limit: int, *, reuses: bool = True) -> None:
        """Change how many leases should be out at once, and whether a page may serve twice; nobody is interrupted.

        Args:
            limit: from 0 to the pool's size.
            reuses: False: each visit gets a page of its own, which peaks at half of the memory.
        """
        self._stock.limit = min(limit, self._stock.size.pages_max)
        self._returner.reuses = reuses
        self._changes.notify()

    def recycle(self, session: str, why: str) -> None:
        """Let a session's context end with its last lease, if it has one; its next lease gets a new one."""
        context = self._stock.shared_context(session)
        if context is not None and context.state is ContextState.OPENING:
            context.outdated = why
        elif context is not None:
            self._upkeep.recycle(context, why)

    async def close(self, *, limit_s: float) -> None:
        """Refuse new leases, end those that are out, close everything. Idempotent; nothing is left afterwards.

        Leases still held are marked lost; their holders' releases are then accepted and do nothing. Goes on to its
        end even when the caller is cancelled.

        Args:
            limit_s: for the polite way; what is left then is killed.
        """
        if self._closing is None:
            self._transition(PoolState.CLOSING)
            for lease in list(self._leases):
                self._revoke(lease)
            self._changes.notify()
            self._closing = asyncio.create_task(self._close(limit_s), name="pool: close")
        await asyncio.shield(self._closing)

    # --- acquiring ---------------------------------------------------------------------------------------------------

    async def _find_page(self, lease: Lease, isolation: Isolation) -> PooledPage:
        """Decide, wait for what the decision needs, decide anew, until the lease has a page."""
        failures = 0
        while True:
            self._refuse_if_closing()
            unit = self._supervisor.current
            if unit is None:
                launch = self._supervisor.launching()
                await self._wait(launch, lease)
                if not launch.cancelled() and (error := launch.result()) is not None:
                    raise error
                continue
            context = self._join_context(lease, isolation, unit)
            if context is None:
                await self._wait(self._changes.next(), lease)
            elif context.state is ContextState.OPENING:
                await self._wait(context.opened, lease)
                failures = self._count_failure(failures, context.error)
            elif (page := self._take_page(lease, context)) is None:
                await self._wait(self._changes.next(), lease)
            elif page.is_lent_to(lease):
                return page
            else:
                await self._wait(page.opened, lease)
                if page.is_lent_to(lease):
                    return page
                failures = self._count_failure(failures, page.error)

    def _join_context(self, lease: Lease, isolation: Isolation, unit: Unit) -> PooledContext | None:
        """Give the lease a context that is open or opening; None: it must wait for room."""
        if lease.context is not None:
            usable = lease.context.state in {ContextState.OPENING, ContextState.OPEN}
            if usable and not self._upkeep.is_broken(lease.context):
                return lease.context
            self._upkeep.leave_context(lease)
        private = isolation == "request"
        context = None if private else self._stock.shared_context(lease.session)
        if context is not None and self._upkeep.is_broken(context):
            context = None
        self._waiting.pop(lease, None)
        if context is None:
            if not private and self._stock.is_leaving(lease.session):
                return None
            place = 1 + sum(other.id < lease.id for other in self._waiting)
            if not self._upkeep.make_context_room(place):
                self._waiting[lease] = None
                return None
            terms = self._keeper.terms(lease.session)
            wear = self._budgets.new_context()
            context = self._stock.add_context(lease.session, private=private, terms=terms, unit=unit, wear=wear)
            self._tasks.spawn(self._opener.open_context(context, unit.browser), f"pool: open context {context.id}")
        elif context.is_full:
            return None
        context.leases.add(lease)
        lease.context = context
        return context

    def _take_page(self, lease: Lease, context: PooledContext) -> PooledPage | None:
        """Give the lease a parked page, or one that is being opened for it; None: it must wait for room."""
        self._upkeep.drop_dead_pages(context)
        page = self._stock.take_parked(context, lease)
        if page is None:
            if not self._upkeep.make_page_room(lease.session):
                return None
            page = self._stock.add_page(context, lease, wear=self._budgets.new_page())
            self._tasks.spawn(self._opener.open_page(page), f"pool: open page {page.id}")
        else:
            self._upkeep.recycle_if_worn(context)
        return page

    def _abandon(self, lease: Lease) -> None:
        """Take everything back from a lease whose acquire has failed."""
        self._waiting.pop(lease, None)
        page = lease.pooled
        if page is not None and page.state is PageState.LEASED:  # ready, but not handed out
            self._stock.move_page(page, PageState.PARKED)
        self._upkeep.leave_context(lease)
        self._end(lease, kept=False, why="not acquired")

    def _count_failure(self, failures: int, error: BrowsercrawlError | None) -> int:
        if error is None:
            return failures
        hopeless = disposition_of(error) in {Disposition.STOP, Disposition.PAUSE_SESSION}
        if failures + 1 >= ACQUIRE_FAILURES_MAX or hopeless:
            raise error
        return failures + 1

    # --- releasing ---------------------------------------------------------------------------------------------------

    async def _release(self, lease: Lease, condemned: str | None) -> None:
        if lease.state is LeaseState.REVOKED:  # the pool has ended it already
            lease.transition(LeaseState.ENDED)
            return
        lease.transition(LeaseState.RELEASING)
        await asyncio.shield(self._tasks.spawn(self._returner.give_back(lease, condemned), f"pool: release {lease.id}"))

    def _end(self, lease: Lease, *, kept: bool, why: str | None) -> None:
        """End a lease: its permit is free again."""
        self._leases.remove(lease)
        if lease.state is not LeaseState.REVOKED:
            lease.transition(LeaseState.ENDED)
        if lease.held_from is not None:
            port = lease.page
            self._emit(
                LeaseReleased(
                    lease_id=lease.id,
                    session=lease.session,
                    held_s=self._clock.now() - lease.held_from,
                    kept=kept,
                    why=why,
                    popups=port.popups,
                    dialogs=port.dialogs,
                )
            )
        self._changes.notify()

    # --- ending ------------------------------------------------------------------------------------------------------

    def _on_closed(self, context: PooledContext) -> None:
        if context.options is not None:
            self._keeper.dismiss(context.options)

    def _on_lost(self, generation: int, reason: str) -> int:
        return self._upkeep.lose_generation(generation, reason)

    async def _care(self, unit: Unit) -> None:
        await self._checker.care(unit)

    def _on_retiring(self, generation: int, reason: str) -> None:
        self._upkeep.retire_generation(generation, reason)
        if not self._stock.contexts_of(generation):
            self._supervisor.retire(generation)

    async def _close(self, limit_s: float) -> None:
        deadline = self._clock.now() + limit_s
        try:
            await self._save_all(limit_s * SAVE_SHARE)
        finally:  # also when the whole loop is being ended
            clean = await self._supervisor.close(limit_s=max(0.0, deadline - self._clock.now()))
        for context in self._stock.contexts:
            self._closer.bury_context(context, clean=clean)
        self._changes.notify()
        # The browser is gone, so what still waits on it returns by itself; a moment is left for that in any case.
        grace_s = max(deadline - self._clock.now(), CLOSE_GRACE_S)
        while self._leases and await self._tasks.wait_first(self._changes.next(), limit_s=grace_s):
            pass
        await self._tasks.finish(limit_s=grace_s)
        self._transition(PoolState.CLOSED)

    async def _save_all(self, limit_s: float) -> None:
        """Save what sessions keep of the contexts that are there; wait for those that hibernate already."""
        if not self._supervisor.up:
            return
        deadline = self._clock.now() + limit_s
        saving = [
            self._tasks.spawn(self._upkeep.save(context, limit_s=limit_s), f"pool: save context {context.id}")
            for context in self._stock.contexts
            if context.is_kept and context.state in {ContextState.OPEN, ContextState.DRAINING}
        ]
        if saving:
            await self._tasks.wait_first(asyncio.gather(*saving, return_exceptions=True), limit_s=limit_s)
        while self._stock.contexts_in(ContextState.HIBERNATING) and (left_s := deadline - self._clock.now()) > 0:
            await self._tasks.wait_first(self._changes.next(), limit_s=left_s)

    def _revoke(self, lease: Lease) -> None:
        if lease.state is LeaseState.HELD:
            lease.lost = lease.lost or "the pool was closed"
            lease.transition(LeaseState.REVOKED)
            if lease.context is not None:
                lease.context.leases.discard(lease)
            self._end(lease, kept=False, why=lease.lost)

    # --- waiting -----------------------------------------------------------------------------------------------------

    async def _wait(self, future: "asyncio.Future[Any]", lease: Lease) -> None:
        left_s = lease.asked_at + self._config.acquire_limit_s - self._clock.now()
        if not await self._tasks.wait_first(future, limit_s=left_s):
            raise LeaseTimeout(
                f"no page of session {lease.session!r} could be made ready within "
                f"{self._config.acquire_limit_s:g} s (acquire_limit_s); the browser is overloaded or does not answer"
            )

    def _refuse_if_closing(self) -> None:
        if self._state is not PoolState.OPEN:
            raise PoolClosed("the pool is closed; no lease can be had any more")

    def _transition(self, new: PoolState) -> None:
        self._state = moved(self._state, new, what="the pool")
