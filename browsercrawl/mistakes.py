"""What is wrong with the values somebody gave, in plain sentences instead of the validator's.

A sentence names the key, what it must be and, of a number, what it is; never the text that was given, which may be a
secret. For an unknown key it names the nearest valid one.
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
_KINDS = {
    "bool": "true or false",
    "dict": "a mapping",
    "finite": "a finite number",
    "float": "a number",
    "frozen": "a set or list",
    "int": "a whole number",
    "invalid-json-value": "made of what JSON can say",
    "list": "a list",
    "mapping": "a mapping",
    "model": "a mapping",
    "path": "a path",
    "set": "a set or list",
    "string": "text",
}
"""What a value must be, by the first word of the validator's name for the mistake."""


class CheckedModel(BaseModel):
    """A frozen model without unknown fields, whose mistakes are told in plain sentences by an error of ours."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise self._mistaken(error) from None

    # Without this mark pydantic would come through __init__ for nested models too, and lose the path to the key.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # pydantic's own mark

    @classmethod
    def _mistaken(cls, error: ValidationError) -> Exception:
        """Make the error to be raised."""
        raise NotImplementedError


def explained(error: ValidationError, model: type[BaseModel]) -> str:
    """Return what is wrong, one clause for each key.

    Args:
        error: raised by `model`.
        model: whose fields the keys are.

    Example:
        >>> from pydantic import Field
        >>> class Size(BaseModel):
        ...     width: int = Field(ge=1)
        >>> try:
        ...     Size(width=0)
        ... except ValidationError as error:
        ...     print(explained(error, Size))
        width: must be at least 1, not 0
    """
    wanted: dict[str, list[str]] = {}
    given: dict[str, str] = {}
    said: list[str] = []
    for each in error.errors(include_url=False):
        known, path = _names(model, each["loc"])
        key = ".".join(path)
        if must_be := _must_be(each):
            unit = " s" if key.endswith("_s") else ""
            wanted.setdefault(key, []).append(must_be + (unit if each["type"] in _BOUNDS else ""))
            given[key] = _number_given(each, unit)
        else:
            said.append((f"{key}: " if key else "") + _otherwise(each, known))
    return "; ".join([*(f"{key}: must be {' or '.join(wishes)}{given[key]}" for key, wishes in wanted.items()), *said])


def sentence(mistake: ErrorDetails) -> str:
    """Return what is wrong, without the key: one clause."""
    must_be = _must_be(mistake)
    return f"must be {must_be}{_number_given(mistake)}" if must_be else _otherwise(mistake)


def is_about(error: ValidationError, name: str) -> bool:
    """Tell whether a mistake concerns the field of this name."""
    return any(each["loc"][:1] == (name,) for each in error.errors(include_url=False))


def _must_be(mistake: ErrorDetails) -> str:
    kind, context = mistake["type"], mistake.get("ctx", {})
    if kind in _BOUNDS:
        word, limit = _BOUNDS[kind]
        return f"{word} {context[limit]:,.10g}"
    if kind == "literal_error":
        return str(context["expected"])
    if kind == "string_too_long":
        return f"at most {context['max_length']:,} characters"
    return _KINDS.get(kind, _KINDS.get(kind.partition("_")[0], "")) if kind != "string_unicode" else ""


def _number_given(mistake: ErrorDetails, unit: str = "") -> str:
    """Return the number that is wrong; not one in place of a text, which may be a password."""
    number = mistake["input"]
    if mistake["type"] not in {*_BOUNDS, "literal_error"} or isinstance(number, bool):
        return ""
    return f", not {number:,.10g}{unit}" if isinstance(number, int | float) else ""


def _otherwise(mistake: ErrorDetails, known: Iterable[str] = ()) -> str:
    match mistake["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            near = difflib.get_close_matches(str(mistake["loc"][-1]), list(known), n=1, cutoff=0.6)
            return "there is no such key" + (f"; did you mean {near[0]}?" if near else "")
        case "value_error":
            return str(mistake.get("ctx", {}).get("error", mistake["msg"]))
        case _:
            return mistake["msg"]


def _names(model: type[BaseModel], place: tuple[int | str, ...]) -> tuple[Iterable[str], list[str]]:
    """Return the fields known at a place, and the path to it: what follows a field that is no model is left out."""
    path: list[str] = []
    fields: Mapping[str, Any] = model.model_fields
    for step in place:
        path.append(str(step))
        kind = fields[path[-1]].annotation if path[-1] in fields else None
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            break
        fields = kind.model_fields
    return fields, path
