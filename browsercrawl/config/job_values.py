"""The values of a job file: what people write for a duration, a size, a share, and what becomes of it.

Each kind of value reads what YAML or the command line gives, and knows its JSON Schema. When it refuses something it
has two sentences: one that repeats what was given, and one without, for values that come from the environment.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, SecretStr, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from browsercrawl.config.network import host_entry
from browsercrawl.config.units import duration_s, size_bytes
from browsercrawl.errors import ConfigError, InvalidURL
from browsercrawl.mistakes import explained
from browsercrawl.request import Request
from browsercrawl.urls import address

REFERENCE = r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"
"""What stands for the value of an environment variable."""

FROM_ROBOTS = "robots"
"""In the place of a sitemap's address: those that the robots.txt of the hosts to crawl name."""

OPEN_PROXY = rf"([^@]*|([^@]*[:/])?{REFERENCE}@[^@]*)"
"""A proxy's URL as it may stand in a file: what comes before the last @, if anything, ends in such a reference."""

DURATION = r"^(0|\d+(\.\d+)?\s*(ms|s|m|h))$"
SIZE = r"^(0|\d+(\.\d+)?\s*(B|KB|MB|GB|KiB|MiB|GiB))$"
IMPORT_PATH = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$"
SHARE = r"^(\d+|\d+(\.\d+)?\s*%)$"

_SHOWN_MAX = 60
_FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_SOME_URL = "https://example.com/"


class WrongValue(ValueError):
    """A value is none that its field takes.

    Attributes:
        discreet: says so without repeating the value, which may be a secret.
    """

    def __init__(self, told: str, *, discreet: str = "") -> None:
        super().__init__(told)
        self.discreet = discreet or told


class Kind:
    """A kind of value; stands in `Annotated`."""

    def read(self, value: Any) -> Any:
        """Make what the job holds of what was given.

        Raises:
            WrongValue: it cannot be.
        """
        raise NotImplementedError

    def schema(self) -> JsonSchemaValue:
        """Describe what may be written."""
        raise NotImplementedError

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let pydantic read through us."""
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Let pydantic describe us: everything may also be a text with a reference in it."""
        own = self.schema()
        is_free = own.get("type") == "string" and not {"pattern", "enum"} & own.keys()
        return own if is_free else {"anyOf": [own, {"type": "string", "pattern": REFERENCE}]}


@dataclass(frozen=True)
class Text(Kind):
    """Words that mean what they say."""

    def read(self, value: Any) -> str:
        """Take text only: of a number it is not known how it was written."""
        if not isinstance(value, str):
            raise WrongValue("must be text; put it in quotes")
        if not value.strip():
            raise WrongValue("must not be empty")
        return value

    def schema(self) -> JsonSchemaValue:
        """Any text."""
        return {"type": "string", "minLength": 1}


