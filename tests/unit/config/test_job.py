"""Job files: from YAML to a configuration, and what is said when something is wrong."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from browsercrawl.config import CrawlerConfig
from browsercrawl.config.job import Job, JobFile, literal
from browsercrawl.config.job_models import _FIELDS
from browsercrawl.errors import ConfigError

BASE = Path("/jobs")
SEEDS = "seeds:\n  urls: [http://a.test/]\n"


def _file(text: str, *, seeds: str = SEEDS) -> JobFile:
    return JobFile.read(seeds + text, name="shop.yaml", base=BASE)


def _config(text: str, **environment: str) -> CrawlerConfig:
    return _file(text).resolve(environment).config(Path("runs/x"))


def _refused(text: str, *, seeds: str = SEEDS, **environment: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        _file(text, seeds=seeds).resolve(environment)
    return raised.value.message.split("\n")


# --- what a job means ------------------------------------------------------------------------------------------------


def test_job_with_seeds_alone_has_the_command_lines_defaults() -> None:
    """A job says what it wants to be different; the rest is as `crawl` has it."""
    assert _config("") == CrawlerConfig.load(
        {
            "output": "runs/x",
            "host": {"delay_s": None, "robots": True},
            "visit": {"capture": []},
            "links": {"max_per_path": 1000},
        }
    )


def test_job_every_field_reaches_the_configuration() -> None:
    """Each field sets exactly what it says, in units as people write them."""
    config = _config(
        """
visit: {timeout: 30s, retries: 0, wait_until: commit, wait_for: "#x", block: [image], save: html,
        accept_status: [404, 410]}
links: {depth: 3, scope: list, hosts: "a.test, *.b.test", include: ["*/a,b/*"], exclude: "*.pdf,*.zip",
        follow_traps: true, keep_fragments: true, sort_query: yes}
limits: {max_requests: 9, max_per_host: 4, max_per_path: 5, max_time: 2h, max_failures: 10%, max_disk: 1GiB}
pace: {concurrency: 7, delay: 250ms, delay_by: domain, per_host: 2, rate: 20, ignore_robots: true}
browser: {profile: lean, user_agent: me, proxy: "http://p:1"}
rules:
  - {url: "*/product/*", handler: product, timeout: 5s, save: "html, screenshot"}
  - {label: list, wait_until: load, wait_for: .x, accept_status: 404}
hosts:
  - {host: "*.slow.test", delay: 5s, per_host: 1, jitter: 0.5}
handlers: {product: "shop:product"}
"""
    )
    assert config == CrawlerConfig.load(
        {
            "output": "runs/x",
            "profile": "lean",
            "concurrency": 7,
            "visit": {
                "timeout_s": 30, "wait_until": "commit", "wait_for": "#x", "save": ["html"],
                "accept_status": [404, 410], "capture": ["links"],
            },
            "retry": {"retries": 0},
            "host": {"delay_s": 0.25, "per_host": 2, "by": "domain"},
            "hosts": [{"host": "*.slow.test", "delay_s": 5, "per_host": 1, "jitter": 0.5}],
            "rate": 20,
            "links": {
                "depth": 3, "scope": "list", "hosts": ["a.test", "*.b.test"], "include": ["*/a,b/*"],
                "exclude": ["*.pdf", "*.zip"], "follow_traps": True, "max_requests": 9, "max_per_host": 4,
                "max_per_path": 5, "keep_fragments": True, "sort_query": True,
            },
            "limits": {"max_time_s": 7200, "max_failure_share": 0.1, "max_disk_bytes": 2**30},
            "browser": {"block": ["image"], "user_agent": "me", "proxy": "http://p:1"},
            "rules": [
                {"url": "*/product/*", "handler": "product", "timeout_s": 5, "save": ["html", "screenshot"]},
                {"label": "list", "wait_until": "load", "wait_for": ".x", "accept_status": [404]},
            ],
        }
    )  # fmt: skip


def test_job_every_leaf_is_known_to_the_configuration() -> None:
    """No field of the sections can be forgotten on its way; those that go another way are named here."""
    elsewhere = {"limits.max_failures", "pace.ignore_robots", "browser.headed", "browser.playwright_config"}
    elsewhere |= {"visit.block_hosts"}
    sections = ("visit", "links", "limits", "pace", "browser", "network")
    leaves = {f"{part}.{leaf}" for part in sections for leaf in type(getattr(_job(""), part)).model_fields}
    assert leaves == set(_FIELDS) | elsewhere


def _job(text: str, **environment: str) -> Job:
    return _file(text).resolve(environment)


def test_job_failures_are_a_number_or_a_share() -> None:
    """`50` and `50%` are two limits."""
    assert _config("limits: {max_failures: 50}").limits.max_failures == 50
    assert _config("limits: {max_failures: 50%}").limits.max_failure_share == 0.5


def test_job_delay_auto_adds_to_the_default() -> None:
    """`auto` leaves the least delay as it is without it, and has the host's own speed count."""
    host = _config("pace: {delay: auto}").host
    assert (host.delay_s, host.latency_factor) == (None, 5.0)


