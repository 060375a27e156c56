"""What a dispatcher is wired to."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from browsercrawl.clock import Clock
from browsercrawl.dispatcher.scope import ScopeFunction
from browsercrawl.events import Emit
from browsercrawl.frontier import Frontier, Record
from browsercrawl.net import Guard
from browsercrawl.pool import Pool
from browsercrawl.result import Artifact, DownloadedFile, Result
from browsercrawl.sessions import Sessions
from browsercrawl.visit import CapturedFile, Handler, Visitor


class ResultSink(Protocol):
    """Where results go. The dispatcher claims nothing while there is no room."""

    def has_room(self) -> bool:
        """Tell whether the consumers keep up, and there is room on the disk."""

    def record(self, result: Result) -> Record:
        """Return what the frontier is to keep of a result, in the same step as its done mark."""

    def put(self, result: Result) -> None:
        """Take a result that is committed; does not wait."""


class Handlers(Protocol):
    """User code by label."""

    @property
    def scope(self) -> ScopeFunction | None:
        """What decides where links may lead, in place of the configured scope; None: nothing does."""

    def of(self, label: str | None) -> Handler | None:
        """Return the handler of a label; None when pages are to be captured only.

        Raises:
            UnknownLabel: there are handlers, but none for it.
        """


StoreFile = Callable[[str, CapturedFile | DownloadedFile], Awaitable[Artifact]]
"""Writes a file of a request (by its id) into the run directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """The concepts a dispatcher works with.

    Attributes:
        owner: whose the claims are; no other process has the name.
        store_file: None: files are not kept.
    """

    owner: str
    frontier: Frontier
    pool: Pool
    visitor: Visitor
    sink: ResultSink
    handlers: Handlers
    sessions: Sessions
    guard: Guard
    clock: Clock
    emit: Emit
    store_file: StoreFile | None = None
