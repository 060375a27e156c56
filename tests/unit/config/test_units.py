"""Durations and sizes as people write them."""

import pytest

from browsercrawl.config import duration_s, size_bytes
from browsercrawl.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("30s", 30), ("5m", 300), ("1.5h", 5400), ("0", 0), ("0.0", 0), ("0s", 0), (" 2 s ", 2)],
)
def test_duration_with_unit_is_read(text: str, seconds: float) -> None:
    """Milliseconds to hours; a bare 0 needs no unit."""
    assert duration_s(text) == seconds


@pytest.mark.parametrize(
    ("text", "number"),
    [("512MB", 512_000_000), ("512MiB", 2**29), ("1GiB", 2**30), ("2KB", 2000), ("7B", 7), ("0", 0), ("1.5KiB", 1536)],
)
def test_size_with_unit_is_read(text: str, number: int) -> None:
    """Powers of 1000 and of 1024 are told apart."""
    assert size_bytes(text) == number


@pytest.mark.parametrize(
    "text", ["", "5", "1.5", "s", "-1s", "1e3s", "5 sec", "5S", "1,5s", "nan", "inf", "5mb", "1s2"]
)
def test_quantity_without_known_unit_is_refused(text: str) -> None:
    """A bare number other than 0, an unknown unit or no number is an error that shows an example."""
    for read, example in ((duration_s, "30s"), (size_bytes, "512MB")):
        with pytest.raises(ConfigError, match=example):
            read(text)
