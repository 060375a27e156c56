// Shows a page of the members' area, fetched as JSON.

export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export function show(page) {
  document.title = page.title;
  document.getElementById("app").replaceChildren(
    make("h1", { id: "account" }, page.account),
    make("p", { id: "page" }, page.page),
    // The query goes along: whoever follows links meets the same kind of logged-out page throughout.
    make("nav", { className: "pages" }, ...page.links.map((path) => make("a", { href: path + location.search }, path))),
  );
  document.documentElement.dataset.ready = "";
}
