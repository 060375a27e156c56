"""The governor: reads the sensors, asks the controller, and has the pool do what it decides, twice a second."""

import math
from collections.abc import Callable

from browsercrawl.clock import Clock
from browsercrawl.config import CrawlerConfig
from browsercrawl.dispatcher import Dispatcher
from browsercrawl.errors import MemoryExceeded, MemoryShort
from browsercrawl.events import Emit, LimitChanged, PressureChanged, PressureShed
from browsercrawl.frontier import Claim, Frontier
from browsercrawl.output import FinishReason
from browsercrawl.pool import Pool
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

TICK_S = 0.5
"""A page needs about as long to grow by 100 MB; a look takes 0.3 ms."""
TELL_EVERY_S = 1.0
"""Where memory decides, the limit moves with each visit; not every step is worth a line."""
PAUSE_MAX_S = 600.0
"""A crawl that has waited so long for memory that others hold ends; it can be resumed."""
LOOKS_MIN = 4
"""Until pages were looked at so often, one is taken to cost twice what is expected: a guess must not be the end."""
_RENDERER_BYTES = 24_000_000
"""What the renderer of a parked page holds."""


class Governor:
    """Keeps a crawl within what the machine bears.

    Args:
        pool: whose limit it sets, and which gives memory back.
        sensors: tell what there is.
        config: at how many pages it begins.
        clock: of the crawl.
        emit: takes `limit.changed`, `pressure.changed`, `pressure.shed`.
        on_limit: told when the crawl was paused for too long.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        sensors: Sensors,
        config: CrawlerConfig,
        clock: Clock,
        emit: Emit,
        on_limit: Callable[[FinishReason, str], None],
    ) -> None:
        self._pool = pool
        start = config.pages_start
        self._controller = Controller(Limits(start=start, is_adaptive=config.concurrency == "auto"))
        self._sensors = sensors
        self._clock = clock
        self._emit = emit
        self._on_limit = on_limit
        self._costs = Costs()
        self._begun: dict[str, float] = {}
        """When each request that is being visited was first seen here."""
        self._finished = 0
        self._seen: object = None
        self._looks = 0
        self._state, self._signal = State.RUNNING, Signal.NONE
        self._paused_at = clock.now()
        self._told_limit, self._told_at = start, -math.inf
        pool.resize(start)
        self._step(sensors.read(), [], queued=start, finished=0)  # there may not be room for so many

    async def govern(self, dispatcher: Dispatcher, frontier: Frontier) -> None:
        """Govern until cancelled."""
        self._finished = frontier.counts().finished  # by earlier processes
        async with self._sensors:
            while True:
                await self._clock.sleep(TICK_S)
                reading = self._sensors.read()
                if len(dispatcher.claims) == 1 and share_of(reading) >= CRITICAL:
                    await self._pool.relief.look()  # is that one page to blame?
                counts = frontier.counts()
                if self._step(reading, dispatcher.claims, queued=counts.queued, finished=counts.finished):
                    dispatcher.wake()

    def _step(self, reading: Reading, claims: list[Claim], *, queued: int, finished: int) -> bool:
        """Decide, and do it. Returns whether there is room for more than before."""
        load = self._load(reading, claims, queued=queued, finished=finished)
        decision = self._controller.step(reading, load)
        if decision.shed is not None:
            self._give_up(decision.shed, reading)
        return self._obey(decision, reading)

    def _load(self, reading: Reading, claims: list[Claim], *, queued: int, finished: int) -> Load:
        """Describe what the crawl does now, and learn from it."""
        now, size = reading.at_s, self._pool.size_max
        hosts = {claim.request.id: claim.request.address.host for claim in claims}
        self._begun = {request_id: self._begun.get(request_id, now) for request_id in hosts}
        ended, self._finished = finished - self._finished, finished
        spare = self._pool.relief.spare()
        audit = self._pool.relief.seen
        if audit is not None and audit is not self._seen and hosts:
            self._seen = audit
            self._looks += 1
            mean_bytes = (audit.renderer_bytes - _RENDERER_BYTES * spare.pages_parked) // len(hosts)
            for host in set(hosts.values()):  # the largest of many means count: then all pages were grown
                self._costs.observe([host], mean_bytes, is_reused=False)
        factor = 1 if self._looks >= LOOKS_MIN else 2
        costs = {host: factor * self._costs.predict([host], is_reused=False) for host in set(hosts.values())}
        starting = (
            unseen_bytes(costs[host], age_s=now - self._begun[request_id]) for request_id, host in hosts.items()
        )
        is_alone = len(claims) == 1
        return Load(
            active=len(claims),
            wanted=min(queued, size),
            finished=max(0, ended),
            starting_bytes=sum(starting),
            cost_bytes=max(costs.values(), default=0) or factor * self._costs.predict([], is_reused=False),
            pages_max=size,
            available=Available(
                pages_open=spare.pages_open,
                pages_parked=spare.pages_parked,
                contexts_idle=spare.contexts_idle,
                browsers=spare.browsers,
                is_recyclable=spare.contexts_worn > 0,
                alone_bytes=audit.renderer_bytes_most if audit is not None and is_alone else 0,
                has_tried_alone=is_alone and claims[0].stalls > 0,
            ),
        )

    def _obey(self, decision: Decision, reading: Reading) -> bool:
        """Do what was decided. Returns whether there is room for more than before."""
        # A limit of 1 lets a page start only where none is in use.
        limit = decision.limit if decision.is_admitting else int(decision.is_first_admitted)
        before = self._pool.limit
        self._pool.resize(limit, reuses=decision.is_reusing)
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
        return limit > before

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


def _used(reading: Reading) -> str:
    return f"{reading.memory_used_bytes / 1e6:.0f} of {reading.memory_limit_bytes / 1e6:.0f} MB in use"
