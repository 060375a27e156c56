"""The dispatcher: claims requests, lends them pages, settles what comes of it."""

from browsercrawl.dispatcher.attempt import finish
from browsercrawl.dispatcher.dispatcher import Dispatcher
from browsercrawl.dispatcher.feed import Batch, DurableSeeds, Network, Seed, Seeds
from browsercrawl.dispatcher.guarding import REFUSED
from browsercrawl.dispatcher.links import LINK
from browsercrawl.dispatcher.scope import ScopeFunction
from browsercrawl.dispatcher.wiring import Handlers, ResultSink, StoreFile, Wiring

__all__ = [
    "LINK",
    "REFUSED",
    "Batch",
    "Dispatcher",
    "DurableSeeds",
    "Handlers",
    "Network",
    "ResultSink",
    "ScopeFunction",
    "Seed",
    "Seeds",
    "StoreFile",
    "Wiring",
    "finish",
]
