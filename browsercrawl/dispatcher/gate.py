"""The gate before every visit: what robots.txt forbids is never fetched. Who must wait for it waits in the frontier.

What a page redirects to is known only when it is there. If robots.txt of that place forbids it, nothing of it is used:
no handler gets it, no link of it is followed, and the request ends as skipped. Where it cannot be asked in time, the
page counts: it has been fetched already.

Logins, what user code loads by itself and what pages load with them are not asked about: robots.txt is for addresses
that a crawler comes upon.
"""

from browsercrawl.config import CrawlerConfig
from browsercrawl.dispatcher.wiring import Wiring
from browsercrawl.errors import InvalidURL, RobotsUnavailable
from browsercrawl.frontier import Claim, Cost
from browsercrawl.net import HttpClient
from browsercrawl.politeness import ROBOTS_BYTES_MAX, Robots
from browsercrawl.request import Request
from browsercrawl.result import Phase, SkipReason
from browsercrawl.urls import address
from browsercrawl.visit import PhaseTimes, VisitOutcome

FETCH_LIMIT_S = 30.0
"""A robots.txt must have come by then."""


class Gate:
    """Lets requests pass, or not."""

    def __init__(self, wiring: Wiring, config: CrawlerConfig) -> None:
        self._w = wiring
        browser = config.browser
        self._client = HttpClient(
            user_agent=browser.user_agent or browser.identification,
            bytes_max=ROBOTS_BYTES_MAX,
            limit_s=FETCH_LIMIT_S,
            proxy=browser.proxy,
            verify=not browser.context_options.get("ignore_https_errors", False),
        )
        self._robots = Robots(
            self._client.get, config=config, clock=wiring.clock, emit=wiring.emit, restrain=self._restrain
        )

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
        await self._client.close()

    async def _restrain(self, host: str, delay_s: float) -> None:
        await self._w.frontier.restrain(host, delay_s=delay_s)
