"""The JSON Schema of job files, for editors: completion, and a red line under what is wrong before it is run."""

from collections.abc import Iterator
from typing import Any

from browsercrawl.config.job_models import Job

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def job_schema() -> dict[str, Any]:
    """Return the schema. Every value that is not free text may also be a text with `${NAME}` in it."""
    schema: dict[str, Any] = _tidy(Job.model_json_schema())
    about = "What browsercrawl run takes. A text may hold ${NAME}, the value of an environment variable."
    return {"$schema": DIALECT, "title": "A job of browsercrawl"} | schema | {"description": about}


def _tidy(schema: Any) -> Any:
    """Take out what pydantic says for its own sake: titles, defaults, and null for what was left out."""
    if isinstance(schema, list):
        return [_tidy(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: _tidy(value) for key, value in schema.items() if key not in {"title", "default", "properties"}}
    if "properties" in schema:  # where a title is a field's name
        kept["properties"] = {name: _tidy(field) for name, field in schema["properties"].items()}
    choices = list(_flat(kept.pop("anyOf", [])))
    if len(choices) == 1:
        return kept | choices[0]
    return kept | ({"anyOf": choices} if choices else {})


def _flat(choices: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for each in choices:
        if each.keys() == {"anyOf"}:
            yield from _flat(each["anyOf"])
        elif each != {"type": "null"}:
            yield each
