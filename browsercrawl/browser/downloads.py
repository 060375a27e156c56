"""The files that the visits of a page download: taken only when a visit asks for them, watched while they come.

Chromium writes into the driver's temporary folder, under a name of its own; the name that the site gives is only a
text here. What is too large is broken off while it comes (`download_limit`). What a visit keeps is handed over as an
open file, and its name is removed: however all this ends, nothing is left of it.
"""

import asyncio
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.async_api import Download
from playwright.async_api import Error as PlaywrightError

from browsercrawl.browser.download_limit import DownloadLimit
from browsercrawl.browser.responses import last_response, media_type_of, navigation_of, without_fragment
from browsercrawl.errors import BrowsercrawlError, DeadlineExceeded, NetworkFailed, TooLarge
from browsercrawl.ports import Navigation
from browsercrawl.result import DownloadedFile
from browsercrawl.urls import shown

if TYPE_CHECKING:
    from browsercrawl.browser.context import PlaywrightContext
    from browsercrawl.browser.page import PlaywrightPage

FILES_MAX = 20
"""More downloads of one visit are no accident."""

_LOOK_EVERY_S = 0.1
_DISCARD_LIMIT_S = 5.0


class Downloads:
    """The downloads of one page, visit by visit. Owned by the page.

    Attributes:
        wanted: whether the visit that is going on takes them.
    """

    def __init__(self, page: "PlaywrightPage") -> None:
        self._page = page
        self.wanted = False
        self._begun: dict[Download, asyncio.Task[Path]] = {}
        self._stirred = asyncio.Event()  # there is one more
        self._error: BrowsercrawlError | None = None
        self._is_document = False
        self._document: str | None = None
        self._navigations = 0
        self._early: set[Download] = set()

    def begin(self, *, wanted: bool) -> None:
        """Ready it for a visit."""
        self.wanted = wanted
        self._error = None
        self._is_document = False
        self._document = None
        self._navigations = self._page.state.navigations
        self._early.clear()
        self._stirred.clear()

    async def arrived(self, url: str) -> Navigation:
        """Tell of the navigation whose answer is a download."""
        self._is_document = True
        response = await last_response(self._page, url)
        self._document = None if response is None else without_fragment(response.url)
        self._drop(each for each in self._begun if self._is_foreign(each))
        reached, status = (url, None) if response is None else (response.url, response.status)
        return replace(navigation_of(reached, response, status=status, loaded=True), committed=False, download=True)

    def take(self, download: Download) -> None:
        """A download of this page has begun."""
        if not self.wanted or self._error is not None or self._is_foreign(download):
            discard(self._page.context, download)
            return
        # The page's context owns the task: it ends when the download does, and before the context does.
        self._begun[download] = task = self._page.context.spawn(download.path())
        task.add_done_callback(_look_at)
        if self._page.state.navigations == self._navigations:
            self._early.add(download)
        if len(self._begun) > FILES_MAX:
            self._error = TooLarge(f"the page began more than {FILES_MAX} downloads")
            self._drop_all()
        self._stirred.set()

    async def collect(self, *, limit_s: float) -> tuple[DownloadedFile, ...]:
        """Return all that the visit has downloaded, when the last is complete; the caller closes the files.

        Raises:
            TooLarge, DeadlineExceeded, NetworkFailed; what says how the page has ended.
        """
        if not self._is_document:
            self._drop(self._early)
        deadline = time.monotonic() + limit_s
        while not self._is_ready():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise DeadlineExceeded(f"a download was not complete within {limit_s:.3g} s")
            if (gone := self._page.gone()) is not None:
                raise gone
            await self._wait(min(left_s, _LOOK_EVERY_S))
        if self._error is not None:
            raise self._error
        files: list[DownloadedFile] = []
        try:
            for download, task in tuple(self._begun.items()):
                files.append(await self._open(download, task, number=len(files) + 1))
        except BaseException:
            for file in files:
                file.file.close()
            raise
        self._drop_all()
        return tuple(files)

    def _is_ready(self) -> bool:
        """Tell whether nothing is left to wait for: all is there, or one has failed."""
        tasks = self._begun.values()
        if self._error is not None or any(task.done() and (task.cancelled() or task.exception()) for task in tasks):
            return True
        return all(task.done() for task in tasks) and len(tasks) >= self._is_document

    async def _wait(self, seconds: float) -> None:
        going = {task for task in self._begun.values() if not task.done()}
        if going:
            await asyncio.wait(going, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            return
        with suppress(TimeoutError):  # its event is on its way
            async with asyncio.timeout(seconds):
                await self._stirred.wait()

    async def _open(self, download: Download, task: "asyncio.Task[Path]", *, number: int) -> DownloadedFile:
        what = f"downloading {shown(download.url)}"
        try:
            if task.cancelled():
                raise self._page.gone() or NetworkFailed(f"{what}: it was broken off", code="ERR_ABORTED")
            descriptor = os.open(task.result(), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except PlaywrightError as error:
            raise self._page.gone() or self._failure(download, what) from error
        except OSError as error:
            lost = NetworkFailed(f"{what}: its file is gone: {error.strerror}", code="ERR_FILE_NOT_FOUND")
            raise self._page.gone() or lost from error
        file = os.fdopen(descriptor, "rb")
        if os.fstat(descriptor).st_size > self._limit.bytes_max:  # it came faster than anybody looked
            file.close()
            raise TooLarge(f"{what}: {self._limit.message}")
        try:
            media_type = await media_type_of(download.page, download.url, calls=self._page.link.calls)
        except BaseException:
            file.close()
            raise
        name = download.suggested_filename
        return DownloadedFile(number=number, name=name, url=download.url, content_type=media_type, file=file)

    def _failure(self, download: Download, what: str) -> BrowsercrawlError:
        """Name what broke a download off: for Chromium all is the same."""
        if self._limit.refused(download.url):
            return TooLarge(f"{what}: {self._limit.message}")
        if self._limit.lacks_room(download.url):
            full = "there is no room for it in the folder for temporary files; free some space, or set TMPDIR"
            return NetworkFailed(f"{what}: {full}", code="ERR_FILE_NO_SPACE")
        return NetworkFailed(f"{what}: the connection broke before its end", code="ERR_CONNECTION_CLOSED")

    @property
    def _limit(self) -> DownloadLimit:
        return self._page.link.downloads

    def drop(self) -> None:
        """The visit is over: what it has not taken goes, complete or not."""
        self.wanted = False
        self._drop_all()

    def _is_foreign(self, download: Download) -> bool:
        """Tell whether it is not the file that came in place of the document, if one did.

        Until a document takes its place, that of the visit before is still there, and may begin what it likes.
        """
        return self._document is not None and without_fragment(download.url) != self._document

    def _drop_all(self) -> None:
        self._drop(self._begun)

    def _drop(self, downloads: Iterable[Download]) -> None:
        for download in tuple(downloads):
            if (task := self._begun.pop(download, None)) is not None:
                self._page.link.calls.abandon(task)
                discard(self._page.context, download)


def discard(context: "PlaywrightContext", download: Download) -> None:
    """Stop a download, whoever's it is, and remove what there is of it."""
    context.ask(partial(_discard, download), limit_s=_DISCARD_LIMIT_S)


def _look_at(task: "asyncio.Task[Path]") -> None:
    """Have asyncio know that the failure of a download is none of a program."""
    if not task.cancelled():
        task.exception()


async def _discard(download: Download) -> None:
    await download.cancel()
    await download.delete()
