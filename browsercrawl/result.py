"""A result: what became of a request. One per request, whatever happens."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import BinaryIO

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from browsercrawl.errors import Disposition, ErrorKind


class Outcome(StrEnum):
    """How a request ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"


class SkipReason(StrEnum):
    """Why a request or a link was not visited."""

    INVALID_URL = "invalid_url"
    OUT_OF_SCOPE = "out_of_scope"
    EXCLUDED = "excluded"
    NOT_INCLUDED = "not_included"
    TOO_DEEP = "too_deep"
    URL_TOO_LONG = "url_too_long"
    TOO_MANY_PARAMETERS = "too_many_parameters"
    PATH_TOO_DEEP = "path_too_deep"
    REPEATED_PATH = "repeated_path"
    """The same path segments stand again and again in a row: the mark of an endless site."""
    ENDLESS_SERIES = "endless_series"
    """The next of many pages in a row that led to nothing else, such as those of a calendar."""
    MAX_REQUESTS = "max_requests"
    MAX_PER_HOST = "max_per_host"
    MAX_PER_PATH = "max_per_path"
    ROBOTS = "robots"
    """The site's robots.txt forbids it, or the address that it redirects to."""
    HANDLER = "handler"
    GUARD = "guard"
    """The network guard refuses where it leads."""
    BLOCKED_HOST = "blocked_host"
    """Its host is on the list of those from which nothing is fetched."""
    SESSION_DOMAIN = "session_domain"
    """Its session is bound to other hosts."""


class Phase(StrEnum):
    """Where in a visit something happened."""

    LEASE = "lease"
    NAVIGATE = "navigate"
    WAIT = "wait"
    HANDLE = "handle"
    CAPTURE = "capture"


class ErrorInfo(BaseModel):
    """The failure that ended a request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ErrorKind
    message: str
    phase: Phase | None = None
    disposition: Disposition


class Timings(BaseModel):
    """Where a request's time went, in seconds. Sums run over all its attempts; `total_s` from stored to finished."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    queued_s: float = 0.0
    politeness_s: float = 0.0
    lease_s: float = 0.0
    navigate_s: float = 0.0
    wait_s: float = 0.0
    handle_s: float = 0.0
    capture_s: float = 0.0
    total_s: float = 0.0


class Artifact(BaseModel):
    """A file that a visit left in the run directory."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="What it is: html, text, screenshot, download-1, or the name the handler gave.")
    path: str = Field(description="Relative to the run directory.")
    bytes: int = Field(ge=0, description="Size of the file.")
    source: str | None = Field(default=None, description="Of a download: its address, without query.")
    content_type: str | None = Field(default=None, description="Of a download: as the server says; None: unknown.")
    sha256: str | None = Field(default=None, description="Of a download: 64 hexadecimal digits.")


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadedFile:
    """What a visit has downloaded. Whoever gets it closes its file; it has no name on the disk any more.

    Attributes:
        number: counts those of a visit, from 1.
        name: as the site wishes: any text.
        url: where it comes from.
        content_type: without parameters, lower case; None when the server's answer is not known.
    """

    number: int
    name: str
    url: str
    content_type: str | None
    file: BinaryIO = field(repr=False)


class ResultFields(BaseModel):
    """What a result and its line in `results.jsonl` have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    request_id: str
    url: str
    final_url: str | None = None
    outcome: Outcome
    http_status: int | None = None
    content_type: str | None = None
    partial: bool = Field(default=False, description="The load event was missing; what was there was taken.")
    title: str | None = None
    data: tuple[JsonValue, ...] = Field(default=(), description="What the handler pushed, in order.")
    artifacts: tuple[Artifact, ...] = ()
    error: ErrorInfo | None = None
    skip_reason: str | None = Field(default=None, description="A `SkipReason`, or `handler: <its reason>`.")
    attempts: int = Field(default=0, ge=0)
    session: str | None = None
    label: str | None = None
    depth: int = 0
    parent_url: str | None = None
    timings: Timings = Timings()
    started_at: datetime | None = Field(default=None, description="When the first visit began, UTC; None if none did.")
    finished_at: datetime
    transferred_bytes: int | None = Field(
        default=None,
        ge=0,
        description=(
            "Sent and received by the context while it was visited, with headers and TLS; None: not by the network "
            "guard's way, where they are counted. Of this visit alone only if the context had no other page meanwhile."
        ),
    )
    refused_connections: int = Field(
        default=0, ge=0, description="Of the context during these visits, that the network guard refused."
    )


class Result(ResultFields):
    """What became of one request."""

    html: str | None = Field(default=None, repr=False)
    text: str | None = Field(default=None, repr=False)
    links: tuple[str, ...] = Field(default=(), repr=False)


class ResultRecord(ResultFields):
    """A line of `results.jsonl`: a result without bodies. Sinks get these."""

    links: int = Field(ge=0, description="How many links the page had.")
