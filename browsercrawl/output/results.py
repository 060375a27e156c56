"""`results.jsonl`: one line for each finished request, without bodies."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticSerializationError

from browsercrawl.errors import OutputFailed, RunDamaged
from browsercrawl.output.line_file import LineFile
from browsercrawl.redaction import redact_text, shorten
from browsercrawl.result import Result, ResultFields, ResultRecord

_FIELDS = tuple(ResultFields.model_fields)


class ResultFile:
    """The file of lines, which grows by whole batches only. Blocks: call it from a thread. Not thread-safe."""

    def __init__(self, path: Path, *, size: int) -> None:
        """Open the file and bring it to the size the run has recorded.

        Args:
            path: of the file; made when it is missing and nothing is recorded.
            size: bytes that are known to be safe; what a killed process wrote after them is cut off.

        Raises:
            RunDamaged: the file does not hold what was recorded; it was left as it is.
            OutputFailed: it cannot be opened.
        """
        try:
            found = path.stat().st_size if path.exists() else 0
            if found < size:
                raise _damaged(path, f"it holds {found} bytes, but the run has recorded {size}")
            self._file = LineFile(path)
            ends_line = self._file.ends_line(size)
        except OSError as error:
            raise OutputFailed(f"{path} cannot be opened: {error.strerror or error}") from error
        if not ends_line:
            self._file.close()
            raise _damaged(path, f"no line ends at byte {size}, where the run has recorded an end")
        self.path = path
        if found > size:
            self._file.cut(size)
        self._synced = size

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self._file.size

    def append(self, lines: Sequence[bytes]) -> int:
        """Append lines, all of them or, on error, none.

        Args:
            lines: without their newlines.

        Returns:
            The new size.

        Raises:
            OSError: they cannot be written.
        """
        before = self._file.size
        _, error = self._file.append(b"".join(line + b"\n" for line in lines))
        if error is not None:
            self._file.cut(before)
            raise error
        return self._file.size

    def sync(self) -> None:
        """Bring the file to the disk.

        On error all that was appended since the last `sync` is taken out again: what the kernel could not write, it
        may have forgotten, and would call the next attempt a success.

        Raises:
            OSError: it cannot be brought there.
        """
        try:
            self._file.sync()
        except OSError:
            self._file.cut(self._synced)
            raise
        self._synced = self._file.size

    def close(self) -> None:
        """Close the file; may be called again."""
        self._file.close()


def result_line(result: Result) -> str:
    """Return a result as one line of JSON, without newline: its `ResultRecord`.

    Secrets in the error's message are redacted. URLs stay as given.
    """
    fields = {name: getattr(result, name) for name in _FIELDS}
    if result.error:
        fields["error"] = result.error.model_copy(update={"message": shorten(redact_text(result.error.message))})
    record = ResultRecord.model_construct(**fields, links=len(result.links))
    try:
        return record.model_dump_json()
    except PydanticSerializationError:  # half a surrogate pair, as scripts make by cutting a string
        return ResultRecord.model_validate(_encodable(record.model_dump())).model_dump_json()


def record_of(line: bytes) -> ResultRecord:
    """Return what a line holds.

    Raises:
        ValueError: it is no result.
    """
    try:
        return ResultRecord.model_validate_json(line)
    except ValidationError as error:
        problem = _first(error)
        if problem["type"] == "json_invalid":  # or nested deeper than pydantic reads, though a model may be
            try:
                return ResultRecord.model_validate(json.loads(line))
            except ValidationError as second:
                problem = _first(second)
    where = ".".join(map(str, problem["loc"]))
    raise ValueError(f"{where}: {problem['msg']}" if where else problem["msg"])


def read_lines(path: Path, *, size: int | None = None) -> Iterator[ResultRecord]:
    """Read a file of results, one after the other.

    Args:
        path: of the file; it may grow meanwhile.
        size: bytes to read: what the run has recorded as safe. None: to the end; a last line without its newline is
            still being written, and left out.

    Raises:
        RunDamaged: a line is no result, or the file is too short.
        OutputFailed: the file cannot be read.
    """
    for number, line in raw_lines(path, size=size):
        try:
            yield record_of(line)
        except ValueError as error:
            raise _damaged(path, f"line {number} is no result ({error})") from None


def raw_lines(path: Path, *, size: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Read a file of results as `read_lines` does, but give each line's number and its bytes, without newline.

    Raises:
        RunDamaged: the file is too short.
        OutputFailed: it cannot be read.
    """
    read = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if size is not None and read >= size:
                    break
                if not line.endswith(b"\n"):
                    break
                read += len(line)
                yield number, line[:-1]
    except OSError as error:
        raise OutputFailed(f"{path} cannot be read: {error.strerror or error}") from error
    if size is not None and read != size:
        raise _damaged(path, f"no line ends at byte {size}, where the run has recorded an end")


def _first(error: ValidationError) -> ErrorDetails:
    return error.errors(include_url=False, include_input=False)[0]


def _damaged(path: Path, what: str) -> RunDamaged:
    return RunDamaged(f"{path} is damaged: {what}; it was left as it is: restore it from a copy, or begin a new run")


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable(item) for item in value]
    return value
