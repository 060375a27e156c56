"""Which hosts are one host to politeness: the place where a slot's key comes from."""

from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address

from browsercrawl.config import HostConfig

_KEPT_MAX = 10_000
"""Hosts whose domain is remembered; looking one up takes some microseconds."""


def slot_key(config: HostConfig) -> Callable[[str], str]:
    """Return the function that gives the key of the slot of a `hostname:port`; of such a key it gives the key itself.

    By domain, that is the registrable domain, whatever the port. The list's private suffixes count (`a.github.io` and
    `b.github.io` are two): their owners differ, and such a platform bears a visitor for each of its customers. A
    host without such a domain, like an address or `localhost`, stays by itself.

    Example:
        >>> slot_key(HostConfig(by="domain"))("www.shop.example.co.uk:443")
        'example.co.uk'
        >>> slot_key(HostConfig())("www.shop.example.co.uk:443")
        'www.shop.example.co.uk:443'
    """
    if config.by == "host":
        return lambda host: host
    from publicsuffixlist import PublicSuffixList  # noqa: PLC0415 - reads a file of 300 kB, which few need

    suffixes = PublicSuffixList()

    @lru_cache(maxsize=_KEPT_MAX)
    def domain(host: str) -> str:
        name = host.rpartition(":")[0] or host
        return host if _is_address(name) else suffixes.privatesuffix(name) or host

    return domain


def _is_address(name: str) -> bool:
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
