"""What the sections of a job file share: their base, and the kinds of values that stand in several of them."""

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import ValidationError

from browsercrawl.config.job_values import Duration, Flag, Some, Text, Whole
from browsercrawl.errors import ConfigError
from browsercrawl.mistakes import CheckedModel, explained

Words = Annotated[str, Text()]
Switch = Annotated[bool, Flag()]
Timeout = Annotated[float, Duration(most_s=3600)]
Statuses = Annotated[frozenset[int], Some(Whole(100, 599))]
AtLeastOne = Annotated[int, Whole(1)]


class Part(CheckedModel):
    """Shows nothing of what it holds: part of it may come from the environment, and be secret."""

    @classmethod
    def _mistaken(cls, error: ValidationError) -> ConfigError:
        return ConfigError(explained(error, cls))

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        return ()
