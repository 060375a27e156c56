"""What the pool owns: contexts and pages, their states and counts. Decides; awaits nothing.

Bounds kept here by deciding before anything is opened, at the moment of the decision:

- live pages (opening, parked, leased, returning) <= limit + STOCK_PAGES;
- live contexts (opening, open, draining, hibernating) <= contexts_max, or limit if that is more.

When a page is wanted and there is no room, the parked page that is least worth keeping makes way: first one of a
draining context, then one of another session, the longest parked first, then one of the own session. A context makes
way only when it has no lease: the one used longest ago.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, KeysView
from dataclasses import dataclass, field

from browsercrawl.errors import BrowsercrawlError, InternalError
from browsercrawl.pool.lease import Lease
from browsercrawl.pool.lifecycle import ContextState, PageState, moved
from browsercrawl.pool.supervisor import Unit
from browsercrawl.pool.wear import Wear
from browsercrawl.ports import ContextOptions, ContextPort, PagePort, SessionTerms

STOCK_PAGES = 4
"""Parked pages kept beyond pages_max: a few sessions stay warm while others use all permits; each costs a renderer."""

_LIVE_PAGES = (PageState.OPENING, PageState.PARKED, PageState.LEASED, PageState.RETURNING)
_LEAVING = (ContextState.DRAINING, ContextState.HIBERNATING)
_LIVE_CONTEXTS = (ContextState.OPENING, ContextState.OPEN, *_LEAVING)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSize:
    """How much may be open.

    Attributes:
        pages_max: leases at once, >= 1.
        contexts_max: live contexts, >= 1; more only while more leases are allowed: each may need one of its own.
    """

    pages_max: int
    contexts_max: int

    def __post_init__(self) -> None:
        if min(self.pages_max, self.contexts_max) < 1:
            raise InternalError(f"pool size: at least one page and one context must be allowed, not {self}")


@dataclass(slots=True, eq=False, kw_only=True)
class PooledContext:
    """A context and what the pool knows of it.

    Attributes:
        private: made for one lease (`isolation="request"`), never shared.
        terms: of its session.
        unit: the browser it lives in.
        wear: what it has been through.
        leases: that use it or wait for it; while there is one it is not closed to make room.
        opened: done when opening has ended, well or not.
        error: why opening failed.
        options: with which it was opened.
        outdated: why it must not be used, found out while it was being opened.
    """

    id: int
    session: str
    private: bool
    terms: SessionTerms
    unit: Unit
    wear: Wear
    opened: asyncio.Future[None]
    state: ContextState = ContextState.OPENING
    used_at: int = 0
    leases: set[Lease] = field(default_factory=set)
    pages: set["PooledPage"] = field(default_factory=set)
    parked: list["PooledPage"] = field(default_factory=list)
    error: BrowsercrawlError | None = None
    options: ContextOptions | None = None
    outdated: str | None = None
    opened_port: ContextPort | None = None
    closing: "asyncio.Task[bool] | None" = None

    @property
    def port(self) -> ContextPort:
        """The context itself, once it is open."""
        if self.opened_port is None:
            raise InternalError(f"context {self.id} is {self.state.name}: it is not open yet")
        return self.opened_port

    @property
    def generation(self) -> int:
        """Of its browser."""
        return self.unit.generation

    @property
    def is_kept(self) -> bool:
        """What it holds belongs to its session, and outlives it."""
        return self.terms.is_kept and not self.private

    @property
    def is_exclusive(self) -> bool:
        """Its session may have no other shared context while this one is in use."""
        return not self.private and (self.terms.is_kept or self.terms.pages_max is not None)

    @property
    def is_full(self) -> bool:
        """As many leases use it as may be."""
        return self.terms.pages_max is not None and len(self.leases) >= self.terms.pages_max

    @property
    def is_idle(self) -> bool:
        """Open, and nobody uses it."""
        return self.state is ContextState.OPEN and not self.leases


@dataclass(slots=True, eq=False, kw_only=True)
class PooledPage:
    """A page and what the pool knows of it.

    Attributes:
        wear: what it has been through, the present lease included.
        lease: that holds it, or for which it is being opened.
        opened: done when opening has ended, well or not.
        error: why opening failed.
    """

    id: int
    context: PooledContext
    lease: Lease | None
    wear: Wear
    opened: asyncio.Future[None]
    state: PageState = PageState.OPENING
    parked_at: int = 0
    error: BrowsercrawlError | None = None
    opened_port: PagePort | None = None

    @property
    def port(self) -> PagePort:
        """The page itself, once it is open."""
        if self.opened_port is None:
            raise InternalError(f"page {self.id} is {self.state.name}: it is not open yet")
        return self.opened_port

    def is_lent_to(self, lease: Lease) -> bool:
        """Tell whether the lease has the page, and the page is alive."""
        return self.state is PageState.LEASED and self.lease is lease


class Stock:
    """All contexts and pages that are not closed.

    Args:
        on_empty: told the number of a browser when its last context has closed.
        on_closed: told of each context that has closed.

    Attributes:
        size: the bounds.
        limit: pages that may be lent now, at most `size.pages_max`.
    """

    def __init__(
        self, size: PoolSize, *, on_empty: Callable[[int], None], on_closed: Callable[[PooledContext], None]
    ) -> None:
        self.size = size
        self.limit = size.pages_max
        self._on_empty = on_empty
        self._on_closed = on_closed
        self._ids = itertools.count(1)
        self._ticks = itertools.count(1)
        self._contexts: dict[int, PooledContext] = {}
        self._warm: dict[str, PooledContext] = {}
        self._opening: dict[str, PooledContext] = {}
        self._leaving: Counter[str] = Counter()
        self._pages: Counter[PageState] = Counter()
        self._context_states: Counter[ContextState] = Counter()

    @property
    def warm(self) -> KeysView[str]:
        """Keys of the sessions with an open, shared context: a live view."""
        return self._warm.keys()

    @property
    def contexts(self) -> list[PooledContext]:
        """All contexts that are not closed."""
        return list(self._contexts.values())

    def pages_in(self, *states: PageState) -> int:
        """Count pages by state."""
        return sum(self._pages[state] for state in states)

    def contexts_in(self, *states: ContextState) -> int:
        """Count contexts by state."""
        return sum(self._context_states[state] for state in states)

    @property
    def live_contexts(self) -> int:
        """Contexts that count against contexts_max."""
        return self.contexts_in(*_LIVE_CONTEXTS)

    @property
    def has_page_room(self) -> bool:
        """One more page may be opened."""
        return self._live_pages < self.limit + STOCK_PAGES

    @property
    def context_room(self) -> int:
        """So many more contexts may be opened."""
        return max(self.size.contexts_max, self.limit) - self.live_contexts

    def is_leaving(self, session: str) -> bool:
        """Tell whether the session's last context must be gone before it may have another."""
        return self._leaving[session] > 0

    def shared_context(self, session: str) -> PooledContext | None:
        """Return the session's context that is open or being opened."""
        return self._warm.get(session) or self._opening.get(session)

    def contexts_of(self, generation: int) -> list[PooledContext]:
        """Return those of a browser that are not closed."""
        return [context for context in self._contexts.values() if context.generation == generation]

    def pages_of(self, generation: int) -> list[PooledPage]:
        """Return the pages of a browser that are not closed."""
        return [page for context in self.contexts_of(generation) for page in context.pages]

    def add_context(self, session: str, *, private: bool, terms: SessionTerms, unit: Unit, wear: Wear) -> PooledContext:
        """Enter a context that is now being opened."""
        opened = asyncio.get_running_loop().create_future()
        context = PooledContext(
            id=next(self._ids),
            session=session,
            private=private,
            terms=terms,
            unit=unit,
            wear=wear,
            opened=opened,
        )
        self._contexts[context.id] = context
        self._context_states[context.state] += 1
        if not private:
            self._opening[session] = context
        return context

    def add_page(self, context: PooledContext, lease: Lease, *, wear: Wear) -> PooledPage:
        """Enter a page that is now being opened for a lease."""
        opened = asyncio.get_running_loop().create_future()
        page = PooledPage(id=next(self._ids), context=context, lease=lease, wear=wear, opened=opened)
        context.pages.add(page)
        self._pages[page.state] += 1
        return page

    def take_parked(self, context: PooledContext, lease: Lease) -> PooledPage | None:
        """Lend the context's page that was parked last and is still alive; None: there is none."""
        for page in reversed(context.parked):
            if not page.port.closed and not page.port.crashed:
                self.lend(page, lease)
                return page
        return None

    def lend(self, page: PooledPage, lease: Lease) -> None:
        """Hand a page to a lease, and count the visit."""
        self.move_page(page, PageState.LEASED)
        page.lease = lease
        for wear in (page.wear, page.context.wear, page.context.unit.wear):
            wear.visits += 1
        page.context.used_at = next(self._ticks)
        lease.pooled = page

    def spare_page(self, session: str) -> PooledPage | None:
        """Return the parked page that is least worth keeping for a page of this session to be opened."""
        parked = (page for context in self._contexts.values() for page in context.parked)
        return min(parked, key=lambda page: _worth(page, session), default=None)

    def spare_context(self) -> PooledContext | None:
        """Return the idle context used longest ago."""
        idle = (context for context in self._contexts.values() if context.is_idle)
        return min(idle, key=lambda context: context.used_at, default=None)

    def move_page(self, page: PooledPage, new: PageState) -> None:
        """Change a page's state, and the counts and lists with it."""
        old = page.state
        page.state = moved(old, new, what=f"page {page.id}")
        self._pages[old] -= 1
        if old is PageState.PARKED:
            page.context.parked.remove(page)
        if new is PageState.CLOSED:
            page.context.pages.discard(page)
            return
        self._pages[new] += 1
        if new is PageState.PARKED:
            page.lease = None
            page.parked_at = next(self._ticks)
            page.context.parked.append(page)

    def move_context(self, context: PooledContext, new: ContextState) -> None:
        """Change a context's state; its pages close with it."""
        old = context.state
        context.state = moved(old, new, what=f"context {context.id}")
        self._context_states[old] -= 1
        if context.is_exclusive:
            leaving = (ContextState.HIBERNATING,) if context.terms.may_overlap else _LEAVING
            self._leaving[context.session] += (new in leaving) - (old in leaving)
            if not self._leaving[context.session]:
                del self._leaving[context.session]
        if not context.private:
            if old is ContextState.OPENING:
                del self._opening[context.session]
            if old is ContextState.OPEN:
                del self._warm[context.session]
            if new is ContextState.OPEN:
                self._warm[context.session] = context
        if new is ContextState.CLOSED:
            del self._contexts[context.id]
            self._on_closed(context)
            for page in list(context.pages):
                self.move_page(page, PageState.CLOSED)
            if not any(other.generation == context.generation for other in self._contexts.values()):
                self._on_empty(context.generation)
        else:
            self._context_states[new] += 1
        if new in {ContextState.HIBERNATING, ContextState.CLOSING}:  # nobody gets one of its pages any more
            for page in list(context.pages):
                if page.state not in {PageState.OPENING, PageState.CLOSING}:  # one being opened will find out
                    self.move_page(page, PageState.CLOSING)

    @property
    def _live_pages(self) -> int:
        return self.pages_in(*_LIVE_PAGES)


def _worth(page: PooledPage, session: str) -> tuple[int, int]:
    if page.context.state is ContextState.DRAINING:
        return (0, page.parked_at)
    return (1 if page.context.session != session else 2, page.parked_at)
