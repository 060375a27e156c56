"""Keeping sessions beyond their contexts: what is saved when, and what must never be overwritten."""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from browsercrawl.config import SessionsConfig
from browsercrawl.errors import BrowserCrashed, HttpRejected, NetworkFailed, ProxyFailed, StateUnusable
from browsercrawl.events import Event, SessionHibernated, SessionRevived, SessionSaveFailed
from browsercrawl.ports import ContextOptions
from browsercrawl.sessions.keeper import Keeper, Network
from browsercrawl.sessions.proxies import ProxyRotation
from browsercrawl.sessions.roster import Roster
from browsercrawl.sessions.session import Session
from browsercrawl.sessions.vault import StateVault
from browsercrawl.testing.fake_browser import FakeBrowser, FakeContext, FakePage
from browsercrawl.testing.virtual_clock import VirtualClock

ORIGIN = "http://site.test"
URL = f"{ORIGIN}/"


def cookie(value: str, *, name: str = "sid", domain: str = "site.test", expires: float = -1) -> dict[str, Any]:
    """Return a cookie as Playwright gives it."""
    return {
        "name": name,
        "value": value,
        "domain": domain,
        "path": "/",
        "expires": expires,
        "httpOnly": True,
        "secure": False,
        "sameSite": "Lax",
    }


class FakeRelay:
    """A relay that only remembers whether it was closed, and tells the failure it is given."""

    def __init__(self, url: str | None, number: int) -> None:
        self.url = f"relay-{number}-to-{(url or '').rpartition('@')[2]}"
        self.closed = False
        self.failure: str | None = None

    def failure_since(self, at: float) -> str | None:
        return self.failure

    async def close(self) -> None:
        self.closed = True


@dataclass
class World:
    """A keeper and what it stands on."""

    directory: Path | None = None
    clock: VirtualClock = field(default_factory=VirtualClock)
    events: list[Event] = field(default_factory=list)
    relays: list[FakeRelay] = field(default_factory=list)
    relay_error: Exception | None = None
    guarded: bool = False

    def keeper(self, **sessions: Any) -> tuple[Keeper, Roster]:
        """Make a keeper; several share the directory, as processes would."""
        config = SessionsConfig.model_validate(
            {"profiles": [{"name": "ann", "account": "ann", "login": {}, "domains": ["site.test"]}], **sessions}
        )
        urls = [proxy.get_secret_value() for proxy in config.proxies]
        roster = Roster(config, has_proxies=bool(urls))
        keeper = Keeper(
            roster,
            vault=StateVault(self.directory, key=None),
            base=ContextOptions(extra={"locale": "en"}),
            network=Network(
                proxies=ProxyRotation(urls, cooldown_s=60, clock=self.clock),
                start_relay=self._start,
                is_guarded=lambda: self.guarded,
            ),
            clock=self.clock,
            emit=self.events.append,
        )
        return keeper, roster

    async def _start(self, url: str | None) -> FakeRelay:
        if self.relay_error is not None:
            raise self.relay_error
        self.relays.append(FakeRelay(url, len(self.relays)))
        return self.relays[-1]


def session_of(roster: Roster, name: str = "ann") -> Session:
    """Return a session that is there."""
    session = roster.of(name)
    assert session is not None
    return session


async def opened(options: ContextOptions | None = None) -> tuple[FakeContext, FakePage]:
    """Open a context and a page on the site."""
    context = await FakeBrowser().new_context(options or ContextOptions(), limit_s=1)
    page = await context.new_page(limit_s=1)
    await page.begin()
    await page.goto(URL, wait_until="commit", load_limit_s=1, limit_s=1)
    return context, page


async def log_in(keeper: Keeper, session: Session, value: str) -> tuple[FakeContext, FakePage, ContextOptions]:
    """Do what a login does: open the session's context, get a cookie, save it."""
    options = await keeper.revive(session.name)
    context, page = await opened(options)
    context.jar["sid"] = cookie(value)
    session.expired()  # what another process has saved is taken for a login that holds
    session.begin_login()
    session.logged_in(keeper._clock.utc())
    await keeper.save_login(session, page)
    return context, page, options


def file_of(directory: Path) -> Path:
    """Return the one state file in a directory."""
    (file,) = directory.glob("ann-*.json")
    return file


def sid_in(options: ContextOptions) -> str | None:
    """Return the session cookie that a context is opened with."""
    cookies = options.extra.get("storage_state", {}).get("cookies", ())
    return next((each["value"] for each in cookies if each["name"] == "sid"), None)


