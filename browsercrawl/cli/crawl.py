"""`browsercrawl crawl`: pages named on the command line or in a file, into a run directory.

The options make a job, the same as one in a file; `run` and `resume` do not know the difference.
"""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from browsercrawl.cli.arguments import BadUsage, Grammar, Option, Read, one_of, some_of, whole_number
from browsercrawl.cli.foreground import Reporting
from browsercrawl.cli.running import start_job
from browsercrawl.config import Saved, duration_s, size_bytes
from browsercrawl.config.job import JobFile, literal
from browsercrawl.config.job_values import Failures, Host, Number, Some
from browsercrawl.config.network import GUARDS

_WHAT, _LIMITS, _PAGE, _PACE, _BROWSER, _NETWORK, _OUT = (
    "What to crawl", "Limits", "Each page", "Pace", "Browser", "Network", "Output"
)  # fmt: skip


def concurrency(text: str) -> object:
    """Read `auto` or a number of pages."""
    return text if text == "auto" else whole_number(1, 1000)(text)


def delay(text: str) -> object:
    """Read `auto` or a duration."""
    return text if text == "auto" else duration_s(text)


def written(read: Read) -> Read:
    """Make a reader that checks a text and leaves it as it is: so it stands in the job."""

    def check(text: str) -> str:
        read(text)
        return text

    return check


EXIT_CODES = (
    "Exit codes: 0 all well, 1 some requests failed, 2 bad usage, 3 no usable browser, 4 ended early by a limit, "
    "130 interrupted."
)

REPORTING = (
    Option(flag="--json", group=_OUT, help="Write one result per line to standard output."),
    Option(flag="--quiet", group=_OUT, help="No progress and no summary; errors only."),
)
"""What every command that crawls can be told about what it shows."""

