"""The addresses of the members' area, below `/members/`: logins of many kinds, and pages for those who are in.

    ./ and page/N             A page (N: 0 to 9999) whose `#account` a script fetches; as in the shop, a JSON module
                              import holds the load event. Without a session `?out=` decides: redirect (302 to the
                              login, usual), 401, prompt (a login form in place), script (the page's script leaves).
    token/, token/page/N,     The same for a bearer token in localStorage or IndexedDB, without a cookie. Their
    idb/, idb/page/N          content comes after the load event: `<html data-ready>` tells when.
    login                     A form. `?steps=2`: the password on a page of its own; `?otp=1`: then a one-time password;
                              `?renamed=1`: other names and ids; `?slow=S`: answers after S seconds; `?hang=1`: never;
                              `?captcha=1`: no form; `?next=`: where to go afterwards.
    login/json, login/token   POST of `user` and `password`, as JSON or form, for the cookie or a bearer token.
    basic/                    A page behind HTTP basic authentication.
    echo                      The request's headers, cookie names and account: JSON, or a page where HTML is accepted.
    store                     What `#cookie`, `#local`, `#session`, `#idb`, `#cache` and `#worker` keep: `none`, or what
                              `?set=` wrote last; `<html data-ready>` when all is known.

A session that ends between a page and its content leaves an empty page, whose script then goes where `?out=` sends.
"""

import json
import re
import secrets
import threading
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from http import HTTPStatus
from importlib.resources import files
from string import Template
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, quote

from browsercrawl.testing.members import Members
from browsercrawl.testing.server import HTML, JSON, Answer, BadQuery, Exchange

PREFIX = "/members/"
SESSION_COOKIE = "member_session"

_FORM_COOKIE = "member_form"
_VISITORS_MAX = 10_000
_LAST = 9999
_LINKS = 5
_ADDRESS = re.compile(r"/members/(api/)?(token/|idb/)?(?:page/(0|[1-9][0-9]{0,3}))?")
_SECONDS = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3})?")
_SCRIPT = "text/javascript; charset=utf-8"
_SCRIPTS = ("members.js", "members_kept.js", "members_worker.js")
_FRESH = {"Cache-Control": "no-store"}
_CACHED = {"Cache-Control": "public, max-age=3600"}
_WRONG = "Wrong user name or password."
_WRONG_CODE = "Wrong code."

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>$title</title>
<link rel="stylesheet" href="/static/style.css">
<link rel="icon" href="/static/lamps-0.svg">
</head>
<body>
<main>
<h1$mark>$heading</h1>
$body
</main>
</body>
</html>
""")

_FORM = Template("""$error<form id="login" method="post" action="$action">
<input type="hidden" name="csrf" value="$csrf">
$inputs
<button type="submit">$button</button>
</form>""")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """An input of the login form.

    Attributes:
        label: in front of it.
        renamed: its name and id with `?renamed=1`.
        kind: `type` of the input.
        autocomplete: what browsers and password stores may fill in.
    """

    label: str
    renamed: str
    kind: str = "text"
    autocomplete: str


_FIELDS = {
    "user": _Field(label="User name", renamed="account_name", autocomplete="username"),
    "password": _Field(label="Password", renamed="secret_word", kind="password", autocomplete="current-password"),
    "code": _Field(label="Code from your app", renamed="second_factor", autocomplete="one-time-code"),
}
_Step = tuple[str, ...]  # the fields that one page of the login asks for


@dataclass(slots=True)
class _Visitor:
    """Somebody about to log in: what the form's cookie stands for, and how far they have come."""

    key: str = field(default_factory=secrets.token_urlsafe)
    csrf: str = field(default_factory=secrets.token_urlsafe)
    user: str = ""
    steps_done: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    """What comes of a filled-in form: the step to show now and what was wrong, or a session."""

    step: _Step = ()
    error: str = ""
    session: str = ""