async def test_revive_after_a_login_gives_what_it_brought(tmp_path: Path) -> None:
    """A context is opened with the identity and the saved state, in this process and in the next."""
    world = World(tmp_path)
    keeper, roster = world.keeper()
    context, page, _ = await log_in(keeper, session_of(roster), "one")
    context.local[ORIGIN] = {"theme": "dark"}
    assert await keeper.keep("ann", page, incarnation=0)
    for each, _ in ((keeper, roster), world.keeper()):
        options = await each.revive("ann")
        assert options.extra["locale"] == "en"
        assert sid_in(options) == "one"
        (origin,) = options.extra["storage_state"]["origins"]
        assert origin["localStorage"] == [{"name": "theme", "value": "dark"}]
    assert len([event for event in world.events if isinstance(event, SessionRevived)]) == 2


async def test_revive_leaves_out_cookies_that_have_expired(tmp_path: Path) -> None:
    """What has expired is not given to a browser again; what has not is."""
    world = World(tmp_path)
    keeper, roster = world.keeper()
    end = (world.clock.utc() + timedelta(seconds=100)).timestamp()
    context, page, _ = await log_in(keeper, session_of(roster), "one")
    context.jar["soon"] = cookie("x", name="soon", expires=end)
    await keeper.keep("ann", page, incarnation=0)
    await world.clock.advance(101)
    options = await keeper.revive("ann")
    assert [each["name"] for each in options.extra["storage_state"]["cookies"]] == ["sid"]


async def test_keep_changed_cookie_is_written_and_an_unchanged_one_is_not(tmp_path: Path) -> None:
    """A rotated cookie reaches the disk with the visit that brought it; visits that change nothing write nothing."""
    world = World(tmp_path)
    keeper, roster = world.keeper()
    context, page, _ = await log_in(keeper, session_of(roster), "one")
    file = file_of(tmp_path)
    before = file.stat().st_mtime_ns
    await keeper.keep("ann", page, incarnation=0)
    assert file.stat().st_mtime_ns == before
    context.jar["sid"] = cookie("two")
    await keeper.keep("ann", page, incarnation=0)
    assert sid_in(await world.keeper()[0].revive("ann")) == "two"


async def test_keep_every_so_many_pages_writes_anyway(tmp_path: Path) -> None:
    """After `save_every_pages` visits the state is written, whatever has changed."""
    keeper, roster = World(tmp_path).keeper(save_every_pages=3)
    session = session_of(roster)
    _, page, _ = await log_in(keeper, session, "one")
    revisions = []
    for _ in range(6):
        session.visited(succeeded=True)
        await keeper.keep("ann", page, incarnation=0)
        assert session.state is not None
        revisions.append(session.state.revision)
    assert revisions == [0, 0, 1, 1, 1, 2]


async def test_keep_after_another_processes_login_says_so(tmp_path: Path) -> None:
    """Whoever is logged in by an older login learns of the newer one, and opens its next context with that."""
    world = World(tmp_path)
    first, first_roster = world.keeper()
    context, page, _ = await log_in(first, session_of(first_roster), "old")
    second, second_roster = world.keeper()
    await log_in(second, session_of(second_roster), "new")
    context.jar["other"] = cookie("x", name="other")
    assert not await first.keep("ann", page, incarnation=0)
    assert sid_in(await first.revive("ann")) == "new"


async def test_hibernate_of_an_outdated_context_does_not_overwrite_the_newer_login(tmp_path: Path) -> None:
    """The old context's cookies are not kept when it closes: the newer login stands, in memory and on the disk."""
    world = World(tmp_path)
    first, first_roster = world.keeper()
    context, page, options = await log_in(first, session_of(first_roster), "old")
    second, second_roster = world.keeper()
    await log_in(second, session_of(second_roster), "new")
    context.jar["other"] = cookie("x", name="other")
    assert not await first.keep("ann", page, incarnation=options.incarnation)
    await first.hibernate("ann", context, options=options, limit_s=1)
    assert sid_in(await world.keeper()[0].revive("ann")) == "new"
    assert sid_in(await first.revive("ann")) == "new"


async def test_keep_that_a_login_overtakes_does_not_bring_old_cookies_back(tmp_path: Path) -> None:
    """Cookies read before a login that ends meanwhile are not saved as the new login's."""
    world = World(tmp_path)
    keeper, roster = world.keeper()
    session = session_of(roster)
    context, page, _ = await log_in(keeper, session, "old")

    class Overtaken(FakePage):
        async def local_storage(self, *, limit_s: float) -> Any:
            context.jar["sid"] = cookie("new")
            session.expired()
            session.begin_login()
            session.logged_in(world.clock.utc())
            await keeper.save_login(session, page)
            return None

    late = Overtaken(context)
    await keeper.keep("ann", late, incarnation=0)
    assert sid_in(await keeper.revive("ann")) == "new"


