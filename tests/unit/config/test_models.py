"""The configuration: defaults, profiles, and what is refused and how."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from browsercrawl.config import BrowserConfig, CrawlerConfig, PoolConfig, RecycleConfig
from browsercrawl.errors import ConfigError
from browsercrawl.version import VERSION


def test_config_defaults_are_those_of_the_contract() -> None:
    """Deadline 60 s, two retries, `load`, depth 0, scope host, no delay in the Python API, drain 8 s."""
    config = CrawlerConfig()
    assert (config.visit.timeout_s, config.retry.retries, config.visit.wait_until) == (60, 2, "load")
    assert (config.links.depth, config.links.scope, config.links.max_requests) == (0, "host", None)
    assert (config.host.delay_s, config.drain_s, config.output, config.profile) == (0, 8, None, "balanced")
    assert config.visit.capture == {"html", "text", "links"}
    assert (config.pool.recycle.page_visits_max, config.pool.recycle.page_growth_bytes_max) == (25, 64_000_000)


def test_config_every_field_is_described() -> None:
    """Each option says what it is."""
    for model in (CrawlerConfig, *(field.annotation for field in CrawlerConfig.model_fields.values())):
        if isinstance(model, type) and issubclass(model, BaseModel):
            for name, field in model.model_fields.items():
                nested = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
                assert nested or field.description, f"{model.__name__}.{name}"


@pytest.mark.parametrize(
    ("profile", "reuse", "binary", "per_site"),
    [("faithful", "never", "full", False), ("balanced", "clean", "shell", False), ("lean", "keep", "shell", True)],
)
def test_config_profile_sets_defaults_only(profile: Any, reuse: str, binary: str, per_site: bool) -> None:
    """A profile fills in what was not given, also where some fields of a part were; given values win."""
    config = CrawlerConfig(profile=profile)
    assert (config.pool.reuse, config.browser.binary, config.browser.process_per_site) == (reuse, binary, per_site)
    mixed = CrawlerConfig(profile=profile, pool=PoolConfig(recycle=RecycleConfig(page_visits_max=3)))
    assert (mixed.pool.reuse, mixed.pool.recycle.page_visits_max) == (reuse, 3)
    given = CrawlerConfig.load({"profile": profile, "pool": {"reuse": "clean"}})
    assert given.pool.reuse == "clean"


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"concurency": 3}, "concurency"),
        ({"concurrency": 0}, "concurrency"),
        ({"concurrency": "many"}, "concurrency"),
        ({"visit": {"timeout_s": 0}}, "visit.timeout_s"),
        ({"visit": {"wait_until": "soon"}}, "visit.wait_until"),
        ({"retry": {"backoff_s": 9, "backoff_max_s": 1}}, "backoff_max_s"),
        ({"pool": {"contexts_max": 1}, "concurrency": 4}, "contexts_max"),
        ({"visit": {"save": ["html"]}}, "set output"),
        ({"browser": {"headed": True}}, "headed"),
        ({"profile": "quick"}, "profile"),
        ({"profile": ["lean"]}, "profile"),
        ({"pool": 5}, "pool"),
        ({"pool": None}, "pool"),
    ],
)
def test_config_wrong_value_is_named(values: dict[str, Any], named: str) -> None:
    """What is wrong, and where, stands in the error; nothing is clamped."""
    for profile in ("balanced", "lean"):
        with pytest.raises(ConfigError, match=named):
            CrawlerConfig.load({"profile": profile, **values})


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"concurency": 3}, "concurency: there is no such key; did you mean concurrency?"),
        ({"concurrency": 0}, "concurrency: must be at least 1 or 'auto', not 0"),
        ({"visit": {"timeout_s": 7200}}, "visit.timeout_s: must be at most 3,600 s, not 7,200 s"),
        ({"visit": {"timeot_s": 7}}, "visit.timeot_s: there is no such key; did you mean timeout_s?"),
        ({"retry": {"retries": "many"}}, "retry.retries: must be a whole number"),
        ({"pool": {"reuse": "x"}}, "pool.reuse: must be 'clean', 'keep' or 'never'"),
        ({"pool": 5}, "pool: must be a mapping"),
    ],
)
def test_config_constructed_with_a_mistake_says_it_in_a_plain_sentence(values: dict[str, Any], sentence: str) -> None:
    """The constructor and `load` raise the same typed error: key with its path, what it must be, what it is."""
    with pytest.raises(ConfigError) as constructed:
        CrawlerConfig(**values)
    with pytest.raises(ConfigError) as loaded:
        CrawlerConfig.load(values)
    assert constructed.value.message == loaded.value.message == sentence


@pytest.mark.parametrize("url", ["http://p:1", "https://p", "socks5://[::1]:9", "http://p:1/"])
def test_config_proxy_that_is_a_server_is_taken(url: str) -> None:
    """The three kinds of proxy that Chromium knows, with or without port."""
    assert BrowserConfig(proxy=url).proxy == url


@pytest.mark.parametrize(
    "url",
    ["nonsense", "p:1", "ftp://p:1", "http://", "http://p:99999", "http://p:x", "http://p:1/a", "http://me:hunter2@p"],
)
def test_config_proxy_that_is_none_is_refused(url: str) -> None:
    """A proxy with which every page would fail is refused at once, without showing what was given."""
    with pytest.raises(ConfigError, match=r"^proxy: .* such as|^proxy: a user name") as raised:
        BrowserConfig(proxy=url)
    assert "hunter2" not in raised.value.message


@pytest.mark.parametrize("where", [{"browser": {"proxy": "socks5://p:1"}}, {"sessions": {"proxies": ["socks5://p:1"]}}])
def test_config_robots_through_socks_needs_the_guards_way(where: dict[str, Any]) -> None:
    """Only the guard speaks SOCKS: while it is off, robots.txt could not be asked, and that is refused at once."""
    CrawlerConfig.load({"host": {"robots": True}, **where})
    CrawlerConfig.load({"network": {"guard": "off"}, **where})
    with pytest.raises(ConfigError, match=r"while network\.guard is off, robots\.txt cannot"):
        CrawlerConfig.load({"host": {"robots": True}, "network": {"guard": "off"}, **where})


def test_config_error_shows_no_value() -> None:
    """A password in a wrong place does not get into the message."""
    with pytest.raises(ConfigError) as raised:
        CrawlerConfig.load({"browser": {"proxy": ["hunter2"]}, "output": {"x": "hunter2"}})
    assert "hunter2" not in str(raised.value)


def test_config_is_immutable_and_survives_json(tmp_path: Path) -> None:
    """What runs is what was given; a dump loads to the same."""
    config = CrawlerConfig(output=tmp_path / "run", concurrency=3)
    with pytest.raises(ValidationError):
        config.concurrency = 5  # type: ignore[misc]  # what this is about
    assert CrawlerConfig.load(config.model_dump(mode="json")) == config


def test_config_numbers_follow_from_concurrency() -> None:
    """`auto` is two per core; contexts are as many as pages, eight at least."""
    assert CrawlerConfig().pages_max >= 2
    assert (CrawlerConfig(concurrency=3).pages_max, CrawlerConfig(concurrency=3).contexts_max) == (3, 8)
    assert CrawlerConfig(concurrency=30).contexts_max == 30


@pytest.mark.parametrize("contact", ["", "me", "javascript:1", "a@b", "https://a.test/ (x)", "a@b.test\r\nX: y"])
def test_config_contact_that_is_none_is_refused(contact: str) -> None:
    """It goes into a header, so it is a URL or a mail address and nothing else."""
    with pytest.raises(ConfigError, match="contact"):
        CrawlerConfig.load({"browser": {"contact": contact}})


@pytest.mark.parametrize("token", ["", "a b", "a/1", "*", "ö", "a" * 65])
def test_config_product_token_that_is_none_is_refused(token: str) -> None:
    """RFC 9309 lets it have letters, underscores and hyphens."""
    with pytest.raises(ConfigError, match="product_token"):
        CrawlerConfig.load({"browser": {"product_token": token}})


def test_config_identification_names_product_and_contact() -> None:
    """The version is that of this crawler, not of who has named his own."""
    own = BrowserConfig(product_token="shop-bot", contact="https://a.test/bot?x=1")
    assert own.identification == "shop-bot (+https://a.test/bot?x=1)"
    assert BrowserConfig(contact="a@b.test").identification == f"browsercrawl/{VERSION} (+a@b.test)"
