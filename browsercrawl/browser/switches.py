"""The browser's command line: each switch once, with one merged value.

Chromium takes the last of two equal switches, so appending `--disable-features=X` would drop Playwright's whole list.
There is no public way to ask Playwright for its defaults; they are read from the source of the installed driver, and a
driver whose source does not look as expected is refused rather than started with half of its switches.
"""

import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from browsercrawl.browser.blocking import resolver_rules
from browsercrawl.browser.discovery import driver_folder
from browsercrawl.config import BrowserConfig
from browsercrawl.errors import ConfigError, LaunchFailed

_SHM_BYTES_MIN = 512_000_000
_SHM_MEMORY_MIN = 2_000_000_000
"""Shared memory counts against a container's limit and cannot be taken back; a file in its place is written out."""
_RENDERERS_MIN, _RENDERERS_MAX = 8, 200
_RENDERER_BYTES = 30_000_000
"""Of an all but empty one. Chromium's own limit comes from the machine's memory, 3 to 82 renderers, and beyond it pages
share some: with them, their fates. Here as many are allowed as could be open; what is left to share are many frames."""
_HEAP_SHARE = 0.75
"""Of the memory limit, for one page's scripts: more would be the whole container's end, at less they collect garbage
sooner. V8 measures the machine, and allows 4 GB."""
_HEAP_BYTES_MAX = 4_000_000_000

_DISABLED_FEATURES = ("RenderDocument",)
"""With RenderDocument every navigation makes a new frame host: dearer, and `page.close()` may hang."""

_UNWANTED = frozenset({"--disable-ipc-flooding-protection"})
"""Of Playwright's own. Without Chromium's flood protection a page that calls `history.pushState` without end keeps the
driver, and so every other page, busy for seconds (measured: 8.4 s for ten visits instead of 1.0 s)."""

_MERGED = {"--disable-features": ",", "--enable-features": ",", "--blink-settings": ",", "--js-flags": " "}
_OWNED = frozenset(
    {
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--force-webrtc-ip-handling-policy",
        "--headless",
        "--host-resolver-rules",
        "--no-sandbox",
        "--no-startup-window",
        "--no-zygote",
        "--process-per-site",
        "--proxy-bypass-list",
        "--proxy-server",
        "--remote-debugging-address",
        "--remote-debugging-pipe",
        "--remote-debugging-port",
        "--renderer-process-limit",
        "--single-process",
        "--user-agent",
        "--user-data-dir",
    }
)


@dataclass(frozen=True, slots=True)
class CommandLine:
    """What to tell Playwright so that each switch appears once.

    Attributes:
        args: switches to add.
        ignored: Playwright's own that `args` replaces, spelled exactly as it passes them.
    """

    args: tuple[str, ...]
    ignored: tuple[str, ...]


