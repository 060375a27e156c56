"""What one more page will cost: who is asked, what is believed, and where it begins."""

import pytest

from browsercrawl.pressure import Costs, unseen_bytes
from browsercrawl.pressure.costs import GROWTH_S, KNOWN, SAMPLES, START_BYTES

MB = 1_000_000


def _seen(costs: Costs, key: str, *sizes: int, is_reused: bool = False) -> Costs:
    for size in sizes:
        costs.observe([key], size * MB, is_reused=is_reused)
    return costs


def test_costs_nothing_seen_start_value_is_told() -> None:
    """Until pages were seen a cautious figure holds, for any host."""
    assert Costs().predict(["a.test"], is_reused=False) == START_BYTES
    assert Costs().predict([], is_reused=True) == START_BYTES


def test_costs_few_light_pages_start_value_stays() -> None:
    """A few light pages prove nothing; one heavy page counts at once, on its host and elsewhere."""
    costs = _seen(Costs(), "a.test", *[5] * (KNOWN - 1))
    assert costs.predict(["a.test"], is_reused=False) == START_BYTES
    _seen(costs, "b.test", 300)
    assert costs.predict(["b.test"], is_reused=False) == 300 * MB
    assert costs.predict(["c.test"], is_reused=False) == 300 * MB


def test_costs_hosts_differ_each_has_its_own() -> None:
    """A known host answers for itself, an unknown one with what holds for all."""
    costs = _seen(_seen(Costs(), "light.test", *[5] * KNOWN), "heavy.test", *[400] * KNOWN)
    assert costs.predict(["light.test"], is_reused=False) == 5 * MB
    assert costs.predict(["heavy.test"], is_reused=False) == 400 * MB
    assert costs.predict(["new.test"], is_reused=False) == 400 * MB


def test_costs_several_keys_most_telling_known_one_answers() -> None:
    """Keys are asked in order; one that is hardly known can only raise what the next one says."""
    costs = _seen(_seen(Costs(), "session", *[50] * KNOWN), "host", 20)
    assert costs.predict(["host", "session"], is_reused=False) == 50 * MB
    _seen(costs, "host", 80)
    assert costs.predict(["host", "session"], is_reused=False) == 80 * MB
    _seen(costs, "host", *[80] * KNOWN)
    _seen(costs, "session", 300)
    assert costs.predict(["host", "session"], is_reused=False) == 80 * MB


def test_costs_new_and_reused_page_are_learned_apart() -> None:
    """The two kinds have costs of their own; a kind not seen yet takes the other's."""
    costs = _seen(Costs(), "a.test", *[100] * KNOWN)
    assert costs.predict(["a.test"], is_reused=True) == 100 * MB
    _seen(costs, "a.test", *[40] * KNOWN, is_reused=True)
    assert costs.predict(["a.test"], is_reused=True) == 40 * MB
    assert costs.predict(["a.test"], is_reused=False) == 100 * MB


def test_costs_one_freak_page_is_not_believed_two_are() -> None:
    """Of many pages one that is out of the way moves nothing; once two are, the prediction covers them."""
    costs = _seen(Costs(), "a.test", *[10] * SAMPLES, 900)
    assert costs.predict(["a.test"], is_reused=False) == 10 * MB
    _seen(costs, "a.test", 800)
    assert costs.predict(["a.test"], is_reused=False) == 800 * MB


def test_costs_site_becomes_lighter_old_pages_are_forgotten() -> None:
    """Only the last pages count."""
    costs = _seen(Costs(), "a.test", *[400] * 100, *[10] * SAMPLES)
    assert costs.predict(["a.test"], is_reused=False) == 10 * MB


def test_costs_negative_growth_counts_as_none() -> None:
    """A page beside which others ended did not give memory."""
    costs = _seen(Costs(), "a.test", *[-50] * KNOWN)
    assert costs.predict(["a.test"], is_reused=False) == 0


def test_costs_totals_alone_unknown_host_gets_what_holds_for_all() -> None:
    """From totals both a host and all pages are learned: who crawls many hosts is not held to the start value."""
    costs = Costs()
    for _ in range(60):
        costs.observe_total(["a.test"] * 3, base_bytes=200 * MB, total_bytes=230 * MB)
    assert costs.predict(["a.test"], is_reused=False) == pytest.approx(10 * MB, rel=0.05)
    assert costs.predict(["new.test"], is_reused=True) == pytest.approx(10 * MB, rel=0.05)


def test_costs_total_without_pages_nothing_is_learned() -> None:
    """With no page open there is nothing to share out."""
    costs = Costs()
    costs.observe_total([], base_bytes=0, total_bytes=10**9)
    assert len(costs) == 0
    assert costs.predict([], is_reused=False) == START_BYTES


def test_costs_total_below_base_costs_nothing_but_never_less() -> None:
    """A base that has shrunk since it was measured makes no cost negative."""
    costs = Costs()
    for _ in range(60):
        costs.observe_total(["a.test"], base_bytes=500 * MB, total_bytes=100 * MB)
    assert costs.predict(["a.test"], is_reused=False) >= 0


@pytest.mark.parametrize(
    ("age_s", "part"), [(-1.0, 1.0), (0.0, 1.0), (GROWTH_S / 4, 0.75), (GROWTH_S, 0.0), (99.0, 0.0)]
)
def test_unseen_bytes_page_grows_reservation_shrinks(age_s: float, part: float) -> None:
    """What is kept for a page ends with its growth."""
    assert unseen_bytes(100 * MB, age_s=age_s) == part * 100 * MB
