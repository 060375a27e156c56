"""The vault: no older state over a newer one, no half file, no readable secret, no use of what is damaged."""

import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from browsercrawl.errors import ConfigError, OutputFailed, StateUnusable
from browsercrawl.sessions import vault as vault_module
from browsercrawl.sessions.state import SavedOrigin, SessionState
from browsercrawl.sessions.vault import StateVault

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
KEY = bytes(range(32))
OTHER_KEY = bytes(32)
PLANTED = "hunter2"

unhurried = settings(deadline=None, max_examples=30)
"""Each save waits for the disk three times."""


def state(epoch: int = 1, revision: int = 1, *, session: str = "shop", value: str = PLANTED) -> SessionState:
    """Return a state with something of everything."""
    cookie = {"name": "sid", "value": value, "domain": ".example.com", "path": "/", "expires": 4e9, "sameSite": "Lax"}
    databases: Any = {"name": "db", "stores": [{"records": [{"value": value}]}]}
    return SessionState(
        session=session,
        domains=("example.com",),
        account="me@example.com",
        epoch=epoch,
        revision=revision,
        logged_in_at=NOW,
        saved_at=NOW,
        cookies=(cookie,),
        origins=(SavedOrigin(origin="https://example.com", local_storage={"k": value}, indexed_db=(databases,)),),
    )


def file_of(vault: StateVault, session: str = "shop") -> Path:
    """Return the file that a vault with a directory keeps a session in."""
    path = vault.path_of(session)
    assert path is not None
    return path


_text = st.text(st.characters(), max_size=20)  # with lone surrogates, which JavaScript's strings may have


@unhurried
@given(value=_text, name=st.text(max_size=60), key=st.sampled_from([None, KEY]))
def test_vault_any_text_comes_back_as_it_was(value: str, name: str, key: bytes | None) -> None:
    """Before there is nothing; then, whatever the values and the session's name, another vault loads what was saved."""
    with tempfile.TemporaryDirectory() as folder:
        saved = state(session=name, value=value)
        one, other = (StateVault(Path(folder) / "deep" / "states", key=key) for _ in range(2))
        assert other.load(name) is None
        assert one.save(saved) is None
        assert other.load(name) == saved


def test_vault_file_is_private_from_its_creation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Directory and files are their owner's only, the new file before its first byte; nothing else is left there."""
    seen: list[int] = []
    fsync = os.fsync

    def look(descriptor: int) -> None:
        seen.extend(path.stat().st_mode & 0o777 for path in (tmp_path / "states").iterdir())
        fsync(descriptor)

    before = os.umask(0)
    try:
        vault = StateVault(tmp_path / "states", key=None)
        monkeypatch.setattr(os, "fsync", look)
        vault.save(state())
        vault.save(state(2))
    finally:
        os.umask(before)
    assert set(seen) == {0o600}
    assert (tmp_path / "states").stat().st_mode & 0o777 == 0o700
    path = file_of(vault)
    assert sorted(each.name for each in path.parent.iterdir()) == [f".{path.stem}.lock", path.name]


def test_vault_encrypted_file_shows_its_header_only(tmp_path: Path) -> None:
    """With a key, the file tells session, version and domains, and neither a value nor the account; no repr the key.

    Each save has a nonce of its own.
    """
    vault = StateVault(tmp_path, key=KEY)
    vault.save(state(3, 4))
    content = file_of(vault).read_text()
    header = json.loads(content)["header"]
    assert (header["session"], header["epoch"], header["revision"]) == ("shop", 3, 4)
    assert (header["domains"], header["saved_at"]) == (["example.com"], "2026-01-02T03:04:05.678901Z")
    assert not any(secret in content for secret in (PLANTED, "me@example.com", "sid"))
    assert repr(KEY) not in repr(vars(vault))
    vault.forget("shop")
    vault.save(state(3, 4))
    assert json.loads(file_of(vault).read_text())["body"][:16] != json.loads(content)["body"][:16]


