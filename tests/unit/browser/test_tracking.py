"""The table of what user code may do to a page."""

import inspect
from typing import Any

import pytest

from browsercrawl.browser.tracking import HARMLESS, LASTING, watch


def _public(base: type) -> set[str]:
    return {name for name in dir(base) if not name.startswith("_")}


@pytest.mark.parametrize("base", LASTING, ids=lambda base: base.__name__)
def test_table_every_public_name_is_in_exactly_one_class(base: type) -> None:
    """A name that Playwright adds must be judged before it can be used unnoticed."""
    assert LASTING[base] | HARMLESS[base] == _public(base)
    assert not LASTING[base] & HARMLESS[base]


@pytest.mark.parametrize(
    ("base", "name"), [(base, name) for base, names in LASTING.items() for name in sorted(names)], ids=str
)
def test_watch_lasting_member_is_noted_with_its_arguments(base: type, name: str) -> None:
    """Each lasting member is noted before it does its work; the object stays what it was."""
    is_property = isinstance(inspect.getattr_static(base, name), property)
    noted: list[tuple[str, tuple[Any, ...]]] = []
    subject: Any = object.__new__(base)  # no page behind it
    watch(subject, lambda label, args: noted.append((label, args)))
    assert isinstance(subject, base)
    try:
        if is_property:
            getattr(subject, name)
        else:
            outcome = getattr(subject, name)("console", None)
            if inspect.iscoroutine(outcome):
                outcome.close()
    except (AttributeError, TypeError, AssertionError):
        pass  # there is no page behind the object: the note comes first, which is the point
    assert [label for label, _ in noted] == [f"{base.__name__}.{name}"]


@pytest.mark.parametrize("base", LASTING, ids=lambda base: base.__name__)
def test_watch_object_keeps_the_name_of_its_class(base: type) -> None:
    """What the user sees, in messages and in a debugger, is Playwright's class."""
    subject: Any = object.__new__(base)
    watch(subject, lambda label, args: None)
    assert (type(subject).__name__, repr(type(subject))) == (base.__name__, repr(base))


@pytest.mark.parametrize("base", LASTING, ids=lambda base: base.__name__)
def test_watch_harmless_members_are_playwrights_own(base: type) -> None:
    """Nothing harmless is wrapped: it costs nothing."""
    subject: Any = object.__new__(base)  # no page behind it
    watch(subject, lambda label, args: None)
    for name in HARMLESS[base]:
        assert inspect.getattr_static(type(subject), name) is inspect.getattr_static(base, name)
