"""What all errors have in common: a stable name each, and what a failure means for its request."""

from enum import StrEnum
from typing import ClassVar


class ErrorKind(StrEnum):
    """The stable, lower-case name of each failure, as found in `result.error.kind`."""

    CONFIG_INVALID = "config_invalid"
    URL_INVALID = "url_invalid"
    UNKNOWN_LABEL = "unknown_label"
    INPUT_INVALID = "input_invalid"
    INPUT_CHANGED = "input_changed"
    RUN_DIRECTORY = "run_directory"
    RUN_BUSY = "run_busy"
    RUN_DAMAGED = "run_damaged"
    CRAWLER_CLOSED = "crawler_closed"
    CRAWLER_BUSY = "crawler_busy"
    POOL_CLOSED = "pool_closed"
    POOL_SATURATED = "pool_saturated"
    LEASE_TIMEOUT = "lease_timeout"
    BROWSER_NOT_FOUND = "browser_not_found"
    LAUNCH_FAILED = "launch_failed"
    BROWSER_CRASHED = "browser_crashed"
    CONTEXT_BROKEN = "context_broken"
    PAGE_CRASHED = "page_crashed"
    CALL_TIMEOUT = "call_timeout"
    MEMORY_SHORT = "memory_short"
    DEADLINE = "deadline"
    NETWORK = "network"
    HTTP_REJECTED = "http_rejected"
    HTTP_FAILED = "http_failed"
    HOST_DOWN = "host_down"
    ROBOTS_UNAVAILABLE = "robots_unavailable"
    HOST_UNAVAILABLE = "host_unavailable"
    BLOCKED = "blocked"
    DOWNLOAD = "download"
    TOO_LARGE = "too_large"
    SELECTOR_MISSING = "selector_missing"
    HANDLER_FAILED = "handler_failed"
    HANDLER_RETRY = "handler_retry"
    PAGE_CLOSED = "page_closed"
    MEMORY_EXCEEDED = "memory_exceeded"
    QUARANTINED = "quarantined"
    LOGIN_FAILED = "login_failed"
    SESSION_EXPIRED = "session_expired"
    SESSION_BUSY = "session_busy"
    SESSION_PAUSED = "session_paused"
    STATE_UNUSABLE = "state_unusable"
    PROXY_FAILED = "proxy_failed"
    OUTPUT_FAILED = "output_failed"
    INTERNAL = "internal"


class Disposition(StrEnum):
    """What a failure means for its request. Each failure has exactly one."""

    RETRY_SAME = "retry_same"
    """Try again later, any page of the session will do; an attempt is spent."""
    RETRY_FRESH = "retry_fresh"
    """Try again later in a new page; an attempt is spent."""
    PUT_BACK = "put_back"
    """Not the request's fault: back into the frontier, no attempt spent, a stall counted."""
    DEFER_HOST = "defer_host"
    """The host asked for a pause: its slot is deferred; an attempt is spent."""
    PAUSE_SESSION = "pause_session"
    """The identity is no longer good: its session is paused and the request waits for it."""
    SKIP = "skip"
    """The request ends as skipped, with a reason."""
    DROP = "drop"
    """The request ends as failed; trying again would not help."""
    STOP = "stop"
    """The whole run ends."""


class BrowsercrawlError(Exception):
    """Base of every error of this package.

    Attributes:
        kind: the stable name of this failure.
    """

    kind: ClassVar[ErrorKind] = ErrorKind.INTERNAL
    disposition: ClassVar[Disposition] = Disposition.DROP

    @property
    def message(self) -> str:
        """What failed, on what, and what to do about it."""
        return str(self)


class InternalError(BrowsercrawlError):
    """A bug of ours; please report it with the run's `events.jsonl`."""

    kind = ErrorKind.INTERNAL


def disposition_of(error: BaseException) -> Disposition:
    """Tell what a failure means for its request.

    Args:
        error: any exception that ended a visit.

    Returns:
        The one disposition of the error's type; `DROP` for what is not ours.
    """
    return error.disposition if isinstance(error, BrowsercrawlError) else Disposition.DROP
