"""`CrawlDispatcher`: the same engine for plain scripts and notebooks, without `async`.

A thread of its own runs the event loop with a `Crawler` in it. The caller's threads and the loop meet in two spools
(tasks in, results out) and a handful of counters, all guarded by one condition; the loop is never waited for with it
held. Callbacks are put on the loop only with it held, and only before the crawl ends: so none is ever lost.
"""

import asyncio
import atexit
import concurrent.futures.thread  # registers its own exit now, to come after what is registered later
import sys
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from types import TracebackType
from typing import Self

from browsercrawl.config import CrawlerConfig
from browsercrawl.crawler.crawler import Crawler
from browsercrawl.crawler.spool import Spool
from browsercrawl.errors import ConfigError, CrawlerClosed, InternalError
from browsercrawl.events import Event, RequestScheduled, RunParked, Status
from browsercrawl.ports import LaunchBrowser
from browsercrawl.request import Request
from browsercrawl.result import Result
from browsercrawl.urls import address

TASKS_IN_MEMORY = 10_000
RESULTS_IN_MEMORY = 100
"""Results carry whole pages; further ones wait on disk."""

STOP_MARGIN_S = 30.0
"""Beyond the drain time, a stop waits so long for the browser to be closed."""

STATUS_LIMIT_S = 5.0


