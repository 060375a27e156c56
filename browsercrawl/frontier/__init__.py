"""The frontier: schedule, claim, complete, release."""

from browsercrawl.frontier.interface import (
    Claim,
    Cost,
    Frontier,
    FrontierCounts,
    HostUpdate,
    OutboxLine,
    Record,
    Refusal,
    RulesOf,
    SessionLimitOf,
    SlotOf,
    SlotRules,
    Verdict,
)
from browsercrawl.frontier.memory import MemoryFrontier

__all__ = [
    "Claim",
    "Cost",
    "Frontier",
    "FrontierCounts",
    "HostUpdate",
    "MemoryFrontier",
    "OutboxLine",
    "Record",
    "Refusal",
    "RulesOf",
    "SessionLimitOf",
    "SlotOf",
    "SlotRules",
    "Verdict",
]
