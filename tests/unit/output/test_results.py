"""The result file: one whole line for each finished request, without bodies, also when the disk is full."""

import errno
import json
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from browsercrawl.errors import Disposition, ErrorKind, OutputFailed, RunDamaged
from browsercrawl.output import ResultFile, raw_lines, read_lines, record_of, result_line
from browsercrawl.result import Artifact, ErrorInfo, Outcome, Result, ResultRecord

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def open_files() -> int:
    """Count the open files of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


def result(number: int = 1, **fields: object) -> Result:
    """Give a result of which only the named fields matter."""
    values = {"request_id": f"{number:032x}", "url": f"https://a.example/?token={number}", "finished_at": NOW}
    return Result.model_validate({**values, "outcome": Outcome.SUCCEEDED, **fields})


def line(number: int) -> bytes:
    """Give the line of a result."""
    return result_line(result(number)).encode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the test's file is."""
    return tmp_path / "results.jsonl"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[[int], ResultFile]]:
    """Open the file at a recorded size; closed after the test."""
    files: list[ResultFile] = []

    def open_at(size: int) -> ResultFile:
        files.append(ResultFile(path, size=size))
        return files[-1]

    yield open_at
    for each in files:
        each.close()


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Make every write past `size` fail, as a full disk does: part of the data is written, then comes an error."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# --- lines -----------------------------------------------------------------------------------------------------------


def test_result_line_has_no_bodies() -> None:
    """Bodies are left out, links are counted, artifacts are named, pushed data and the URL stay as they are."""
    artifact = Artifact(name="html", path="artifacts/00/x.html.gz", bytes=7)
    given = result(html="<p>", text="p", links=("https://b.example/", "https://c.example/"), data=({"p": 1},))
    fields = json.loads(result_line(given.model_copy(update={"artifacts": (artifact,)})))
    assert fields.keys() == set(Result.model_fields) - {"html", "text"}
    assert fields["links"] == 2
    assert fields["data"] == [{"p": 1}]
    assert fields["artifacts"] == [
        {
            "name": "html",
            "path": "artifacts/00/x.html.gz",
            "bytes": 7,
            **dict.fromkeys(("source", "content_type", "sha256")),
        }
    ]
    assert fields["url"] == "https://a.example/?token=1"


def test_result_line_error_message_is_redacted() -> None:
    """An error's message never holds a secret, though the URL field is as given."""
    message = "https://me:hunter2@a.example/?sig=hunter2 refused"
    info = ErrorInfo(kind=ErrorKind.NETWORK, message=message, disposition=Disposition.RETRY_FRESH)
    assert "hunter2" not in result_line(result(outcome=Outcome.FAILED, error=info))


@pytest.mark.parametrize("text", ["half \ud800 pair", 'quote " and \n newline', "\x00", "\u2028", "日本"])
def test_result_line_any_title_is_one_line_of_json(text: str) -> None:
    """Whatever a page calls itself or a handler pushes, the line is one line of valid UTF-8 JSON."""
    given = result(title=text).model_copy(update={"data": ({text: [text]}, float("nan"))})
    line = result_line(given)
    assert b"\n" not in line.encode()
    assert "NaN" not in line
    assert json.loads(line)["title"] == text.encode("utf-8", "replace").decode()


nested = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(nested, st.text())
def test_result_line_is_read_back_as_the_record(data: object, title: str) -> None:
    """What stands in a line is the result's record, field by field, whatever a handler pushed."""
    written = result(data=(data,), title=title, links=("https://b.example/",))
    record = record_of(result_line(written).encode())
    assert isinstance(record, ResultRecord)
    assert record.links == 1
    assert record.data == (data,)
    assert record.title == title
    assert record.finished_at == NOW


def test_result_line_deeply_nested_data_is_read_back() -> None:
    """Data that a result accepts can be read back from its line, however deep it is nested."""
    data: object = 1
    for _ in range(220):
        data = [data]
    assert record_of(result_line(result(data=(data,))).encode()).data == (data,)


def test_record_of_other_text_says_what_is_wrong() -> None:
    """What is no result is refused with the field that is wrong, and never repeated in the message."""
    with pytest.raises(ValueError, match="request_id: Field required"):
        record_of(b'{"url": "hunter2"}')
    with pytest.raises(ValueError, match="Expecting value") as caught:
        record_of(b"hunter2")
    assert "hunter2" not in str(caught.value)


# --- the file --------------------------------------------------------------------------------------------------------


def test_result_file_appended_lines_stand_in_the_file(path: Path, opened: Callable[[int], ResultFile]) -> None:
    """Lines stand in the file in order, private, and the size told is the file's."""
    file = opened(0)
    file.append([line(1), line(2)])
    size = file.append([line(3)])
    file.sync()
    assert size == file.size == path.stat().st_size
    assert [each.request_id for each in read_lines(path)] == [f"{number:032x}" for number in (1, 2, 3)]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("rest", [b"", b'{"torn', line(2) + b"\n", line(2) + b"\n" + line(3)[:9]])
