"""Opening contexts and pages: background work that belongs to the pool, whoever asked for it."""

from dataclasses import dataclass

from browsercrawl.errors import BrowserCrashed, BrowsercrawlError, CallTimeout, InternalError
from browsercrawl.events import ContextOpened
from browsercrawl.pool.background import Means
from browsercrawl.pool.lifecycle import ContextState, LeaseState, PageState
from browsercrawl.pool.stock import PooledContext, PooledPage, Stock
from browsercrawl.pool.supervisor import Supervisor
from browsercrawl.pool.upkeep import Upkeep
from browsercrawl.ports import BrowserPort, SessionKeeper


@dataclass(frozen=True, slots=True, kw_only=True)
class OpeningLimits:
    """How long opening one context or page may take (half of an acquire's limit, so that a second try fits).

    `keeper` tells how contexts are opened.
    """

    open_s: float
    close_s: float
    keeper: SessionKeeper


class Opener:
    """Opens what the books say is being opened."""

    def __init__(
        self,
        stock: Stock,
        *,
        means: Means,
        upkeep: Upkeep,
        supervisor: Supervisor,
        limits: OpeningLimits,
    ) -> None:
        self._stock = stock
        self._upkeep = upkeep
        self._supervisor = supervisor
        self._changes = means.changes
        self._clock = means.clock
        self._emit = means.emit
        self._limits = limits

    async def open_context(self, context: PooledContext, browser: BrowserPort) -> None:
        """Open a context that was entered in the books; whoever waits is told by `opened`, and why not by `error`."""
        try:
            context.options = await self._limits.keeper.revive(context.session, private=context.private)
            context.opened_port = await browser.new_context(context.options, limit_s=self._limits.open_s)
        except Exception as error:  # noqa: BLE001 - the task boundary: handed to whoever waits for this context
            context.error = _ours(error)
            if context.state is ContextState.OPENING:
                self._stock.move_context(context, ContextState.CLOSED)
            if isinstance(error, CallTimeout | BrowserCrashed):  # one that opens no context is as good as dead
                self._supervisor.lose(context.generation, f"no context could be opened: {error}")
        else:
            if context.state is ContextState.OPENING:
                self._stock.move_context(context, ContextState.OPEN)
                self._emit(
                    ContextOpened(context_id=context.id, session=context.session, contexts=self._stock.live_contexts)
                )
                if context.outdated is not None:
                    self._upkeep.recycle(context, context.outdated)
                self._upkeep.close_if_unwanted(context)  # a private one whose acquire was cancelled
        finally:
            context.opened.set_result(None)
            self._changes.notify()

    async def open_page(self, page: PooledPage) -> None:
        """Open a page that was entered in the books, and lend it to the lease it is for, if that still waits."""
        context = page.context
        started_at = self._clock.now()
        try:
            page.opened_port = await context.port.new_page(limit_s=self._limits.open_s)
        except Exception as error:  # noqa: BLE001 - the task boundary: handed to whoever waits for this page
            page.error = _ours(error)
            if page.state is PageState.OPENING:
                self._stock.move_page(page, PageState.CLOSED)
            if isinstance(error, BrowserCrashed):
                self._supervisor.lose(context.generation, f"no page could be opened: {error}")
            elif not self._upkeep.is_broken(context):
                self._upkeep.recycle(context, f"no page could be opened: {error}")
        else:
            self._supervisor.proved(context.generation)
            for wear in (context.wear, context.unit.wear):
                wear.drift.add(self._clock.now() - started_at)
            lease = page.lease
            if self._upkeep.is_broken(context):  # closed, or about to be
                gone = await page.port.close(limit_s=self._limits.close_s)
                if gone and page.state is PageState.OPENING:
                    self._stock.move_page(page, PageState.CLOSED)
            elif context.state is ContextState.OPEN and lease is not None and lease.state is LeaseState.ACQUIRING:
                self._stock.lend(page, lease)
                self._upkeep.recycle_if_worn(context)
            else:  # its acquire was cancelled, or must not use this context any more
                self._stock.move_page(page, PageState.PARKED)
        finally:
            page.opened.set_result(None)
            self._changes.notify()


def _ours(error: Exception) -> BrowsercrawlError:
    """Return the error, or a bug report of ours with it as cause: opening is a task boundary."""
    if isinstance(error, BrowsercrawlError):
        return error
    bug = InternalError(f"opening raised {type(error).__name__}: {error}")
    bug.__cause__ = error
    return bug
