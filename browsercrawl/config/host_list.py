"""Lists of hosts: what people write, and files of them as others publish (one per line, or like /etc/hosts)."""

from collections.abc import Iterable
from pathlib import Path

from browsercrawl.errors import ConfigError, InvalidURL
from browsercrawl.urls import address

HOSTS_MAX = 10_000
"""The browser compares each request with the whole list."""

_FILE_BYTES_MAX = 5_000_000
_NOWHERE = frozenset({"0.0.0.0", "127.0.0.1", "::", "::1"})


def host_name(text: str) -> str:
    """Return a host in its canonical spelling; `*.example.com` is `example.com`.

    Raises:
        ValueError: it is no host name, or one with a scheme, a port or a path.

    Example:
        >>> host_name("*.Example.COM."), host_name("bücher.example")
        ('example.com', 'xn--bcher-kva.example')
    """
    plain = text.strip().removeprefix("*.").strip(".")
    try:
        found = address(f"http://{plain}/")
    except InvalidURL:
        found = None
    is_alone = found is not None and found.canonical == f"http://{found.hostname}/" and found.host.endswith(":80")
    if found is None or not is_alone or not plain or set(plain) & set("/:@?#*\\, \t\r\n~"):
        raise ValueError(f"{text.strip()[:60]!r} is no host name; write it like ads.example.com")
    return found.hostname


def host_pattern(text: str) -> str:
    """Return a pattern of hosts, or of `host:port`, in the spelling of the addresses that it is held against.

    Raises:
        ValueError: no host could ever match it.

    Example:
        >>> host_pattern("*.Example.COM"), host_pattern("bücher.example:8080")
        ('*.example.com', 'xn--bcher-kva.example:8080')
    """
    labels = text.strip().lower().removesuffix(".").split(".")
    try:
        pattern = ".".join(each if each.isascii() else address(f"http://{each}/").hostname for each in labels)
    except InvalidURL:
        pattern = ""
    in_part = any(not each.isascii() and set(each) & set("*?") for each in labels)  # of a label in another script
    if not pattern or in_part or set(pattern) & set("/@#\\, \t\r\n"):
        raise ValueError(f"{text.strip()[:60]!r} is no name of a host; write example.com, or *.example.com")
    return pattern


def read_hosts(entries: Iterable[str], base: Path) -> frozenset[str]:
    """Return hosts, those in files included: an entry that begins with `@` names one.

    Args:
        entries: as they were written.
        base: where relative paths start.

    Raises:
        ConfigError: a file cannot be read, or a line of it is no host name.
    """
    hosts: set[str] = set()
    for entry in entries:
        hosts |= _read_file(base / entry[1:]) if entry.startswith("@") else {entry}
    return frozenset(hosts)


def _read_file(path: Path) -> set[str]:
    try:
        if not path.is_file():
            raise ConfigError(f"block_hosts: {path} is no file")
        with path.open("rb") as file:
            content = file.read(_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"block_hosts: {path} cannot be read: {error.strerror or error}") from error
    if len(content) > _FILE_BYTES_MAX:
        raise ConfigError(f"block_hosts: {path} has more than {_FILE_BYTES_MAX:,} bytes")
    hosts: set[str] = set()
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), start=1):
        words = line.partition("#")[0].split()
        names = words[1:] if len(words) > 1 and words[0] in _NOWHERE else words
        try:
            hosts |= {host_name(name) for name in names if name not in _NOWHERE}
        except ValueError as error:
            raise ConfigError(f"block_hosts: {path}, line {number}: {error}") from None
    return hosts - {"localhost"}
