"""The result file: one whole line for each finished request, without bodies, also when the disk is full."""

import asyncio
import json
import resource
from datetime import UTC, datetime
from pathlib import Path

import pytest

from browsercrawl.errors import Disposition, ErrorKind, OutputFailed
from browsercrawl.output import ResultWriter, result_line
from browsercrawl.output import results as results_module
from browsercrawl.result import Artifact, ErrorInfo, Outcome, Result

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def open_files() -> int:
    """Count the open files of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


def result(number: int = 1, **fields: object) -> Result:
    """Give a result of which only the named fields matter."""
    values = {"request_id": f"{number:032x}", "url": f"https://a.example/?token={number}", "finished_at": NOW}
    return Result.model_validate({**values, "outcome": Outcome.SUCCEEDED, **fields})


def test_result_line_has_no_bodies() -> None:
    """Bodies are left out, links are counted, artifacts are named, pushed data and the URL stay as they are."""
    artifact = Artifact(name="html", path="artifacts/00/x.html.gz", bytes=7)
    given = result(html="<p>", text="p", links=("https://b.example/", "https://c.example/"), data=({"p": 1},))
    fields = json.loads(result_line(given.model_copy(update={"artifacts": (artifact,)})))
    assert fields.keys() == set(Result.model_fields) - {"html", "text"}
    assert fields["links"] == 2
    assert fields["data"] == [{"p": 1}]
    assert fields["artifacts"] == [{"name": "html", "path": "artifacts/00/x.html.gz", "bytes": 7}]
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
    assert json.loads(line)["title"] == text.encode("utf-8", "replace").decode()


async def test_result_writer_close_leaves_every_line(tmp_path: Path) -> None:
    """Every result taken stands in the file after `close`, in order; `close` may be called again."""
    writer = ResultWriter(tmp_path / "results.jsonl")
    for number in range(500):
        await writer.write(result(number))
    await writer.close()
    await writer.close()
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    assert [json.loads(line)["request_id"] for line in lines] == [f"{number:032x}" for number in range(500)]
    with pytest.raises(OutputFailed, match="closed"):
        await writer.write(result())


async def test_result_writer_full_queue_waits_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When more comes than the disk takes, `write` waits; no line is lost."""
    monkeypatch.setattr(results_module, "QUEUE_BYTES_MAX", 1000)
    writer = ResultWriter(tmp_path / "results.jsonl")
    await asyncio.gather(*(writer.write(result(number)) for number in range(200)))
    await writer.close()
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 200


async def test_result_writer_full_disk_raises_and_leaves_whole_lines(tmp_path: Path) -> None:
    """A full disk raises one typed error that names the file; no half line stays; what waited comes later."""
    path = tmp_path / "results.jsonl"
    writer = ResultWriter(path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        for number in range(5):
            await writer.write(result(number))
        await asyncio.to_thread(writer._writer.drain)
        with pytest.raises(OutputFailed, match=r"results\.jsonl cannot be written: File too large"):
            await writer.write(result(5))
        written = path.read_bytes()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert written.endswith(b"\n")
    assert 0 < len(written) <= 2000
    await writer.close()
    ids = [json.loads(line)["request_id"] for line in path.read_text().splitlines()]
    assert ids == [f"{number:032x}" for number in range(6)]


async def test_result_writer_close_on_full_disk_raises_again(tmp_path: Path) -> None:
    """When the disk stays full `close` raises, also when called again, and leaves no thread and no open file."""
    writer = ResultWriter(tmp_path / "results.jsonl")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    files = open_files()
    try:
        await writer.write(result())
        for _ in range(2):
            with pytest.raises(OutputFailed, match="File too large"):
                await writer.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert open_files() == files - 1
    assert (tmp_path / "results.jsonl").read_bytes() == b""


async def test_result_writer_missing_directory_raises_typed_error(tmp_path: Path) -> None:
    """A file that cannot be opened is told at once, with its name."""
    with pytest.raises(OutputFailed, match="gone"):
        ResultWriter(tmp_path / "gone" / "results.jsonl")
