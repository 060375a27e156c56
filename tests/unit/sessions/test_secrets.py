"""Secrets of a login: read, filled in, made into codes; and shown nowhere."""

import traceback
from pathlib import Path

import pytest

from browsercrawl.config import Credentials
from browsercrawl.errors import ConfigError, LoginFailed
from browsercrawl.sessions.secrets import Secrets

RFC_SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
PLANTED = "Planted-Pass-1"


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    """Write a secret's file."""
    path.write_text(text)
    path.chmod(mode)
    return path


def test_read_takes_values_or_the_first_line_of_files(tmp_path: Path) -> None:
    """What is given in Python and what stands in files of their owner's is the same."""
    file = write(tmp_path / "password", f"{PLANTED}\r\nsecond line\n")
    assert Secrets.read(Credentials(username="ann", password_file=file)).password == PLANTED
    assert Secrets.read(Credentials.model_validate({"password": PLANTED})).password == PLANTED
    assert Secrets.read(Credentials()) == Secrets()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o610])
def test_read_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    """The error says what to type, and not what stands in the file."""
    file = write(tmp_path / "password", PLANTED, mode)
    with pytest.raises(ConfigError, match=f"chmod 600 {file}") as raised:
        Secrets.read(Credentials(password_file=file))
    assert PLANTED not in str(raised.value)


def test_read_unusable_files_are_told(tmp_path: Path) -> None:
    """A missing, an empty and a binary file each have a sentence, and no content in it."""
    (tmp_path / "binary").write_bytes(b"\xff\xfePlanted")
    (tmp_path / "binary").chmod(0o600)
    for name, told in (("none", "cannot be read"), ("empty", "is empty"), ("binary", "not UTF-8")):
        if name == "empty":
            write(tmp_path / name, "\nsecond line")
        with pytest.raises(ConfigError, match=told) as raised:
            Secrets.read(Credentials(password_file=tmp_path / name))
        assert "Planted" not in "".join(traceback.format_exception(raised.value))


def test_filled_replaces_each_mark() -> None:
    """User name, password and code take their places."""
    secrets = Secrets(username="ann", password=PLANTED, totp=RFC_SECRET)
    assert secrets.filled("{username}/{password}/{totp}", now=59) == f"ann/{PLANTED}/287082"
    assert secrets.filled("plain {other}") == "plain {other}"


def test_filled_password_that_looks_like_a_mark_is_typed_as_it_is() -> None:
    """What stands in a secret is not filled in once more."""
    secrets = Secrets(username="ann{password}", password="x{totp}y", totp=RFC_SECRET)
    assert secrets.filled("{username}", now=59) == "ann{password}"
    assert secrets.filled("{password}", now=59) == "x{totp}y"
    assert secrets.filled("{username} {password}", now=59) == "ann{password} x{totp}y"


@pytest.mark.parametrize("mark", ["username", "password", "totp"])
def test_filled_missing_value_is_told(mark: str) -> None:
    """A form that asks for what is not given fails before anything empty is typed."""
    with pytest.raises(LoginFailed, match=mark):
        Secrets().filled(f"{{{mark}}}")


@pytest.mark.parametrize(
    ("now", "code"), [(59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (20000000000, "353130")]
)
def test_code_is_that_of_rfc_6238(now: int, code: str) -> None:
    """The standard's test vectors, cut to six digits; spaces and URIs are understood."""
    spaced = " ".join(RFC_SECRET[at : at + 4] for at in range(0, 32, 4))
    uri = f"otpauth://totp/x:ann?secret={RFC_SECRET}&issuer=x"
    assert [Secrets(totp=totp).code(now) for totp in (RFC_SECRET, spaced, uri)] == [code] * 3


@pytest.mark.parametrize("totp", ["", "not base32!", "otpauth://hotp/x?secret=GEZDGNBV&counter=1", "otpauth://totp/x"])
def test_code_of_no_secret_is_a_mistake_that_does_not_show_it(totp: str) -> None:
    """What cannot make a code is told, without what was given."""
    with pytest.raises(ConfigError) as raised:
        Secrets(totp=totp).code(59)
    assert not totp or totp not in "".join(traceback.format_exception(raised.value))


def test_scrubbed_takes_out_its_own_secrets() -> None:
    """What a site or a user's function says of them is not passed on."""
    secrets = Secrets(username="ann", password=PLANTED, totp=RFC_SECRET)
    said = secrets.scrubbed(f"typed {PLANTED} and {RFC_SECRET} as ann")
    assert PLANTED not in said
    assert RFC_SECRET not in said
    assert "ann" in said


def test_scrubbed_takes_out_a_password_as_a_url_holds_it() -> None:
    """A form that is sent by GET puts the password into an address, percent-encoded."""
    said = Secrets(password="p/w d&=ü").scrubbed(
        "no answer from site.test/in?q=p%2Fw%20d%26%3D%C3%BC or ?q=p%2Fw+d%26%3D%C3%BC"
    )
    assert "p%2Fw" not in said


def test_repr_shows_nothing() -> None:
    """Neither of the secrets nor of what holds them."""
    secrets = Secrets(username="ann", password=PLANTED, totp=RFC_SECRET)
    assert PLANTED not in repr(secrets)
    assert RFC_SECRET not in repr(secrets)
