"""How a page shows that its session is logged out, or refused."""

from typing import Any

import pytest

from browsercrawl.config import BlockedSigns, FormLogin, LoggedOut, Login
from browsercrawl.errors import BrowsercrawlError, PageBlocked, SessionExpired
from browsercrawl.ports import ContextOptions, Navigation
from browsercrawl.sessions.checks import PageCheck
from browsercrawl.testing.fake_browser import FakeBrowser, FakePage, FakePageScript

SITE = "http://site.test"


def check(blocked: dict[str, Any] | None = None, **signs: Any) -> PageCheck:
    """Make a check of session `ann`."""
    return PageCheck("ann", signs=LoggedOut.model_validate(signs), blocked=BlockedSigns.model_validate(blocked or {}))


def formed(login: Login) -> PageCheck:
    """Return the check that a login stands for."""
    return PageCheck("ann", signs=login.logged_out, blocked=BlockedSigns(), form_url=login.form_url)


def arrived(url: str = f"{SITE}/a", status: int | None = 200) -> Navigation:
    """Return a navigation that led there."""
    return Navigation(final_url=url, status=status, content_type="text/html")


async def page_with(*selectors: str, cookies: tuple[str, ...] = (), final_url: str | None = None) -> FakePage:
    """Open a page that has these."""
    script = FakePageScript(selectors=dict.fromkeys(selectors, 0.0), final_url=final_url)
    browser = FakeBrowser({f"{SITE}/a": script})
    context = await browser.new_context(ContextOptions(), limit_s=1)
    context.jar = {name: {"name": name, "value": "x"} for name in cookies}
    page = await context.new_page(limit_s=1)
    await page.begin()
    await page.goto(f"{SITE}/a", wait_until="commit", load_limit_s=1, limit_s=1)
    return page


@pytest.mark.parametrize(
    ("signs", "navigation", "error"),
    [
        ({"status": [401]}, arrived(status=401), SessionExpired),
        ({"status": [401]}, arrived(status=200), None),
        ({"url": f"{SITE}/login*"}, arrived(f"{SITE}/login?next=/a"), SessionExpired),
        ({"url": f"{SITE}/login*"}, arrived(f"{SITE}/a?from=/login"), None),
        ({"missing": "#me"}, arrived(), None),
        ({"blocked": {"status": [418]}}, arrived(status=418), PageBlocked),
        ({"blocked": {"status": [401]}, "status": [401]}, arrived(status=401), SessionExpired),
        ({"status": [401]}, arrived(status=None), None),
    ],
)
def test_arrived_tells_by_address_and_status(
    signs: dict[str, Any], navigation: Navigation, error: type[BrowsercrawlError] | None
) -> None:
    """Where a navigation led is enough for some signs; being logged out goes before being refused."""
    if error is None:
        check(**signs).arrived(navigation)
        return
    with pytest.raises(error, match="'ann'"):
        check(**signs).arrived(navigation)


@pytest.mark.parametrize(
    ("signs", "selectors", "cookies", "error"),
    [
        ({"present": "#form"}, ("#form",), (), SessionExpired),
        ({"present": "#form"}, ("#me",), (), None),
        ({"missing": "#me"}, (), (), SessionExpired),
        ({"missing": "#me"}, ("#me",), (), None),
        ({"cookie": "sid"}, (), (), SessionExpired),
        ({"cookie": "sid"}, (), ("sid",), None),
        ({"blocked": {"present": ".captcha"}, "missing": "#me"}, (".captcha",), (), PageBlocked),
        ({"blocked": {"present": ".captcha"}, "present": "#form"}, (".captcha", "#form"), (), SessionExpired),
        ({"missing": "#me", "present": "#form", "cookie": "sid"}, ("#me",), ("sid",), None),
    ],
)
async def test_look_tells_by_elements_and_cookies(
    signs: dict[str, Any], selectors: tuple[str, ...], cookies: tuple[str, ...], error: type[BrowsercrawlError] | None
) -> None:
    """Any of the signs suffices; a captcha in place of the user's name is a refusal."""
    page = await page_with(*selectors, cookies=cookies)
    if error is None:
        await check(**signs).look(page, arrived(), limit_s=1)
        return
    with pytest.raises(error, match="'ann'"):
        await check(**signs).look(page, arrived(), limit_s=1)


async def test_look_sees_an_address_that_changed_after_arrival() -> None:
    """A page that leads itself to the login form is seen there."""
    page = await page_with(final_url=f"{SITE}/login?token=planted")
    with pytest.raises(SessionExpired) as raised:
        await check(url=f"{SITE}/login*").look(page, arrived(), limit_s=1)
    assert "planted" not in str(raised.value)


def test_signs_default_to_the_address_of_the_login_form() -> None:
    """Whoever ends at the form, with whatever query, is logged out; other signs take the place of this one."""
    recipe = {"url": f"{SITE}/login?lang=de#x", "steps": [{"fields": {"#u": "{username}"}}], "success": {"cookie": "s"}}
    login = Login(recipe=FormLogin.model_validate(recipe))
    for url in (f"{SITE}/login", f"{SITE}/login?next=/a", f"{SITE}/login#top"):
        with pytest.raises(SessionExpired):
            formed(login).look_at_address(url)
    formed(login).look_at_address(f"{SITE}/orders?from=/login")
    assert Login(recipe=login.recipe, logged_out=LoggedOut(cookie="s")).form_url is None
    assert Login().form_url is None


@pytest.mark.parametrize("form", [f"{SITE}/", f"{SITE}/?login"])
def test_signs_default_does_not_take_every_page_for_the_form(form: str) -> None:
    """A form at the root of a site does not make all its pages those of a stranger."""
    recipe = {"url": form, "steps": [{"fields": {"#u": "{username}"}}], "success": {"cookie": "s"}}
    formed(Login(recipe=FormLogin.model_validate(recipe))).look_at_address(f"{SITE}/orders/17")


def test_is_needed_only_where_there_is_something_to_look_at() -> None:
    """Sessions without any sign cost their pages no call."""

    async def function(_: Any) -> bool:
        return False

    assert not check().is_needed
    assert check(missing="#me").is_needed
    assert check(blocked={"status": [418]}).is_needed
    assert PageCheck("ann", signs=LoggedOut(), blocked=BlockedSigns(), function=function).is_needed
