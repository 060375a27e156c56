"""The configuration of a crawler: frozen models, one per concept, composed in `CrawlerConfig`."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from browsercrawl.config.host_list import HOSTS_MAX, host_name, host_pattern
from browsercrawl.config.model import ConfigModel, Seconds, check_proxy
from browsercrawl.config.network import NetworkConfig
from browsercrawl.config.sessions import Pattern, SessionsConfig, is_like
from browsercrawl.request import Capture, Isolation, WaitUntil
from browsercrawl.version import VERSION

Profile = Literal["faithful", "balanced", "lean"]
"""A set of defaults: `faithful` like a person's browser, `balanced` safe and cheap, `lean` the cheapest."""

ResourceType = Literal["image", "font", "media", "stylesheet"]
"""What may be blocked: nothing a page's text depends on."""

Saved = Literal["html", "text", "markdown", "screenshot", "pdf", "mhtml", "download"]
"""What a run directory may keep of each page; `download`: the files that come in its place, or that it starts."""

AUTO_PAGES_MAX = 64
"""More pages at once than that bring nothing to one event loop and one browser."""

CONTEXTS_MIN = 8
"""Warm contexts kept at least, whatever the concurrency: a login session is dear to reopen, an idle context is not."""


PRODUCT = "browsercrawl"
"""The product token of this crawler (RFC 9309, section 2.2.1)."""

_TOKEN = re.compile(r"[A-Za-z_-]{1,64}")
_CONTACT = re.compile(r"(?=.{1,200}\Z)(?:https?://[!#-'*-;=?A-~]+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+)", re.ASCII)
"""Fit for a comment in a header (RFC 9110, section 5.6.5), without quotation marks and brackets."""


class BrowserConfig(ConfigModel):
    """Which Chromium, and how it is started."""

    executable: Path | None = Field(default=None, description="Path of the Chromium to use; None: look for one.")
    binary: Literal["shell", "full"] = Field(default="shell", description="Headless shell (cheaper) or full Chromium.")
    headed: bool = Field(default=False, description="Show the browser's window; needs full Chromium and a display.")
    process_per_site: bool = Field(
        default=False, description="All pages of a site share one renderer: cheaper, one fate."
    )
    sandbox: Literal["auto", "require", "off"] = Field(
        default="auto", description="auto: use Chromium's sandbox where it starts, else warn; require: else refuse."
    )
    block: frozenset[ResourceType] = Field(default=frozenset(), description="Resource types never fetched.")
    block_hosts: frozenset[str] = Field(
        default=frozenset(), description="Hosts from which nothing is fetched, with all names below them."
    )
    user_agent: str | None = Field(default=None, description="None: Chromium's own.")
    product_token: str = Field(default=PRODUCT, description="The name that robots.txt is looked through for.")
    contact: str | None = Field(
        default=None, description="URL or mail address for sites to turn to; the user agent then names it and us."
    )
    proxy: str | None = Field(
        default=None, description="Proxy of all sessions that have none of their own: http://host:port."
    )
    launch_options: dict[str, Any] = Field(default_factory=dict, description="Playwright's launch options, snake_case.")
    context_options: dict[str, Any] = Field(
        default_factory=dict, description="Playwright's context options, snake_case."
    )
    launch_limit_s: Annotated[float, Field(gt=0, le=600)] = Field(
        default=60, description="A launch may take this long."
    )

    @property
    def identification(self) -> str:
        """What asks for robots.txt, and stands behind Chromium's own user agent if there is a contact."""
        product = f"{PRODUCT}/{VERSION}" if self.product_token == PRODUCT else self.product_token
        return f"{product} (+{self.contact})" if self.contact else product

    @field_validator("product_token")
    @classmethod
    def _check_product_token(cls, token: str) -> str:
        if not _TOKEN.fullmatch(token):
            raise ValueError("must be letters, - and _ alone, 64 at most, such as my-crawler")
        return token

    @field_validator("contact")
    @classmethod
    def _check_contact(cls, contact: str | None) -> str | None:
        if contact is not None and not _CONTACT.fullmatch(contact):
            raise ValueError("must be an http or https URL or a mail address, such as https://example.com/crawler")
        return contact

    @field_validator("block_hosts")
    @classmethod
    def _check_hosts(cls, hosts: frozenset[str]) -> frozenset[str]:
        if len(hosts) > HOSTS_MAX:
            raise ValueError(f"{len(hosts):,} hosts; {HOSTS_MAX:,} are the limit")
        return frozenset(map(host_name, hosts))

    @field_validator("proxy")
    @classmethod
    def _check_proxy(cls, proxy: str | None) -> str | None:
        if proxy is not None and "@" in proxy:
            raise ValueError("a user name and password belong into sessions.proxies, or a session's own proxy")
        if proxy is not None:
            check_proxy(proxy)
        return proxy


