"""Where the states of sessions are kept: one file each, encrypted when there is a key, the newest always winning.

A file is one JSON object:

    format, version   what it is
    header            session, epoch, revision, saved_at, domains, encrypted, key_id: readable without the key
    body              account, logged_in_at, and the storage state in Playwright's form; when encrypted, the base64 text
                      of a random nonce of 12 bytes and the AES-256-GCM of that JSON
    sha256            of all the rest, when it is not encrypted

All but the body is the associated data of the encryption, so that no header passes with another's body. A new file
takes its name only when it is whole and on the disk: whoever reads without a lock sees the old state or the new one.
"""

import base64
import fcntl
import hashlib
import json
import os
import re
import secrets
import shlex
import stat
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from browsercrawl.errors import ConfigError, OutputFailed, StateUnusable
from browsercrawl.sessions.state import SessionState
from browsercrawl.urls import fingerprint

FILE_BYTES_MAX = 64 * 1024 * 1024
"""What a state file may have; a site that keeps more in its storage keeps no login there."""

LOCK_WAIT_S = 10.0
"""How long a save waits for another process's; that takes milliseconds, unless it is stopped or its disk hangs."""

_FORMAT = "browsercrawl session state"
_VERSION = 1
_KEY_BYTES = 32
_NONCE_BYTES = 12
_TAG_BYTES = 16
_FILE_MODE = 0o600
_DIRECTORY_MODE = 0o700
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_LOCK_PAUSE_S = 0.005
_SLUG_LENGTH_MAX = 40
_FINGERPRINT_DIGITS = 16
_HOSTS_SHOWN = 5
_HOST_LENGTH_SHOWN = 100
_MAKE_KEY = 'python -c "import secrets,base64;print(base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())"'
_REMEDY = "it was left as it is; remove it, and the session logs in anew"


def parse_key(text: str) -> bytes:
    """Read a key: 32 bytes in base64, URL-safe or not, 44 characters; white space around them does not count.

    Raises:
        ConfigError: it is none; the message tells how to make one, and does not repeat it.
    """
    key = b""
    with suppress(ValueError):
        key = base64.b64decode(text.strip().replace("-", "+").replace("_", "/"), validate=True)
    if len(key) != _KEY_BYTES:
        raise ConfigError(f"the key of session states must be 44 characters of base64; make one by: {_MAKE_KEY}")
    return key


class StateVault:
    """The states of all sessions of a user, in one directory or in memory.

    Thread-safe, and safe beside other processes on the same directory. All methods block on the disk: call them from
    a thread. A process killed at any moment leaves each state as it was or as it was to become; a hidden file that
    stays goes with the session's next save.
    """

    def __init__(self, directory: Path | None, *, key: bytes | None) -> None:
        """Make a vault; the directory is made, for its owner only, when the first state is saved.

        Args:
            directory: where the files are; None keeps the states in memory, by the same rules.
            key: 32 bytes (see `parse_key`) that encrypt what is saved; None saves it readable by its owner.

        Raises:
            ConfigError: the key is of another length, or encryption is not installed.
        """
        self._directory = directory
        self._cipher = None if key is None else _Cipher(key)
        self._memory: dict[str, SessionState] = {}
        self._memory_lock = threading.Lock()  # guards _memory between reading and writing in `save`

    def path_of(self, session: str) -> Path | None:
        """Return the file of a session, whether there is one or not; None in memory."""
        return None if self._directory is None else self._directory / f"{_stem(session)}.json"

    def load(self, session: str) -> SessionState | None:
        """Return a session's state; None when there is none.

        Raises:
            StateUnusable: there is a file that cannot be used.
        """
        path = self.path_of(session)
        if path is None:
            with self._memory_lock:
                return self._memory.get(session)
        return _load(path, session=session, cipher=self._cipher)

    def save(self, state: SessionState) -> SessionState | None:
        """Write a state, unless an equally new or newer one is there.

        When this returns, the state survives a power failure.

        Returns:
            None when it was written; otherwise the state that is there, whose `(epoch, revision)` is not below.

        Raises:
            StateUnusable: the file that is there cannot be used, the state is too large, or another process does not
                let go of the file for `LOCK_WAIT_S`.
            OutputFailed: the file cannot be written.
        """
        path = self.path_of(state.session)
        if path is None:
            with self._memory_lock:
                kept = self._memory.get(state.session)
                if kept is not None and not _is_newer(state, kept):
                    return kept
                self._memory[state.session] = state
                return None
        content = _written(state, self._cipher)
        if len(content) > FILE_BYTES_MAX:
            raise StateUnusable(
                f"the state of session {state.session!r} has {len(content):,} bytes (limit {FILE_BYTES_MAX:,}); "
                "what its site stores is too much to be kept"
            )
        with _told(path):
            _make(path.parent)
            with _locked(path):
                kept = _load(path, session=state.session, cipher=self._cipher)
                if kept is not None and not _is_newer(state, kept):
                    return kept
                _replace(path, content)
        return None

    def forget(self, session: str) -> None:
        """Remove a session's state, also one that cannot be used; none there is no mistake. Its empty lock file stays.

        Raises:
            StateUnusable: another process does not let go of the file for `LOCK_WAIT_S`.
            OutputFailed: it cannot be removed.
        """
        path = self.path_of(session)
        if path is None:
            with self._memory_lock:
                self._memory.pop(session, None)
            return
        with _told(path):
            if os.path.lexists(path):
                with _locked(path):
                    path.unlink(missing_ok=True)
                    _sync(path.parent)


