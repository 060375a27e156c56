"""Carrying out a login in a page: each way it can go right or wrong, and how long it takes to know."""

import asyncio
import traceback
from collections.abc import Sequence
from typing import Any

import pytest

from browsercrawl.config import Login
from browsercrawl.errors import BrowserCrashed, ConfigError, LoginFailed
from browsercrawl.ports import ContextOptions, Glance, Presence
from browsercrawl.sessions.recipes import EMPTIED_S, LOOK_EVERY_S, LoginAttempt, LoginFunction, LoginSession
from browsercrawl.sessions.secrets import Secrets
from browsercrawl.testing.fake_browser import NEVER, FakeBrowser, FakeContext, FakePage, FakePageScript
from browsercrawl.testing.virtual_clock import VirtualClock

SITE = "http://site.test"
FORM = f"{SITE}/login"
SENT = f"{FORM}?ann&Planted-Pass-1"
PASSWORD = "Planted-Pass-1"
FIELDS = {"#user": 0.0, "#password": 0.0, "#go": 0.0}
STEP = {"fields": {"#user": "{username}", "#password": "{password}"}, "submit": "#go"}


class Bench:
    """A page on a site, and logins in it."""

    def __init__(self, site: dict[str, FakePageScript], *, page: type[FakePage] = FakePage) -> None:
        self.clock = VirtualClock(autojump=True)
        self.site = {FORM: FakePageScript(selectors=FIELDS), **site}
        self.browser = FakeBrowser(self.site, clock=self.clock)
        self.page_type = page
        self.page: FakePage | None = None

    async def log_in(
        self, recipe: dict[str, Any] | None, *, function: LoginFunction | None = None, timeout_s: float = 30.0
    ) -> float:
        """Log in; return how long it took."""
        context = await self.browser.new_context(ContextOptions(), limit_s=1)
        assert isinstance(context, FakeContext)
        page = self.page = self.page_type(context)
        await page.begin()
        login = Login.model_validate({"recipe": recipe, "timeout_s": timeout_s})
        secrets = Secrets(username="ann", password=PASSWORD)
        who = LoginSession(name="ann", account="ann", username="ann", secrets=secrets)
        started_at = self.clock.now()
        await LoginAttempt(page, login, who=who, clock=self.clock, function=function).carry_out()
        return self.clock.now() - started_at

    async def fails(self, recipe: dict[str, Any] | None, **options: Any) -> tuple[LoginFailed, float]:
        """Return what a login fails with, and after how long; it shows no secret and leaves no task."""
        started_at = self.clock.now()
        with pytest.raises(LoginFailed) as raised:
            await self.log_in(recipe, **options)
        whole = "".join(traceback.format_exception(raised.value))
        assert PASSWORD not in whole.replace(repr(PASSWORD), "")
        assert PASSWORD not in str(raised.value)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return raised.value, self.clock.now() - started_at