class MembersArea:
    """Answers everything below `/members/`.

    Args:
        members: who may enter.
    """

    def __init__(self, members: Members) -> None:
        self._members = members
        self._lock = threading.Lock()  # guards the visitors; `members` may be called with it held
        self._visitors: dict[str, _Visitor] = {}  # by the value of the form's cookie
        self._cookie_page = _file("members.html").decode()
        self._token_page = _sends_file("members_token.html", HTML)
        self._routes: Mapping[str, Answer] = MappingProxyType(
            {
                f"{PREFIX}login": self._login,
                f"{PREFIX}login/json": lambda exchange: self._log_in(exchange, bearer=False),
                f"{PREFIX}login/token": lambda exchange: self._log_in(exchange, bearer=True),
                f"{PREFIX}basic/": self._basic,
                f"{PREFIX}echo": self._echo,
                f"{PREFIX}store": _sends_file("members_store.html", HTML),
                **{f"{PREFIX}static/{name}": _sends_file(name, _SCRIPT) for name in _SCRIPTS},
            }
        )

    def answer(self, exchange: Exchange) -> bool:
        """Answer a request; False when there is no such address."""
        route = self._routes.get(exchange.path)
        if route is not None:
            route(exchange)
            return True
        match = _ADDRESS.fullmatch(exchange.path)
        if match is None:
            return False
        api, area, number = match.groups()
        if api:
            self._content(exchange, area=area or "", number=int(number or 0))
        elif area:
            self._token_page(exchange)
        else:
            self._page(exchange)
        return True

    def _page(self, exchange: Exchange) -> None:
        out = exchange.query.get("out", "redirect")
        login = f"{PREFIX}login?next={quote(exchange.target, safe='')}"
        if out not in {"redirect", "401", "prompt", "script"}:
            raise BadQuery(f"out={out[:40]!r} is not redirect, 401, prompt or script")
        if self._members.account_of(_cookie(exchange, SESSION_COOKIE)) or out == "script":
            api = exchange.path.replace(PREFIX, f"{PREFIX}api/", 1)
            exchange.respond(self._cookie_page.replace("@API@", api), headers=_FRESH)
        elif out == "redirect":
            exchange.respond(status=HTTPStatus.FOUND, headers=_FRESH | {"Location": login})
        elif out == "prompt":
            self._offer(exchange, ("user", "password"), action=login)
        else:
            body = f'<p>Please <a href="{login}">log in</a>.</p>'
            _respond(exchange, "For members", body, status=HTTPStatus.UNAUTHORIZED)

    def _content(self, exchange: Exchange, *, area: str, number: int) -> None:
        value = _bearer(exchange) if area else _cookie(exchange, SESSION_COOKIE)
        shown = self._members.show(value, path=exchange.path.replace("api/", "", 1), bearer=bool(area))
        if shown is None:
            _respond_json(exchange, {"error": "Not logged in."}, status=HTTPStatus.UNAUTHORIZED)
            return
        following = range(number + 1, min(number + _LINKS, _LAST) + 1)
        found = {
            "account": shown.account,
            "page": number,
            "title": f"Page {number} of {shown.account}",
            "links": [f"{PREFIX}{area}page/{each}" for each in following],
        }
        _respond_json(exchange, found, session=shown.fresh_cookie)

    def _login(self, exchange: Exchange) -> None:
        query = exchange.query
        if query.get("hang") == "1":
            exchange.pause(None)
        if "slow" in query:
            exchange.pause(_seconds(query["slow"]))
        if query.get("captcha") == "1":
            _respond(exchange, "Are you human?", '<p id="captcha">Choose all pictures with a lighthouse.</p>')
        elif exchange.method == "POST":
            self._submit(exchange)
        else:
            self._offer(exchange, _steps(query)[0])

    def _submit(self, exchange: Exchange) -> None:
        taken = self._take(_cookie(exchange, _FORM_COOKIE), _given(exchange), steps=_steps(exchange.query))
        if taken is None:
            _respond(exchange, "Log in", '<p class="error">form expired</p>', status=HTTPStatus.FORBIDDEN)
        elif taken.session:
            following = exchange.query.get("next", PREFIX)
            # Quoted, so that it cannot end its header; nobody is sent out of the area.
            location = quote(following, safe="/?&=%+,:") if following.startswith(PREFIX) else PREFIX
            headers = {"Location": location, **_set_cookie(SESSION_COOKIE, taken.session)}
            exchange.respond(status=HTTPStatus.SEE_OTHER, headers=_FRESH | headers)
        else:
            self._offer(exchange, taken.step, error=taken.error)

    def _take(self, key: str, given: Mapping[str, str], *, steps: tuple[_Step, ...]) -> _Taken | None:
        """Take a filled-in form; None when it has expired, or is of a step that is not due yet."""
        at = next((number for number, step in enumerate(steps) if given.keys() >= {*step}), len(steps))
        with self._lock:
            visitor = self._visitors.get(key)
            if visitor is None or given.get("csrf") != visitor.csrf or at > min(visitor.steps_done, len(steps) - 1):
                return None
            visitor.user = given.get("user", visitor.user)
            if "password" in steps[at] and not self._members.has_password(visitor.user, given["password"]):
                return _Taken(step=steps[at], error=_WRONG)
            if "code" in steps[at] and not self._members.has_code(visitor.user, given["code"]):
                return _Taken(step=steps[at], error=_WRONG_CODE)
            visitor.steps_done = at + 1
            if visitor.steps_done < len(steps):
                return _Taken(step=steps[visitor.steps_done])
            del self._visitors[key]
        return _Taken(session=self._members.open_session(visitor.user))

    def _offer(self, exchange: Exchange, step: _Step, *, action: str | None = None, error: str = "") -> None:
        with self._lock:
            # A known visitor keeps the token: forms open side by side all stay valid.
            visitor = self._visitors.get(_cookie(exchange, _FORM_COOKIE))
            if visitor is None:
                if len(self._visitors) >= _VISITORS_MAX:
                    del self._visitors[next(iter(self._visitors))]
                visitor = _Visitor()
                self._visitors[visitor.key] = visitor
        form = _FORM.substitute(
            error=f'<p class="error">{error}</p>\n' if error else "",
            action=escape(action or exchange.target),
            csrf=visitor.csrf,
            inputs="\n".join(_input(name, renamed=exchange.query.get("renamed") == "1") for name in step),
            button="Next" if step == ("user",) else "Log in",
        )
        _respond(exchange, "Log in", form, headers=_set_cookie(_FORM_COOKIE, visitor.key))

    def _log_in(self, exchange: Exchange, *, bearer: bool) -> None:
        """Log in without a form."""
        if exchange.method != "POST":
            _respond_json(exchange, {"error": "POST it."}, status=HTTPStatus.METHOD_NOT_ALLOWED)
            return
        given = _given(exchange)
        user = given.get("user", "")
        if not self._members.has_password(user, given.get("password", "")):
            _respond_json(exchange, {"error": _WRONG}, status=HTTPStatus.UNAUTHORIZED)
            return
        value = self._members.open_session(user, bearer=bearer)
        if bearer:
            _respond_json(exchange, {"account": user, "token": value})
        else:
            _respond_json(exchange, {"account": user}, session=value)

    def _basic(self, exchange: Exchange) -> None:
        user, password = _basic_credentials(exchange)
        # Browsers ask first without credentials: nobody has tried anything then.
        if user and self._members.has_password(user, password):
            self._members.show_without_session(user, path=exchange.path)
            _respond(exchange, f"Basic page of {user}", account=user)
        else:
            challenge = {"WWW-Authenticate": 'Basic realm="members", charset="UTF-8"'}
            _respond(exchange, "For members", status=HTTPStatus.UNAUTHORIZED, headers=challenge)

    def _echo(self, exchange: Exchange) -> None:
        account = self._members.account_of(_bearer(exchange), bearer=True)
        account = account or self._members.account_of(_cookie(exchange, SESSION_COOKIE))
        secret = {"cookie", "authorization"}
        found = {
            "account": account,
            "headers": {name: value for name, value in exchange.headers.items() if name not in secret},
            "cookies": sorted(_cookies(exchange)),
        }
        if "text/html" in exchange.headers.get("accept", ""):
            told = escape(json.dumps(found, indent=1))
            _respond(exchange, "Echo", f'<pre id="echo">{told}</pre>', account=account)
        else:
            _respond_json(exchange, found)


