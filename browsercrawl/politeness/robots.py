"""Asking robots.txt: once per origin, before anything else of it, and again when the answer is a day old.

What an answer means, by RFC 9309, section 2.3.1: a 2xx holds the rules; any other but a 5xx and 429 says that there are
none; without an answer, and after a 5xx or 429, nothing may be fetched. Then it is asked again, as often and with such
pauses as a request would be tried again that met the same, and at last the origin's requests fail as
`robots_unavailable`. They fail, and are not skipped: nobody has forbidden them, and a retry of what failed asks anew.

Nobody waits here. Who asks about an address is told what holds, or when to ask again; meanwhile his request waits in
the frontier and occupies nothing.

Memory is bounded by forgetting the rules that were used longest ago. So that asking a host and visiting it keep step,
with a million hosts as with ten, only some are asked ahead of their first visit; the others are told to come later.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from browsercrawl.clock import Clock
from browsercrawl.config import CrawlerConfig
from browsercrawl.errors import NetworkFailed, RobotsUnavailable
from browsercrawl.events import Emit, HostDeferred, HostGivenUp, RobotsRead
from browsercrawl.politeness.backoff import host_deferral_s, retry_delay_s
from browsercrawl.politeness.retry_after import retry_after_s
from browsercrawl.politeness.robots_file import RobotsFile
from browsercrawl.urls import Address, address

CRAWL_DELAY_MAX_S = 30.0
"""A longer Crawl-delay is kept as this: sites write days into it."""

FRESH_S = 86_400.0
"""An answer is good for a day; until the next has come, the old one holds."""

AGAIN_S = 3_600.0
"""An origin that was given up, or whose answer is old, is asked again after so long."""

SITES_MAX = 10_000
BYTES_MAX = 8_000_000
"""Rules of so many origins, and files of so many bytes in all, are remembered; parsed, one may be 40 times as large."""

AHEAD_MAX = 256
"""Origins that are being asked, or whose answer nobody has used yet."""

_UNUSED_S = 60.0
"""An answer that nobody wanted for so long is one that may be forgotten."""

_STEP_MIN_S, _STEP_SHARE, _STEP_MAX_S = 0.05, 0.25, 2.0
"""While an origin is asked, its requests look again after this share of the time it has taken, within these bounds."""

_LINE_MAX_S = 60.0


class Answered(Protocol):
    """The answer to a request for robots.txt."""

    @property
    def status(self) -> int:
        """After redirects; of a redirect when there were too many."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Names in lower case."""

    @property
    def body(self) -> bytes:
        """Unpacked; nothing needs to follow the first 500 KiB."""


Fetch = Callable[[str], Awaitable[Answered]]
"""Fetches an address within a time limit of its own; raises NetworkFailed. `net.HttpClient.get` is one."""

Restrain = Callable[[str, float], Awaitable[None]]
"""Has so many seconds kept between two visits of a `hostname:port`."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Whether an address may be fetched.

    Attributes:
        allowed: means nothing while `wait_s` is not None.
        wait_s: it is not known yet; ask again after so long.
    """

    allowed: bool = True
    wait_s: float | None = None


@dataclass(slots=True)
class _Site:
    """What is known of an origin. `due_at`: it may be asked then; `tries`: failed ones in a row."""

    host: str
    file: RobotsFile | None = None
    asking: asyncio.Task[None] | None = None
    asked_at: float = 0.0
    due_at: float = 0.0
    tries: int = 0
    why: str = ""