def form(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a form login."""
    return {"kind": "form", "url": FORM, "steps": steps or (STEP,), "success": {"selector": "#me"}, **more}


async def test_form_login_fills_in_and_clicks() -> None:
    """Each field gets its text, in order, and the button is clicked."""
    bench = Bench({SENT: FakePageScript(selectors={"#me": 0.0})})
    assert await bench.log_in(form()) < 1
    assert bench.page is not None
    assert bench.page.url == SENT
    assert bench.page.submitted == [("#go", "click")]


async def test_form_login_without_submit_presses_enter_in_the_last_field() -> None:
    """As a person would who has no button."""
    bench = Bench({SENT: FakePageScript(selectors={"#me": 0.0})})
    await bench.log_in(form({"fields": STEP["fields"]}))
    assert bench.page is not None
    assert bench.page.submitted == [("#password", "enter")]


async def test_form_login_of_two_steps_waits_for_the_second() -> None:
    """The second page's field is waited for, also when it takes a while to appear."""
    bench = Bench(
        {
            f"{FORM}?ann": FakePageScript(selectors={"#password": 3.0}),
            f"{FORM}?{PASSWORD}": FakePageScript(selectors={"#me": 0.0}),
        }
    )
    took_s = await bench.log_in(form({"fields": {"#user": "{username}"}}, {"fields": {"#password": "{password}"}}))
    assert 3 <= took_s < 4


async def test_form_login_that_is_done_after_one_step_needs_no_second() -> None:
    """Who is remembered may not be asked for all of it."""
    bench = Bench({f"{FORM}?ann": FakePageScript(selectors={"#me": 0.0})})
    await bench.log_in(form({"fields": {"#user": "{username}"}}, {"fields": {"#totp": "{totp}"}}))


@pytest.mark.parametrize(
    ("success", "final_url", "cookie", "works"),
    [
        ({"url": f"{SITE}/home*"}, f"{SITE}/home?x", None, True),
        ({"url": f"{SITE}/home"}, f"{SITE}/elsewhere", None, False),
        ({"cookie": "sid"}, None, "sid", True),
        ({"cookie": "sid"}, None, "other", False),
        ({"cookie": "sid", "selector": "#me"}, None, "sid", True),
        ({"cookie": "sid", "selector": "#absent"}, None, "sid", False),
        ({"url": f"{SITE}/home", "selector": "#me", "cookie": "sid"}, f"{SITE}/home", "sid", True),
    ],
)
async def test_form_login_success_needs_all_that_is_given(
    success: dict[str, str], final_url: str | None, cookie: str | None, works: bool
) -> None:
    """By address, element and cookie: all that is named must show."""

    class Signed(FakePage):
        async def submit(self, selector: str, *, click: bool, limit_s: float) -> None:
            await super().submit(selector, click=click, limit_s=limit_s)
            if cookie is not None:
                self.context.jar[cookie] = {"name": cookie, "value": "x"}

    bench = Bench({SENT: FakePageScript(selectors={"#me": 0.0}, final_url=final_url)}, page=Signed)
    if works:
        await bench.log_in(form(success=success))
    else:
        await bench.fails(form(success=success))


async def test_form_login_success_that_comes_late_is_waited_for() -> None:
    """A slow site is not a wrong password: up to the limit, success may come."""
    bench = Bench({SENT: FakePageScript(selectors={"#me": 25.0})})
    assert 25 <= await bench.log_in(form()) <= 25 + 2 * LOOK_EVERY_S


async def test_form_login_failure_sign_ends_it_at_once() -> None:
    """A site that says no is believed, without waiting for the limit; the picture shows its page."""
    bench = Bench({SENT: FakePageScript(selectors={".error": 0.5})})
    error, took_s = await bench.fails(form(failure=".error"))
    assert took_s <= 0.5 + 2 * LOOK_EVERY_S
    assert ".error is there" in str(error)
    assert error.screenshot is not None
    assert error.screenshot.startswith(b"\x89PNG")


async def test_form_login_that_comes_back_empty_is_refused() -> None:
    """A form that is there again, its password gone, for two seconds: nobody waits for the limit."""

    class Empty(FakePage):
        async def glance(self, selectors: Sequence[str], *, limit_s: float) -> Glance:
            seen = await super().glance(selectors, limit_s=limit_s)
            is_back = bool(self.submitted)
            found = tuple(
                Presence.EMPTY if is_back and name == "#password" else each
                for name, each in zip(selectors, seen.found, strict=True)
            )
            return Glance(url=seen.url, title=seen.title, found=found)

    bench = Bench({SENT: FakePageScript(title="Log in", selectors=FIELDS)}, page=Empty)
    error, took_s = await bench.fails(form())
    assert "came back empty" in str(error)
    assert "'Log in'" in str(error)
    assert EMPTIED_S <= took_s <= EMPTIED_S + 2 * LOOK_EVERY_S


async def test_form_login_without_sign_of_success_ends_at_its_limit_and_says_where() -> None:
    """To the second; the error names the page it ended at, such as a captcha's."""
    bench = Bench({SENT: FakePageScript(title="Are you human?")})
    error, took_s = await bench.fails(form(), timeout_s=12.0)
    assert took_s == pytest.approx(12.0, abs=LOOK_EVERY_S)
    assert "sign of success did not show within 12 s" in str(error)
    assert "Are you human?" in str(error)


@pytest.mark.parametrize("number", [1, 2])
async def test_form_login_missing_field_names_step_and_field(number: int) -> None:
    """A form that has changed is told by the step and the field that is not there."""
    site = {f"{FORM}?ann": FakePageScript(title="New design")}
    if number == 1:
        site[FORM] = FakePageScript(title="New design")
    bench = Bench(site)
    steps = ({"fields": {"#user": "{username}"}}, {"fields": {"#password": "{password}"}})
    error, took_s = await bench.fails(form(*steps), timeout_s=7.0)
    assert took_s == pytest.approx(7.0, abs=LOOK_EVERY_S)
    assert f"step {number}" in str(error)
    assert ("#user", "#password")[number - 1] in str(error)
    assert "New design" in str(error)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (FakePageScript(status=503), "HTTP 503"),
        (FakePageScript(network_error="ERR_CONNECTION_REFUSED"), "ERR_CONNECTION_REFUSED"),
        (FakePageScript(commit_s=NEVER), ""),
        (FakePageScript(hang="for_good"), ""),
    ],
)
async def test_form_login_page_that_cannot_be_had_fails_within_the_limit(script: FakePageScript, told: str) -> None:
    """Whatever the login page does, the login ends, and says what it was."""
    error, took_s = await Bench({FORM: script}).fails(form(), timeout_s=10.0)
    assert took_s <= 10.0 + 5.0 + 3.0  # a call that does not return ends at its own limit; then a picture is tried
    assert told in str(error)
    assert (error.network is not None) == told.startswith("ERR_")


@pytest.mark.parametrize(
    ("script", "expected"),
    [(FakePageScript(crash_s=0.0), LoginFailed), (FakePageScript(kills_browser=True), BrowserCrashed)],
)
async def test_form_login_page_that_is_lost_says_so(script: FakePageScript, expected: type[Exception]) -> None:
    """The death of a page is a failed try; that of the browser passes as what it is."""
    with pytest.raises(expected):
        await Bench({FORM: script}).log_in(form())


