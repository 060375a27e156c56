"""Carrying out a login in a page: a form like a person, or a single request. One time limit over all of it.

Whatever goes wrong becomes `LoginFailed`, which names the step and what the page shows; never a secret.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from browsercrawl.clock import Clock
from browsercrawl.config import FormLogin, FormStep, HttpLogin, Login, Sign
from browsercrawl.config.sessions import is_like
from browsercrawl.errors import (
    BrowserCrashed,
    BrowsercrawlError,
    ContextBroken,
    LoginFailed,
    NetworkFailed,
)
from browsercrawl.ports import Glance, PagePort, Presence
from browsercrawl.redaction import redact_text
from browsercrawl.sessions.secrets import Secrets
from browsercrawl.urls import bare, shown

LOOK_EVERY_S = 0.1
"""How often it is looked whether a login has worked."""
EMPTIED_S = 2.0
"""A field that was filled in and has been empty for so long belongs to a form that came back: the login was refused."""
CALL_LIMIT_S = 5.0
"""One look at a page; it is taken again until the login's own limit."""
LAST_LOOK_S = 0.5
"""A look that begins at the deadline gets so long."""
CANCEL_GRACE_S = 0.5
"""User code past its limit gets so long to clean up after its cancellation."""
PICTURE_LIMIT_S = 3.0

