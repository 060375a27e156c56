"""The error tree: each leaf has its kind, its disposition, and its line in the drawing."""

from collections.abc import Iterator

import pytest

from browsercrawl import errors
from browsercrawl.errors import BrowsercrawlError, Disposition, ErrorKind, disposition_of


def leaves(error: type[BrowsercrawlError] = BrowsercrawlError) -> Iterator[type[BrowsercrawlError]]:
    """Yield the classes that have no subclass."""
    below = [each for each in error.__subclasses__() if each.__module__.startswith(f"{errors.__name__}.")]
    if not below:
        yield error
    for each in below:
        yield from leaves(each)


def test_errors_each_kind_belongs_to_one_leaf() -> None:
    """Kinds and leaves are the same set: no two leaves share a kind, no kind is without a leaf."""
    kinds = [leaf.kind for leaf in leaves()]
    assert sorted(kinds) == sorted(ErrorKind)


def test_errors_docstring_draws_every_leaf_with_its_kind() -> None:
    """The drawing at the top of the module is complete."""
    drawing = {
        tuple(line.split()[1:3]) for line in (errors.__doc__ or "").replace("│", "").splitlines() if "──" in line
    }
    assert {(leaf.__name__, leaf.kind.value) for leaf in leaves()} <= drawing


@pytest.mark.parametrize("leaf", list(leaves()), ids=lambda leaf: leaf.__name__)
def test_errors_each_leaf_has_one_disposition(leaf: type[BrowsercrawlError]) -> None:
    """An error's disposition is its type's; kinds are lower case."""
    assert isinstance(leaf.disposition, Disposition)
    assert leaf.kind == leaf.kind.lower()
    assert leaf.__doc__


def test_disposition_of_what_is_not_ours_is_drop() -> None:
    """A foreign exception is never retried."""
    assert disposition_of(ValueError("x")) is Disposition.DROP
    assert disposition_of(errors.BrowserCrashed("x")) is Disposition.PUT_BACK
    assert disposition_of(errors.BrowserNotFound("x")) is Disposition.STOP


@pytest.mark.parametrize("word", [errors.Retry, errors.Skip, errors.Blocked, errors.Stop])
def test_handler_words_carry_their_reason(word: type[errors.HandlerSignal]) -> None:
    """What a handler raises on purpose is no failure of the tree, and keeps its reason."""
    said = word("because")
    assert (said.reason, str(said)) == ("because", "because")
    assert not isinstance(said, BrowsercrawlError)
