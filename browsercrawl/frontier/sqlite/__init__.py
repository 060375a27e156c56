"""The frontier in one SQLite file."""

from browsercrawl.frontier.sqlite.schema import make_store
from browsercrawl.frontier.sqlite.store import SqliteFrontier, StoreOptions
from browsercrawl.frontier.sqlite.view import StoreView, read_store

__all__ = ["SqliteFrontier", "StoreOptions", "StoreView", "make_store", "read_store"]
