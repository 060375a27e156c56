"""Hosts from which nothing is fetched, as the guard holds to them: on or not, with a proxy behind it or without."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from browsercrawl.config import NetworkConfig
from browsercrawl.events import Event
from browsercrawl.net import Guard, Reason
from browsercrawl.testing import DemoSite, ForwardProxy
from browsercrawl.urls import address
from tests.unit.net.conftest import Client

BLOCKED = ("ads.example", "metrics.localhost", "10.0.0.5")


@pytest.mark.parametrize("config", [{"guard": "on"}, {"guard": "auto"}, {"guard": "off"}], ids=str)
@pytest.mark.parametrize(
    ("host", "is_blocked"),
    [
        ("ads.example", True),
        ("ADS.example.", True),
        ("deep.down.ads.example", True),
        ("10.0.0.5", True),
        ("bads.example", False),
        ("ads.example.net", False),
        ("example", False),
    ],
)
def test_refusal_blocked_host_is_refused_with_the_names_below(
    config: dict[str, Any], host: str, is_blocked: bool
) -> None:
    """Whole labels count, in any spelling; with the guard off as well; what the user trusts besides changes nothing."""
    guard = Guard(NetworkConfig.model_validate(config), blocked=BLOCKED, emit=lambda _: None)
    url = address(f"http://{host}/")
    guard.trust(url)
    assert (guard.refusal(url) is Reason.BLOCKED) == is_blocked


def test_refusal_blocked_host_does_not_switch_the_guard_on() -> None:
    """A public host that nobody is going to visit is no reason to keep a local crawl from its own network."""
    guard = Guard(NetworkConfig(), blocked=BLOCKED, emit=lambda _: None)
    assert guard.refusal(address("http://ads.example/")) is Reason.BLOCKED
    assert not guard.is_on


@pytest.mark.parametrize("proxy", ["none", "http", "socks"])
@pytest.mark.parametrize("mode", ["on", "off"])
async def test_way_blocked_host_is_not_connected_and_not_told_as_an_attack(
    site: DemoSite, mode: str, proxy: str
) -> None:
    """Neither site nor proxy hears of it; the way notes it, and neither the count nor the events call it refused."""
    events: list[Event] = []
    allow = {"allow_private": True} if mode == "on" else {}
    guard = Guard(NetworkConfig.model_validate({"guard": mode, **allow}), blocked=BLOCKED, emit=events.append)
    port = site.url.rstrip("/").rpartition(":")[2]
    async with AsyncExitStack() as stack:
        behind = stack.enter_context(ForwardProxy())
        url = {"none": None, "http": behind.url, "socks": behind.url.replace("http", "socks5")}[proxy]
        way = await guard.open(url)
        stack.push_async_callback(way.close)
        stack.callback(guard.close)
        began = asyncio.get_running_loop().time()
        for host in ("metrics.localhost", "deep.metrics.localhost"):
            client = Client(*await asyncio.open_connection("127.0.0.1", int(way.url.rpartition(":")[2])))
            client.send(f"CONNECT {host}:{port} HTTP/1.1\r\n\r\n".encode())
            assert (await client.head()).startswith(b"HTTP/1.1 502 ")
            client.writer.transport.abort()
        assert [(note.host, note.reason) for note in way.ledger.since(began)] == [
            ("metrics.localhost", Reason.BLOCKED),
            ("deep.metrics.localhost", Reason.BLOCKED),
        ]
        assert behind.requests == ()
        assert (guard.refused, events) == (0, [])
    assert site.arrivals() == ()
