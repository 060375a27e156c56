"""What pages may reach."""

import re
from ipaddress import ip_network
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from browsercrawl.config.host_list import host_name
from browsercrawl.config.model import ConfigModel

Guard = Literal["auto", "on", "off"]
"""Whether pages are kept from the user's own machine and networks."""

GUARDS: tuple[Guard, ...] = get_args(Guard)

_NAME = re.compile(r"(\*\.)?[^\s/:*?#@\[\]%]+")


def host_entry(text: str) -> str:
    """Return an entry of a list of hosts in the spelling of canonical URLs, without the space around it.

    Raises:
        ValueError: it is none.

    Example:
        >>> host_entry("10.0.0.0/8"), host_entry(" *.Bücher.example")
        ('10.0.0.0/8', '*.xn--bcher-kva.example')
    """
    entry, name = text.strip(), ""
    try:
        if not _NAME.fullmatch(entry):
            ip_network(entry.strip("[]"), strict=False)
            return entry
        name = host_name(entry)
        # `010.0.0.1` is 8.0.0.1 to a browser, and perhaps another address to whoever wrote it.
        is_odd = name.rpartition(".")[2].isdigit() and name != entry
    except ValueError:
        name, is_odd = "", True
    if is_odd:
        raise ValueError(
            f"{entry!r} is no host; give a name, *.domain, an address, a network such as 10.0.0.0/8, or private"
        )
    return f"*.{name}" if entry.startswith("*.") else name


HostEntry = Annotated[str, AfterValidator(host_entry)]


class NetworkConfig(ConfigModel):
    """What pages may reach: by default nothing but the public internet, unless only this machine is crawled."""

    guard: Guard = Field(
        default="auto", description="on: pages cannot reach private addresses; auto: from the first public URL on."
    )
    allow_private: bool = Field(default=False, description="They can, all of them; `deny` still holds.")
    allow: frozenset[HostEntry] = Field(
        default=frozenset(), description="Hosts that may be private: names, *.domain, addresses, networks."
    )
    deny: frozenset[HostEntry] = Field(
        default=frozenset(), description="Hosts that nothing reaches; `private`: not even what the input names itself."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.guard == "off" and (self.allow_private or self.allow or self.deny):
            raise ValueError("network.guard is off: allow_private, allow and deny would mean nothing")
        return self