@dataclass(frozen=True)
class Secret(Kind):
    """A text that is never shown. That it comes from the environment is seen in the written job."""

    def read(self, value: Any) -> SecretStr:
        """Take text only, and hide it."""
        return SecretStr(Text().read(value))

    def schema(self) -> JsonSchemaValue:
        """Only a reference."""
        return {"type": "string", "pattern": f"^{REFERENCE}$"}

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Let pydantic describe us."""
        return self.schema()


@dataclass(frozen=True)
class ProxyUrl(Secret):
    """The URL of a proxy, which may have a user name and password in it."""

    def schema(self) -> JsonSchemaValue:
        """Its password is a reference."""
        return {"type": "string", "pattern": f"^{OPEN_PROXY}$"}


@dataclass(frozen=True)
class Flag(Kind):
    """Yes or no."""

    def read(self, value: Any) -> bool:
        """Take `true` and `false`, and what YAML has besides."""
        flag = value if isinstance(value, bool) else _FLAGS.get(value.lower()) if isinstance(value, str) else None
        if flag is None:
            raise WrongValue("must be true or false")
        return flag

    def schema(self) -> JsonSchemaValue:
        """True or false."""
        return {"type": "boolean"}


@dataclass(frozen=True)
class Whole(Kind):
    """A whole number from `least` to `most`; or one of some words."""

    least: int
    most: int | None = None
    words: tuple[str, ...] = ()

    def read(self, value: Any) -> int | str:
        """Take a number, also as text; not true and false."""
        if value in self.words and isinstance(value, str):
            return value
        number = value if isinstance(value, int) and not isinstance(value, bool) else _number_in(value)
        if number is None:
            raise WrongValue(" or ".join(["must be a whole number", *self.words]))
        if number < self.least:
            raise _beyond(f"must be at least {self.least:,}", f"{number:,}")
        if self.most is not None and number > self.most:
            raise _beyond(f"must be at most {self.most:,}", f"{number:,}")
        return number

    def schema(self) -> JsonSchemaValue:
        """Bounds, and the words."""
        number: JsonSchemaValue = {"type": "integer", "minimum": self.least}
        if self.most is not None:
            number["maximum"] = self.most
        return {"anyOf": [number, {"enum": list(self.words)}]} if self.words else number


@dataclass(frozen=True)
class Number(Kind):
    """A number from `least` to `most`."""

    least: float
    most: float | None = None

    def read(self, value: Any) -> float:
        """Take a number, also as text; not true and false."""
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise WrongValue("must be a number")
        if number < self.least:
            raise _beyond(f"must be at least {self.least:,g}", f"{number:,.10g}")
        if self.most is not None and number > self.most:
            raise _beyond(f"must be at most {self.most:,g}", f"{number:,.10g}")
        return number

    def schema(self) -> JsonSchemaValue:
        """Bounds."""
        number: JsonSchemaValue = {"type": "number", "minimum": self.least}
        return number if self.most is None else number | {"maximum": self.most}


@dataclass(frozen=True)
class Duration(Kind):
    """A duration, which becomes seconds; or one of some words."""

    most_s: float | None = None
    may_be_zero: bool = False
    words: tuple[str, ...] = ()

    def read(self, value: Any) -> float | str:
        """Take a number with its unit."""
        if value in self.words and isinstance(value, str):
            return value
        seconds = _quantity(value, duration_s)
        if seconds == 0 and not self.may_be_zero:
            raise _beyond("must be more than 0 s", "0 s")
        if self.most_s is not None and seconds > self.most_s:
            raise _beyond(f"must be at most {self.most_s:,.10g} s", f"{seconds:,.10g} s")
        return seconds

    def schema(self) -> JsonSchemaValue:
        """A number with its unit; a bare 0 needs none."""
        text = {"type": "string", "pattern": DURATION, "examples": ["250ms", "30s", "5m", "2h"]}
        others: list[JsonSchemaValue] = [{"const": 0}] if self.may_be_zero else []
        others += [{"enum": list(self.words)}] if self.words else []
        return {"anyOf": [text, *others]} if others else text


@dataclass(frozen=True)
class Size(Kind):
    """A size above zero; becomes bytes."""

    def read(self, value: Any) -> int:
        """Take a number with its unit."""
        size = int(_quantity(value, size_bytes))
        if size < 1:
            raise _beyond("must be at least 1 B", "0 B")
        return size

    def schema(self) -> JsonSchemaValue:
        """A number with its unit."""
        return {"type": "string", "pattern": SIZE, "examples": ["512MB", "2GiB"]}


@dataclass(frozen=True)
class Failures(Kind):
    """How many may fail: a number, or a share in percent, which becomes a float up to 1."""

    def read(self, value: Any) -> int | float:
        """Take `50` or `10%`."""
        text = str(value).strip() if isinstance(value, int | str) and not isinstance(value, bool) else ""
        hint = "write a whole number such as 50, or a share such as 10%"
        if not re.fullmatch(SHARE, text):
            raise WrongValue(f"{_shown(value)}: {hint}", discreet=hint)
        if text.endswith("%"):
            share = float(text[:-1]) / 100
            if not 0 < share <= 1:
                raise _beyond("must be more than 0% and at most 100%", text)
            return share
        return int(Whole(1).read(text))

    def schema(self) -> JsonSchemaValue:
        """A number or a share."""
        return {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": SHARE}]}


@dataclass(frozen=True)
class OneOf(Kind):
    """One of some words."""

    choices: tuple[str, ...]

    def read(self, value: Any) -> str:
        """Take a word as it is."""
        if isinstance(value, str) and value in self.choices:
            return value
        known = ", ".join(self.choices)
        discreet = f"must be one of {known}"
        raise WrongValue(f"{_shown(value)} is not one of {known}", discreet=discreet)

    def schema(self) -> JsonSchemaValue:
        """The words."""
        return {"type": "string", "enum": list(self.choices)}


@dataclass(frozen=True)
class Some(Kind):
    """Some of one kind, as a list or as a text with commas between them; becomes a set."""

    item: Kind

    def read(self, value: Any) -> frozenset[Any]:
        """Take a list, a text, or one alone."""
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",")]
        return frozenset(self.item.read(each) for each in (value if isinstance(value, list) else [value]))

    def schema(self) -> JsonSchemaValue:
        """One or a list; the text with commas is known to us alone."""
        item = self.item.schema()
        return {"anyOf": [item, {"type": "array", "items": item, "uniqueItems": True}]}


@dataclass(frozen=True)
class Host(Kind):
    """A host of a list: a name, `*.domain`, an address, a network, or `private`."""

    def read(self, value: Any) -> str:
        """Take a text."""
        text = Text().read(value)
        try:
            return host_entry(text)
        except ValueError as error:
            raise WrongValue(str(error), discreet="must be a host") from None

    def schema(self) -> JsonSchemaValue:
        """Any text."""
        return Text().schema()


@dataclass(frozen=True)
class ImportPath(Kind):
    """Where a function of the user's is found: `module:function`."""

    def read(self, value: Any) -> str:
        """Take a module's dotted name, a colon and a name in it."""
        hint = "write module:function, such as shop:product for `product` in shop.py"
        if not isinstance(value, str) or not re.fullmatch(IMPORT_PATH, value):
            raise WrongValue(f"{_shown(value)}: {hint}", discreet=hint)
        return value

    def schema(self) -> JsonSchemaValue:
        """Module and function."""
        return {"type": "string", "pattern": IMPORT_PATH}


