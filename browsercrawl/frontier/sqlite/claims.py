"""Claims: taking requests out of their lanes, finishing them and giving them back."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from functools import cache
from typing import NamedTuple

from browsercrawl.frontier import trust
from browsercrawl.frontier.interface import REFUSED, Claim, Cost, HostUpdate, Record, Verdict
from browsercrawl.frontier.slots import SlotState
from browsercrawl.frontier.sqlite.intake import Newcomer, record, request_of, store
from browsercrawl.frontier.sqlite.ledger import Ledger
from browsercrawl.frontier.sqlite.rows import PUT_BACK, TOKEN_BITS, LaneRow, RequestRow, SlotRow, State
from browsercrawl.frontier.sqlite.schema import bytes_text, text_bytes
from browsercrawl.frontier.sqlite.timeline import Timeline
from browsercrawl.frontier.trust import Trust
from browsercrawl.frontier.turns import PASSED_OVER_MAX

FAILED = "failed."
"""What the ending of a failed request begins with; its row is kept, for `take_back`."""

_HEAD = """SELECT rank, attempt, stalls, token, stored_at, since, paused_s, held_from_s, memo, body
    FROM requests WHERE number = ?"""
_TAKE = "UPDATE requests SET state = 2, until = ?, token = ?, store = ?, owner = ?, refused = ? WHERE number = ?"
_GIVE_BACK = """UPDATE requests SET state = ?, until = ?, token = token + 1, rank = ?, attempt = ?, stalls = ?,
    since = ?, paused_s = 0, held_from_s = ?, memo = coalesce(?, memo) WHERE number = ?"""
_KEEP = "UPDATE requests SET state = 3, until = NULL, token = token + 1, ending = ? WHERE number = ?"

_WARM_AT_ONCE = 64
"""Sessions asked about in one statement; there is one for each number of them, prepared once."""


class Taken(NamedTuple):
    """A claim as it was committed; `as_claim` makes of it what the caller gets."""

    slot: str
    token: int
    owner: str
    expires_at: float
    attempt: int
    stalls: int
    stored_at: float
    queued_s: float
    politeness_s: float
    delay_s: float
    reserved: float
    refusals: int
    failures: int
    is_down: bool
    memo: bytes | None
    body: str | bytes

    def as_claim(self, timeline: Timeline) -> Claim:
        """Return the claim, its times on this process's clock."""
        return Claim(
            request=request_of(self.body),
            slot=self.slot,
            token=self.token,
            owner=self.owner,
            expires_at=timeline.on_clock(self.expires_at),
            attempt=self.attempt,
            stalls=self.stalls,
            stored_at=timeline.on_clock(self.stored_at),
            queued_s=self.queued_s,
            politeness_s=self.politeness_s,
            delay_s=self.delay_s,
            reserved=self.reserved,
            refusals=self.refusals,
            failures=self.failures,
            is_down=self.is_down,
            memo=bytes_text(self.memo or b""),
        )


class Wish(NamedTuple):
    """What a caller of `claim` asks for."""

    owner: str
    limit: int
    lease_s: float
    warm: AbstractSet[str]


def claim(ledger: Ledger, wish: Wish) -> list[Taken]:
    """See `Frontier.claim`."""
    warm = {text_bytes(session) for session in wish.warm}
    taken: list[Taken] = []
    while len(taken) < wish.limit and (lane := _next_lane(ledger, warm)) is not None:
        taken.append(_take(ledger, lane, wish))
    return taken