def test_job_headed_takes_the_full_browser() -> None:
    """The headless shell has no window."""
    assert _config("browser: {headed: true, profile: lean}").browser.binary == "full"


def test_job_sections_without_content_count_as_left_out() -> None:
    """All lines of a section may be commented out."""
    assert _config("visit:\n  # timeout: 3s\nrules:\nhandlers:\n") == _config("")


def test_job_seeds_are_urls_requests_file_and_sitemaps() -> None:
    """What is to be crawled is handed on as it stands; a request may name its session."""
    seeds = """
seeds:
  urls:
    - http://a.test/
    - {url: "http://b.test/", session: anna, data: {n: 1, when: 2024-01-01, none: null}}
    - nonsense
  file: urls.txt
  sitemap: http://a.test/sitemap.xml
"""
    job = _file("", seeds=seeds).resolve({})
    data = {"n": 1, "when": "2024-01-01", "none": None}
    request = {"url": "http://b.test/", "session": "anna", "data": data}
    assert job.seeds.urls == ("http://a.test/", request, "nonsense")
    assert (job.seeds.file, job.seeds.sitemap) == ("urls.txt", ("http://a.test/sitemap.xml",))


def test_job_sitemaps_of_robots_stand_beside_addresses() -> None:
    """The word is handed on as it stands, alone or in a list."""
    for sitemap, wanted in (("robots", ("robots",)), ("[robots, http://a.test/s]", ("robots", "http://a.test/s"))):
        job = _file("", seeds=f"seeds: {{urls: [http://a.test/], sitemap: {sitemap}}}").resolve({})
        assert job.seeds.sitemap == wanted


