"""What visits say about their hosts: the one place where outcomes become a slot's pauses.

A failure or refusal spends an attempt of the request that met it, as ever, and at most one: while its host is left
alone nothing is tried, and afterwards a single request finds out for all others. So of any number of requests that wait
for a host which is away, a handful pay for it. Those of a host that was given up end as `host_down`, unvisited.

Only what the host itself does counts: connections that fail and 5xx. Never a page that hangs, a selector that is
missing, a crash, or a failure of what the host redirected to. Hosts that share a slot by their domain are never given
up, nor left alone, because of one that fails: the others may be well.
"""

from collections import Counter
from dataclasses import replace

from browsercrawl.config import CrawlerConfig
from browsercrawl.dispatcher.wiring import Wiring
from browsercrawl.errors import (
    BrowsercrawlError,
    HostDown,
    HostUnavailable,
    HttpFailed,
    InvalidURL,
    NetworkFailed,
    RobotsUnavailable,
)
from browsercrawl.events import HostDeferred, HostGivenUp
from browsercrawl.frontier import Claim, HostUpdate
from browsercrawl.politeness import (
    VisitGaps,
    host_deferral_s,
    host_opening_s,
    is_hopeless,
    pace_s,
    retry_after_s,
    retry_delay_s,
    slot_key,
    slot_rules,
)
from browsercrawl.result import Phase
from browsercrawl.urls import address, shown
from browsercrawl.visit import PhaseTimes, VisitOutcome

_UNREACHABLE = (
    "ERR_ADDRESS_UNREACHABLE", "ERR_CERT_", "ERR_CONNECTION_", "ERR_DNS_", "ERR_EMPTY_RESPONSE", "ERR_NAME_",
    "ERR_SOCKET_NOT_CONNECTED", "ERR_SSL_", "ERR_TIMED_OUT",
)  # fmt: skip
"""How Chromium's names begin for a host that cannot be talked to; others are about us, the page or a proxy."""

_SERVER_ERROR = 500

_RUN = ""
"""Stands for all hosts together where gaps are kept."""