class RecycleConfig(ConfigModel):
    """When pages, contexts and browsers are replaced, so that a week is like the first minute; each up to 10 % earlier.

    The defaults were measured: see docs/benchmarks.md.
    """

    page_visits_max: int = Field(default=25, ge=1, description="A page is replaced after so many visits.")
    page_age_max_s: Annotated[float, Field(gt=0)] = Field(default=1800, description="Or when it is so old.")
    page_growth_bytes_max: int = Field(
        default=64_000_000, ge=0, description="Or when its renderer has grown by so much."
    )
    page_bytes_max: int = Field(
        default=2_000_000_000, ge=1, description="A page whose renderer holds more is killed in mid-visit."
    )
    context_visits_max: int = Field(default=1000, ge=1, description="A context is replaced after so many visits.")
    context_age_max_s: Annotated[float, Field(gt=0)] = Field(default=7200, description="Or when it is so old.")
    browser_visits_max: int = Field(default=10_000, ge=1, description="A browser is replaced after so many visits.")
    browser_age_max_s: Annotated[float, Field(gt=0)] = Field(default=21_600, description="Or when it is so old.")
    browser_bytes_max: int = Field(
        default=1_500_000_000, ge=1, description="Or when it holds so much, its driver included, its pages not."
    )


class PoolConfig(ConfigModel):
    """How pages and contexts are lent, reused and replaced."""

    reuse: Literal["clean", "keep", "never"] = Field(
        default="clean",
        description="clean: pages are reused and cleaned; keep: reused as they are; never: a new page each.",
    )
    recycle: RecycleConfig = RecycleConfig()
    contexts_max: int | None = Field(
        default=None, ge=1, description="Open contexts; None: as many as pages, 8 at least."
    )
    tab_storage: Literal["clear", "keep"] = Field(
        default="clear", description="keep: sessionStorage survives from visit to visit, for apps with a token in it."
    )
    isolation: Isolation = Field(default="session", description="request: every request gets a context of its own.")
    acquire_limit_s: Annotated[float, Field(gt=0)] = Field(
        default=60, description="Making a page ready may take this long."
    )
    close_limit_s: Annotated[float, Field(gt=0)] = Field(
        default=5, description="Closing a page or a context, likewise."
    )


class VisitConfig(ConfigModel):
    """How a page is visited and what is taken from it."""

    timeout_s: Annotated[float, Field(gt=0, le=3600)] = Field(default=60, description="Deadline over a whole visit.")
    wait_until: WaitUntil = Field(default="load", description="When the navigation counts as done.")
    wait_for: str | None = Field(default=None, description="Selector that must be present in the DOM.")
    capture: frozenset[Capture] = Field(
        default=frozenset({"html", "text", "links"}), description="What each result carries besides the title."
    )
    save: frozenset[Saved] = Field(default=frozenset(), description="What goes to the run directory's artifacts.")
    accept_status: frozenset[int] = Field(
        default=frozenset(), description="HTTP statuses taken as success besides 2xx."
    )
    max_download_bytes: int = Field(
        default=100_000_000, ge=1, description="Of each file that `save` keeps as `download`; a larger one is an error."
    )
    salvage: bool = Field(
        default=False, description="A page that hangs is interrupted at its deadline, and what it shows is taken."
    )


