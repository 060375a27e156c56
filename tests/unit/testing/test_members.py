"""The members' area as a client sees it that knows nothing but HTTP, and the rules by which its sessions end."""

import contextlib
import http.client
import json
import re
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pyotp
import pytest

from browsercrawl.testing import DemoSite
from browsercrawl.testing.members import Members

_LOGIN = "/members/login"


@dataclass
class _Answer:
    status: int
    headers: http.client.HTTPMessage
    text: str

    def json(self) -> Any:
        return json.loads(self.text)

    def form(self) -> tuple[str, dict[str, str], set[str]]:
        """Return the login form's action, its filled-in fields and the names of those to fill in."""
        found = re.search(r'<form id="login" method="post" action="([^"]+)">(.*?)</form>', self.text, re.DOTALL)
        assert found, self.text
        inputs = re.findall(r"<input ([^>]+)>", found[2])
        named = [dict(re.findall(r'(\w+)="([^"]*)"', each)) for each in inputs]
        filled = {each["name"]: each["value"] for each in named if "value" in each}
        return unescape(found[1]), filled, {each["name"] for each in named if "value" not in each}


@dataclass
class _Client:
    """Keeps cookies as a browser does, follows no redirect."""

    site: DemoSite
    jar: dict[str, str] = field(default_factory=dict)

    def ask(self, target: str, *, body: str | None = None, **headers: str) -> _Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.jar:
            named["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        with contextlib.closing(http.client.HTTPConnection(self.site.url.removeprefix("http://"), timeout=5)) as client:
            client.request("GET" if body is None else "POST", target, body=body, headers=named)
            answer = client.getresponse()
            text = answer.read().decode()
        if cookie := answer.headers["set-cookie"]:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.jar[name] = value
        return _Answer(answer.status, answer.headers, text)

    def post(self, target: str, **fields: str) -> _Answer:
        return self.ask(target, body=urlencode(fields), Content_Type="application/x-www-form-urlencoded")

    def post_json(self, target: str, found: object) -> _Answer:
        return self.ask(target, body=json.dumps(found), Content_Type="application/json")

    def fill(self, page: _Answer, **fields: str) -> _Answer:
        action, filled, names = page.form()
        assert names == fields.keys()
        return self.post(action, **filled, **fields)

    def log_in(self, account: str = "member-0") -> "_Client":
        answer = self.post(f"{_LOGIN}/json", user=account, password=self.site.password(account))
        assert (answer.status, answer.json()) == (200, {"account": account})
        return self

    def see(self, number: int = 1) -> str | None:
        """Load a page as a browser does; return the account it shows, None when logged out on the way."""
        if self.ask(f"/members/page/{number}").status == 302:
            return None
        answer = self.ask(f"/members/api/page/{number}")
        return str(answer.json()["account"]) if answer.status == 200 else None


@pytest.fixture
def site() -> Iterator[DemoSite]:
    """A demo site of its own."""
    with DemoSite(products=1, accounts=4) as site:
        yield site


@pytest.fixture
def client(site: DemoSite) -> _Client:
    """A client without any cookie."""
    return _Client(site)


def test_accounts_are_the_same_every_time() -> None:
    """Passwords and secrets follow from the name, differ between accounts, and exist for no other name."""
    first, second = Members(accounts=8), Members(accounts=12)
    assert first.accounts == second.accounts[:8] == tuple(f"member-{number}" for number in range(8))
    for ask in (Members.password, Members.totp_secret):
        assert [ask(first, name) for name in first.accounts] == [ask(second, name) for name in first.accounts]
        assert len({ask(second, name) for name in second.accounts}) == 12
        with pytest.raises(KeyError, match="member-8"):
            ask(first, "member-8")
    assert re.fullmatch(r"pw-[0-9a-f]{12}", first.password("member-0"))


@pytest.mark.parametrize("accounts", [0, -1, 10_001])
def test_accounts_out_of_range_are_refused(accounts: int) -> None:
    """A number of accounts that makes no sense is refused with its range."""
    with pytest.raises(ValueError, match=f"accounts={accounts} is not between 1 and 10000"):
        Members(accounts=accounts)


@pytest.mark.parametrize("path", ["/members/", "/members/page/7?a=1&b=%20c"])
def test_page_logged_out_redirects_to_login_and_back(client: _Client, path: str) -> None:
    """The usual logged-out page is a 302 whose login leads back to the very address."""
    answer = client.ask(path)
    location = urlsplit(answer.headers["location"])
    assert (answer.status, location.path, parse_qs(location.query)) == (302, _LOGIN, {"next": [path]})
    password = client.site.password("member-2")
    answer = client.fill(client.ask(location.geturl()), user="member-2", password=password)
    assert (answer.status, answer.headers["location"]) == (303, path)
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert "Path=/members/;" in answer.headers["set-cookie"]
    assert client.ask(path).status == 200


def test_page_other_ways_to_be_logged_out(client: _Client) -> None:
    """`out` chooses between a 401, a form in place that works, and a page that leaves by script; none shows anybody."""
    refused = client.ask("/members/page/3?out=401")
    assert (refused.status, 'id="account"' in refused.text) == (401, False)
    prompt = client.ask("/members/page/3?out=prompt")
    assert (prompt.status, 'id="account"' in prompt.text) == (200, False)
    shell = client.ask("/members/page/3?out=script")
    assert (shell.status, 'from "/members/api/page/3" with' in shell.text) == (200, True)
    assert client.ask("/members/api/page/3").status == 401
    assert client.ask("/members/page/3?out=nowhere").status == 400
    answer = client.fill(prompt, user="member-0", password=client.site.password("member-0"))
    assert answer.headers["location"] == "/members/page/3?out=prompt"
    assert client.see(3) == "member-0"


def test_page_content_is_whose_session_asks(site: DemoSite) -> None:
    """The account, the number, the title and some next pages come from the session that asks; each view is recorded."""
    first, second = _Client(site).log_in("member-0"), _Client(site).log_in("member-3")
    assert second.ask("/members/api/page/9996").json() == {
        "account": "member-3",
        "page": 9996,
        "title": "Page 9996 of member-3",
        "links": ["/members/page/9997", "/members/page/9998", "/members/page/9999"],
    }
    assert len(first.ask("/members/api/").json()["links"]) == 5
    assert site.members.views == (("member-3", "/members/page/9996"), ("member-0", "/members/"))
    assert site.members.pages == {"member-0": 1, "member-3": 1}
    assert site.members.logins == {"member-0": 1, "member-3": 1}


@pytest.mark.parametrize("path", ["page/10000", "page/-1", "page/01", "page/", "pages", "token", "static/app.js"])
def test_address_unknown_is_not_found(client: _Client, path: str) -> None:
    """What is no address of the area is a 404, not a page."""
    assert client.ask(f"/members/{path}").status == 404


def test_login_wrong_password_says_so_and_asks_again(client: _Client) -> None:
    """A wrong password is a 200 with an error and the form; failures are counted, unknown names under the empty one."""
    page = client.ask(_LOGIN)
    for user in ("member-1", "somebody"):
        page = client.fill(page, user=user, password="wrong")
        assert (page.status, '<p class="error">Wrong user name or password.</p>' in page.text) == (200, True)
    assert client.site.members.failed_logins == {"member-1": 1, "": 1}
    answer = client.fill(page, user="member-1", password=client.site.password("member-1"))
    assert (answer.status, answer.headers["location"]) == (303, "/members/")


def test_login_form_expires_with_its_token_and_cookie(client: _Client) -> None:
    """A missing or foreign token, a missing cookie, and a form sent again after the login are a 403."""
    right = {"user": "member-0", "password": client.site.password("member-0")}
    page = client.ask(_LOGIN)
    stranger = _Client(client.site)
    _, foreign, _ = stranger.ask(_LOGIN).form()
    for answer in (
        client.post(_LOGIN, **right),
        client.post(_LOGIN, **right, **foreign),
        _Client(client.site).post(_LOGIN, **right, **page.form()[1]),
    ):
        assert (answer.status, "form expired" in answer.text) == (403, True)
    assert client.site.members.logins == {}
    assert client.fill(page, **right).status == 303
    assert client.fill(page, **right).status == 403


def test_login_forms_side_by_side_stay_valid(client: _Client) -> None:
    """Opening the form again, in whichever variant, does not expire the one that is open."""
    page = client.ask(_LOGIN)
    right = {"user": "member-0", "password": client.site.password("member-0")}
    client.fill(client.ask(f"{_LOGIN}?otp=1"), **right)
    assert client.fill(page, **right).status == 303


def test_login_in_steps_asks_for_one_thing_at_a_time(client: _Client) -> None:
    """User name, password and code each have a page; what fails is asked again; a later step does not work first."""
    target = f"{_LOGIN}?steps=2&otp=1&next=/members/page/5"
    code = pyotp.TOTP(client.site.totp_secret("member-1"))
    page = client.ask(target)
    _, filled, names = page.form()
    assert names == {"user"}
    assert client.post(target, **filled, code=code.now()).status == 403
    page = client.fill(page, user="member-1")
    page = client.fill(page, password="wrong")
    assert "Wrong user name or password." in page.text
    page = client.fill(page, password=client.site.password("member-1"))
    page = client.fill(page, code="wrong")
    assert "Wrong code." in page.text
    answer = client.fill(page, code=code.now())
    assert (answer.status, answer.headers["location"]) == (303, "/members/page/5")
    assert client.see() == "member-1"
    assert client.site.members.failed_logins == {"member-1": 2}


def test_code_holds_one_step_either_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """The codes of the 30 s before, now and after are right, those beyond are not."""
    members = Members()
    code = pyotp.TOTP(members.totp_secret("member-0"))
    now = 1_700_000_010.0
    monkeypatch.setattr("browsercrawl.testing.members.time", lambda: now)
    held = [members.has_code("member-0", code.at(int(now) + beside * 30)) for beside in (-2, -1, 0, 1, 2)]
    assert held == [False, True, True, True, False]


def test_login_renamed_fields_work_under_their_other_names(client: _Client) -> None:
    """With `renamed=1` the form has other names and logs in all the same."""
    page = client.ask(f"{_LOGIN}?renamed=1&steps=2")
    page = client.fill(page, account_name="member-0")
    assert client.fill(page, secret_word=client.site.password("member-0")).status == 303


def test_login_captcha_has_no_form(client: _Client) -> None:
    """A page that wants proof of a human offers nothing to fill in."""
    answer = client.ask(f"{_LOGIN}?captcha=1")
    assert (answer.status, "human" in answer.text, "<form" in answer.text) == (200, True, False)


def test_login_slow_answers_after_its_time(client: _Client) -> None:
    """Form and submission each take `slow` seconds."""
    began = time.monotonic()
    page = client.ask(f"{_LOGIN}?slow=0.1")
    assert time.monotonic() - began >= 0.1
    began = time.monotonic()
    assert client.fill(page, user="member-0", password=client.site.password("member-0")).status == 303
    assert time.monotonic() - began >= 0.1
    assert client.ask(f"{_LOGIN}?slow=soon").status == 400


def test_login_hanging_never_answers(site: DemoSite) -> None:
    """With `hang=1` the request is taken and nothing comes, until the client or the site goes."""
    host, _, port = site.url.removeprefix("http://").partition(":")
    with contextlib.closing(socket.create_connection((host, int(port)), timeout=0.3)) as connection:
        connection.sendall(f"GET {_LOGIN}?hang=1 HTTP/1.1\r\nHost: members\r\n\r\n".encode())
        with pytest.raises(TimeoutError):
            connection.recv(1)


@pytest.mark.parametrize("following", ["https://example.org/", "//example.org", "/", "/members/\r\nX-Bad: 1"])
def test_login_next_stays_in_the_area(client: _Client, following: str) -> None:
    """Nobody is sent elsewhere, and no address ends its header."""
    page = client.ask(f"{_LOGIN}?next={quote(following, safe='')}")
    answer = client.fill(page, user="member-0", password=client.site.password("member-0"))
    assert answer.headers["location"] in {"/members/", "/members/%0D%0AX-Bad:%201"}
    assert answer.headers["x-bad"] is None


def test_json_login_right_or_wrong(client: _Client) -> None:
    """JSON or a form without token logs in; anything else is a 401, and a GET a 405."""
    for wrong in ({"user": "member-0", "password": "wrong"}, {"user": "member-0"}, ["member-0"], None):
        assert client.post_json(f"{_LOGIN}/json", wrong).status == 401
    assert client.ask(f"{_LOGIN}/json", body="{", Content_Type="application/json").status == 401
    assert client.ask(f"{_LOGIN}/json").status == 405
    assert client.jar == {}
    right = {"user": "member-0", "password": client.site.password("member-0")}
    assert client.post_json(f"{_LOGIN}/json", right).json() == {"account": "member-0"}
    assert client.see() == "member-0"


@pytest.mark.parametrize("area", ["token", "idb"])
def test_token_opens_its_area_and_no_other(client: _Client, area: str) -> None:
    """A token is taken as bearer only and a cookie as cookie only; the login sets no cookie."""
    right = {"user": "member-1", "password": client.site.password("member-1")}
    token = client.post_json(f"{_LOGIN}/token", right).json()["token"]
    assert client.jar == {}
    assert client.ask(f"/members/{area}/page/2").status == 200
    target = f"/members/api/{area}/page/2"
    answer = client.ask(target, Authorization=f"Bearer {token}")
    assert answer.json()["links"][0] == f"/members/{area}/page/3"
    assert client.site.members.views == (("member-1", f"/members/{area}/page/2"),)
    assert client.ask(target).status == client.ask(target, Authorization="Bearer null").status == 401
    client.jar["member_session"] = token
    assert client.see() is None
    client.log_in("member-2")
    assert client.ask(target, Authorization=f"Bearer {client.jar['member_session']}").status == 401


def test_basic_asks_for_credentials_and_shows_whose_they_are(client: _Client) -> None:
    """Without or with wrong credentials a challenge, with right ones the account."""
    answer = client.ask("/members/basic/")
    assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Basic realm="members", charset="UTF-8"')
    assert client.site.members.failed_logins == {}
    for sent in ("member-0:wrong", "member-0", ":"):
        assert client.ask("/members/basic/", Authorization=f"Basic {b64encode(sent.encode()).decode()}").status == 401
    assert client.ask("/members/basic/", Authorization="Basic \xff").status == 401
    sent = b64encode(f"member-0:{client.site.password('member-0')}".encode()).decode()
    answer = client.ask("/members/basic/", Authorization=f"Basic {sent}")
    assert (answer.status, '<h1 id="account">member-0</h1>' in answer.text) == (200, True)
    assert client.site.members.views == (("member-0", "/members/basic/"),)


def test_echo_tells_headers_and_names_of_cookies_only(client: _Client) -> None:
    """The request is given back, as JSON or as a page, without anything that would let its reader in."""
    client.log_in("member-2")
    client.jar["other"] = "1"
    told = client.ask("/members/echo", X_Asked="yes", Accept_Language="da").json()
    assert (told["account"], told["cookies"]) == ("member-2", ["member_session", "other"])
    assert (told["headers"]["x-asked"], told["headers"]["accept-language"]) == ("yes", "da")
    page = client.ask("/members/echo", Accept="text/html", X_Asked="<b>")
    assert '<h1 id="account">member-2</h1>' in page.text
    assert "&lt;b&gt;" in page.text
    assert client.jar["member_session"] not in page.text + json.dumps(told)


def test_rotation_replaces_the_cookie_and_old_copies_die(client: _Client) -> None:
    """Every n pages the value changes; an old one works for `grace` requests more, then its holder is out."""
    client.site.members.rotate_every = 2
    client.log_in()
    kept = _Client(client.site, dict(client.jar))
    assert [client.see(number) for number in (1, 2)] == ["member-0", "member-0"]
    assert client.jar != kept.jar
    assert kept.see() == "member-0"  # two requests of three
    assert client.see() == "member-0"
    assert kept.see() is None
    for number in range(10):
        assert client.see(number) == "member-0"
    assert client.site.members.live_sessions("member-0") == 1
    assert client.site.members.logins == {"member-0": 1}


def test_rotation_without_grace_kills_the_old_value_at_once() -> None:
    """With `grace` 0 only the newest value works."""
    members = Members()
    members.rotate_every, members.grace = 1, 0
    first = members.open_session("member-0")
    shown = members.show(first, path="/")
    assert shown is not None
    assert members.account_of(first) is None
    assert members.account_of(shown.fresh_cookie) == "member-0"


def test_rotation_old_value_brings_no_new_one() -> None:
    """Of requests under way at the same time only the first rotates, so the order of the answers does not matter."""
    members = Members()
    members.rotate_every = 1
    value = members.open_session("member-0")
    shown = [members.show(value, path="/") for _ in range(5)]
    assert [each and bool(each.fresh_cookie) for each in shown] == [True, False, False, False, None]


def test_rotation_concurrent_clients_lose_no_session(site: DemoSite) -> None:
    """Three threads that share a cookie as pages share a browser's stay logged in while it rotates with every page."""
    site.members.rotate_every, site.members.grace = 1, 120  # the machine may hold up one thread for all the others
    client = _Client(site).log_in()
    seen: list[str | None] = []

    def work() -> None:
        seen.extend(client.see(number) for number in range(20))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == ["member-0"] * 60
    assert site.members.pages == {"member-0": 60}


def test_expiry_ends_each_session_after_its_pages(site: DemoSite) -> None:
    """The k-th page is the last of a session; another session of the account has its own count."""
    site.members.expire_after_pages = 3
    first, second = _Client(site).log_in(), _Client(site).log_in()
    assert [first.see() for _ in range(4)] == ["member-0"] * 3 + [None]
    assert site.members.live_sessions("member-0") == 1
    assert [second.see() for _ in range(4)] == ["member-0"] * 3 + [None]
    assert site.members.live_sessions("member-0") == 0


def _lifetimes(members: Members, accounts: list[str]) -> dict[str, list[int]]:
    """Log in three times with each account, in this order; return how many pages each session showed."""
    found: dict[str, list[int]] = {}
    for account in accounts * 3:
        value, pages = members.open_session(account), 0
        while members.show(value, path="/"):
            pages += 1
        found.setdefault(account, []).append(pages)
    return found


def test_expiry_at_random_depends_on_the_seed_alone() -> None:
    """The same seed gives every session its number again, in whichever order accounts log in; all are in range."""
    found = []
    for seed, turn in ((7, 1), (7, -1), (8, 1)):
        members = Members()
        members.expire_between(2, 40, seed=seed)
        found.append(_lifetimes(members, list(members.accounts)[::turn]))
    assert found[0] == found[1] != found[2]
    assert all(2 <= pages <= 40 for lifetimes in found[0].values() for pages in lifetimes)
    assert len({pages for lifetimes in found[0].values() for pages in lifetimes}) > 5


@pytest.mark.parametrize(("least", "most"), [(0, 3), (4, 3)])
def test_expiry_range_that_is_none_is_refused(least: int, most: int) -> None:
    """A range without a page, or upside down, is refused."""
    with pytest.raises(ValueError, match=f"pages from {least} to {most}"):
        Members().expire_between(least, most)


def test_log_out_ends_one_or_all_accounts_now(site: DemoSite) -> None:
    """Every session and token of the account is dead at once, and its old cookies; others live until all are meant."""
    members = site.members
    members.rotate_every = 1
    clients = [_Client(site).log_in(name) for name in ("member-0", "member-0", "member-1")]
    token = members.open_session("member-0", bearer=True)
    old = dict(clients[0].jar)
    assert clients[0].see() == "member-0"
    members.log_out("member-0")
    assert [client.see() for client in clients] == [None, None, "member-1"]
    assert _Client(site, old).see() is None
    assert members.account_of(token, bearer=True) is None
    members.log_out()
    assert clients[2].see() is None
    assert [members.live_sessions(name) for name in members.accounts] == [0] * 4


def test_single_session_new_login_ends_the_older(site: DemoSite) -> None:
    """With `single_session` an account is logged in once, others are not touched."""
    site.members.single_session = True
    first, other, second = (_Client(site).log_in(name) for name in ("member-0", "member-1", "member-0"))
    assert [client.see() for client in (first, other, second)] == [None, "member-1", "member-0"]
    assert site.members.live_sessions("member-0") == 1


def test_sessions_and_visitors_are_bounded(site: DemoSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more logins and forms than there is room for, the oldest is forgotten."""
    monkeypatch.setattr("browsercrawl.testing.members._VALUES_MAX", 2)
    monkeypatch.setattr("browsercrawl.testing.members_pages._VISITORS_MAX", 2)
    clients = [_Client(site).log_in() for _ in range(3)]
    assert [client.see() for client in clients] == [None, "member-0", "member-0"]
    clients = [_Client(site) for _ in range(3)]
    pages = [client.ask(_LOGIN) for client in clients]
    right = {"user": "member-0", "password": site.password("member-0")}
    assert [client.fill(page, **right).status for client, page in zip(clients, pages, strict=True)] == [403, 303, 303]