def complete(
    ledger: Ledger, token: int, *, left: Record, links: Sequence[Newcomer], host: HostUpdate | None
) -> list[Verdict] | None:
    """See `Frontier.complete`."""
    row = _held(ledger, token)
    if row is None:
        return None
    verdicts = store(ledger, links) if links else []  # before the rest: what they go to is not forgotten in between
    ledger.totals.update(f"link.{verdict}" for verdict in verdicts if verdict in REFUSED)
    record(ledger, left)
    slot, lane = ledger.slot(row.slot), ledger.lane(row.lane)
    if left.ending.startswith(FAILED):
        ledger.database.execute(_KEEP, (left.ending, row.number))
    else:
        ledger.database.execute("DELETE FROM requests WHERE number = ?", (row.number,))
    ledger.run.finished += 1
    _leave_standing(ledger, slot, lane, row)
    ledger.leave(slot, lane)
    _heed(ledger, slot, row, host)
    ledger.settle(slot, ledger.now)
    return verdicts


class Return(NamedTuple):
    """How a caller of `release` gives a request back."""

    delay_s: float
    cost: Cost
    memo: str | None
    host: HostUpdate | None


def release(ledger: Ledger, token: int, *, how: Return) -> bool:
    """See `Frontier.release`."""
    row = _held(ledger, token)
    if row is None:
        return False
    attempt = row.attempt + (how.cost is Cost.ATTEMPT)
    # If it expired, the stall is counted already.
    stalls = row.stalls + (how.cost is Cost.STALL and row.state == State.CLAIMED)
    _give_back(ledger, row._replace(attempt=attempt, stalls=stalls), how)
    return True


def put_back(ledger: Ledger, tokens: Sequence[int]) -> None:
    """Undo claims of which nobody learnt, or whose owner lets go in good order: no stall is counted."""
    for token in tokens:
        row = _held(ledger, token)
        if row is not None and row.state == State.CLAIMED:
            _give_back(ledger, row, Return(0.0, Cost.NOTHING, memo=None, host=None))
            ledger.trim()


def limit_session(ledger: Ledger, session: str, *, claims_max: int | None) -> None:
    """See `Frontier.limit_session`."""
    ledger.limit(text_bytes(session), claims_max)


def defer(ledger: Ledger, host: str, *, delay_s: float) -> None:
    """See `Frontier.defer`."""
    slot = ledger.slot_of(ledger.terms.slot_of(host))
    trust.defer(slot, delay_s, at=ledger.now)
    ledger.settle(slot, ledger.now)


def restrain(ledger: Ledger, host: str, *, delay_s: float) -> None:
    """See `Frontier.restrain`."""
    slot = ledger.slot_of(ledger.terms.slot_of(host))
    trust.restrain(slot, delay_s, at=ledger.now)
    ledger.settle(slot, ledger.now)


def _give_back(ledger: Ledger, row: RequestRow, how: Return) -> None:
    now = ledger.now
    slot, lane = ledger.slot(row.slot), ledger.lane(row.lane)
    rank = row.rank + PUT_BACK if row.stalls and row.rank < PUT_BACK // 2 else row.rank
    state, until = (State.RETRYING, now + how.delay_s) if how.delay_s > 0 else (State.QUEUED, None)
    memo = None if how.memo is None else text_bytes(how.memo)
    held_s = slot.held_until(now)
    ledger.database.execute(_GIVE_BACK, (state, until, rank, row.attempt, row.stalls, now, held_s, memo, row.number))
    _leave_standing(ledger, slot, lane, row)
    if until is None:
        ledger.enqueue(slot, lane, number=row.number, rank=rank)
    else:
        slot.retrying += 1
        ledger.run.retrying += 1
        slot.warn(until)
    _heed(ledger, slot, row, how.host)
    ledger.settle(slot, now)


def _held(ledger: Ledger, token: int) -> RequestRow | None:
    """Return the request that a token still gives a right to."""
    row = ledger.request(token >> TOKEN_BITS)
    return row if row is not None and row.token == token else None


def _leave_standing(ledger: Ledger, slot: SlotRow, lane: LaneRow, row: RequestRow) -> None:
    """Take a request from where it stood, after its row tells that it stands elsewhere."""
    if row.state == State.CLAIMED:
        ledger.count_claims(slot, lane, number=-1)
    else:  # its claim expired, and the late owner settles it after all
        ledger.dequeue(slot, lane, number=row.number)


