"""Markdown: what of a page becomes text, and what a page can not do to us by it."""

import asyncio
import sys

import pytest

from browsercrawl.errors import (
    DeadlineExceeded,
    TooLarge,
)
from browsercrawl.visit import markdown
from browsercrawl.visit.markdown import MarkdownWriter, has_markdown

BASE = "http://site.test/shop/list?page=2"


async def convert(html: str, *, limit_s: float = 30) -> str:
    """Convert a page that lies at `BASE`."""
    return await MarkdownWriter().convert(html, base=BASE, limit_s=limit_s)


async def test_convert_page_is_readable_text() -> None:
    """Headings, emphasis, lists and code become what Markdown has for them."""
    page = "<h1>Title</h1><p>Some <b>bold</b> text</p><ul><li>one</li><li>two</li></ul><pre>a  b\n c</pre>"
    assert await convert(page) == "# Title\n\nSome **bold** text\n\n* one\n* two\n\n```\na  b\n c\n```\n"


@pytest.mark.parametrize("tag", ["script", "style", "noscript", "template"])
@pytest.mark.parametrize("place", ["<head>{}</head><body>seen", "<body>{}seen", "<p>{}</p>seen", "<svg>{}</svg>seen"])
async def test_convert_code_is_not_text(tag: str, place: str) -> None:
    """What a reader of the page does not see is not in its text, wherever it stands."""
    assert (await convert(place.format(f"<{tag}>hidden</{tag}>"))).strip() == "seen"


async def test_convert_head_is_not_text() -> None:
    """The title is a field of the result."""
    assert await convert("<html><head><title>hidden</title></head><body>seen</body></html>") == "seen\n"


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<a href='item/1'>i</a>", "[i](http://site.test/shop/item/1)"),
        ("<a href='?page=3'>i</a>", "[i](http://site.test/shop/list?page=3)"),
        ("<a href='//other.test'>i</a>", "[i](http://other.test/)"),
        ("<a href='mailto:a@b.test'>i</a>", "[i](mailto:a@b.test)"),
        ("<a href='http://[bad'>i</a>", "[i](http://[bad)"),
        ("<a name=x>i</a>", "i"),
        ("<base href='/other/'><a href='1'>i</a>", "[i](http://site.test/other/1)"),
        ("<base href='http://[bad'><a href='1'>i</a>", "[i](1)"),
        ("<img src='p.png' alt=pic>", "![pic](http://site.test/shop/p.png)"),
        ("<img src='data:image/png;base64,AAAA' alt=pic>", "pic"),
    ],
)
async def test_convert_links_are_absolute(page: str, text: str) -> None:
    """Links lead where the page's own lead, the text lying elsewhere; images in the page itself stay out."""
    assert (await convert(page)).strip() == text


@pytest.mark.parametrize("tag", ["div", "ul><li", "blockquote", "b", "table><tr><td"])
async def test_convert_page_of_any_depth_keeps_its_text(tag: str) -> None:
    """However deeply elements are nested, their text is there; the library alone would fail."""
    text = await convert(f"<{tag}>" * 5000 + "<p>deep</p><p>down</p>")
    assert "deep down" in text


async def test_convert_page_that_grows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quotes within quotes make many times of a page: it ends at a limit, as an error of this page."""
    monkeypatch.setattr(markdown, "MARKDOWN_CHARACTERS_MAX", 100_000)
    with pytest.raises(TooLarge, match="nested too deeply"):
        await convert("<blockquote>" * 140 + "a\n" * 2_000)


async def test_convert_beyond_its_limit_ends_and_lets_the_next_in() -> None:
    """A page that takes too long fails with its deadline; the next one is not kept waiting."""
    writer = MarkdownWriter()
    slow = "<blockquote>" * 140 + "a\n" * 20_000
    with pytest.raises(DeadlineExceeded, match=r"within 0\.05 s"):
        await writer.convert(slow, base=BASE, limit_s=0.05)
    assert await writer.convert("<p>next", base=BASE, limit_s=30) == "next\n"


async def test_convert_several_pages_at_once_each_gets_its_own() -> None:
    """They take turns."""
    writer = MarkdownWriter()
    pages = (writer.convert(f"<p>{number}", base=BASE, limit_s=30) for number in range(20))
    assert await asyncio.gather(*pages) == [f"{number}\n" for number in range(20)]


def test_has_markdown_without_the_library_is_false(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found where it is installed, and nowhere else."""
    assert has_markdown()
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "markdownify", raising=False)
    assert not has_markdown()