class RetryConfig(ConfigModel):
    """How often and when a failed visit is tried again."""

    retries: int = Field(default=2, ge=0, le=100, description="Further attempts after the first.")
    backoff_s: Seconds = Field(default=1.0, description="Pause before the first retry; doubles with each.")
    backoff_max_s: Seconds = Field(default=60.0, description="The pause never grows past this.")
    stalls_max: int = Field(
        default=3, ge=1, description="Deaths of the browser, while visited alone, before giving up."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.backoff_max_s < self.backoff_s:
            raise ValueError(f"backoff_max_s ({self.backoff_max_s}) is below backoff_s ({self.backoff_s})")
        return self


class HostConfig(ConfigModel):
    """Restraint towards each host:port."""

    robots: bool = Field(default=False, description="Visit only what robots.txt allows, at the pace that it asks for.")
    delay_s: Seconds | None = Field(default=0.0, description="Between two starts; None: 1 s, and 0 on loopback.")
    per_host: int | None = Field(default=None, ge=1, description="Pages at once; None: as many as the delay allows.")
    jitter: Annotated[float, Field(ge=0, le=10)] = Field(
        default=0.0, description="Share of the delay added at random, at most: 0.5 is up to half as much again."
    )
    latency_factor: Annotated[float, Field(ge=0, le=100)] = Field(
        default=0.0, description="Delay at least so many times what the host takes to answer, up to 60 s; 0: not."
    )
    by: Literal["host", "domain"] = Field(
        default="host", description="domain: all hosts of a registrable domain are one host in all of this."
    )
    failures_max: int | None = Field(
        default=10,
        ge=1,
        description="No connection or a 5xx so often in a row: left alone for a while, in the end given up; None: no.",
    )
    defer_s: Seconds = Field(
        default=60.0, description="Pause after 429 or 503 without Retry-After, or such failures; doubles."
    )
    defer_max_s: Seconds = Field(default=3600.0, description="No pause is longer, whatever the host asks for.")


class HostRule(ConfigModel):
    """Another restraint towards the hosts that match; the first rule that matches a host counts.

    Example:
        >>> HostRule(host="*.example.com", delay_s=5).host
        '*.example.com'
    """

    host: str = Field(
        min_length=1, description="Matches the hostname, or hostname:port, or with `by` domain that: * is anything."
    )
    delay_s: Seconds | None = Field(default=None, description="Between two starts; None: as for all.")
    per_host: int | None = Field(default=None, ge=1, description="Pages at once; None: as for all.")
    jitter: Annotated[float, Field(ge=0, le=10)] | None = Field(
        default=None, description="Share of the delay added at random, at most; None: as for all."
    )

    @field_validator("host")
    @classmethod
    def _check_host(cls, host: str) -> str:
        return host_pattern(host)


class LinksConfig(ConfigModel):
    """Which links are followed."""

    depth: int = Field(default=0, ge=0, description="Links followed from a seed; 0: none.")
    scope: Literal["host", "domain", "prefix", "list", "any"] = Field(
        default="host",
        description="Of the seed: host:port, registrable domain, or address up to the last /; list: only `hosts`.",
    )
    hosts: frozenset[Pattern] = Field(
        default=frozenset(), description="These are in scope, whatever the seed; * is anything."
    )
    include: frozenset[Pattern] = Field(
        default=frozenset(), description="Only URLs like one of these, of links and in sitemaps; * is anything."
    )
    exclude: frozenset[Pattern] = Field(
        default=frozenset(), description="No URLs like one of these, likewise; goes first."
    )
    follow_traps: bool = Field(
        default=False, description="Also links that look endless; and session ids in URLs tell pages apart."
    )
    max_requests: int | None = Field(default=None, ge=1, description="Stored requests, seeds included; None: no limit.")
    max_per_host: int | None = Field(default=None, ge=1, description="Stored requests of a host:port; None: no limit.")
    max_per_path: int | None = Field(
        default=None, ge=1, description="Links stored that differ in their query only, of a session; None: no limit."
    )
    keep_fragments: bool = Field(default=False, description="Addresses that differ after # are different pages.")
    sort_query: bool = Field(default=False, description="Addresses that differ in the order of ?a=1&b=2 are the same.")

    @field_validator("hosts")
    @classmethod
    def _check_hosts(cls, hosts: frozenset[str]) -> frozenset[str]:
        return frozenset(map(host_pattern, hosts))

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.scope == "list" and not self.hosts:
            raise ValueError("scope list needs hosts")
        return self


class LimitsConfig(ConfigModel):
    """What ends a run early; it can be resumed with other limits."""

    max_time_s: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Seconds this process may crawl."
    )
    max_failures: int | None = Field(default=None, ge=1, description="Failed requests, by this process.")
    max_failure_share: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="Failed ones among those finished by this process, looked at from 20 on."
    )
    max_disk_bytes: int | None = Field(default=None, ge=1, description="Size of the run directory.")
    max_bytes: int | None = Field(
        default=None, ge=1, description="Sent and received over the network, by this process."
    )


