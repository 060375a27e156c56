"""Before every visit: what robots.txt forbids is never fetched. Who must wait for it waits in the frontier.

What a page redirects to is known only when it is there. If robots.txt of that place forbids it, nothing of it is used:
no handler gets it, no link of it is followed, and the request ends as skipped. Where it cannot be asked in time, the
page counts: it has been fetched already.

Logins, what user code loads by itself and what pages load with them are not asked about: robots.txt is for addresses
that a crawler comes upon.
"""

import asyncio
from dataclasses import replace
from http import HTTPStatus

from browsercrawl.config import CrawlerConfig
from browsercrawl.dispatcher.wiring import Wiring
from browsercrawl.errors import BrowsercrawlError, InvalidURL, NetworkFailed, ProxyFailed, RobotsUnavailable
from browsercrawl.frontier import Claim, Cost, HostUpdate
from browsercrawl.net import Document, HttpClient
from browsercrawl.politeness import ROBOTS_BYTES_MAX, Robots
from browsercrawl.request import Request
from browsercrawl.result import Phase, SkipReason
from browsercrawl.urls import address, shown
from browsercrawl.visit import PhaseTimes, VisitOutcome

FETCH_LIMIT_S = 30.0
"""A robots.txt must have come by then."""

WAIT_SHARE = 0.5
"""Of what is left of a visit's time: what the page needs afterwards must not be spent on waiting."""


class NotYet(Exception):
    """It is not known yet whether a request may be visited; it was given back."""


class RobotsCheck:
    """Lets requests pass, or not. It goes by the network guard's way, as contexts do."""

    def __init__(self, wiring: Wiring, config: CrawlerConfig) -> None:
        self._w = wiring
        browser = config.browser
        self._proxy = browser.proxy
        self._is_guarded = config.goes_by_ways
        self._client = HttpClient(
            user_agent=browser.user_agent or browser.identification,
            bytes_max=ROBOTS_BYTES_MAX,
            limit_s=FETCH_LIMIT_S,
            verify=not browser.context_options.get("ignore_https_errors", False),
        )
        self._robots = Robots(
            self._fetch, token=browser.product_token, clock=wiring.clock, emit=wiring.emit, restrain=self._restrain
        )

    async def stops(self, claim: Claim) -> VisitOutcome | None:
        """Return what becomes of a request that may not be visited; None: it may be.

        Raises:
            NotYet: that is not known; the request went back, and its host is held back for a moment.
        """
        request = claim.request
        try:
            leave = await self._robots.leave(request.url, proxy=self._proxy_of(request))
        except BrowsercrawlError as error:
            return VisitOutcome(phase=Phase.LEASE, times=PhaseTimes(), error=error)
        if leave.wait_s is None:
            forbidden = VisitOutcome(phase=Phase.LEASE, times=PhaseTimes(), skip_reason=SkipReason.ROBOTS)
            return None if leave.allowed else forbidden
        is_shared = claim.slot != request.address.host  # with the other hosts of a domain, which need not wait
        await self._w.frontier.release(
            claim,
            cost=Cost.NOTHING,
            delay_s=leave.wait_s if is_shared else 0.0,
            host=HostUpdate(unused=claim.reserved, defer_s=0.0 if is_shared else leave.wait_s),
        )
        raise NotYet

    def restrained(self, claim: Claim) -> Claim:
        """Return a claim with the Crawl-delay of its host: it may have been made before the answer was there."""
        delay_s = self._robots.delay_s(claim.request.url)
        return claim if delay_s <= claim.delay_s else replace(claim, delay_s=delay_s)

    async def admits(self, request: Request, final_url: str, *, limit_s: float) -> bool:
        """Tell whether the page to which a request's address has led may be used."""
        try:
            where = address(final_url)
            if where.canonical == request.address.canonical:
                return True
            proxy = self._proxy_of(request)
        except (InvalidURL, ProxyFailed):  # about:blank and the like; or nobody can tell
            return True
        allowed = await self._robots.wait_leave(final_url, limit_s=limit_s * WAIT_SHARE, proxy=proxy)
        return allowed is not False

    async def close(self) -> None:
        """Ask no more. Idempotent."""
        await self._robots.close()

    async def _fetch(self, url: str, proxy: str | None) -> Document:
        if not self._is_guarded:
            return await self._client.get(url, proxy)
        began_at = asyncio.get_running_loop().time()
        try:
            way = await self._w.guard.open(proxy)
        except (OSError, ValueError) as error:  # this machine's failure: the host must not be given up for it
            raise RobotsUnavailable(f"{shown(url)}: no way into the network: {error}", is_hosts=False) from error
        try:
            return await self._client.get(url, way.url)
        except NetworkFailed as error:
            notes = [note for note in way.ledger.since(began_at) if note.host == address(url).hostname]
            if notes and notes[-1].reason is not None:
                # The guard refuses the host: a visit is refused as well, and says so.
                return Document(url=url, status=HTTPStatus.NOT_FOUND, headers={}, body=b"")
            if notes:
                raise NetworkFailed(error.message, code=notes[-1].code) from error
            raise
        finally:
            await way.close()

    def _proxy_of(self, request: Request) -> str | None:
        """Return the proxy of a request's session: what its pages go through."""
        return self._w.sessions.proxy_of(request.session_key) or self._proxy

    async def _restrain(self, host: str, delay_s: float) -> None:
        await self._w.frontier.restrain(host, delay_s=delay_s)