class Hosts:
    """Keeps what the visits of a run owe their hosts."""

    def __init__(self, wiring: Wiring, config: CrawlerConfig) -> None:
        self._w = wiring
        self._config = config.host
        self._retry = config.retry
        self._gaps = VisitGaps()
        self._every_s = 0.0 if config.rate is None else 1.0 / config.rate
        self._slot_of = slot_key(config.host)
        self._rules_of = slot_rules(config.host, config.hosts)

    def refused(self, claim: Claim) -> VisitOutcome | None:
        """Return what becomes of a claim whose host was given up; None: it is to be visited."""
        if not claim.is_down:
            return None
        error = HostDown(
            f"{shown(claim.request.url)}: not visited, for {claim.slot} was given up; resume tries it again"
        )
        return VisitOutcome(phase=Phase.LEASE, times=PhaseTimes(), error=error)

    async def keep_gap(self, claim: Claim) -> float:
        """Keep rate and delay also where the page came later than the claim; returns the seconds waited."""
        late_s, _ = self._gaps.reserve(_RUN, delay_s=self._every_s, now=self._w.clock.now())
        if late_s > 0:
            await self._w.clock.sleep(late_s)
        wait_s, next_s = self._gaps.reserve(claim.slot, delay_s=claim.delay_s, now=self._w.clock.now())
        if next_s > 0:
            await self._w.frontier.defer(claim.slot, next_s)  # so that the next one waits there, not in a page
        if wait_s > 0:
            await self._w.clock.sleep(wait_s)
        return late_s + wait_s

    async def update(self, claim: Claim, outcome: VisitOutcome) -> HostUpdate | None:
        """Tell what an outcome says about the host: it served us, asks for a pause, fails, or nothing.

        What the page loaded besides its own document is owed to the hosts it came from as well.
        """
        if outcome.phase is Phase.LEASE:  # no page was asked for
            return self._unvisited(claim, outcome.error)
        update = self._update(claim, outcome)
        starts = Counter[str]()
        for host, number in outcome.documents.items():
            starts[self._slot_of(host)] += number
        starts[claim.slot] -= 1  # that is the claim's own; where a redirect led elsewhere, the other host is owed one
        for slot, number in (+starts).items():
            if slot == claim.slot:
                update = replace(update or HostUpdate(), visits=number)
            elif delay_s := self._rules_of(slot).delay_s:
                await self._w.frontier.defer(slot, number * delay_s)
        if update is not None and update.refusals and outcome.navigation is not None:
            # Where a redirect led to the host that refuses both are left alone: one leads to the other again, and that
            # one has requests of its own.
            host = _host(outcome.navigation.final_url)
            if host and (slot := self._slot_of(host)) != claim.slot:
                await self._w.frontier.defer(slot, update.defer_s)
        return update

    def _unvisited(self, claim: Claim, error: BrowsercrawlError | None) -> HostUpdate | None:
        if not isinstance(error, RobotsUnavailable):
            return HostUpdate(unused=claim.reserved)
        if error.refuses:
            return self._refusal(claim, error)
        if not error.is_hosts or claim.slot != claim.request.address.host:
            return None
        return self._failure(claim, error.message, least_s=retry_delay_s(self._retry, claim.failures + 1))

    def _update(self, claim: Claim, outcome: VisitOutcome) -> HostUpdate | None:
        error, navigation = outcome.error, outcome.navigation
        if isinstance(error, HostUnavailable):
            return self._refusal(claim, error)
        if error is not None and self._is_failure(claim, outcome):
            return self._failure(claim, error.message)
        if navigation is None or navigation.status is None or navigation.status >= _SERVER_ERROR:
            return HostUpdate() if error is None else None
        factor, latency_s = self._config.latency_factor, navigation.latency_s
        return HostUpdate(pace_s=pace_s(self._config, latency_s) if factor and latency_s is not None else None)

    def _is_failure(self, claim: Claim, outcome: VisitOutcome) -> bool:
        if claim.slot != claim.request.address.host:
            return False
        if isinstance(outcome.error, NetworkFailed):
            return outcome.error.code.startswith(_UNREACHABLE) and outcome.error.host in {None, claim.slot}
        navigation = outcome.navigation
        if not isinstance(outcome.error, HttpFailed) or navigation is None or (navigation.status or 0) < _SERVER_ERROR:
            return False
        return _host(navigation.final_url) == claim.slot

    def _refusal(self, claim: Claim, error: HostUnavailable | RobotsUnavailable) -> HostUpdate:
        refusals = claim.refusals + 1
        if is_hopeless(self._config, refusals=refusals):
            self._give_up(claim, f"{refusals} times in a row: {error.message}")
            return HostUpdate(refusals=refusals, is_down=True)
        asked_s = retry_after_s(error.retry_after, now_utc=self._w.clock.utc()) if error.retry_after else None
        defer_s = host_deferral_s(self._config, refusals, asked_s=asked_s)
        self._tell(claim, defer_s, error.message)
        return HostUpdate(defer_s=defer_s, refusals=refusals)

    def _failure(self, claim: Claim, message: str, *, least_s: float = 0.0) -> HostUpdate:
        failures = claim.failures + 1
        if is_hopeless(self._config, failures=failures):
            self._give_up(claim, f"{failures} times in a row: {message}")
            return HostUpdate(failures=failures, is_down=True)
        defer_s = max(host_opening_s(self._config, failures), least_s)
        if defer_s:
            self._tell(claim, defer_s, f"{failures} times in a row: {message}")
        return HostUpdate(defer_s=defer_s, failures=failures)

    def _tell(self, claim: Claim, defer_s: float, reason: str) -> None:
        self._w.emit(HostDeferred(host=claim.slot, delay_s=round(defer_s, 3), reason=reason))

    def _give_up(self, claim: Claim, reason: str) -> None:
        self._w.emit(HostGivenUp(host=claim.slot, reason=reason))


def _host(url: str) -> str:
    try:
        return address(url).host
    except InvalidURL:  # about:blank and the like
        return ""