class Robots:
    """Knows what robots.txt allows.

    Args:
        fetch: gets the files.
        config: token, pauses, tries.
        clock: what pauses and ages run on.
        emit: takes `RobotsRead`, `HostDeferred`, `HostGivenUp`.
        restrain: is told a host's Crawl-delay before the first of its addresses is allowed.
    """

    def __init__(self, fetch: Fetch, *, config: CrawlerConfig, clock: Clock, emit: Emit, restrain: Restrain) -> None:
        self._fetch = fetch
        self._config = config
        self._clock = clock
        self._emit = emit
        self._restrain = restrain
        self._none = RobotsFile(b"", token=config.browser.product_token)
        self._sites: OrderedDict[str, _Site] = OrderedDict()
        self._ahead: OrderedDict[str, float] = OrderedDict()
        self._turned_away = 0
        self._bytes = 0

    def leave(self, url: str) -> Leave:
        """Tell whether an address may be fetched; the origin is asked if need be.

        Args:
            url: http or https.

        Raises:
            RobotsUnavailable: it could not be asked, so often that it was given up for an hour.
        """
        where = address(url)
        origin, site, now = self._site(where)
        if site.asking is None and now >= site.due_at:
            self._ask(origin, site, is_urgent=False)
        if site.file is not None:
            self._ahead.pop(origin, None)
            return Leave(allowed=site.file.allows(where.canonical))
        if site.asking is not None:
            spent_s = now - site.asked_at
            return Leave(wait_s=min(max(_STEP_MIN_S, spent_s * _STEP_SHARE), _STEP_MAX_S))
        if self._is_given_up(site) and now < site.due_at:
            raise RobotsUnavailable(f"{origin}/robots.txt could not be had {site.tries} times in a row: {site.why}")
        if now < site.due_at:
            return Leave(wait_s=site.due_at - now)
        self._turned_away += 1
        return Leave(wait_s=min(_STEP_MAX_S + self._turned_away / AHEAD_MAX, _LINE_MAX_S))

    async def wait_leave(self, url: str, *, limit_s: float) -> Leave:
        """Tell the same, but wait for an answer that is under way, for `limit_s` at most.

        Raises:
            RobotsUnavailable: as `leave`.
        """
        origin, site, now = self._site(address(url))
        if site.file is None and site.asking is None and now >= site.due_at:
            self._ask(origin, site, is_urgent=True)
        if site.file is None and site.asking is not None:
            await asyncio.wait({site.asking}, timeout=limit_s)
        return self.leave(url)

    async def sitemaps(self, url: str, *, limit_s: float) -> tuple[str, ...]:
        """Return the sitemaps that the robots.txt of an address' origin names; none when it cannot be had in time."""
        await self.wait_leave(url, limit_s=limit_s)
        _, site, _ = self._site(address(url))
        return site.file.sitemaps if site.file is not None else ()

    async def close(self) -> None:
        """Ask no more. Idempotent."""
        asking = [site.asking for site in self._sites.values() if site.asking is not None]
        for task in asking:
            task.cancel()
        if asking:
            await asyncio.wait(asking)

    def _site(self, where: Address) -> tuple[str, _Site, float]:
        scheme, _, rest = where.canonical.partition("://")
        origin = f"{scheme}://{rest.partition('/')[0].rpartition('@')[2]}"
        site = self._sites.get(origin)
        if site is None:
            site = self._sites[origin] = _Site(where.host)
        self._sites.move_to_end(origin)
        return origin, site, self._clock.now()

    def _is_given_up(self, site: _Site) -> bool:
        return site.tries > self._config.retry.retries

    def _ask(self, origin: str, site: _Site, *, is_urgent: bool) -> None:
        now = self._clock.now()
        while self._ahead and next(iter(self._ahead.values())) + _UNUSED_S <= now:
            self._ahead.popitem(last=False)
        if len(self._ahead) >= AHEAD_MAX and not is_urgent:
            return
        if self._turned_away:  # else whoever comes now was never turned away
            self._turned_away -= 1
        if self._is_given_up(site):
            site.tries = 0
        site.asked_at = self._ahead[origin] = now
        site.asking = asyncio.create_task(self._asked(origin, site), name=f"robots {site.host}")

    async def _asked(self, origin: str, site: _Site) -> None:
        try:
            answer = await self._fetch(f"{origin}/robots.txt")
            if answer.status == 429 or answer.status >= 500:
                self._failed(origin, site, f"HTTP {answer.status}", refusal=answer)
            else:
                await self._understood(site, answer)
        except NetworkFailed as error:
            self._failed(origin, site, error.message)
        except Exception as error:  # noqa: BLE001 - the task boundary: it is told, and the origin left alone
            self._failed(origin, site, f"{type(error).__name__}: {error}")
        finally:
            site.asking = None

    async def _understood(self, site: _Site, answer: Answered) -> None:
        is_there = 200 <= answer.status < 300 and answer.body
        file = RobotsFile(answer.body, token=self._config.browser.product_token) if is_there else self._none
        delay_s = min(file.crawl_delay_s or 0.0, CRAWL_DELAY_MAX_S)
        if delay_s:
            await self._restrain(site.host, delay_s)
        self._bytes += file.size - (site.file.size if site.file is not None else 0)
        site.file, site.tries = file, 0
        site.due_at = self._clock.now() + FRESH_S
        self._emit(RobotsRead(host=site.host, http_status=answer.status, bytes=file.size, delay_s=delay_s))
        self._forget()

    def _failed(self, origin: str, site: _Site, why: str, *, refusal: Answered | None = None) -> None:
        self._ahead.pop(origin, None)
        site.tries += 1
        site.why = why
        pause_s = AGAIN_S
        if site.file is None and self._is_given_up(site):
            self._emit(HostGivenUp(host=site.host, reason=f"robots.txt: {why}"))
        elif site.file is None:
            pause_s = self._pause_s(site.tries, refusal)
            self._emit(HostDeferred(host=site.host, delay_s=round(pause_s, 3), reason=f"robots.txt: {why}"))
        site.due_at = self._clock.now() + pause_s

    def _pause_s(self, tries: int, refusal: Answered | None) -> float:
        if refusal is None:
            return retry_delay_s(self._config.retry, tries)
        asked = refusal.headers.get("retry-after")
        asked_s = retry_after_s(asked, now_utc=self._clock.utc()) if asked else None
        return host_deferral_s(self._config.host, tries, asked_s=asked_s)

    def _forget(self) -> None:
        """Forget the rules used longest ago while there are too many; never that an origin cannot be had."""
        excess = len(self._sites) - SITES_MAX
        if excess <= 0 and self._bytes <= BYTES_MAX:
            return
        for origin, site in list(self._sites.items()):
            if excess <= 0 and self._bytes <= BYTES_MAX:
                return
            if site.file is not None and site.asking is None and origin not in self._ahead:
                del self._sites[origin]
                self._bytes -= site.file.size
                excess -= 1
