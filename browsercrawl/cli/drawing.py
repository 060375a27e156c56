"""How a crawl looks on a terminal: the live display, the closing summary, a run's status, and the doctor's table.

With `drawing_sessions` the only file that imports rich; commands load it when they have something to draw. Text that a
page or a server supplied goes through `printable`, and never through rich's markup.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Self

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from browsercrawl.cli.drawing_sessions import SessionsView
from browsercrawl.cli.terminal import count_of, near, printable, shortened, shown_bytes, shown_duration
from browsercrawl.cli.view import WHOLE, Failure, Frame, InputRead, RunState, RunStatus, notice_of, state_text
from browsercrawl.config import CrawlerConfig
from browsercrawl.events import Event
from browsercrawl.output import FinishReason, Summary
from browsercrawl.redaction import safe_text

_WIDTH_MAX = 110
_REFRESHES_PER_S = 4
_BAR_WIDTH = 12
_ROOMY = 60
"""From so many columns on there are empty lines between the parts."""
_DIFFERENCES_SHOWN = 10
_COMMANDS_SHOWN = 3
_NAMES_WIDTH = 14
_MARGIN = 5
"""Padding, and room for the `^C` that the terminal itself writes behind the last line: it must not wrap."""
_GAP = "   "
_QUIET = "bright_black"


def _packed(parts: Iterable[Text], width: int) -> Text:
    """Join parts into lines no wider than `width`, breaking only between parts."""
    packed, used = Text(no_wrap=True, overflow="ellipsis"), 0
    for part in parts:
        if used and used + len(_GAP) + part.cell_len > width:
            packed.append("\n")
            used = 0
        if used:
            packed.append(_GAP)
            used += len(_GAP)
        packed.append_text(part)
        used += part.cell_len
    return packed


def _count(number: int, word: str, style: str) -> Text:
    return Text.assemble((f"{number:,}", style if number else _QUIET), (f" {word}", "" if number else _QUIET))


def _paused(number: int) -> Text:
    return Text(f"{count_of(number, 'session')} paused", "bold yellow")


def _bar(shares: Sequence[tuple[float, str]], width: int) -> Text:
    """Draw a bar of parts, each a share of the whole and its colour; what is shown at all takes a cell at least."""
    bar, used = Text(no_wrap=True, overflow="crop"), 0
    for share, style in shares:
        cells = min(width - used, max(round(share * width), 1 if share > 0 else 0))
        bar.append("━" * cells, style)
        used += cells
    return bar.append("━" * (width - used), "grey30")


class LiveView:
    """A frame as rich draws it: fits any width, and always has the same lines in the same places."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw for the console's present width."""
        width = min(options.max_width, _WIDTH_MAX) - _MARGIN
        gap = [Text()] if width >= _ROOMY else []
        rows = [self._head(width), self._progress(width), *gap, self._counts(width), self._means(width), *gap]
        rows.append(self._pages(width))
        rows += [self._failures(width)] if self._frame.failures else []
        if self._frame.notice:
            rows += [*gap, Text(printable(self._frame.notice), "bold yellow")]
        yield Padding(Group(*rows), (0, 1), expand=False)

    def _head(self, width: int) -> RenderableType:
        clock = shown_duration(self._frame.status.elapsed_s)
        name = shortened(self._frame.title, max(8, width - len(clock) - 16))
        head = Text.assemble(("browsercrawl", "bold cyan"), ("  "), (name, "bold"), no_wrap=True, overflow="ellipsis")
        head.append(" " * max(1, width - head.cell_len - len(clock)) + clock, _QUIET)
        return head

    def _progress(self, width: int) -> RenderableType:
        frame = self._frame
        numbers = f"  {frame.finished:,} of {frame.known:,}"
        known = frame.known or 1
        parts = [(frame.status.failed / known, "red"), ((frame.finished - frame.status.failed) / known, "green")]
        bar = _bar(parts[::-1], max(4, width - len(numbers)))
        return Text.assemble(bar, (numbers, "bold"), no_wrap=True, overflow="crop")

    def _counts(self, width: int) -> RenderableType:
        status = self._frame.status
        return _packed(
            [
                _count(status.succeeded, "done", "bold green"),
                _count(status.failed, "failed", "bold red"),
                *([_count(status.skipped, "skipped", "yellow")] if status.skipped else []),
                Text.assemble((f"{status.active:,}", "bold cyan"), f" active of {status.limit:,}"),
                _count(status.queued, "queued", "bold"),
                *([_count(status.waiting, "waiting for their host", "bold")] if status.waiting else []),
                *([_count(status.parked, "waiting for their session", "bold")] if status.parked else []),
                *([_paused(status.sessions_paused)] if status.sessions_paused else []),
                *([_count(status.retrying, "to try again", "yellow")] if status.retrying else []),
            ],
            width,
        )

    def _means(self, width: int) -> RenderableType:
        status, left_s = self._frame.status, self._frame.left_s
        parts = [Text.assemble((f"{status.pages_per_s:.1f}", "bold"), " pages/s")]
        if left_s:
            parts.append(Text.assemble("about ", (shown_duration(left_s), "bold"), " left"))
        if status.memory_limit_bytes:
            share = status.memory_used_bytes / status.memory_limit_bytes
            colour = "red" if share > 0.9 else "yellow" if share > 0.75 else "cyan"
            amounts = f" {shown_bytes(status.memory_used_bytes)} of {shown_bytes(status.memory_limit_bytes)}"
            parts.append(Text("memory ").append_text(_bar([(share, colour)], _BAR_WIDTH)).append(amounts))
        return _packed(parts, width)

    def _pages(self, width: int) -> RenderableType:
        status, urls = self._frame.status, self._frame.urls
        lines = Text(no_wrap=True, overflow="ellipsis")
        for position in range(3):
            lines.append("\n" if position else "")
            lines.append("now     " if position == 0 else "        ", _QUIET)
            more = f"  and {status.active - 3:,} more" if position == 2 and status.active > 3 else ""
            if position < len(urls):
                lines.append(shortened(urls[position], width - 8 - len(more)))
                lines.append(more, _QUIET)
        return lines

    def _failures(self, width: int) -> RenderableType:
        lines = Text(no_wrap=True, overflow="ellipsis")
        kinds = max(len(failure.kind) for failure in self._frame.failures)
        for position, failure in enumerate(reversed(self._frame.failures)):
            lines.append("\n" if position else "")
            lines.append("failed  " if position == 0 else "        ", _QUIET)
            lines.append(f"{failure.kind:<{kinds}}  ", "red")
            lines.append(shortened(failure.url, max(8, width - 10 - kinds)))
        return lines


