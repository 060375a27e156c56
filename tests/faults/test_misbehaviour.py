"""Misbehaviour that takes more than a page in a row of others: heavy pages, handlers that step into it, TLS."""

import contextlib
import datetime as dt
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from browsercrawl import Crawler, ErrorKind, Outcome, Visit
from browsercrawl.events import BrowserLaunched
from browsercrawl.testing import DemoSite
from browsercrawl.testing.faults import FAULTS, FaultSite
from browsercrawl.testing.server import Exchange, Server

if TYPE_CHECKING:
    from tests.faults.conftest import Crawl, Watched

DEADLINE_S = 5.0
FINE = "fine"
PARTIAL = "partial"

GREEDY: dict[str, tuple[str, ...]] = {
    "cookies": (FINE,),
    # The headless shell has the frames of all sites of a page in one process.
    "frame-hang": (ErrorKind.DEADLINE,),
    "frames-silent": (PARTIAL,),
    "socket-flood": (FINE,),
    # What it still needs itself stands in line behind what it asks for without end.
    "fetch-flood": (FINE, PARTIAL),
    "worker-hang": (FINE,),
    "workers": (FINE,),
}
"""Pages that take the machine, or their host's connections, from others."""


async def test_crawl_greedy_pages_end_in_time_and_harm_no_neighbour(site: DemoSite, crawl: "Crawl") -> None:
    """Floods have their expected outcome within the deadline + 2 s, in one browser; pages beside them succeed."""
    # Chromium opens six connections to a host: a neighbour on the same would rightly wait.
    host = f"http://greedy.localhost:{site.url.rpartition(':')[2]}"
    greedy = {fault.name: host + fault.target for fault in FAULTS if fault.name in GREEDY}
    good = [f"{site.url}/faults/page?n={number}" for number in range(len(greedy))]
    seeds = [url for pair in zip(greedy.values(), good, strict=True) for url in pair]
    limit_s = 10.0
    done = await crawl(seeds, concurrency=3, visit={"timeout_s": limit_s}, retry={"retries": 0, "backoff_s": 0.1})
    ended = {name: done.of(url) for name, url in greedy.items()}
    as_what = {
        name: result.error.kind if result.error else PARTIAL if result.partial else FINE
        for name, result in ended.items()
    }
    assert {name: what for name, what in as_what.items() if what not in GREEDY[name]} == {}
    assert {url: held for url in greedy.values() if (held := done.held_s(url)) > limit_s + 2} == {}
    assert [done.of(url).error for url in good if done.of(url).outcome is not Outcome.SUCCEEDED] == []
    assert len(done.told(BrowserLaunched)) == 1


async def test_crawl_bombs_end_in_time_and_harm_no_neighbour(site: DemoSite, crawl: "Crawl") -> None:
    """Bombs of packed content, of elements and of memory end within their deadline + 2 s, in one browser.

    Pages beside them succeed.
    """
    names = ("gzip-bomb?mb=256", "nested?levels=1000000", "bomb?mb=400", "hog?mb=400")
    bombs = [f"{site.url}/faults/{name}" for name in names]
    good = [f"{site.url}/faults/page?n={number}" for number in range(20)]
    done = await crawl(
        [*bombs, *good], concurrency=3, visit={"timeout_s": DEADLINE_S}, retry={"retries": 0, "backoff_s": 0.1}
    )
    assert {url: held for url in bombs if (held := done.held_s(url)) > DEADLINE_S + 2} == {}
    assert [done.of(url).error for url in good if done.of(url).outcome is not Outcome.SUCCEEDED] == []
    bad = {ErrorKind.DEADLINE, ErrorKind.MEMORY_EXCEEDED, ErrorKind.PAGE_CRASHED, None}
    assert {result.error.kind if result.error else None for result in map(done.of, bombs)} <= bad
    assert len(done.told(BrowserLaunched)) == 1


async def test_crawl_gzip_bomb_with_nothing_captured_succeeds(site: DemoSite, crawl: "Crawl") -> None:
    """What unpacks to 256 MB is a page like any other when there is time and nothing of it is taken."""
    done = await crawl([f"{site.url}/faults/gzip-bomb?mb=256"], visit={"timeout_s": 60, "capture": []})
    assert [(each.outcome, each.partial, each.title) for each in done.results] == [
        (Outcome.SUCCEEDED, False, "fault: gzip-bomb")
    ]