async def test_keep_of_an_earlier_incarnation_keeps_nothing() -> None:
    """What a session left that was replaced meanwhile is not given to its successor."""
    keeper, roster = World().keeper()
    session = session_of(roster, "bob")
    context, page = await opened(await keeper.revive("bob"))
    context.jar["sid"] = cookie("one")
    keeper.retire(session, "refused")
    assert await keeper.keep("bob", page, incarnation=0)
    await keeper.hibernate("bob", context, options=ContextOptions(), limit_s=1)
    assert sid_in(await keeper.revive("bob")) is None


async def test_hibernate_dead_context_keeps_what_is_known(tmp_path: Path) -> None:
    """A context that has died loses nothing that was known, and the event says that it was not asked."""
    world = World(tmp_path)
    keeper, roster = world.keeper()
    context, _, options = await log_in(keeper, session_of(roster), "one")
    context.browser.die()
    await keeper.hibernate("ann", context, options=options, limit_s=1)
    (event,) = [event for event in world.events if isinstance(event, SessionHibernated)]
    assert (event.complete, event.kept) == (False, 1)
    assert sid_in(await keeper.revive("ann")) == "one"


async def test_hibernate_with_indexed_db_takes_the_whole_state() -> None:
    """Where IndexedDB belongs to a session, the whole storage state is taken, and other origins stay."""
    profile = {"name": "ann", "account": "ann", "login": {}, "domains": ["site.test"], "indexed_db": True}
    keeper, roster = World().keeper(profiles=[profile])
    context, _, options = await log_in(keeper, session_of(roster), "one")
    context.local = {ORIGIN: {"a": "1"}, "http://sub.site.test": {"b": "2"}, "http://other.test": {"c": "3"}}
    await keeper.hibernate("ann", context, options=options, limit_s=1)
    origins = (await keeper.revive("ann")).extra["storage_state"]["origins"]
    assert {each["origin"] for each in origins} == {ORIGIN, "http://sub.site.test"}


async def test_keep_leaves_out_what_is_of_other_domains() -> None:
    """Cookies of sites that pages embed are no part of a session that is bound to its own."""
    keeper, roster = World().keeper()
    context, page, _ = await log_in(keeper, session_of(roster), "one")
    context.jar["track"] = cookie("x", name="track", domain="tracker.test")
    await keeper.keep("ann", page, incarnation=0)
    assert [each["name"] for each in (await keeper.revive("ann")).extra["storage_state"]["cookies"]] == ["sid"]


async def test_look_up_damaged_file_raises_and_is_asked_again(tmp_path: Path) -> None:
    """A damaged file stays the session's trouble until it is mended or removed; then it is read."""
    world = World(tmp_path)
    keeper, roster = world.keeper()
    await log_in(keeper, session_of(roster), "one")
    file = file_of(tmp_path)
    good = file.read_bytes()
    file.write_bytes(good[:20])
    keeper, roster = world.keeper()
    for _ in range(2):
        with pytest.raises(StateUnusable, match=file.name):
            await keeper.look_up(session_of(roster))
    file.write_bytes(good)
    await keeper.look_up(session_of(roster))
    assert session_of(roster).epoch == 1


async def test_look_up_dead_state_only_tells_the_number_of_its_login(tmp_path: Path) -> None:
    """A state whose cookies have all expired is not used, and the next login is newer than it."""
    world = World(tmp_path)
    keeper, roster = world.keeper()
    end = (world.clock.utc() + timedelta(seconds=10)).timestamp()
    context, page, _ = await log_in(keeper, session_of(roster), "one")
    context.jar["sid"] = cookie("one", expires=end)
    session_of(roster).unsaved = 10**6
    await keeper.keep("ann", page, incarnation=0)
    await world.clock.advance(11)
    keeper, roster = world.keeper()
    session = session_of(roster)
    await keeper.look_up(session)
    assert (session.state, session.epoch, session.phase) == (None, 1, "out")


async def test_save_login_full_disk_is_told_and_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state that cannot be written is told of; the session goes on with what is in memory."""
    world = World(tmp_path / "file")
    (tmp_path / "file").write_text("no directory")
    keeper, roster = world.keeper()
    session = session_of(roster)
    session.is_known = True
    await log_in(keeper, session, "one")
    assert [event.session for event in world.events if isinstance(event, SessionSaveFailed)] == ["ann"]
    assert sid_in(await keeper.revive("ann")) == "one"


async def test_revive_proxy_with_password_goes_through_a_relay() -> None:
    """The browser gets the relay's address; the relay ends with the keeper, and the password is shown nowhere."""
    world = World()
    keeper, _ = world.keeper(proxies=["http://user:planted@127.0.0.1:8"])
    options = await keeper.revive("bob")
    assert options.extra["proxy"] == {"server": "relay-0-to-127.0.0.1:8", "bypass": "<-loopback>"}
    assert "planted" not in repr((options, world.events, keeper))
    context, _ = await opened(options)
    await keeper.hibernate("bob", context, options=options, limit_s=1)
    keeper.dismiss(options)
    keeper.dismiss(options)
    assert (await keeper.revive("bob")).extra["proxy"]["server"] == "relay-1-to-127.0.0.1:8"
    await keeper.close()
    assert [relay.closed for relay in world.relays] == [True, True]


