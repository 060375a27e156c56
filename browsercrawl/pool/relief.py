"""Giving memory back: what the pool can do without, one step at a time, cheapest first. Who asks decides when."""

import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass

from browsercrawl.errors import BrowsercrawlError
from browsercrawl.pool.background import Means
from browsercrawl.pool.lease import Lease
from browsercrawl.pool.lifecycle import LeaseState
from browsercrawl.pool.stock import Stock
from browsercrawl.pool.supervisor import Supervisor, Unit
from browsercrawl.pool.upkeep import Upkeep
from browsercrawl.ports import Audit

TRIM_LIMIT_S = 2.0
LOOK_LIMIT_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Spare:
    """What there is to give back: pages in use and parked, idle contexts, browsers, contexts that could be fresher.

    `pages_reused` are those in use that have served before.
    """

    pages_open: int
    pages_reused: int
    pages_parked: int
    contexts_idle: int
    contexts_worn: int
    browsers: int


class Relief:
    """Gives memory back."""

    def __init__(
        self, stock: Stock, *, means: Means, upkeep: Upkeep, supervisor: Supervisor, leases: Collection[Lease]
    ) -> None:
        self._stock = stock
        self._means = means
        self._upkeep = upkeep
        self._supervisor = supervisor
        self._leases = leases

    @property
    def seen(self) -> Audit | None:
        """The last look at the browser that serves."""
        unit = self._supervisor.current
        return None if unit is None else unit.seen

    async def look(self) -> None:
        """Look at the browser that serves now, not at the next time."""
        unit = self._supervisor.current
        if unit is not None:
            with suppress(BrowsercrawlError):  # whoever looks after it has to see to that
                unit.seen = await unit.browser.audit(page_bytes_max=sys.maxsize, limit_s=LOOK_LIMIT_S)

    def spare(self) -> Spare:
        """Tell what there is."""
        contexts = self._stock.contexts
        held = [lease for lease in self._leases if lease.state is LeaseState.HELD]
        return Spare(
            pages_open=len(held),
            pages_reused=sum(lease.page_visits > 1 for lease in held),
            pages_parked=sum(len(context.parked) for context in contexts),
            contexts_idle=sum(context.is_idle for context in contexts),
            contexts_worn=sum(not context.is_idle and context.wear.visits > 1 for context in contexts),
            browsers=self._supervisor.up,
        )

    def close_parked(self) -> None:
        """Close all parked pages."""
        for context in self._stock.contexts:
            for page in list(context.parked):
                self._upkeep.evict(page)

    def drop_caches(self) -> None:
        """Ask the browsers to drop caches and collect garbage."""
        for unit in self._supervisor.units:
            self._means.tasks.spawn(unit.browser.trim(limit_s=TRIM_LIMIT_S), "pool: trim browser")

    def hibernate_idle(self) -> None:
        """Close the idle context used longest ago; what its session keeps is saved."""
        context = self._stock.spare_context()
        if context is not None:
            self._upkeep.spawn_replacement(self._upkeep.let_go(context), f"pool: close idle context {context.id}")

    def recycle_fattest(self) -> None:
        """Let the context that has served most end with its leases: what they have left in it goes then."""
        used = [context for context in self._stock.contexts if not context.is_idle and not context.private]
        if used:
            self._upkeep.recycle(max(used, key=lambda context: context.wear.visits), "memory ran short")

    def give_up_heaviest(self, error: Callable[[], BrowsercrawlError]) -> bool:
        """Kill the renderer that holds most; visits in it end with this error. Returns whether there was one.

        Of two browsers, that of the one in which the last look found it: also an idle one has renderers.
        """
        units = sorted(self._supervisor.units, key=_largest, reverse=True)
        return any(unit.browser.kill_heaviest(error) for unit in units)


def _largest(unit: Unit) -> int:
    return 0 if unit.seen is None else max(unit.seen.renderers, default=0)
