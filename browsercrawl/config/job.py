"""A job as it was written: where everything stands, what is wrong with it, and the job it stands for.

The written form keeps references such as `${NAME}`; it is what a run stores of its job. Only `resolve` puts the
environment's values in, and nothing that comes from there is ever shown.
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self, get_args, get_origin

from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_core import ErrorDetails

from browsercrawl.config.job_models import DEFAULT_LABEL, Job, place_of
from browsercrawl.config.job_references import Expansion, Place, Problem, literal
from browsercrawl.config.job_sessions import literal_secrets
from browsercrawl.config.job_values import WrongValue
from browsercrawl.config.job_yaml import read_yaml
from browsercrawl.errors import ConfigError, InvalidURL
from browsercrawl.mistakes import sentence
from browsercrawl.urls import address

__all__ = ["DEFAULT_LABEL", "Job", "JobFile", "Place", "literal"]

_PROBLEMS_SHOWN = 20
_CONTROLS = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
"""What JSON may hold as it is and YAML may not."""


class JobFile:
    """A job in its written form.

    Attributes:
        base: the absolute folder from which relative paths start.
    """

    def __init__(
        self,
        raw: Mapping[str, Any],
        *,
        base: Path,
        name: str = "",
        lines: Mapping[Place, int] | None = None,
        flags: Mapping[str, str] | None = None,
    ) -> None:
        """Take a job that is at hand; see `read` for one in a file.

        Args:
            raw: sections, made of what JSON can say; references are not resolved.
            base: absolute; a `base` in `raw` starts from here.
            name: of the file, for messages.
            lines: where in the file each value stands.
            flags: the options of the command line that stand for a field, by its dotted name.
        """
        self._raw = dict(raw)
        self._name = name
        self._lines = dict(lines or {})
        self._flags = dict(flags or {})
        own = raw.get("base")
        self.base = base / own if isinstance(own, str) else base

    @classmethod
    def read(cls, text: str, *, name: str, base: Path) -> Self:
        """Read a job file.

        Args:
            text: YAML, of which JSON is a part.
            name: of the file, for messages.
            base: its folder, absolute.

        Raises:
            ConfigError: it is no YAML, or no mapping.
        """
        document = read_yaml(text)
        problems = document.problems
        if not problems and not isinstance(document.value, dict):
            what = "is empty" if document.value is None else "must be a mapping"
            problems = [Problem((), f"{what}; browsercrawl init writes an example")]
        file = cls(document.value if not problems else {}, name=name, base=base, lines=document.lines)
        file._refuse(problems)
        return file

    @classmethod
    def from_stored(cls, text: str, *, name: str) -> Self:
        """Read what `stored` returned.

        Raises:
            ConfigError: it is something else.
        """
        try:
            raw = json.loads(text)
        except ValueError as error:
            raise ConfigError(f"{name}: not the job of a run: {error}") from None
        if not isinstance(raw, dict) or not isinstance(raw.get("base"), str):
            raise ConfigError(f"{name}: not the job of a run")
        return cls(raw, base=Path(raw["base"]), name=name)

    def stored(self) -> str:
        """Return the job as JSON: a job file itself, with its references as they were written, and its base."""
        text = json.dumps(self._raw | {"base": str(self.base)}, indent=2, ensure_ascii=False)
        return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"

    def with_value(self, key: str, value: JsonValue) -> "JobFile":
        """Return the same job with another value in a section: `with_value("output.directory", "x")`."""
        section, leaf = key.split(".")
        raw = self._raw | {section: (self._raw.get(section) or {}) | {leaf: value}}
        return JobFile(raw, base=self.base, name=self._name, lines=self._lines, flags=self._flags)

    def session_names(self) -> list[str]:
        """Return the names of the job's sessions."""
        sessions = self._raw.get("sessions")
        profiles = sessions.get("profiles") if isinstance(sessions, dict) else None
        return list(profiles) if isinstance(profiles, dict) else []

    def with_session(self, name: str) -> "JobFile":
        """Return the same job with one of its sessions alone: what others need of the environment may be missing."""
        return self.with_value("sessions.profiles", {name: self._raw["sessions"]["profiles"][name]})

    def place(self, *place: str | int) -> str:
        """Return where a value stands, for a message: file, line and field; or the option that stands for it."""
        if flag := self._flags.get(".".join(str(step) for step in place)):
            return flag
        line = next((self._lines[part] for part in _upwards(place) if part in self._lines), None)
        shown = "".join(f"[{step + 1}]" if isinstance(step, int) else f".{step}" for step in place).lstrip(".")
        return ", ".join([*filter(None, [self._name]), *([f"line {line}"] if line else []), *filter(None, [shown])])

    def resolve(self, environment: Mapping[str, str]) -> Job:
        """Make the job that this stands for.

        Args:
            environment: the values for its references.

        Raises:
            ConfigError: everything that is wrong, each with its place.
        """
        given = {key: value for key, value in self._raw.items() if value is not None}
        base = given.pop("base", "")
        expansion = Expansion.of(environment)
        expanded = expansion.expand(given) | {"base": str(self.base) if isinstance(base, str) else base}
        problems = [*expansion.problems, *_empty(expanded), *literal_secrets(given.get("sessions"))]
        try:
            job = Job.model_validate(expanded)
        except ValidationError as error:
            known = {problem.place for problem in problems}
            found = [_problem(each, expansion.places) for each in error.errors(include_url=False)]
            self._refuse(problems + [each for each in found if each.place not in known])
            raise  # not reached: there is a problem
        job.keep_secret(expansion.texts)
        self._refuse(problems or [*_contradictions(job), *_secret_urls(job, expansion.places)])
        return job

    def _refuse(self, problems: list[Problem]) -> None:
        if not problems:
            return
        told = sorted(problems, key=lambda problem: self._line(problem.place))[:_PROBLEMS_SHOWN]
        lines = [": ".join(filter(None, [self.place(*problem.place), problem.text])) for problem in told]
        if len(problems) > len(told):
            lines.append(f"and {len(problems) - len(told)} more")
        raise ConfigError("\n".join(lines))

    def _line(self, place: Place) -> int:
        return next((self._lines[part] for part in _upwards(place) if part in self._lines), 0)


