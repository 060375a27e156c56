"""The ranking under the frontier: right order, and no garbage."""

from hypothesis import given
from hypothesis import strategies as st

from browsercrawl.frontier.ranking import Ranking


class _Member:
    def __init__(self, name: int) -> None:
        self.name = name
        self.node: object = None


@given(st.lists(st.tuples(st.integers(0, 9), st.one_of(st.none(), st.integers(0, 3))), max_size=200))
def test_ranking_after_any_puts_and_drops_knows_its_first(steps: list[tuple[int, int | None]]) -> None:
    """First is the lowest rank, and among equals the one that was put first; a dropped member is gone."""
    members = [_Member(name) for name in range(10)]
    ranking: Ranking[_Member] = Ranking("node")
    expected: dict[int, tuple[int, int]] = {}
    for step, (name, rank) in enumerate(steps):
        if rank is None:
            ranking.drop(members[name])
            expected.pop(name, None)
        else:
            ranking.put(members[name], rank)
            expected[name] = (rank, step)
        first = ranking.first()
        assert (first.name if first else None) == min(expected, key=expected.__getitem__, default=None)
        assert len(ranking) == len(expected)


def test_ranking_when_members_move_and_leave_keeps_no_more_than_a_few_old_nodes() -> None:
    """However often members move, the memory is that of the members; when all left, next to nothing."""
    members = [_Member(name) for name in range(1000)]
    ranking: Ranking[_Member] = Ranking("node")
    for round_ in range(50):
        for member in members:
            ranking.put(member, (round_ * 7 + member.name) % 100)
        assert len(ranking._heap) <= 2 * len(members) + 64
    for member in members:
        ranking.drop(member)
    assert len(ranking._heap) <= 64
    assert ranking.first() is None