async def test_revive_guarded_context_has_a_relay_of_its_own() -> None:
    """Also one without a proxy, and the anonymous one; a proxy stands behind the relay. Earlier ones are outdated."""
    world = World()
    keeper, _ = world.keeper(proxies=["http://127.0.0.1:8"])
    before = await keeper.revive("bob")
    assert before.extra["proxy"] == {"server": "http://127.0.0.1:8"}
    assert not keeper.is_outdated(before)
    world.guarded = True
    after = await keeper.revive("bob")
    plain, _ = world.keeper()
    anonymous = await plain.revive("")
    servers = [options.extra["proxy"]["server"] for options in (after, anonymous)]
    assert servers == ["relay-0-to-http://127.0.0.1:8", "relay-1-to-"]
    assert [keeper.is_outdated(before), keeper.is_outdated(after), plain.is_outdated(anonymous)] == [True, False, False]
    assert [keeper.is_proxied(before), keeper.is_proxied(after), plain.is_proxied(anonymous)] == [True, True, False]
    await keeper.close()
    await plain.close()


async def test_proxy_failure_of_a_guarded_context_without_a_proxy_is_none() -> None:
    """What the guard's own relay cannot reach is the site's failure: there is no proxy to blame."""
    world = World(guarded=True)
    keeper, _ = world.keeper()
    options = await keeper.revive("bob")
    world.relays[0].failure = "never asked"
    assert keeper.proxy_failure(options, NetworkFailed("x", code="ERR_EMPTY_RESPONSE"), since=0.0) is None
    await keeper.close()


async def test_revive_private_context_leaves_the_other_contexts_relay_alone() -> None:
    """Two contexts of one session at once (`isolation="request"`) both reach the proxy; in the end nothing is left."""
    world = World()
    keeper, _ = world.keeper(proxies=["http://user:pw@127.0.0.1:8"])
    first, second = await keeper.revive("bob"), await keeper.revive("bob")
    used = {options.extra["proxy"]["server"] for options in (first, second)}
    assert not [relay for relay in world.relays if relay.url in used and relay.closed]
    await keeper.close()
    assert all(relay.closed for relay in world.relays)


async def test_revive_relay_that_cannot_start_is_the_proxys_failure() -> None:
    """Nothing of the proxy's password stands in the error."""
    world = World(relay_error=OSError("no port"))
    keeper, _ = world.keeper(proxies=["http://user:planted@127.0.0.1:8"])
    with pytest.raises(ProxyFailed) as raised:
        await keeper.revive("bob")
    assert "planted" not in repr(raised.value)


@pytest.mark.parametrize(
    ("error", "is_proxys"),
    [
        (NetworkFailed("x", code="ERR_PROXY_CONNECTION_FAILED"), True),
        (NetworkFailed("x", code="ERR_TUNNEL_CONNECTION_FAILED"), True),
        (NetworkFailed("x", code="ERR_CONNECTION_RESET"), False),
        (BrowserCrashed("x"), False),
        (HttpRejected("HTTP 404"), False),
    ],
)
async def test_proxy_failure_is_told_by_its_code(error: Any, is_proxys: bool) -> None:
    """Only what Chromium calls a failure of the proxy is one, and only of a session that has a proxy."""
    keeper, _ = World().keeper(proxies=["http://127.0.0.1:8"])
    options = await keeper.revive("bob")
    assert (keeper.proxy_failure(options, error, since=0.0) is not None) is is_proxys
    plain, _ = World().keeper()
    assert plain.proxy_failure(await plain.revive("bob"), error, since=0.0) is None


async def test_proxy_failure_answer_that_came_through_is_not_the_proxys_doing() -> None:
    """A relay may have noticed a failure of what the page embeds; an answer of the page itself came all the same."""
    world = World()
    keeper, _ = world.keeper(proxies=["http://user:pw@127.0.0.1:8"])
    options = await keeper.revive("bob")
    world.relays[0].failure = "does not answer"
    broken = NetworkFailed("x", code="ERR_EMPTY_RESPONSE")
    assert keeper.proxy_failure(options, broken, since=0.0) == "does not answer"
    assert keeper.proxy_failure(options, HttpRejected("HTTP 404"), since=0.0) is None
