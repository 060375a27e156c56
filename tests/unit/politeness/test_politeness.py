"""How long hosts and requests are left alone."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from browsercrawl.config import HostConfig, RetryConfig
from browsercrawl.politeness import HostRules, host_deferral_s, retry_after_s, retry_delay_s, slot_rules

NOW = datetime(1994, 11, 6, 8, 49, 7, tzinfo=UTC)


class _Always(Random):
    """Draws the same number each time."""

    def __init__(self, drawn: float) -> None:
        super().__init__(0)
        self._drawn = drawn

    def random(self) -> float:
        return self._drawn


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("-5", 0.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 30.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 30.0),
        ("Sun Nov  6 08:49:37 1994", 30.0),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("1.5", None),
        ("12 monkeys", None),
        ("\u0661\u0662", None),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
    ],
)
def test_retry_after_of_each_form_gives_seconds_or_none(value: str, expected: float | None) -> None:
    """Seconds and the three forms of HTTP-date are read, the past is 0, and anything else is no answer."""
    assert retry_after_s(value, now_utc=NOW) == expected


@given(st.text(max_size=60) | st.from_regex(r"-?[0-9]{1,500}", fullmatch=True))
def test_retry_after_whatever_a_server_sends_never_raises(value: str) -> None:
    """A header is foreign input: the worst it can do is to mean nothing."""
    seconds = retry_after_s(value, now_utc=NOW)
    assert seconds is None or seconds >= 0


def test_retry_delay_doubles_up_to_its_maximum_and_never_is_nothing() -> None:
    """Attempts 1, 2, 3, ... pause at most 1, 2, 4, ... 60 s, and at least half of that."""
    config = RetryConfig(backoff_s=1.0, backoff_max_s=60.0)
    longest = [retry_delay_s(config, attempt, random=_Always(1.0)) for attempt in (1, 2, 3, 6, 7, 101, 5000)]
    assert longest == [1.0, 2.0, 4.0, 32.0, 60.0, 60.0, 60.0]
    assert retry_delay_s(config, 3, random=_Always(0.0)) == 2.0
    assert retry_delay_s(RetryConfig(backoff_s=0.0), 3) == 0.0


def test_host_deferral_doubles_with_each_refusal_up_to_its_maximum() -> None:
    """A host that keeps refusing is asked ever less often."""
    config = HostConfig(defer_s=60.0, defer_max_s=300.0)
    pauses = [host_deferral_s(config, refusals, asked_s=None, random=_Always(0.0)) for refusals in (1, 2, 3, 4, 5000)]
    assert pauses == [60.0, 120.0, 240.0, 300.0, 300.0]


@given(st.integers(0, 2**32), st.integers(1, 6))
def test_host_deferral_jitter_only_adds_and_at_most_a_tenth(seed: int, refusals: int) -> None:
    """No pause is shorter than promised, nor past the maximum."""
    config = HostConfig(defer_s=10.0, defer_max_s=200.0)
    pause = host_deferral_s(config, refusals, asked_s=None, random=Random(seed))
    plain = 10.0 * 2 ** (refusals - 1)
    assert min(plain, 200.0) <= pause <= min(plain * 1.1, 200.0)


def test_host_deferral_grants_what_the_host_asks_up_to_the_maximum() -> None:
    """Retry-After rules, within what the user allows, until it has proved too short twice in a row."""
    config = HostConfig(defer_s=60.0, defer_max_s=600.0)
    asked = [host_deferral_s(config, refusals, asked_s=7.0, random=_Always(0.0)) for refusals in (1, 2, 3, 4, 99)]
    assert asked == [7.0, 7.0, 60.0, 120.0, 600.0]
    assert host_deferral_s(config, 3, asked_s=400.0) == 400.0
    assert host_deferral_s(config, 1, asked_s=float("inf")) == 600.0


@pytest.mark.parametrize(
    ("delay_s", "host", "expected"),
    [
        (None, "example.com:443", 1.0),
        (None, "127.0.0.1:8000", 0.0),
        (None, "[::1]:8000", 0.0),
        (None, "localhost:80", 0.0),
        (None, "[2001:db8::1]:80", 1.0),
        (0.0, "example.com:443", 0.0),
        (2.5, "127.0.0.1:8000", 2.5),
    ],
)
def test_slot_rules_without_a_delay_spare_strangers_and_not_this_machine(
    delay_s: float | None, host: str, expected: float
) -> None:
    """A second for strangers and none on loopback unless the user says otherwise; then his word everywhere."""
    rules = slot_rules(HostConfig(delay_s=delay_s, per_host=3))(host)
    assert rules == HostRules(delay_s=expected, concurrency_max=3)


def test_retry_after_date_is_measured_against_the_given_present() -> None:
    """No wall clock is read."""
    then = datetime(2030, 1, 1, tzinfo=UTC)
    assert retry_after_s("Tue, 01 Jan 2030 01:00:00 GMT", now_utc=then) == timedelta(hours=1).total_seconds()
