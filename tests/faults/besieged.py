"""A machine under attack, for `test_network_guard.py`: a network of its own, a hostile site, and who reached what.

Run by `unshare --net --mount`, so that nothing can leave the machine and names are what `/etc/hosts` says here. Every
attack has an address of its own in 10.0.0.0/24; connections are counted by the address they came in at. It crawls the
hostile site once for each way given, and writes a line of JSON.
"""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

from browsercrawl import Crawler, CrawlerConfig, Request, Result
from browsercrawl.crawler.inputs import JobSeeds
from browsercrawl.net import resolver

PUBLIC = "93.184.216.34"
METADATA = "169.254.169.254"
HOSTILE = {PUBLIC, "127.0.0.1", "::1"}
HARMLESS_AT = "10.0.0.7"
HARMLESS = ("200 OK", "text/html", "<html id=done><a href='http://hostile.example/image'>x</a>")
"""A private site that links to the hostile one."""
SECURE = {"service-worker", "webtransport"}
"""What needs a secure context, which `localhost` is; there the site is hostile, too."""
UDP_PORTS = {"webrtc": 3478, "webtransport": 4433}

# `{at}` is the address of the attack, `done()` ends the page's visit.
PAGES = {
    "iframe": "<iframe src='http://{at}/' onload=done()></iframe>",
    "image": "<img src='http://{at}/' onload=done() onerror=done()>",
    "fetch": "<script>fetch('http://{at}/', {{mode: 'no-cors'}}).finally(done)</script>",
    "beacon": "<script>navigator.sendBeacon('http://{at}/', 'x'); later()</script>",
    "websocket": "<script>s = new WebSocket('ws://{at}/'); s.onclose = done</script>",
    "preconnect": "<link rel=preconnect href='http://{at}/' crossorigin><script>later()</script>",
    "prefetch": "<link rel=prefetch href='http://{at}/' onload=done() onerror=done()>",
    "popup": "<script>window.open('http://{at}/'); later()</script>",
    "worker": (
        "<script>new Worker(URL.createObjectURL(new Blob([\"fetch('http://{at}/', {{mode: 'no-cors'}})"
        '.finally(() => postMessage(1))"]))).onmessage = done</script>'
    ),
    "service-worker": (
        "<script>navigator.serviceWorker.register('/sw.js?{at}').then(() => navigator.serviceWorker.ready)"
        ".then(later, done)</script>"
    ),
    "name": "<img src='http://private.example/' onload=done() onerror=done()>",
    "mixed-name": "<img src='http://mixed.example/' onload=done() onerror=done()>",
    "mapped": "<img src='http://[::ffff:{at}]/' onload=done() onerror=done()>",
    "other-port": "<img src='http://127.0.0.1:81/' onload=done() onerror=done()>",
    "odd-spelling": "<img src='http://0x7f.1:82/' onload=done() onerror=done()>",
    "view-source": "<script>window.open('view-source:http://{at}/'); later()</script>",
    "webrtc": (
        "<script>p = new RTCPeerConnection({{iceServers: [{{urls: 'stun:{at}:3478'}}, {{urls: 'turn:{at}:80?"
        "transport=tcp', username: 'u', credential: 'p'}}]}}); p.createDataChannel('x');"
        "p.createOffer().then(o => p.setLocalDescription(o)).finally(later)</script>"
    ),
    "webtransport": "<script>new WebTransport('https://{at}:4433/').ready.then(done, later)</script>",
    "meta-refresh": "<meta http-equiv=refresh content='0;url=http://{at}/'>",
    "script-redirect": "<script>location = 'http://{at}/'</script>",
}
REDIRECTS = {"redirect": f"http://{METADATA}/latest", "redirect-port": "http://localhost:83/"}
LINKS = {"link": "http://{at}/", "link-odd": "http://0x7f.1:84/", "link-mapped": "http://[::ffff:{at}]/"}
SITEMAPS = {
    "sitemap-named": "http://{at}/map.xml",
    "sitemap-redirect": "http://hostile.example/sitemap-redirect",
    "sitemap-robots": "http://hostile.example/sitemap-robots",
    "sitemap-name": "http://inside.example/map.xml",
    "sitemap-mapped": "http://[::ffff:{at}]/map.xml",
    "sitemap-page": "http://hostile.example/sitemap-page",
}
"""What the hostile site's sitemap names; three of them are its own, and lead on: to a page the last."""
LOCAL_PORTS = {81: "other-port", 82: "odd-spelling", 83: "redirect-port", 84: "link-odd"}
NUMBERS = {name: number for number, name in enumerate([*PAGES, *REDIRECTS, *LINKS, *SITEMAPS], start=10)}

