"""What enters the store: requests, and seeds that are refused."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic_core import PydanticSerializationError

from browsercrawl.errors import InputError
from browsercrawl.frontier.interface import Record, Refusal, SlotOf, Verdict
from browsercrawl.frontier.paths import path_key
from browsercrawl.frontier.sqlite.ledger import Ledger
from browsercrawl.frontier.sqlite.rows import SlotRow
from browsercrawl.frontier.sqlite.schema import text_bytes
from browsercrawl.request import Request
from browsercrawl.urls import shown

_LOOKED_UP_AT_ONCE = 64
_SOME = f"IN ({', '.join('?' * _LOOKED_UP_AT_ONCE)})"
_LOOK_UP = f"SELECT id FROM known WHERE id {_SOME}"  # noqa: S608 - question marks only
_LOOK_UP_PATHS = f"SELECT key, stored FROM paths WHERE key {_SOME}"  # noqa: S608 - likewise
_INSERT = """INSERT INTO requests (number, id, slot, lane, state, rank, attempt, stalls, token, stored_at, since,
    paused_s, held_from_s, body) VALUES (?, ?, ?, ?, 0, ?, 1, 0, 0, ?, ?, 0, ?, ?)"""


class Newcomer(NamedTuple):
    """A request, taken apart before its transaction begins."""

    id: bytes
    slot: str
    session: bytes
    priority: int
    body: str | bytes
    path: bytes | None = None


def newcomers(requests: Sequence[Request], slot_of: SlotOf, *, by_path: bool = False) -> list[Newcomer]:
    """Take requests apart for `store`.

    Args:
        requests: of one batch.
        slot_of: which hosts share a slot.
        by_path: they are links, of which only so many of one path are stored.

    Raises:
        InputError: the values of one cannot be stored.
    """
    return [
        Newcomer(
            bytes.fromhex(request.id),
            slot_of(request.address.host),
            text_bytes(request.session_key),
            request.priority,
            _body(request),
            path_key(request) if by_path else None,
        )
        for request in requests
    ]


def request_of(body: str | bytes) -> Request:
    """Return the request that was stored with this body."""
    return Request.from_json(body) if isinstance(body, str) else Request.model_validate(json.loads(body))


def store(ledger: Ledger, requests: Sequence[Newcomer], *, again: bool = False) -> list[Verdict]:
    """See `Frontier.schedule`."""
    run, most, most_of_host = ledger.run, ledger.terms.most.requests, ledger.terms.most.of_host
    known = _known(ledger, [request.id for request in requests])
    paths, most_of_path = _stored_under(ledger, requests), ledger.terms.most.of_path
    verdicts: list[Verdict] = []
    ids: list[tuple[bytes]] = []
    rows: list[tuple[object, ...]] = []
    touched: dict[SlotRow, None] = {}
    for request in requests:
        if request.id in known:
            run.duplicates += not again
            verdicts.append(Verdict.DUPLICATE)
            continue
        if most is not None and run.stored >= most:
            verdicts.append(Verdict.FULL)
            continue
        if request.path is not None and most_of_path is not None and paths[request.path] >= most_of_path:
            verdicts.append(Verdict.PATH_FULL)
            continue
        slot = ledger.slot_of(request.slot)
        if most_of_host is not None and slot.stored >= most_of_host:
            verdicts.append(Verdict.HOST_FULL)
            continue
        known.add(request.id)
        if request.path is not None:
            paths[request.path] += 1
        lane = ledger.lane_of(slot, request.session)
        run.stored += 1
        slot.stored += 1
        lane.members += 1
        rank = -request.priority
        ledger.enqueue(slot, lane, number=run.stored, rank=rank)
        touched[slot] = None
        ids.append((request.id,))
        rows.append((
            run.stored, request.id, slot.number, lane.number, rank, ledger.now, ledger.now,
            slot.held_until(ledger.now), request.body,
        ))  # fmt: skip
        verdicts.append(Verdict.STORED)
    if rows:
        ledger.database.executemany("INSERT INTO known VALUES (?)", ids)
        ledger.database.executemany(_INSERT, rows)
        if paths:
            ledger.database.executemany("INSERT OR REPLACE INTO paths VALUES (?, ?)", paths.items())
    for slot in touched:
        ledger.settle(slot, ledger.now)
    return verdicts


def refuse(
    ledger: Ledger, refusals: Sequence[Refusal], *, mark: str | None, counts: Mapping[str, int] | None = None
) -> list[bool]:
    """See `Frontier.refuse`."""
    known = _known(ledger, [bytes.fromhex(refusal.id) for refusal in refusals])
    recorded: list[bool] = []
    for refusal in refusals:
        key = bytes.fromhex(refusal.id)
        recorded.append(key not in known)
        if recorded[-1]:
            known.add(key)
            ledger.database.execute("INSERT INTO known VALUES (?)", (key,))
            record(ledger, refusal.record)
    ledger.totals.update(counts or {})
    if mark is not None:
        note(ledger, {"input": mark})
    return recorded


def record(ledger: Ledger, left: Record) -> None:
    """Store what a finished request leaves: its line for the outbox, and what it counts for."""
    ledger.totals[left.ending] += 1
    ledger.totals.update(left.counts)
    if left.line is not None:
        ledger.run.line += 1
        ledger.database.execute("INSERT INTO outbox VALUES (?, ?)", (ledger.run.line, left.line))


def note(ledger: Ledger, values: Mapping[str, str]) -> None:
    """See `Frontier.note`."""
    rows = [(name, text_bytes(value)) for name, value in values.items()]
    ledger.database.executemany("INSERT OR REPLACE INTO notes VALUES (?, ?)", rows)


def _stored_under(ledger: Ledger, requests: Sequence[Newcomer]) -> dict[bytes, int]:
    """Return how many links are stored of each path that these have."""
    paths = dict.fromkeys((request.path for request in requests if request.path is not None), 0)
    paths.update(_looked_up(ledger, _LOOK_UP_PATHS, list(paths)))
    return paths


def _known(ledger: Ledger, ids: list[bytes]) -> set[bytes]:
    """Return those of the ids that were stored or refused before."""
    return {found for (found,) in _looked_up(ledger, _LOOK_UP, ids)}


def _looked_up(ledger: Ledger, query: str, keys: list[bytes]) -> Iterator[tuple[Any, ...]]:
    for start in range(0, len(keys), _LOOKED_UP_AT_ONCE):
        some = keys[start : start + _LOOKED_UP_AT_ONCE]
        some += some[-1:] * (_LOOKED_UP_AT_ONCE - len(some))  # one statement for any number: it is prepared once
        yield from ledger.database.execute(query, some)


def _body(request: Request) -> str | bytes:
    """Return a request as text; as bytes when it holds what the quick way would lose, such as half a character."""
    try:
        if not request.data:
            return request.model_dump_json(exclude_defaults=True)
    except PydanticSerializationError:
        pass
    try:
        return json.dumps(request.model_dump(exclude_defaults=True), separators=(",", ":")).encode()
    except (ValueError, RecursionError) as error:
        raise InputError(f"the data of the request for {shown(request.url)} cannot be stored: {error}") from error
