"""What an HTTP status means for a visit."""

from browsercrawl.errors import HostUnavailable, HttpFailed, HttpRejected, PageBlocked
from browsercrawl.ports import Navigation
from browsercrawl.urls import shown
from browsercrawl.visit.plan import VisitPlan

_BLOCKED = frozenset({401, 403, 407})
_RETRIED = frozenset({408, 425})
_DEFERRED = frozenset({429, 503})


def check_status(navigation: Navigation, plan: VisitPlan) -> None:
    """Raise the error of a main document's status; return when it is a success.

    A final 2xx is a success, and what `accept_status` names; a navigation without HTTP response (status None) too.

    Raises:
        HostUnavailable: 429, 503.
        HttpFailed: 408, 425, other 5xx.
        PageBlocked: 401, 403, 407.
        HttpRejected: everything else.
    """
    status = navigation.status
    if status is None or 200 <= status <= 299 or status in plan.accept_status:
        return
    what = f"{shown(plan.request.url)}: HTTP {status}"
    if status in _DEFERRED:
        raise HostUnavailable(f"{what}: the host asks for a pause", retry_after=navigation.headers.get("retry-after"))
    if status in _RETRIED or status >= 500:
        raise HttpFailed(f"{what}: the server failed")
    if status in _BLOCKED:
        raise PageBlocked(f"{what}: the server refuses this client")
    raise HttpRejected(f"{what}: not retried; accept_status takes it as a success")
