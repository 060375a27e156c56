"""Reads the small text files in which the kernel tells how things stand. Nothing here raises."""

import os

_BYTES_MAX = 65_536
"""Of one file. What is wanted of `/proc/stat`, the longest, stands at its beginning."""
_DIGITS_MAX = 20
"""Of a number: 2 to the 64th has so many."""


def read_text(path: str) -> str:
    """Return what a file says; nothing if it is missing or may not be read. Takes some 10 microseconds."""
    # a third of what Path.read_text takes, and a reading opens a dozen files
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError):
        return ""
    try:
        return os.read(descriptor, _BYTES_MAX).decode("ascii", errors="replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def number(text: str) -> int | None:
    """Return a number that is not negative; None for anything else, such as `max` and `-1`, which mean no limit."""
    text = text.strip()
    return int(text) if len(text) <= _DIGITS_MAX and text.isascii() and text.isdecimal() else None


def read_number(path: str) -> int | None:
    """Return the number that a file holds; None for anything else."""
    return number(read_text(path))


def field(text: str, name: str) -> int | None:
    """Return the number that follows a name at the beginning of a line; None if there is none.

    Example:
        >>> field("MemTotal:       48 kB", "MemTotal:"), field("MemTotal: x", "MemTotal:")
        (48, None)
    """
    _, found, after = f"\n{text}".partition(f"\n{name} ")
    words = after.partition("\n")[0].split() if found else []
    return number(words[0]) if words else None


class Growth:
    """How fast a counter grows, from one look to the next."""

    _SPAN_MIN = 0.05
    """Looks closer together than this, in seconds, say more about the counter's grain than about its growth."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None
        self._rate: float | None = None

    def rate(self, at: float, total: float) -> float | None:
        """Return the growth since the last look per unit of `at`.

        None at the first look, and where a counter began anew. A look too soon after the last returns what that did.
        """
        if self._last is not None:
            span, grown = at - self._last[0], total - self._last[1]
            if 0 <= span < self._SPAN_MIN and grown >= 0:
                return self._rate
            self._rate = grown / span if span > 0 and grown >= 0 else None
        self._last = at, total
        return self._rate
