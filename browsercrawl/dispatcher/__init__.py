"""The dispatcher: claims requests, lends them pages, settles what comes of it."""

from browsercrawl.dispatcher.dispatcher import Dispatcher
from browsercrawl.dispatcher.feed import Seed, Seeds
from browsercrawl.dispatcher.wiring import Handlers, ResultSink, StoreFile, Wiring

__all__ = ["Dispatcher", "Handlers", "ResultSink", "Seed", "Seeds", "StoreFile", "Wiring"]
