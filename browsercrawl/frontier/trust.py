"""What a slot makes of how its host behaves; both kinds of store keep a slot's restraint by these few rules.

A host that refuses or fails is deferred; then it is on trial: one request at a time, until it serves one. A host that
was given up is down until the run ends: its requests are claimed at once, whatever its restraint, and each claim says
so. All of it is forgotten when the host has served a request, or was left in peace for long enough.
"""

import math
import random
from enum import IntEnum
from typing import Protocol

from browsercrawl.frontier.interface import HostUpdate

FORGIVEN_S = 1800.0
"""A host that was deferred and was not heard to refuse or fail for so long afterwards begins anew."""


PACE_KEPT_S = 300.0
"""A host that nobody asked for so long, after its delay, may have another speed by now: it is measured anew."""


class Trust(IntEnum):
    """How a slot's host is treated."""

    FULL = 0
    TRIAL = 1
    """One claim at a time: it was deferred and has not served anybody since."""
    DOWN = 2
    """It is not visited any more; nothing holds its requests back."""


class Trusting(Protocol):
    """The part of a slot that is kept here.

    Attributes:
        delay_s: between two claims: what its rules say, or more, if that was told.
        pace_s: likewise what the host's speed asks for.
        jitter: share of the delay that is added at most, at random.
        open_at: no claim before this instant.
        refusals: consecutive ones of the host; `failures` likewise.
        refused: how often either was told, so that it shows whether more came.
        forgive_at: when both are forgotten.
    """

    delay_s: float
    pace_s: float
    jitter: float
    open_at: float
    refusals: int
    failures: int
    refused: int
    forgive_at: float
    trust: Trust


def heed(slot: Trusting, update: HostUpdate, *, refused: int | None, at: float) -> None:
    """Let a slot know what a visit says about its host; the caller settles it.

    Args:
        slot: of the host.
        update: what the visit says.
        refused: what `slot.refused` was when the visit was claimed.
        at: the instant.
    """
    if slot.trust is Trust.DOWN:
        return
    if update.unused == slot.open_at:
        slot.open_at = min(slot.open_at, at)
    slot.open_at = max(slot.open_at, at + update.defer_s)
    if update.unused is not None:
        return
    if update.pace_s is not None:  # up at once, down by halves: one quick answer does not make a quick host
        slot.pace_s = max(update.pace_s, (slot.pace_s + update.pace_s) / 2)
    if update.visits:
        slot.open_at = max(slot.open_at, at) + update.visits * max(slot.delay_s, slot.pace_s)
    if update.refusals or update.failures:
        slot.refusals = max(slot.refusals, update.refusals)
        # By one at a time: an older visit may not know that the host has served somebody meanwhile.
        slot.failures = max(slot.failures, min(update.failures, slot.failures + 1))
        slot.refused += 1
        slot.forgive_at = slot.open_at + FORGIVEN_S
        if update.is_down:
            slot.trust, slot.open_at = Trust.DOWN, at
        elif update.defer_s:
            slot.trust = Trust.TRIAL
    elif slot.refused == refused:
        _forget(slot)
    elif slot.trust is Trust.FULL:
        slot.failures = 0  # they were to be consecutive


def reserve(slot: Trusting, *, at: float) -> float:
    """Keep the delay free after a claim at `at`: the claim, not the visit, moves the next instant.

    Returns:
        Seconds until the next claim may be made.
    """
    if slot.trust is Trust.DOWN:
        return 0.0
    if slot.refused and slot.forgive_at <= at:
        _forget(slot)
    if slot.open_at + PACE_KEPT_S <= at:
        slot.pace_s = 0.0
    delay_s = max(slot.delay_s, slot.pace_s)
    if slot.jitter:
        delay_s *= 1.0 + slot.jitter * random.random()
    slot.open_at = max(slot.open_at, at + delay_s)
    return delay_s


def restrain(slot: Trusting, delay_s: float, *, at: float) -> None:
    """Keep at least so much between two claims from now on, and between now and the next."""
    if delay_s > slot.delay_s:
        slot.delay_s = delay_s
        defer(slot, delay_s, at=at)


def defer(slot: Trusting, delay_s: float, *, at: float) -> None:
    """Hold a slot back for at least so long from now."""
    if slot.trust is not Trust.DOWN:
        slot.open_at = max(slot.open_at, at + delay_s)


def plain_at(slot: Trusting) -> float:
    """Return the instant from which on a slot without claims is like a new one with its delay; infinite: never."""
    if slot.trust is Trust.DOWN:
        return math.inf
    held_until = slot.open_at + (PACE_KEPT_S if slot.pace_s else 0.0)
    return max(held_until, slot.forgive_at) if slot.refusals or slot.failures else held_until


def claims_max(trust: Trust, most: int | None) -> int | None:
    """Return how many claims a slot may have at once, if its rules allow `most`; None: any number."""
    if trust is Trust.FULL:
        return most
    return 1 if trust is Trust.TRIAL else None


def _forget(slot: Trusting) -> None:
    slot.refusals = slot.failures = 0
    slot.trust = Trust.FULL
