"""The demo shop: a single-page application whose every link, price and title is made by its script, and its truth.

The server sends the same empty page for each address; `pages/app.js` fetches that address's JSON and renders it. The
first fetch is a JSON module import: module scripts hold the load event until their imports have arrived and they have
run, while `fetch` does not, not even under a top-level `await` (6 of 120 loads rendered in time in Chromium 156). So
the links are always there when the load event fires. Later fetches (clicked links, "Load more", scrolling) are plain
ones. `<html data-ready>` also says that the page is rendered.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from browsercrawl.testing.images import banner_png, drawing_svg
from browsercrawl.testing.server import JSON, Exchange

SHOP_NAME = "Nordlicht"
PRODUCTS_MAX = 100_000

_KINDS = (("lamps", "Lamp"), ("chairs", "Chair"), ("clocks", "Clock"), ("vases", "Vase"))
# fmt: off
_NAMES = (
    "Aurora", "Birka", "Dalarna", "Ekholm", "Fjord", "Granit", "Havn", "Isfjell", "Juniper", "Karlsvogn",
    "Lofoten", "Midsommar", "Nordby", "Odense", "Polaris", "Ronja", "Skagen", "Tundra", "Uppsala", "Vinter",
)
# fmt: on
_SMALL_SHOP = 200
_SCROLL_BATCH = 12
_FEATURED = 6
_RELATED = 3
_CACHED = {"Cache-Control": "public, max-age=3600"}
_FRESH = {"Cache-Control": "no-cache"}
_INFO = {
    "about": ("About us", f"{SHOP_NAME} sells four kinds of things, and all of them only to scripts that run."),
    "delivery": ("Delivery", "Parcels leave at the load event and arrive, as a rule, before your deadline."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A product as its page shows it.

    Attributes:
        path: of its page, which also stands for it in `PageTruth`.
        name: as shown.
        price: as shown, such as `€49.90`.
        stock: pieces left; 0 is shown as sold out.
        category: such as `lamps`.
        image: path of its picture.
    """

    path: str
    name: str
    price: str
    stock: int
    category: str
    image: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PageTruth:
    """What a page holds once its script has run.

    Attributes:
        path: with query.
        title: of the document.
        depth: links to follow from the home page, at least.
        links: paths of its links in document order, each where it first appears.
        products: paths of the products it shows.
        revealed: paths of the products that "Load more" or scrolling adds, in this order.
    """

    path: str
    title: str
    depth: int
    links: tuple[str, ...]
    products: tuple[str, ...]
    revealed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """Every page that can be reached from the home page by following links, in the order of a breadth-first walk."""

    pages: tuple[PageTruth, ...]
    products: tuple[Product, ...]

    @property
    def depth(self) -> int:
        """Links to follow from the home page until every page has been seen."""
        return max(page.depth for page in self.pages)


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """One page: what the script gets, and what it makes of it."""

    title: str
    links: tuple[str, ...]
    products: tuple[Product, ...] = ()
    revealed: tuple[Product, ...] = ()
    payload: dict[str, Any]


