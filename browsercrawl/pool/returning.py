"""What becomes of a page when its lease ends: parked for the next one, or replaced."""

from collections.abc import Awaitable, Callable

from browsercrawl.config import PoolConfig
from browsercrawl.pool.background import Means
from browsercrawl.pool.lease import Lease
from browsercrawl.pool.lifecycle import ContextState, LeaseState, PageState
from browsercrawl.pool.stock import PooledPage, Stock
from browsercrawl.pool.upkeep import Upkeep
from browsercrawl.ports import Cleaning

RECONDITION_LIMIT_S = 1.5
"""A page that cannot be readied for the next visit by then is closed."""


class Returner:
    """Takes pages back.

    Args:
        end: ends a lease: whether its page was kept, and why not.

    Attributes:
        reuses: False while each visit gets a page of its own.
    """

    def __init__(
        self, stock: Stock, *, means: Means, upkeep: Upkeep, config: PoolConfig, end: Callable[..., None]
    ) -> None:
        self.reuses = True
        self._stock = stock
        self._clock = means.clock
        self._upkeep = upkeep
        self._config = config
        self._end = end

    async def give_back(self, lease: Lease, condemned: str | None) -> None:
        """Take a lease's page back, and end the lease, whatever happens."""
        try:
            await self._give_back(lease, condemned)
        finally:
            if lease.state is LeaseState.RELEASING:  # cut off: the page is closed, the permit is not lost
                page = lease.pooled
                if page is not None and page.state in {PageState.LEASED, PageState.RETURNING}:
                    self._stock.move_page(page, PageState.CLOSING)
                    self._upkeep.spawn_replacement(self._upkeep.close_page(page, "cut off"), "pool: replace page")
                self._upkeep.leave_context(lease)
                self._end(lease, kept=False, why="cut off")

    async def _give_back(self, lease: Lease, condemned: str | None) -> None:
        page, context = lease.pooled, lease.context
        assert page is not None, "a lease is held with a page"
        assert context is not None, "a lease is held with a context"
        why = self._unfit(page, condemned)
        if why is None:
            self._stock.move_page(page, PageState.RETURNING)
            cleaning = Cleaning.NONE if self._config.reuse == "keep" else Cleaning.FULL
            why = await page.port.recondition(
                cleaning, growth_bytes_max=self._config.recycle.page_growth_bytes_max, limit_s=RECONDITION_LIMIT_S
            )
            why = why or self._unfit(page, None)
        if why is None:
            self._stock.move_page(page, PageState.PARKED)
            self._upkeep.leave_context(lease)
            self._end(lease, kept=True, why=None)
        elif page.state in {PageState.CLOSING, PageState.CLOSED}:  # its context or browser went first
            self._upkeep.leave_context(lease)
            self._end(lease, kept=False, why=lease.lost or why)
        else:
            await self._replace(lease, page, condemned=condemned, why=why)

    def _unfit(self, page: PooledPage, condemned: str | None) -> str | None:
        """Tell why a page may not go back to stock; None: it may."""
        context = page.context
        if self._upkeep.is_broken(context) or page.state in {PageState.CLOSING, PageState.CLOSED}:
            return (page.lease.lost if page.lease else None) or "the context is gone"
        if context.state is ContextState.OPEN and context.port.lasting:
            self._upkeep.recycle(context, f"changed for good: {', '.join(sorted(context.port.lasting))}")
        if condemned is not None:
            return condemned
        if page.port.crashed or page.port.closed:
            return "crashed" if page.port.crashed else "closed"
        if page.port.lasting:
            return f"changed for good: {', '.join(sorted(page.port.lasting))}"
        if self._config.reuse == "never" or context.private or not self.reuses:
            return "used once"
        if context.state is not ContextState.OPEN:
            return "its context is drained"
        return page.wear.reason(self._clock.now())

    async def _replace(self, lease: Lease, page: PooledPage, *, condemned: str | None, why: str) -> None:
        """Close a page; the lease ends before if there is room among the replacements, else after."""
        context = page.context
        context.leases.discard(lease)
        if context.private and context.state is ContextState.OPEN:
            self._stock.move_context(context, ContextState.DRAINING)
        closing: Awaitable[object]
        if condemned is None and context.state is ContextState.DRAINING and not context.leases:
            closing = self._upkeep.let_go(context)  # the page goes with it
        else:
            self._stock.move_page(page, PageState.CLOSING)
            closing = self._upkeep.close_page(page, condemned)
        if self._upkeep.has_replacement_room:
            self._upkeep.spawn_replacement(closing, f"pool: replace page {page.id}")
        else:
            await closing
        self._end(lease, kept=False, why=why)
