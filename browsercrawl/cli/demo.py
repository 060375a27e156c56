"""`browsercrawl demo`: crawl the embedded shop on loopback and hold what was found against the truth."""

import asyncio
import signal
import sys
from argparse import Namespace
from dataclasses import dataclass, field
from typing import Any

from browsercrawl.cli.arguments import BadUsage, Grammar, Option, one_of, whole_number
from browsercrawl.cli.crawl import concurrency
from browsercrawl.cli.foreground import Foreground, Reporting
from browsercrawl.cli.settings import browser_fields
from browsercrawl.clock import SystemClock
from browsercrawl.config import CrawlerConfig
from browsercrawl.output import Summary, default_run_directory
from browsercrawl.result import Outcome, Result
from browsercrawl.testing import DemoSite, Truth

_DEPTH = 1000
"""Deeper than any shop: pages visited side by side may be found by a detour first."""

GRAMMAR = Grammar(
    command="demo",
    summary="Crawl the embedded demo shop and compare with what it really sells.",
    details=(
        (
            "The shop runs on this machine, on loopback; nothing leaves it. Its links, prices and titles exist only "
            "after its JavaScript has run. Exit code 0: everything was found as it is; 1: something was not."
        ),
    ),
    options=(
        Option(
            flag="--products",
            metavar="N",
            group="The shop",
            read=whole_number(1),
            default="48, which makes 60 pages",
            help="How many products it sells.",
        ),
        Option(
            flag="--serve",
            group="The shop",
            help="Only open the shop, and the fault pages beside it, until Ctrl-C: crawl it from another terminal.",
        ),
        Option(
            flag="--concurrency",
            metavar="N|auto",
            group="The crawl",
            read=concurrency,
            default="auto: 2 per core",
            help="Pages open at the same time.",
        ),
        Option(
            flag="--profile",
            metavar="NAME",
            group="The crawl",
            read=one_of(("faithful", "balanced", "lean")),
            default="balanced",
            help="faithful, balanced or lean; see browsercrawl crawl --help.",
        ),
    ),
    examples=(
        ("watch it work", "browsercrawl demo"),
        ("a bigger shop, the cheapest way", "browsercrawl demo --products 500 --profile lean"),
        ("a site to try things on, with slow, broken and hostile pages", "browsercrawl demo --serve"),
    ),
)


@dataclass
class Comparison:
    """Holds results against the truth about the shop.

    Attributes:
        pages: pages found whose title and links are right.
        products: products whose own page shows their name and price.
        wrong: what differs, in words.
    """

    truth: Truth
    root: str
    pages: int = 0
    products: int = 0
    wrong: list[str] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._pages = {page.path: page for page in self.truth.pages}
        self._products = {product.path: product for product in self.truth.products}

    async def take(self, result: Result) -> None:
        """Compare one result."""
        path = result.url.removeprefix(self.root)
        page = self._pages.get(path)
        if page is None or path in self._seen:
            self.wrong.append(f"{path}: {'visited twice' if page else 'is no page of the shop'}")
            return
        self._seen.add(path)
        links = tuple(link.removeprefix(self.root) for link in result.links)
        if result.outcome is not Outcome.SUCCEEDED:
            self.wrong.append(f"{path}: {result.error.message if result.error else result.skip_reason}")
        elif result.title != page.title:
            self.wrong.append(f"{path}: the title is {result.title!r}, not {page.title!r}")
        elif set(links) != set(page.links):
            self.wrong.append(f"{path}: {len(set(links) ^ set(page.links))} links differ")
        else:
            self.pages += 1
        product = self._products.get(path)
        if product is not None:
            self._compare_product(path, result.text or "", (product.name, product.price))

    def _compare_product(self, path: str, text: str, expected: tuple[str, ...]) -> None:
        missing = [word for word in expected if word not in text]
        if missing:
            self.wrong.append(f"{path}: does not show {' nor '.join(missing)}")
        else:
            self.products += 1

    def finish(self) -> None:
        """Name the pages that were never seen."""
        self.wrong += [f"{page.path}: was not found" for page in self.truth.pages if page.path not in self._seen]


def execute(arguments: Namespace) -> int:
    """Run the demo and return the exit code."""
    given: dict[str, Any] = vars(arguments)
    try:
        if "serve" in given:
            return _serve(given.get("products", 48))
        site = DemoSite(products=given.get("products", 48))
    except ValueError as error:
        raise BadUsage(f"--products: {error}") from error
    config = CrawlerConfig.load(
        {
            "profile": given.get("profile", "balanced"),
            "concurrency": given.get("concurrency", "auto"),
            "browser": browser_fields(None),
            "links": {"depth": _DEPTH},
            "visit": {"capture": {"links", "text"}},
            "output": default_run_directory("demo", SystemClock()),
        }
    )
    with site:
        comparison = Comparison(site.truth(), site.url)
        foreground = Foreground(config, Reporting(title=f"demo shop on {site.url}"), on_result=comparison.take)
        summary = asyncio.run(foreground.crawl([f"{site.url}/"]))
    comparison.finish()
    return _verdict(comparison, summary)


def _verdict(comparison: Comparison, summary: Summary) -> int:
    from browsercrawl.cli.drawing import print_comparison  # noqa: PLC0415 - rich, when there is something to draw

    if summary.exit_code > 1:
        return summary.exit_code
    truth = comparison.truth
    print_comparison(
        [("pages", comparison.pages, len(truth.pages)), ("products", comparison.products, len(truth.products))],
        comparison.wrong,
    )
    return 1 if comparison.wrong else summary.exit_code


def _serve(products: int) -> int:
    # blocked before the site's first thread starts, which inherits it: the signals reach sigwait and nothing else
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with DemoSite(products=products) as site:
        print(f"{site.url}/")
        print(
            f"The demo shop is open at {site.url}/ ; slow, broken and hostile pages are at {site.url}/faults/\n"
            f"Try: browsercrawl crawl {site.url}/ --depth 3        Ctrl-C closes it.",
            file=sys.stderr,
        )
        sys.stdout.flush()
        signal.sigwait(ends)
    return 0
