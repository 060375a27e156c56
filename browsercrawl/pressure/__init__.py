"""Signals of pressure on the machine: memory now; the controller that acts on them is built on this."""

from browsercrawl.pressure.memory import MemoryReading, read_memory

__all__ = ["MemoryReading", "read_memory"]
