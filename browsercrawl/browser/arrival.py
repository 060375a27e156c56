"""What a navigation came to, as the driver tells it with the response: asking costs nothing."""

from collections import Counter

from playwright.async_api import Response

from browsercrawl.errors import InvalidURL
from browsercrawl.ports import Navigation
from browsercrawl.urls import address

_HOSTS_MAX = 100
"""Hosts counted of one visit; a page that goes about more widely than that is no longer followed."""


def navigation_of(url: str, response: Response | None, *, status: int | None, loaded: bool) -> Navigation:
    """Return what loading a URL came to."""
    headers = {} if response is None else dict(response.headers)
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower() or None
    return Navigation(
        final_url=url,
        status=status,
        content_type=media_type,
        headers=headers,
        loaded=loaded,
        latency_s=None if response is None else _latency_s(response),
    )


def count_document(hosts: Counter[str], url: str) -> None:
    """Count a document that a page has loaded, by its host:port; about:blank and the like are none."""
    try:
        host = address(url).host
    except InvalidURL:
        return
    if host in hosts or len(hosts) < _HOSTS_MAX:
        hosts[host] += 1


def _latency_s(response: Response) -> float | None:
    """Return the seconds from a request to the first byte of its answer; None: nothing was sent for it.

    Of a chain of redirects it is the last link.
    """
    timing = response.request.timing
    sent, answered = timing["requestStart"], timing["responseStart"]
    return (answered - sent) / 1000 if 0 <= sent < answered else None
