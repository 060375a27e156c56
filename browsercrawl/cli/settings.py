"""What a command takes from its surroundings: the Playwright file."""

from pathlib import Path
from typing import Any

from browsercrawl.config import BrowserConfig
from browsercrawl.config.playwright_file import find_playwright_file, load_playwright_file
from browsercrawl.errors import ConfigError


def browser_fields(path: Path | None) -> dict[str, Any]:
    """Return the fields of `BrowserConfig` that a `playwright.config.json` sets.

    Args:
        path: of the file; None: the nearest one in the working directory or above it, if there is one.

    Raises:
        ConfigError: it cannot be read, or a key or value in it is wrong.
    """
    path = path or find_playwright_file(Path.cwd())
    if path is None:
        return {}
    fields = load_playwright_file(path).browser_fields()
    try:
        BrowserConfig(**fields)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}") from error
    return fields
