"""What is kept of a session between contexts and runs: its cookies, and the storage of its own origins.

Values of cookies and storage are secrets: no repr, message or exception of this module holds one. Cookies and the
entries of IndexedDB stay in Playwright's own form, so that what it adds to them later travels too.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

from browsercrawl.errors import InvalidURL, StateUnusable
from browsercrawl.mistakes import CheckedModel, explained
from browsercrawl.urls import address

Cookie = dict[str, JsonValue]
"""A cookie as Playwright's `context.cookies()` gives it."""

_SESSION_LONG = -1
"""The `expires` of a cookie that lasts as long as the browser's session."""

_EXPIRES_MAX = 253_402_300_799
"""The end of the year 9999; Playwright takes nothing later."""


class _StateModel(CheckedModel):
    @classmethod
    def _mistaken(cls, error: ValidationError) -> StateUnusable:
        return StateUnusable(f"not a session state: {explained(error, cls)}")


class SavedOrigin(_StateModel):
    """The storage of one origin."""

    origin: str = Field(description="Scheme, host and port, as a browser writes them: `https://app.example.com`.")
    local_storage: dict[str, str] = Field(default_factory=dict, repr=False, description="Its localStorage.")
    indexed_db: tuple[JsonValue, ...] = Field(
        default=(), repr=False, description="Its databases, in Playwright's form."
    )


class SessionState(_StateModel):
    """The state of one session at one time; immutable.

    Two states of a session are ordered by `(epoch, revision)`. Methods named after an adjective or `with_` return a
    new state.

    Raises:
        StateUnusable: a field is wrong; the message names it, never a value.
    """

    session: str = Field(description="Name of the session.")
    domains: tuple[str, ...] = Field(description="Hosts it is bound to, with their sub-domains; lower case.")
    account: str | None = Field(default=None, description="Who is logged in, in the user's words.")
    epoch: int = Field(default=0, ge=0, description="Grows with each login of the session.")
    revision: int = Field(default=0, ge=0, description="Grows with each save within an epoch.")
    logged_in_at: AwareDatetime | None = Field(default=None, description="When this epoch began.")
    saved_at: AwareDatetime | None = Field(default=None, description="When this revision was taken.")
    cookies: tuple[Cookie, ...] = Field(default=(), repr=False, description="In Playwright's form.")
    origins: tuple[SavedOrigin, ...] = Field(default=(), description="Each once, and none that has nothing.")

    @field_validator("domains")
    @classmethod
    def _canonical_domains(cls, domains: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_host(domain) for domain in domains)

    @field_validator("cookies")
    @classmethod
    def _check_cookies(cls, cookies: tuple[Cookie, ...]) -> tuple[Cookie, ...]:
        for cookie in cookies:
            _check_cookie(cookie)
        return cookies

    @field_validator("origins")
    @classmethod
    def _check_origins(cls, origins: tuple[SavedOrigin, ...]) -> tuple[SavedOrigin, ...]:
        if len({each.origin for each in origins}) < len(origins):
            raise ValueError("one origin stands there twice")
        return tuple(each for each in origins if each.local_storage or each.indexed_db)

    @classmethod
    def from_storage_state(
        cls, storage: Mapping[str, Any], *, session: str, domains: Iterable[str], account: str | None = None
    ) -> "SessionState":
        """Make a state of what Playwright's `context.storage_state()` returns or saves.

        All of it is taken, whatever its host: see `restricted`. Passkeys and the private file system, which Playwright
        saves on demand, are left out.

        Args:
            storage: the mapping, or the parsed JSON of the file.
            session: its name.
            domains: hosts that the session is bound to.
            account: who is logged in.

        Raises:
            StateUnusable: it is of another form.
        """
        if storage.keys().isdisjoint({"cookies", "origins"}):
            raise StateUnusable("not a session state: there are neither cookies nor origins in it")
        read = _StorageState(cookies=storage.get("cookies", ()), origins=storage.get("origins", ()))
        origins = [
            SavedOrigin(
                origin=each.origin,
                local_storage={entry.name: entry.value for entry in each.local_storage},
                indexed_db=each.indexed_db,
            )
            for each in read.origins
        ]
        return cls(session=session, domains=tuple(domains), account=account, cookies=read.cookies, origins=origins)

    def as_storage_state(self) -> dict[str, Any]:
        """Return the state in the form that Playwright's `new_context(storage_state=...)` takes."""
        return {
            "cookies": [dict(cookie) for cookie in self.cookies],
            "origins": [
                {
                    "origin": each.origin,
                    "localStorage": [{"name": name, "value": value} for name, value in each.local_storage.items()],
                }
                | ({"indexedDB": list(each.indexed_db)} if each.indexed_db else {})
                for each in self.origins
            ],
        }

    def with_cookies(self, cookies: Iterable[Mapping[str, Any]]) -> "SessionState":
        """Put these in the place of all cookies."""
        return self._with(cookies=tuple(dict(cookie) for cookie in cookies))

    def with_origin(self, origin: str, local_storage: Mapping[str, str]) -> "SessionState":
        """Put this in the place of one origin's localStorage; its IndexedDB stays."""
        kept = {each.origin: each for each in self.origins}
        indexed_db = kept[origin].indexed_db if origin in kept else ()
        kept[origin] = SavedOrigin(origin=origin, local_storage=dict(local_storage), indexed_db=indexed_db)
        return self._with(origins=tuple(kept.values()))

    def restricted(self, domains: Iterable[str]) -> "SessionState":
        """Leave out the cookies and origins that do not belong to these hosts.

        An origin belongs when its host is one of them or below one. So does a cookie; and one that a host shares with
        its neighbours, such as `.example.com` for `app.example.com`, because a login often hangs on it. There is no
        list of public suffixes here: no browser takes a cookie for `.co.uk`.

        Args:
            domains: host names.

        Raises:
            StateUnusable: one is no host name.
        """
        try:
            wanted = [_host(domain) for domain in domains]
        except ValueError as error:
            raise StateUnusable(f"domains {error}") from None
        return self._with(
            cookies=tuple(cookie for cookie in self.cookies if _cookie_belongs(str(cookie["domain"]), wanted)),
            origins=tuple(each for each in self.origins if is_within(_origin_host(each.origin), wanted)),
        )

    def unexpired(self, now: datetime) -> "SessionState":
        """Leave out the cookies that have expired by `now`, an aware time."""
        return self._with(cookies=tuple(cookie for cookie in self.cookies if not _is_expired(cookie, now)))

    def is_dead(self, now: datetime) -> bool:
        """Tell whether nobody can be logged in by it: it has nothing, or cookies of which each has expired by `now`."""
        return all(_is_expired(cookie, now) for cookie in self.cookies) if self.cookies else not self.origins

    def changed_from(self, other: "SessionState") -> bool:
        """Tell whether cookies or storage differ from another state's; when cookies expire does not count."""
        return _substance(self) != _substance(other)

    @property
    def last_expiry(self) -> datetime | None:
        """When the last of its cookies expires that do so; None without one."""
        times = [_expires(cookie) for cookie in self.cookies if _expires(cookie) != _SESSION_LONG]
        return datetime.fromtimestamp(max(times), UTC) if times else None

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that its cookies and origins are of, sorted."""
        cookies = {_bare(str(cookie["domain"])) for cookie in self.cookies}
        return tuple(sorted(cookies | {_origin_host(each.origin) for each in self.origins}))

    def _with(self, **changes: object) -> "SessionState":
        return SessionState(**{**dict(self), **changes})


class _StoredEntry(BaseModel):
    name: str
    value: str


class _StoredOrigin(BaseModel):
    origin: str
    local_storage: list[_StoredEntry] = Field(default=[], alias="localStorage")
    indexed_db: tuple[JsonValue, ...] = Field(default=(), alias="indexedDB")


class _StorageState(_StateModel):
    """What is read of Playwright's own form."""

    model_config = ConfigDict(extra="ignore")

    cookies: tuple[Cookie, ...]
    origins: list[_StoredOrigin]


