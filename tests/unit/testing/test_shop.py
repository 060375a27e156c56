"""The shop's catalogue and the truth about it, without a browser."""

import pytest

from browsercrawl.testing.shop import Shop


def test_shop_default_has_sixty_pages() -> None:
    """The demo is 60 pages at most three links away from home, each with a title of its own or a page number."""
    truth = Shop().truth()
    assert len(truth.pages) == 60
    assert truth.depth == 3
    assert len({page.title for page in truth.pages}) == 60


@pytest.mark.parametrize("products", [1, 2, 5, 48, 200, 201, 3000])
def test_shop_any_size_links_reach_every_product(products: int) -> None:
    """Whatever the size, following links alone reaches each product exactly once, within four steps."""
    truth = Shop(products=products).truth()
    paths = [page.path for page in truth.pages]
    assert len(set(paths)) == len(paths)
    assert {product.path for product in truth.products} == {path for path in paths if path.startswith("/product/")}
    assert len(truth.products) == products
    assert truth.depth <= 4


def test_shop_links_of_every_page_lead_to_pages_of_the_truth() -> None:
    """The link graph is closed: no dead link, no page that nothing links to but home."""
    pages = Shop().truth().pages
    assert {link for page in pages for link in page.links} == {page.path for page in pages}


def test_shop_truth_is_deterministic() -> None:
    """Two shops of one size are the same to the last price."""
    assert Shop(products=60).truth() == Shop(products=60).truth()


def test_shop_revealed_products_follow_the_shown_ones() -> None:
    """Products shown at first and those "Load more" or scrolling adds make up the whole list, nothing twice."""
    pages = {page.path: page for page in Shop().truth().pages}
    lamps = pages["/category/lamps"]
    assert len(lamps.products) == 6
    assert len({*lamps.products, *lamps.revealed}) == 12
    assert len(pages["/new"].products) == 12
    assert len({*pages["/new"].products, *pages["/new"].revealed}) == 48


@pytest.mark.parametrize("products", [0, -1, 100_001])
def test_shop_size_out_of_range_is_refused(products: int) -> None:
    """A size that cannot be served is refused when the shop is made, with the value and the range."""
    with pytest.raises(ValueError, match=f"products={products} is not between 1 and 100000"):
        Shop(products=products)
