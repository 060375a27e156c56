"""A single visit: the handler's view of it, and its end."""

import asyncio
from pathlib import Path
from typing import Any, get_args

import pytest

from browsercrawl.config import CrawlerConfig, Saved, VisitConfig
from browsercrawl.errors import Blocked, ConfigError, ErrorKind, Retry, Skip, Stop, UsageError
from browsercrawl.events import Event
from browsercrawl.ports import ContextOptions
from browsercrawl.request import Request
from browsercrawl.result import Phase
from browsercrawl.testing.fake_browser import FakeBrowser, FakePage, FakePageScript
from browsercrawl.testing.virtual_clock import VirtualClock
from browsercrawl.visit import Visit, Visitor, VisitOutcome, VisitPlan, check_saved
from browsercrawl.visit.markdown import HTML_CHARACTERS_MAX

URL = "http://site.test/"


class Bench:
    """A page of a fake browser and a visitor for it."""

    def __init__(self, script: FakePageScript) -> None:
        self.clock = VirtualClock(autojump=True)
        self.browser = FakeBrowser({URL: script}, clock=self.clock)
        self.events: list[Event] = []
        self.visitor = Visitor(clock=self.clock, emit=self.events.append)

    async def page(self) -> FakePage:
        context = await self.browser.new_context(ContextOptions(), limit_s=1)
        return await context.new_page(limit_s=1)

    async def visit(self, handler: Any = None, **options: Any) -> VisitOutcome:
        plan = VisitPlan.of(Request(url=URL), VisitConfig(**options), handler=handler)
        return await self.visitor.visit(await self.page(), plan)


async def test_visit_takes_what_is_asked_for_and_no_more() -> None:
    """`capture` names what the snapshot holds; what is saved is not thereby captured."""
    script = FakePageScript(title="t", html="<p>", text="p", links=(f"{URL}a",))
    full = await Bench(script).visit()
    assert full.snapshot is not None
    assert (full.snapshot.html, full.snapshot.text, full.snapshot.links) == ("<p>", "p", (f"{URL}a",))
    saved: frozenset[Saved] = frozenset(get_args(Saved))
    bare = await Bench(script).visit(capture=frozenset(), save=saved)
    assert bare.snapshot is not None
    assert (bare.snapshot.title, bare.snapshot.html, bare.snapshot.text, bare.snapshot.links) == ("t", None, None, ())
    assert [(file.name, file.extension) for file in bare.files] == [
        ("html", "html"),
        ("text", "txt"),
        ("markdown", "md"),
        ("screenshot", "png"),
        ("pdf", "pdf"),
        ("mhtml", "mhtml"),
    ]


@pytest.mark.parametrize(
    "script", [FakePageScript(status=404), FakePageScript(crash_s=0.0), FakePageScript(status=204)]
)
async def test_visit_without_a_page_to_take_leaves_no_files(script: FakePageScript) -> None:
    """Files are of pages: a visit that failed, or that had no document, leaves none."""
    assert (await Bench(script).visit(save=frozenset(get_args(Saved)))).files == ()


async def test_visit_file_that_cannot_be_made_fails_the_visit() -> None:
    """What was asked for is there, or the visit has failed with the file's error; files made before do not count."""
    page = FakePageScript(html="x" * (HTML_CHARACTERS_MAX + 1))
    outcome = await Bench(page).visit(save=frozenset({"html", "markdown"}))
    assert outcome.error is not None
    assert outcome.phase is Phase.CAPTURE
    assert f"limit {HTML_CHARACTERS_MAX:,}" in outcome.error.message
    assert outcome.files == ()


