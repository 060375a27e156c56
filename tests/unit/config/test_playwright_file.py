"""`playwright.config.json`."""

import json
from pathlib import Path

import pytest

from browsercrawl.config import BrowserConfig
from browsercrawl.config.playwright_file import (
    FILE_NAME,
    find_playwright_file,
    load_playwright_file,
)
from browsercrawl.errors import ConfigError


def _written(folder: Path, content: object) -> Path:
    path = folder / FILE_NAME
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_find_walks_up_to_the_nearest(tmp_path: Path) -> None:
    """The nearest file above counts."""
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    path = _written(tmp_path, {})
    assert find_playwright_file(below) == path
    nearer = _written(tmp_path / "a", {})
    assert find_playwright_file(below) == nearer


def test_load_options_become_fields_in_pythons_names(tmp_path: Path) -> None:
    """Keys with a field of their own set it; the rest goes to Playwright, in snake_case."""
    content = {
        "browserName": "chromium",
        "launchOptions": {
            "args": ["--lang=de"],
            "executablePath": "/x/chrome",
            "slowMo": 5,
            "proxy": {"server": "http://p:1"},
        },
        "contextOptions": {"userAgent": "me", "ignoreHTTPSErrors": True, "viewport": {"width": 10, "height": 20}},
    }
    config = BrowserConfig.model_validate(load_playwright_file(_written(tmp_path, content)).browser_fields())
    assert config.executable == Path("/x/chrome")
    assert (config.user_agent, config.proxy) == ("me", "http://p:1")
    assert config.launch_options == {"args": ["--lang=de"], "slow_mo": 5}
    assert config.context_options == {"ignore_https_errors": True, "viewport": {"width": 10, "height": 20}}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"launchOption": {}}, "launchOptions"),
        ({"contextOptions": {"useragent": "x"}}, "userAgent"),
        ({"contextOptions": {"viewport": {"widht": 1, "height": 1}}}, "width"),
        ({"launchOptions": {"handleSIGINT": True}}, "launchOptions.handleSIGINT is set by the engine"),
        ({"launchOptions": {"env": {}}}, "launchOptions.env is set by the engine"),
        ({"browserName": "firefox"}, "only 'chromium'"),
        ({"contextOptions": {"locale": 5}}, "contextOptions.locale: must be text"),
        ({"launchOptions": {"slowMo": -5}}, "launchOptions.slowMo: must be at least 0, not -5"),
        ("{", "not JSON"),
        ("[]", "must be a mapping"),
    ],
)
def test_load_wrong_content_names_file_key_and_remedy(tmp_path: Path, content: object, said: str) -> None:
    """A wrong key or value is named, with its file and the nearest valid key."""
    path = _written(tmp_path, content)
    with pytest.raises(ConfigError) as caught:
        load_playwright_file(path)
    assert said in caught.value.message
    assert str(path) in caught.value.message


def test_load_secret_value_is_not_repeated(tmp_path: Path) -> None:
    """An error does not quote what was written."""
    for password in (["714714"], 714714):
        content = {"contextOptions": {"httpCredentials": {"username": "me", "password": password, "origin": "x"}}}
        with pytest.raises(ConfigError) as caught:
            load_playwright_file(_written(tmp_path, content))
        assert "714714" not in caught.value.message


def test_load_file_of_the_repository_is_valid() -> None:
    """The file at the top of this repository can be used."""
    path = find_playwright_file(Path(__file__).parent)
    assert path is not None
    assert BrowserConfig.model_validate(load_playwright_file(path).browser_fields()).launch_options["args"]
