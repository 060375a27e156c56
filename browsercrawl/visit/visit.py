"""The visit as a handler sees it: the real Playwright page, and what to do with what is found there."""

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import ConfigDict, JsonValue, TypeAdapter, ValidationError

from browsercrawl.errors import UsageError
from browsercrawl.events import Emit, UserLog
from browsercrawl.ports import Navigation, PagePort
from browsercrawl.redaction import shorten
from browsercrawl.request import Request
from browsercrawl.urls import shown
from browsercrawl.visit.outcome import CapturedFile

if TYPE_CHECKING:
    from playwright.async_api import Page

_JSON: TypeAdapter[JsonValue] = TypeAdapter(JsonValue, config=ConfigDict(hide_input_in_errors=True))

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

_DIGITS_MAX = 4_300
"""Python itself reads no longer integers."""

_NESTING_SHOWN = 50

FILES_MAX = 100
"""Screenshots one visit may keep in memory until it succeeds."""


class Visit:
    """One attempt at one request, for the handler that runs in it.

    What is pushed and enqueued counts only when the visit succeeds, so a retried handler leaves nothing twice. The
    object is dead once the handler has returned: its methods then raise UsageError.

    Attributes:
        request: what is being visited.
        response: status, headers and address of the main document.
        session: name of the session the page belongs to; None for the shared anonymous one.
    """

    def __init__(
        self, page: PagePort, request: Request, *, response: Navigation, remaining_s: Callable[[], float], emit: Emit
    ) -> None:
        self.request = request
        self.response = response
        self.session = request.session
        self._port = page
        self._remaining_s = remaining_s
        self._emit = emit
        self._open = True
        self._data: list[JsonValue] = []
        self._requests: list[Request] = []
        self._found: list[tuple[str, str | None]] = []
        self._files: dict[str, CapturedFile] = {}

    @property
    def page(self) -> "Page":
        """The real Playwright page. Whatever outlives a visit on it (listeners, routes ...) costs its reuse."""
        page: Page = self._port.raw
        return page

    def push(self, data: JsonValue) -> None:
        """Add a value to the result's `data`; a copy is taken.

        Raises:
            UsageError: the visit is over, or the value is not made of JSON's types.
        """
        self._check_open()
        try:
            copy = _JSON.validate_python(data)
            json.dumps(copy)  # refuses integers of so many digits that no JSON reader takes them
            self._data.append(copy)
        except ValueError as error:  # pydantic's ValidationError is one
            raise UsageError(f"push takes dict, list, str, int, float, bool and None; {_not_json(data)}") from error

    def enqueue(self, request: Request | str) -> None:
        """Add a request, whatever its host and depth. A string is a URL without further wishes.

        Raises:
            InvalidURL: the string is no http or https URL.
            UsageError: the visit is over.
        """
        self._check_open()
        self._requests.append(request if isinstance(request, Request) else self._child(request))

    async def enqueue_links(self, selector: str = "a[href]", *, label: str | None = None) -> int:
        """Add the links of the elements that match, as far as they are in scope.

        Args:
            selector: CSS, or any selector Playwright knows.
            label: names the handler that shall get them.

        Returns:
            How many links were found, in scope or not.

        Raises:
            SelectorMissing: the selector is malformed.
            UsageError: the visit is over.
        """
        self._check_open()
        urls = await self._port.hrefs(selector, limit_s=self._remaining_s())
        self._found.extend((url, label) for url in urls)
        return len(urls)

    async def screenshot(self, name: str = "screenshot", *, full_page: bool = False) -> bytes:
        """Take a picture; in a run with a directory it is also kept as an artifact.

        Args:
            name: of the artifact: letters, digits, `-` and `_`, at most 64. A second one of a name is kept in place of
                the first.
            full_page: the whole document instead of what the window shows.

        Returns:
            The PNG.

        Raises:
            UsageError: the visit is over or has taken 100 pictures already, or the name cannot be a file's.
        """
        self._check_open()
        if not _NAME.fullmatch(name):
            raise UsageError(f"a screenshot's name is made of letters, digits, - and _, at most 64; not {name!r}")
        if len(self._files) >= FILES_MAX and name not in self._files:
            raise UsageError(f"a visit may take {FILES_MAX} screenshots; this one has")
        body = await self._port.screenshot(full_page=full_page, limit_s=self._remaining_s())
        self._files[name] = CapturedFile(name=name, extension="png", body=body)
        return body

    def log(self, message: str, /, **fields: object) -> None:
        """Write an event `user.log` with the request's id, for the run's log; what is not JSON is put as text."""
        safe = {name: _loggable(value) for name, value in fields.items()}
        self._emit(UserLog(request_id=self.request.id, message=str(message), fields=safe))

    def close(self) -> None:
        """End the visit for the handler; the engine calls it."""
        self._open = False

    @property
    def data(self) -> tuple[JsonValue, ...]:
        """What was pushed, in order."""
        return tuple(self._data)

    @property
    def requests(self) -> tuple[Request, ...]:
        """What was enqueued by `enqueue`."""
        return tuple(self._requests)

    @property
    def found_links(self) -> tuple[tuple[str, str | None], ...]:
        """What `enqueue_links` found: URL and label."""
        return tuple(self._found)

    @property
    def files(self) -> tuple[CapturedFile, ...]:
        """Pictures taken, the last of each name."""
        return tuple(self._files.values())

    def _child(self, url: str) -> Request:
        parent = self.request
        return Request(
            url=url,
            session=parent.session,
            keep_fragment=parent.keep_fragment,
            sort_query=parent.sort_query,
            depth=parent.depth + 1,
            parent_url=shorten(self.response.final_url),
        )

    def _check_open(self) -> None:
        if not self._open:
            raise UsageError(f"the visit of {shown(self.request.url)} is over; push and enqueue before returning")


def _not_json(value: object, at: str = "data") -> str:
    """Name the first value inside that is not made of JSON's types."""
    if at.count("[") > _NESTING_SHOWN:
        return f"{at[:40]}... is nested too deeply"
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                return f"{at} has a key of type {type(key).__name__}"
            if wrong := _not_json(item, f"{at}[{shown(key)!r}]"):
                return wrong
        return ""
    if isinstance(value, list):
        return next((wrong for index, item in enumerate(value) if (wrong := _not_json(item, f"{at}[{index}]"))), "")
    if isinstance(value, int) and abs(value) >= 10**_DIGITS_MAX:
        return f"{at} is an integer of more than {_DIGITS_MAX:,} digits"
    return "" if value is None or isinstance(value, str | int | float) else f"{at} is a {type(value).__name__}"


def _loggable(value: object) -> JsonValue:
    try:
        return _JSON.validate_python(value)
    except ValidationError:
        return repr(value)
