"""Text fit for a terminal: what a page supplies must not move the cursor, change colours or hide anything."""

import json
from pathlib import Path

from browsercrawl.redaction import UNSAFE, neutralise


def printable(text: str) -> str:
    """Return text with every character a terminal would act upon written as an escape; line breaks stay."""
    return "\n".join(neutralise(line) for line in text.split("\n"))


def shortened(text: str, width: int) -> str:
    """Return one printable line of at most `width` characters, cut in the middle: both ends of a URL tell something.

    Example:
        >>> shortened("https://shop.example/products/1234", 20)
        'https://sh…ucts/1234'
    """
    text = neutralise(text)
    if len(text) <= width:
        return text
    tail = max(0, (width - 1) // 2)
    return f"{text[: max(0, width - 1 - tail)]}…{text[len(text) - tail :]}"[:width]


def harmless_json(line: str) -> str:
    """Return a JSON text with raw control characters written as escapes: the same value, safe on a terminal."""
    return UNSAFE.sub(lambda match: match[0] if match[0] == "\n" else json.dumps(match[0])[1:-1], line)


def count_of(number: int, noun: str) -> str:
    """Return a number and its noun, in the plural where that is right: `1 page`, `1,204 pages`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def shown_duration(seconds: float) -> str:
    """Return a duration as people say it.

    Example:
        >>> shown_duration(0.4), shown_duration(75), shown_duration(7300)
        ('0.4 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def shown_bytes(number: int) -> str:
    """Return a size in units of 1000.

    Example:
        >>> shown_bytes(512), shown_bytes(1_840_000_000)
        ('512 B', '1.8 GB')
    """
    value, unit = float(number), "B"
    for larger in ("KB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit in {"B", "KB", "MB"} else f"{value:.1f} {unit}"


def near(path: Path) -> Path:
    """Return a path as seen from the working directory, where it lies below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