class CrawlDispatcher:
    """Crawl from a plain script: add tasks, take results.

    Example:
        >>> dispatcher = CrawlDispatcher()                                   # doctest: +SKIP
        >>> dispatcher.start()                                               # doctest: +SKIP
        >>> dispatcher.add_task(url="https://example.com")                   # doctest: +SKIP
        >>> for result in dispatcher.results(): print(result.title)          # doctest: +SKIP
        >>> dispatcher.stop()                                                # doctest: +SKIP

    An error of the engine itself (such as no browser) is raised from the next call of any method, and from later ones
    but `stop`.
    """

    def __init__(self, config: CrawlerConfig | None = None, *, launch: LaunchBrowser | None = None) -> None:
        """Make a dispatcher; nothing runs before `start`.

        Args:
            config: as for `Crawler`.
            launch: starts the browser; None: Chromium through Playwright.

        Raises:
            ConfigError: `resume`: a task that has its result from an earlier process would have none here.
        """
        self._config = config or CrawlerConfig()
        if self._config.resume:
            raise ConfigError("CrawlDispatcher cannot resume a run; use Crawler(config).run(seeds)")
        self._launch = launch
        self._changed = threading.Condition()  # guards everything below, up to _loop
        self._tasks = Spool(Request, memory_max=TASKS_IN_MEMORY)
        self._results = Spool(Result, memory_max=RESULTS_IN_MEMORY)
        self._known: set[bytes] = set()
        self._open = 0
        self._parked = 0
        self._stopped = False
        self._ended = False
        self._error: BaseException | None = None
        self._told = False
        self._last_status: Status | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._added: asyncio.Event | None = None
        self._crawler: Crawler | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start crawling in a thread of its own. A second call does nothing.

        Raises:
            CrawlerClosed: it was stopped.
        """
        with self._changed:
            self._check(usable=True)
            if self._thread is not None:
                return
            # A daemon thread: the interpreter must not wait for it before atexit has stopped it.
            self._thread = threading.Thread(target=self._main, name="browsercrawl", daemon=True)
            self._thread.start()
        _at_exit(weakref.WeakMethod(self.stop))  # weak: while it runs, its thread keeps it

    def add_task(self, url: str | Request) -> str:
        """Add a URL, or a request with further wishes. Never blocks, never drops; also before `start`.

        Returns:
            The request's id; for a request that is known already, the first one's.

        Raises:
            InvalidURL: no http or https URL.
            CrawlerClosed: it was stopped.
            BrowsercrawlError: the engine has failed.
        """
        if isinstance(url, str):
            address(url)
            request = Request(url=url)
        else:
            request = url
        with self._changed:
            self._check(usable=True)
            fingerprint = bytes.fromhex(request.id)
            if fingerprint in self._known:
                return request.id
            self._tasks.put(request)
            self._known.add(fingerprint)
            self._open += 1
            self._parked = 0
            if self._loop is not None and self._added is not None:
                self._loop.call_soon_threadsafe(self._added.set)
        return request.id

    def results(self, timeout_s: float | None = None) -> Iterator[Result]:
        """Give each result once, to whoever asks first; end when no task is open but those of paused sessions.

        Args:
            timeout_s: wait at most so long for the next result, then end; None: as long as a task is open.

        Raises:
            BrowsercrawlError: the engine has failed.
        """
        while True:
            with self._changed:
                deadline = None if timeout_s is None else time.monotonic() + timeout_s
                while not len(self._results):
                    self._check(usable=False)
                    left_s = None if deadline is None else deadline - time.monotonic()
                    is_over = self._open <= self._parked or self._ended or self._thread is None
                    if is_over or (left_s is not None and left_s <= 0):
                        if self._ended:
                            self._results.close()
                        return
                    self._changed.wait(left_s)
                result = self._results.take()
            assert result is not None, "the spool was not empty"
            yield result

    def get_status(self) -> Status:
        """Return how the crawl stands; `print` shows it as a table.

        Raises:
            BrowsercrawlError: the engine has failed.
        """
        answer: concurrent.futures.Future[Status] = concurrent.futures.Future()
        with self._changed:
            self._check(usable=False)
            waiting = len(self._tasks)
            if self._loop is None or self._crawler is None:
                return self._last_status or Status(queued=waiting)
            self._loop.call_soon_threadsafe(_answer, self._crawler, answer)
        try:
            status = answer.result(STATUS_LIMIT_S)
        except TimeoutError as error:
            raise InternalError(f"the crawl's event loop did not answer within {STATUS_LIMIT_S:g} s") from error
        return status.model_copy(update={"queued": status.queued + waiting})

    def stop(self, drain_s: float = 8.0) -> None:
        """Finish open pages for up to `drain_s` seconds, then end everything. Idempotent; runs at exit.

        Results that are there can still be taken.

        Raises:
            BrowsercrawlError: the engine has failed, and no other call has said so yet.
        """
        with self._changed:
            self._stopped = True
            thread = self._thread
            if thread is None:
                self._ended = True
                self._tasks.close()
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._begin_stop, drain_s)
            self._changed.notify_all()
        if thread is None or thread is threading.current_thread():
            return
        thread.join(drain_s + STOP_MARGIN_S)
        with self._changed:
            if not self._told:
                self._check(usable=False)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- the loop's thread ---------------------------------------------------------------------------------------

    def _main(self) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(self._crawl())
        except BaseException as raised:  # noqa: BLE001 - the thread's boundary: kept for the caller's next call
            error = raised
        with self._changed:
            self._error = error
            self._ended = True
            self._tasks.close()
            self._changed.notify_all()

    async def _crawl(self) -> None:
        crawler = Crawler(self._config, on_event=self._on_event, launch=self._launch)
        added = asyncio.Event()
        with self._changed:
            if self._stopped:
                return
            self._loop, self._added, self._crawler = asyncio.get_running_loop(), added, crawler
        tasks = _Tasks(self._take_task, count=self._waiting_tasks, added=added)
        try:
            async with crawler, crawler.stream(tasks) as results:
                async for result in results:
                    with self._changed:
                        self._results.put(result)
                        self._open -= 1
                        self._changed.notify_all()
        finally:
            with self._changed:
                self._last_status = crawler.status()
                self._loop = self._crawler = self._added = None
            await asyncio.sleep(0)  # what was put on the loop before runs now
            if self._stopping is not None:
                await asyncio.wait({self._stopping})

    def _begin_stop(self, drain_s: float) -> None:
        if self._crawler is not None:
            self._stopping = asyncio.ensure_future(self._crawler.stop(drain_s=drain_s))

    def _take_task(self) -> Request | None:
        with self._changed:
            return self._tasks.take()

    def _waiting_tasks(self) -> int:
        with self._changed:
            return len(self._tasks)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, RunParked):
            with self._changed:
                self._parked = event.requests if not len(self._tasks) else 0
                self._changed.notify_all()
        if not isinstance(event, RequestScheduled):
            return
        fingerprint = bytes.fromhex(event.request_id)
        with self._changed:
            if fingerprint not in self._known:  # a link that was followed: it will have a result as well
                self._known.add(fingerprint)
                self._open += 1

    def _check(self, *, usable: bool) -> None:
        if self._error is not None:
            self._told = True
            raise self._error
        if usable and (self._stopped or self._ended):
            raise CrawlerClosed("this CrawlDispatcher was stopped; make a new one")


def _at_exit(stop: "weakref.WeakMethod[Callable[[], None]]") -> None:
    """Have a dispatcher stopped when the interpreter ends.

    What `atexit` calls comes too late: by then no executor takes work any more, and files are closed by one.
    `concurrent.futures` faces the same and uses the same function.
    """

    def run() -> None:
        method = stop()
        if method is not None:
            try:
                method()
            except Exception:  # noqa: BLE001 - nobody is left to raise it to
                sys.excepthook(*sys.exc_info())

    register = getattr(threading, "_register_atexit", atexit.register)
    register(run)


def _answer(crawler: Crawler, answer: "concurrent.futures.Future[Status]") -> None:
    try:
        answer.set_result(crawler.status())
    except Exception as error:  # noqa: BLE001 - handed to the thread that asked
        answer.set_exception(error)


class _Tasks:
    """The tasks as input without end. It has a length, as a list has: also past `max_requests` each gets its result."""

    def __init__(self, take: Callable[[], Request | None], *, count: Callable[[], int], added: asyncio.Event) -> None:
        self._take = take
        self._count = count
        self._added = added

    def __len__(self) -> int:
        return self._count()

    async def __aiter__(self) -> AsyncIterator[Request]:
        while True:
            self._added.clear()
            request = self._take()
            if request is not None:
                yield request
            else:
                await self._added.wait()