class LiveDisplay:
    """Draws a crawl on the terminal, in a thread of its own.

    A terminal that is paused (Ctrl-S) or slow holds up the thread, not the crawl. What is drawn is taken away at the
    end; lines told meanwhile stay above.
    """

    every_s = 1 / _REFRESHES_PER_S

    def __init__(self, title: str, console: Console | None = None) -> None:
        head = Text.assemble((" browsercrawl", "bold cyan"), f"  {safe_text(title)}  ", ("starting …", _QUIET))
        self._drawn: RenderableType = head
        self._live = Live(
            get_renderable=lambda: self._drawn,
            console=console or Console(stderr=True, highlight=False),
            refresh_per_second=_REFRESHES_PER_S,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, frame: Frame) -> None:
        """Draw this frame from now on."""
        self._drawn = LiveView(frame)

    def tell(self, event: Event) -> None:
        """Print a line above the display about what a person should know at once."""
        if line := notice_of(event):
            self._live.console.print(Text(f" {printable(line)}", "yellow"))


def print_summary(
    summary: Summary, config: CrawlerConfig, *, failures: Sequence[Failure] = (), console: Console | None = None
) -> None:
    """Print what a run came to.

    Args:
        summary: of the run.
        config: of its crawler.
        failures: some that are shown with their reason.
        console: None: standard error.
    """
    console = console or Console(stderr=True, highlight=False)
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style=_QUIET, min_width=_NAMES_WIDTH)
    table.add_column(overflow="fold")
    done = _count(summary.succeeded, "", "bold green").append(
        f"  {summary.partial:,} of them partly" if summary.partial else ""
    )
    table.add_row("succeeded", done)
    failed = _count(summary.failed, "", "bold red")
    kinds = sorted(summary.failures.items(), key=lambda item: -item[1])
    table.add_row("failed", failed.append("  " + ", ".join(f"{kind} {number:,}" for kind, number in kinds), _QUIET))
    for failure in failures:
        table.add_row("", Text(failure.message, "red", no_wrap=True, overflow="ellipsis"))
    if summary.skipped:
        reasons = ", ".join(f"{reason.replace('_', ' ')} {number:,}" for reason, number in summary.skips.items())
        table.add_row("skipped", _count(summary.skipped, "", "bold yellow").append(f"  {reasons}", _QUIET))
    if summary.unfinished:
        table.add_row("not finished", _count(summary.unfinished, "", "bold yellow"))
    if summary.retried:
        table.add_row("retries", f"{summary.retried:,}")
    if summary.links_skipped:
        left = ", ".join(f"{reason.replace('_', ' ')} {number:,}" for reason, number in summary.links_skipped.items())
        table.add_row("links left out", left)
    if summary.transferred_bytes:
        passed = Text(shown_bytes(summary.transferred_bytes))
        if summary.refused:
            passed.append(f"  {count_of(summary.refused, 'connection')} refused", _QUIET)
        table.add_row("network", passed)
    if summary.phase_p50_s.get("navigate"):  # else no page was timed: a resumed run had nothing left to visit
        table.add_row("pace", _pace(summary))
    table.add_row("profile", _profile_text(config))
    if summary.run_dir is not None:
        table.add_row("results", Text(printable(f"{near(summary.run_dir)}/results.jsonl"), "cyan"))
    group = Group(_headline(summary), Text(), Padding(table, (0, 3), expand=False))
    console.print(Padding(group, (1, 1), expand=False))


