"""What a visit came to: either what was taken from the page, or one error and the phase it happened in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import JsonValue

from browsercrawl.errors import BrowsercrawlError
from browsercrawl.ports import Navigation, Snapshot
from browsercrawl.request import Request
from browsercrawl.result import DownloadedFile, Phase

Extension = Literal["html", "txt", "md", "png", "pdf", "mhtml"]
"""Of the name of a file that a visit leaves."""


@dataclass(slots=True)
class PhaseTimes:
    """Seconds spent in each phase of one visit."""

    navigate_s: float = 0.0
    wait_s: float = 0.0
    handle_s: float = 0.0
    capture_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedFile:
    """A file the visit leaves, not yet written."""

    name: str
    extension: Extension
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitOutcome:
    """What a visit came to.

    `error` and `skip_reason` both None: it succeeded. Data, requests and files count only then.

    Attributes:
        requests: what the handler enqueued as it is.
        found_links: URL and label of the links the handler enqueued, subject to scope.
        condemned: why the page must not be used again; None when it may.
        downloads: open files; whoever has the outcome closes it.
        stop: a handler asked for the end of the run.
        documents: how many have loaded in the page, the visit's own included, by host:port.
    """

    phase: Phase
    times: PhaseTimes
    navigation: Navigation | None = None
    snapshot: Snapshot | None = None
    error: BrowsercrawlError | None = None
    skip_reason: str | None = None
    stop: bool = False
    condemned: str | None = None
    data: tuple[JsonValue, ...] = ()
    requests: tuple[Request, ...] = ()
    found_links: tuple[tuple[str, str | None], ...] = ()
    documents: Mapping[str, int] = field(default_factory=dict)
    files: tuple[CapturedFile, ...] = field(default=(), repr=False)
    downloads: tuple[DownloadedFile, ...] = ()

    def close(self) -> None:
        """Let go of what was downloaded. May be called again."""
        for download in self.downloads:
            download.file.close()
