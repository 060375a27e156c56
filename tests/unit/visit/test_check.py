"""A page is looked at before anything of it is accepted: whether its session is still logged in."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from browsercrawl.config import BlockedSigns, LoggedOut, VisitConfig
from browsercrawl.errors import Blocked, ErrorKind, Retry, Skip, Stop
from browsercrawl.events import Event
from browsercrawl.ports import ContextOptions
from browsercrawl.request import Request
from browsercrawl.sessions import PageCheck
from browsercrawl.testing.fake_browser import NEVER, FakeBrowser, FakePage, FakePageScript
from browsercrawl.testing.virtual_clock import VirtualClock
from browsercrawl.visit import Handler, Visit, Visitor, VisitOutcome, VisitPlan

URL = "http://site.test/"
LOGIN = "http://site.test/login"
OUT = FakePageScript(final_url=LOGIN)


class Bench:
    """One page of a site, a visitor, and a check for its session."""

    def __init__(self, script: FakePageScript) -> None:
        self.clock = VirtualClock(autojump=True)
        self.browser = FakeBrowser({URL: script}, clock=self.clock)
        self.events: list[Event] = []
        self.visitor = Visitor(clock=self.clock, emit=self.events.append)

    async def visit(
        self,
        handler: Handler | None = None,
        *,
        signs: dict[str, Any] | None = None,
        function: Callable[[Any], Awaitable[bool]] | None = None,
        **options: Any,
    ) -> VisitOutcome:
        """Visit; without signs, whoever ends at the login form is logged out."""
        blocked = BlockedSigns.model_validate(options.pop("blocked", {}))
        admits = options.pop("admits", None)
        logged_out = LoggedOut.model_validate({"url": f"{LOGIN}*"} if signs is None else signs)
        context = await self.browser.new_context(ContextOptions(), limit_s=1)
        page = await context.new_page(limit_s=1)
        plan = VisitPlan.of(Request(url=URL), VisitConfig(**options), handler=handler)
        check = PageCheck("ann", signs=logged_out, blocked=blocked, function=function)
        outcome = await self.visitor.visit(page, replace(plan, check=check, admits=admits))
        await self.visitor.close()
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return outcome


def kind_of(outcome: VisitOutcome) -> ErrorKind | None:
    """Return what a visit failed with."""
    return outcome.error.kind if outcome.error is not None else None


@pytest.mark.parametrize(
    ("script", "signs", "kind"),
    [
        (FakePageScript(), None, None),
        (OUT, None, ErrorKind.SESSION_EXPIRED),
        (FakePageScript(status=401), {"status": [401]}, ErrorKind.SESSION_EXPIRED),
        (FakePageScript(status=404), {"status": [404]}, ErrorKind.SESSION_EXPIRED),
        (FakePageScript(status=401), None, ErrorKind.BLOCKED),
        (FakePageScript(status=403), {"missing": "#me"}, ErrorKind.BLOCKED),
        (FakePageScript(status=404), {"missing": "#me"}, ErrorKind.HTTP_REJECTED),
        (FakePageScript(status=404, selectors={"#form": 0.0}), {"present": "#form"}, ErrorKind.SESSION_EXPIRED),
        (FakePageScript(content_type="application/json"), {"missing": "#me"}, None),
        (FakePageScript(selectors={"#form": 0.0}), {"present": "#form"}, ErrorKind.SESSION_EXPIRED),
        (FakePageScript(), {"missing": "#me"}, ErrorKind.SESSION_EXPIRED),
        (FakePageScript(selectors={"#me": 0.0}), {"missing": "#me"}, None),
        (FakePageScript(), {"cookie": "sid"}, ErrorKind.SESSION_EXPIRED),
    ],
)
async def test_visit_accepts_no_page_of_a_stranger(
    script: FakePageScript, signs: dict[str, Any] | None, kind: ErrorKind | None
) -> None:
    """Whatever shows it, a page of a session that is logged out is no result; of one that is in, it is."""
    outcome = await Bench(script).visit(signs=signs)
    assert kind_of(outcome) is kind
    assert (outcome.snapshot is None) is (kind is not None)


async def test_visit_login_page_that_robots_forbids_is_that_of_a_stranger() -> None:
    """Where one logs in is often forbidden; the page is visited again once logged in, and not skipped."""

    async def admits(final_url: str, *, limit_s: float) -> bool:
        return final_url != LOGIN

    form = FakePageScript(final_url=LOGIN, selectors={"#form": 0.0})
    assert kind_of(await Bench(OUT).visit(admits=admits)) is ErrorKind.SESSION_EXPIRED
    assert kind_of(await Bench(form).visit(signs={"present": "#form"}, admits=admits)) is ErrorKind.SESSION_EXPIRED
    outcome = await Bench(OUT).visit(signs={"present": "#form"}, admits=admits)
    assert (outcome.error, outcome.skip_reason, outcome.snapshot) == (None, "robots", None)


async def test_visit_page_with_a_captcha_is_blocked() -> None:
    """What the configuration calls a refusal is one."""
    script = FakePageScript(selectors={".captcha": 0.0})
    assert kind_of(await Bench(script).visit(blocked={"present": ".captcha"})) is ErrorKind.BLOCKED


@pytest.mark.parametrize(
    "raised", [Skip("x"), Retry("x"), Stop("x"), Blocked("x"), ValueError("x")], ids=lambda each: type(each).__name__
)
@pytest.mark.parametrize("is_out", [True, False])
async def test_visit_handler_on_a_page_of_a_stranger_is_overruled(raised: Exception, is_out: bool) -> None:
    """What a handler says of the login page is not what it would say of its own; else it is what it says."""

    async def handler(visit: Visit) -> None:
        visit.push("of a stranger")
        if is_out:
            page: Any = visit.page
            page.url = LOGIN  # the site's script has noticed meanwhile
        raise raised

    outcome = await Bench(FakePageScript()).visit(handler)
    assert (kind_of(outcome) is ErrorKind.SESSION_EXPIRED) is is_out
    assert (outcome.data, outcome.requests) == ((), ())
    assert not (is_out and (outcome.stop or outcome.skip_reason))


async def test_visit_handler_that_logs_itself_out_is_noticed() -> None:
    """A page is looked at once more after the handler; what that pushed does not count."""

    async def handler(visit: Visit) -> None:
        visit.push("x")
        page: Any = visit.page
        page.url = LOGIN

    outcome = await Bench(FakePageScript()).visit(handler)
    assert (kind_of(outcome), outcome.data) == (ErrorKind.SESSION_EXPIRED, ())


async def test_visit_awaited_selector_of_a_stranger_is_not_missing() -> None:
    """`wait_for` waits in vain on a login page; that is not the page's fault."""
    script = FakePageScript(selectors={"#form": 0.0})
    outcome = await Bench(script).visit(signs={"present": "#form"}, wait_for="#orders", timeout_s=5)
    assert kind_of(outcome) is ErrorKind.SESSION_EXPIRED