def _pace(summary: Summary) -> str:
    middle, slow = summary.phase_p50_s["navigate"], summary.phase_p95_s["navigate"]
    return f"{summary.pages_per_s:.1f} pages/s; a page loads in {middle:.2f} s, 95 % within {slow:.2f} s"


def _headline(summary: Summary) -> Text:
    total = summary.succeeded + summary.failed + summary.skipped
    what = f"{summary.succeeded:,} of {count_of(total, 'page')} in {shown_duration(summary.duration_s)}"
    why = summary.finish_reason.value.replace("_", " ")
    if summary.finish_reason in WHOLE:
        mark = ("✗", "bold red") if summary.failed else ("✓", "bold green")
        came = "left" if summary.finish_reason is FinishReason.ENDLESS_SERIES else "reached"
        size = "" if summary.finish_reason is FinishReason.FINISHED else f"  {why} {came}"
        return Text.assemble(mark, "  ", (what, "bold"), (size, _QUIET))
    # which sessions are paused, and why, is told below, with what to do about it
    has_detail = summary.finish_detail and summary.finish_reason is not FinishReason.SESSIONS_PAUSED
    detail = f" ({safe_text(summary.finish_detail or '')})" if has_detail else ""
    return Text.assemble(("!", "bold yellow"), "  ", (what, "bold"), (f", then {why}{detail}", "bold yellow"))