# --- YAML ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("visit: {timeout: 1:30}", "visit.timeout: '1:30': write a number and one of ms, s, m, h, such as 30s"),
        ("visit: {timeout: 30}", "visit.timeout: '30': write a number and one of ms, s, m, h, such as 30s"),
        ("visit: {timeout: 2h}", "visit.timeout: must be at most 3,600 s, not 7,200 s"),
        ("visit: {timeout: 0}", "visit.timeout: must be more than 0 s, not 0 s"),
        ("visit: {timeout: true}", "visit.timeout: 'true': write a number and one of ms, s, m, h, such as 30s"),
        ("visit: {timeout: }", "visit.timeout: has no value; write one, or leave the line out"),
        ("visit: {retries: true}", "visit.retries: must be a whole number"),
        ("visit: {retries: 1_000}", "visit.retries: must be a whole number"),
        ("visit: {retries: 101}", "visit.retries: must be at most 100, not 101"),
        ("visit: {save: htm}", "visit.save: 'htm' is not one of html, text, markdown, screenshot, pdf, mhtml"),
        ("visit: {accept_status: 40}", "visit.accept_status: must be at least 100, not 40"),
        ("visit: {wait_for: ''}", "visit.wait_for: must not be empty"),
        ("links: {scope: off}", "links.scope: 'off' is not one of host, domain"),
        ("links: {depth: -1}", "links.depth: must be at least 0, not -1"),
        ("links: {sort_query: maybe}", "links.sort_query: must be true or false"),
        ("limits: {max_disk: 3}", "limits.max_disk: '3': write a number and one of B, KB, MB, GB, KiB, MiB, GiB,"),
        ("limits: {max_failures: 0%}", "limits.max_failures: must be more than 0% and at most 100%, not 0%"),
        ("limits: {max_failures: many}", "limits.max_failures: 'many': write a whole number such as 50, or a share"),
        ("pace: {concurrency: 0}", "pace.concurrency: must be at least 1, not 0"),
        ("pace: {concurrency: some}", "pace.concurrency: must be a whole number or auto"),
        ("browser: {user_agent: 1.10}", "browser.user_agent: must be text; put it in quotes"),
        ("browser: {proxy: nonsense}", "browser.proxy: must be the URL of an http, https or socks5 proxy"),
        ("browser: 3", "browser: must be a mapping"),
        ("rules: 3", "rules: must be a list"),
        ("rules: [{handler: x}]", "rules[1]: a rule needs url or label"),
        ("rules: [{url: x, handler: y}]", "rules[1].handler: names no handler of this job; there are none"),
        ("handlers: {x: shop.x}", "handlers.x: 'shop.x': write module:function"),
        ("sinks: [1]", "sinks[1]: '1': write module:function"),
        ("base: 3", "base: must be text"),
        ("visit: {wait-until: load}", "visit.wait-until: there is no such key; did you mean wait_until?"),
        ("timeout: 3s", "timeout: there is no such key; did you mean visit.timeout?"),
        ("rules: [{url: x, foo: 1}]", "rules[1].foo: there is no such key; there are url, label, handler,"),
        ("visit: {retries: 1, retries: 2}", "visit.retries: stands here a second time; the first is on line 3"),
        ("visit: &x {retries: 1}\nlinks: *x", "links: aliases (*name) are not taken here"),
        ("visit: !!python/object:os.system {}", "visit: tags such as tag:yaml.org,2002:python/object:os.syste"),
        ("visit: [", "not YAML: "),
        ("visit:\n\t- x", "not YAML: found character '\\t' that cannot start any token; indent with spaces"),
        ("visit: {wait_for: ${X}}", 'inside [ ] and { } write references in quotes: "${NAME}"'),
        ("visit: \x01", "not YAML: a character that no text file should hold"),
        ("---\na: 1", "not YAML: expected a single document in the stream, but found another document"),
    ],
)  # fmt: skip
def test_job_wrong_line_is_told_with_file_line_and_field(line: str, told: str) -> None:
    """Nothing that YAML would make of a value corrupts it: it is taken for what was meant, or refused in one clause."""
    (only,) = _refused(line)
    assert re.match(r"shop\.yaml, line [345](, |: not YAML)", only)
    assert told in only


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "shop.yaml: is empty; browsercrawl init writes an example"),
        ("# nothing\n", "shop.yaml: is empty; browsercrawl init writes an example"),
        ("- a\n", "shop.yaml, line 1: must be a mapping; browsercrawl init writes an example"),
        ("visit: {}\n", "shop.yaml, line 1: nothing to crawl: give seeds with urls, file or sitemap"),
        ("seeds:\n", "shop.yaml, line 1: nothing to crawl: give seeds with urls, file or sitemap"),
        ("seeds: {urls: []}\n", "shop.yaml, line 1, seeds: nothing to crawl: give urls, file or sitemap"),
        ("seeds:\n  urls:\n  - {url: x, sesion: y}\n", "shop.yaml, line 3, seeds.urls[1]: sesion: there is no such"),
        ("seeds: {sitemap: here}\n", "shop.yaml, line 1, seeds.sitemap: not a URL: 'here'"),
        ("seeds: {file: x, sitemap: robots}\n", "shop.yaml, line 1, seeds: sitemap: robots stands for"),
        ("[" * 5000, "shop.yaml: is nested too deeply"),
    ],
)  # fmt: skip
def test_job_that_says_nothing_to_do_is_refused(text: str, told: str) -> None:
    """A file that is no job says so, and where."""
    (only,) = _refused("", seeds=text)
    assert only.startswith(told)


def test_job_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    """Nobody corrects a file line by line, one run after the other."""
    told = _refused("pace: {delay: 3}\nvisit: {retires: 3}\nlinks: {depth: x}\nbrowser: {user_agent: '${NO}'}\n")
    assert [line.partition(":")[0] for line in told] == [
        "shop.yaml, line 3, pace.delay",
        "shop.yaml, line 4, visit.retires",
        "shop.yaml, line 5, links.depth",
        "shop.yaml, line 6, browser.user_agent",
    ]


# --- references ------------------------------------------------------------------------------------------------------


def test_reference_takes_the_variable_and_is_not_looked_at_again() -> None:
    """What the environment gives is a value: no references, no YAML in it."""
    config = _config("browser: {user_agent: 'x ${A} ${B}'}\nvisit: {retries: '${N}'}", A="${B}", B="b: [", N="4")
    assert config.browser.user_agent == "x ${B} b: ["
    assert config.retry.retries == 4


def test_reference_that_is_missing_or_malformed_names_place_and_variable() -> None:
    """A secret that was not set is noticed before anything starts."""
    missing, malformed = _refused("browser: {user_agent: 'a ${TOKEN}'}\nvisit: {wait_for: '${'}")
    assert missing == "shop.yaml, line 3, browser.user_agent: the environment has no variable TOKEN"
    assert malformed.startswith("shop.yaml, line 4, visit.wait_for: after ${ comes a variable's name and }; write $${")


