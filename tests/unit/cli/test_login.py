"""`browsercrawl login`: what is found out before a browser is started."""

from collections.abc import Callable
from pathlib import Path

import pytest

from browsercrawl.cli import main
from browsercrawl.config.job import JobFile

MakeRun = Callable[..., Path]

JOB = """
seeds: {file: urls.txt}
sessions:
  profiles:
    alice: {login: {state: alice.json, password: "${PASSWORD}"}, domains: [a.test]}
    bob: {login: {function: "login_code:log_in"}, account: bob}
    guest: {locale: de-DE}
"""


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Run the command; return its exit code and what it says. Nothing may be made."""
    monkeypatch.chdir(tmp_path)
    for name in ("PASSWORD", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "shop.yaml").write_text(JOB)
    (tmp_path / "login_code.py").write_text("async def log_in(page, session): ...\n")

    def run(*argv: str) -> tuple[int, str]:
        code = main(["login", *argv])
        out, err = capsys.readouterr()
        assert out == ""
        assert not (tmp_path / "sessions").exists()
        return code, err

    return run


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ([], "give a job and one of its sessions: browsercrawl login JOB.yaml SESSION"),
        (["shop.yaml"], "give a job and one of its sessions"),
        (["none.yaml", "alice"], "none.yaml: No such file or directory"),
        ([".", "alice"], ". is neither a job file nor a run directory: it holds no run.sqlite"),
        (["shop.yaml", "alise"], "shop.yaml has no session 'alise' (did you mean alice?); there are alice, bob, guest"),
        (["shop.yaml", "guest"], "session 'guest' has no login; say under sessions.profiles.guest.login how"),
        (["shop.yaml", "alice"], "sessions.profiles.alice.login.password: the environment has no variable PASSWORD"),
        (
            ["shop.yaml", "bob", "--url", "http://a.test/"],
            "--url and --timeout are for logging in by hand: give",
        ),
        (["shop.yaml", "bob", "--headed", "--timeout", "2h"], "'2h' is not between 1s and 1h"),
        (["shop.yaml", "bob", "--headed", "--url", "a"], "not a URL: 'a'"),
    ],
)
def test_login_bad_usage_exits_2_and_says_what_to_type(
    refused: Callable[..., tuple[int, str]], argv: list[str], told: str
) -> None:
    """One clear message, nothing started, nothing made."""
    code, err = refused(*argv)
    assert code == 2
    assert told in err
    assert "Traceback" not in err


def test_login_headed_without_a_display_exits_3(refused: Callable[..., tuple[int, str]]) -> None:
    """It is said before a browser fails of it, with what else there is."""
    code, err = refused("shop.yaml", "bob", "--headed")
    assert code == 3
    assert "there is no display to show a window on" in err


def test_login_headed_without_any_address_asks_for_one(
    refused: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login by a function does not tell where it goes."""
    monkeypatch.setenv("DISPLAY", ":0")
    code, err = refused("shop.yaml", "bob", "--headed")
    assert code == 2
    assert "say what the window shows first: --url URL" in err


def test_login_run_directory_gives_its_job(
    refused: Callable[..., tuple[int, str]], make_run: MakeRun, tmp_path: Path
) -> None:
    """A run that waits for a session is enough to log it in: its job is there."""
    job = JobFile.read(JOB, name="shop.yaml", base=tmp_path).stored()
    run = make_run(notes={"job": job})
    code, err = refused(str(run), "alise")
    assert code == 2
    assert f"{run} has no session 'alise' (did you mean alice?)" in err
    code, err = refused(str(run), "alice")
    assert f"{run / 'job.yaml'}, sessions.profiles.alice.login.password: the environment has no variable" in err
