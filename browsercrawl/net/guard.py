"""The network guard: which URLs may be visited, and the ways by which contexts reach what their pages ask for.

A URL tells little: names lead anywhere, redirects, images, sockets and workers are never seen by the crawler. So each
context gets a proxy of our own on loopback, which looks each name up once, refuses it when any of its addresses is no
public one, and connects to what it has looked at. Behind it Chromium keeps its cache, and nothing is intercepted.

With `auto` the guard is off as long as everything that is visited is private by its URL, which is the user's own
choice then; the first public URL switches it on, for good, and contexts that were opened before serve no more visits.
"""

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Collection
from functools import partial
from ipaddress import ip_address
from weakref import WeakValueDictionary

from browsercrawl.config import NetworkConfig
from browsercrawl.events import ConnectionRefused, Emit, GuardStarted
from browsercrawl.net.addresses import IP, Hosts, Reason, host_refusal, literal, refusal
from browsercrawl.net.gate import Gate, connect
from browsercrawl.net.ledger import Ledger, Note, Refused
from browsercrawl.net.relay import ProxyRelay, Upstream
from browsercrawl.net.resolver import Resolver
from browsercrawl.net.socks import Socks
from browsercrawl.urls import Address, shown

_TOLD_MAX = 1_000
"""Refusals told one by one; more are counted only."""
_TRUSTED_MAX = 10_000
_UNKNOWN_LIMIT_S = 5.0
"""For a name behind a proxy to be looked up here as well; where only the proxy knows names, nobody answers."""
_UNKNOWN_KEPT_S = 300.0
_UNKNOWN_MAX = 10_000
_THIS_MACHINE: list[IP] = [ip_address("127.0.0.1"), ip_address("::1")]

Way = Gate | ProxyRelay
"""What a context has as its proxy."""