HEAD = """<!doctype html><title>page</title><script>
function done() {{ document.documentElement.id = 'done' }}
function later() {{ setTimeout(done, 400) }}
setTimeout(done, 2500)
</script>"""


class Site:
    """All servers there are: who came in at which address, and what the hostile one says."""

    def __init__(self) -> None:
        self.hits: Counter[str] = Counter()
        self._servers: list[asyncio.Server] = []
        self._udp: list[asyncio.DatagramTransport] = []
        self._serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        for port in (80, *LOCAL_PORTS):
            self._servers.append(await asyncio.start_server(self._accept, ["0.0.0.0", "::"], port))
        loop = asyncio.get_running_loop()
        for name, port in UDP_PORTS.items():
            transport, _ = await loop.create_datagram_endpoint(
                partial(Datagrams, self.hits, name), local_addr=("0.0.0.0", port)
            )
            self._udp.append(transport)
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()
        for transport in self._udp:
            transport.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.add(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port, *_ = writer.get_extra_info("sockname")
        host = host.removeprefix("::ffff:")
        if port in LOCAL_PORTS:
            self.hits[LOCAL_PORTS[port]] += 1
        elif host == METADATA:
            self.hits["redirect"] += 1
        elif host not in HOSTILE:
            number = int(host.rpartition(".")[2])
            self.hits[next((name for name, own in NUMBERS.items() if own == number), host)] += 1
        with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status, kind, body = (
                HARMLESS if host == HARMLESS_AT else answer(head.split(" ")[1] if host in HOSTILE else "")
            )
            lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", "Connection: close"]
            writer.write("\r\n".join([*lines, "", body]).encode())
            await writer.drain()
        writer.close()


class Datagrams(asyncio.DatagramProtocol):
    """Counts what comes in."""

    def __init__(self, hits: Counter[str], name: str) -> None:
        self._hits = hits
        self._name = name

    def datagram_received(self, data: bytes, addr: Any) -> None:
        del data, addr
        self._hits[self._name] += 1


def answer(target: str) -> tuple[str, str, str]:
    """Return status, type and body of what the hostile site says; what is private says a secret."""
    name = target.strip("/").partition("?")[0]
    if name in PAGES:
        at = f"10.0.0.{NUMBERS[name]}"
        return "200 OK", "text/html", HEAD.format() + PAGES[name].format(at=at)
    if name in REDIRECTS:
        return f"302 Found\r\nLocation: {REDIRECTS[name]}", "text/html", ""
    if name == "sitemap":
        found = "".join(f"<sitemap><loc>{at_own_address(name, url)}</loc></sitemap>" for name, url in SITEMAPS.items())
        return "200 OK", "text/xml", f"<sitemapindex>{found}</sitemapindex>"
    if name in SITEMAPS:
        at = at_own_address(name, "http://{at}/")
        return {
            "sitemap-redirect": (f"302 Found\r\nLocation: {at}", "text/xml", ""),
            "sitemap-robots": ("200 OK", "text/plain", f"Sitemap: {at}"),
            "sitemap-page": ("200 OK", "text/xml", f"<urlset><url><loc>{at}</loc></url></urlset>"),
        }[name]
    if name == "links":
        return (
            "200 OK",
            "text/html",
            HEAD.format()
            + "<script>done()</script>"
            + " ".join(f"<a href='{url.format(at=f'10.0.0.{NUMBERS[link]}')}'>x</a>" for link, url in LINKS.items()),
        )
    if name == "sw.js":
        at = target.partition("?")[2]
        return "200 OK", "text/javascript", f"oninstall = e => e.waitUntil(fetch('http://{at}/', {{mode: 'no-cors'}}))"
    if name == "rebind":
        script = "fetch('/secret').then(r => r.text()).then(t => { document.title = t }).finally(done)"
        return "200 OK", "text/html", HEAD.format() + f"<script>{script}</script>"
    return "200 OK", "text/html", "<html id=done><title>secret</title>secret"


def at_own_address(name: str, text: str) -> str:
    """Put an attack's own address into a text."""
    return text.format(at=f"10.0.0.{NUMBERS[name]}")


def resolve_as_attacker(name: str) -> None:
    """Let a name lead to the public site at first, and to a private one at every further question."""
    asked = Counter[str]()
    real = socket.getaddrinfo

    def lookup(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host != name:
            return real(host, port, *args, **options)
        asked[name] += 1
        return real(PUBLIC if asked[name] == 1 else "10.0.0.9", port, *args, **options)

    socket.getaddrinfo = lookup


async def crawl(
    network: dict[str, Any], urls: list[str], *, sitemaps: Sequence[str] = ()
) -> tuple[dict[str, Any], Any]:
    """Crawl and return what became of each request, by its path or URL, and the summary."""
    config = CrawlerConfig.load(
        {
            "network": network,
            "concurrency": 4,
            "retry": {"retries": 0},
            "visit": {"timeout_s": 8, "wait_for": "#done"},
            "links": {"depth": 1, "scope": "any"},
            # Chromium's own protection is off: what holds here is the guard.
            "browser": {"launch_options": {"args": ["--disable-features=LocalNetworkAccessChecks"]}},
        }
    )
    results: list[Result] = []
    async with Crawler(config) as crawler:
        stream = crawler.stream(JobSeeds(urls=[Request(url=url) for url in urls], sitemaps=sitemaps, config=config))
        results = [result async for result in stream]
    told = {each.url: [each.outcome, each.skip_reason or (each.error.kind if each.error else None)] for each in results}
    return told, stream.summary


async def besiege(guard: str) -> dict[str, Any]:
    """Crawl the hostile site; return what was reached, and what the crawl says of it."""
    names = [*PAGES, *REDIRECTS, "links"]
    async with Site() as site:
        urls = [f"http://{'localhost' if name in SECURE else 'hostile.example'}/{name}" for name in names]
        told, summary = await crawl({"guard": guard}, urls)
        mapped, _ = await crawl({"guard": guard}, [], sitemaps=["http://hostile.example/sitemap"])
        hits = dict(site.hits)
        report = {"hits": hits, "told": told, "links": summary.links_skipped, "refused": summary.refused}
        report["mapped"] = mapped
        if guard != "off":
            site.hits.clear()
            report["strict"], _ = await crawl({"guard": "auto", "deny": ["private"]}, ["http://10.0.0.5/"])
            report["own"], _ = await crawl({"guard": "on"}, ["http://10.0.0.6/"])
            report["own_hits"] = dict(site.hits)
            site.hits.clear()
            report["late"], _ = await crawl({"guard": "auto"}, [f"http://{HARMLESS_AT}/"])
            report["late_hits"] = dict(site.hits)
            site.hits.clear()
            resolver.KEPT_S = 0.0
            resolve_as_attacker("rebind.example")
            report["rebound"], _ = await crawl({"guard": "auto"}, ["http://rebind.example/rebind"])
            report["rebound_hits"] = dict(site.hits)
    return report


def prepare(folder: Path) -> None:
    """Set the network up: addresses on `lo`, names in `/etc/hosts`."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in (f"{PUBLIC}/32", f"{METADATA}/32", "10.0.0.1/24"):
        subprocess.run(["ip", "address", "add", address, "dev", "lo"], check=True)
    hosts = folder / "hosts"
    hosts.write_text(
        f"127.0.0.1 localhost\n{PUBLIC} hostile.example\n10.0.0.{NUMBERS['name']} private.example\n"
        f"10.0.0.{NUMBERS['mixed-name']} mixed.example\n{PUBLIC} mixed.example\n"
        f"10.0.0.{NUMBERS['sitemap-name']} inside.example\n"
    )
    subprocess.run(["mount", "--bind", str(hosts), "/etc/hosts"], check=True)


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
    sys.stdout.write(json.dumps({guard: asyncio.run(besiege(guard)) for guard in sys.argv[2:]}))
