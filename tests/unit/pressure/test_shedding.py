"""The shed ladder: cheapest first, no higher than needed, each rung with time to show its effect."""

import pytest

from browsercrawl.pressure import Available, Reading, Rung
from browsercrawl.pressure.shedding import (
    COOL_DOWNS_S,
    CRITICAL,
    EMERGENCY,
    EMERGENCY_COOL_DOWN_S,
    HIGH,
    HYSTERESIS,
    LOW,
    THRESHOLDS,
    Shedder,
)

PLENTY = Available(pages_open=5, pages_parked=5, contexts_idle=5, browsers=1, is_recyclable=True)
LIMIT = 1000


def _reading(share: float, *, at_s: float = 0.0) -> Reading:
    return Reading(
        at_s=at_s, memory_used_bytes=round(share * LIMIT), memory_limit_bytes=LIMIT, memory_source="simulated"
    )


def _all_now(shedder: Shedder, share: float, available: Available = PLENTY, *, at_s: float = 0.0) -> list[Rung]:
    """Choose until nothing is left to give up at this moment."""
    rungs = []
    while shed := shedder.choose(_reading(share, at_s=at_s), available):
        rungs.append(shed.rung)
    return rungs


def _standing(shedder: Shedder) -> tuple[bool, bool, Rung | None]:
    return shedder.is_admitting, shedder.is_reusing, shedder.level


def test_shedder_memory_is_low_nothing_is_given_up() -> None:
    """Below the high mark nothing is done."""
    shedder = Shedder()
    assert _all_now(shedder, HIGH - 0.001) == []
    assert _standing(shedder) == (True, True, None)


def test_shedder_limit_is_unknown_nothing_is_given_up() -> None:
    """Without a limit there is no share of it."""
    reading = Reading(at_s=0, memory_used_bytes=10**12, memory_limit_bytes=0, memory_source="unknown")
    assert Shedder().choose(reading, PLENTY) is None


@pytest.mark.parametrize("rung", [rung for rung in Rung if rung is not Rung.FAIL_ALONE])
def test_shedder_threshold_is_reached_all_rungs_up_to_it_are_taken_in_order(rung: Rung) -> None:
    """At a rung's threshold it is taken, after all that are cheaper; what has a higher one is not."""
    expected = [each for each in Rung if each is not Rung.FAIL_ALONE and THRESHOLDS[each] <= THRESHOLDS[rung]]
    shedder = Shedder()
    assert _all_now(shedder, THRESHOLDS[rung]) == expected
    assert shedder.level is expected[-1]


def test_shedder_rung_is_taken_value_and_threshold_are_told() -> None:
    """What was measured, and what it exceeds, come with the rung."""
    shed = Shedder().choose(_reading(0.88), PLENTY)
    assert shed is not None
    assert (shed.rung, shed.share, shed.threshold) == (Rung.STOP_ADMITTING, 0.88, HIGH)


def test_shedder_nothing_of_it_is_there_rung_is_passed_over() -> None:
    """A rung that has nothing to act on is no step at all."""
    assert _all_now(Shedder(), CRITICAL, Available(pages_open=1)) == [
        Rung.STOP_ADMITTING,
        Rung.STOP_REUSING,
        Rung.PUT_BACK_HEAVIEST,
    ]
    assert _all_now(Shedder(), CRITICAL, Available()) == [Rung.STOP_ADMITTING, Rung.STOP_REUSING]


@pytest.mark.parametrize("rung", [rung for rung in Rung if COOL_DOWNS_S[rung] and rung is not Rung.FAIL_ALONE])
def test_shedder_rung_was_taken_it_cools_down(rung: Rung) -> None:
    """A rung is not taken again before its effect can be seen, and then it is."""
    shedder = Shedder()
    share = THRESHOLDS[rung]
    assert rung in _all_now(shedder, share)
    assert rung not in _all_now(shedder, share, at_s=COOL_DOWNS_S[rung] - 0.01)
    assert rung in _all_now(shedder, share, at_s=COOL_DOWNS_S[rung])


