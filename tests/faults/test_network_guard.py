"""The network guard under attack: in a network of its own a hostile site tries every way to private addresses.

The same attacks without the guard show that they would have worked, as far as the browser itself lets them. Chromium's
own protection against such requests is switched off for both.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults import besieged

LIMIT_S = 100

STOPPED_ANYWAY = {"mixed-name", "preconnect", "view-source", "webrtc"}
"""What reaches nothing without the guard either: the browser tries the public address first, the headless shell
connects to nothing in advance, no page opens another's source, and WebRTC finds no network where there is `lo` only."""

ATTACKS = [*besieged.PAGES, *besieged.REDIRECTS, *besieged.LINKS, *besieged.SITEMAPS]


@pytest.fixture(scope="module")
def siege(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What became of the attacks, with the guard and without."""
    apart = ["unshare", "--net", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    if subprocess.run([*apart, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine lets nobody have a network of his own")
    folder = tmp_path_factory.mktemp("siege")
    run = subprocess.run(
        [*apart, sys.executable, "-m", "tests.faults.besieged", str(folder), "auto", "off"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    report: dict[str, Any] = json.loads(run.stdout)
    return report


@pytest.mark.parametrize("attack", ATTACKS)
def test_guard_attack_reaches_nothing(siege: dict[str, Any], attack: str) -> None:
    """Whatever a page does, and wherever it redirects to or links, no private address gets as much as a connection."""
    assert siege["auto"]["hits"].get(attack, 0) == 0


@pytest.mark.parametrize("attack", [each for each in ATTACKS if each not in STOPPED_ANYWAY])
def test_guard_switched_off_attack_works(siege: dict[str, Any], attack: str) -> None:
    """Without the guard the same attack reaches its aim: what the other test shows is the guard's doing."""
    assert siege["off"]["hits"].get(attack, 0) > 0


def test_guard_refusals_are_told(siege: dict[str, Any]) -> None:
    """A refused main document is a skipped result, a refused link and a refused subresource are counted."""
    report = siege["auto"]
    for name in besieged.REDIRECTS:
        assert report["told"][f"http://hostile.example/{name}"] == ["skipped", "guard"]
    assert report["links"] == {"guard": len(besieged.LINKS)}
    assert report["refused"] >= len(besieged.PAGES) - len(STOPPED_ANYWAY)
    assert report["told"]["http://hostile.example/image"] == ["succeeded", None]


def test_guard_refused_sitemaps_are_told(siege: dict[str, Any]) -> None:
    """A public sitemap alone switches the guard on; each place that it leads to, and must not, ends with a result."""
    told = siege["auto"]["mapped"]
    assert {*map(tuple, told.values())} == {("failed", "input_invalid"), ("skipped", "guard")}
    assert len(told) == len(besieged.SITEMAPS)


def test_guard_hits_besides_the_attacks_are_none(siege: dict[str, Any]) -> None:
    """No other private address was reached either."""
    assert siege["auto"]["hits"] == {}


def test_guard_rebound_name_is_looked_at_again(siege: dict[str, Any]) -> None:
    """A name that led to a public address, and leads to a private one when its page asks again, reaches nothing."""
    assert siege["auto"]["rebound"] == {"http://rebind.example/rebind": ["succeeded", None]}
    assert siege["auto"]["rebound_hits"] == {}


def test_guard_comes_on_with_a_public_link(siege: dict[str, Any]) -> None:
    """A crawl of a private site that goes on to a public one: that page does not get the context from before."""
    outcome = ["succeeded", None]
    assert siege["auto"]["late"] == {"http://10.0.0.7/": outcome, "http://hostile.example/image": outcome}
    assert siege["auto"]["late_hits"] == {"10.0.0.7": 1}


def test_guard_private_seed_is_allowed_at_its_own_origin(siege: dict[str, Any]) -> None:
    """What the user names himself is visited, unless he denies all that is private."""
    assert siege["auto"]["own"] == {"http://10.0.0.6/": ["succeeded", None]}
    assert siege["auto"]["own_hits"] == {"10.0.0.6": 1}
    assert siege["auto"]["strict"] == {"http://10.0.0.5/": ["skipped", "guard"]}
