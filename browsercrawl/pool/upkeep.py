"""Keeping contexts and pages within their bounds: what makes way, what is recycled, what is replaced."""

from collections.abc import Awaitable

from browsercrawl.events import ContextRecycled
from browsercrawl.pool.background import Means
from browsercrawl.pool.closing import Closer
from browsercrawl.pool.lease import Lease
from browsercrawl.pool.lifecycle import ContextState, PageState
from browsercrawl.pool.stock import PooledContext, PooledPage, Stock
from browsercrawl.ports import SessionKeeper

HIBERNATION_LIMIT_S = 5.0
"""Saving the state of a session may take this long; what is known by then is kept."""


class Upkeep:
    """Decides synchronously what is closed, and closes it in the background as replacements.

    Args:
        keeper: saves what outlives a context.

    Attributes:
        replacements: closings that go on.
    """

    def __init__(
        self,
        stock: Stock,
        *,
        means: Means,
        closer: Closer,
        keeper: SessionKeeper,
    ) -> None:
        self.replacements = 0
        self._stock = stock
        self._closer = closer
        self._tasks = means.tasks
        self._changes = means.changes
        self._clock = means.clock
        self._emit = means.emit
        self._keeper = keeper

    @property
    def has_replacement_room(self) -> bool:
        """One more closing may go on in the background."""
        return self.replacements < self._stock.size.pages_max

    def make_page_room(self, session: str) -> bool:
        """Let parked pages make way for one more page of a session. Returns whether it may be opened now."""
        while not self._stock.has_page_room:
            spare = self._stock.spare_page(session)
            if spare is None or not self.has_replacement_room:
                return False
            self.evict(spare)
        return True

    def make_context_room(self, place: int) -> bool:
        """Let idle contexts make way for one more. Returns whether it may be opened now.

        Args:
            place: of who asks among all who wait for room, from 1: the room there is goes to those before.
        """
        stock = self._stock
        while stock.context_room < place:
            if stock.context_room + stock.contexts_in(ContextState.HIBERNATING) >= place:
                return False  # room is being made already
            spare = stock.spare_context()
            if spare is None or not self.has_replacement_room:
                return False
            self.spawn_replacement(self.let_go(spare), f"pool: close idle context {spare.id}")
        return True

    def let_go(self, context: PooledContext) -> Awaitable[object]:
        """Close a context that nobody uses; what its session keeps of it is saved first.

        The decision is made now, the awaitable is the doing.
        """
        if not context.is_kept or context.state not in {ContextState.OPEN, ContextState.DRAINING}:
            return self._closer.close_context(context)
        self._stock.move_context(context, ContextState.HIBERNATING)
        return self._hibernate(context)

    async def _hibernate(self, context: PooledContext) -> None:
        try:
            await self.save(context, limit_s=HIBERNATION_LIMIT_S)
        finally:
            if context.state is ContextState.HIBERNATING:
                closing = self._closer.close_context(context)
                self._changes.notify()  # its place is free, and its session may open another
                await closing

    async def save(self, context: PooledContext, *, limit_s: float) -> None:
        """Save what a session keeps of a context."""
        assert context.options is not None, "known since it was opened"
        await self._keeper.hibernate(context.session, context.port, options=context.options, limit_s=limit_s)

    def drop_dead_pages(self, context: PooledContext) -> None:
        """Close parked pages whose renderer died while nobody looked."""
        for page in [page for page in context.parked if page.port.crashed or page.port.closed]:
            if self.has_replacement_room:
                self.evict(page)

    def evict(self, page: PooledPage) -> None:
        """Close a parked page in the background."""
        self._stock.move_page(page, PageState.CLOSING)
        self.spawn_replacement(self.close_page(page, None), f"pool: close parked page {page.id}")

    async def close_page(self, page: PooledPage, condemned: str | None) -> None:
        """Close a page, and its context if it has only waited for that."""
        await self._closer.close_page(page, condemned=condemned)
        if page.context.state is ContextState.DRAINING and not page.context.leases:
            await self.let_go(page.context)

    def spawn_replacement(self, closing: Awaitable[object], name: str) -> None:
        """Let a closing go on in the background."""

        async def run() -> None:
            try:
                await closing
            finally:
                self.replacements -= 1
                self._changes.notify()

        self.replacements += 1
        self._tasks.spawn(run(), name)

    def recycle_if_worn(self, context: PooledContext) -> None:
        """Recycle a context that has served its time."""
        why = context.wear.reason(self._clock.now(), visits_max=context.terms.context_visits_max)
        if why is not None and not context.private:
            self.recycle(context, why)

    def drop_worn(self) -> None:
        """Close what has grown too old while nobody used it."""
        now = self._clock.now()
        for context in self._stock.contexts:
            if context.is_idle and self.has_replacement_room:
                self.recycle_if_worn(context)
            for page in [page for page in context.parked if page.wear.reason(now) is not None]:
                if self.has_replacement_room:
                    self.evict(page)

    def retire_generation(self, generation: int, why: str) -> None:
        """Let all contexts of a browser end with their last leases."""
        for context in self._stock.contexts_of(generation):
            if context.state is ContextState.OPENING:
                context.outdated = why
            else:
                self.recycle(context, why)

    def recycle(self, context: PooledContext, why: str) -> None:
        """Let a context end with its last lease; the session's next lease opens a new one: at once, if none is kept."""
        if context.state is not ContextState.OPEN:
            return
        self._stock.move_context(context, ContextState.DRAINING)
        self._emit(ContextRecycled(context_id=context.id, session=context.session, why=why, visits=context.wear.visits))
        self.close_if_unwanted(context)

    def leave_context(self, lease: Lease) -> None:
        """Take a lease out of its context, which closes if it has only waited for that."""
        context, lease.context = lease.context, None
        if context is not None:
            context.leases.discard(lease)
            self.close_if_unwanted(context)

    def close_if_unwanted(self, context: PooledContext) -> None:
        """Close a context that is drained, or private, once no lease is left in it."""
        ends = context.state is ContextState.DRAINING or (context.private and context.state is ContextState.OPEN)
        if ends and not context.leases:
            self.spawn_replacement(self.let_go(context), f"pool: close context {context.id}")

    def is_broken(self, context: PooledContext) -> bool:
        """Tell whether a context is on its way out; one that was closed behind our back is noted as dead here."""
        if context.state in {ContextState.OPEN, ContextState.DRAINING} and context.port.closed:
            self._lose_context(context, f"context {context.id} was closed under it")
        return context.state in {ContextState.CLOSING, ContextState.CLOSED}

    def _lose_context(self, context: PooledContext, reason: str) -> int:
        """Note a context's death. Returns how many leases die with it."""
        for lease in context.leases:
            lease.lost = lease.lost or reason
        self._closer.bury_context(context, clean=False)
        return sum(lease.held_from is not None for lease in context.leases)

    def lose_generation(self, generation: int, reason: str) -> int:
        """Note the death of a browser with all its contexts. Returns how many leases die with it."""
        lost = sum(self._lose_context(context, reason) for context in self._stock.contexts_of(generation))
        self._changes.notify()
        return lost
