"""`browsercrawl crawl`: pages named on the command line or in a file, into a run directory."""

import asyncio
import re
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from browsercrawl.cli.arguments import BadUsage, Grammar, Option, one_of, some_of, whole_number
from browsercrawl.cli.foreground import Foreground, Reporting
from browsercrawl.cli.seeds import check_urls, open_urls, read_seeds
from browsercrawl.cli.settings import browser_fields
from browsercrawl.clock import SystemClock
from browsercrawl.config import CrawlerConfig, duration_s
from browsercrawl.errors import ConfigError, InvalidURL
from browsercrawl.output import default_run_directory
from browsercrawl.urls import address

_WHAT, _PAGE, _PACE, _BROWSER, _OUT = "What to crawl", "Each page", "Pace", "Browser", "Output"


def concurrency(text: str) -> object:
    """Read `auto` or a number of pages."""
    return text if text == "auto" else whole_number(1, 1000)(text)


OPTIONS = (
    Option(
        flag="--urls-file",
        metavar="FILE",
        group=_WHAT,
        help="More of them: one URL or one JSON request per line; - is standard input. Blank lines and # comments are "
        "passed over.",
    ),
    Option(
        flag="--depth",
        metavar="N",
        group=_WHAT,
        read=whole_number(0),
        field="links.depth",
        default="0",
        help="Follow links up to N steps away.",
    ),
    Option(
        flag="--scope",
        metavar="host|any",
        group=_WHAT,
        read=one_of(("host", "any")),
        field="links.scope",
        default="host",
        help="Where links may lead: to the host and port they were found from, or anywhere.",
    ),
    Option(
        flag="--max-requests",
        metavar="N",
        group=_WHAT,
        read=whole_number(1),
        field="links.max_requests",
        default="no limit",
        help="Take no more requests than this, the first ones included.",
    ),
    Option(
        flag="--timeout",
        metavar="TIME",
        group=_PAGE,
        read=duration_s,
        field="visit.timeout_s",
        default="60s",
        help="All of a visit must be over by then: 30s, 2m.",
    ),
    Option(
        flag="--retries",
        metavar="N",
        group=_PAGE,
        read=whole_number(0),
        field="retry.retries",
        default="2",
        help="Try a failed page so often again.",
    ),
    Option(
        flag="--wait-until",
        metavar="STATE",
        group=_PAGE,
        read=one_of(("commit", "domcontentloaded", "load", "networkidle")),
        field="visit.wait_until",
        default="load",
        help="Loaded means: commit, domcontentloaded, load or networkidle.",
    ),
    Option(
        flag="--wait-for",
        metavar="SELECTOR",
        group=_PAGE,
        field="visit.wait_for",
        help="Then wait until this element is in the page; it fails if it never comes.",
    ),
    Option(
        flag="--block",
        metavar="TYPES",
        group=_PAGE,
        read=some_of(("image", "font", "media", "stylesheet")),
        field="browser.block",
        help="Do not fetch these: image, font, media, stylesheet, with commas.",
    ),
    Option(
        flag="--concurrency",
        metavar="N|auto",
        group=_PACE,
        read=concurrency,
        field="concurrency",
        default="auto: 2 per core",
        help="Pages open at the same time.",
    ),
    Option(
        flag="--delay",
        metavar="TIME",
        group=_PACE,
        read=duration_s,
        field="host.delay_s",
        default="1s; 0 on loopback",
        help="Pause between two visits to the same host and port: 250ms, 0.",
    ),
    Option(
        flag="--per-host",
        metavar="N",
        group=_PACE,
        read=whole_number(1),
        field="host.per_host",
        default="as the delay allows",
        help="Pages open at the same time on one host and port.",
    ),
    Option(
        flag="--ignore-robots",
        group=_PACE,
        help="Do not ask robots.txt. Accepted already; this version never asks.",
    ),
    Option(
        flag="--profile",
        metavar="NAME",
        group=_BROWSER,
        read=one_of(("faithful", "balanced", "lean")),
        field="profile",
        default="balanced",
        help="A set of defaults: faithful (full Chromium, a new page per visit), balanced (headless shell, pages "
        "reused and cleaned), lean (the cheapest: pages reused as they are, one renderer per site).",
    ),
    Option(
        flag="--headed",
        group=_BROWSER,
        help="Show the browser's window; needs full Chromium and a display.",
    ),
    Option(
        flag="--user-agent",
        metavar="TEXT",
        group=_BROWSER,
        field="browser.user_agent",
        default="Chromium's own",
        help="What the browser calls itself.",
    ),
    Option(
        flag="--proxy",
        metavar="URL",
        group=_BROWSER,
        field="browser.proxy",
        help="Send all traffic through it: http://host:port.",
    ),
    Option(
        flag="--playwright-config",
        metavar="FILE",
        group=_BROWSER,
        read=Path,
        default="playwright.config.json in this directory or above",
        help="Playwright's own launchOptions and contextOptions.",
    ),
    Option(
        flag="--save",
        metavar="KINDS",
        group=_OUT,
        read=some_of(("html", "text", "screenshot")),
        field="visit.save",
        help="Keep of each page, compressed: html, text, screenshot, with commas.",
    ),
    Option(
        flag="--output",
        metavar="DIR",
        group=_OUT,
        read=Path,
        default="runs/<time>-<host>",
        help="The run directory to make: results, events, summary, what was saved.",
    ),
    Option(flag="--json", group=_OUT, help="Write one result per line to standard output."),
    Option(flag="--quiet", group=_OUT, help="No progress and no summary; errors only."),
)

