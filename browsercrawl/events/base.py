"""What all events have in common.

An event carries what happened and to whom. What is the same for a whole run (`ts`, `run_id`, `schema`) is added once,
by the writer. URLs and messages are redacted by the log, not by the emitter: there is one place to get that right.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Level(StrEnum):
    """Severity, in the words of Python's logging."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Event(BaseModel):
    """Base of all events.

    Attributes:
        name: `noun.verb`; public contract.
        level: how loud it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    level: ClassVar[Level] = Level.INFO


SCHEMA_VERSION = 1
"""Stands in each line as `schema`; grows when a field changes its meaning or goes away."""

Emit = Callable[[Event], None]
"""Takes an event; must not block and must not raise."""


def discard(event: Event) -> None:
    """Forget the event: the `Emit` of whoever has no listener."""