class Guard:
    """See the module's text.

    Args:
        config: what is allowed.
        proxy: of all contexts that have none of their own.
        blocked: hosts from which nothing is fetched, with all names below them.
        emit: takes `guard.started` and `guard.refused`.

    Attributes:
        is_on: what is not public is refused.
        blocks: there are hosts from which nothing is fetched.
        refused: connections that were refused so far.
        transferred_bytes: that went through all its ways so far.
    """

    def __init__(
        self, config: NetworkConfig, *, proxy: str | None = None, blocked: Collection[str] = (), emit: Emit
    ) -> None:
        self.is_on = config.guard == "on" or (config.guard == "auto" and bool(config.deny))
        self.refused = self.transferred_bytes = 0
        self._config = config
        self._proxy = proxy
        self._emit = emit
        self._allow = Hosts(config.allow)
        self._deny = Hosts(config.deny)
        self.blocks = bool(blocked)
        self._blocked = Hosts([*blocked, *(f"*.{host}" for host in blocked)])
        self._trusted: set[str] = set()
        self._told: set[tuple[str, int, Reason]] = set()
        self._resolver = Resolver()
        self._unknown: OrderedDict[str, float] = OrderedDict()
        self._ways: WeakValueDictionary[str, Way] = WeakValueDictionary()

    # --- URLs --------------------------------------------------------------------------------------------------------

    def trust(self, address: Address) -> bool:
        """Allow the private origin of a URL that the user gave himself. Returns whether it is one, and was new.

        What a name leads to is not the user's word but that of whoever answers for it: it is not trusted.
        """
        if host_refusal(address.hostname) is None or address.host in self._trusted:
            return False
        if len(self._trusted) >= _TRUSTED_MAX:
            return False
        self._trusted.add(address.host)
        return True

    def refusal(self, address: Address) -> Reason | None:
        """Tell why a URL must not be visited, as far as it shows; a public one switches the guard on."""
        if self._blocked.has_host(address.hostname):
            return Reason.BLOCKED
        if self._config.guard == "off":
            return None
        reason = host_refusal(address.hostname)
        if reason is None and not self.is_on:
            self.is_on = True
            self._emit(GuardStarted(url=shown(address.canonical)))
        if not self.is_on:
            return None
        if self._deny.has_host(address.hostname):
            return Reason.DENIED
        allowed = self._config.allow_private or address.host in self._trusted or self._allow.has_host(address.hostname)
        return None if allowed else reason

    # --- connections -------------------------------------------------------------------------------------------------

    async def open(self, proxy: str | None) -> Way:
        """Open a way into the network: for one context, or for a client of our own that speaks HTTP to a proxy.

        It holds from its first connection on, also if the guard comes on later. Whoever opened it closes it.

        Args:
            proxy: the URL of its own proxy; None: that of all, if there is one.

        Raises:
            ValueError: the proxy's URL is none. OSError: no port is free.
        """
        ledger = Ledger(on_refused=self._note, on_passed=self._count)
        if (url := proxy or self._proxy) is None:
            way: Way = Gate(self._dial, ledger)
        elif url.lower().startswith("socks"):
            socks = Socks(url, resolve=self._resolver.addresses)
            way = Gate(partial(self._dial_socks, socks), ledger, failure=lambda: socks.failure)
        else:
            way = ProxyRelay(Upstream.parse(url), ledger=ledger, check=self._check, resolve=self._resolver.addresses)
        await way.start()
        self._ways[way.url] = way
        return way

    def way(self, url: str) -> Way | None:
        """Return the way with this URL; None: there is none."""
        return self._ways.get(url)

    def close(self) -> None:
        """Start no further lookup."""
        self._resolver.close()

    async def _dial(self, host: str, port: int) -> socket.socket:
        return await connect(await self._addresses(host, port), port)

    async def _dial_socks(self, socks: Socks, host: str, port: int) -> socket.socket:
        await self._check(host, port)
        return await socks.connect(host, port)

    async def _check(self, host: str, port: int) -> None:
        """Make sure that a proxy may be asked for a host; a name that is unknown here is the proxy's own business.

        That is remembered for five minutes: each request is asked about, and none is to wait long for nothing.

        Raises:
            Refused: it may not.
        """
        if self._blocked.has_host(host):
            raise Refused(Reason.BLOCKED)
        if not self.is_on:
            return
        now = asyncio.get_running_loop().time()
        if self._unknown.get(host, 0.0) > now:
            return
        try:
            async with asyncio.timeout(_UNKNOWN_LIMIT_S):
                await self._addresses(host, port)
        except OSError:
            self._unknown[host] = now + _UNKNOWN_KEPT_S
            self._unknown.move_to_end(host)
            if len(self._unknown) > _UNKNOWN_MAX:
                self._unknown.popitem(last=False)

    async def _addresses(self, host: str, port: int) -> list[IP]:
        """Return the addresses to connect to; while the guard is off, whatever they are.

        Raises:
            Refused: any of them must not be reached.
            OSError: there are none.
        """
        if self._blocked.has_host(host):
            raise Refused(Reason.BLOCKED)
        if self._deny.has_host(host):
            raise Refused(Reason.DENIED)
        ip, reason = literal(host), host_refusal(host)
        if ip is not None or reason is not None:
            is_allowed = self._config.allow_private or f"{host}:{port}" in self._trusted or self._allow.has_host(host)
            if reason is not None and self.is_on and not is_allowed:
                raise Refused(reason)
            return [ip] if ip is not None else _THIS_MACHINE
        found = await self._resolver.addresses(host.rstrip("."))
        if any(map(self._deny.has_ip, found)):
            raise Refused(Reason.DENIED)
        if not self.is_on or self._config.allow_private or self._allow.has_name(host):
            return found
        for each in found:
            if (reason := refusal(each)) is not None and not self._allow.has_ip(each):
                raise Refused(reason)
        return found

    def _count(self, count: int) -> None:
        self.transferred_bytes += count

    def _note(self, note: Note) -> None:
        assert note.reason is not None, "only refusals are told"
        self.refused += 1
        told = (note.host, note.port, note.reason)
        if told not in self._told and len(self._told) < _TOLD_MAX:
            self._told.add(told)
            self._emit(ConnectionRefused(host=note.host, port=note.port, reason=note.reason))


__all__ = ["Guard", "Way"]
