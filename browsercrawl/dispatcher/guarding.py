"""What the dispatcher does about the network guard: leaves out what it refuses, and tells what it has refused.

The browser cannot tell: a connection that the guard has cut, or could not make, looks like one that the site has cut.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from browsercrawl.dispatcher.settle import History
from browsercrawl.dispatcher.wiring import Wiring
from browsercrawl.errors import InvalidURL, NetworkFailed
from browsercrawl.net import Note, Reason, Way
from browsercrawl.pool import Lease
from browsercrawl.request import ANONYMOUS, Request
from browsercrawl.result import Phase, SkipReason
from browsercrawl.urls import Address, address, shown
from browsercrawl.visit import PhaseTimes, VisitOutcome

REFUSED = "guard.refused"
"""How refused connections are counted in the frontier's totals."""

_NOTE = "trusted"
"""Under which name the frontier keeps the private origins that the input named."""

_ASK_LIMIT_S = 1.0
"""For asking the driver, which knows, not the page."""

_CUT = frozenset(
    {
        "ERR_CONNECTION_ABORTED", "ERR_CONNECTION_CLOSED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE",
        "ERR_FAILED", "ERR_PROXY_CONNECTION_FAILED", "ERR_SOCKET_NOT_CONNECTED", "ERR_TUNNEL_CONNECTION_FAILED",
    }
)  # fmt: skip
"""Chromium's names of what a connection looks like that ends without an answer."""


class Guarding:
    """See the module's text. It is the `Network` of input that lies there."""

    def __init__(self, wiring: Wiring) -> None:
        self._w = wiring
        self._guard = wiring.guard
        self._trusted: set[str] = set()
        self._told = wiring.guard.refused

    async def restore(self) -> None:
        """Trust what the input of earlier processes named."""
        noted = (await self._w.frontier.notes()).get(_NOTE)
        for url in json.loads(noted) if noted else ():
            self._trusted.add(url)
            self._guard.trust(address(url))

    async def trust(self, addresses: Iterable[Address]) -> None:
        """Allow the private origins of addresses that the input names, now and when the run is resumed."""
        new = {f"http://{each.host}/" for each in addresses if self._guard.trust(each)} - self._trusted
        if new:
            self._trusted |= new
            await self._w.frontier.note({_NOTE: json.dumps(sorted(self._trusted))})

    def refusal(self, address: Address) -> Reason | None:
        """See `Guard.refusal`."""
        return self._guard.refusal(address)

    async def open(self, proxy: str | None) -> Way:
        """Open a way as for a page of no session in particular: nobody is asked past the proxy that such a one has.

        Raises:
            ProxyFailed: the user's function gives none that is one. ValueError, OSError: see `Guard.open`.
        """
        return await self._guard.open(self._w.sessions.proxy_of(ANONYMOUS) or proxy)

    def refuses(self, request: Request) -> SkipReason | None:
        """Tell why a request must not be visited, as far as its URL shows; None: it may."""
        return _skip_reason(self._guard.refusal(request.address))

    def unvisited(self, request: Request) -> VisitOutcome | None:
        """Return the outcome of a request that must not be visited; None: it may."""
        reason = self.refuses(request)
        return None if reason is None else VisitOutcome(phase=Phase.LEASE, times=PhaseTimes(), skip_reason=reason)

    def is_outdated(self, request: Request, lease: Lease) -> bool:
        """Tell whether a lease's context was opened before the guard was on; that serves nobody any more then."""
        if not self._w.sessions.keeper.is_outdated(lease.options):
            return False
        self._w.pool.recycle(request.session_key, "the network guard is on now")
        return True

    async def explained(self, request: Request, outcome: VisitOutcome, *, lease: Lease, since: float) -> VisitOutcome:
        """Return what a visit came to in truth.

        What the page itself was refused explains every failure that followed. What its documents embed explains none.

        Args:
            request: that was visited.
            outcome: as the browser tells it.
            lease: whose page it was.
            since: when the visit began, by the event loop's clock.
        """
        error, page = outcome.error, lease.page
        if error is None:
            strayed = outcome.navigation and self._refused(outcome.navigation.final_url, ())
            return replace(outcome, skip_reason=strayed, snapshot=None, data=()) if strayed else outcome
        way = self._way(lease)
        notes = way.ledger.since(since) if way is not None else ()
        target = None
        if (notes or self._guard.blocks) and not page.closed and not page.crashed:
            target = await page.unreached(limit_s=_ASK_LIMIT_S)
        if target is not None and (reason := self._refused(target, notes)) is not None:
            return replace(outcome, error=None, skip_reason=reason)
        if way is None or not isinstance(error, NetworkFailed) or error.code not in _CUT:
            return outcome
        note = _last(notes, target or request.url)
        why = way.failure_since(since)
        if why is None and note is None:
            return outcome
        code = "ERR_PROXY_CONNECTION_FAILED" if why is not None or note is None else note.code
        host = error.host if note is None else f"{note.host}:{note.port}"
        true = NetworkFailed(f"loading {shown(target or request.url)}: {why or code}", code=code, host=host)
        true.__cause__ = error
        return replace(outcome, error=true)

    @contextmanager
    def counting(self, lease: Lease, history: History) -> Iterator[None]:
        """Count what goes through a lease's way meanwhile, for the history of its request."""
        way = self._way(lease)
        if way is None:
            yield
            return
        ledger = way.ledger
        transferred, refused = ledger.transferred_bytes, ledger.refused
        try:
            yield
        finally:
            history.transferred_bytes = (history.transferred_bytes or 0) + ledger.transferred_bytes - transferred
            history.refused_connections += ledger.refused - refused

    def _refused(self, url: str, notes: Sequence[Note]) -> SkipReason | None:
        """Tell why an address must not be visited, as far as it shows, or as far as a way has noted."""
        try:
            reason = self._guard.refusal(address(url))
        except InvalidURL:  # about:blank, data:
            return None
        if reason is None and (note := _last(notes, url)) is not None:
            reason = note.reason
        return _skip_reason(reason)

    def take_refused(self) -> dict[str, int]:
        """Return how many connections were refused since the last call, by `REFUSED`."""
        count, self._told = self._guard.refused - self._told, self._guard.refused
        return {REFUSED: count} if count else {}

    def _way(self, lease: Lease) -> Way | None:
        return self._guard.way(lease.options.extra.get("proxy", {}).get("server", ""))


def _skip_reason(reason: Reason | None) -> SkipReason | None:
    if reason is None:
        return None
    return SkipReason.BLOCKED_HOST if reason is Reason.BLOCKED else SkipReason.GUARD


def _last(notes: Sequence[Note], url: str) -> Note | None:
    """Return what was noted last of the host and port of a URL."""
    try:
        host, _, port = address(url).host.rpartition(":")
    except InvalidURL:
        return None
    return next((note for note in reversed(notes) if (note.host, note.port) == (host, int(port))), None)
