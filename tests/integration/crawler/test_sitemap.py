"""Seeds from sitemaps, from a server on loopback that may send anything."""

import asyncio
import gzip
import re
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing

import pytest

from browsercrawl.config import BrowserConfig, CrawlerConfig
from browsercrawl.crawler.inputs import JobSeeds, readers, sitemap
from browsercrawl.crawler.inputs.sitemap import SITEMAP_BYTES_MAX, SitemapClient
from browsercrawl.crawler.inputs.walk import Found, Root, SitemapPlace, walk_sitemaps
from browsercrawl.dispatcher.feed import Batch, Seed
from browsercrawl.errors import ConfigError, InputError
from browsercrawl.testing.server import Exchange, Server

_SPACE = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'

Content = bytes | str | Callable[[Exchange], None]


class _Site:
    """Serves what it is given, by path; `urls` tells what was asked for."""

    def __init__(self) -> None:
        self.contents: dict[str, Content] = {}
        self.agents: list[str] = []
        self._server = Server(self._answer)
        self.stop = self._server.stop

    def put(self, path: str, content: Content) -> str:
        self.contents[path] = content
        return self.url(path)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._server.port}{path}"

    def asked(self) -> list[str]:
        return [arrival.target for arrival in self._server.arrivals()]

    def _answer(self, exchange: Exchange) -> None:
        self.agents.append(exchange.headers["user-agent"])
        content = self.contents.get(exchange.target)
        if content is None:
            exchange.respond("none", status=404)
        elif callable(content):
            content(exchange)
        else:
            exchange.respond(content, content_type="application/xml")


@pytest.fixture
def site() -> Iterator[_Site]:
    """Give a site, stopped afterwards."""
    made = _Site()
    yield made
    made.stop()


def _urlset(addresses: Sequence[str]) -> str:
    entries = "".join(f"<url><loc>{each}</loc><priority>0.5</priority></url>\n" for each in addresses)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<urlset {_SPACE}>{entries}</urlset>'


def _index(addresses: Sequence[str]) -> str:
    entries = "".join(f"<sitemap><loc>{each}</loc></sitemap>" for each in addresses)
    return f"<sitemapindex {_SPACE}>{entries}</sitemapindex>"


def _pages(name: str, count: int) -> list[str]:
    return [f"https://a.example/{name}/{number}" for number in range(count)]


async def _found(sitemaps: Sequence[str], place: SitemapPlace | None = None) -> list[Found]:
    client = SitemapClient(limit_s=3.0, silence_s=1.0, pauses_s=(0.0,))
    async with aclosing(walk_sitemaps([Root(url) for url in sitemaps], client, place=place)) as found:
        return [each async for each in found]


def _entries(found: Sequence[Found]) -> list[str]:
    return [entry for each in found for entry in each.entries if isinstance(entry, str)]


def _errors(found: Sequence[Found]) -> list[InputError]:
    return [entry for each in found for entry in each.entries if isinstance(entry, InputError)]


async def _batches(seeds: JobSeeds, mark: str | None = None) -> list[Batch]:
    return [batch async for batch in seeds.batches(mark)]


def _seeds(batches: Sequence[Batch]) -> list[Seed]:
    return [seed for batch in batches for seed in batch.seeds]


async def test_batches_sitemap_gives_a_seed_for_each_loc(site: _Site) -> None:
    """Addresses come in order, 50 at once, behind the list; a bad one is an error with the place where it stands."""
    pages = _pages("p", 120)
    url = site.put("/sitemap.xml", _urlset([*pages[:60], "javascript:alert(1)", *pages[60:]]))
    seeds = JobSeeds(
        urls=["https://first.example/"], sitemaps=[url], config=CrawlerConfig(browser=BrowserConfig(user_agent="me/1"))
    )
    batches = await _batches(seeds)
    assert [len(batch.seeds) for batch in batches] == [1, 50, 50, 21]
    found = _seeds(batches)
    (error,) = [seed for seed in found if isinstance(seed, InputError)]
    assert [seed for seed in found if seed is not error] == ["https://first.example/", *pages]
    assert error.kind == "url_invalid"
    assert error.place == f"sitemap {url} javascript:alert(1)"
    assert site.agents == ["me/1"]


