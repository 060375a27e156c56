"""Every error browsercrawl raises or records, in one tree.

    BrowsercrawlError
    ├── UsageError               the caller's mistake; never retried
    │   ├── ConfigError          config_invalid     a configuration key or value is wrong
    │   ├── InvalidURL           url_invalid        not a URL this crawler may visit
    │   ├── UnknownLabel         unknown_label      a request names a label that has no handler
    │   ├── InputError           input_invalid      a line of a URL file, or a field of a request
    │   ├── InputChanged         input_changed      a URL file is not what it was when the run read it
    │   ├── RunDirectoryError    run_directory      the run directory exists, is none, or cannot be made
    │   ├── RunBusy              run_busy           another process holds the run
    │   ├── RunDamaged           run_damaged        a file of the run is damaged, or of another version
    │   ├── CrawlerClosed        crawler_closed     used after it was closed
    │   └── CrawlerBusy          crawler_busy       a second run while one is going on
    ├── PoolError
    │   ├── PoolClosed           pool_closed        asked for a lease after closing began
    │   ├── PoolSaturated        pool_saturated     asked for more leases than the limit
    │   └── LeaseTimeout         lease_timeout      no page could be made ready in time
    ├── BrowserError
    │   ├── BrowserNotFound      browser_not_found  no usable Chromium on this machine
    │   ├── LaunchFailed         launch_failed      Chromium was found but does not start
    │   ├── BrowserCrashed       browser_crashed    the browser or its driver died
    │   ├── ContextBroken        context_broken     the context died under the visit
    │   ├── PageCrashed          page_crashed       the page's renderer died
    │   └── CallTimeout          call_timeout       one call into the browser did not return in time
    ├── VisitError
    │   ├── DeadlineExceeded     deadline           the visit's deadline passed; `phase` says where
    │   ├── NetworkFailed        network            connection, DNS, TLS or protocol failure
    │   ├── HttpRejected         http_rejected      a final 4xx (or unexpected 3xx)
    │   ├── HttpFailed           http_failed        408, 425 or a 5xx other than 503
    │   ├── HostUnavailable      host_unavailable   429 or 503: the host asks for a pause
    │   ├── PageBlocked          blocked            401, 403, 407, or a handler raised Blocked
    │   ├── DownloadRefused      download           the main document became a download
    │   ├── TooLarge             too_large          a body the page would leave is larger than may be kept
    │   ├── SelectorMissing      selector_missing   `wait_for` never appeared
    │   ├── HandlerFailed        handler_failed     user code raised
    │   ├── HandlerRetry         handler_retry      user code raised Retry
    │   └── PageClosed           page_closed        user code closed the page it was given
    ├── SessionError             the identity, not the request, is at fault
    │   ├── LoginFailed          login_failed       the session could not be logged in
    │   ├── SessionExpired       session_expired    the page shows that the session is logged out
    │   ├── SessionBusy          session_busy       the session is being logged in for another page
    │   ├── SessionPaused        session_paused     the session waits for its user
    │   ├── StateUnusable        state_unusable     a saved state is damaged, of another key, domain or version
    │   └── ProxyFailed          proxy_failed       the session's proxy is down or refuses us
    ├── OutputFailed             output_failed      a result or file could not be written: the disk is full, or gone
    └── InternalError            internal           a bug of ours

A failure has one type, its type has one `kind`, and `disposition_of` gives it exactly one disposition.
`Retry`, `Skip`, `Blocked` and `Stop` are not failures but words a handler says by raising them.
"""

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
    DEADLINE = "deadline"
    NETWORK = "network"
    HTTP_REJECTED = "http_rejected"
    HTTP_FAILED = "http_failed"
    HOST_UNAVAILABLE = "host_unavailable"
    BLOCKED = "blocked"
    DOWNLOAD = "download"
    TOO_LARGE = "too_large"
    SELECTOR_MISSING = "selector_missing"
    HANDLER_FAILED = "handler_failed"
    HANDLER_RETRY = "handler_retry"
    PAGE_CLOSED = "page_closed"
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


class UsageError(BrowsercrawlError):
    """The caller made a mistake; doing the same again gives the same."""