def read_state_file(
    path: Path, *, session: str, domains: Iterable[str], key: bytes | None, now: datetime
) -> SessionState:
    """Read a state file that a user names: one of a vault, of whatever session, or one that Playwright saved.

    Args:
        path: the file.
        session: whose state it becomes.
        domains: hosts that the session is bound to; only what belongs to them is taken.
        key: as for `StateVault`.
        now: the time, aware; what has expired is left out.

    Returns:
        The state, with the epoch and revision of a vault's file, and 0 of another.

    Raises:
        StateUnusable: it cannot be used, nothing in it belongs to the domains, or all of that has expired.
        ConfigError: the key is of another length, or encryption is not installed.
    """
    cipher = None if key is None else _Cipher(key)
    bound = SessionState(session=session, domains=tuple(domains))
    document = _document(path)
    if document is None:
        raise StateUnusable(f"{path} does not exist; save a state there, or let the session log in")
    read = _opened(path, document, cipher) if document.get("format") == _FORMAT else _filled(path, bound, document)
    own = read.model_copy(update={"session": session, "domains": bound.domains}).restricted(bound.domains)
    if not own.cookies and not own.origins:
        raise StateUnusable(
            f"{path} has nothing for {_listed(bound.domains)}: what it has is for {_listed(read.hosts)}; "
            "give the file of this session, or name its domains"
        )
    if own.is_dead(now):
        raise StateUnusable(f"{path} expired at {own.last_expiry:%Y-%m-%d %H:%M:%S} UTC; log in anew and save it again")
    return own.unexpired(now)


# --- the form of a file ----------------------------------------------------------------------------------------------


class _Header(BaseModel):
    """What stands in the clear: enough to tell whose state it is, and which of two is the newer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    session: str
    epoch: int = Field(ge=0)
    revision: int = Field(ge=0)
    saved_at: AwareDatetime | None
    domains: tuple[str, ...]
    encrypted: bool
    key_id: str | None = Field(pattern="^[0-9a-f]{16}$")


class _Cipher:
    """AES-256-GCM with one key."""

    def __init__(self, key: bytes) -> None:
        if len(key) != _KEY_BYTES:
            raise ConfigError(f"the key of session states must have {_KEY_BYTES} bytes, not {len(key)}; see parse_key")
        try:
            from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - an extra
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise ConfigError(
                "encrypting session states needs an extra: pip install 'browsercrawl[sessions]'"
            ) from error
        self._aead = AESGCM(key)
        self._refused: type[Exception] = InvalidTag
        self.key_id = hashlib.blake2b(b"key id of session states", key=key, digest_size=8).hexdigest()

    def seal(self, text: bytes, bound: bytes) -> str:
        """Encrypt; `bound` is needed to read it again."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return base64.b64encode(nonce + self._aead.encrypt(nonce, text, bound)).decode()

    def open(self, sealed: object, bound: bytes) -> bytes | None:
        """Decrypt; None when it is not what was sealed with `bound`."""
        raw = b""
        if isinstance(sealed, str):
            with suppress(ValueError):
                raw = base64.b64decode(sealed, validate=True)
        if len(raw) < _NONCE_BYTES + _TAG_BYTES:
            return None
        try:
            return self._aead.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], bound)
        except self._refused:
            return None


