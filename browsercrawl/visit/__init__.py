"""One attempt to load a request in a leased page and take its result."""

from browsercrawl.visit.outcome import CapturedFile, PhaseTimes, VisitOutcome
from browsercrawl.visit.plan import NO_RULE, Check, Handler, VisitPlan
from browsercrawl.visit.visit import Visit
from browsercrawl.visit.visitor import Visitor, check_saved

__all__ = [
    "NO_RULE",
    "CapturedFile",
    "Check",
    "Handler",
    "PhaseTimes",
    "Visit",
    "VisitOutcome",
    "VisitPlan",
    "Visitor",
    "check_saved",
]
