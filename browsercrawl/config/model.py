"""What all models of the configuration have in common."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, ValidationError

from browsercrawl.errors import ConfigError
from browsercrawl.mistakes import CheckedModel, explained

Seconds = Annotated[float, Field(ge=0, le=86_400)]

_PROXY_SCHEMES = ("http", "https", "socks5")


class ConfigModel(CheckedModel):
    """Frozen, without unknown keys; its mistakes are `ConfigError`s that name each wrong key."""

    @classmethod
    def _mistaken(cls, error: ValidationError) -> ConfigError:
        return ConfigError(explained(error, cls))


def check_proxy(url: str) -> None:
    """Make sure that a URL is that of a proxy; what it says of a wrong one holds nothing of it.

    Raises:
        ValueError: it is not.
    """
    try:
        parts = urlsplit(url)
        is_server = parts.scheme in _PROXY_SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none, or half a pair of brackets
        is_server, parts = False, urlsplit("")
    if not is_server or re.search(r"\s", url) or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError("must be the URL of an http, https or socks5 proxy, such as http://host:port")
