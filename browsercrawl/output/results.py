"""`results.jsonl`: one line for each finished request, without bodies."""

import asyncio
import json
from pathlib import Path
from typing import Any

from pydantic_core import PydanticSerializationError

from browsercrawl.errors import OutputFailed
from browsercrawl.output.line_file import LineWriter
from browsercrawl.redaction import redact_text
from browsercrawl.result import Result

INTERVAL_S = 1.0
"""A finished request stands in the file at most this much later."""

QUEUE_BYTES_MAX = 16_000_000
"""Room for lines the disk has not taken yet; when it is used up `write` waits."""

_BODIES = {"html", "text", "links"}


class ResultWriter:
    """Appends results to a file, whole lines only, from a thread. Nothing is ever dropped silently."""

    def __init__(self, path: Path) -> None:
        """Open the file; `close` ends the writer.

        Raises:
            OutputFailed: the file cannot be opened.
        """
        self._path = path
        try:
            self._writer = LineWriter(path, interval_s=INTERVAL_S, bytes_max=QUEUE_BYTES_MAX, lossy=False)
        except OSError as error:
            raise self._failed(error) from error

    async def write(self, result: Result) -> None:
        """Take a result, to be in the file within `INTERVAL_S`; waits while the queue is full.

        Raises:
            OutputFailed: lines cannot be written (the disk is full, or gone), or the writer is closed. Those
                taken before are kept and tried again until `close`.
        """
        line = result_line(result).encode() + b"\n"
        while not self._writer.offer(line):
            if self._writer.closing:
                raise OutputFailed(f"{self._path} is closed")
            await asyncio.to_thread(self._writer.drain)
            self._check()
        self._check()

    async def close(self) -> None:
        """Write what waits, bring it to the disk and close the file; may be called again.

        Raises:
            OutputFailed: not all lines could be written; those that stand in the file are whole.
        """
        await asyncio.to_thread(self._writer.close, sync=True)
        self._check()

    def _check(self) -> None:
        if self._writer.error:
            raise self._failed(self._writer.error) from self._writer.error

    def _failed(self, error: OSError) -> OutputFailed:
        return OutputFailed(f"{self._path} cannot be written: {error.strerror or error}")


def result_line(result: Result) -> str:
    """Return a result as one line of JSON, without newline.

    Bodies are left out; `links` is their number; secrets in the error's message are redacted. URLs stay as given.
    """
    if result.error:
        error = result.error.model_copy(update={"message": redact_text(result.error.message)})
        result = result.model_copy(update={"error": error})
    try:
        line = result.model_dump_json(exclude=_BODIES)
    except PydanticSerializationError:  # half a surrogate pair, as scripts make by cutting a string
        line = json.dumps(_encodable(result.model_dump(exclude=_BODIES)), ensure_ascii=False, default=str)
    return f'{line[:-1]},"links":{len(result.links)}}}'


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable(item) for item in value]
    return value
