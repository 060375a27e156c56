"""Looking after a browser while it is up: does it answer, has it only open what is known, is it worn?

Each look counts what the browser itself has open against the pool's books. What nobody knows is closed by the browser's
port; what stays too much all the same is a leak that only the browser's end mends: it is replaced.
"""

from browsercrawl.errors import BrowserCrashed, BrowsercrawlError
from browsercrawl.events import PoolChecked, RendererKilled
from browsercrawl.pool.background import Means
from browsercrawl.pool.lifecycle import PageState
from browsercrawl.pool.stock import Stock
from browsercrawl.pool.supervisor import Supervisor, Unit
from browsercrawl.pool.upkeep import Upkeep
from browsercrawl.ports import Audit

LOOK_EVERY_S = 2.0
"""A look costs a few milliseconds of CPU; a page that takes all memory takes seconds for it."""
LOOK_LIMIT_S = 5.0
SILENT_LOOKS_MAX = 3
"""A browser that does not answer so many looks in a row, 20 s in all, is as good as dead."""
LEAKY_LOOKS_MAX = 60
"""So many looks in a row, two minutes, find more than is known: it is a leak, not something on its way."""
TELL_EVERY_S = 60.0


class Checker:
    """Looks after browsers."""

    def __init__(
        self, stock: Stock, *, means: Means, upkeep: Upkeep, supervisor: Supervisor, page_bytes_max: int
    ) -> None:
        self._stock = stock
        self._means = means
        self._upkeep = upkeep
        self._supervisor = supervisor
        self._page_bytes_max = page_bytes_max

    async def care(self, unit: Unit) -> None:
        """Look after a browser until it is lost, or this is cancelled."""
        silent = leaky = 0
        told_at = None
        while True:
            await self._means.clock.sleep(LOOK_EVERY_S)
            now = self._means.clock.now()
            try:
                audit = await unit.browser.audit(page_bytes_max=self._page_bytes_max, limit_s=LOOK_LIMIT_S)
            except BrowserCrashed:
                return  # whoever watches it says so
            except BrowsercrawlError as error:
                silent += 1
                if silent >= SILENT_LOOKS_MAX:
                    self._supervisor.lose(unit.generation, f"did not answer {silent} times in a row: {error}")
                    return
                continue
            silent, unit.seen = 0, audit
            extra = self._too_much(unit, audit)
            leaky = leaky + 1 if extra else 0
            if told_at is None or now - told_at >= TELL_EVERY_S or audit.orphans or audit.strays or audit.killed:
                told_at = now
                self._tell(unit, audit)
            self._upkeep.drop_worn()
            why = extra if leaky >= LEAKY_LOOKS_MAX else unit.wear.reason(now, held_bytes=audit.browser_bytes)
            if why is not None:
                self._supervisor.replace(unit, why)

    def _too_much(self, unit: Unit, audit: Audit) -> str | None:
        """Tell what the browser has open that is not in the books; None: all is known.

        Pages are compared only while nobody uses one: a visit's popups are not in the books.
        """
        contexts = len(self._stock.contexts_of(unit.generation))
        if audit.contexts > contexts:
            return f"has {audit.contexts} contexts open, {contexts} are known"
        pages = self._stock.pages_of(unit.generation)
        in_use = any(page.state in {PageState.LEASED, PageState.RETURNING} for page in pages)
        if audit.pages > len(pages) and not in_use:
            return f"has {audit.pages} pages open, {len(pages)} are known"
        return None

    def _tell(self, unit: Unit, audit: Audit) -> None:
        if audit.killed:
            self._means.emit(
                RendererKilled(
                    renderers=audit.killed, bytes_most=max(audit.renderers), limit_bytes=self._page_bytes_max
                )
            )
        self._means.emit(
            PoolChecked(
                generation=unit.generation,
                contexts=len(self._stock.contexts_of(unit.generation)),
                contexts_seen=audit.contexts,
                pages=len(self._stock.pages_of(unit.generation)),
                pages_seen=audit.pages,
                orphans=audit.orphans,
                strays=audit.strays,
                renderers=len(audit.renderers),
                renderer_bytes=sum(audit.renderers),
                browser_bytes=audit.browser_bytes,
            )
        )
