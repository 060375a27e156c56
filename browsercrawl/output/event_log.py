"""Where events go: one JSON line each into `events.jsonl`, and to listeners such as the terminal.

Redaction comes first, so that file, listeners and terminal get the same event, without secrets. An event costs the
event loop that, the rendering of its line (structlog, JSON) and an append to a queue; a thread writes. When the queue
or the disk is full events are lost and counted, never waited for: a log must not stop a crawl.
"""

import asyncio
import json
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO, TypeVar, cast

from pydantic import BaseModel

from browsercrawl.clock import Clock
from browsercrawl.errors import OutputFailed
from browsercrawl.events import SCHEMA_VERSION, Emit, Event, Level, LogDegraded
from browsercrawl.output.line_file import LineWriter
from browsercrawl.redaction import redact_value

ROTATE_BYTES = 64_000_000
"""`events.jsonl` is renamed before it grows past this."""

M = TypeVar("M", bound=BaseModel)

INTERVAL_S = 0.5
"""Events reach the file at least this often."""

QUEUE_BYTES_MAX = 8_000_000
"""Room for lines the disk has not taken yet: some 20,000 events."""

_SEVERITY = {Level.DEBUG: 10, Level.INFO: 20, Level.WARNING: 30, Level.ERROR: 40}
_Render = Callable[[Event, datetime], str]


def redacted(event: M) -> M:
    """Return an event, or a model in one, without secrets and what could harm a terminal."""
    changed: dict[str, object] = {}
    for name, value in vars(event).items():
        # the names of fields are ours and tell of no secret (a test holds them to it)
        if isinstance(value, list) and value and isinstance(value[0], BaseModel):
            changed[name] = [redacted(each) for each in value]
        elif isinstance(value, str | list | dict):
            safe = redact_value(value, name="url" if name == "url" else "")
            if safe != value:
                changed[name] = safe
    return event.model_copy(update=changed) if changed else event


class EventLog:
    """Takes a run's events and hands them to the file and the listeners. `emit` is the run's `Emit`."""

    def __init__(
        self,
        *,
        run_id: str,
        clock: Clock,
        path: Path | None = None,
        level: Level = Level.INFO,
        listeners: Sequence[Emit] = (),
    ) -> None:
        """Open the log; `close` ends it.

        Args:
            run_id: stands in every line.
            clock: gives the calendar time of events.
            path: file to write; None: none.
            level: events below it do not go to the file. Listeners get all.
            listeners: called in order, with every event, redacted. One that raises is not called again.

        Raises:
            OutputFailed: the file cannot be opened.
        """
        self._run_id = run_id
        self._clock = clock
        self._severity_min = _SEVERITY[level]
        self._listeners = list(listeners)
        self._render = _json_renderer(run_id)
        self._complained = False
        self._unrendered = 0
        self._writer = _open(path) if path else None

    @property
    def dropped(self) -> int:
        """Events that did not get into the file, for lack of room or because the disk refused them."""
        return self._unrendered + (self._writer.dropped if self._writer else 0)

    def emit(self, event: Event) -> None:
        """Take an event. Never blocks on a disk, never raises."""
        writer = self._writer if _SEVERITY[event.level] >= self._severity_min else None
        if writer is None and not self._listeners:
            return
        event = redacted(event)
        if writer is not None:
            self._write(writer, event)
        self._tell(event)
        self._complain()

    async def close(self) -> None:
        """Write what waits and close the file. Never raises; may be called again; later events are counted as lost."""
        if self._writer:
            await asyncio.to_thread(self._writer.close)
            self._complain()

    def _write(self, writer: LineWriter, event: Event) -> None:
        try:
            line = self._render(event, self._clock.utc()).encode()
        except (ValueError, TypeError, RecursionError) as error:  # a field that cannot be shown must not stop a crawl
            self._unrendered += 1
            self._tell(_degraded(f"the line of {event.name}", error))
            return
        writer.offer(line + b"\n")

    def _tell(self, event: Event) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001 - somebody else's code; recorded, and not called again
                self._listeners.remove(listener)
                self.emit(_degraded("a listener", error))

    def _complain(self) -> None:
        if self._writer and self._writer.dropped and not self._complained:
            self._complained = True
            error = self._writer.error or BufferError("the disk does not keep up")
            self._tell(_degraded("events.jsonl", error))


def _degraded(what: str, error: BaseException) -> Event:
    return redacted(LogDegraded(what=what, reason=f"{type(error).__name__}: {error}"))


def stderr_lines(
    *, clock: Clock, level: Level = Level.INFO, stream: TextIO | None = None, colour: bool = False
) -> Emit:
    """Return a listener that writes events to a stream, one short aligned line each.

    Args:
        clock: gives the calendar time of events.
        level: events below it are left out.
        stream: where to; None: standard error.
        colour: with escape sequences.
    """
    target = stream or sys.stderr
    severity_min = _SEVERITY[level]
    render = _human_renderer(colour=colour)

    def write(event: Event) -> None:
        if _SEVERITY[event.level] >= severity_min:
            target.write(render(event, clock.utc()) + "\n")
            target.flush()

    return write


def _open(path: Path) -> LineWriter:
    try:
        return LineWriter(path, interval_s=INTERVAL_S, bytes_max=QUEUE_BYTES_MAX, rotate_bytes=ROTATE_BYTES)
    except OSError as error:
        raise OutputFailed(f"{path} cannot be written: {error.strerror or error}") from error


def _json_renderer(run_id: str) -> _Render:
    import structlog  # noqa: PLC0415 - it imports rich; `import browsercrawl` must not

    encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False)
    log = structlog.wrap_logger(
        structlog.ReturnLogger(),
        processors=[
            lambda _log, level, fields: _order(level, fields),
            structlog.processors.JSONRenderer(lambda fields, **_: encoder.encode(fields)),
        ],
        wrapper_class=structlog.make_filtering_bound_logger("debug"),
    ).bind(run_id=run_id, schema=SCHEMA_VERSION)

    def render(event: Event, at: datetime) -> str:
        method = getattr(log, event.level)
        return cast("str", method(event.name, ts=_utc(at), **event.model_dump(mode="json")))

    return render


def _human_renderer(*, colour: bool) -> _Render:
    import structlog  # noqa: PLC0415 - see above

    log = structlog.wrap_logger(
        structlog.ReturnLogger(),
        processors=[
            structlog.processors.add_log_level,
            structlog.dev.ConsoleRenderer(colors=colour, pad_event_to=18, pad_level=True, sort_keys=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger("debug"),
    ).bind()

    def render(event: Event, at: datetime) -> str:
        method = getattr(log, event.level)
        line = cast("str", method(event.name, timestamp=f"{at:%H:%M:%S}", **_short(event.model_dump(mode="json"))))
        return line.rstrip()

    return render


def _order(level: str, fields: MutableMapping[str, Any]) -> Mapping[str, Any]:
    head = {"ts": fields.pop("ts"), "level": level, "event": fields.pop("event")}
    return {**head, "run_id": fields.pop("run_id"), "schema": fields.pop("schema"), **fields}


def _utc(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _short(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what a person does not miss, round what he cannot read, and put the address last."""
    shown: dict[str, Any] = {}
    for name, value in fields.items():
        if name == "timings":
            shown["total_s"] = round(value["total_s"], 3)
        elif isinstance(value, float):
            shown[name] = round(value, 3)
        elif value not in (None, {}, [], "") and name not in ("request_id", "url"):
            shown[name] = value
    return {**shown, "url": fields["url"]} if "url" in fields else shown
