"""What is never fetched: by type and by host, at the cheapest level that works (figures: docs/benchmarks.md).

A type is refused by the browser itself: `Fetch.enable` at the browser-level session covers every context, frame, popup
and worker, also those to come, leaves the HTTP cache on and pauses what matches, nothing else. (`route` pauses every
request and turns the cache off.) A host costs nothing as a rule of the browser's own resolver. That is no help where
a proxy resolves, or where the list is longer than a command line takes: then hosts are patterns of `Fetch`, too.
"""

import asyncio
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import CDPSession

from browsercrawl.browser.calls import Calls
from browsercrawl.config import BrowserConfig

_TYPES = {"image": "Image", "font": "Font", "media": "Media", "stylesheet": "Stylesheet"}
_RULES_CHARACTERS_MAX = 100_000
"""Linux takes 131,072 bytes in one argument."""
_NAME_LENGTH_MAX = 256
"""Longer than any name that can be looked up: of what a page writes before that nothing is compared."""
_ANSWER_LIMIT_S = 5.0
_CLOSE_LIMIT_S = 5.0


def resolver_rules(config: BrowserConfig) -> str | None:
    """Return the value of `--host-resolver-rules` that blocks the hosts; None: there are none, or too many."""
    if not config.block_hosts:
        return None
    rules = ",".join(f"MAP {host} ~NOTFOUND,MAP *.{host} ~NOTFOUND" for host in sorted(config.block_hosts))
    return rules if len(rules) <= _RULES_CHARACTERS_MAX else None


class Blocking:
    """Refuses what one browser is not to fetch."""

    def __init__(self, session: CDPSession, calls: Calls, *, config: BrowserConfig) -> None:
        self._session = session
        self._calls = calls
        self._types = [_TYPES[name] for name in sorted(config.block)]
        self._hosts = config.block_hosts
        self._has_patterns = False
        self._answers: set[asyncio.Task[bool]] = set()
        self._resolves = resolver_rules(config) is not None and config.proxy is None
        self._enabling = asyncio.Lock()  # guards `_has_patterns`: nobody goes on before the patterns are there
        session.on("Fetch.requestPaused", self._on_paused)

    async def start(self, *, limit_s: float) -> None:
        """Refuse from now on what is to be refused without a proxy.

        Raises:
            TimeoutError, playwright.async_api.Error: the browser does not take it.
        """
        if self._hosts and not self._resolves:
            await self.behind_proxy(limit_s=limit_s)
        elif self._types:
            await self._enable([], limit_s)

    async def behind_proxy(self, *, limit_s: float) -> None:
        """Refuse hosts also where a proxy resolves them: before a context with one is opened.

        Raises:
            TimeoutError, playwright.async_api.Error: the browser does not take it.
        """
        async with self._enabling:
            if self._hosts and not self._has_patterns:
                await self._enable(sorted(self._hosts), limit_s)
                self._has_patterns = True

    async def close(self) -> None:
        """Wait for the last answers; they end with the browser."""
        if self._answers:
            await asyncio.wait(set(self._answers), timeout=_CLOSE_LIMIT_S)

    async def _enable(self, hosts: list[str], limit_s: float) -> None:
        patterns = [{"urlPattern": "*", "resourceType": name} for name in self._types]
        for host in hosts:
            # A port stands there only where it is not the scheme's own.
            patterns += [{"urlPattern": f"*://{name}{end}"} for name in (host, f"*.{host}") for end in ("/*", ":*/*")]
        await self._calls.run(self._session.send("Fetch.enable", {"patterns": patterns}), limit_s=limit_s)

    def _on_paused(self, event: dict[str, Any]) -> None:
        """Answer for a paused request; it must be answered, or the page waits for it for ever."""
        is_refused = event.get("resourceType") in self._types or self._is_blocked(event["request"]["url"])
        method, more = ("failRequest", {"errorReason": "BlockedByClient"}) if is_refused else ("continueRequest", {})
        params = {"requestId": event["requestId"], **more}
        sending = self._calls.settled(self._session.send(f"Fetch.{method}", params), limit_s=_ANSWER_LIMIT_S)
        answer = asyncio.create_task(sending)
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)

    def _is_blocked(self, url: str) -> bool:
        """Tell whether a host or one of its parents is on the list: a pattern's `*` may lie anywhere in the URL."""
        host = urlsplit(url).netloc.rpartition("@")[2]
        host = host if host.endswith("]") else host.partition(":")[0]
        labels = host.rstrip(".")[-_NAME_LENGTH_MAX:].split(".")
        return any(".".join(labels[start:]) in self._hosts for start in range(len(labels)))
