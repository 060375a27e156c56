"""What one download may have, held to while it comes: for all of a browser, whosever it is.

Chromium has no such limit, tells the size of what has come every half to two seconds only, and an announced size at
once. So the files are looked at as well, ten times a second, as long as something is coming. And of a download whose
document is gone when its answer comes it tells nobody: such files are looked for, and removed.
"""

import asyncio
import os
import shutil
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from playwright.async_api import CDPSession

from browsercrawl.browser.calls import Calls

_LOOK_EVERY_S = 0.1
_SWEEP_EVERY_S = 1.0
"""A file that nobody knows at two sweeps in a row is an orphan: its event takes milliseconds."""
_ANSWER_LIMIT_S = 5.0
_REMEMBERED_MAX = 100
_FILES_MAX = 10_000
_ROOM_BYTES_MIN = 1_000_000
"""With less the disk is as good as full; what has broken off is removed before anybody can look."""


class DownloadLimit:
    """Watches the downloads of a browser, and breaks off what is too large. Owned by the browser.

    Attributes:
        bytes_max: of one download.
    """

    def __init__(self, session: CDPSession, calls: Calls, *, folder: Path) -> None:
        """Take the browser-level session, and where Playwright lets the browser write."""
        self._session = session
        self._calls = calls
        self._folder = folder
        self.bytes_max = 0
        self._contexts: set[str] = set()
        self._going: dict[str, str] = {}
        self._refused: deque[str] = deque(maxlen=_REMEMBERED_MAX)
        self._sizes: deque[tuple[str, int]] = deque(maxlen=_REMEMBERED_MAX)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._looking: asyncio.Task[None] | None = None
        self._known: set[str] = set()
        self._sweeping: asyncio.Task[None] | None = None
        session.on("Browser.downloadWillBegin", self._on_begin)
        session.on("Browser.downloadProgress", self._on_progress)

    async def allow(self, context: str, *, bytes_max: int, limit_s: float) -> None:
        """Watch what a context downloads, by its id. What Playwright has set for it stays as it is.

        Raises:
            TimeoutError, playwright.async_api.Error: it cannot be watched.
        """
        self.bytes_max = bytes_max
        params = {
            "behavior": "allowAndName",
            "browserContextId": context,
            "downloadPath": str(self._folder),
            "eventsEnabled": True,
        }
        await self._calls.run(self._session.send("Browser.setDownloadBehavior", params), limit_s=limit_s)
        self._contexts.add(context)
        if self._sweeping is None:
            self._sweeping = self._spawn(self._sweep())

    def forget(self, context: str | None) -> None:
        """A context has ended."""
        self._contexts.discard(context or "")

    def refused(self, url: str) -> bool:
        """Tell, once, whether a download from this address was broken off because it was too large."""
        if url not in self._refused:
            return False
        self._refused.remove(url)
        return True

    def lacks_room(self, url: str) -> bool:
        """Tell whether the disk is too small for what an address sends, or was sending when it broke off."""
        size = max((size for known, size in self._sizes if known == url), default=0)
        with suppress(OSError):
            return size + _ROOM_BYTES_MIN > shutil.disk_usage(self._folder).free
        return False

    @property
    def message(self) -> str:
        """What is wrong with those that were."""
        return f"it has more than {self.bytes_max:,} bytes, the most that a download may have"

    async def close(self) -> None:
        """Stop watching: the browser is gone."""
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_ANSWER_LIMIT_S)

    def _on_begin(self, event: dict[str, Any]) -> None:
        self._known.add(event["guid"])
        self._going[event["guid"]] = event["url"]
        if self._looking is None:
            self._looking = self._spawn(self._look())

    def _on_progress(self, event: dict[str, Any]) -> None:
        if (url := self._going.get(event["guid"])) is not None:
            self._sizes.append((url, int(max(event["totalBytes"], event["receivedBytes"]))))
        if event["state"] != "inProgress":
            self._going.pop(event["guid"], None)
        elif max(event["totalBytes"], event["receivedBytes"]) > self.bytes_max:
            self._refuse(event["guid"])

    async def _look(self) -> None:
        try:
            while self._going:
                for guid in tuple(self._going):
                    if _size(self._folder / f"{guid}.crdownload") > self.bytes_max:
                        self._refuse(guid)
                await asyncio.sleep(_LOOK_EVERY_S)
        finally:
            self._looking = None

    async def _sweep(self) -> None:
        strange: set[str] = set()
        try:
            while self._contexts:
                await asyncio.sleep(_SWEEP_EVERY_S)
                found = _guids(self._folder)
                self._known &= found | self._going.keys()
                for guid in strange & found - self._known:
                    self._spawn(self._remove(guid))
                strange = found - self._known
        finally:
            self._sweeping = None

    async def _remove(self, guid: str) -> None:
        await self._cancel(guid)
        for name in (guid, f"{guid}.crdownload"):
            with suppress(OSError):
                (self._folder / name).unlink(missing_ok=True)

    def _refuse(self, guid: str) -> None:
        url = self._going.pop(guid, None)
        if url is not None:
            self._refused.append(url)
            self._spawn(self._cancel(guid))

    async def _cancel(self, guid: str) -> None:
        """Ask all contexts: Chromium does not say whose a download is, and the others do not know it."""
        asked = ({"guid": guid, "browserContextId": context} for context in self._contexts)
        sent = (self._session.send("Browser.cancelDownload", params) for params in asked)
        await asyncio.gather(*(self._calls.settled(each, limit_s=_ANSWER_LIMIT_S) for each in sent))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _guids(folder: Path) -> set[str]:
    """Return whose files there are in a folder."""
    with suppress(OSError), os.scandir(folder) as entries:
        return {entry.name.removesuffix(".crdownload") for entry in islice(entries, _FILES_MAX)}
    return set()


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.lstat().st_size
    return 0