class Shop:
    """The shop's catalogue and its answers.

    Args:
        products: how many, from 1 to 100,000. The default makes 60 pages.

    Raises:
        ValueError: `products` out of range.
    """

    def __init__(self, *, products: int = 48) -> None:
        if not 1 <= products <= PRODUCTS_MAX:
            raise ValueError(f"products={products} is not between 1 and {PRODUCTS_MAX}")
        self.products = tuple(_product(number) for number in range(products))
        self._index = {product.path: number for number, product in enumerate(self.products)}
        self._page_size = 6 if products <= _SMALL_SHOP else 24
        self._shelves = {kind: self.products[row :: len(_KINDS)] for row, (kind, _) in enumerate(_KINDS)}
        self._top = ("/", *(f"/category/{kind}" for kind in self._shelves), "/new")
        self._bottom = tuple(f"/{name}" for name in _INFO)
        self._shell = _asset("shell.html").decode()
        self._static = dict(_static_files())

    def answer(self, exchange: Exchange) -> bool:
        """Answer a request for the shop; False when the path is not the shop's."""
        head, _, name = exchange.path.removeprefix("/").partition("/")
        match head:
            case "static" if name in self._static:
                body, content_type = self._static[name]
                exchange.respond(body, content_type=content_type, headers=_CACHED)
                return True
            case "truth.json":
                exchange.respond(json.dumps(asdict(self.truth())), content_type=JSON, headers=_FRESH)
                return True
            case "api":
                view = self._view("/" + name, exchange.number("page", 1, least=1, most=PRODUCTS_MAX))
                if view is None:
                    return False
                exchange.respond(json.dumps(view.payload), content_type=JSON, headers=_FRESH)
                return True
        page = exchange.number("page", 1, least=1, most=PRODUCTS_MAX)
        if self._view(exchange.path, page) is None:
            return False
        api = f"/api{quote(exchange.path)}{f'?page={page}' if page > 1 else ''}"
        exchange.respond(self._shell.replace("@API@", api), headers=_FRESH)
        return True

    def truth(self) -> Truth:
        """Return what a complete crawl from the home page finds."""
        return Truth(pages=tuple(self._walk()), products=self.products)

    def _walk(self) -> Iterator[PageTruth]:
        depths = {"/": 0}
        waiting = ["/"]
        for path in waiting:  # grows while it is walked
            address, _, query = path.partition("?page=")
            view = self._view(address, int(query or 1))
            if view is None:
                raise LookupError(f"the shop links to {path}, which it does not have")
            new = [link for link in view.links if link not in depths]
            depths |= dict.fromkeys(new, depths[path] + 1)
            waiting += new
            yield PageTruth(
                path=path,
                title=view.title,
                depth=depths[path],
                links=view.links,
                products=tuple(product.path for product in view.products),
                revealed=tuple(product.path for product in view.revealed),
            )

    def _view(self, path: str, page: int) -> _View | None:
        """Return what an address shows; None when there is no such page."""
        if path in self._index:
            return self._product_view(self.products[self._index[path]])
        head, _, name = path.removeprefix("/").partition("/")
        if head == "category" and name in self._shelves:
            return self._listing_view(name, page)
        if path == "/new":
            return self._new_view(page)
        if path == "/":
            return self._home_view()
        return self._info_view(head) if head in _INFO and not name else None

    def _home_view(self) -> _View:
        step = max(1, (len(self.products) // _FEATURED - 1) | 1)  # odd: another kind each time
        featured = self.products[::step][:_FEATURED]
        shelves = [
            {"name": kind.title(), "path": f"/category/{kind}", "count": len(shelf), "image": f"/static/{kind}-0.svg"}
            for kind, shelf in self._shelves.items()
        ]
        return self._make(
            f"{SHOP_NAME} · things for the home",
            {"kind": "home", "shelves": shelves},
            inner=tuple(product.path for product in featured),
            products=featured,
        )

    def _listing_view(self, kind: str, page: int) -> _View | None:
        shelf = self._shelves[kind]
        path = f"/category/{kind}"
        pages = max(1, -(-len(shelf) // self._page_size))
        if page > pages:
            return None
        shown = shelf[(page - 1) * self._page_size : page * self._page_size]
        paths = [path, *(f"{path}?page={number}" for number in range(2, pages + 1))]
        inner = (*(product.path for product in shown), *paths[: page - 1], *paths[page:])
        return self._make(
            f"{kind.title()}{f' · page {page}' if page > 1 else ''} · {SHOP_NAME}",
            {
                "kind": "listing",
                "heading": kind.title(),
                "page": page,
                "pages": paths if pages > 1 else [],
                "more": f"/api{paths[page]}" if page < pages else None,
            },
            inner=inner,
            products=shown,
            revealed=shelf[page * self._page_size :],
        )

    def _new_view(self, page: int) -> _View | None:
        newest = self.products[::-1]
        shown = newest[(page - 1) * _SCROLL_BATCH : page * _SCROLL_BATCH]
        if not shown:
            return None
        revealed = newest[page * _SCROLL_BATCH :]
        return self._make(
            f"New arrivals · {SHOP_NAME}",
            {
                "kind": "scroll",
                "heading": "New arrivals",
                "more": f"/api/new?page={page + 1}" if revealed else None,
            },
            inner=tuple(product.path for product in shown),
            products=shown,
            revealed=revealed,
        )

    def _product_view(self, product: Product) -> _View:
        shelf = self._shelves[product.category]
        at = self._index[product.path] // len(_KINDS)
        beside = (shelf[(at + step) % len(shelf)] for step in range(1, _RELATED + 1))
        related = tuple(dict.fromkeys(other for other in beside if other != product))
        return self._make(
            f"{product.name} · {SHOP_NAME}",
            {"kind": "product", "product": asdict(product), "shelf": f"/category/{product.category}"},
            inner=tuple(other.path for other in related),
            products=related,
            own=product,
        )

    def _info_view(self, name: str) -> _View:
        heading, text = _INFO[name]
        return self._make(f"{heading} · {SHOP_NAME}", {"kind": "info", "heading": heading, "text": text})

    def _make(
        self,
        title: str,
        payload: dict[str, Any],
        *,
        inner: tuple[str, ...] = (),
        products: tuple[Product, ...] = (),
        revealed: tuple[Product, ...] = (),
        own: Product | None = None,
    ) -> _View:
        payload |= {"title": title, "products": [asdict(product) for product in products]}
        payload |= {"shop": SHOP_NAME, "top": self._top, "bottom": self._bottom}
        return _View(
            title=title,
            links=tuple(dict.fromkeys((*self._top, *inner, *self._bottom))),
            products=products if own is None else (own, *products),
            revealed=revealed,
            payload=payload,
        )


def _product(number: int) -> Product:
    kind, noun = _KINDS[number % len(_KINDS)]
    turn, row = divmod(number // len(_KINDS), len(_NAMES))
    name = f"{_NAMES[row]} {noun}{f' {turn + 1}' if turn else ''}"
    cents = 990 + number * 7919 % 24_000  # 7919 is prime: prices look scattered and seldom repeat
    return Product(
        path=f"/product/{name.lower().replace(' ', '-')}",
        name=name,
        price=f"€{cents // 100}.{cents % 100:02}",
        stock=number * 37 % 25,
        category=kind,
        image=f"/static/{kind}-{number // len(_KINDS) % 3}.svg",
    )


def _static_files() -> Iterator[tuple[str, tuple[bytes, str]]]:
    yield "style.css", (_asset("style.css"), "text/css; charset=utf-8")
    yield "app.js", (_asset("app.js"), "text/javascript; charset=utf-8")
    yield "banner.png", (banner_png(320, 120), "image/png")
    for kind, _ in _KINDS:
        for variant in range(3):
            yield f"{kind}-{variant}.svg", (drawing_svg(kind, variant).encode(), "image/svg+xml")


def _asset(name: str) -> bytes:
    return files("browsercrawl.testing").joinpath("pages", name).read_bytes()
