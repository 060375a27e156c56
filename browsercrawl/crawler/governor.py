"""The governor: reads the sensors, asks the controller, and has what it decides done, four times a second."""

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from browsercrawl.config import CrawlerConfig
from browsercrawl.dispatcher import Dispatcher, Wiring
from browsercrawl.errors import MemoryExceeded, MemoryShort
from browsercrawl.events import HandlerRaised, LimitChanged, PressureChanged, PressureShed
from browsercrawl.frontier import Claim
from browsercrawl.output import FinishReason
from browsercrawl.ports import Audit
from browsercrawl.pressure import (
    AHEAD_FROM,
    GROWTH_S,
    Available,
    Controller,
    Costs,
    Decision,
    Limits,
    Load,
    Reading,
    Rung,
    Sensors,
    Shed,
    Signal,
    State,
    share_of,
    unseen_bytes,
)
from browsercrawl.redaction import redact_text
from browsercrawl.request import Request

SHORT_S = 0.05
"""At the earliest where a visit has ended and another waits to start: by then some of its memory is back."""
TELL_EVERY_S = 1.0
"""Where memory decides, the limit moves with each visit; not every step is worth a line."""
PAUSE_MAX_S = 600.0
"""A crawl that has waited so long for memory that others hold ends; it can be resumed."""
LOOK_EVERY_S = 0.5
"""While memory binds; at each tick while it is not known what pages cost; else every 2 s, as the pool looks anyway."""
LOOKS_MIN, VISITS_MIN = 4, 8
"""Until pages were looked at so often, and so many have ended, one is taken to cost twice what is expected: a guess, or
the sight of pages that have only begun, must not be the end."""
RECENT = 0.8
"""Of the pages that were in use, at each step: so many may still be in a renderer that they shared."""
DURATIONS_WEIGHT = 0.1
DURATIONS = 1.5
"""A page grows while it is visited: it may for so many times as long as visits take on average."""


