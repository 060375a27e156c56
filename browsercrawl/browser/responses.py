"""What the driver remembers of the answers that a page got; asked for only when it is needed."""

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page, Request, Response

from browsercrawl.browser.calls import Calls
from browsercrawl.errors import InvalidURL
from browsercrawl.ports import Navigation
from browsercrawl.urls import address

if TYPE_CHECKING:
    from browsercrawl.browser.page import PlaywrightPage

_LIMIT_S = 1.0
_HOSTS_MAX = 100
"""Hosts counted of one visit; a page that goes about more widely than that is no longer followed."""


async def last_response(page: "PlaywrightPage", url: str | None) -> Response | None:
    """Return the last main document's response; with `url`, only if the navigation to it got one. Never raises."""
    request = await _navigation_request(page, url)
    return None if request is None else request.existing_response


async def last_answer(page: "PlaywrightPage", url: str) -> tuple[Response | None, str | None]:
    """Return the response that the navigation to a URL got, and the host:port that redirects led it to. Never raises.

    Of either: None if there is none.
    """
    request = await _navigation_request(page, url)
    if request is None:
        return None, None
    host: str | None = None
    if request.redirected_from is not None:
        with suppress(InvalidURL):
            host = address(request.url).host
    return request.existing_response, host


async def unanswered(page: "PlaywrightPage", *, limit_s: float) -> str | None:
    """Return where the last main document was asked for, after redirects, if no answer has come. Never raises."""
    request = await _last_request(page, limit_s=limit_s)
    return request.url if request is not None and request.existing_response is None else None


async def _navigation_request(page: "PlaywrightPage", url: str | None) -> Request | None:
    request = await _last_request(page, limit_s=_LIMIT_S)
    if request is None:
        return None
    first = request
    while first.redirected_from is not None:
        first = first.redirected_from
    return request if url is None or without_fragment(first.url) == without_fragment(url) else None


async def _last_request(page: "PlaywrightPage", *, limit_s: float) -> Request | None:
    raw: Page = page.raw
    try:
        requests = await page.link.calls.run(raw.requests(), limit_s=limit_s)
    except (TimeoutError, PlaywrightError):
        return None
    return next(
        (each for each in reversed(requests) if each.is_navigation_request() and each.frame is raw.main_frame), None
    )


async def media_type_of(raw: Page, url: str, *, calls: Calls) -> str | None:
    """Return the media type of a page's answer from this address; None when that is not known. Never raises."""
    try:
        requests = await calls.run(raw.requests(), limit_s=_LIMIT_S)
    except (TimeoutError, PlaywrightError):
        return None
    for request in reversed(requests):
        if request.url == url and request.existing_response is not None:
            return _media_type(request.existing_response)
    return None


def navigation_of(url: str, response: Response | None, *, status: int | None, loaded: bool) -> Navigation:
    """Tell what a navigation came to."""
    headers = {} if response is None else dict(response.headers)
    media_type = None if response is None else _media_type(response)
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


def without_fragment(url: str) -> str:
    """Return a URL up to its `#`."""
    return url.partition("#")[0]


def _latency_s(response: Response) -> float | None:
    """Return the seconds from a request to the first byte of its answer; None: nothing was sent for it.

    Of a chain of redirects it is the last link.
    """
    timing = response.request.timing
    sent, answered = timing["requestStart"], timing["responseStart"]
    return (answered - sent) / 1000 if 0 <= sent < answered else None


def _media_type(response: Response) -> str | None:
    return response.headers.get("content-type", "").partition(";")[0].strip().lower() or None
