"""Every address of the fault site: it ends as it should, in time, and its neighbours do not notice."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from browsercrawl import ErrorKind, Outcome
from browsercrawl.events import BrowserLaunched
from browsercrawl.testing import DemoSite
from browsercrawl.testing.fault_pages import FAULT_PAGES
from browsercrawl.testing.faults import FAULTS

if TYPE_CHECKING:
    from tests.faults.conftest import Crawl

DEADLINE_S = 4.0
FINE = "fine"
PARTIAL = "partial"

EXPECTED: dict[str, tuple[str, ...]] = {
    "slow": (FINE,),
    "silent": (ErrorKind.DEADLINE,),
    # On a busy machine its second half, after 2 s, may come after two thirds of 4 s.
    "slow-body": (FINE, PARTIAL),
    "silent-body": (PARTIAL,),
    "endless": (PARTIAL,),
    "truncated": (PARTIAL,),
    "truncated-chunked": (PARTIAL,),
    "reset": (ErrorKind.NETWORK,),
    "reset-body": (PARTIAL,),
    "empty-close": (ErrorKind.NETWORK,),
    "503": (ErrorKind.HOST_UNAVAILABLE,),
    "429": (ErrorKind.HOST_UNAVAILABLE,),
    "status": (ErrorKind.HTTP_FAILED,),
    "204": (FINE,),
    "empty": (FINE,),
    "redirect": (FINE,),
    "redirect-loop": (ErrorKind.NETWORK,),
    "redirect-growing": (ErrorKind.NETWORK,),
    "redirect-file": (ErrorKind.NETWORK,),
    "redirect-mailto": (ErrorKind.NETWORK,),
    "redirect-port": (ErrorKind.NETWORK,),
    "redirect-nowhere": (ErrorKind.NETWORK,),
    "auth": (ErrorKind.BLOCKED,),
    "auth-empty": (ErrorKind.BLOCKED,),
    "slow-headers": (ErrorKind.DEADLINE,),
    "big-headers": (ErrorKind.NETWORK,),
    # Chromium shows what it could unpack, and takes that for the whole document.
    "bad-gzip": (FINE,),
    "nested": (FINE,),
    "socket": (ErrorKind.HTTP_REJECTED,),
    "download": (ErrorKind.DOWNLOAD,),
    "echo": (FINE,),
    "json": (FINE,),
    "text": (FINE,),
    "image": (FINE,),
    "latin-1": (FINE,),
    "wrong-charset": (FINE,),
    "wrong-type": (FINE,),
    "unknown-type": (ErrorKind.DOWNLOAD,),
    "page": (FINE,),
    "hang-inline": (ErrorKind.DEADLINE,),
    "hang-load": (ErrorKind.DEADLINE,),
    "hang-later": (FINE,),
    "hang-beforeunload": (FINE,),
    "hang-pagehide": (FINE,),
    "hang-unload": (FINE,),
    "hang-click": (FINE,),
    "beforeunload": (FINE,),
    # It crashes in a task of its own after load; the look at the page may come first.
    "crash": (ErrorKind.PAGE_CRASHED, FINE),
    # Its loop is ended after some dialogs; on a busy machine that may take longer than there is time.
    "dialogs": (FINE, PARTIAL, ErrorKind.DEADLINE),
    "prompts": (FINE, PARTIAL, ErrorKind.DEADLINE),
    "popups": (FINE, PARTIAL),
    "popup-storm": (FINE,),
    "popup-chain": (FINE,),
    # A navigation that becomes a download has stopped the document in the middle: no event tells of its end.
    "download-inline": (PARTIAL,),
    "download-click": (FINE,),
    "download-refresh": (FINE,),
    "download-frame": (FINE,),
    "client-redirect": (FINE,),
    "client-redirect-later": (FINE,),
    "client-redirect-404": (ErrorKind.HTTP_REJECTED,),
    # Chromium answers no question about a document that is on its way to another one.
    "client-redirect-silent": (ErrorKind.DEADLINE,),
    "client-redirect-reset": (ErrorKind.NETWORK,),
    # Whether a question is answered between two navigations is a matter of luck.
    "history-loop": (FINE, PARTIAL, ErrorKind.DEADLINE),
    "history-back": (FINE,),
    "write-loop": (FINE,),
    "open-later": (FINE,),
    "frame-silent": (PARTIAL,),
    "frame-refresh": (FINE,),
    "builtins": (FINE,),
    "big": (FINE,),
    "hog": (FINE,),
    "missing-image": (PARTIAL,),
    "pushstate-storm": (FINE,),
    "refresh-loop": (FINE, PARTIAL),
    "navigate-loop": (FINE, PARTIAL),
    "console-storm": (FINE,),
    "pagehide-write": (FINE,),
    "leave-marks": (FINE,),
    "residue": (FINE,),
    "service-worker": (FINE,),
    # The page was shown; its worker takes over when it loads itself again.
    "endless-worker": (FINE, PARTIAL),
}
ELSEWHERE = {
    "big-html", "bomb", "cookies", "fetch-flood", "frame-hang", "frames-silent", "gzip-bomb", "socket-flood",
    "worker-hang", "workers",
}  # fmt: skip
"""They take the machine, or their host, from their neighbours: tested where no time is measured."""

SCRIPTED = {page.name for page in FAULT_PAGES}


def test_faults_are_all_expected() -> None:
    """A new address of the fault site cannot be forgotten here."""
    assert {fault.name for fault in FAULTS} == EXPECTED.keys() | ELSEWHERE


@pytest.fixture
def site() -> Iterator[DemoSite]:
    """A site of the test's own, with a neighbour for each fault: some faults count how often they were asked for."""
    with DemoSite(products=100) as running:
        yield running


