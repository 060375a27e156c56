"""Whether a page shows that its session is logged out, or refused: looked at before a result is accepted."""

from collections.abc import Awaitable, Callable
from typing import Any

from browsercrawl.config import BlockedSigns, LoggedOut
from browsercrawl.config.sessions import is_like
from browsercrawl.errors import PageBlocked, SessionExpired
from browsercrawl.ports import Navigation, PagePort, Presence
from browsercrawl.urls import bare, shown

LoggedOutFunction = Callable[[Any], Awaitable[bool]]
"""User code that gets the Playwright page and tells whether it shows that the session is logged out."""


class PageCheck:
    """Looks at the pages of one session.

    Args:
        name: of the session.
        signs: that it is logged out.
        form_url: of its login form, if that is such a sign; what follows ? or # does not count.
        blocked: that the site refuses it.
        function: user code that looks as well.
    """

    def __init__(
        self,
        name: str,
        *,
        signs: LoggedOut,
        blocked: BlockedSigns,
        form_url: str | None = None,
        function: LoggedOutFunction | None = None,
    ) -> None:
        self._name = name
        self._signs = signs
        self._form_url = None if form_url is None else bare(form_url)
        self._blocked = blocked
        self._function = function

    @property
    def function(self) -> LoggedOutFunction | None:
        """The user's own check, to be called in a task with a time limit."""
        return self._function

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to look at."""
        blocked = self._blocked
        is_looked_for = self._signs.is_given or self._form_url is not None or self._function is not None
        return is_looked_for or bool(blocked.status or blocked.present)

    def arrived(self, navigation: Navigation) -> None:
        """Look at where a navigation led, which asks nobody.

        Raises:
            SessionExpired, PageBlocked.
        """
        where, status = shown(navigation.final_url), navigation.status
        if status is not None and status in self._signs.status:
            raise self._expired(where, f"HTTP {status}")
        self.look_at_address(navigation.final_url)
        if status is not None and status in self._blocked.status:
            raise PageBlocked(f"{where}: HTTP {status}: the site refuses session {self._name!r}")

    def look_at_address(self, url: str) -> None:
        """Look at the address of a page.

        Raises:
            SessionExpired.
        """
        if (self._signs.url and is_like(url, self._signs.url)) or bare(url) == self._form_url:
            raise self._expired(shown(url), "that is where one logs in")

    async def look(self, page: PagePort, navigation: Navigation, *, limit_s: float) -> None:
        """Look at a page that is there.

        What is missing tells of HTML pages that a server means to be seen only: no picture has a user's name on it.

        Raises:
            SessionExpired, PageBlocked; and what a call into the page raises.
        """
        signs, blocked = self._signs, self._blocked
        asked = [selector for selector in (signs.present, signs.missing, blocked.present) if selector]
        glance = await page.glance(asked, limit_s=limit_s)
        there = {selector: found is not Presence.ABSENT for selector, found in zip(asked, glance.found, strict=True)}
        where = shown(glance.url)
        self.look_at_address(glance.url)
        if signs.present and there[signs.present]:
            raise self._expired(where, f"{signs.present} is there")
        if blocked.present and there[blocked.present]:
            raise PageBlocked(f"{where}: {blocked.present} is there: the site refuses session {self._name!r}")
        if signs.missing and not there[signs.missing] and _is_page(navigation):
            raise self._expired(where, f"{signs.missing} is missing")
        if signs.cookie and signs.cookie not in {each["name"] for each in await page.context.cookies(limit_s=limit_s)}:
            raise self._expired(where, f"the cookie {signs.cookie} is missing")

    def expired(self, url: str) -> SessionExpired:
        """Return the error for a page of which the user's own check says so."""
        return self._expired(shown(url), "the function given to Crawler.logged_out says so")

    def _expired(self, where: str, why: str) -> SessionExpired:
        return SessionExpired(f"session {self._name!r} is logged out: {where}: {why}")


def _is_page(navigation: Navigation) -> bool:
    is_html = navigation.content_type is None or "html" in navigation.content_type
    return is_html and (navigation.status is None or 200 <= navigation.status <= 299)
