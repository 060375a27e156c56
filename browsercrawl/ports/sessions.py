"""Who opens and saves contexts for sessions."""

from dataclasses import dataclass
from typing import Protocol

from browsercrawl.ports.browser import ContextOptions, ContextPort


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTerms:
    """What the pool must know of a session.

    Attributes:
        pages_max: leases of it at once; None: as many as there are.
        context_visits_max: its context is replaced after so many; None: as for all.
        is_kept: its state outlives its contexts: it is saved before one closes, and no other is opened meanwhile.
        may_overlap: another context may be opened while one drains: it has no identity that two must not share.
    """

    pages_max: int | None = None
    context_visits_max: int | None = None
    is_kept: bool = False
    may_overlap: bool = False


class SessionKeeper(Protocol):
    """Gives sessions their contexts' options, and keeps what is to outlive a context. `sessions` implements it."""

    def terms(self, session: str) -> SessionTerms:
        """Tell what holds for a session; the same as long as it has a context."""

    async def revive(self, session: str, *, private: bool = False) -> ContextOptions:
        """Return how a context of the session is opened now: its identity, and the state it was left in.

        Args:
            session: its key.
            private: it is for one request alone, which begins with nothing unless the session has a login.

        Raises:
            StateUnusable: a state was saved that cannot be used.
        """

    async def hibernate(self, session: str, context: ContextPort, *, options: ContextOptions, limit_s: float) -> None:
        """Save the state of a context that is about to close and that nobody uses. Never raises.

        Args:
            session: whose it is.
            context: still open, unless it has died.
            options: with which it was opened, as `revive` returned them.
            limit_s: after it, what is known already is kept.
        """

    def dismiss(self, options: ContextOptions) -> None:
        """A context is gone, or never came to be: what was opened for it is closed. Never raises.

        Args:
            options: as `revive` returned them.
        """
