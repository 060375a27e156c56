"""What the command line looks at before a crawl begins, and which kind of input it takes a file for."""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from browsercrawl.cli.arguments import BadUsage
from browsercrawl.cli.seeds import OwnedSeeds, open_urls
from browsercrawl.cli.streams import write_all
from browsercrawl.config import LinksConfig
from browsercrawl.crawler.inputs import JobSeeds, Pipe
from browsercrawl.errors import InputError
from browsercrawl.request import Request


@contextmanager
def _standard_input(descriptor: int) -> Iterator[None]:
    kept = os.dup(0)
    os.dup2(descriptor, 0)
    try:
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)


def test_open_urls_missing_or_directory_is_bad_usage(tmp_path: Path) -> None:
    """What cannot be read is refused before anything starts."""
    for path, reason in ((tmp_path / "none", "No such file"), (tmp_path, "is a directory")):
        with pytest.raises(BadUsage, match=reason), open_urls(str(path)):
            pass


def test_open_urls_regular_file_is_a_path_and_anything_else_a_pipe(tmp_path: Path) -> None:
    """A file can be read again after a kill; a named pipe cannot, and is closed at the end."""
    (tmp_path / "urls.txt").touch()
    with open_urls(str(tmp_path / "urls.txt")) as file:
        assert file == tmp_path / "urls.txt"
    os.mkfifo(tmp_path / "pipe")
    writer = os.open(tmp_path / "pipe", os.O_RDWR)
    with open_urls(str(tmp_path / "pipe")) as file:
        assert isinstance(file, Pipe)
        assert file.descriptor is not None
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file.descriptor)
    os.close(writer)
    with open_urls(None) as file:
        assert file is None


def test_open_urls_resumed_takes_standard_input_only_from_a_pipe_or_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resumed run waits for nobody at a terminal: only what is piped or redirected to it counts."""
    (tmp_path / "rest.txt").touch()
    rest = os.open(tmp_path / "rest.txt", os.O_RDONLY)
    terminal, screen = os.openpty()
    reading, writing = os.pipe()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor in (reading, rest):
        with _standard_input(descriptor), open_urls("-", resumed=tmp_path) as file:
            assert file == Pipe("standard input", 0, is_rest=True)
    for descriptor in (nothing, screen):
        with _standard_input(descriptor), open_urls("-", resumed=tmp_path) as file:
            assert file == Pipe("standard input", None, is_rest=True)
    with _standard_input(nothing), open_urls("-") as file:
        assert file == Pipe("standard input", 0)
    with monkeypatch.context() as patch, _standard_input(rest):  # as when started with it closed
        patch.setattr(sys, "stdin", None)
        with open_urls("-", resumed=tmp_path) as file:
            assert file == Pipe("standard input", None, is_rest=True)
    for descriptor in (reading, writing, nothing, rest, terminal, screen):
        os.close(descriptor)


def test_open_urls_resumed_takes_a_named_pipe_from_the_run_directory(tmp_path: Path) -> None:
    """What came through a pipe stands in the run directory; a file that is missing may not be needed any more."""
    with open_urls("/dev/fd/63", resumed=tmp_path) as file:
        assert file == Path("/dev/fd/63")
    (tmp_path / "input.txt").touch()
    nothing = os.open(os.devnull, os.O_RDONLY)
    with _standard_input(nothing), open_urls("/dev/fd/63", resumed=tmp_path) as file:
        assert file == Pipe("/dev/fd/63", None, is_rest=True)
    os.close(nothing)


async def test_write_all_waits_for_a_slow_reader_and_writes_files(tmp_path: Path) -> None:
    """More than a pipe holds is written while somebody reads; the event loop is free meanwhile; a file just works."""
    data = os.urandom(300_000)
    reading, writing = os.pipe()
    task = asyncio.ensure_future(write_all(writing, data))
    read = b""
    while len(read) < len(data):
        read += await asyncio.to_thread(os.read, reading, 65_536)
    await task
    assert read == data
    os.close(reading)
    os.close(writing)
    file = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    await write_all(file, data)
    os.close(file)
    assert (tmp_path / "file").read_bytes() == data


def test_owned_seeds_belong_to_the_session_unless_they_name_one() -> None:
    """Marks stay, what is no URL stays a failure, and the addresses that are the same page stay the same."""
    urls: list[Any] = ["http://a.test/#x", {"url": "http://a.test/b", "session": "bob"}, "nonsense"]
    seeds = OwnedSeeds(JobSeeds(urls=urls), session="alice", links=LinksConfig(keep_fragments=True))

    async def read() -> None:
        (batch,) = [batch async for batch in seeds.batches(None)]
        (plain,) = [batch async for batch in JobSeeds(urls=urls).batches(None)]
        assert batch.mark == plain.mark
        mine, theirs, wrong = batch.seeds
        assert mine == Request(url="http://a.test/#x", session="alice", keep_fragment=True)
        assert theirs == Request(url="http://a.test/b", session="bob")
        assert isinstance(wrong, InputError)

    asyncio.run(read())
