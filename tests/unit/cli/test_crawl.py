"""From options to a job, and to a configuration."""

import re
from pathlib import Path

import pytest

from browsercrawl.cli.arguments import parse
from browsercrawl.cli.crawl import GRAMMAR, OPTIONS, job_of
from browsercrawl.cli.running import configuration
from browsercrawl.config import CrawlerConfig
from browsercrawl.config.job import Job, JobFile
from browsercrawl.errors import ConfigError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work where no `playwright.config.json` is in reach."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _file(*argv: str) -> JobFile:
    return job_of(vars(parse(GRAMMAR, ["http://a.test/", *argv])))


def _job(*argv: str) -> Job:
    return _file(*argv).resolve({})


def _configured(*argv: str) -> CrawlerConfig:
    return configuration(_job(*argv), directory=Path("runs/x"), resume=False)


def test_configuration_without_options_is_polite_and_captures_nothing() -> None:
    """The command line waits between visits to a host, and takes no more of a page than it needs."""
    config = _configured()
    assert config == CrawlerConfig.load(
        {
            "output": "runs/x",
            "host": {"delay_s": None, "robots": True},
            "visit": {"capture": []},
            "links": {"max_per_path": 1000},
        }
    )


def test_configuration_every_option_reaches_its_field() -> None:
    """Each option sets exactly what it says."""
    config = _configured(
        *("--depth", "3", "--scope", "list", "--hosts", "a.test,*.b.test", "--include", "*/a/*", "--exclude", "*.pdf"),
        *("--follow-traps", "--max-per-path", "5"),
        *("--max-requests", "9", "--timeout", "30s", "--retries", "0"),
        *("--wait-until", "commit", "--wait-for", "#x", "--block", "image,font", "--concurrency", "7"),
        *("--delay", "250ms", "--per-host", "2", "--profile", "lean", "--user-agent", "me"),
        *("--proxy", "http://p:1", "--save", "html,text", "--max-time", "2h", "--max-failures", "10%"),
        *("--max-per-host", "4", "--max-disk", "1GiB", "--keep-fragments", "--sort-query"),
        *("--ignore-robots", "--product-token", "it", "--contact", "a@b.test"),
    )
    assert config == CrawlerConfig.load(
        {
            "output": "runs/x",
            "profile": "lean",
            "concurrency": 7,
            "links": {
                "depth": 3, "scope": "list", "hosts": ["a.test", "*.b.test"], "include": ["*/a/*"],
                "exclude": ["*.pdf"], "follow_traps": True, "max_requests": 9, "max_per_host": 4, "max_per_path": 5,
                "keep_fragments": True, "sort_query": True,
            },
            "limits": {"max_time_s": 7200, "max_failure_share": 0.1, "max_disk_bytes": 2**30},
            "visit": {
                "timeout_s": 30, "wait_until": "commit", "wait_for": "#x", "save": ["html", "text"],
                "capture": ["links"],
            },
            "retry": {"retries": 0},
            "host": {"delay_s": 0.25, "per_host": 2, "robots": False},
            "browser": {
                "block": ["image", "font"], "user_agent": "me", "proxy": "http://p:1", "product_token": "it",
                "contact": "a@b.test",
            },
        }
    )  # fmt: skip


def test_job_of_seeds_and_output_are_the_jobs() -> None:
    """What to crawl and where to put it stand in the job as well, so that a run knows them when it is resumed."""
    job = _job("--urls-file", "-", "--sitemap", "http://a.test/s.xml", "--output", "here", "--ignore-robots")
    assert (job.seeds.urls, job.seeds.file) == (("http://a.test/",), "-")
    assert job.seeds.sitemap == ("http://a.test/s.xml",)
    assert (job.output.directory, job.pace.ignore_robots) == ("here", True)


