"""What a run works on: its directory, its frontier and its results file; new, or found from an earlier process."""

import asyncio
import json
import os
import uuid
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from browsercrawl.clock import Clock
from browsercrawl.config import CrawlerConfig, LinksConfig
from browsercrawl.dispatcher import StoreFile
from browsercrawl.frontier import Bounds, Frontier, MemoryFrontier, SessionLimitOf
from browsercrawl.output import ArtifactStore, ResultFile, RunDirectory, Space
from browsercrawl.politeness import slot_key, slot_rules
from browsercrawl.result import Artifact, DownloadedFile
from browsercrawl.visit import CapturedFile


def storing_in(artifacts: ArtifactStore) -> StoreFile:
    """Return what writes a visit's files into a run directory."""

    async def store(request_id: str, file: CapturedFile | DownloadedFile) -> Artifact:
        if isinstance(file, DownloadedFile):
            return await artifacts.keep(request_id, file)
        return await artifacts.write(request_id, file.name, data=file.body, extension=file.extension)

    return store


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFiles:
    """What a run works on.

    Attributes:
        directory: None: the run has none, and ends with its process.
        results: None without a directory.
        resumed: an earlier process began the run.
        notes: what earlier processes of the run remembered.
        totals: what they counted.
        returned: requests that were being visited when the last of them ended.
    """

    run_id: str
    frontier: Frontier
    directory: RunDirectory | None = None
    results: ResultFile | None = None
    resumed: bool = False
    notes: Mapping[str, str] = field(default_factory=dict)
    totals: Mapping[str, int] = field(default_factory=dict)
    returned: int = 0


def _no_limit(_session: str) -> int | None:
    return None


async def open_run(
    stack: AsyncExitStack,
    config: CrawlerConfig,
    *,
    clock: Clock,
    space: Space,
    session_limit_of: SessionLimitOf = _no_limit,
    job: str | None = None,
) -> RunFiles:
    """Make what a run works on; or open what `config.output` holds, if `config.resume` says so.

    Args:
        stack: gets what lets go of it all.
        config: of the run.
        clock: of the run.
        space: is told when the store waits for room on the disk.
        session_limit_of: gives each session's room.
        job: the job of a new run as it was written, to resume it by; None: it belongs to a Python program.

    Raises:
        RunDirectoryError, RunBusy, RunDamaged: the directory cannot be made or used.
        OutputFailed: it cannot be written.
    """
    if config.output is None:
        begun = {"started_at": clock.utc().isoformat()}
        return RunFiles(run_id=_new_id(), frontier=_in_memory(stack, config, clock, session_limit_of), notes=begun)
    from browsercrawl.frontier.sqlite import (  # noqa: PLC0415 - `import browsercrawl` must not load sqlite3
        SqliteFrontier,
        StoreOptions,
        make_store,
    )

    is_there = config.resume and await asyncio.to_thread(os.path.lexists, config.output)
    if is_there:
        directory = await asyncio.to_thread(RunDirectory.open, config.output)
    else:
        notes = {"run_id": _new_id(), "started_at": clock.utc().isoformat()} | ({"job": job} if job else {})
        directory = await asyncio.to_thread(_make_directory, config, notes, make_store)
    stack.callback(directory.close)
    frontier = await SqliteFrontier.open(
        directory.store,
        clock=clock,
        rules_of=slot_rules(config.host, config.hosts),
        options=StoreOptions(
            most=_most(config.links),
            session_limit_of=session_limit_of,
            slot_of=slot_key(config.host),
            on_full=_on_full(space, directory.store),
            given_up=space.given_up,
        ),
    )
    stack.push_async_callback(frontier.close)
    stored = await frontier.notes()
    if stored.get("results_swap"):
        await asyncio.to_thread(directory.finish_swap)
        await frontier.note({"results_swap": ""})
    else:
        await asyncio.to_thread(directory.drop_swap)
    results = stack.enter_context(closing(ResultFile(directory.results, size=int(stored.get("results_size", 0)))))
    return RunFiles(
        run_id=stored["run_id"],
        directory=directory,
        frontier=frontier,
        results=results,
        resumed=is_there,
        notes=stored,
        totals=await frontier.totals(),
        returned=frontier.returned,
    )


def _most(links: LinksConfig) -> Bounds:
    """Return how many requests a frontier may store."""
    return Bounds(requests=links.max_requests, of_host=links.max_per_host, of_path=links.max_per_path)


def _in_memory(
    stack: AsyncExitStack, config: CrawlerConfig, clock: Clock, session_limit_of: SessionLimitOf
) -> Frontier:
    frontier = MemoryFrontier(
        clock=clock,
        rules_of=slot_rules(config.host, config.hosts),
        most=_most(config.links),
        session_limit_of=session_limit_of,
        slot_of=slot_key(config.host),
    )
    stack.push_async_callback(frontier.close)
    return frontier


def _make_directory(config: CrawlerConfig, notes: Mapping[str, str], make_store: Callable[..., None]) -> RunDirectory:
    assert config.output is not None, "asked for by who has one"
    options = json.loads(notes["job"]) if "job" in notes else config.model_dump(mode="json", fallback=str)

    def prepare(fresh: Path) -> None:
        make_store(fresh / "run.sqlite", notes=notes)

    return RunDirectory.create(config.output, options=options, prepare=prepare)


def _on_full(space: Space, path: Path) -> Callable[[str | None], None]:
    """Pass on, to the event loop, what the store's thread says about the disk."""
    loop = asyncio.get_running_loop()

    def tell(message: str | None) -> None:
        if message is None:
            loop.call_soon_threadsafe(space.free)
        else:
            loop.call_soon_threadsafe(space.full, path, message)

    return tell


def _new_id() -> str:
    return uuid.uuid4().hex[:16]
