"""The seeds of a job: what is read, and that reading goes on from every mark as if it had never stopped."""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from browsercrawl.config import CrawlerConfig
from browsercrawl.crawler.inputs import JobSeeds, Pipe
from browsercrawl.dispatcher.feed import Batch, DurableSeeds, Seed
from browsercrawl.errors import ConfigError, InputChanged, InputError, RunDamaged
from browsercrawl.request import Request

T = TypeVar("T")

_LIMIT_S = 10.0


def _open(seeds: JobSeeds, mark: str | None = None) -> AsyncGenerator[Batch, None]:
    return cast("AsyncGenerator[Batch, None]", seeds.batches(mark))


async def _batches(seeds: JobSeeds, mark: str | None = None, *, most: int | None = None) -> list[Batch]:
    found: list[Batch] = []
    async with aclosing(_open(seeds, mark)) as batches:
        async for batch in batches:
            found.append(batch)
            if len(found) == most:
                break
    return found


def _seeds(batches: Sequence[Batch]) -> list[Seed]:
    return [seed for batch in batches for seed in batch.seeds]


def _shown(batches: Sequence[Batch]) -> list[tuple[str, ...]]:
    """Return what makes two seeds the same to the crawler."""
    return [
        (seed.place, seed.text, seed.message)
        if isinstance(seed, InputError)
        else (seed if isinstance(seed, str) else seed.model_dump_json(),)
        for seed in _seeds(batches)
    ]


async def _read(path: Path) -> list[Seed]:
    return _seeds(await _batches(JobSeeds(file=path)))


# --- what is read ----------------------------------------------------------------------------------------------------


async def test_batches_lists_then_file_in_batches_of_fifty(tmp_path: Path) -> None:
    """Listed seeds come first, then the file, at most 50 at once: URLs as they are, requests with their fields."""
    (tmp_path / "urls.txt").write_text("".join(f"https://b.example/{number}\n" for number in range(70)))
    given_request = Request(url="https://c.example/", priority=3)
    urls = [f"https://a.example/{number}" for number in range(60)]
    seeds = JobSeeds(
        urls=[*urls, given_request, {"url": "https://d.example/", "label": "x"}, {"url": "https://e.example/", "x": 1}],
        file=tmp_path / "urls.txt",
    )
    assert isinstance(seeds, DurableSeeds)
    batches = await _batches(seeds)
    assert [len(batch.seeds) for batch in batches] == [50, 13, 50, 20]
    found = _seeds(batches)
    assert found[:60] == urls
    assert found[60:62] == [given_request, Request(url="https://d.example/", label="x")]
    assert isinstance(found[62], InputError)
    assert found[62].message.startswith("URL 63: x: there is no such key")
    assert found[63:] == [f"https://b.example/{number}" for number in range(70)]


async def test_batches_plain_and_json_lines_are_requests(tmp_path: Path) -> None:
    """Blank lines and comments mean nothing, nor do mark, CRLF and a missing end; a JSON line may set every field."""
    file = tmp_path / "urls.txt"
    file.write_bytes(
        b"\xef\xbb\xbfhttps://a.example/\r\n\n  # a comment\n   https://b.example/#x  \n"
        b'{"url": "https://c.example/", "priority": 5, "session": "bob"}'
    )
    assert await _read(file) == [
        "https://a.example/",
        "https://b.example/#x",
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
        (b"https://a.example/" + b"x" * 3_000_000, "longer than 1,000,000 bytes"),
        (b"https://a.example/" + b"x" * 70_000, "65536 is the limit"),
    ],
)
@pytest.mark.parametrize("index", [0, 7_122, 9_999])
async def test_batches_one_bad_line_names_it_and_the_rest_goes_on(
    tmp_path: Path, line: bytes, reason: str, index: int
) -> None:
    """A bad line is one InputError naming file, line and reason; all others are read, also from the marks around."""
    lines = [b"https://a.example/%d" % number for number in range(10_000)]
    lines[index] = line
    file = tmp_path / "urls.txt"
    file.write_bytes(b"\n".join(lines))
    batches = await _batches(JobSeeds(file=file))
    seeds = _seeds(batches)
    (error,) = [seed for seed in seeds if isinstance(seed, InputError)]
    assert error.message.startswith(f"{file}, line {index + 1}: ")
    assert error.place == f"file {index + 1}"
    assert reason in error.message
    assert len(seeds) == len(lines)
    at = next(number for number, batch in enumerate(batches) if error in batch.seeds)
    for number in {at, at - 1} - {-1}:
        again = await _batches(JobSeeds(file=file), batches[number].mark)
        assert _shown(again) == _shown(batches[number + 1 :])


