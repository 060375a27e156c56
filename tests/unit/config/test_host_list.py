"""Lists of hosts as people write and publish them."""

from pathlib import Path

import pytest

from browsercrawl.config import BrowserConfig, CrawlerConfig, HostRule, LinksConfig
from browsercrawl.config.host_list import HOSTS_MAX, host_name, host_pattern, read_hosts
from browsercrawl.errors import ConfigError


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("Ads.Example.COM", "ads.example.com"),
        ("*.ads.example.com.", "ads.example.com"),
        (".ads.example.com", "ads.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("192.0.2.7", "192.0.2.7"),
    ],
)
def test_host_name_written_oddly_has_one_spelling(written: str, host: str) -> None:
    """Case, a leading wildcard, the root's dot and other scripts make no other host."""
    assert host_name(written) == host


@pytest.mark.parametrize("written", ["", "*", "https://a.example", "a.example:80", "a.example/x", "u@a.example", "a b"])
def test_host_name_of_something_else_is_refused(written: str) -> None:
    """A rule that could match more, or nothing, is a mistake that is told."""
    with pytest.raises(ValueError, match="is no host name"):
        host_name(written)


@pytest.mark.parametrize(
    ("written", "pattern"),
    [
        ("Example.COM", "example.com"),
        ("*.Example.com.", "*.example.com"),
        ("Example.com:8080", "example.com:8080"),
        ("www?.Bücher.example:*", "www?.xn--bcher-kva.example:*"),
        ("[::1]:80", "[::1]:80"),
        ("*", "*"),
    ],
)
def test_host_pattern_written_oddly_matches_what_it_names(written: str, pattern: str) -> None:
    """Case, other scripts and the root's dot make no pattern that matches nothing."""
    assert host_pattern(written) == HostRule(host=written).host == pattern
    assert LinksConfig(hosts=frozenset({written})).hosts == {pattern}


@pytest.mark.parametrize("written", ["https://a.example", "a.example/x", "u@a.example", "a b", " ", "bü*.example"])
def test_host_pattern_that_matches_nothing_is_refused(written: str) -> None:
    """A rule that never holds would go unnoticed until a host complains."""
    for make in (lambda: HostRule(host=written), lambda: LinksConfig(hosts=frozenset({written}))):
        with pytest.raises(ConfigError, match="is no name of a host"):
            make()


def test_host_name_that_would_add_a_rule_is_refused() -> None:
    """Nothing of a list gets into the browser's command line but hosts."""
    with pytest.raises(ConfigError, match="is no host name"):
        CrawlerConfig.load({"browser": {"block_hosts": ["a.example ~NOTFOUND,MAP * evil.example"]}})


def test_read_hosts_file_takes_both_customary_forms(tmp_path: Path) -> None:
    """Files as published for /etc/hosts, and plain lists, comments included."""
    text = "# ads\n0.0.0.0 ads.example tracker.example # two\n127.0.0.1 localhost\n\n::1 localhost\n*.plain.example\n"
    (tmp_path / "hosts.txt").write_text(text, encoding="utf-8")
    found = read_hosts(["@hosts.txt", "own.example"], tmp_path)
    assert found == {"ads.example", "tracker.example", "plain.example", "own.example"}


def test_read_hosts_wrong_line_is_named(tmp_path: Path) -> None:
    """The message says where."""
    (tmp_path / "hosts.txt").write_text("ads.example\nhttp://x/\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"hosts\.txt, line 2: 'http://x/'"):
        read_hosts(["@hosts.txt"], tmp_path)
    with pytest.raises(ConfigError, match="is no file"):
        read_hosts(["@none.txt"], tmp_path)


def test_block_hosts_too_many_are_refused() -> None:
    """Each request would be compared with all of them."""
    hosts = frozenset(f"h{number}.example" for number in range(HOSTS_MAX + 1))
    with pytest.raises(ConfigError, match="10,000 are the limit"):
        BrowserConfig(block_hosts=hosts)