OPTIONS = (
    Option(
        flag="--urls-file",
        metavar="FILE",
        group=_WHAT,
        field="seeds.file",
        help="More of them: one URL or one JSON request per line; - is standard input. Blank lines and # comments are "
        "passed over.",
    ),
    Option(
        flag="--sitemap",
        metavar="URL",
        group=_WHAT,
        field="seeds.sitemap",
        help="And the pages that this sitemap, or index of sitemaps, or robots.txt, names. The word robots: what the "
        "robots.txt of each URL's host names, within the scope.",
    ),
    Option(
        flag="--session",
        metavar="NAME",
        group=_WHAT,
        field="seeds.session",
        help="Those of them that name no session belong to this one: a context of its own, with its own cookies.",
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
        metavar="NAME",
        group=_WHAT,
        read=one_of(("host", "domain", "prefix", "list", "any")),
        field="links.scope",
        default="host",
        help="Where links may lead, as seen from the URL that the crawl began with: host (and port), domain "
        "(example.com and all below it), prefix (the URL up to its last /), list (only --hosts) or any.",
    ),
    Option(
        flag="--hosts",
        metavar="NAMES",
        group=_WHAT,
        field="links.hosts",
        help="Links may lead to these as well, wherever it began: example.com,*.example.org.",
    ),
    Option(
        flag="--include",
        metavar="PATTERNS",
        group=_WHAT,
        field="links.include",
        help="Take only links, and pages of sitemaps, like one of these, with commas; * is anything, ? one character: "
        "'*/docs/*'.",
    ),
    Option(
        flag="--exclude",
        metavar="PATTERNS",
        group=_WHAT,
        field="links.exclude",
        help="Take no links, nor pages of sitemaps, like one of these; goes before --include: '*/logout*,*.pdf'.",
    ),
    Option(
        flag="--follow-traps",
        group=_WHAT,
        field="links.follow_traps",
        help="Also links that look endless (over 2048 characters, 50 parameters or 25 path segments; the same segments "
        "again and again), and the same page under each session id.",
    ),
    Option(
        flag="--keep-fragments",
        group=_WHAT,
        field="links.keep_fragments",
        help="Addresses that differ after # are different pages: for sites that route on it.",
    ),
    Option(
        flag="--sort-query",
        group=_WHAT,
        field="links.sort_query",
        help="Addresses that differ in the order of ?a=1&b=2 are the same page.",
    ),
    Option(
        flag="--max-requests",
        metavar="N",
        group=_LIMITS,
        read=whole_number(1),
        field="limits.max_requests",
        default="no limit",
        help="Take no more requests than this, the first ones included.",
    ),
    Option(
        flag="--max-per-host",
        metavar="N",
        group=_LIMITS,
        read=whole_number(1),
        field="limits.max_per_host",
        default="no limit",
        help="Likewise of one host and port.",
    ),
    Option(
        flag="--max-per-path",
        metavar="N",
        group=_LIMITS,
        read=whole_number(1),
        field="limits.max_per_path",
        default="1000",
        help="Take no more links that differ only in what follows the ?.",
    ),
    Option(
        flag="--max-time",
        metavar="TIME",
        group=_LIMITS,
        read=written(duration_s),
        field="limits.max_time",
        default="no limit",
        help="End early after this time: 30m, 8h.",
    ),
    Option(
        flag="--max-failures",
        metavar="N|P%",
        group=_LIMITS,
        read=written(Failures().read),
        field="limits.max_failures",
        default="no limit",
        help="End early after so many failed requests, or at such a share of the finished ones: 50, 10%.",
    ),
    Option(
        flag="--max-download",
        metavar="SIZE",
        group=_LIMITS,
        read=written(size_bytes),
        field="limits.max_download",
        default="100MB",
        help="With --save download: a file that is larger is broken off, and its page fails.",
    ),
    Option(
        flag="--max-disk",
        metavar="SIZE",
        group=_LIMITS,
        read=written(size_bytes),
        field="limits.max_disk",
        default="no limit",
        help="End early when the run directory is larger: 500MB, 20GiB.",
    ),
    Option(
        flag="--max-bytes",
        metavar="SIZE",
        group=_LIMITS,
        read=written(size_bytes),
        field="limits.max_bytes",
        default="no limit",
        help="End early when so much was sent and received over the network.",
    ),
    Option(
        flag="--timeout",
        metavar="TIME",
        group=_PAGE,
        read=written(duration_s),
        field="visit.timeout",
        default="60s",
        help="All of a visit must be over by then: 30s, 2m.",
    ),
    Option(
        flag="--retries",
        metavar="N",
        group=_PAGE,
        read=whole_number(0),
        field="visit.retries",
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
        field="visit.block",
        help="Do not fetch these: image, font, media, stylesheet, with commas.",
    ),
    Option(
        flag="--block-hosts",
        metavar="HOSTS|@FILE",
        group=_PAGE,
        field="visit.block_hosts",
        help="Fetch nothing from these hosts and the names below them, with commas; a file has one per line.",
    ),
    Option(
        flag="--salvage",
        group=_PAGE,
        field="visit.salvage",
        help="Of a page that hangs until its timeout, take what it shows; else it fails.",
    ),
    Option(
        flag="--concurrency",
        metavar="N|auto",
        group=_PACE,
        read=concurrency,
        field="pace.concurrency",
        default="auto: 2 per core, then what brings most",
        help="Pages open at the same time, at most: fewer while memory is short.",
    ),
    Option(
        flag="--memory",
        metavar="SIZE",
        group=_PACE,
        read=written(size_bytes),
        field="pace.memory",
        default="what the container or the machine has",
        help="Memory it may use, browsers included: 2GB, 512MiB.",
    ),
    Option(
        flag="--delay",
        metavar="TIME|auto",
        group=_PACE,
        read=written(delay),
        field="pace.delay",
        default="1s; 0 on loopback",
        help="Pause between two visits to the same host and port: 250ms, 0; auto: longer where a host answers slowly.",
    ),
    Option(
        flag="--delay-by",
        metavar="host|domain",
        group=_PACE,
        read=one_of(("host", "domain")),
        field="pace.delay_by",
        default="host",
        help="domain: all hosts of a registrable domain share one pace.",
    ),
    Option(
        flag="--per-host",
        metavar="N",
        group=_PACE,
        read=whole_number(1),
        field="pace.per_host",
        default="as the delay allows",
        help="Pages open at the same time on one host and port.",
    ),
    Option(
        flag="--rate",
        metavar="N",
        group=_PACE,
        read=written(Number(0.001, 10_000).read),
        field="pace.rate",
        default="no limit",
        help="Visits begun per second, over all hosts: 20, 0.5.",
    ),
    Option(
        flag="--ignore-robots",
        group=_PACE,
        field="pace.ignore_robots",
        help="Visit also what robots.txt forbids; it is not asked.",
    ),
    Option(
        flag="--profile",
        metavar="NAME",
        group=_BROWSER,
        read=one_of(("faithful", "balanced", "lean")),
        field="browser.profile",
        default="balanced",
        help="A set of defaults: faithful (full Chromium, a new page per visit), balanced (headless shell, pages "
        "reused and cleaned), lean (the cheapest: pages reused as they are, one renderer per site).",
    ),
    Option(
        flag="--headed",
        group=_BROWSER,
        field="browser.headed",
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
        flag="--product-token",
        metavar="NAME",
        group=_BROWSER,
        field="browser.product_token",
        default="browsercrawl",
        help="The name whose rules in robots.txt are kept.",
    ),
    Option(
        flag="--contact",
        metavar="URL|MAIL",
        group=_BROWSER,
        field="browser.contact",
        help="Where sites can turn to; it is put into the user agent.",
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
        field="browser.playwright_config",
        default="playwright.config.json in this directory or above",
        help="Playwright's own launchOptions and contextOptions.",
    ),
    Option(
        flag="--guard",
        metavar="auto|on|off",
        group=_NETWORK,
        read=one_of(GUARDS),
        field="network.guard",
        default="auto: from the first public URL on",
        help="Keep pages from this machine and private networks, whatever they redirect to, embed or resolve to.",
    ),
    Option(
        flag="--allow-private",
        group=_NETWORK,
        field="network.allow_private",
        help="Let pages reach private addresses all the same; --deny still holds.",
    ),
    Option(
        flag="--allow",
        metavar="HOSTS",
        group=_NETWORK,
        read=written(Some(Host()).read),
        field="network.allow",
        help="Hosts that may be private: names, *.domain, addresses, networks, with commas.",
    ),
    Option(
        flag="--deny",
        metavar="HOSTS",
        group=_NETWORK,
        read=written(Some(Host()).read),
        field="network.deny",
        help="Hosts that nothing reaches; private: not even what the command line names.",
    ),
    Option(
        flag="--save",
        metavar="KINDS",
        group=_OUT,
        read=some_of(get_args(Saved)),
        field="visit.save",
        help="Keep of each page, compressed where it pays: html, text, markdown, screenshot, pdf, mhtml, with "
        "commas; download: the files that come in place of a page, or that it starts.",
    ),
    Option(
        flag="--output",
        metavar="DIR",
        group=_OUT,
        field="output.directory",
        default="runs/<time>-<host>",
        help="The run directory to make: results, events, summary, what was saved.",
    ),
    *REPORTING,
)