def _profile_text(config: CrawlerConfig) -> str:
    browser = "full Chromium" if config.browser.binary == "full" else "headless shell"
    pages = {"clean": "pages reused and cleaned", "keep": "pages reused as they are", "never": "a new page per visit"}
    parts = [browser, pages[config.pool.reuse], *(["one renderer per site"] if config.browser.process_per_site else [])]
    least = " at first" if config.concurrency == "auto" else ""
    return f"{config.profile}: {', '.join(parts)}; {config.pages_start} at once{least}"


class RunView:
    """How a run stands as rich draws it: fits any width."""

    def __init__(self, status: RunStatus) -> None:
        self._status = status

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw for the console's present width."""
        status = self._status
        width = min(options.max_width, _WIDTH_MAX) - _MARGIN
        known = max(status.results + status.open, 1)
        numbers = f"  {status.results:,} of {status.results + status.open:,}"
        shares = [
            (status.succeeded / known, "green"),
            (status.skipped / known, "yellow"),
            (status.failed / known, "red"),
        ]
        bar = _bar(shares, max(4, width - len(numbers))).append(numbers, "bold")
        table = Padding(_run_table(status, width), (0, 0, 0, 1), expand=False)
        rows: list[RenderableType] = [_run_head(status, width), bar, Text(), table]
        if status.sessions:
            rows += [Text(), SessionsView(status.sessions)]
        if status.go_on:
            rows += [Text(), _go_on(status, width)]
        yield Padding(Group(*rows), (1, 1), expand=False)


def _run_head(status: RunStatus, width: int) -> Text:
    styles = {RunState.RUNNING: "bold cyan", RunState.FINISHED: "bold green", RunState.INTERRUPTED: "bold yellow"}
    text = state_text(status)
    name = shortened(str(near(status.run_dir)), max(8, width - len(text) - 16))
    head = Text.assemble(("browsercrawl", "bold cyan"), "  ", (name, "bold"), no_wrap=True, overflow="ellipsis")
    return head.append(" " * max(2, width - head.cell_len - len(text))).append(text, styles[status.state])


def _run_table(status: RunStatus, width: int) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style=_QUIET, min_width=_NAMES_WIDTH)
    table.add_column(overflow="fold")
    counted = [
        ("succeeded", status.succeeded, "bold green", f"{status.partial:,} of them partly" if status.partial else ""),
        ("failed", status.failed, "bold red", _kinds(status.failures)),
        ("skipped", status.skipped, "bold yellow", _kinds(status.skips)),
    ]
    for name, number, style, detail in counted:
        if number or name != "skipped":
            table.add_row(name, _count(number, "", style).append(f"  {detail}" if detail else "", _QUIET))
    if status.open:
        open_now = "open now" if status.state is RunState.RUNNING else "open when it ended"
        parts = [(status.claimed, open_now), (status.queued, "queued"), (status.waiting, "waiting for their host"),
                 (status.parked, "waiting for their session"), (status.retrying, "to try again")]  # fmt: skip
        left = [_count(number, word, "bold") for number, word in parts if number]
        table.add_row("not finished", _packed(left, width - _NAMES_WIDTH - 3))
    if status.retried:
        table.add_row("retries", f"{status.retried:,}")
    if status.duplicates:
        table.add_row("duplicates", f"{status.duplicates:,}")
    table.add_row("", "")
    if status.input is not None:
        table.add_row("input read", _input_text(status.input))
    table.add_row("on disk", shown_bytes(status.disk_bytes))
    if status.started_at is not None:
        table.add_row("begun", f"{_utc(status.started_at)}, worked on for {shown_duration(status.elapsed_s)}")
    if status.process_started_at is not None:
        table.add_row("process", f"{status.pid or 'unknown'}, since {_utc(status.process_started_at)}")
    table.add_row("run", Text(printable(status.run_id)))
    return table


