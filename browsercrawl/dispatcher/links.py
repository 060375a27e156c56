"""Which links of a page become requests, and why the others do not.

Each link that is left out counts for one reason, the first that holds: it is no http or https URL; out of scope;
excluded; not included; too deep; a trap (`traps.py`). What has passed may still be refused by the frontier, for the
limits on requests. The patterns of `include` and `exclude` are looked for in the canonical spelling.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from browsercrawl.config import LinksConfig
from browsercrawl.config.sessions import is_like
from browsercrawl.dispatcher.scope import Area, Scope, ScopeFunction
from browsercrawl.dispatcher.traps import trap
from browsercrawl.errors import InvalidURL
from browsercrawl.redaction import shorten
from browsercrawl.request import Request
from browsercrawl.result import SkipReason
from browsercrawl.urls import Address, address, without_session_id

Link = tuple[str, str | None]
"""A link's URL and the label its request shall have."""


LINK = "link."
"""Before the reason: how links that were left out are counted in the frontier's totals."""


class _Chosen(NamedTuple):
    url: str
    label: str | None
    has_session_id: bool
    anchors: tuple[str, ...]


class LinkFollower:
    """Turns links into requests and counts, by reason, those it leaves out.

    Args:
        config: which are followed.
        inherits: they belong to the session of their page; otherwise it is not decided here.
        scope: the user's function that decides in place of the configured scope.
    """

    def __init__(self, config: LinksConfig, *, inherits: bool = True, scope: ScopeFunction | None = None) -> None:
        self._config = config
        self._inherits = inherits
        self._scope = Scope(config, scope)

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

        Raises:
            HandlerFailed: the user's scope function raised.
        """
        left_out: Counter[SkipReason] = Counter()
        area = self._scope.area(parent, final_url)
        chosen: dict[str, _Chosen] = {}
        if self.follows:
            deep_enough = parent.depth >= self._config.depth
            for url in links:
                if reason := self._sort_in((url, None), parent, area, chosen, too_deep=deep_enough):
                    left_out[reason] += 1
        for link in asked_for:
            if reason := self._sort_in(link, parent, area, chosen, too_deep=False):
                left_out[reason] += 1
        session = parent.session if self._inherits else None
        alike: dict[str, Any] = {"session": session, "depth": parent.depth + 1, "parent_url": shorten(final_url)}
        if self._config.keep_fragments:
            alike["keep_fragment"] = True
        if self._config.sort_query:
            alike["sort_query"] = True
        return [_request(each, alike) for each in chosen.values()], left_out

    def _sort_in(
        self, link: Link, parent: Request, area: Area, chosen: dict[str, _Chosen], *, too_deep: bool
    ) -> SkipReason | None:
        config = self._config
        url, label = link
        try:
            found = address(url, keep_fragment=config.keep_fragments, sort_query=config.sort_query)
        except InvalidURL:
            return SkipReason.INVALID_URL
        identity = found.canonical if config.follow_traps else without_session_id(found.canonical)
        if identity in chosen:
            if label is not None:
                chosen[identity] = chosen[identity]._replace(label=label)
            return None
        if reason := self._refusal(found, parent, area, too_deep=too_deep):
            return reason
        chosen[identity] = _Chosen(url, label, identity != found.canonical, self._scope.anchors(area, found))
        return None

    def _refusal(self, found: Address, parent: Request, area: Area, *, too_deep: bool) -> SkipReason | None:
        config, url = self._config, found.canonical
        if not self._scope.has(area, found, parent=parent):
            return SkipReason.OUT_OF_SCOPE
        if reason := pattern_refusal(url, config):
            return reason
        if too_deep:
            return SkipReason.TOO_DEEP
        return None if config.follow_traps else trap(url)


def pattern_refusal(url: str, config: LinksConfig) -> SkipReason | None:
    """Tell why the patterns leave an address out; None: they do not.

    Args:
        url: in its canonical spelling.
        config: has the patterns.
    """
    if config.exclude and any(is_like(url, pattern) for pattern in config.exclude):
        return SkipReason.EXCLUDED
    if config.include and not any(is_like(url, pattern) for pattern in config.include):
        return SkipReason.NOT_INCLUDED
    return None


def _request(chosen: _Chosen, alike: dict[str, Any]) -> Request:
    own: dict[str, Any] = {"drop_session_id": True} if chosen.has_session_id else {}
    if chosen.anchors:
        own["anchors"] = chosen.anchors
    return Request(url=chosen.url, label=chosen.label, **alike, **own)
