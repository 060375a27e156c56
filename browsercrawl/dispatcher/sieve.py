"""Which entries of sitemaps become requests, and why the others do not.

What a sitemap lists that the user named are seeds, of which the patterns of `include` and `exclude` choose. A sitemap
that a robots.txt names was chosen by the site: what it lists is taken like links of the seeds on that site, so that the
scope holds as well, seen from them; and what an entry redirects to widens nothing.
"""

from typing import NamedTuple

from browsercrawl.config import LinksConfig
from browsercrawl.dispatcher.links import pattern_refusal
from browsercrawl.dispatcher.scope import Area, Scope, ScopeFunction
from browsercrawl.request import Request
from browsercrawl.result import SkipReason


class _View(NamedTuple):
    parent: Request
    area: Area


class Sieve:
    """Lets entries of sitemaps pass, or not.

    Args:
        config: which links are followed.
        scope: the user's function that decides in place of the configured scope.
    """

    def __init__(self, config: LinksConfig, scope: ScopeFunction | None = None) -> None:
        self._config = config
        self._scope = Scope(config, scope)
        self._near: tuple[str, ...] = ()
        self._views: list[_View] = []

    def sift(self, entry: Request, near: tuple[str, ...]) -> Request | SkipReason:
        """Return what an entry becomes, or why it is left out.

        Args:
            entry: as listed.
            near: the seeds from which the scope is seen, if it holds.

        Raises:
            HandlerFailed: the user's scope function raised.
        """
        anchors: tuple[str, ...] = ()
        if near:
            view = next((each for each in self._views_from(near) if self._shows(each, entry)), None)
            if view is None:
                return SkipReason.OUT_OF_SCOPE
            anchors = view.area.anchors
        reason = pattern_refusal(entry.address.canonical, self._config)
        return reason or (entry.model_copy(update={"anchors": anchors}) if anchors else entry)

    def _shows(self, view: _View, entry: Request) -> bool:
        return self._scope.has(view.area, entry.address, parent=view.parent)

    def _views_from(self, near: tuple[str, ...]) -> list[_View]:
        if near is not self._near:
            views: dict[tuple[str, ...], _View] = {}
            for url in near:
                parent = Request(url=url)
                area = self._scope.area(parent, url)
                views.setdefault(area.places or area.anchors, _View(parent, area))
            self._near, self._views = near, list(views.values())
        return self._views
