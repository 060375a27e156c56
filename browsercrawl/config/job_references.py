"""References to the environment in a job: `${NAME}` in any text, `$${` for the two characters themselves."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from browsercrawl.config.job_values import REFERENCE

Place = tuple[str | int, ...]
"""The keys and list positions that lead to a value."""

_FOUND = re.compile(rf"\$\$\{{|{REFERENCE}|\$\{{")
_MALFORMED = "after ${ comes a variable's name and }; write $${ for the two characters themselves"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with the value at a place."""

    place: Place
    text: str


@dataclass(slots=True)
class Expansion:
    """Puts the environment's values in place of references, and remembers where.

    Attributes:
        environment: the variables.
        places: of the values that had a reference in them.
        texts: what became of those.
        problems: references that cannot be resolved.
    """

    environment: Mapping[str, str]
    places: set[Place]
    texts: set[str]
    problems: list[Problem]

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Expansion":
        """Return one that has not met a value yet."""
        return cls(environment, set(), set(), [])

    def expand(self, value: Any, place: Place = ()) -> Any:
        """Return the value with its references resolved; what comes from the environment is not looked at again."""
        if isinstance(value, dict):
            return {key: self.expand(item, (*place, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.expand(item, (*place, index)) for index, item in enumerate(value)]
        if not isinstance(value, str) or "${" not in value:
            return value
        text = _FOUND.sub(lambda found: self._replace(found[0], place), value)
        if place in self.places:
            self.texts.add(text)
        return text

    def _replace(self, found: str, place: Place) -> str:
        if found == "$${":
            return "${"
        name = found[2:-1]
        self.places.add(place)
        if found == "${":
            self.problems.append(Problem(place, _MALFORMED))
        elif name not in self.environment:
            self.problems.append(Problem(place, f"the environment has no variable {name}"))
        else:
            return self.environment[name]
        return ""


def literal(text: str) -> str:
    """Return text such that it stands for itself in a job.

    Example:
        >>> literal("a ${b}")
        'a $${b}'
    """
    return text.replace("${", "$${")