def test_check_saved_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run could not save is told before it starts, whether the configuration or a rule of it asks for it."""
    monkeypatch.setattr("browsercrawl.visit.visitor.has_markdown", lambda: False)
    check_saved(CrawlerConfig.load({"output": tmp_path, "visit": {"save": ["html", "pdf", "mhtml"]}}))
    for wanting in ({"visit": {"save": ["markdown"]}}, {"rules": [{"url": "*/a", "save": ["markdown"]}]}):
        with pytest.raises(ConfigError, match=r"pip install 'browsercrawl\[markdown\]"):
            check_saved(CrawlerConfig.load({"output": tmp_path, **wanting}))
    headed = {"output": tmp_path, "browser": {"headed": True, "binary": "full"}, "visit": {"save": ["pdf"]}}
    with pytest.raises(ConfigError, match="without a window"):
        check_saved(CrawlerConfig.load(headed))


async def test_visit_handler_sees_page_response_and_session() -> None:
    """The handler gets the real page and the main document's response, before anything is captured."""
    seen: list[Any] = []

    async def handler(visit: Visit) -> None:
        seen.extend([visit.page, visit.response.status, visit.response.final_url, visit.session, visit.request.url])

    bench = Bench(FakePageScript(status=201, final_url=f"{URL}to"))
    await bench.visit(handler)
    assert isinstance(seen[0], FakePage)
    assert seen[1:] == [201, f"{URL}to", None, URL]


async def test_visit_pushed_values_are_copies() -> None:
    """What the handler changes after pushing stays out of the result."""
    row: dict[str, Any] = {"tags": ["a"]}

    async def handler(visit: Visit) -> None:
        visit.push(row)
        row["tags"].append("b")

    outcome = await Bench(FakePageScript()).visit(handler)
    assert outcome.data == ({"tags": ["a"]},)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"rows": [1, {"tags": {"a"}}]}, "data['rows'][1]['tags'] is a set"),
        ({"rows": {1: 2}}, "data['rows'] has a key of type int"),
        (object(), "data is a object"),
    ],
)
async def test_visit_push_of_what_json_cannot_say_names_the_place(value: Any, place: str) -> None:
    """The result's one-line message says which value is wrong, and where it stands."""

    async def handler(visit: Visit) -> None:
        visit.push(value)

    outcome = await Bench(FakePageScript()).visit(handler)
    assert outcome.error is not None
    assert place in outcome.error.message
    assert "validation error" not in outcome.error.message


async def test_visit_push_of_a_value_that_holds_itself_is_refused() -> None:
    """A circle has no place to name, and no end to look for."""
    circle: list[Any] = []
    circle.append(circle)

    async def handler(visit: Visit) -> None:
        visit.push(circle)

    outcome = await Bench(FakePageScript()).visit(handler)
    assert outcome.error is not None
    assert "nested too deeply" in outcome.error.message


async def test_visit_enqueue_of_a_url_takes_after_its_page() -> None:
    """A page whose addresses are told apart by their fragments enqueues such; session and depth follow as well."""

    async def handler(visit: Visit) -> None:
        visit.enqueue(f"{URL}#/cart")

    bench = Bench(FakePageScript())
    request = Request(url=URL, session="me", keep_fragment=True, sort_query=True, depth=2)
    outcome = await bench.visitor.visit(await bench.page(), VisitPlan.of(request, VisitConfig(), handler=handler))
    (child,) = outcome.requests
    assert (child.keep_fragment, child.sort_query, child.session, child.depth) == (True, True, "me", 3)
    assert (child.url, child.parent_url) == (f"{URL}#/cart", URL)


async def test_visit_enqueue_of_a_malformed_request_says_what_is_wrong() -> None:
    """A bad URL in a request made by a handler is told as such."""

    async def handler(visit: Visit) -> None:
        visit.enqueue(Request(url="file:///etc/passwd"))

    outcome = await Bench(FakePageScript()).visit(handler)
    assert outcome.error is not None
    assert "raised InvalidURL: 'file:///etc/passwd' is neither an http nor an https URL" in outcome.error.message


@pytest.mark.parametrize("kind", [ValueError, Skip, Retry, Blocked, Stop])
async def test_visit_secret_in_what_user_code_says_never_reaches_the_result(kind: type[Exception]) -> None:
    """What a handler raises, with a reason or by mistake, is redacted where it becomes a message."""

    async def handler(_: Visit) -> None:
        raise kind("no access to https://a.example/?token=hunter2")

    outcome = await Bench(FakePageScript()).visit(handler)
    told = f"{outcome.error.message if outcome.error else outcome.skip_reason}"
    assert "https://a.example/?token=[redacted]" in told


