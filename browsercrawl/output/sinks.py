"""Where a user may send results besides the file."""

from collections.abc import Sequence
from typing import Protocol

from browsercrawl.result import ResultRecord


class Sink(Protocol):
    """Takes the results of a run: a database, a queue, a file of another format.

    When `write` has returned the records count as delivered; what a sink holds back until `close` is lost when the
    process is killed before. A record comes at least once: after a kill, or a failure of any part of a batch, the
    same records come again, so make repetition harmless by their `request_id`, which never changes.
    """

    async def write(self, records: Sequence[ResultRecord]) -> None:
        """Take some records, in the order in which the requests finished.

        It has 30 s. When it raises or takes longer it is called again with the same records, twice; then the run fails,
        and the records wait in the run for its resumption.
        """

    async def close(self) -> None:
        """Let go of what it holds. Called once, at the run's end; it has 30 s."""