def test_path_of_any_name_stays_inside(tmp_path: Path) -> None:
    """A name that looks like a path, is endless or empty gives a plain, visible, short file name."""
    vault = StateVault(tmp_path, key=None)
    for name in ("../../etc/passwd", "a" * 5000, "", ".", "..", "/", "\0", "käse", ".hidden", "-x", "\ud800"):
        path = file_of(vault, name)
        assert path.parent == tmp_path
        assert path.name.isascii()
        assert path.name[0].isalnum()
        assert len(path.name) < 70
    assert file_of(vault, "Shop user 1").name.startswith("shop-user-1-")


@given(st.lists(st.text(max_size=8) | st.sampled_from(["a", "A", "a.", "a-", "a b", "a/b"]), unique=True, max_size=20))
def test_path_of_two_names_are_two_files(names: list[str]) -> None:
    """No two names share a file, also where the file system takes A and a for the same."""
    vault = StateVault(Path("states"), key=None)
    assert len({file_of(vault, name).name.casefold() for name in names}) == len(names)


_versions = st.tuples(st.integers(0, 3), st.integers(0, 3))


@unhurried
@given(steps=st.lists(st.tuples(st.integers(0, 1), _versions), max_size=8), key=st.sampled_from([None, KEY]))
def test_save_any_order_through_two_vaults_keeps_the_newest(
    steps: list[tuple[int, tuple[int, int]]], key: bytes | None
) -> None:
    """A state is written exactly when it is newer than what is there; otherwise that is handed back; as in memory."""
    memory = StateVault(None, key=key)
    newest: SessionState | None = None
    with tempfile.TemporaryDirectory() as folder:
        vaults = [StateVault(Path(folder), key=key) for _ in range(2)]
        for number, (which, (epoch, revision)) in enumerate(steps):
            offered = state(epoch, revision, value=f"value {number}")
            is_newer = newest is None or (epoch, revision) > (newest.epoch, newest.revision)
            assert vaults[which].save(offered) == memory.save(offered) == (None if is_newer else newest)
            newest = offered if is_newer else newest
            assert vaults[which].load("shop") == vaults[1 - which].load("shop") == memory.load("shop") == newest


@pytest.mark.parametrize("in_memory", [False, True])
def test_save_from_threads_at_once_keeps_the_newest(tmp_path: Path, in_memory: bool) -> None:
    """Through one or several vaults, from many threads, the newest of all is there in the end."""
    shared = StateVault(None, key=None)
    versions = [(epoch, revision) for epoch in range(4) for revision in range(8)]
    random.shuffle(versions)

    def save(number: tuple[int, int]) -> tuple[int, int] | None:
        vault = shared if in_memory else StateVault(tmp_path, key=KEY)
        kept = vault.save(state(*number))
        assert kept is None or (kept.epoch, kept.revision) >= number
        return number if kept is None else None

    with ThreadPoolExecutor(8) as threads:
        written = [number for number in threads.map(save, versions) if number is not None]
    assert max(written) == (3, 7)
    vault = shared if in_memory else StateVault(tmp_path, key=KEY)
    assert vault.load("shop") == state(3, 7)


CHILD = """
import pathlib, random, sys
from browsercrawl.sessions.state import SessionState
from browsercrawl.sessions.vault import StateVault

vault = StateVault(pathlib.Path(sys.argv[1]), key=None)
numbers = list(range(int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
if sys.argv[5] == "shuffled":
    random.shuffle(numbers)
print("ready", flush=True)
sys.stdin.readline()
for number in numbers:
    cookie = {"name": "n", "value": str(number) * 40_000, "domain": "example.com", "path": "/"}
    state = SessionState(session="shop", domains=("example.com",), revision=number, cookies=(cookie,))
    kept = vault.save(state)
    now = vault.load("shop")
    assert now is not None and now.revision >= number and now.cookies[0]["value"] == str(now.revision) * 40_000
    assert kept is None or kept.revision >= number
    print(number, flush=True)
"""
"""Saves revisions from argument 2 to 3 in steps of 4; each has 40 kB or more, and tells its revision throughout."""


