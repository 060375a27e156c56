"""From words to exit codes."""

import subprocess
import sys
from pathlib import Path

import pytest

from browsercrawl.cli import main
from browsercrawl.cli.entry import COMMANDS, exit_code_of
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
        (["crawl", "https://a.example/", "--max-time", "3"], "--max-time: '3': write a number and one of ms, s, m, h"),
        (["crawl", "https://a.example/", "--max-failures", "many"], "write a whole number such as 50, or a share such"),
        (["crawl", "https://a.example/", "--max-disk", "0"], "--max-disk: must be at least 1 B, not 0 B"),
        (["crawl", "https://a.example/", "--save", "pdfs"], "--save: 'pdfs' is not one of html, text, markdown"),
        (["crawl", "--sitemap", "here"], "--sitemap: not a URL: 'here'"),
        (["crawl", "--sitemap", "robots"], "robots stands for the robots.txt of the hosts of urls: give some"),
        (["crawl", "https://a.example/", "--retries", "101", "--delay", "25h"], "--delay: must be at most 86,400 s"),
        (["run"], "give one job file: browsercrawl run JOB.yaml"),
        (["run", "missing.yaml"], "missing.yaml: No such file or directory"),
        (["resume"], "browsercrawl resume RUN_DIR"),
        (["retry-failed"], "browsercrawl retry-failed RUN_DIR"),
        (["status", "missing"], "run directory missing does not exist"),
        (["export", "missing"], "run directory missing does not exist"),
        (["init", "a", "b"], "writes one file, not 2"),
        (["schema", "now"], "takes options only, not 'now'"),
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


@pytest.mark.parametrize("argv", [["--help"], ["demo", "x", "--help"], *([name, "--help"] for name in COMMANDS)])
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
    """Help is there at once: neither Playwright nor rich, nor what reads job files, is imported for it."""
    code = (
        "import sys; from browsercrawl.cli import main; main(sys.argv[1:]);"
        "sys.exit(bool({'playwright', 'rich', 'structlog', 'yaml', 'httpx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, *argv], stdout=subprocess.DEVNULL, timeout=30, check=False)
    assert done.returncode == 0
