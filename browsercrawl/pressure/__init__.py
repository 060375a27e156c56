"""Signals of pressure on the machine: memory, CPU, the event loop, files; the controller is built on them."""

from browsercrawl.pressure.memory import MemoryReading, read_memory
from browsercrawl.pressure.reading import Reading
from browsercrawl.pressure.sensors import Finding, Sensors
from browsercrawl.pressure.tree import TreeSampler

__all__ = ["Finding", "MemoryReading", "Reading", "Sensors", "TreeSampler", "read_memory"]