def is_within(host: str, domains: Iterable[str]) -> bool:
    """Tell whether a host is one of these domains, or below one.

    Args:
        host: lower case, without port.
        domains: host names in lower case.

    Example:
        >>> [is_within(host, ["example.com"]) for host in ("example.com", "a.example.com", "evilexample.com")]
        [True, True, False]
    """
    return any(host == domain or _is_below(host, domain) for domain in domains)


def _substance(state: SessionState) -> tuple[object, object]:
    keys = ("name", "domain", "path", "partitionKey", "value")
    cookies = {tuple(cookie.get(key) for key in keys) for cookie in state.cookies}
    return cookies, {each.origin: (each.local_storage, each.indexed_db) for each in state.origins}


def _is_below(host: str, domain: str) -> bool:
    # Nothing is below an IP address, nor is one below anything: `0.0.1` is no parent of `127.0.0.1`.
    return host.endswith(f".{domain}") and not host.endswith("]") and not host.rpartition(".")[2].isdigit()


def _cookie_belongs(cookie_domain: str, domains: list[str]) -> bool:
    bare = _bare(cookie_domain)
    if is_within(bare, domains):
        return True
    # Without the dot it is sent to that one host only. A name of one part, such as `.com`, is nobody's parent.
    return cookie_domain.startswith(".") and "." in bare and any(_is_below(domain, bare) for domain in domains)


def _bare(cookie_domain: str) -> str:
    return cookie_domain.lower().removeprefix(".")


def _host(domain: str) -> str:
    """Return a host name as browsers write it.

    Raises:
        ValueError: it is none.
    """
    try:
        found = address(f"http://{domain.removeprefix('.')}/")
    except InvalidURL:
        found = None
    if found is None or found.canonical != f"http://{found.hostname}/":
        raise ValueError("must be host names, such as app.example.com")
    return found.hostname


def _origin_host(origin: str) -> str:
    """Return the host of a web origin; of another, such as an extension's, the origin itself."""
    try:
        return address(origin).hostname
    except InvalidURL:
        return origin


def _check_cookie(cookie: Cookie) -> None:
    """Check what Playwright would refuse, and with it the whole state, or what is looked at here.

    Raises:
        ValueError: a field is wrong; it is named, without its value.
    """
    for key in ("name", "value", "domain", "path"):
        if not isinstance(cookie.get(key), str):
            raise ValueError(f"each must have a {key} that is text")  # noqa: TRY004 - what pydantic expects
    if not isinstance(cookie.get("partitionKey", ""), str):
        raise ValueError("partitionKey must be text")  # noqa: TRY004 - what pydantic expects
    if cookie.get("sameSite", "Lax") not in ("Strict", "Lax", "None"):
        raise ValueError("sameSite must be Strict, Lax or None")
    expires = cookie.get("expires", _SESSION_LONG)
    is_time = isinstance(expires, int | float) and not isinstance(expires, bool) and 0 <= expires <= _EXPIRES_MAX
    if expires != _SESSION_LONG and not is_time:
        raise ValueError(f"expires must be seconds since 1970, or {_SESSION_LONG}")


def _expires(cookie: Cookie) -> float:
    expires = cookie.get("expires", _SESSION_LONG)
    assert isinstance(expires, int | float)  # _check_cookie has seen it
    return expires


def _is_expired(cookie: Cookie, now: datetime) -> bool:
    return _expires(cookie) != _SESSION_LONG and _expires(cookie) <= now.timestamp()