@pytest.mark.parametrize("says", [True, False])
async def test_visit_asks_the_users_own_check(says: bool) -> None:
    """It gets the page, and its word counts."""
    asked: list[Any] = []

    async def is_out(page: Any) -> bool:
        asked.append(page)
        return says

    outcome = await Bench(FakePageScript()).visit(signs={}, function=is_out)
    assert (kind_of(outcome) is ErrorKind.SESSION_EXPIRED) is says
    assert isinstance(asked[0], FakePage)


async def test_visit_check_that_hangs_ends_with_the_visit() -> None:
    """A check that does not tell is user code that failed, within the visit's deadline."""
    bench = Bench(FakePageScript())

    async def hangs(page: Any) -> bool:
        await bench.clock.sleep(NEVER)
        return False

    outcome = await bench.visit(signs={}, function=hangs, timeout_s=20)
    assert kind_of(outcome) is ErrorKind.HANDLER_FAILED
    assert bench.clock.now() <= 41


async def test_visit_check_that_raises_is_told_by_name() -> None:
    """A mistake in the check is the user's, with its name; the page is not accepted."""

    async def broken(page: Any) -> bool:
        raise KeyError("no such field")

    outcome = await Bench(FakePageScript()).visit(signs={}, function=broken)
    assert kind_of(outcome) is ErrorKind.HANDLER_FAILED
    assert "broken" in str(outcome.error)
    assert "KeyError" in str(outcome.error)


async def test_visit_answer_without_a_document_is_not_looked_at() -> None:
    """A 204 leaves an earlier page in view: nothing of that is this visit's."""
    outcome = await Bench(FakePageScript(status=204)).visit(signs={"missing": "#me"})
    assert kind_of(outcome) is None


@pytest.mark.parametrize("script", [FakePageScript(crash_s=0.0), FakePageScript(network_error="ERR_CONNECTION_RESET")])
async def test_visit_page_that_is_lost_is_not_called_logged_out(script: FakePageScript) -> None:
    """A crash and a broken connection stay what they are."""
    outcome = await Bench(script).visit(signs={"missing": "#me"})
    assert kind_of(outcome) in {ErrorKind.PAGE_CRASHED, ErrorKind.NETWORK}
