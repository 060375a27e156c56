"""Input that comes once: kept as it arrives, read from what was kept, whatever happens in between."""

import asyncio
import errno
import os
import subprocess
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar, cast

import pytest

from browsercrawl.clock import SystemClock
from browsercrawl.crawler.inputs import JobSeeds, Pipe
from browsercrawl.crawler.inputs.pipe import Spool
from browsercrawl.dispatcher.feed import Batch, Seed
from browsercrawl.errors import InputChanged, InputError, OutputFailed
from browsercrawl.events import discard
from browsercrawl.output import Space
from browsercrawl.testing.virtual_clock import VirtualClock

T = TypeVar("T")

_LIMIT_S = 10.0


def _open(seeds: JobSeeds, mark: str | None = None) -> AsyncGenerator[Batch, None]:
    return cast("AsyncGenerator[Batch, None]", seeds.batches(mark))


async def _batches(seeds: JobSeeds, mark: str | None = None) -> list[Batch]:
    async with aclosing(_open(seeds, mark)) as batches:
        return [batch async for batch in batches]


async def _cut_batches(seeds: JobSeeds, mark: str | None = None) -> tuple[list[Batch], str]:
    """Return what is read of input that was cut off, and what is said at its end."""
    found: list[Batch] = []

    async def read() -> None:
        async with asyncio.timeout(_LIMIT_S), aclosing(_open(seeds, mark)) as batches:
            async for batch in batches:
                found.append(batch)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(InputError) as caught:
        await read()
    return found, caught.value.message


def _seeds(batches: Sequence[Batch]) -> list[Seed]:
    return [seed for batch in batches for seed in batch.seeds]


def _shown(batches: Sequence[Batch]) -> list[str]:
    """Return what makes two seeds the same to the crawler."""
    return [
        f"{seed.place}: {seed.text} {seed.message}" if isinstance(seed, InputError) else str(seed)
        for seed in _seeds(batches)
    ]


