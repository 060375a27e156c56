"""One attempt to load a request in a leased page and take its result."""

from browsercrawl.visit.outcome import CapturedFile, PhaseTimes, VisitOutcome
from browsercrawl.visit.plan import Handler, VisitPlan
from browsercrawl.visit.visit import Visit
from browsercrawl.visit.visitor import Visitor

__all__ = ["CapturedFile", "Handler", "PhaseTimes", "Visit", "VisitOutcome", "VisitPlan", "Visitor"]
