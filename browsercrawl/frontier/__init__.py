"""The frontier: schedule, claim, complete, release."""

from browsercrawl.frontier.interface import Claim, Frontier, FrontierCounts, RulesOf, SlotRules, Verdict
from browsercrawl.frontier.memory import MemoryFrontier

__all__ = ["Claim", "Frontier", "FrontierCounts", "MemoryFrontier", "RulesOf", "SlotRules", "Verdict"]
