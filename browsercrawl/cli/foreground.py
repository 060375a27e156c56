"""A crawl in the foreground of a terminal: its display, its data on standard output, its signals, its exit code."""

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from browsercrawl.cli.arguments import is_colour_wanted
from browsercrawl.cli.loading import UserCode
from browsercrawl.cli.streams import write_all
from browsercrawl.cli.terminal import count_of, harmless_json, near, printable
from browsercrawl.cli.view import WHOLE, Frame, View, notice_of, paused, paused_text, retriable, status_line
from browsercrawl.clock import SystemClock
from browsercrawl.config import CrawlerConfig
from browsercrawl.crawler import Crawler
from browsercrawl.dispatcher import Seeds
from browsercrawl.errors import OutputFailed
from browsercrawl.events import Emit, Event, Level, RunContinued, RunStarted, SessionHealth
from browsercrawl.output import FinishReason, Summary, result_line, stderr_lines
from browsercrawl.redaction import safe_text
from browsercrawl.result import Result

_LINE_S = 5.0
_SESSIONS_SHOWN = 3
_ABORT_LIMIT_S = 5.0
"""A second signal stops at once; should that hang, the crawl is cancelled after this."""

OnResult = Callable[[Result], Awaitable[None]]
"""Takes each result; the crawl waits for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporting:
    """What is shown while crawling.

    Attributes:
        title: what is crawled.
        as_json: each result goes to standard output, as a line of JSON.
        quiet: nothing but errors.
    """

    title: str
    as_json: bool = False
    quiet: bool = False


class Display(Protocol):
    """Where progress is shown."""

    @property
    def every_s(self) -> float:
        """Seconds between two frames."""

    def show(self, frame: Frame) -> None:
        """Show how things stand."""

    def tell(self, event: Event) -> None:
        """Tell what happened, if it is worth a line."""


class _Lines:
    """One line every few seconds, and one for each warning and error, for logs and pipes."""

    every_s = _LINE_S

    def __init__(self) -> None:
        self._write = _event_lines(Level.WARNING)

    def show(self, frame: Frame) -> None:
        print(status_line(frame), file=sys.stderr, flush=True)

    def tell(self, event: Event) -> None:
        if isinstance(event, RunStarted | RunContinued):
            _tell_notice(event)
        else:
            self._write(event)


class _Silence:
    """Nothing but errors, and that the run goes on after one that held it up."""

    every_s = _LINE_S

    def __init__(self) -> None:
        self._write = _event_lines(Level.ERROR)

    def show(self, frame: Frame) -> None:
        pass

    def tell(self, event: Event) -> None:
        if isinstance(event, RunContinued):
            _tell_notice(event)
        else:
            self._write(event)


def _event_lines(level: Level) -> Emit:
    return stderr_lines(clock=SystemClock(), level=level, colour=is_colour_wanted(sys.stderr))


def _tell_notice(event: Event) -> None:
    if notice := notice_of(event):
        print(f"browsercrawl: {printable(notice)}", file=sys.stderr, flush=True)


class Foreground:
    """Runs one crawl for the person, or the program, in front of it.

    Args:
        config: of the crawler.
        reporting: what is shown.
        on_result: called with each result besides.
        code: what the user adds.
        job: the text by which the run can be resumed; None: it cannot.
    """

    def __init__(
        self,
        config: CrawlerConfig,
        reporting: Reporting,
        *,
        on_result: OnResult | None = None,
        code: UserCode | None = None,
        job: str | None = None,
    ) -> None:
        self._config = config
        self._reporting = reporting
        self._on_result = on_result
        self._code = code or UserCode()
        self._job = job
        self._view = View(reporting.title)
        self._display: Display = _Silence()

    async def crawl(self, seeds: Seeds) -> Summary:
        """Crawl, show it, and say what came of it.

        Returns:
            What the run came to; its `exit_code` is the command's.

        Raises:
            BrowsercrawlError: there is no browser, the run directory cannot be made, or the like.
            BrokenPipeError: whoever read our output has left.
            KeyboardInterrupt: a signal came before there was anything to sum up, or a second one and the crawl did not
                even then end by itself.
        """
        with display_of(self._reporting) as self._display:
            crawler = self._crawler()
            async with _signals(crawler, self._announce_stop), self._showing(crawler):
                summary = await self._consume(crawler, seeds)
        if summary is None:  # the first signal came before the first page
            raise KeyboardInterrupt
        self._sum_up(summary, paused(crawler.status().sessions))
        return summary

    def _crawler(self) -> Crawler:
        """Make the crawler. It is not entered: the browser ends with the run."""
        crawler = Crawler(self._config, on_event=self._on_event, sinks=self._code.sinks, job=self._job)
        for label, handler in self._code.handlers.items():
            crawler.handler(label)(handler)
        if self._code.on_failed is not None:
            crawler.on_failed(self._code.on_failed)
        if self._code.in_scope is not None:
            crawler.scope(self._code.in_scope)
        for name, login in self._code.logins.items():
            crawler.login(name)(login)
        for name, logged_out in self._code.logged_out.items():
            crawler.logged_out(name)(logged_out)
        if self._code.proxy is not None:
            crawler.proxy(self._code.proxy)
        return crawler

    def _sum_up(self, summary: Summary, waiting: Sequence[SessionHealth]) -> None:
        """Say what came of it, and how to go on if there is more to come of it."""
        told: list[str] = []
        if not self._reporting.quiet:
            from browsercrawl.cli.drawing import print_summary  # noqa: PLC0415 - rich, when there is something to draw

            print_summary(summary, self._config, failures=self._view.failures)
        elif summary.failed:
            where = f"; see {summary.run_dir}/results.jsonl" if summary.run_dir else ""
            told.append(f"{count_of(summary.failed, 'request')} failed{where}")
        if self._job is not None and summary.run_dir is not None:
            if summary.finish_reason not in WHOLE:
                logins = {each.name for each in self._config.sessions.profiles if each.login is not None}
                told += paused_lines(waiting, logins=logins, directory=summary.run_dir)
                left = count_of(summary.unfinished, "known request")
                told.append(f"{left} left; go on with: {resume_command(summary.run_dir)}")
            elif retriable(summary.failures) and not self._reporting.quiet:
                told.append(f"to try what failed again: browsercrawl retry-failed {_typed(summary.run_dir)}")
        for line in told:
            print(f"browsercrawl: {printable(line)}", file=sys.stderr)

    async def _consume(self, crawler: Crawler, seeds: Seeds) -> Summary | None:
        async with crawler.stream(seeds) as stream:
            async for result in stream:
                self._view.on_result(result)
                if self._reporting.as_json:
                    await write_all(sys.stdout.fileno(), f"{harmless_json(result_line(result))}\n".encode())
                if self._on_result is not None:
                    await self._on_result(result)
        return stream.summary

    @asynccontextmanager
    async def _showing(self, crawler: Crawler) -> AsyncIterator[None]:
        showing = asyncio.create_task(self._show(crawler), name="progress display")
        try:
            yield
        finally:
            showing.cancel()
            await asyncio.wait({showing})
        if not showing.cancelled():
            showing.result()

    async def _show(self, crawler: Crawler) -> None:
        while True:
            await asyncio.sleep(self._display.every_s)
            self._display.show(self._view.frame(crawler.status()))

    def _on_event(self, event: Event) -> None:
        self._view.on_event(event)
        self._display.tell(event)

    def _announce_stop(self, crawler: Crawler) -> None:
        status = crawler.status()
        self._view.notice = f"finishing {count_of(status.active, 'open page')}; Ctrl-C again stops at once"
        self._display.show(self._view.frame(status))


def paused_lines(waiting: Sequence[SessionHealth], *, logins: Collection[str], directory: Path) -> list[str]:
    """Return, in a few lines, why sessions are paused and what to type about it.

    Args:
        waiting: the paused sessions.
        logins: names of those that have a login.
        directory: of the run.
    """
    lines: list[str] = []
    for each in waiting[:_SESSIONS_SHOWN]:
        lines.append(safe_text(paused_text(each.session, each.reason)))
        if each.session in logins:
            lines.append(f"log it in with: {login_command(directory, each.session)}")
    if (more := len(waiting) - _SESSIONS_SHOWN) > 0:
        lines.append(f"and {count_of(more, 'more session')}; see browsercrawl status {_typed(directory)}")
    return lines


def login_command(directory: Path, session: str) -> str:
    """Return what to type to log a session of a run in."""
    return f"browsercrawl login {_typed(directory)} {shlex.quote(session)}"


def resume_command(directory: Path) -> str:
    """Return what to type to go on with a run."""
    return f"browsercrawl resume {_typed(directory)}"


def _typed(directory: Path) -> str:
    return shlex.quote(str(near(directory)))


def display_of(reporting: Reporting) -> AbstractContextManager[Display]:
    """Return where progress is shown; a terminal is drawn on while the context lasts."""
    if reporting.quiet:
        return nullcontext(_Silence())
    is_data_on_terminal = reporting.as_json and sys.stdout.isatty()
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb" or is_data_on_terminal:
        return nullcontext(_Lines())
    from browsercrawl.cli.drawing import LiveDisplay  # noqa: PLC0415 - rich, when there is something to draw

    return LiveDisplay(reporting.title)


@asynccontextmanager
async def _signals(crawler: Crawler, announce: Callable[[Crawler], None]) -> AsyncIterator[None]:
    """Make the first SIGINT or SIGTERM drain the crawl and the second one end it at once."""
    loop = asyncio.get_running_loop()
    crawl = asyncio.current_task()
    stopping: list[asyncio.Task[None]] = []
    last_resort: list[asyncio.TimerHandle] = []

    def take() -> None:
        if not stopping:
            stopping.append(asyncio.create_task(crawler.stop(reason=FinishReason.INTERRUPTED), name="drain"))
            announce(crawler)
        elif crawl is not None and not last_resort:
            last_resort.append(loop.call_later(_ABORT_LIMIT_S, crawl.cancel))
            crawler.abort()

    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, take)
    try:
        yield
        if stopping:
            await asyncio.wait(stopping)
    except asyncio.CancelledError:
        if last_resort:
            raise KeyboardInterrupt from None
        raise
    except OutputFailed as error:
        if not stopping:
            raise
        # Stopped where the disk is so full that the run could not even be opened: interrupted, and resumable.
        print(f"browsercrawl: {printable(error.message)}", file=sys.stderr)
        raise KeyboardInterrupt from None
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
        for handle in last_resort:
            handle.cancel()
        for task in stopping:
            task.cancel()
