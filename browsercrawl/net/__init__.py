"""The crawler's own part in the network: its HTTP client, the guard, and the ways by which contexts go."""

from browsercrawl.net.addresses import Reason
from browsercrawl.net.guard import Guard, Way
from browsercrawl.net.http import Document, HttpClient
from browsercrawl.net.ledger import Ledger, Note
from browsercrawl.net.relay import ProxyRelay, Upstream

__all__ = ["Document", "Guard", "HttpClient", "Ledger", "Note", "ProxyRelay", "Reason", "Upstream", "Way"]