def _heed(ledger: Ledger, slot: SlotRow, row: RequestRow, update: HostUpdate | None) -> None:
    """Let a slot know what a visit says about its host; the caller settles it."""
    if update is not None:
        trust.heed(slot, update, refused=row.refused, at=ledger.now)


def _take(ledger: Ledger, lane: LaneRow, wish: Wish) -> Taken:
    """Claim the head of a lane that is ready, and reserve the next instant of its slot."""
    now, number, slot = ledger.now, lane.head, ledger.slot(lane.slot)
    assert number is not None, "a ranked lane has a head"
    row = ledger.database.execute(_HEAD, (number,)).fetchone()
    _, attempt, stalls, token, stored_at, since, paused_s, held_from_s, memo, body = row
    token = token + 1 if token else (number << TOKEN_BITS) + 1
    until = now + wish.lease_s
    ledger.database.execute(_TAKE, (until, token, ledger.terms.store, text_bytes(wish.owner), slot.refused, number))
    politeness_s = paused_s + slot.held_until(now) - held_from_s
    delay_s = trust.reserve(slot, at=now)
    ledger.count_claims(slot, lane, number=1)
    slot.warn(until)
    ledger.dequeue(slot, lane, number=number)
    ledger.give_turn(slot, lane)
    ledger.settle(slot, now)
    queued_s = max(0.0, now - since - politeness_s)  # sums of floats may miss zero by a hair
    return Taken(
        slot.host, token, wish.owner, until, attempt, stalls, stored_at, queued_s, politeness_s, delay_s, slot.open_at,
        slot.refusals, slot.failures, slot.trust is Trust.DOWN, memo, body,
    )  # fmt: skip


def _next_lane(ledger: Ledger, warm: AbstractSet[bytes]) -> LaneRow | None:
    """Return the lane to claim from next; a cold one that gives way to it is counted as passed over."""
    ledger.flush()
    query = "SELECT best_lane FROM slots WHERE best_rank IS NOT NULL ORDER BY best_rank, best_turn LIMIT 1"
    found = ledger.database.execute(query).fetchone()
    if found is None:
        return None
    head = ledger.lane(found[0])
    if not warm or head.session in warm or head.passed >= PASSED_OVER_MAX:
        return head
    instead = _best_warm(ledger, warm, head)
    if instead is None:
        return head
    head.passed += 1
    ledger.change_lane(head)
    return instead


def _best_warm(ledger: Ledger, warm: AbstractSet[bytes], head: LaneRow) -> LaneRow | None:
    """Return the lane of a warm session whose turn is longest ago, among those that are `head`'s equals.

    Lanes met whose slot has no room are set aside until it has.
    """
    best: tuple[int, int] | None = None
    sessions = list(warm)
    while sessions:
        some, sessions = sessions[:_WARM_AT_ONCE], sessions[_WARM_AT_ONCE:]
        query = _first_of_each(len(some))
        for number, slot, state, turn, session in ledger.database.execute(query, (*some, head.rank)).fetchall():
            if state != SlotState.READY.value:
                ledger.set_aside(number, slot)
                sessions.append(session)  # it may have another
            elif best is None or turn < best[0]:
                best = turn, number
    return None if best is None else ledger.lane(best[1])


@cache
def _first_of_each(sessions: int) -> str:
    """Return the query for the first lane of each of so many sessions, among those of a rank."""
    marks = ", ".join(["(?)"] * sessions)
    return f"""WITH warm (session) AS (VALUES {marks})
        SELECT lanes.number, slots.number, state, turn, lanes.session
        FROM (SELECT (SELECT number FROM lanes WHERE lanes.session = warm.session AND rank = ? AND aside = 0
                      ORDER BY turn LIMIT 1) AS first FROM warm)
        JOIN lanes ON lanes.number = first JOIN slots ON slots.number = lanes.slot"""  # noqa: S608 - question marks only
