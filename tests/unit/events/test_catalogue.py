"""The catalogue of events: complete, well named, and documented as it is."""

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from browsercrawl import events
from browsercrawl.events import EVENTS, Event, line_schema
from browsercrawl.redaction import is_secret_name

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def docs() -> dict[str, Any]:
    """Give the functions of the script that writes the pages."""
    return runpy.run_path(str(ROOT / "scripts" / "docs.py"))


def test_events_catalogue_is_complete() -> None:
    """Every event model stands in the catalogue once."""
    defined = {each for each in vars(events).values() if isinstance(each, type) and issubclass(each, Event)} - {Event}
    assert set(EVENTS) == defined
    assert len(EVENTS) == len(defined)


def test_events_names_are_noun_verb_and_unique() -> None:
    """Names are `noun.verb` (`status` alone is bare), lower case, and no two are equal."""
    names = [event.name for event in EVENTS]
    assert len(set(names)) == len(names)
    assert [name for name in names if not re.fullmatch(r"[a-z]+\.[a-z_]+|status", name)] == []


def test_events_fields_leave_the_envelope_alone() -> None:
    """No field has the name of one that the writer adds, nor one that redaction takes for a secret."""
    reserved = {"ts", "level", "event", "run_id", "schema", "timestamp", "self"}
    assert [(event.name, field) for event in EVENTS for field in event.model_fields if field in reserved] == []
    assert [(event.name, field) for event in EVENTS for field in event.model_fields if is_secret_name(field)] == []


def test_line_schema_covers_every_event_and_is_json() -> None:
    """The exported schema has one variant for each event, with the envelope's fields required."""
    schema = json.loads(json.dumps(line_schema()))
    variants = [schema["$defs"][each["$ref"].removeprefix("#/$defs/")] for each in schema["oneOf"]]
    assert [each["properties"]["event"]["const"] for each in variants] == [event.name for event in EVENTS]
    assert all({"ts", "level", "event", "run_id", "schema"} <= set(each["required"]) for each in variants)
    references = set(re.findall(r"#/\$defs/(\w+)", json.dumps(schema)))
    assert references <= set(schema["$defs"])


@pytest.mark.parametrize(("page", "name"), [("events_page", "events.md"), ("errors_page", "errors.md")])
def test_docs_pages_are_up_to_date(docs: dict[str, Any], page: str, name: str) -> None:
    """The pages say what the models say; run `scripts/docs.py` when this fails."""
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == docs[page]()
