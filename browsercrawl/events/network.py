"""Events of the network guard."""

from browsercrawl.events.base import Event, Level


class GuardStarted(Event):
    """From here on pages are kept from private addresses: the first public URL has come."""

    name = "guard.started"
    url: str


class ConnectionRefused(Event):
    """The guard kept a page from a host; told once for each host, port and reason, all are counted in the summary."""

    name = "guard.refused"
    level = Level.WARNING
    host: str
    port: int
    reason: str
