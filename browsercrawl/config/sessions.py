"""Sessions: who a crawl is when it visits, how it proves that, and how it notices that it is not believed any more."""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, SecretStr, Tag, field_validator, model_validator

from browsercrawl.config.model import ConfigModel, Seconds, check_proxy
from browsercrawl.request import SESSION_LENGTH_MAX
from browsercrawl.urls import address

OWN_NAMES = ("host:", "pool:")
"""Names that begin so belong to sessions the engine makes by itself."""

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_PLACEHOLDERS = ("username", "password", "totp")

Name = Annotated[str, Field(min_length=1, max_length=SESSION_LENGTH_MAX)]
Url = Annotated[str, Field(max_length=8192)]
Pattern = Annotated[str, Field(min_length=1)]
"""Matches the whole text: * is anything, ? one character."""


class Viewport(ConfigModel):
    """Size of the pages, in CSS pixels."""

    width: int = Field(ge=1, le=10_000, description="CSS pixels.")
    height: int = Field(ge=1, le=10_000, description="CSS pixels.")


class Geolocation(ConfigModel):
    """Where the browser says it is, in degrees; pages still have to be granted permission to ask."""

    latitude: float = Field(ge=-90, le=90, description="Degrees north.")
    longitude: float = Field(ge=-180, le=180, description="Degrees east.")
    accuracy: float = Field(default=0, ge=0, description="In metres.")


class Identity(ConfigModel):
    """What a session's browser says of itself. It is the same for the whole run."""

    user_agent: str | None = Field(default=None, min_length=1, description="None: as for the whole crawl.")
    locale: str | None = Field(default=None, min_length=2, description="Such as de-DE; sets Accept-Language too.")
    timezone: str | None = Field(default=None, min_length=1, description="Such as Europe/Berlin.")
    geolocation: Geolocation | None = Field(default=None, description="Where it says it is.")
    viewport: Viewport | None = Field(default=None, description="None: as for the whole crawl.")
    headers: dict[str, str] = Field(
        default_factory=dict, description="Sent with every request of the session, to other sites too: no secrets."
    )

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not _HEADER_NAME.fullmatch(name) or re.search(r"[\r\n\0]", value):
                raise ValueError("names and values must be those of HTTP headers")
            if name.lower() in _SECRET_HEADERS:
                raise ValueError(
                    f"{name} would be sent to every site a page embeds; use http_credentials, a login or a proxy's URL"
                )
        return headers


class HttpCredentials(ConfigModel):
    """User name and password for HTTP authentication, sent to one origin only.

    Chromium then hands every request to the driver and does not use its HTTP cache: such a session costs more.
    """

    origin: Url = Field(description="Such as https://intranet.example.")
    username: str = Field(description="Sent to that origin.")
    password: SecretStr = Field(description="Likewise.")

    @field_validator("origin")
    @classmethod
    def _check_origin(cls, origin: str) -> str:
        if address(origin).canonical != f"{origin.rstrip('/')}/".lower():
            raise ValueError("must be an origin: scheme, host and port, nothing else")
        return origin.rstrip("/")


