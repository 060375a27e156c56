"""Asking robots.txt: once per origin, before anything else of it, and again when the answer is a day old.

What an answer means, by RFC 9309, section 2.3.1: a 2xx holds the rules; any other but a 5xx and 429 says that there are
none; without an answer, and after a 5xx or 429, nothing may be fetched. Such a failure is told to one request, as what
has become of its attempt: so it costs no more requests than a page that cannot be had, and for the others the host is
left alone, tried again and in the end given up by the same rules. Whoever comes next asks anew.

Nobody waits here. Who asks about an address is told what holds, or when to ask again; meanwhile his request waits in
the frontier and occupies nothing.

Memory is bounded by forgetting the rules that were used longest ago. So that asking a host and visiting it keep step,
with a million hosts as with ten, only some are asked ahead of their first visit; the others are told to come later.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from math import inf
from typing import Protocol

from browsercrawl.clock import Clock
from browsercrawl.errors import NetworkFailed, RobotsUnavailable
from browsercrawl.events import Emit, RobotsRead
from browsercrawl.politeness.robots_file import RobotsFile
from browsercrawl.urls import Address, address

CRAWL_DELAY_MAX_S = 30.0
"""A longer Crawl-delay is kept as this: sites write days into it."""

FRESH_S = 86_400.0
"""An answer is good for a day; until the next has come, the old one holds."""

AGAIN_S = 3_600.0
"""A new answer that cannot be had is asked for again after so long."""

SITES_MAX = 10_000
BYTES_MAX = 8_000_000
"""Rules of so many origins, and files of so many bytes in all, are remembered; parsed, one may be 40 times as large."""

PARSED_AT_ONCE_MAX = 20_000
"""A file with more bytes is read in a thread: it may take a second."""

FAILURE_S = 10.0
"""Who comes this long after a failure is told it; later, it is asked anew. Who comes from elsewhere waits as long."""

AHEAD_MAX = 256
"""Origins that are being asked, or whose answer nobody has used yet."""

_UNUSED_S = 60.0
"""An answer that nobody wanted for so long is one that may be forgotten."""

_STEP_MIN_S, _STEP_SHARE, _STEP_MAX_S = 0.05, 0.25, 2.0
"""While an origin is asked, its requests look again after this share of the time it has taken, within these bounds."""

_LINE_MAX_S = 60.0
_REFUSALS = {429, 503}
_FORGET_MAX = 2 * AHEAD_MAX
"""Looked at in one go; more than are being asked."""


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


Fetch = Callable[[str, str | None], Awaitable[Answered]]
"""Fetches an address, through a proxy or not, within a time limit of its own.

Raises:
    NetworkFailed: that failed. RobotsUnavailable: it could not even be tried.
