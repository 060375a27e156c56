"""Text fit for a terminal."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from browsercrawl.cli.terminal import harmless_json, printable, shortened, shown_bytes, shown_duration

_STEERING = "\x1b\x07\x08\x7f\x9b\u202e\u2066\u2028"


def test_printable_controls_are_shown_and_line_breaks_kept() -> None:
    """Escape sequences, C1 controls and direction marks reach the terminal as visible text."""
    shown = printable(f"a{_STEERING}\nb")
    assert not set(shown) & set(_STEERING)
    assert shown.startswith("a\\x1b")
    assert shown.endswith("\nb")


@given(text=st.text(max_size=200), width=st.integers(min_value=1, max_value=100))
def test_shortened_any_text_is_one_harmless_line_of_that_width(text: str, width: int) -> None:
    """Whatever a page supplies, the line is no longer than asked and holds nothing that steers."""
    line = shortened(text, width)
    assert len(line) <= width
    assert not set(line) & set(f"{_STEERING}\n\r")


@given(value=st.text())
def test_harmless_json_is_the_same_value(value: str) -> None:
    """Escaping changes the spelling only, and leaves no raw control character."""
    line = harmless_json(json.dumps({"title": value}, ensure_ascii=False))
    assert json.loads(line) == {"title": value}
    assert not set(line) & set(_STEERING)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.0, "0.0 s"), (59.4, "59 s"), (59.9, "1 min 0 s"), (60, "1 min 0 s"), (3600, "1 h 0 min")]
)
def test_shown_duration_at_a_boundary_reads_right(seconds: float, shown: str) -> None:
    """No `60 s`, no `1 min 60 s`."""
    assert shown_duration(seconds) == shown


def test_shown_bytes_at_a_boundary_reads_right() -> None:
    """Units change at powers of 1000."""
    assert [shown_bytes(number) for number in (0, 999, 1000, 999_600, 2 * 10**12)] == [
        "0 B", "999 B", "1 KB", "1000 KB", "2.0 TB",
    ]  # fmt: skip
