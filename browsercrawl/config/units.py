"""Durations and sizes as people write them: `250ms`, `30s`, `5m`, `512MB`, `512MiB`."""

import re
from collections.abc import Mapping

from browsercrawl.errors import ConfigError

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)\Z")


def _quantity(text: str, units: Mapping[str, float], example: str) -> float:
    match = _QUANTITY.match(text.strip())
    number, unit = match.groups() if match else ("", "")
    if number and not unit and float(number) == 0:
        return 0.0
    if unit not in units:
        raise ConfigError(f"{text!r}: write a number and one of {', '.join(units)}, such as {example}")
    return float(number) * units[unit]


def duration_s(text: str) -> float:
    """Read a duration.

    Args:
        text: a number with `ms`, `s`, `m` or `h`; a bare `0` needs no unit.

    Returns:
        Seconds.

    Raises:
        ConfigError: no unit, an unknown one, or no number.

    Example:
        >>> duration_s("250ms"), duration_s("5m"), duration_s("0")
        (0.25, 300.0, 0.0)
    """
    return _quantity(text, _SECONDS, "30s")


def size_bytes(text: str) -> int:
    """Read a size.

    Args:
        text: a number with `B`, `KB`, `MB`, `GB` (powers of 1000) or `KiB`, `MiB`, `GiB` (of 1024); a bare `0` is 0.

    Returns:
        Bytes.

    Raises:
        ConfigError: no unit, an unknown one, or no number.

    Example:
        >>> size_bytes("512MB"), size_bytes("1GiB")
        (512000000, 1073741824)
    """
    return int(_quantity(text, _BYTES, "512MB"))