"""

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
    """What is known of an origin. `due_at`: it may be asked again then; `failure`: that nobody was told yet."""

    host: str
    file: RobotsFile | None = None
    asking: asyncio.Task[None] | None = None
    asked_at: float = 0.0
    due_at: float = 0.0
    failure: RobotsUnavailable | None = None
    failed_at: float = -inf


class Robots:
    """Knows what robots.txt allows.

    Args:
        fetch: gets the files.
        token: the product token.
        clock: what ages run on.
        emit: takes `RobotsRead`.
        restrain: is told a host's Crawl-delay before the first of its addresses is allowed.
    """

    def __init__(self, fetch: Fetch, *, token: str, clock: Clock, emit: Emit, restrain: Restrain) -> None:
        self._fetch = fetch
        self._token = token
        self._clock = clock
        self._emit = emit
        self._restrain = restrain
        self._none = RobotsFile(b"", token=token)
        self._sites: OrderedDict[str, _Site] = OrderedDict()
        self._ahead: OrderedDict[str, float] = OrderedDict()
        self._turned_away = 0
        self._costly = asyncio.Lock()
        """Held while an address is looked up in a thread: several would leave the event loop little of its time."""
        self._bytes = 0

    async def leave(self, url: str, *, proxy: str | None = None) -> Leave:
        """Tell whether an address may be fetched; the origin is asked if need be, and not waited for.

        Args:
            url: http or https.
            proxy: the way by which to ask.

        Raises:
            RobotsUnavailable: it was asked and could not be had; nobody else is told this.
        """
        where = address(url)
        origin, site, now = self._site(where)
        if site.failure is not None and now - site.failed_at > FAILURE_S:
            site.failure = None
        if site.asking is None and site.failure is None and now >= site.due_at:
            self._ask(origin, site, proxy=proxy, is_urgent=False)
        if site.file is not None:
            self._ahead.pop(origin, None)
            return Leave(allowed=await self._allows(site.file, where))
        if site.failure is not None:
            failure, site.failure = site.failure, None
            raise failure
        if site.asking is not None:
            spent_s = now - site.asked_at
            return Leave(wait_s=min(max(_STEP_MIN_S, spent_s * _STEP_SHARE), _STEP_MAX_S))
        self._turned_away += 1
        return Leave(wait_s=min(_STEP_MAX_S + self._turned_away / AHEAD_MAX, _LINE_MAX_S))

    def delay_s(self, url: str) -> float:
        """Return what the robots.txt of an address' origin asks to be kept between two visits; 0: nothing, so far."""
        _, site, _ = self._site(address(url))
        return _delay_s(site.file) if site.file is not None else 0.0

    async def wait_leave(self, url: str, *, limit_s: float, proxy: str | None = None) -> bool | None:
        """Tell whether an address may be fetched, waiting for the answer; None: that cannot be had in time, or at all.

        Args:
            url: http or https.
            limit_s: how long to wait.
            proxy: the way by which to ask.
        """
        origin, site, now = self._site(address(url))
        if site.file is None and site.asking is None and now - site.failed_at > FAILURE_S:
            self._ask(origin, site, proxy=proxy, is_urgent=True)
        if site.file is None and site.asking is not None:
            await asyncio.wait({site.asking}, timeout=limit_s)
        self._ahead.pop(origin, None)  # the visit is there already
        return None if site.file is None else await self._allows(site.file, address(url))

    async def close(self) -> None:
        """Ask no more. Idempotent."""
        asking = [site.asking for site in self._sites.values() if site.asking is not None]
        for task in asking:
            task.cancel()
        if asking:
            await asyncio.wait(asking)

    async def _allows(self, file: RobotsFile, where: Address) -> bool:
        if not file.is_costly(where.canonical):
            return file.allows(where.canonical)
        async with self._costly:
            return await asyncio.to_thread(file.allows, where.canonical)

    def _site(self, where: Address) -> tuple[str, _Site, float]:
        origin = where.origin
        site = self._sites.get(origin)
        if site is None:
            site = self._sites[origin] = _Site(where.host)
            self._forget()
        self._sites.move_to_end(origin)
        return origin, site, self._clock.now()

    def _ask(self, origin: str, site: _Site, *, proxy: str | None, is_urgent: bool) -> None:
        now = self._clock.now()
        while self._ahead and next(iter(self._ahead.values())) + _UNUSED_S <= now:
            self._ahead.popitem(last=False)
        if len(self._ahead) >= AHEAD_MAX and not is_urgent:
            return
        if self._turned_away:  # else whoever comes now was never turned away
            self._turned_away -= 1
        site.failure = None
        site.asked_at = self._ahead[origin] = now
        site.asking = asyncio.create_task(self._asked(origin, site, proxy), name=f"robots {site.host}")

    async def _asked(self, origin: str, site: _Site, proxy: str | None) -> None:
        url = f"{origin}/robots.txt"
        try:
            answer = await self._fetch(url, proxy)
            if answer.status == 429 or answer.status >= 500:
                refuses = answer.status in _REFUSALS
                after = answer.headers.get("retry-after")
                message = f"{url}: HTTP {answer.status}"
                self._failed(origin, site, RobotsUnavailable(message, refuses=refuses, retry_after=after))
            else:
                await self._understood(site, answer)
        except NetworkFailed as error:
            self._failed(origin, site, RobotsUnavailable(error.message, is_hosts=proxy is None))
        except RobotsUnavailable as error:
            self._failed(origin, site, error)
        except Exception as error:  # noqa: BLE001 - the task boundary: it is told to whoever asks
            self._failed(origin, site, RobotsUnavailable(f"{url}: {type(error).__name__}: {error}", is_hosts=False))
        finally:
            site.asking = None

    async def _understood(self, site: _Site, answer: Answered) -> None:
        is_there = 200 <= answer.status < 300 and answer.body
        file = await self._read(answer.body) if is_there else self._none
        delay_s = _delay_s(file)
        if delay_s:
            await self._restrain(site.host, delay_s)
        self._bytes += file.size - (site.file.size if site.file is not None else 0)
        site.file = file
        site.due_at = self._clock.now() + FRESH_S
        self._emit(RobotsRead(host=site.host, http_status=answer.status, bytes=file.size, delay_s=delay_s))
        self._forget()

    async def _read(self, body: bytes) -> RobotsFile:
        if len(body) <= PARSED_AT_ONCE_MAX:
            return RobotsFile(body, token=self._token)
        return await asyncio.to_thread(RobotsFile, body, token=self._token)

    def _failed(self, origin: str, site: _Site, failure: RobotsUnavailable) -> None:
        self._ahead.pop(origin, None)
        site.failed_at = self._clock.now()
        if site.file is None:
            site.failure = failure
        else:
            site.due_at = site.failed_at + AGAIN_S

    def _forget(self) -> None:
        """Forget the origins used longest ago while there are too many, or their files are too large."""
        if len(self._sites) <= SITES_MAX and self._bytes <= BYTES_MAX:
            return
        for origin, site in list(islice(self._sites.items(), _FORGET_MAX)):
            if len(self._sites) <= SITES_MAX and self._bytes <= BYTES_MAX:
                return
            if site.asking is not None or origin in self._ahead:
                self._sites.move_to_end(origin)
            else:
                del self._sites[origin]
                self._bytes -= site.file.size if site.file is not None else 0


def _delay_s(file: RobotsFile) -> float:
    return min(file.crawl_delay_s or 0.0, CRAWL_DELAY_MAX_S)
