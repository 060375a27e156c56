"""Which proxy a session has: always the same, until that fails or is banned; then it rests, and another is given."""

from collections import Counter
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from browsercrawl.clock import Clock
from browsercrawl.config.model import check_proxy
from browsercrawl.errors import ProxyFailed

COOLDOWN_MAX_S = 3600.0
"""No proxy rests longer."""

ProxyFunction = Callable[[str, int], str | None]
"""User code that gets a session's name and how many proxies it had before, and returns a proxy's URL; None: none."""


@dataclass(slots=True)
class _Resting:
    failures: int = 0
    until: float = 0.0


class ProxyRotation:
    """Gives sessions their proxies.

    Args:
        urls: to choose from.
        cooldown_s: a proxy that failed rests so long; doubles with each failure in a row.
        clock: what rests run on.
        function: gives proxies instead; it is asked anew when one has failed.
    """

    def __init__(
        self, urls: Sequence[str], *, cooldown_s: float, clock: Clock, function: ProxyFunction | None = None
    ) -> None:
        self._urls = list(urls)
        self._cooldown_s = cooldown_s
        self._clock = clock
        self._function = function
        self._given: dict[str, str] = {}
        self._used: Counter[str] = Counter()
        self._had: Counter[str] = Counter()
        self._resting: dict[str, _Resting] = {}

    @property
    def in_use(self) -> AbstractSet[str]:
        """URLs that sessions have."""
        return self._used.keys()

    def of(self, session: str, *, own: str | None = None) -> str | None:
        """Return the proxy of a session; it keeps it. `own`: the one it was configured with.

        Raises:
            ProxyFailed: the user's function raises, or gives no URL of a proxy.
        """
        url = self._given.get(session)
        if url is None and (url := own or self._choose(session)) is not None:
            self._given[session] = url
            self._used[url] += 1
        return url

    def worked(self, session: str) -> None:
        """A page came through the session's proxy: its earlier failures are forgiven, unless it rests by now."""
        if (url := self._given.get(session)) is not None and self._rests_until(url) <= self._clock.now():
            self._resting.pop(url, None)

    def failed(self, session: str, *, own: str | None = None) -> float | None:
        """Take a session's proxy away and let it rest. Returns how long until it can have one again; None: now."""
        now = self._clock.now()
        url = self._given.pop(session, None)
        self._had[session] += 1
        if url is not None:
            self._used[url] -= 1
            if not self._used[url]:
                del self._used[url]
            rest = self._resting.setdefault(url, _Resting())
            if rest.until <= now:  # else another session has found out already
                rest.failures += 1
                rest.until = now + min(self._cooldown_s * 2.0 ** min(rest.failures - 1, 20), COOLDOWN_MAX_S)
        if own is None and self._function is not None:
            return None  # it is asked for another
        first_s = min((self._rests_until(each) - now for each in ([own] if own else self._urls)), default=0.0)
        return first_s if first_s > 0 else None

    def _choose(self, session: str) -> str | None:
        if self._function is not None:
            return self._asked(self._function, session)
        now = self._clock.now()
        awake = [url for url in self._urls if self._rests_until(url) <= now] or self._urls
        return min(awake, key=self._used.__getitem__, default=None)

    def _asked(self, function: ProxyFunction, session: str) -> str | None:
        try:
            url = function(session, self._had[session])
            if url is not None:
                check_proxy(url)
        except Exception as error:  # noqa: BLE001 - the user's code may raise anything
            what = f"raises {type(error).__name__}" if not isinstance(error, ValueError) else f"gives no proxy: {error}"
            raise ProxyFailed(f"the function that gives session {session!r} its proxy {what}") from None
        return url

    def _rests_until(self, url: str) -> float:
        return self._resting[url].until if url in self._resting else 0.0
