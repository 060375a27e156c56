"""From a job to a run in the foreground: what `crawl`, `run`, `resume` and `retry-failed` have in common."""

import asyncio
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from browsercrawl.cli.arguments import BadUsage
from browsercrawl.cli.foreground import Foreground, Reporting, resume_command
from browsercrawl.cli.loading import importable, load_code
from browsercrawl.cli.seeds import OwnedSeeds, open_urls
from browsercrawl.cli.settings import browser_fields
from browsercrawl.cli.terminal import near, printable
from browsercrawl.clock import SystemClock
from browsercrawl.config import CrawlerConfig
from browsercrawl.config.job import Job, JobFile, literal
from browsercrawl.config.playwright_file import find_playwright_file
from browsercrawl.crawler.inputs import JobSeeds, Pipe
from browsercrawl.dispatcher import DurableSeeds
from browsercrawl.errors import BrowsercrawlError, InputError, InvalidURL, UsageError
from browsercrawl.output import default_run_directory
from browsercrawl.request import Request
from browsercrawl.urls import address

STANDARD_INPUT = "-"

_EXTRAS = {"markdown": ("markdownify",), "sitemap": ("defusedxml", "httpx")}
"""What an extra of the package brings."""


def read_job(path: Path) -> JobFile:
    """Read a job file.

    Raises:
        BadUsage: it cannot be read. ConfigError: it is no YAML.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise BadUsage(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadUsage(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from error
    return JobFile.read(text, name=str(path), base=path.absolute().parent)


def start_job(file: JobFile, *, reporting: Reporting, output: Path | None = None) -> int:
    """Run a job from the beginning, into a new directory.

    Args:
        file: the job.
        reporting: what is shown.
        output: the run directory; None: as the job says, or one named after time and host.

    Returns:
        The exit code.

    Raises:
        UsageError: something is wrong with the job; nothing was started or made.
    """
    job = file.resolve(os.environ)
    _check_urls(job, file)
    if output is None and job.output.directory is not None:
        output = file.base / job.output.directory
    if job.browser.playwright_config is None and (found := find_playwright_file(Path.cwd())) is not None:
        file = file.with_value("browser.playwright_config", literal(str(found)))  # for who resumes it from elsewhere
    directory = output or default_run_directory(_host(job), SystemClock())
    return run_job(file, directory=directory, resume=False, reporting=reporting)


def run_job(file: JobFile, *, directory: Path, resume: bool, reporting: Reporting) -> int:
    """Run a job, or go on with it, in the foreground.

    Args:
        file: the job.
        directory: of the run.
        resume: the directory holds the run already.
        reporting: what is shown.

    Returns:
        The exit code.

    Raises:
        UsageError: something is wrong with the job; nothing was started or made.
        BrowsercrawlError: the run could not go on.
    """
    job = file.resolve(os.environ)
    config = configuration(job, directory=directory, resume=resume)
    _check_extras(job, file, config)
    with importable(file.base), _opened_input(job, file, directory if resume else None) as opened:
        code = load_code(job, file)
        seeds: DurableSeeds = JobSeeds(
            urls=job.seeds.urls, file=opened, sitemaps=job.seeds.sitemap, directory=directory, config=config
        )
        if job.seeds.session is not None:
            seeds = OwnedSeeds(seeds, session=job.seeds.session, links=config.links)
        foreground = Foreground(config, reporting, code=code, job=file.stored())
        try:
            return asyncio.run(foreground.crawl(seeds)).exit_code
        except (KeyboardInterrupt, BrowsercrawlError) as error:
            if not isinstance(error, UsageError) and (directory / "run.sqlite").exists():
                print(printable(f"browsercrawl: go on with: {resume_command(directory)}"), file=sys.stderr)
            raise


def configuration(job: Job, *, directory: Path, resume: bool) -> CrawlerConfig:
    """Make the configuration of a job's run; the Playwright file is read anew each time.

    Raises:
        ConfigError: that file cannot be read, or something in it is wrong.
    """
    path = job.browser.playwright_config
    fields = {}
    if path is not None or not resume:
        fields = browser_fields(Path(job.base or "") / path if path is not None else None)
    return job.config(directory, resume=resume, browser=fields)


def _check_extras(job: Job, file: JobFile, config: CrawlerConfig) -> None:
    saved = {"visit": config.visit.save} | {
        f"rules.{index}": rule.save for index, rule in enumerate(config.rules) if rule.save
    }
    for part, kinds in saved.items():
        if "markdown" in kinds:
            _require("markdown", f"{file.place(*_steps(part), 'save')}: markdown")
    if job.seeds.sitemap:
        _require("sitemap", f"{file.place('seeds', 'sitemap')}: reading sitemaps")


def _require(extra: str, what: str) -> None:
    if any(find_spec(module) is None for module in _EXTRAS[extra]):
        raise BadUsage(f"{what} needs more than the bare package; type: pip install 'browsercrawl[{extra}]'")


def _steps(dotted: str) -> Iterable[str | int]:
    return (int(step) if step.isdigit() else step for step in dotted.split("."))


@contextmanager
def _opened_input(job: Job, file: JobFile, resumed: Path | None) -> Iterator[Path | Pipe | None]:
    """Look at the job's file of URLs and keep it open; a message about it names its place in the job."""
    path = job.seeds.file
    if path is not None and path != STANDARD_INPUT:
        path = str(near(file.base / path))
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(open_urls(path, resumed=resumed))
        except BadUsage as error:
            place = file.place("seeds", "file")
            where = place if place.startswith("--") else f"{place}:"
            raise BadUsage(f"{where} {error.message.removeprefix('--urls-file ')}") from error
        yield opened


def _check_urls(job: Job, file: JobFile) -> None:
    """Refuse a list in which no URL can be crawled: better before anything has started."""
    wrong = [_wrong_url(url) for url in job.seeds.urls]
    if wrong and all(wrong):
        first = job.seeds.urls[0]
        meant = "" if not isinstance(first, str) or ":" in first else f"; did you mean https://{first} ?"
        raise BadUsage(f"{file.place('seeds', 'urls', 0)}: {wrong[0]}{meant}")


def _wrong_url(listed: Any) -> str:
    """Return what is wrong with a listed URL or request; nothing if it can be crawled."""
    try:
        if isinstance(listed, str):
            _ = Request.from_json(listed) if listed.startswith("{") else Request(url=listed)
        else:
            Request(**listed)
    except (InvalidURL, InputError) as error:
        return error.message
    return ""


def _host(job: Job) -> str:
    """Return what the run directory is named after."""
    first = job.seeds.urls[0] if job.seeds.urls else None
    for url in (first.get("url") if isinstance(first, dict) else first, *job.seeds.sitemap):
        try:
            return address(url).host.removesuffix(":443").removesuffix(":80") if isinstance(url, str) else "urls"
        except InvalidURL:
            continue
    return "urls"
