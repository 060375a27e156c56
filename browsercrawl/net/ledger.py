"""What a way into the network notes: how much went through, what was refused, and what could not be reached."""

import asyncio
import errno
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from browsercrawl.net.addresses import Reason

_NOTES_MAX = 256


class Refused(Exception):
    """A host that must not be reached.

    Attributes:
        reason: why.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"refused: {reason}")
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A connection that was not made.

    Attributes:
        at: when, by the event loop's clock.
        host, port: where to, as the browser wrote it.
        reason: why it was refused; None: it was allowed, and failed.
        code: Chromium's name of the failure, had it connected itself; empty for a refusal.
    """

    at: float
    host: str
    port: int
    reason: Reason | None = None
    code: str = ""


@dataclass(slots=True)
class Ledger:
    """Of one context.

    Attributes:
        on_refused: told of each.
        on_passed: told how many bytes have passed, as they do.
        transferred_bytes: sent and received by the browser.
        refused: connections, without those to hosts that the user has blocked.
    """

    on_refused: Callable[[Note], None] = lambda _: None
    on_passed: Callable[[int], None] = lambda _: None
    transferred_bytes: int = 0
    refused: int = 0
    _notes: deque[Note] = field(default_factory=lambda: deque(maxlen=_NOTES_MAX))

    def passed(self, count: int) -> None:
        """Count bytes, in either direction."""
        self.transferred_bytes += count
        self.on_passed(count)

    def refuse(self, host: str, port: int, *, reason: Reason) -> None:
        """Note a connection that was refused."""
        note = Note(at=asyncio.get_running_loop().time(), host=host, port=port, reason=reason)
        self._notes.append(note)
        if reason is not Reason.BLOCKED:
            self.refused += 1
            self.on_refused(note)

    def fail(self, host: str, port: int, *, error: OSError) -> None:
        """Note a connection that failed."""
        self._notes.append(Note(at=asyncio.get_running_loop().time(), host=host, port=port, code=_code(error)))

    def since(self, at: float) -> list[Note]:
        """Return what was noted at or after an instant; of very much the last."""
        return [note for note in self._notes if note.at >= at]


def _code(error: OSError) -> str:
    if error.errno in _OURS:
        return "ERR_INSUFFICIENT_RESOURCES"
    name = type(error).__name__
    return _CODES.get(name, "ERR_ADDRESS_UNREACHABLE")


_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""This machine has nothing left: no host is to be blamed for it."""

_CODES = {
    "gaierror": "ERR_NAME_NOT_RESOLVED",
    "ConnectionRefusedError": "ERR_CONNECTION_REFUSED",
    "ConnectionResetError": "ERR_CONNECTION_RESET",
    "TimeoutError": "ERR_CONNECTION_TIMED_OUT",
}
