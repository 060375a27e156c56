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

from browsercrawl.config.host_list import read_hosts
from browsercrawl.config.job_part import AtLeastOne, Part, Statuses, Switch, Timeout, Words
from browsercrawl.config.job_sessions import SessionsPart, config_of, place_in_sessions
from browsercrawl.config.job_values import (
    FROM_ROBOTS,
    Addresses,
    Duration,
    Failures,
    Host,
    ImportPath,
    Number,
    OneOf,
    Seed,
    Size,
    Some,
    Text,
    Whole,
)
from browsercrawl.config.models import CrawlerConfig, Profile, ResourceType, Saved
from browsercrawl.config.network import GUARDS, Guard
from browsercrawl.config.sessions import OWN_NAMES
from browsercrawl.redaction import REDACTED
from browsercrawl.request import SESSION_LENGTH_MAX, WaitUntil

Scope = Literal["host", "domain", "prefix", "list", "any"]
Patterns = Annotated[frozenset[str], Some(Text())]

MAX_PER_PATH = 1_000
"""Where traps are not followed and nothing else is said: a calendar ends somewhere."""

LATENCY_FACTOR = 5.0
"""What `delay: auto` keeps, as often as a host takes to answer: it is busy with us a sixth of the time at most."""

DEFAULT_LABEL = "default"
"""The name, among a job's handlers, of the one for requests without a label."""

State = Annotated[WaitUntil, OneOf(get_args(WaitUntil))]
Hosts = Annotated[frozenset[str], Some(Host())]
Kinds = Annotated[frozenset[Saved], Some(OneOf(get_args(Saved)))]