class ConfigError(UsageError):
    """A configuration key or value is wrong; the message names where it stands."""

    kind = ErrorKind.CONFIG_INVALID
    disposition = Disposition.STOP


class InvalidURL(UsageError, ValueError):
    """A string is no URL, or of a scheme other than http and https."""

    kind = ErrorKind.URL_INVALID


class UnknownLabel(UsageError):
    """A request names a label for which no handler is registered."""

    kind = ErrorKind.UNKNOWN_LABEL


class InputError(UsageError):
    """A piece of input is no request; the message names the field, or file and line.

    Attributes:
        text: what stands there, as far as it is known; becomes the `url` of the failed result.
        place: where it stands, in the same words whenever it is read, such as file and line; empty: unknown.
    """

    kind = ErrorKind.INPUT_INVALID

    def __init__(self, message: str, *, text: str = "", place: str = "") -> None:
        super().__init__(message)
        self.text = text
        self.place = place


class InputChanged(UsageError):
    """A URL file is not what it was when the run read its beginning; going on would miss or repeat lines."""

    kind = ErrorKind.INPUT_CHANGED
    disposition = Disposition.STOP


class RunDirectoryError(UsageError):
    """The run directory exists already, is no run directory, or cannot be made."""

    kind = ErrorKind.RUN_DIRECTORY


class RunBusy(UsageError):
    """Another process holds the run; the message names it."""

    kind = ErrorKind.RUN_BUSY


class RunDamaged(UsageError):
    """A file of the run is damaged, or made by another version of this program; it was left as it is."""

    kind = ErrorKind.RUN_DAMAGED
    disposition = Disposition.STOP


class CrawlerClosed(UsageError):
    """The crawler or dispatcher was used after it was closed."""

    kind = ErrorKind.CRAWLER_CLOSED


class CrawlerBusy(UsageError):
    """A second run was started while one is going on; a crawler does one at a time."""

    kind = ErrorKind.CRAWLER_BUSY


class PoolError(BrowsercrawlError):
    """A lease could not be given."""

    disposition = Disposition.PUT_BACK


class PoolClosed(PoolError):
    """A lease was asked for after the pool had begun to close."""

    kind = ErrorKind.POOL_CLOSED


class PoolSaturated(PoolError):
    """More leases were asked for than the limit allows."""

    kind = ErrorKind.POOL_SATURATED


class LeaseTimeout(PoolError):
    """No page could be made ready within the time limit."""

    kind = ErrorKind.LEASE_TIMEOUT


class BrowserError(BrowsercrawlError):
    """The browser, not the site, is at fault."""


class BrowserNotFound(BrowserError):
    """No usable Chromium on this machine; the message says what to type."""

    kind = ErrorKind.BROWSER_NOT_FOUND
    disposition = Disposition.STOP


class LaunchFailed(BrowserError):
    """Chromium was found but does not start, also after retries."""

    kind = ErrorKind.LAUNCH_FAILED
    disposition = Disposition.STOP


class BrowserCrashed(BrowserError):
    """The browser process or the driver died, or had to be killed."""

    kind = ErrorKind.BROWSER_CRASHED
    disposition = Disposition.PUT_BACK


class ContextBroken(BrowserError):
    """The context was closed or broke under the visit."""

    kind = ErrorKind.CONTEXT_BROKEN
    disposition = Disposition.PUT_BACK


class PageCrashed(BrowserError):
    """The page's renderer died: out of memory, killed, or a crash of its own."""

    kind = ErrorKind.PAGE_CRASHED
    disposition = Disposition.RETRY_FRESH


class CallTimeout(BrowserError):
    """One call into the browser did not return within its limit."""

    kind = ErrorKind.CALL_TIMEOUT
    disposition = Disposition.RETRY_FRESH


class VisitError(BrowsercrawlError):
    """This one visit failed."""

    disposition = Disposition.RETRY_SAME


class DeadlineExceeded(VisitError):
    """The visit's deadline passed before the result was there."""

    kind = ErrorKind.DEADLINE
    disposition = Disposition.RETRY_FRESH


