"""From words to exit codes."""

import subprocess
import sys
from pathlib import Path

import pytest

from browsercrawl.cli import main
from browsercrawl.cli.entry import exit_code_of
from browsercrawl.errors import BrowserNotFound, ConfigError, LaunchFailed, NetworkFailed


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "Commands"),
        (["craw"], "unknown command 'craw' (did you mean crawl?)"),
        (["https://example.com/"], "type: browsercrawl crawl https://example.com/"),
        (["crawl"], "nothing to crawl: give a URL or --urls-file FILE"),
        (["crawl", "example.com"], "did you mean https://example.com ?"),
        (["crawl", "file:///etc/passwd"], "nothing else can be crawled"),
        (["crawl", "chrome://version"], "nothing else can be crawled"),
        (["crawl", "https://a.example/", "--timeout", "0"], "--timeout: must be more than 0 s, not 0 s"),
        (["crawl", "https://a.example/", "--timeot=1s"], "did you mean --timeout?"),
        (["crawl", "--urls-file", "missing.txt"], "--urls-file missing.txt: No such file or directory"),
        (["crawl", "https://a.example/", "--playwright-config", "no.json"], "no.json: cannot be read"),
        (["demo", "--products", "100001"], "not between 1 and 100000"),
        (["doctor", "now"], "takes options only, not 'now'"),
        (["crawl", "\x1b[2Jx"], "\\x1b[2Jx"),
    ],
)
def test_main_bad_usage_exits_2_with_the_reason(
    argv: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing on standard output, one clear message without a traceback, nothing started, nothing made."""
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert "Traceback" not in err
    assert "\x1b" not in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("argv", [["--help"], ["crawl", "--help"], ["demo", "x", "--help"], ["doctor", "--help"]])
def test_main_help_exits_0(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Help is data: on standard output, whatever else stands on the line."""
    assert main(argv) == 0
    assert "Examples" in capsys.readouterr().out


def test_main_version_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The version can be read by a script."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("browsercrawl 0.")


def test_exit_code_of_each_kind_of_error_is_the_documented_one() -> None:
    """2 the user's, 3 no usable browser, 1 anything else."""
    assert exit_code_of(ConfigError("x")) == 2
    assert exit_code_of(BrowserNotFound("x")) == exit_code_of(LaunchFailed("x")) == 3
    assert exit_code_of(NetworkFailed("x", code="ERR")) == 1


@pytest.mark.parametrize("argv", [["--help"], ["crawl", "--help"]])
def test_help_starts_without_the_browser_and_without_rich(argv: list[str]) -> None:
    """Help is there at once: neither Playwright nor rich is imported for it."""
    code = (
        "import sys; from browsercrawl.cli import main; main(sys.argv[1:]);"
        "sys.exit(bool({'playwright', 'rich', 'structlog'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, *argv], stdout=subprocess.DEVNULL, timeout=30, check=False)
    assert done.returncode == 0
