"""Lists of what pages may reach, as people write them."""

import pytest

from browsercrawl.config import NetworkConfig
from browsercrawl.errors import ConfigError


@pytest.mark.parametrize(
    ("written", "entry"),
    [
        ("bücher.example", "xn--bcher-kva.example"),
        ("*.Bücher.example", "*.xn--bcher-kva.example"),
        ("HOST1", "host1"),
        ("a_b.example.", "a_b.example"),
        ("10.0.0.5", "10.0.0.5"),
        ("[::1]", "[::1]"),
        ("private", "private"),
    ],
)
def test_network_config_entry_has_the_spelling_of_urls(written: str, entry: str) -> None:
    """An entry that was written otherwise would match nothing, and nobody would notice."""
    assert NetworkConfig(deny=frozenset({written})).deny == {entry}


@pytest.mark.parametrize(
    "written", ["0x7f.1", "127.1", "010.0.0.1", "2130706433", "*.10.0.0.1", ".", "10.0.0.1/x", "~"]
)
def test_network_config_odd_address_is_refused(written: str) -> None:
    """What a browser reads as another address than its writer is no entry."""
    with pytest.raises(ConfigError, match="is no host"):
        NetworkConfig(allow=frozenset({written}))