_PLAIN = _pages("p", 3)
_XML = _urlset(_PLAIN)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(_XML, id="xml"),
        pytest.param(gzip.compress(_XML.encode()), id="gz"),
        pytest.param(gzip.compress(gzip.compress(_XML.encode())), id="gz in gz"),
        pytest.param(gzip.compress(_XML[:99].encode()) + gzip.compress(_XML[99:].encode()), id="members"),
        pytest.param(gzip.compress(_XML.encode()) + b"\0" * 512, id="padded gz"),
        pytest.param("\ufeff" + _XML, id="utf-8 mark"),
        pytest.param(_XML.replace("UTF-8", "UTF-16").encode("utf-16"), id="utf-16"),
        pytest.param("\n".join(_PLAIN), id="text"),
        pytest.param("\ufeff\r\n" + "\r\n".join(_PLAIN) + "\r\n\r\n", id="text of windows"),
        pytest.param(gzip.compress("\n".join(_PLAIN).encode()), id="text gz"),
        pytest.param(_XML.replace(f" {_SPACE}", ""), id="no namespace"),
        pytest.param(_XML.replace("<loc>", "<loc>\n   ").replace("</loc>", "\n</loc>"), id="spaces"),
        pytest.param(_XML.replace("https://a.example/p/1", "<![CDATA[https://a.example/p/1]]>"), id="cdata"),
        pytest.param(
            _XML.replace("</url>", "<i:image xmlns:i='urn:i'><i:loc>https://x.example/</i:loc></i:image></url>"),
            id="images",
        ),
        pytest.param(_XML.replace("<priority>", "<!-- x --><?php y?><priority>"), id="comments"),
    ],
)
async def test_walk_sitemaps_every_form_of_a_sitemap_is_understood(site: _Site, content: bytes | str) -> None:
    """XML or text, packed or not, with everything that stands in real ones."""
    found = await _found([site.put("/sitemap", content)])
    assert _errors(found) == []
    assert _entries(found) == _PLAIN


async def test_walk_sitemaps_packed_for_the_way_is_understood(site: _Site) -> None:
    """An answer packed as a whole is unpacked; in chunks of one byte as well."""

    def answer(exchange: Exchange) -> None:
        exchange.begin({"Transfer-Encoding": "chunked", "Content-Encoding": "gzip"})
        for byte in gzip.compress(_XML.encode()):
            exchange.send_chunk(bytes([byte]))
        exchange.send_chunk(b"")

    found = await _found([site.put("/sitemap.xml", answer)])
    assert _entries(found) == _PLAIN


async def test_walk_sitemaps_index_is_followed_depth_first_in_order(site: _Site) -> None:
    """An index leads to its sitemaps, also to further indexes; one named twice, or naming itself, is read once."""
    a, b, c = (site.put(f"/{name}.xml", _urlset(_pages(name, 2))) for name in "abc")
    inner = site.put("/inner.xml", _index([b, site.url("/index.xml"), a]))
    index = site.put("/index.xml", _index([a, inner, c, a]))
    found = await _found([index, c])
    assert _entries(found) == _pages("a", 2) + _pages("b", 2) + _pages("c", 2) + _pages("c", 2)
    assert _errors(found) == []


async def test_walk_sitemaps_indexes_inside_each_other_end_somewhere(site: _Site) -> None:
    """An endless chain of indexes is cut, with an error that says so."""
    for number in range(9):
        site.put(f"/{number}.xml", _index([site.url(f"/{number + 1}.xml")]))
    (error,) = _errors(await _found([site.url("/0.xml")]))
    assert "more than 4 sitemaps inside each other" in error.message
    assert site.asked() == ["/0.xml", "/1.xml", "/2.xml", "/3.xml"]


async def test_batches_sitemap_from_every_mark_misses_nothing(site: _Site) -> None:
    """From every mark come all seeds not yet read; what comes again says so, and no finished sitemap is fetched."""
    urls = [site.put(f"/{name}.xml", _urlset(_pages(name, 120))) for name in "abc"]
    index = site.put("/index.xml", _index([urls[0], site.url("/none.xml"), urls[1]]))
    seeds = JobSeeds(sitemaps=[index, urls[2]])
    batches = await _batches(seeds)
    everything = [str(seed) for seed in _seeds(batches)]
    assert len(everything) == 361
    done = 0
    for batch in batches:
        done += len(batch.seeds)
        before = len(site.asked())
        resumed = await _batches(seeds, batch.mark)
        fresh = [str(seed) for each in resumed if not each.again for seed in each.seeds]
        missed = set(everything[done:]) - set(fresh)
        assert not missed
        assert set(fresh) - set(everything[done:]) <= {each for each in everything if "none.xml" in each}
        if "b/119" in everything[done - 1]:
            assert site.asked()[before:] == ["/index.xml", "/b.xml", "/c.xml"]


