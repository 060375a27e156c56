"""The frontier: schedule, claim, complete, release."""

from browsercrawl.frontier.interface import (
    UNBOUNDED,
    Bounds,
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
    "UNBOUNDED",
    "Bounds",
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