def command_line(config: BrowserConfig, *, memory_bytes: int | None = None, guarded: bool = False) -> CommandLine:
    """Merge Playwright's switches, ours and the user's.

    Args:
        config: `launch_options` may hold `args` and a list of `ignore_default_args`.
        memory_bytes: what the browser and all else beside it may use, which Chromium does not see: it looks at the
            machine. None: it is right.
        guarded: contexts may get a proxy of their own.

    Raises:
        ConfigError: a switch of the user's is one that the engine sets, or no switch at all.
        LaunchFailed: the driver's own switches could not be read.
    """
    defaults = playwright_switches()
    users = _users_switches(config)
    dropped = _users_ignored(config, defaults)
    ignored: list[str] = [default for default in defaults if _name(default) in dropped]
    wanted: dict[str, str | None] = {}
    values: dict[str, list[str]] = {"--disable-features": list(_DISABLED_FEATURES)}
    memory_bytes = memory_bytes or sys.maxsize
    if (heap_bytes := int(_HEAP_SHARE * memory_bytes)) < _HEAP_BYTES_MAX:
        values["--js-flags"] = [f"--max-old-space-size={heap_bytes >> 20}"]
    for switch in users:
        name, value = _name(switch), _value(switch)
        if name in _MERGED:
            values.setdefault(name, []).extend(_split(name, value or ""))
        else:
            wanted[name] = value
    for default in defaults:
        name = _name(default)
        if name in dropped:
            continue
        if name in values:
            values[name] = list(dict.fromkeys(_split(name, _value(default) or "") + values[name]))
            ignored.append(default)
        elif name in wanted or name in _UNWANTED:
            ignored.append(default)
    _refuse_contradiction(values)
    if _shm_bytes() >= _SHM_BYTES_MIN and memory_bytes >= _SHM_MEMORY_MIN:
        ignored.append("--disable-dev-shm-usage")
    wanted.update({name: _MERGED[name].join(parts) for name, parts in values.items()})
    renderers = min(max(memory_bytes // _RENDERER_BYTES, _RENDERERS_MIN), _RENDERERS_MAX)
    wanted["--renderer-process-limit"] = str(renderers)
    if config.proxy or guarded:  # what goes by UDP goes by no proxy: not to the network either
        wanted["--force-webrtc-ip-handling-policy"] = "disable_non_proxied_udp"
        wanted["--disable-quic"] = None
    if (rules := resolver_rules(config)) is not None:
        wanted["--host-resolver-rules"] = rules
    if config.process_per_site:
        wanted["--process-per-site"] = None
    args = [name if value is None else f"{name}={value}" for name, value in wanted.items()]
    # Playwright takes what is ignored out of `args`, too: what is as its default anyway is neither.
    same = set(args) & set(defaults)
    return CommandLine(
        tuple(arg for arg in args if arg not in same),
        tuple(dict.fromkeys(each for each in ignored if each not in same)),
    )


@cache
def playwright_switches() -> tuple[str, ...]:
    """Return the switches that the installed driver passes to a headless Chromium, as it spells them.

    Raises:
        LaunchFailed: the driver's source does not look as expected.
    """
    path = driver_folder() / "package" / "lib" / "coreBundle.js"
    try:
        source = path.read_text(encoding="utf-8")
    except OSError as error:
        raise LaunchFailed(f"Playwright's driver cannot be read: {error}; reinstall playwright") from error
    return parse_switches(source)


def parse_switches(source: str) -> tuple[str, ...]:
    """Read the switches out of the driver's source.

    Raises:
        LaunchFailed: they are not where they used to be.
    """
    features = {
        name: ",".join(_strings(_section(source, pattern), r"\w+"))
        for name, pattern in (
            ("--disable-features=", r"disabledFeatures = \[(.*?)\n\s*\]"),
            ("--enable-features=", r"enabledFeatures = \(\) => \[(.*?)\n\s*\]"),
        )
    }
    plain = _strings(_section(source, r"chromiumSwitches = \(options\) => \[(.*?)\n\s*\]"), r"--[\w-]+(?:=[^\"]*)?")
    headless = _strings(_section(source, r"chromeArguments\.push\(\"--headless\"\);(.*?)\}"), r"--[\w-]+(?:=[^\"]*)?")
    switches = tuple(switch + features.get(switch, "") for switch in plain)
    names = {_name(switch) for switch in (*switches, *headless)}
    missing = {"--disable-features", "--enable-features", "--blink-settings", "--disable-dev-shm-usage"} - names
    if missing or not all(features.values()):
        raise LaunchFailed(_unexpected(", ".join(sorted(missing)) or "the lists of features"))
    return (*switches, *headless)


def _section(source: str, pattern: str) -> str:
    match = re.search(pattern, source, re.DOTALL)
    if match is None:
        raise LaunchFailed(_unexpected(re.split(r" =|\\", pattern, maxsplit=1)[0]))
    return re.sub(r"//[^\n]*", "", match.group(1))


def _unexpected(what: str) -> str:
    return f"the installed Playwright is not one this version knows: {what} not found in its driver; install 1.65"


def _strings(section: str, pattern: str) -> list[str]:
    return re.findall(rf"\"({pattern})\"", section)


def _name(switch: str) -> str:
    return switch.partition("=")[0]


def _value(switch: str) -> str | None:
    _, separator, value = switch.partition("=")
    return value if separator else None


def _split(name: str, value: str) -> list[str]:
    return [part for part in value.split(_MERGED[name]) if part]


def _users_switches(config: BrowserConfig) -> list[str]:
    switches = [str(switch) for switch in config.launch_options.get("args") or ()]
    for switch in switches:
        if not re.match(r"--[a-z]", switch):
            raise ConfigError(f"launch option args: {switch!r} is no switch; write it like --mute-audio")
    _refuse_owned("args", map(_name, switches))
    return switches


def _users_ignored(config: BrowserConfig, defaults: Iterable[str]) -> set[str]:
    ignored = config.launch_options.get("ignore_default_args") or ()
    if ignored is True or isinstance(ignored, str):
        raise ConfigError("launch option ignore_default_args: name the switches in a list; all cannot be dropped")
    names = {_name(str(switch)) for switch in ignored}
    _refuse_owned("ignore_default_args", names)
    unknown = names - {_name(default) for default in defaults}
    if unknown:
        raise ConfigError(
            f"launch option ignore_default_args: {', '.join(sorted(unknown))} is no default of Playwright's"
        )
    return names


def _refuse_owned(option: str, names: Iterable[str]) -> None:
    for name in names:
        if name in _OWNED:
            raise ConfigError(f"launch option {option}: {name} is set by the engine; use the option made for it")


def _refuse_contradiction(values: dict[str, list[str]]) -> None:
    both = set(values["--disable-features"]) & set(values.get("--enable-features", ()))
    if both:
        raise ConfigError(f"launch option args: {', '.join(sorted(both))} would be both enabled and disabled")


def _shm_bytes() -> int:
    """Return the free shared memory in bytes; 0 where there is none to speak of."""
    path = Path("/dev/shm")  # noqa: S108 - the kernel's shared memory, not a temporary file of ours
    if not path.is_dir():
        return 0
    stats = os.statvfs(path)
    return stats.f_bavail * stats.f_frsize
