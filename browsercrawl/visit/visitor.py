"""Carry out a visit: navigate, wait, run the handler, capture; one deadline over all of it, one outcome, no exception.

The phases run in order and each gets what is left of the deadline. A navigation whose document committed but whose
load event is missing at two thirds of the deadline goes on with what is there. Whatever goes wrong becomes one typed
error in the outcome; only cancellation passes through.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

from browsercrawl.clock import Clock
from browsercrawl.config import CrawlerConfig, Saved
from browsercrawl.errors import (
    Blocked,
    BrowsercrawlError,
    BrowserError,
    CallTimeout,
    ConfigError,
    DeadlineExceeded,
    DownloadRefused,
    HandlerFailed,
    HandlerRetry,
    HandlerSignal,
    HostUnavailable,
    HttpFailed,
    HttpRejected,
    MemoryExceeded,
    NetworkFailed,
    PageBlocked,
    PageClosed,
    PageCrashed,
    Retry,
    SelectorMissing,
    SessionExpired,
    Skip,
    Stop,
    TooLarge,
    VisitError,
)
from browsercrawl.events import Emit
from browsercrawl.ports import Navigation, PagePort, Snapshot
from browsercrawl.redaction import redact_text, shorten
from browsercrawl.request import Capture
from browsercrawl.result import DownloadedFile, Phase, SkipReason
from browsercrawl.urls import shown
from browsercrawl.visit.http import check_status
from browsercrawl.visit.markdown import MarkdownWriter, has_markdown
from browsercrawl.visit.outcome import CapturedFile, Extension, PhaseTimes, VisitOutcome
from browsercrawl.visit.plan import Handler, VisitPlan
from browsercrawl.visit.visit import Visit

LOAD_SHARE = 2 / 3
"""Of the deadline: when the load event is not awaited any longer."""

CANCEL_GRACE_S = 0.5
"""A handler past its deadline gets so long to clean up after its cancellation."""

LOOK_LIMIT_S = 5.0
"""Looking whether a page shows that its session is logged out takes milliseconds; the user's own check may wait."""

LOOK_LATE_S = 0.5
"""After the deadline it still gets so long: who failed because he was logged out shall not be blamed."""

SALVAGE_LIMIT_S = 0.75
"""After the deadline: for ending the script of a page that hangs, and once more for taking what it shows."""

CALL_SLACK_S = 0.05
"""A call that times out this close to the deadline timed out because of it."""

FILE_BYTES_MAX = 100_000_000
"""Of a PDF or MHTML: more is no page any more, and comes through the driver in few pieces (300 MB ended it)."""

_Taken = Literal["html", "text", "markdown", "screenshot", "pdf", "mhtml"]
"""What is made of the page itself."""

_SOURCES: Mapping[Saved, Capture] = {"html": "html", "text": "text", "markdown": "html"}
"""What a snapshot must hold for it."""

_EXTENSIONS: Mapping[_Taken, Extension] = {
    "html": "html",
    "text": "txt",
    "markdown": "md",
    "screenshot": "png",
    "pdf": "pdf",
    "mhtml": "mhtml",
}

_WEARING = (BrowserError, DeadlineExceeded, NetworkFailed, DownloadRefused, PageClosed, TooLarge, MemoryExceeded)
"""Errors after which a page must not be used again (an HTTP status or a handler's own error is none)."""


_DOUBTFUL = (
    SelectorMissing,
    HandlerFailed,
    PageBlocked,
    HttpRejected,
    HttpFailed,
    HostUnavailable,
    DeadlineExceeded,
)
"""Errors that a page may also bring about because its session is logged out."""


class _NotAdmitted(Skip):
    """The page that the address has led to may not be used; nobody but this module raises it."""


