"""The frontier: schedule, claim, complete, release."""

from browsercrawl.frontier.interface import (
    Claim,
    Frontier,
    FrontierCounts,
    HostUpdate,
    OutboxLine,
    Record,
    Refusal,
    RulesOf,
    SlotRules,
    Verdict,
)
from browsercrawl.frontier.memory import MemoryFrontier

__all__ = [
    "Claim",
    "Frontier",
    "FrontierCounts",
    "HostUpdate",
    "MemoryFrontier",
    "OutboxLine",
    "Record",
    "Refusal",
    "RulesOf",
    "SlotRules",
    "Verdict",
]
