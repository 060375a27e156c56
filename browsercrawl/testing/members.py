"""Who may enter the members' area of the demo site: accounts, sessions that end in many ways, and what happened.

The accounts are `member-0`, `member-1` ...; their passwords and one-time-password secrets follow from their names.
`members_pages` has the addresses.

A page counts as shown when its account is sent, not when the empty page is that its script fills; that is also when a
session expires or its cookie rotates.
"""

import random
import secrets
import threading
from base64 import b32encode
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import digest
from time import time

ACCOUNTS_MAX = 10_000

_VIEWS_MAX = 200_000
_VALUES_MAX = 20_000
_TOTP_STEP_S = 30
_TOTP_KEY_BYTES = 20

Lifetime = Callable[[str, int], int]
"""How many pages the n-th session (from 1) of an account shows before it ends."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A page that was let through.

    Attributes:
        account: whose it is.
        fresh_cookie: what the session's cookie is from now on; empty: the same as before.
    """

    account: str
    fresh_cookie: str = ""


@dataclass(slots=True)
class _Session:
    """A login that holds.

    Attributes:
        account: whose it is.
        number: how many logins the account has had, with this one.
        value: of its cookie, or its token.
        bearer: whether it is a token.
        old: replaced values that still work, each with the requests it has left.
        pages: shown so far.
        pages_rotated: shown when the value was last replaced.
    """

    account: str
    number: int
    value: str
    bearer: bool
    old: dict[str, int] = field(default_factory=dict)
    pages: int = 0
    pages_rotated: int = 0


