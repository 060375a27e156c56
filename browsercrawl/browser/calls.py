"""The one way into Playwright: every call has a time limit, and every failure becomes one of our errors.

Playwright's own time limits do not cover `evaluate`, `close`, `new_page` and others, and a cancelled call may wait for
the driver's answer. So a call runs in a task of its own; when its time is up the task is cancelled and *abandoned*: its
owner is the `Calls` object of the browser, which takes its outcome, whenever that comes, and drops it.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from playwright.async_api import Error as PlaywrightError
from playwright.async_api import TimeoutError as PlaywrightTimeout

from browsercrawl.errors import (
    BrowserCrashed,
    BrowsercrawlError,
    CallTimeout,
    ContextBroken,
    DownloadRefused,
    HandlerFailed,
    InternalError,
    NetworkFailed,
    PageCrashed,
)
from browsercrawl.urls import shown

if TYPE_CHECKING:
    from browsercrawl.browser.download_limit import DownloadLimit
    from browsercrawl.browser.force import Kills
    from browsercrawl.browser.renderers import Renderers

T = TypeVar("T")

_NET_ERROR = re.compile(r"net::(ERR_\w+)")
_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s\"'<>]+", re.IGNORECASE)
_CRASH = re.compile(r"\b(page|target) crashed\b", re.IGNORECASE)
_METHOD = re.compile(r"^\w+\.\w+: ")
_MESSAGE_LENGTH_MAX = 300


class Calls:
    """Runs the calls into one browser and owns those that did not return in time."""

    def __init__(self) -> None:
        self._abandoned: set[asyncio.Future[Any]] = set()

    async def run(self, call: Awaitable[T], *, limit_s: float) -> T:
        """Wait for a call, but no longer than its limit.

        Args:
            call: a coroutine of Playwright's, or a task that runs one.
            limit_s: seconds.

        Returns:
            What the call returned; what it raised passes through.

        Raises:
            TimeoutError: it did not return within its limit; it was abandoned.
        """
        task = asyncio.ensure_future(call)
        if not task.done():
            try:
                await asyncio.wait({task}, timeout=max(0.0, limit_s))
            except asyncio.CancelledError:
                self.abandon(task)
                raise
        if not task.done():
            self.abandon(task)
            raise TimeoutError(f"no answer within {limit_s:.3g} s")
        if task.cancelled():  # by its own insides: a cancellation that passed on would end whoever asked
            raise TimeoutError("the call was cut off")
        return task.result()

    async def settled(self, call: Awaitable[Any], *, limit_s: float) -> bool:
        """Run a call whose failure is an answer too. Returns whether it returned in time and without an error."""
        try:
            await self.run(call, limit_s=limit_s)
        except (TimeoutError, PlaywrightError):
            return False
        return True

    def abandon(self, task: "asyncio.Future[Any]") -> None:
        """Cancel a call and take over its outcome."""
        self._abandoned.add(task)
        task.add_done_callback(self._forget)
        task.cancel()

    def _forget(self, task: "asyncio.Future[Any]") -> None:
        self._abandoned.discard(task)
        if not task.cancelled():
            task.exception()  # taken, or asyncio would report it as never retrieved

    async def drain(self, *, limit_s: float) -> None:
        """Wait for the abandoned calls; all end once the driver is gone."""
        if self._abandoned:
            await asyncio.wait(set(self._abandoned), timeout=limit_s)


def summary(error: BaseException) -> str:
    """Return the first line of an error's message, without Playwright's prefix and with URLs redacted."""
    lines = str(error).splitlines() or [type(error).__name__]
    line = _METHOD.sub("", lines[0])
    return _URL.sub(lambda match: shown(match.group()), line)[:_MESSAGE_LENGTH_MAX]


def is_closed_error(error: BaseException) -> bool:
    """Tell whether the page, the context, the browser or the driver was gone (Playwright does not export the type)."""
    return type(error).__name__ == "TargetClosedError" or "has been closed" in str(error)


def is_crash(error: BaseException) -> bool:
    """Tell whether the renderer had died."""
    return isinstance(error, PlaywrightError) and _CRASH.search(str(error)) is not None


def net_error(error: BaseException) -> str | None:
    """Return Chromium's name of a network failure, such as `ERR_CONNECTION_RESET`; None if it is none."""
    match = _NET_ERROR.search(str(error))
    return match.group(1) if match else None


def translate(
    error: Exception, what: str, *, gone: Callable[[], BrowsercrawlError | None], user_listens: bool = False
) -> BrowsercrawlError:
    """Make one of our errors of what a call raised. The caller raises it `from` the original.

    Args:
        error: as raised by `Calls.run`.
        what: what was tried on what, for the message.
        gone: tells what is really gone: browser, context, renderer or page; None if all are there.
        user_listens: user code has listeners; Playwright raises their errors from our next call.
    """
    if isinstance(error, BrowsercrawlError):
        return error
    lost = gone()
    if lost is not None:
        return lost
    if isinstance(error, TimeoutError | PlaywrightTimeout):
        return CallTimeout(f"{what}: {summary(error)}")
    if not isinstance(error, PlaywrightError):
        reason = f"{what}: {type(error).__name__}: {summary(error)}"
        return HandlerFailed(f"a listener of yours raised before {reason}") if user_listens else InternalError(reason)
    if is_closed_error(error):
        return ContextBroken(f"{what}: {summary(error)}")
    if is_crash(error):
        return PageCrashed(f"{what}: {summary(error)}")
    if "Download is starting" in str(error):
        return DownloadRefused(f"{what}: the answer is a file to download, not a page")
    code = net_error(error)
    if code is not None:
        return NetworkFailed(f"{what}: {code}", code=code)
    return InternalError(f"{what}: {summary(error)}")


@dataclass(frozen=True, slots=True)
class Link:
    """What contexts and pages share of their browser.

    Attributes:
        calls: runs all calls.
        gone: the error to raise when browser or driver is gone, else None.
        renderers: the browser's renderers, their sizes and whose they are.
        kills: which of them were killed on purpose.
        process_per_site: all pages of a site share one renderer.
        downloads: what may be downloaded.
    """

    calls: Calls
    gone: Callable[[], BrowserCrashed | None]
    renderers: "Renderers"
    kills: "Kills"
    process_per_site: bool
    downloads: "DownloadLimit"
