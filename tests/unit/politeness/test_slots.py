"""Which hosts share a slot, what restraint it has, and how a run keeps its rate."""

import pytest

from browsercrawl.config import HostConfig, HostRule
from browsercrawl.politeness import HostRules, VisitRate, pace_s, slot_key, slot_rules


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("www.example.com:443", "example.com"),
        ("example.com:8080", "example.com"),
        ("a.b.example.co.uk:80", "example.co.uk"),
        ("me.github.io:443", "me.github.io"),
        ("github.io:443", "github.io:443"),
        ("localhost:8000", "localhost:8000"),
        ("127.0.0.1:8000", "127.0.0.1:8000"),
        ("[::1]:8000", "[::1]:8000"),
        ("[2001:db8::1]:443", "[2001:db8::1]:443"),
        ("shop:80", "shop:80"),
    ],
)
def test_slot_key_by_domain_is_the_registrable_one_or_the_host(host: str, key: str) -> None:
    """Suffixes, addresses and names without a domain stay by themselves; a key is its own key."""
    key_of = slot_key(HostConfig(by="domain"))
    assert key_of(host) == key_of(key) == key


def test_slot_key_by_host_is_the_host() -> None:
    """Nothing is shared unless it is asked for."""
    assert slot_key(HostConfig())("www.example.com:443") == "www.example.com:443"


def test_slot_rules_override_says_only_what_it_says() -> None:
    """What the first rule that matches leaves out is as for all; a later one does not count."""
    hosts = [HostRule(host="*.a.test", per_host=1), HostRule(host="*", delay_s=9.0), HostRule(host="b.test:81")]
    rules = slot_rules(HostConfig(delay_s=2.0, per_host=4, jitter=0.5), hosts)
    assert rules("x.a.test:80") == HostRules(delay_s=2.0, concurrency_max=1, jitter=0.5)
    assert rules("b.test:81") == HostRules(delay_s=9.0, concurrency_max=4, jitter=0.5)


def test_slot_rules_pattern_may_name_a_port_or_a_domain() -> None:
    """`host:port` means that port only; the key of a slot by domain has none."""
    rules = slot_rules(HostConfig(), [HostRule(host="a.test:81", delay_s=1.0), HostRule(host="b.test", delay_s=2.0)])
    assert [rules(host).delay_s for host in ("a.test:81", "a.test:80", "b.test:80", "b.test")] == [1.0, 0.0, 2.0, 2.0]


def test_rate_lets_no_rush_follow_a_pause() -> None:
    """Two per second: one at a time, and after a minute without any still one; without a rate as many as there are."""
    rate = VisitRate(2.0)
    for now in (0.0, 0.5, 1.0, 61.0):
        assert rate.room(9, now=now) == 1
        rate.take(1)
        assert rate.room(9, now=now) == 0
        assert 0.39 < rate.ready_in(now=now) <= 0.5
    assert VisitRate(None).room(9, now=0.0) == 9
    assert VisitRate(None).ready_in(now=0.0) == 0.0


def test_pace_grows_with_the_latency_up_to_a_minute() -> None:
    """Five times what the host takes, and never an hour for one answer that hung."""
    config = HostConfig(latency_factor=5)
    assert [pace_s(config, latency_s) for latency_s in (0.0, 0.5, 1000.0)] == [0.0, 2.5, 60.0]
