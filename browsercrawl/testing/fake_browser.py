"""A browser without a browser: `ports` implemented over scripts, with no I/O and in a few microseconds per call.

A *site* tells for each URL how its page behaves (`FakePageScript`); a *behaviour* tells how the browser itself does
(`FakeBehaviour`). The fake counts what is really open, so that a test can compare the pool's book-keeping with it, and
notes each `misuse` of its interface instead of raising, so that the code under test cannot swallow it.

Delays run on the injected clock. `inf` means: never, only the caller's limit ends it.

Example:
    >>> import asyncio
    >>> from browsercrawl.ports import ContextOptions
    >>> async def main() -> int | None:
    ...     browser = FakeBrowser({"https://example.com/": FakePageScript(title="Hello")})
    ...     context = await browser.new_context(ContextOptions(), limit_s=1)
    ...     page = await context.new_page(limit_s=1)
    ...     await page.begin()
    ...     seen = await page.goto("https://example.com/", wait_until="load", load_limit_s=1, limit_s=1)
    ...     return seen.status
    >>> asyncio.run(main())
    200
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from browsercrawl.clock import Clock, SystemClock
from browsercrawl.errors import (
    BrowserCrashed,
    BrowsercrawlError,
    CallTimeout,
    ContextBroken,
    LaunchFailed,
    MemoryExceeded,
)
from browsercrawl.ports import Audit, BrowserFacts, ContextOptions, ContextPort, SessionTerms
from browsercrawl.testing.fake_page import FakePage
from browsercrawl.testing.fake_script import (
    NEVER,
    FakeBehaviour,
    FakeCall,
    FakePageScript,
    Sites,
    script_for,
    sleep_unless,
)


class FakeBrowser:
    """Implements `BrowserPort`.

    Args:
        sites: how each URL's page behaves.
        clock: what delays run on.
        behaviour: how the browser itself does.

    Attributes:
        behaviour: as given.
        calls: calls made into this browser, its contexts and pages.
        contexts: what is open now. Its length is the reality that a pool's count must equal.
        pages: likewise. Popups are not in it; each page knows its own.
        contexts_peak, pages_peak: the most that were ever open at once.
        contexts_opened, pages_opened: how many were opened in all.
        trims: how often it was asked to drop caches.
        misuse: each breach of the interface's rules, in words.
    """

    def __init__(
        self,
        sites: Sites = None,
        *,
        clock: Clock | None = None,
        behaviour: FakeBehaviour | None = None,
        serial: int = 1,
    ) -> None:
        self.behaviour = behaviour or FakeBehaviour()
        self.clock: Clock = clock or SystemClock()
        self.calls = 0
        self.contexts: set[FakeContext] = set()
        self.pages: set[FakePage] = set()
        self.contexts_peak = 0
        self.pages_peak = 0
        self.contexts_opened = 0
        self.pages_opened = 0
        self.misuse: list[str] = []
        self.trims = 0
        self._sites = sites
        self._lost: str | None = None
        self._gone: asyncio.Future[str] | None = None
        self._facts = BrowserFacts(pid=None, binary="fake", version=f"{serial}.0", sandbox=True)

    @property
    def facts(self) -> BrowserFacts:
        """What was launched."""
        return self._facts

    @property
    def lost(self) -> str | None:
        """Why the browser is gone; None while it lives."""
        return self._lost

    async def wait_lost(self) -> str:
        """Return when the browser is gone, with the reason."""
        if self._lost is None:
            await asyncio.shield(self._gone_future())
        return self._lost or ""

    async def new_context(self, options: ContextOptions, *, limit_s: float) -> "FakeContext":
        """Open a context."""
        await self.begin_call("new_context", limit_s=limit_s)
        await self.pause(self.behaviour.open_context_s, "new_context", limit_s=limit_s)
        self.check()
        if self.behaviour.context_error is not None:
            raise self.behaviour.context_error
        context = FakeContext(self, options)
        self.contexts.add(context)
        self.contexts_opened += 1
        self.contexts_peak = max(self.contexts_peak, len(self.contexts))
        return context

    async def audit(self, *, page_bytes_max: int, limit_s: float) -> Audit:
        """Count what is open, popups too and what the behaviour says has leaked; each page is a renderer."""
        await self.begin_call("audit", limit_s=limit_s)
        await self.pause(self.behaviour.audit_s, "audit", limit_s=limit_s)
        self.check()
        held = {page: page.held_bytes for page in self.pages if not page.crashed}
        greedy = [page for page in held if held[page] > page_bytes_max]
        for page in greedy:
            page.die(lambda: MemoryExceeded("the renderer held too much"))
        return Audit(
            contexts=len(self.contexts) + self.behaviour.leaked_contexts,
            pages=sum(1 + page.open_popups for page in self.pages) + self.behaviour.leaked_pages,
            renderers=tuple(held.values()),
            browser_bytes=self.behaviour.browser_bytes,
            killed=len(greedy),
        )

    def kill_heaviest(self, error: Callable[[], BrowsercrawlError]) -> bool:
        """Let the page die that holds most."""
        held = {page: page.held_bytes for page in self.pages if not page.crashed}
        if held:
            max(held, key=held.__getitem__).die(error)
        return bool(held)

    async def trim(self, *, limit_s: float) -> bool:
        """Count it."""
        self.trims += 1
        with suppress(BrowsercrawlError):
            await self.begin_call("trim", limit_s=limit_s)
            return True
        return False

    async def close(self, *, limit_s: float) -> bool:
        """Close politely, or by force after the limit."""
        if self._lost is not None:
            return True
        polite = self.behaviour.close_browser_s <= limit_s
        await self.clock.sleep(min(self.behaviour.close_browser_s, limit_s))
        self.die("closed" if polite else "killed")
        return polite

    async def kill(self) -> None:
        """Kill it at once."""
        self.die("killed")

    def die(self, reason: str = "died") -> None:
        """Take the browser down now, with all that is open. Further calls do nothing."""
        if self._lost is not None:
            return
        self._lost = reason
        for context in list(self.contexts):
            context.end()
        if self._gone is not None:
            self._gone.set_result(reason)

    def script_of(self, url: str) -> FakePageScript:
        """Return how the page of a URL behaves."""
        return script_for(self._sites, url)

    async def begin_call(self, what: str, *, limit_s: float, context: "FakeContext | None" = None) -> None:
        """Count a call, die if it is the one, and let the behaviour meddle with it."""
        self.calls += 1
        if self.calls == self.behaviour.dies_at_call:
            self.behaviour.dies_at_call = None  # its successor shares the behaviour, and lives
            self.die(f"died at call {self.calls}")
        self.check()
        if self.behaviour.before_call is not None:
            call = FakeCall(number=self.calls, what=what, browser=self, context=context, limit_s=limit_s)
            await self.behaviour.before_call(call)
            self.check()

    def check(self) -> None:
        """Raise if the browser is gone."""
        if self._lost is not None:
            raise BrowserCrashed(f"the browser is gone: {self._lost}")

    async def pause(self, seconds: float, what: str, *, limit_s: float) -> None:
        """Take time, but not beyond the limit nor the browser's death.

        Raises:
            CallTimeout: the limit ended it.
        """
        if seconds <= 0:
            return
        await sleep_unless(self._gone_future(), clock=self.clock, seconds=min(seconds, limit_s))
        self.check()
        if seconds > limit_s:
            raise CallTimeout(f"{what} did not return within {limit_s} s")

    def _gone_future(self) -> asyncio.Future[str]:
        if self._gone is None:
            self._gone = asyncio.get_running_loop().create_future()
            if self._lost is not None:
                self._gone.set_result(self._lost)
        return self._gone


class FakeContext:
    """Implements `ContextPort`; made by `FakeBrowser.new_context`.

    Attributes:
        jar: its cookies by name, which a script may look at; begun with those of the storage state it is opened with.
        local: its localStorage by origin, likewise.
    """

    def __init__(self, browser: FakeBrowser, options: ContextOptions) -> None:
        self.browser = browser
        self.options = options
        self.pages: set[FakePage] = set()
        self.lasting_calls: set[str] = set()
        state = options.extra.get("storage_state") or {}
        self.jar: dict[str, dict[str, Any]] = {cookie["name"]: dict(cookie) for cookie in state.get("cookies", ())}
        self.local: dict[str, dict[str, str]] = {
            each["origin"]: {item["name"]: item["value"] for item in each["localStorage"]}
            for each in state.get("origins", ())
        }
        self._closed = False

    @property
    def lasting(self) -> frozenset[str]:
        """What was done to the context that outlasts a visit."""
        return frozenset(self.lasting_calls)

    @property
    def closed(self) -> bool:
        """Closed, by anyone."""
        return self._closed

    async def new_page(self, *, limit_s: float) -> "FakePage":
        """Open a page."""
        await self._begin_call("new_page", limit_s)
        self._check()
        await self.browser.pause(self.browser.behaviour.open_page_s, "new_page", limit_s=limit_s)
        self._check()
        page = FakePage(self)
        self.pages.add(page)
        self.browser.pages.add(page)
        self.browser.pages_opened += 1
        self.browser.pages_peak = max(self.browser.pages_peak, len(self.browser.pages))
        return page

    async def cookies(self, *, limit_s: float) -> list[Mapping[str, Any]]:
        """Return its cookies."""
        await self._begin_call("cookies", limit_s)
        await self.browser.pause(0.0, "context.cookies", limit_s=limit_s)
        self._check()
        return [dict(cookie) for cookie in self.jar.values()]

    async def forget_cookie(self, name: str, *, limit_s: float) -> None:
        """Take a cookie out of the jar."""
        await self.cookies(limit_s=limit_s)
        self.jar.pop(name, None)

    async def storage_state(self, *, limit_s: float) -> Mapping[str, Any]:
        """Return cookies and localStorage; there is no IndexedDB."""
        origins = [
            {"origin": origin, "localStorage": [{"name": name, "value": items[name]} for name in items]}
            for origin, items in self.local.items()
        ]
        return {"cookies": await self.cookies(limit_s=limit_s), "origins": origins}

    async def post(
        self, url: str, *, form: Mapping[str, str] | None, json: Mapping[str, str] | None, limit_s: float
    ) -> int:
        """Ask the site for the status of the URL, a `?` and the values sent."""
        await self._begin_call("post", limit_s)
        await self.browser.pause(0.0, "request.post", limit_s=limit_s)
        self._check()
        script = self.browser.script_of(f"{url}?{'&'.join((form or json or {}).values())}")
        return script.status or 0

    async def close(self, *, limit_s: float) -> bool:
        """Close the context and its pages."""
        try:
            await self._begin_call("close", limit_s)
            if not self._closed:
                await self.browser.pause(self.browser.behaviour.close_context_s, "context.close", limit_s=limit_s)
        except BrowsercrawlError:
            return self._closed  # also by the browser's death
        self.end()
        return True

    def end(self) -> None:
        """Close the context now, as user code or the browser's death would."""
        self._closed = True
        for page in list(self.pages):
            page.end()
        self.browser.contexts.discard(self)

    async def _begin_call(self, what: str, limit_s: float) -> None:
        await self.browser.begin_call(f"context.{what}", limit_s=limit_s, context=self)

    def _check(self) -> None:
        self.browser.check()
        if self._closed:
            raise ContextBroken("the context is closed")


