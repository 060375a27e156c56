"""The shop as a real browser renders it, against the truth."""

import asyncio
from urllib.parse import urlsplit

from playwright.async_api import Browser, Page

from browsercrawl.testing import DemoSite, PageTruth, Truth

_LOOK = """() => ({
  title: document.title,
  links: [...document.links].map((link) => link.href),
  shown: [...document.querySelectorAll('.product, [data-product]')].map((element) => ({
    path: element.dataset.product ?? location.pathname,
    name: element.querySelector('h1, h3').textContent,
    price: element.querySelector('.price').textContent,
    stock: element.querySelector('.stock').textContent,
  })),
})"""
_PRODUCTS = "() => [...document.querySelectorAll('[data-product]')].map((element) => element.dataset.product)"


def _found(look: dict[str, object], url: str) -> tuple[object, ...]:
    links = [str(link).removeprefix(url) for link in look["links"]]  # type: ignore[attr-defined]  # JSON from the page
    return look["title"], tuple(dict.fromkeys(links)), look["shown"]


def _expected(page: PageTruth, truth: Truth) -> tuple[object, ...]:
    products = {product.path: product for product in truth.products}
    shown = [
        {
            "path": path,
            "name": products[path].name,
            "price": products[path].price,
            "stock": f"{products[path].stock} in stock" if products[path].stock else "Sold out",
        }
        for path in page.products
    ]
    return page.title, page.links, shown


async def test_crawl_by_links_at_the_load_event_equals_the_truth(site: DemoSite, chromium: Browser) -> None:
    """One look at each page when `load` fires finds title, links, prices and stock of the truth, and no other page."""
    truth = site.truth()
    expected = {page.path: _expected(page, truth) for page in truth.pages}
    found: dict[str, tuple[object, ...]] = {}
    known, waiting = {"/"}, ["/"]
    context = await chromium.new_context()

    async def crawl(page: Page) -> None:
        while waiting:
            path = waiting.pop()
            await page.goto(site.url + path, wait_until="load")
            found[path] = _found(await page.evaluate(_LOOK), site.url)
            new = [link for link in truth_links(path) if link not in known]
            known.update(new)
            waiting.extend(new)

    def truth_links(path: str) -> tuple[str, ...]:
        links = found[path][1]
        assert isinstance(links, tuple)
        return links

    first = await context.new_page()
    await first.goto(site.url + "/")
    waiting += [path for path in expected["/"][1] if path != "/"]  # type: ignore[attr-defined]  # a tuple of paths
    known.update(waiting)
    await asyncio.gather(crawl(first), crawl(await context.new_page()))
    assert found == expected


async def test_load_more_reveals_the_rest_of_the_category(site: DemoSite, chromium: Browser) -> None:
    """Pressing "Load more" until it is gone shows every product of the category, in the truth's order."""
    lamps = next(page for page in site.truth().pages if page.path == "/category/lamps")
    page = await chromium.new_page()
    await page.goto(site.url + lamps.path)
    while await page.locator("#more").count():
        shown = len(await page.evaluate(_PRODUCTS))
        await page.click("#more")
        await page.wait_for_function(f"document.querySelectorAll('[data-product]').length > {shown}")
    assert tuple(await page.evaluate(_PRODUCTS)) == lamps.products + lamps.revealed


async def test_scrolling_reveals_the_rest_of_the_new_arrivals(site: DemoSite, chromium: Browser) -> None:
    """Scrolling down adds batches until all products are there; without scrolling nothing is added."""
    new = next(page for page in site.truth().pages if page.path == "/new")
    page = await chromium.new_page()
    await page.goto(site.url + new.path, wait_until="networkidle")
    assert tuple(await page.evaluate(_PRODUCTS)) == new.products
    for shown in range(len(new.products), len(new.products + new.revealed), 12):
        await page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
        await page.wait_for_function(f"document.querySelectorAll('[data-product]').length > {shown}")
    assert tuple(await page.evaluate(_PRODUCTS)) == new.products + new.revealed


async def test_clicked_link_is_routed_without_a_new_document(site: DemoSite, chromium: Browser) -> None:
    """A click changes address, title and content in the same document, also back; the document itself was sent once."""
    pages = {page.path: page for page in site.truth().pages}
    page = await chromium.new_page()
    await page.goto(site.url + "/")
    await page.evaluate("window.same = true")
    for target in ("/category/chairs", "/category/chairs?page=2"):
        await page.click(f'main a[href="{target}"]')
        await page.wait_for_selector(f"[data-ready] b:has-text('{target[-1]}'), [data-ready] #more", state="attached")
        await page.wait_for_function("expected => document.title === expected", arg=pages[target].title)
        parts = urlsplit(page.url)
        assert (parts.path + (f"?{parts.query}" if parts.query else "")) == target
    await page.go_back()
    await page.wait_for_function("expected => document.title === expected", arg=pages["/category/chairs"].title)
    assert await page.evaluate("window.same")
    assert site.hits("/category/chairs") == 0