GRAMMAR = Grammar(
    command="crawl",
    summary="Crawl pages, following links if asked to.",
    details=(
        (
            "Progress goes to standard error, data to standard output, everything else to a run directory. Ctrl-C "
            "finishes the open pages, a second one stops at once; browsercrawl resume RUN_DIR goes on, also after a "
            "kill."
        ),
        EXIT_CODES,
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
    first = [*urls, *(given[name] for name in ("urls_file", "sitemap") if name in given)]
    if not first:
        raise BadUsage("nothing to crawl: give a URL or --urls-file FILE; see browsercrawl crawl --help")
    reporting = Reporting(title=first[0], as_json="json" in given, quiet="quiet" in given)
    return start_job(job_of(given), reporting=reporting)


def job_of(given: Mapping[str, Any]) -> JobFile:
    """Make the job that the options stand for; a wrong value in it is told in the words of the command line.

    Args:
        given: parsed options by name; those not given are absent.
    """
    raw: dict[str, Any] = {"seeds": {"urls": _literal(given["operands"])} if given["operands"] else {}}
    for option in OPTIONS:
        if option.field and option.name in given:
            section, leaf = option.field.split(".")
            raw.setdefault(section, {})[leaf] = _literal(given[option.name])
    flags = {option.field: option.flag for option in OPTIONS if option.field}
    flags |= {f"seeds.urls.{index}": f"argument {index + 1}" for index in range(len(given["operands"]))}
    return JobFile(raw, base=Path.cwd(), flags=flags)


def _literal(value: Any) -> Any:
    """Return what was typed such that it stands for itself: in a job, `${` begins a reference."""
    if isinstance(value, list):
        return [_literal(each) for each in value]
    return literal(value) if isinstance(value, str) else value
