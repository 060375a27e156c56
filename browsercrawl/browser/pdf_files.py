"""PDFs in a full Chromium: files, as in the headless shell, and no pages of a viewer, which would hide them.

No switch turns the viewer off, and its setting is one of profiles, which are not ours. So the answer to each request
for a document is paused for a look at its type, and a PDF is called an attachment; all else follows from that.
"""

import asyncio
from typing import Any

from playwright.async_api import CDPSession

from browsercrawl.browser.calls import Calls

_TYPE = "application/pdf"
_PATTERNS = [{"urlPattern": "*", "resourceType": "Document", "requestStage": "Response"}]
_ANSWER_LIMIT_S = 5.0
_CLOSE_LIMIT_S = 5.0


class PdfFiles:
    """Has one browser download what it would show in its viewer.

    Args:
        session: browser-level, and used for nothing else: what it pauses, nobody else answers for.
        calls: of the browser.
    """

    def __init__(self, session: CDPSession, calls: Calls) -> None:
        self._session = session
        self._calls = calls
        self._answers: set[asyncio.Task[bool]] = set()
        session.on("Fetch.requestPaused", self._on_paused)

    async def start(self, *, limit_s: float) -> None:
        """Look at all answers from now on.

        Raises:
            TimeoutError, playwright.async_api.Error: the browser does not take it.
        """
        await self._calls.run(self._session.send("Fetch.enable", {"patterns": _PATTERNS}), limit_s=limit_s)

    async def close(self) -> None:
        """Wait for the last answers; they end with the browser."""
        if self._answers:
            await asyncio.wait(set(self._answers), timeout=_CLOSE_LIMIT_S)

    def _on_paused(self, event: dict[str, Any]) -> None:
        """Let an answer go on; it must be let, or its page waits for it for ever."""
        params = {"requestId": event["requestId"], **as_file(event)}
        sending = self._calls.settled(self._session.send("Fetch.continueResponse", params), limit_s=_ANSWER_LIMIT_S)
        answer = asyncio.create_task(sending)
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)


def as_file(event: dict[str, Any]) -> dict[str, Any]:
    """Return what is to be changed of a paused answer so that it is a file, if it is a PDF.

    Example:
        >>> pdf = {"name": "content-type", "value": "application/PDF; x"}
        >>> as_file({"responseStatusCode": 200, "responseHeaders": [pdf]})["responseHeaders"][1]
        {'name': 'Content-Disposition', 'value': 'attachment'}
        >>> as_file({"responseErrorReason": "Failed"})
        {}
    """
    headers = event.get("responseHeaders", [])
    named = {header["name"].lower(): header["value"] for header in headers}
    if named.get("content-type", "").partition(";")[0].strip().lower() != _TYPE:
        return {}
    # With the name that the site gives, if it gives one.
    _, semicolon, parameters = named.get("content-disposition", "").partition(";")
    kept = [header for header in headers if header["name"].lower() != "content-disposition"]
    disposition = {"name": "Content-Disposition", "value": f"attachment{semicolon}{parameters}"}
    return {"responseCode": event["responseStatusCode"], "responseHeaders": [*kept, disposition]}