class SeedsPart(Part):
    """What to crawl."""

    urls: tuple[Annotated[Any, Seed()], ...] = Field(default=(), description="URLs, or requests with their fields.")
    file: Words | None = Field(default=None, description="One URL or one JSON request per line; - is standard input.")
    sitemap: Annotated[tuple[str, ...], Addresses(words=(FROM_ROBOTS,))] = Field(
        default=(),
        description="URL of a sitemap, an index of sitemaps, or a robots.txt that names some; or several. robots: what "
        "the robots.txt of the hosts of `urls` name, within the scope.",
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
        if FROM_ROBOTS in self.sitemap and not self.urls:
            raise ValueError(
                f"sitemap: {FROM_ROBOTS} stands for the robots.txt of the hosts of urls: give some; a file does not do"
            )
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
    block_hosts: Annotated[frozenset[str], Some(Text())] | None = Field(
        default=None, description="Fetch nothing from these hosts and the names below them; @FILE holds a list."
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
        default=None,
        description="Where links may lead: host (and port), domain or prefix (all up to the last /) of the seed they "
        "descend from; list: only to `hosts`; any. Default: host.",
    )
    hosts: Patterns | None = Field(
        default=None, description="Hosts that links may lead to whatever the seed; * is anything."
    )
    include: Patterns | None = Field(
        default=None, description="Only links, and pages of sitemaps, whose URL is like one; * is anything."
    )
    exclude: Patterns | None = Field(
        default=None, description="No links, nor pages of sitemaps, whose URL is like one; goes before include."
    )
    follow_traps: Switch | None = Field(
        default=None, description="Also links that look endless, and those with session ids. Default: false."
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
    max_per_path: AtLeastOne | None = Field(
        default=None, description="Take no more links that differ in their query only. Default: 1000."
    )
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
    max_bytes: Annotated[int, Size()] | None = Field(
        default=None, description="End early when so much was sent and received over the network."
    )


class PacePart(Part):
    """How fast, and how gentle to each host."""

    concurrency: Annotated[int | Literal["auto"], Whole(1, 1000, words=("auto",))] | None = Field(
        default=None, description="Pages open at the same time. Default: auto, 2 per core, then what brings most."
    )
    memory: Annotated[int, Size()] | None = Field(
        default=None, description="Memory it may use, browsers included. Default: what container or machine have."
    )
    delay: Annotated[float | Literal["auto"], Duration(most_s=86_400, may_be_zero=True, words=("auto",))] | None = (
        Field(
            default=None,
            description="Pause between two visits to the same host and port; auto: longer where a host answers slowly. "
            "Default: 1s; 0 on loopback.",
        )
    )
    delay_by: Annotated[Literal["host", "domain"], OneOf(("host", "domain"))] | None = Field(
        default=None, description="domain: all hosts of a registrable domain share one pace. Default: host."
    )
    per_host: AtLeastOne | None = Field(
        default=None, description="Pages open at the same time on one host and port. Default: as the delay allows."
    )
    rate: Annotated[float, Number(0.001, 10_000)] | None = Field(
        default=None, description="Visits begun per second, over all hosts. Default: no limit."
    )
    ignore_robots: Switch | None = Field(
        default=None, description="Visit also what robots.txt forbids; it is not asked. Default: false."
    )


class BrowserPart(Part):
    """Which browser, and what it says it is."""

    profile: Annotated[Profile, OneOf(get_args(Profile))] | None = Field(
        default=None, description="A set of defaults; see browsercrawl crawl --help. Default: balanced."
    )
    headed: Switch | None = Field(default=None, description="Show the browser's window. Default: false.")
    user_agent: Words | None = Field(default=None, description="What the browser calls itself.")
    product_token: Words | None = Field(
        default=None, description="The name whose rules in robots.txt are kept. Default: browsercrawl."
    )
    contact: Words | None = Field(
        default=None, description="URL or mail address for sites to turn to; it is put into the user agent."
    )
    proxy: Words | None = Field(default=None, description="Send all traffic through it: http://host:port.")
    playwright_config: Words | None = Field(
        default=None, description="File with Playwright's own launchOptions and contextOptions."
    )


class NetworkPart(Part):
    """What pages may reach."""

    guard: Annotated[Guard, OneOf(GUARDS)] | None = Field(
        default=None,
        description="on: pages cannot reach private addresses; auto: from the first public URL on. Default: auto.",
    )
    allow_private: Switch | None = Field(default=None, description="They can, all of them. Default: false.")
    allow: Hosts | None = Field(
        default=None, description="Hosts that may be private: names, *.domain, addresses, networks."
    )
    deny: Hosts | None = Field(
        default=None, description="Hosts that nothing reaches; private: not even what the seeds name."
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


class HostPart(Part):
    """Another pace towards the hosts that match; the first that matches a host counts."""

    host: Words = Field(description="Matches the hostname, or hostname:port: * is anything, ? one character.")
    delay: Annotated[float, Duration(most_s=86_400, may_be_zero=True)] | None = Field(
        default=None, description="Pause between two visits."
    )
    per_host: AtLeastOne | None = Field(default=None, description="Pages open at the same time.")
    jitter: Annotated[float, Number(0, 10)] | None = Field(
        default=None, description="Share of the delay that is added to it at random, at most: 0.5 is up to half."
    )


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
    hosts: tuple[HostPart, ...] = Field(
        default=(), description="Another pace towards some hosts; the first that matches a host counts."
    )
    handlers: dict[str, Annotated[str, ImportPath()]] = Field(
        default_factory=dict,
        description="By label, the functions that get the pages: module:function. `default`: pages without a label.",
    )
    on_failed: Annotated[str, ImportPath()] | None = Field(
        default=None, description="The function that sees the result of each request that failed: module:function."
    )
    in_scope: Annotated[str, ImportPath()] | None = Field(
        default=None, description="The function that decides in place of links.scope: module:function."
    )
    sinks: tuple[Annotated[str, ImportPath()], ...] = Field(
        default=(), description="Functions that make further destinations of results: module:function."
    )
    network: NetworkPart = NetworkPart()
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
        values["links"] = {} if self.links.follow_traps else {"max_per_path": MAX_PER_PATH}
        for ours, theirs in _FIELDS.items():
            section, leaf = ours.split(".")
            if (value := getattr(getattr(self, section), leaf)) is not None:
                _put(values, theirs, value)
        values["host"]["robots"] = not self.pace.ignore_robots
        if self.pace.delay == "auto":
            values["host"] |= {"delay_s": None, "latency_factor": LATENCY_FACTOR}
        if (failures := self.limits.max_failures) is not None:
            _put(values, f"limits.{'max_failures' if isinstance(failures, int) else 'max_failure_share'}", failures)
        if (hosts := self.visit.block_hosts) is not None:
            _put(values, "browser.block_hosts", read_hosts(hosts, Path(self.base or "")))
        values["sessions"] = config_of(self.sessions, Path(self.base or ""))
        values["rules"] = [_rule_fields(rule) for rule in self.rules]
        values["hosts"] = [_host_fields(host) for host in self.hosts]
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
    "links.hosts": "links.hosts",
    "links.include": "links.include",
    "links.exclude": "links.exclude",
    "links.follow_traps": "links.follow_traps",
    "links.keep_fragments": "links.keep_fragments",
    "links.sort_query": "links.sort_query",
    "limits.max_requests": "links.max_requests",
    "limits.max_per_host": "links.max_per_host",
    "limits.max_per_path": "links.max_per_path",
    "limits.max_time": "limits.max_time_s",
    "limits.max_download": "visit.max_download_bytes",
    "limits.max_disk": "limits.max_disk_bytes",
    "limits.max_bytes": "limits.max_bytes",
    "pace.concurrency": "concurrency",
    "pace.memory": "memory_limit_bytes",
    "pace.delay": "host.delay_s",
    "pace.delay_by": "host.by",
    "pace.per_host": "host.per_host",
    "pace.rate": "rate",
    "network.guard": "network.guard",
    "network.allow_private": "network.allow_private",
    "network.allow": "network.allow",
    "network.deny": "network.deny",
    "browser.profile": "profile",
    "browser.user_agent": "browser.user_agent",
    "browser.product_token": "browser.product_token",
    "browser.contact": "browser.contact",
    "browser.proxy": "browser.proxy",
}
"""Where a field of the job goes in the configuration; what is not here goes there by code."""


def place_of(location: tuple[str | int, ...], job: Job) -> tuple[str | int, ...]:
    """Return the place in a job of a field of its configuration, as pydantic names it; () for one of several."""
    if location[:1] == ("sessions",):
        return place_in_sessions(location, list(job.sessions.profiles))
    key = ".".join(map(str, location[:2]))
    if key == "browser.block_hosts":
        return ("visit", "block_hosts")
    if location[:1] in {("rules",), ("hosts",)}:
        return tuple(str(step).removesuffix("_s") if isinstance(step, str) else step for step in location[:3])
    return next((tuple(ours.split(".")) for ours, theirs in _FIELDS.items() if theirs == key), ())


def _rule_fields(rule: RulePart) -> dict[str, Any]:
    fields = {name: value for name in RulePart.model_fields if (value := getattr(rule, name)) is not None}
    return {"timeout_s" if name == "timeout" else name: value for name, value in fields.items()}


def _host_fields(host: HostPart) -> dict[str, Any]:
    names = {"host": "host", "delay": "delay_s", "per_host": "per_host", "jitter": "jitter"}
    return {theirs: value for ours, theirs in names.items() if (value := getattr(host, ours)) is not None}


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