_TITLE_LENGTH_MAX = 100
_LOST = (BrowserCrashed, ContextBroken)
"""Not the login's fault: it is tried again as if nothing had been."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginSession:
    """What a login coroutine gets besides the page.

    Attributes:
        name: of the session.
        account: whose it is.
        username: of its credentials; empty when there are none.
    """

    name: str
    account: str | None
    username: str
    secrets: Secrets = field(repr=False)

    @property
    def password(self) -> str:
        """The password of its credentials; empty when there is none."""
        return self.secrets.password

    def totp(self) -> str:
        """Return the one-time password of this moment.

        Raises:
            ConfigError: its credentials have no secret for it.
        """
        return self.secrets.code()


LoginFunction = Callable[[Any, LoginSession], Awaitable[None]]
"""User code that logs a session in with the Playwright page it gets."""


class LoginAttempt:
    """One try to log a session in, in a page of its own.

    Args:
        page: begun, and used by nobody else.
        login: how.
        who: the session.
        clock: what the limit runs on.
        function: the user's own way, for a login without recipe.
        deaf: gets what still runs in spite of its cancellation.
    """

    def __init__(
        self,
        page: PagePort,
        login: Login,
        *,
        who: LoginSession,
        clock: Clock,
        function: LoginFunction | None,
        deaf: "set[asyncio.Task[None]] | None" = None,
    ) -> None:
        self._page = page
        self._deaf = set() if deaf is None else deaf
        self._login = login
        self._who = who
        self._clock = clock
        self._function = function
        self._deadline = clock.now() + login.timeout_s

    async def carry_out(self) -> None:
        """Log in.

        Raises:
            LoginFailed: it did not work; with a picture of the page, if one could be taken.
            BrowserCrashed, ContextBroken: the page was lost on the way.
        """
        failure: BrowsercrawlError | None = None
        try:
            await self._follow_recipe()
        except _LOST:
            raise
        except BrowsercrawlError as error:
            failure = error
        if failure is not None:
            said = self._who.secrets.scrubbed(failure.message)
            # Not `from`: what is behind it may hold what was typed.
            network = failure if isinstance(failure, NetworkFailed) else None
            raise LoginFailed(f"session {self._who.name!r}: {said}", screenshot=await self._picture(), network=network)

    async def _follow_recipe(self) -> None:
        recipe = self._login.recipe
        sign = recipe.success.cookie if isinstance(recipe, FormLogin) else getattr(recipe, "cookie", None)
        if sign is not None:  # one that is left of an earlier login is no sign of this one
            await self._page.context.forget_cookie(sign, limit_s=CALL_LIMIT_S)
        if isinstance(recipe, FormLogin):
            await self._fill_in(recipe)
        elif isinstance(recipe, HttpLogin):
            await self._send(recipe)
        elif self._function is not None:
            await self._call(self._function)
        else:
            raise LoginFailed("there is no way to log in: give its login a recipe, or register one with Crawler.login")

    # --- a form ------------------------------------------------------------------------------------------------------

    async def _fill_in(self, recipe: FormLogin) -> None:
        navigation = await self._page.goto(
            recipe.url, wait_until="load", load_limit_s=self._left_s() * 2 / 3, limit_s=self._left_s()
        )
        if navigation.status is not None and navigation.status >= 400:
            raise LoginFailed(f"the login page {shown(recipe.url)} answers HTTP {navigation.status}")
        filled: list[str] = []
        for number, step in enumerate(recipe.steps, start=1):
            if await self._wait_for_step(recipe, step, filled=filled, number=number):
                return  # one that is remembered may not be asked for all of it
            filled = await self._do_step(step)
        await self._wait_for_success(recipe, filled)

    async def _do_step(self, step: FormStep) -> list[str]:
        secrets = self._who.secrets
        for selector, template in step.fields.items():
            await self._page.fill(selector, secrets.filled(template), limit_s=self._left_s())
        selector = step.submit or next(reversed(step.fields))
        await self._page.submit(selector, click=step.submit is not None, limit_s=self._left_s())
        return [selector for selector, template in step.fields.items() if "{password}" in template] or list(step.fields)

    async def _wait_for_step(self, recipe: FormLogin, step: FormStep, *, filled: list[str], number: int) -> bool:
        """Wait until a step's first field is there. Returns whether the login has worked already."""
        first = next(iter(step.fields))
        watch = _Watch(recipe, filled)
        while True:
            glance = await self._glance([*watch.selectors, first])
            if glance.found[-1] is not Presence.ABSENT and first not in filled:
                return False
            is_elsewhere = number > 1 or bare(glance.url) != bare(recipe.url)
            if is_elsewhere and await self._shows(recipe.success, glance.url, watch.success_in(glance.found)):
                return True
            self._refuse_if_refused(watch, glance.found, url=glance.url, title=glance.title)
            if self._is_late:
                raise LoginFailed(
                    f"step {number}: no {first} at {shown(glance.url)} ({_quoted(glance.title)}); "
                    "the form has changed, or it asks for something else, such as a captcha"
                )
            await self._pause()

    async def _wait_for_success(self, recipe: FormLogin, filled: list[str]) -> None:
        watch = _Watch(recipe, filled)
        while True:
            glance = await self._glance(watch.selectors)
            if await self._shows(recipe.success, glance.url, watch.success_in(glance.found)):
                return
            self._refuse_if_refused(watch, glance.found, url=glance.url, title=glance.title)
            if self._is_late:
                raise LoginFailed(
                    f"the sign of success did not show within {self._login.timeout_s:g} s; the page is "
                    f"{shown(glance.url)} ({_quoted(glance.title)})"
                )
            await self._pause()

    def _refuse_if_refused(self, watch: "_Watch", found: tuple[Presence, ...], *, url: str, title: str) -> None:
        if watch.failure_in(found):
            raise LoginFailed(f"the site refuses the login: {watch.recipe.failure} is there, at {shown(url)}")
        if watch.came_back(found, self._clock.now()):
            raise LoginFailed(
                f"the site refuses the login: its form came back empty, at {shown(url)} ({_quoted(title)})"
            )

    async def _shows(self, sign: Sign, url: str, selector_found: bool) -> bool:
        if (sign.url and not is_like(url, sign.url)) or (sign.selector and not selector_found):
            return False
        if sign.cookie is None:
            return True
        cookies = await self._page.context.cookies(limit_s=self._look_s)
        return sign.cookie in {cookie["name"] for cookie in cookies}

    async def _glance(self, selectors: list[str]) -> Glance:
        return await self._page.glance(selectors, limit_s=self._look_s)

    # --- others ------------------------------------------------------------------------------------------------------

    async def _send(self, recipe: HttpLogin) -> None:
        given = recipe.form if recipe.form is not None else recipe.json_body or {}
        values = {name: self._who.secrets.filled(template) for name, template in given.items()}
        form, json = (values, None) if recipe.form is not None else (None, values)
        status = await self._page.context.post(recipe.url, form=form, json=json, limit_s=self._left_s())
        if not 200 <= status < 400:
            raise LoginFailed(f"the login at {shown(recipe.url)} answers HTTP {status}")
        if recipe.cookie is not None:
            cookies = await self._page.context.cookies(limit_s=min(CALL_LIMIT_S, self._left_s()))
            if recipe.cookie not in {cookie["name"] for cookie in cookies}:
                raise LoginFailed(f"the login at {shown(recipe.url)} brought no cookie {recipe.cookie}")

    async def _call(self, function: LoginFunction) -> None:
        async def run() -> None:
            await function(self._page.raw, self._who)

        name = getattr(function, "__qualname__", None) or repr(function)
        task = asyncio.create_task(run(), name=f"login {name}")
        try:
            if not await self._ends_within(task, self._left_s()):
                raise LoginFailed(f"{name} did not end within {self._login.timeout_s:g} s")
        finally:
            if not task.done():
                task.cancel()
                if not await self._ends_within(task, CANCEL_GRACE_S):
                    self._deaf.add(task)
                    task.add_done_callback(self._forget)
        if task.cancelled():
            raise LoginFailed(f"{name} was cancelled from inside")
        error = task.exception()
        if isinstance(error, BrowsercrawlError | KeyboardInterrupt | SystemExit):
            raise error
        if error is not None:
            said = redact_text(str(error).partition("\n")[0])
            raise LoginFailed(f"{name} raised {type(error).__name__}: {said}")

    async def _ends_within(self, task: "asyncio.Task[None]", limit_s: float) -> bool:
        timer = asyncio.ensure_future(self._clock.sleep(limit_s))
        try:
            await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
        return task.done()

    async def _picture(self) -> bytes | None:
        try:
            return await self._page.screenshot(full_page=False, limit_s=PICTURE_LIMIT_S)
        except BrowsercrawlError:
            return None

    def _forget(self, task: "asyncio.Task[None]") -> None:
        self._deaf.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio does not report it a second time

    def _left_s(self) -> float:
        left = self._deadline - self._clock.now()
        if left <= 0:
            raise LoginFailed(f"it was not done within {self._login.timeout_s:g} s")
        return left

    @property
    def _is_late(self) -> bool:
        return self._clock.now() >= self._deadline

    @property
    def _look_s(self) -> float:
        """The limit of one look: the last one begins at the deadline, so that its failure can say what is there."""
        return max(LAST_LOOK_S, min(CALL_LIMIT_S, self._deadline - self._clock.now()))

    async def _pause(self) -> None:
        await self._clock.sleep(min(LOOK_EVERY_S, max(0.0, self._deadline - self._clock.now())))


class _Watch:
    """What is looked for in a page while a form login waits: success, refusal, or the form once more."""

    def __init__(self, recipe: FormLogin, filled: list[str]) -> None:
        self.recipe = recipe
        self.selectors = [each for each in (recipe.success.selector, recipe.failure) if each] + filled
        self._filled = len(filled)
        self._empty_since: float | None = None

    def success_in(self, found: tuple[Presence, ...]) -> bool:
        return self.recipe.success.selector is not None and found[0] is not Presence.ABSENT

    def failure_in(self, found: tuple[Presence, ...]) -> bool:
        at = 1 if self.recipe.success.selector else 0
        return self.recipe.failure is not None and found[at] is not Presence.ABSENT

    def came_back(self, found: tuple[Presence, ...], now: float) -> bool:
        start = len(self.selectors) - self._filled
        fields = found[start : len(self.selectors)]
        if not fields or any(each is not Presence.EMPTY for each in fields):
            self._empty_since = None
            return False
        self._empty_since = now if self._empty_since is None else self._empty_since
        return now - self._empty_since >= EMPTIED_S


def _quoted(title: str) -> str:
    return repr(redact_text(title[:_TITLE_LENGTH_MAX]))
