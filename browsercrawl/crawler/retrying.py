"""Taking back what failed in a run, so that it is visited again; no browser is needed for it.

Killed at any instant, the run is as before or as after (`RunDirectory.replace_results` tells the steps).
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from browsercrawl.clock import SystemClock
from browsercrawl.config import CrawlerConfig
from browsercrawl.crawler.files import RunFiles, open_run
from browsercrawl.crawler.inputs.waiting import threaded
from browsercrawl.errors import ErrorKind
from browsercrawl.events import discard
from browsercrawl.output import Projection, Sink, Space

if TYPE_CHECKING:
    from browsercrawl.frontier.sqlite import SqliteFrontier


async def take_back_failed(
    directory: Path, kinds: Collection[ErrorKind] | None = None, *, sinks: Callable[[], Sequence[Sink]] = tuple
) -> int:
    """Make failed requests of a run wait again, as if they had never been visited, and take out their results.

    Seeds that could not be read, or are no URLs, stay failed: they never were requests.

    Args:
        directory: of the run; nobody may be running it.
        kinds: of failures; None: all.
        sinks: makes the user's, for results that a killed process has left to be written; called only if there are any.

    Returns:
        How many were taken back.

    Raises:
        RunDirectoryError, RunBusy, RunDamaged: the run cannot be used.
        OutputFailed: it cannot be written; nothing was taken back.
    """
    clock = SystemClock()
    space = Space(clock=clock, emit=discard)
    config = CrawlerConfig(output=directory, resume=True)
    space.give_up()  # nothing is under way that would be worth waiting for room
    async with AsyncExitStack() as stack:
        files = await open_run(stack, config, clock=clock, space=space)
        await _write_what_waits(files, space, sinks)
        return await _take_back(files, kinds)


async def _write_what_waits(files: RunFiles, space: Space, sinks: Callable[[], Sequence[Sink]]) -> None:
    """Make the file of results complete."""
    if not await files.frontier.lines(1):
        return
    projection = Projection(
        files.frontier, file=files.results, sinks=sinks(), space=space, clock=SystemClock(), emit=discard
    )
    projection.start(on_failure=_raised_by_close, on_room=_nobody_waits)
    await projection.close()


async def _take_back(files: RunFiles, kinds: Collection[ErrorKind] | None) -> int:
    directory, frontier = files.directory, cast("SqliteFrontier", files.frontier)
    assert directory is not None, "opened from one"
    failed = await frontier.failed(kinds)
    if not failed:
        return 0
    size = int((await frontier.notes()).get("results_size", 0))
    new_size = await threaded(partial(directory.replace_results, lambda name: name not in failed, size=size))
    # From here on the store says which of the two files counts.
    count = await frontier.take_back(kinds, size=new_size)
    await threaded(directory.finish_swap)
    await frontier.note({"results_swap": ""})
    return count


def _raised_by_close(error: Exception) -> None:
    """Do nothing: `Projection.close` raises it as well."""


def _nobody_waits() -> None:
    """Do nothing: nothing is claimed here."""