def test_result_file_longer_than_recorded_is_cut(path: Path, opened: Callable[[int], ResultFile], rest: bytes) -> None:
    """What a killed process wrote but did not record is cut off, whole lines as well as a torn one."""
    path.write_bytes(line(1) + b"\n" + rest)
    file = opened(len(line(1)) + 1)
    assert path.read_bytes() == line(1) + b"\n"
    file.append([line(4)])
    assert path.read_bytes() == line(1) + b"\n" + line(4) + b"\n"


@pytest.mark.parametrize("content", [None, b"", line(1)[:20], line(1)])
def test_result_file_shorter_than_recorded_is_damaged(path: Path, content: bytes | None) -> None:
    """A file that lost bytes is reported with both sizes, and left as it was; no file stays open."""
    if content is not None:
        path.write_bytes(content)
    before = open_files()
    with pytest.raises(RunDamaged, match=r"results\.jsonl is damaged: it holds \d+ bytes, but the run has recorded"):
        ResultFile(path, size=len(line(1)) + 1)
    assert open_files() == before
    assert (path.read_bytes() if path.exists() else None) == content


def test_result_file_changed_by_somebody_is_damaged(path: Path) -> None:
    """A file in which no line ends at the recorded size is not the one we wrote: reported, and left as it was."""
    path.write_bytes(b"x" * 100)
    before = open_files()
    with pytest.raises(RunDamaged, match="no line ends at byte 50"):
        ResultFile(path, size=50)
    assert open_files() == before
    assert path.read_bytes() == b"x" * 100


@pytest.mark.parametrize("room", [0, 1, 300, 900])
def test_result_file_full_disk_leaves_none_of_the_lines(
    path: Path, opened: Callable[[int], ResultFile], room: int
) -> None:
    """Lines that do not all fit raise, and none of them stays; the same lines fit when there is room again."""
    file = opened(0)
    before = file.append([line(1)])
    file.sync()
    with file_size_limit(before + room), pytest.raises(OSError, match="File too large"):
        file.append([line(number) for number in range(2, 9)])
    assert path.stat().st_size == file.size == before
    file.append([line(number) for number in range(2, 9)])
    assert len(list(read_lines(path))) == 8


def test_result_file_failed_sync_takes_out_what_was_appended(
    path: Path, opened: Callable[[int], ResultFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines that could not be brought to the disk are taken out again, for the kernel may have forgotten them."""
    file = opened(0)
    safe = file.append([line(1)])
    file.sync()
    file.append([line(2)])

    def refuse(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="No space"):
            file.sync()
    assert path.stat().st_size == file.size == safe
    file.append([line(2)])
    file.sync()
    assert len(list(read_lines(path))) == 2


def test_result_file_missing_directory_raises_typed_error(tmp_path: Path) -> None:
    """A file that cannot be opened is told at once, with its name."""
    with pytest.raises(OutputFailed, match="gone"):
        ResultFile(tmp_path / "gone" / "results.jsonl", size=0)


# --- reading ---------------------------------------------------------------------------------------------------------


def test_read_lines_bad_line_is_named(path: Path) -> None:
    """A line that is no result is reported by its number; what comes before it is given."""
    path.write_bytes(line(1) + b"\nnonsense\n" + line(3) + b"\n")
    lines = read_lines(path)
    assert next(lines).request_id == f"{1:032x}"
    with pytest.raises(RunDamaged, match=r"results\.jsonl is damaged: line 2 is no result"):
        next(lines)


def test_read_lines_unfinished_last_line_is_left_out(path: Path) -> None:
    """A line that another process is writing just now is not read."""
    path.write_bytes(line(1) + b"\n" + line(2)[:30])
    assert [each.request_id for each in read_lines(path)] == [f"{1:032x}"]


def test_read_lines_recorded_size_is_kept(path: Path) -> None:
    """With a size nothing after it is read, and a file that is too short, or cut elsewhere, is reported."""
    path.write_bytes(line(1) + b"\n" + line(2) + b"\n")
    size = len(line(1)) + 1
    assert [number for number, _ in raw_lines(path, size=size)] == [1]
    assert list(raw_lines(path, size=0)) == []
    for wrong in (size - 1, size + 1, 10 * size):
        with pytest.raises(RunDamaged, match=r"results\.jsonl is damaged"):
            list(read_lines(path, size=wrong))


def test_read_lines_missing_file_raises_typed_error(path: Path) -> None:
    """A file that is not there is told with its name."""
    with pytest.raises(OutputFailed, match=r"results\.jsonl cannot be read"):
        list(read_lines(path))
