"""How sessions look on a terminal: the table in a run's status, and what a login has brought."""

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from browsercrawl.cli.terminal import count_of, near, printable, shortened, shown_duration
from browsercrawl.cli.view import PAUSED, paused_text
from browsercrawl.crawler.logging_in import LoggedIn
from browsercrawl.events import SessionHealth
from browsercrawl.redaction import safe_text

ROWS_MAX = 20
"""Sessions shown one by one; the paused ones come first."""

_QUIET = "bright_black"
_NAME_WIDTH_MAX = 24
_NARROW = 70
"""On fewer columns only the name, the phase and the counts are shown."""

_PHASES = {
    "in": ("in", "green"),
    "out": ("out", ""),
    "logging_in": ("logging in", "cyan"),
    PAUSED: ("paused", "bold yellow"),
}


class SessionsView:
    """The sessions of a run as rich draws them; fits any width."""

    def __init__(self, sessions: Sequence[SessionHealth]) -> None:
        self._sessions = sessions

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw for the console's present width."""
        width = options.max_width
        is_wide = width >= _NARROW
        shown = self._sessions[:ROWS_MAX]
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, overflow="ellipsis")
        table.add_column(no_wrap=True)
        heads = ["pages", "failed", "logins", *(["last login", "state saved"] if is_wide else [])]
        for name in heads:
            table.add_column(no_wrap=True, justify="right" if name in {"pages", "failed", "logins"} else "left")
        table.add_row(*(Text(head, _QUIET) for head in ("session", "", *heads)))
        for each in shown:
            table.add_row(*self._row(each, is_wide=is_wide))
        rows = [table]
        more = len(self._sessions) - len(shown)
        notes = [Text(f"and {more:,} more; --json has them", _QUIET)] if more else []
        reasons = [
            Text(safe_text(paused_text(each.session, each.reason)), "yellow") for each in shown if each.phase == PAUSED
        ]
        if reasons:
            notes += [Text(), *reasons]
        yield Padding(Group(*rows, *notes), (0, 0, 0, 1), expand=False)

    @staticmethod
    def _row(health: SessionHealth, *, is_wide: bool) -> list[Text]:
        word, style = _PHASES.get(health.phase, (printable(health.phase), ""))
        row = [
            Text(shortened(health.session, _NAME_WIDTH_MAX), "bold"),
            Text(word, style),
            Text(f"{health.pages:,}", "bold" if health.pages else _QUIET),
            Text(f"{health.failures:,}", "bold red" if health.failures else _QUIET),
            Text(f"{health.logins:,}", "bold" if health.logins else _QUIET),
        ]
        if is_wide:
            at = f"{health.last_login:%Y-%m-%d %H:%M} UTC" if health.last_login is not None else "-"
            age = f"{shown_duration(max(0.0, health.state_age_s))} ago" if health.state_age_s is not None else "-"
            row += [Text(at, "" if health.last_login else _QUIET), Text(age, "" if health.state_age_s else _QUIET)]
        return row


def print_login(done: LoggedIn, *, account: str | None, console: Console | None = None) -> None:
    """Print what a login has brought.

    Args:
        done: the login.
        account: whose it is, fit to be shown.
        console: None: standard error.
    """
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style=_QUIET)
    table.add_column(overflow="fold")
    if account is not None:
        table.add_row("account", Text(printable(safe_text(account)), "bold"))
    table.add_row("login", f"number {done.login:,} of this session")
    origins = f" and the storage of {count_of(done.origins, 'origin')}" if done.origins else ""
    table.add_row("saved", f"{count_of(done.cookies, 'cookie')}{origins}")
    if done.path is not None:
        table.add_row("where", Text(printable(str(near(done.path))), "cyan"))
    until = f"{done.expires_at:%Y-%m-%d %H:%M:%S} UTC" if done.expires_at is not None else "not told by its cookies"
    table.add_row("holds until", until)
    head = Text.assemble(("✓", "bold green"), "  ", (f"{safe_text(done.session)} is logged in", "bold"))
    (console or Console(stderr=True, highlight=False)).print(
        Padding(Group(head, Text(), Padding(table, (0, 3), expand=False)), (1, 1), expand=False)
    )
