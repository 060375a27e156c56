"""HTTP authentication: sent to its own origin, and nowhere else."""

from typing import TYPE_CHECKING

from browsercrawl import Outcome, Request
from browsercrawl.testing import DemoSite

if TYPE_CHECKING:
    from tests.integration.sessions.conftest import Area, NewCrawler, RunThrough


async def test_http_credentials_open_their_origin_and_no_other(
    area: "Area", new_crawler: "NewCrawler", run_through: "RunThrough"
) -> None:
    """The session gets through where others meet a 401; another origin asks in vain and gets no header."""
    with DemoSite(accounts=1) as other:
        credentials = {"origin": area.site.url, **area.credentials(0)}
        profiles = [{"name": "ann", "http_credentials": credentials}]
        crawler = new_crawler(retry={"retries": 0}, sessions={"profiles": profiles})
        basic, foreign = area.url("basic/"), f"{other.url}/members/basic/"
        seeds = [
            Request(url=basic, session="ann"),
            Request(url=basic, session="bob"),
            Request(url=foreign, session="ann"),
            Request(url=f"{other.url}/members/echo", session="ann"),
        ]
        async with crawler:
            done = await run_through(crawler, seeds)
    found = {(result.url, result.session): result for result in done.results}
    own = found[basic, "ann"]
    assert own.outcome is Outcome.SUCCEEDED
    assert "member-0" in (own.text or "")
    assert {found[basic, "bob"].http_status, found[foreign, "ann"].http_status} == {401}
    echo = found[f"{other.url}/members/echo", "ann"].text or ""
    assert "user-agent" in echo
    assert "authorization" not in echo
