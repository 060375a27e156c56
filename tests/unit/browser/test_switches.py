"""One merged value per switch."""

import pytest

from browsercrawl.browser.switches import command_line, parse_switches, playwright_switches
from browsercrawl.config import BrowserConfig
from browsercrawl.errors import ConfigError, LaunchFailed


def _with(*args: str, ignored: object = ()) -> BrowserConfig:
    return BrowserConfig(launch_options={"args": list(args), "ignore_default_args": ignored})


def test_playwright_switches_are_found_in_the_installed_driver() -> None:
    """The installed driver's defaults are known, each once."""
    switches = playwright_switches()
    names = [switch.partition("=")[0] for switch in switches]
    assert len(names) == len(set(names))
    assert {"--disable-features", "--enable-features", "--blink-settings", "--mute-audio"} <= set(names)


@pytest.mark.parametrize("source", ["", 'disabledFeatures = [\n"A"\n]; enabledFeatures = () => [\n"B"\n]'])
def test_parse_switches_unknown_driver_is_refused(source: str) -> None:
    """A driver that looks different is refused with the reason, not started with half of its switches."""
    with pytest.raises(LaunchFailed, match="not found in its driver"):
        parse_switches(source)


def test_command_line_merges_lists_and_replaces_values() -> None:
    """Lists are joined, other values replaced, and Playwright's own spelling of both is taken out."""
    line = command_line(
        _with("--disable-features=Mine", "--blink-settings=imagesEnabled=false", "--force-color-profile=x")
    )
    merged = {arg.partition("=")[0]: arg.partition("=")[2] for arg in line.args}
    assert merged["--disable-features"].split(",")[-2:] == ["RenderDocument", "Mine"]
    assert "PaintHolding" in merged["--disable-features"].split(",")
    assert merged["--blink-settings"].endswith(",imagesEnabled=false")
    assert merged["--force-color-profile"] == "x"
    names = {name.partition("=")[0] for name in line.ignored}
    assert {"--disable-features", "--blink-settings", "--force-color-profile"} <= names
    assert set(line.ignored) <= set(playwright_switches())


def test_command_line_is_told_the_memory_that_there_is() -> None:
    """Renderers and scripts are bounded by what the container gives; the user's own wish for scripts comes last."""
    mib = 2**20
    small = command_line(_with("--js-flags=--expose-gc"), memory_bytes=1024 * mib)
    assert "--js-flags=--max-old-space-size=768 --expose-gc" in small.args
    assert "--renderer-process-limit=35" in small.args
    assert "--disable-dev-shm-usage" not in small.ignored
    assert "--renderer-process-limit=8" in command_line(_with(), memory_bytes=64 * mib).args
    large = command_line(_with())
    assert "--renderer-process-limit=200" in large.args
    assert not any(arg.startswith("--js-flags") for arg in large.args)
    assert command_line(_with(), memory_bytes=64_000 * mib) == large


@pytest.mark.parametrize(
    "switch",
    [
        "--user-data-dir=/x",
        "--remote-debugging-port=1",
        "--no-sandbox",
        "--proxy-server=x",
        "--renderer-process-limit=3",
    ],
)
def test_command_line_owned_switch_is_refused_by_name(switch: str) -> None:
    """A switch that the engine sets is refused by name."""
    with pytest.raises(ConfigError, match=switch.partition("=")[0]):
        command_line(_with(switch))


def test_command_line_word_that_is_no_switch_is_refused() -> None:
    """A URL among the switches would be opened."""
    with pytest.raises(ConfigError, match="no switch"):
        command_line(_with("https://example.com/"))


def test_command_line_ignored_default_is_dropped_and_unknown_one_refused() -> None:
    """Defaults can be dropped by name; a name that is no default is a mistake."""
    assert "--mute-audio" in command_line(_with(ignored=["--mute-audio"])).ignored
    with pytest.raises(ConfigError, match="--not-there"):
        command_line(_with(ignored=["--not-there"]))
    with pytest.raises(ConfigError, match="in a list"):
        command_line(_with(ignored=True))


def test_command_line_feature_enabled_and_disabled_is_refused() -> None:
    """A contradiction is said, not settled by order."""
    with pytest.raises(ConfigError, match="RenderDocument"):
        command_line(_with("--enable-features=RenderDocument"))


def test_command_line_lean_and_proxy_add_their_switches() -> None:
    """Options become switches."""
    args = command_line(BrowserConfig(process_per_site=True, proxy="http://127.0.0.1:1")).args
    assert "--process-per-site" in args
    assert "--force-webrtc-ip-handling-policy=disable_non_proxied_udp" in args


def test_command_line_guarded_lets_nothing_go_by_udp() -> None:
    """What goes by UDP goes by no proxy; without a guard and a proxy the browser is left as it is."""
    udp = {"--force-webrtc-ip-handling-policy=disable_non_proxied_udp", "--disable-quic"}
    assert udp <= set(command_line(BrowserConfig(), guarded=True).args)
    assert udp.isdisjoint(command_line(BrowserConfig()).args)


def test_command_line_flood_protection_stays_on_unless_the_user_drops_it() -> None:
    """Chromium's flood protection, which Playwright switches off, is on; a user may still switch it off by name."""
    switch = "--disable-ipc-flooding-protection"
    assert switch in playwright_switches()
    assert switch in command_line(BrowserConfig()).ignored
    line = command_line(_with(switch))
    assert switch not in line.ignored
