"""Before every visit: what robots.txt forbids is never fetched. Who must wait for it waits in the frontier.

What a page redirects to is known only when it is there. If robots.txt of that place forbids it, nothing of it is used:
no handler gets it, no link of it is followed, and the request ends as skipped. Where it cannot be asked in time, the
page counts: it has been fetched already.

Logins, what user code loads by itself and what pages load with them are not asked about: robots.txt is for addresses
that a crawler comes upon.
"""

import asyncio
from http import HTTPStatus

from browsercrawl.config import CrawlerConfig
from browsercrawl.dispatcher.wiring import Wiring
from browsercrawl.errors import InvalidURL, NetworkFailed, RobotsUnavailable
from browsercrawl.frontier import Claim, Cost
from browsercrawl.net import Document, HttpClient, Way
from browsercrawl.politeness import ROBOTS_BYTES_MAX, Robots
from browsercrawl.request import Request
from browsercrawl.result import Phase, SkipReason
from browsercrawl.urls import address
from browsercrawl.visit import PhaseTimes, VisitOutcome

FETCH_LIMIT_S = 30.0
"""A robots.txt must have come by then."""


class RobotsCheck:
    """Lets requests pass, or not. It goes by the network guard's way, as contexts do."""

    def __init__(self, wiring: Wiring, config: CrawlerConfig) -> None:
        self._w = wiring
        self._config = config
        self._way: Way | None = None
        self._client: HttpClient | None = None
        self._opening = asyncio.Lock()
        self._robots = Robots(self._fetch, config=config, clock=wiring.clock, emit=wiring.emit, restrain=self._restrain)

    async def puts_off(self, claim: Claim) -> bool:
        """Give a request back whose robots.txt is not known yet, and hold its host back; returns whether it was."""
        try:
            wait_s = self._robots.leave(claim.request.url).wait_s
        except RobotsUnavailable:
            return False
        if wait_s is None:
            return False
        await self._w.frontier.defer(claim.slot, wait_s)
        await self._w.frontier.release(claim, cost=Cost.NOTHING)
        return True

    def refused(self, claim: Claim) -> VisitOutcome | None:
        """Return what becomes of a request that may not be visited and was not put off; None: it may be visited."""
        try:
            if self._robots.leave(claim.request.url).allowed:
                return None
        except RobotsUnavailable as error:
            return VisitOutcome(phase=Phase.LEASE, times=PhaseTimes(), error=error)
        return VisitOutcome(phase=Phase.LEASE, times=PhaseTimes(), skip_reason=SkipReason.ROBOTS)

    async def admits(self, request: Request, final_url: str, *, limit_s: float) -> bool:
        """Tell whether the page to which a request's address has led may be used."""
        try:
            where = address(final_url)
            if where.canonical == request.address.canonical:
                return True
            leave = await self._robots.wait_leave(final_url, limit_s=limit_s)
        except (InvalidURL, RobotsUnavailable):  # about:blank and the like; or nobody can tell
            return True
        return leave.allowed or leave.wait_s is not None

    async def close(self) -> None:
        """Ask no more. Idempotent."""
        await self._robots.close()
        if self._client is not None:
            await self._client.close()
        if self._way is not None:
            await self._way.close()
            self._way = None

    async def _fetch(self, url: str) -> Document:
        client, began_at = await self._open(), asyncio.get_running_loop().time()
        try:
            return await client.get(url)
        except NetworkFailed:
            notes = self._way.ledger.since(began_at) if self._way is not None else []
            if any(note.reason is not None and note.host == address(url).hostname for note in notes):
                # The guard refuses the host: a visit is refused as well, and says so.
                return Document(url=url, status=HTTPStatus.NOT_FOUND, headers={}, body=b"")
            raise

    async def _open(self) -> HttpClient:
        async with self._opening:
            if self._client is None:
                browser = self._config.browser
                if self._config.network.guard != "off":
                    self._way = await self._w.guard.open(None)
                self._client = HttpClient(
                    user_agent=browser.user_agent or browser.identification,
                    bytes_max=ROBOTS_BYTES_MAX,
                    limit_s=FETCH_LIMIT_S,
                    proxy=self._way.url if self._way is not None else browser.proxy,
                    verify=not browser.context_options.get("ignore_https_errors", False),
                )
        return self._client

    async def _restrain(self, host: str, delay_s: float) -> None:
        await self._w.frontier.restrain(host, delay_s=delay_s)
