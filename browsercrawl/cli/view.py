"""What a person watching a crawl wants to know, kept from its events; no drawing here.

The crawler's events arrive on its loop and must cost nothing. A display draws in its own time, perhaps in a thread,
from a `Frame`: a frozen copy made on the loop, replaced as a whole.
"""

from collections import deque
from dataclasses import dataclass, field
from itertools import islice

from browsercrawl.cli.terminal import shown_bytes, shown_duration
from browsercrawl.events import Event, Status
from browsercrawl.events import models as events
from browsercrawl.redaction import safe_text, safe_url
from browsercrawl.result import Result

_FAILURES_KEPT = 3
_URLS_KEPT = 3


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that ended failed."""

    kind: str
    url: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One moment of a crawl.

    Attributes:
        title: what is crawled.
        status: the crawler's own snapshot.
        urls: some of the pages being visited, the oldest first.
        failures: the last requests that failed, the newest last.
        notice: what goes on besides, such as a stop.
    """

    title: str
    status: Status
    urls: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()
    notice: str = ""

    @property
    def finished(self) -> int:
        """Requests that have their result."""
        return self.status.succeeded + self.status.failed + self.status.skipped

    @property
    def known(self) -> int:
        """Requests known so far; links still to be found are not among them."""
        status = self.status
        return self.finished + status.active + status.queued + status.waiting + status.retrying

    @property
    def left_s(self) -> float | None:
        """Seconds until what is known now is done, at the present pace; None while there is no pace."""
        pace = self.status.pages_per_s
        return (self.known - self.finished) / pace if pace > 0 else None


@dataclass(slots=True)
class View:
    """Keeps what frames are made of. Bounded: the open pages and a few failures."""

    title: str
    notice: str = ""
    _open: dict[str, str] = field(default_factory=dict)
    _failures: deque[Failure] = field(default_factory=lambda: deque(maxlen=_FAILURES_KEPT))

    def on_event(self, event: Event) -> None:
        """Take note of which pages are open."""
        match event:
            case events.VisitStarted():
                self._open[event.request_id] = event.url
            case events.VisitSucceeded() | events.VisitFailed() | events.RequestSkipped() | events.RetryScheduled():
                self._open.pop(event.request_id, None)

    def on_result(self, result: Result) -> None:
        """Take note of a failure."""
        self._open.pop(result.request_id, None)
        if result.error is not None:
            self._failures.append(Failure(result.error.kind.value, result.url, result.error.message))

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The last requests that failed, fit to be shown."""
        return tuple(Failure(each.kind, safe_url(each.url), safe_text(each.message)) for each in self._failures)

    def frame(self, status: Status) -> Frame:
        """Return how things stand."""
        return Frame(
            title=safe_text(self.title),
            status=status,
            urls=tuple(safe_url(url) for url in islice(self._open.values(), _URLS_KEPT)),
            failures=self.failures,
            notice=self.notice,
        )


def notice_of(event: Event) -> str:
    """Return an event in words, if a person should know of it at once; else nothing."""
    match event:
        case events.SandboxUnavailable():
            return f"no sandbox: {event.reason}; {event.remedy}"
        case events.BrowserCrashed():
            return f"the browser died ({event.reason}); starting another"
        case events.HostDeferred():
            return f"{event.host} asked for a pause of {event.delay_s:.0f} s"
    return ""


def status_line(frame: Frame) -> str:
    """Return the moment as one line, for where there is no terminal."""
    status = frame.status
    parts = [
        f"{status.succeeded:,} done",
        f"{status.failed:,} failed",
        f"{status.active:,} active of {status.limit:,}",
        f"{status.queued + status.waiting + status.retrying:,} queued",
        f"{status.pages_per_s:.1f} pages/s",
    ]
    if frame.left_s is not None:
        parts.append(f"about {shown_duration(frame.left_s)} left")
    if status.memory_limit_bytes:
        parts.append(f"memory {shown_bytes(status.memory_used_bytes)} of {shown_bytes(status.memory_limit_bytes)}")
    notice = f"; {frame.notice}" if frame.notice else ""
    return f"[{shown_duration(status.elapsed_s)}] {', '.join(parts)}{notice}"
