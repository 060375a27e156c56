"""Which requests are refused by their host."""

import time
from typing import Any, cast

import pytest
from playwright.async_api import CDPSession

from browsercrawl.browser.blocking import Blocking
from browsercrawl.browser.calls import Calls
from browsercrawl.config import BrowserConfig


class Deaf:
    """A session by which nothing comes."""

    def on(self, _event: str, _listener: Any) -> None:
        """Take a listener."""


@pytest.mark.parametrize(
    ("url", "is_blocked"),
    [
        ("http://ads.example/x", True),
        ("https://a.ads.example:8443/", True),
        ("http://u:p@ads.example./", True),
        ("http://xads.example/", False),
        ("http://site.test/?u=http://ads.example/", False),
        ("http://[::1]/", False),
        ("http://" + "a." * 500_000 + "ads.example/", True),
        ("http://" + "a." * 500_000 + "site.test/?u=//ads.example/", False),
    ],
    ids=lambda each: str(each)[:30],
)
def test_blocking_host_is_refused_with_all_below_it(url: str, is_blocked: bool) -> None:
    """The host counts, not what else stands in the URL; a host of a million letters does not take long."""
    blocking = Blocking(
        cast("CDPSession", Deaf()), Calls(), config=BrowserConfig(block_hosts=frozenset({"ads.example"}))
    )
    began = time.process_time()
    assert blocking._is_blocked(url) is is_blocked
    assert time.process_time() - began < 1