GRAMMAR = Grammar(
    command="crawl",
    summary="Crawl pages, following links if asked to.",
    details=(
        (
            "Progress goes to standard error, data to standard output, everything else to a run directory. Ctrl-C "
            "finishes the open pages, a second one stops at once."
        ),
        "Exit codes: 0 all well, 1 some requests failed, 2 bad usage, 3 no usable browser, 130 interrupted.",
    ),
    operands="URL...",
    operands_help="The pages to begin with.",
    options=OPTIONS,
    examples=(
        ("one page, as JSON", "browsercrawl crawl https://example.com/ --json"),
        (
            "a site, two links deep, with what its pages show",
            "browsercrawl crawl https://example.com/ --depth 2 --save html,text",
        ),
        (
            "a list of pages, eight at a time, without pictures",
            "browsercrawl crawl --urls-file urls.txt --concurrency 8 --block image,font",
        ),
        ("pages that fill in late", "browsercrawl crawl https://example.com/shop --wait-for .product"),
        ("from one tool to the next", "grep shop urls.txt | browsercrawl crawl --urls-file - --json | jq -r .title"),
    ),
)


def execute(arguments: Namespace) -> int:
    """Crawl and return the exit code."""
    given: dict[str, Any] = vars(arguments)
    urls: list[str] = given["operands"]
    urls_file: str | None = given.get("urls_file")
    if not urls and urls_file is None:
        raise BadUsage("nothing to crawl: give a URL or --urls-file FILE; see browsercrawl crawl --help")
    check_urls(urls)
    config = configuration(given, directory=given.get("output") or default_run_directory(_host(urls), SystemClock()))
    reporting = Reporting(title=urls[0] if urls else str(urls_file), as_json="json" in given, quiet="quiet" in given)
    with open_urls(urls_file) as file:
        return asyncio.run(Foreground(config, reporting).crawl(read_seeds(urls, file))).exit_code


def configuration(given: Mapping[str, Any], *, directory: Path) -> CrawlerConfig:
    """Make the configuration that the options stand for.

    Args:
        given: parsed options by name; those not given are absent.
        directory: the run directory.

    Raises:
        BadUsage: a value is wrong; the message names the option.
    """
    values: dict[str, Any] = {
        "output": directory,
        "host": {"delay_s": None},
        "visit": {"capture": ["links"] if given.get("depth") else []},
        "browser": browser_fields(given.get("playwright_config")),
    }
    if "headed" in given:
        values["browser"] |= {"headed": True, "binary": "full"}
    for option in OPTIONS:
        if option.field and option.name in given:
            *path, last = option.field.split(".")
            part = values
            for step in path:
                part = part.setdefault(step, {})
            part[last] = given[option.name]
    try:
        return CrawlerConfig.load(values)
    except ConfigError as error:
        message = error.message
        for option in OPTIONS:
            if option.field and option.name in given:
                message = re.sub(rf"(?<![\w.]){re.escape(option.field)}(?=:)", option.flag, message)
        raise BadUsage(message) from error


def _host(urls: list[str]) -> str:
    """Return what the run directory is named after."""
    try:
        return address(urls[0]).host.removesuffix(":443").removesuffix(":80") if urls else "urls"
    except InvalidURL:
        return "urls"
