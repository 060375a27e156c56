"""YAML as job files use it: safe, with the line of every value, and without YAML's surprises.

Only `true`, `false`, `null` and decimal numbers are anything but text, so `off`, `1:30` and `2024-01-01` stay what was
written and the field that gets them says what it takes. A key that stands twice, an alias, and a tag are mistakes.
"""

import math
import re
from dataclasses import dataclass, field
from typing import Any

from browsercrawl.config.job_references import Place, Problem

_WORDS = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_FLAGS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]{0,17})?\.?[0-9]+(?:[eE][-+]?[0-9]{1,3})?")
_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map")}
"""What a value without a tag of its own has."""


@dataclass(slots=True)
class Document:
    """A YAML text, read.

    Attributes:
        value: dict, list, str, int, float, bool or None, nested.
        lines: of each value, by its place.
        problems: what is wrong with the text.
    """

    value: Any = None
    lines: dict[Place, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    _seen: set[int] = field(default_factory=set)

    def take(self, node: Any, place: Place) -> Any:
        """Make a value of a node."""
        import yaml  # noqa: PLC0415 - only who reads a job file pays for it

        line = node.start_mark.line + 1
        self.lines.setdefault(place, line)
        if node.tag not in _TAGS:
            self._refuse(place, f"tags such as {node.tag[:40]} are not taken here; write the value itself")
        if isinstance(node, yaml.ScalarNode):
            return _plain(node.value) if node.style is None else node.value
        if id(node) in self._seen:
            self._refuse(place, "aliases (*name) are not taken here; write the value again")
            return None
        self._seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            return [self.take(item, (*place, index)) for index, item in enumerate(node.value)]
        return self._mapping(node, place)

    def _mapping(self, node: Any, place: Place) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, item in node.value:
            name = key.value if isinstance(key.value, str) else "?"
            inside = (*place, name)
            line = key.start_mark.line + 1
            if name in values:
                first = self.lines[inside]
                self.lines[inside] = line
                self._refuse(inside, f"stands here a second time; the first is on line {first}")
                continue
            self.lines[inside] = line
            values[name] = self.take(item, inside)
        return values

    def _refuse(self, place: Place, text: str) -> None:
        self.problems.append(Problem(place, text))


def read_yaml(text: str) -> Document:
    """Read a YAML text of one document.

    Returns:
        What it holds, and everything that is wrong with it.
    """
    import yaml  # noqa: PLC0415 - only who reads a job file pays for it

    class Loader(yaml.SafeLoader):
        """Takes every plain scalar for text; we look at it ourselves."""

        yaml_implicit_resolvers = {}  # noqa: RUF012 - as the base class has it

    document = Document()
    try:
        node = yaml.compose(text, Loader)
        if node is not None:
            document.value = document.take(node, ())
    except RecursionError:
        document.problems.append(Problem((), "is nested too deeply"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = error.problem or error.context or ""
        if said.startswith("but "):
            said = f"{error.context}, {said}"
        _note_syntax(document, said + _hint(text, mark), mark.line + 1 if mark else 1)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        _note_syntax(document, "a character that no text file should hold", line)
    return document


def _note_syntax(document: Document, said: str, line: int) -> None:
    document.lines = {(): line}
    document.problems = [Problem((), f"not YAML: {said}")]


def _hint(text: str, mark: Any) -> str:
    """Say what people meant who write what YAML does not take."""
    lines = text.split("\n")
    line = lines[mark.line] if mark is not None and mark.line < len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "; indent with spaces, not with tabs"
    if re.search(r"[\[{,]\s*[^'\"]*\$\{", line):
        return '; inside [ ] and { } write references in quotes: "${NAME}"'
    if re.match(r"\s*(- )?[\w-]+:\s*[*&!%@`]", line):
        return "; put the value in quotes"
    return ""


def _plain(text: str) -> Any:
    if text in _WORDS:
        return None
    if text in _FLAGS:
        return _FLAGS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text
