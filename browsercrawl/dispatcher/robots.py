"""Asking robots.txt before a host's first page, without a page and without a claim.

A request of a host that is not known yet goes back to its place, and its host waits a moment, again and again, until
the answer is there. What cannot be answered is the host's failure, not a rule of its own: no connection fails the
request as a visit would have, 429 and 5xx defer the host (RFC 9309, section 2.3.1.4: nothing may be visited then), so
that the bounds for hosts that fail hold here too. Any other 4xx allows all (2.3.1.3).
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, replace
from http import HTTPStatus

from browsercrawl.config import CrawlerConfig
from browsercrawl.dispatcher.wiring import Wiring
from browsercrawl.errors import BrowsercrawlError, HostUnavailable
from browsercrawl.events import RobotsRead
from browsercrawl.frontier import Claim, Cost
from browsercrawl.net.http import HttpClient
from browsercrawl.politeness import ROBOTS_BYTES_MAX, RobotsFile, identity, slot_key
from browsercrawl.request import Request
from browsercrawl.result import Phase, SkipReason
from browsercrawl.urls import address
from browsercrawl.visit import PhaseTimes, VisitOutcome

EXPIRY_S = 86_400.0
"""RFC 9309, section 2.4: a copy should not be used for more than a day."""
FAILURE_S = 5.0
"""A failure holds for so long: requests that were claimed together need not all ask."""
LIMIT_S = 20.0
HOSTS_MAX = 10_000
"""Hosts remembered; past that the one used longest ago is asked again."""
AT_ONCE = 16
WAIT_S, WAIT_MAX_S = 0.1, 5.0
"""How long a host waits for the answer before it is looked again: doubles each time."""


@dataclass(slots=True)
class _Host:
    """What is known of a host.

    Attributes:
        asking: the question that is out.
        known: its answer: rules, or why there are none; None before the first.
        until: when that is to be asked again.
        wait_s: how long its requests wait next.
    """

    asking: asyncio.Task[None] | None = None
    known: RobotsFile | BrowsercrawlError | None = None
    until: float = 0.0
    wait_s: float = WAIT_S


class Robots:
    """Keeps what the hosts of a run say in their robots.txt.

    Args:
        wiring: of the dispatcher.
        config: of the crawler; where it does not ask for robots.txt everything is allowed.
    """

    def __init__(self, wiring: Wiring, config: CrawlerConfig) -> None:
        self._w = wiring
        self._token = config.host.product_token
        self._obeys = config.host.robots
        self._slot_of = slot_key(config.host)
        self._hosts: OrderedDict[str, _Host] = OrderedDict()
        self._room = asyncio.Semaphore(AT_ONCE)
        self._client = HttpClient(
            user_agent=config.browser.user_agent or identity(config.host),
            proxy=config.browser.proxy,
            limit_s=LIMIT_S,
            body_bytes_max=ROBOTS_BYTES_MAX,
        )

    def judge(self, claim: Claim) -> VisitOutcome | None:
        """Return what becomes of a claim without a visit; None: it may be visited.

        Only for a claim whose host is known: see `waits`.
        """
        if not self._obeys:
            return None
        known = self._hosts[_origin(claim.request.url)].known
        if isinstance(known, BrowsercrawlError):
            return VisitOutcome(phase=Phase.LEASE, times=PhaseTimes(), error=known)
        if known is None or known.allows(claim.request.url):
            return None
        return VisitOutcome(phase=Phase.LEASE, times=PhaseTimes(), skip_reason=SkipReason.ROBOTS)

    async def waits(self, claim: Claim) -> bool:
        """Tell whether a claim's host is not known yet; then the claim was given back."""
        if not self._obeys:
            return False
        origin = _origin(claim.request.url)
        host = self._hosts.setdefault(origin, _Host())
        self._hosts.move_to_end(origin)
        if host.asking is None and self._w.clock.now() >= host.until:
            host.wait_s = WAIT_S
            host.asking = asyncio.create_task(self._ask(origin, host, claim.request), name=f"robots.txt of {origin}")
            self._forget()
        if host.asking is None:
            return False
        await self._w.frontier.defer(claim.slot, host.wait_s)
        host.wait_s = min(2 * host.wait_s, WAIT_MAX_S)
        await self._w.frontier.release(claim, cost=Cost.NOTHING)
        return True

    def judge_end(self, request: Request, outcome: VisitOutcome) -> VisitOutcome:
        """Look at where a visit has ended: what a redirect led to may be forbidden, if that host was asked before."""
        if not self._obeys or outcome.error is not None or outcome.navigation is None:
            return outcome
        final = outcome.navigation.final_url
        if final.partition("#")[0] == request.url.partition("#")[0] or not final.startswith(("http://", "https://")):
            return outcome
        host = self._hosts.get(_origin(final))
        if host is None or not isinstance(host.known, RobotsFile) or host.known.allows(final):
            return outcome
        return replace(outcome, skip_reason=SkipReason.ROBOTS, snapshot=None, data=())

    async def close(self) -> None:
        """Ask nothing more."""
        asking = [host.asking for host in self._hosts.values() if host.asking is not None]
        for task in asking:
            task.cancel()
        if asking:
            await asyncio.wait(asking)
        await self._client.close()

    def _forget(self) -> None:
        while len(self._hosts) > HOSTS_MAX:
            origin = next((each for each, host in self._hosts.items() if host.asking is None), None)
            if origin is None:
                return
            del self._hosts[origin]

    async def _ask(self, origin: str, host: _Host, request: Request) -> None:
        try:
            async with self._room:
                host.known = await self._read(origin)
        except BrowsercrawlError as error:
            host.known = error
        finally:
            host.asking = None
        rules = host.known if isinstance(host.known, RobotsFile) else None
        host.until = self._w.clock.now() + (EXPIRY_S if rules else FAILURE_S)
        if rules and rules.crawl_delay_s:
            await self._w.frontier.restrain(self._slot_of(request.address.host), delay_s=rules.crawl_delay_s)
        problem = "" if rules or host.known is None else str(host.known)
        delay_s = rules.crawl_delay_s if rules else 0.0
        sitemaps = len(rules.sitemaps) if rules else 0
        self._w.emit(RobotsRead(host=origin, crawl_delay_s=delay_s, sitemaps=sitemaps, problem=problem))

    async def _read(self, origin: str) -> RobotsFile:
        answer = await self._client.get(f"{origin}/robots.txt")
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise HostUnavailable(f"{origin}/robots.txt: status {answer.status}", retry_after=answer.retry_after)
        if answer.status >= HTTPStatus.BAD_REQUEST:
            return RobotsFile(b"", token=self._token)
        return RobotsFile(answer.body, token=self._token)


def _origin(url: str) -> str:
    scheme, _, rest = address(url).canonical.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"
