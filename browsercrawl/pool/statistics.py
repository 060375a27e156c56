"""How the pool stands: one frozen record, which is also where its book-keeping is checked."""

from dataclasses import dataclass

from browsercrawl.errors import InternalError


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStatistics:
    """A snapshot of the pool; consistent, because it is taken between two awaits.

    Attributes:
        limit: leases allowed at once.
        leases: permits taken: leases being acquired, held or released.
        pages_opening, pages_parked, pages_leased, pages_returning, pages_closing: pages by state.
        contexts: live contexts: opening, open or draining.
        contexts_closing: contexts being closed.
        replacements: closings that go on in the background, after their lease has ended.
        browsers: 1 while a browser is up.
        generation: number of the browser that is up or was last.
        launches: browsers that came up since the pool was made.
    """

    limit: int
    leases: int
    pages_opening: int
    pages_parked: int
    pages_leased: int
    pages_returning: int
    pages_closing: int
    contexts: int
    contexts_closing: int
    replacements: int
    browsers: int
    generation: int
    launches: int

    @property
    def pages(self) -> int:
        """Pages open now, whatever their state; one being opened is counted."""
        return self.pages_opening + self.pages_parked + self.pages_leased + self.pages_returning + self.pages_closing

    def check(self) -> None:
        """Assert what must hold at any moment.

        Raises:
            InternalError: the pool's books are wrong.
        """
        if min(self.leases, self.pages_opening, self.pages_parked, self.contexts, self.replacements) < 0:
            raise InternalError(f"the pool counts below zero: {self}")
        if self.pages_leased + self.pages_returning > self.leases:
            raise InternalError(f"more pages are in use than there are leases: {self}")
        if self.pages and not self.contexts + self.contexts_closing:
            raise InternalError(f"pages without a context: {self}")
