"""The crawler's own part in the network: the guard, and the proxies on loopback by which contexts reach it."""

from browsercrawl.net.addresses import Reason
from browsercrawl.net.guard import Guard, Way
from browsercrawl.net.ledger import Ledger, Note
from browsercrawl.net.relay import ProxyRelay, Upstream

__all__ = ["Guard", "Ledger", "Note", "ProxyRelay", "Reason", "Upstream", "Way"]
