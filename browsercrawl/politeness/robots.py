"""robots.txt (RFC 9309), as far as it can be decided without a network."""

import codecs
import re

from browsercrawl.config import HostConfig
from browsercrawl.errors import InvalidURL
from browsercrawl.urls import address
from browsercrawl.version import VERSION

ROBOTS_BYTES_MAX = 512_000
"""RFC 9309, section 2.5: at least 500 kibibytes must be parsed; the rest is ignored."""

CRAWL_DELAY_MAX_S = 30.0
"""A longer Crawl-delay is taken for this: days between two pages are a way to say no, and there is another for that."""


_AGENT = re.compile(r"^([ \t]*user[- ]?agent[ \t]*[: \t][ \t]*)(\*|[A-Za-z_-]*)[^\r\n]*", re.IGNORECASE | re.MULTILINE)
_OURS, _OTHERS = "ours", "theirs"


class RobotsFile:
    r"""What a host's robots.txt says to us. Whatever is in it, there is no error: what says nothing is passed over.

    Args:
        body: as it came.
        token: the product token that groups are looked for by, without a version.

    Attributes:
        crawl_delay_s: seconds between two visits, capped; 0: it names none.
        sitemaps: addresses, as they are written; what is none is left out.

    Example:
        >>> file = RobotsFile(b"User-agent: *\nDisallow: /private", token="browsercrawl")
        >>> file.allows("https://example.com/private/1"), file.allows("https://example.com/")
        (False, True)
    """

    __slots__ = ("_parsed", "crawl_delay_s", "sitemaps")

    def __init__(self, body: bytes, *, token: str) -> None:
        from protego import Protego  # noqa: PLC0415 - not every crawl asks

        encoding = "utf-16" if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
        text = body[:ROBOTS_BYTES_MAX].decode(encoding, "replace").replace("\0", "\ufffd")
        self._parsed = Protego.parse(_AGENT.sub(lambda line: _named(line, token), text))
        delay_s = self._parsed.crawl_delay(_OURS) or 0.0
        # Not a number, or below zero: as if it was not there.
        self.crawl_delay_s: float = min(delay_s, CRAWL_DELAY_MAX_S) if delay_s > 0 else 0.0
        self.sitemaps: tuple[str, ...] = tuple(url for url in self._parsed.sitemaps if _is_address(url))

    def allows(self, url: str) -> bool:
        """Tell whether a URL of the file's host may be visited."""
        return bool(self._parsed.can_fetch(url, _OURS))


def _is_address(url: str) -> bool:
    try:
        address(url)
    except InvalidURL:
        return False
    return True


def _named(line: re.Match[str], token: str) -> str:
    """Return a line that begins a group, with a name that says whether it is ours: by section 2.2.1 all of it counts.

    The parser takes it by its beginning: a group for `browser` would hold for `browsercrawl`.
    """
    name = line[2]
    return f"{line[1]}{name if name == '*' else _OURS if name.lower() == token.lower() else _OTHERS}"


def identity(config: HostConfig) -> str:
    """Return what we call ourselves.

    Example:
        >>> identity(HostConfig(contact="https://me.example/bot")).endswith(" (+https://me.example/bot)")
        True
    """
    return f"{config.product_token}/{VERSION}" + (f" (+{config.contact})" if config.contact else "")
