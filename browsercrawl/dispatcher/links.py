"""Which links of a page become requests, and why the others do not."""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress

from browsercrawl.config import LinksConfig
from browsercrawl.errors import InvalidURL
from browsercrawl.request import Request
from browsercrawl.result import SkipReason
from browsercrawl.urls import address

Link = tuple[str, str | None]
"""A link's URL and the label its request shall have."""


class LinkFollower:
    """Turns links into requests and counts, by reason, those it keeps out.

    Attributes:
        skipped: links kept out of the frontier, by reason, over the whole run.
    """

    def __init__(self, config: LinksConfig) -> None:
        self.skipped: Counter[SkipReason] = Counter()
        self._config = config

    @property
    def follows(self) -> bool:
        """Whether the links of every page are followed without a handler asking for it."""
        return self._config.depth > 0

    def requests(
        self, parent: Request, final_url: str, *, links: Iterable[str], asked_for: Iterable[Link]
    ) -> list[Request]:
        """Make the requests of a page's links.

        Args:
            parent: the request of the page.
            final_url: the page's address after redirects.
            links: every link of the page, followed down to the configured depth.
            asked_for: links a handler asked for: any depth, same scope.

        Returns:
            Requests in document order, without repetitions within the page.
        """
        hosts = self._hosts(parent, final_url)
        chosen: dict[str, Link] = {}
        if self.follows:
            deep_enough = parent.depth >= self._config.depth
            for url in links:
                self._sort_in(url, None, hosts, chosen, too_deep=deep_enough)
        for url, label in asked_for:
            self._sort_in(url, label, hosts, chosen, too_deep=False)
        depth, session = parent.depth + 1, parent.session
        return [
            Request(url=url, session=session, label=label, depth=depth, parent_url=final_url)
            for url, label in chosen.values()
        ]

    def _hosts(self, parent: Request, final_url: str) -> set[str] | None:
        if self._config.scope == "any":
            return None
        hosts = {parent.address.host}
        if parent.depth == 0:
            # A seed that redirects (example.com to www.example.com) means the site it leads to.
            with suppress(InvalidURL):  # a final address like about:blank or data: widens nothing
                hosts.add(address(final_url).host)
        return hosts

    def _sort_in(
        self, url: str, label: str | None, hosts: set[str] | None, chosen: dict[str, Link], *, too_deep: bool
    ) -> None:
        try:
            canonical, host, _ = address(url)
        except InvalidURL:
            self.skipped[SkipReason.INVALID_URL] += 1
            return
        if canonical in chosen:
            if label is not None:
                chosen[canonical] = (chosen[canonical][0], label)
        elif hosts is not None and host not in hosts:
            self.skipped[SkipReason.OUT_OF_SCOPE] += 1
        elif too_deep:
            self.skipped[SkipReason.TOO_DEEP] += 1
        else:
            chosen[canonical] = (url, label)
