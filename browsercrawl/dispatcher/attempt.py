"""One attempt at a claimed request: acquire a lease, visit, settle, release. Exactly one thing becomes of each claim.

Order that must not change: the outcome is settled (committed and delivered) before the lease is released, because
releasing a page that does not answer may take seconds; and settling, once begun, is finished even when the visit is
cancelled, because a committed request without a delivered result would be lost.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from math import inf
from typing import Any, TypeVar

from browsercrawl.config import CrawlerConfig
from browsercrawl.dispatcher.guarding import Guarding
from browsercrawl.dispatcher.hosts import Hosts
from browsercrawl.dispatcher.identities import Identities, Standing, loop_time
from browsercrawl.dispatcher.links import LINK, LinkFollower
from browsercrawl.dispatcher.robots import NotYet, RobotsCheck
from browsercrawl.dispatcher.series import without_endless
from browsercrawl.dispatcher.settle import (
    Again,
    Ending,
    Extenuation,
    Finished,
    History,
    decide,
    error_info,
    result_of,
)
from browsercrawl.dispatcher.wiring import Wiring
from browsercrawl.errors import (
    BrowserCrashed,
    BrowsercrawlError,
    CallTimeout,
    ContextBroken,
    DeadlineExceeded,
    Disposition,
    HandlerFailed,
    InputError,
    InternalError,
    PageCrashed,
    Quarantined,
    SessionError,
    disposition_of,
)
from browsercrawl.events import (
    RequestScheduled,
    RequestSkipped,
    RetryScheduled,
    VisitFailed,
    VisitStarted,
    VisitSucceeded,
)
from browsercrawl.frontier import Claim, Cost, HostUpdate, Verdict
from browsercrawl.politeness import retry_delay_s
from browsercrawl.pool import Lease
from browsercrawl.request import Request
from browsercrawl.result import Artifact, DownloadedFile, Outcome, Phase, SkipReason, Timings
from browsercrawl.urls import shown
from browsercrawl.visit import NO_RULE, CapturedFile, PhaseTimes, VisitOutcome, VisitPlan

T = TypeVar("T")

NEWS_S = 0.5
"""The death of a browser is known this long after that of its pages, also on a machine that is busy."""


class Attempts:
    """Carries out claims.

    Args:
        wiring, config, identities: of the dispatcher.
        on_unvisited: called when a claim comes to no visit, so that no page is started for it.

    Attributes:
        stop_reason: what the handler said that asked for the end of the run; None while none did.
        guarding: leaves out what the network guard refuses.
        visits_ended: how many claims came to a page, and have given it back.
    """

    def __init__(
        self, wiring: Wiring, config: CrawlerConfig, *, identities: Identities, on_unvisited: Callable[[], None]
    ) -> None:
        self.stop_reason: str | None = None
        self.visits_ended = 0
        self._w = wiring
        self._on_unvisited = on_unvisited
        self._identities = identities
        self.guarding = Guarding(wiring)
        self._config = config
        self._links = LinkFollower(config.links, inherits=identities.is_plain, scope=wiring.handlers.scope)
        self._hosts = Hosts(wiring, config)
        self._robots = RobotsCheck(wiring, config) if config.host.robots else None
        self._silent_at = -inf

    async def carry_out(self, claim: Claim, *, alone: bool) -> None:
        """Visit a claimed request and settle what comes of it; a cancelled one stays claimed.

        Args:
            claim: valid.
            alone: nothing else is visited meanwhile, so that a death of the browser is this request's doing.

        Raises:
            BrowserNotFound, LaunchFailed, ConfigError: no page can be had at all; the request stays claimed.
            OutputFailed: the result cannot be stored.
        """
        asked_at = self._w.clock.now()
        history = History.of(claim)
        outcome = self.guarding.unvisited(claim.request) or self._hosts.refused(claim)
        if outcome is None and self._robots is not None:
            try:
                outcome = await self._robots.stops(claim)
                claim = self._robots.restrained(claim)
            except NotYet:
                self._on_unvisited()
                return
        if outcome is not None:
            self._on_unvisited()
            history.add(claim, outcome, lease_s=0.0)
            await finish(self._settle(claim, outcome, history, alone=False))
            return
        before = self._identities.before(claim.request)
        try:
            plan = self._plan(claim.request)
            await self._identities.prepare(claim.request)
            lease = await self._acquire(claim.request)
        except BrowsercrawlError as error:
            if disposition_of(error) is Disposition.STOP:
                raise
            outcome = VisitOutcome(phase=Phase.LEASE, times=PhaseTimes(), error=error)
            history.add(claim, outcome, lease_s=self._w.clock.now() - asked_at)
            await self._identities.unserved(claim.request, error, before=before)
            await finish(self._settle(claim, outcome, history, alone=alone))
            return
        condemned: str | None = "cancelled"
        try:
            lease_s = self._w.clock.now() - asked_at
            standing = self._identities.standing(claim.request, lease, before=before)
            with self.guarding.counting(lease, history):
                outcome = await self._visit(claim, lease, plan, history)
            condemned = outcome.condemned
            history.add(claim, outcome, lease_s=lease_s)
            await finish(self._settle(claim, outcome, history, alone=alone, standing=standing))
        finally:
            if outcome is not None:
                outcome.close()
            await finish(self._hand_back(claim, lease, outcome, condemned=condemned))
            self.visits_ended += 1

    async def close(self) -> None:
        """Let go of what was opened for visits; none is under way."""
        if self._robots is not None:
            await self._robots.close()

    async def _hand_back(
        self, claim: Claim, lease: Lease, outcome: VisitOutcome | None, *, condemned: str | None
    ) -> None:
        """Release a lease; what its visit has left for the session is kept before."""
        try:
            if condemned is None and outcome is not None and not isinstance(outcome.error, SessionError):
                await self._identities.keep(claim.request, lease)
        finally:
            await lease.release(condemned=condemned)

    def _plan(self, request: Request) -> VisitPlan:
        rules = self._config.rules
        rule = next((rule for rule in rules if rule.matches(request.url, request.label)), NO_RULE) if rules else NO_RULE
        label = request.label
        if rule.handler is not None and (label is None or rule.label is not None):
            label = rule.handler
        handler = self._w.handlers.of(label)
        plan = VisitPlan.of(request, self._config.visit, rule=rule, handler=handler, follow=self._links.follows)
        if self._robots is not None:
            plan = replace(plan, admits=partial(self._robots.admits, request))
        check = self._identities.check_of(request)
        return plan if check is None else replace(plan, check=check)

    async def _acquire(self, request: Request) -> Lease:
        isolation = request.isolation or self._config.pool.isolation
        lease = await self._w.pool.acquire(request.session_key, isolation=isolation)
        while self.guarding.is_outdated(request, lease):
            await lease.release()
            lease = await self._w.pool.acquire(request.session_key, isolation=isolation)
        return lease

    async def _visit(self, claim: Claim, lease: Lease, plan: VisitPlan, history: History) -> VisitOutcome:
        request = claim.request
        history.politeness_s += await self._hosts.keep_gap(claim)
        self._w.emit(VisitStarted(request_id=request.id, url=request.url, attempt=claim.attempt, lease_id=lease.id))
        history.started_at = history.started_at or self._w.clock.utc()
        began_at = loop_time()
        try:
            outcome = await self._w.visitor.visit(lease.page, plan)
        except Exception as error:  # noqa: BLE001 - the task boundary: a bug of ours is recorded, the run goes on
            bug = InternalError(f"{shown(request.url)}: {type(error).__name__}: {error}")
            bug.__cause__ = error
            return VisitOutcome(phase=Phase.NAVIGATE, times=PhaseTimes(), error=bug, condemned="internal error")
        outcome = await self.guarding.explained(request, outcome, lease=lease, since=began_at)
        outcome = replace(outcome, documents=dict(lease.page.documents))
        if outcome.error is None or isinstance(outcome.error, BrowserCrashed | ContextBroken):
            return outcome
        lost = _loss(request, lease)
        if lost is None and lease.page.closed:
            # A dying browser closes its pages before it is seen to be gone: whoever closed this one is known soon.
            await self._w.clock.sleep(NEWS_S)
            lost = _loss(request, lease)
        if lost is not None:
            # Whatever the visit saw, it saw it because its browser or its context was gone.
            lost.__cause__ = outcome.error
            return VisitOutcome(phase=outcome.phase, times=outcome.times, error=lost, condemned=lost.kind)
        blamed = self._identities.blamed(request, outcome, lease=lease, since=began_at, history=history)
        return outcome if blamed is outcome.error else replace(outcome, error=blamed)

    async def _settle(
        self, claim: Claim, outcome: VisitOutcome, history: History, *, alone: bool, standing: Standing | None = None
    ) -> None:
        """Settle an attempt; `standing`: of its session, None: there was no visit."""
        error, extra = outcome.error, None
        shared = self._is_fate_shared(outcome)
        if shared and alone:
            # A page that was visited before may have crashed late, and taken this one along: believed once.
            shared = isinstance(error, PageCrashed) and history.deaths_alone == 0
        if alone and error is not None and (shared or disposition_of(error) is Disposition.PUT_BACK):
            history.deaths_alone += 1
        if shared:
            extra = Extenuation.SHARED_FATE
        elif standing is not None and await self._identities.heed(
            claim.request, outcome, standing=standing, history=history
        ):
            extra = Extenuation.SESSION_REPLACED
        decision = decide(
            error,
            claim,
            attempts_max=self._config.retry.retries + 1,
            history=history,
            deaths_max=self._config.retry.stalls_max,
            extra=extra,
        )
        if isinstance(error, BrowserCrashed) and isinstance(decision, Finished):
            error = _quarantined(claim.request, error, deaths=history.deaths_alone)
            outcome = replace(outcome, error=error)
        if error is not None:
            self._tell_failure(claim, outcome, error, decision)
        host = await self._hosts.update(claim, outcome)
        if isinstance(decision, Again):
            await self._again(claim, decision, history, host)
        else:
            await self._complete(claim, outcome, history, host)

    def _is_fate_shared(self, outcome: VisitOutcome) -> bool:
        """Tell whether another page may be to blame, where all pages of a site share a renderer (`lean`).

        A renderer that died or does not answer takes all its pages along. A deadline that passed before anything
        answered looks like a slow server; it is believed to be one unless a page did not answer in that time.
        """
        error, now = outcome.error, self._w.clock.now()
        if not self._config.browser.process_per_site or error is None:
            return False
        if isinstance(error, PageCrashed | CallTimeout) or isinstance(error.__cause__, CallTimeout):
            self._silent_at = now
            return True
        return isinstance(error, DeadlineExceeded) and now - self._silent_at < outcome.times.navigate_s

    async def _again(self, claim: Claim, decision: Again, history: History, host: HostUpdate | None) -> None:
        # Also when its host is deferred: that pause may be none at all, and the two pass together.
        delay_s = retry_delay_s(self._config.retry, claim.attempt) if decision.cost is Cost.ATTEMPT else 0.0
        memo = history.memo()
        await self._w.frontier.release(claim, delay_s=delay_s, cost=decision.cost, memo=memo, host=host)
        self._w.emit(
            RetryScheduled(
                request_id=claim.request.id,
                url=claim.request.url,
                attempt=claim.attempt,
                delay_s=round(delay_s, 3),
                disposition=decision.disposition,
            )
        )

    async def _complete(self, claim: Claim, outcome: VisitOutcome, history: History, host: HostUpdate | None) -> None:
        request = claim.request
        succeeded = outcome.error is None and outcome.skip_reason is None
        try:
            children, left_out = self._children(request, outcome) if succeeded else ([], {})
        except HandlerFailed as error:  # the user's scope
            await self._complete_unfit(claim, outcome, error, history, host)
            return
        children, endless = await without_endless(request, children, frontier=self._w.frontier)
        if endless:
            left_out[f"{LINK}{SkipReason.ENDLESS_SERIES}"] = endless
        files = await self._store(request, outcome) if succeeded else []
        timings = history.timings(total_s=self._w.clock.now() - claim.stored_at)
        ending = Ending(
            outcome=Outcome.SUCCEEDED if succeeded else Outcome.FAILED if outcome.error else Outcome.SKIPPED,
            attempts=claim.attempt - claim.is_down if history.started_at is not None else 0,
            timings=timings,
            transferred_bytes=history.transferred_bytes,
            refused_connections=history.refused_connections,
            started_at=history.started_at,
            finished_at=self._w.clock.utc(),
            visit=outcome,
            error=error_info(outcome.error, outcome.phase) if outcome.error else None,
            skip_reason=outcome.skip_reason,
            artifacts=files,
        )
        result = result_of(request, ending)
        record = self._w.sink.record(result)
        record = replace(record, counts={**record.counts, **left_out, **self.guarding.take_refused()})
        try:
            verdicts = await self._w.frontier.complete(claim, record=record, links=children, host=host)
        except InputError as error:  # a link carries what cannot be stored: then this visit was none
            await self._complete_unfit(claim, outcome, error, history, host)
            return
        if verdicts is None:  # the claim ran out meanwhile: whoever holds the next one gives the result
            return
        self.announce(children, verdicts)
        if succeeded:
            self._tell_success(claim, outcome, timings)
        if outcome.skip_reason is not None:
            self._w.emit(RequestSkipped(request_id=request.id, url=request.url, reason=outcome.skip_reason))
        if outcome.stop:
            self.stop_reason = outcome.skip_reason or "stop"
        self._w.sink.put(result)

    async def _complete_unfit(
        self,
        claim: Claim,
        outcome: VisitOutcome,
        error: BrowsercrawlError,
        history: History,
        host: HostUpdate | None,
    ) -> None:
        """Finish a visit as failed that was well until its links were looked at."""
        unfit = VisitOutcome(phase=Phase.HANDLE, times=PhaseTimes(), navigation=outcome.navigation, error=error)
        self._tell_failure(claim, unfit, error, Finished(Outcome.FAILED))
        await self._complete(claim, unfit, history, host)

    async def _store(self, request: Request, outcome: VisitOutcome) -> list[Artifact]:
        if self._w.store_file is None:
            return []
        files: tuple[CapturedFile | DownloadedFile, ...] = (*outcome.files, *outcome.downloads)
        return [await self._w.store_file(request.id, file) for file in files]

    def _children(self, request: Request, outcome: VisitOutcome) -> tuple[list[Request], dict[str, int]]:
        """Return the requests that a visit found, and how many links were left out, by `link.<reason>`."""
        found = outcome.snapshot.links if outcome.snapshot and self._links.follows else ()
        children, left_out = list(outcome.requests), Counter[SkipReason]()
        if found or outcome.found_links:
            final_url = outcome.snapshot.url if outcome.snapshot else request.url
            links, left_out = self._links.requests(request, final_url, links=found, asked_for=outcome.found_links)
            children += links
        if not self._identities.is_plain:
            children = [self._identities.assigned(child, parent=request.session) for child in children]
        admitted = [child for child in children if self._identities.admits(child)]
        if len(admitted) < len(children):
            left_out[SkipReason.SESSION_DOMAIN] += len(children) - len(admitted)
        allowed: list[Request] = []
        for child in admitted:
            if (refused := self.guarding.refuses(child)) is None:
                allowed.append(child)
            else:
                left_out[refused] += 1
        return allowed, {f"{LINK}{reason}": number for reason, number in left_out.items()}

    def announce(self, requests: Sequence[Request], verdicts: Sequence[Verdict]) -> None:
        """Tell the log which of these requests were stored."""
        for request, verdict in zip(requests, verdicts, strict=True):
            if verdict is Verdict.STORED:
                self._w.emit(
                    RequestScheduled(
                        request_id=request.id,
                        url=request.url,
                        depth=request.depth,
                        label=request.label,
                        session=request.session,
                    )
                )

    def _tell_failure(
        self, claim: Claim, outcome: VisitOutcome, error: BrowsercrawlError, decision: Again | Finished
    ) -> None:
        self._w.emit(
            VisitFailed(
                request_id=claim.request.id,
                url=claim.request.url,
                attempt=claim.attempt,
                kind=error.kind,
                message=error.message,
                phase=outcome.phase,
                disposition=decision.disposition if isinstance(decision, Again) else disposition_of(error),
                final=isinstance(decision, Finished),
            )
        )

    def _tell_success(self, claim: Claim, outcome: VisitOutcome, timings: Timings) -> None:
        navigation = outcome.navigation
        self._w.emit(
            VisitSucceeded(
                request_id=claim.request.id,
                url=claim.request.url,
                attempt=claim.attempt,
                http_status=navigation.status if navigation else None,
                partial=navigation is not None and not navigation.loaded,
                links=len(outcome.snapshot.links) if outcome.snapshot else 0,
                timings=timings,
            )
        )


def _loss(request: Request, lease: Lease) -> BrowsercrawlError | None:
    """Tell whether a lease's page went down with its browser or context, as far as that is known."""
    if lease.lost is not None:
        return BrowserCrashed(f"{shown(request.url)}: the browser was lost: {lease.lost}")
    if lease.is_context_gone:
        return ContextBroken(f"{shown(request.url)}: its browser context was closed under it")
    return None


def _quarantined(request: Request, error: BrowserCrashed, *, deaths: int) -> Quarantined:
    """Name what a request is that takes its browser along each time."""
    found = Quarantined(f"{shown(request.url)}: visited alone {deaths} times, each time: {error.message}")
    found.__cause__ = error
    return found


async def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run something to its end even when the caller is cancelled meanwhile; the cancellation is raised afterwards.

    The work itself must be bounded in time.
    """
    task = asyncio.ensure_future(work)
    interrupted: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            interrupted = error
    if interrupted is not None:
        task.exception()
        raise interrupted
    return task.result()
