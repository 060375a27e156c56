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
    │   ├── CallTimeout          call_timeout       one call into the browser did not return in time
    │   └── MemoryShort          memory_short       memory ran short, and the page was given up for others
    ├── VisitError
    │   ├── DeadlineExceeded     deadline           the visit's deadline passed; `phase` says where
    │   ├── NetworkFailed        network            connection, DNS, TLS or protocol failure
    │   ├── HttpRejected         http_rejected      a final 4xx (or unexpected 3xx)
    │   ├── HttpFailed           http_failed        408, 425 or a 5xx other than 503
    │   ├── HostUnavailable      host_unavailable   429 or 503: the host asks for a pause
    │   ├── RobotsUnavailable    robots_unavailable its robots.txt cannot be had, so nothing of the host may be visited
    │   ├── HostDown             host_down          the host was given up: it refused or failed too often in a row
    │   ├── PageBlocked          blocked            401, 403, 407, or a handler raised Blocked
    │   ├── DownloadRefused      download           the main document became a download
    │   ├── TooLarge             too_large          a body the page would leave is larger than may be kept
    │   ├── SelectorMissing      selector_missing   `wait_for` never appeared
    │   ├── HandlerFailed        handler_failed     user code raised
    │   ├── HandlerRetry         handler_retry      user code raised Retry
    │   ├── PageClosed           page_closed        user code closed the page it was given
    │   ├── MemoryExceeded       memory_exceeded    the page's renderer held more memory than a page may have
    │   └── Quarantined          quarantined        the browser died each time the request was visited alone
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

from browsercrawl.errors.base import (
    BrowsercrawlError,
    Disposition,
    ErrorKind,
    InternalError,
    disposition_of,
)
from browsercrawl.errors.failures import (
    BrowserCrashed,
    BrowserError,
    BrowserNotFound,
    CallTimeout,
    ContextBroken,
    DeadlineExceeded,
    DownloadRefused,
    HandlerFailed,
    HandlerRetry,
    HostDown,
    HostUnavailable,
    HttpFailed,
    HttpRejected,
    LaunchFailed,
    LeaseTimeout,
    LoginFailed,
    MemoryExceeded,
    MemoryShort,
    NetworkFailed,
    PageBlocked,
    PageClosed,
    PageCrashed,
    PoolClosed,
    PoolError,
    PoolSaturated,
    ProxyFailed,
    Quarantined,
    RobotsUnavailable,
    SelectorMissing,
    SessionBusy,
    SessionError,
    SessionExpired,
    SessionPaused,
    StateUnusable,
    TooLarge,
    VisitError,
)
from browsercrawl.errors.signals import (
    Blocked,
    HandlerSignal,
    Retry,
    Skip,
    Stop,
)
from browsercrawl.errors.usage import (
    ConfigError,
    CrawlerBusy,
    CrawlerClosed,
    InputChanged,
    InputError,
    InvalidURL,
    OutputFailed,
    RunBusy,
    RunDamaged,
    RunDirectoryError,
    UnknownLabel,
    UsageError,
)

__all__ = [
    "Blocked",
    "BrowserCrashed",
    "BrowserError",
    "BrowserNotFound",
    "BrowsercrawlError",
    "CallTimeout",
    "ConfigError",
    "ContextBroken",
    "CrawlerBusy",
    "CrawlerClosed",
    "DeadlineExceeded",
    "Disposition",
    "DownloadRefused",
    "ErrorKind",
    "HandlerFailed",
    "HandlerRetry",
    "HandlerSignal",
    "HostDown",
    "HostUnavailable",
    "HttpFailed",
    "HttpRejected",
    "InputChanged",
    "InputError",
    "InternalError",
    "InvalidURL",
    "LaunchFailed",
    "LeaseTimeout",
    "LoginFailed",
    "MemoryExceeded",
    "MemoryShort",
    "NetworkFailed",
    "OutputFailed",
    "PageBlocked",
    "PageClosed",
    "PageCrashed",
    "PoolClosed",
    "PoolError",
    "PoolSaturated",
    "ProxyFailed",
    "Quarantined",
    "Retry",
    "RobotsUnavailable",
    "RunBusy",
    "RunDamaged",
    "RunDirectoryError",
    "SelectorMissing",
    "SessionBusy",
    "SessionError",
    "SessionExpired",
    "SessionPaused",
    "Skip",
    "StateUnusable",
    "Stop",
    "TooLarge",
    "UnknownLabel",
    "UsageError",
    "VisitError",
    "disposition_of",
]
