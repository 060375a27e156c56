"""All events in one tuple, and the JSON Schema of a line of `events.jsonl`."""

from pydantic import JsonValue

from browsercrawl.events.base import (
    SCHEMA_VERSION,
    Event,
)
from browsercrawl.events.models import (
    HandlerBlockedLoop,
    HandlerRaised,
    HostDeferred,
    HostGivenUp,
    LogDegraded,
    RequestRefused,
    RequestScheduled,
    RequestSkipped,
    RetryScheduled,
    RobotsRead,
    RunContinued,
    RunFinished,
    RunParked,
    RunPaused,
    RunStarted,
    Status,
    UserLog,
    VisitFailed,
    VisitStarted,
    VisitSucceeded,
)
from browsercrawl.events.network import ConnectionRefused, GuardStarted
from browsercrawl.events.resources import (
    BrowserCrashed,
    BrowserLaunched,
    BrowserLaunchFailed,
    BrowserRecycled,
    BrowserRetired,
    ContextClosed,
    ContextOpened,
    ContextRecycled,
    LeaseAcquired,
    LeaseReleased,
    LimitChanged,
    PageKilled,
    PoolChecked,
    PressureChanged,
    PressureShed,
    RendererKilled,
    SandboxUnavailable,
)
from browsercrawl.events.sessions import (
    SessionExpired,
    SessionHibernated,
    SessionLoggedIn,
    SessionLoginFailed,
    SessionLoginStarted,
    SessionPaused,
    SessionProxyChanged,
    SessionRetired,
    SessionRevived,
    SessionSaveFailed,
)

EVENTS: tuple[type[Event], ...] = (
    RunStarted,
    RunPaused,
    RunContinued,
    RunParked,
    RunFinished,
    Status,
    RequestRefused,
    RequestScheduled,
    RequestSkipped,
    VisitStarted,
    VisitSucceeded,
    VisitFailed,
    RetryScheduled,
    HostDeferred,
    HostGivenUp,
    RobotsRead,
    SessionLoginStarted,
    SessionLoggedIn,
    SessionLoginFailed,
    SessionExpired,
    SessionPaused,
    SessionRetired,
    SessionProxyChanged,
    SessionHibernated,
    SessionRevived,
    SessionSaveFailed,
    LeaseAcquired,
    LeaseReleased,
    ContextOpened,
    ContextRecycled,
    ContextClosed,
    GuardStarted,
    ConnectionRefused,
    BrowserLaunched,
    BrowserLaunchFailed,
    SandboxUnavailable,
    BrowserCrashed,
    BrowserRecycled,
    BrowserRetired,
    PageKilled,
    RendererKilled,
    PoolChecked,
    LimitChanged,
    PressureChanged,
    PressureShed,
    HandlerBlockedLoop,
    HandlerRaised,
    UserLog,
    LogDegraded,
)
"""Every event there is, in the order in which they are documented."""


def line_schema() -> dict[str, JsonValue]:
    """Return the JSON Schema (draft 2020-12) of one line of `events.jsonl`."""
    definitions: dict[str, JsonValue] = {}
    variants: list[JsonValue] = []
    for model in EVENTS:
        schema = model.model_json_schema(mode="serialization", ref_template="#/$defs/{model}")
        definitions.update(schema.pop("$defs", {}))
        envelope = {
            "ts": {"type": "string", "format": "date-time"},
            "level": {"const": model.level.value},
            "event": {"const": model.name},
            "run_id": {"type": "string"},
            "schema": {"const": SCHEMA_VERSION},
        }
        schema["properties"] = {**envelope, **schema.get("properties", {})}
        schema["required"] = [*envelope, *schema.get("required", [])]
        definitions[model.__name__] = schema
        variants.append({"$ref": f"#/$defs/{model.__name__}"})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A line of events.jsonl",
        "oneOf": variants,
        "$defs": definitions,
    }
