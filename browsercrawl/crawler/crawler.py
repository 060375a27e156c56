"""`Crawler`: one configuration, one pool of warm contexts, one run at a time."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self, TypeVar

from browsercrawl.clock import Clock, SystemClock
from browsercrawl.config import CrawlerConfig, FormLogin, HttpLogin, LinksConfig
from browsercrawl.crawler.handlers import HandlerTable, OnFailed
from browsercrawl.crawler.run import Run, RunParts
from browsercrawl.crawler.stream import Stream
from browsercrawl.dispatcher import ScopeFunction, Seeds, finish
from browsercrawl.errors import ConfigError, CrawlerBusy, CrawlerClosed, InputError, SessionPaused
from browsercrawl.events import Emit, Event, Status, discard
from browsercrawl.net import Guard
from browsercrawl.output import FinishReason, Sink, Summary, redacted
from browsercrawl.pool import Pool, PoolSize
from browsercrawl.ports import ContextOptions, LaunchBrowser
from browsercrawl.pressure import Gauge, Reading, Sensors
from browsercrawl.request import Request
from browsercrawl.result import Result
from browsercrawl.sessions import (
    LoggedOutFunction,
    LoginFunction,
    ProxyFunction,
    SessionCode,
    Sessions,
    SessionsParts,
    check_logins,
)
from browsercrawl.urls import address
from browsercrawl.visit import Handler, check_saved

H = TypeVar("H", bound=Handler)
L = TypeVar("L", bound=LoginFunction)
G = TypeVar("G", bound=Gauge)
C = TypeVar("C", bound=LoggedOutFunction)


class Crawler:
    """Crawls through a pool of browser contexts.

    Use it as an async context manager to keep the browser warm from run to run; outside of one, each run opens and
    closes its own. A crawler may run again and again, one run at a time. Crawlers know nothing of each other.

    Example:
        >>> async def titles():                                              # doctest: +SKIP
        ...     async with Crawler() as crawler:
        ...         async for result in crawler.stream(["https://example.com/"]):
        ...             print(result.url, result.title)
    """

    def __init__(
        self,
        config: CrawlerConfig | None = None,
        *,
        on_event: Emit | None = None,
        sinks: Sequence[Sink] = (),
        job: str | None = None,
        launch: LaunchBrowser | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Make a crawler; nothing is started before the first run.

        Args:
            config: None: sensible defaults.
            on_event: gets every event, on the event loop; must be quick.
            sinks: get the record of each finished request, at least once, whatever happens to the process.
            job: the text by which the command line resumes the run; kept in the run directory.
            launch: starts the browser; None: Chromium through Playwright.
            clock: what pauses and limits run on; None: the machine's.
        """
        if not isinstance(config, CrawlerConfig | None):
            raise ConfigError(f"config is a CrawlerConfig, not a {type(config).__name__}; see CrawlerConfig.load")
        self.config = config or CrawlerConfig()
        check_saved(self.config)
        self._on_event = on_event or discard
        self._sinks = tuple(sinks)
        self._job = job
        self._launch = launch
        self._clock: Clock = clock or SystemClock()
        # Before the first browser: what others use by now does not count against a limit of the user's.
        self._sensors = Sensors(clock=self._clock, memory_limit_bytes=self.config.memory_limit_bytes)
        self._handlers = HandlerTable()
        self._session_code = SessionCode()
        self._proxy: ProxyFunction | None = None
        self._guard = Guard(
            self.config.network,
            proxy=self.config.browser.proxy,
            blocked=self.config.browser.block_hosts,
            emit=self._emit,
        )
        for profile in self.config.sessions.profiles:
            if profile.login is not None and isinstance(profile.login.recipe, FormLogin | HttpLogin):
                self._guard.trust(address(profile.login.recipe.url))
        self._sessions: Sessions | None = None
        self._pool: Pool | None = None
        self._run: Run | None = None
        self._entered = False
        self._closed = False

    # --- user code -----------------------------------------------------------------------------------------------

    def handler(self, label: str | None = None) -> Callable[[H], H]:
        """Register an `async def` function that gets the visits of a label; without one, the default handler.

        Raises:
            ConfigError: not a coroutine function, or the label has one already.
        """

        def register(function: H) -> H:
            self._handlers.register(label, function)
            return function

        return register

    def on_failed(self, function: OnFailed) -> OnFailed:
        """Register an `async def` function that sees the result of each request that ended failed.

        Raises:
            ConfigError: not a coroutine function, or there is one already.
        """
        self._handlers.register_on_failed(function)
        return function

    def gauge(self, name: str) -> Callable[[G], G]:
        """Register a function that tells how much of something of yours is used: 0 is nothing, 1 all there is.

        From 0.8 on no page is opened beside those that are open, from 0.9 on there are fewer and fewer, down to one. It
        is called several times a second, on the event loop, while a run is going on, and must be quick. One that raises
        is not called again.

        Raises:
            ConfigError: there is one of that name.

        Example:
            >>> crawler = Crawler()
            >>> @crawler.gauge("connections of the database")
            ... def connections() -> float:
            ...     return 0.25
        """

        def register(function: G) -> G:
            if self._sensors.gauges.setdefault(name, function) is not function:
                raise ConfigError(f"two gauges have the name {name!r}")
            return function

        return register

    def scope(self, function: ScopeFunction) -> ScopeFunction:
        """Register a function that decides, in place of `links.scope`, whether a link may be followed.

        It gets the request of the page and the link's URL in its canonical spelling, and is called on the event loop
        for each link that is not known yet within its page: it must be quick. `request.anchors` holds the seed that
        the page descends from. What it raises fails the page's request, as `handler_failed`.

        Raises:
            ConfigError: a coroutine function, or there is one already.

        Example:
            >>> @Crawler().scope
            ... def only_english(request, url):
            ...     return "/en/" in url
        """
        self._handlers.register_scope(function)
        return function

    def login(self, *sessions: str) -> Callable[[L], L]:
        """Register an `async def` function that logs these sessions in; without names, all others.

        It gets the Playwright page and a `LoginSession`. When it returns, the session counts as logged in. For profiles
        whose `login` has no recipe.

        Raises:
            ConfigError: not a coroutine function, or a session has one already.
        """

        def register(function: L) -> L:
            self._handlers.register_for_sessions(self._session_code.logins, names=sessions, function=function)
            return function

        return register

    def logged_out(self, *sessions: str) -> Callable[[C], C]:
        """Register an `async def` that gets the page and tells whether it shows that its session is logged out.

        Raises:
            ConfigError: not a coroutine function, or a session has one already.
        """

        def register(function: C) -> C:
            self._handlers.register_for_sessions(self._session_code.logged_out, names=sessions, function=function)
            return function

        return register

    def proxy(self, function: ProxyFunction) -> ProxyFunction:
        """Register a function that gives a session the URL of its proxy; None for none.

        It gets the session's name and how many proxies that had before: 0 at first, more when one has failed.

        Raises:
            ConfigError: there is one already.
        """
        if self._proxy is not None:
            raise ConfigError("two functions give proxies; a crawler has one")
        self._proxy = function
        return function

    # --- running -------------------------------------------------------------------------------------------------

    def stream(self, seeds: Seeds) -> Stream:
        """Crawl, and give results as they come.

        Args:
            seeds: URLs and requests: any iterable or async iterable, of any length; pulled as the frontier empties.

        Returns:
            An async iterator of results, which is also an async context manager.

        Raises:
            CrawlerBusy: a run is going on and somebody waits for it. CrawlerClosed: the crawler was closed.
            InputError: a single URL or request in place of many.
        """
        return Stream(self._new_run(seeds, buffered=True))

    async def run(self, seeds: Seeds) -> Summary:
        """Crawl to the end; results go to handlers and to the run directory.

        Returns:
            What became of it all.

        Raises:
            CrawlerBusy: a run is going on and somebody waits for it. CrawlerClosed: the crawler was closed.
            BrowserNotFound, LaunchFailed: there is no browser to crawl with.
            RunDirectoryError, RunBusy, RunDamaged: the run directory cannot be made, or gone on with.
            InputChanged: the input is not what the run had read of it.
            OutputFailed: it cannot be written.
            Exception: what the input raised.
        """
        return await self._new_run(seeds, buffered=False).finish()

    async def fetch(self, url: str | Request) -> Result:
        """Visit one URL and return its result. It is a run of its own; what its handler enqueues is not followed.

        Raises:
            InvalidURL: no http or https URL.
            CrawlerBusy: a run is going on; use `stream` for many URLs.
            CrawlerClosed: the crawler was closed or stopped before there was a result.
            SessionPaused: its session could not be logged in.
            BrowserNotFound, LaunchFailed: there is no browser.
        """
        if isinstance(url, str):
            address(url)
        only = self.config.model_copy(update={"links": LinksConfig(max_requests=1), "resume": False})
        async with Stream(self._new_run([url], buffered=True, config=only)) as stream:
            results = [result async for result in stream]
        if not results and (paused := self._open_sessions().roster.paused()):
            raise SessionPaused(f"session {paused[0].name!r} is paused: {paused[0].reason}")
        if not results:
            raise CrawlerClosed("the crawler was stopped before there was a result")
        return results[0]

    async def stop(self, *, drain_s: float | None = None, reason: FinishReason = FinishReason.STOPPED) -> None:
        """End the run that is going on: nothing more is claimed, open pages get `drain_s`, then are put back.

        Args:
            drain_s: None: as configured.
            reason: what the summary shall say.
        """
        if self._run is not None:
            await self._run.stop(self.config.drain_s if drain_s is None else drain_s, reason)

    def abort(self) -> None:
        """End the run at once: open pages are put back now. Returns without waiting."""
        if self._run is not None:
            self._run.abandon()

    def pressure(self) -> Reading:
        """Return the last look at memory, CPU, event loop and files; a fresh one when no run is going on."""
        is_running = self._run is not None and not self._run.is_over
        return (self._sensors.last if is_running else None) or self._sensors.read()

    def status(self) -> Status:
        """Return how the run stands, or how the last one ended."""
        return self._run.status() if self._run is not None else Status()

    # --- life ----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._closed:
            raise CrawlerClosed("this crawler was closed; make a new one")
        self._entered = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the run that is going on and close the browser. Idempotent; goes on to its end even when cancelled."""
        self._closed = True
        await finish(self._end())  # a closing that nobody waits for may be cut off by the end of the event loop

    async def _end(self) -> None:
        if self._run is not None:
            await self._run.close()
        await self._close_pool()

    def _new_run(self, seeds: Seeds, *, buffered: bool, config: CrawlerConfig | None = None) -> Run:
        if isinstance(seeds, str | bytes | Request):  # iterables as well, but not of requests
            raise InputError("give a list of URLs and requests, such as [url]; or use fetch for a single one")
        if self._closed:
            raise CrawlerClosed("this crawler was closed; make a new one")
        before = self._run.predecessor() if self._run is not None else None
        if self._run is not None and not self._run.is_over:
            if not self._run.is_left:
                raise CrawlerBusy("this crawler is running; wait for the run's end, or make another crawler")
            self._run.supersede()
        parts = RunParts(
            config=config or self.config,
            handlers=self._handlers,
            clock=self._clock,
            on_event=self._on_event,
            open_pool=self._open_pool,
            sessions=self._open_sessions(),
            guard=self._guard,
            sensors=self._sensors,
            after=None if self._entered else self._close_pool,
            sinks=self._sinks,
            job=self._job,
        )
        self._run = Run(parts, seeds, before=before, buffered=buffered)
        return self._run

    def _open_sessions(self) -> Sessions:
        """Return who this crawler is; made at its first run, when all user code is registered."""
        if self._sessions is None:
            config = self.config
            check_logins(config.sessions, self._session_code)
            base = ContextOptions(
                extra=config.browser.context_options,
                keep_tab_storage=config.pool.tab_storage == "keep",
                download_bytes_max=config.visit.max_download_bytes if "download" in config.saved else None,
            )
            parts = SessionsParts(
                config=config.sessions,
                directory=config.output / "sessions" if config.output is not None else None,
                base=base,
                start_relay=self._guard.open,
                is_guarded=lambda: self._guard.is_on,
                is_relayed=config.needs_ways,
                code=self._session_code,
                proxy=self._proxy,
            )
            self._sessions = Sessions(parts, clock=self._clock, emit=self._emit)
        return self._sessions

    async def _open_pool(self) -> Pool:
        if self._pool is None:
            config = self.config
            pool = Pool(
                self._launch or self._playwright(),
                config=config.pool,
                size=PoolSize(pages_max=config.pages_max, contexts_max=config.contexts_max),
                keeper=self._open_sessions().keeper,
                clock=self._clock,
                emit=self._emit,
            )
            try:
                await pool.start()
            except BaseException:  # cancelled as well: a launch that is going on must not outlive us
                await pool.close(limit_s=config.pool.close_limit_s)
                raise
            self._pool = pool
        return self._pool

    def _playwright(self) -> LaunchBrowser:
        from browsercrawl.browser import launcher  # noqa: PLC0415 - `import browsercrawl` must not import Playwright

        config, memory_bytes = self.config, self.pressure().memory_limit_bytes
        return launcher(config.browser, self._emit, memory_bytes=memory_bytes, guarded=config.goes_by_ways)

    async def _close_pool(self) -> None:
        pool, self._pool = self._pool, None
        try:
            if pool is not None:
                await pool.close(limit_s=self.config.pool.close_limit_s)
        finally:
            if self._sessions is not None:
                await self._sessions.close()
            self._guard.close()

    def _emit(self, event: Event) -> None:
        """Hand an event of the pool or the browser to the run that is going on."""
        if self._run is not None and not self._run.is_over:
            self._run.emit(event)
        else:
            with suppress(Exception):  # somebody else's code; a run's log would tell, but there is no run
                self._on_event(redacted(event))