@pytest.mark.parametrize(
    "field",
    [
        "visit: {timeout: '${S}'}", "visit: {retries: '${S}'}", "visit: {wait_until: '${S}'}", "visit: {save: '${S}'}",
        "visit: {save: ['${S}']}", "links: {depth: '${S}'}", "links: {sort_query: '${S}'}",
        "limits: {max_failures: '${S}%'}",
        "limits: {max_failures: '${S}'}", "limits: {max_disk: '${S}'}", "browser: {proxy: 'http://me:${S}@x'}",
        "handlers: {x: '${S}'}", "pace: {concurrency: '${S}'}", "rules: [{url: x, handler: '${S}'}]",
    ],
)  # fmt: skip
def test_reference_whose_value_is_wrong_is_never_shown(field: str) -> None:
    """What comes from the environment may be a secret that stands in the wrong place."""
    (told,) = _refused(field, S="hunter2")
    assert "hunter2" not in told
    assert told.startswith("shop.yaml, line 3, ")


def test_reference_values_are_in_no_repr_dump_or_stored_text() -> None:
    """What is logged and kept of a job has the reference, or a mark; the crawl itself has the value."""
    text = 'browser: {user_agent: "${S}", proxy: "http://${S}:1"}\nvisit: {wait_for: "a ${S}"}\n'
    file = _file(text + 'rules: [{url: "*${S}"}]', seeds='seeds: {urls: ["http://a.test/?token=${S}"]}\n')
    job = file.resolve({"S": "hunter2"})
    config = job.config(Path("x"))
    assert job.seeds.urls == ("http://a.test/?token=hunter2",)
    assert config.browser.user_agent == "hunter2"
    shown = [repr(job), str(job), repr(config), str(config), config.model_dump_json(), file.stored(), repr(file)]
    assert [each for each in shown if "hunter2" in each] == []
    assert "${S}" in file.stored()
    assert '"user_agent":"[redacted]"' in config.model_dump_json()


@pytest.mark.parametrize("seed", ["'${S}'", "{url: '${S}', label: x}"])
def test_reference_in_a_seed_that_is_no_url_is_refused_without_it(seed: str) -> None:
    """Other wrong URLs become failed results, which show them; this one would show what the environment holds."""
    (told,) = _refused("", seeds=f"seeds:\n  urls:\n    - http://a.test/\n    - {seed}\n", S="hunter2")
    assert told.startswith("shop.yaml, line 4, seeds.urls[2]")
    assert "hunter2" not in told


@given(st.text(alphabet=st.sampled_from("a${}B$\n")))
def test_literal_text_stands_for_itself(text: str) -> None:
    """Whatever is typed on a command line can be put into a job."""
    raw = {"seeds": {"urls": ["http://a.test/"]}, "browser": {"user_agent": f"x{literal(text)}"}}
    assert JobFile(raw, base=BASE).resolve({}).browser.user_agent == f"x{text}"


# --- storing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["plain", "\u2028 \x85 \x7f \ufeff", "🙂 ü", "a: [b] # c", "\ud800", "1:30", "off"])
def test_stored_job_is_the_same_job_and_a_job_file_itself(text: str) -> None:
    """A run can be resumed from what it stored, and its `job.yaml` can be run again, wherever it lies."""
    raw = {"seeds": {"urls": ["http://a.test/"], "file": "urls.txt"}, "browser": {"user_agent": text}}
    file = JobFile(raw, base=BASE)
    again = JobFile.from_stored(file.stored(), name="runs/x")
    assert again.base == BASE
    assert again.resolve({}) == file.resolve({})
    assert again.stored() == file.stored()
    if text != "\ud800":  # YAML has no half characters
        copy = JobFile.read(file.stored(), name="job.yaml", base=Path("/elsewhere"))
        assert copy.base == BASE
        assert copy.resolve({}) == file.resolve({})


def test_base_moves_where_relative_paths_start() -> None:
    """`base` itself is relative to the file."""
    assert _file("base: below/here\n").base == BASE / "below/here"
    assert _file("base: /other\n").base == Path("/other")
    assert _file("").base == BASE


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"base": 3}'])
def test_from_stored_something_else_is_refused(text: str) -> None:
    """A run without a job, made by a Python program, says so instead of failing later."""
    with pytest.raises(ConfigError, match=r"^runs/x: not the job of a run"):
        JobFile.from_stored(text, name="runs/x")


def test_with_value_changes_one_field_and_leaves_the_file_alone() -> None:
    """A run may be resumed with another limit."""
    file = _file("visit:\n")
    other = file.with_value("visit.retries", 7)
    assert other.resolve({}).visit.retries == 7
    assert json.loads(file.stored())["visit"] is None


def test_flags_name_the_option_instead_of_a_place() -> None:
    """A job made of options is told about in their words."""
    raw = {"seeds": {"urls": ["http://a.test/"]}, "visit": {"timeout": "0"}}
    with pytest.raises(ConfigError, match=r"^--timeout: must be more than 0 s, not 0 s$"):
        JobFile(raw, base=BASE, flags={"visit.timeout": "--timeout"}).resolve({})
