"""Failures of leases, browsers, visits and sessions."""

from browsercrawl.errors.base import BrowsercrawlError, Disposition, ErrorKind


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


class MemoryShort(BrowserError):
    """Memory ran short, and the page was given up so that others could go on."""

    kind = ErrorKind.MEMORY_SHORT
    disposition = Disposition.PUT_BACK


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
        host: the host:port that a redirect led to, where it failed; None: the one that was asked for, or not known.
    """

    kind = ErrorKind.NETWORK
    disposition = Disposition.RETRY_FRESH

    def __init__(self, message: str, *, code: str, host: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.host = host


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


class RobotsUnavailable(VisitError):
    """The host's robots.txt could not be had: unreachable, 5xx or 429. Until it can, nothing of the host may be.

    Attributes:
        refuses: the host asks for a pause.
        is_hosts: it is the host's failure, and not that of a proxy.
        retry_after: the Retry-After header as sent; None when there was none.
    """

    kind = ErrorKind.ROBOTS_UNAVAILABLE

    def __init__(
        self, message: str, *, refuses: bool = False, is_hosts: bool = True, retry_after: str | None = None
    ) -> None:
        super().__init__(message)
        self.refuses = refuses
        self.is_hosts = is_hosts
        self.retry_after = retry_after


class HostDown(VisitError):
    """The host was given up until the run ends: it refused or failed too often in a row."""

    kind = ErrorKind.HOST_DOWN
    disposition = Disposition.DROP


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


class MemoryExceeded(VisitError):
    """The page's renderer held more memory than a page may have; it was killed."""

    kind = ErrorKind.MEMORY_EXCEEDED
    disposition = Disposition.DROP


class Quarantined(VisitError):
    """The browser died each time this request was visited alone: it is not tried again, so that others go on."""

    kind = ErrorKind.QUARANTINED
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
