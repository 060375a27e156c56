"""Write `docs/events.md` and `docs/errors.md` from the models; a test fails when they are not up to date.

Run it from anywhere: `python scripts/docs.py`.
"""

import inspect
from collections.abc import Iterator
from pathlib import Path

from browsercrawl.cli.entry import reference
from browsercrawl.errors import BrowsercrawlError
from browsercrawl.events import EVENTS, SCHEMA_VERSION, Event

DOCS = Path(__file__).resolve().parent.parent / "docs"


def events_page() -> str:
    """Return the page that documents every event."""
    lines = [
        "# Events",
        "",
        "<!-- Written by scripts/docs.py from the models in browsercrawl/events/. -->",
        "",
        "Each line of `events.jsonl` is one JSON object. It begins with `ts` (UTC, ISO 8601), `level`, `event`,",
        f"`run_id` and `schema` (now {SCHEMA_VERSION}); then come the event's own fields. Events of level debug are",
        "not in `events.jsonl`. Secrets in URLs, messages and fields read `[redacted]`; long texts are cut.",
        "`browsercrawl.events.line_schema()` gives the JSON Schema of a line.",
    ]
    for event in EVENTS:
        lines += ["", f"## {event.name}", "", f"{inspect.getdoc(event)} Level: {event.level}.", ""]
        lines += ["| field | type |", "|---|---|"]
        lines += [f"| `{name}` | {_type(event, name)} |" for name in event.model_fields]
    return "\n".join(lines) + "\n"


def errors_page() -> str:
    """Return the page that documents every kind of failure."""
    lines = [
        "# Errors",
        "",
        "<!-- Written by scripts/docs.py from browsercrawl/errors/. -->",
        "",
        "`result.error.kind` is one of these. The disposition is what a failure means for its request.",
        "",
        "| kind | type | disposition | meaning |",
        "|---|---|---|---|",
    ]
    for error in _leaves(BrowsercrawlError):
        meaning = (inspect.getdoc(error) or "").partition("\n")[0]
        lines.append(f"| `{error.kind}` | `{error.__name__}` | {error.disposition} | {meaning} |")
    return "\n".join(lines) + "\n"


def _leaves(error: type[BrowsercrawlError]) -> Iterator[type[BrowsercrawlError]]:
    for child in error.__subclasses__():
        if "kind" in vars(child):
            yield child
        yield from _leaves(child)


def _type(event: type[Event], name: str) -> str:
    annotation = event.model_fields[name].annotation
    plain = isinstance(annotation, type) and not hasattr(annotation, "__args__")
    text = getattr(annotation, "__name__", "") if plain else str(annotation)
    for module in ("browsercrawl.errors.", "browsercrawl.result.", "pydantic.types.", "typing."):
        text = text.replace(module, "")
    return text.replace("|", "or")


if __name__ == "__main__":
    DOCS.mkdir(exist_ok=True)
    (DOCS / "events.md").write_text(events_page(), encoding="utf-8")
    (DOCS / "errors.md").write_text(errors_page(), encoding="utf-8")
    (DOCS / "cli.md").write_text(reference(), encoding="utf-8")