def test_shedder_memory_falls_states_end_with_hysteresis() -> None:
    """Admitting and reusing go on only well below where they stopped, and may then stop again."""
    shedder = Shedder()
    _all_now(shedder, HIGH)
    _all_now(shedder, HIGH - HYSTERESIS + 0.001, at_s=1.0)
    assert _standing(shedder) == (False, False, Rung.STOP_REUSING)
    _all_now(shedder, HIGH - HYSTERESIS - 0.001, at_s=2.0)
    assert _standing(shedder) == (True, True, None)
    assert _all_now(shedder, HIGH, at_s=3.0) == [Rung.STOP_ADMITTING, Rung.STOP_REUSING]


def test_shedder_memory_falls_a_little_level_goes_down_to_the_states() -> None:
    """Going down, what was done once is over, and what lasts is still told."""
    shedder = Shedder()
    _all_now(shedder, CRITICAL)
    assert _standing(shedder) == (False, False, Rung.PUT_BACK_HEAVIEST)
    _all_now(shedder, CRITICAL - HYSTERESIS - 0.001, Available(), at_s=1.0)
    assert _standing(shedder) == (False, False, Rung.STOP_REUSING)


def test_shedder_emergency_page_goes_at_once() -> None:
    """When the next reading may be too late, nothing cheaper is tried first, and pages go in quick succession."""
    shedder = Shedder()
    assert _all_now(shedder, EMERGENCY) == [Rung.PUT_BACK_HEAVIEST]
    assert not shedder.is_admitting
    assert _all_now(shedder, EMERGENCY, at_s=EMERGENCY_COOL_DOWN_S - 0.01) == []
    assert _all_now(shedder, EMERGENCY, at_s=EMERGENCY_COOL_DOWN_S) == [Rung.PUT_BACK_HEAVIEST]


def test_shedder_emergency_without_pages_ladder_is_climbed() -> None:
    """With no page of ours the stock goes, cheapest first."""
    stock = Available(pages_parked=2, contexts_idle=1, browsers=1, is_recyclable=True)
    assert _all_now(Shedder(), 0.99, stock) == list(Rung)[:6]


def test_shedder_page_alone_is_too_large_it_fails() -> None:
    """A page that had its try alone, and without which there would be room, is not put back for ever."""
    alone = Available(pages_open=1, alone_bytes=400, has_tried_alone=True)
    assert _all_now(Shedder(), CRITICAL, alone)[-1] is Rung.FAIL_ALONE
    assert _all_now(Shedder(), EMERGENCY, alone) == [Rung.FAIL_ALONE]


@pytest.mark.parametrize(
    "available",
    [
        Available(pages_open=1, alone_bytes=400),
        Available(pages_open=2, alone_bytes=400, has_tried_alone=True),
        Available(pages_open=1, alone_bytes=100, has_tried_alone=True),
        Available(pages_open=1, has_tried_alone=True),
    ],
    ids=["first try", "not alone", "others need too much", "size unknown"],
)
def test_shedder_page_is_not_to_blame_it_is_put_back(available: Available) -> None:
    """Nothing fails that could have succeeded: without its try alone, or when it is somebody else who is too large."""
    assert _all_now(Shedder(), CRITICAL, available)[-1] is Rung.PUT_BACK_HEAVIEST


def test_shedder_not_one_page_fits_stock_goes_earlier() -> None:
    """A crawl that cannot open even one page does not keep others for later."""
    stock = Available(pages_parked=1, contexts_idle=1, browsers=1)
    shedder = Shedder()
    assert shedder.choose(_reading(LOW), stock) is None
    shed = shedder.choose(_reading(LOW), stock, is_stuck=True)
    assert shed is not None
    assert (shed.rung, shed.threshold) == (Rung.CLOSE_PARKED, LOW)
    assert shedder.choose(_reading(LOW - 0.01, at_s=5), stock, is_stuck=True) is None
