"""The secrets of a login: where they come from, and how they are kept out of what is said about it."""

import os
import re
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, quote_plus

from pydantic import SecretStr

from browsercrawl.config import Credentials
from browsercrawl.errors import ConfigError, LoginFailed
from browsercrawl.redaction import REDACTED, redact_text

_MARK = re.compile(r"\{(username|password|totp)\}")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_FILE_BYTES_MAX = 65_536
_SHORTEST = 4
"""A shorter text is not taken out of messages: it stands in many words that are no secret."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What a login fills in; shows nothing of it.

    Attributes:
        username: of the account.
        password: empty when there is none.
        totp: base32 secret of one-time passwords, or an otpauth:// URI; empty when there is none.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    totp: str = field(default="", repr=False)

    @classmethod
    def read(cls, credentials: Credentials) -> "Secrets":
        """Read what is in files. Blocks on the disk.

        Raises:
            ConfigError: a file cannot be read, or others may read it.
        """
        return cls(
            username=credentials.username,
            password=_from(credentials.password_file) or _revealed(credentials.password),
            totp=_from(credentials.totp_file) or _revealed(credentials.totp),
        )

    def filled(self, template: str, *, now: float | None = None) -> str:
        """Return a text with {username}, {password} and {totp} filled in.

        Raises:
            LoginFailed: it asks for what was not given.
        """

        def value(mark: re.Match[str]) -> str:
            name = mark[1]
            if not getattr(self, name):
                raise LoginFailed(f"the login asks for {mark[0]}, and its credentials have none")
            return self.code(now) if name == "totp" else str(getattr(self, name))

        return _MARK.sub(value, template)  # one pass: what is filled in may itself look like a mark

    def code(self, now: float | None = None) -> str:
        """Return the one-time password of this moment (RFC 6238).

        Args:
            now: seconds since 1970; None: the machine's time, which is the other side's as well.

        Raises:
            ConfigError: there is no secret, it is none, or the extra is missing.
        """
        try:
            import pyotp  # noqa: PLC0415 - an extra
        except ImportError:
            raise ConfigError(
                "one-time passwords need more than the bare package; type: pip install 'browsercrawl[sessions]'"
            ) from None
        moment = int(_wall_clock() if now is None else now)
        try:
            is_uri = self.totp.startswith("otpauth://")
            made = pyotp.parse_uri(self.totp) if is_uri else pyotp.TOTP(self.totp.replace(" ", ""))
            assert isinstance(made, pyotp.TOTP), "counter-based passwords have no moment"
            return made.at(moment)
        except (ValueError, AssertionError):
            raise ConfigError("totp is no base32 secret of time-based passwords, nor an otpauth:// URI") from None

    def scrubbed(self, text: str) -> str:
        """Return a message without these secrets, nor any other that a rule can see."""
        for secret in (self.password, self.totp):
            if len(secret) >= _SHORTEST:
                for spelling in (secret, quote(secret), quote(secret, safe=""), quote_plus(secret)):
                    text = text.replace(spelling, REDACTED)
        return redact_text(text)


def _wall_clock() -> float:
    return time.time_ns() / 1e9


def _revealed(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret is not None else ""


def _from(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_FILE_BYTES_MAX).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(f"the secret's file {path} cannot be read: {reason}") from None
    if mode & _OTHERS:
        raise ConfigError(f"others may read the secret's file {path}; type: chmod 600 {path}")
    secret = text.partition("\n")[0].strip("\r")
    if not secret:
        raise ConfigError(f"the first line of the secret's file {path} is empty")
    return secret
