"""The crawler's own part in the network: its HTTP client, and the relay to a proxy that wants credentials."""

from browsercrawl.net.http import Document, HttpClient
from browsercrawl.net.relay import ProxyRelay, Upstream

__all__ = ["Document", "HttpClient", "ProxyRelay", "Upstream"]
