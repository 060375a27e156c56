"""`browsercrawl schema`: the schema says what the program does."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from browsercrawl.cli import main
from browsercrawl.cli.init import EXAMPLE
from browsercrawl.config.job import Job, JobFile
from browsercrawl.errors import ConfigError

_TYPES: dict[str, Any] = {
    "array": list,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "object": dict,
    "string": str,
}


@pytest.fixture
def schema(capsys: pytest.CaptureFixture[str]) -> Any:
    """Return what the command prints."""
    assert main(["schema"]) == 0
    return json.loads(capsys.readouterr().out)


def _accepts(schema: Any, value: Any, root: Any) -> bool:
    """Validate as an editor would, by the words of JSON Schema that are used; an unknown word is a KeyError."""
    checks: dict[str, Callable[[Any], bool]] = {
        "$defs": lambda _: True,
        "$ref": lambda ref: _accepts(root["$defs"][ref.rpartition("/")[2]], value, root),
        "$schema": lambda _: True,
        "additionalProperties": lambda other: (
            not isinstance(value, dict)
            or all(
                other is not False and _accepts(other, item, root)
                for key, item in value.items()
                if key not in schema.get("properties", {})
            )
        ),
        "anyOf": lambda choices: any(_accepts(each, value, root) for each in choices),
        "const": lambda const: value == const and not isinstance(value, bool),
        "description": lambda _: True,
        "enum": lambda words: value in words,
        "examples": lambda _: True,
        "exclusiveMinimum": lambda least: not isinstance(value, int | float) or value > least,
        "items": lambda item: not isinstance(value, list) or all(_accepts(item, each, root) for each in value),
        "maxLength": lambda most: not isinstance(value, str) or len(value) <= most,
        "maximum": lambda most: not isinstance(value, int | float) or value <= most,
        "minItems": lambda least: not isinstance(value, list) or len(value) >= least,
        "minLength": lambda least: not isinstance(value, str) or len(value) >= least,
        "minimum": lambda least: not isinstance(value, int | float) or value >= least,
        "pattern": lambda pattern: not isinstance(value, str) or re.search(pattern, value) is not None,
        "properties": lambda fields: (
            not isinstance(value, dict)
            or all(_accepts(field, value[name], root) for name, field in fields.items() if name in value)
        ),
        "required": lambda names: not isinstance(value, dict) or set(names) <= value.keys(),
        "title": lambda _: True,
        "type": lambda kind: isinstance(value, _TYPES[kind]) and (kind == "boolean") == isinstance(value, bool),
        "uniqueItems": lambda _: True,
    }
    return all(checks[word](part) for word, part in schema.items())


def test_schema_describes_every_field(schema: Any) -> None:
    """An editor has something to say about each key."""
    sections = [schema, *schema["$defs"].values()]
    fields = [(name, field) for section in sections for name, field in section["properties"].items()]
    assert [section for section in sections if not section.get("description")] == []
    assert [name for name, field in fields if not {"description", "$ref"} & field.keys()] == []
    assert set(schema["properties"]) == set(Job.model_fields)


def test_schema_accepts_the_example(schema: Any) -> None:
    """What `init` writes has no red line under it."""
    assert _accepts(schema, yaml.safe_load(EXAMPLE), schema)


@pytest.mark.parametrize(
    "line",
    [
        "visit: {timeout: 30s}", "visit: {timeout: 250 ms}", "visit: {timeout: '${T}'}", "visit: {retries: 0}",
        "visit: {retries: '${N}'}", "visit: {wait_until: load}", "visit: {save: [html, pdf]}", "visit: {save: html}",
        "visit: {block: [image]}", "visit: {accept_status: [404]}", "links: {depth: 3, sort_query: true}",
        "limits: {max_failures: 10%, max_disk: 2GiB, max_time: 8h}", "limits: {max_failures: 3}", "pace: {delay: 0}",
        "pace: {concurrency: auto}", "pace: {concurrency: 5}", "rules: [{url: x, save: [text]}]", "base: /x",
        "sessions: {profiles: {a: {login: {state: x, password: '${N}'}, domains: [a.test]}}}",
        "sessions: {profiles: {a: {viewport: {width: 3, height: '${N}'}}}}",
        "sessions: {profiles: {a: {geolocation: {latitude: 1.5, longitude: '${N}'}, proxy: 'http://a:${N}@b:1'}}}",
        "sessions: {profiles: {a: {login: {http: {url: 'http://a.test', json: {x: y}}}}}}",
        "sessions: {rules: [{session: a, url: x}, {session: b, key: x}]}",
        "sessions: {per_host: true, proxies: ['http://a:1'], proxy: 'a:b', proxy_cooldown: 0, blocked: {status: 418}}",
        "sessions: {pool: 3, state: x, key: '${N}', save_every_pages: 1, share_accounts: false}",
        "handlers: {default: 'a.b:c'}", "sinks: ['a:b']", "on_failed: a:b", "in_scope: a:b", "output: {directory: x}",
    ],
)  # fmt: skip
def test_schema_and_program_accept_the_same(schema: Any, line: str) -> None:
    """What can be run is not marked as wrong."""
    text = f"seeds: {{urls: [http://a.test/, {{url: http://b.test/, data: {{x: [1]}}}}], sitemap: http://a/s}}\n{line}"
    JobFile.read(text, name="x", base=Path("/")).resolve({"T": "3s", "N": "1"})
    assert _accepts(schema, yaml.safe_load(text), schema)


@pytest.mark.parametrize(
    "line",
    [
        "visit: {timeout: 30}", "visit: {timeout: 30x}", "visit: {retries: -1}", "visit: {retries: 101}",
        "visit: {wait_until: lod}", "visit: {save: [htm]}", "visit: {retires: 1}", "links: {scope: site}",
        "limits: {max_failures: many}", "limits: {max_failures: 0}", "limits: {max_disk: 3}", "pace: {delay: 3}",
        "pace: {concurrency: none}", "rules: [{url: x, timout: 3s}]", "handlers: {x: shop}", "sinks: a:b",
        "nonsense: 1", "browser: {profile: fat}", "browser: {headed: 3}",
        "seeds: {urls: [{url: http://a/, sesion: x}]}",
        "sessions: {profiles: {a: {login: {state: x, password: hunter2}, domains: [a.test]}}}", "sessions: {key: x}",
        "sessions: {profiles: {a: {login: {states: x}}}}", "sessions: {proxies: ['http://a:b@c:1']}",
        "sessions: {rules: [{url: x}]}", "sessions: {profiles: {a: {viewport: {width: 3}}}}", "sessions: {pool: 0}",
        "sessions: {profiles: {a: {geolocation: {latitude: 91, longitude: 3}}}}",
        "seeds: {urls: [{session: x}]}", "visit: {accept_status: [4]}",
    ],
)  # fmt: skip
def test_schema_and_program_refuse_the_same(schema: Any, line: str) -> None:
    """What cannot be run is marked while it is typed."""
    text = line if line.startswith("seeds") else f"seeds: {{urls: [http://a.test/]}}\n{line}"
    with pytest.raises(ConfigError):
        JobFile.read(text, name="x", base=Path("/")).resolve({})
    assert not _accepts(schema, yaml.safe_load(text), schema)
