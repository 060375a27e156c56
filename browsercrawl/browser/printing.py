"""A whole page as one file: PDF and MHTML, each bounded before it comes here.

A PDF is read from a stream, so reading just stops at the bound. Of MHTML the browser knows one call only, whose answer
comes in one message: at 300 MB it ended the driver. So its size is estimated first. Both use the inspector session that
the page has anyway; neither leaves anything on the page.
"""

import asyncio
import base64
import time
from collections.abc import Iterator, Mapping
from typing import Any

from playwright.async_api import CDPSession, Frame, Page
from playwright.async_api import Error as PlaywrightError

from browsercrawl.browser.calls import Calls

_CHUNK_BYTES = 1_000_000
_CLOSE_LIMIT_S = 1.0
_FRAME_LIMIT_S = 1.0

_MEASURE = """(max) => {
    const root = Object.getOwnPropertyDescriptor(Document.prototype, 'documentElement').get.call(document);
    const html = root ? root.outerHTML : '';
    if (html.length > max) return html.length;
    let bytes = 0;
    for (let at = 0; at < html.length; at++) {
        const code = html.charCodeAt(at);
        if (code < 128) bytes += code === 61 ? 3 : 1;
        else bytes += code < 2048 || (code >= 0xD800 && code < 0xE000) ? 6 : 9;
    }
    return bytes;
}"""
"""How many bytes a document takes as quoted-printable UTF-8."""

_LINES = 1.05
"""What line ends add to text, and to base64."""

_BASE64 = 4 / 3


class Oversized(Exception):
    """The file has more bytes than asked for; the message says how many, as far as is known."""


async def print_pdf(session: CDPSession, *, calls: Calls, bytes_max: int, limit_s: float) -> bytes:
    """Print a page, with its backgrounds, on the paper its style sheets name.

    Raises:
        Oversized: reading stopped at `bytes_max`.
        TimeoutError, playwright.async_api.Error: as the calls raise them.
    """
    deadline = time.monotonic() + limit_s
    options = {"transferMode": "ReturnAsStream", "printBackground": True, "preferCSSPageSize": True}
    printed = await calls.run(session.send("Page.printToPDF", options), limit_s=limit_s)
    handle = {"handle": printed["stream"]}
    parts: list[bytes] = []
    size = 0
    ended = False
    try:
        while not ended:
            reading = session.send("IO.read", handle | {"size": _CHUNK_BYTES})
            read = await calls.run(reading, limit_s=deadline - time.monotonic())
            data: str = read["data"]
            parts.append(base64.b64decode(data) if read.get("base64Encoded") else data.encode("latin-1"))
            size += len(parts[-1])
            if size > bytes_max:
                raise Oversized(f"more than {bytes_max:,} bytes")
            ended = read["eof"]
    finally:
        await calls.settled(session.send("IO.close", handle), limit_s=_CLOSE_LIMIT_S)
    return b"".join(parts)


async def capture_mhtml(raw: Page, session: CDPSession, *, calls: Calls, bytes_max: int, limit_s: float) -> bytes:
    """Return a page with all its resources, as it is now, in the format of saved mail.

    Raises:
        Oversized: it has, or by estimate would have, more than `bytes_max`.
        TimeoutError, playwright.async_api.Error: as the calls raise them.
    """
    deadline = time.monotonic() + limit_s
    estimate = await _mhtml_bytes(raw, session, calls, bytes_max=bytes_max, limit_s=limit_s)
    if estimate > bytes_max:
        raise Oversized(f"about {estimate:,} bytes, more than {bytes_max:,}")
    capturing = session.send("Page.captureSnapshot", {"format": "mhtml"})
    answer = await calls.run(capturing, limit_s=deadline - time.monotonic())
    body = str(answer["data"]).encode("utf-8", "replace")
    if len(body) > bytes_max:
        raise Oversized(f"{len(body):,} bytes, more than {bytes_max:,}")
    return body


async def _mhtml_bytes(raw: Page, session: CDPSession, calls: Calls, *, bytes_max: int, limit_s: float) -> int:
    """Estimate: documents as they are now, resources by their size. What a frame does not tell counts as nothing."""
    # A frame whose document never committed has no address, and never answers.
    others = [frame for frame in raw.frames if frame is not raw.main_frame and frame.url]
    main, tree, *inner = await asyncio.gather(
        calls.run(raw.main_frame.evaluate(_MEASURE, bytes_max), limit_s=limit_s),
        calls.run(session.send("Page.getResourceTree"), limit_s=limit_s),
        *(_frame_bytes(frame, calls, bytes_max=bytes_max, limit_s=min(limit_s, _FRAME_LIMIT_S)) for frame in others),
    )
    resources = sum(_resource_bytes(tree["frameTree"]))
    return int(_LINES * (int(main) + sum(inner) + _BASE64 * resources))


async def _frame_bytes(frame: Frame, calls: Calls, *, bytes_max: int, limit_s: float) -> int:
    try:
        return int(await calls.run(frame.evaluate(_MEASURE, bytes_max), limit_s=limit_s))
    except (TimeoutError, PlaywrightError):
        return 0


def _resource_bytes(tree: Mapping[str, Any]) -> Iterator[float]:
    for resource in tree["resources"]:
        if resource["type"] in {"Image", "Stylesheet", "Font"}:  # the types that such a file contains
            yield resource.get("contentSize", 0)
    for child in tree.get("childFrames", ()):
        yield from _resource_bytes(child)