async def test_walk_sitemaps_changed_while_away_are_read_anew(site: _Site) -> None:
    """An index that does not name the sitemap any more is gone through again, with all that is new in it."""
    a, b = (site.put(f"/{name}.xml", _urlset(_pages(name, 2))) for name in "ab")
    index = site.put("/index.xml", _index([a, b]))
    *_, last = await _found([index])
    assert last.place.within == (index, b)
    site.put("/index.xml", _index([site.put("/new.xml", _urlset(_pages("new", 2))), a]))
    assert _entries(await _found([index], last.place)) == _pages("new", 2) + _pages("a", 2)
    site.put("/index.xml", _index([a, b]))
    site.put("/b.xml", _urlset(_pages("fresh", 1) + _pages("b", 2)))  # what is new often comes first
    again, rest = await _found([index], last.place)
    assert (again.again, rest.again) == (True, False)
    assert [*again.entries, *rest.entries] == _pages("fresh", 1) + _pages("b", 2)


def _endless(exchange: Exchange) -> None:
    exchange.begin({"Transfer-Encoding": "chunked"})
    exchange.send_chunk(f"<urlset {_SPACE}>".encode())
    while True:
        exchange.send_chunk(b"<url><loc>https://a.example/x</loc><x>" + b"y" * 60_000 + b"</x></url>")


def _silent(exchange: Exchange) -> None:
    exchange.pause(None)


def _dripping(exchange: Exchange) -> None:
    exchange.begin({"Transfer-Encoding": "chunked"})
    while True:
        exchange.send_chunk(b" ")
        exchange.pause(0.2)


def _cut(exchange: Exchange) -> None:
    exchange.begin({"Content-Length": "1000"})
    exchange.keep = False


def _loop(exchange: Exchange) -> None:
    exchange.respond(status=302, headers={"Location": exchange.path})


def _foreign(exchange: Exchange) -> None:
    exchange.respond(b"x", headers={"Content-Encoding": "br"})


def _status(status: int) -> Callable[[Exchange], None]:
    return lambda exchange: exchange.respond("no", status=status)


def _bomb(start: str, filling: bytes) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    packed = packer.compress(start.encode())
    for _ in range(SITEMAP_BYTES_MAX // len(filling) + 1):
        packed += packer.compress(filling)
    return packed + packer.flush()


_ENTITIES = (
    '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;"><!ENTITY c "&b;&b;&b;">]>'
    f"<urlset {_SPACE}><url><loc>https://a.example/&c;</loc></url></urlset>"
)
_FILE = (
    '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    f"<urlset {_SPACE}><url><loc>https://a.example/&a;</loc></url></urlset>"
)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(_status(404), "the server answered 404", id="404"),
        pytest.param(_status(500), "the server answered 500", id="500"),
        pytest.param(_silent, "the connection failed (ReadTimeout)", id="silent"),
        pytest.param(_dripping, "did not come within 3 s", id="dripping"),
        pytest.param(_cut, "the connection failed (RemoteProtocolError)", id="cut"),
        pytest.param(_loop, "redirects more than 5 times", id="redirect loop"),
        pytest.param(_foreign, "packed by 'br'", id="foreign packing"),
        pytest.param(b"", "it is empty", id="empty"),
        pytest.param("<html><body>no</body></html>", "its root is <html>", id="html"),
        pytest.param("User-agent: *\nDisallow: /", "nor a robots.txt that names", id="robots"),
        pytest.param('{"a": 1}', "neither XML nor a list of addresses", id="json"),
        pytest.param(gzip.compress(_XML.encode())[:-30], "breaks off", id="torn gz"),
        pytest.param(b"\x1f\x8bnonsense", "is damaged", id="damaged gz"),
        pytest.param(_ENTITIES, "declares entities", id="entity bomb"),
        pytest.param(_FILE, "declares entities", id="outside entity"),
        pytest.param('<?xml version="1.0" encoding="klingon"?><urlset/>', "unknown encoding", id="encoding"),
        pytest.param(f"<urlset {_SPACE}>" + "<a>" * 100, "inside each other", id="deep"),
        pytest.param(f"<urlset {_SPACE}><a b='" + "x" * 9_000_000, "longer than 1,048,576 bytes", id="huge tag"),
        pytest.param("https://a.example/" + "x" * 9_000_000, "longer than 1,048,576 bytes", id="huge line"),
        pytest.param(_bomb(f"<urlset {_SPACE}>", b" " * 1_000_000), "larger than 52,428,800 bytes", id="bomb"),
        pytest.param(
            gzip.compress(_bomb("<urlset>", b" " * 1_000_000)), "larger than 52,428,800 bytes", id="bomb in bomb"
        ),
    ],
)
async def test_walk_sitemaps_bad_one_is_one_error_and_the_rest_goes_on(
    site: _Site, content: Content, reason: str
) -> None:
    """Whatever a server sends: in bounded time there is one failed seed that names the sitemap and why."""
    bad, good = site.put("/bad.xml", content), site.put("/good.xml", _XML)
    found = await _found([site.put("/index.xml", _index([bad, good]))])
    (error,) = _errors(found)
    assert error.message.startswith(f"sitemap {bad} cannot be read: ")
    assert reason in error.message
    assert (error.text, error.place) == (bad, f"sitemap {bad}")
    assert _entries(found)[-3:] == _PLAIN


