"""Closing pages and contexts for certain: by asking, and, where that does not help, by the ladder.

The ladder, each rung with its own limit and event, each taken only if the one before did not help:
interrupt the page's script, close the page, close its context, kill the browser. A page's neighbours in the context
or browser die with it; their leases are marked `lost`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal

from browsercrawl.clock import Clock
from browsercrawl.errors import ErrorKind
from browsercrawl.events import ContextClosed, Emit, PageKilled
from browsercrawl.pool.background import Background
from browsercrawl.pool.lifecycle import ContextState, PageState
from browsercrawl.pool.stock import PooledContext, PooledPage, Stock

INTERRUPT_LIMIT_S = 1.0
"""A page that has not obeyed by then will not (measured: 5-10 ms when it does)."""

ANSWERING = frozenset({ErrorKind.NETWORK, ErrorKind.DOWNLOAD, ErrorKind.PAGE_CLOSED, ErrorKind.PAGE_CRASHED})
"""What condemns a page without a suspicion that its script hangs: it is simply closed."""

Rung = Literal["interrupt", "close_page", "close_context", "kill_browser"]


class Closer:
    """Closes what the pool gives up.

    Args:
        kill_browser: declares a generation lost, with the reason, and kills it.
        limit_s: for closing a page or a context.
    """

    def __init__(
        self,
        stock: Stock,
        *,
        tasks: Background,
        clock: Clock,
        emit: Emit,
        limit_s: float,
        kill_browser: Callable[[int, str], None],
    ) -> None:
        self._stock = stock
        self._tasks = tasks
        self._clock = clock
        self._emit = emit
        self._limit_s = limit_s
        self._kill_browser = kill_browser

    async def close_page(self, page: PooledPage, *, condemned: str | None) -> None:
        """Close a page that is in state CLOSING; afterwards it is CLOSED, whatever it took."""
        if page.port.closed or page.port.crashed or condemned is None or condemned in ANSWERING:
            gone = await page.port.close(limit_s=self._limit_s)
        else:
            gone = False
        if not gone and page.state is PageState.CLOSING:
            await self._climb(page)
        if page.state is PageState.CLOSING:
            self._stock.move_page(page, PageState.CLOSED)

    def close_context(self, context: PooledContext) -> Awaitable[bool]:
        """Close a context, its pages with it; the decision is made now, the awaitable is the doing, shared by all.

        Leases still in it are marked lost. A context that cannot be closed takes its browser along.
        """
        if context.closing is None:
            for lease in context.leases:
                lease.lost = lease.lost or f"context {context.id} had to be closed"
            self._stock.move_context(context, ContextState.CLOSING)
            context.closing = self._tasks.spawn(self._close_context(context), f"pool: close context {context.id}")
        return asyncio.shield(context.closing)

    async def _close_context(self, context: PooledContext) -> bool:
        gone = await context.port.close(limit_s=self._limit_s)
        if context.state is ContextState.CLOSING:
            if gone:
                self.bury_context(context, clean=True)
            else:
                self._kill_browser(context.generation, f"context {context.id} did not close in {self._limit_s:g} s")
        return gone

    def bury_context(self, context: PooledContext, *, clean: bool) -> None:
        """Note that a context is closed, by us or by its death."""
        was_open = context.state is not ContextState.OPENING
        self._stock.move_context(context, ContextState.CLOSED)
        if not was_open:
            return
        self._emit(
            ContextClosed(
                context_id=context.id, session=context.session, clean=clean, contexts=self._stock.live_contexts
            )
        )

    async def _climb(self, page: PooledPage) -> None:
        lease_id = page.lease.id if page.lease is not None else None
        context = page.context

        async def climb_rung(rung: Rung, doing: Awaitable[bool]) -> bool:
            started_at = self._clock.now()
            worked = await doing
            took_s = self._clock.now() - started_at
            self._emit(PageKilled(lease_id=lease_id, rung=rung, worked=worked, took_s=took_s))
            return worked

        await climb_rung("interrupt", page.port.interrupt(limit_s=INTERRUPT_LIMIT_S))
        if await climb_rung("close_page", page.port.close(limit_s=self._limit_s)):
            return
        if context.state is ContextState.CLOSED:
            return
        if await climb_rung("close_context", self.close_context(context)):
            return
        self._emit(PageKilled(lease_id=lease_id, rung="kill_browser", worked=True, took_s=0.0))