class Governor:
    """Keeps a crawl within what the machine bears.

    Args:
        wiring: of the crawl; the limit of its pool is set, which gives memory back.
        config: at how many pages it begins.
        dispatcher: told how many visits may start.
        sensors: tell what there is.
        on_limit: told when the crawl was paused for too long.
    """

    def __init__(
        self,
        wiring: Wiring,
        config: CrawlerConfig,
        *,
        dispatcher: Dispatcher,
        sensors: Sensors,
        on_limit: Callable[[FinishReason, str], None],
    ) -> None:
        self._w = wiring
        self._pool = wiring.pool
        self._dispatcher = dispatcher
        start = config.pages_start
        self._controller = Controller(Limits(start=start, is_adaptive=config.concurrency == "auto"))
        self._sensors = sensors
        self._emit = wiring.emit
        self._on_limit = on_limit
        self._costs = _Costs(shares=config.browser.process_per_site)
        self._begun: dict[str, float] = {}
        """When each request that is being visited was first seen here; while it waits for a page: the last time."""
        self._ended = 0
        self._seen: Audit | None = None
        self._seen_at = -math.inf
        self._looked_at = -math.inf
        self._recent = 0.0
        self._next_s = 0.0
        self._memory_binds = False
        self._state, self._signal = State.RUNNING, Signal.NONE
        self._paused_at = wiring.clock.now()
        self._told_limit, self._told_at = start, -math.inf
        self._pool.resize(start)
        self._step(sensors.read(), queued=start)  # there may not be room for so many

    async def govern(self) -> None:
        """Govern until cancelled."""
        async with self._sensors:
            while True:
                await self._pause()
                reading = self._sensors.read()
                if self._wants_look(reading):
                    self._looked_at = reading.at_s
                    await self._pool.relief.look()
                self._step(reading, queued=self._w.frontier.counts().queued)

    async def _pause(self) -> None:
        """Wait until the next step is due, or until it is worth a look whether another page fits."""
        await self._w.clock.sleep(min(SHORT_S, self._next_s))
        if self._is_guessing or self._next_s <= SHORT_S:
            return
        timer = asyncio.ensure_future(self._w.clock.sleep(self._next_s - SHORT_S))
        short = asyncio.ensure_future(self._dispatcher.is_short.wait())
        try:
            await asyncio.wait({timer, short}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            short.cancel()
            await asyncio.wait({timer, short})

    def _wants_look(self, reading: Reading) -> bool:
        """Tell whether it matters now how large the renderers are."""
        age_s = reading.at_s - self._looked_at
        claims = self._dispatcher.claims
        if len(claims) == 1 and claims[0].stalls > 0 and share_of(reading) >= AHEAD_FROM:  # is that page to blame?
            return age_s >= SHORT_S
        return bool(claims) and self._memory_binds and (self._is_guessing or age_s >= LOOK_EVERY_S)

    @property
    def _is_guessing(self) -> bool:
        """Memory binds, by what pages are taken to cost."""
        return self._memory_binds and not self._costs.is_known

    def _step(self, reading: Reading, *, queued: int) -> None:
        """Decide, and do it."""
        for name, error in self._sensors.take_broken():
            problem = redact_text(f"{type(error).__name__}: {error}; it is asked no more")
            self._emit(HandlerRaised(where=f"gauge {name!r}", message=problem))
        decision = self._controller.step(reading, self._load(reading, self._dispatcher.claims, queued=queued))
        if decision.shed is not None:
            self._give_up(decision.shed, reading)
        self._obey(decision, reading)

    def _load(self, reading: Reading, claims: list[Claim], *, queued: int) -> Load:
        """Describe what the crawl does now, and learn from it."""
        now, size = reading.at_s, self._pool.size_max
        begun, self._begun = self._begun, {each.request.id: self._begun.get(each.request.id, now) for each in claims}
        self._recent = max(len(claims), RECENT * self._recent)
        for ended_id in begun.keys() - self._begun.keys():
            self._costs.note_duration(now - begun[ended_id], pages=len(begun))
        spare = self._pool.relief.spare()
        for claim in claims[spare.pages_open :]:  # those that came last have no page yet: nothing of it has grown
            self._begun[claim.request.id] = now
        finished, self._ended = self._dispatcher.visits_ended - self._ended, self._dispatcher.visits_ended
        self._costs.visits += finished
        audit = self._pool.relief.seen
        self._costs.is_reused = spare.pages_reused > 0
        if audit is not None and audit is not self._seen:
            self._seen, self._seen_at = audit, now
            if served := [claim.request for claim in claims[: spare.pages_open]]:
                self._costs.learn(served, audit.renderers, pages=round(self._recent))
        alone = claims[0] if len(claims) == 1 else None
        is_seen = alone is not None and self._seen_at >= self._begun[alone.request.id]  # else it was another's page
        return Load(
            active=len(claims),
            wanted=min(queued, size),
            finished=finished,
            starting_bytes=sum(
                self._costs.unseen(claim.request, age_s=now - self._begun[claim.request.id], pages=len(claims))
                for claim in claims
            ),
            cost_bytes=self._costs.of_next(claim.request for claim in claims),
            pages_max=size,
            available=Available(
                pages_open=spare.pages_open,
                pages_parked=spare.pages_parked,
                contexts_idle=spare.contexts_idle,
                browsers=spare.browsers,
                is_recyclable=spare.contexts_worn > 0,
                alone_bytes=max(audit.renderers, default=0) if audit is not None and is_seen else 0,
                has_tried_alone=alone is not None and alone.stalls > 0,
            ),
        )

    def _obey(self, decision: Decision, reading: Reading) -> None:
        """Do what was decided."""
        limit, before = decision.limit, self._pool.limit
        self._pool.resize(limit, reuses=decision.is_reusing)
        self._dispatcher.admit(decision.starts)
        if limit > before:
            self._dispatcher.wake()
        self._memory_binds = decision.signal is Signal.MEMORY
        self._next_s = decision.next_s
        is_due = reading.at_s - self._told_at >= TELL_EVERY_S
        if limit != self._told_limit and (is_due or not limit or not self._told_limit):
            self._emit(LimitChanged(limit=limit, before=self._told_limit, signal=decision.signal.value))
            self._told_limit, self._told_at = limit, reading.at_s
        if decision.state is not self._state or (decision.signal is not self._signal and is_due):
            self._told_at = reading.at_s
            self._emit(
                PressureChanged(
                    state=decision.state.value,
                    signal=decision.signal.value,
                    memory_used_bytes=reading.memory_used_bytes,
                    memory_limit_bytes=reading.memory_limit_bytes,
                    memory_source=reading.memory_source,
                )
            )
            self._state, self._signal = decision.state, decision.signal
        if decision.state is State.RUNNING:
            self._paused_at = reading.at_s
        elif reading.at_s - self._paused_at >= PAUSE_MAX_S:
            self._on_limit(FinishReason.MEMORY, f"paused for {PAUSE_MAX_S:.0f} s: {_used(reading)}, by others")

    def _give_up(self, shed: Shed, reading: Reading) -> None:
        """Give up what the ladder names."""
        self._emit(PressureShed(rung=shed.rung.value, share=round(shed.share, 4), threshold=round(shed.threshold, 4)))
        relief = self._pool.relief
        match shed.rung:
            case Rung.CLOSE_PARKED:
                relief.close_parked()
            case Rung.DROP_CACHES:
                relief.drop_caches()
            case Rung.HIBERNATE_IDLE:
                relief.hibernate_idle()
            case Rung.RECYCLE_FATTEST:
                relief.recycle_fattest()
            case Rung.PUT_BACK_HEAVIEST:
                words = f"memory ran short ({_used(reading)}): the largest page goes"
                relief.give_up_heaviest(partial(MemoryShort, words))
            case Rung.FAIL_ALONE:
                words = f"even alone it needs more memory than there is ({_used(reading)})"
                relief.give_up_heaviest(partial(MemoryExceeded, words))
            case Rung.STOP_ADMITTING | Rung.STOP_REUSING:
                pass  # the decision says so


class _Costs:
    """What pages take, learned from the sizes of renderers.

    Which page lives in which renderer is not known. Where all pages in use are alike (one host, one session) and each
    has a renderer of its own, that does not matter: each size is one of theirs. Otherwise hosts get their shares of the
    total, and each size counts for pages of hosts that are not known yet.

    Args:
        shares: several pages live in one renderer.

    Attributes:
        is_reused: pages in use held other documents before.
        visits: that have ended.
    """

    def __init__(self, *, shares: bool) -> None:
        self._shares = shares
        self.is_reused = False
        self.visits = 0
        self._each = Costs()
        """Of one page: what hardly one exceeds."""
        self._mean = Costs()
        """Of one of many: some are large, some small, some have only begun."""
        self._looks = self._ended = 0
        self._share_s = 0.0

    def note_duration(self, visit_s: float, *, pages: int) -> None:
        """A visit has ended that took so long, beside others."""
        self._ended += 1
        self._share_s += max(DURATIONS_WEIGHT, 1 / self._ended) * (visit_s / pages - self._share_s)

    def learn(self, requests: Sequence[Request], renderers: Iterable[int], *, pages: int) -> None:
        """Learn from one look.

        Args:
            requests: of the pages in use.
            renderers: the size of each.
            pages: so many may be in them: what has just ended has not gone yet.
        """
        self._looks += 1
        sizes = sorted(renderers, reverse=True)[: len(requests)]  # the others' pages are parked
        total = sum(sizes)
        mean = total // (pages if self._shares else len(requests))
        kinds = {_keys(request) for request in requests}
        for keys in kinds:
            self._mean.observe(keys, mean, is_reused=self.is_reused)
        if len(kinds) > 1:
            for costs in (self._mean, self._each):
                costs.observe_total([_keys(request)[0] for request in requests], base_bytes=0, total_bytes=total)
        for size in [mean] if self._shares else sizes:
            self._each.observe(next(iter(kinds)) if len(kinds) == 1 else (), size, is_reused=self.is_reused)

    def unseen(self, request: Request, *, age_s: float, pages: int) -> int:
        """Return what one of so many pages in use will still take."""
        # They share the cores: beside twice as many a page grows for twice as long.
        growth_s = min(GROWTH_S, DURATIONS * self._share_s * pages) if self.is_known else GROWTH_S
        cost_bytes = self._factor * self._mean.predict(_keys(request), is_reused=self.is_reused)
        return unseen_bytes(cost_bytes, age_s=age_s, growth_s=max(SHORT_S, growth_s))

    def of_next(self, requests: Iterable[Request]) -> int:
        """Return what one more page beside these will hardly exceed: it may be any host's."""
        known = {(), *map(_keys, requests)}
        return self._factor * max(self._each.predict(keys, is_reused=self.is_reused) for keys in known)

    @property
    def is_known(self) -> bool:
        """Enough was seen for it to be believed."""
        return self._looks >= LOOKS_MIN and self.visits >= VISITS_MIN

    @property
    def _factor(self) -> int:
        return 1 if self.is_known else 2


def _keys(request: Request) -> tuple[str, ...]:
    """Return what a page's cost is learned for, most telling first."""
    host = request.address.host
    return (f"{request.session} at {host}", host) if request.session else (host,)


def _used(reading: Reading) -> str:
    return f"{reading.memory_used_bytes / 1e6:.0f} of {reading.memory_limit_bytes / 1e6:.0f} MB in use"
