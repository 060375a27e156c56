"""What a command takes from its surroundings: the Playwright file, and a place for the run."""

import re
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from browsercrawl.config.playwright_file import find_playwright_file, load_playwright_file


def browser_fields(path: Path | None) -> dict[str, Any]:
    """Return the fields of `BrowserConfig` that a `playwright.config.json` sets.

    Args:
        path: of the file; None: the nearest one in the working directory or above it, if there is one.

    Raises:
        ConfigError: it cannot be read, or a key or value in it is wrong.
    """
    path = path or find_playwright_file(Path.cwd())
    return load_playwright_file(path).browser_fields() if path else {}


def new_run_directory(name: str) -> Path:
    """Return a path below `runs/` that does not exist yet, named after the time and what is crawled."""
    stem = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{re.sub('[^a-z0-9.-]+', '-', name).strip('-')}"
    names = (stem if number == 1 else f"{stem}-{number}" for number in count(1))
    return next(path for name in names if not (path := Path("runs") / name).exists())
