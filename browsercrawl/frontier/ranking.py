"""A set that knows its smallest member, where members change their rank and leave at any time."""

import heapq
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_SLACK = 64
"""Outdated nodes that are not worth a clean-up."""


class Ranking(Generic[T]):
    """A heap with lazy removal: `put` and `drop` in O(log n) amortised, `first` in O(1) amortised.

    A member carries its node, a tuple `(rank, serial, member)`, in the attribute the ranking was told to use; a node
    found in the heap that its member does not carry any more is outdated. Outdated nodes never outnumber the members
    by more than a small constant, so what has left is soon garbage. Equal ranks come out in the order they went in.

    Args:
        attribute: where members keep their node of this ranking; None there means that they are no members.
    """

    __slots__ = ("_attribute", "_heap", "_live", "_serial")

    def __init__(self, attribute: str) -> None:
        self._attribute = attribute
        self._heap: list[tuple[Any, int, T]] = []
        self._live = 0
        self._serial = 0

    def __len__(self) -> int:
        return self._live

    def __iter__(self) -> Iterator[T]:
        """Give all members, in no order."""
        return (node[2] for node in self._heap if getattr(node[2], self._attribute) is node)

    def put(self, member: T, rank: Any) -> None:
        """Let `member` stand at `rank` (lower comes first), wherever it stood before."""
        if getattr(member, self._attribute) is None:
            self._live += 1
        self._serial += 1
        node = (rank, self._serial, member)
        setattr(member, self._attribute, node)
        heapq.heappush(self._heap, node)
        self._sweep()

    def drop(self, member: T) -> None:
        """Remove `member`; nothing happens when it is not in."""
        if getattr(member, self._attribute) is not None:
            setattr(member, self._attribute, None)
            self._live -= 1
            self._sweep()

    def first(self) -> T | None:
        """Return the member of the lowest rank; it stays in."""
        heap, attribute = self._heap, self._attribute
        while heap:
            node = heap[0]
            member: T = node[2]
            if getattr(member, attribute) is node:
                return member
            heapq.heappop(heap)
        return None

    def _sweep(self) -> None:
        if len(self._heap) > 2 * self._live + _SLACK:
            attribute = self._attribute
            self._heap = [node for node in self._heap if getattr(node[2], attribute) is node]
            heapq.heapify(self._heap)