def _respond(
    exchange: Exchange,
    title: str,
    body: str = "",
    *,
    account: str | None = None,
    status: int = HTTPStatus.OK,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Send a small page; its heading is the account that is shown, else its title."""
    page = _PAGE.substitute(title=title, mark=' id="account"' if account else "", heading=account or title, body=body)
    exchange.respond(page, status=status, headers={**_FRESH, **headers})


def _respond_json(
    exchange: Exchange, found: Mapping[str, object], *, status: int = HTTPStatus.OK, session: str = ""
) -> None:
    headers = _set_cookie(SESSION_COOKIE, session) if session else {}
    exchange.respond(json.dumps(found), status=status, content_type=JSON, headers=_FRESH | headers)


def _input(name: str, *, renamed: bool) -> str:
    asked = _FIELDS[name]
    own = asked.renamed if renamed else name
    return (
        f'<label for="{own}">{asked.label}</label> '
        f'<input id="{own}" name="{own}" type="{asked.kind}" autocomplete="{asked.autocomplete}" required>'
    )


def _steps(query: Mapping[str, str]) -> tuple[_Step, ...]:
    first: tuple[_Step, ...] = (("user", "password"),) if query.get("steps") != "2" else (("user",), ("password",))
    return (*first, ("code",)) if query.get("otp") == "1" else first


def _seconds(text: str) -> float:
    if not _SECONDS.fullmatch(text):
        raise BadQuery(f"slow={text[:40]!r} is no number of seconds below 1000")
    return float(text)


def _given(exchange: Exchange) -> dict[str, str]:
    """Return what was posted, as JSON or form, by the fields' usual names."""
    text = exchange.body.decode("utf-8", "replace")
    given: Any
    if exchange.headers.get("content-type", "").startswith(JSON):
        try:
            given = json.loads(text)
        except ValueError:
            given = None
    else:
        given = dict(parse_qsl(text, keep_blank_values=True))
    if not isinstance(given, dict):
        return {}
    renamed = exchange.query.get("renamed") == "1"
    usual = {each.renamed: name for name, each in _FIELDS.items()} if renamed else {}
    return {usual.get(str(name), str(name)): str(value) for name, value in given.items()}


def _cookies(exchange: Exchange) -> dict[str, str]:
    pairs = (pair.strip().partition("=") for pair in exchange.headers.get("cookie", "").split(";"))
    return {name: value for name, _, value in pairs if name}


def _cookie(exchange: Exchange, name: str) -> str:
    return _cookies(exchange).get(name, "")


def _set_cookie(name: str, value: str) -> dict[str, str]:
    return {"Set-Cookie": f"{name}={value}; Path={PREFIX}; HttpOnly; SameSite=Lax"}


def _bearer(exchange: Exchange) -> str:
    scheme, _, value = exchange.headers.get("authorization", "").partition(" ")
    return value if scheme.lower() == "bearer" else ""


def _basic_credentials(exchange: Exchange) -> tuple[str, str]:
    scheme, _, value = exchange.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        user, _, password = b64decode(value).decode().partition(":")
    except ValueError:  # neither base64 nor UTF-8
        return "", ""
    return user, password


def _sends_file(name: str, content_type: str) -> Answer:
    body = _file(name)
    return lambda exchange: exchange.respond(body, content_type=content_type, headers=_CACHED)


def _file(name: str) -> bytes:
    return files("browsercrawl.testing").joinpath("pages", name).read_bytes()