async def test_visit_is_dead_after_its_handler() -> None:
    """A visit kept beyond its handler takes nothing more."""
    kept: list[Visit] = []

    async def handler(visit: Visit) -> None:
        kept.append(visit)

    await Bench(FakePageScript()).visit(handler)
    with pytest.raises(UsageError, match="is over"):
        kept[0].push(1)
    with pytest.raises(UsageError, match="is over"):
        kept[0].enqueue(URL)
    with pytest.raises(UsageError, match="is over"):
        await kept[0].enqueue_links()
    with pytest.raises(UsageError, match="is over"):
        await kept[0].screenshot()


async def test_visit_too_many_pictures_are_refused() -> None:
    """A visit keeps 100 pictures at most."""

    async def handler(visit: Visit) -> None:
        for number in range(101):
            await visit.screenshot(f"p{number}")

    outcome = await Bench(FakePageScript()).visit(handler)
    assert outcome.error is not None
    assert outcome.error.kind is ErrorKind.HANDLER_FAILED
    assert "100 screenshots" in outcome.error.message


async def test_visit_cancelled_cancels_its_handler() -> None:
    """Cancelling a visit ends the handler and passes the cancellation on."""
    bench = Bench(FakePageScript())
    ended: list[bool] = []

    async def handler(visit: Visit) -> None:
        try:
            await bench.clock.sleep(1000)
        finally:
            ended.append(True)

    task = asyncio.create_task(bench.visit(handler))
    await bench.clock.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [True]


@pytest.mark.parametrize(
    ("script", "condemned"),
    [
        (FakePageScript(), None),
        (FakePageScript(status=404), None),
        (FakePageScript(status=503), None),
        (FakePageScript(network_error="ERR_FAILED"), "network"),
        (FakePageScript(download=True), "download"),
        (FakePageScript(crash_s=0.0), "page_crashed"),
        (FakePageScript(hang="for_good"), "deadline"),
    ],
)
async def test_visit_condemns_the_page_when_the_page_is_at_fault(script: FakePageScript, condemned: str | None) -> None:
    """An HTTP status costs no page; a network error, download, crash or deadline does."""
    assert (await Bench(script).visit()).condemned == condemned


async def test_visit_takes_a_download_only_where_it_is_to_be_saved() -> None:
    """The file that comes in place of a page is given on, open, and nothing else is taken or waited for."""
    bench = Bench(FakePageScript(download=True, html="a,b", content_type="text/csv"))
    outcome = await bench.visit(save=frozenset({"download", "text"}), wait_for=".never")
    assert outcome.error is None
    assert outcome.files == ()
    assert [(each.number, each.content_type, each.file.read()) for each in outcome.downloads] == [
        (1, "text/csv", b"a,b")
    ]
    outcome.close()
    assert outcome.downloads[0].file.closed


@pytest.mark.parametrize("salvage", [False, True])
async def test_visit_salvage_takes_what_a_hung_page_shows(salvage: bool) -> None:
    """A page that hangs until its deadline is interrupted and taken as partial where that is wanted; else it fails."""
    bench = Bench(FakePageScript(hang="interruptible", title="t", html="<p>", load_s=100))
    outcome = await bench.visit(salvage=salvage, timeout_s=10)
    assert bench.clock.now() <= 10 + 2
    assert outcome.condemned == ErrorKind.DEADLINE
    if not salvage:
        assert outcome.error is not None
        assert outcome.error.kind is ErrorKind.DEADLINE
        return
    assert outcome.error is None
    assert outcome.snapshot is not None
    assert outcome.navigation is not None
    assert (outcome.snapshot.title, outcome.snapshot.html, outcome.navigation.loaded) == ("t", "<p>", False)


@pytest.mark.parametrize(
    ("script", "options"),
    [
        (FakePageScript(hang="for_good", load_s=100), {}),
        (FakePageScript(hang="interruptible"), {"wait_for": ".never"}),
        (FakePageScript(commit_s=100), {}),
    ],
)
async def test_visit_salvage_saves_nothing_that_is_not_whole(script: FakePageScript, options: dict[str, Any]) -> None:
    """A page that does not let go, lacks what was waited for, or never came fails as without salvage, in time."""
    bench = Bench(script)
    outcome = await bench.visit(salvage=True, timeout_s=10, **options)
    assert outcome.error is not None
    assert outcome.snapshot is None
    assert bench.clock.now() <= 10 + 2
