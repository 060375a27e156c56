"""Where a browser is looked for, and in which order."""

import json
from pathlib import Path

import pytest

from browsercrawl.browser.discovery import driver_folder, find_browser
from browsercrawl.config import BrowserConfig
from browsercrawl.errors import BrowserNotFound


def _executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Playwright's cache and a folder in PATH, both empty."""
    cache, system = tmp_path / "cache", tmp_path / "bin"
    system.mkdir()
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(cache))
    monkeypatch.setenv("PATH", str(system))
    return cache, system


def _build(cache: Path, name: str) -> Path:
    builds = json.loads((driver_folder() / "package" / "browsers.json").read_text(encoding="utf-8"))["browsers"]
    wanted = "chromium-headless-shell" if "shell" in name else "chromium"
    revision = next(build["revision"] for build in builds if build["name"] == wanted)
    folder = cache / f"{wanted.replace('-', '_')}-{revision}"
    path = _executable(folder / "chrome-linux64" / name)
    (folder / "INSTALLATION_COMPLETE").touch()
    return path


def test_find_browser_nothing_there_says_what_to_type(places: tuple[Path, Path]) -> None:
    """The message names the commands that help."""
    with pytest.raises(BrowserNotFound) as caught:
        find_browser(BrowserConfig())
    assert "./scripts/crawl" in caught.value.message
    assert "python -m playwright install chromium-headless-shell" in caught.value.message


def test_find_browser_prefers_configured_then_playwright_then_system(places: tuple[Path, Path], tmp_path: Path) -> None:
    """The order: named, Playwright's own build, the system's; the shell before the full browser in each."""
    cache, system = places
    full = _executable(system / "chromium")
    assert find_browser(BrowserConfig()).path == full
    shell = _executable(system / "chromium-headless-shell")
    assert find_browser(BrowserConfig()).path == shell
    built_full = _build(cache, "chrome")
    assert find_browser(BrowserConfig()).path == built_full
    built = _build(cache, "chrome-headless-shell")
    found = find_browser(BrowserConfig())
    assert (found.path, found.kind, found.origin) == (built, "shell", "playwright")
    named = _executable(tmp_path / "mine")
    assert find_browser(BrowserConfig(executable=named)).path == named


def test_find_browser_full_passes_over_shells(places: tuple[Path, Path]) -> None:
    """`binary="full"` never gives a headless shell."""
    cache, system = places
    _build(cache, "chrome-headless-shell")
    _executable(system / "chromium-headless-shell")
    with pytest.raises(BrowserNotFound, match="full Chromium"):
        find_browser(BrowserConfig(binary="full"))
    full = _executable(system / "google-chrome-stable")
    assert find_browser(BrowserConfig(binary="full")).path == full


def test_find_browser_build_half_installed_is_passed_over(places: tuple[Path, Path]) -> None:
    """A build whose installation did not end is none."""
    cache, _ = places
    built = _build(cache, "chrome-headless-shell")
    (built.parents[1] / "INSTALLATION_COMPLETE").unlink()
    with pytest.raises(BrowserNotFound):
        find_browser(BrowserConfig())


def test_find_browser_named_file_without_permission_is_refused(tmp_path: Path) -> None:
    """A named file must be executable; no other is taken in its place."""
    path = tmp_path / "chromium"
    path.write_text("", encoding="utf-8")
    with pytest.raises(BrowserNotFound, match="not executable"):
        find_browser(BrowserConfig(executable=path))
