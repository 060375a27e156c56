"""Reading the first requests."""

import asyncio
import os
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from browsercrawl.cli.arguments import BadUsage
from browsercrawl.cli.seeds import Seed, check_urls, open_urls, read_seeds
from browsercrawl.errors import InputError
from browsercrawl.request import Request


async def _read(path: Path, urls: Sequence[str] = ()) -> list[Seed]:
    with open_urls(str(path)) as file:
        return [seed async for seed in read_seeds(urls, file)]


async def test_read_seeds_plain_and_json_lines_are_requests(tmp_path: Path) -> None:
    """Arguments come first; blank lines and comments mean nothing; a JSON line may set every field of a request."""
    file = tmp_path / "urls.txt"
    file.write_bytes(
        b"\xef\xbb\xbfhttps://a.example/\r\n\n  # a comment\n   https://b.example/#x  \n"
        b'{"url": "https://c.example/", "priority": 5, "session": "bob"}'
    )
    assert await _read(file, ["https://first.example/"]) == [
        Request(url="https://first.example/"),
        Request(url="https://a.example/"),
        Request(url="https://b.example/#x"),
        Request(url="https://c.example/", priority=5, session="bob"),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"example.com", "not a URL: 'example.com'; write it in full"),
        (b"file:///etc/passwd", "nothing else can be crawled"),
        (b'{"url": "https://a.example/", "prioriti": 1}', "prioriti: there is no such key; did you mean priority?"),
        (b'{"priority": 1}', "url: is missing"),
        (b'{"url": ', "Invalid JSON"),
        (b"https://a.example/\xff", "not UTF-8"),
        (b"https://a.example/" + b"x" * 1_000_001, "longer than 1,000,000 bytes"),
        (b"https://a.example/" + b"x" * 70_000, "at most 65,536"),
    ],
)
async def test_read_seeds_one_bad_line_names_it_and_the_rest_goes_on(tmp_path: Path, line: bytes, reason: str) -> None:
    """A bad line is one InputError naming file, line and reason; every other line is read."""
    lines = [b"https://a.example/%d" % number for number in range(10_000)]
    lines[7_122] = line
    file = tmp_path / "urls.txt"
    file.write_bytes(b"\n".join(lines))
    seeds = await _read(file)
    (error,) = [seed for seed in seeds if isinstance(seed, InputError)]
    assert error.message.startswith(f"{file}, line 7123: ")
    assert reason in error.message
    assert len(seeds) == len(lines)


async def test_read_seeds_malformed_url_is_of_its_own_kind(tmp_path: Path) -> None:
    """A line that is no URL has the kind it has from Python, and keeps its text; what cannot be read has another."""
    file = tmp_path / "urls.txt"
    file.write_text('htp:/x\n{"url": "file:"}\n{"priority": "x", "url": "https://a.example/"}\n{\n')
    seeds = [seed for seed in await _read(file) if isinstance(seed, InputError)]
    assert [seed.kind for seed in seeds] == ["url_invalid", "url_invalid", "input_invalid", "input_invalid"]
    assert seeds[0].text == "htp:/x"


async def test_read_seeds_bad_line_with_password_does_not_show_it(tmp_path: Path) -> None:
    """The message about a bad URL leaves out user name and password."""
    file = tmp_path / "urls.txt"
    file.write_text("ftp://bob:hunter2@a.example/\n")
    assert "hunter2" not in str(await _read(file))


async def test_read_seeds_pipe_yields_lines_as_they_are_written(tmp_path: Path) -> None:
    """A line is there as soon as it has been written, long before the writer ends, and the event loop is free."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR)  # both ways, so that opening does not wait for the other end
    with open_urls(str(path)) as file:
        seeds = read_seeds([], file)
        waiting = asyncio.ensure_future(anext(seeds))
        await asyncio.sleep(0)
        assert not waiting.done()
        os.write(writer, b"https://a.example/\nhttps://b.exam")
        assert await waiting == Request(url="https://a.example/")
        os.write(writer, b"ple/\n")
        assert await anext(seeds) == Request(url="https://b.example/")
        last = asyncio.ensure_future(anext(seeds, None))
        await asyncio.sleep(0)
        os.close(writer)
        assert await last is None


async def test_read_seeds_cancelled_while_waiting_leaves_no_reader(tmp_path: Path) -> None:
    """Giving up on a silent pipe ends at once and takes the descriptor off the loop."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR)
    with open_urls(str(path)) as file:
        assert file is not None
        waiting = asyncio.ensure_future(anext(read_seeds([], file)))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert asyncio.get_running_loop().remove_reader(file.descriptor) is False
    os.close(writer)


def test_open_urls_missing_or_directory_is_bad_usage(tmp_path: Path) -> None:
    """What cannot be read is refused before anything starts."""
    for path, reason in ((tmp_path / "none", "No such file"), (tmp_path, "is a directory")):
        with pytest.raises(BadUsage, match=reason), open_urls(str(path)):
            pass


def test_check_urls_only_wrong_ones_are_refused_with_the_likely_meaning() -> None:
    """A forgotten scheme is the commonest mistake: the message holds the full URL."""
    with pytest.raises(BadUsage, match=re.escape("did you mean https://example.com/a ?")):
        check_urls(["example.com/a"])
    with pytest.raises(BadUsage, match="nothing else can be crawled"):
        check_urls(["file:///etc/passwd"])
    check_urls(["https://example.com/", "nonsense"])
    check_urls([])