def _upwards(place: Place) -> Iterator[Place]:
    return (place[:length] for length in range(len(place), -1, -1))


def _empty(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Find the fields that stand there without a value: in a section, a rule, a host, or anywhere below sessions."""
    parts: list[tuple[Place, Any]] = [((key,), part) for key, part in values.items()]
    for name in ("rules", "hosts"):
        rules = values.get(name)
        parts += [((name, index), rule) for index, rule in enumerate(rules if isinstance(rules, list) else [])]
    while parts:
        place, part = parts.pop()
        inside = part.items() if isinstance(part, dict) else enumerate(part if isinstance(part, list) else ())
        for leaf, value in inside:
            if value is None:
                yield Problem((*place, leaf), "has no value; write one, or leave the line out")
            elif place[0] == "sessions":
                parts.append(((*place, leaf), value))


def _contradictions(job: Job) -> Iterator[Problem]:
    """Find what is wrong between the parts of a job each of which is right."""
    labels = list(job.handlers)
    for index, rule in enumerate(job.rules):
        if rule.handler is not None and rule.handler not in labels:
            there = f"there are: {', '.join(labels)}" if labels else "there are none; name them under handlers"
            yield Problem(("rules", index, "handler"), f"names no handler of this job; {there}")
    try:
        job.config(Path("run"))
    except ValidationError as error:
        found = error.errors(include_url=False)
        for each in found:
            if each["type"] != "too_short" or len(found) == 1:  # else the list is not short: its items are wrong
                yield Problem(place_of(each["loc"], job), job.shown(sentence(each)))


def _secret_urls(job: Job, secret: set[Place]) -> Iterator[Problem]:
    """Find URLs from the environment that are none: the failed result of such a one would show it."""
    for index, seed in enumerate(job.seeds.urls):
        inside, field = (seed.get("url"), ("url",)) if isinstance(seed, dict) else (seed, ())
        place = ("seeds", "urls", index, *field)
        if place in secret:
            try:
                address(str(inside))
            except InvalidURL:
                yield Problem(place, "must be an http or https URL, written in full")


def _problem(mistake: ErrorDetails, secret: set[Place]) -> Problem:
    place = tuple(mistake["loc"])
    raised = mistake.get("ctx", {}).get("error")
    if isinstance(raised, WrongValue):
        is_secret = any(each[: len(place)] == place for each in secret)
        return Problem(place, raised.discreet if is_secret else str(raised))
    match mistake["type"]:
        case "extra_forbidden":
            return Problem(place, "there is no such key" + _meant(place))
        case "tuple_type":
            return Problem(place, "must be a list")
        case "missing" if place == ("seeds",):
            return Problem((), "nothing to crawl: give seeds with urls, file or sitemap")
        case _:
            return Problem(place, sentence(mistake))


def _meant(place: Place) -> str:
    """Return the key that was probably meant: one like it in the same place, or just this one in another."""
    *path, last = place
    word = str(last).replace("-", "_").lower()
    here = _fields(path)
    near = difflib.get_close_matches(word, list(here), n=1, cutoff=0.6)
    elsewhere = [f"{part}.{word}" for part in Job.model_fields if word in _fields([part])]
    is_deep = path[:1] == ["sessions"]  # where words are the same as elsewhere and mean something else
    meant = [word] if word in here else near or elsewhere if is_deep else elsewhere or near
    return f"; did you mean {meant[0]}?" if meant else f"; there are {', '.join(here)}" if here else ""


def _fields(path: list[str | int]) -> Mapping[str, Any]:
    """Return the fields that are known at a place."""
    model: type[BaseModel] | None = Job
    is_named = False
    for step in path:
        if isinstance(step, int) or is_named:  # a position in a list, or a name that the user gave
            is_named = False
            continue
        field = model.model_fields.get(step) if model else None
        is_named = field is not None and get_origin(field.annotation) is dict
        kinds = (field.annotation, *get_args(field.annotation)) if field else ()
        model = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
    return {field.alias or name: field for name, field in model.model_fields.items()} if model else {}
