"""The section `sessions` of a job file: who the crawl is, how it logs in, and what that is in its configuration.

The fields are named like those of `SessionsConfig`; what is nested there for the sake of code is flat here.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from browsercrawl.config.job_part import AtLeastOne, Part, Statuses, Switch, Timeout, Words
from browsercrawl.config.job_references import Place, Problem
from browsercrawl.config.job_values import (
    OPEN_PROXY,
    REFERENCE,
    Duration,
    ImportPath,
    Number,
    ProxyUrl,
    Secret,
    Url,
    Whole,
)

STATE_FOLDER = "sessions"
"""Beside the job file: all runs of the job, and `browsercrawl login`, share its logins."""

Pause = Annotated[float, Duration(most_s=86_400, may_be_zero=True)]
Password = Annotated[Any, Secret()]
Proxy = Annotated[Any, ProxyUrl()]
Address = Annotated[str, Url()]
Function = Annotated[str, ImportPath()]


class SuccessPart(Part):
    """How it shows that a session is logged in: all that is given must hold."""

    url: Words | None = Field(default=None, description="The page's address is like this; * is anything.")
    selector: Words | None = Field(default=None, description="CSS: an element like this is in the page.")
    cookie: Words | None = Field(default=None, description="The session has a cookie of this name.")


class StepPart(Part):
    """One page of a login form."""

    fields: dict[str, Words] = Field(
        description="By CSS selector what is typed; {username}, {password} and {totp} are filled in."
    )
    submit: Words | None = Field(default=None, description="CSS: what is clicked. Default: Enter is pressed.")

    @field_validator("fields")
    @classmethod
    def _check_fields(cls, fields: dict[str, str]) -> dict[str, str]:
        if not fields:
            raise ValueError("must name at least one field of the form")
        return fields


class FormPart(Part):
    """Log in as a person does: open a page, fill in its form, or several one after the other."""

    url: Address = Field(description="Where the form is.")
    steps: tuple[StepPart, ...] = Field(description="Its pages, in their order.")
    success: SuccessPart = Field(description="How it shows that the session is logged in.")
    failure: Words | None = Field(default=None, description="CSS: shows that the login was refused.")

    @field_validator("steps")
    @classmethod
    def _check_steps(cls, steps: tuple[StepPart, ...]) -> tuple[StepPart, ...]:
        if not steps:
            raise ValueError("must name at least one page of the form")
        return steps


class HttpPart(Part):
    """Log in with one HTTP request; its cookies become the session's."""

    url: Address = Field(description="Where the request goes.")
    form: dict[str, Words] | None = Field(default=None, description="Sent as a form, filled in likewise.")
    json_body: dict[str, Words] | None = Field(default=None, alias="json", description="Sent as JSON, likewise.")
    cookie: Words | None = Field(default=None, description="The cookie that a login must have brought.")


class LoggedOutPart(Part):
    """How a page shows that its session is logged out: any of these. Default: it is at the login form's address."""

    url: Words | None = Field(default=None, description="The page's final address is like this; * is anything.")
    status: Statuses | None = Field(default=None, description="HTTP statuses that mean it.")
    present: Words | None = Field(default=None, description="CSS: there, such as a login form.")
    missing: Words | None = Field(default=None, description="CSS: not there, such as the user's name.")
    cookie: Words | None = Field(default=None, description="The session has no cookie of this name.")
    function: Function | None = Field(default=None, description="Gets the page and tells: module:function.")


