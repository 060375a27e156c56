"""What is run in pages to look at them, and how much it may bring back."""

SNAPSHOT_CHARACTERS_MAX = 100_000_000
"""More than this is no page any more: it is held four times on its way (renderer, browser, driver, here)."""

# Getters are taken from the prototype: `<img name="body">` hides `document.body`. Strings are joined with `+`: sites
# replace `JSON.stringify` and `Array.prototype.join`. `toWellFormed`: lone surrogates cannot be written to a file.
SNAPSHOT = """([separator, html, text, links, max]) => {
    const get = (name) => Object.getOwnPropertyDescriptor(Document.prototype, name).get.call(document);
    const root = get('documentElement'), body = get('body');
    let all = location.href + separator + get('title');
    all += separator + (html && root ? root.outerHTML : '');
    all += separator + (text && root ? (body ? body.innerText : root.textContent) : '');
    if (links) for (const link of get('links')) all += separator + link.href;
    return all.length > max ? String(all.length) : all.toWellFormed();
}"""


# One string: Playwright takes a list apart item by item. What is no address is left out.
HREFS = """(elements) => {
    let all = '';
    for (const element of elements) {
        const href = element.href;
        const url = typeof href === 'string' ? href : (href && href.baseVal) || '';
        if (!url) continue;
        if (URL.canParse(url, document.baseURI)) {
            all += new URL(url, document.baseURI).href + String.fromCharCode(10);
        }
    }
    return all.toWellFormed();
}"""


GLANCE = """(selectors) => {
    const find = (selector) => Document.prototype.querySelector.call(document, selector);
    const title = Object.getOwnPropertyDescriptor(Document.prototype, 'title').get.call(document);
    let all = location.href + '\\n' + title.replaceAll('\\n', ' ');
    for (const selector of selectors) {
        const element = find(selector);
        all += '\\n' + (!element ? 'absent' : element.value === '' ? 'empty' : 'present');
    }
    return all.toWellFormed();
}"""


STORAGE_CHARACTERS_MAX = 10_000_000
"""Browsers allow an origin 5 MB of localStorage; more is no login."""

LOCAL_STORAGE = """([max]) => {
    if (location.origin === 'null') return '';
    let items;
    try { items = Object.entries(localStorage); } catch { return ''; }
    const all = JSON.stringify([location.origin, items]);
    return all.length > max ? '' : all;
}"""
