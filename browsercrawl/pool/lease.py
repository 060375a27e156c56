"""A lease: the exclusive right to use one page of a session's context, released exactly once."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from browsercrawl.errors import InternalError
from browsercrawl.pool.lifecycle import LeaseState, moved
from browsercrawl.ports import ContextOptions, PagePort

if TYPE_CHECKING:
    from browsercrawl.pool.stock import PooledContext, PooledPage

GiveBack = Callable[["Lease", str | None], Awaitable[None]]
"""The pool's end of a release."""


class Lease:
    """Given by `Pool.acquire`. Only the pool makes and changes one.

    Attributes:
        id: unique within the pool.
        session: key of the session it was acquired for.
        state: where it is in its life.
        lost: why its page died under it (browser, context or pool gone); None while all is well.
        asked_at: when it was asked for, on the pool's clock.
        held_from: when the page was handed out; None before.
    """

    __slots__ = ("_give_back", "asked_at", "context", "held_from", "id", "lost", "pooled", "session", "state")

    def __init__(self, lease_id: int, session: str, *, asked_at: float, give_back: GiveBack) -> None:
        self.id = lease_id
        self.session = session
        self.state = LeaseState.ACQUIRING
        self.lost: str | None = None
        self.asked_at = asked_at
        self.held_from: float | None = None
        self.context: PooledContext | None = None
        self.pooled: PooledPage | None = None
        self._give_back = give_back

    @property
    def page(self) -> PagePort:
        """The page. Its visit begins it (`PagePort.begin`); the release reconditions it."""
        return self._page_now().port

    @property
    def is_context_gone(self) -> bool:
        """The page's context is closed, by whomever, noticed by the pool or not."""
        return self._page_now().context.port.closed

    @property
    def is_private(self) -> bool:
        """The page's context is for this lease alone."""
        return self._page_now().context.private

    @property
    def options(self) -> ContextOptions:
        """With which the page's context was opened."""
        options = self._page_now().context.options
        assert options is not None, "a context with a page is open"
        return options

    @property
    def context_id(self) -> int:
        """Number of the context the page belongs to."""
        return self._page_now().context.id

    @property
    def page_visits(self) -> int:
        """How many leases the page has served, this one included."""
        return self._page_now().wear.visits

    async def release(self, *, condemned: str | None = None) -> None:
        """Give the page back; exactly once. Goes on to its end even when the caller is cancelled.

        Returns when the page is parked for the next lease, or has left it and closes in the background. Takes at most
        the pool's limits for readying a page; longer only while pages_max others are being closed.

        Args:
            condemned: why the page must not serve again: an error's kind, or words. A page that may be hung is
                interrupted before it is closed. None: the pool decides.

        Raises:
            InternalError: it was released before.
        """
        await self._give_back(self, condemned)

    def transition(self, new: LeaseState) -> None:
        """Move to a state."""
        self.state = moved(self.state, new, what=f"lease {self.id}")

    def _page_now(self) -> "PooledPage":
        if self.pooled is None:
            raise InternalError(f"lease {self.id} has no page in state {self.state.name}")
        return self.pooled