async def test_walk_sitemaps_that_breaks_off_keeps_what_came(site: _Site) -> None:
    """What stands before the damage is taken; the damage is an error of its own."""
    contents: tuple[Content, ...] = (_XML[:-40], _XML + "<", _endless)
    for number, content in enumerate(contents):
        found = await _found([site.put(f"/{number}.xml", content)])
        (error,) = _errors(found)
        assert "what came before that was taken" in error.message
        assert _entries(found)


async def test_walk_sitemaps_passing_failure_is_tried_again(site: _Site) -> None:
    """A server that is busy for a moment costs a second try and nothing else; a final answer is not asked for twice."""
    statuses = iter((503, 200))
    busy = site.put("/busy.xml", lambda exchange: exchange.respond(_XML, status=next(statuses)))
    found = await _found([busy, site.url("/none.xml")])
    assert _entries(found) == _PLAIN
    assert site.asked() == ["/busy.xml", "/busy.xml", "/none.xml"]


async def test_walk_sitemaps_addresses_that_are_none_are_errors(site: _Site) -> None:
    """A sitemap's address that is no web address, in the job or an index, is an error; no secret of it is shown."""
    index = site.put("/index.xml", _index(["file:///etc/passwd"]))
    found = await _found(["nonsense", index, "http://bob:hunter2@127.0.0.1:9/x?token=secret"])
    messages = [error.message for error in _errors(found)]
    assert "not a URL" in messages[0]
    assert "neither an http nor an https URL" in messages[1]
    assert "hunter2" not in messages[2]
    assert "secret" not in messages[2]


def test_job_seeds_sitemap_without_the_extra_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without httpx, a job with sitemaps fails before anything starts, and any other does not."""
    monkeypatch.setitem(sys.modules, "httpx", None)
    monkeypatch.setattr(sitemap, "extra", readers.extra.__wrapped__)
    JobSeeds(urls=["https://a.example/"])
    with pytest.raises(ConfigError, match=re.escape("pip install 'browsercrawl[sitemap]'")):
        JobSeeds(sitemaps=["https://a.example/sitemap.xml"])


async def test_batches_sitemap_goes_through_the_proxy() -> None:
    """The crawl's proxy serves its sitemaps, too."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + _XML.encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as proxy:
        browser = BrowserConfig(proxy=f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
        seeds = JobSeeds(sitemaps=["http://elsewhere.test/sitemap.xml"], config=CrawlerConfig(browser=browser))
        assert _seeds(await _batches(seeds)) == _PLAIN
    assert asked[0].startswith(b"GET http://elsewhere.test/sitemap.xml ")


async def test_sitemap_of_a_robots_file_is_an_index(site: _Site) -> None:
    """Its `Sitemap` lines are walked like those of an index, wherever they stand."""
    pages = _pages("robots", 3)
    site.put("/map.xml", _urlset(pages))
    named = site.put("/robots.txt", f"User-agent: *\nDisallow: /x\nSitemap: {site.url('/map.xml')}\n")
    async with aclosing(walk_sitemaps([Root(named)], SitemapClient(), place=None)) as found:
        assert [entry for some in [each async for each in found] for entry in some.entries] == pages
