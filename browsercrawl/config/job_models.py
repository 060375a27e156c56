"""What a job file may hold: frozen models, one per section. The leaves have the names of the options of `crawl`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    Field,
    PrivateAttr,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from browsercrawl.config.job_part import AtLeastOne, Part, Statuses, Switch, Timeout, Words
from browsercrawl.config.job_sessions import SessionsPart, config_of, place_in_sessions
from browsercrawl.config.job_values import (
    Addresses,
    Duration,
    Failures,
    ImportPath,
    OneOf,
    Seed,
    Size,
    Some,
    Whole,
)
from browsercrawl.config.models import CrawlerConfig, Profile, ResourceType, Saved
from browsercrawl.config.sessions import OWN_NAMES
from browsercrawl.redaction import REDACTED
from browsercrawl.request import SESSION_LENGTH_MAX, WaitUntil

Scope = Literal["host", "any"]

DEFAULT_LABEL = "default"
"""The name, among a job's handlers, of the one for requests without a label."""

State = Annotated[WaitUntil, OneOf(get_args(WaitUntil))]
Kinds = Annotated[frozenset[Saved], Some(OneOf(get_args(Saved)))]


class SeedsPart(Part):
    """What to crawl."""

    urls: tuple[Annotated[Any, Seed()], ...] = Field(default=(), description="URLs, or requests with their fields.")
    file: Words | None = Field(default=None, description="One URL or one JSON request per line; - is standard input.")
    sitemap: Annotated[tuple[str, ...], Addresses()] = Field(
        default=(), description="URL of a sitemap or of an index of sitemaps, or several."
    )
    session: Words | None = Field(default=None, description="Those that name no session belong to this one.")

    @field_validator("session")
    @classmethod
    def _check_session(cls, name: str | None) -> str | None:
        if name is not None and (name.startswith(OWN_NAMES) or len(name) > SESSION_LENGTH_MAX):
            raise ValueError(f"must not begin with host: or pool:, nor have more than {SESSION_LENGTH_MAX} characters")
        return name

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not (self.urls or self.file or self.sitemap):
            raise ValueError("nothing to crawl: give urls, file or sitemap")
        return self


class VisitPart(Part):
    """Each page."""

    timeout: Timeout | None = Field(default=None, description="All of a visit must be over by then. Default: 60s.")
    retries: Annotated[int, Whole(0, 100)] | None = Field(
        default=None, description="Try a failed page so often again. Default: 2."
    )
    wait_until: State | None = Field(default=None, description="When a page counts as loaded. Default: load.")
    wait_for: Words | None = Field(default=None, description="Then wait until this element is in the page.")
    block: Annotated[frozenset[ResourceType], Some(OneOf(get_args(ResourceType)))] | None = Field(
        default=None, description="Do not fetch these."
    )
    save: Kinds | None = Field(default=None, description="Keep of each page, in the run directory.")
    accept_status: Statuses | None = Field(default=None, description="HTTP statuses taken as success besides 2xx.")
    salvage: Switch | None = Field(
        default=None, description="Of a page that hangs until its timeout, take what it shows. Default: false."
    )


class LinksPart(Part):
    """Which links are followed, and which addresses are the same page."""

    depth: Annotated[int, Whole(0)] | None = Field(
        default=None, description="Follow links up to so many steps away. Default: 0."
    )
    scope: Annotated[Scope, OneOf(get_args(Scope))] | None = Field(
        default=None, description="host: only to the host and port they were found from. Default: host."
    )
    keep_fragments: Switch | None = Field(
        default=None, description="Addresses that differ after # are different pages. Default: false."
    )
    sort_query: Switch | None = Field(
        default=None, description="Addresses that differ in the order of ?a=1&b=2 are the same. Default: false."
    )


class LimitsPart(Part):
    """How large the job may become, and what ends it early (it can be resumed)."""

    max_requests: AtLeastOne | None = Field(default=None, description="Take no more requests, the first ones included.")
    max_per_host: AtLeastOne | None = Field(default=None, description="Likewise of one host and port.")
    max_time: Annotated[float, Duration()] | None = Field(default=None, description="End early after this time.")
    max_failures: Annotated[float, Failures()] | None = Field(
        default=None, description="End early after so many failed requests, or at such a share of them."
    )
    max_download: Annotated[int, Size()] | None = Field(
        default=None, description="Of each file kept as `download`; a larger one fails. Default: 100MB."
    )
    max_disk: Annotated[int, Size()] | None = Field(
        default=None, description="End early when the run directory is larger."
    )