class _Pipe:
    """A pipe, what writes to it, and the run directory that keeps it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.reading, self._writing = os.pipe()
        self._open = {self.reading, self._writing}

    def write(self, data: bytes) -> None:
        os.write(self._writing, data)

    def end(self) -> None:
        self._open.remove(self._writing)
        os.close(self._writing)

    def close(self) -> None:
        for descriptor in self._open:
            os.close(descriptor)

    def seeds(self, *, gone: bool = False, is_rest: bool = False) -> JobSeeds:
        source = Pipe("standard input", None if gone else self.reading, is_rest=is_rest or gone)
        return JobSeeds(file=source, directory=self.directory)


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[_Pipe]:
    """Give a pipe, closed afterwards."""
    made = _Pipe(tmp_path)
    yield made
    made.close()


async def test_batches_pipe_yields_lines_as_they_are_written(pipe: _Pipe) -> None:
    """A line is there as soon as it has been written, long before the writer ends, and the event loop is free."""
    async with asyncio.timeout(_LIMIT_S), aclosing(_open(pipe.seeds())) as batches:
        waiting = asyncio.ensure_future(anext(batches))
        await asyncio.sleep(0)
        assert not waiting.done()
        pipe.write(b"https://a.example/\nhttps://b.exam")
        assert (await waiting).seeds == ["https://a.example/"]
        assert (pipe.directory / "input.txt.part").stat().st_mode & 0o777 == 0o600
        pipe.write(b"ple/\nhttps://c.example/")
        assert (await anext(batches)).seeds == ["https://b.example/"]
        pipe.end()
        assert (await anext(batches)).seeds == ["https://c.example/"]  # without a newline, but properly ended
        assert await anext(batches, None) is None
    assert not (pipe.directory / "input.txt.part").exists()
    assert (pipe.directory / "input.txt").read_bytes().endswith(b"c.example/")


async def test_batches_pipe_given_up_while_waiting_leaves_no_reader(pipe: _Pipe) -> None:
    """Giving up on a silent pipe ends at once and takes the descriptor off the loop."""
    async with aclosing(_open(pipe.seeds())) as batches:
        waiting = asyncio.ensure_future(anext(batches))
        for _ in range(50):
            await asyncio.sleep(0.001)  # until it waits for the pipe; sooner or later makes no difference
        waiting.cancel()
        await asyncio.wait([waiting], timeout=_LIMIT_S)
        assert waiting.cancelled()
    assert asyncio.get_running_loop().remove_reader(pipe.reading) is False


@pytest.mark.parametrize("is_ended", [True, False])
async def test_batches_pipe_from_every_mark_gives_exactly_the_rest(pipe: _Pipe, is_ended: bool) -> None:
    """What came through a pipe is read on without it; what is missing because it was cut off is told at its end."""
    pipe.write(b"".join(b"https://a.example/%d\n" % number for number in range(1_000)) + b"bad\nhttps://torn.exam")
    if is_ended:
        pipe.end()
    async with asyncio.timeout(_LIMIT_S), aclosing(_open(pipe.seeds())) as batches:
        read = [await anext(batches)]
        while "bad" not in [getattr(seed, "text", "") for seed in read[-1].seeds]:
            read.append(await anext(batches))
        read.extend([batch async for batch in batches] if is_ended else [])
    if is_ended:
        assert _shown(await _batches(pipe.seeds(gone=True))) == _shown(read)
    for number, mark in enumerate([None, *(batch.mark for batch in read)]):
        if is_ended:
            rest = await _batches(pipe.seeds(gone=True), mark)
        else:
            rest, told = await _cut_batches(pipe.seeds(gone=True), mark)
            assert "first 1,001 whole lines" in told
        assert _shown(rest) == _shown(read[number:])


async def test_batches_pipe_that_was_cut_asks_for_the_rest_until_it_is_given(pipe: _Pipe, tmp_path: Path) -> None:
    """No pipe, or one that ends without a byte, completes nothing, however often; the message names what does."""
    (tmp_path / "input.txt.part").write_bytes(b"https://a.example/\nhttps://b.exam")
    ended, writing = os.pipe()
    os.close(writing)
    mark = ""
    for descriptor in (None, ended, ended):
        seeds = JobSeeds(file=Pipe("standard input", descriptor, is_rest=True), directory=tmp_path)
        found, told = await _cut_batches(seeds)
        assert _seeds(found) == ["https://a.example/"]
        assert "standard input was cut off" in told
        assert f"first 1 whole lines were kept; pipe what follows them to browsercrawl resume {tmp_path}, or" in told
        assert f"echo | browsercrawl resume {tmp_path}" in told
        mark = found[-1].mark
        _, again = await _cut_batches(seeds, mark)
        assert again == told
    os.close(ended)
    pipe.write(b"\n")
    pipe.end()
    assert await _batches(pipe.seeds(is_rest=True), mark) == []
    assert (tmp_path / "input.txt").read_bytes() == b"https://a.example/\n\n"


async def test_batches_pipe_that_was_cut_before_anything_was_kept_is_not_complete(tmp_path: Path) -> None:
    """A run that was killed before it looked at its pipe misses all of it, also when resumed with an empty one."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    seeds = JobSeeds(file=Pipe("standard input", nothing, is_rest=True), directory=tmp_path)
    found, told = await _cut_batches(seeds)
    os.close(nothing)
    assert found == []
    assert "first 0 whole lines" in told


async def test_batches_empty_pipe_of_a_new_run_is_complete(pipe: _Pipe, tmp_path: Path) -> None:
    """A new run whose input ends without a byte has an empty input, not one that was cut off."""
    pipe.end()
    assert await _batches(pipe.seeds()) == []
    assert await _batches(pipe.seeds(gone=True)) == []


async def test_batches_sitemaps_wait_for_the_rest_of_a_pipe(tmp_path: Path) -> None:
    """What comes after the pipe is not begun before the pipe is complete: a mark behind it would forget the rest."""
    seeds = JobSeeds(
        urls=["https://a.example/"],
        file=Pipe("standard input", None, is_rest=True),
        sitemaps=["http://127.0.0.1:1/sitemap.xml"],  # nobody listens there: it would be a failed seed
        directory=tmp_path,
    )
    found, _ = await _cut_batches(seeds)
    assert _seeds(found) == ["https://a.example/"]


async def test_batches_pipe_given_again_goes_on_behind_the_whole_lines(pipe: _Pipe, tmp_path: Path) -> None:
    """A line that a kill has torn is dropped; what is piped to the resumed run follows, with the next number."""
    (tmp_path / "input.txt.part").write_bytes(b"https://a.example/\nhttps://b.exam")
    pipe.write(b"https://b.example/\nbad\n")
    pipe.end()
    a, b, bad = _seeds(await _batches(pipe.seeds(is_rest=True)))
    assert (a, b) == ("https://a.example/", "https://b.example/")
    assert isinstance(bad, InputError)
    assert bad.place == "file 3"
    assert (tmp_path / "input.txt").read_bytes() == b"https://a.example/\nhttps://b.example/\nbad\n"


