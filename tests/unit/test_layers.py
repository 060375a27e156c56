"""The layers of the package: imports point down only, and what must stay in one place stays there."""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parents[2] / "browsercrawl"

LEAVES = {
    "clock", "config", "errors", "events", "mistakes", "ports", "redaction", "request", "result", "urls", "version",
}  # fmt: skip
CONCEPTS = {"browser", "frontier", "net", "output", "politeness", "pool", "pressure", "report", "sessions", "visit"}
LEVELS = (
    dict.fromkeys(LEAVES, 0)
    | dict.fromkeys(CONCEPTS, 1)
    | {"crawler": 2, "dispatcher": 2, "__init__": 3, "cli": 4, "__main__": 5, "testing": 6}
)
"""Each file or folder of the package. It may import what is lower; leaves, and the engine's two, also each other."""

USERS_OF_TESTING = {"cli/demo.py", "cli/doctor.py"}

OUTSIDE_WORLD = {
    "http",
    "logging",
    "psutil",
    "selectors",
    "shutil",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "tempfile",
}
"""Modules that a leaf, which does no I/O, has no use for; so are `open` and threads."""

HEAVY = {"playwright", "rich", "structlog", "typer", "sqlite3", "multiprocessing", "http.server", "unittest"}
"""What `import browsercrawl` must not load: 0.3 s is all it may take."""


class Import(NamedTuple):
    """One imported module; `typing_only` when it stands under `if TYPE_CHECKING`."""

    module: str
    line: int
    typing_only: bool


class Source(NamedTuple):
    """A module of the package: its path below the package, and its syntax tree."""

    path: str
    tree: ast.Module

    @property
    def unit(self) -> str:
        return self.path.partition("/")[0].removesuffix(".py")

    def imports(self) -> Iterator[Import]:
        typing_only = {
            id(child)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            for statement in node.body
            for child in ast.walk(statement)
        }
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.path}:{node.lineno}: relative import"
                assert node.module is not None
                # `from browsercrawl import errors` names a module, `from browsercrawl import Crawler` the facade
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            yield from (Import(name, node.lineno, id(node) in typing_only) for name in names)

    def units_imported(self) -> Iterator[tuple[str, Import]]:
        for each in self.imports():
            root, _, rest = each.module.partition(".")
            if root == "browsercrawl":
                unit = rest.partition(".")[0]
                yield (unit if unit in LEVELS else "__init__"), each


Rule = Callable[[Source], Iterator[str]]


def downwards_only(source: Source) -> Iterator[str]:
    """A unit imports itself and what is below it."""
    own = LEVELS[source.unit]
    for unit, each in source.units_imported():
        level = LEVELS[unit]
        if unit == "testing" and source.path in USERS_OF_TESTING:
            continue
        if unit != source.unit and (level > own or (level == own and level not in {0, 2})):
            yield f"{source.path}:{each.line}: {source.unit} may not import {unit}"


def playwright_in_browser_only(source: Source) -> Iterator[str]:
    """Only `browser` imports Playwright at run time, and nobody what is private in it."""
    for each in source.imports():
        if each.module.split(".")[0] != "playwright":
            continue
        if source.unit != "browser" and not each.typing_only:
            yield f"{source.path}:{each.line}: Playwright imported outside browser/"
        if "._" in each.module:
            yield f"{source.path}:{each.line}: Playwright's private {each.module}"


def only_its_users_import_testing(source: Source) -> Iterator[str]:
    """Only the demo and the doctor use `testing`."""
    for unit, each in source.units_imported():
        if unit == "testing" and source.unit != "testing" and source.path not in USERS_OF_TESTING:
            yield f"{source.path}:{each.line}: testing imported"


def environment_in_cli_only(source: Source) -> Iterator[str]:
    """Only `cli` reads the environment; `browser` prepares that of its child."""
    if source.unit not in {"cli", "browser"}:
        yield from _uses(source, {"os.environ", "os.getenv", "os.environb"})


def process_wide_settings_in_cli_only(source: Source) -> Iterator[str]:
    """The library changes nothing of the process it is a guest in."""
    if source.unit != "cli":
        forbidden = {"structlog.configure", "logging.basicConfig", "signal.signal", "add_signal_handler", "os.chdir"}
        yield from _uses(source, forbidden)


def leaves_without_io(source: Source) -> Iterator[str]:
    """A leaf touches neither files nor network nor processes."""
    if source.unit not in LEAVES:
        return
    for each in source.imports():
        if not OUTSIDE_WORLD.isdisjoint({each.module, each.module.split(".")[0]}):
            yield f"{source.path}:{each.line}: a leaf imports {each.module}"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"open", "threading.Thread"}:
            yield f"{source.path}:{node.lineno}: a leaf calls {ast.unparse(node.func)}"


def _uses(source: Source, forbidden: set[str]) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and not forbidden.isdisjoint({ast.unparse(node), node.attr}):
            yield f"{source.path}:{node.lineno}: {ast.unparse(node)}"
    yield from (
        f"{source.path}:{each.line}: imports {each.module}" for each in source.imports() if each.module in forbidden
    )


RULES: dict[Rule, tuple[str, str]] = {
    downwards_only: ("pool/x.py", "from browsercrawl.browser import launch"),
    playwright_in_browser_only: ("visit/x.py", "from playwright.async_api import Page"),
    only_its_users_import_testing: ("cli/crawl.py", "import browsercrawl.testing"),
    environment_in_cli_only: ("output/x.py", "import os\nos.environ['HOME']"),
    process_wide_settings_in_cli_only: ("dispatcher/x.py", "import signal\nsignal.signal(2, print)"),
    leaves_without_io: ("urls.py", "import socket"),
}
"""Each rule with a path and text that break it."""


@pytest.fixture(scope="module")
def sources() -> list[Source]:
    """Return every module of the package."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return [Source(path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text())) for path in paths]


def test_package_each_unit_has_its_level(sources: list[Source]) -> None:
    """No file or folder stands outside the layers."""
    assert {source.unit for source in sources} <= LEVELS.keys()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_package_each_module_keeps_the_rule(rule: Rule, sources: list[Source]) -> None:
    """Every module of the package keeps the rule."""
    assert [found for source in sources for found in rule(source)] == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_broken_is_found(rule: Rule) -> None:
    """The rule finds what it forbids, so that keeping it means something."""
    path, text = RULES[rule]
    assert list(rule(Source(path, ast.parse(text))))


def test_typing_import_of_playwright_is_allowed() -> None:
    """Type hints may name Playwright's types anywhere."""
    text = "if TYPE_CHECKING:\n    from playwright.async_api import Page"
    assert list(playwright_in_browser_only(Source("visit/x.py", ast.parse(text)))) == []


def test_leaves_import_each_other_without_cycles(sources: list[Source]) -> None:
    """There is an order in which the leaves can be read, each after what it builds on."""
    graph: dict[str, set[str]] = {}
    for source in sources:
        if source.unit in LEAVES:
            graph.setdefault(source.unit, set()).update(
                unit for unit, _ in source.units_imported() if unit != source.unit
            )
    TopologicalSorter(graph).prepare()


def test_import_of_the_package_loads_nothing_heavy() -> None:
    """`import browsercrawl` stays cheap: neither Playwright nor rich, nor the command line or the fault server."""
    program = "import sys, browsercrawl; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert (HEAVY | {"browsercrawl.cli", "browsercrawl.testing"}).isdisjoint(run.stdout.split())