class _Progress:
    """What a visit has reached so far; becomes its outcome."""

    def __init__(self, clock: Clock) -> None:
        self.phase = Phase.NAVIGATE
        self.times = PhaseTimes()
        self.navigation: Navigation | None = None
        self.visit: Visit | None = None
        self.snapshot: Snapshot | None = None
        self.saved: list[CapturedFile] = []
        self.downloads: tuple[DownloadedFile, ...] = ()
        self._clock = clock

    def files(self) -> tuple[CapturedFile, ...]:
        """Return what is to be kept: the handler's files and the engine's own, one of each name."""
        taken = (*self.visit.files, *self.saved) if self.visit else self.saved
        return tuple({(file.name, file.extension): file for file in taken}.values())

    @contextmanager
    def enter(self, phase: Phase) -> Iterator[None]:
        self.phase = phase
        started = self._clock.now()
        try:
            yield
        finally:
            setattr(self.times, f"{phase}_s", self._clock.now() - started)


class Visitor:
    """Carries out visits. Has no state of its own but the handlers that outlived their cancellation."""

    def __init__(self, *, clock: Clock, emit: Emit) -> None:
        self._clock = clock
        self._emit = emit
        self._running: dict[asyncio.Task[Any], str] = {}
        self._recent: set[str] = set()
        self._markdown = MarkdownWriter()

    def take_recent_handlers(self) -> list[str]:
        """Return the names of the handlers that ran since the last call, those that still run included."""
        recent = sorted(self._recent)
        self._recent = set(self._running.values())
        return recent

    async def close(self) -> None:
        """Cancel the handlers that still run in spite of their cancellation; wait a moment for them, raise nothing."""
        deaf = set(self._running)
        for task in deaf:
            task.cancel()
        if deaf:
            await asyncio.wait(deaf, timeout=CANCEL_GRACE_S)

    async def visit(self, page: PagePort, plan: VisitPlan) -> VisitOutcome:
        """Visit a request in a leased page.

        Args:
            page: begun, and used by nobody else meanwhile.
            plan: what to do.

        Returns:
            The outcome, within the plan's deadline plus the time a handler takes to be cancelled.
        """
        deadline = self._clock.now() + plan.timeout_s
        progress = _Progress(self._clock)
        condemned: str | None = None
        try:
            await self._carry_out(page, plan, progress, deadline)
        except HandlerSignal as signal:
            if (expired := await self._session_error(page, plan, progress, deadline)) is not None:
                return self._failed(expired, progress)
            return self._ended_by_handler(signal, progress)
        except BrowsercrawlError as error:
            expired = None
            if isinstance(error, _DOUBTFUL):
                expired = await self._session_error(page, plan, progress, deadline)
            cause = expired or self._true_cause(error, page, plan, deadline)
            if not await self._salvaged(cause, page, plan, progress):
                return self._failed(cause, progress)
            condemned = cause.kind.value
        visit = progress.visit
        return VisitOutcome(
            condemned=condemned,
            phase=progress.phase,
            times=progress.times,
            navigation=progress.navigation,
            snapshot=progress.snapshot,
            data=visit.data if visit else (),
            requests=visit.requests if visit else (),
            found_links=visit.found_links if visit else (),
            files=progress.files(),
            downloads=progress.downloads,
        )

    async def _carry_out(self, page: PagePort, plan: VisitPlan, progress: _Progress, deadline: float) -> None:
        def remaining_s() -> float:
            left = deadline - self._clock.now()
            if left <= 0:
                raise self._deadline_error(plan, progress.phase)
            return left

        await page.begin(downloads="download" in plan.save)
        with progress.enter(Phase.NAVIGATE):
            progress.navigation = await page.goto(
                plan.request.url,
                wait_until=plan.wait_until,
                load_limit_s=plan.timeout_s * LOAD_SHARE,
                limit_s=remaining_s(),
            )
        if plan.admits is not None and not await plan.admits(progress.navigation.final_url, limit_s=remaining_s()):
            raise _NotAdmitted(SkipReason.ROBOTS)
        if plan.check is not None:
            plan.check.arrived(progress.navigation)
        check_status(progress.navigation, plan)
        if not progress.navigation.committed:
            if progress.navigation.download:
                with progress.enter(Phase.CAPTURE):
                    progress.downloads = await page.downloads(limit_s=remaining_s())
            progress.snapshot = self._of_nothing(progress.navigation, plan)
            return
        if plan.wait_for is not None:
            with progress.enter(Phase.WAIT):
                await page.wait_for(plan.wait_for, limit_s=remaining_s())
        await self._look(page, plan, progress.navigation, remaining_s)
        if plan.handler is not None:
            progress.visit = Visit(
                page, plan.request, response=progress.navigation, remaining_s=remaining_s, emit=self._emit
            )
            with progress.enter(Phase.HANDLE):
                await self._run_handler(plan.handler, progress.visit, plan, remaining_s())
            await self._look(page, plan, progress.navigation, remaining_s)
        if page.closed and not page.crashed:
            raise PageClosed(f"{shown(plan.request.url)}: the handler closed its page; the engine closes pages itself")
        with progress.enter(Phase.CAPTURE):
            await self._capture(page, plan, progress, remaining_s)
            if plan.check is not None and progress.snapshot is not None:
                plan.check.look_at_address(progress.snapshot.url)
            if "download" in plan.save:  # last: nothing fails any more, and who has the outcome closes them
                progress.downloads = await page.downloads(limit_s=remaining_s())

    async def _look(
        self, page: PagePort, plan: VisitPlan, navigation: Navigation, remaining_s: Callable[[], float]
    ) -> None:
        """Make sure that the page is one of a session that is logged in, as far as pages show it.

        Raises:
            SessionExpired, PageBlocked.
        """
        if plan.check is None or page.closed:
            return
        await plan.check.look(page, navigation, limit_s=min(LOOK_LIMIT_S, remaining_s()))
        if plan.check.function is not None and await self._ask(
            plan.check.function, page, min(LOOK_LIMIT_S, remaining_s())
        ):
            raise plan.check.expired(plan.request.url)

    async def _ask(self, function: Callable[[Any], Awaitable[bool]], page: PagePort, limit_s: float) -> bool:
        """Call the user's own check."""

        async def run() -> bool:
            return bool(await function(page.raw))

        name = getattr(function, "__qualname__", None) or repr(function)
        task = asyncio.create_task(run(), name=f"check {name}")
        self._running[task] = f"check {name}"
        task.add_done_callback(self._forget)
        try:
            if not await self._ends_within(task, limit_s):
                raise HandlerFailed(f"{name} did not tell within {limit_s:g} s whether the session is logged out")
        finally:
            if not task.done():
                task.cancel()
                await self._ends_within(task, CANCEL_GRACE_S)
        if task.cancelled():
            raise HandlerFailed(f"{name} was cancelled from inside")
        if (error := task.exception()) is not None:
            said = str(error).partition("\n")[0]
            raise HandlerFailed(f"{name} raised {type(error).__name__}: {redact_text(said)}") from error
        return task.result()

    async def _session_error(
        self, page: PagePort, plan: VisitPlan, progress: _Progress, deadline: float
    ) -> BrowsercrawlError | None:
        """Tell whether a visit failed because its session is logged out: then that is the one cause."""
        navigation = progress.navigation
        if plan.check is None or navigation is None or not navigation.committed or page.closed or page.crashed:
            return None
        try:
            await self._look(page, plan, navigation, lambda: max(deadline - self._clock.now(), LOOK_LATE_S))
        except SessionExpired as expired:
            return expired
        except BrowsercrawlError:
            return None
        return None

    def _of_nothing(self, navigation: Navigation, plan: VisitPlan) -> Snapshot:
        """Take what an answer without a document has: nothing. The page still shows an earlier one, so look away."""
        if plan.wait_for is not None and not navigation.download:
            raise SelectorMissing(f"{shown(plan.request.url)}: HTTP {navigation.status} came without a document")
        return Snapshot(
            url=navigation.final_url,
            title="",
            html="" if "html" in plan.capture else None,
            text="" if "text" in plan.capture else None,
        )

    async def _capture(
        self, page: PagePort, plan: VisitPlan, progress: _Progress, remaining_s: Callable[[], float]
    ) -> None:
        needed: set[Capture] = {_SOURCES[name] for name in plan.save if name in _SOURCES}
        followed: set[Capture] = {"links"} if plan.follow else set()
        snapshot = await page.snapshot(plan.capture | needed | followed, limit_s=remaining_s())
        for name, extension in _EXTENSIONS.items():
            if name in plan.save:
                body = await self._body(name, page, snapshot, remaining_s)
                progress.saved.append(CapturedFile(name=name, extension=extension, body=body))
        progress.snapshot = Snapshot(
            url=snapshot.url,
            title=snapshot.title,
            html=snapshot.html if "html" in plan.capture else None,
            text=snapshot.text if "text" in plan.capture else None,
            links=snapshot.links,
        )

    async def _salvaged(self, error: BrowsercrawlError, page: PagePort, plan: VisitPlan, progress: _Progress) -> bool:
        """Take what a page shows that hung until its deadline, if that is wanted and nothing else is missing.

        Its script is ended and its loading stopped. Returns whether it was taken; the visit is `partial` then.
        """
        navigation = progress.navigation
        hung = isinstance(error, DeadlineExceeded) and progress.phase is Phase.CAPTURE
        if not plan.salvage or not hung or navigation is None or page.closed or page.crashed:
            return False
        await page.stop_loading(limit_s=SALVAGE_LIMIT_S / 3)  # first: while a navigation is pending none answers
        if not await page.interrupt(limit_s=SALVAGE_LIMIT_S):
            return False
        until = self._clock.now() + SALVAGE_LIMIT_S
        progress.saved.clear()
        try:
            await self._capture(page, plan, progress, lambda: max(until - self._clock.now(), CALL_SLACK_S))
            if plan.check is not None and progress.snapshot is not None:
                plan.check.look_at_address(progress.snapshot.url)
            if "download" in plan.save:
                progress.downloads = await page.downloads(limit_s=max(until - self._clock.now(), CALL_SLACK_S))
        except BrowsercrawlError:
            return False
        progress.navigation = replace(navigation, loaded=False)
        return True

    async def _body(self, name: _Taken, page: PagePort, snapshot: Snapshot, remaining_s: Callable[[], float]) -> bytes:
        match name:
            case "html":
                return _encoded(snapshot.html)
            case "text":
                return _encoded(snapshot.text)
            case "markdown":
                html = snapshot.html or ""
                return _encoded(await self._markdown.convert(html, base=snapshot.url, limit_s=remaining_s()))
            case "screenshot":
                return await page.screenshot(full_page=False, limit_s=remaining_s())
            case "pdf":
                return await page.pdf(bytes_max=FILE_BYTES_MAX, limit_s=remaining_s())
            case "mhtml":
                return await page.mhtml(bytes_max=FILE_BYTES_MAX, limit_s=remaining_s())

    async def _run_handler(self, handler: Handler, visit: Visit, plan: VisitPlan, limit_s: float) -> None:
        async def run() -> None:
            await handler(visit)

        name = getattr(handler, "__qualname__", None) or repr(handler)
        task = asyncio.create_task(run(), name=f"handler {name}")
        self._running[task] = f"{name} ({plan.request.id})"
        self._recent.add(self._running[task])
        task.add_done_callback(self._forget)
        try:
            if not await self._ends_within(task, limit_s):
                task.cancel()
                await self._ends_within(task, CANCEL_GRACE_S)
                raise self._deadline_error(plan, Phase.HANDLE)
        except asyncio.CancelledError:
            task.cancel()
            await self._ends_within(task, CANCEL_GRACE_S)
            raise
        finally:
            visit.close()
        if task.cancelled():
            raise HandlerFailed(f"handler {name} was cancelled from inside")
        error = task.exception()
        if error is None:
            return
        if isinstance(error, HandlerSignal | VisitError | BrowserError | KeyboardInterrupt | SystemExit):
            raise error
        said = str(error).partition("\n")[0]  # Playwright adds a call log below its first line
        raise HandlerFailed(f"handler {name} raised {type(error).__name__}: {redact_text(said)}") from error

    async def _ends_within(self, task: "asyncio.Task[Any]", limit_s: float) -> bool:
        """Wait for a task without cancelling it. Returns whether it is done within the limit."""
        timer = asyncio.ensure_future(self._clock.sleep(limit_s))
        try:
            await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
        return task.done()

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self._running.pop(task, None)
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio does not report it a second time

    def _ended_by_handler(self, signal: HandlerSignal, progress: _Progress) -> VisitOutcome:
        reason = shorten(redact_text(str(signal.reason)))
        if isinstance(signal, Retry):
            return self._failed(HandlerRetry(f"the handler asked for another try: {reason}"), progress)
        if isinstance(signal, Blocked):
            return self._failed(PageBlocked(f"the handler says the session is refused: {reason}"), progress)
        assert isinstance(signal, Skip | Stop), signal
        return VisitOutcome(
            phase=progress.phase,
            times=progress.times,
            navigation=progress.navigation,
            skip_reason=SkipReason.ROBOTS if isinstance(signal, _NotAdmitted) else f"{SkipReason.HANDLER}: {reason}",
            stop=isinstance(signal, Stop),
        )

    def _failed(self, error: BrowsercrawlError, progress: _Progress) -> VisitOutcome:
        return VisitOutcome(
            phase=progress.phase,
            times=progress.times,
            navigation=progress.navigation,
            error=error,
            condemned=error.kind.value if isinstance(error, _WEARING) else None,
        )

    def _true_cause(
        self, error: BrowsercrawlError, page: PagePort, plan: VisitPlan, deadline: float
    ) -> BrowsercrawlError:
        """Name what is behind an error: a handler fails because its page died, a call because the time was up."""
        cause: BrowsercrawlError = error
        url = shown(plan.request.url)
        if isinstance(error, HandlerFailed) and page.crashed:
            cause = page.gone() or PageCrashed(f"{url}: the page's renderer died while the handler ran")
        elif isinstance(error, HandlerFailed) and page.closed:
            cause = PageClosed(f"{url}: the handler closed its page; the engine closes pages itself")
        elif isinstance(error, CallTimeout) and self._clock.now() >= deadline - CALL_SLACK_S:
            cause = DeadlineExceeded(f"{url}: deadline of {plan.timeout_s:g} s passed: {error}")
        elif isinstance(error, NetworkFailed) and error.code == "ERR_UNEXPECTED_PROXY_AUTH":
            # Chromium takes a 407 from nobody but a proxy, and does not tell it apart from a broken connection.
            cause = PageBlocked(f"{url}: HTTP 407: the server refuses this client")
        if cause is not error:
            cause.__cause__ = error
        return cause

    def _deadline_error(self, plan: VisitPlan, phase: Phase) -> VisitError:
        return DeadlineExceeded(
            f"{shown(plan.request.url)}: deadline of {plan.timeout_s:g} s passed in phase {phase}; raise timeout_s, "
            "or wait for less"
        )


def check_saved(config: CrawlerConfig) -> None:
    """Make sure, before a run starts, that all it is to save can be made.

    Raises:
        ConfigError: says what is missing.
    """
    saved = config.saved
    if "markdown" in saved and not has_markdown():
        raise ConfigError(
            "saving markdown needs more than the bare package; type: pip install 'browsercrawl[markdown]'"
        )
    if "pdf" in saved and config.browser.headed:
        raise ConfigError("saving pdf needs a browser without a window: leave out headed, or pdf")


def _encoded(text: str | None) -> bytes:
    return (text or "").encode("utf-8", "replace")