async def test_batches_pipe_that_was_complete_is_not_read_again(pipe: _Pipe, tmp_path: Path) -> None:
    """Once all of the input is kept, nobody waits for another."""
    (tmp_path / "input.txt").write_bytes(b"https://a.example/")
    async with asyncio.timeout(_LIMIT_S):
        assert _seeds(await _batches(pipe.seeds())) == ["https://a.example/"]


async def test_batches_pipe_whose_kept_lines_changed_is_refused(pipe: _Pipe, tmp_path: Path) -> None:
    """What was kept of a pipe is checked like any file."""
    pipe.write(b"https://a.example/\nhttps://b.example/\n")
    pipe.end()
    (batch,) = await _batches(pipe.seeds())
    (tmp_path / "input.txt").write_bytes(b"https://a.example/\nhttps://x.example/\n")
    with pytest.raises(InputChanged, match="standard input has changed"):
        await _batches(pipe.seeds(gone=True), batch.mark)


async def test_batches_regular_file_as_standard_input_is_kept(tmp_path: Path) -> None:
    """What is redirected to standard input counts as a pipe: it has no name to find it by again."""
    (tmp_path / "urls.txt").write_text("https://a.example/\n" * 10_000)
    descriptor = os.open(tmp_path / "urls.txt", os.O_RDONLY)
    found = _seeds(await _batches(JobSeeds(file=Pipe("standard input", descriptor), directory=tmp_path)))
    os.close(descriptor)
    assert len(found) == 10_000
    assert (tmp_path / "input.txt").read_bytes() == (tmp_path / "urls.txt").read_bytes()


async def test_spool_endless_pipe_is_kept_only_so_far_ahead(tmp_path: Path) -> None:
    """An endless writer is held back until the crawl has caught up, and then let on."""
    line = b"https://a.example/\n"
    writer = subprocess.Popen(["yes", line.decode().strip()], stdout=subprocess.PIPE)  # noqa: ASYNC220 - starts at once
    assert writer.stdout is not None
    source = Pipe("standard input", writer.stdout.fileno())
    part = tmp_path / "input.txt.part"
    ahead = 1_000_000
    try:
        async with (
            asyncio.timeout(_LIMIT_S),
            Spool(source, directory=tmp_path, space=_space(), ahead_bytes=ahead) as spool,
        ):
            for read_to in (0, 5_000_000):
                while not part.stat().st_size >= read_to + ahead:
                    await spool.read(read_to)
                    await asyncio.sleep(0.001)
                for _ in range(20):
                    await asyncio.sleep(0.001)  # it would go on
                assert part.stat().st_size < read_to + ahead + 2 * 65_536
    finally:
        writer.kill()
        writer.wait()
        writer.stdout.close()


async def test_batches_pipe_that_cannot_be_kept_fails_the_run(pipe: _Pipe, tmp_path: Path) -> None:
    """Without a place to keep it a pipe is not read: the error names the file."""
    (tmp_path / "input.txt.part").mkdir()
    with pytest.raises(OutputFailed, match=r"input\.txt\.part cannot be opened"):
        await _batches(pipe.seeds())


async def test_batches_full_disk_waits_and_goes_on(pipe: _Pipe, tmp_path: Path) -> None:
    """While the disk is full, what arrives waits; nothing of it is lost or doubled when there is room again."""
    data = b"".join(b"https://a.example/%d\n" % number for number in range(2_000))
    pipe.write(data)
    pipe.end()
    seeds = JobSeeds(file=Pipe("standard input", pipe.reading), directory=tmp_path, space=_FullOnce())
    assert len(_seeds(await _batches(seeds))) == 2_000
    assert (tmp_path / "input.txt").read_bytes() == data


class _FullOnce(Space):
    """A disk that is full at the first try of each write of the spool, after that was done."""

    def __init__(self) -> None:
        super().__init__(clock=VirtualClock(autojump=True), emit=discard)

    async def write(self, work: Callable[[], T], *, path: Path) -> T:
        tries = iter([OSError(errno.ENOSPC, "No space left on device"), None])

        def attempt() -> T:
            done = work()
            if (error := next(tries)) is not None and path.suffix == ".part":
                raise error
            return done

        return await super().write(attempt, path=path)


def _space() -> Space:
    return Space(clock=SystemClock(), emit=discard)