class FakeKeeper:
    """Implements `SessionKeeper`: gives every session the same options, and remembers what it is asked.

    Attributes:
        own: terms by session; others have none of their own.
        saved: what was in the jar of each session whose context has hibernated.
        hibernated: sessions whose contexts were let go of, with what they were opened with.
        save_s: how long saving takes.
        error: what reviving raises.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        self.own: dict[str, SessionTerms] = {}
        self.saved: dict[str, dict[str, dict[str, Any]]] = {}
        self.hibernated: list[tuple[str, ContextOptions]] = []
        self.dismissed: list[ContextOptions] = []
        self.save_s = 0.0
        self.error: BrowsercrawlError | None = None
        self._clock: Clock = clock or SystemClock()

    def terms(self, session: str) -> SessionTerms:
        """Return the session's terms."""
        return self.own.get(session, SessionTerms())

    async def revive(self, session: str, *, private: bool = False) -> ContextOptions:
        """Return options that bring the saved cookies back, unless the context is a private one."""
        if self.error is not None:
            raise self.error
        jar = None if private else self.saved.get(session)
        return ContextOptions(extra={"storage_state": {"cookies": list(jar.values())}} if jar is not None else {})

    async def hibernate(self, session: str, context: ContextPort, *, options: ContextOptions, limit_s: float) -> None:
        """Take the cookies."""
        self.hibernated.append((session, options))
        await self._clock.sleep(min(self.save_s, limit_s))
        with suppress(BrowsercrawlError):
            self.saved[session] = {cookie["name"]: dict(cookie) for cookie in await context.cookies(limit_s=limit_s)}

    def dismiss(self, options: ContextOptions) -> None:
        """Note it."""
        self.dismissed.append(options)


