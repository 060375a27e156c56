"""The crawler's own part in the network: the relay to a proxy that wants a user name and password."""

from browsercrawl.net.relay import ProxyRelay, Upstream

__all__ = ["ProxyRelay", "Upstream"]
