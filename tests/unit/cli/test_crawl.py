"""From options to a configuration."""

import re
from pathlib import Path

import pytest

from browsercrawl.cli.arguments import BadUsage, parse
from browsercrawl.cli.crawl import GRAMMAR, OPTIONS, configuration
from browsercrawl.config import CrawlerConfig


def _configured(*argv: str) -> CrawlerConfig:
    return configuration(vars(parse(GRAMMAR, argv)), directory=Path("runs/x"))


def test_configuration_without_options_is_polite_and_captures_nothing() -> None:
    """The command line waits between visits to a host, and takes no more of a page than it needs."""
    config = _configured()
    assert config == CrawlerConfig.load({"output": "runs/x", "host": {"delay_s": None}, "visit": {"capture": []}})


def test_configuration_every_option_reaches_its_field() -> None:
    """Each option sets exactly what it says."""
    config = _configured(
        *("--depth", "3", "--scope", "any", "--max-requests", "9", "--timeout", "30s", "--retries", "0"),
        *("--wait-until", "commit", "--wait-for", "#x", "--block", "image,font", "--concurrency", "7"),
        *("--delay", "250ms", "--per-host", "2", "--profile", "lean", "--user-agent", "me"),
        *("--proxy", "http://p:1", "--save", "html,text"),
    )
    assert config == CrawlerConfig.load(
        {
            "output": "runs/x",
            "profile": "lean",
            "concurrency": 7,
            "links": {"depth": 3, "scope": "any", "max_requests": 9},
            "visit": {
                "timeout_s": 30, "wait_until": "commit", "wait_for": "#x", "save": ["html", "text"],
                "capture": ["links"],
            },
            "retry": {"retries": 0},
            "host": {"delay_s": 0.25, "per_host": 2},
            "browser": {"block": ["image", "font"], "user_agent": "me", "proxy": "http://p:1"},
        }
    )  # fmt: skip


def test_configuration_headed_takes_the_full_browser() -> None:
    """A window needs full Chromium, whatever the profile."""
    browser = _configured("--headed", "--profile", "lean").browser
    assert (browser.headed, browser.binary, browser.process_per_site) == (True, "full", True)


@pytest.mark.parametrize(
    ("argv", "option"),
    [(["--timeout", "0"], "--timeout: "), (["--retries", "101"], "--retries: "), (["--delay", "25h"], "--delay: ")],
)
def test_configuration_value_out_of_range_names_the_option(argv: list[str], option: str) -> None:
    """What the configuration refuses is told in the words of the command line."""
    with pytest.raises(BadUsage, match=option):
        _configured(*argv)


def test_options_default_shown_is_the_default_that_holds() -> None:
    """Where the help shows a plain number, duration or word as default, the configuration has just that."""
    config = _configured()
    for option in OPTIONS:
        if option.field and re.fullmatch(r"\w+", option.default):
            held: object = config
            for step in option.field.split("."):
                held = getattr(held, step)
            assert option.read(option.default) == held, option.flag