@pytest.mark.parametrize("kind", ["form", "json_body"])
async def test_http_login_sends_what_is_given(kind: str) -> None:
    """One request; its status tells."""
    recipe = {"kind": "http", "url": FORM, kind: {"u": "{username}", "p": "{password}"}}
    await Bench({SENT: FakePageScript()}).log_in(recipe)
    error, _ = await Bench({SENT: FakePageScript(status=401)}).fails(recipe)
    assert "HTTP 401" in str(error)


async def test_http_login_that_brings_no_cookie_fails() -> None:
    """A 200 without the cookie is a refusal."""
    recipe = {"kind": "http", "url": FORM, "form": {"p": "{password}"}, "cookie": "sid"}
    error, _ = await Bench({f"{FORM}?{PASSWORD}": FakePageScript()}).fails(recipe)
    assert "no cookie sid" in str(error)


async def test_coroutine_login_gets_page_and_session() -> None:
    """It gets the page itself and what it needs to log in; its end is the login's."""
    got: list[tuple[Any, str, str, str | None]] = []

    async def log_in(page: Any, who: LoginSession) -> None:
        got.append((page, who.username, who.password, who.account))
        assert PASSWORD not in repr(who)

    bench = Bench({})
    await bench.log_in(None, function=log_in)
    assert got == [(bench.page, "ann", PASSWORD, "ann")]


async def test_coroutine_login_that_raises_fails_without_its_secrets() -> None:
    """The error has its name and first line, less what was typed."""

    async def log_in(page: Any, who: LoginSession) -> None:
        raise ValueError(f"could not type {who.password}\nCall log: fill {who.password}")

    error, _ = await Bench({}).fails(None, function=log_in)
    assert "raised ValueError: could not type" in str(error)
    assert "Call log" not in str(error)


async def test_coroutine_login_ends_at_its_limit() -> None:
    """It is cancelled there, and may clean up."""
    cleaned: list[bool] = []
    bench = Bench({})

    async def log_in(page: Any, who: LoginSession) -> None:
        try:
            await bench.clock.sleep(NEVER)
        finally:
            cleaned.append(True)

    error, took_s = await bench.fails(None, function=log_in, timeout_s=9.0)
    assert (took_s, cleaned) == (9.0, [True])
    assert "9 s" in str(error)


async def test_coroutine_login_that_is_cancelled_from_inside_fails() -> None:
    """A stray cancellation is not the run's."""

    async def log_in(page: Any, who: LoginSession) -> None:
        raise asyncio.CancelledError

    error, _ = await Bench({}).fails(None, function=log_in)
    assert "cancelled from inside" in str(error)


async def test_coroutine_login_cancelled_from_outside_ends_with_its_task() -> None:
    """The cancellation passes, and the user's coroutine has ended before it does."""
    bench = Bench({})
    ended: list[bool] = []
    entered = asyncio.Event()

    async def log_in(page: Any, who: LoginSession) -> None:
        entered.set()
        try:
            await bench.clock.sleep(NEVER)
        finally:
            ended.append(True)

    attempt = asyncio.create_task(bench.log_in(None, function=log_in))
    await entered.wait()
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    assert ended == [True]


async def test_coroutine_login_without_totp_secret_is_told() -> None:
    """Asking for a code that cannot be made fails the login with the reason."""

    async def log_in(page: Any, who: LoginSession) -> None:
        who.totp()

    error, _ = await Bench({}).fails(None, function=log_in)
    assert "totp" in str(error)
    with pytest.raises(ConfigError):
        Secrets().code()


async def test_login_without_any_way_says_what_to_do() -> None:
    """Neither recipe nor coroutine."""
    error, _ = await Bench({}).fails(None)
    assert "Crawler.login" in str(error)


@pytest.mark.parametrize(
    "recipe",
    [form(success={"cookie": "sid"}), {"kind": "http", "url": FORM, "form": {"u": "{username}"}, "cookie": "sid"}],
    ids=["form", "http"],
)
async def test_login_cookie_of_an_earlier_login_is_no_sign_of_success(recipe: dict[str, Any]) -> None:
    """A session that the server has ended still has its old cookie; only a new one shows that a login has worked."""

    class Returning(FakePage):
        def __init__(self, context: FakeContext) -> None:
            super().__init__(context)
            context.jar["sid"] = {"name": "sid", "value": "old"}

    await Bench({SENT: FakePageScript(), f"{FORM}?ann": FakePageScript()}, page=Returning).fails(recipe, timeout_s=5.0)


async def test_form_login_of_one_who_is_logged_in_already_is_done() -> None:
    """A login page that leads whom it knows away from it needs no form."""
    home = FakePageScript(selectors={"#me": 0.0}, final_url=f"{SITE}/home")
    assert await Bench({FORM: home}).log_in(form()) < 1