class NetworkFailed(VisitError):
    """Connection, name resolution, TLS or protocol failure.

    Attributes:
        code: Chromium's own name of the failure, such as `ERR_CONNECTION_RESET`.
    """

    kind = ErrorKind.NETWORK
    disposition = Disposition.RETRY_FRESH

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class HttpRejected(VisitError):
    """The server answered with a final 4xx (or an unexpected 3xx)."""

    kind = ErrorKind.HTTP_REJECTED
    disposition = Disposition.DROP


class HttpFailed(VisitError):
    """The server answered 408, 425 or a 5xx other than 503."""

    kind = ErrorKind.HTTP_FAILED


class HostUnavailable(VisitError):
    """The server answered 429 or 503: the host asks for a pause.

    Attributes:
        retry_after: the Retry-After header as sent; None when there was none.
    """

    kind = ErrorKind.HOST_UNAVAILABLE
    disposition = Disposition.DEFER_HOST

    def __init__(self, message: str, *, retry_after: str | None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PageBlocked(VisitError):
    """The server refuses this identity: 401, 403 or 407, or a handler said so."""

    kind = ErrorKind.BLOCKED
    disposition = Disposition.DROP


class DownloadRefused(VisitError):
    """The main document is a file to download, not a page."""

    kind = ErrorKind.DOWNLOAD
    disposition = Disposition.DROP


class TooLarge(VisitError):
    """A body that the page would leave is larger than may be kept."""

    kind = ErrorKind.TOO_LARGE
    disposition = Disposition.DROP


class SelectorMissing(VisitError):
    """The element named by `wait_for` did not appear in time."""

    kind = ErrorKind.SELECTOR_MISSING


class HandlerFailed(VisitError):
    """User code raised; the cause is attached."""

    kind = ErrorKind.HANDLER_FAILED


class HandlerRetry(VisitError):
    """User code asked for another try by raising `Retry`."""

    kind = ErrorKind.HANDLER_RETRY


class PageClosed(VisitError):
    """User code closed the page it was given before the result was taken."""

    kind = ErrorKind.PAGE_CLOSED
    disposition = Disposition.DROP


class SessionError(BrowsercrawlError):
    """The identity is at fault, not the request: that waits, and no attempt is spent."""

    disposition = Disposition.PAUSE_SESSION


class LoginFailed(SessionError):
    """The session could not be logged in: wrong credentials, a changed form, a captcha, or no answer.

    Attributes:
        screenshot: what the login page looked like, as PNG; None when none could be taken.
        network: the failure of the network that it came of; None when there was none.
    """

    kind = ErrorKind.LOGIN_FAILED

    def __init__(
        self, message: str, *, screenshot: bytes | None = None, network: "NetworkFailed | None" = None
    ) -> None:
        super().__init__(message)
        self.screenshot = screenshot
        self.network = network


class SessionExpired(SessionError):
    """The page shows that the session is logged out; nothing of it is accepted."""

    kind = ErrorKind.SESSION_EXPIRED


class SessionBusy(SessionError):
    """The session is being logged in for another page; this one waits its turn."""

    kind = ErrorKind.SESSION_BUSY


class SessionPaused(SessionError):
    """The session was paused: its requests wait until its user has mended what is wrong, then for `resume`."""

    kind = ErrorKind.SESSION_PAUSED


class StateUnusable(SessionError):
    """A saved session state cannot be used; the file was left as it is. The message names it and says what to do."""

    kind = ErrorKind.STATE_UNUSABLE


class ProxyFailed(SessionError):
    """The session's proxy is down, refuses its credentials or does not answer; never the URL's failure."""

    kind = ErrorKind.PROXY_FAILED


class OutputFailed(BrowsercrawlError):
    """A result or a file of the run could not be written: the disk is full, or gone. The run ends."""

    kind = ErrorKind.OUTPUT_FAILED
    disposition = Disposition.STOP


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


class HandlerSignal(Exception):
    """Base of what a handler raises to end its visit on purpose."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Retry(HandlerSignal):
    """Raise in a handler: this visit was no good, try again (an attempt is spent)."""


class Skip(HandlerSignal):
    """Raise in a handler: the request ends as skipped, with this reason."""


class Blocked(HandlerSignal):
    """Raise in a handler: the site refuses this session; the request fails as `blocked`."""


class Stop(HandlerSignal):
    """Raise in a handler: this request ends as skipped and the whole run drains and ends."""
