"""The governor: reads the sensors, asks the controller, and has what it decides done, four times a second."""

import math
from collections.abc import Callable, Iterable, Sequence

from browsercrawl.config import CrawlerConfig
from browsercrawl.dispatcher import Dispatcher, Wiring
from browsercrawl.errors import MemoryExceeded, MemoryShort
from browsercrawl.events import HandlerRaised, LimitChanged, PressureChanged, PressureShed
from browsercrawl.frontier import Claim
from browsercrawl.output import FinishReason
from browsercrawl.ports import Audit
from browsercrawl.pressure import (
    CRITICAL,
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

TICK_S = 0.25
"""Half of what a page needs to grow by 100 MB; a look takes 0.3 ms."""
TELL_EVERY_S = 1.0
"""Where memory decides, the limit moves with each visit; not every step is worth a line."""
PAUSE_MAX_S = 600.0
"""A crawl that has waited so long for memory that others hold ends; it can be resumed."""
LOOKS_MIN = 4
"""Until pages were looked at so often, one is taken to cost twice what is expected: a guess must not be the end."""


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
        self._costs = _Costs()
        self._begun: dict[str, float] = {}
        """When each request that is being visited was first seen here."""
        self._finished = wiring.frontier.counts().finished  # by earlier processes
        self._seen: Audit | None = None
        self._state, self._signal = State.RUNNING, Signal.NONE
        self._paused_at = wiring.clock.now()
        self._told_limit, self._told_at = start, -math.inf
        self._pool.resize(start)
        self._step(sensors.read(), queued=start)  # there may not be room for so many

    async def govern(self) -> None:
        """Govern until cancelled."""
        async with self._sensors:
            while True:
                await self._w.clock.sleep(TICK_S)
                reading = self._sensors.read()
                if self._dispatcher.active == 1 and share_of(reading) >= CRITICAL:
                    await self._pool.relief.look()  # is that one page to blame?
                self._step(reading, queued=self._w.frontier.counts().queued)

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
        self._begun = {claim.request.id: self._begun.get(claim.request.id, now) for claim in claims}
        finished = self._w.frontier.counts().finished
        ended, self._finished = finished - self._finished, finished
        spare = self._pool.relief.spare()
        audit = self._pool.relief.seen
        self._costs.is_reused = spare.pages_reused > 0
        if audit is not None and audit is not self._seen and claims:
            self._seen = audit
            self._costs.learn([claim.request for claim in claims], audit.renderers)
        alone = claims[0] if len(claims) == 1 else None
        return Load(
            active=len(claims),
            wanted=min(queued, size),
            finished=max(0, ended),
            starting_bytes=sum(
                self._costs.unseen(claim.request, age_s=now - self._begun[claim.request.id]) for claim in claims
            ),
            cost_bytes=self._costs.of_next(claim.request for claim in claims),
            pages_max=size,
            available=Available(
                pages_open=spare.pages_open,
                pages_parked=spare.pages_parked,
                contexts_idle=spare.contexts_idle,
                browsers=spare.browsers,
                is_recyclable=spare.contexts_worn > 0,
                alone_bytes=max(audit.renderers, default=0) if audit is not None and alone else 0,
                has_tried_alone=alone is not None and alone.stalls > 0,
            ),
        )

    def _obey(self, decision: Decision, reading: Reading) -> None:
        """Do what was decided."""
        limit = decision.limit
        self._pool.resize(limit, reuses=decision.is_reusing)
        self._dispatcher.admit(decision.starts)
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
            case Rung.PUT_BACK_NEWEST:
                relief.put_back_newest(MemoryShort(f"memory ran short ({_used(reading)}): the newest page goes"))
            case Rung.FAIL_ALONE:
                relief.put_back_newest(
                    MemoryExceeded(f"even alone it needs more memory than there is ({_used(reading)})")
                )
            case Rung.STOP_ADMITTING | Rung.STOP_REUSING:
                pass  # the decision says so


class _Costs:
    """What pages take, learned from the sizes of renderers.

    Which page lives in which renderer is not known. Where all pages in use are alike (one host, one session) and each
    has a renderer of its own, that does not matter: each size is one of theirs. Otherwise hosts get their shares of the
    total, and each size counts for pages of hosts that are not known yet.

    Attributes:
        is_reused: pages in use held other documents before.
    """

    def __init__(self) -> None:
        self.is_reused = False
        self._each = Costs()
        """Of one page: what hardly one exceeds."""
        self._mean = Costs()
        """Of one of many: some are large, some small, some have only begun."""
        self._looks = 0

    def learn(self, requests: Sequence[Request], renderers: Iterable[int]) -> None:
        """Learn from one look, with these pages in use."""
        self._looks += 1
        sizes = sorted(renderers, reverse=True)[: len(requests)]  # the others' pages are parked
        total = sum(sizes)
        keys = {_keys(request) for request in requests}
        for each in keys:
            self._mean.observe(each, total // len(requests), is_reused=self.is_reused)
        if len(keys) > 1:
            for costs in (self._mean, self._each):
                costs.observe_total([_keys(request)[0] for request in requests], base_bytes=0, total_bytes=total)
        shared = len(sizes) < len(requests)  # several pages in one renderer: nothing is known of each
        for size in [total // len(requests)] if shared else sizes:
            self._each.observe(keys.pop() if len(keys) == 1 else (), size, is_reused=self.is_reused)

    def unseen(self, request: Request, *, age_s: float) -> int:
        """Return what a page in use will still take."""
        return unseen_bytes(self._factor * self._mean.predict(_keys(request), is_reused=self.is_reused), age_s=age_s)

    def of_next(self, requests: Iterable[Request]) -> int:
        """Return what one more page beside these will hardly exceed: it may be any host's."""
        known = {(), *map(_keys, requests)}
        return self._factor * max(self._each.predict(keys, is_reused=self.is_reused) for keys in known)

    @property
    def _factor(self) -> int:
        return 1 if self._looks >= LOOKS_MIN else 2


def _keys(request: Request) -> tuple[str, ...]:
    """Return what a page's cost is learned for, most telling first."""
    host = request.address.host
    return (f"{request.session} at {host}", host) if request.session else (host,)


def _used(reading: Reading) -> str:
    return f"{reading.memory_used_bytes / 1e6:.0f} of {reading.memory_limit_bytes / 1e6:.0f} MB in use"