def test_job_of_text_with_a_reference_stands_for_itself() -> None:
    """The shell resolves variables; what it left on the command line is meant as it is."""
    file = job_of(vars(parse(GRAMMAR, ["http://a.test/${X}", "--user-agent", "${Y} $${Z}"])))
    job = JobFile.from_stored(file.stored(), name="x").resolve({"X": "no", "Y": "no", "Z": "no"})
    assert job.seeds.urls == ("http://a.test/${X}",)
    assert job.browser.user_agent == "${Y} $${Z}"


def test_options_every_field_is_one_of_the_job() -> None:
    """Options and job files use the same names; `--urls-file` alone differs, as a job has a section for seeds."""
    fields = {option.field: option for option in OPTIONS if option.field}
    job = _job()
    for field, option in fields.items():
        section, leaf = field.split(".")
        assert leaf in type(getattr(job, section)).model_fields, option.flag
        assert leaf in {option.name, "file", "directory"}
    leaves = {
        f"{part}.{leaf}"
        for part in ("visit", "links", "limits", "pace", "browser")
        for leaf in type(getattr(job, part)).model_fields
    }
    assert leaves - fields.keys() == {"visit.accept_status"}


def test_configuration_playwright_file_above_is_found_and_options_win(folder: Path) -> None:
    """What the file says holds, unless the command line says otherwise."""
    file = folder / "playwright.config.json"
    file.write_text('{"contextOptions": {"locale": "de-DE", "userAgent": "file"}, "launchOptions": {"headless": true}}')
    assert _configured().browser.context_options == {"locale": "de-DE"}
    assert _configured().browser.user_agent == "file"
    assert _configured("--user-agent", "me").browser.user_agent == "me"
    assert _configured("--headed").browser.headed


def test_configuration_playwright_file_named_is_the_one_read(folder: Path) -> None:
    """A named file is read instead of the nearest, and a wrong key in it is told with the nearest valid one."""
    (folder / "playwright.config.json").write_text("nonsense")
    other = folder / "other.json"
    other.write_text('{"contextOptions": {"lokale": "de-DE"}}')
    with pytest.raises(ConfigError, match=r"other.json: contextOptions.lokale .* did you mean locale\?"):
        _configured("--playwright-config", str(other))


def test_configuration_headed_takes_the_full_browser() -> None:
    """A window needs full Chromium, whatever the profile."""
    browser = _configured("--headed", "--profile", "lean").browser
    assert (browser.headed, browser.binary, browser.process_per_site) == (True, "full", True)


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--timeout", "0"], "--timeout: must be more than 0 s, not 0 s"),
        (["--timeout", "2h"], "--timeout: must be at most 3,600 s, not 7,200 s"),
        (["--retries", "101"], "--retries: must be at most 100, not 101"),
        (["--delay", "25h"], "--delay: must be at most 86,400 s, not 90,000 s"),
        (
            ["--proxy", "nonsense"],
            "--proxy: must be the URL of an http, https or socks5 proxy, such as http://host:port",
        ),
    ],
)
def test_configuration_value_out_of_range_names_the_option(argv: list[str], sentence: str) -> None:
    """What the configuration refuses is told in the words of the command line: option, limit and value."""
    with pytest.raises(ConfigError) as raised:
        _configured(*argv)
    assert raised.value.message == sentence


def test_configuration_mistake_in_the_file_is_not_blamed_on_an_option(folder: Path) -> None:
    """A wrong proxy in the file is told with the file's name; `--proxy` was never typed."""
    (folder / "playwright.config.json").write_text('{"launchOptions": {"proxy": {"server": "nonsense"}}}')
    with pytest.raises(ConfigError, match=r"playwright.config.json: proxy: must be") as raised:
        _configured()
    assert "--proxy" not in raised.value.message


def test_options_default_shown_is_the_default_that_holds() -> None:
    """Where the help shows a plain number, duration or word as default, giving it changes nothing."""
    plain = [option for option in OPTIONS if option.field and re.fullmatch(r"\w+", option.default)]
    assert len(plain) > 4
    for option in plain:
        assert _configured(option.flag, option.default) == _configured(), option.flag