@pytest.mark.parametrize("profile", ["balanced", "lean"])
async def test_crawl_every_fault_ends_in_time_and_harms_no_neighbour(
    site: DemoSite, crawl: "Crawl", profile: str
) -> None:
    """Each fault has its expected outcome within its deadline + 2 s; pages among them all succeed, at once in balanced.

    `lean` is about the pages that misbehave by script. They share a renderer there: a neighbour may be put back,
    without an attempt spent, but none is lost.
    """
    # What asks for a pause has a host of its own: its neighbours would rightly wait.
    hosts = {"503": "http://localhost", "429": "http://localhost"}
    faults = {
        fault.name: f"{hosts.get(fault.name, 'http://127.0.0.1')}:{site.url.rpartition(':')[2]}{fault.target}"
        for fault in FAULTS
        if fault.name in (EXPECTED if profile == "balanced" else EXPECTED.keys() & SCRIPTED)
    }
    good = {site.url + page.path: page.title for page in site.truth().pages if "?" not in page.path}
    assert len(good) >= len(faults)
    seeds = [url for pair in zip(faults.values(), good, strict=False) for url in pair]
    done = await crawl(
        seeds,
        profile=profile,
        concurrency=4,
        visit={"timeout_s": DEADLINE_S},
        retry={"retries": 0, "backoff_s": 0.1},
        host={"defer_s": 0.1},
    )
    assert Counter(result.url for result in done.results) == Counter(seeds)
    neighbours = [result for result in done.results if result.url in good]
    assert [result.error for result in neighbours if result.outcome is not Outcome.SUCCEEDED] == []
    # Under a shared renderer that hangs, a neighbour may never get to load: it is `partial` then.
    whole = [result for result in neighbours if profile == "balanced" or not result.partial]
    assert {result.url: result.title for result in whole} == {result.url: good[result.url] for result in whole}
    if profile == "lean":
        return
    ended = {name: done.of(url) for name, url in faults.items()}
    as_what = {
        name: result.error.kind if result.error else PARTIAL if result.partial else FINE
        for name, result in ended.items()
    }
    assert {name: what for name, what in as_what.items() if what not in EXPECTED[name]} == {}
    late = {name: held for name, url in faults.items() if (held := done.held_s(url)) > DEADLINE_S + 2}
    assert late == {}
    slow = {result.url: result.timings for result in neighbours if result.timings.navigate_s > 2}
    assert slow == {}
    assert len(done.told(BrowserLaunched)) == 1