def child(directory: Path, first: int, last: int, *, step: int = 1, order: str = "ordered") -> subprocess.Popen[str]:
    """Start another process that saves, ready to begin at a line on its standard input."""
    command = [sys.executable, "-c", CHILD, *map(str, (directory, first, last, step, order))]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_save_from_two_processes_at_once_keeps_the_newest(tmp_path: Path) -> None:
    """Two processes that save in any order never see a state go back, nor one that is of both."""
    processes = [child(tmp_path, number, 60, step=2, order="shuffled") for number in (0, 1)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0, 0]
    found = StateVault(tmp_path, key=None).load("shop")
    assert found is not None
    assert found.revision == 59


def test_save_killed_at_any_moment_leaves_a_whole_state(tmp_path: Path) -> None:
    """After kill -9 the file is whole, not older than the last save that returned, and the next save works."""
    last = -1
    for _ in range(6):
        with child(tmp_path, last + 1, last + 10_000) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            for _ in range(random.randint(0, 12)):
                last = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            whole_lines = process.stdout.read().split("\n")[:-1]  # what it said before it was killed
        last = max([last, *map(int, whole_lines)])
        found = StateVault(tmp_path, key=None).load("shop")
        assert (-1 if found is None else found.revision) >= last
        if found is not None:
            assert found.cookies[0]["value"] == str(found.revision) * 40_000
            last = found.revision
    assert len(list(tmp_path.iterdir())) <= 3  # the state, its lock, and what the killed one had begun
    vault = StateVault(tmp_path, key=None)
    assert vault.save(state(1)) is None
    assert len(list(tmp_path.iterdir())) == 2


KILLED_AT = """
import os, pathlib, signal, sys
from browsercrawl.sessions.state import SessionState
from browsercrawl.sessions.vault import StateVault

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

vault = StateVault(pathlib.Path(sys.argv[1]), key=None)
step = sys.argv[2]
replace = pathlib.Path.replace
if step == "before fsync":
    os.fsync = die
else:
    pathlib.Path.replace = die if step == "before rename" else lambda one, other: die(replace(one, other))
vault.save(SessionState(session="shop", domains=("example.com",), epoch=2))
"""


