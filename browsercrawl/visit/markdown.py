"""Markdown of a page's HTML, by the library `markdownify` (extra `markdown`), which is loaded when first needed.

Measured: 0.15 s of CPU for 100 kB of HTML, 2 s for 1 MB. So it runs in a thread, one page at a time (more would only
compete for the interpreter, and with the event loop), and gives up when nobody waits for it any longer.
"""

import asyncio
import threading
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import ada_url

from browsercrawl.errors import (
    DeadlineExceeded,
    InternalError,
    TooLarge,
)
from browsercrawl.urls import shown

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

HTML_CHARACTERS_MAX = 10_000_000
"""Reading more takes over 20 s, and cannot be interrupted."""

MARKDOWN_CHARACTERS_MAX = 5 * HTML_CHARACTERS_MAX
"""Each level of quotes and lists adds to each of its lines: a page can be made to grow a hundredfold."""

_DEPTH_MAX = 150
"""The library goes down by recursion, four calls an element; what lies deeper becomes plain text."""

_UNSEEN = ("head", "script", "style", "noscript", "template")


class MarkdownWriter:
    """Converts pages, one at a time."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(1)  # guards the interpreter against several conversions at once

    async def convert(self, html: str, *, base: str, limit_s: float) -> str:
        """Convert a page, off the event loop.

        Args:
            html: as captured.
            base: the page's address; its `<base>` and then its links are resolved against it.
            limit_s: seconds, waiting included.

        Raises:
            DeadlineExceeded: it takes longer, or would.
            InternalError: the library fails.
        """
        what = f"making the Markdown of {shown(base)}"
        if len(html) > HTML_CHARACTERS_MAX:
            raise TooLarge(
                f"{what}: {len(html):,} characters of HTML take too long (limit {HTML_CHARACTERS_MAX:,}); save html"
            )
        given_up = threading.Event()
        try:
            async with asyncio.timeout(limit_s), self._turn:
                return await asyncio.to_thread(_convert, html, base, given_up)
        except TimeoutError as error:
            raise DeadlineExceeded(f"{what}: not done within {limit_s:.3g} s") from error
        except OverflowError as error:
            raise TooLarge(f"{what}: its lists or quotes are nested too deeply; save html") from error
        except Exception as error:  # a task boundary: the library may raise anything
            raise InternalError(f"{what}: {type(error).__name__}") from error
        finally:
            given_up.set()


def has_markdown() -> bool:
    """Tell whether the library is installed."""
    return find_spec("markdownify") is not None


def _convert(html: str, base: str, given_up: threading.Event) -> str:
    from bs4 import BeautifulSoup  # noqa: PLC0415 - of an extra, and slow to load
    from markdownify import ATX, MarkdownConverter  # noqa: PLC0415 - likewise

    class Converter(MarkdownConverter):
        def process_tag(self, *args: Any, **options: Any) -> str:
            text: str = super().process_tag(*args, **options)  # type: ignore[misc]  # its stub leaves it out
            if given_up.is_set():
                raise TimeoutError
            if len(text) > MARKDOWN_CHARACTERS_MAX:
                raise OverflowError
            return text

    document = BeautifulSoup(html, "html.parser")
    _resolve_links(document, base)
    for tag in document(_UNSEEN):
        tag.decompose()
    _flatten(document)
    return Converter(heading_style=ATX).convert_soup(document).strip() + "\n"


def _resolve_links(document: "BeautifulSoup", base: str) -> None:
    """Make addresses absolute. An image that stands in the page itself is left out for its alternative text."""
    own = document.find("base", href=True)
    if own is not None:
        base = _joined(base, str(own["href"]))
    for link in document("a", href=True):
        link["href"] = _joined(base, str(link["href"]))
    for image in document("img", src=True):
        image["src"] = source = _joined(base, str(image["src"]))
        if source.startswith("data:"):
            image.replace_with(str(image.get("alt", "")))


def _joined(base: str, address: str) -> str:
    with suppress(ValueError):
        return ada_url.join_url(base, address)
    return address


def _flatten(document: "BeautifulSoup") -> None:
    """Make plain text of what lies too deep."""
    level: list[Tag] = [document]
    for _ in range(_DEPTH_MAX):
        level = [child for tag in level for child in tag(True, recursive=False)]
    for tag in level:
        tag.string = tag.get_text(" ", strip=True)
