"""Sessions: identities with a login, whose saved states outlive browser contexts and runs."""

from browsercrawl.sessions.checks import LoggedOutFunction, PageCheck
from browsercrawl.sessions.keeper import Relay, StartRelay
from browsercrawl.sessions.logins import SessionCode
from browsercrawl.sessions.proxies import ProxyFunction
from browsercrawl.sessions.recipes import LoginFunction, LoginSession
from browsercrawl.sessions.session import Phase, Session
from browsercrawl.sessions.sessions import Sessions, SessionsParts, check_logins
from browsercrawl.sessions.vault import StateVault, parse_key

__all__ = [
    "LoggedOutFunction",
    "LoginFunction",
    "LoginSession",
    "PageCheck",
    "Phase",
    "ProxyFunction",
    "Relay",
    "Session",
    "SessionCode",
    "Sessions",
    "SessionsParts",
    "StartRelay",
    "StateVault",
    "check_logins",
    "parse_key",
]
