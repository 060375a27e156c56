"""Signals of pressure on the machine (memory, CPU, the event loop, files), and what is decided by them."""

from browsercrawl.pressure.controller import AHEAD_FROM, Controller, Decision, Limits, Load, Signal, State
from browsercrawl.pressure.costs import GROWTH_S, Costs, unseen_bytes
from browsercrawl.pressure.memory import MemoryReading, read_memory
from browsercrawl.pressure.reading import Reading
from browsercrawl.pressure.sensors import Finding, Gauge, Sensors
from browsercrawl.pressure.shedding import Available, Rung, Shed, share_of

__all__ = [
    "AHEAD_FROM",
    "GROWTH_S",
    "Available",
    "Controller",
    "Costs",
    "Decision",
    "Finding",
    "Gauge",
    "Limits",
    "Load",
    "MemoryReading",
    "Reading",
    "Rung",
    "Sensors",
    "Shed",
    "Signal",
    "State",
    "read_memory",
    "share_of",
    "unseen_bytes",
]