class Credentials(ConfigModel):
    """What a login recipe fills in. Secrets are given as such, or as files that only their owner may read."""

    username: str = Field(default="", description="Names the account, too.")
    password: SecretStr | None = Field(default=None, description="In Python; job files take it from the environment.")
    password_file: Path | None = Field(default=None, description="Its first line is the password; mode 0600.")
    totp: SecretStr | None = Field(default=None, description="Base32 secret of one-time passwords, or otpauth:// URI.")
    totp_file: Path | None = Field(default=None, description="Its first line is that secret; mode 0600.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("password", "totp"):
            if getattr(self, name) is not None and getattr(self, f"{name}_file") is not None:
                raise ValueError(f"give {name} or {name}_file, not both")
        return self


class Sign(ConfigModel):
    """How something shows: all that is given must hold."""

    url: Pattern | None = Field(default=None, description="The page's address is like this.")
    selector: str | None = Field(default=None, min_length=1, description="CSS: an element like this is in the page.")
    cookie: str | None = Field(default=None, min_length=1, description="The session has a cookie of this name.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not (self.url or self.selector or self.cookie):
            raise ValueError("say how it shows: url, selector or cookie")
        return self


class FormStep(ConfigModel):
    """One page of a login form."""

    fields: dict[str, str] = Field(
        min_length=1, description="By CSS selector what is typed; {username}, {password} and {totp} are filled in."
    )
    submit: str | None = Field(default=None, min_length=1, description="CSS: what is clicked; None: Enter is pressed.")

    @field_validator("fields")
    @classmethod
    def _check_fields(cls, fields: dict[str, str]) -> dict[str, str]:
        for name in (name for text in fields.values() for name in _PLACEHOLDER.findall(text)):
            if name not in _PLACEHOLDERS:
                raise ValueError(f"{{{name}}} is unknown; there are {{username}}, {{password}} and {{totp}}")
        return fields


class FormLogin(ConfigModel):
    """Log in as a person does: open a page, fill in its form, or several one after the other."""

    kind: Literal["form"] = Field(default="form", description="Tells recipes apart.")
    url: Url = Field(description="Where the form is.")
    steps: tuple[FormStep, ...] = Field(min_length=1, max_length=10, description="Its pages, in their order.")
    success: Sign = Field(description="How it shows that the session is logged in.")
    failure: str | None = Field(default=None, min_length=1, description="CSS: shows that the login was refused.")

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        return _checked(url)


class HttpLogin(ConfigModel):
    """Log in with one HTTP request; its cookies become the session's."""

    kind: Literal["http"] = Field(default="http", description="Tells recipes apart.")
    url: Url = Field(description="Where the request goes.")
    form: dict[str, str] | None = Field(default=None, description="Sent as a form; placeholders as in a form login.")
    json_body: dict[str, str] | None = Field(default=None, description="Sent as JSON, likewise.")
    cookie: str | None = Field(default=None, min_length=1, description="The cookie that a login must have brought.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.form is None) == (self.json_body is None):
            raise ValueError("give form or json_body")
        return self

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        return _checked(url)


class StateLogin(ConfigModel):
    """Take the session from a saved state: of `browsercrawl login`, or Playwright's storage state."""

    kind: Literal["state"] = Field(default="state", description="Tells recipes apart.")
    file: Path = Field(description="Of that state; mode 0600 if it is one of ours.")


def _kind_of(recipe: Any) -> str | None:
    """Tell which recipe is meant, also where its kind is left out: each has a field that no other has."""
    if not isinstance(recipe, Mapping):
        return getattr(recipe, "kind", None)
    own = {"steps": "form", "file": "state", "form": "http", "json_body": "http"}
    return recipe.get("kind") or next((kind for field, kind in own.items() if field in recipe), None)


Recipe = Annotated[
    Annotated[FormLogin, Tag("form")] | Annotated[HttpLogin, Tag("http")] | Annotated[StateLogin, Tag("state")],
    Discriminator(
        _kind_of,
        custom_error_type="recipe",
        custom_error_message="a recipe has steps (a form), form or json_body (a request), or file (a saved state)",
    ),
]


class LoggedOut(ConfigModel):
    """How a page shows that its session is logged out: any of these."""

    url: Pattern | None = Field(default=None, description="The page's final address is like this: the login page.")
    status: frozenset[int] = Field(default=frozenset(), description="HTTP statuses that mean it.")
    present: str | None = Field(default=None, min_length=1, description="CSS: there, such as a login form.")
    missing: str | None = Field(default=None, min_length=1, description="CSS: not there, such as the user's name.")
    cookie: str | None = Field(default=None, min_length=1, description="The session has no cookie of this name.")

    @property
    def is_given(self) -> bool:
        """Anything of it is."""
        return bool(self.url or self.status or self.present or self.missing or self.cookie)


class Login(ConfigModel):
    """How a session is logged in, and what happens when that fails."""

    recipe: Recipe | None = Field(default=None, description="None: a coroutine, registered with `Crawler.login`.")
    credentials: Credentials = Field(default=Credentials(), description="What the recipe fills in.")
    logged_out: LoggedOut = Field(
        default=LoggedOut(), description="Nothing given: a page whose final address is that of the login form."
    )
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = Field(default=60, description="One try may take this long.")
    tries: int = Field(default=3, ge=1, le=100, description="Failed tries in a row before the session is paused.")
    backoff_s: Seconds = Field(default=5.0, description="Pause after a failed try; doubles with each.")

    @property
    def form_url(self) -> str | None:
        """The address that shows a session as logged out, where nothing else was said: that of its login form."""
        if self.logged_out.is_given or not isinstance(self.recipe, FormLogin):
            return None
        return self.recipe.url


class SessionProfile(ConfigModel):
    """One session: a name, who it is, and how it logs in."""

    name: Name = Field(description="By which requests name it.")
    login: Login | None = Field(default=None, description="None: it is never logged in.")
    account: str | None = Field(default=None, min_length=1, description="None: the login's user name.")
    identity: Identity = Field(default=Identity(), description="What its browser says of itself.")
    http_credentials: HttpCredentials | None = Field(default=None, description="For HTTP authentication.")
    proxy: SecretStr | None = Field(default=None, description="URL, with user name and password if it wants them.")
    domains: tuple[str, ...] = Field(
        default=(),
        description="Hosts it may visit and whose cookies are saved, subdomains included. (): that of the login; "
        "without login any.",
    )
    max_pages: int | None = Field(default=None, ge=1, description="Pages at once. None: 1 with a login, else no limit.")
    context_visits_max: int | None = Field(default=None, ge=1, description="None: as for the pool.")
    indexed_db: bool = Field(default=False, description="IndexedDB belongs to its state, too; saved at hibernation.")

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if name.startswith(OWN_NAMES) or name != name.strip():
            raise ValueError("must not begin with host: or pool:, nor begin or end with a space")
        return name

    @field_validator("proxy")
    @classmethod
    def _check_proxy(cls, proxy: SecretStr | None) -> SecretStr | None:
        return _checked_proxies((proxy,))[0] if proxy is not None else None

    @field_validator("domains")
    @classmethod
    def _check_domains(cls, domains: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_host(domain) for domain in domains)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.login is not None and self.login.recipe is None and self.account is None:
            raise ValueError("a login by a coroutine must name its account")
        if self.login is not None and isinstance(self.login.recipe, StateLogin) and not self.domains:
            raise ValueError("a login from a saved state must name its domains")
        return self

    @property
    def pages_max(self) -> int | None:
        """Pages at once, the default put in."""
        return self.max_pages or (1 if self.login is not None else None)

    @property
    def account_name(self) -> str | None:
        """Whose session it is; None: nobody's."""
        named = self.account or (self.login.credentials.username if self.login is not None else None)
        return named or None

    @property
    def own_domains(self) -> tuple[str, ...]:
        """The hosts it is bound to, the default put in; (): any."""
        recipe = self.login.recipe if self.login is not None else None
        if not self.domains and isinstance(recipe, FormLogin | HttpLogin):
            return (_host(recipe.url),)
        return self.domains


class SessionRule(ConfigModel):
    """Gives the requests that match to a session, unless they name one; the first rule that matches counts."""

    session: Name = Field(description="That gets them.")
    url: Pattern | None = Field(default=None, description="Matches the whole URL: * is anything, ? one character.")
    key: str | None = Field(default=None, min_length=1, description="Likewise, of the request's own key.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.url is None and self.key is None:
            raise ValueError("a rule needs url or key, or it would match everything")
        return self

    def matches(self, url: str, key: str | None) -> bool:
        """Tell whether a request with this URL and key is meant."""
        return (self.url is None or is_like(url, self.url)) and (
            self.key is None or (key is not None and is_like(key, self.key))
        )


class BlockedSigns(ConfigModel):
    """How a page shows that the site refuses this session; besides 401, 403, 407 and a handler's `Blocked`."""

    status: frozenset[int] = Field(default=frozenset(), description="HTTP statuses that mean it.")
    present: str | None = Field(default=None, min_length=1, description="CSS: there, such as a captcha.")


class SessionsConfig(ConfigModel):
    """The sessions of a crawl."""

    profiles: tuple[SessionProfile, ...] = Field(default=(), description="Sessions with a login or an identity.")
    rules: tuple[SessionRule, ...] = Field(default=(), description="Which requests belong to which session.")
    per_host: bool = Field(default=False, description="Requests without a session get one of their host's own.")
    pool: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="They are spread over so many sessions that are replaced if blocked.",
    )
    blocked: BlockedSigns = Field(default=BlockedSigns(), description="How a refusal shows.")
    proxies: tuple[SecretStr, ...] = Field(
        default=(),
        description="URLs; each session without a proxy of its own keeps to one, until that fails or is banned.",
    )
    proxy_cooldown_s: Seconds = Field(default=60.0, description="A failed proxy rests so long; doubles with each time.")
    state_dir: Path | None = Field(
        default=None, description="Where logins are kept. None: in the run directory; without one in memory."
    )
    key: SecretStr | None = Field(
        default=None, description="Encrypts them: 32 bytes in URL-safe base64; needs the extra `sessions`."
    )
    save_every_pages: int = Field(default=20, ge=1, description="Besides after each login and change of cookies.")
    share_accounts: bool = Field(default=False, description="Several sessions may have the same account.")

    @model_validator(mode="before")
    @classmethod
    def _read_word(cls, values: Any) -> Any:
        return {"per_host": True} if values == "per-host" else values

    @field_validator("proxies")
    @classmethod
    def _check_proxies(cls, proxies: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        return _checked_proxies(proxies)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.per_host and self.pool is not None:
            raise ValueError("per_host and pool exclude each other")
        names: set[str] = set()
        owners: dict[str, str] = {}
        for profile in self.profiles:
            if profile.name in names:
                raise ValueError(f"two sessions are called {profile.name!r}")
            names.add(profile.name)
            account = profile.account_name
            if account is None or self.share_accounts:
                continue
            if owners.setdefault(account, profile.name) != profile.name:
                raise ValueError(
                    f"sessions {owners[account]!r} and {profile.name!r} share the account {account!r}; many sites then "
                    "log one of them out; set share_accounts if this one does not"
                )
        return self


def is_like(text: str, pattern: str) -> bool:
    """Tell whether a pattern matches the whole text: * is anything, ? one character; brackets are themselves."""
    return fnmatchcase(text, pattern.replace("[", "[[]"))


def _checked(url: str) -> str:
    address(url)  # raises InvalidURL, a ValueError
    return url


def _host(text: str) -> str:
    """Return the host of a URL or of a bare host name, without port."""
    return address(text if "://" in text else f"http://{text}/").hostname


def _checked_proxies(proxies: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    for proxy in proxies:
        check_proxy(proxy.get_secret_value())
    return proxies