async def test_crawl_handler_that_clicks_into_a_hang_is_ended_in_time(site: DemoSite, crawl: "Crawl") -> None:
    """A click that hangs the page ends at the visit's deadline; the next visits do not notice."""
    urls = [f"{site.url}/faults/hang-click", f"{site.url}/about", f"{site.url}/delivery"]

    def prepare(crawler: Crawler, watched: "Watched") -> None:
        @crawler.handler()
        async def click(visit: Visit) -> None:
            if visit.request.url == urls[0]:
                await visit.page.click("#hang")
                await visit.page.evaluate("1")

    done = await crawl(urls, concurrency=1, visit={"timeout_s": 3}, retry={"retries": 0}, prepare=prepare)
    hung = done.of(urls[0])
    assert hung.error is not None
    assert hung.error.kind == ErrorKind.DEADLINE
    assert done.held_s(urls[0]) <= 3 + 2
    assert [done.of(url).outcome for url in urls[1:]] == [Outcome.SUCCEEDED] * 2
    assert all(done.of(url).timings.lease_s < 3 for url in urls[1:])


async def test_crawl_handler_that_leaves_a_page_which_asks_gets_away(site: DemoSite, crawl: "Crawl") -> None:
    """The question whether one really wants to leave is answered yes, for the handler and for the next visit."""
    urls = [f"{site.url}/faults/beforeunload", f"{site.url}/faults/beforeunload?n=1", f"{site.url}/about"]

    def prepare(crawler: Crawler, watched: "Watched") -> None:
        @crawler.handler()
        async def leave(visit: Visit) -> None:
            if visit.request.url == urls[0]:
                await visit.page.click("#next")
                await visit.page.wait_for_url("**/faults/page")
            elif visit.request.url == urls[1]:
                await visit.page.click("#line")  # only a page that was touched may ask

    done = await crawl(urls, concurrency=1, visit={"timeout_s": 10}, prepare=prepare)
    assert [done.of(url).outcome for url in urls] == [Outcome.SUCCEEDED] * 3
    assert [done.of(url).final_url for url in urls] == [f"{site.url}/faults/page", *urls[1:]]
    assert done.took_s < 10


async def test_crawl_service_worker_that_takes_over_is_classified(site: DemoSite, crawl: "Crawl") -> None:
    """A page that a service worker answers counts like any other; an answer of its that never ends is partial."""
    names = ("service-worker", "endless-worker")
    urls = [f"{site.url}/faults/{name}?turn={turn}" for name in names for turn in (1, 2)]

    def prepare(crawler: Crawler, watched: "Watched") -> None:
        @crawler.handler()
        async def wait(visit: Visit) -> None:
            if visit.request.url.endswith("turn=1"):
                await visit.page.evaluate("navigator.serviceWorker.ready.then(() => true)")

    done = await crawl(
        [*urls, f"{site.url}/about"], concurrency=1, visit={"timeout_s": 6}, retry={"retries": 0}, prepare=prepare
    )
    good, endless = done.of(urls[1]), done.of(urls[3])
    assert (good.outcome, good.partial, (good.text or "").strip()) == (Outcome.SUCCEEDED, False, "From the worker.")
    assert (endless.outcome, endless.partial, endless.title) == (Outcome.SUCCEEDED, True, "fault: endless-worker")
    assert done.of(f"{site.url}/about").outcome is Outcome.SUCCEEDED
    assert max(map(done.held_s, urls)) <= 6 + 2


async def test_crawl_page_that_keeps_every_connection_costs_neighbours_time_only(
    site: DemoSite, crawl: "Crawl"
) -> None:
    """Pages of a host of whose six connections another page has all are late, but none is lost."""
    urls = [f"{site.url}/faults/frames-silent?n=50", *(f"{site.url}/faults/page?n={number}" for number in range(6))]
    done = await crawl(urls, concurrency=4, visit={"timeout_s": DEADLINE_S}, retry={"retries": 2, "backoff_s": 0.1})
    assert [result.error for result in done.results if result.outcome is not Outcome.SUCCEEDED] == []
    assert done.held_s(urls[0]) <= DEADLINE_S + 2


