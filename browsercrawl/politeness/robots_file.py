"""What a robots.txt says (RFC 9309), read by the `protego` library."""

import re

from protego import Protego

from browsercrawl.errors import InvalidURL
from browsercrawl.urls import address

ROBOTS_BYTES_MAX = 512_000
"""What follows is passed over: RFC 9309, section 2.5, asks for 500 KiB at least."""

COST_MAX = 2_000_000
"""Lines of a file times what each costs: up to this an address is looked up in 2 ms. A thousand rules are far below."""

_LINE_COST = 500
"""A line costs this, and 1 more for each character of the address, in nanoseconds."""

_AGENT_LINE = re.compile(r"\s*user(?:-|\s*)agent(?=[\s:]|\Z)[\s:]*([^#]*)", re.IGNORECASE)
_TOKEN = re.compile(r"[A-Za-z_-]*")
_NOBODY = "/"
"""No product token has it, so this agent is nobody's."""


class RobotsFile:
    r"""The rules of one file for one crawler.

    Args:
        body: as it came; bytes that are no UTF-8 (or UTF-16 with its mark) stand for nothing.
        token: the product token whose group counts; without one, that of `*`.

    Attributes:
        crawl_delay_s: what it asks for; None: nothing.
        sitemaps: addresses that its `Sitemap` lines name.
        size: of the body.

    Example:
        >>> file = RobotsFile(b"User-agent: *\nDisallow: /private", token="browsercrawl")
        >>> file.allows("https://example.com/"), file.allows("https://example.com/private/x")
        (True, False)
    """

    def __init__(self, body: bytes, *, token: str) -> None:
        self._token = token
        self.size = len(body)
        encoding = "utf-16" if body.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
        text = body[:ROBOTS_BYTES_MAX].decode(encoding, "replace")
        lines = [_with_own_agents(line, token) for line in text.splitlines()]
        self._lines = len(lines)
        self._rules = Protego.parse("\n".join(lines))
        self.crawl_delay_s = self._rules.crawl_delay(token)
        self.sitemaps = tuple(url for url in self._rules.sitemaps if _is_address(url))

    def is_costly(self, url: str) -> bool:
        """Tell whether `allows` may take so long for an address that it should be asked in a thread."""
        return self._lines * (_LINE_COST + len(url)) > COST_MAX

    def allows(self, url: str) -> bool:
        """Tell whether the crawler may fetch an address; give it in its canonical spelling."""
        return self._rules.can_fetch(url, self._token)


def _with_own_agents(line: str, token: str) -> str:
    """Have a line that names an agent name us, everybody or nobody.

    The library compares beginnings, so a group of `browser` would count for `browsercrawl`, and one of
    `browsercrawl/1.0` would not. And its time and memory grow with agents times rules: half a megabyte of both would
    take gigabytes.
    """
    found = _AGENT_LINE.match(line)
    if found is None:
        return line
    name = found[1].strip()
    if name == "*":
        return "User-agent: *"
    named = _TOKEN.match(name)
    is_ours = named is not None and named[0].lower() == token.lower()
    return f"User-agent: {token if is_ours else _NOBODY}"


def _is_address(url: str) -> bool:
    try:
        address(url)
    except InvalidURL:
        return False
    return True
