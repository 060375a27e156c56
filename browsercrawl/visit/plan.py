"""What a visit is to do: a request's own wishes, laid over a rule's, laid over the run's configuration."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from browsercrawl.config import Saved, VisitConfig, VisitRule
from browsercrawl.errors import SessionExpired
from browsercrawl.ports import Navigation, PagePort
from browsercrawl.request import Capture, Request, WaitUntil

if TYPE_CHECKING:
    from browsercrawl.visit.visit import Visit

Handler = Callable[["Visit"], Awaitable[None]]
"""User code that gets the visit once its page is ready."""


class Check(Protocol):
    """Looks whether a page shows that its session is logged out, or refused; `sessions` implements it."""

    @property
    def function(self) -> Callable[[Any], Awaitable[bool]] | None:
        """User code that gets the Playwright page and tells whether it shows that the session is logged out."""

    def arrived(self, navigation: Navigation) -> None:
        """Look at where a navigation led. Raises SessionExpired, PageBlocked."""

    def look_at_address(self, url: str) -> None:
        """Look at the address of a page. Raises SessionExpired."""

    async def look(self, page: PagePort, navigation: Navigation, *, limit_s: float) -> None:
        """Look at a page that is there. Raises SessionExpired, PageBlocked, and what a call into the page raises."""

    def expired(self, url: str) -> SessionExpired:
        """Return the error for a page of which `function` says so."""


class Admits(Protocol):
    """Tells whether the page that an address has led to may be used; the dispatcher implements it."""

    async def __call__(self, final_url: str, *, limit_s: float) -> bool:
        """Tell, within a limit."""


NO_RULE = VisitRule(url="*")
"""Matches everything and wishes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitPlan:
    """A visit's orders, with nothing left open.

    Attributes:
        timeout_s: deadline over everything, from the moment the page is leased.
        capture: what the result carries.
        save: what becomes an artifact.
        handler: runs between readiness and capture.
        follow: the page's links are wanted, also when the result does not carry them.
        salvage: of a page that hangs until the deadline, what it shows is taken all the same.
        admits: looks, before anything else, whether the page that the address has led to may be used at all.
        check: looks, before anything is accepted, whether the session is still logged in; None: it has no login.
    """

    request: Request
    timeout_s: float
    wait_until: WaitUntil
    wait_for: str | None
    capture: frozenset[Capture]
    save: frozenset[Saved]
    accept_status: frozenset[int]
    handler: Handler | None = None
    follow: bool = False
    salvage: bool = False
    check: Check | None = None
    admits: Admits | None = None

    @classmethod
    def of(
        cls,
        request: Request,
        config: VisitConfig,
        *,
        rule: VisitRule = NO_RULE,
        handler: Handler | None = None,
        follow: bool = False,
    ) -> "VisitPlan":
        """Lay the request's wishes over those of the rule that matches it, and both over the configuration."""
        return cls(
            request=request,
            timeout_s=request.timeout_s or rule.timeout_s or config.timeout_s,
            wait_until=request.wait_until or rule.wait_until or config.wait_until,
            wait_for=request.wait_for or rule.wait_for or config.wait_for,
            capture=config.capture,
            save=config.save if rule.save is None else rule.save,
            accept_status=config.accept_status if rule.accept_status is None else rule.accept_status,
            handler=handler,
            follow=follow,
            salvage=config.salvage,
        )