# --- addresses that no site on a port of its own can have ----------------------------------------------------------


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    """A certificate of localhost that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path / "certificate.pem"
    pem = serialization.Encoding.PEM
    path.write_bytes(key.private_bytes(pem, *form) + signed.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


@pytest.fixture
def secure(tls: ssl.SSLContext) -> Iterator[str]:
    """Where the fault site is served by TLS."""
    faults = FaultSite()

    def answer(exchange: Exchange) -> None:
        faults.answer(exchange)

    server = Server(answer, tls=tls)
    yield f"https://localhost:{server.port}"
    server.stop()


async def test_crawl_addresses_without_a_server_fail_with_their_code(
    site: DemoSite, secure: str, crawl: "Crawl"
) -> None:
    """A wrong certificate, name or port is a failure of the network, with Chromium's own name."""
    with contextlib.closing(socket.socket()) as closed:
        closed.bind(("127.0.0.1", 0))  # bound, so that nobody else gets the port, but it does not listen
        codes = {
            f"{secure}/faults/page": "ERR_CERT_AUTHORITY_INVALID",
            f"http://127.0.0.1:{closed.getsockname()[1]}/": "ERR_CONNECTION_REFUSED",
            "http://127.0.0.1:1/": "ERR_UNSAFE_PORT",
            f"http://{'x' * 64}.invalid/": "ERR_NAME_NOT_RESOLVED",
        }
        seeds = [url for failing in codes for url in (failing, f"{site.url}/faults/page?beside={failing[-30:-10]}")]
        done = await crawl(seeds, visit={"timeout_s": DEADLINE_S}, retry={"retries": 0, "backoff_s": 0.1})
    told = {url: done.of(url).error for url in codes}
    assert {url: error.kind for url, error in told.items() if error} == dict.fromkeys(codes, ErrorKind.NETWORK)
    assert {url: error.message.rpartition(" ")[2] for url, error in told.items() if error} == codes
    assert {result.outcome for result in done.results if result.url not in codes} == {Outcome.SUCCEEDED}


async def test_crawl_server_that_never_shakes_hands_is_left_in_time(site: DemoSite, crawl: "Crawl") -> None:
    """A port that takes connections and says nothing, to TLS or to HTTP, costs the deadline and not more."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as deaf:
        urls = [f"{scheme}://127.0.0.1:{deaf.getsockname()[1]}/" for scheme in ("http", "https")]
        done = await crawl([*urls, f"{site.url}/about"], visit={"timeout_s": 2}, retry={"retries": 0})
    assert [error.kind for url in urls if (error := done.of(url).error)] == [ErrorKind.DEADLINE] * 2
    assert max(map(done.held_s, urls)) <= 2 + 2
    assert done.of(f"{site.url}/about").outcome is Outcome.SUCCEEDED


async def test_crawl_wrong_certificate_is_taken_when_asked_to(secure: str, crawl: "Crawl") -> None:
    """With Playwright's own option a certificate that nobody vouches for is as good as any."""
    url = f"{secure}/faults/page"
    done = await crawl([url], browser={"context_options": {"ignore_https_errors": True}})
    assert (done.of(url).outcome, done.of(url).title) == (Outcome.SUCCEEDED, "fault: page")


async def test_crawl_with_salvage_takes_what_a_hung_page_shows(site: DemoSite, crawl: "Crawl") -> None:
    """while(1) in the document or in its load handler: interrupted at the deadline, and what is there is a result."""
    urls = [f"{site.url}/faults/hang-{where}?salvage" for where in ("inline", "load")]
    done = await crawl(urls, visit={"timeout_s": 3, "salvage": True}, retry={"retries": 0})
    for url in urls:
        result = done.of(url)
        assert (result.outcome, result.partial) == (Outcome.SUCCEEDED, True), result.error
        assert result.title == f"fault: {url.rpartition('/')[2].partition('?')[0]}"
        assert "<h1>" in (result.html or "")
        assert done.held_s(url) <= 3 + 2