class PacePart(Part):
    """How fast, and how gentle to each host."""

    concurrency: Annotated[int | Literal["auto"], Whole(1, 1000, words=("auto",))] | None = Field(
        default=None, description="Pages open at the same time. Default: auto, 2 per core, then what brings most."
    )
    memory: Annotated[int, Size()] | None = Field(
        default=None, description="Memory it may use, browsers included. Default: what container or machine have."
    )
    delay: Annotated[float, Duration(most_s=86_400, may_be_zero=True)] | None = Field(
        default=None, description="Pause between two visits to the same host and port. Default: 1s; 0 on loopback."
    )
    per_host: AtLeastOne | None = Field(
        default=None, description="Pages open at the same time on one host and port. Default: as the delay allows."
    )
    ignore_robots: Switch | None = Field(
        default=None, description="Do not ask robots.txt. Accepted already; this version never asks."
    )


class BrowserPart(Part):
    """Which browser, and what it says it is."""

    profile: Annotated[Profile, OneOf(get_args(Profile))] | None = Field(
        default=None, description="A set of defaults; see browsercrawl crawl --help. Default: balanced."
    )
    headed: Switch | None = Field(default=None, description="Show the browser's window. Default: false.")
    user_agent: Words | None = Field(default=None, description="What the browser calls itself.")
    proxy: Words | None = Field(default=None, description="Send all traffic through it: http://host:port.")
    playwright_config: Words | None = Field(
        default=None, description="File with Playwright's own launchOptions and contextOptions."
    )


class OutputPart(Part):
    """Where results go."""

    directory: Words | None = Field(
        default=None, description="The run directory to make. Default: runs/<time>-<host> in the working directory."
    )


