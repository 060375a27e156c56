"""Series: pages in a row, each found on the one before, whose addresses differ in numbers and dates only.

A calendar leads from month to month for ever, a counter from number to number. A list of a million products leads from
page to page, too; but to products as well. So what ends a series is not its length: it is that a long one has come to
lead to nothing but itself. A page of it is *barren* when each link of another kind on it was known before, or speaks of
the page itself (`/login?next=/calendar/2024/05`). After `SERIES_MAX` steps, of which the last `BARREN_MAX` pages were
barren, the series is followed no further; a page that is not barren begins it anew.

It is the number of steps that counts, not how many pages are alike: a shop has any number of `/product/123`, but from
any of them the next is a few steps away, for pages are visited in the order in which they were found. What an honest
site may lose is what lies behind a hundred such steps, with no other way to it.

Only links that are followed by themselves are judged: what a handler asks for is wanted. With `include`, the scope
`prefix` or a scope of the user's own none is: a part of the site is wanted, and pages whose other links are left out
for that look barren.
"""

import re
from collections.abc import Callable, Sequence
from urllib.parse import unquote

from browsercrawl.frontier import Frontier
from browsercrawl.request import Request

SERIES_MAX = 100
"""Steps; four times the depth of a large site, or eight years of a calendar by month."""

BARREN_MAX = 50
"""The last pages of these steps must be barren; before that it is not asked."""

_NUMBER = (
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|(?<![0-9a-z])(?=[a-z]*[0-9])[0-9a-z]{16,}(?![0-9a-z])"
    r"|(?<![a-z])(?:year|month|week|day|today|jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sep(?:t(?:ember)?)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?|(?:mon|tues|wednes|thurs|fri|satur|sun)day)(?![a-z])"
    r"|[0-9]+"
)
_NUMBERS = re.compile(rf"(?:{_NUMBER})(?:[-_./:, ]?(?:{_NUMBER}))*", re.IGNORECASE)


def shape(canonical: str) -> str:
    """Return an address with `0` for each of its numbers, dates, long ids, and for some of them in a row.

    Args:
        canonical: its canonical spelling.

    Example:
        >>> shape("http://a.test/events/2024/05"), shape("http://a.test/events/day/2024-05-31")
        ('http://a.test/events/0', 'http://a.test/events/0')
    """
    site, path = _split(canonical)
    return site + _NUMBERS.sub("0", unquote(path)).rstrip("/")


def like(canonical: str) -> Callable[[str], bool]:
    """Return what tells whether another address has the same shape as this one, and numbers at all."""
    own, start = shape(canonical), len(_split(canonical)[0])
    if (first := own.find("0", start)) < 0:
        return lambda _: False
    # Most links do not even begin so: looking for numbers in each would take a tenth of a visit's time.
    head = own[: first if canonical.startswith(own[:first]) else start]  # it may have been written with escapes
    return lambda other: other.startswith(head) and shape(other) == own


async def without_endless(
    page: Request, children: Sequence[Request], *, frontier: Frontier
) -> tuple[list[Request], int]:
    """Take out of what a page has led to the next steps of a series that has become barren.

    Args:
        page: its request.
        children: requests made of its links, and whatever else it has led to.
        frontier: knows which of them are new.

    Returns:
        The requests that are left, those of a series that goes on as its beginning; and how many were taken out.
    """
    steps = max((child.series for child in children), default=0)
    if steps <= SERIES_MAX - BARREN_MAX:
        return list(children), 0
    news = await frontier.are_new(children)
    new = [child for child, is_new in zip(children, news, strict=True) if is_new]
    own = page.address.canonical
    if any(not (child.series or _speaks_of(own, child.address.canonical)) for child in new):
        return [child.model_copy(update={"series": 0}) if child.series else child for child in children], 0
    endless = {child.id for child in new if child.series} if steps > SERIES_MAX else set()
    return [child for child in children if child.id not in endless], len(endless)


def _speaks_of(page: str, canonical: str) -> bool:
    """Tell whether an address is that of a page in another form, or names it in its query."""
    if canonical.startswith((f"{page}?", f"{page}&")):
        return True
    return "/" + unquote(_split(page)[1]) in unquote(canonical.partition("?")[2])


def _split(canonical: str) -> tuple[str, str]:
    start = canonical.find("/", canonical.index("//") + 2) + 1
    return canonical[:start], canonical[start:]
