"""Traps: pages without end, each kind below an address of its own; `/traps/` leads to all of them.

They are made up from the address that is asked for, so that the same address always has the same links.
"""

from datetime import date, timedelta
from hashlib import blake2b
from html import escape

from browsercrawl.testing.fault_pages import page_html
from browsercrawl.testing.server import Exchange

PREFIX = "/traps/"

_KINDS = ("calendar/2024/05", "diary?date=2024-05-01", "folders/", "options", "sessions", "visitors")
_SESSION_PAGES = 3


def answer(exchange: Exchange) -> bool:
    """Answer a request for a trap; False when there is no such page."""
    found = links(exchange.target)
    if found:
        rows = "".join(f'<li><a href="{escape(link)}">{escape(link)}</a></li>\n' for link in found)
        exchange.respond(page_html("traps", "There is always another page.", body=f"<ul>\n{rows}</ul>\n"))
    return bool(found)


def links(target: str) -> tuple[str, ...]:
    """Return where the page of a path and query leads to; nowhere, if there is none.

    Example:
        >>> links("/traps/calendar/2024/12")
        ('/traps/calendar/2024/11', '/traps/calendar/2025/01')
    """
    name = target.removeprefix(PREFIX)
    if name == "":
        return tuple(f"{PREFIX}{kind}" for kind in _KINDS)
    try:
        return tuple(f"{PREFIX}{link}" for link in _links(name))
    except (ValueError, OverflowError):  # no date, or one beyond the last year that there is
        return ()


def _links(name: str) -> tuple[str, ...]:
    """Return what a trap leads to: a month and a day have one before and one after, what else there is has more."""
    kind = name.partition("/")[0].partition("?")[0].partition(";")[0]
    if kind == "calendar":
        year, month = name.split("/")[1:]
        months = [divmod(int(year) * 12 + int(month) - 1 + step, 12) for step in (-1, 1)]
        return tuple(f"calendar/{year}/{month + 1:02}" for year, month in months)
    if kind == "diary":
        day = date.fromisoformat(name.partition("?date=")[2])
        return tuple(f"diary?date={day + timedelta(days=step)}" for step in (-1, 1))
    never_seen = blake2b(name.encode(), digest_size=16).hexdigest()
    return {
        "folders": (f"{name}more/",),
        "options": (f"{name}{'&' if '?' in name else '?'}sort=asc",),
        "sessions": tuple(f"sessions/{page};jsessionid={never_seen}" for page in range(_SESSION_PAGES)),
        "visitors": (f"visitors?id={never_seen}",),
    }.get(kind, ())