def _written(state: SessionState, cipher: _Cipher | None) -> bytes:
    header = _Header(
        session=state.session,
        epoch=state.epoch,
        revision=state.revision,
        saved_at=state.saved_at,
        domains=state.domains,
        encrypted=cipher is not None,
        key_id=None if cipher is None else cipher.key_id,
    )
    document: dict[str, Any] = {"format": _FORMAT, "version": _VERSION, "header": header.model_dump(mode="json")}
    logged_in_at = None if state.logged_in_at is None else state.logged_in_at.isoformat()
    body = {"account": state.account, "logged_in_at": logged_in_at, **state.as_storage_state()}
    if cipher is None:
        document["body"] = body
        document["sha256"] = hashlib.sha256(_canonical(document)).hexdigest()
    else:
        document["body"] = cipher.seal(_canonical(body), _canonical(document))
    return json.dumps(document).encode() + b"\n"


def _opened(path: Path, document: dict[str, Any], cipher: _Cipher | None) -> SessionState:
    """Return the state in a file of ours.

    Raises:
        StateUnusable: it is damaged, of a newer version, or cannot be decrypted.
    """
    version = document.get("version")
    if isinstance(version, int) and version > _VERSION:
        raise StateUnusable(
            f"{path} was written by a newer version of browsercrawl; update this one, or remove the file"
        )
    header: _Header | None = None
    with suppress(ValidationError):
        header = _Header.model_validate(document.get("header"))
    if header is None or version != _VERSION:
        raise _damaged(path, "its header is not one")
    body = _decrypted(path, document, cipher) if header.encrypted else _checked(path, document)
    try:
        known = SessionState(
            session=header.session,
            domains=header.domains,
            epoch=header.epoch,
            revision=header.revision,
            saved_at=header.saved_at,
            account=body.get("account"),
            logged_in_at=body.get("logged_in_at"),
        )
    except StateUnusable as error:
        raise StateUnusable(f"{path} is {error}; {_REMEDY}") from None
    return _filled(path, known, body)


def _checked(path: Path, document: dict[str, Any]) -> dict[str, Any]:
    said = document.get("sha256")
    rest = {name: value for name, value in document.items() if name != "sha256"}
    body = document.get("body")
    if said != hashlib.sha256(_canonical(rest)).hexdigest() or not isinstance(body, dict):
        raise _damaged(path, "its SHA-256 is another")
    return body


def _decrypted(path: Path, document: dict[str, Any], cipher: _Cipher | None) -> dict[str, Any]:
    key_id = document["header"].get("key_id")
    if cipher is None:
        raise StateUnusable(f"{path} is encrypted, and no key is given; give the key it was saved with (id {key_id})")
    if key_id != cipher.key_id:
        raise StateUnusable(
            f"{path} is encrypted with the key of id {key_id}, and the one given has id {cipher.key_id}; "
            "give the key it was saved with, or remove the file: then the session logs in anew"
        )
    bound = _canonical({name: document[name] for name in ("format", "version", "header")})
    body = _parsed(cipher.open(document.get("body"), bound) or b"")
    if body is None:
        raise _damaged(path, "it does not decrypt")
    return body


def _filled(path: Path, known: SessionState, storage: dict[str, Any]) -> SessionState:
    """Return a state with the cookies and origins of Playwright's form."""
    try:
        read = SessionState.from_storage_state(storage, session=known.session, domains=known.domains)
    except StateUnusable as error:
        raise StateUnusable(f"{path} is {error}; {_REMEDY}") from None
    return known.model_copy(update={"cookies": read.cookies, "origins": read.origins})


