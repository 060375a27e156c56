"""The dispatcher: one loop that claims requests for as many pages as may be in use, and one task per visit.

The loop decides, the visits do. A visit's life: acquire a lease, visit, settle (one commit: result, done mark, links
found), release the lease. `active` counts visits from claim to release, so that claims never outrun pages: waiting for
politeness, a retry or the consumer of results happens in the frontier, where it occupies nothing.

A request whose visits saw the browser die twice is a suspect: it is visited alone, so that neighbours never pay for
it, and it alone is held to account when the browser dies again.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence, Sized
from contextlib import aclosing
from itertools import count

from browsercrawl.config import CrawlerConfig
from browsercrawl.dispatcher.attempt import Attempts, finish
from browsercrawl.dispatcher.feed import Batch, Seed, Seeds, batches, request_of
from browsercrawl.dispatcher.identities import Identities
from browsercrawl.dispatcher.links import LINK
from browsercrawl.dispatcher.settle import Ending, failed_input, result_of
from browsercrawl.dispatcher.sieve import Sieve
from browsercrawl.dispatcher.wiring import Wiring
from browsercrawl.errors import BrowsercrawlError, HandlerFailed, InputError, InvalidURL
from browsercrawl.events import Event, RequestRefused, RequestSkipped, RunParked
from browsercrawl.frontier import Claim, Cost, Refusal, Verdict
from browsercrawl.politeness import VisitRate
from browsercrawl.request import Request
from browsercrawl.result import Outcome, Result, SkipReason
from browsercrawl.sessions import Session
from browsercrawl.urls import fingerprint

FEED_WINDOW = 1_000
"""Seeds that could be visited wait in the frontier up to this many; further input is not pulled before."""

HELD_WINDOW = 20_000
"""So many more may wait for their hosts or sessions, so that one which is slow or paused keeps no other from being fed:
inputs are often sorted by host."""

FEED_END_S = 5.0
"""An input gets so long to end after its cancellation."""

SUSPECT_STALLS = 2
"""A request put back so often is visited alone."""

NAMES_SHOWN = 5
"""Sessions named in one sentence."""

_TOO_MANY = {Verdict.FULL: SkipReason.MAX_REQUESTS, Verdict.HOST_FULL: SkipReason.MAX_PER_HOST}

CLAIM_S = 14_400.0
"""A claim outlives the longest login and deadline (one hour each) and everything around them."""


class Dispatcher:
    """Runs one crawl: feeds, claims, visits, settles, until nothing is open or it is told to stop.

    Attributes:
        is_short: set while more pages could be in use if more visits might start.
    """

    def __init__(self, wiring: Wiring, config: CrawlerConfig) -> None:
        self._w = wiring
        self._config = config
        self._identities = Identities(wiring, on_room=self.wake)
        self._attempts = Attempts(wiring, config, identities=self._identities, on_unvisited=self._spare_start)
        self._sieve = Sieve(config.links, wiring.handlers.scope)
        self._rate = VisitRate(config.rate)
        self._wake = asyncio.Event()
        self._visits: dict[asyncio.Task[None], Claim] = {}
        self._suspects: list[Claim] = []
        self._suspect_running = False
        self._cut_off: list[Claim] = []
        self._input_left = False
        self._pulled = False
        self._fed = False
        self._ending = False
        self._feed_room = asyncio.Event()
        self._drain_until: float | None = None
        self._failure: BaseException | None = None
        self._inputs = count(1)
        self._parked = 0
        self._starts_left = sys.maxsize
        self.is_short = asyncio.Event()

    @property
    def active(self) -> int:
        """Visits between claim and release."""
        return len(self._visits)

    @property
    def claims(self) -> list[Claim]:
        """What is being visited."""
        return list(self._visits.values())

    @property
    def visits_ended(self) -> int:
        """How many have been: claims that came to no page are none."""
        return self._attempts.visits_ended

    @property
    def stop_reason(self) -> str | None:
        """What the handler said that raised `Stop`; None when none did."""
        return self._attempts.stop_reason

    @property
    def input_left(self) -> bool:
        """The frontier was full, and further input was not read."""
        return self._input_left

    @property
    def paused_sessions(self) -> list[Session]:
        """Sessions that wait for their user."""
        return self._identities.paused()

    @property
    def paused_detail(self) -> str:
        """Which sessions are paused, and why the first is."""
        paused = self.paused_sessions
        names = ", ".join(session.name or "the anonymous one" for session in paused[:NAMES_SHOWN])
        more = f" and {len(paused) - NAMES_SHOWN} more" if len(paused) > NAMES_SHOWN else ""
        return f"paused: {names}{more}; {paused[0].name}: {paused[0].reason}" if paused else ""

    def take_pulled(self) -> bool:
        """Tell whether input was pulled since the last call: a plain iterable that blocks holds the event loop."""
        pulled, self._pulled = self._pulled, False
        return pulled

    @property
    def stopping(self) -> bool:
        """No request is claimed any more."""
        return self._drain_until is not None

    def stop(self, drain_s: float) -> None:
        """Claim nothing more; visits that are open in `drain_s` seconds are put back. Again: the earlier end counts."""
        until = self._w.clock.now() + drain_s
        self._drain_until = until if self._drain_until is None else min(until, self._drain_until)
        self.wake()

    def admit(self, starts: int) -> None:
        """Let so many more visits start, and no further one before the next call; without any call, no bound."""
        is_more = starts > self._starts_left
        self._starts_left = starts
        self.is_short.clear()
        if is_more:
            self.wake()

    def wake(self) -> None:
        """Look again: room, a result taken, a limit changed."""
        self._wake.set()
        self._feed_room.set()

    def fail(self, error: BaseException) -> None:
        """Stop, and let `run` raise this; the first one counts."""
        if self._failure is None:
            self._failure = error
        self.stop(self._config.drain_s)

    async def run(self, seeds: Seeds) -> None:
        """Crawl until the input has ended and every request has its result, or until stopped.

        Raises:
            BrowserNotFound, LaunchFailed: there is no browser to crawl with.
            ConfigError: the browser refuses an option of the configuration.
            Exception: whatever the input raised, after what was read of it has its results.
        """
        await self._attempts.guarding.restore()
        feed = asyncio.create_task(self._feed(seeds), name="feed")
        try:
            await self._dispatch()
        finally:
            self._ending = True
            feed.cancel()
            await self._end_visits()
            await asyncio.wait({feed}, timeout=FEED_END_S)  # an input that is deaf to its cancellation is left behind
        if self._failure is not None:
            raise self._failure

    # --- input ---------------------------------------------------------------------------------------------------

    async def _feed(self, seeds: Seeds) -> None:
        try:
            mark = (await self._w.frontier.notes()).get("input")
            network = self._attempts.guarding if self._config.goes_by_ways else None
            async with aclosing(batches(seeds, mark, network=network)) as cut:
                async for batch in cut:
                    self._pulled = True
                    await self._wait_for_feed_room()
                    if not await finish(self._schedule_seeds(batch)) and not isinstance(seeds, Sized):
                        self._input_left = True  # it may be endless; what is a list has a result for each
                        break
        except asyncio.CancelledError:
            if self._ending:
                raise
            self._failure = InputError("the input was cancelled from inside; seeds after that were not read")
        except Exception as error:  # noqa: BLE001 - the user's iterable may raise anything; what was read is finished
            self._failure = self._failure or error
        finally:
            self._fed = True
            self.wake()

    async def _wait_for_feed_room(self) -> None:
        # A seed that is refused at once is a result as well: without room for those nothing is pulled either.
        while self._is_window_full() or not self._w.sink.has_room():
            self._feed_room.clear()
            await self._feed_room.wait()
        await asyncio.sleep(0)

    def _is_window_full(self) -> bool:
        counts = self._w.frontier.counts()
        return counts.queued + counts.retrying >= FEED_WINDOW or counts.waiting + counts.parked >= HELD_WINDOW

    async def _schedule_seeds(self, batch: Batch) -> bool:
        """Store a batch of seeds and how far the input was read; returns whether the frontier takes more."""
        requests: list[Request] = []
        refused: list[tuple[Result, Event]] = []
        left_out: Counter[SkipReason] = Counter()

        def leave_out(request: Request, reason: SkipReason) -> None:
            if batch.near:
                left_out[reason] += 1
            else:
                self._skip(refused, request, reason)

        for seed in batch.seeds:
            try:
                request = self._sifted(seed, batch)
                if isinstance(request, SkipReason):
                    left_out[request] += 1
                elif self._identities.admits(request):
                    requests.append(request)
                else:
                    leave_out(request, SkipReason.SESSION_DOMAIN)
            except (InputError, InvalidURL) as error:
                self._refuse(refused, seed, error)
            except HandlerFailed as error:  # of the user's own scope
                text = seed.url if isinstance(seed, Request) else str(seed)
                self._refuse(refused, InputError(error.message, text=text, place="scope"), error)
        self._parked = 0  # whatever becomes of these, it is told anew what is left
        if not batch.found:
            await self._attempts.guarding.trust(request.address for request in requests)
        for request in tuple(requests):
            if (reason := self._attempts.guarding.refuses(request)) is not None:
                requests.remove(request)
                leave_out(request, reason)
        verdicts = await self._w.frontier.schedule(requests, again=batch.again)
        self._attempts.announce(requests, verdicts)
        self.wake()
        for request, verdict in zip(requests, verdicts, strict=True):
            if verdict in _TOO_MANY:
                leave_out(request, _TOO_MANY[verdict])
        refusals = [Refusal(id=result.request_id, record=self._w.sink.record(result)) for result, _ in refused]
        counts = {} if batch.again else {f"{LINK}{reason}": number for reason, number in left_out.items()}
        recorded = await self._w.frontier.refuse(refusals, mark=batch.mark, counts=counts)
        for (result, event), is_new in zip(refused, recorded, strict=True):
            if is_new:
                self._w.emit(event)
                self._w.sink.put(result)
        return Verdict.FULL not in verdicts

    def _sifted(self, seed: Seed, batch: Batch) -> Request | SkipReason:
        """Make a request of a seed; or tell why it is none that anybody wants, if it was not the user who named it."""
        if isinstance(seed, InputError):
            if batch.near and isinstance(seed, InvalidURL):
                return SkipReason.INVALID_URL
            raise seed
        request = self._identities.assigned(request_of(seed, self._config.links))
        return self._sieve.sift(request, batch.near) if batch.found else request

    def _refuse(self, refused: list[tuple[Result, Event]], seed: Seed, error: BrowsercrawlError) -> None:
        text = seed if isinstance(seed, str) else seed.text if isinstance(seed, InputError) else ""
        # The same place of the same input gives the same id, so that reading it again gives no second result.
        place = (seed.place if isinstance(seed, InputError) else "") or f"input {next(self._inputs)}"
        result = failed_input(text, error, finished_at=self._w.clock.utc(), request_id=fingerprint(f"{place} {text}"))
        event = RequestRefused(request_id=result.request_id, url=text, kind=error.kind, message=error.message)
        refused.append((result, event))

    def _skip(self, refused: list[tuple[Result, Event]], request: Request, reason: SkipReason) -> None:
        ending = Ending(outcome=Outcome.SKIPPED, attempts=0, skip_reason=reason, finished_at=self._w.clock.utc())
        event = RequestSkipped(request_id=request.id, url=request.url, reason=reason)
        refused.append((result_of(request, ending), event))

    # --- the loop ------------------------------------------------------------------------------------------------

    async def _dispatch(self) -> None:
        while True:
            self._wake.clear()
            if self.stopping:
                await self._drain()
                return
            while self._cut_off:
                await self._w.frontier.release(self._cut_off.pop(), cost=Cost.STALL)
            await self._identities.reopen()
            room = self._rate.room(self._room(), now=self._w.clock.now())
            if room > 0:
                claims = await self._w.frontier.claim(
                    owner=self._w.owner, limit=room, lease_s=CLAIM_S, warm=self._w.pool.warm
                )
                self._rate.take(len(claims))
                self._begin(claims)
                self._feed_room.set()
            self._begin_suspect()
            ready_in_s = await self._w.frontier.ready_in() if self._room() > 0 else None
            if ready_in_s is not None:
                ready_in_s = max(ready_in_s, self._rate.ready_in(now=self._w.clock.now()))
            if self._is_done(ready_in_s):
                return
            await self._sleep(_first(ready_in_s, self._identities.reopens_in_s))

    def _room(self) -> int:
        if self._suspects or self._suspect_running or not self._w.sink.has_room():
            return 0
        room = self._w.pool.limit - len(self._visits)
        if self._starts_left <= 0 < room:
            self.is_short.set()
        return min(self._starts_left, room)

    def _is_done(self, ready_in_s: float | None) -> bool:
        if self._visits:
            self._parked = 0
        if self._visits or self._suspects or self._cut_off or self._wake.is_set():
            return False
        counts = self._w.frontier.counts()
        if counts.open == 0:
            return self._fed
        is_held_back = self._room() <= 0  # by memory: what is ready was not asked
        will_go_on = is_held_back or ready_in_s is not None or self._identities.reopens_in_s is not None
        if will_go_on or not self._w.sink.has_room() or not self.paused_sessions:
            self._parked = 0
            return False
        # Nothing will happen by itself: what is left waits for sessions that are paused.
        if counts.open != self._parked:
            self._parked = counts.open
            self._w.emit(RunParked(requests=counts.open, detail=self.paused_detail))
        return self._fed or counts.waiting + counts.parked >= HELD_WINDOW

    async def _sleep(self, limit_s: float | None) -> None:
        if limit_s is None:
            await self._wake.wait()
            return
        timer = asyncio.ensure_future(self._w.clock.sleep(limit_s))
        timer.add_done_callback(lambda _: self._wake.set())  # something became ready
        try:
            await self._wake.wait()
        finally:
            timer.cancel()
            await asyncio.wait({timer})

    def _begin(self, claims: Sequence[Claim]) -> None:
        suspects = [claim for claim in claims if claim.stalls >= SUSPECT_STALLS]
        if suspects:
            # A page that kills this process returns all these claims, each with one more stall. So another one is the
            # first of them in the next process, and the killer cannot keep the others from being visited.
            first = suspects[0].stalls % len(suspects)
            self._suspects = suspects[first:] + suspects[:first]
        for claim in claims:
            if claim.stalls < SUSPECT_STALLS:
                self._start(claim, alone=False)

    def _begin_suspect(self) -> None:
        if self._suspects and not self._visits and min(self._starts_left, self._w.pool.limit) > 0:
            self._suspect_running = True
            self._start(self._suspects.pop(0), alone=True)

    def _start(self, claim: Claim, *, alone: bool) -> None:
        attempt = self._attempts.carry_out(claim, alone=alone)
        self._starts_left -= 1
        task = asyncio.create_task(attempt, name=f"visit {claim.request.id}")
        self._visits[task] = claim
        task.add_done_callback(self._ended)

    def _spare_start(self) -> None:
        self._rate.take(-1)
        if self._starts_left > 0:  # else memory may be short by now
            self._starts_left += 1

    def _ended(self, task: asyncio.Task[None]) -> None:
        claim = self._visits.pop(task)
        self._suspect_running = False
        if task.cancelled():
            if not self._ending:  # by somebody else; what it had settled already is not given back
                self._cut_off.append(claim)
        elif (error := task.exception()) is not None:
            self.fail(error)
        elif self._attempts.stop_reason is not None and not self.stopping:
            self.stop(self._config.drain_s)
        self.wake()

    async def _drain(self) -> None:
        """Wait for open visits until the drain deadline, which a second stop may bring forward."""
        while self._visits and self._drain_until is not None:
            left_s = self._drain_until - self._w.clock.now()
            if left_s <= 0:
                return
            self._wake.clear()
            await self._sleep(left_s)

    async def _end_visits(self) -> None:
        """Cancel what is open and wait for it; it stays claimed, and waits again when the frontier is closed."""
        self._suspects.clear()
        while self._visits:
            for task in self._visits:
                task.cancel()
            await asyncio.wait(self._visits)
        await self._w.visitor.close()
        await self._attempts.close()


def _first(*times: float | None) -> float | None:
    """Return the earliest of the times that there are."""
    return min((time for time in times if time is not None), default=None)