class RulePart(Part):
    """Wishes for the requests that match; the first rule that matches a request counts."""

    url: Words | None = Field(default=None, description="Matches the whole URL: * is anything, ? one character.")
    label: Words | None = Field(default=None, description="Matches requests with this label.")
    handler: Words | None = Field(default=None, description="Which of the job's handlers gets the page.")
    timeout: Timeout | None = Field(default=None, description="All of a visit must be over by then.")
    wait_until: State | None = Field(default=None, description="When a page counts as loaded.")
    wait_for: Words | None = Field(default=None, description="Then wait until this element is in the page.")
    save: Kinds | None = Field(default=None, description="Keep of each page, in the run directory.")
    accept_status: Statuses | None = Field(default=None, description="HTTP statuses taken as success besides 2xx.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.url is None and self.label is None:
            raise ValueError("a rule needs url or label, or it would match everything; set those under visit")
        return self


class Job(Part):
    """A job, its references resolved: durations are seconds here and sizes bytes. Get one from `JobFile.resolve`."""

    seeds: SeedsPart
    visit: VisitPart = VisitPart()
    links: LinksPart = LinksPart()
    limits: LimitsPart = LimitsPart()
    pace: PacePart = PacePart()
    browser: BrowserPart = BrowserPart()
    sessions: SessionsPart = SessionsPart()
    rules: tuple[RulePart, ...] = Field(
        default=(), description="Wishes by URL or label; the first rule that matches a request counts."
    )
    handlers: dict[str, Annotated[str, ImportPath()]] = Field(
        default_factory=dict,
        description="By label, the functions that get the pages: module:function. `default`: pages without a label.",
    )
    on_failed: Annotated[str, ImportPath()] | None = Field(
        default=None, description="The function that sees the result of each request that failed: module:function."
    )
    sinks: tuple[Annotated[str, ImportPath()], ...] = Field(
        default=(), description="Functions that make further destinations of results: module:function."
    )
    output: OutputPart = OutputPart()
    base: Words | None = Field(
        default=None, description="Relative paths start here, and handlers are looked for. Default: the file's folder."
    )

    _from_environment: frozenset[str] = PrivateAttr(default=frozenset())

    def config(
        self, directory: Path, *, resume: bool = False, browser: Mapping[str, Any] | None = None
    ) -> CrawlerConfig:
        """Make the configuration that the job stands for.

        Args:
            directory: of the run.
            resume: go on with the run that it holds.
            browser: fields that a Playwright file sets; the job's own go before.

        Raises:
            ValidationError: the parts do not fit together; `place_of` says where.
        """
        values: dict[str, Any] = {"output": directory, "resume": resume, "host": {"delay_s": None}}
        values["browser"] = dict(browser or {}) | ({"headed": True, "binary": "full"} if self.browser.headed else {})
        values["visit"] = {"capture": ["links"] if self.links.depth else []}
        for ours, theirs in _FIELDS.items():
            section, leaf = ours.split(".")
            if (value := getattr(getattr(self, section), leaf)) is not None:
                _put(values, theirs, value)
        if (failures := self.limits.max_failures) is not None:
            _put(values, f"limits.{'max_failures' if isinstance(failures, int) else 'max_failure_share'}", failures)
        values["sessions"] = config_of(self.sessions, Path(self.base or ""))
        values["rules"] = [_rule_fields(rule) for rule in self.rules]
        if not self._from_environment:
            return CrawlerConfig.model_validate(values)
        config = _DiscreetConfig.model_validate(values)
        paths = {str(Path(self.base or "") / text) for text in self._from_environment}
        config._hidden = self._from_environment | paths  # noqa: SLF001 - our own class, a few lines below
        return config

    def keep_secret(self, texts: Iterable[str]) -> None:
        """Keep these texts out of what the configuration shows of itself: they come from the environment."""
        self._from_environment = frozenset(texts)

    def shown(self, text: str) -> str:
        """Return a message without what comes from the environment."""
        for secret in sorted(self._from_environment, key=len, reverse=True):
            text = text.replace(secret, REDACTED) if secret else text
        return text


class _DiscreetConfig(CrawlerConfig):
    """A configuration that shows no text that comes from the environment; what is logged and stored has a mark."""

    _hidden: frozenset[str] = PrivateAttr(default=frozenset())

    @model_serializer(mode="wrap")
    def _serialize(self, serialize: SerializerFunctionWrapHandler, info: SerializationInfo) -> Any:
        plain = serialize(self)
        return _without(plain, self._hidden) if info.mode == "json" else plain

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        return ()


_FIELDS = {
    "visit.timeout": "visit.timeout_s",
    "visit.retries": "retry.retries",
    "visit.wait_until": "visit.wait_until",
    "visit.wait_for": "visit.wait_for",
    "visit.block": "browser.block",
    "visit.save": "visit.save",
    "visit.accept_status": "visit.accept_status",
    "visit.salvage": "visit.salvage",
    "links.depth": "links.depth",
    "links.scope": "links.scope",
    "links.keep_fragments": "links.keep_fragments",
    "links.sort_query": "links.sort_query",
    "limits.max_requests": "links.max_requests",
    "limits.max_per_host": "links.max_per_host",
    "limits.max_time": "limits.max_time_s",
    "limits.max_download": "visit.max_download_bytes",
    "limits.max_disk": "limits.max_disk_bytes",
    "pace.concurrency": "concurrency",
    "pace.memory": "memory_limit_bytes",
    "pace.delay": "host.delay_s",
    "pace.per_host": "host.per_host",
    "browser.profile": "profile",
    "browser.user_agent": "browser.user_agent",
    "browser.proxy": "browser.proxy",
}
"""Where a field of the job goes in the configuration; what is not here goes there by code."""


def place_of(location: tuple[str | int, ...], job: Job) -> tuple[str | int, ...]:
    """Return the place in a job of a field of its configuration, as pydantic names it; () for one of several."""
    if location[:1] == ("sessions",):
        return place_in_sessions(location, list(job.sessions.profiles))
    key = ".".join(map(str, location[:2]))
    if location[:1] == ("rules",):
        return tuple(str(step).removesuffix("_s") if isinstance(step, str) else step for step in location[:3])
    return next((tuple(ours.split(".")) for ours, theirs in _FIELDS.items() if theirs == key), ())


def _rule_fields(rule: RulePart) -> dict[str, Any]:
    fields = {name: value for name in RulePart.model_fields if (value := getattr(rule, name)) is not None}
    return {"timeout_s" if name == "timeout" else name: value for name, value in fields.items()}


def _put(values: dict[str, Any], key: str, value: object) -> None:
    *path, last = key.split(".")
    part = values
    for step in path:
        part = part.setdefault(step, {})
    part[last] = value


def _without(value: Any, hidden: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(item, hidden) for key, item in value.items()}
    if isinstance(value, list):
        return [_without(item, hidden) for item in value]
    return REDACTED if isinstance(value, str) and value in hidden else value
