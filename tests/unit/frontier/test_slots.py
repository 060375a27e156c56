"""The lifecycles of requests and slots refuse what cannot happen."""

import pytest

from browsercrawl.errors import InternalError
from browsercrawl.frontier.slots import Entry, Lane, Session, Slot, SlotState, Standing, Tally
from browsercrawl.politeness import HostRules
from browsercrawl.request import Request


def _slot() -> tuple[Slot, Entry]:
    slot = Slot("a.test:80", HostRules(), tally=Tally(), at=0.0)
    return slot, Entry(Request(url="http://a.test/"), Lane(slot, Session("", None), turn=1), number=1, at=0.0)


def test_request_that_is_finished_never_stands_anywhere_again() -> None:
    """A finished request cannot be queued, claimed or finished: that would be a second result."""
    slot, entry = _slot()
    for standing in (Standing.QUEUED, Standing.CLAIMED, Standing.FINISHED):
        slot.move(entry, standing, at=0.0)
    for standing in Standing:
        with pytest.raises(InternalError, match="cannot go from FINISHED"):
            slot.move(entry, standing, at=1.0)


def test_request_that_is_claimed_cannot_be_claimed_again() -> None:
    """One claim at a time: the second is a bug of ours, and said so."""
    slot, entry = _slot()
    slot.move(entry, Standing.QUEUED, at=0.0)
    slot.move(entry, Standing.CLAIMED, at=0.0)
    with pytest.raises(InternalError, match="from CLAIMED to CLAIMED"):
        slot.move(entry, Standing.CLAIMED, at=0.0)


def test_slot_that_is_snoozed_cannot_become_so_again() -> None:
    """A change of state is a change: the table says so."""
    slot, entry = _slot()
    slot.move(entry, Standing.QUEUED, at=0.0)
    slot.open_at = 5.0
    slot.refresh(0.0)
    assert slot.state is SlotState.SNOOZED
    with pytest.raises(InternalError, match="from SNOOZED to SNOOZED"):
        slot._transition(SlotState.SNOOZED, 1.0)
