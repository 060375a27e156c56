"""Which addresses a page may reach."""

import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from browsercrawl.net.addresses import Hosts, Reason, host_refusal, refusal
from browsercrawl.urls import address

V4 = st.integers(0, 2**32 - 1).map(IPv4Address) | st.ip_addresses(v=4)
V6 = st.integers(0, 2**128 - 1).map(IPv6Address) | st.ip_addresses(v=6)

EMBEDDINGS: dict[str, Callable[[int], IPv6Address]] = {
    "mapped": lambda v4: IPv6Address(0xFFFF << 32 | v4),
    "compatible": IPv6Address,
    "nat64": lambda v4: IPv6Address(0x64FF9B << 96 | v4),
    "6to4": lambda v4: IPv6Address(0x2002 << 112 | v4 << 80 | 1),
}


@pytest.mark.parametrize(
    ("spelling", "reason"),
    [
        ("127.0.0.1", Reason.LOOPBACK),
        ("127.255.255.254", Reason.LOOPBACK),
        ("::1", Reason.LOOPBACK),
        ("10.0.0.5", Reason.PRIVATE),
        ("172.31.255.255", Reason.PRIVATE),
        ("192.168.1.1", Reason.PRIVATE),
        ("100.64.0.1", Reason.PRIVATE),
        ("fd12::1", Reason.PRIVATE),
        ("169.254.1.1", Reason.LINK_LOCAL),
        ("fe80::1%eth0", Reason.LINK_LOCAL),
        ("169.254.169.254", Reason.METADATA),
        ("fd00:ec2::254", Reason.METADATA),
        ("168.63.129.16", Reason.METADATA),
        ("224.0.0.251", Reason.MULTICAST),
        ("ff02::1", Reason.MULTICAST),
        ("0.0.0.0", Reason.UNSPECIFIED),
        ("::", Reason.UNSPECIFIED),
        ("0.1.2.3", Reason.PRIVATE),
        ("255.255.255.255", Reason.RESERVED),
        ("240.0.0.1", Reason.RESERVED),
        ("192.88.99.1", Reason.RESERVED),
        ("198.18.0.1", Reason.PRIVATE),
        ("fec0::1", Reason.RESERVED),
        ("2001:db8::1", Reason.PRIVATE),
        ("3fff::1", Reason.RESERVED),
        ("5f00::1", Reason.RESERVED),
        ("64:ff9b:1::5db8:d822", Reason.RESERVED),
        ("::ffff:127.0.0.1", Reason.LOOPBACK),
        ("::7f00:1", Reason.LOOPBACK),
        ("64:ff9b::a9fe:a9fe", Reason.METADATA),
        ("2002:a00:5::1", Reason.PRIVATE),
        ("2001:0:5db8:d822:0:0:80ff:fffe", Reason.LOOPBACK),
        ("93.184.216.34", None),
        ("2606:2800:220:1::1", None),
        ("64:ff9b::5db8:d822", None),
        ("2606:2800:220:1::1%eth0", None),
    ],
)
def test_refusal_of_an_address_is_by_its_kind(spelling: str, reason: Reason | None) -> None:
    """Every kind of address that is no public one is refused, by its name."""
    assert refusal(ip_address(spelling)) == reason


@given(V4)
def test_refusal_of_ipv4_allows_global_unicast_only(ip: IPv4Address) -> None:
    """What is allowed is global and unicast by the registries as Python knows them."""
    if refusal(ip) is None:
        assert ip.is_global
        assert not ip.is_multicast
        assert not ip.is_reserved
    elif ip.is_global and not ip.is_multicast:
        assert ip in {IPv4Address("168.63.129.16"), IPv4Address("192.0.0.192")} or str(ip).startswith("192.88.99.")


@given(V6)
def test_refusal_of_ipv6_allows_global_unicast_only(ip: IPv6Address) -> None:
    """What is allowed is allocated and global, or stands for an IPv4 address that is."""
    if refusal(ip) is None and not str(ip).startswith(("::", "64:ff9b::")):
        assert ip.is_global
        assert int(ip) >> 125 == 1
        assert not ip.is_site_local


@pytest.mark.parametrize("form", EMBEDDINGS)
@given(v4=V4)
def test_refusal_of_an_embedded_address_is_that_of_what_it_stands_for(form: str, v4: IPv4Address) -> None:
    """No way to write an IPv4 address as an IPv6 one changes the verdict."""
    ip = EMBEDDINGS[form](int(v4))
    assert (refusal(ip) is None) == (refusal(v4) is None)


@pytest.mark.parametrize(
    "url",
    [
        "http://0x7f.1/",
        "http://017700000001/",
        "http://2130706433/",
        "http://127.1/",
        "http://127.0.0.1./",
        "http://１２７.0.0.1/",  # noqa: RUF001 - digits of full width are the point
        "http://public.example@127.0.0.1/",
        "http://[::ffff:127.0.0.1]/",
        "http://localhost/",
        "http://LOCALHOST./",
        "http://a.b.localhost:81/",
    ],
)
def test_host_refusal_knows_every_spelling_of_this_machine(url: str) -> None:
    """However this machine is written in a URL, it is refused."""
    assert host_refusal(address(url).hostname) is Reason.LOOPBACK


def test_host_refusal_of_a_name_waits_for_its_addresses() -> None:
    """Nothing is said of a name that is not looked up, also if it begins like an address."""
    assert [host_refusal(name) for name in ("example.com", "127.0.0.1.nip.example", "xlocalhost")] == [None] * 3


def test_hosts_name_is_not_its_subdomain() -> None:
    """A name stands for itself, `*.` and a domain for everything below it, in any case and with a final dot."""
    hosts = Hosts(["Intranet.Example", "*.corp.example"])
    assert hosts.has_host("intranet.example.")
    assert hosts.has_host("a.b.corp.example")
    assert not hosts.has_host("www.intranet.example")
    assert not hosts.has_host("corp.example")
    assert not hosts.has_host("evilcorp.example")


def test_hosts_network_holds_what_stands_for_its_addresses() -> None:
    """A network or address holds its own, also written as IPv6; one of the other family holds nothing of it."""
    hosts = Hosts(["10.0.0.0/8", "fd00::/8", "192.0.2.7"])
    assert hosts.has_host("10.1.2.3")
    assert hosts.has_host("[::ffff:10.1.2.3]")
    assert hosts.has_host("[fd00::1]")
    assert hosts.has_host("192.0.2.7")
    assert not hosts.has_host("11.0.0.1")
    assert not hosts.has_host("[fe80::1]")


def test_hosts_private_stands_for_all_that_is_refused() -> None:
    """`private` names every address that is refused by itself, and no other."""
    hosts = Hosts(["private"])
    assert hosts.has_host("127.0.0.1")
    assert hosts.has_host("localhost")
    assert hosts.has_host("[fe80::1]")
    assert not hosts.has_host("93.184.216.34")
    assert not hosts.has_host("example.com")


def test_hosts_long_list_and_long_name_cost_little() -> None:
    """It is asked before each connection: neither a list of 10,000 hosts nor a name of 200,000 letters takes long."""
    hosts = Hosts(each for number in range(10_000) for each in (f"h{number}.example", f"*.h{number}.example"))
    long = "a." * 100_000
    began = time.process_time()
    for _ in range(100):
        assert not hosts.has_host("www.site.test")
        assert not hosts.has_host(f"{long}site.test")
        assert hosts.has_host(f"{long}h7.example")
    assert time.process_time() - began < 1
