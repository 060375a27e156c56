"""The frontier in one SQLite file: it survives the death of its process, and several may share it."""

import asyncio
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from browsercrawl.clock import Clock
from browsercrawl.frontier.interface import (
    UNBOUNDED,
    Bounds,
    Claim,
    Cost,
    FrontierCounts,
    HostUpdate,
    OutboxLine,
    Record,
    Refusal,
    RulesOf,
    SessionLimitOf,
    SlotOf,
    Verdict,
)
from browsercrawl.frontier.sqlite import claims, intake, outlook, records
from browsercrawl.frontier.sqlite.ledger import Terms
from browsercrawl.frontier.sqlite.thread import StoreThread
from browsercrawl.frontier.sqlite.timeline import Timeline
from browsercrawl.request import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """How a store is opened.

    Attributes:
        session_limit_of: the first limit of a session, asked in the store's thread when it is first seen, and anew
            after each exclusive opening; None: no session has one.
        most: how many requests it stores.
        slot_of: which hosts share a slot.
        exclusive: nobody else has it open, which a lock outside of it proves: claims of whoever had it return at once.
        on_full: told why the disk cannot be written, once, and None when it can again; called in the store's thread.
        owner_timeout_s: where stores share a file, one not heard of for so long has lost its claims.
        given_up: once it is set nothing waits for room on the disk, not even the opening; None: see `give_up`.
    """

    session_limit_of: SessionLimitOf | None = None
    most: Bounds = UNBOUNDED
    slot_of: SlotOf = str
    exclusive: bool = True
    on_full: Callable[[str | None], None] | None = None
    owner_timeout_s: float = 30.0
    given_up: threading.Event | None = None


