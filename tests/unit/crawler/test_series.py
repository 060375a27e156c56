"""Series without end: calendars and the like are left after a while, and honest lists are not."""

from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from browsercrawl import Crawler, Visit
from browsercrawl.dispatcher.series import like, shape
from browsercrawl.result import SkipReason
from browsercrawl.testing.fake_browser import FakePageScript
from browsercrawl.testing.shop import Shop
from browsercrawl.testing.traps import links

if TYPE_CHECKING:
    from tests.unit.crawler.conftest import Crawl

URL = "http://site.test/"
WHOLE = {"depth": 1_000_000}


def months(url: str) -> list[str]:
    """A calendar by path, from May 2024 both ways."""
    year, month = map(int, url.split("/")[-2:]) if "calendar" in url else (2024, 5)
    around = [divmod(year * 12 + month - 1 + step, 12) for step in (-1, 1)]
    return [f"{URL}calendar/{year}/{month + 1:02}" for year, month in around]


def counted(url: str) -> list[str]:
    """A calendar by query, both ways."""
    day = int(url.partition("offset=")[2] or 0)
    return [f"{URL}calendar?view=month&offset={day + step}" for step in (-1, 1)]


def days(url: str) -> list[str]:
    """A calendar whose weeks have other addresses than its days."""
    at = date.fromisoformat(url[-10:]) if "/cal/" in url else date(2024, 5, 1)
    return [f"{URL}cal/{view}/{at + timedelta(days=1)}" for view in ("week", "day")]


def visitors(url: str) -> list[str]:
    """Each page gives its links an id that was never seen."""
    return [f"{URL}shop/basket?visitor={abs(hash(url)):032x}"]


@pytest.mark.parametrize(
    ("trap", "pages", "left_out"),
    [(months, 204, 2), (counted, 204, 2), (days, 203, 4), (visitors, 102, 1)],
)
async def test_crawl_of_a_calendar_ends_and_counts_why(
    crawl: "Crawl", trap: Callable[[str], list[str]], pages: int, left_out: int
) -> None:
    """With no other limit, forwards and backwards, by path and by query: a hundred steps, and the reason is counted."""

    def page(url: str) -> FakePageScript:
        if "login" in url:
            return FakePageScript()
        return FakePageScript(links=(URL, f"{URL}login?next={quote('/' + url.removeprefix(URL))}", *trap(url)))

    done = await crawl(page, [URL], links=WHOLE)
    done.results[:] = [result for result in done.results if "login" not in result.url]
    assert done.summary.links_skipped.keys() == {"endless_series"}
    assert done.summary.finish_reason == "endless_series"
    assert (len(done.results), done.summary.links_skipped[SkipReason.ENDLESS_SERIES]) == (pages, left_out)


async def test_crawl_of_every_trap_ends_and_counts_each_reason(crawl: "Crawl") -> None:
    """Calendars, folders, parameters and ids without end: the crawl finishes, and the summary says what it left out."""
    done = await crawl(
        lambda url: FakePageScript(links=tuple(f"{URL[:-1]}{link}" for link in links("/" + url.removeprefix(URL)))),
        [f"{URL}traps/"],
        links=WHOLE,
    )
    kinds = Counter(result.url.removeprefix(f"{URL}traps/").strip("/").split("/")[0] for result in done.results)
    assert {kind: number for kind, number in kinds.items() if "?" not in kind} == {
        "": 1, "calendar": 201, "folders": 4, "options": 1, "sessions": 4, "visitors": 1,
    }  # fmt: skip
    assert done.summary.links_skipped == {"endless_series": 5, "repeated_path": 1, "too_many_parameters": 1}
    assert done.summary.finish_reason == "endless_series"


async def test_crawl_of_a_calendar_is_followed_where_that_is_asked_for(crawl: "Crawl") -> None:
    """`follow_traps` leaves it to the other limits."""
    more = {**WHOLE, "follow_traps": True, "max_requests": 700}
    done = await crawl(lambda url: FakePageScript(links=tuple(months(url))), [URL], links=more)
    assert len(done.results) == 700
    assert done.summary.links_skipped.keys() == {"max_requests"}