async def test_batches_malformed_url_is_of_its_own_kind(tmp_path: Path) -> None:
    """A line that is no URL has the kind it has from Python, and keeps its text; what cannot be read has another."""
    file = tmp_path / "urls.txt"
    file.write_text('htp:/x\n{"url": "file:"}\n{"priority": "x", "url": "https://a.example/"}\n{\n')
    seeds = [seed for seed in await _read(file) if isinstance(seed, InputError)]
    assert [seed.kind for seed in seeds] == ["url_invalid", "url_invalid", "input_invalid", "input_invalid"]
    assert seeds[0].text == "htp:/x"


async def test_batches_bad_line_with_password_does_not_show_it(tmp_path: Path) -> None:
    """The message about a bad URL leaves out user name and password."""
    file = tmp_path / "urls.txt"
    file.write_text("ftp://bob:hunter2@a.example/\n")
    assert "hunter2" not in str(await _read(file))


async def test_batches_missing_file_is_named(tmp_path: Path) -> None:
    """A file that is not there ends the input with a message; when the run has read of it before, as a change."""
    with pytest.raises(InputError, match=r"urls\.txt cannot be read: No such file"):
        await _batches(JobSeeds(file=tmp_path / "urls.txt"))
    (tmp_path / "urls.txt").write_text("https://a.example/\n")
    (batch,) = await _batches(JobSeeds(file=tmp_path / "urls.txt"))
    (tmp_path / "urls.txt").unlink()
    with pytest.raises(InputChanged, match=r"urls\.txt cannot be read: No such file"):
        await _batches(JobSeeds(file=tmp_path / "urls.txt"), batch.mark)


async def test_batches_unknown_mark_is_refused(tmp_path: Path) -> None:
    """A mark of another kind of input, or of another version, is an error and not a guess."""
    for mark in ("50", "{}x", '{"part": "somewhere"}'):
        with pytest.raises(RunDamaged, match="cannot be understood"):
            await _batches(JobSeeds(urls=["https://a.example/"]), mark)


def test_job_seeds_impossible_input_is_refused_at_once(tmp_path: Path) -> None:
    """A pipe without a directory, and sitemaps through a proxy that cannot serve them, fail before anything starts."""
    with pytest.raises(ValueError, match="needs a run directory"):
        JobSeeds(file=Pipe("standard input", 0))
    bare = CrawlerConfig.load({"browser": {"proxy": "socks5://127.0.0.1:1"}, "network": {"guard": "off"}})
    with pytest.raises(ConfigError, match=r"network\.guard is off, .* socks5"):
        JobSeeds(sitemaps=["http://a.test/"], config=bare)


# --- going on from a mark --------------------------------------------------------------------------------------------

_LINES = st.lists(
    st.one_of(
        st.integers(0, 999).map(lambda number: b"https://a.example/%d" % number),
        st.sampled_from([b"", b"# x", b"bad", b"\xff", b'{"url": "https://b.example/"}', b"https://c.example/\r"]),
        st.integers(1, 5).map(lambda size: b"h" * (size * 300_000)),
    ),
    max_size=260,
)


@settings(max_examples=60, deadline=None)
@given(lines=_LINES, end=st.sampled_from([b"", b"\n"]), start=st.sampled_from([b"", b"\xef\xbb\xbf"]))
def test_batches_from_every_mark_give_exactly_the_rest(lines: list[bytes], end: bytes, start: bytes) -> None:
    """Wherever a run is killed: what is read from the last stored mark on is what had not been read."""

    async def check(path: Path) -> None:
        def seeds() -> JobSeeds:
            return JobSeeds(urls=["https://first.example/", "bad"] * 40, file=path)

        batches = await _batches(seeds())
        for number, batch in enumerate(batches):
            assert len(batch.seeds) <= 50
            again = await _batches(seeds(), batch.mark)
            assert _shown(again) == _shown(batches[number + 1 :])
            assert [each.mark for each in again] == [each.mark for each in batches[number + 1 :]]

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "urls.txt"
        path.write_bytes(start + b"\n".join(lines) + end)
        asyncio.run(check(path))


