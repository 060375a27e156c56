"""The members' area in a real browser: what only a browser does with cookies, storage and scripts."""

import pyotp
import pytest
from playwright.async_api import Browser, BrowserContext, Page, Route

from browsercrawl.testing import DemoSite

_PLACES = ("cookie", "local", "session", "idb", "cache", "worker")


async def _fill(page: Page, **fields: str) -> None:
    for name, text in fields.items():
        await page.fill(f"#{name}", text)
    await page.click("#login button")


async def _shown(page: Page) -> str:
    return await page.inner_text("#account", timeout=5000)


async def _log_in(context: BrowserContext, site: DemoSite, account: str) -> None:
    sent = {"user": account, "password": site.password(account)}
    answer = await context.request.post(f"{site.url}/members/login/json", data=sent)
    assert answer.ok


async def test_form_login_in_three_steps_leads_back(site: DemoSite, chromium: Browser) -> None:
    """User name, password and a one-time password on pages of their own, and then the page that was asked for."""
    page = await chromium.new_page()
    await page.goto(f"{site.url}/members/login?steps=2&otp=1&next=/members/page/7%3Fout%3D401", timeout=5000)
    await _fill(page, user="member-3")
    await _fill(page, password=site.password("member-3"))
    await _fill(page, code=pyotp.TOTP(site.totp_secret("member-3")).now())
    await page.wait_for_url("**/members/page/7?out=401", timeout=5000)
    assert (await _shown(page), await page.title()) == ("member-3", "Page 7 of member-3")
    assert await page.get_attribute("nav a", "href") == "/members/page/8?out=401"
    assert site.members.logins == {"member-3": 1}
    assert site.members.views == (("member-3", "/members/page/7"),)


async def test_page_load_event_waits_for_the_account(site: DemoSite, chromium: Browser) -> None:
    """Whenever the load event has fired the account is there, while the cookie rotates with every page."""
    site.members.rotate_every = 1
    context = await chromium.new_context()
    await _log_in(context, site, "member-1")
    page = await context.new_page()
    for number in range(20):
        await page.goto(f"{site.url}/members/page/{number}", timeout=5000)
        assert await page.evaluate("document.getElementById('account')?.textContent") == "member-1"
    assert site.members.live_sessions("member-1") == 1
    assert site.members.logins == {"member-1": 1}


@pytest.mark.parametrize(
    ("query", "title"),
    [("", "Log in"), ("?out=401", "For members"), ("?out=prompt", "Log in"), ("?out=script", "Log in")],
)
async def test_session_lost_between_page_and_content_leads_out(
    site: DemoSite, chromium: Browser, query: str, title: str
) -> None:
    """A page whose session ends before its content comes goes where a logged-out visitor is sent, by script."""
    context = await chromium.new_context()
    await _log_in(context, site, "member-1")
    page = await context.new_page()

    async def lose(route: Route) -> None:
        site.members.log_out()
        await route.continue_()

    await page.route("**/api/**", lose)
    await page.goto(f"{site.url}/members/page/2{query}", wait_until="commit", timeout=5000)
    await page.wait_for_function("title => document.title === title", arg=title, timeout=5000)
    assert await page.locator("#account").count() == 0
    assert ("/members/login" in page.url) == (query in {"", "?out=script"})


@pytest.mark.parametrize("area", ["token", "idb"])
async def test_token_app_stays_logged_in_over_a_reload(site: DemoSite, chromium: Browser, area: str) -> None:
    """The kept token alone, without a cookie, survives a reload and a restored state, until its session ends."""
    context = await chromium.new_context()
    page = await context.new_page()
    await page.goto(f"{site.url}/members/{area}/", timeout=5000)
    await _fill(page, user="member-2", password="wrong")
    assert await page.inner_text(".error", timeout=5000) == "Wrong user name or password."
    await _fill(page, user="member-2", password=site.password("member-2"))
    assert await _shown(page) == "member-2"
    await page.reload(timeout=5000)
    assert await _shown(page) == "member-2"
    assert await context.cookies() == []
    kept = await context.storage_state(indexed_db=True)
    restored = await (await chromium.new_context(storage_state=kept)).new_page()
    await restored.goto(f"{site.url}/members/{area}/page/4", timeout=5000)
    assert (await _shown(restored), await restored.title()) == ("member-2", "Page 4 of member-2")
    site.members.log_out("member-2")
    await page.reload(timeout=5000)
    await page.wait_for_selector("#login", timeout=5000)
    assert await page.locator("#account").count() == 0


async def test_basic_credentials_of_the_context_show_the_account(site: DemoSite, chromium: Browser) -> None:
    """A context with credentials gets past the challenge."""
    credentials = {"username": "member-0", "password": site.password("member-0")}
    context = await chromium.new_context(http_credentials=credentials)  # type: ignore[arg-type]  # a typed dict
    page = await context.new_page()
    await page.goto(f"{site.url}/members/basic/", timeout=5000)
    assert await _shown(page) == "member-0"


async def _kept(page: Page, url: str) -> dict[str, str]:
    await page.goto(url, timeout=5000)
    await page.wait_for_selector("html[data-ready]", timeout=10_000)
    return {place: await page.inner_text(f"#{place}") for place in _PLACES}


async def test_store_page_shows_what_its_browser_keeps(site: DemoSite, chromium: Browser) -> None:
    """What one visit wrote into six places the next one finds, another context does not, and a new text replaces it."""
    url = f"{site.url}/members/store"
    context, other = await chromium.new_context(), await chromium.new_context()
    page, stranger = await context.new_page(), await other.new_page()
    assert await _kept(page, url) == dict.fromkeys(_PLACES, "none")
    for text in ("first", "50% & more"):
        await _kept(page, f"{url}?set={text.replace('%', '%25').replace('&', '%26')}")
        assert await _kept(page, url) == dict.fromkeys(_PLACES, text)
        assert await _kept(stranger, url) == dict.fromkeys(_PLACES, "none")
    assert (await _kept(await context.new_page(), url))["session"] == "none"


async def test_store_page_without_service_workers_shows_the_rest(site: DemoSite, chromium: Browser) -> None:
    """Where service workers are blocked the page does not wait for one."""
    context = await chromium.new_context(service_workers="block")
    found = await _kept(await context.new_page(), f"{site.url}/members/store?set=a")
    assert found == dict.fromkeys(_PLACES, "a") | {"worker": "none"}