async def test_crawl_of_a_list_that_leads_to_products_goes_to_its_end(crawl: "Crawl") -> None:
    """Two hundred pages in a row that lead to products are all followed, though each product leads to the next ones."""
    last = 1_200

    def listing(url: str) -> FakePageScript:
        if "/product/" in url:
            number = int(url.rpartition("/")[2])
            return FakePageScript(links=tuple(f"{URL}product/{min(number + step, last)}" for step in (1, 2, 3)))
        page = int(url.partition("/page/")[2] or 1)
        products = range(6 * page - 5, 6 * page + 1)
        found = (*(f"{URL}product/{number}" for number in products), f"{URL}list/page/{page + 1}")
        return FakePageScript(links=found if page < last / 6 else found[:-1])

    done = await crawl(listing, [URL], links=WHOLE)
    assert len(done.results) == 1_200 + 200
    assert done.summary.links_skipped.keys() <= {"endless_series"}  # from product to product, on the way


async def test_crawl_of_a_series_that_is_barren_for_a_while_goes_on(crawl: "Crawl") -> None:
    """Calendar pages with nothing on them between others do not end it: 40 in a row are fewer than may be barren."""

    def calendar(url: str) -> FakePageScript:
        day = int(url.partition("/day/")[2] or 0)
        event = (f"{URL}concert-{'x' * (day // 40)}",) if day % 40 == 0 else ()
        return FakePageScript(links=(*event, f"{URL}day/{min(day + 1, 800)}") if "concert" not in url else ())

    done = await crawl(calendar, [URL], links=WHOLE)
    assert len(done.results) == 1 + 800 + 21
    assert done.summary.links_skipped == {}


async def test_crawl_of_the_demo_shop_is_whole(crawl: "Crawl") -> None:
    """Of a shop of 1,000 products nothing is left out, though its products lead to one another."""
    truth = Shop(products=1_000).truth()
    site = {f"{URL[:-1]}{page.path}": page.links for page in truth.pages}
    done = await crawl(
        lambda url: FakePageScript(links=tuple(f"{URL[:-1]}{link}" for link in site[url])), [URL], links=WHOLE
    )
    assert {each.url for each in done.results} == site.keys()
    assert done.summary.links_skipped == {}


@pytest.mark.parametrize("how", ["handler", "include", "prefix", "function"])
async def test_crawl_series_that_is_wanted_has_no_end_of_its_own(crawl: "Crawl", how: str) -> None:
    """What a handler asks for is followed; who wants a part of a site does not want what else its pages lead to."""

    def prepare(crawler: Crawler) -> None:
        if how == "handler":

            @crawler.handler()
            async def _(visit: Visit) -> None:
                await visit.enqueue_links("a.next")

        elif how == "function":
            crawler.scope(lambda _request, url: "page/" in url)

    def page(url: str) -> FakePageScript:
        return FakePageScript(links=(f"{URL}page/{min(int(url.partition('page/')[2] or 0) + 1, 300)}",))

    which = {
        "handler": {},
        "include": {**WHOLE, "include": ["*/page/*"]},
        "prefix": {**WHOLE, "scope": "prefix"},
        "function": WHOLE,
    }[how]
    done = await crawl(page, [URL], links=which, prepare=prepare)
    assert len(done.results) == 301
    assert done.summary.links_skipped == {}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a/2024/05", "a/2024/06/"),
        ("a/month/2024-05", "a/day/2024-05-31"),
        ("a/may-2024", "a/june-2024"),
        ("a?month=5&year=2024", "a?month=12&year=1999"),
        ("%C3%A9t%C3%A9/1", "%C3%A9t%C3%A9/2"),
        ("u/3f2504e0-4f89-11d3-9a0c-0305e82c3301", "u/9b2504e0-4f89-11d3-9a0c-0305e82c33ff"),
        ("c/0123456789abcdef01", "c/f123456789abcdef0a"),
    ],
)
def test_shape_of_addresses_that_differ_in_numbers_is_the_same(one: str, other: str) -> None:
    """Numbers, dates, names of months, long ids; several in a row are one."""
    assert shape(URL + one) == shape(URL + other)
    assert like(URL + one)(URL + other)
    assert like(URL + other)(URL + one)


@pytest.mark.parametrize(
    ("one", "other"),
    [("a/1", "b/1"), ("a/1", "a/1/b"), ("a", "a"), ("a/msg1", "a/thread2"), ("p/lamp-1", "p/chair-1"), ("a/1", "")],
)
def test_shape_of_addresses_that_differ_in_words_is_another(one: str, other: str) -> None:
    """Words tell pages apart, and an address without numbers is in no series."""
    assert not like(URL + one)(URL + other)


def test_shape_of_another_host_is_another() -> None:
    """Numbers in a host's name, and the port, are no numbers of a series."""
    assert not like("http://a1.test:81/1")("http://a2.test:82/2")