class Members:
    """Accounts and sessions of the members' area; thread-safe.

    Args:
        accounts: how many, from 1 to 10,000.

    Raises:
        ValueError: `accounts` out of range.

    Attributes:
        accounts: their names.
        rotate_every: a session's cookie is replaced each time this many pages were shown; None: never.
        grace: how many further requests of the session, with whichever value, a replaced cookie outlives. What is
            under way at the same time needs it, and a page is two requests: take twice the pages open side by side.
        expire_after_pages: how many pages a session shows before it ends; None: no limit. Holds for the sessions that
            there are as well.
        single_session: a login ends the account's other sessions.
    """

    def __init__(self, *, accounts: int = 8) -> None:
        if not 1 <= accounts <= ACCOUNTS_MAX:
            raise ValueError(f"accounts={accounts} is not between 1 and {ACCOUNTS_MAX}")
        self.accounts = tuple(f"member-{number}" for number in range(accounts))
        self.rotate_every: int | None = None
        self.grace = 3
        self.expire_after_pages: int | Lifetime | None = None
        self.single_session = False
        self._passwords = {name: f"pw-{_derived('password', name).hex()[:12]}" for name in self.accounts}
        self._lock = threading.Lock()  # guards what follows, and the sessions in it
        self._sessions: dict[str, _Session] = {}  # by each value that works
        self._logins: Counter[str] = Counter()
        self._failed_logins: Counter[str] = Counter()
        self._pages: Counter[str] = Counter()
        self._views: deque[tuple[str, str]] = deque(maxlen=_VIEWS_MAX)

    @property
    def logins(self) -> Counter[str]:
        """Sessions opened, by account."""
        with self._lock:
            return self._logins.copy()

    @property
    def failed_logins(self) -> Counter[str]:
        """Wrong passwords and codes, by account; unknown user names count as the empty one."""
        with self._lock:
            return self._failed_logins.copy()

    @property
    def pages(self) -> Counter[str]:
        """Pages shown, by account."""
        with self._lock:
            return self._pages.copy()

    @property
    def views(self) -> tuple[tuple[str, str], ...]:
        """Account and path of the last 200,000 pages shown, oldest first."""
        with self._lock:
            return tuple(self._views)

    def password(self, account: str) -> str:
        """Return the account's password.

        Raises:
            KeyError: there is no such account.
        """
        return self._passwords[account]

    def totp_secret(self, account: str) -> str:
        """Return what the account's authenticator is set up with, in base32: 6 digits, SHA-1, 30 s.

        Raises:
            KeyError: there is no such account.
        """
        if account not in self._passwords:
            raise KeyError(account)
        return b32encode(_derived("totp", account)[:_TOTP_KEY_BYTES]).decode()

    def live_sessions(self, account: str) -> int:
        """Return how many sessions of the account would be let in now."""
        with self._lock:
            return sum(session.account == account for session in self._each_session())

    def log_out(self, account: str | None = None) -> None:
        """End every session of an account now; None: of all accounts."""
        with self._lock:
            self._end_all(account)

    def expire_between(self, least: int, most: int, *, seed: int = 0) -> None:
        """Let each session end after a number of pages drawn from `least` to `most`, both included.

        Seed, account and number of its login decide alone, however the logins of several accounts interleave.

        Raises:
            ValueError: not 1 <= least <= most.
        """
        if not 1 <= least <= most:
            raise ValueError(f"pages from {least} to {most} are no range from 1 up")

        def drawn(account: str, number: int) -> int:
            return random.Random(f"{seed} {account} {number}").randint(least, most)

        self.expire_after_pages = drawn

    def has_password(self, account: str, password: str) -> bool:
        """Tell whether the password is right; a wrong one is counted."""
        return self._counted(account, right=self._passwords.get(account) == password)

    def has_code(self, account: str, code: str) -> bool:
        """Tell whether the one-time password is that of this time step or one beside it; a wrong one is counted."""
        now, key = int(time() / _TOTP_STEP_S), _derived("totp", account)[:_TOTP_KEY_BYTES]
        return self._counted(account, right=code in {_totp(key, now + beside) for beside in (-1, 0, 1)})

    def open_session(self, account: str, *, bearer: bool = False) -> str:
        """Log an account in; return the value of its cookie, or a bearer token."""
        with self._lock:
            if self.single_session:
                self._end_all(account)
            if len(self._sessions) >= _VALUES_MAX:
                self._end(next(iter(self._sessions.values())))
            self._logins[account] += 1
            session = _Session(account, self._logins[account], value=secrets.token_urlsafe(), bearer=bearer)
            self._sessions[session.value] = session
            return session.value

    def account_of(self, value: str, *, bearer: bool = False) -> str | None:
        """Return whose session a cookie or token is; None when it is none."""
        with self._lock:
            session = self._enter(value, bearer=bearer)
            return session.account if session else None

    def show(self, value: str, *, path: str, bearer: bool = False) -> Shown | None:
        """Count a page as shown to a session; None when the cookie or token is of none."""
        with self._lock:
            session = self._enter(value, bearer=bearer)
            if session is None:
                return None
            self._record(session.account, path)
            session.pages += 1
            if self._has_expired(session):
                self._end(session)
                return Shown(session.account)
            due = self.rotate_every is not None and session.pages - session.pages_rotated >= self.rotate_every
            # A request with an old value brings no new one: of two answers that overtake each other, the client would
            # keep the one that came last, which may be the older.
            rotates = due and value == session.value and not bearer
            return Shown(session.account, self._rotate(session) if rotates else "")

    def show_without_session(self, account: str, *, path: str) -> None:
        """Count a page as shown to an account that gave its password along."""
        with self._lock:
            self._record(account, path)

    # What follows, but `_counted`, is called with the lock held.

    def _counted(self, account: str, *, right: bool) -> bool:
        if not right:
            with self._lock:
                self._failed_logins[account if account in self._passwords else ""] += 1
        return right

    def _record(self, account: str, path: str) -> None:
        self._pages[account] += 1
        self._views.append((account, path))

    def _each_session(self) -> list[_Session]:
        return [session for value, session in self._sessions.items() if value == session.value]

    def _end_all(self, account: str | None) -> None:
        for session in self._each_session():
            if account in {None, session.account}:
                self._end(session)

    def _end(self, session: _Session) -> None:
        for value in (session.value, *session.old):
            del self._sessions[value]

    def _enter(self, value: str, *, bearer: bool) -> _Session | None:
        """Return the session a value stands for; its old values then have one request less."""
        session = self._sessions.get(value)
        if session is None or session.bearer != bearer:
            return None
        for old in tuple(session.old):
            session.old[old] -= 1
            if session.old[old] == 0:
                del session.old[old], self._sessions[old]
        return session

    def _rotate(self, session: _Session) -> str:
        if self.grace:
            session.old[session.value] = self.grace
        else:
            del self._sessions[session.value]
        session.value, session.pages_rotated = secrets.token_urlsafe(), session.pages
        self._sessions[session.value] = session
        return session.value

    def _has_expired(self, session: _Session) -> bool:
        limit = self.expire_after_pages
        if callable(limit):
            limit = limit(session.account, session.number)
        return limit is not None and session.pages >= limit


def _derived(purpose: str, account: str) -> bytes:
    return sha256(f"demo {purpose} of {account}".encode()).digest()


def _totp(key: bytes, step: int) -> str:
    """Return the one-time password of a time step (RFC 6238, truncated as in RFC 4226, section 5.3)."""
    whole = digest(key, step.to_bytes(8, "big"), "sha1")
    at = whole[-1] & 0xF
    return f"{(int.from_bytes(whole[at : at + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06}"
