"""Which addresses of the network a page may reach: those of the public internet, and what the user allows besides.

An IPv6 address that stands for an IPv4 one is judged by that: whoever translates it connects there. What is left must
be global unicast: the registries' special blocks (RFC 6890 and its successors) are refused, and so is what nobody has
given out yet. Spellings such as `0x7f.1` or `127.1` are the URL parser's business: it writes them as four numbers.
"""

from collections.abc import Iterable
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from browsercrawl.urls import Address

IP = IPv4Address | IPv6Address


class Reason(StrEnum):
    """Why an address or a host is refused."""

    LOOPBACK = "loopback"
    PRIVATE = "private"
    LINK_LOCAL = "link_local"
    METADATA = "metadata"
    """Where clouds tell their machines' secrets."""
    MULTICAST = "multicast"
    RESERVED = "reserved"
    UNSPECIFIED = "unspecified"
    DENIED = "denied"
    """By the user's own list."""
    BLOCKED = "blocked"
    """By the list of hosts from which nothing is fetched: no attack, and not told as one."""


_METADATA = frozenset(
    map(ip_address, ("169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "168.63.129.16"))
) | {ip_address("fd00:ec2::254")}
"""The last IPv4 one is public by its number, and served by the cloud to its machines all the same."""

_NAT64 = IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")
_COMPATIBLE = IPv6Network("::/96")
_ALLOCATED = IPv6Network("2000::/3")
_DOCUMENTS = IPv6Network("3fff::/20")
_RELAYS = ip_network("192.88.99.0/24")
_SHARED = ip_network("100.64.0.0/10")

_NAME_LENGTH_MAX = 256
"""Longer than any name that can be looked up: what a page writes before that costs nothing."""


def refusal(ip: IP) -> Reason | None:
    """Tell why an address must not be reached; None: it is one of the public internet.

    Example:
        >>> refusal(ip_address("::ffff:127.0.0.1")), refusal(ip_address("93.184.216.34"))
        (<Reason.LOOPBACK: 'loopback'>, None)
    """
    if isinstance(ip, IPv6Address):
        ip = IPv6Address(int(ip))  # without its zone: it says by which cable, not where to
        inside = _embedded(ip)
        if inside:
            return next((reason for each in inside if (reason := refusal(each)) is not None), None)
    if ip in _METADATA:
        return Reason.METADATA
    if ip.is_unspecified:
        return Reason.UNSPECIFIED
    if ip.is_loopback:
        return Reason.LOOPBACK
    if ip.is_link_local:
        return Reason.LINK_LOCAL
    if ip.is_multicast:
        return Reason.MULTICAST
    if ip.is_reserved:
        return Reason.RESERVED
    if ip.is_private or ip in _SHARED:
        return Reason.PRIVATE
    # 64:ff9b:1::/48 among them: its owner decides where in it the IPv4 address stands, so nobody else can read it.
    is_unallocated = isinstance(ip, IPv6Address) and ip not in _ALLOCATED
    return Reason.RESERVED if is_unallocated or ip in _DOCUMENTS or ip in _RELAYS or not ip.is_global else None


def _embedded(ip: IPv6Address) -> list[IPv4Address]:
    """Return the IPv4 addresses that an IPv6 one stands for."""
    number = int(ip)
    low = IPv4Address(number & 0xFFFFFFFF)
    if ip.ipv4_mapped is not None or ip in _NAT64:
        return [low]
    if ip in _COMPATIBLE and number > 1:
        return [low]
    if ip in _SIX_TO_FOUR:
        return [IPv4Address(number >> 80 & 0xFFFFFFFF)]
    if ip in _TEREDO:  # its server, and its client, of which all bits are turned
        return [IPv4Address(number >> 64 & 0xFFFFFFFF), IPv4Address(number & 0xFFFFFFFF ^ 0xFFFFFFFF)]
    return []


def literal(hostname: str) -> IP | None:
    """Return the address that a host of a canonical URL is; None: it is a name."""
    try:
        return ip_address(hostname.strip("[]"))
    except ValueError:
        return None


def host_refusal(hostname: str) -> Reason | None:
    """Tell why a host of a canonical URL must not be reached, as far as can be told without looking it up.

    Example:
        >>> host_refusal("localhost."), host_refusal("[fe80::1]"), host_refusal("example.com")
        (<Reason.LOOPBACK: 'loopback'>, <Reason.LINK_LOCAL: 'link_local'>, None)
    """
    name = hostname.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return Reason.LOOPBACK
    ip = literal(hostname)
    return refusal(ip) if ip is not None else None


class Hosts:
    """A list of hosts as users write it: names, `*.` and a domain for all below it, addresses, networks, `private`.

    Args:
        entries: such as `intranet.example`, `*.example.com`, `10.0.0.5`, `10.0.0.0/8`. `private` stands for everything
            that is refused by itself. What is none of these is taken for a name.

    Example:
        >>> hosts = Hosts(["*.example.com", "10.0.0.0/8"])
        >>> hosts.has_name("www.example.com"), hosts.has_name("example.com"), hosts.has_ip(ip_address("10.1.2.3"))
        (True, False, True)
    """

    def __init__(self, entries: Iterable[str]) -> None:
        self._names: set[str] = set()
        self._domains: set[str] = set()
        self._networks: list[IPv4Network | IPv6Network] = []
        self._has_private = False
        for entry in entries:
            text = entry.strip().rstrip(".").lower()
            if text == "private":
                self._has_private = True
            elif text.startswith("*.") and len(text) > len("*."):
                self._domains.add(text[2:])
            elif (network := _network(text)) is not None:
                self._networks.append(network)
            else:
                self._names.add(text)

    def has_name(self, hostname: str) -> bool:
        """Tell whether a name is on the list."""
        name = hostname.rstrip(".").lower()
        if name in self._names:
            return True
        # From parent to parent: a list may have 10,000 entries, and is asked before each connection.
        name = name[-_NAME_LENGTH_MAX:]
        while name and self._domains:
            name = name.partition(".")[2]
            if name in self._domains:
                return True
        return False

    def has_ip(self, ip: IP) -> bool:
        """Tell whether an address is on the list."""
        if self._has_private and refusal(ip) is not None:
            return True
        inside = [ip, *(_embedded(ip) if isinstance(ip, IPv6Address) else ())]
        return any(each in network for each in inside for network in self._networks if network.version == each.version)

    def has_host(self, hostname: str) -> bool:
        """Tell whether a host of a canonical URL is on the list, be it a name or an address."""
        ip = literal(hostname)
        if ip is not None:
            return self.has_ip(ip)
        return self.has_name(hostname) or (self._has_private and host_refusal(hostname) is not None)


def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text.strip("[]"), strict=False)
    except ValueError:
        return None


def is_local(address: Address) -> bool:
    """Tell whether an address of a URL names this machine or a private network, by itself, without looking it up."""
    return host_refusal(address.hostname) is not None


__all__ = ["IP", "Hosts", "Reason", "host_refusal", "is_local", "literal", "refusal"]
