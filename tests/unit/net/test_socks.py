"""A SOCKS proxy that fails: it is told from a site that fails, and no message holds a password."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator

import pytest

from browsercrawl.net import socks as socks_module
from browsercrawl.net.addresses import IP
from browsercrawl.net.socks import Socks

RESET = struct.pack("ii", 1, 0)


async def nowhere(_name: str) -> list[IP]:
    """Find no name."""
    raise socket.gaierror(socket.EAI_NONAME, "unknown")


async def resetting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Cut each connection."""
    await reader.read(3)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.close()


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say nothing until the other side leaves."""
    with contextlib.suppress(OSError):
        await reader.read()
    writer.close()


async def willing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Greet, and then say nothing."""
    await reader.read(3)
    writer.write(b"\x05\x00")
    await silent(reader, writer)


@pytest.fixture
async def server(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A proxy that does as the test says."""
    running = await asyncio.start_server(request.param, "127.0.0.1", 0)
    yield f"socks5://me:planted@127.0.0.1:{running.sockets[0].getsockname()[1]}"
    running.close()
    await running.wait_closed()
    await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("server", "why"),
    [(resetting, "reset"), (silent, "not within 0.1 s")],
    indirect=["server"],
    ids=["reset", "silent"],
)
async def test_socks_proxy_that_does_not_greet_has_failed(
    server: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes connections, and that is all: the proxy's fault, not the site's."""
    monkeypatch.setattr(socks_module, "_LIMIT_S", 0.1)
    socks = Socks(server, resolve=nowhere)
    with pytest.raises(OSError, match="does not answer"):
        await socks.connect("site.test", 80)
    assert socks.failure is not None
    assert why in socks.failure[1]
    assert "planted" not in socks.failure[1]


@pytest.mark.parametrize("server", [willing], indirect=True)
async def test_socks_slow_target_is_not_the_proxys_fault(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it has greeted, the proxy waits for the site."""
    monkeypatch.setattr(socks_module, "_REPLY_LIMIT_S", 0.1)
    socks = Socks(server, resolve=nowhere)
    with pytest.raises(TimeoutError):
        await socks.connect("site.test", 80)
    assert socks.failure is None


@pytest.mark.parametrize("server", [willing], indirect=True)
async def test_socks_name_too_long_to_ask_for_is_not_asked_for(server: str) -> None:
    """A name has one byte for its length there: what does not fit is a host that cannot be reached."""
    socks = Socks(server, resolve=nowhere)
    with pytest.raises(OSError, match="length"):
        await socks.connect(f"{'a.' * 200}test", 80)
    assert socks.failure is None


@pytest.mark.parametrize("url", ["socks5://me:planted/x@host:1080", "socks5://me:pw@host:planted", "socks5://:1080"])
def test_socks_url_that_is_none_is_refused_without_its_secrets(url: str) -> None:
    """A password with a slash in it is half taken for a port: the message holds nothing of it."""
    with pytest.raises(ValueError, match="must be the URL") as told:
        Socks(url, resolve=nowhere)
    assert "planted" not in str(told.value)