class FakeLauncher:
    """Implements `LaunchBrowser`: counts launches and fails the ones it is told to.

    Attributes:
        browsers: all that were launched, in order.
        attempts: launches tried, failed ones included.
        fail_next: so many of the next launches fail.
        error: what a failing launch raises.
        launch_s: how long a launch takes.
    """

    def __init__(
        self, sites: Sites = None, *, clock: Clock | None = None, behaviour: FakeBehaviour | None = None
    ) -> None:
        self.browsers: list[FakeBrowser] = []
        self.attempts = 0
        self.fail_next = 0
        self.error: BrowsercrawlError = LaunchFailed("the fake browser was told not to start")
        self.launch_s = 0.0
        self._sites = sites
        self._clock: Clock = clock or SystemClock()
        self._behaviour = behaviour

    async def __call__(self) -> FakeBrowser:
        """Launch a fake browser."""
        self.attempts += 1
        if self.launch_s > 0:
            await self._clock.sleep(self.launch_s)
        if self.fail_next > 0:
            self.fail_next -= 1
            raise self.error
        browser = FakeBrowser(self._sites, clock=self._clock, behaviour=self._behaviour, serial=len(self.browsers) + 1)
        self.browsers.append(browser)
        return browser

    @property
    def launches(self) -> int:
        """How many launches succeeded."""
        return len(self.browsers)

    @property
    def pages_open(self) -> int:
        """Pages really open now, in all browsers."""
        return sum(len(browser.pages) for browser in self.browsers)

    @property
    def contexts_open(self) -> int:
        """Contexts really open now, in all browsers."""
        return sum(len(browser.contexts) for browser in self.browsers)

    @property
    def browsers_open(self) -> int:
        """Browsers alive now."""
        return sum(browser.lost is None for browser in self.browsers)

    @property
    def misuse(self) -> list[str]:
        """Breaches of the interface's rules, in all browsers."""
        return [words for browser in self.browsers for words in browser.misuse]


def fake_launcher(
    sites: Sites = None, *, clock: Clock | None = None, behaviour: FakeBehaviour | None = None
) -> FakeLauncher:
    """Make a `LaunchBrowser` of fake browsers that share sites, clock and behaviour."""
    return FakeLauncher(sites, clock=clock, behaviour=behaviour)


__all__ = [
    "NEVER",
    "FakeBehaviour",
    "FakeBrowser",
    "FakeCall",
    "FakeContext",
    "FakeKeeper",
    "FakeLauncher",
    "FakePage",
    "FakePageScript",
    "Sites",
    "fake_launcher",
]