class LoginPart(Part):
    """How a session logs in: by form, http, state or function, one of them."""

    form: FormPart | None = Field(default=None, description="By filling in a form.")
    http: HttpPart | None = Field(default=None, description="By one HTTP request.")
    state: Words | None = Field(default=None, description="By a saved state: Playwright's, or one of ours. A file.")
    function: Function | None = Field(
        default=None, description="By `async def function(page, session)`: module:function."
    )
    username: Words | None = Field(default=None, description="Names the account, too.")
    password: Password | None = Field(default=None, description="As ${NAME}: it must not stand in the file.")
    password_file: Words | None = Field(default=None, description="Its first line is the password; mode 0600.")
    totp: Password | None = Field(default=None, description="Secret of one-time passwords, as ${NAME}.")
    totp_file: Words | None = Field(default=None, description="Its first line is that secret; mode 0600.")
    logged_out: LoggedOutPart = LoggedOutPart()
    timeout: Timeout | None = Field(default=None, description="One try may take this long. Default: 60s.")
    tries: Annotated[int, Whole(1, 100)] | None = Field(
        default=None, description="Failed tries in a row before the session is paused. Default: 3."
    )
    backoff: Pause | None = Field(default=None, description="Pause after a failed try; doubles. Default: 5s.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if sum(way is not None for way in (self.form, self.http, self.state, self.function)) != 1:
            raise ValueError("say how it logs in: give one of form, http, state and function")
        return self


class GeolocationPart(Part):
    """Where the browser says it is."""

    latitude: Annotated[float, Number(-90, 90)] = Field(description="Degrees north.")
    longitude: Annotated[float, Number(-180, 180)] = Field(description="Degrees east.")
    accuracy: Annotated[float, Number(0)] | None = Field(default=None, description="In metres. Default: 0.")


class ViewportPart(Part):
    """Size of the pages."""

    width: Annotated[int, Whole(1, 10_000)] = Field(description="CSS pixels.")
    height: Annotated[int, Whole(1, 10_000)] = Field(description="CSS pixels.")


class HttpCredentialsPart(Part):
    """User name and password for HTTP authentication, sent to one origin only."""

    origin: Address = Field(description="Such as https://intranet.example.")
    username: Words = Field(description="Sent to that origin.")
    password: Password = Field(description="As ${NAME}: it must not stand in the file.")


class ProfilePart(Part):
    """One session: who it is, and how it logs in."""

    login: LoginPart | None = Field(default=None, description="Left out: it is never logged in.")
    account: Words | None = Field(default=None, description="Whose it is. Default: the login's user name.")
    user_agent: Words | None = Field(default=None, description="What its browser calls itself.")
    locale: Words | None = Field(default=None, description="Such as de-DE; sets Accept-Language too.")
    timezone: Words | None = Field(default=None, description="Such as Europe/Berlin.")
    geolocation: GeolocationPart | None = Field(default=None, description="Where its browser says it is.")
    viewport: ViewportPart | None = Field(default=None, description="Size of its pages.")
    headers: dict[str, Words] | None = Field(default=None, description="Sent to every site; no secrets.")
    http_credentials: HttpCredentialsPart | None = Field(default=None, description="For HTTP authentication.")
    proxy: Proxy | None = Field(default=None, description="URL; with a password: as ${NAME}, or with ${NAME} in it.")
    domains: tuple[Words, ...] | None = Field(
        default=None, description="Hosts it may visit and whose cookies are saved. Default: that of the login."
    )
    max_pages: AtLeastOne | None = Field(default=None, description="Pages at once. Default: 1 with a login.")
    context_visits_max: AtLeastOne | None = Field(default=None, description="Visits before its context is replaced.")
    indexed_db: Switch | None = Field(default=None, description="IndexedDB is kept, too. Default: false.")


class SessionRulePart(Part):
    """Gives requests to a session by URL or key; the first rule that matches counts."""

    session: Words = Field(description="That gets them.")
    url: Words | None = Field(default=None, description="Matches the whole URL: * is anything, ? one character.")
    key: Words | None = Field(default=None, description="Likewise, of the request's own key.")


class BlockedPart(Part):
    """How a page shows that the site refuses its session, besides 401, 403 and 407."""

    status: Statuses | None = Field(default=None, description="HTTP statuses that mean it.")
    present: Words | None = Field(default=None, description="CSS: there, such as a captcha.")


class SessionsPart(Part):
    """Who the crawl is: sessions with a login or an identity, and which requests belong to them."""

    profiles: dict[str, ProfilePart] = Field(default_factory=dict, description="By the names of the sessions.")
    rules: tuple[SessionRulePart, ...] = Field(
        default=(), description="Which requests belong to which session, unless they name one."
    )
    per_host: Switch | None = Field(default=None, description="Others get a session of their host's own.")
    pool: Annotated[int, Whole(1, 100_000)] | None = Field(
        default=None, description="Others are spread over so many sessions, which are replaced if blocked."
    )
    blocked: BlockedPart = BlockedPart()
    proxies: tuple[Proxy, ...] = Field(default=(), description="Each session keeps to one of them until that fails.")
    proxy: Function | None = Field(default=None, description="Gives a session its proxy: module:function.")
    proxy_cooldown: Pause | None = Field(default=None, description="A failed proxy rests so long. Default: 60s.")
    state: Words | None = Field(
        default=None,
        description="Folder where logins are kept. Default: sessions, beside the job, if any has a login.",
    )
    key: Password | None = Field(default=None, description="Encrypts them, as ${NAME}; see docs/jobs.md.")
    save_every_pages: AtLeastOne | None = Field(default=None, description="Besides after each login. Default: 20.")
    share_accounts: Switch | None = Field(default=None, description="Several sessions may have the same account.")


def config_of(part: SessionsPart, base: Path) -> dict[str, Any]:
    """Return the fields of `SessionsConfig` that a section stands for.

    Args:
        part: the section.
        base: where relative paths start.
    """
    has_login = any(profile.login is not None for profile in part.profiles.values())
    state = part.state or (STATE_FOLDER if has_login else None)
    fields = _given(part, leave=("profiles", "rules", "blocked", "proxy", "proxy_cooldown", "state"))
    if part.proxy_cooldown is not None:
        fields["proxy_cooldown_s"] = part.proxy_cooldown
    return fields | {
        "profiles": [_profile(name, profile, base) for name, profile in part.profiles.items()],
        "rules": [_given(rule) for rule in part.rules],
        "blocked": _given(part.blocked),
        "state_dir": base / state if state is not None else None,
    }


def place_in_sessions(location: Sequence[str | int], names: Sequence[str]) -> Place:
    """Return the place in the job of a field of `SessionsConfig`, as pydantic names it.

    Args:
        location: begins with `sessions`.
        names: of the job's profiles, in their order.
    """
    steps = [_RENAMED.get(step, step) if isinstance(step, str) else step for step in location]
    if len(steps) > 2 and steps[1] == "profiles":
        steps[2] = names[int(steps[2])]
        steps[3:] = [step for step in steps[3:] if step not in _NESTED]
        if steps[3:] == ["name"] or steps[-2:] == ["state", "file"]:
            del steps[-1]
    return tuple(steps)


def literal_secrets(raw: Any) -> Iterator[Problem]:
    """Find secrets that stand in a job itself; what is told does not repeat them.

    Args:
        raw: the section as it was written, of whatever form.
    """
    yield from _literals(raw, ("sessions",), names=("key",))
    for index, proxy in enumerate(_items(raw, "proxies")):
        yield from _proxy_literal(proxy, ("sessions", "proxies", index))
    profiles = raw.get("profiles") if isinstance(raw, dict) else None
    for name, profile in profiles.items() if isinstance(profiles, dict) else ():
        if isinstance(profile, dict):
            place = ("sessions", "profiles", name)
            yield from _literals(profile.get("login"), (*place, "login"), names=("password", "totp"))
            yield from _literals(profile.get("http_credentials"), (*place, "http_credentials"), names=("password",))
            yield from _proxy_literal(profile.get("proxy"), (*place, "proxy"))


_RENAMED = {
    "state_dir": "state",
    "timeout_s": "timeout",
    "backoff_s": "backoff",
    "proxy_cooldown_s": "proxy_cooldown",
    "json_body": "json",
}
_NESTED = {"credentials", "identity", "recipe"}
"""Levels that the configuration has and a job has not."""

_FILES = ("password", "totp")
_IDENTITY = ("user_agent", "locale", "timezone", "headers")
_CREDENTIALS = ("username", "password", "totp")


def _profile(name: str, part: ProfilePart, base: Path) -> dict[str, Any]:
    identity = {key: value for key in _IDENTITY if (value := getattr(part, key)) is not None}
    identity |= {key: _given(value) for key in ("geolocation", "viewport") if (value := getattr(part, key))}
    fields = _given(part, leave=("login", "geolocation", "viewport", "http_credentials", *_IDENTITY))
    fields |= {"name": name, "identity": identity}
    if part.http_credentials is not None:
        fields["http_credentials"] = _given(part.http_credentials)
    if part.login is not None:
        fields["login"] = _login(part.login, base)
    return fields


def _login(part: LoginPart, base: Path) -> dict[str, Any]:
    credentials = {key: value for key in _CREDENTIALS if (value := getattr(part, key)) is not None}
    credentials |= {f"{key}_file": base / path for key in _FILES if (path := getattr(part, f"{key}_file")) is not None}
    fields = {"credentials": credentials, "logged_out": _given(part.logged_out, leave=("function",))}
    fields |= {_SECONDS[key]: value for key in _SECONDS if (value := getattr(part, key)) is not None}
    if part.form is not None:
        own = _given(part.form, leave=("steps", "success"))
        steps = [_given(step) for step in part.form.steps]
        fields["recipe"] = own | {"kind": "form", "steps": steps, "success": _given(part.form.success)}
    elif part.http is not None:
        fields["recipe"] = _given(part.http) | {"kind": "http"}
    elif part.state is not None:
        fields["recipe"] = {"kind": "state", "file": base / part.state}
    return fields


_SECONDS = {"timeout": "timeout_s", "backoff": "backoff_s", "tries": "tries"}


def _given(part: Part, *, leave: Iterable[str] = ()) -> dict[str, Any]:
    """Return the fields that a part says something of."""
    names = [name for name in type(part).model_fields if name not in leave]
    return {name: value for name in names if (value := getattr(part, name)) is not None}


def _literals(raw: Any, place: Place, *, names: Iterable[str]) -> Iterator[Problem]:
    for name in names:
        value = raw.get(name) if isinstance(raw, dict) else None
        if value is not None and not (isinstance(value, str) and re.fullmatch(REFERENCE, value)):
            file = f", or give {name}_file" if name in _FILES and place[-1] == "login" else ""
            yield Problem(
                (*place, name),
                f"a secret must not stand in the file: write ${{NAME}}, the name of an environment variable{file}",
            )


def _proxy_literal(raw: Any, place: Place) -> Iterator[Problem]:
    if isinstance(raw, str) and not re.fullmatch(OPEN_PROXY, raw):
        yield Problem(
            place,
            "its password must not stand in the file: write ${NAME}, an environment variable, for it or for all of "
            "the URL",
        )


def _items(raw: Mapping[str, Any] | Any, name: str) -> list[Any]:
    value = raw.get(name) if isinstance(raw, dict) else None
    return value if isinstance(value, list) else []
