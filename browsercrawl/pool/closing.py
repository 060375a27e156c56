"""Closing pages and contexts for certain: by asking, and, where that does not help, by the ladder.

The ladder, each rung with its own limit and event, each taken only if those before did not help: interrupt the page's
script, stop its loading, close it; crash it, kill its renderer's process, and close it then; close its context; kill
the browser, which takes its driver along: they are one unit, and the next lease starts another. Pages that die with it
in the same renderer, context or browser are not to blame, and their requests are put back.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable

from browsercrawl.errors import BrowsercrawlError, ErrorKind
from browsercrawl.events import ContextClosed, PageKilled, Rung
from browsercrawl.pool.background import Means
from browsercrawl.pool.lifecycle import ContextState, PageState
from browsercrawl.pool.stock import PooledContext, PooledPage, Stock
from browsercrawl.ports import BrowserPort

OBEY_LIMIT_S = 1.0
"""A page that has not obeyed by then will not (measured: 5-20 ms when it does)."""
ASK_LIMIT_S = 2.0
"""Nor does one close by itself then that has not yet (measured: 0.5 s with its renderer stopped)."""

ANSWERING = frozenset({ErrorKind.NETWORK, ErrorKind.DOWNLOAD, ErrorKind.PAGE_CLOSED, ErrorKind.PAGE_CRASHED})
"""What condemns a page without a suspicion that its script hangs: it is simply closed."""


class Closer:
    """Closes what the pool gives up.

    Args:
        kill_browser: declares a generation lost, with the reason, and kills it.
        limit_s: for closing a page or a context.
    """

    def __init__(self, stock: Stock, *, means: Means, limit_s: float, kill_browser: Callable[[int, str], None]) -> None:
        self._stock = stock
        self._tasks = means.tasks
        self._clock = means.clock
        self._emit = means.emit
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
        port, context = page.port, page.context
        obeys = await self._rung(page, "interrupt", port.interrupt(limit_s=OBEY_LIMIT_S))
        obeys = obeys or await self._rung(page, "stop_loading", port.stop_loading(limit_s=OBEY_LIMIT_S))
        if not obeys and context.state is not ContextState.CLOSED and not await _answers(context.unit.browser):
            self._kill(page, "it did not answer, nor did a page of it")  # no rung between would help
            return
        if await self._rung(page, "close_page", port.close(limit_s=min(ASK_LIMIT_S, self._limit_s))):
            return
        crashed = await self._rung(page, "crash_page", port.crash(limit_s=OBEY_LIMIT_S))
        if not crashed:
            crashed = await self._rung(page, "kill_renderer", port.kill_renderer(limit_s=OBEY_LIMIT_S))
        if crashed and await self._rung(page, "close_page", port.close(limit_s=self._limit_s)):
            return
        if context.state is ContextState.CLOSED:
            return
        if await self._rung(page, "close_context", self.close_context(context)):
            return
        self._kill(page, "a context did not close")

    def _kill(self, page: PooledPage, why: str) -> None:
        """The last rung; does nothing to a browser that is dead."""
        lease_id = page.lease.id if page.lease is not None else None
        self._kill_browser(page.context.generation, why)
        self._emit(PageKilled(lease_id=lease_id, rung="kill_browser", worked=True, took_s=0.0))

    async def _rung(self, page: PooledPage, rung: Rung, doing: Awaitable[bool]) -> bool:
        lease_id = page.lease.id if page.lease is not None else None
        started_at = self._clock.now()
        worked = await doing
        took_s = self._clock.now() - started_at
        self._emit(PageKilled(lease_id=lease_id, rung=rung, worked=worked, took_s=took_s))
        return worked


async def _answers(browser: BrowserPort) -> bool:
    """Tell whether a browser answers at all."""
    try:
        await browser.audit(page_bytes_max=sys.maxsize, limit_s=OBEY_LIMIT_S)
    except BrowsercrawlError:
        return False
    return True