class VisitRule(ConfigModel):
    """Wishes for the requests that match; the first rule that matches a request counts, the request's own go before.

    Example:
        >>> VisitRule(url="*/product/*", wait_for=".price", handler="product").matches("http://a.test/product/1", None)
        True
    """

    url: str | None = Field(default=None, description="Matches the whole URL: * is anything, ? one character.")
    label: str | None = Field(default=None, description="Matches requests with this label.")
    handler: str | None = Field(default=None, description="Label of the handler that gets the page.")
    timeout_s: Annotated[float, Field(gt=0, le=3600)] | None = Field(default=None, description="Deadline, seconds.")
    wait_until: WaitUntil | None = Field(default=None, description="When the navigation counts as done.")
    wait_for: str | None = Field(default=None, description="Selector that must be present in the DOM.")
    save: frozenset[Saved] | None = Field(default=None, description="What goes to the run directory's artifacts.")
    accept_status: frozenset[int] | None = Field(default=None, description="Statuses taken as success besides 2xx.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.url is None and self.label is None:
            raise ValueError("a rule needs url or label, or it would match everything; set those under visit")
        return self

    def matches(self, url: str, label: str | None) -> bool:
        """Tell whether a request with this URL and label is meant."""
        return (self.label is None or self.label == label) and (self.url is None or is_like(url, self.url))


_PROFILES: dict[Profile, dict[str, dict[str, object]]] = {
    "faithful": {"browser": {"binary": "full"}, "pool": {"reuse": "never"}},
    "balanced": {},
    "lean": {"browser": {"process_per_site": True}, "pool": {"reuse": "keep"}},
}


class CrawlerConfig(ConfigModel):
    """Everything a crawler can be told. A profile only sets defaults of the fields not given.

    Raises:
        ConfigError: names each wrong key and what is wrong with it.
    """

    profile: Profile = Field(default="balanced", description="Sets defaults of browser and pool.")
    concurrency: Annotated[int, Field(ge=1, le=1000)] | Literal["auto"] = Field(
        default="auto", description="Pages in use at once, at most; auto: 2 per core at first, then what brings most."
    )
    memory_limit_bytes: int | None = Field(
        default=None, ge=1, description="Memory it may use, browsers included; None: what machine or container have."
    )
    browser: BrowserConfig = BrowserConfig()
    pool: PoolConfig = PoolConfig()
    visit: VisitConfig = VisitConfig()
    retry: RetryConfig = RetryConfig()
    host: HostConfig = HostConfig()
    hosts: tuple[HostRule, ...] = Field(default=(), description="By host; the first that matches counts.")
    rate: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Visits begun per second, over all hosts; None: no limit."
    )
    links: LinksConfig = LinksConfig()
    limits: LimitsConfig = LimitsConfig()
    sessions: SessionsConfig = SessionsConfig()
    network: NetworkConfig = NetworkConfig()
    rules: tuple[VisitRule, ...] = Field(default=(), description="By URL or label; the first that matches counts.")
    output: Path | None = Field(default=None, description="Run directory to make; None: none is made.")
    resume: bool = Field(default=False, description="Go on with the run in `output` if there is one, else make it.")
    drain_s: Seconds = Field(default=8.0, description="Open pages get this long at a stop, then are put back.")
    status_every_s: Annotated[float, Field(gt=0)] = Field(default=5.0, description="Between two status events.")

    @model_validator(mode="before")
    @classmethod
    def _apply_profile(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        merged = dict(values)
        profile = values.get("profile", "balanced")
        for part, defaults in _PROFILES[profile].items() if profile in get_args(Profile) else ():
            given = values.get(part, {})
            given = given.model_dump(exclude_unset=True) if isinstance(given, BaseModel) else given
            if isinstance(given, Mapping):  # else the field's own check says what is wrong with it
                merged[part] = {**defaults, **given}
        return merged

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.pool.contexts_max is not None and self.pool.contexts_max < self.pages_start:
            raise ValueError(
                f"pool.contexts_max ({self.pool.contexts_max}) is below concurrency ({self.pages_start}): "
                "each page in use may need a context of its own"
            )
        if self.output is None and (self.visit.save or any(rule.save for rule in self.rules)):
            raise ValueError("visit.save needs a run directory: set output")
        if self.output is None and (self.resume or self.limits.max_disk_bytes):
            raise ValueError("resume and limits.max_disk_bytes need a run directory: set output")
        proxies = [self.browser.proxy or "", *(proxy.get_secret_value() for proxy in self.sessions.proxies)]
        is_bare = not self.goes_by_ways  # else it is the guard that speaks to the proxy
        if self.host.robots and is_bare and any(proxy.startswith("socks") for proxy in proxies):
            raise ValueError(
                "while network.guard is off, robots.txt cannot be asked through a socks5 proxy: let the guard be auto, "
                "give an http or https proxy, or do not ask (host.robots=False, --ignore-robots)"
            )
        if self.browser.headed and self.browser.binary == "shell":
            raise ValueError("browser.headed needs browser.binary='full': the headless shell has no window")
        return self

    @property
    def saved(self) -> frozenset[Saved]:
        """All that is kept of some page."""
        return self.visit.save.union(*(rule.save for rule in self.rules if rule.save))

    @property
    def needs_ways(self) -> bool:
        """Whether each context goes by a way of the network guard's even while that is off."""
        return self.limits.max_bytes is not None or bool(self.browser.block_hosts)

    @property
    def goes_by_ways(self) -> bool:
        """Whether contexts may go by such ways, and the crawler's own requests do."""
        return self.network.guard != "off" or self.needs_ways

    @property
    def pages_max(self) -> int:
        """Pages in use at once, at most."""
        return AUTO_PAGES_MAX if self.concurrency == "auto" else self.concurrency

    @property
    def pages_start(self) -> int:
        """Pages in use at once, at first."""
        return 2 * (os.cpu_count() or 1) if self.concurrency == "auto" else self.concurrency

    @property
    def contexts_max(self) -> int:
        """Open contexts at once; more only while more pages are in use."""
        return self.pool.contexts_max or max(CONTEXTS_MIN, self.pages_start)

    @classmethod
    def load(cls, values: Mapping[str, Any]) -> Self:
        """Build a configuration from plain values, such as a parsed file.

        Raises:
            ConfigError: names each wrong key and what is wrong with it.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise cls._mistaken(error) from None
