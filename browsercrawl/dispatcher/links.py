"""Which links of a page become requests, and why the others do not."""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from browsercrawl.config import LinksConfig
from browsercrawl.errors import InvalidURL
from browsercrawl.request import Request
from browsercrawl.result import SkipReason
from browsercrawl.urls import address

Link = tuple[str, str | None]
"""A link's URL and the label its request shall have."""


LINK = "link."
"""Before the reason: how links that were left out are counted in the frontier's totals."""


class LinkFollower:
    """Turns links into requests and counts, by reason, those it leaves out.

    Args:
        config: which are followed.
        inherits: they belong to the session of their page; otherwise it is not decided here.
    """

    def __init__(self, config: LinksConfig, *, inherits: bool = True) -> None:
        self._config = config
        self._inherits = inherits

    @property
    def follows(self) -> bool:
        """Whether the links of every page are followed without a handler asking for it."""
        return self._config.depth > 0

    def requests(
        self, parent: Request, final_url: str, *, links: Iterable[str], asked_for: Iterable[Link]
    ) -> tuple[list[Request], Counter[SkipReason]]:
        """Make the requests of a page's links.

        Args:
            parent: the request of the page.
            final_url: the page's address after redirects.
            links: every link of the page, followed down to the configured depth.
            asked_for: links a handler asked for: any depth, same scope.

        Returns:
            Requests in document order, without repetitions within the page; and how many links were left out, by
            reason.
        """
        left_out: Counter[SkipReason] = Counter()
        hosts = self._hosts(parent, final_url)
        chosen: dict[str, Link] = {}
        if self.follows:
            deep_enough = parent.depth >= self._config.depth
            for url in links:
                if reason := self._sort_in(url, None, hosts, chosen, too_deep=deep_enough):
                    left_out[reason] += 1
        for url, label in asked_for:
            if reason := self._sort_in(url, label, hosts, chosen, too_deep=False):
                left_out[reason] += 1
        session = parent.session if self._inherits else None
        alike: dict[str, Any] = {"session": session, "depth": parent.depth + 1, "parent_url": final_url}
        if self._config.keep_fragments:
            alike["keep_fragment"] = True
        if self._config.sort_query:
            alike["sort_query"] = True
        return [Request(url=url, label=label, **alike) for url, label in chosen.values()], left_out

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
    ) -> SkipReason | None:
        config = self._config
        try:
            found = address(url, keep_fragment=config.keep_fragments, sort_query=config.sort_query)
        except InvalidURL:
            return SkipReason.INVALID_URL
        canonical = found.canonical
        if canonical in chosen:
            if label is not None:
                chosen[canonical] = (chosen[canonical][0], label)
        elif hosts is not None and found.host not in hosts:
            return SkipReason.OUT_OF_SCOPE
        elif too_deep:
            return SkipReason.TOO_DEEP
        else:
            chosen[canonical] = (url, label)
        return None