async def _read_some(path: Path, *, count: int = 200, end: str = "\n") -> str:
    """Write a file, read the first 50 of its lines, and return the mark."""
    text = "\n".join(f"https://a.example/{number:03}" for number in range(count)) + end
    await asyncio.to_thread(path.write_text, text)
    (batch,) = await _batches(JobSeeds(file=path), most=1)
    return batch.mark


async def test_batches_file_that_grew_is_read_to_its_new_end(tmp_path: Path) -> None:
    """Lines may be added behind what was read, also when the file is written anew with them."""
    path = tmp_path / "urls.txt"
    mark = await _read_some(path)
    text = path.read_text()
    path.unlink()
    path.write_text(text + "https://b.example/\n")
    assert len(_seeds(await _batches(JobSeeds(file=path), mark))) == 151


@pytest.mark.parametrize("change", ["edit", "shrink", "empty", "insert"])
async def test_batches_file_that_changed_is_refused(tmp_path: Path, change: str) -> None:
    """Whatever else stands where the run has read is an error that names the file and says what to do."""
    path = tmp_path / "urls.txt"
    mark = await _read_some(path)
    text = path.read_text()
    before = path.stat()
    changed = {"edit": text.replace("/007", "/707"), "shrink": text[:700], "empty": "", "insert": f"x\n{text}"}[change]
    path.write_text(changed)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # its time does not vouch for it
    with pytest.raises(InputChanged, match=r"urls\.txt has changed: .* put it back as it was") as caught:
        await _batches(JobSeeds(file=path), mark)
    assert "1,100 bytes (50 lines" in caught.value.message


async def test_batches_change_behind_what_was_read_does_not_matter(tmp_path: Path) -> None:
    """What the run has not read yet is nobody's concern."""
    path = tmp_path / "urls.txt"
    mark = await _read_some(path)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:50]) + "https://b.example/\n")
    assert _seeds(await _batches(JobSeeds(file=path), mark)) == ["https://b.example/"]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
async def test_batches_last_line_without_newline_may_get_one(tmp_path: Path, newline: str) -> None:
    """A last line without a newline was read; a newline and further lines may follow it, and keep their numbers."""
    path = tmp_path / "urls.txt"
    mark = await _read_some(path, count=1, end="")
    assert await _batches(JobSeeds(file=path), mark) == []
    with path.open("a", newline="") as file:
        file.write(f"{newline}bad{newline}")
    (error,) = _seeds(await _batches(JobSeeds(file=path), mark))
    assert isinstance(error, InputError)
    assert error.place == "file 2"


async def test_batches_last_line_that_went_on_is_refused(tmp_path: Path) -> None:
    """A line that was read as the last one and has become longer is a change."""
    path = tmp_path / "urls.txt"
    mark = await _read_some(path, count=1, end="")
    with path.open("a") as file:
        file.write("1\n")
    with pytest.raises(InputChanged, match="line 1 has grown"):
        await _batches(JobSeeds(file=path), mark)


_MILLION = """
import asyncio, itertools, sys
from pathlib import Path
import psutil
from browsercrawl.crawler.inputs import JobSeeds

async def read(mark, most):
    count, grown, started = 0, 0, psutil.Process().memory_info().rss
    async for batch in JobSeeds(file=Path(sys.argv[1])).batches(mark):
        count += len(batch.seeds)
        if count % 10_000 == 0:
            grown = max(grown, psutil.Process().memory_info().rss - started)
        if count >= most:
            break
    return batch.mark, count, grown

async def main():
    mark, first, grown = await read(None, 500_000)
    _, rest, grown_again = await read(mark, 1_000_000)
    print(first, rest, grown, grown_again)

asyncio.run(main())
"""


def test_batches_million_lines_take_bounded_memory(tmp_path: Path) -> None:
    """A file of a million lines and 90 MB is read, left in the middle and gone on with, in a few megabytes."""
    path = tmp_path / "urls.txt"
    with path.open("w") as file:
        for number in range(1_000_000):
            file.write(f"https://a.example/{'x' * 60}/{number:010}\n")
    run = subprocess.run(
        [sys.executable, "-c", _MILLION, path], capture_output=True, text=True, check=True, timeout=100
    )
    first, rest, *grown = map(int, run.stdout.split())
    assert first + rest == 1_000_000
    assert max(grown) < 20_000_000
