"""Where events go: one JSON line each into `events.jsonl`, and to listeners such as the terminal.

An event costs the event loop the rendering of its line (redaction, structlog, JSON) and an append to a queue; a thread
writes. When the queue or the disk is full events are lost and counted, never waited for: a log must not stop a crawl.
"""

import asyncio
import json
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO, cast

from browsercrawl.clock import Clock
from browsercrawl.errors import OutputFailed
from browsercrawl.events import SCHEMA_VERSION, Event, Level, LogDegraded
from browsercrawl.output.line_file import LineWriter
from browsercrawl.output.redaction import redact_value

ROTATE_BYTES = 64_000_000
"""`events.jsonl` is renamed before it grows past this."""

INTERVAL_S = 0.5
"""Events reach the file at least this often."""

QUEUE_BYTES_MAX = 8_000_000
"""Room for lines the disk has not taken yet: some 20,000 events."""

_SEVERITY = {Level.DEBUG: 10, Level.INFO: 20, Level.WARNING: 30, Level.ERROR: 40}
_Render = Callable[[Event, datetime], str]


@dataclass(frozen=True, kw_only=True)
class Stamped:
    """An event with its time and run: what listeners get."""

    event: Event
    at: datetime
    run_id: str
    render: _Render

    @cached_property
    def line(self) -> str:
        """The event as one line of JSON, without newline, redacted; rendered once for all who want it."""
        return self.render(self.event, self.at)


Listener = Callable[[Stamped], None]
"""Takes each event of a run, in order, on the event loop. One that raises is not called again."""


class EventLog:
    """Takes a run's events and hands them to the file and the listeners. `emit` is the run's `Emit`."""

    def __init__(
        self,
        *,
        run_id: str,
        clock: Clock,
        path: Path | None = None,
        level: Level = Level.INFO,
        listeners: Sequence[Listener] = (),
    ) -> None:
        """Open the log; `close` ends it.

        Args:
            run_id: stands in every line.
            clock: gives the calendar time of events.
            path: file to write; None: none.
            level: events below it do not go to the file. Listeners get all.
            listeners: called in order, with every event.

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
        stamped = Stamped(event=event, at=self._clock.utc(), run_id=self._run_id, render=self._render)
        if self._writer and _SEVERITY[event.level] >= self._severity_min:
            self._write(self._writer, stamped)
        self._tell(stamped)
        self._complain()

    async def close(self) -> None:
        """Write what waits and close the file. Never raises; may be called again; later events are counted as lost."""
        if self._writer:
            await asyncio.to_thread(self._writer.close)
            self._complain()

    def _write(self, writer: LineWriter, stamped: Stamped) -> None:
        try:
            line = stamped.line.encode()
        except (ValueError, TypeError, RecursionError) as error:  # a field that cannot be shown must not stop a crawl
            self._unrendered += 1
            self._tell(self._degraded(f"the line of {stamped.event.name}", error))
            return
        writer.offer(line + b"\n")

    def _tell(self, stamped: Stamped) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(stamped)
            except Exception as error:  # noqa: BLE001 - somebody else's code; recorded, and not called again
                self._listeners.remove(listener)
                self.emit(self._degraded("a listener", error).event)

    def _complain(self) -> None:
        if self._writer and self._writer.dropped and not self._complained:
            self._complained = True
            error = self._writer.error or BufferError("the disk does not keep up")
            self._tell(self._degraded("events.jsonl", error))

    def _degraded(self, what: str, error: BaseException) -> Stamped:
        event = LogDegraded(what=what, reason=f"{type(error).__name__}: {error}")
        return Stamped(event=event, at=self._clock.utc(), run_id=self._run_id, render=self._render)


def stderr_lines(
    *, as_json: bool, level: Level = Level.INFO, stream: TextIO | None = None, colour: bool | None = None
) -> Listener:
    """Return a listener that writes events to a stream, one line each.

    Args:
        as_json: the same lines as in `events.jsonl`; otherwise short aligned lines for people.
        level: events below it are left out.
        stream: where to; None: standard error.
        colour: None: when the stream is a terminal.
    """
    target = stream or sys.stderr
    severity_min = _SEVERITY[level]
    human = None if as_json else _human_renderer(colour=target.isatty() if colour is None else colour)

    def write(stamped: Stamped) -> None:
        if _SEVERITY[stamped.event.level] >= severity_min:
            line = human(stamped.event, stamped.at) if human else stamped.line
            target.write(line + "\n")
            target.flush()

    return write


def _open(path: Path) -> LineWriter:
    try:
        return LineWriter(path, interval_s=INTERVAL_S, bytes_max=QUEUE_BYTES_MAX, lossy=True, rotate_bytes=ROTATE_BYTES)
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
        return cast("str", method(event.name, ts=_utc(at), **_safe_fields(event)))

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
        line = cast("str", method(event.name, timestamp=f"{at:%H:%M:%S}", **_short(_safe_fields(event))))
        return line.rstrip()

    return render


def _safe_fields(event: Event) -> dict[str, Any]:
    """Redact a model's fields. Their names are ours and tell of no secret (a test holds them to it)."""
    fields = event.model_dump(mode="json")
    return {name: redact_value(value, name="url" if name == "url" else "") for name, value in fields.items()}


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