@pytest.mark.parametrize(("step", "epoch"), [("before fsync", 1), ("before rename", 1), ("after rename", 2)])
def test_save_killed_at_each_step_leaves_old_or_new(tmp_path: Path, step: str, epoch: int) -> None:
    """Before the new file takes its name the old one is there, then the new one; what is left over goes next time."""
    vault = StateVault(tmp_path, key=None)
    vault.save(state(1))
    killed = subprocess.run([sys.executable, "-c", KILLED_AT, tmp_path, step], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    found = vault.load("shop")
    assert found is not None
    assert found.epoch == epoch
    assert vault.save(state(3)) is None
    assert len(list(tmp_path.iterdir())) == 2


def test_save_lock_held_elsewhere_waits_for_it(tmp_path: Path) -> None:
    """A save waits while another holds the session's lock; one of another session does not."""
    vault = StateVault(tmp_path, key=None)
    vault.save(state(1))
    lock = os.open(tmp_path / f".{file_of(vault).stem}.lock", os.O_RDWR)
    saving = threading.Thread(target=vault.save, args=(state(2),))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        saving.start()
        vault.save(state(session="other"))
        assert vault.load("shop") == state(1)
    finally:
        os.close(lock)
        saving.join(30)
    assert vault.load("shop") == state(2)


def test_save_lock_never_released_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait is bounded; the state stays as it was."""
    monkeypatch.setattr(vault_module, "LOCK_WAIT_S", 0.05)
    vault = StateVault(tmp_path, key=None)
    vault.save(state(1))
    lock = os.open(tmp_path / f".{file_of(vault).stem}.lock", os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StateUnusable, match=r"by another process for more than 0\.05 s"):
            vault.save(state(2))
        with pytest.raises(StateUnusable, match=r"by another process for more than 0\.05 s"):
            vault.forget("shop")
    finally:
        os.close(lock)
    assert vault.load("shop") == state(1)


@pytest.mark.parametrize("in_memory", [False, True])
def test_forget_makes_room_for_any_state(tmp_path: Path, in_memory: bool) -> None:
    """What is forgotten is gone, twice is no mistake, others stay, and an older state may then be saved."""
    vault = StateVault(None if in_memory else tmp_path / "states", key=None)
    assert (vault.path_of("shop") is None) is in_memory
    vault.forget("shop")
    vault.save(state(5))
    vault.save(state(session="other"))
    vault.forget("shop")
    vault.forget("shop")
    assert vault.load("shop") is None
    assert vault.load("other") is not None
    assert vault.save(state(1)) is None


def _edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))

    return edit


_BENT = "is damaged: its SHA-256 is another|is damaged: it does not decrypt"
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "is damaged: it is no JSON object"),
    "truncated": (lambda path: os.truncate(path, 300), "is damaged: it is no JSON object"),
    "a list": (lambda path: path.write_bytes(b"[1]"), "is damaged: it is no JSON object"),
    "nested list": (lambda path: path.write_bytes(b"[" * 1_000_000), "is damaged: it is no JSON object"),
    "another's": (lambda path: path.write_bytes(b'{"cookies": []}'), "is not a file of this program"),
    "no header": (_edit(lambda document: document.pop("header")), "is damaged: its header"),
    "odd header": (_edit(lambda document: document["header"].update(epoch=-1)), "is damaged: its header"),
    "old version": (_edit(lambda document: document.update(version=0)), "is damaged: its header"),
    "new version": (_edit(lambda document: document.update(version=2)), "newer version.*update"),
    "no body": (_edit(lambda document: document.pop("body")), _BENT),
    "short body": (_edit(lambda document: document.update(body="AAAA")), _BENT),
    "odd body": (_edit(lambda document: document.update(body="ä")), _BENT),
    "epoch": (_edit(lambda document: document["header"].update(epoch=99)), _BENT),
    "session": (_edit(lambda document: document["header"].update(session="other")), _BENT),
    "readable": (lambda path: path.chmod(0o640), "type: chmod 600 "),
    "writable": (lambda path: path.chmod(0o602), "type: chmod 600 "),
    "huge": (lambda path: os.truncate(path, 64 * 1024 * 1024 + 1), r"67,108,865 bytes \(limit 67,108,864\)"),
}


@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize("damage", DAMAGES)
def test_load_unusable_file_is_told_and_kept(tmp_path: Path, damage: str, key: bytes | None) -> None:
    """Whatever is wrong: it is told with the file and what to do, nothing of the file is repeated, nor changed."""
    vault = StateVault(tmp_path, key=key)
    vault.save(state())
    path = file_of(vault)
    do, message = DAMAGES[damage]
    do(path)
    content, mode = path.read_bytes(), path.stat().st_mode
    attempts: list[Callable[[], object]] = [lambda: vault.load("shop"), lambda: vault.save(state(9))]
    for attempt in attempts:
        with pytest.raises(StateUnusable, match=message) as caught:
            attempt()
        assert str(path) in str(caught.value)
        assert PLANTED not in "".join(traceback.format_exception(caught.value))
    assert (path.read_bytes(), path.stat().st_mode) == (content, mode)
    vault.forget("shop")
    assert vault.save(state(1)) is None


def test_load_any_flipped_bit_is_noticed_or_harmless(tmp_path: Path) -> None:
    """No changed byte of an encrypted or hashed file gives another state than the one saved."""
    for key in (None, KEY):
        vault = StateVault(tmp_path, key=key)
        vault.forget("shop")
        vault.save(state())
        path = file_of(vault)
        whole = path.read_bytes()
        for place in range(0, len(whole), 3):
            bent = bytearray(whole)
            bent[place] ^= 1 << (place % 8)
            path.write_bytes(bent)
            with suppress(StateUnusable):
                assert vault.load("shop") == state()  # white space and spare bits of base64 may change unnoticed
        path.write_bytes(whole)


def test_load_wrong_key_is_told_by_its_id(tmp_path: Path) -> None:
    """Without the key, or with another, the message says so; neither key is in it, and the file stays."""
    vault = StateVault(tmp_path, key=KEY)
    vault.save(state())
    content = file_of(vault).read_bytes()
    for key, message in ((None, "is encrypted, and no key is given"), (OTHER_KEY, "with the key of id [0-9a-f]{16},")):
        with pytest.raises(StateUnusable, match=message):
            StateVault(tmp_path, key=key).load("shop")
        with pytest.raises(StateUnusable, match=message) as caught:
            StateVault(tmp_path, key=key).save(state(9))
        assert KEY.hex() not in str(caught.value)
    assert file_of(vault).read_bytes() == content
    assert vault.load("shop") == state()


@pytest.mark.parametrize("key", [None, KEY])
def test_load_file_of_another_session_is_refused(tmp_path: Path, key: bytes | None) -> None:
    """A file copied over another session's is not taken for it: its login is somebody else's."""
    vault = StateVault(tmp_path, key=key)
    vault.save(state())
    file_of(vault).rename(file_of(vault, "other"))
    with pytest.raises(StateUnusable, match="is of session 'shop', not 'other'"):
        vault.load("other")


def test_load_plain_file_with_a_key_is_encrypted_at_the_next_save(tmp_path: Path) -> None:
    """Who begins to use a key keeps the sessions; the next save hides them."""
    StateVault(tmp_path, key=None).save(state(1))
    vault = StateVault(tmp_path, key=KEY)
    assert vault.load("shop") == state(1)
    assert vault.save(state(2)) is None
    assert PLANTED not in file_of(vault).read_text()
    assert vault.load("shop") == state(2)


@pytest.mark.parametrize("kind", ["directory", "fifo", "no access"])
def test_load_no_plain_file_is_told_at_once(tmp_path: Path, kind: str) -> None:
    """A directory, a FIFO or a path through a file in place of a state neither hangs nor breaks the caller."""
    vault = StateVault(tmp_path, key=None)
    if kind == "directory":
        file_of(vault).mkdir()
    elif kind == "fifo":
        os.mkfifo(file_of(vault), 0o600)
    else:
        (tmp_path / "file").touch()
        vault = StateVault(tmp_path / "file", key=None)
    with pytest.raises(StateUnusable, match=r"is no file|cannot be read: Not a directory"):
        vault.load("shop")


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_save_full_disk_keeps_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """What cannot be written raises with the file and the reason; the old state stays, and no half file."""
    vault = StateVault(tmp_path, key=None)
    vault.save(state(1))
    before = sorted(tmp_path.iterdir())

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[call], refuse)
        with pytest.raises(OutputFailed, match="cannot be written: No space left on device"):
            vault.save(state(2))
    assert sorted(tmp_path.iterdir()) == before
    assert vault.load("shop") == state(1)


def test_save_impossible_directory_raises_typed_error(tmp_path: Path) -> None:
    """A directory that cannot be made is told with the file's name."""
    (tmp_path / "file").touch()
    with pytest.raises(OutputFailed, match="cannot be written: "):
        StateVault(tmp_path / "file" / "states", key=None).save(state())


def test_save_too_large_is_refused_before_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written that could not be read again."""
    monkeypatch.setattr(vault_module, "FILE_BYTES_MAX", 5000)
    vault = StateVault(tmp_path, key=None)
    vault.save(state(1))
    with pytest.raises(StateUnusable, match=r"session 'shop' has .* bytes \(limit 5,000\)"):
        vault.save(state(2, value="x" * 5000))
    assert vault.load("shop") == state(1)


def test_vault_key_of_another_length_is_refused(tmp_path: Path) -> None:
    """Bytes that are no key are refused when the vault is made."""
    with pytest.raises(ConfigError, match="must have 32 bytes, not 16"):
        StateVault(tmp_path, key=bytes(16))


def test_vault_without_the_extra_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key without the library that encrypts is refused by name of the extra; without a key nothing is needed."""
    for name in ("cryptography", "cryptography.exceptions"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=r"pip install 'browsercrawl\[sessions\]'"):
        StateVault(tmp_path, key=KEY)
    assert StateVault(tmp_path, key=None).save(state()) is None