class SqliteFrontier:
    """Implements `Frontier` in a file made by `make_store`; the methods' contracts stand there.

    A method has returned when its transaction is committed. Cancelling one does not undo it, except for `claim`: what
    was claimed is put back. All that is known stands in the file; a thread of its own works on it.

    While the disk is full, methods wait until there is room, or `give_up`.

    Attributes:
        returned: requests that were being visited when the last owner ended; an exclusive opening has given them back.
    """

    def __init__(self, thread: StoreThread, *, returned: int) -> None:
        self.returned = returned
        self._thread = thread

    @classmethod
    async def open(
        cls, path: Path, *, clock: Clock, rules_of: RulesOf, options: StoreOptions | None = None
    ) -> "SqliteFrontier":
        """Open a store.

        Args:
            path: of the file.
            clock: read in the store's thread.
            rules_of: called in the store's thread; asked when a slot comes into being, and anew after each exclusive
                opening.
            options: None: the defaults.

        Raises:
            RunDamaged: the file is damaged, no store, or of another version; it was left as it is.
            OutputFailed: it cannot be written.
        """
        options = options or StoreOptions()
        terms = Terms(
            timeline=Timeline(clock),
            rules_of=rules_of,
            session_limit_of=options.session_limit_of or (lambda _: None),
            most=options.most,
            slot_of=options.slot_of,
            exclusive=options.exclusive,
            owner_timeout_s=options.owner_timeout_s,
        )
        given_up = options.given_up or threading.Event()
        thread = StoreThread(path, terms, on_full=options.on_full, given_up=given_up)
        return cls(thread, returned=await thread.open())

    async def schedule(self, requests: Sequence[Request], *, again: bool = False) -> list[Verdict]:
        """See `Frontier.schedule`.

        Raises:
            InputError: the data of a request cannot be stored; then none was.
        """
        batch = intake.newcomers(requests, self._thread.terms.slot_of)
        return await self._thread.submit(lambda ledger: intake.store(ledger, batch, again=again))

    async def refuse(
        self, refusals: Sequence[Refusal], *, mark: str | None = None, counts: Mapping[str, int] | None = None
    ) -> list[bool]:
        """See `Frontier.refuse`."""
        return await self._thread.submit(lambda ledger: intake.refuse(ledger, refusals, mark=mark, counts=counts))

    async def claim(self, *, owner: str, limit: int, lease_s: float, warm: Collection[str] = ()) -> list[Claim]:
        """See `Frontier.claim`."""
        wish = claims.Wish(owner, limit, lease_s, warm if isinstance(warm, AbstractSet) else frozenset(warm))
        future = self._thread.submit(lambda ledger: claims.claim(ledger, wish))
        try:
            taken = await asyncio.shield(future)
        except asyncio.CancelledError:
            future.add_done_callback(self._put_back)
            raise
        return [each.as_claim(self._thread.terms.timeline) for each in taken]

    async def complete(
        self, claim: Claim, *, record: Record, links: Sequence[Request] = (), host: HostUpdate | None = None
    ) -> list[Verdict] | None:
        """See `Frontier.complete`.

        Raises:
            InputError: the data of a link cannot be stored; then nothing was changed.
        """
        terms = self._thread.terms
        batch = intake.newcomers(links, terms.slot_of, by_path=terms.most.of_path is not None)
        return await self._thread.submit(
            lambda ledger: claims.complete(ledger, claim.token, left=record, links=batch, host=host)
        )

    async def release(
        self,
        claim: Claim,
        *,
        delay_s: float = 0.0,
        cost: Cost,
        memo: str | None = None,
        host: HostUpdate | None = None,
    ) -> bool:
        """See `Frontier.release`."""
        how = claims.Return(delay_s, cost, memo, host)
        return await self._thread.submit(lambda ledger: claims.release(ledger, claim.token, how=how))

    async def defer(self, host: str, delay_s: float) -> None:
        """See `Frontier.defer`."""
        await self._thread.submit(lambda ledger: claims.defer(ledger, host, delay_s=delay_s))

    async def restrain(self, host: str, *, delay_s: float) -> None:
        """See `Frontier.restrain`; an exclusive opening forgets what was told."""
        await self._thread.submit(lambda ledger: claims.restrain(ledger, host, delay_s=delay_s))

    async def limit_session(self, session: str, claims_max: int | None) -> None:
        """See `Frontier.limit_session`; an exclusive opening forgets what was told."""
        await self._thread.submit(lambda ledger: claims.limit_session(ledger, session, claims_max=claims_max))

    async def ready_in(self) -> float | None:
        """See `Frontier.ready_in`; where stores share the file, not later than one of the others may turn out dead."""
        return await self._thread.submit(outlook.ready_in)

    def counts(self) -> FrontierCounts:
        """See `Frontier.counts`."""
        return self._thread.counts

    async def totals(self) -> dict[str, int]:
        """See `Frontier.totals`."""
        return await self._thread.submit(records.totals)

    async def lines(self, limit: int) -> list[OutboxLine]:
        """See `Frontier.lines`."""
        return await self._thread.submit(lambda ledger: records.lines(ledger, limit))

    async def emptied(self, *, upto: int, size: int) -> None:
        """See `Frontier.emptied`."""
        await self._thread.submit(lambda ledger: records.emptied(ledger, upto=upto, size=size))

    async def note(self, values: Mapping[str, str]) -> None:
        """See `Frontier.note`."""
        values = dict(values)
        await self._thread.submit(lambda ledger: intake.note(ledger, values))

    async def notes(self) -> dict[str, str]:
        """See `Frontier.notes`."""
        return await self._thread.submit(records.notes)

    async def failed(self, kinds: Collection[str] | None = None) -> set[str]:
        """Return the ids of the requests that ended as `failed.<kind>`.

        Args:
            kinds: None: all.
        """
        return await self._thread.submit(lambda ledger: records.failed(ledger, kinds))

    async def take_back(self, kinds: Collection[str] | None = None, *, size: int) -> int:
        """Queue the requests again that ended as `failed.<kind>`, as if they had never been tried, in one step.

        `totals` counts their endings no longer; what else was counted for them stays.

        Args:
            kinds: None: all.
            size: of the file of lines without theirs, for `notes`, which also gives `results_swap` as `1` then.

        Returns:
            How many they are.
        """
        return await self._thread.submit(lambda ledger: records.take_back(ledger, kinds, size=size))

    def give_up(self) -> None:
        """Wait for room on the disk no longer: who waits now, and who meets a full disk later, gets `OutputFailed`.

        May be called in any thread.
        """
        self._thread.give_up()

    async def close(self) -> None:
        """See `Frontier.close`. If that cannot be written, the next exclusive opening puts them back."""
        await self._thread.close()

    def _put_back(self, future: "asyncio.Future[list[claims.Taken]]") -> None:
        """Nobody learnt of these claims."""
        if not future.cancelled() and future.exception() is None and not self._thread.is_closed:
            tokens = [each.token for each in future.result()]
            self._thread.submit(lambda ledger: claims.put_back(ledger, tokens))