def _canonical(value: object) -> bytes:
    """Return the one JSON text of a value, whatever the order it was read in."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _parsed(content: bytes) -> dict[str, Any] | None:
    with suppress(ValueError, RecursionError):
        document = json.loads(content)
        if isinstance(document, dict):
            return document
    return None


def _damaged(path: Path, how: str) -> StateUnusable:
    return StateUnusable(f"{path} is damaged: {how}; {_REMEDY}")


def _listed(hosts: tuple[str, ...]) -> str:
    shown = ", ".join(host[:_HOST_LENGTH_SHOWN] for host in hosts[:_HOSTS_SHOWN]) or "no host"
    return shown if len(hosts) <= _HOSTS_SHOWN else f"{shown} and {len(hosts) - _HOSTS_SHOWN} more"


# --- files -----------------------------------------------------------------------------------------------------------


def _stem(session: str) -> str:
    """Return a session's file name without its ending: no two are equal, nor differ in case only."""
    slug = re.sub(r"[^a-z0-9._-]+", "-", session.lower()).strip("-.")[:_SLUG_LENGTH_MAX] or "session"
    return f"{slug}-{fingerprint(session)[:_FINGERPRINT_DIGITS]}"


def _load(path: Path, *, session: str, cipher: _Cipher | None) -> SessionState | None:
    document = _document(path)
    if document is None:
        return None
    if document.get("format") != _FORMAT:
        raise _damaged(path, "it is not a file of this program")
    state = _opened(path, document, cipher)
    if state.session != session:
        raise StateUnusable(f"{path} is of session {state.session!r}, not {session!r}: it was renamed; {_REMEDY}")
    return state


def _document(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file; None when there is no file.

    Raises:
        StateUnusable: it cannot be read, others than its owner can, it is too large, or holds none.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a FIFO must not hold us up
        try:
            content = _content(path, descriptor)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateUnusable(f"{path} cannot be read: {error.strerror or error}") from error
    document = _parsed(content)
    if document is None:
        raise _damaged(path, "it is no JSON object")
    return document


def _content(path: Path, descriptor: int) -> bytes:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise StateUnusable(f"{path} is no file; name one, or remove it")
    if status.st_mode & _OTHERS:
        raise StateUnusable(
            f"{path} holds a login, and others than its owner have access (mode {stat.S_IMODE(status.st_mode):o}); "
            f"type: chmod 600 {shlex.quote(str(path))}"
        )
    if status.st_size > FILE_BYTES_MAX:
        raise StateUnusable(f"{path} has {status.st_size:,} bytes (limit {FILE_BYTES_MAX:,}); {_REMEDY}")
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        return file.read(status.st_size)


def _make(directory: Path) -> None:
    """Make a directory for its owner only, if there is none, and bring its name to the disk."""
    missing = [each for each in (directory, *directory.parents) if not each.exists()]
    directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
    for each in missing:
        with suppress(PermissionError):  # one may make directories where one may not list them
            _sync(each.parent)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a session's file, against other threads and processes."""
    lock = os.open(path.with_name(f".{path.stem}.lock"), os.O_RDWR | os.O_CREAT, _FILE_MODE)
    try:
        until = time.monotonic() + LOCK_WAIT_S
        while not _lock_nowait(lock):
            if time.monotonic() > until:
                raise StateUnusable(
                    f"{path} is being written by another process for more than {LOCK_WAIT_S:g} s; end that one"
                )
            time.sleep(_LOCK_PAUSE_S)
        yield
    finally:
        os.close(lock)


def _lock_nowait(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _replace(path: Path, content: bytes) -> None:
    """Give a file new content, whole or not at all. Its lock is held."""
    fresh = path.with_name(f".{path.stem}.new")
    fresh.unlink(missing_ok=True)  # of a process that was killed while it had the lock
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        fresh.replace(path)
    except BaseException:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _sync(directory: Path) -> None:
    """Bring the names in a directory to the disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputFailed(f"{path} cannot be written: {error.strerror or error}") from error


def _is_newer(state: SessionState, kept: SessionState) -> bool:
    return (state.epoch, state.revision) > (kept.epoch, kept.revision)