def _go_on(status: RunStatus, width: int) -> Padding:
    """Draw what to type to go on."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style=_QUIET, min_width=min(_NAMES_WIDTH, width))
    table.add_column(overflow="fold")
    for number, command in enumerate(status.log_in[:_COMMANDS_SHOWN]):
        table.add_row("" if number else "log in with", Text(printable(command), "bold cyan"))
    if len(status.log_in) > _COMMANDS_SHOWN:
        table.add_row("", Text(f"and {len(status.log_in) - _COMMANDS_SHOWN:,} more", _QUIET))
    last = Text(printable(status.go_on or ""), "bold cyan")
    table.add_row("then go on with" if status.log_in else "go on with", last)
    return Padding(table, (0, 0, 0, 1), expand=False)


def _utc(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _kinds(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{printable(kind)} {number:,}" for kind, number in counts.items())


def _input_text(read: InputRead) -> str:
    lines = count_of(read.lines, "line" if read.read_bytes is not None else "seed")
    if read.read_bytes is None:
        return lines
    if read.total_bytes is None:
        return f"{lines}, {shown_bytes(read.read_bytes)} so far"
    if read.total_bytes <= read.read_bytes:
        return f"{lines}, all of {shown_bytes(read.read_bytes)}"
    return f"{lines}, {shown_bytes(read.read_bytes)} of {shown_bytes(read.total_bytes)}"


def print_run(status: RunStatus, *, console: Console | None = None) -> None:
    """Print how a run stands.

    Args:
        status: of the run.
        console: None: standard output.
    """
    (console or Console(highlight=False)).print(RunView(status))


def watch_run(looks: Iterable[RunStatus], *, console: Console | None = None) -> None:
    """Draw how a run stands, again and again in the same place; what was drawn last stays.

    Args:
        looks: drawn as they come.
        console: None: standard output.
    """
    with Live(console=console or Console(highlight=False), auto_refresh=False) as live:
        for status in looks:
            live.update(RunView(status), refresh=True)


def print_comparison(
    parts: Sequence[tuple[str, int, int]], wrong: Sequence[str], *, console: Console | None = None
) -> None:
    """Print how what was found compares with the truth.

    Args:
        parts: what was compared, how many are right, and of how many.
        wrong: what differs, in words.
        console: None: standard error.
    """
    if wrong:
        head = Text.assemble(
            ("✗", "bold red"), f"  {count_of(len(wrong), 'difference')} from what the shop really holds"
        )
    else:
        head = Text.assemble(("✓", "bold green"), "  equal to what the shop really holds")
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style=_QUIET, min_width=_NAMES_WIDTH)
    for name, right, of in parts:
        table.add_row(name, Text(f"{right:,} of {of:,}", "bold green" if right == of else "bold red"))
    shown = [Text(f"   {safe_text(line)}", "red") for line in wrong[:_DIFFERENCES_SHOWN]]
    head.stylize("bold")
    (console or Console(stderr=True, highlight=False)).print(
        Padding(Group(head, Text(), Padding(table, (0, 3), expand=False), *shown), (0, 1, 1, 1), expand=False)
    )


def print_checks(checks: Sequence[tuple[str, str, str, str]], console: Console | None = None) -> None:
    """Print what the doctor found.

    Args:
        checks: name, state (`ok`, `warn` or `fail`), what was found, what to do about it.
        console: None: standard output.
    """
    marks = {"ok": ("✓", "bold green"), "warn": ("!", "bold yellow"), "fail": ("✗", "bold red")}
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, state, found, advice in checks:
        mark, style = marks[state]
        text = Text(printable(found))
        if advice:
            text.append(f"\n{printable(advice)}", style.removeprefix("bold "))
        table.add_row(Text(mark, style), Text(name, "bold"), text)
    states = [state for _, state, _, _ in checks]
    if "fail" in states:
        verdict = Text("Crawling does not work on this machine yet.", "bold red")
    elif "warn" in states:
        verdict = Text("Crawling works on this machine; the marked points could be better.", "bold green")
    else:
        verdict = Text("Crawling works on this machine.", "bold green")
    (console or Console(highlight=False)).print(Padding(Group(table, Text(), verdict), (1, 1), expand=False))