@dataclass(frozen=True)
class Url(Kind):
    """An http or https URL."""

    def read(self, value: Any) -> str:
        """Take a text."""
        url = Text().read(value)
        try:
            address(url)
        except InvalidURL as error:
            raise WrongValue(error.message, discreet="must be an http or https URL") from None
        return url

    def schema(self) -> JsonSchemaValue:
        """Any text."""
        return Text().schema()


@dataclass(frozen=True)
class Addresses(Kind):
    """One http or https URL, or several; words may stand for some."""

    words: tuple[str, ...] = ()

    def read(self, value: Any) -> tuple[str, ...]:
        """Take a text or a list of texts."""
        each = value if isinstance(value, list) else [value]
        return tuple(text if text in self.words else Url().read(text) for text in each)

    def schema(self) -> JsonSchemaValue:
        """One or several."""
        url = {"type": "string", "minLength": 1}
        return {"anyOf": [url, {"type": "array", "items": url, "minItems": 1}]}


@dataclass(frozen=True)
class Seed(Kind):
    """A URL, or a request with the fields of `Request`. Whether the URL is one shows when it is crawled."""

    def read(self, value: Any) -> str | Mapping[str, Any]:
        """Check all but the URL, which, if it is none, becomes a failed result as in a file of URLs."""
        if not isinstance(value, dict):
            return Text().read(value)
        try:
            Request.model_validate(value | ({"url": _SOME_URL} if isinstance(value.get("url"), str) else {}))
        except ValidationError as error:
            raise WrongValue(explained(error, Request)) from None
        return value

    def schema(self) -> JsonSchemaValue:
        """A text, or what a request may hold."""
        request = Request.model_json_schema() | {"description": "A URL and how to visit it."}
        request.pop("$defs", None)  # of the values in `data`, which may be anything
        request["properties"]["data"].pop("additionalProperties", None)
        return {"anyOf": [{"type": "string", "minLength": 1}, request]}


def _quantity(value: Any, read: Callable[[str], float]) -> float:
    text = str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    try:
        return read(text)
    except ConfigError as error:
        hint = error.message.removeprefix(f"{text!r}: ")
        raise WrongValue(f"{_shown(value)}: {hint}", discreet=hint) from None


def _number_in(value: Any) -> int | None:
    return int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value.strip()) else None


def _beyond(limit: str, given: str) -> WrongValue:
    return WrongValue(f"{limit}, not {given}", discreet=limit)


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return repr(text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}...")
