"""Finding a Chromium on this machine. Looks, never installs, and starts nothing."""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import playwright

from browsercrawl.config import BrowserConfig
from browsercrawl.errors import BrowserNotFound

Kind = Literal["shell", "full"]
Origin = Literal["configured", "playwright", "system"]

_SYSTEM_SHELLS = ("chromium-headless-shell", "chrome-headless-shell")
_SYSTEM_FULL = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_MAC_FULL = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
_BUILD_NAMES: dict[Kind, tuple[str, ...]] = {
    "shell": ("chrome-headless-shell", "headless_shell"),
    "full": ("chrome", "Google Chrome for Testing", "Chromium"),
}
_BUILD_FOLDERS: dict[Kind, str] = {"shell": "chromium_headless_shell", "full": "chromium"}
_BUILD_DEPTH_MAX = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserBinary:
    """A Chromium that can be started.

    Attributes:
        path: of the executable.
        kind: `shell`, the headless shell, or `full`, Chromium or Chrome.
        origin: where it was found.
    """

    path: Path
    kind: Kind
    origin: Origin


def find_browser(config: BrowserConfig) -> BrowserBinary:
    """Find the browser to use: the configured one, else Playwright's own build, else one of the system.

    Args:
        config: `executable` names one; `binary="full"` passes over headless shells.

    Raises:
        BrowserNotFound: the named one cannot be started, or none was found; the message says what to type.
    """
    if config.executable is not None:
        path = config.executable.expanduser()
        if not _is_executable(path):
            what = "is not executable" if path.is_file() else "is not a file"
            raise BrowserNotFound(f"browser.executable names {path}, which {what}; name the Chromium binary itself")
        kind: Kind = "shell" if "headless" in path.name.replace("_", "-") else "full"
        return BrowserBinary(path=path, kind=kind, origin="configured")
    found = next(_candidates(("full",) if config.binary == "full" else ("shell", "full")), None)
    if found is None:
        raise BrowserNotFound(_advice(config.binary))
    return found


def _candidates(kinds: tuple[Kind, ...]) -> Iterator[BrowserBinary]:
    for kind in kinds:
        for path in _playwright_builds(kind):
            yield BrowserBinary(path=path, kind=kind, origin="playwright")
    for kind in kinds:
        names = _SYSTEM_SHELLS if kind == "shell" else _SYSTEM_FULL
        places = [shutil.which(name) for name in names]
        if kind == "full" and sys.platform == "darwin":
            places += [place for place in _MAC_FULL if _is_executable(Path(place))]
        for place in places:
            if place is not None:
                yield BrowserBinary(path=Path(place), kind=kind, origin="system")


def _is_executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _playwright_builds(kind: Kind) -> Iterator[Path]:
    """Yield the build that the installed Playwright was made for, if it is in its cache."""
    revision = _build_revision("chromium-headless-shell" if kind == "shell" else "chromium")
    if revision is None:
        return
    folder = _cache_folder() / f"{_BUILD_FOLDERS[kind]}-{revision}"
    if not (folder / "INSTALLATION_COMPLETE").is_file():
        return
    for parent, folders, files in os.walk(folder):
        if len(Path(parent).relative_to(folder).parts) >= _BUILD_DEPTH_MAX:
            folders.clear()
        for name in _BUILD_NAMES[kind]:
            if name in files and _is_executable(Path(parent, name)):
                yield Path(parent, name)


def _build_revision(name: str) -> str | None:
    """Read the revision of a build from the list that Playwright's driver ships."""
    builds = json.loads((driver_folder() / "package" / "browsers.json").read_text(encoding="utf-8"))
    return next((build["revision"] for build in builds["browsers"] if build["name"] == name), None)


def driver_folder() -> Path:
    """Return the folder of Playwright's driver."""
    return Path(playwright.__file__).parent / "driver"


def _cache_folder() -> Path:
    """Return where Playwright keeps its builds, by its own rules."""
    named = os.environ.get("PLAYWRIGHT_BROWSERS_PATH", "")
    if named == "0":
        return driver_folder() / "package" / ".local-browsers"
    if named:
        return Path(named)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "ms-playwright"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ms-playwright"


def _advice(binary: Kind) -> str:
    package = "chromium-headless-shell" if binary == "shell" else "chromium"
    lines = [
        f"no {'Chromium' if binary == 'shell' else 'full Chromium'} found on this machine; do one of these:",
        "  ./scripts/crawl                          (in a clone of the repository; installs one)",
        f"  python -m playwright install {package}",
    ]
    if _is_debian():
        lines.append(f"  apt-get install {package}")
    return "\n".join([*lines, "or name one: browser.executable, `executablePath` in playwright.config.json"])


def _is_debian() -> bool:
    try:
        release = Path("/etc/os-release").read_text(encoding="utf-8")
    except OSError:
        return False
    return re.search(r"^ID=\"?debian\"?$", release, re.MULTILINE) is not None
