"""Which process a page lives in, told by the CPU time of its main thread."""

import pytest

from browsercrawl.browser.renderers import _error, _Used

READINGS = [1.0, 1.0002, 1.0005]


def _looks(*main_s: float, more_s: float = 0.0) -> list[_Used | None]:
    return [_Used(each * 2 + number * more_s, each) for number, each in enumerate(main_s)]


def test_error_of_the_pages_own_process_is_the_least() -> None:
    """Its main thread has used what the page said; another's, with work of its own, has not."""
    own = _error(_looks(5.0, 5.0001, 5.0003, 5.0006, more_s=0.001), READINGS)
    other = _error(_looks(5.0, 5.002, 5.003, 5.005), READINGS)
    assert own == pytest.approx(0, abs=1e-6)
    assert other is not None
    assert other > 0.001


def test_error_of_a_process_that_rests_is_none() -> None:
    """A process that has used less than the page cannot be the page's."""
    assert _error(_looks(5.0, 5.0, 5.0, 5.0), READINGS) is None


def test_error_of_a_process_that_ended_is_none() -> None:
    """One that is gone in between is not the page's: that has answered."""
    assert _error([*_looks(5.0, 5.0001, 5.0003), None], READINGS) is None


def test_error_of_a_process_far_off_is_none() -> None:
    """Rather no process than a wrong one."""
    assert _error(_looks(5.0, 5.1, 5.2, 5.3), READINGS) is None
