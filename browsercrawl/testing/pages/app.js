// The demo shop's script: renders a view fetched as JSON, and takes over links, "Load more" and scrolling.

const app = document.getElementById("app");
let more = null; // address of the next batch of products; null when there is none or one is on its way
let turn = 0; // counts navigations, so that an answer that comes too late is dropped

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

const link = (href, ...children) => {
  const element = make("a", {}, ...children);
  element.setAttribute("href", href);
  return element;
};

const label = (path) => path.split("/").pop().replace(/^./, (letter) => letter.toUpperCase());

function card(product) {
  const element = make(
    "article",
    { className: "card" },
    link(product.path, make("img", { src: product.image, alt: "", width: 200, height: 190 }), make("h3", {}, product.name)),
    make("p", { className: "price" }, product.price),
    make("p", { className: "stock" }, stock(product)),
  );
  element.dataset.product = product.path;
  return element;
}

const stock = (product) => (product.stock ? `${product.stock} in stock` : "Sold out");
const grid = (products) => make("section", { className: "grid", id: "products" }, ...products.map(card));

const views = {
  home: (view) => [
    make(
      "section",
      { className: "hero" },
      make("img", { src: "/static/banner.png", alt: "", width: 320, height: 120 }),
      make("div", {}, make("h1", {}, "Things for the home"), make("p", {}, "Plain, useful, rendered on arrival.")),
    ),
    make(
      "section",
      { className: "shelves" },
      ...view.shelves.map((shelf) =>
        link(
          shelf.path,
          make("img", { src: shelf.image, alt: "", width: 200, height: 190 }),
          make("b", {}, shelf.name),
          make("small", {}, `${shelf.count} products`),
        ),
      ),
    ),
    make("h2", {}, "Featured"),
    grid(view.products),
  ],
  listing: (view) => [
    make("h1", {}, view.heading),
    grid(view.products),
    view.more ? make("button", { id: "more", type: "button", onclick: extend }, "Load more") : "",
    make(
      "nav",
      { className: "pages" },
      ...view.pages.map((path, at) => (at + 1 === view.page ? make("b", {}, view.page) : link(path, at + 1))),
    ),
  ],
  scroll: (view) => [make("h1", {}, view.heading), grid(view.products)],
  product: (view) => [
    make("p", { className: "crumbs" }, link("/", "Home"), " › ", link(view.shelf, label(view.shelf))),
    make(
      "section",
      { className: "product" },
      make("img", { src: view.product.image, alt: "", width: 400, height: 380 }),
      make(
        "div",
        {},
        make("h1", {}, view.product.name),
        make("p", { className: "price" }, view.product.price),
        make("p", { className: "stock" }, stock(view.product)),
        make("p", {}, `A ${view.product.name.toLowerCase()} for every room, delivered as JSON.`),
      ),
    ),
    make("h2", {}, "Goes well with it"),
    grid(view.products),
  ],
  info: (view) => [make("h1", {}, view.heading), make("p", {}, view.text)],
};

function render(view) {
  document.title = view.title;
  more = view.more ?? null;
  const [home, ...rest] = view.top;
  app.replaceChildren(
    make("header", {}, link(home, make("b", {}, view.shop)), make("nav", {}, ...rest.map((path) => link(path, label(path))))),
    make("main", {}, ...views[view.kind](view)),
    make("footer", {}, ...view.bottom.map((path) => link(path, label(path)))),
  );
  document.documentElement.dataset.ready = "";
}

async function load(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${address}: ${response.status}`);
  return response.json();
}

async function show(address) {
  const mine = ++turn;
  delete document.documentElement.dataset.ready;
  const view = await load("/api" + address);
  if (mine !== turn) return;
  render(view);
  scrollTo(0, 0);
}

async function extend() {
  if (!more) return;
  const mine = turn;
  const address = more;
  more = null;
  const view = await load(address);
  if (mine !== turn) return;
  document.getElementById("products").append(...view.products.map(card));
  more = view.more ?? null;
  if (!more) document.getElementById("more")?.remove();
}

export function start(view) {
  render(view);
  document.addEventListener("click", (event) => {
    const target = event.target.closest("a[href]");
    if (!target || event.button || event.ctrlKey || event.metaKey || event.shiftKey || target.origin !== location.origin) return;
    event.preventDefault();
    history.pushState(null, "", target.href);
    show(target.pathname + target.search);
  });
  addEventListener("popstate", () => show(location.pathname + location.search));
  // Only a real scroll extends the list: what a visit sees without one is always the same.
  addEventListener("scroll", () => {
    const left = document.documentElement.scrollHeight - scrollY - innerHeight;
    if (left < 400 && !document.getElementById("more")) extend();
  });
}
